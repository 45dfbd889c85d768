//! The hallway of a mesh node: datagrams, packets and time come in; datagrams, packets and events go out.
//!
//! | file | what |
//! |---|---|
//! | `discovery` | beacons, whom to begin a handshake with, and its messages |
//! | `link`, `links` | what is kept of a link |
//! | `watch` | links that come up, fall silent, resume and die |
//! | `hello` | HELLO and announcements, per interface |
//! | `control` | what neighbours say |
//! | `reliable` | frames that want an acknowledgement |
//! | `data` | packets of people's programs, and others' frames passed on |
//! | `view` | settings, events, and what is shown to people |

mod control;
mod data;
mod discovery;
mod hello;
mod link;
mod links;
mod reliable;
mod view;
mod watch;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::data::Halves;
use self::discovery::Discovery;
use self::hello::Interface;
use self::links::{Links, Place};
use self::reliable::Reliable;
pub use self::view::{
    Counters, Event, InterfaceConfig, Medium, NeighbourView, NodeConfig, RouteView,
};
use self::watch::Notices;
use crate::crypto::SecretKey;
use crate::crypto::cipher::Suite;
pub use crate::deliver::Checksum;
use crate::deliver::DeliverQueue;
use crate::descriptor::{Descriptor, DescriptorError, ServiceAnnouncement, Uplink};
use crate::identity::{MeshIdentity, NodeAddress};
use crate::link::{FrameType, GroupSender, LinkParty};
use crate::packet::bucket::TokenBucket;
use crate::packet::icmpv6;
use crate::packet::policy::{Gate, Policy};
use crate::rng::NodeRng;
use crate::routing::LinkId;
use crate::routing::anchor::AnchorRecord;
use crate::routing::mtu;
use crate::routing::router::{Router, VerifyAnchor};
use crate::session::{Limits, SessionEvent, Sessions};
use crate::time::Instant;
use crate::timers::Timers;
use crate::transmit::{InterfaceId, TransmitQueue};

#[derive(Clone, Copy, Debug)]
enum Timer {
    Hello(InterfaceId),
    Announce,
    Attempt(u32),
    Tidy,
    Sync(LinkId, u32),
    Probe(LinkId, u32),
    Miss(LinkId, u32, u32),
    Silence(LinkId, u32),
    Forget(LinkId, u32),
    Notice(u32),
    Retransmit(u16),
}

/// A mesh node as a state machine. Call [`Node::receive`] for every datagram, [`Node::send_packet`] for every packet and
/// [`Node::handle_timeout`] when [`Node::poll_timeout`] is reached; after each, take what [`Node::transmit`],
/// [`Node::delivered`] and [`Node::poll_event`] have.
#[derive(Debug)]
pub struct Node {
    identity: Arc<MeshIdentity>,
    name: String,
    psk: Option<SecretKey>,
    /// What handshakes announce, as bits.
    features: u16,
    /// The X25519 key of link handshakes, new at every start.
    link_secret: SecretKey,
    /// Tells this start from earlier ones, in beacons.
    epoch: [u8; 4],
    rng: NodeRng,
    group: GroupSender,
    interfaces: BTreeMap<InterfaceId, Interface>,
    links: Links,
    discovery: Discovery,
    reliable: Reliable,
    notices: Notices,
    halves: Halves,
    router: Router,
    sessions: Sessions,
    gate: Gate,
    icmp_errors: TokenBucket,
    descriptors: BTreeMap<NodeAddress, Descriptor>,
    descriptor_number: u64,
    /// What the descriptor names.
    services: Vec<ServiceAnnouncement>,
    timers: Timers<Timer>,
    /// When what changed is announced at the latest.
    announce_at: Option<Instant>,
    transmit: TransmitQueue,
    deliver: DeliverQueue,
    events: VecDeque<Event>,
    counters: Counters,
    scratch: Vec<u8>,
}

fn verify_anchor(record: &AnchorRecord) -> bool {
    record.verify().is_ok()
}

impl Node {
    /// A node that has just started. `generation` is larger than any used before and already on disk; `seed` comes from
    /// the operating system's random source.
    pub fn new(
        now: Instant,
        config: NodeConfig,
        identity: MeshIdentity,
        generation: u32,
        seed: [u8; 32],
    ) -> Self {
        Self::with_verifier(now, config, identity, generation, seed, verify_anchor)
    }

