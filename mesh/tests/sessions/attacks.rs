//! Forged, recorded and too many messages.

use proptest::prelude::*;
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::cookie::MacKeys;
use warren_mesh::crypto::noise::{Handshake, Parameters, Pattern};
use warren_mesh::deliver::Checksum;
use warren_mesh::descriptor::Descriptor;
use warren_mesh::identity::{MeshIdentity, MeshPublicKey, ShortId};
use warren_mesh::packet::inner::Compressed;
use warren_mesh::session::*;
use warren_mesh::time::Instant;

use super::net::*;

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

/// Sessions of somebody who has a packet for `target` and has just learned its key.
fn caller(identity: &MeshIdentity, seed: u8, now: Instant, target: &MeshPublicKey) -> Sessions {
    let mut sessions = Sessions::new(identity, 1, [seed; 32], Limits::default());
    let own = identity.address();
    let packet = ipv6(&own, &target.address(), b"x");
    let packet = Compressed::new(&own, &packet, 0, Checksum::Complete).unwrap();
    sessions.queue(now, &packet, &[]).unwrap();
    sessions.note_key(now, target);
    sessions
}

#[test]
fn a_flood_of_initiations_is_asked_for_cookies_and_an_honest_peer_still_gets_through() {
    let mut net = Net::pair();
    let target = net.nodes[1].identity.public_key();
    let mut busy = 0;
    for i in 0..100_u8 {
        let identity = MeshIdentity::from_seed(&[100 + i % 100; 32]);
        let own = identity.address();
        let mut sessions = caller(&identity, i, net.now, &target);
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
        let mut sessions = caller(&stranger, i, net.now, &target);
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
