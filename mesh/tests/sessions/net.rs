//! Nodes joined by a network that loses, delays and repeats on demand.

use core::time::Duration;
use std::collections::BTreeMap;

use warren_mesh::deliver::Checksum;
use warren_mesh::identity::{MeshIdentity, NodeAddress, ShortId};
use warren_mesh::packet::inner::Compressed;
use warren_mesh::packet::ipv6::Header;
use warren_mesh::session::{
    KIND_DATA, KIND_HANDSHAKE, Limits, Opened, Output, SessionError, SessionEvent, Sessions,
    sealed_len,
};
use warren_mesh::time::Instant;

pub const DELAY: Duration = Duration::from_millis(10);

pub struct Node {
    pub identity: MeshIdentity,
    pub sessions: Sessions,
    pub received: Vec<(NodeAddress, Vec<u8>)>,
    pub events: Vec<SessionEvent>,
    pub rejected: Vec<SessionError>,
}

/// What happens to a message: `None` loses it.
pub type Fate = Box<dyn FnMut(usize, &Output) -> Option<Duration>>;

pub struct Net {
    pub now: Instant,
    pub nodes: Vec<Node>,
    pub by_short: BTreeMap<ShortId, usize>,
    pub in_flight: BTreeMap<(Instant, u64), (ShortId, Output)>,
    pub sent: u64,
    pub handshakes: usize,
    pub fate: Fate,
}

impl Net {
    pub fn new(count: u8) -> Self {
        let nodes: Vec<_> = (0..count).map(|i| node(i + 1, 1)).collect();
        let by_short = nodes
            .iter()
            .enumerate()
            .map(|(i, node)| (node.identity.short_id(), i))
            .collect();
        Self {
            now: Instant::from_micros(1_000_000),
            nodes,
            by_short,
            in_flight: BTreeMap::new(),
            sent: 0,
            handshakes: 0,
            fate: Box::new(|_, _| Some(DELAY)),
        }
    }

    /// Two nodes of which the first has the lower address.
    pub fn pair() -> Self {
        let mut net = Self::new(2);
        if net.address(0) > net.address(1) {
            net.nodes.swap(0, 1);
            net.by_short = net
                .nodes
                .iter()
                .enumerate()
                .map(|(i, n)| (n.identity.short_id(), i))
                .collect();
        }
        net
    }

    pub fn address(&self, node: usize) -> NodeAddress {
        self.nodes[node].identity.address()
    }

    /// A program's packet: by a session if there is one, else it waits.
    pub fn send(&mut self, from: usize, to: usize, body: &[u8]) {
        let destination = self.address(to);
        let packet = ipv6(&self.address(from), &destination, body);
        let own = self.address(from);
        let compressed = Compressed::new(&own, &packet, 0, Checksum::Complete).unwrap();
        let mut frame = vec![0; sealed_len(body.len())];
        let sessions = &mut self.nodes[from].sessions;
        match sessions.sealer(self.now, &destination) {
            Ok(sealer) => {
                sealer.seal(&compressed, &[], &mut frame).unwrap();
                self.transmit(
                    from,
                    Output {
                        to: destination.short_id(),
                        kind: KIND_DATA,
                        bytes: frame,
                    },
                );
            }
            Err(_) => sessions.queue(self.now, &compressed, &[]).unwrap(),
        }
        self.pump();
    }

    pub fn transmit(&mut self, from: usize, output: Output) {
        self.handshakes += usize::from(output.kind == KIND_HANDSHAKE);
        let source = self.nodes[from].identity.short_id();
        self.sent += 1;
        if let Some(delay) = (self.fate)(from, &output) {
            self.in_flight
                .insert((self.now + delay, self.sent), (source, output));
        }
    }

    pub fn pump(&mut self) {
        for i in 0..self.nodes.len() {
            while let Some(event) = self.nodes[i].sessions.poll_event() {
                self.nodes[i].events.push(event);
            }
            while let Some(output) = self.nodes[i].sessions.poll_output() {
                self.transmit(i, output);
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self
                .nodes
                .iter()
                .map(|node| node.sessions.poll_timeout())
                .min()
                .unwrap();
            let arrival = self
                .in_flight
                .first_key_value()
                .map_or(Instant::NEVER, |((at, _), _)| *at);
            let next = timer.min(arrival);
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if arrival <= self.now {
                let (_, (source, output)) = self.in_flight.pop_first().unwrap();
                self.arrive(source, output);
            }
            for node in &mut self.nodes {
                node.sessions.handle_timeout(self.now);
            }
            self.pump();
        }
    }

    pub fn arrive(&mut self, source: ShortId, output: Output) {
        let Some(node) = self.by_short.get(&output.to).map(|i| &mut self.nodes[*i]) else {
            return;
        };
        let mut bytes = output.bytes;
        let outcome = if output.kind == KIND_HANDSHAKE {
            node.sessions.handle_message(self.now, source, &bytes)
        } else {
            node.sessions
                .open(self.now, source, &mut bytes)
                .map(|opened| {
                    if let Opened::Packet { peer, payload, .. } = opened {
                        node.received.push((peer, payload.to_vec()));
                    }
                })
        };
        node.rejected.extend(outcome.err());
    }

    pub fn bodies(&self, node: usize) -> Vec<Vec<u8>> {
        self.nodes[node]
            .received
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }
}

pub fn node(seed: u8, generation: u32) -> Node {
    let identity = MeshIdentity::from_seed(&[seed; 32]);
    let random = [seed ^ generation as u8; 32];
    let sessions = Sessions::new(&identity, generation, random, Limits::default());
    Node {
        identity,
        sessions,
        received: Vec::new(),
        events: Vec::new(),
        rejected: Vec::new(),
    }
}

pub fn ipv6(source: &NodeAddress, destination: &NodeAddress, body: &[u8]) -> Vec<u8> {
    let header = Header {
        traffic_class: 0,
        flow_label: 5,
        payload_len: body.len() as u16,
        next_header: 17,
        hop_limit: 64,
        source: *source.as_bytes(),
        destination: *destination.as_bytes(),
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend_from_slice(body);
    packet
}

/// Loses so many messages of a hundred.
pub fn lossy(seed: u64, percent: u64) -> impl FnMut(usize, &Output) -> Option<Duration> {
    let mut state = seed;
    move |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 100 >= percent).then_some(DELAY)
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
