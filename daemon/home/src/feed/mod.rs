//! The public feed: what people of this home write for everybody goes into the home's own relay; what those they follow
//! write is fetched from the relays of their homes (NIP-65, the outbox model). Every call goes down in this list.
//!
//! | file | what |
//! |---|---|
//! | `writing` | what people do: post, answer, react, follow |
//! | `reading`, `view` | what they are shown |
//! | `setting_up` | what tells others where people of this home are found |
//! | `links`, `link`, `way` | one connection to each home that is listened to |
//! | `uplink` | relays of the Internet that the owner lists |
//! | `plan` | whom to ask where |
//! | `finding` | who is meant by a name |
//! | `relay` | the way into the home's own relay |
//! | `questions`, `cache` | what is known, on the disk up to a size |
//! | `references` | what events say of others |

mod cache;
mod finding;
mod link;
mod links;
mod plan;
mod questions;
mod reading;
pub mod references;
mod relay;
mod setting_up;
pub mod uplink;
mod view;
mod way;
mod writing;

use std::path::Path;
use std::sync::Arc;

use nostr::event::Event;
use nostr::key::{Keys, PublicKey};
use tokio::sync::watch;

use crate::config::{Clock, FeedLimits, UplinkConfig};
use crate::dialer::{Dialer, ServiceName};
use crate::error::HomeError;
use crate::files;
use crate::people::People;
use cache::{Cache, LivesHere};
use links::Links;
use relay::OwnRelay;
use uplink::{Supply, Uplink};

pub use finding::read_names;
pub use link::Said;
pub use questions::{Part, Place, Whose};
pub use writing::{Emoji, FeedError, Profile};

/// First line of the file of the home's own key.
const KEY_HEAD: &str = "warren feed key 1";

/// The feed of a home.
pub struct Feed {
    people: Arc<People>,
    cache: Arc<Cache>,
    links: Links,
    relay: Option<OwnRelay>,
    uplink: Option<Uplink>,
    keys: Keys,
    limits: FeedLimits,
    clock: Clock,
    dialer: Arc<dyn Dialer>,
    stop: watch::Sender<bool>,
    /// One change of a person's lists at a time: each is read, changed and written as a whole.
    changing: tokio::sync::Mutex<()>,
}

impl Feed {
    /// Opens the feed: its key is in the directory of the home, its cache beside it. `relay` is the home's own relay.
    /// `uplink` are those of the Internet. Blocks; needs no runtime.
    pub fn open(
        dir: &Path,
        relay: Option<ServiceName>,
        uplink: &UplinkConfig,
        people: Arc<People>,
        dialer: Arc<dyn Dialer>,
        limits: FeedLimits,
        clock: Clock,
    ) -> Result<Self, HomeError> {
        let keys = open_key(&dir.join("feed.key"))?;
        let mut beside = dir.file_name().unwrap_or_default().to_owned();
        beside.push("-cache");
        let beside = dir.with_file_name(beside);
        let cache = Arc::new(Cache::open(
            &beside,
            limits.clone(),
            Arc::clone(&clock),
            lives_here(&people),
        )?);
        let uplink = Uplink::open(uplink, &beside, &clock)?;
        let relay = relay.map(|service| OwnRelay {
            service,
            keys: keys.clone(),
            dialer: Arc::clone(&dialer),
            clock: Arc::clone(&clock),
        });
        let listed = uplink.as_ref().map(Uplink::ways).unwrap_or_default();
        Ok(Self {
            links: Links::new(Arc::clone(&dialer), Arc::clone(&cache), listed),
            uplink,
            people,
            cache,
            relay,
            keys,
            limits,
            clock,
            dialer,
            stop: watch::channel(false).0,
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// Begins to listen. Once, in a runtime.
    pub fn resume(self: &Arc<Self>) {
        let Some(relay) = &self.relay else { return };
        if let Some(uplink) = &self.uplink {
            uplink.start(&Supply {
                own: relay,
                lives_here: lives_here(&self.people),
                limits: &self.limits,
                stop: &self.stop,
            });
        }
        let own = relay.service.clone();
        let feed = Arc::clone(self);
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = feed.links.keep(&own, &feed.people, feed.limits.look_every) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            feed.links.close();
        });
        let feed = Arc::clone(self);
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = feed.set_up_people() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }

    /// Ends all connections.
    pub fn close(&self) {
        let _ = self.stop.send_replace(true);
        self.cache.close();
        if let Some(uplink) = &self.uplink {
            uplink.close();
        }
    }

    /// Whether it is the key by which this home proves itself to its relay.
    pub fn is_own_key(&self, key: &PublicKey) -> bool {
        self.keys.public_key() == *key
    }

    /// The home's own relay.
    pub fn relay(&self) -> Option<&ServiceName> {
        self.relay.as_ref().map(|relay| &relay.service)
    }

    /// Bytes that the cache holds of what others wrote.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.foreign_bytes()
    }

    /// Does what blocks with the cache.
    async fn with_cache<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, FeedError> {
        let cache = Arc::clone(&self.cache);
        let done = tokio::task::spawn_blocking(move || work(&cache)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(FeedError::Broken(error.to_string())),
            Err(error) => Err(FeedError::Broken(error.to_string())),
        }
    }

    /// Writes events of people here: into the relay, on the disk, and then to where the feed is read from.
    async fn publish(&self, events: Vec<Event>) -> Result<(), FeedError> {
        let relay = self.relay.as_ref().ok_or(FeedError::NoRelay)?;
        relay.publish(&events).await?;
        self.with_cache(move |cache| {
            for event in &events {
                cache.take(event)?;
            }
            Ok(())
        })
        .await?;
        self.links.look();
        Ok(())
    }
}

fn lives_here(people: &People) -> LivesHere {
    let accounts = Arc::clone(&people.accounts);
    Arc::new(move |person| accounts.lives_here(person))
}

fn open_key(path: &Path) -> Result<Keys, HomeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let key = text.strip_prefix(KEY_HEAD).map(str::trim);
            let key = key.and_then(|key| Keys::parse(key).ok());
            key.ok_or_else(|| HomeError::Damaged {
                path: path.to_owned(),
                what: format!("it is no file that begins with `{KEY_HEAD}`"),
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = Keys::generate();
            let text = format!("{KEY_HEAD}\n{}\n", keys.secret_key().to_secret_hex());
            files::write_atomically(path, text.as_bytes()).map_err(files::failed("write", path))?;
            Ok(keys)
        }
        Err(error) => Err(files::failed("read", path)(error)),
    }
}