    /// As [`Node::new`], with another way to check anchors' signatures (a simulator checks each once for all nodes).
    pub fn with_verifier(
        now: Instant,
        config: NodeConfig,
        identity: MeshIdentity,
        generation: u32,
        seed: [u8; 32],
        verify: VerifyAnchor,
    ) -> Self {
        let mut rng = NodeRng::new(seed);
        let identity = Arc::new(identity);
        let mut sessions = Sessions::new(&identity, generation, rng.array(), Limits::default());
        let features = Suite::features(config.aes);
        sessions.set_features(features);
        let router = Router::new(now, Arc::clone(&identity), generation, rng.fork(), verify);
        let mut node = Self {
            name: config.name,
            psk: config.psk.map(SecretKey::new),
            features,
            link_secret: SecretKey::random(rng.inner()),
            epoch: rng.array(),
            group: GroupSender::new(rng.inner()),
            interfaces: BTreeMap::new(),
            links: Links::default(),
            discovery: Discovery::new(rng.inner()),
            reliable: Reliable::default(),
            notices: Notices::default(),
            halves: Halves::default(),
            router,
            sessions,
            gate: Gate::new(config.policy),
            icmp_errors: icmpv6::error_limit(),
            descriptors: BTreeMap::new(),
            // Larger than any of an earlier start.
            descriptor_number: u64::from(generation) << 32,
            services: Vec::new(),
            timers: Timers::default(),
            announce_at: None,
            transmit: TransmitQueue::default(),
            deliver: DeliverQueue::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            scratch: Vec::new(),
            identity,
            rng,
        };
        // A name that is too long to be shown is not shown.
        if node.describe_self(now, Vec::new()).is_err() {
            node.name.clear();
            let _ = node.describe_self(now, Vec::new());
        }
        node.start_tidying(now);
        node.pump(now);
        node
    }

    /// This node's address.
    pub fn address(&self) -> NodeAddress {
        self.identity.address()
    }

    /// Starts using an interface.
    pub fn add_interface(&mut self, now: Instant, id: InterfaceId, config: InterfaceConfig) {
        if self.interfaces.contains_key(&id) {
            self.remove_interface(now, id);
        }
        let interface = Interface::new(now, id, config, self.router.version(), &mut self.rng);
        self.interfaces.insert(id, interface);
        self.arm_hello(id);
        self.pump(now);
    }

    /// The operating system learned an interface's speed, or that of one neighbour on it (kbit/s).
    pub fn set_throughput(
        &mut self,
        now: Instant,
        id: InterfaceId,
        peer: Option<SocketAddr>,
        kbps: Option<u32>,
    ) {
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        match peer {
            None => interface.throughput_kbps = kbps,
            Some(peer) => {
                let link = self.links.by_place(Place {
                    interface: id,
                    transport: peer,
                });
                if let Some(link) = link.and_then(|link| self.links.get_mut(link)) {
                    link.throughput_kbps = kbps;
                }
            }
        }
        let links: Vec<_> = self.links.on(id).map(|(link, _)| link).collect();
        for link in links {
            self.update_cost(now, link);
        }
        self.pump(now);
    }

    /// An interface is gone: its links go down at once.
    pub fn remove_interface(&mut self, now: Instant, id: InterfaceId) {
        if self.interfaces.remove(&id).is_none() {
            return;
        }
        self.discovery.forget_interface(id);
        let links: Vec<_> = self.links.on(id).map(|(link, _)| link).collect();
        for link in links {
            self.suspend(now, link);
        }
        self.pump(now);
    }

    /// The operating system says that a neighbour is out of reach (its WiFi peering ended): its link goes down at once.
    pub fn link_lost(&mut self, now: Instant, interface: InterfaceId, transport: SocketAddr) {
        if let Some(link) = self.links.by_place(Place {
            interface,
            transport,
        }) {
            self.suspend(now, link);
            self.pump(now);
        }
    }

