//! The space as its host sees it: open it, hand it connections, ask how it is, close it.

mod host;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::config::{Clock, SpaceConfig};
use crate::connection::Session;
use crate::core::Core;
use crate::disk::Directory;
use crate::error::SpaceError;
#[cfg(feature = "s3")]
use crate::files::Objects;
use crate::files::{BlobError, Fetcher, Files};
use crate::groups::{Groups, kinds};
use crate::personal::Residents;
use crate::pipeline::Pipeline;
use crate::record::ChannelId;
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
use crate::store::{EmbeddedStore, Store, StoreError};
use crate::stores::{Place, Stores};
use crate::{http, ingest, keyfile, presence, told, vanish};

/// Bytes of events that may be on their way in at a time.
const INTAKE_BYTES: usize = 4 << 20;
/// The file of the space's own key.
const KEY: &str = "space.key";
/// The directory of its events.
const JOURNAL: &str = "journal";
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
        check_service(&config)?;
        Self::open_with(config, clock, None)
    }

    /// Opens the relay of the people of a home instead (see `personal`). The directory is as that of a space.
    pub fn open_personal(
        config: SpaceConfig,
        residents: Arc<dyn Residents>,
        clock: Clock,
    ) -> Result<Arc<Self>, SpaceError> {
        check_service(&config)?;
        Self::open_with(config, clock, Some(residents))
    }

    fn open_with(
        config: SpaceConfig,
        clock: Clock,
        residents: Option<Arc<dyn Residents>>,
    ) -> Result<Arc<Self>, SpaceError> {
        let told = config.clone();
        let failed = |error| store_failed(&told, error);
        let place = find_place(&config)?;
        // Before anything else is made: see `check_whole`.
        let keys = keyfile::open(&config.dir.join(KEY))?;
        let store = open_events(&config, &place)?;
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
        let files = open_files(&config, &place)?;
        let core = Core::new(config.clone(), clock, keys, store, files, groups, residents);
        core.files
            .catch_up(&deletions)
            .and_then(|()| core.files.sweep(core.now()))
            .map_err(|error| files_failed(&config, error))?;
        let groups = core.groups();
        if core.personal.is_none() && groups.len() == 0 && groups.community().gone.is_empty() {
            make_first_channel(&core).map_err(failed)?;
        }
        if core.personal.is_none() {
            told::catch_up(&core);
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
        let listener = Arc::clone(&session.seat.listener);
        Box::pin(session.run(io)).await;
        self.pipeline
            .later(move |core| presence::left(core, &listener));
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
        self.core.store.close();
        self.core.files.close();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.close();
    }
}

fn check_service(config: &SpaceConfig) -> Result<(), SpaceError> {
    let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
    if config.service.len() != 52 || !config.service.bytes().all(base32) {
        return Err(SpaceError::ServiceName(config.service.clone()));
    }
    Ok(())
}

/// Where a space is, or will be. Makes its directory.
pub fn find_place(config: &SpaceConfig) -> Result<Place, SpaceError> {
    Directory::open(&config.dir).map_err(|source| SpaceError::File {
        action: "open",
        path: config.dir.clone(),
        source,
    })?;
    check_whole(config)?;
    Place::find(config)
}

/// An error where the key or the journal was lost: another key would make it another space, another journal an empty
/// one. The key is made first, then the journal, then the rest: so after a crash in between nothing counts as lost.
fn check_whole(config: &SpaceConfig) -> Result<(), SpaceError> {
    let here = |name: &&str| config.dir.join(name).exists();
    let lost = |name: &str, data: &str| SpaceError::Missing {
        path: config.dir.join(name),
        data: config.dir.join(data),
    };
    let later = ["index.sqlite", "files.sqlite"];
    let after_key = std::iter::once(JOURNAL).chain(later).find(here);
    if let Some(data) = after_key.filter(|_| !here(&KEY)) {
        return Err(lost(KEY, data));
    }
    let is_elsewhere = Place::read_in(&config.dir)?.events;
    let after_journal = later.into_iter().find(here);
    match after_journal.filter(|_| !is_elsewhere && !here(&JOURNAL)) {
        Some(data) => Err(lost(JOURNAL, data)),
        None => Ok(()),
    }
}

