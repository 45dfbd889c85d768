//! The node as others see it: what the owner sets, what happens, and what is shown to people.

use core::net::SocketAddr;
use core::time::Duration;

use crate::identity::NodeAddress;
use crate::packet::policy::Policy;
use crate::transmit::InterfaceId;

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
    /// Whether sending and receiving share the air (WiFi). Costs are airtime and add up, so a path in and out of one
    /// such radio has half the throughput by itself; shown to people.
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
    pub policy: Policy,
    /// Whether to use AES with nodes that do so, too: what [`has_aes`](crate::crypto::cipher::has_aes) says, or `false`.
    pub aes: bool,
}

/// Something the owner of the node has to know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Write this generation to disk, then call [`super::Node::generation_persisted`]. Until then the old one stays in
    /// use.
    PersistGeneration(u32),
    /// A link is up.
    NeighbourUp(NodeAddress),
    /// Somebody at this address is in a mesh with another passphrase.
    PassphraseDiffers(SocketAddr),
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
    /// The destination's generation: another one after it started again (and once in a week or so without that).
    pub generation: u32,
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
    /// Data frames whose hops ran out.
    pub ttl_exceeded: u64,
    /// Handshakes that ended in a link.
    pub handshakes: u64,
    /// Links declared dead.
    pub links_lost: u64,
    /// Links that one probe brought back.
    pub links_resumed: u64,
}
