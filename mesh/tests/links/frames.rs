//! Control and data frames: what is covered, what is refused, what may overtake what.

use proptest::prelude::*;
use warren_mesh::crypto::aead::BadTag;
use warren_mesh::crypto::replay::ReplayError;
use warren_mesh::link::session::{CONTROL_OVERHEAD, DATA_HEADER_LEN};
use warren_mesh::link::{FrameType, LinkError, Part};

use super::common::*;

const PARTS: [(Part, FrameType); 3] = [
    (Part::Whole, FrameType::Data),
    (Part::First, FrameType::DataFirst),
    (Part::Second, FrameType::DataSecond),
];

#[test]
fn a_control_frame_is_twenty_five_bytes_longer_than_its_messages() {
    let (mut a, mut b) = pair();
    for len in [0, 1, 100, 1400] {
        let mut frame = Vec::new();
        a.session.seal_control(&vec![3; len], &mut frame);
        assert_eq!(frame.len(), len + CONTROL_OVERHEAD);
        assert_eq!(frame.len(), len + 25);
        assert_eq!(b.session.open_control(&mut frame).unwrap(), vec![3; len]);
    }
}

#[test]
fn a_payload_passes_unchanged_behind_its_sealed_header() {
    let (mut a, mut b) = pair();
    for len in [0, 1, 7, 8, 15, 16, 23, 24, 25, 1417] {
        let mut frame = room_and_payload(len);
        let before = frame[DATA_HEADER_LEN..].to_vec();
        a.session.seal_data(&header(len), &mut frame).unwrap();
        assert_eq!(frame[DATA_HEADER_LEN..], before);
        let opened = b.session.open_data(&frame).unwrap();
        assert_eq!((opened.header, opened.part), (header(len), Part::Whole));
        assert_eq!(frame[opened.payload], before);
        // Source and destination are not to be seen.
        assert!(!frame.windows(8).any(|window| window == b"distant!"));
    }
}

#[test]
fn a_relay_passes_on_what_it_opened() {
    let (mut relay, mut source) = pair();
    let (mut onward, mut destination) = establish(&mut Party::new(1), &mut Party::new(3));
    let mut frame = room_and_payload(500);
    source.session.seal_data(&header(500), &mut frame).unwrap();
    let mut header = relay.session.open_data(&frame).unwrap().header;
    header.ttl -= 1;
    onward.session.seal_data(&header, &mut frame).unwrap();
    let opened = destination.session.open_data(&frame).unwrap();
    assert_eq!(opened.header.ttl, 63);
    assert_eq!(
        frame[opened.payload],
        room_and_payload(500)[DATA_HEADER_LEN..]
    );
}

#[test]
fn two_halves_have_successive_counters_and_exactly_half_each() {
    let (mut a, mut b) = pair();
    let whole = header(1401);
    let (mut first, mut second) = (room_and_payload(701), room_and_payload(700));
    a.session
        .seal_part(Part::First, &whole, &mut first)
        .unwrap();
    a.session
        .seal_part(Part::Second, &whole, &mut second)
        .unwrap();
    let first = b.session.open_data(&first).unwrap();
    let second = b.session.open_data(&second).unwrap();
    assert_eq!((first.part, second.part), (Part::First, Part::Second));
    assert_eq!(first.counter + 1, second.counter);
    let mut wrong = room_and_payload(701);
    let result = a.session.seal_part(Part::Second, &whole, &mut wrong);
    let (stated, carried) = (700, 701);
    assert_eq!(result, Err(LinkError::PayloadLength { stated, carried }));
}

#[test]
fn a_payload_shortened_in_the_middle_is_refused() {
    let (mut a, mut b) = pair();
    let mut frame = room_and_payload(100);
    a.session.seal_data(&header(100), &mut frame).unwrap();
    frame.drain(DATA_HEADER_LEN + 40..DATA_HEADER_LEN + 50);
    let (stated, carried) = (100, 90);
    let result = b.session.open_data(&frame);
    assert_eq!(result, Err(LinkError::PayloadLength { stated, carried }));
}

#[test]
fn the_tag_covers_session_index_session_counter_and_the_end_to_end_tag_and_no_more() {
    let (mut a, mut b) = pair();
    let len = 100;
    for place in 0..len {
        let mut frame = room_and_payload(len);
        a.session.seal_data(&header(len), &mut frame).unwrap();
        frame[DATA_HEADER_LEN + place] ^= 0x10;
        let is_refused = b.session.open_data(&frame) == Err(LinkError::Tag(BadTag));
        assert_eq!(is_refused, place < 8 || place >= len - 16, "byte {place}");
    }
}

