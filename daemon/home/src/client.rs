//! A connection to a space, as a Nostr client that may speak for several people at once (NIP-42): proves who they are,
//! sends events and waits for the answers, and hands on what it hears. It decides nothing: `link` keeps one up for the
//! pages of a space, `messages` for people's private messages, `invitation` opens one to come in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventId, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::Keys;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::config::Clock;
use crate::dialer::{self, BoxStream, Dialer, ServiceName};

/// Longest message from a space that is read.
const MESSAGE_BYTES: usize = 256 * 1024;
/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(15);
/// How long an answer may take before the connection counts as broken.
const ANSWER: Duration = Duration::from_secs(15);
/// Messages that wait to be sent, and that were heard and wait to be taken.
const WAITING: usize = 16;
/// People for whom one connection speaks. A space takes 16.
pub const PEOPLE: usize = 14;

/// Why a connection ended, in words for the log.
pub type Broken = String;

type Answers = Arc<Mutex<HashMap<EventId, oneshot::Sender<(bool, String)>>>>;

/// What a space said of itself. Answers to [`Client::ask`] are not among it.
#[derive(Debug)]
pub enum Heard {
    /// An event, with a good signature.
    Event(Box<Event>),
    /// All that is stored and answers a subscription was sent.
    Complete(String),
    /// A subscription ended, with the reason.
    Closed(String, String),
    /// A message of a sync (NIP-77), in hexadecimal digits.
    Sync(String, String),
    /// A sync ended, with the reason.
    SyncEnded(String, String),
}

/// The speaking side of a connection.
#[derive(Clone)]
pub struct Client {
    service: ServiceName,
    clock: Clock,
    outgoing: mpsc::Sender<String>,
    answers: Answers,
    challenge: watch::Receiver<String>,
}

/// The side that moves the messages.
pub struct Pump {
    socket: WebSocketStream<BoxStream>,
    to_send: mpsc::Receiver<String>,
    heard: mpsc::Sender<Heard>,
    answers: Answers,
    challenge: watch::Sender<String>,
}

/// Opens a connection. Nothing moves before [`Pump::run`].
pub async fn open(
    dialer: &dyn Dialer,
    service: &ServiceName,
    clock: &Clock,
) -> Result<(Client, Pump, mpsc::Receiver<Heard>), Broken> {
    let opening = dialer::websocket(dialer, service, MESSAGE_BYTES);
    let socket = match tokio::time::timeout(OPEN, opening).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in time".into()),
    };
    let (outgoing, to_send) = mpsc::channel(WAITING);
    let (heard, hearing) = mpsc::channel(WAITING);
    let (challenge, known_challenge) = watch::channel(String::new());
    let answers = Answers::default();
    let client = Client {
        service: service.clone(),
        clock: Arc::clone(clock),
        outgoing,
        answers: Arc::clone(&answers),
        challenge: known_challenge,
    };
    let pump = Pump {
        socket,
        to_send,
        heard,
        answers,
        challenge,
    };
    Ok((client, pump, hearing))
}

impl Client {
    /// Proves to be somebody. The error of the space is one of the connection: it cannot be used as was meant.
    pub async fn log_in(&self, keys: &Keys) -> Result<(), Broken> {
        match self.prove(keys).await? {
            (true, _) => Ok(()),
            (false, reason) => Err(reason),
        }
    }

    /// The same, with what the space says to it.
    pub async fn prove(&self, keys: &Keys) -> Result<(bool, String), Broken> {
        let mut known = self.challenge.clone();
        let asked = known.wait_for(|challenge| !challenge.is_empty());
        let challenge = match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(challenge)) => challenge.clone(),
            _ => return Err("the space did not ask who we are".into()),
        };
        let url = format!("ws://{}.warren/", self.service);
        let tags: [&[&str]; 2] = [&["relay", &url], &["challenge", &challenge]];
        let proof = signed(keys, 22242, (self.clock)(), &tags, "")?;
        self.ask("AUTH", &proof).await
    }

    /// Sends an event and waits for what the space says to it: whether it took it, and why not.
    pub async fn ask(&self, verb: &str, event: &Event) -> Result<(bool, String), Broken> {
        let (answer, answered) = oneshot::channel();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(event.id, answer);
        self.say(&json!([verb, event])).await?;
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err("no answer in time".into()),
        }
    }

    /// Sends a message.
    pub async fn say(&self, message: &Value) -> Result<(), Broken> {
        let sent = self.outgoing.send(message.to_string()).await;
        sent.map_err(|_| "the connection ended".into())
    }
}

impl Pump {
    /// Moves messages until the connection breaks; says why. After a silence of `patience` the other side is asked
    /// whether it is still there, and has as long again to answer.
    pub async fn run(mut self, patience: impl Fn() -> Duration) -> Broken {
        let mut silent = false;
        loop {
            let patience = patience();
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        silent = false;
                        if let Some(heard) = self.read(&text)
                            && self.heard.send(heard).await.is_err()
                        {
                            return "nobody listens any more".into();
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return "the space hung up".into(),
                    Some(Ok(_)) => silent = false,
                    Some(Err(error)) => return error.to_string(),
                },
                Some(text) = self.to_send.recv() => {
                    if let Err(error) = self.socket.send(Message::Text(text.into())).await {
                        return error.to_string();
                    }
                }
                () = tokio::time::sleep(patience) => {
                    // A cut link says nothing: a ping that is not answered within the next silence tells.
                    if silent {
                        return "the space has gone silent".into();
                    }
                    silent = true;
                    let ping = self.socket.send(Message::Ping(Vec::new().into()));
                    if !matches!(tokio::time::timeout(patience, ping).await, Ok(Ok(()))) {
                        return "the space takes nothing".into();
                    }
                }
            }
        }
    }

    fn read(&self, text: &str) -> Option<Heard> {
        let message: Vec<Value> = serde_json::from_str(text).ok()?;
        let word = |n: usize| message.get(n).and_then(Value::as_str);
        let name = || word(1).map(str::to_owned);
        let reason = || word(2).unwrap_or_default().to_owned();
        match word(0)? {
            "EVENT" => {
                let event: Event = serde_json::from_value(message.get(2)?.clone()).ok()?;
                // The space is believed about what there is, not about who said it.
                event.verify().is_ok().then(|| Heard::Event(event.into()))
            }
            "OK" => {
                let id = EventId::from_hex(word(1)?).ok()?;
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                let accepted = message.get(2).and_then(Value::as_bool).unwrap_or(false);
                let answer = answers.remove(&id)?;
                let _ = answer.send((accepted, word(3).unwrap_or_default().to_owned()));
                None
            }
            "AUTH" => {
                self.challenge.send_replace(name()?);
                None
            }
            "EOSE" => Some(Heard::Complete(name()?)),
            "CLOSED" => Some(Heard::Closed(name()?, reason())),
            "NEG-MSG" => Some(Heard::Sync(name()?, reason())),
            "NEG-ERR" => Some(Heard::SyncEnded(name()?, reason())),
            _ => None,
        }
    }
}

/// A signed event.
pub fn signed(
    keys: &Keys,
    kind: u16,
    now: u64,
    tags: &[&[&str]],
    content: &str,
) -> Result<Event, String> {
    let tags: Vec<Tag> = tags
        .iter()
        .filter_map(|tag| Tag::parse(tag.iter().copied()).ok())
        .collect();
    let unsigned = UnsignedEvent::new(
        keys.public_key(),
        Timestamp::from_secs(now),
        Kind::from_u16(kind),
        tags,
        content,
    );
    keys.sign_event(unsigned).map_err(|error| error.to_string())
}
