//! The one connection of a home to a space, shared by all its pages: it listens, catches up after a break, and sends
//! what guests wrote. It never gives a message up by itself: what is not sent stays in the room.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use nostr::key::{Keys, PublicKey};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::client::{self, Broken, Client, Heard, PEOPLE, signed};
use crate::config::Clock;
use crate::dialer::{Dialer, ServiceName};
use crate::people::{People, Writer};
use crate::room::{Reach, Room, Unsent};
use crate::shelf::Shelf;

/// The channel that the first page shows.
pub const CHANNEL: &str = "general";
/// Messages that are asked for at a time.
const CATCH_UP: usize = 200;
/// Seconds by which the question after a break begins earlier: dates within a space are not exact.
const OVERLAP: u64 = 15 * 60;
/// Silence after which the other side is asked whether it is still there, and what it may take to answer: while somebody
/// looks at the page, and else.
const SILENCE_WATCHED: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(10);
/// Waiting between two attempts: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a link stays without anybody looking.
const IDLE: Duration = Duration::from_secs(300);

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
    Broken(Broken),
    /// It speaks for as many people as it may; the next one needs a new one.
    Full,
}

impl From<Broken> for Ended {
    fn from(why: Broken) -> Self {
        Self::Broken(why)
    }
}

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
        let opened = client::open(&*self.dialer, &self.service, &self.clock).await;
        let (client, pump, heard) = match opened {
            Ok(opened) => opened,
            Err(why) => return Ended::Broken(why),
        };
        let patience = || match self.room.watchers() {
            0 => SILENCE,
            _ => SILENCE_WATCHED,
        };
        let talk = Talk {
            link: self,
            client: client.clone(),
        };
        tokio::select! {
            why = pump.run(patience) => Ended::Broken(why),
            ended = self.listen(&client, heard, wait) => ended,
            ended = talk.send_all() => ended,
        }
    }

    /// Asks for what is new, and takes in what the space says until the connection breaks.
    async fn listen(
        &self,
        client: &Client,
        mut heard: mpsc::Receiver<Heard>,
        wait: &mut Duration,
    ) -> Ended {
        let since = self.room.newest().map(|at| at.saturating_sub(OVERLAP));
        let mut lines = json!({"kinds": [9, 5, 9005], "#h": [CHANNEL], "limit": CATCH_UP});
        if let Some(since) = since {
            lines["since"] = since.into();
        }
        let question = json!(["REQ", "page", lines, {"kinds": [0], "limit": 500}]);
        if let Err(why) = client.say(&question).await {
            return Ended::Broken(why);
        }
        loop {
            match heard.recv().await {
                Some(Heard::Event(event)) => self.room.hear(&event),
                Some(Heard::Complete(name)) if name == "page" => {
                    *wait = FIRST_WAIT;
                    self.room.set_reach(Reach::Here);
                }
                Some(_) => {}
                // The pump has the reason.
                None => std::future::pending().await,
            }
        }
    }
}

/// The sending half of a connection.
struct Talk<'a> {
    link: &'a Link,
    client: Client,
}

impl Talk<'_> {
    async fn send_all(self) -> Ended {
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
                if let Err(why) = self.client.log_in(&guest.keys).await {
                    return Ended::Broken(why);
                }
                people.insert(person);
            }
            match self.deliver(&unsent, &guest.keys, &guest.name).await {
                Err(ended) => return ended,
                Ok((true, _)) => {
                    room.arrived(&unsent.event);
                    link.people.wrote_in(&person, &link.service);
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

    async fn deliver(
        &self,
        unsent: &Unsent,
        keys: &Keys,
        name: &str,
    ) -> Result<(bool, String), Ended> {
        let now = (self.link.clock)();
        let profile = || signed(keys, 0, now, &[], &json!({"name": name}).to_string());
        if !self.link.room.is_known_as(&keys.public_key(), name) {
            let profile = profile()?;
            let (mut accepted, _) = self.client.ask("EVENT", &profile).await?;
            if !accepted {
                self.join(keys, now).await?;
                accepted = self.client.ask("EVENT", &profile).await?.0;
            }
            if accepted {
                self.link.room.hear(&profile);
            }
        }
        let first = self.client.ask("EVENT", &unsent.event).await?;
        if first.0 || !first.1.starts_with("restricted:") {
            return Ok(first);
        }
        self.join(keys, now).await?;
        Ok(self.client.ask("EVENT", &unsent.event).await?)
    }

    async fn join(&self, keys: &Keys, now: u64) -> Result<(), Ended> {
        let join = signed(keys, 9021, now, &[&["h", CHANNEL]], "")?;
        self.client.ask("EVENT", &join).await?;
        Ok(())
    }
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