#[test]
fn a_frame_is_for_one_direction_one_link_and_one_kind() {
    let (mut a, mut b) = pair();
    let (_, mut c) = establish(&mut Party::new(4), &mut Party::new(3));
    let mut frame = Vec::new();
    a.session.seal_control(&[0; 40], &mut frame);
    assert_eq!(
        a.session.open_control(&mut frame.clone()),
        Err(LinkError::Index)
    );
    // Node 3 chose the same index; its keys differ.
    assert_eq!(
        c.session.open_control(&mut frame.clone()),
        Err(LinkError::Tag(BadTag))
    );
    frame[0] = FrameType::Data.byte();
    assert_eq!(b.session.open_data(&frame), Err(LinkError::Tag(BadTag)));
    assert_eq!(
        b.session.open_control(&mut frame),
        Err(LinkError::FrameType(8))
    );
}

#[test]
fn a_replayed_frame_is_refused_and_a_forged_one_moves_no_counter() {
    let (mut a, mut b) = pair();
    let mut genuine = Vec::new();
    a.session.seal_control(b"once", &mut genuine);
    let mut forged = genuine.clone();
    forged[5..9].copy_from_slice(&0x7fff_0000u32.to_be_bytes());
    assert_eq!(
        b.session.open_control(&mut forged),
        Err(LinkError::Tag(BadTag))
    );
    b.session.open_control(&mut genuine.clone()).unwrap();
    assert_eq!(
        b.session.open_control(&mut genuine),
        Err(LinkError::Replay(ReplayError::Replayed))
    );
    let mut frame = room_and_payload(30);
    a.session.seal_data(&header(30), &mut frame).unwrap();
    b.session.open_data(&frame).unwrap();
    assert_eq!(
        b.session.open_data(&frame),
        Err(LinkError::Replay(ReplayError::Replayed))
    );
}

proptest! {
    #[test]
    fn any_changed_byte_of_a_control_frame_is_refused(
        len in 0..200usize, place in any::<prop::sample::Index>(), change in 1..=255u8,
    ) {
        let (mut a, mut b) = pair();
        let mut frame = Vec::new();
        a.session.seal_control(&vec![5; len], &mut frame);
        let mut damaged = frame.clone();
        damaged[place.index(frame.len())] ^= change;
        prop_assert!(b.session.open_control(&mut damaged).is_err());
        prop_assert!(b.session.open_control(&mut frame).is_ok());
    }

    #[test]
    fn any_changed_byte_that_a_data_frames_tag_covers_is_refused(
        len in 0..200usize, place in any::<prop::sample::Index>(), change in 1..=255u8,
        part in prop::sample::select(PARTS.to_vec()),
    ) {
        let (mut a, mut b) = pair();
        let header = header(len);
        let mut frame = room_and_payload(part.0.len_of(len));
        a.session.seal_part(part.0, &header, &mut frame).unwrap();
        prop_assert_eq!(frame[0], part.1.byte());
        let covered: Vec<usize> = (0..frame.len())
            .filter(|&at| at < DATA_HEADER_LEN + 8 || at + 16 >= frame.len())
            .collect();
        let mut damaged = frame.clone();
        damaged[covered[place.index(covered.len())]] ^= change;
        prop_assert!(b.session.open_data(&damaged).is_err());
        prop_assert_eq!(b.session.open_data(&frame).unwrap().header, header);
    }

    #[test]
    fn frames_in_any_order_and_any_number_of_copies_are_heard_once(
        order in prop::collection::vec(0..60usize, 1..300),
    ) {
        let (mut a, mut b) = pair();
        let control: Vec<Vec<u8>> = (0..60).map(|n| {
            let mut frame = Vec::new();
            a.session.seal_control(&[n], &mut frame);
            frame
        }).collect();
        let data: Vec<Vec<u8>> = (0..60).map(|_| {
            let mut frame = room_and_payload(40);
            a.session.seal_data(&header(40), &mut frame).unwrap();
            frame
        }).collect();
        let mut seen = [false; 60];
        for n in order {
            let fresh = !core::mem::replace(&mut seen[n], true);
            let mut frame = control[n].clone();
            prop_assert_eq!(b.session.open_control(&mut frame).is_ok(), fresh);
            prop_assert_eq!(b.session.open_data(&data[n]).is_ok(), fresh);
        }
    }
}
