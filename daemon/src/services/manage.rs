//! What the owner does with spaces while the daemon runs: make, change, remove, take in. One change at a time; the disk
//! first, then what runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use warren_mesh::descriptor::MAX_SERVICES;

use super::folders::{Folders, INCOMING};
use super::hosted::{self, Door, Ground, Hosted, LocalSpace, let_go};
use super::record::{self, PORT_MIN, QUOTA_MIB, SpaceRecord};
use crate::config::values::SpaceId;
use crate::control::protocol::{
    ControlError, ErrorCode, HostedSpace, NodePapers, Papers, SpaceFigures, SpaceState,
};
use crate::error::DaemonError;
use crate::{keys, store};

/// The file of a service's key in the directory of a space that a command made.
pub const SERVICE_KEY: &str = "service.key";
/// The file of the key that signs a space's events.
pub const SPACE_KEY: &str = "space.key";
/// Where ports of spaces begin, if nothing else is said.
const FIRST_PORT: u16 = 7447;

/// What a new space shall be.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The title.
    pub title: String,
    /// A sentence about it.
    pub about: String,
    /// Whether the island is told of it.
    pub visible: bool,
    /// Its port, or any.
    pub port: Option<u16>,
    /// The owner's public key.
    pub owner: Option<String>,
}

/// What shall be different.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The title.
    pub title: Option<String>,
    /// A sentence about it.
    pub about: Option<String>,
    /// Whether the island is told of it.
    pub visible: Option<bool>,
    /// MiB of events it may keep.
    pub quota_mib: Option<u32>,
    /// Whether it has moved to another box.
    pub closed: Option<bool>,
}

/// See the module.
#[derive(Debug)]
pub struct Manager {
    hosted: Arc<Hosted>,
    folders: Folders,
    ground: Ground,
    state: PathBuf,
    one_at_a_time: tokio::sync::Mutex<()>,
}

fn disk(error: &DaemonError) -> ControlError {
    log::error!("{error}");
    ControlError::new(ErrorCode::Disk, error.to_string())
}

fn bare(code: ErrorCode) -> ControlError {
    ControlError {
        code,
        args: Vec::new(),
    }
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DaemonError> + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| disk(&error)),
        Err(_) => Err(bare(ErrorCode::Unavailable)),
    }
}

