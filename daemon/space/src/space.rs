//! The space as its host sees it: open it, hand it connections, ask how it is, close it.

use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::config::{Clock, SpaceConfig};
use crate::connection::Session;
use crate::core::Core;
use crate::disk::{Directory, Disk};
use crate::error::SpaceError;
use crate::files::{BlobError, Fetcher, Files};
use crate::groups::{Groups, kinds};
use crate::pipeline::Pipeline;
use crate::record::ChannelId;
use crate::store::{EmbeddedStore, Store, StoreError};
use crate::{http, ingest, keyfile, vanish};

/// Bytes of events that may be on their way in at a time.
const INTAKE_BYTES: usize = 4 << 20;
/// The channel every new space has, so that there is something to write in. Everybody may join it.
pub const FIRST_CHANNEL: &str = "general";

/// How a space is, for a status table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The name people see.
    pub name: String,
    /// People who belong to the space.
    pub members: usize,
    /// Channels, hidden ones included.
    pub channels: usize,
    /// Events that can be asked for.
    pub events: u64,
    /// Bytes of the journal on disk.
    pub bytes: u64,
    /// Bytes of the files people uploaded.
    pub file_bytes: u64,
    /// Connections that are open now.
    pub connections: usize,
}

/// One open space.
pub struct Space {
    core: Arc<Core>,
    pipeline: Arc<Pipeline>,
    intake: Arc<Semaphore>,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("name", &self.core.config.name)
            .finish_non_exhaustive()
    }
}

impl Space {
    /// Opens the space in `config.dir`, or makes a new one there. Blocks while files are read; needs no runtime.
    pub fn open(config: SpaceConfig, clock: Clock) -> Result<Arc<Self>, SpaceError> {
        let path = config.dir.join("journal");
        let disk = Directory::open(&path).map_err(|source| SpaceError::File {
            action: "open",
            path,
            source,
        })?;
        Self::open_on(Arc::new(disk), config, clock)
    }

