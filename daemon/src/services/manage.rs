//! What the owner does with spaces while the daemon runs: make, change, remove, take in. One change at a time; the disk
//! first, then what runs.

mod inside;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folders::{Folders, INCOMING};
use super::hosted::{self, Door, Ground, Hosted, LocalSpace, let_go};
use super::record::{self, FILES_QUOTA_MIB, MEMBER_QUOTA_MIB, QUOTA_MIB, SpaceRecord};
pub use inside::{InviteWish, PICTURE};

use crate::config::values::SpaceId;
use crate::control::protocol::{
    ControlError, ErrorCode, HostedSpace, NodePapers, Papers, SpaceFigures, SpaceState,
};
use crate::error::DaemonError;
use crate::transfer::restore;
use crate::{keys, store};

/// The file of a service's key in the directory of a space that a command made.
pub const SERVICE_KEY: &str = "service.key";
/// The file of the key that signs a space's events.
pub const SPACE_KEY: &str = "space.key";

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
    /// MiB that its files may take together.
    pub files_quota_mib: Option<u32>,
    /// MiB that the files of one member may take.
    pub member_quota_mib: Option<u32>,
    /// Whether it has moved to another box.
    pub closed: Option<bool>,
    /// The owner's public key.
    pub owner: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Manager {
    hosted: Arc<Hosted>,
    folders: Folders,
    /// Spaces that could not be opened at the start, not even to say which they are.
    damaged: Vec<String>,
    ground: Ground,
    state: PathBuf,
    /// Under which name the page here is opened from elsewhere, for links.
    host: String,
}

pub(super) fn disk(error: &DaemonError) -> ControlError {
    log::error!("{error}");
    ControlError::new(ErrorCode::Disk, error.to_string())
}

pub(super) fn bare(code: ErrorCode) -> ControlError {
    ControlError {
        code,
        args: Vec::new(),
    }
}

/// Runs what waits for the disk on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DaemonError> + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| disk(&error)),
        Err(_) => Err(bare(ErrorCode::Unavailable)),
    }
}

