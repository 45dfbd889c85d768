//! The one connection of a home to a space, shared by all its pages: it listens, catches up after a break, and sends
//! what guests wrote. It never gives a message up by itself: what is not sent stays in the room.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventId, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::config::Clock;
use crate::dialer::{self, BoxStream, Dialer, ServiceName};
use crate::people::{People, Writer};
use crate::room::{Reach, Room, Unsent};
use crate::shelf::Shelf;

/// The channel that the first page shows.
pub const CHANNEL: &str = "general";
/// Longest message from a space that is read.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Messages that are asked for at a time.
const CATCH_UP: usize = 200;
/// Seconds by which the question after a break begins earlier: dates within a space are not exact.
const OVERLAP: u64 = 15 * 60;
/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(15);
/// How long an answer may take before the connection counts as broken.
const ANSWER: Duration = Duration::from_secs(15);
/// Silence after which the other side is asked whether it is still there, and what it may take to answer: while somebody
/// looks at the page, and else.
const SILENCE_WATCHED: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(10);
/// Waiting between two attempts: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a link stays without anybody looking.
const IDLE: Duration = Duration::from_secs(300);
/// People for whom one connection speaks. A space takes 16.
const PEOPLE: usize = 14;

/// What a link needs.
pub struct Link {
    /// Opens streams.
    pub dialer: Arc<dyn Dialer>,
    /// To which space.
    pub service: ServiceName,
    /// What it fills.
    pub room: Arc<Room>,
    /// Whose keys sign.
    pub people: Arc<People>,
    /// The time.
    pub clock: Clock,
    /// Where what cannot be sent now is kept over a restart.
    pub shelf: Arc<Shelf>,
    /// Ends the link when it becomes `true`.
    pub stop: watch::Receiver<bool>,
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// It broke, or could not be made.
    Broken(String),
    /// It speaks for as many people as it may; the next one needs a new one.
    Full,
}

type Answers = Arc<Mutex<HashMap<EventId, oneshot::Sender<(bool, String)>>>>;

impl Link {
    /// Keeps the connection up until nobody has looked for a while.
    pub async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let mut stop = self.stop.clone();
            let ended = tokio::select! {
                ended = self.once(&mut wait) => ended,
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.nobody_looks() => return,
            };
            match ended {
                Ended::Full => continue,
                Ended::Broken(why) => {
                    log::debug!("the space {} cannot be reached: {why}", self.service)
                }
            }
            self.room.set_reach(Reach::Away);
            self.shelf.keep(&self.service, self.room.unsent()).await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = self.stop.wait_for(|stop| *stop) => return,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn nobody_looks(&self) {
        let mut quiet = 0;
        loop {
            tokio::time::sleep(IDLE / 4).await;
            let idle = self.room.watchers() == 0 && !self.room.has_pending();
            quiet = if idle { quiet + 1 } else { 0 };
            if quiet > 4 {
                return;
            }
        }
    }

    async fn once(&self, wait: &mut Duration) -> Ended {
        let opening = dialer::websocket(&*self.dialer, &self.service, MESSAGE_BYTES);
        let opened = tokio::time::timeout(OPEN, opening).await;
        let socket = match opened {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Ended::Broken(error.to_string()),
            Err(_) => return Ended::Broken("no answer in time".into()),
        };
        let (outgoing, to_send) = mpsc::channel(16);
        let (challenge_tx, challenge) = watch::channel(String::new());
        let answers = Answers::default();
        let talk = Talk {
            link: self,
            outgoing,
            answers: Arc::clone(&answers),
            challenge,
        };
        tokio::select! {
            ended = self.listen(socket, to_send, &answers, &challenge_tx, wait) => ended,
            ended = talk.send_all() => ended,
        }
    }

