//! The spaces and other services of this box while it runs: which there are, which are open, and who can reach them. What
//! is on disk is decided elsewhere; this follows it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use warren_home::ServiceName;
use warren_mesh::descriptor::{DescriptorError, ServiceAnnouncement};
use warren_mesh::identity::NodeAddress;
use warren_mesh::packet::policy::Policy;
use warren_mesh::service::{MAX_TITLE, ServiceKind, ServiceSigner};
use warren_space::stores::Stores;
use warren_space::{FileLimits, Limits, Space, SpaceConfig};

use super::dialer::MeshDialer;
use super::listen::Listener;
use super::others::{LocalService, Serves, Shown};
use super::record::SpaceRecord;
use super::relay::Tenants;
use crate::clock::WallClock;
use crate::config::Mode;
use crate::error::DaemonError;
use crate::keys;
use crate::plane::command::{Command, PlaneHandle};

/// Connections that may wait to be taken by a space.
const WAITING_MAX: usize = 16;
/// How long the connections of a space that ends may go on.
const GRACE: Duration = Duration::from_secs(1);
/// How long the last connections of a space that ends may take.
const FAREWELL: Duration = Duration::from_secs(15);

/// A space of this box.
#[derive(Clone, Debug)]
pub struct LocalSpace {
    /// What its files are called.
    pub id: String,
    /// Its service.
    pub name: ServiceName,
    /// Speaks for its service.
    pub signer: Arc<ServiceSigner>,
    /// Its settings.
    pub record: SpaceRecord,
    /// Whether it stands in the configuration file.
    pub configured: bool,
    /// Where its files are.
    pub directory: PathBuf,
    /// Whether the key of its service was lost: then `name` and `signer` stand for nothing.
    pub keyless: bool,
    /// The space, while it is open.
    pub space: Option<Arc<Running>>,
    /// The way in from the island, while there is one.
    pub door: Option<Arc<Door>>,
}

impl LocalSpace {
    /// Whether the island is told of it.
    pub const fn is_shown(&self) -> bool {
        self.record.visible && self.space.is_some()
    }

    /// What people see as its title: what the space itself says while it is open.
    pub fn title(&self) -> String {
        let running = self.space.as_ref().filter(|_| !self.record.home);
        running.map_or_else(|| self.record.title.clone(), |one| one.space.name())
    }

    /// What the island is told that it is.
    pub const fn kind(&self) -> ServiceKind {
        if self.record.home {
            ServiceKind::Home
        } else {
            ServiceKind::Space
        }
    }
}

impl From<&LocalSpace> for Shown {
    fn from(space: &LocalSpace) -> Self {
        Self {
            id: space.id.clone(),
            kind: space.kind(),
            signer: Arc::clone(&space.signer),
            port: space.record.port,
            title: short_title(&space.record.title),
        }
    }
}

/// A title as the island can be told of it: managers of a space may give it a longer one.
fn short_title(title: &str) -> String {
    let seen: String = title.chars().filter(|c| !c.is_control()).collect();
    seen[..seen.floor_char_boundary(MAX_TITLE)].to_owned()
}

/// A space that is open.
#[derive(Debug)]
pub struct Running {
    /// The space.
    pub space: Arc<Space>,
    /// Cloned by whoever reads all of it: then it is not closed.
    pub reading: Arc<()>,
    ending: watch::Sender<bool>,
}

impl Running {
    /// Serves a space.
    pub fn new(space: Arc<Space>) -> Self {
        Self {
            space,
            reading: Arc::default(),
            ending: watch::Sender::new(false),
        }
    }

    /// Serves a connection until it, or the space, ends.
    pub async fn serve<IO>(self: Arc<Self>, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut ending = self.ending.subscribe();
        let space = Arc::clone(&self.space);
        drop(self);
        let ended = async {
            let _ = ending.wait_for(|ending| *ending).await;
            // The last answers are on their way.
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = space.serve(io) => {}
            () = ended => {}
        }
    }
}

