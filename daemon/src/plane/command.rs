//! What the rest of the daemon asks of the data plane, and what it tells. Queues are bounded: a caller that finds one
//! full is told so.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use rustix::fd::OwnedFd;
use tokio::sync::{mpsc, oneshot};
use warren_mesh::descriptor::{Descriptor, DescriptorError, ServiceAnnouncement};
use warren_mesh::identity::NodeAddress;
use warren_mesh::node::{Counters, NeighbourView, RouteView};
use warren_mesh::packet::policy::Policy;
use warren_mesh::transmit::InterfaceId;

use crate::carrier::Carrier;
use crate::userspace::{ConnectError, UserStream};

/// Commands that may wait for the data plane.
pub const COMMANDS_MAX: usize = 256;
/// Notices that may wait for the rest of the daemon.
pub const NOTICES_MAX: usize = 64;

/// Something the data plane is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Show neighbours, routes and counters.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Start using a carrier.
    AddInterface(Box<Carrier>),
    /// Stop using one; its links go down at once.
    RemoveInterface(InterfaceId),
    /// An interface's speed became known, kbit/s.
    SetThroughput(InterfaceId, Option<u32>),
    /// Show these services to the island. After an error those from before are shown.
    Publish(
        Vec<ServiceAnnouncement>,
        oneshot::Sender<Result<(), DescriptorError>>,
    ),
    /// What the island may open here.
    SetPolicy(Policy),
    /// Ask a node for its descriptor.
    Describe(NodeAddress, oneshot::Sender<Option<Descriptor>>),
    /// Tell of descriptors that come because they changed, to whoever asked for them lately.
    HearNews(mpsc::Sender<Descriptor>),
    /// This generation is on disk.
    GenerationPersisted(u32),
    /// Accept TCP connections on a port of the node's address (userspace networking).
    Listen(u16, mpsc::Sender<UserStream>),
    /// Accept no more of them (userspace networking).
    Unlisten(u16),
    /// Open a TCP connection to a node (userspace networking).
    Connect(
        NodeAddress,
        u16,
        oneshot::Sender<Result<UserStream, ConnectError>>,
    ),
    /// Tell the links and end.
    Stop,
}

/// Something the data plane tells.
#[derive(Debug)]
pub enum Notice {
    /// Write this generation to disk and answer with [`Command::GenerationPersisted`].
    PersistGeneration(u32),
}

/// The node's state as shown to people.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Neighbours with links.
    pub neighbours: Vec<NeighbourView>,
    /// Routes.
    pub routes: Vec<RouteView>,
    /// What the mesh counted.
    pub counters: Counters,
    /// Interfaces in use: number, name, datagrams thrown away on sending.
    pub interfaces: Vec<(InterfaceId, String, u64)>,
    /// Malformed packets from TUN.
    pub tun_rejected: u64,
}

/// Why the data plane did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// More commands wait than it can hold.
    #[error("the data plane is busy; try again")]
    Busy,
    /// It has ended.
    #[error("the data plane has stopped")]
    Stopped,
}

/// Wakes the data plane from its wait.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A waker and the descriptor that becomes readable when it is used.
    pub fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(fd)))
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        // It fails only if 2^64 - 2 wakes wait already.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Forgets all wakes so far.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0; 8]);
    }

    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }
}

/// The way to the data plane.
#[derive(Clone, Debug)]
pub struct PlaneHandle {
    commands: SyncSender<Command>,
    waker: Waker,
}

impl PlaneHandle {
    /// A handle that sends into `commands` and wakes its reader.
    pub const fn new(commands: SyncSender<Command>, waker: Waker) -> Self {
        Self { commands, waker }
    }

    /// Hands over a command.
    pub fn send(&self, command: Command) -> Result<(), PlaneError> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                TrySendError::Full(_) => PlaneError::Busy,
                TrySendError::Disconnected(_) => PlaneError::Stopped,
            })?;
        self.waker.wake();
        Ok(())
    }

    /// The node's state.
    pub async fn snapshot(&self) -> Result<Snapshot, PlaneError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Snapshot(reply))?;
        answer.await.map_err(|_| PlaneError::Stopped)
    }

    /// A node's descriptor; `None` if it does not answer.
    pub async fn describe(&self, of: NodeAddress) -> Result<Option<Descriptor>, PlaneError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Describe(of, reply))?;
        answer.await.map_err(|_| PlaneError::Stopped)
    }
}