    /// Reads what the space says and sends what is handed in, until the connection breaks.
    async fn listen(
        &self,
        mut socket: WebSocketStream<BoxStream>,
        mut to_send: mpsc::Receiver<String>,
        answers: &Answers,
        challenge: &watch::Sender<String>,
        wait: &mut Duration,
    ) -> Ended {
        let since = self.room.newest().map(|at| at.saturating_sub(OVERLAP));
        let mut lines = json!({"kinds": [9, 5, 9005], "#h": [CHANNEL], "limit": CATCH_UP});
        if let Some(since) = since {
            lines["since"] = since.into();
        }
        let question = json!(["REQ", "page", lines, {"kinds": [0], "limit": 500}]).to_string();
        if let Err(error) = socket.send(Message::Text(question.into())).await {
            return Ended::Broken(error.to_string());
        }
        let mut silent = false;
        loop {
            let patience = if self.room.watchers() > 0 {
                SILENCE_WATCHED
            } else {
                SILENCE
            };
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        silent = false;
                        if self.heard(&text, answers, challenge) {
                            *wait = FIRST_WAIT;
                            self.room.set_reach(Reach::Here);
                        }
                    }
                    Some(Ok(Message::Close(_))) | None => return Ended::Broken("the space hung up".into()),
                    Some(Ok(_)) => silent = false,
                    Some(Err(error)) => return Ended::Broken(error.to_string()),
                },
                Some(text) = to_send.recv() => {
                    if let Err(error) = socket.send(Message::Text(text.into())).await {
                        return Ended::Broken(error.to_string());
                    }
                }
                () = tokio::time::sleep(patience) => {
                    // A cut link says nothing: a ping that is not answered within the next silence tells.
                    if silent {
                        return Ended::Broken("the space has gone silent".into());
                    }
                    silent = true;
                    let sent = tokio::time::timeout(patience, socket.send(Message::Ping(Vec::new().into()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return Ended::Broken("the space takes nothing".into());
                    }
                }
            }
        }
    }

    /// Takes in one message; `true` when the stored messages are complete.
    fn heard(&self, text: &str, answers: &Answers, challenge: &watch::Sender<String>) -> bool {
        let Ok(Value::Array(message)) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        let word = |n: usize| message.get(n).and_then(Value::as_str);
        match word(0) {
            Some("EVENT") => {
                let event = message
                    .get(2)
                    .and_then(|event| serde_json::from_value::<Event>(event.clone()).ok());
                // The space is believed about what there is, not about who said it.
                if let Some(event) = event.filter(|event| event.verify().is_ok()) {
                    self.room.hear(&event);
                }
            }
            Some("OK") => {
                let Some(id) = word(1).and_then(|id| EventId::from_hex(id).ok()) else {
                    return false;
                };
                let answer = answers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
                let accepted = message.get(2).and_then(Value::as_bool).unwrap_or(false);
                if let Some(answer) = answer {
                    let _ = answer.send((accepted, word(3).unwrap_or_default().to_owned()));
                }
            }
            Some("AUTH") => drop(challenge.send(word(1).unwrap_or_default().to_owned())),
            Some("EOSE") => return word(1) == Some("page"),
            _ => {}
        }
        false
    }
}

/// The sending half of a connection.
struct Talk<'a> {
    link: &'a Link,
    outgoing: mpsc::Sender<String>,
    answers: Answers,
    challenge: watch::Receiver<String>,
}