pub(super) fn text(path: &Path) -> Result<String, DaemonError> {
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
    let mut titled = spaces
        .iter()
        .filter(|space| !space.record.home && space.title() == name);
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
    /// For the spaces in `state`; the page here is at `host`.
    pub fn new(hosted: Arc<Hosted>, state: &Path, ground: &Ground, host: String) -> Self {
        let folders = Folders::new(state.join("spaces"));
        let is_here = |id: &String| hosted.spaces().iter().any(|space| space.id == *id);
        let mut damaged = folders.with(record::FILE).unwrap_or_default();
        damaged.retain(|id| !is_here(id));
        Self {
            hosted,
            folders,
            damaged,
            ground: ground.clone(),
            state: state.to_path_buf(),
            host,
        }
    }

    /// All spaces of this box with their settings, by id.
    pub fn list(&self) -> Vec<HostedSpace> {
        let spaces = self.hosted.spaces();
        let spaces = spaces.iter().filter(|space| !space.record.home);
        let mut list: Vec<HostedSpace> = spaces.map(view).collect();
        list.extend(self.folders.still(&self.damaged).map(|id| damaged(id)));
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// The relay of the home's people, if this box has one.
    pub fn relay(&self) -> Option<HostedSpace> {
        let spaces = self.hosted.spaces();
        spaces.iter().find(|space| space.record.home).map(view)
    }

    /// Makes a space and serves it.
    pub async fn create(&self, wish: Wish) -> Result<HostedSpace, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let owner = match &wish.owner {
            Some(text) => Some(record::parse_owner(text)?),
            None => None,
        };
        record::check_texts(Some(&wish.title), Some(&wish.about))?;
        let record = SpaceRecord {
            title: wish.title,
            about: wish.about,
            visible: wish.visible,
            port: self.hosted.free_port(wish.port)?,
            owner,
            quota_mib: QUOTA_MIB,
            files_quota_mib: FILES_QUOTA_MIB,
            member_quota_mib: MEMBER_QUOTA_MIB,
            closed: false,
            home: false,
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
        let _one = self.hosted.one_at_a_time.lock().await;
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
        if record.home {
            // There is one of its own at every home, and people name theirs by its service.
            return Err(ControlError::new(ErrorCode::OfHome, directory));
        }
        let (taken, key) = (incoming.clone(), incoming.join(SERVICE_KEY));
        let service = blocking(move || keys::service_of(&taken, &key))
            .await?
            .service();
        let same = |space: &&LocalSpace| space.name.as_str() == service.to_string();
        if let Some(space) = spaces.iter().find(same) {
            return Err(ControlError::new(ErrorCode::Exists, space.id.clone()));
        }
        let id = self.free_id(&record.title);
        if self.hosted.free_port(Some(record.port)).is_err() {
            record.port = self.hosted.free_port(None)?;
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
            self.hosted.say().await;
        }
        appeared
    }

    async fn try_appear(&self, part: &str, id: &str) -> Result<HostedSpace, ControlError> {
        let incoming = self.folders.incoming(part);
        let key = incoming.join(SERVICE_KEY);
        let (record, signer) = blocking(move || {
            let record = SpaceRecord::load(&incoming)?;
            Ok((record, keys::service_of(&incoming, &key)?))
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
            keyless: false,
            space: None,
            door: None,
        };
        let shown = space.record.visible && !space.record.closed;
        let listener = if shown {
            self.hosted.may_show((&space).into()).await?
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
            let opened = hosted::open_files(&committed.directory, name, record, &ground);
            if opened.is_err() {
                // Or it would be here after the next start.
                ground.forget(&committed.directory)?;
                folders.remove(&committed.id)?;
            }
            opened.map(Some)
        })
        .await?;
        space.space = opened;
        match self.door(&space, listener) {
            Ok(door) => space.door = door,
            Err(error) => {
                if let Some(running) = space.space.take() {
                    hosted::let_go(running).await;
                }
                let (folders, ground) = (self.folders.clone(), self.ground.clone());
                blocking(move || {
                    ground.forget(&space.directory)?;
                    folders.remove(&space.id)
                })
                .await?;
                return Err(error);
            }
        }
        log::info!("space {id}: {}.warren", space.name);
        self.hosted.put(space.clone());
        Ok(view(&space))
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

    fn own(&self, name: &str) -> Result<LocalSpace, ControlError> {
        let space = find(&self.hosted.spaces(), name)?;
        if space.configured {
            return Err(ControlError::new(ErrorCode::FromConfiguration, space.id));
        }
        if space.record.home {
            return Err(ControlError::new(ErrorCode::OfHome, space.id));
        }
        let is_read = |running: &Arc<hosted::Running>| Arc::strong_count(&running.reading) > 1;
        if space.space.as_ref().is_some_and(is_read) {
            return Err(bare(ErrorCode::Unavailable));
        }
        Ok(space)
    }

    /// Changes settings. People's connections to the space end and begin anew.
    pub async fn set(&self, name: &str, change: Change) -> Result<HostedSpace, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        record::check_texts(change.title.as_deref(), change.about.as_deref())?;
        let owner = match &change.owner {
            Some(text) => Some(record::parse_owner(text)?),
            None => None,
        };
        // Or a name that the space had before could not be given back to it.
        self.hosted.catch_up_names().await;
        let old = self.own(name)?;
        let mut space = old.clone();
        let record = &mut space.record;
        record.title = change.title.unwrap_or_else(|| record.title.clone());
        record.about = change.about.unwrap_or_else(|| record.about.clone());
        record.visible = change.visible.unwrap_or(record.visible);
        record.quota_mib = change.quota_mib.unwrap_or(record.quota_mib);
        record.files_quota_mib = change.files_quota_mib.unwrap_or(record.files_quota_mib);
        record.member_quota_mib = change.member_quota_mib.unwrap_or(record.member_quota_mib);
        record.closed = change.closed.unwrap_or(record.closed);
        record.owner = owner.or(record.owner);
        record.check()?;
        if space.record == old.record && (space.space.is_some() || space.record.closed) {
            return Ok(view(&space));
        }
        let shown = space.record.visible && !space.record.closed;
        let listener = if shown && !old.is_shown() {
            self.hosted.may_show((&space).into()).await?
        } else {
            if shown {
                // A longer title may not fit.
                self.hosted.tell((&space).into()).await?;
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
                if hides {
                    self.void_invites(&space).await;
                    self.move_picture(old.name.as_str(), &space).await;
                }
                space.door = self.door(&space, listener)?;
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.hosted.put(space.clone());
        self.hosted.say().await;
        result.map(|()| view(&space))
    }

    /// Removes a space with all that belongs to it.
    pub async fn remove(&self, name: &str) -> Result<HostedSpace, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let mut space = self.own(name)?;
        let last = view(&space);
        self.hosted.drop_one(&space.id);
        self.hosted.say().await;
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
    pub async fn node_papers(&self, name: &str, config: &str) -> Result<NodePapers, ControlError> {
        let (path, name) = (keys::mesh_file(&self.state), name.to_owned());
        let config = Some(config.to_owned());
        let state = self.state.clone();
        blocking(move || {
            Ok(NodePapers {
                name,
                mesh_key: text(&path)?,
                config,
                lacks: restore::lacks(&state)?,
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
        service: match space.keyless {
            true => String::new(),
            false => space.name.to_string(),
        },
        title: space.title(),
        about: match &space.space {
            Some(running) => running.space.about(),
            None => record.about.clone(),
        },
        visible: record.visible,
        port: record.port,
        owner: record.owner.map(|owner| owner.to_hex()),
        quota_mib: record.quota_mib,
        files_quota_mib: record.files_quota_mib,
        member_quota_mib: record.member_quota_mib,
        picture: space
            .space
            .as_ref()
            .map(|running| running.space.icon())
            .filter(|icon| !icon.is_empty()),
        state: match (&space.space, record.closed) {
            (Some(_), _) => SpaceState::Open,
            (None, true) => SpaceState::Closed,
            (None, false) => SpaceState::Failed,
        },
        configured: space.configured,
        figures: figures(space),
    }
}

fn damaged(id: &str) -> HostedSpace {
    HostedSpace {
        id: id.to_owned(),
        service: String::new(),
        title: id.to_owned(),
        about: String::new(),
        visible: false,
        port: 0,
        owner: None,
        quota_mib: 0,
        files_quota_mib: 0,
        member_quota_mib: 0,
        picture: None,
        state: SpaceState::Failed,
        configured: false,
        figures: None,
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
        file_bytes: summary.file_bytes,
        connections: summary.connections as u64,
    })
}
