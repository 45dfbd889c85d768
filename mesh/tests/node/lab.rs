//! Nodes in memory, joined by cables that carry datagrams under virtual time. A cable can be cut without anybody being
//! told, and everything that travels is on record.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use warren_mesh::identity::{MeshIdentity, NodeAddress};
use warren_mesh::node::{Checksum, Event, InterfaceConfig, Medium, Node, NodeConfig};
use warren_mesh::packet::checksum::Sum;
use warren_mesh::packet::ipv6::{HEADER_LEN, Header, ICMPV6, UDP};
use warren_mesh::time::Instant;
use warren_mesh::timers::Timers;
use warren_mesh::transmit::{Destination, InterfaceId};

pub const ECHO_REQUEST: u8 = 128;

/// What goes over one cable.
#[derive(Clone, Debug)]
pub struct Frame {
    pub from: usize,
    pub cable: usize,
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Type of the frame, by number.
    pub fn kind(&self) -> u8 {
        self.bytes[0] & 0xf
    }
}

#[derive(Debug)]
struct Arrival {
    to: usize,
    from: usize,
    cable: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Cable {
    ends: Vec<usize>,
    pub is_up: bool,
    /// Numbers of frames, from now on, that are lost.
    pub loses: Vec<usize>,
    carried: usize,
}

#[derive(Debug, Default)]
pub struct Lab {
    pub nodes: Vec<Node>,
    pub now: Instant,
    pub cables: Vec<Cable>,
    /// Everything sent, also what was lost.
    pub frames: Vec<Frame>,
    /// Whether generations are written to disk as soon as asked for.
    pub disk_fails: bool,
    pub generations: Vec<u32>,
    events: Vec<Vec<Event>>,
    packets: Vec<Vec<Vec<u8>>>,
    queue: Timers<Arrival>,
    seeds: u8,
}

/// Where a node is on a cable. The interface has the cable's number.
pub fn transport(node: usize, cable: usize) -> SocketAddr {
    let address = Ipv6Addr::from((0xfe80u128 << 112) | (node as u128 + 1));
    SocketAddr::from((address, 1000 + cable as u16))
}

fn node_at(transport: SocketAddr) -> usize {
    match transport.ip() {
        std::net::IpAddr::V6(address) => (address.to_bits() & 0xffff) as usize - 1,
        std::net::IpAddr::V4(_) => unreachable!("this lab speaks IPv6"),
    }
}

pub fn interface(medium: Medium, mtu: u16) -> InterfaceConfig {
    InterfaceConfig {
        medium,
        mtu,
        half_duplex: false,
        throughput_kbps: None,
    }
}

impl Lab {
    pub fn add(&mut self, config: NodeConfig) -> usize {
        self.add_at(config, 1)
    }

    pub fn add_at(&mut self, config: NodeConfig, generation: u32) -> usize {
        let number = self.nodes.len();
        let node = self.make(number, config, generation);
        self.nodes.push(node);
        self.generations.push(generation);
        self.events.push(Vec::new());
        self.packets.push(Vec::new());
        number
    }

    fn make(&mut self, number: usize, config: NodeConfig, generation: u32) -> Node {
        self.seeds += 1;
        let identity = MeshIdentity::from_seed(&[number as u8 + 1; 32]);
        Node::new(self.now, config, identity, generation, [self.seeds; 32])
    }

    /// A node starts again, with this generation on its disk; its interfaces come back.
    pub fn restart(&mut self, number: usize, config: NodeConfig, generation: u32) {
        self.generations[number] = generation;
        self.nodes[number] = self.make(number, config, generation);
        let cables: Vec<_> = (0..self.cables.len())
            .filter(|cable| self.cables[*cable].ends.contains(&number))
            .collect();
        for cable in cables {
            self.attach(number, cable, Medium::Broadcast, 1452);
        }
    }

    /// A medium that everybody on it hears.
    pub fn broadcast(&mut self, ends: &[usize], mtu: u16) -> usize {
        let cable = self.cable(ends);
        for &node in ends {
            self.attach(node, cable, Medium::Broadcast, mtu);
        }
        cable
    }

