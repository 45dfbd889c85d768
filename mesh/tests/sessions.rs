//! Sessions as scenarios: nodes joined by a network that loses, delays and repeats on demand.

use core::time::Duration;
use std::collections::BTreeMap;

use proptest::prelude::*;
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::cookie::MacKeys;
use warren_mesh::crypto::noise::{Handshake, Parameters, Pattern};
use warren_mesh::deliver::Checksum;
use warren_mesh::descriptor::{Descriptor, Uplink};
use warren_mesh::identity::{MeshIdentity, NodeAddress, ShortId};
use warren_mesh::packet::inner::Compressed;
use warren_mesh::packet::ipv6::Header;
use warren_mesh::session::{
    KIND_DATA, KIND_HANDSHAKE, Limits, Opened, Output, SessionError, SessionEvent, Sessions,
    sealed_len,
};
use warren_mesh::time::Instant;

const DELAY: Duration = Duration::from_millis(10);

struct Node {
    identity: MeshIdentity,
    sessions: Sessions,
    received: Vec<(NodeAddress, Vec<u8>)>,
    events: Vec<SessionEvent>,
    rejected: Vec<SessionError>,
}

/// What happens to a message: `None` loses it.
type Fate = Box<dyn FnMut(usize, &Output) -> Option<Duration>>;

struct Net {
    now: Instant,
    nodes: Vec<Node>,
    by_short: BTreeMap<ShortId, usize>,
    in_flight: BTreeMap<(Instant, u64), (ShortId, Output)>,
    sent: u64,
    handshakes: usize,
    fate: Fate,
}