/// A port that is served until this is dropped.
#[derive(Debug)]
pub struct Door {
    task: AbortHandle,
    userspace: Option<(PlaneHandle, u16)>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        if let Some((plane, port)) = &self.userspace {
            let _ = plane.send(Command::Unlisten(*port));
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Hosted {
    spaces: RwLock<Arc<Vec<LocalSpace>>>,
    /// What is no space.
    others: RwLock<Arc<Vec<LocalService>>>,
    /// What the owner opened, without what is hosted here.
    policy: Policy,
    /// This node.
    pub address: NodeAddress,
    /// How programs reach the mesh.
    pub mode: Mode,
    plane: PlaneHandle,
    /// Held by whoever changes what is here: one change at a time.
    pub one_at_a_time: tokio::sync::Mutex<()>,
    /// By which way spaces copy files from others. It knows this in turn, so it is not held.
    dialer: OnceLock<Weak<MeshDialer>>,
    /// A space is called something else.
    pub renamed: Arc<Notify>,
    /// Whether the island is not told of the home's own service, because too much else is visible.
    home_left_out: AtomicBool,
}

impl Hosted {
    /// With the spaces that are there at the start.
    pub fn new(
        spaces: Vec<LocalSpace>,
        policy: Policy,
        address: NodeAddress,
        mode: Mode,
        plane: PlaneHandle,
    ) -> Self {
        Self {
            spaces: RwLock::new(Arc::new(spaces)),
            others: RwLock::default(),
            policy,
            address,
            mode,
            plane,
            one_at_a_time: tokio::sync::Mutex::default(),
            dialer: OnceLock::new(),
            renamed: Arc::default(),
            home_left_out: AtomicBool::new(false),
        }
    }

    /// Lets the spaces reach others, those that are opened later too. The first one counts.
    pub fn set_dialer(&self, dialer: &Arc<MeshDialer>) {
        let _ = self.dialer.set(Arc::downgrade(dialer));
        for space in self.spaces().iter() {
            self.connect(space);
        }
    }

    fn connect(&self, space: &LocalSpace) {
        let Some(running) = &space.space else { return };
        running.space.set_herald(&self.renamed);
        if let Some(dialer) = self.dialer.get().and_then(Weak::upgrade) {
            running.space.set_fetcher(dialer);
        }
    }

    /// All spaces as they are now.
    pub fn spaces(&self) -> Arc<Vec<LocalSpace>> {
        Arc::clone(&self.spaces.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All other services as they are now.
    pub fn others(&self) -> Arc<Vec<LocalService>> {
        Arc::clone(&self.others.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What serves a service of this box, if it is open.
    pub fn open_one(&self, service: &ServiceName) -> Option<Arc<dyn Serves>> {
        let spaces = self.spaces();
        if let Some(space) = spaces.iter().find(|local| local.name == *service) {
            return space.space.clone().map(|space| space as Arc<dyn Serves>);
        }
        let others = self.others();
        let found = others.iter().find(|local| local.name == *service)?;
        found.serves.clone()
    }

    /// Puts another service in the place of the one of the same kind and id, or at the end.
    pub fn put_other(&self, service: LocalService) {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**others).clone();
        let same = |old: &&mut LocalService| old.kind == service.kind && old.id == service.id;
        match all.iter_mut().find(same) {
            Some(old) => *old = service,
            None => all.push(service),
        }
        *others = Arc::new(all);
    }

    /// Forgets another service.
    pub fn drop_other(&self, kind: ServiceKind, id: &str) {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**others).clone();
        all.retain(|service| service.kind != kind || service.id != id);
        *others = Arc::new(all);
    }

    /// Puts a space in the place of the one of the same id, or at the end.
    pub fn put(&self, space: LocalSpace) {
        self.connect(&space);
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**spaces).clone();
        match all.iter_mut().find(|old| old.id == space.id) {
            Some(old) => *old = space,
            None => all.push(space),
        }
        *spaces = Arc::new(all);
    }

    /// Forgets a space.
    pub fn drop_one(&self, id: &str) {
        let mut spaces = self.spaces.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = (**spaces).clone();
        all.retain(|space| space.id != id);
        *spaces = Arc::new(all);
    }

    /// Binds a port of the node's address; `None` where the data plane listens by itself.
    pub fn bind(&self, port: u16) -> Result<Option<Listener>, DaemonError> {
        match self.mode {
            Mode::Userspace => Ok(None),
            Mode::Tun => {
                let at = (self.address.to_ipv6(), port).into();
                Listener::tcp(at).map(Some)
            }
        }
    }

    /// Serves a service at a port. Call it on the runtime.
    pub fn serve<S: Serves + ?Sized>(
        &self,
        space: &Arc<S>,
        port: u16,
        listener: Option<Listener>,
    ) -> Result<Door, DaemonError> {
        // Weak: whoever closes a space waits until nobody holds it.
        let space = Arc::downgrade(space);
        if let Some(listener) = listener {
            let most = Limits::default().connections;
            let task = listener.serve("space", most, move |io, _| {
                let space = space.upgrade();
                async move {
                    if let Some(space) = space {
                        space.serve(io).await;
                    }
                }
            })?;
            return Ok(Door {
                task,
                userspace: None,
            });
        }
        let (accepted, mut streams) = mpsc::channel(WAITING_MAX);
        if let Err(error) = self.plane.send(Command::Listen(port, accepted)) {
            log::error!("{error}");
        }
        let task = tokio::spawn(async move {
            while let Some(stream) = streams.recv().await {
                if let Some(space) = space.upgrade() {
                    tokio::spawn(space.serve(Box::new(stream)));
                }
            }
        });
        Ok(Door {
            task: task.abort_handle(),
            userspace: Some((self.plane.clone(), port)),
        })
    }

    /// What the island is told of now.
    pub fn shown(&self) -> Vec<Shown> {
        let (spaces, others) = (self.spaces(), self.others());
        let spaces = spaces.iter().filter(|space| space.is_shown());
        let others = others.iter().filter(|service| service.is_shown());
        spaces
            .map(Shown::from)
            .chain(others.map(Shown::from))
            .collect()
    }

    /// Tells the island what is shown here, and opens their ports to it.
    pub async fn announce(&self) -> Result<(), DescriptorError> {
        self.announce_with(None).await
    }

    /// The same with one more, or one instead of that of the same id. After an error nothing has changed.
    pub async fn announce_with(&self, more: Option<Shown>) -> Result<(), DescriptorError> {
        let mut shown = self.shown();
        if let Some(more) = more {
            shown.retain(|old| old.kind != more.kind || old.id != more.id);
            shown.push(more);
        }
        // The home's own comes last: it makes room where there are too many.
        shown.sort_by_key(|service| service.kind == ServiceKind::Home);
        let told = self.publish(&shown).await;
        let fits = !matches!(
            told,
            Err(DescriptorError::TooManyServices(_) | DescriptorError::TooLong(_))
        );
        if !fits
            && shown
                .pop_if(|service| service.kind == ServiceKind::Home)
                .is_some()
        {
            // Said once, not with each change of a space.
            if !self.home_left_out.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "the island is told of as many services as it can be: other homes do not find what people of this one write for everybody; hide a space or a site"
                );
            }
            return self.publish(&shown).await;
        }
        if told.is_ok() {
            self.home_left_out.store(false, Ordering::Relaxed);
        }
        told
    }

    /// Whether the island is not told of the home's own service.
    pub fn is_home_left_out(&self) -> bool {
        self.home_left_out.load(Ordering::Relaxed)
    }

    async fn publish(&self, shown: &[Shown]) -> Result<(), DescriptorError> {
        let mut announcements: Vec<ServiceAnnouncement> = Vec::new();
        for service in shown {
            let announcement =
                service
                    .signer
                    .announce(service.kind, &self.address, service.port, &service.title);
            announcements.push(announcement.map_err(|_| DescriptorError::Text)?);
        }
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.plane.send(Command::Publish(announcements, reply)) {
            log::error!("{error}");
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))?;
        let mut policy = self.policy.clone();
        policy.tcp.extend(shown.iter().map(|service| service.port));
        let _ = self.plane.send(Command::SetPolicy(policy));
        Ok(())
    }
}

