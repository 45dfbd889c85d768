//! The hallway of a mesh node: datagrams, packets and time come in; datagrams, packets and events go out.

use core::net::SocketAddr;
use core::time::Duration;

use crate::deliver::DeliverQueue;
use crate::descriptor::{Descriptor, ServiceAnnouncement};
use crate::identity::{MeshIdentity, NodeAddress};
use crate::time::Instant;
use crate::transmit::{InterfaceId, TransmitQueue};

/// How an interface reaches its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// One transmission reaches everybody (WiFi, Ethernet).
    Broadcast,
    /// Every neighbour is sent its own copy; beacons go to the listed addresses.
    Unicast {
        /// Transport addresses to try; others may call us.
        peers: Vec<SocketAddr>,
    },
}

/// What the node has to know about an interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// How it reaches neighbours.
    pub medium: Medium,
    /// Longest UDP payload in bytes that passes unfragmented.
    pub mtu: u16,
    /// Whether sending and receiving share the air (WiFi): a path in and out of it gets half the throughput.
    pub half_duplex: bool,
    /// Speed in kbit/s, if the operating system knows it.
    pub throughput_kbps: Option<u32>,
}

/// What the owner set.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Name shown to others, at most 32 bytes of UTF-8.
    pub name: String,
    /// Key made from the mesh passphrase: only nodes that know it become neighbours.
    pub psk: Option<[u8; 32]>,
    /// What the island may open here through TUN.
    pub policy: crate::packet::policy::Policy,
}

/// What a packet from TUN says of its transport checksum.
pub use crate::deliver::Checksum;

/// Something the owner of the node has to know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Write this generation to disk, then call [`Node::generation_persisted`]. Until then the old one stays in use.
    PersistGeneration(u32),
    /// A link is up.
    NeighbourUp(NodeAddress),
    /// A link is gone.
    NeighbourDown(NodeAddress),
    /// A descriptor asked for has come, or a newer one.
    Descriptor(NodeAddress),
    /// Nobody answered a descriptor request.
    DescriptorTimeout(NodeAddress),
}

/// A neighbour as shown to people.
#[derive(Clone, Debug)]
pub struct NeighbourView {
    /// Its address.
    pub address: NodeAddress,
    /// The interface it is on.
    pub interface: InterfaceId,
    /// Its transport address.
    pub transport: SocketAddr,
    /// Share of its HELLOs that arrive here, 0 to 1.
    pub rx_quality: f32,
    /// Share of ours that arrive there, 0 to 1.
    pub tx_quality: f32,
    /// Cost of the link: 1 is 1 Gbit/s.
    pub cost: u32,
    /// Since when nothing was heard.
    pub silent_for: Duration,
    /// Whether the link carries traffic now.
    pub up: bool,
}

/// A route as shown to people.
#[derive(Clone, Debug)]
pub struct RouteView {
    /// To whom.
    pub destination: NodeAddress,
    /// Over which neighbour.
    pub next_hop: NodeAddress,
    /// Cost of the whole path: 1 is one hop of 1 Gbit/s.
    pub cost: u32,
    /// Metric step, 0 to 127.
    pub step: u8,
    /// Largest inner packet the path carries, bytes.
    pub path_mtu: u16,
    /// Whether another feasible neighbour stands ready.
    pub has_backup: bool,
}

/// What the node counted since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Data frames passed on for others.
    pub forwarded: u64,
    /// Data frames for this node.
    pub received: u64,
    /// Data frames of this node.
    pub sent: u64,
    /// Frames thrown away: bad tag, replayed, malformed.
    pub rejected: u64,
    /// Packets without a route.
    pub no_route: u64,
    /// Inbound packets that the policy refused.
    pub refused: u64,
}

/// A mesh node as a state machine. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {
    transmit: TransmitQueue,
    deliver: DeliverQueue,
    address: NodeAddress,
}

impl Node {
    /// A node that has just started. `generation` is larger than any used before and already on disk; `seed` comes from
    /// the operating system's random source.
    pub fn new(
        _now: Instant,
        _config: NodeConfig,
        identity: MeshIdentity,
        _generation: u32,
        _seed: [u8; 32],
    ) -> Self {
        Self {
            transmit: TransmitQueue::default(),
            deliver: DeliverQueue::default(),
            address: identity.address(),
        }
    }

    /// This node's address.
    pub const fn address(&self) -> NodeAddress {
        self.address
    }

    /// Starts using an interface.
    pub fn add_interface(&mut self, _now: Instant, _id: InterfaceId, _config: InterfaceConfig) {}

    /// The operating system learned an interface's speed, or that of one neighbour on it (kbit/s).
    pub fn set_throughput(
        &mut self,
        _now: Instant,
        _id: InterfaceId,
        _peer: Option<SocketAddr>,
        _kbps: Option<u32>,
    ) {
    }

    /// An interface is gone: its links go down at once.
    pub fn remove_interface(&mut self, _now: Instant, _id: InterfaceId) {}

    /// One datagram from the carrier. Changed in place while it is opened.
    pub fn receive(
        &mut self,
        _now: Instant,
        _interface: InterfaceId,
        _from: SocketAddr,
        _datagram: &mut [u8],
    ) {
    }

    /// A packet of this node's own programs: an IPv6 header with its transport header in `head`, the rest in `payload`
    /// (so that segments of a large send need not be copied together first). Errors come back as ICMPv6 by
    /// [`Node::delivered`].
    pub fn send_packet(
        &mut self,
        _now: Instant,
        _head: &[u8],
        _payload: &[u8],
        _checksum: Checksum,
    ) {
    }

    /// Largest inner packet that reaches `destination` whole, as far as known; 1280 at least.
    pub fn path_mtu(&self, _destination: &NodeAddress) -> u16 {
        1280
    }

    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Instant {
        Instant::NEVER
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Datagrams to send.
    pub const fn transmit(&mut self) -> &mut TransmitQueue {
        &mut self.transmit
    }

    /// IPv6 packets for this node's programs.
    pub const fn delivered(&mut self) -> &mut DeliverQueue {
        &mut self.deliver
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// The generation of an [`Event::PersistGeneration`] is on disk.
    pub fn generation_persisted(&mut self, _now: Instant, _generation: u32) {}

    /// Replaces the services that this node shows to the island.
    pub fn publish(&mut self, _now: Instant, _services: Vec<ServiceAnnouncement>) {}

    /// Asks a node for its descriptor; an [`Event::Descriptor`] or [`Event::DescriptorTimeout`] follows.
    pub fn request_descriptor(&mut self, _now: Instant, _of: NodeAddress) {}

    /// The last descriptor seen of a node.
    pub fn descriptor(&self, _of: &NodeAddress) -> Option<&Descriptor> {
        None
    }

    /// Everybody a neighbour link exists to.
    pub fn neighbours(&self) -> Vec<NeighbourView> {
        Vec::new()
    }

    /// Everybody there is a route to.
    pub fn routes(&self) -> Vec<RouteView> {
        Vec::new()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