impl Net {
    fn new(count: u8) -> Self {
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
    fn pair() -> Self {
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

    fn address(&self, node: usize) -> NodeAddress {
        self.nodes[node].identity.address()
    }

    /// A program's packet: by a session if there is one, else it waits.
    fn send(&mut self, from: usize, to: usize, body: &[u8]) {
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

    fn transmit(&mut self, from: usize, output: Output) {
        self.handshakes += usize::from(output.kind == KIND_HANDSHAKE);
        let source = self.nodes[from].identity.short_id();
        self.sent += 1;
        if let Some(delay) = (self.fate)(from, &output) {
            self.in_flight
                .insert((self.now + delay, self.sent), (source, output));
        }
    }

    fn pump(&mut self) {
        for i in 0..self.nodes.len() {
            while let Some(event) = self.nodes[i].sessions.poll_event() {
                self.nodes[i].events.push(event);
            }
            while let Some(output) = self.nodes[i].sessions.poll_output() {
                self.transmit(i, output);
            }
        }
    }

    fn run(&mut self, time: Duration) {
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

    fn arrive(&mut self, source: ShortId, output: Output) {
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

    fn bodies(&self, node: usize) -> Vec<Vec<u8>> {
        self.nodes[node]
            .received
            .iter()
            .map(|(_, body)| body.clone())
            .collect()
    }
}

fn node(seed: u8, generation: u32) -> Node {
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

fn ipv6(source: &NodeAddress, destination: &NodeAddress, body: &[u8]) -> Vec<u8> {
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
fn lossy(seed: u64, percent: u64) -> impl FnMut(usize, &Output) -> Option<Duration> {
    let mut state = seed;
    move |_, _| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % 100 >= percent).then_some(DELAY)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_first_packets_wait_for_the_handshake_and_arrive_in_order() {
    let mut net = Net::pair();
    for body in [b"one", b"two", b"six"] {
        net.send(0, 1, body);
    }
    // Key request and answer, initiation and response, then the packets.
    net.run(DELAY * 5);
    assert_eq!(net.bodies(1), [b"one", b"two", b"six"]);
    assert_eq!(net.nodes[1].received[0].0, net.address(0));
    net.send(1, 0, b"back");
    net.run(DELAY);
    assert_eq!(net.bodies(0), [b"back"]);
    assert!(net.nodes.iter().all(|node| node.rejected.is_empty()));
}

#[test]
fn an_index_changed_on_the_way_is_noticed_and_the_true_message_still_counts() {
    for kind in [0x11, 0x12] {
        let mut net = Net::pair();
        let held = std::rc::Rc::new(std::cell::RefCell::new(None));
        let hold = held.clone();
        net.fate = Box::new(move |_, output| {
            let stop = output.bytes[0] == kind && hold.borrow().is_none();
            if stop {
                *hold.borrow_mut() = Some(output.clone());
            }
            (!stop).then_some(DELAY)
        });
        net.send(0, 1, b"x");
        net.run(DELAY * 4);
        let truth = held.borrow_mut().take().unwrap();
        let receiver = if kind == 0x11 { 1 } else { 0 };
        let source = net.nodes[1 - receiver].identity.short_id();
        let mut message = truth.bytes[..truth.bytes.len() - 32].to_vec();
        message[2] ^= 1; // In the only index that stands outside of what Noise seals.
        let to = net.address(receiver);
        MacKeys::new("warren session v1", to.as_bytes()).stamp(None, &mut message);
        let sessions = &mut net.nodes[receiver].sessions;
        assert!(sessions.handle_message(net.now, source, &message).is_err());
        assert_eq!(
            sessions.handle_message(net.now, source, &truth.bytes),
            Ok(())
        );
        net.pump();
        net.run(DELAY * 4);
        assert_eq!(net.bodies(1), [b"x"]);
    }
}

#[test]
fn a_known_key_saves_a_round_trip() {
    let mut net = Net::pair();
    let key = net.nodes[1].identity.public_key();
    let early = Net::pair();
    net.nodes[0].sessions.note_key(early.now, &key);
    net.send(0, 1, b"x");
    net.nodes[0].sessions.note_key(net.now, &key);
    net.pump();
    net.run(DELAY * 3);
    assert_eq!(net.bodies(1), [b"x"]);
}

#[test]
fn every_message_of_a_handshake_may_be_lost_once() {
    // Key request, key, initiation, response, and the packet that confirms.
    for lost in 0..5 {
        let mut net = Net::pair();
        let mut count = 0;
        net.fate = Box::new(move |_, _| {
            count += 1;
            (count - 1 != lost).then_some(DELAY)
        });
        net.send(0, 1, b"first");
        net.run(seconds(2));
        net.send(0, 1, b"second");
        net.send(1, 0, b"third");
        net.run(seconds(2));
        assert!(
            net.bodies(1).contains(&b"second".to_vec()),
            "lost message {lost}"
        );
        assert_eq!(net.bodies(0), [b"third"], "lost message {lost}");
    }
}

#[test]
fn a_restarted_peer_offers_a_handshake_when_it_sees_an_unknown_index() {
    let mut net = Net::pair();
    net.send(0, 1, b"before");
    net.run(seconds(1));
    let seed = if MeshIdentity::from_seed(&[1; 32]).address() == net.address(1) {
        1
    } else {
        2
    };
    net.nodes[1] = node(seed, 2);
    net.run(seconds(10));
    net.send(0, 1, b"lost");
    net.run(seconds(1));
    assert_eq!(net.nodes[1].rejected, [SessionError::UnknownIndex]);
    net.send(0, 1, b"after");
    net.run(seconds(1));
    assert_eq!(net.bodies(1), [b"after"]);
}

#[test]
fn forged_indices_tear_nothing_down() {
    let mut net = Net::pair();
    net.send(0, 1, b"x");
    net.run(seconds(20));
    for index in 0..200_u32 {
        let mut frame = vec![0; 60];
        frame[..4].copy_from_slice(&index.to_be_bytes());
        let source = net.nodes[0].identity.short_id();
        assert_eq!(
            net.nodes[1].sessions.open(net.now, source, &mut frame),
            Err(SessionError::UnknownIndex)
        );
    }
    let before = net.handshakes;
    net.pump();
    assert!(
        net.handshakes - before <= 1,
        "one handshake is offered, not one per frame"
    );
    net.send(0, 1, b"still");
    net.run(seconds(1));
    net.send(0, 1, b"there");
    net.run(seconds(1));
    assert_eq!(net.bodies(1), [&b"x"[..], b"still", b"there"]);
}

#[test]
fn a_recorded_initiation_gets_nothing_and_disturbs_nothing() {
    let mut net = Net::pair();
    let recorded = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let tape = recorded.clone();
    net.fate = Box::new(move |from, output| {
        if from == 0 && output.kind == KIND_HANDSHAKE {
            tape.borrow_mut().push(output.clone());
        }
        Some(DELAY)
    });
    net.send(0, 1, b"x");
    net.run(seconds(1));
    let first: Vec<_> = recorded.borrow().clone();
    // Half an hour of use brings a second handshake.
    for _ in 0..1900 {
        net.send(0, 1, b"y");
        net.run(seconds(1));
    }
    let source = net.nodes[0].identity.short_id();
    let initiation = first.iter().find(|output| output.bytes[0] == 0x11).unwrap();
    for _ in 0..3 {
        let outcome = net.nodes[1]
            .sessions
            .handle_message(net.now, source, &initiation.bytes);
        assert_eq!(outcome, Err(SessionError::Stale));
    }
    let count = net.bodies(1).len();
    net.send(0, 1, b"z");
    net.run(seconds(1));
    assert_eq!(net.bodies(1).len(), count + 1);
}

#[test]
fn an_hour_of_use_loses_nothing_while_keys_change() {
    let mut net = Net::pair();
    let mut sent = 0;
    for i in 0..3700_u32 {
        net.send(0, 1, &i.to_be_bytes());
        if i % 7 == 3 {
            net.send(1, 0, b"answer");
        }
        sent += 1;
        net.run(seconds(1));
    }
    net.run(seconds(1));
    assert_eq!(net.bodies(1).len(), sent);
    for node in &net.nodes {
        assert_eq!(node.rejected, []);
    }
    // Key request, answer, and three handshakes of two messages.
    assert_eq!(net.handshakes, 2 + 3 * 2);
}

#[test]
fn who_only_receives_keeps_the_session_alive() {
    let mut net = Net::pair();
    net.send(0, 1, b"x");
    net.run(seconds(1));
    let handshakes = net.handshakes;
    for _ in 0..600 {
        net.send(0, 1, b"one way");
        net.run(seconds(1));
    }
    assert_eq!(net.handshakes, handshakes);
    assert_eq!(net.bodies(1).len(), 601);
}

#[test]
fn packets_to_nobody_come_back_and_the_peer_is_forgotten() {
    let mut net = Net::pair();
    net.fate = Box::new(|_, _| None);
    for i in 0..10 {
        net.send(0, 1, &[i]);
    }
    net.run(seconds(20));
    let undelivered: Vec<_> = net.nodes[0]
        .events
        .iter()
        .map(|event| match event {
            SessionEvent::Undelivered(packet) => packet.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<_> = (2..10)
        .map(|i| ipv6(&net.address(0), &net.address(1), &[i]))
        .collect();
    assert_eq!(undelivered, expected, "the newest eight waited");
    net.run(seconds(700));
    assert_eq!(net.nodes[0].sessions.poll_timeout(), Instant::NEVER);
}

#[test]
fn what_waits_is_bounded_per_peer_and_for_all_peers_together() {
    let mut net = Net::pair();
    let own = net.address(0);
    let identity = MeshIdentity::from_seed(&[1; 32]);
    let from = usize::from(own != identity.address());
    let limits = Limits {
        waiting_bytes: 40_000,
        ..Limits::default()
    };
    net.nodes[from].sessions = Sessions::new(&identity, 1, [1; 32], limits);
    net.fate = Box::new(|_, _| None);
    for destination in 10..20 {
        let destination = MeshIdentity::from_seed(&[destination; 32]).address();
        for _ in 0..8 {
            let packet = ipv6(&identity.address(), &destination, &[0; 4000]);
            let own = identity.address();
            let compressed = Compressed::new(&own, &packet, 0, Checksum::Complete).unwrap();
            let sessions = &mut net.nodes[from].sessions;
            sessions.queue(net.now, &compressed, &[]).unwrap();
        }
    }
    net.pump();
    net.run(seconds(20));
    let mut waited: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    for event in &net.nodes[from].events {
        if let SessionEvent::Undelivered(packet) = event {
            *waited
                .entry(packet[24..40].try_into().unwrap())
                .or_default() += packet.len();
        }
    }
    assert!(waited.values().all(|bytes| *bytes <= 17_000), "{waited:?}");
    let all: usize = waited.values().sum();
    assert!((30_000..=41_000).contains(&all), "{all}");
}

#[test]
fn an_idle_session_is_forgotten_after_ten_minutes() {
    let mut net = Net::pair();
    net.send(0, 1, b"x");
    net.run(seconds(590));
    assert_eq!(net.nodes[0].sessions.established(), 1);
    net.run(seconds(30));
    assert_eq!(net.nodes[0].sessions.established(), 0);
    assert!(
        net.nodes
            .iter()
            .all(|node| node.sessions.poll_timeout() == Instant::NEVER)
    );
}

#[test]
fn descriptors_come_through_a_network_that_loses_every_third_message() {
    let mut net = Net::pair();
    net.fate = Box::new(lossy(7, 33));
    let descriptor = Descriptor {
        key: net.nodes[1].identity.public_key(),
        number: 3,
        name: "box".into(),
        features: 0,
        uplink: Uplink::Present,
        services: Vec::new(),
    };
    let encoded = descriptor.encode(&net.nodes[1].identity).unwrap();
    net.nodes[1].sessions.set_descriptor(encoded);
    let of = net.address(1);
    net.nodes[0].sessions.request_descriptor(net.now, of);
    net.pump();
    net.run(seconds(30));
    assert!(
        net.nodes[0]
            .events
            .contains(&SessionEvent::Descriptor(of, Box::new(descriptor)))
    );
    assert!(
        !net.nodes[0]
            .events
            .contains(&SessionEvent::DescriptorTimeout(of))
    );
}

#[test]
fn a_descriptor_nobody_sends_times_out() {
    let mut net = Net::pair();
    let of = net.address(1);
    net.nodes[0].sessions.request_descriptor(net.now, of);
    net.pump();
    net.run(seconds(60));
    assert_eq!(
        net.nodes[0].events.last(),
        Some(&SessionEvent::DescriptorTimeout(of))
    );
}

#[test]
fn nobody_gets_an_address_that_does_not_follow_from_the_proven_key() {
    let mut net = Net::new(3);
    let (liar, victim) = (
        MeshIdentity::from_seed(&[9; 32]),
        MeshIdentity::from_seed(&[8; 32]),
    );
    let target = &mut net.nodes[0];
    let responder = target.identity.public_key();
    let mut prologue = b"warren session v1".to_vec();
    prologue.extend(responder.address().as_bytes());
    prologue.extend([0, 0, 0, 7]);
    let mut claim = |claimed: &MeshIdentity, source: ShortId| {
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_seed([1; 32]);
        let mut handshake = Handshake::initiator(
            Parameters {
                pattern: Pattern::Ik,
                prologue: &prologue,
                local_static: &SecretKey::new(*liar.x25519_secret()),
                remote_static: Some(&responder.to_x25519().unwrap()),
                psk: None,
            },
            &mut rng,
        )
        .unwrap();
        let mut payload = vec![0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0];
        payload.extend(claimed.public_key().0);
        let mut message = vec![0x11, 0, 0, 0, 7];
        handshake.write(&payload, &mut message).unwrap();
        MacKeys::new("warren session v1", responder.address().as_bytes()).stamp(None, &mut message);
        target.sessions.handle_message(net.now, source, &message)
    };
    assert_eq!(
        claim(&victim, victim.short_id()),
        Err(SessionError::Identity)
    );
    assert_eq!(claim(&liar, victim.short_id()), Err(SessionError::Identity));
    assert_eq!(claim(&liar, liar.short_id()), Ok(()));
}

#[test]
fn a_flood_of_initiations_is_asked_for_cookies_and_an_honest_peer_still_gets_through() {
    let mut net = Net::pair();
    let target = net.nodes[1].identity.public_key();
    let mut busy = 0;
    for i in 0..100_u8 {
        let identity = MeshIdentity::from_seed(&[100 + i % 100; 32]);
        let mut sessions = Sessions::new(&identity, 1, [i; 32], Limits::default());
        let own = identity.address();
        let packet = ipv6(&own, &target.address(), b"x");
        sessions
            .queue(
                net.now,
                &Compressed::new(&own, &packet, 0, Checksum::Complete).unwrap(),
                &[],
            )
            .unwrap();
        sessions.note_key(net.now, &target);
        let initiation = std::iter::from_fn(|| sessions.poll_output())
            .find(|o| o.bytes[0] == 0x11)
            .unwrap();
        let outcome =
            net.nodes[1]
                .sessions
                .handle_message(net.now, own.short_id(), &initiation.bytes);
        busy += usize::from(outcome == Err(SessionError::Busy));
    }
    assert!(busy >= 70, "{busy}");
    while net.nodes[1].sessions.poll_output().is_some() {}
    net.nodes[1].rejected.clear();
    net.send(0, 1, b"honest");
    net.nodes[0].sessions.note_key(net.now, &target);
    net.pump();
    net.run(DELAY * 5);
    assert_eq!(
        net.nodes[1].rejected,
        [SessionError::Busy],
        "the first one got a cookie"
    );
    assert_eq!(net.bodies(1), [b"honest"]);
}

#[test]
fn strangers_cannot_push_out_whom_we_talk_to() {
    let mut net = Net::pair();
    let identity = MeshIdentity::from_seed(&[1; 32]);
    let keeper = usize::from(net.address(0) != identity.address());
    let limits = Limits {
        peers: 4,
        ..Limits::default()
    };
    net.nodes[keeper].sessions = Sessions::new(&identity, 1, [9; 32], limits);
    let friend = 1 - keeper;
    net.send(keeper, friend, b"hello");
    net.run(seconds(1));
    let target = identity.public_key();
    for i in 0..60_u8 {
        net.run(seconds(1));
        let stranger = MeshIdentity::from_seed(&[100 + i; 32]);
        let own = stranger.address();
        let mut sessions = Sessions::new(&stranger, 1, [i; 32], Limits::default());
        let packet = ipv6(&own, &target.address(), b"x");
        sessions
            .queue(
                net.now,
                &Compressed::new(&own, &packet, 0, Checksum::Complete).unwrap(),
                &[],
            )
            .unwrap();
        sessions.note_key(net.now, &target);
        while let Some(output) = sessions.poll_output() {
            let _ =
                net.nodes[keeper]
                    .sessions
                    .handle_message(net.now, own.short_id(), &output.bytes);
        }
        while let Some(output) = net.nodes[keeper].sessions.poll_output() {
            if output.to == own.short_id() && output.bytes[0] == 0x12 {
                sessions
                    .handle_message(net.now, target.address().short_id(), &output.bytes)
                    .unwrap();
            }
        }
        let mut frame = sessions.poll_output().unwrap();
        net.nodes[keeper]
            .sessions
            .open(net.now, own.short_id(), &mut frame.bytes)
            .unwrap();
    }
    assert_eq!(net.nodes[keeper].sessions.established(), 4);
    net.send(keeper, friend, b"still friends");
    net.run(DELAY);
    assert_eq!(net.bodies(friend), [&b"hello"[..], b"still friends"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Both sides begin at almost the same moment, under loss and uneven delay: when the network is well again, both
    /// ways work, without a single refused frame.
    #[test]
    fn crossing_handshakes_converge(
        seed in any::<u64>(),
        offset in 0u64..40_000,
        loss in 0u64..60,
        keys_known in any::<bool>(),
    ) {
        let mut net = Net::pair();
        let mut state = seed | 1;
        let end = net.now + seconds(3);
        let clock = std::rc::Rc::new(std::cell::Cell::new(net.now));
        let seen = clock.clone();
        net.fate = Box::new(move |_, _| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let roll = state >> 33;
            let lost = seen.get() < end && roll % 100 < loss;
            (!lost).then_some(Duration::from_millis(5 + roll / 100 % 60))
        });
        if keys_known {
            let keys = [net.nodes[0].identity.public_key(), net.nodes[1].identity.public_key()];
            for i in 0..2 {
                net.nodes[i].sessions.note_key(net.now, &keys[1 - i]);
            }
        }
        net.send(0, 1, b"a");
        net.run(Duration::from_micros(offset));
        net.send(1, 0, b"b");
        for _ in 0..30 {
            net.run(Duration::from_millis(100));
            clock.set(net.now);
            net.send(0, 1, b"noise");
            net.send(1, 0, b"noise");
        }
        net.run(seconds(30));
        clock.set(net.now);
        for node in &mut net.nodes {
            node.received.clear();
            node.rejected.clear();
        }
        for _ in 0..100 {
            net.send(0, 1, b"x");
            net.send(1, 0, b"y");
            net.run(seconds(1));
        }
        for node in &net.nodes {
            prop_assert_eq!(node.received.len(), 100);
            prop_assert!(node.rejected.is_empty(), "{:?}", node.rejected);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        kind in 0u8..8,
    ) {
        let mut net = Net::pair();
        net.send(0, 1, b"x");
        net.run(seconds(1));
        let source = net.nodes[0].identity.short_id();
        if let Some(first) = bytes.first_mut() {
            *first = 0x10 | kind;
        }
        let _ = net.nodes[1].sessions.handle_message(net.now, source, &bytes);
        let _ = net.nodes[1].sessions.open(net.now, source, &mut bytes);
        let _ = Descriptor::decode(&bytes);
        net.send(0, 1, b"still");
        net.run(seconds(1));
        prop_assert_eq!(net.bodies(1).pop(), Some(b"still".to_vec()));
    }
}