/// What all spaces of this box stand on.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The time.
    pub clock: WallClock,
    /// Servers for events and files.
    pub stores: Arc<Stores>,
}

impl Ground {
    /// With these servers.
    pub fn new(clock: &WallClock, stores: Stores) -> Self {
        Self {
            clock: clock.clone(),
            stores: Arc::new(stores),
        }
    }

    /// Removes what the space in a directory has on servers. Blocks.
    pub fn forget(&self, directory: &std::path::Path) -> Result<(), DaemonError> {
        forget(directory, &self.stores)
    }
}

/// Removes what the space in a directory, that nobody has open, has on servers. Blocks.
pub fn forget(directory: &std::path::Path, stores: &Stores) -> Result<(), DaemonError> {
    warren_space::remove_from_servers(directory, stores).map_err(|error| DaemonError::Unusable {
        path: directory.to_path_buf(),
        what: error.to_string(),
    })
}

/// Opens a space's files. Blocks.
pub fn open(
    id: &str,
    directory: PathBuf,
    key_file: &std::path::Path,
    record: SpaceRecord,
    configured: bool,
    ground: &Ground,
) -> Result<LocalSpace, DaemonError> {
    let failed = |reason: String| DaemonError::Service {
        what: format!("the space {id}"),
        reason,
    };
    let signer = keys::service_of(&directory, key_file)?;
    let service = signer.service().to_string();
    let name = ServiceName::parse(&service).ok_or_else(|| failed("its key has no name".into()))?;
    let space = if record.closed {
        None
    } else {
        Some(open_files(&directory, &service, &record, ground)?)
    };
    Ok(LocalSpace {
        id: id.to_owned(),
        name,
        signer: Arc::new(signer),
        record,
        configured,
        directory,
        keyless: false,
        space,
        door: None,
    })
}

