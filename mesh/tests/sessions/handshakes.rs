//! Who begins, and what may be lost on the way.

use core::time::Duration;

use proptest::prelude::*;
use warren_mesh::crypto::cookie::MacKeys;
use warren_mesh::identity::MeshIdentity;
use warren_mesh::session::*;

use super::net::*;

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
}
