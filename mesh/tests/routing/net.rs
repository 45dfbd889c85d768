//! A tiny network of routing tables: what they want said is carried as values over links that lose, repeat and reorder.
//! After every step it is checked that no next hops form a loop, and why they cannot.

mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use warren_mesh::identity::{MeshIdentity, NodeAddress, ShortId};
use warren_mesh::message::{Entry, Request};
use warren_mesh::neighbour::sync::TableSync;
use warren_mesh::rng::NodeRng;
use warren_mesh::routing::LinkId;
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::routing::metric::Cost;
use warren_mesh::routing::router::{Output, Router, Subject};
use warren_mesh::time::Instant;
use warren_mesh::timers::Timers;

const HELLO: Duration = Duration::from_millis(500);
const RETRANSMIT: Duration = Duration::from_millis(15);
const TRIES: u32 = 6;
/// A dead link is noticed within this time, at each end on its own.
const DETECTION_MS: u64 = 700;

/// How links treat what they carry, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    pub loss: u32,
    pub repeat: u32,
    pub reorder: bool,
}

#[derive(Clone, Debug)]
enum Packet {
    Table {
        version: u32,
        cover: Option<(u32, u32)>,
        anchors: Vec<AnchorRecord>,
        entries: Vec<Entry>,
    },
    Requests(Vec<Request>),
    Fetch(Vec<ShortId>),
    Hello(u32),
    Sync(u32),
}

/// What an acknowledged frame says, made anew at each try.
#[derive(Clone, Debug)]
enum Content {
    Packet(Packet),
    Answer(Vec<Subject>, bool),
}

enum What {
    Deliver(usize, usize, u32, Packet),
    Retry(usize, usize, u32, u32, Content),
    NoticeDeath(usize, usize, u32),
    Announce(usize),
    Hello(usize),
    Ask(usize, usize, u32),
}

/// One end of a link session.
struct End {
    session: u32,
    sync: TableSync,
}

pub struct Net {
    pub routers: Vec<Router>,
    pub now: Instant,
    pub conditions: Conditions,
    /// Steps checked.
    pub steps: u64,
    /// The newest each node ever said of itself, on whatever disk.
    spoken: Vec<(u32, u16)>,
    identities: Vec<Arc<MeshIdentity>>,
    pub generations: Vec<u32>,
    numbers: BTreeMap<NodeAddress, usize>,
    announce_at: Vec<Option<Instant>>,
    said: Vec<u32>,
    wires: BTreeMap<(usize, usize), u32>,
    ends: BTreeMap<(usize, usize), End>,
    arrivals: BTreeMap<(usize, usize), Instant>,
    last_session: u32,
    queue: Timers<What>,
    rng: ChaCha8Rng,
}

fn link_to(peer: usize) -> LinkId {
    LinkId::of_slot(peer).unwrap()
}

fn genuine(record: &AnchorRecord) -> bool {
    record.verify().is_ok()
}

