//! A whole node with an established neighbour, and everything an attacker beside them can do: send any datagram from any
//! transport address, and spoil, repeat or cut genuine ones. Whatever comes, the link between the two stays and works.
//! A neighbour that lies may do harm to itself, but never crash the node.

use core::net::SocketAddr;
use core::time::Duration;

use warren_mesh::deliver::Checksum;
use warren_mesh::identity::{MeshIdentity, NodeAddress};
use warren_mesh::message::Message;
use warren_mesh::node::{Event, InterfaceConfig, Medium, Node, NodeConfig};
use warren_mesh::packet::ipv6::{Header, UDP};
use warren_mesh::packet::policy::Policy;
use warren_mesh::time::Instant;
use warren_mesh::transmit::InterfaceId;

use crate::input::Input;

const INTERFACE: InterfaceId = InterfaceId(0);
const STEP: Duration = Duration::from_millis(100);
/// Operations of one input.
const OPERATIONS: usize = 64;
const CAPTURED: usize = 96;
const PORT: u16 = 7;

fn transport(number: u16) -> SocketAddr {
    SocketAddr::from(([0xfe80, 0, 0, 0, 0, 0, 0, number], 4242))
}

fn node(number: u8, peer: u16, broadcast: bool) -> Node {
    let config = NodeConfig {
        name: format!("node {number}"),
        psk: None,
        policy: Policy {
            open_all: false,
            tcp: Vec::new(),
            udp: vec![PORT],
        },
        aes: number.is_multiple_of(2),
    };
    let identity = MeshIdentity::from_seed(&[number; 32]);
    let mut node = Node::new(Instant::ZERO, config, identity, 1, [number; 32]);
    let interface = InterfaceConfig {
        medium: if broadcast {
            Medium::Broadcast
        } else {
            Medium::Unicast {
                peers: vec![transport(peer)],
            }
        },
        mtu: 1452,
        half_duplex: broadcast,
        throughput_kbps: None,
    };
    node.add_interface(Instant::ZERO, INTERFACE, interface);
    node
}

/// Two nodes and the wire between them.
#[derive(Debug)]
pub struct Pair {
    now: Instant,
    nodes: [Node; 2],
    /// Datagrams that went to node 0.
    captured: Vec<Vec<u8>>,
}

impl Pair {
    /// Two neighbours with a link and a session.
    pub fn new(broadcast: bool) -> Self {
        let mut pair = Self {
            now: Instant::ZERO,
            nodes: [node(1, 2, broadcast), node(2, 1, broadcast)],
            captured: Vec::new(),
        };
        assert!(pair.works(), "two nodes find each other");
        pair
    }

    /// The genuine datagrams that went to node 0 so far.
    pub fn captured(&self) -> &[Vec<u8>] {
        &self.captured
    }

    fn address(&self, node: usize) -> NodeAddress {
        self.nodes[node].address()
    }

    fn is_up(&self) -> bool {
        (0..2).all(|node| {
            let neighbours = self.nodes[node].neighbours(self.now);
            neighbours
                .iter()
                .any(|neighbour| neighbour.up && neighbour.address == self.address(1 - node))
        })
    }

