//! The spaces of this box while it runs: which there are, which are open, and who can reach them. What is on disk is
//! decided elsewhere; this follows it.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use warren_home::ServiceName;
use warren_mesh::descriptor::{DescriptorError, ServiceAnnouncement};
use warren_mesh::identity::NodeAddress;
use warren_mesh::packet::policy::Policy;
use warren_mesh::service::ServiceSigner;
use warren_space::{Limits, Space, SpaceConfig};

use super::dialer::MeshDialer;
use super::listen::Listener;
use super::record::SpaceRecord;
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
    /// What the owner opened, without what is hosted here.
    policy: Policy,
    /// This node.
    pub address: NodeAddress,
    /// How programs reach the mesh.
    pub mode: Mode,
    plane: PlaneHandle,
    /// By which way spaces copy files from others. It knows this in turn, so it is not held.
    dialer: OnceLock<Weak<MeshDialer>>,
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
            policy,
            address,
            mode,
            plane,
            dialer: OnceLock::new(),
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
        if let Some(running) = &space.space
            && let Some(dialer) = self.dialer.get().and_then(Weak::upgrade)
        {
            running.space.set_fetcher(dialer);
        }
    }

    /// All spaces as they are now.
    pub fn spaces(&self) -> Arc<Vec<LocalSpace>> {
        Arc::clone(&self.spaces.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The open space of a service.
    pub fn open_one(&self, service: &ServiceName) -> Option<Arc<Running>> {
        let spaces = self.spaces();
        let found = spaces.iter().find(|local| local.name == *service)?;
        found.space.clone()
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

    /// Serves a space at a port. Call it on the runtime.
    pub fn serve(
        &self,
        space: &Arc<Running>,
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
                    tokio::spawn(space.serve(stream));
                }
            }
        });
        Ok(Door {
            task: task.abort_handle(),
            userspace: Some((self.plane.clone(), port)),
        })
    }

    /// Tells the island what is shown here, and opens their ports to it.
    pub async fn announce(&self) -> Result<(), DescriptorError> {
        self.announce_with(None).await
    }

    /// The same with one more, or one instead of that of the same id. After an error nothing has changed.
    pub async fn announce_with(&self, more: Option<&LocalSpace>) -> Result<(), DescriptorError> {
        let spaces = self.spaces();
        let others = spaces
            .iter()
            .filter(|space| more.is_none_or(|more| more.id != space.id))
            .filter(|space| space.is_shown());
        let shown: Vec<&LocalSpace> = others
            .chain(more.filter(|more| more.record.visible))
            .collect();
        let mut announcements: Vec<ServiceAnnouncement> = Vec::new();
        for space in &shown {
            let record = &space.record;
            let announcement = space
                .signer
                .announce(&self.address, record.port, &record.title);
            announcements.push(announcement.map_err(|_| DescriptorError::Text)?);
        }
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.plane.send(Command::Publish(announcements, reply)) {
            log::error!("{error}");
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))?;
        let mut policy = self.policy.clone();
        policy
            .tcp
            .extend(shown.iter().map(|space| space.record.port));
        let _ = self.plane.send(Command::SetPolicy(policy));
        Ok(())
    }
}

/// Opens a space's files. Blocks.
pub fn open(
    id: &str,
    directory: PathBuf,
    key_file: &std::path::Path,
    record: SpaceRecord,
    configured: bool,
    clock: &WallClock,
) -> Result<LocalSpace, DaemonError> {
    let failed = |reason: String| DaemonError::Service {
        what: format!("the space {id}"),
        reason,
    };
    let signer = keys::service(key_file)?;
    let service = signer.service().to_string();
    let name = ServiceName::parse(&service).ok_or_else(|| failed("its key has no name".into()))?;
    let space = if record.closed {
        None
    } else {
        Some(open_files(&directory, &service, &record, clock)?)
    };
    Ok(LocalSpace {
        id: id.to_owned(),
        name,
        signer: Arc::new(signer),
        record,
        configured,
        directory,
        space,
        door: None,
    })
}

/// Opens the events of a space. Blocks.
pub fn open_files(
    directory: &std::path::Path,
    service: &str,
    record: &SpaceRecord,
    clock: &WallClock,
) -> Result<Arc<Running>, DaemonError> {
    let clock = clock.clone();
    let space = Space::open(
        config(directory, service, record),
        Arc::new(move || clock.unix_seconds()),
    )
    .map_err(|error| DaemonError::Service {
        what: format!("the space {}", record.title),
        reason: error.to_string(),
    })?;
    Ok(Arc::new(Running {
        space,
        reading: Arc::default(),
        ending: watch::Sender::new(false),
    }))
}

/// What a space is told.
pub fn config(directory: &std::path::Path, service: &str, record: &SpaceRecord) -> SpaceConfig {
    SpaceConfig {
        dir: directory.to_path_buf(),
        name: record.title.clone(),
        about: record.about.clone(),
        service: service.to_owned(),
        owner: record.owner,
        limits: Limits {
            journal_bytes: u64::from(record.quota_mib) << 20,
            ..Limits::default()
        },
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
