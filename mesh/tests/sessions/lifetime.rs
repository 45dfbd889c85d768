//! Use, silence, limits and descriptors.

use std::collections::BTreeMap;

use warren_mesh::deliver::Checksum;
use warren_mesh::descriptor::{Descriptor, Uplink};
use warren_mesh::identity::MeshIdentity;
use warren_mesh::packet::inner::Compressed;
use warren_mesh::session::*;
use warren_mesh::time::Instant;

use super::net::*;

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

/// A node describes itself; what the others will see.
fn describe(net: &mut Net, node: usize, number: u64) -> Descriptor {
    let now = net.now;
    let node = &mut net.nodes[node];
    let descriptor = Descriptor {
        key: node.identity.public_key(),
        number,
        name: "box".into(),
        features: 0,
        uplink: Uplink::Present,
        services: Vec::new(),
    };
    let encoded = descriptor.encode(&node.identity).unwrap();
    node.sessions.set_descriptor(now, encoded);
    net.pump();
    descriptor
}

/// The numbers of the descriptors a node has seen.
fn seen(net: &Net, node: usize) -> Vec<u64> {
    let events = net.nodes[node].events.iter();
    let numbers = events.filter_map(|event| match event {
        SessionEvent::Descriptor(_, descriptor) => Some(descriptor.number),
        _ => None,
    });
    numbers.collect()
}

#[test]
fn who_asked_for_a_descriptor_hears_of_another_one_at_once_and_of_many_together() {
    let mut net = Net::new(3);
    describe(&mut net, 1, 1);
    let of = net.address(1);
    net.nodes[0].sessions.request_descriptor(net.now, of);
    // Somebody talks with it and never asked.
    net.send(2, 1, b"hello");
    net.run(seconds(1));
    describe(&mut net, 1, 2);
    net.run(10 * DELAY);
    assert_eq!(seen(&net, 0), [1, 2]);
    for number in 3..40 {
        describe(&mut net, 1, number);
        net.run(DELAY);
    }
    assert_eq!(seen(&net, 0), [1, 2], "not as often as it changes");
    net.run(seconds(3));
    assert_eq!(seen(&net, 0), [1, 2, 39], "but the last one comes");
    assert_eq!(seen(&net, 2), [0; 0]);
    // Nothing more is said when nothing more happens.
    net.run(seconds(30));
    let sent = net.sent;
    net.run(seconds(300));
    assert_eq!(net.sent, sent);
}

#[test]
fn news_of_a_descriptor_come_through_a_network_that_loses_every_tenth_message() {
    let mut net = Net::pair();
    describe(&mut net, 1, 1);
    let of = net.address(1);
    net.nodes[0].sessions.request_descriptor(net.now, of);
    net.run(seconds(1));
    for seed in 1..20 {
        net.fate = Box::new(lossy(seed, 10));
        describe(&mut net, 1, seed);
        net.run(seconds(25));
        assert_eq!(seen(&net, 0).last(), Some(&seed));
    }
}

#[test]
fn descriptors_come_through_a_network_that_loses_every_third_message() {
    let mut net = Net::pair();
    net.fate = Box::new(lossy(7, 33));
    let descriptor = describe(&mut net, 1, 3);
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