    /// Carries what both have to say until neither has more.
    fn shuttle(&mut self) {
        for _ in 0..64 {
            let mut quiet = true;
            for from in 0..2 {
                while let Some(event) = self.nodes[from].poll_event() {
                    if let Event::PersistGeneration(generation) = event {
                        self.nodes[from].generation_persisted(self.now, generation);
                    }
                }
                while let Some(batch) = self.nodes[from].transmit().pop() {
                    quiet = false;
                    for datagram in batch.bytes.chunks(batch.segment) {
                        let mut datagram = datagram.to_vec();
                        if from == 1 && self.captured.len() < CAPTURED {
                            self.captured.push(datagram.clone());
                        }
                        let source = transport(from as u16 + 1);
                        self.nodes[1 - from].receive(self.now, INTERFACE, source, &mut datagram);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.shuttle();
        // A timer that never stops being due would be a finding: it runs into the fuzzer's time limit.
        loop {
            let next = self.nodes[0]
                .poll_timeout()
                .min(self.nodes[1].poll_timeout());
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            self.shuttle();
        }
        self.now = end;
    }

    fn send(&mut self, from: usize, body: &[u8]) {
        let payload_len = 8 + body.len() as u16;
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len,
            next_header: UDP,
            hop_limit: 64,
            source: *self.address(from).as_bytes(),
            destination: *self.address(1 - from).as_bytes(),
        };
        let mut packet = header.to_bytes().to_vec();
        for word in [PORT, PORT, payload_len, 0] {
            packet.extend(word.to_be_bytes());
        }
        packet.extend(body);
        self.nodes[from].send_packet(self.now, &packet, &[], Checksum::Complete);
    }

    /// Whether packets pass both ways, at the latest after half a minute.
    fn works(&mut self) -> bool {
        let mut came = [false; 2];
        for _ in 0..300 {
            for from in 0..2 {
                self.nodes[from].delivered().clear();
                self.send(from, b"still there?");
            }
            self.shuttle();
            for (node, came) in self.nodes.iter_mut().zip(&mut came) {
                *came |= node
                    .delivered()
                    .iter_mut()
                    .any(|(packet, _)| packet.ends_with(b"still there?"));
            }
            if came == [true; 2] && self.is_up() {
                return true;
            }
            self.run(STEP);
        }
        false
    }
}

/// See the file.
pub fn frames(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut pair = Pair::new(input.u8() & 1 == 1);
    let mut lied = false;
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        let what = input.u8();
        // Somebody else, or somebody who pretends to be the neighbour.
        let from = transport(2 + u16::from(what >> 7));
        match what & 0x0f {
            0..=3 => {
                let mut datagram = input.sized().to_vec();
                pair.nodes[0].receive(pair.now, INTERFACE, from, &mut datagram);
            }
            4..=6 => {
                let which = usize::from(input.u8()) % pair.captured.len();
                let mut datagram = pair.captured[which].clone();
                input.spoil(&mut datagram);
                pair.nodes[0].receive(pair.now, INTERFACE, from, &mut datagram);
            }
            7 => {
                // A genuine frame whose first and second copies are spoiled, and which then never comes.
                let body = input.sized();
                pair.send(1, body);
                while let Some(batch) = pair.nodes[1].transmit().pop() {
                    for datagram in batch.bytes.chunks(batch.segment) {
                        let mut datagram = datagram.to_vec();
                        if input.spoil(&mut datagram) {
                            pair.nodes[0].receive(pair.now, INTERFACE, from, &mut datagram);
                        }
                    }
                }
            }
            8 => {
                pair.run(Duration::from_millis(input.u16().into()));
                assert!(pair.is_up() || lied, "nobody outside can end a link");
            }
            9 | 10 => {
                // The neighbour itself says anything at all.
                if let Ok(messages) = Message::decode_all(input.sized()) {
                    lied |= !messages.is_empty();
                    pair.nodes[1].say(&messages);
                }
            }
            11 => {
                let packet = input.sized();
                pair.nodes[1].send_packet(pair.now, packet, &[], Checksum::Complete);
            }
            12 => {
                let packet = input.sized();
                let (start, offset) = (input.u8().into(), input.u8().into());
                let (head, rest) = packet.split_at(packet.len().min(60));
                let checksum = Checksum::Partial { start, offset };
                pair.nodes[0].send_packet(pair.now, head, rest, checksum);
            }
            13 => {
                pair.send(usize::from(what >> 7), input.sized());
            }
            _ => pair.shuttle(),
        }
    }
    pair.shuttle();
    if !lied {
        assert!(pair.is_up(), "nobody outside can end a link");
        assert!(pair.works(), "nobody outside can silence a link");
    }
    pair.run(Duration::from_secs(1));
}
