//! Notes in the ledger what people here wrote for everybody, as it comes into the home's own relay: by a subscription
//! there, and before by a comparison of everything (NIP-77), so that what was written while nobody listened, with whatever
//! date, is found too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nostr::event::{Event, EventId};
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::public::KINDS;
use crate::config::Clock;
use crate::feed::relay::{OwnRelay, next, send};
use crate::feed::way::Socket;
use crate::messages::sync::{Comparison, Step};

/// Latest date there is, seconds since 1970.
const FAR: u64 = i64::MAX as u64;
/// Events whose dates are looked up at a time.
const LOOKED_UP: usize = 20;
/// Events that one comparison may bring to light; a comparison that finds as many is made again.
const FOUND: usize = 20_000;
/// A subscription that lasts as long was a good one.
const GOOD: Duration = Duration::from_secs(60);

/// Who notes.
pub struct Scribe {
    /// Where people here write.
    pub own: OwnRelay,
    /// Where it is noted.
    pub ledger: Arc<Ledger>,
    /// The relays that get it.
    pub relays: Vec<String>,
    /// The time.
    pub clock: Clock,
    /// Waiting between two attempts: at first, and at most.
    pub waits: (Duration, Duration),
}

/// What a comparison says.
enum Compared {
    /// What is not noted, and what is noted and is gone.
    Found(Vec<EventId>, Vec<EventId>),
    /// There is too much for one.
    TooMuch,
}

/// Does what blocks with the ledger.
pub async fn with<T: Send + 'static>(
    ledger: &Arc<Ledger>,
    work: impl FnOnce(&Ledger) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, String> {
    let ledger = Arc::clone(ledger);
    match tokio::task::spawn_blocking(move || work(&ledger)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl Scribe {
    /// Listens. Never ends.
    pub async fn run(self) {
        let mut wait = self.waits.0;
        loop {
            let begun = Instant::now();
            match self.listen().await {
                Err(why) => log::debug!("what goes out to relays is not noted for a moment: {why}"),
                Ok(never) => match never {},
            }
            if begun.elapsed() > GOOD {
                wait = self.waits.0;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(self.waits.1);
        }
    }

    async fn listen(&self) -> Result<Infallible, String> {
        let mut socket = self.own.open().await.map_err(|error| error.to_string())?;
        let new = json!(["REQ", "new", {"kinds": KINDS, "limit": 0}]);
        self.send(&mut socket, new).await?;
        self.catch_up(&mut socket).await?;
        loop {
            let message = self.next(&mut socket).await?;
            self.hear(&message).await?;
        }
    }

    async fn send(&self, socket: &mut Socket, message: Value) -> Result<(), String> {
        send(socket, message)
            .await
            .map_err(|error| error.to_string())
    }

    async fn next(&self, socket: &mut Socket) -> Result<Value, String> {
        next(socket).await.map_err(|error| error.to_string())
    }

    /// Takes in what is new.
    async fn hear(&self, message: &Value) -> Result<(), String> {
        match message[0].as_str() {
            Some("EVENT") if message[1] == "new" => {
                let event: Event = serde_json::from_value(message[2].clone())
                    .map_err(|error| error.to_string())?;
                let noted = vec![(event.created_at.as_secs(), event.id)];
                with(&self.ledger, move |ledger| ledger.note(&noted)).await
            }
            Some("CLOSED") => Err(message[2].as_str().unwrap_or_default().to_owned()),
            _ => Ok(()),
        }
    }

    /// Finds what is not noted yet, the oldest first, and forgets what is gone.
    async fn catch_up(&self, socket: &mut Socket) -> Result<(), String> {
        let mut spans = vec![(0, FAR)];
        let mut gone = Vec::new();
        let mut is_complete = true;
        while let Some((since, until)) = spans.pop() {
            match self.compare(socket, since, until).await? {
                Compared::TooMuch if since < until => {
                    // Most dates are behind us.
                    let now = (self.clock)().clamp(since, until - 1);
                    let middle = match until {
                        FAR => now,
                        _ => since + (until - since) / 2,
                    };
                    spans.extend([(middle + 1, until), (since, middle)]);
                }
                Compared::TooMuch => return Err("too much of one second".into()),
                Compared::Found(new, old) => {
                    gone.extend(old);
                    is_complete &= new.is_empty();
                    let again = new.len() >= FOUND;
                    self.note(&new).await?;
                    if again {
                        spans.push((since, until));
                    }
                }
            }
        }
        // What deletes it may be among what is new.
        if is_complete && !gone.is_empty() {
            let relays = self.relays.clone();
            with(&self.ledger, move |ledger| ledger.forget(&gone, &relays)).await?;
        }
        Ok(())
    }

    async fn compare(
        &self,
        socket: &mut Socket,
        since: u64,
        until: u64,
    ) -> Result<Compared, String> {
        let known = with(&self.ledger, move |ledger| ledger.between(since, until)).await?;
        let (mut comparison, first) = Comparison::new(&known)?;
        let mut filter = json!({"kinds": KINDS});
        if since > 0 {
            filter["since"] = since.into();
        }
        if until < FAR {
            filter["until"] = until.into();
        }
        let open = json!(["NEG-OPEN", "all", filter, first]);
        self.send(socket, open).await?;
        loop {
            let message = self.next(socket).await?;
            let text = message[2].as_str().unwrap_or_default();
            match message[0].as_str() {
                Some("NEG-MSG") => match comparison.hear(text)? {
                    Step::Send(next) => {
                        self.send(socket, json!(["NEG-MSG", "all", next])).await?;
                    }
                    Step::Done(there, here) => {
                        self.send(socket, json!(["NEG-CLOSE", "all"])).await?;
                        return Ok(Compared::Found(there, here));
                    }
                },
                Some("NEG-ERR") if text.starts_with("blocked:") => return Ok(Compared::TooMuch),
                Some("NEG-ERR") => return Err(text.to_owned()),
                _ => self.hear(&message).await?,
            }
        }
    }

    async fn note(&self, ids: &[EventId]) -> Result<(), String> {
        let mut dated = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LOOKED_UP) {
            let ids: Vec<String> = ids.iter().map(EventId::to_hex).collect();
            let events = self
                .own
                .query(json!({"ids": ids, "limit": LOOKED_UP}))
                .await;
            let events = events.map_err(|error| error.to_string())?;
            dated.extend(
                events
                    .iter()
                    .map(|event| (event.created_at.as_secs(), event.id)),
            );
        }
        dated.sort_unstable();
        with(&self.ledger, move |ledger| ledger.note(&dated)).await
    }
}