    /// Routed addresses: the first of the two knows the other's.
    pub fn unicast(&mut self, caller: usize, called: usize, mtu: u16) -> usize {
        let cable = self.cable(&[caller, called]);
        let peers = vec![transport(called, cable)];
        self.attach(caller, cable, Medium::Unicast { peers }, mtu);
        self.attach(called, cable, Medium::Unicast { peers: Vec::new() }, mtu);
        cable
    }

    fn cable(&mut self, ends: &[usize]) -> usize {
        self.cables.push(Cable {
            ends: ends.to_vec(),
            is_up: true,
            loses: Vec::new(),
            carried: 0,
        });
        self.cables.len() - 1
    }

    /// One more on a broadcast medium.
    pub fn join(&mut self, cable: usize, node: usize) {
        self.cables[cable].ends.push(node);
        self.attach(node, cable, Medium::Broadcast, 1452);
    }

    pub fn attach(&mut self, node: usize, cable: usize, medium: Medium, mtu: u16) {
        let id = InterfaceId(cable as u16);
        self.nodes[node].add_interface(self.now, id, interface(medium, mtu));
        self.after(node);
    }

    pub fn address(&self, node: usize) -> NodeAddress {
        self.nodes[node].address()
    }

    /// Gives a node something to do.
    pub fn with<R>(&mut self, node: usize, act: impl FnOnce(Instant, &mut Node) -> R) -> R {
        let result = act(self.now, &mut self.nodes[node]);
        self.after(node);
        result
    }

    /// A datagram arrives from `from`'s address, whoever sent it.
    pub fn inject(&mut self, to: usize, from: usize, cable: usize, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let (now, id) = (self.now, InterfaceId(cable as u16));
        self.nodes[to].receive(now, id, transport(from, cable), &mut bytes);
        self.after(to);
    }

    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until `is_so`; says how long that took, or fails after `limit`.
    pub fn wait(&mut self, limit: Duration, is_so: impl Fn(&Self) -> bool) -> Duration {
        let (start, until) = (self.now, self.now + limit);
        while !is_so(self) {
            assert!(self.step(until), "it did not happen within {limit:?}");
        }
        self.now.since(start)
    }

    fn step(&mut self, until: Instant) -> bool {
        let timeout = self.nodes.iter().map(Node::poll_timeout).min();
        let next = timeout.unwrap_or(Instant::NEVER).min(self.queue.next());
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        if let Some(arrival) = self.queue.pop_due(self.now) {
            if self.cables[arrival.cable].is_up {
                self.inject(arrival.to, arrival.from, arrival.cable, &arrival.bytes);
            }
            return true;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].poll_timeout() <= self.now {
                self.nodes[node].handle_timeout(self.now);
                self.after(node);
            }
        }
        true
    }

    fn after(&mut self, number: usize) {
        let now = self.now;
        let node = &mut self.nodes[number];
        while let Some(event) = node.poll_event() {
            if let Event::PersistGeneration(generation) = event
                && !self.disk_fails
            {
                self.generations[number] = generation;
                node.generation_persisted(now, generation);
            }
            self.events[number].push(event);
        }
        for (packet, _) in node.delivered().iter_mut() {
            self.packets[number].push(packet.to_vec());
        }
        node.delivered().clear();
        let mut frames = Vec::new();
        while let Some(batch) = node.transmit().pop() {
            let cable = usize::from(batch.interface.0);
            for bytes in batch.bytes.chunks(batch.segment) {
                frames.push((
                    batch.to,
                    Frame {
                        from: number,
                        cable,
                        bytes: bytes.to_vec(),
                    },
                ));
            }
            node.transmit().recycle(batch);
        }
        for (to, frame) in frames {
            self.carry(to, frame);
        }
    }

    fn carry(&mut self, to: Destination, frame: Frame) {
        let cable = &mut self.cables[frame.cable];
        cable.carried += 1;
        let number = cable.carried - 1;
        let is_lost = !cable.is_up || cable.loses.contains(&number);
        if !is_lost {
            let hearers: Vec<_> = cable
                .ends
                .iter()
                .copied()
                .filter(|end| *end != frame.from)
                .filter(|end| match to {
                    Destination::Broadcast => true,
                    Destination::Unicast(transport) => node_at(transport) == *end,
                })
                .collect();
            for to in hearers {
                let arrival = Arrival {
                    to,
                    from: frame.from,
                    cable: frame.cable,
                    bytes: frame.bytes.clone(),
                };
                self.queue.set(self.now + Duration::from_millis(1), arrival);
            }
        }
        self.frames.push(frame);
    }