impl Talk<'_> {
    async fn send_all(mut self) -> Ended {
        let mut people: HashSet<PublicKey> = HashSet::new();
        let room = Arc::clone(&self.link.room);
        let link = self.link;
        let mut opened = link.people.opened();
        loop {
            let writer = |unsent: &Unsent| link.people.writer(&unsent.guest, &unsent.event.pubkey);
            let can = |unsent: &Unsent| !matches!(writer(unsent), Writer::Sealed);
            let Some(unsent) = room.first_pending(can) else {
                // Messages of an account that is sealed wait until its person is here again.
                tokio::select! {
                    () = room.to_send.notified() => {}
                    _ = opened.changed() => {}
                }
                continue;
            };
            let guest = match writer(&unsent) {
                Writer::Here(guest) => guest,
                Writer::Sealed => continue,
                Writer::Gone => {
                    let reason = "the account that wrote this is gone".into();
                    room.failed(&unsent.event.id, reason);
                    continue;
                }
            };
            let person = guest.keys.public_key();
            if !people.contains(&person) {
                if people.len() >= PEOPLE {
                    return Ended::Full;
                }
                if let Err(ended) = self.log_in(&guest.keys).await {
                    return ended;
                }
                people.insert(person);
            }
            match self.deliver(&unsent, &guest.keys, &guest.name).await {
                Err(ended) => return ended,
                Ok((true, _)) => {
                    room.arrived(&unsent.event);
                    self.link
                        .shelf
                        .tidy(&self.link.service, room.unsent())
                        .await;
                }
                Ok((false, reason))
                    if reason.starts_with("rate-limited:") || reason.starts_with("error:") =>
                {
                    tokio::time::sleep(LONGEST_WAIT).await;
                }
                Ok((false, reason)) => {
                    room.failed(&unsent.event.id, in_plain_words(&reason).to_owned())
                }
            }
        }
    }

    async fn log_in(&mut self, keys: &Keys) -> Result<(), Ended> {
        let challenge = match tokio::time::timeout(
            ANSWER,
            self.challenge.wait_for(|challenge| !challenge.is_empty()),
        )
        .await
        {
            Ok(Ok(challenge)) => challenge.clone(),
            _ => return Err(Ended::Broken("the space did not ask who we are".into())),
        };
        let url = format!("ws://{}.warren/", self.link.service);
        let proof = sign(
            keys,
            22242,
            (self.link.clock)(),
            &[&["relay", &url], &["challenge", &challenge]],
            "",
        )?;
        match self.ask("AUTH", &proof).await? {
            (true, _) => Ok(()),
            (false, reason) => Err(Ended::Broken(reason)),
        }
    }

    async fn deliver(
        &self,
        unsent: &Unsent,
        keys: &Keys,
        name: &str,
    ) -> Result<(bool, String), Ended> {
        let now = (self.link.clock)();
        let profile = || sign(keys, 0, now, &[], &json!({"name": name}).to_string());
        if !self.link.room.is_known_as(&keys.public_key(), name) {
            let profile = profile()?;
            let (mut accepted, _) = self.ask("EVENT", &profile).await?;
            if !accepted {
                self.join(keys, now).await?;
                accepted = self.ask("EVENT", &profile).await?.0;
            }
            if accepted {
                self.link.room.hear(&profile);
            }
        }
        let first = self.ask("EVENT", &unsent.event).await?;
        if first.0 || !first.1.starts_with("restricted:") {
            return Ok(first);
        }
        self.join(keys, now).await?;
        self.ask("EVENT", &unsent.event).await
    }

    async fn join(&self, keys: &Keys, now: u64) -> Result<(), Ended> {
        let join = sign(keys, 9021, now, &[&["h", CHANNEL]], "")?;
        self.ask("EVENT", &join).await.map(drop)
    }

    async fn ask(&self, verb: &str, event: &Event) -> Result<(bool, String), Ended> {
        let (answer, answered) = oneshot::channel();
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(event.id, answer);
        let text = json!([verb, event]).to_string();
        self.outgoing
            .send(text)
            .await
            .map_err(|_| Ended::Broken("the connection ended".into()))?;
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(Ended::Broken("no answer in time".into())),
        }
    }
}

fn sign(keys: &Keys, kind: u16, now: u64, tags: &[&[&str]], content: &str) -> Result<Event, Ended> {
    signed(keys, kind, now, tags, content).map_err(Ended::Broken)
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

/// What a refusal means to a person.
fn in_plain_words(reason: &str) -> &'static str {
    let (prefix, _) = reason.split_once(':').unwrap_or((reason, ""));
    match prefix {
        "restricted" => "you may not write here now",
        "blocked" => "it was deleted",
        "invalid" if reason.contains("date") => {
            "it waited too long, or the clock of this home is wrong; write it again"
        }
        "invalid" => "the space does not take it as it is; make it shorter",
        _ => "the space did not take it",
    }
}
