//! Nodes, time, and frames on their way. Everything that happens is an event in one queue; nothing here knows routing.

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::rc::Rc;

use super::echo::{ECHO_REQUEST, echo, sort_packet};
use super::hostile::Hostility;
use super::random::Random;
use super::topology::Topology;
use crate::deliver::Checksum;
use crate::identity::{MeshIdentity, NodeAddress};
use crate::node::{Event as NodeEvent, InterfaceConfig, Medium, Node, NodeConfig};
use crate::routing::anchor::AnchorRecord;
use crate::time::Instant;
use crate::transmit::{Batch, Destination, InterfaceId};

/// Ethernet, IPv6 and UDP headers of every datagram.
const ENCAPSULATION: usize = 14 + 40 + 8;
const RADIO: InterfaceId = InterfaceId(0);
/// No node.
pub const NOBODY: u32 = u32::MAX;

/// How the run's media behave.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Share of frames lost on every link, on top of the topology's own qualities.
    pub loss: f64,
    /// Whether links are point-to-point instead of radio.
    pub point_to_point: bool,
    /// Whether frames may overtake each other.
    pub reorder: bool,
}

#[derive(Debug)]
enum What {
    Start(usize),
    Timer(usize, u32),
    Frame {
        to: usize,
        start: u32,
        from: usize,
        bytes: Rc<[u8]>,
    },
}

#[derive(Debug)]
struct Event {
    at: u64,
    order: u64,
    what: What,
}

/// A place in the simulation where a node can run.
#[derive(Debug)]
pub struct Place {
    seed: [u8; 32],
    /// Its address.
    pub address: NodeAddress,
    /// The node, while it is on.
    pub node: Option<Node>,
    /// Counts starts.
    start: u32,
    /// The generation on its disk: the next start takes the one after.
    pub generation: u32,
    armed: Instant,
    /// Overhead bytes sent.
    pub bytes: u64,
    /// What it does wrong.
    pub hostility: Option<Hostility>,
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    /// Who hears whom.
    pub topology: Topology,
    /// The nodes.
    pub places: Vec<Place>,
    /// The run's random numbers.
    pub random: Random,
    /// Which node each node sends frames for each node to, kept up to date.
    pub next: Vec<Vec<u32>>,
    /// Next hops that formed a loop of live links, ever.
    pub loops: u64,
    /// Loops that had a hostile node in them.
    pub loops_through_hostile: u64,
    /// Loops over links whose other end is gone already: nothing travels there.
    pub loops_over_dead_links: u64,
    /// Changes of next hops.
    pub changes: u64,
    /// Echo replies that came, by number.
    pub answered: BTreeSet<u64>,
    /// Overhead bytes by second.
    pub by_second: Vec<u64>,
    conditions: Conditions,
    now: Instant,
    events: BinaryHeap<Reverse<Event>>,
    order: u64,
    /// Latest arrival on each directed link, so that frames keep their order.
    arrivals: BTreeMap<(usize, usize), u64>,
    index: HashMap<NodeAddress, usize>,
}

thread_local! {
    /// Signatures checked already, for all nodes of this process.
    static CHECKED: RefCell<HashMap<[u8; 32], bool>> = RefCell::default();
}

fn verify_once(record: &AnchorRecord) -> bool {
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    let key = *blake3::hash(&bytes).as_bytes();
    CHECKED.with_borrow_mut(|checked| {
        *checked
            .entry(key)
            .or_insert_with(|| record.verify().is_ok())
    })
}

fn transport(node: usize) -> SocketAddr {
    let address = Ipv6Addr::from((0xfe80u128 << 112) | (node as u128 + 1));
    SocketAddr::from((address, 4240))
}

fn node_of(transport: SocketAddr) -> usize {
    match transport.ip() {
        std::net::IpAddr::V6(address) => (address.to_bits() & 0xffff_ffff) as usize - 1,
        std::net::IpAddr::V4(_) => usize::MAX,
    }
}

impl World {
    /// A world in which nobody is on yet.
    pub fn new(topology: Topology, conditions: Conditions, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let places: Vec<_> = (0..topology.len())
            .map(|_| {
                let seed = random.seed();
                Place {
                    seed,
                    address: MeshIdentity::from_seed(&seed).address(),
                    node: None,
                    start: 0,
                    generation: 0,
                    armed: Instant::NEVER,
                    bytes: 0,
                    hostility: None,
                }
            })
            .collect();
        let index = places
            .iter()
            .enumerate()
            .map(|(node, place)| (place.address, node))
            .collect();
        Self {
            next: vec![vec![NOBODY; topology.len()]; topology.len()],
            topology,
            places,
            random,
            loops: 0,
            loops_through_hostile: 0,
            loops_over_dead_links: 0,
            changes: 0,
            answered: BTreeSet::new(),
            by_second: Vec::new(),
            conditions,
            now: Instant::ZERO,
            events: BinaryHeap::new(),
            order: 0,
            arrivals: BTreeMap::new(),
            index,
        }
    }

    /// The time, seconds.
    pub fn seconds(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let seconds = self.now.as_micros() as f64 / 1e6;
        seconds
    }

