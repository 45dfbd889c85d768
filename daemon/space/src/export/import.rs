//! Events on their way into a new space. Nothing is taken on trust: every id and signature is checked. Memory is
//! bounded by one batch.

use std::collections::HashSet;
use std::sync::Arc;

use nostr::event::{Event, EventId};

use crate::config::{Clock, SpaceConfig};
use crate::core::Core;
use crate::error::SpaceError;
use crate::files::BlobError;
use crate::groups::{Groups, kinds};
use crate::ingest::{self, told_channel};
use crate::keyfile;
use crate::record::{ChannelId, StoredEvent};
use crate::space;
use crate::store::{StoreError, Upkeep};

/// Events that are made safe at once, and bytes after which they are.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// Longest event as JSON, bytes: no space has ever taken a longer one.
const JSON_BYTES: usize = 1 << 20;

/// Why an event, or all of them, cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// No event, or none that a space could have.
    #[error("it is no event: {0}")]
    NotAnEvent(String),
    /// The id is not the hash of the event.
    #[error("the event {0} was changed: its id does not fit")]
    Id(EventId),
    /// The signature is not the author's.
    #[error("the event {0} was changed or forged: its signature does not fit")]
    Signature(EventId),
    /// No channel has this id.
    #[error("no channel can be called {0:?}")]
    Channel(String),
    /// The disk does not take it.
    #[error("the events cannot be written: {0}")]
    Disk(std::io::Error),
    /// The new space cannot be opened.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Disk(match error {
            StoreError::Journal(error) => error,
            other => std::io::Error::other(other.to_string()),
        })
    }
}

/// A space that is being filled. Nobody is served meanwhile.
pub struct Importer {
    core: Core,
    batch: Vec<Arc<StoredEvent>>,
    bytes: usize,
    ids: HashSet<EventId>,
    taken: u64,
}

impl std::fmt::Debug for Importer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl Importer {
    /// Begins in `config.dir`, where nothing but the space's key file is. Blocks, as all of this does.
    pub fn begin(config: SpaceConfig, clock: Clock) -> Result<Self, ImportError> {
        let place = space::find_place(&config)?;
        let keys = keyfile::open(&config.dir.join("space.key"))?;
        let store = space::open_events(&config, &place)?;
        let files = space::open_files(&config, &place)?;
        let groups = Groups::new(keys.public_key());
        Ok(Self {
            core: Core::new(config, clock, keys, store, files, groups, None),
            batch: Vec::new(),
            bytes: 0,
            ids: HashSet::new(),
            taken: 0,
        })
    }

    /// Takes the next event: NIP-01 JSON, and its channel where the tags do not say it. One that is there already is
    /// passed over.
    pub fn add(&mut self, json: &str, channel: Option<&str>) -> Result<(), ImportError> {
        if json.len() > JSON_BYTES {
            return Err(ImportError::NotAnEvent("it is too long".into()));
        }
        let event: Event = serde_json::from_str(json).map_err(|error| {
            ImportError::NotAnEvent(error.to_string().chars().take(200).collect())
        })?;
        let channel = match channel {
            None => told_channel(&event),
            Some("") => None,
            Some(text) => {
                let id = ChannelId::stored(text);
                let short = || ImportError::Channel(text.chars().take(80).collect());
                Some(id.ok_or_else(short)?)
            }
        };
        if event.kind.is_ephemeral() {
            return Err(ImportError::NotAnEvent("its kind is never stored".into()));
        }
        if !event.verify_id() {
            return Err(ImportError::Id(event.id));
        }
        if self.ids.contains(&event.id) || self.core.store.get(&event.id)?.is_some() {
            return Ok(());
        }
        if !event.verify_signature() {
            return Err(ImportError::Signature(event.id));
        }
        let stored = StoredEvent { event, channel };
        let kind = stored.event.kind.as_u16();
        if matches!(kind, kinds::DELETION | kinds::DELETE_EVENT) {
            return self.take_deletion(stored);
        }
        self.bytes += stored.cost();
        self.ids.insert(stored.event.id);
        self.batch.push(Arc::new(stored));
        if self.batch.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// What it deletes is here only if it was deleted while the space was read.
    fn take_deletion(&mut self, deletion: StoredEvent) -> Result<(), ImportError> {
        self.flush()?;
        let erase = ingest::targets(&deletion, &self.core)?;
        self.core.store.append(&[Arc::new(deletion)], &erase)?;
        self.taken += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        if !self.batch.is_empty() {
            self.core.store.append(&self.batch, &[])?;
            self.taken += self.batch.len() as u64;
            self.batch.clear();
            self.bytes = 0;
            self.ids.clear();
            if self.core.store.upkeep() != Upkeep::Little {
                self.core.store.maintain()?;
            }
        }
        Ok(())
    }

    /// Events that are on disk.
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// That was all. Returns how many events there are, once they are on disk and the files are closed.
    pub fn finish(mut self) -> Result<u64, ImportError> {
        self.flush()?;
        self.core.store.maintain()?;
        self.core.store.close();
        self.core.files.take_rights().map_err(|error| match error {
            BlobError::Disk(error) => ImportError::Disk(error),
            other => ImportError::Disk(std::io::Error::other(other.to_string())),
        })?;
        self.core.files.close();
        Ok(self.taken)
    }
}
