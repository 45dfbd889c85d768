//! The relays that the owner lists, and what runs for them.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nostr::event::Event;
use tokio::sync::watch;

use super::ledger::Ledger;
use super::scribe::Scribe;
use super::sender::Sender;
use super::wire::{self, Wire};
use crate::config::{Clock, FeedLimits, UplinkConfig};
use crate::dialer::BoxFuture;
use crate::error::HomeError;
use crate::feed::cache::LivesHere;
use crate::feed::relay::OwnRelay;
use crate::feed::way::{Socket, Way};
use crate::files;
use crate::relay_address::RelayAddress;

/// How often the log says the same of one relay.
const SAID_AGAIN: Duration = Duration::from_secs(3600);
/// Characters of what a relay says that the log takes.
const REASON: usize = 200;
/// Different troubles with a relay, and words with which it refuses, that are told apart.
const WORDS: usize = 16;

/// One relay that the owner lists.
pub struct Relay {
    address: RelayAddress,
    wire: Arc<Wire>,
    told: Mutex<Told>,
}

/// What the log was told of a relay.
#[derive(Default)]
struct Told {
    /// Why it cannot be used, and when that was said.
    troubles: Vec<(String, Instant)>,
    is_away: bool,
    /// With which words it refused something.
    refusals: HashSet<String>,
}

/// All of them.
pub struct Uplink {
    relays: Vec<Arc<Relay>>,
    ledger: Arc<Ledger>,
    clock: Clock,
}

/// What the relays are given.
pub struct Supply<'a> {
    /// Where people here write, and the home's own key.
    pub own: &'a OwnRelay,
    /// Who they are.
    pub lives_here: LivesHere,
    /// How long is waited.
    pub limits: &'a FeedLimits,
    /// Becomes true when all is over.
    pub stop: &'a watch::Sender<bool>,
}

/// Whether the configuration can be used: whether this program was built with the feature `uplink`, and the file is there.
/// Blocks.
pub fn check(config: &UplinkConfig) -> Result<(), HomeError> {
    wire::roots(config).map(drop)
}

/// Text of others for the log.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(REASON).collect::<String>())
}

impl Relay {
    /// It does not take an event, which is left out.
    pub fn refused(&self, event: &Event, reason: &str) {
        let word = reason.split(':').next().unwrap_or_default();
        let word: String = word.chars().take(REASON).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.refusals.len() < WORDS && told.refusals.insert(word);
        let level = if is_new {
            log::Level::Warn
        } else {
            log::Level::Debug
        };
        log::log!(
            level,
            "the relay {} does not take {} (kind {}), which is not sent again: {}",
            self.address,
            event.id.to_hex(),
            event.kind.as_u16(),
            quoted(reason)
        );
    }
}

impl Way for Relay {
    fn name(&self) -> &str {
        self.address.as_str()
    }

    fn is_home(&self) -> bool {
        false
    }

    fn open(&self, message_bytes: usize) -> BoxFuture<'_, io::Result<Socket>> {
        Box::pin(self.wire.open(&self.address, message_bytes))
    }

    fn failed(&self, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.troubles.retain(|(_, at)| at.elapsed() < SAID_AGAIN);
        let is_known = told.troubles.iter().any(|(known, _)| known == why);
        if is_known || told.troubles.len() >= WORDS {
            return log::debug!("the relay {}: {}", self.address, quoted(why));
        }
        log::warn!(
            "the relay {} cannot be used now and is tried again: {}",
            self.address,
            quoted(why)
        );
        told.troubles.push((why.to_owned(), Instant::now()));
        told.is_away = true;
    }

    fn answered(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut told.is_away) {
            log::info!("the relay {} answers again", self.address);
        }
    }
}

impl Uplink {
    /// The relays of a configuration; what they have is noted in a directory. `None` when there are none. Blocks.
    pub fn open(
        config: &UplinkConfig,
        dir: &Path,
        clock: &Clock,
    ) -> Result<Option<Self>, HomeError> {
        if config.relays.is_empty() {
            return Ok(None);
        }
        files::make_dir(dir)?;
        let wire = Arc::new(Wire::new(config, clock)?);
        let relay = |address: &RelayAddress| {
            Arc::new(Relay {
                address: address.clone(),
                wire: Arc::clone(&wire),
                told: Mutex::default(),
            })
        };
        Ok(Some(Self {
            relays: config.relays.iter().map(relay).collect(),
            ledger: Arc::new(Ledger::open(dir)?),
            clock: Arc::clone(clock),
        }))
    }

    /// The ways to them.
    pub fn ways(&self) -> Vec<Arc<dyn Way>> {
        let relays = self.relays.iter().map(Arc::clone);
        relays.map(|relay| relay as Arc<dyn Way>).collect()
    }

    /// Begins to send. In a runtime.
    pub fn start(&self, supply: &Supply<'_>) {
        let waits = (supply.limits.first_wait, supply.limits.longest_wait);
        let scribe = Scribe {
            own: supply.own.clone(),
            ledger: Arc::clone(&self.ledger),
            relays: self
                .ways()
                .iter()
                .map(|way| way.name().to_owned())
                .collect(),
            clock: Arc::clone(&self.clock),
            waits,
        };
        spawn(supply.stop, scribe.run());
        for relay in &self.relays {
            let sender = Sender {
                relay: Arc::clone(relay),
                own: supply.own.clone(),
                ledger: Arc::clone(&self.ledger),
                lives_here: Arc::clone(&supply.lives_here),
                keys: supply.own.keys.clone(),
                clock: Arc::clone(&self.clock),
                waits,
                unanswered: Mutex::default(),
            };
            spawn(supply.stop, sender.run());
        }
    }

    /// Lets go of the file.
    pub fn close(&self) {
        self.ledger.close();
    }
}

fn spawn(stop: &watch::Sender<bool>, work: impl Future<Output = ()> + Send + 'static) {
    let mut stop = stop.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
}