    /// The same, with the journal on another disk than the file system's.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        config: SpaceConfig,
        clock: Clock,
    ) -> Result<Arc<Self>, SpaceError> {
        let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
        if config.service.len() != 52 || !config.service.bytes().all(base32) {
            return Err(SpaceError::ServiceName(config.service));
        }
        let index_path = config.dir.join("index.sqlite");
        let failed = |error: StoreError| match error {
            StoreError::Index(source) => SpaceError::Index {
                path: index_path.clone(),
                source,
            },
            StoreError::Journal(source) => SpaceError::File {
                action: "use",
                path: config.dir.join("journal"),
                source,
            },
            StoreError::Record(error) => SpaceError::Damaged {
                path: config.dir.join("journal"),
                what: error.to_string(),
            },
        };
        Directory::open(&config.dir).map_err(|source| SpaceError::File {
            action: "open",
            path: config.dir.clone(),
            source,
        })?;
        let keys = keyfile::open(&config.dir.join("space.key"))?;
        let store = EmbeddedStore::open(disk, &index_path).map_err(failed)?;
        let mut groups = Groups::new(keys.public_key());
        let mut deletions: HashMap<ChannelId, u32> = HashMap::new();
        store
            .replay(&kinds::STATE, &mut |event| {
                drop(groups.apply(&event.event, event.channel.as_ref()));
                if event.event.kind.as_u16() == kinds::DELETE_GROUP
                    && let Some(channel) = &event.channel
                {
                    *deletions.entry(channel.clone()).or_default() += 1;
                }
            })
            .map_err(failed)?;
        let files = open_files(&config)?;
        let core = Core::new(config.clone(), clock, keys, Box::new(store), files, groups);
        core.files
            .catch_up(&deletions)
            .and_then(|()| core.files.sweep(core.now()))
            .map_err(|error| files_failed(&config, error))?;
        let groups = core.groups();
        if groups.len() == 0 && groups.community().gone.is_empty() {
            make_first_channel(&core).map_err(failed)?;
        }
        vanish::finish_all(&core).map_err(failed)?;
        let core = Arc::new(core);
        let pipeline = Arc::new(Pipeline::start(&core)?);
        Ok(Arc::new(Self {
            core,
            pipeline,
            intake: Arc::new(Semaphore::new(INTAKE_BYTES)),
        }))
    }

    /// Serves one HTTP/1.1 connection (WebSocket upgrade included) until it ends.
    pub async fn serve<IO>(self: Arc<Self>, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.core.config.limits;
        let Some(seat) = self
            .core
            .fanout
            .sit(limits.reader_backlog_bytes, limits.connections)
        else {
            log::warn!(
                "the space {} has as many connections as it may have; one is turned away",
                self.core.config.name
            );
            return;
        };
        // Each in a place of its own: the one for HTTP is given back before the session begins, which may idle for days.
        let Some(io) = Box::pin(http::serve(&self.core, &self.pipeline, io)).await else {
            return;
        };
        let mut challenge = [0; 32];
        if let Err(error) = getrandom::fill(&mut challenge) {
            log::error!("the system gives no random bytes; a connection is turned away: {error}");
            return;
        }
        let session = Session {
            core: Arc::clone(&self.core),
            pipeline: Arc::clone(&self.pipeline),
            intake: Arc::clone(&self.intake),
            seat,
            challenge: HEXLOWER.encode(&challenge),
        };
        Box::pin(session.run(io)).await;
    }

    /// By which way files of other spaces are reached (BUD-04). Without one, none are. Let go of when the space closes,
    /// because the way may hold the space itself.
    pub fn set_fetcher(&self, fetcher: Arc<dyn Fetcher>) {
        self.core.files.set_fetcher(Some(fetcher));
    }

    /// The space's insides, for what reads all of it.
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// How the space is now.
    pub fn summary(&self) -> Summary {
        let groups = self.core.groups();
        let stats = self.core.store.stats();
        Summary {
            name: self.core.text("name"),
            members: groups.community().members.len(),
            channels: groups.len(),
            events: stats.events,
            bytes: stats.bytes,
            file_bytes: self.core.files.bytes(),
            connections: self.core.fanout.len(),
        }
    }

    /// Writes everything that waits, ends all connections and the space's threads. Blocks until the files are closed.
    pub fn close(&self) {
        self.core.fanout.close();
        self.core.files.set_fetcher(None);
        self.intake.close();
        self.pipeline.stop();
        if let Err(error) = self.core.store.maintain() {
            log::error!(
                "the index could not be brought up to date; the next start will do it: {error}"
            );
        }
        self.core.files.close();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the files of a space, or makes the place for them.
pub fn open_files(config: &SpaceConfig) -> Result<Files, SpaceError> {
    let path = config.dir.join("files");
    let disk = Directory::open(&path).map_err(|source| SpaceError::File {
        action: "open",
        path,
        source,
    })?;
    let tables = config.dir.join("files.sqlite");
    Files::open(Arc::new(disk), &tables, config.limits.files.clone())
        .map_err(|error| files_failed(config, error))
}

fn files_failed(config: &SpaceConfig, error: BlobError) -> SpaceError {
    let path = config.dir.join("files");
    match error {
        BlobError::Full => SpaceError::File {
            action: "write",
            path,
            source: std::io::ErrorKind::StorageFull.into(),
        },
        BlobError::Disk(source) => SpaceError::File {
            action: "use",
            path,
            source,
        },
        BlobError::Tables(error) => SpaceError::Damaged {
            path: config.dir.join("files.sqlite"),
            what: error.to_string(),
        },
    }
}

fn make_first_channel(core: &Core) -> Result<(), StoreError> {
    let Some(id) = ChannelId::parse(FIRST_CHANNEL) else {
        return Ok(());
    };
    let events = ingest::first_channel(core, &id, "General")
        .map_err(|reason| StoreError::Journal(std::io::Error::other(reason)))?;
    core.store.append(&events, &[])?;
    let mut groups = (*core.groups()).clone();
    for event in &events {
        groups.apply(&event.event, event.channel.as_ref());
    }
    core.set_groups(groups);
    Ok(())
}