/// Opens the events of a space. Blocks.
pub fn open_files(
    directory: &std::path::Path,
    service: &str,
    record: &SpaceRecord,
    ground: &Ground,
) -> Result<Arc<Running>, DaemonError> {
    let clock = ground.clock.clone();
    let clock = Arc::new(move || clock.unix_seconds());
    let config = config(directory, service, record, &ground.stores);
    let opened = match record.home {
        // Nobody lives here yet: whoever really serves it opens it with its people.
        true => Space::open_personal(config, Arc::new(Tenants::default()), clock),
        false => Space::open(config, clock),
    };
    let space = opened.map_err(|error| DaemonError::Service {
        what: format!("the space {}", record.title),
        reason: error.to_string(),
    })?;
    Ok(Arc::new(Running::new(space)))
}

/// What a space is told.
pub fn config(
    directory: &std::path::Path,
    service: &str,
    record: &SpaceRecord,
    stores: &Stores,
) -> SpaceConfig {
    SpaceConfig {
        dir: directory.to_path_buf(),
        name: record.title.clone(),
        about: record.about.clone(),
        service: service.to_owned(),
        owner: record.owner,
        limits: Limits {
            journal_bytes: u64::from(record.quota_mib) << 20,
            ..if record.home {
                Limits::of_home()
            } else {
                Limits {
                    files: file_limits(record),
                    ..Limits::default()
                }
            }
        },
        stores: stores.clone(),
    }
}

/// Who has more than a member has at least as much.
fn file_limits(record: &SpaceRecord) -> FileLimits {
    let known = FileLimits::default();
    let member_bytes = u64::from(record.member_quota_mib) << 20;
    FileLimits {
        space_bytes: u64::from(record.files_quota_mib) << 20,
        member_bytes,
        moderator_bytes: known.moderator_bytes.max(member_bytes),
        admin_bytes: known.admin_bytes.max(member_bytes),
        ..known
    }
}

/// Ends a space's connections and closes its files. `false` when somebody still holds it after a while.
pub async fn let_go(running: Arc<Running>) -> bool {
    let space = Arc::clone(&running.space);
    let closing = Arc::clone(&space);
    let _ = tokio::task::spawn_blocking(move || closing.close()).await;
    running.ending.send_replace(true);
    drop(running);
    let alone = async {
        while Arc::strong_count(&space) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(FAREWELL, alone).await.is_ok()
}