    /// The time.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Turns a node on after `delay`.
    pub fn start(&mut self, node: usize, delay: Duration) {
        self.at(self.now + delay, What::Start(node));
    }

    /// Turns all nodes on, at random within `span`.
    pub fn start_all(&mut self, span: Duration) {
        for node in 0..self.places.len() {
            let delay = span.mul_f64(self.random.unit());
            self.start(node, delay);
        }
    }

    /// Pulls a node's plug.
    pub fn stop(&mut self, node: usize) {
        self.places[node].node = None;
        self.next[node].fill(NOBODY);
    }

    /// Whether a node is on.
    pub fn is_on(&self, node: usize) -> bool {
        self.places[node].node.is_some()
    }

    /// Lets the world run until `until`.
    pub fn run_until(&mut self, until: Instant) {
        while let Some(Reverse(event)) = self.events.peek()
            && event.at <= until.as_micros()
        {
            let Some(Reverse(event)) = self.events.pop() else {
                break;
            };
            self.now = Instant::from_micros(event.at);
            self.happen(event.what);
        }
        self.now = until;
    }

    /// Lets the world run for a while.
    pub fn run(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Both ends of an announced cut: the operating systems say that the interface towards the other is down.
    pub fn announce_cut(&mut self, a: usize, b: usize) {
        for (node, other) in [(a, b), (b, a)] {
            let now = self.now;
            let transport = transport(other);
            if let Some(node) = self.places[node].node.as_mut() {
                node.link_lost(now, RADIO, transport);
            }
            self.after(node);
        }
    }

    /// Sends an echo request; [`World::answered`] holds `number` once the reply is back.
    pub fn ping(&mut self, from: usize, to: usize, number: u64) {
        let packet = echo(
            ECHO_REQUEST,
            &self.places[from].address,
            &self.places[to].address,
            &number.to_be_bytes(),
        );
        let now = self.now;
        if let Some(node) = self.places[from].node.as_mut() {
            node.send_packet(now, &packet, &[], Checksum::Complete);
        }
        self.after(from);
    }

    /// Gives a node something to do and then looks after what came of it.
    pub fn with_node<R>(
        &mut self,
        node: usize,
        act: impl FnOnce(Instant, &mut Node) -> R,
    ) -> Option<R> {
        let now = self.now;
        let result = self.places[node].node.as_mut().map(|node| act(now, node));
        self.after(node);
        result
    }

    /// A datagram arrives at `to` as if `from` had sent it.
    pub fn inject(&mut self, from: usize, to: usize, bytes: Rc<[u8]>) {
        let start = self.places[to].start;
        let at = self.now + Duration::from_millis(1);
        self.at(
            at,
            What::Frame {
                to,
                start,
                from,
                bytes,
            },
        );
    }

    /// Overhead bytes of all nodes so far.
    pub fn total_bytes(&self) -> u64 {
        self.places.iter().map(|place| place.bytes).sum()
    }

    fn at(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event {
            at: at.as_micros(),
            order: self.order,
            what,
        }));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Start(node) => self.turn_on(node),
            What::Timer(node, start) => {
                let now = self.now;
                let place = &mut self.places[node];
                if place.start != start || place.armed > now {
                    return;
                }
                place.armed = Instant::NEVER;
                if let Some(running) = place.node.as_mut() {
                    running.handle_timeout(now);
                    self.after(node);
                }
            }
            What::Frame {
                to,
                start,
                from,
                bytes,
            } => {
                let now = self.now;
                if self.places[to].start != start || self.topology.quality(from, to).is_none() {
                    return;
                }
                if let Some(hostility) = &mut self.places[to].hostility {
                    hostility.overhear(from, &bytes);
                }
                if let Some(node) = self.places[to].node.as_mut() {
                    let mut datagram = bytes.to_vec();
                    node.receive(now, RADIO, transport(from), &mut datagram);
                    self.after(to);
                }
            }
        }
    }

    fn turn_on(&mut self, node: usize) {
        let peers = self
            .topology
            .heard_by(node)
            .map(|(peer, _)| transport(peer))
            .collect();
        let seed = self.random.seed();
        let place = &mut self.places[node];
        place.start += 1;
        place.generation += 1;
        place.armed = Instant::NEVER;
        let mut running = Node::with_verifier(
            self.now,
            NodeConfig::default(),
            MeshIdentity::from_seed(&place.seed),
            place.generation,
            seed,
            verify_once,
        );
        running.router_mut().watch_changes();
        let medium = if self.conditions.point_to_point {
            Medium::Unicast { peers }
        } else {
            Medium::Broadcast
        };
        running.add_interface(
            self.now,
            RADIO,
            InterfaceConfig {
                medium,
                mtu: 1452,
                half_duplex: !self.conditions.point_to_point,
                throughput_kbps: None,
            },
        );
        place.node = Some(running);
        self.after(node);
    }

    /// Collects what a node wants after it was given something to do.
    fn after(&mut self, node: usize) {
        let now = self.now;
        loop {
            let Some(running) = self.places[node].node.as_mut() else {
                return;
            };
            let mut persisted = Vec::new();
            while let Some(event) = running.poll_event() {
                if let NodeEvent::PersistGeneration(generation) = event {
                    persisted.push(generation);
                }
            }
            for generation in &persisted {
                running.generation_persisted(now, *generation);
            }
            let mut answers = Vec::new();
            let mut replies = Vec::new();
            for (packet, _) in running.delivered().iter_mut() {
                sort_packet(packet, &mut answers, &mut replies);
            }
            running.delivered().clear();
            for answer in &answers {
                running.send_packet(now, answer, &[], Checksum::Complete);
            }
            self.answered.extend(replies);
            if let Some(generation) = persisted.last() {
                self.places[node].generation = *generation;
            }
            if persisted.is_empty() && answers.is_empty() {
                break;
            }
        }
        self.send(node);
        self.note_changes(node);
        let place = &mut self.places[node];
        if let Some(running) = &place.node {
            let next = running.poll_timeout();
            if next < place.armed {
                place.armed = next;
                let start = place.start;
                self.at(next.max(now), What::Timer(node, start));
            }
        }
    }

    fn send(&mut self, node: usize) {
        while let Some(batch) = self.places[node]
            .node
            .as_mut()
            .and_then(|node| node.transmit().pop())
        {
            for datagram in batch.bytes.chunks(batch.segment) {
                self.send_datagram(node, &batch, datagram);
            }
            if let Some(running) = self.places[node].node.as_mut() {
                running.transmit().recycle(batch);
            }
        }
    }

    fn send_datagram(&mut self, node: usize, batch: &Batch, datagram: &[u8]) {
        let is_data = matches!(datagram.first().map(|byte| byte & 0xf), Some(8..=10));
        if is_data && self.places[node].hostility.is_some() {
            return;
        }
        if !is_data {
            let len = (ENCAPSULATION + datagram.len()) as u64;
            self.places[node].bytes += len;
            let second = (self.now.as_micros() / 1_000_000) as usize;
            if self.by_second.len() <= second {
                self.by_second.resize(second + 1, 0);
            }
            self.by_second[second] += len;
        }
        let bytes: Rc<[u8]> = datagram.into();
        match batch.to {
            Destination::Unicast(to) => self.fly(node, node_of(to), bytes),
            Destination::Broadcast => {
                let hearers: Vec<_> = self.topology.heard_by(node).map(|(to, _)| to).collect();
                for to in hearers {
                    self.fly(node, to, Rc::clone(&bytes));
                }
            }
        }
    }

    fn fly(&mut self, from: usize, to: usize, bytes: Rc<[u8]>) {
        if to >= self.places.len() || self.places[to].node.is_none() {
            return;
        }
        let Some(quality) = self.topology.quality(from, to) else {
            return;
        };
        if self
            .random
            .chance(1.0 - quality * (1.0 - self.conditions.loss))
        {
            return;
        }
        let delay = Duration::from_secs_f64(self.random.between(0.001, 0.003));
        let mut at = (self.now + delay).as_micros();
        if !self.conditions.reorder {
            let last = self.arrivals.entry((from, to)).or_insert(0);
            if at <= *last {
                at = *last + 10;
            }
            *last = at;
        }
        let start = self.places[to].start;
        self.at(
            Instant::from_micros(at),
            What::Frame {
                to,
                start,
                from,
                bytes,
            },
        );
    }

    fn note_changes(&mut self, node: usize) {
        let Some(running) = self.places[node].node.as_mut() else {
            return;
        };
        for destination in running.router_mut().take_changes() {
            let Some(&to) = self.index.get(&destination) else {
                continue;
            };
            let next = self.places[node]
                .node
                .as_ref()
                .and_then(|node| node.next_hop(&destination))
                .and_then(|address| self.index.get(&address).copied())
                .map_or(NOBODY, |next| next as u32);
            self.next[node][to] = next;
            self.changes += 1;
            if next != NOBODY {
                self.check_loop(node, to);
            }
        }
    }

    /// Follows the next hops towards `to`: whoever comes back to `node` goes round in circles.
    fn check_loop(&mut self, node: usize, to: usize) {
        let mut here = node;
        let mut is_live = true;
        let mut is_honest = true;
        for _ in 0..self.places.len() {
            if here == to {
                return;
            }
            let next = self.next[here][to];
            if next == NOBODY || !self.is_on(next as usize) {
                return;
            }
            let next = next as usize;
            is_live &= self.is_live(here, next);
            is_honest &= self.places[here].hostility.is_none();
            here = next;
            if here == node {
                match (is_honest, is_live) {
                    (false, _) => self.loops_through_hostile += 1,
                    (true, true) => self.loops += 1,
                    (true, false) => self.loops_over_dead_links += 1,
                }
                return;
            }
        }
    }

    /// Whether both ends hold the same session.
    fn is_live(&self, a: usize, b: usize) -> bool {
        let ends = |from: usize, to: usize| {
            self.places[from]
                .node
                .as_ref()
                .and_then(|node| node.session_with(&self.places[to].address))
        };
        matches!((ends(a, b), ends(b, a)), (Some((x, y)), Some((v, w))) if x == w && y == v)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