fn wire(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Net {
    pub fn new(count: usize, conditions: Conditions, seed: u64) -> Self {
        let identities: Vec<_> = (0..count)
            .map(|n| Arc::new(MeshIdentity::from_seed(&[n as u8 + 1; 32])))
            .collect();
        let mut net = Self {
            routers: Vec::new(),
            now: Instant::ZERO,
            conditions,
            steps: 0,
            spoken: vec![(0, 0); count],
            numbers: identities
                .iter()
                .enumerate()
                .map(|(n, identity)| (identity.address(), n))
                .collect(),
            identities,
            generations: vec![10; count],
            announce_at: vec![None; count],
            said: vec![0; count],
            wires: BTreeMap::new(),
            ends: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            last_session: 0,
            queue: Timers::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        for node in 0..count {
            let router = net.fresh_router(node);
            net.routers.push(router);
            let first = net.within(500);
            net.queue.set(net.now + first, What::Hello(node));
            net.pump(node);
        }
        net
    }

    fn fresh_router(&mut self, node: usize) -> Router {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Router::new(
            self.now,
            Arc::clone(&self.identities[node]),
            self.generations[node],
            NodeRng::new(seed),
            genuine,
        )
    }

    pub fn address(&self, node: usize) -> NodeAddress {
        self.identities[node].address()
    }

    fn within(&mut self, milliseconds: u64) -> Duration {
        Duration::from_micros(self.rng.next_u64() % (milliseconds * 1000))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.next_u32() % 100 < percent
    }

    /// Connects two nodes with a new session, whatever the ends thought before.
    pub fn connect(&mut self, a: usize, b: usize, cost: u32) {
        if a == b {
            return;
        }
        self.wires.insert(wire(a, b), cost);
        self.last_session += 1;
        for (node, peer) in [(a, b), (b, a)] {
            if self.ends.remove(&(node, peer)).is_some() {
                self.routers[node].link_down(self.now, link_to(peer));
            }
            let end = End {
                session: self.last_session,
                sync: TableSync::default(),
            };
            self.ends.insert((node, peer), end);
            let short = self.address(peer).short_id();
            self.routers[node].link_up(self.now, link_to(peer), short, Cost(cost), 4);
        }
        for (node, peer) in [(a, b), (b, a)] {
            self.send_table(node, peer, 0);
        }
        self.after_step(a);
        self.after_step(b);
    }

    /// Cuts two nodes apart; each end notices on its own, later.
    pub fn cut(&mut self, a: usize, b: usize) {
        if self.wires.remove(&wire(a, b)).is_none() {
            return;
        }
        for (node, peer) in [(a, b), (b, a)] {
            if let Some(end) = self.ends.get(&(node, peer)) {
                let session = end.session;
                let delay = self.within(DETECTION_MS);
                self.queue
                    .set(self.now + delay, What::NoticeDeath(node, peer, session));
            }
        }
    }

    /// Changes what a link costs, at both ends.
    pub fn reprice(&mut self, a: usize, b: usize, cost: u32) {
        if let Some(known) = self.wires.get_mut(&wire(a, b)) {
            *known = cost;
            for (node, peer) in [(a, b), (b, a)] {
                let lossy = self.conditions.loss > 3;
                self.routers[node].set_link_cost(self.now, link_to(peer), Cost(cost), lossy);
            }
            self.after_step(a);
            self.after_step(b);
        }
    }

    /// A node loses power and starts again with this generation on its disk; links come back with new sessions.
    pub fn restart(&mut self, node: usize, generation: u32) {
        self.generations[node] = generation;
        self.announce_at[node] = None;
        self.said[node] = 0;
        self.routers[node] = self.fresh_router(node);
        let wires: Vec<_> = self
            .wires
            .iter()
            .map(|(ends, cost)| (*ends, *cost))
            .collect();
        self.ends.retain(|(owner, _), _| *owner != node);
        for ((a, b), cost) in wires {
            if a == node || b == node {
                self.connect(a, b, cost);
            }
        }
        self.after_step(node);
    }

    /// A node is off for a while: everybody notices.
    pub fn unplug(&mut self, node: usize) -> Vec<(usize, u32)> {
        let peers: Vec<_> = self
            .wires
            .iter()
            .filter(|((a, b), _)| *a == node || *b == node)
            .map(|((a, b), cost)| (a + b - node, *cost))
            .collect();
        for (peer, _) in &peers {
            self.cut(node, *peer);
        }
        peers
    }

    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let next_router = self
                .routers
                .iter()
                .map(Router::poll_timeout)
                .min()
                .unwrap_or(Instant::NEVER);
            let next = next_router.min(self.queue.next());
            if next > until {
                break;
            }
            self.now = self.now.max(next);
            if let Some(what) = self.queue.pop_due(self.now) {
                self.happen(what);
                continue;
            }
            for node in 0..self.routers.len() {
                if self.routers[node].poll_timeout() <= self.now {
                    self.routers[node].handle_timeout(self.now);
                    self.after_step(node);
                }
            }
        }
        self.now = until;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver(from, to, session, packet) => {
                let holds = |ends: (usize, usize)| {
                    self.ends.get(&ends).map(|end| end.session) == Some(session)
                };
                if self.wires.contains_key(&wire(from, to)) && holds((to, from)) {
                    self.receive(to, from, packet);
                    self.after_step(to);
                }
            }
            What::Retry(from, to, session, tries, content) => {
                self.send_reliable(from, to, session, tries, content);
            }
            What::NoticeDeath(node, peer, session) => {
                if self.ends.get(&(node, peer)).map(|end| end.session) == Some(session) {
                    self.ends.remove(&(node, peer));
                    self.routers[node].link_down(self.now, link_to(peer));
                    self.after_step(node);
                }
            }
            What::Announce(node) => {
                if self.announce_at[node].is_some_and(|at| at <= self.now) {
                    self.announce_at[node] = None;
                    self.announce(node);
                }
            }
            What::Hello(node) => {
                self.announce(node);
                let version = self.routers[node].version();
                for peer in self.peers(node) {
                    self.send(node, peer, Packet::Hello(version));
                }
                self.queue.set(self.now + HELLO, What::Hello(node));
            }
            What::Ask(node, peer, session) => {
                let now = self.now;
                let Some(end) = self.ends.get_mut(&(node, peer)) else {
                    return;
                };
                if end.session == session
                    && let Some((since, wait)) = end.sync.ask()
                {
                    self.queue.set(now + wait, What::Ask(node, peer, session));
                    self.send(node, peer, Packet::Sync(since));
                }
            }
        }
    }

    fn peers(&self, node: usize) -> Vec<usize> {
        self.ends
            .keys()
            .filter(|(owner, _)| *owner == node)
            .map(|(_, peer)| *peer)
            .collect()
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let Some(session) = self.ends.get(&(from, to)).map(|end| end.session) else {
            return;
        };
        let copies = if self.chance(self.conditions.repeat) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.chance(self.conditions.loss) {
                continue;
            }
            let spread = if self.conditions.reorder { 40 } else { 2 };
            let mut at = self.now + Duration::from_millis(1) + self.within(spread);
            if !self.conditions.reorder {
                let last = self.arrivals.entry((from, to)).or_insert(Instant::ZERO);
                at = at.max(*last);
                *last = at;
            }
            self.queue
                .set(at, What::Deliver(from, to, session, packet.clone()));
        }
    }

    fn send_reliable(
        &mut self,
        from: usize,
        to: usize,
        session: u32,
        tries: u32,
        content: Content,
    ) {
        if tries >= TRIES || self.ends.get(&(from, to)).map(|end| end.session) != Some(session) {
            return;
        }
        let packet = match content.clone() {
            Content::Packet(packet) => packet,
            Content::Answer(subjects, with_anchors) => {
                let router = &mut self.routers[from];
                let anchors = subjects
                    .iter()
                    .filter(|_| with_anchors)
                    .filter_map(|subject| router.anchor(*subject))
                    .collect();
                Packet::Table {
                    version: router.version(),
                    cover: None,
                    anchors,
                    entries: subjects.iter().filter_map(|s| router.entry(*s)).collect(),
                }
            }
        };
        self.send(from, to, packet);
        // Tried again unless both the frame and its acknowledgement got through.
        let loss = self.conditions.loss;
        if self.chance(loss) || self.chance(loss) {
            let retry = What::Retry(from, to, session, tries + 1, content);
            self.queue.set(self.now + RETRANSMIT, retry);
        }
    }

    fn send_table(&mut self, from: usize, to: usize, since: u32) {
        let router = &self.routers[from];
        let entries = router
            .changes_since(since)
            .into_iter()
            .filter_map(|(_, subject)| router.entry(subject))
            .collect();
        let version = router.version();
        let table = Packet::Table {
            version,
            cover: Some((since, version)),
            anchors: Vec::new(),
            entries,
        };
        self.send(from, to, table);
    }

    /// Tells everybody what changed since the last time, with anchors that were not told yet.
    fn announce(&mut self, node: usize) {
        let since = self.said[node];
        let router = &mut self.routers[node];
        let version = router.version();
        if version == since {
            return;
        }
        self.said[node] = version;
        let changes = router.changes_since(since);
        let anchors: Vec<_> = changes
            .iter()
            .filter_map(|(_, subject)| router.unsent_anchor(*subject, 1))
            .collect();
        let entries: Vec<_> = changes
            .iter()
            .filter_map(|(_, subject)| router.entry(*subject))
            .collect();
        for peer in self.peers(node) {
            let table = Packet::Table {
                version,
                cover: Some((since, version)),
                anchors: anchors.clone(),
                entries: entries.clone(),
            };
            self.send(node, peer, table);
        }
    }

    fn receive(&mut self, node: usize, from: usize, packet: Packet) {
        let (now, link) = (self.now, link_to(from));
        match packet {
            Packet::Table {
                version,
                cover,
                anchors,
                entries,
            } => {
                for anchor in anchors {
                    self.routers[node].on_anchor(now, link, anchor);
                }
                let Some(end) = self.ends.get_mut(&(node, from)) else {
                    return;
                };
                if end.sync.on_entries(version, cover) {
                    for entry in &entries {
                        self.routers[node].learn(now, link, entry);
                    }
                } else {
                    end.sync.on_version(version);
                }
            }
            Packet::Requests(requests) => {
                for request in &requests {
                    self.routers[node].on_request(now, link, request);
                }
            }
            Packet::Fetch(ids) => {
                for id in &ids {
                    self.routers[node].on_anchor_request(now, link, id);
                }
            }
            Packet::Hello(version) => {
                if let Some(end) = self.ends.get_mut(&(node, from)) {
                    end.sync.on_version(version);
                }
            }
            Packet::Sync(since) => self.send_table(node, from, since),
        }
        if let Some(end) = self.ends.get_mut(&(node, from))
            && end.sync.start_asking()
        {
            let session = end.session;
            self.queue.set(now, What::Ask(node, from, session));
        }
    }

    fn pump(&mut self, node: usize) {
        while let Some(output) = self.routers[node].poll_output() {
            match output {
                Output::AnnounceBy(at) => {
                    if self.announce_at[node].is_none_or(|planned| planned > at) {
                        self.announce_at[node] = Some(at);
                        self.queue.set(at, What::Announce(node));
                    }
                }
                Output::Requests { to: None, requests } => {
                    for peer in self.peers(node) {
                        self.send(node, peer, Packet::Requests(requests.clone()));
                    }
                }
                Output::Requests {
                    to: Some(link),
                    requests,
                } => self.acknowledged(node, link, Content::Packet(Packet::Requests(requests))),
                Output::Answer {
                    link,
                    subjects,
                    with_anchors,
                } => self.acknowledged(node, link, Content::Answer(subjects, with_anchors)),
                Output::FetchAnchors { link, originators } => {
                    self.acknowledged(node, link, Content::Packet(Packet::Fetch(originators)));
                }
                Output::PersistGeneration(generation) => {
                    self.generations[node] = generation;
                    self.routers[node].generation_persisted(self.now, generation);
                }
            }
        }
    }

    fn acknowledged(&mut self, node: usize, link: LinkId, content: Content) {
        let peer = link.slot();
        if let Some(session) = self.ends.get(&(node, peer)).map(|end| end.session) {
            self.send_reliable(node, peer, session, 0, content);
        }
    }

    fn after_step(&mut self, node: usize) {
        self.pump(node);
        self.steps += 1;
        self.spoken[node] = self.spoken[node].max(self.own(node));
        for to in 0..self.routers.len() {
            self.check_loops(to);
        }
        self.check_order(node);
    }
}
