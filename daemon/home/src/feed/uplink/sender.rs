//! Sends what people here wrote for everybody to one relay of the Internet, in order, one after another. What the relay
//! has is marked, so that a restart goes on from there; what it does not want is left out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventId};
use nostr::key::Keys;
use serde_json::json;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use super::Relay;
use super::ledger::{Ledger, Waiting};
use super::public::may_go;
use super::scribe::with;
use crate::client::signed;
use crate::config::Clock;
use crate::feed::cache::LivesHere;
use crate::feed::link::Said;
use crate::feed::relay::OwnRelay;
use crate::feed::way::{Socket, Way};

/// Bytes of one message of the relay: it has nothing to say but whether it takes an event.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How long opening a connection may take, and the answer to an event.
const OPEN: Duration = Duration::from_secs(15);
const ANSWER: Duration = Duration::from_secs(30);
/// Messages beside the answer that are heard while it is waited for.
const CHATTER: u32 = 200;
/// Events that are fetched from the home's relay, and marked, at a time.
const BATCH: usize = 8;
/// How long a connection stays open for what is written next.
const LINGER: Duration = Duration::from_secs(20);
/// Events that a relay may be unable to read, in bytes; and how often one that it does not answer is sent.
const BIG: usize = 64 * 1024;
const TRIES: u32 = 8;

/// Who sends.
pub struct Sender {
    /// To whom.
    pub relay: Arc<Relay>,
    /// Where people here write.
    pub own: OwnRelay,
    /// What they wrote.
    pub ledger: Arc<Ledger>,
    /// Who they are.
    pub lives_here: LivesHere,
    /// The home's own key, for relays that want to know who writes.
    pub keys: Keys,
    /// The time.
    pub clock: Clock,
    /// Waiting between two attempts: at first, and at most.
    pub waits: (Duration, Duration),
    /// The event that was not answered last, and how often it was sent.
    pub unanswered: Mutex<Option<(EventId, u32)>>,
}

/// Why no more is sent for now.
#[derive(Debug)]
enum Stopped {
    /// Something here does not work.
    Here(String),
    /// The connection broke, or could not be made.
    Broken(String),
    /// The relay wants less of it.
    Slower(String),
}

/// A connection.
struct Talk {
    socket: Socket,
    challenge: Option<String>,
    is_known: bool,
}

impl From<String> for Stopped {
    fn from(why: String) -> Self {
        Self::Here(why)
    }
}