    /// Tells all neighbours that this node stops, so that they need not find out.
    pub fn say_goodbye(&mut self) {
        let links: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_up())
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.send_control(link, &[crate::message::Message::Goodbye]);
        }
    }

    /// One datagram from the carrier. Changed in place while it is opened.
    pub fn receive(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        from: SocketAddr,
        datagram: &mut [u8],
    ) {
        if !self.interfaces.contains_key(&interface) {
            return;
        }
        let from = Place {
            interface,
            transport: from,
        };
        let accepted = match FrameType::of(datagram) {
            Ok(FrameType::Data | FrameType::DataFirst | FrameType::DataSecond) => {
                self.receive_data(now, from, datagram)
            }
            Ok(FrameType::Control) => self.receive_control(now, from, datagram),
            Ok(FrameType::Broadcast) => self.receive_broadcast(now, from, datagram),
            Ok(FrameType::Beacon) => self.receive_beacon(now, from, datagram),
            Ok(FrameType::Handshake1) => self.receive_first(now, from, datagram),
            Ok(FrameType::Handshake2) => self.receive_second(now, from, datagram),
            Ok(FrameType::Handshake3) => self.receive_third(now, from, datagram),
            Ok(FrameType::Cookie) => self.receive_cookie(now, from, datagram),
            Err(_) => false,
        };
        if !accepted {
            self.counters.rejected += 1;
        }
        self.pump(now);
    }

    /// A packet of this node's own programs: an IPv6 header with its transport header in `head`, the rest in `payload`
    /// (so that segments of a large send need not be copied together first). Errors come back as ICMPv6 by
    /// [`Node::delivered`].
    pub fn send_packet(&mut self, now: Instant, head: &[u8], payload: &[u8], checksum: Checksum) {
        self.send_inner(now, head, payload, checksum);
        self.pump(now);
    }

    /// Largest inner packet that reaches `destination` whole, as far as known; 1280 at least.
    pub fn path_mtu(&self, destination: &NodeAddress) -> u16 {
        let class = self
            .router
            .originator(destination)
            .and_then(|originator| originator.advertised)
            .map_or(0, |said| said.mtu_class);
        mtu::size_of_class(class)
    }

    /// When [`Node::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Instant {
        self.timers
            .next()
            .min(self.router.poll_timeout())
            .min(self.sessions.poll_timeout())
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Hello(interface) => self.hello_due(now, interface),
                Timer::Announce => self.announce_due(now),
                Timer::Attempt(index) => self.attempt_due(now, index),
                Timer::Tidy => self.tidy(now),
                Timer::Sync(link, serial) => self.ask_for_table(now, link, serial),
                Timer::Probe(link, serial) => self.probe_due(now, link, serial),
                Timer::Miss(link, serial, token) => self.hello_missed(now, link, serial, token),
                Timer::Silence(link, serial) => self.silence_due(now, link, serial),
                Timer::Forget(link, serial) => self.forget_due(now, link, serial),
                Timer::Notice(id) => self.notice_due(now, id),
                Timer::Retransmit(id) => self.retransmit_due(now, id),
            }
            self.pump(now);
        }
        if self.router.poll_timeout() <= now {
            self.router.handle_timeout(now);
        }
        if self.sessions.poll_timeout() <= now {
            self.sessions.handle_timeout(now);
        }
        self.pump(now);
    }

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
        self.events.pop_front()
    }

    /// The generation of an [`Event::PersistGeneration`] is on disk.
    pub fn generation_persisted(&mut self, now: Instant, generation: u32) {
        self.sessions.set_generation(generation);
        self.router.generation_persisted(now, generation);
        self.pump(now);
    }

    /// Replaces the services that this node shows to the island. Who asked for its descriptor lately is told so.
    ///
    /// # Errors
    /// More or longer services than a descriptor holds: what was shown before stays.
    pub fn publish(
        &mut self,
        now: Instant,
        services: Vec<ServiceAnnouncement>,
    ) -> Result<(), DescriptorError> {
        if services == self.services {
            return Ok(());
        }
        let described = self.describe_self(now, services.clone());
        if described.is_ok() {
            self.services = services;
        }
        self.pump(now);
        described
    }

    /// Changes what the island may open here; flows that are known stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.gate.set_policy(policy);
    }

    /// Asks a node for its descriptor; an [`Event::Descriptor`] or [`Event::DescriptorTimeout`] follows.
    pub fn request_descriptor(&mut self, now: Instant, of: NodeAddress) {
        self.sessions.request_descriptor(now, of);
        self.pump(now);
    }

    /// The last descriptor seen of a node.
    pub fn descriptor(&self, of: &NodeAddress) -> Option<&Descriptor> {
        self.descriptors.get(of)
    }

    /// Everybody a neighbour link exists to.
    pub fn neighbours(&self, now: Instant) -> Vec<NeighbourView> {
        self.links
            .iter()
            .map(|(_, link)| {
                let kbps = self
                    .interfaces
                    .get(&link.interface)
                    .and_then(|interface| interface.throughput_kbps);
                NeighbourView {
                    address: link.address,
                    interface: link.interface,
                    transport: link.transport,
                    rx_quality: link.quality.rx(),
                    tx_quality: link.quality.tx(),
                    cost: link.cost(kbps).0,
                    silent_for: now.since(link.last_heard),
                    up: link.is_up(),
                }
            })
            .collect()
    }

    /// Everybody there is a route to.
    pub fn routes(&self) -> Vec<RouteView> {
        self.router
            .originators()
            .filter_map(|originator| {
                let said = originator.advertised?;
                Some(RouteView {
                    destination: originator.address,
                    next_hop: self.links.get(originator.selected?)?.address,
                    cost: self.router.path_cost(originator)?.0,
                    step: said.distance.step,
                    path_mtu: mtu::size_of_class(said.mtu_class),
                    has_backup: self.router.has_backup(originator),
                    generation: originator.anchor.generation,
                })
            })
            .collect()
    }

    /// What was counted since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The routing table, to look at.
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// The routing table's watch over next-hop changes, for whoever checks for loops.
    pub const fn router_mut(&mut self) -> &mut Router {
        &mut self.router
    }

    /// The neighbour that frames for `destination` go to, if its link is up.
    pub fn next_hop(&self, destination: &NodeAddress) -> Option<NodeAddress> {
        let link = self.router.originator(destination)?.selected?;
        self.links
            .get(link)
            .filter(|link| link.is_up())
            .map(|link| link.address)
    }

    /// The session of the link to a neighbour, if it is up: our index and the neighbour's.
    pub fn session_with(&self, neighbour: &NodeAddress) -> Option<(u32, u32)> {
        let up = self
            .links
            .iter()
            .find(|(_, link)| link.is_up() && link.address == *neighbour);
        up.map(|(_, link)| (link.session.local_index().0, link.session.remote_index().0))
    }

    /// Says these messages to all neighbours, whether they are true or not.
    #[cfg(feature = "sim")]
    pub fn say(&mut self, messages: &[crate::message::Message]) {
        let ids: Vec<_> = self.interfaces.keys().copied().collect();
        for id in ids {
            self.send_to_all(id, messages);
        }
    }

    /// The AEADs of the link to a neighbour, if it is up, and of the end-to-end session with a node, if there is one.
    pub fn suites_with(&self, node: &NodeAddress) -> (Option<Suite>, Option<Suite>) {
        let up = self
            .links
            .iter()
            .find(|(_, link)| link.is_up() && link.address == *node);
        (
            up.map(|(_, link)| link.session.suite()),
            self.sessions.suite_with(node),
        )
    }

    fn party(&self) -> LinkParty<'_> {
        LinkParty {
            identity: &self.identity,
            static_secret: &self.link_secret,
            psk: self.psk.as_ref(),
            group: &self.group,
            features: self.features,
        }
    }

    /// Signs the descriptor anew; nothing changes if it would be impossible.
    fn describe_self(
        &mut self,
        now: Instant,
        services: Vec<ServiceAnnouncement>,
    ) -> Result<(), DescriptorError> {
        self.descriptor_number += 1;
        let descriptor = Descriptor {
            key: self.identity.public_key(),
            number: self.descriptor_number,
            name: self.name.clone(),
            features: 0,
            uplink: Uplink::None,
            services,
        };
        self.sessions
            .set_descriptor(now, descriptor.encode(&self.identity)?);
        Ok(())
    }

    /// Carries out what routing and sessions want.
    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.router.poll_output() {
            self.on_router_output(now, output);
        }
        while let Some(output) = self.sessions.poll_output() {
            self.send_payload(now, output);
        }
        while let Some(event) = self.sessions.poll_event() {
            match event {
                SessionEvent::Established(_) => {}
                SessionEvent::Undelivered(packet) => self.undelivered(now, &packet),
                SessionEvent::Descriptor(address, descriptor) => {
                    self.keep_descriptor(address, *descriptor);
                    self.events.push_back(Event::Descriptor(address));
                }
                SessionEvent::DescriptorTimeout(address) => {
                    self.events.push_back(Event::DescriptorTimeout(address));
                }
            }
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_due(now);
        }
    }

    fn keep_descriptor(&mut self, address: NodeAddress, descriptor: Descriptor) {
        const DESCRIPTORS_MAX: usize = 1024;
        if self.descriptors.len() >= DESCRIPTORS_MAX && !self.descriptors.contains_key(&address) {
            let gone: BTreeSet<_> = self
                .descriptors
                .keys()
                .filter(|known| self.next_hop(known).is_none())
                .copied()
                .collect();
            self.descriptors.retain(|known, _| !gone.contains(known));
            if self.descriptors.len() >= DESCRIPTORS_MAX {
                self.descriptors.pop_first();
            }
        }
        self.descriptors.insert(address, descriptor);
    }
}
