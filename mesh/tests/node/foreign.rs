//! Bytes from nobody: whatever a stranger sends in whoever's name, nothing panics and nothing about links and routes
//! changes.

use std::time::Duration;

use proptest::prelude::*;

use super::lab::{Lab, line};

/// Hands a datagram to node 0 in the name of its neighbour and of nobody, and checks that nothing came of it.
fn comes_to_nothing(lab: &mut Lab, bytes: &[u8]) {
    let before = lab.state(0);
    lab.take_events(0);
    for from in [1, 60] {
        lab.inject(0, from, 0, bytes);
        assert_eq!(lab.state(0), before, "{bytes:02x?}");
        assert_eq!(lab.take_events(0), []);
        assert!(!lab.has_packets(0));
    }
}

/// Waits until the neighbours agree again, and proves it with a packet.
fn still_works(lab: &mut Lab) {
    lab.run(Duration::from_secs(2));
    lab.take_packets(2);
    let echo = lab.echo(0, 2, 200);
    lab.send(0, &echo);
    lab.wait(Duration::from_secs(2), |lab| lab.has_packets(2));
    assert_eq!(lab.take_packets(2), [echo]);
}

/// A line of three, and every kind of frame that was on its first cable.
fn busy() -> (Lab, Vec<Vec<u8>>) {
    let mut lab = line(3, 1452);
    still_works(&mut lab);
    let on_cable = lab.take_frames();
    let frames: Vec<_> = on_cable
        .into_iter()
        .filter(|frame| frame.cable == 0)
        .map(|frame| frame.bytes)
        .collect();
    (lab, frames)
}

#[test]
fn genuine_frames_sent_again_by_a_stranger_come_to_nothing() {
    let (mut lab, frames) = busy();
    assert!(frames.len() > 20);
    for frame in &frames {
        comes_to_nothing(&mut lab, frame);
    }
    still_works(&mut lab);
}

#[test]
fn genuine_frames_damaged_anywhere_come_to_nothing() {
    let (mut lab, frames) = busy();
    for kind in 1..=10u8 {
        let Some(frame) = frames.iter().find(|frame| frame[0] & 0xf == kind) else {
            continue;
        };
        for place in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[place] ^= 0x40;
            comes_to_nothing(&mut lab, &damaged);
            comes_to_nothing(&mut lab, &frame[..place]);
        }
    }
    still_works(&mut lab);
}

#[test]
fn forged_beacons_buy_no_more_than_four_handshakes_at_once() {
    let mut lab = line(2, 1452);
    lab.run(Duration::from_secs(5));
    lab.take_frames();
    for number in 0..1000u16 {
        // A short id above any: the node that hears it would have to start.
        let mut beacon = vec![0x11];
        beacon.extend([0xff; 6]);
        beacon.extend(number.to_be_bytes());
        beacon.extend([0, 1, 2, 3, 4, 0, 0]);
        lab.inject(0, 100 + usize::from(number), 0, &beacon);
    }
    let started = lab
        .take_frames()
        .iter()
        .filter(|frame| frame.kind() == 2)
        .count();
    assert!((1..=4).contains(&started), "{started}");
    lab.run(Duration::from_secs(10));
    assert!(lab.are_linked(0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_bytes_of_every_type_come_to_nothing(
        datagrams in prop::collection::vec((0..=255u8, prop::collection::vec(any::<u8>(), 0..200)), 30),
    ) {
        let (mut lab, frames) = busy();
        let index = frames.iter().rev().find(|frame| frame[0] == 0x18).unwrap()[1..5].to_vec();
        for (first, rest) in datagrams {
            for kind in 0..16u8 {
                let mut datagram = vec![0x10 | kind];
                datagram.extend(&rest);
                comes_to_nothing(&mut lab, &datagram);
                // And with the index of a link that exists.
                datagram.splice(1..1, index.iter().copied());
                comes_to_nothing(&mut lab, &datagram);
            }
            let mut any = vec![first];
            any.extend(rest);
            comes_to_nothing(&mut lab, &any);
        }
        still_works(&mut lab);
    }
}