impl Sender {
    /// Sends. Never ends.
    pub async fn run(self) {
        let mut last = self.ledger.last();
        let mut wait = self.waits.0;
        loop {
            let mut sent = 0;
            match self.deliver(&mut last, &mut sent).await {
                Ok(()) => {
                    wait = self.waits.0;
                    if last.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Err(Stopped::Here(why)) => log::debug!("what goes out to relays waits: {why}"),
                Err(Stopped::Slower(why)) => self.relay.failed(&why),
                Err(Stopped::Broken(why)) => {
                    self.relay.failed(&why);
                    if sent > 0 {
                        wait = self.waits.0;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(self.waits.1);
        }
    }

    /// Sends everything that waits, and for a while what comes next.
    async fn deliver(
        &self,
        last: &mut watch::Receiver<i64>,
        sent: &mut u32,
    ) -> Result<(), Stopped> {
        let mut talk: Option<Talk> = None;
        loop {
            last.borrow_and_update();
            let batch = self.batch().await?;
            if batch.is_empty() {
                let Some(open) = &mut talk else { return Ok(()) };
                match tokio::time::timeout(LINGER, last.changed()).await {
                    Ok(Ok(())) => continue,
                    _ => {
                        let _ = tokio::time::timeout(OPEN, open.socket.close(None)).await;
                        return Ok(());
                    }
                }
            }
            let (mut done, mut outcome) = (None, Ok(()));
            for (number, event) in batch {
                if let Some(event) = event {
                    outcome = self.hand_over(&mut talk, &event).await;
                    if outcome.is_err() {
                        break;
                    }
                    *sent += 1;
                }
                done = Some(number);
            }
            if let Some(number) = done {
                let relay = self.relay.name().to_owned();
                with(&self.ledger, move |ledger| ledger.mark(&relay, number)).await?;
            }
            outcome?;
        }
    }

    /// The next few; `None` stands for what is gone, or stays here.
    async fn batch(&self) -> Result<Vec<(i64, Option<Event>)>, String> {
        let relay = self.relay.name().to_owned();
        let waiting = with(&self.ledger, move |ledger| ledger.waiting(&relay, BATCH)).await?;
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = waiting.iter().map(|(_, id)| id.to_hex()).collect();
        let found = self.own.query(json!({"ids": ids, "limit": BATCH})).await;
        let found = found.map_err(|error| format!("the home's own relay: {error}"))?;
        let (now, lives_here) = ((self.clock)(), Arc::clone(&self.lives_here));
        with(&self.ledger, move |ledger| {
            let goes = |event: &&Event| {
                lives_here(&event.pubkey) && may_go(event, now, |id| ledger.has(id))
            };
            let event_of = |(number, id): Waiting| {
                let event = found.iter().find(|event| event.id == id);
                (number, event.filter(goes).cloned())
            };
            Ok(waiting.into_iter().map(event_of).collect())
        })
        .await
    }

    async fn open(&self) -> Result<Talk, String> {
        match tokio::time::timeout(OPEN, self.relay.open(MESSAGE_BYTES)).await {
            Ok(Ok(socket)) => Ok(Talk {
                socket,
                challenge: None,
                is_known: false,
            }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    /// Sends an event until the relay has it, or said that it does not want it.
    async fn hand_over(&self, talk: &mut Option<Talk>, event: &Event) -> Result<(), Stopped> {
        loop {
            let open = match talk {
                Some(open) => open,
                None => talk.insert(self.open().await.map_err(Stopped::Broken)?),
            };
            let (is_taken, reason) = match open.ask("EVENT", event).await {
                Ok(answer) => answer,
                Err(why) => {
                    *talk = None;
                    if self.gives_up(event, BIG) {
                        self.relay.refused(event, &why);
                        return Ok(());
                    }
                    return Err(Stopped::Broken(why));
                }
            };
            let word = reason.split(':').next().unwrap_or_default();
            match word {
                _ if is_taken => {}
                "duplicate" => {}
                "rate-limited" => return Err(Stopped::Slower(reason)),
                "auth-required" if !open.is_known && open.challenge.is_some() => {
                    open.is_known = true;
                    let proven = open.log_in(&self.keys, (self.clock)(), self.relay.name());
                    proven.await.map_err(Stopped::Broken)?;
                    continue;
                }
                // Its own trouble (NIP-01), which may pass.
                "error" if !self.gives_up(event, 0) => return Err(Stopped::Broken(reason)),
                _ => self.relay.refused(event, &reason),
            }
            self.relay.answered();
            return Ok(());
        }
    }

    /// Whether an event that was not answered is not sent any more: only if it is so big that it may be its own fault.
    fn gives_up(&self, event: &Event, bytes: usize) -> bool {
        let size = event.content.len()
            + event
                .tags
                .iter()
                .flat_map(|tag| tag.as_slice())
                .map(|value| value.len() + 3)
                .sum::<usize>();
        let mut unanswered = self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tries = match *unanswered {
            Some((id, tries)) if id == event.id => tries + 1,
            _ => 1,
        };
        *unanswered = Some((event.id, tries));
        tries >= TRIES && size >= bytes
    }
}

impl Talk {
    /// Sends an event and waits for what the relay says to it.
    async fn ask(&mut self, verb: &str, event: &Event) -> Result<(bool, String), String> {
        match tokio::time::timeout(ANSWER, self.ask_patiently(verb, event)).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer in time".into()),
        }
    }

    async fn ask_patiently(&mut self, verb: &str, event: &Event) -> Result<(bool, String), String> {
        let text = json!([verb, event]).to_string();
        let sent = self.socket.send(Message::Text(text.into())).await;
        sent.map_err(|error| error.to_string())?;
        let id = event.id.to_hex();
        for _ in 0..CHATTER {
            let text = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Close(_))) | None => return Err("it hung up".into()),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(error.to_string()),
            };
            match Said::parse(&text) {
                Some(Said::Taken(of, is_taken, reason)) if of == id => {
                    return Ok((is_taken, reason));
                }
                Some(Said::Challenge(challenge)) => self.challenge = Some(challenge),
                _ => {}
            }
        }
        Err("it talks and does not answer".into())
    }

    /// Proves to be this home (NIP-42). Whether that is enough shows when the event is sent again.
    async fn log_in(&mut self, keys: &Keys, now: u64, relay: &str) -> Result<(), String> {
        let challenge = self.challenge.clone().unwrap_or_default();
        let tags: [&[&str]; 2] = [&["relay", relay], &["challenge", &challenge]];
        let proof = signed(keys, 22242, now, &tags, "")?;
        self.ask("AUTH", &proof).await.map(drop)
    }
}