    /// The next frames over a cable, counted from 0, that get lost.
    pub fn lose(&mut self, cable: usize, next: &[usize]) {
        let cable = &mut self.cables[cable];
        cable.loses = next.iter().map(|number| cable.carried + number).collect();
    }

    /// Frames sent since the last call.
    pub fn take_frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    pub fn take_events(&mut self, node: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[node])
    }

    pub fn take_packets(&mut self, node: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.packets[node])
    }

    pub fn has_packets(&self, node: usize) -> bool {
        !self.packets[node].is_empty()
    }

    pub fn has_event(&self, node: usize, event: &Event) -> bool {
        self.events[node].contains(event)
    }

    pub fn has_passphrase_event(&self, node: usize) -> bool {
        self.events[node]
            .iter()
            .any(|event| matches!(event, Event::PassphraseDiffers(_)))
    }

    pub fn is_linked(&self, a: usize, b: usize) -> bool {
        let address = self.address(b);
        self.nodes[a].session_with(&address).is_some()
    }

    pub fn are_linked(&self, a: usize, b: usize) -> bool {
        self.is_linked(a, b) && self.is_linked(b, a)
    }

    pub fn reaches(&self, from: usize, to: usize) -> bool {
        self.nodes[from].next_hop(&self.address(to)).is_some()
    }

    pub fn all_reach_all(&self) -> bool {
        let count = self.nodes.len();
        (0..count).all(|a| (0..count).all(|b| a == b || self.reaches(a, b)))
    }

    pub fn send(&mut self, from: usize, packet: &[u8]) {
        self.with(from, |now, node| {
            node.send_packet(now, packet, &[], Checksum::Complete);
        });
    }

    /// An echo request of this total length.
    pub fn echo(&self, from: usize, to: usize, len: usize) -> Vec<u8> {
        let mut body = vec![0x5a; len - HEADER_LEN];
        body[..4].copy_from_slice(&[ECHO_REQUEST, 0, 0, 0]);
        self.packet(from, self.address(to), ICMPV6, 2, body)
    }

    /// A UDP datagram.
    pub fn udp(&self, from: usize, to: usize, source: u16, destination: u16) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(source.to_be_bytes());
        body.extend(destination.to_be_bytes());
        body.extend(16u16.to_be_bytes());
        body.extend([0; 2]);
        body.extend(*b"contents");
        self.packet(from, self.address(to), UDP, 6, body)
    }

    pub fn packet(
        &self,
        from: usize,
        to: NodeAddress,
        next_header: u8,
        checksum: usize,
        mut body: Vec<u8>,
    ) -> Vec<u8> {
        let source = *self.address(from).as_bytes();
        let sum = Sum::default()
            .add_pseudo_header(&source, to.as_bytes(), body.len() as u32, next_header)
            .add_bytes(&body)
            .finish();
        body[checksum..checksum + 2].copy_from_slice(&sum.to_be_bytes());
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: body.len() as u16,
            next_header,
            hop_limit: 64,
            source,
            destination: *to.as_bytes(),
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(body);
        packet
    }

    /// Everything about links and routes of a node, to compare.
    pub fn state(&self, node: usize) -> String {
        let node = &self.nodes[node];
        format!("{:?} {:?}", node.neighbours(self.now), node.routes())
    }
}

/// Type, code and parameter of an ICMPv6 error, if the packet is one.
pub fn icmp_error(packet: &[u8]) -> Option<(u8, u8, u32)> {
    let body = packet.get(HEADER_LEN..)?;
    let parameter = u32::from_be_bytes(*body.get(4..)?.first_chunk()?);
    (packet[6] == ICMPV6 && body[0] < 128).then_some((body[0], body[1], parameter))
}

/// Nodes of plain settings in a line of broadcast cables, all linked and known to each other.
pub fn line(count: usize, mtu: u16) -> Lab {
    let mut lab = Lab::default();
    for number in 0..count {
        lab.add(NodeConfig {
            name: format!("node {number}"),
            ..NodeConfig::default()
        });
    }
    for node in 1..count {
        lab.broadcast(&[node - 1, node], mtu);
    }
    lab.wait(Duration::from_secs(5), Lab::all_reach_all);
    lab
}