fn text(path: &Path) -> Result<String, DaemonError> {
    let bytes = store::read(path, store::FILE_MAX)?.ok_or_else(|| DaemonError::missing(path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds a space by id, service or title.
pub fn find(spaces: &[LocalSpace], name: &str) -> Result<LocalSpace, ControlError> {
    let service = name.strip_suffix(".warren").unwrap_or(name);
    let exact = spaces
        .iter()
        .find(|space| space.id == name || space.name.as_str() == service);
    // Without its door: that ends with the last who holds it.
    let copy = |space: &LocalSpace| LocalSpace {
        door: None,
        ..space.clone()
    };
    if let Some(space) = exact {
        return Ok(copy(space));
    }
    let mut titled = spaces.iter().filter(|space| space.record.title == name);
    match (titled.next(), titled.next()) {
        (Some(space), None) => Ok(copy(space)),
        (Some(_), Some(_)) => Err(ControlError::new(ErrorCode::Ambiguous, name)),
        (None, _) => {
            let short: String = name.chars().take(80).collect();
            Err(ControlError::new(ErrorCode::NotFound, short))
        }
    }
}

impl Manager {
    /// For the spaces in `state`.
    pub fn new(hosted: Arc<Hosted>, state: &Path, ground: &Ground) -> Self {
        Self {
            hosted,
            folders: Folders::new(state.join("spaces")),
            ground: ground.clone(),
            state: state.to_path_buf(),
            one_at_a_time: tokio::sync::Mutex::default(),
        }
    }

    /// All spaces of this box with their settings, by id.
    pub fn list(&self) -> Vec<HostedSpace> {
        let mut list: Vec<HostedSpace> = self.hosted.spaces().iter().map(view).collect();
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Makes a space and serves it.
    pub async fn create(&self, wish: Wish) -> Result<HostedSpace, ControlError> {
        let _one = self.one_at_a_time.lock().await;
        let owner = match &wish.owner {
            Some(text) => Some(record::parse_owner(text)?),
            None => None,
        };
        let record = SpaceRecord {
            title: wish.title,
            about: wish.about,
            visible: wish.visible,
            port: self.port(wish.port)?,
            owner,
            quota_mib: QUOTA_MIB,
            closed: false,
        };
        record.check()?;
        let id = self.free_id(&record.title);
        let (folders, ground, made, name) = (
            self.folders.clone(),
            self.ground.clone(),
            record,
            id.clone(),
        );
        blocking(move || {
            let directory = folders.begin(&name)?;
            let signer = keys::service(&directory.join(SERVICE_KEY))?;
            // Its key and first channel; closed again, because files do not follow when their directory is renamed.
            let service = signer.service().to_string();
            let space = hosted::open_files(&directory, &service, &made, &ground)?;
            space.space.close();
            drop(space);
            made.save(&directory)
        })
        .await?;
        self.appear(&id, &id).await
    }

    /// Takes in a space that was put together below `spaces/`.
    pub async fn adopt(&self, directory: &str) -> Result<HostedSpace, ControlError> {
        let _one = self.one_at_a_time.lock().await;
        let part = directory
            .strip_prefix(INCOMING)
            .filter(|part| part.parse::<SpaceId>().is_ok())
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, directory))?;
        let spaces = self.hosted.spaces();
        let incoming = self.folders.incoming(part);
        let record_file = incoming.clone();
        let mut record = blocking(move || SpaceRecord::load(&record_file))
            .await?
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, directory))?;
        let key = incoming.join(SERVICE_KEY);
        let service = blocking(move || keys::service(&key)).await?.service();
        let same = |space: &&LocalSpace| space.name.as_str() == service.to_string();
        if let Some(space) = spaces.iter().find(same) {
            return Err(ControlError::new(ErrorCode::Exists, space.id.clone()));
        }
        let id = self.free_id(&record.title);
        if self.port(Some(record.port)).is_err() {
            record.port = self.port(None)?;
            blocking(move || record.save(&incoming)).await?;
        }
        self.appear(part, &id).await
    }

    fn free_id(&self, title: &str) -> String {
        let spaces = self.hosted.spaces();
        self.folders.free_id(&record::slug(title), |id| {
            spaces.iter().any(|space| space.id == id)
        })
    }

    /// A space that was put together gets its name and is served; or it is removed again.
    async fn appear(&self, part: &str, id: &str) -> Result<HostedSpace, ControlError> {
        let appeared = self.try_appear(part, id).await;
        if appeared.is_err() {
            let incoming = self.folders.incoming(part);
            let ground = self.ground.clone();
            let _ = blocking(move || {
                ground.forget(&incoming)?;
                super::folders::remove_all(&incoming)
            })
            .await;
            self.say().await;
        }
        appeared
    }

    async fn try_appear(&self, part: &str, id: &str) -> Result<HostedSpace, ControlError> {
        let incoming = self.folders.incoming(part);
        let key = incoming.join(SERVICE_KEY);
        let (record, signer) = blocking(move || {
            let record = SpaceRecord::load(&incoming)?;
            Ok((record, keys::service(&key)?))
        })
        .await?;
        let record = record.ok_or_else(|| ControlError::new(ErrorCode::NotFound, id))?;
        let name = warren_home::ServiceName::parse(&signer.service().to_string())
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, id))?;
        let mut space = LocalSpace {
            id: id.to_owned(),
            name,
            signer: Arc::new(signer),
            record,
            configured: false,
            directory: self.folders.of(id),
            space: None,
            door: None,
        };
        let shown = space.record.visible && !space.record.closed;
        let listener = if shown {
            self.may_show(&space).await?
        } else {
            None
        };
        let (folders, ground, committed) =
            (self.folders.clone(), self.ground.clone(), space.clone());
        let part = part.to_owned();
        let opened = blocking(move || {
            folders.commit(&part, &committed.id)?;
            let (record, name) = (&committed.record, committed.name.as_str());
            if record.closed {
                return Ok(None);
            }
            hosted::open_files(&committed.directory, name, record, &ground).map(Some)
        })
        .await?;
        space.space = opened;
        space.door = self.door(&space, listener)?;
        log::info!("space {id}: {}.warren", space.name);
        self.hosted.put(space.clone());
        Ok(view(&space))
    }

    /// Whether one more may be shown to the island: then it is told, and the port is bound.
    async fn may_show(&self, space: &LocalSpace) -> Result<Option<super::Listener>, ControlError> {
        let spaces = self.hosted.spaces();
        let others = spaces
            .iter()
            .filter(|other| other.is_shown() && other.id != space.id);
        if others.count() >= MAX_SERVICES {
            return Err(ControlError::new(
                ErrorCode::TooManyVisible,
                MAX_SERVICES.to_string(),
            ));
        }
        let port = space.record.port;
        let listener = self
            .hosted
            .bind(port)
            .map_err(|_| ControlError::new(ErrorCode::PortTaken, port.to_string()))?;
        self.hosted
            .announce_with(Some(space))
            .await
            .map_err(|_| bare(ErrorCode::AnnouncementTooLong))?;
        Ok(listener)
    }

    fn door(
        &self,
        space: &LocalSpace,
        listener: Option<super::Listener>,
    ) -> Result<Option<Arc<Door>>, ControlError> {
        let Some(running) = space.space.as_ref().filter(|_| space.record.visible) else {
            return Ok(None);
        };
        let door = self
            .hosted
            .serve(running, space.record.port, listener)
            .map_err(|error| disk(&error))?;
        Ok(Some(Arc::new(door)))
    }

    /// Tells the island how things are now.
    async fn say(&self) {
        if let Err(error) = self.hosted.announce().await {
            log::error!("the island is not told of the spaces here: {error}");
        }
    }

    fn port(&self, wanted: Option<u16>) -> Result<u16, ControlError> {
        let spaces = self.hosted.spaces();
        let free = |port: &u16| {
            !spaces.iter().any(|space| space.record.port == *port)
                && self.hosted.bind(*port).is_ok()
        };
        match wanted {
            // Told apart by the check of the whole record.
            Some(port) if port < PORT_MIN => Ok(port),
            Some(port) if free(&port) => Ok(port),
            Some(port) => Err(ControlError::new(ErrorCode::PortTaken, port.to_string())),
            None => (FIRST_PORT..u16::MAX)
                .find(free)
                .ok_or_else(|| ControlError::new(ErrorCode::PortTaken, FIRST_PORT.to_string())),
        }
    }

    fn own(&self, name: &str) -> Result<LocalSpace, ControlError> {
        let space = find(&self.hosted.spaces(), name)?;
        if space.configured {
            return Err(ControlError::new(ErrorCode::FromConfiguration, space.id));
        }
        let is_read = |running: &Arc<hosted::Running>| Arc::strong_count(&running.reading) > 1;
        if space.space.as_ref().is_some_and(is_read) {
            return Err(bare(ErrorCode::Unavailable));
        }
        Ok(space)
    }

    /// Changes settings. People's connections to the space end and begin anew.
    pub async fn set(&self, name: &str, change: Change) -> Result<HostedSpace, ControlError> {
        let _one = self.one_at_a_time.lock().await;
        let old = self.own(name)?;
        let mut space = old.clone();
        let record = &mut space.record;
        record.title = change.title.unwrap_or_else(|| record.title.clone());
        record.about = change.about.unwrap_or_else(|| record.about.clone());
        record.visible = change.visible.unwrap_or(record.visible);
        record.quota_mib = change.quota_mib.unwrap_or(record.quota_mib);
        record.closed = change.closed.unwrap_or(record.closed);
        record.check()?;
        if space.record == old.record && (space.space.is_some() || space.record.closed) {
            return Ok(view(&space));
        }
        let shown = space.record.visible && !space.record.closed;
        let listener = if shown && !old.is_shown() {
            self.may_show(&space).await?
        } else {
            if shown {
                // A longer title may not fit.
                self.hosted
                    .announce_with(Some(&space))
                    .await
                    .map_err(|_| bare(ErrorCode::AnnouncementTooLong))?;
            }
            None
        };
        let was_shown = old.is_shown();
        self.hosted.put(LocalSpace {
            space: None,
            ..space.clone()
        });
        let running = space.space.take();
        drop(old.space);
        if let Some(running) = running
            && !let_go(running).await
        {
            log::warn!(
                "space {}: connections of before have not ended yet",
                space.id
            );
        }
        // Who knew where a visible space is must not know it of the hidden one.
        let hides = old.record.visible && !space.record.visible;
        let listener = if was_shown && shown {
            self.hosted
                .bind(space.record.port)
                .map_err(|error| disk(&error))?
        } else {
            listener
        };
        let (changed, ground) = (space.clone(), self.ground.clone());
        let saved = blocking(move || {
            let key = changed.directory.join(SERVICE_KEY);
            if hides {
                keys::replace_service(&key)?;
            }
            changed.record.save(&changed.directory)?;
            hosted::open(
                &changed.id,
                changed.directory,
                &key,
                changed.record,
                false,
                &ground,
            )
        })
        .await;
        let result = match saved {
            Ok(opened) => {
                space = opened;
                space.door = self.door(&space, listener)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.hosted.put(space.clone());
        self.say().await;
        result.map(|()| view(&space))
    }

    /// Removes a space with all that belongs to it.
    pub async fn remove(&self, name: &str) -> Result<HostedSpace, ControlError> {
        let _one = self.one_at_a_time.lock().await;
        let mut space = self.own(name)?;
        let last = view(&space);
        self.hosted.drop_one(&space.id);
        self.say().await;
        if let Some(running) = space.space.take() {
            let_go(running).await;
        }
        let (folders, ground, id) = (self.folders.clone(), self.ground.clone(), space.id);
        blocking(move || folders.remove_after(&id, |directory| ground.forget(directory))).await?;
        Ok(last)
    }

    /// A space's record and keys. Secret.
    pub async fn papers(&self, name: &str) -> Result<Papers, ControlError> {
        let space = find(&self.hosted.spaces(), name)?;
        let service_key = if space.configured {
            keys::service_file(&self.state, &space.id)
        } else {
            space.directory.join(SERVICE_KEY)
        };
        blocking(move || {
            Ok(Papers {
                record: space.record.render(),
                service_key: text(&service_key)?,
                space_key: text(&space.directory.join(SPACE_KEY))?,
                id: space.id,
            })
        })
        .await
    }

    /// The node's name and key. Secret.
    pub async fn node_papers(&self, name: &str) -> Result<NodePapers, ControlError> {
        let (path, name) = (keys::mesh_file(&self.state), name.to_owned());
        blocking(move || {
            Ok(NodePapers {
                name,
                mesh_key: text(&path)?,
            })
        })
        .await
    }

    /// A space for whoever reads its events. A closed one is opened for as long as that lasts.
    pub async fn reader(&self, name: &str) -> Result<Reader, ControlError> {
        let space = find(&self.hosted.spaces(), name)?;
        let running = match space.space {
            Some(running) => running,
            None => {
                let ground = self.ground.clone();
                blocking(move || {
                    let name = space.name.as_str();
                    hosted::open_files(&space.directory, name, &space.record, &ground)
                })
                .await?
            }
        };
        Ok(Reader {
            space: Arc::clone(&running.space),
            _reading: Arc::clone(&running.reading),
        })
    }

    /// Where a space's files are, for whoever reads them.
    pub fn directory(&self, name: &str) -> Result<PathBuf, ControlError> {
        find(&self.hosted.spaces(), name).map(|space| space.directory)
    }
}

/// A space that is read. While this lives, the space is neither changed nor removed.
#[derive(Debug)]
pub struct Reader {
    /// The space.
    pub space: Arc<warren_space::Space>,
    _reading: Arc<()>,
}

fn view(space: &LocalSpace) -> HostedSpace {
    let record = &space.record;
    HostedSpace {
        id: space.id.clone(),
        service: space.name.to_string(),
        title: record.title.clone(),
        about: record.about.clone(),
        visible: record.visible,
        port: record.port,
        owner: record.owner.map(|owner| owner.to_hex()),
        quota_mib: record.quota_mib,
        state: match (&space.space, record.closed) {
            (Some(_), _) => SpaceState::Open,
            (None, true) => SpaceState::Closed,
            (None, false) => SpaceState::Failed,
        },
        configured: space.configured,
        figures: figures(space),
    }
}

/// Figures of a space that is open.
pub fn figures(space: &LocalSpace) -> Option<SpaceFigures> {
    let summary = space.space.as_ref()?.space.summary();
    Some(SpaceFigures {
        members: summary.members as u64,
        channels: summary.channels as u64,
        events: summary.events,
        bytes: summary.bytes,
    })
}
