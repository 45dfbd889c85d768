//! Foreign bytes: no parser panics, none believes.

use proptest::prelude::*;
use warren_mesh::link::{Beacon, FrameType, group_id, receiver_index};
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::time::Instant;
use warren_mesh::wire::Reader;

use super::common::*;

/// Hands a datagram to everything that reads datagrams; nothing but a beacon may be accepted.
fn everything_refuses(datagram: &[u8]) {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    let mut initiator = a.start(b.identity.short_id(), INITIATOR_INDEX);
    let mut responder = b.accept(RESPONDER_INDEX, initiator.message()).unwrap();
    let (_, mut end) = pair();
    let _ = (receiver_index(datagram), group_id(datagram));
    let _ = Beacon::decode(datagram);
    assert!(b.accept(1, datagram).is_err());
    assert!(initiator.take_cookie(Instant::ZERO, datagram).is_err());
    let finished = initiator.finish(Instant::ZERO, &a.link(), datagram);
    assert!(finished.is_err());
    let finished = responder.finish(Instant::ZERO, &b.link(), datagram);
    assert!(finished.is_err());
    let mut bytes = datagram.to_vec();
    assert!(end.session.open_control(&mut bytes).is_err());
    assert!(end.session.open_data(datagram).is_err());
    let key = end.session.broadcast_receive_key();
    assert!(end.peer_group.open(key, &mut bytes).is_err());
    let anchor = AnchorRecord::decode(&mut Reader::new(datagram));
    assert!(anchor.is_err() || anchor.unwrap().verify().is_err());
}

#[test]
fn genuine_frames_cut_short_anywhere_are_refused() {
    let (mut a, mut b) = (Party::new(1), Party::new(2));
    let (mut at_a, at_b) = establish(&mut a, &mut b);
    let mut control = Vec::new();
    at_a.session.seal_control(&[1; 20], &mut control);
    let mut data = room_and_payload(60);
    at_a.session.seal_data(&header(60), &mut data).unwrap();
    let mut broadcast = Vec::new();
    let keys = [at_a.session.broadcast_send_key()];
    a.group.seal(keys, &[2; 20], &mut broadcast).unwrap();
    let mut end = at_b;
    for frame in [control, data, broadcast] {
        for len in 0..frame.len() {
            let mut cut = frame[..len].to_vec();
            assert!(end.session.open_data(&cut).is_err());
            assert!(end.session.open_control(&mut cut).is_err());
            let key = end.session.broadcast_receive_key();
            assert!(end.peer_group.open(key, &mut cut).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_refused_whatever_they_claim_to_be(
        kind in 0..16u8, index in prop::sample::select(vec![0, INITIATOR_INDEX, RESPONDER_INDEX]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut datagram = vec![0x10 | kind];
        datagram.extend(index.to_be_bytes());
        datagram.extend(&rest);
        everything_refuses(&datagram);
        everything_refuses(&rest);
        prop_assert_eq!(FrameType::of(&datagram).is_ok(), (1..=10).contains(&kind));
    }
}