/// Opens the events of a space, or makes the place for them.
pub fn open_events(config: &SpaceConfig, place: &Place) -> Result<Box<dyn Store>, SpaceError> {
    #[cfg(feature = "postgres")]
    if let Some(server) = place.postgres(&config.stores)? {
        let store = PostgresStore::open(server, &place.schema());
        return Ok(Box::new(
            store.map_err(|error| store_failed(config, error))?,
        ));
    }
    place.postgres(&config.stores)?;
    let path = config.dir.join(JOURNAL);
    let disk = Directory::open(&path).map_err(|source| SpaceError::File {
        action: "open",
        path,
        source,
    })?;
    let store = EmbeddedStore::open(Arc::new(disk), &config.dir.join("index.sqlite"));
    Ok(Box::new(
        store.map_err(|error| store_failed(config, error))?,
    ))
}

/// Removes what the space in a directory has on servers; the directory is the caller's. Nobody may have it open. Blocks.
pub fn remove_from_servers(dir: &Path, stores: &Stores) -> Result<(), SpaceError> {
    let place = Place::read_in(dir)?;
    #[cfg(feature = "postgres")]
    if let Some(server) = place.postgres(stores)? {
        PostgresStore::remove(server, &place.schema())
            .map_err(|error| SpaceError::Store(error.to_string()))?;
    }
    place.postgres(stores)?;
    #[cfg(feature = "s3")]
    if let Some(server) = place.s3(stores)? {
        Objects::open(server, &place.name, &dir.join("files"))
            .and_then(|objects| objects.remove_all())
            .map_err(|error| SpaceError::Store(error.to_string()))?;
    }
    place.s3(stores)?;
    Ok(())
}

fn store_failed(config: &SpaceConfig, error: StoreError) -> SpaceError {
    match error {
        StoreError::Index(source) => SpaceError::Index {
            path: config.dir.join("index.sqlite"),
            source,
        },
        StoreError::Journal(source) if source.kind() == ErrorKind::Unsupported => {
            SpaceError::Store(format!("the journal of {}: {source}", config.dir.display()))
        }
        StoreError::Journal(source)
            if matches!(
                source.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            SpaceError::Journal {
                path: config.dir.join(JOURNAL),
                what: source.to_string(),
            }
        }
        StoreError::Journal(source) => SpaceError::File {
            action: "use",
            path: config.dir.join(JOURNAL),
            source,
        },
        StoreError::Record(error) => SpaceError::Journal {
            path: config.dir.join(JOURNAL),
            what: error.to_string(),
        },
        error @ StoreError::Server(_) => SpaceError::Store(error.to_string()),
    }
}

/// Opens the files of a space, or makes the place for them.
pub fn open_files(config: &SpaceConfig, place: &Place) -> Result<Files, SpaceError> {
    let path = config.dir.join("files");
    let disk = Directory::open(&path).map_err(|source| SpaceError::File {
        action: "open",
        path: path.clone(),
        source,
    })?;
    let disk = Arc::new(disk);
    let tables = config.dir.join("files.sqlite");
    let limits = config.limits.files.clone();
    #[cfg(feature = "s3")]
    if let Some(server) = place.s3(&config.stores)? {
        return Objects::open(server, &place.name, &path)
            .and_then(|objects| Files::open_with(disk, &tables, objects, limits))
            .map_err(|error| files_failed(config, error));
    }
    place.s3(&config.stores)?;
    Files::open(disk, &tables, limits).map_err(|error| files_failed(config, error))
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
        error @ (BlobError::Newer(..) | BlobError::Server(_)) => {
            SpaceError::Store(error.to_string())
        }
    }
}

fn make_first_channel(core: &Core) -> Result<(), StoreError> {
    let Some(id) = ChannelId::parse(FIRST_CHANNEL) else {
        return Ok(());
    };
    let events = ingest::first_channel(core, &id, "General");
    core.store.append(&events, &[])?;
    let mut groups = (*core.groups()).clone();
    for event in &events {
        groups.apply(&event.event, event.channel.as_ref());
    }
    core.set_groups(groups);
    Ok(())
}
