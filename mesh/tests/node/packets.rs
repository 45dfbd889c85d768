//! Packets of people's programs: sizes, errors, what is open, and what nodes tell about themselves.

use std::time::Duration;

use warren_mesh::crypto::cipher::Suite;
use warren_mesh::identity::MeshIdentity;
use warren_mesh::node::{Event, NodeConfig};
use warren_mesh::packet::ipv6::ICMPV6;
use warren_mesh::packet::policy::Policy;
use warren_mesh::service::{ServiceKind, ServiceSigner};

use super::lab::{ECHO_REQUEST, Lab, icmp_error, line};

const SECOND: Duration = Duration::from_secs(1);
const DATA: u8 = 8;
const DATA_FIRST: u8 = 9;
const DATA_SECOND: u8 = 10;

/// Sends a packet and returns what arrives, if anything does.
fn pass(lab: &mut Lab, from: usize, to: usize, packet: &[u8]) -> Vec<Vec<u8>> {
    lab.take_packets(to);
    lab.send(from, packet);
    lab.run(SECOND);
    lab.take_packets(to)
}

#[test]
fn a_packet_crosses_relays_unchanged() {
    let mut lab = line(5, 1452);
    lab.run(SECOND);
    for len in [48, 100, 1280, 1417] {
        let packet = lab.echo(0, 4, len);
        assert_eq!(pass(&mut lab, 0, 4, &packet), [packet], "{len}");
    }
    assert!(lab.nodes[2].counters().forwarded >= 4);
    assert_eq!(lab.nodes[4].counters().refused, 0);
}

#[test]
fn a_packet_too_large_for_the_path_is_answered_with_its_size() {
    // The middle link carries less than the others.
    let mut lab = Lab::default();
    for _ in 0..4 {
        lab.add(NodeConfig::default());
    }
    lab.broadcast(&[0, 1], 1535);
    lab.broadcast(&[1, 2], 1452);
    lab.broadcast(&[2, 3], 1535);
    lab.wait(5 * SECOND, Lab::all_reach_all);
    lab.run(SECOND);
    assert_eq!(lab.nodes[0].path_mtu(&lab.address(1)), 1500);
    assert_eq!(lab.nodes[0].path_mtu(&lab.address(3)), 1417);
    let packet = lab.echo(0, 3, 1418);
    assert!(pass(&mut lab, 0, 3, &packet).is_empty());
    let answers = lab.take_packets(0);
    assert_eq!(answers.len(), 1);
    assert_eq!(icmp_error(&answers[0]), Some((2, 0, 1417)));
    let packet = lab.echo(0, 3, 1417);
    assert_eq!(pass(&mut lab, 0, 3, &packet), [packet]);
}

#[test]
fn on_a_carrier_too_small_a_payload_travels_in_two_halves() {
    let mut lab = Lab::default();
    for _ in 0..3 {
        lab.add(NodeConfig::default());
    }
    lab.broadcast(&[0, 1], 1452);
    let small = lab.broadcast(&[1, 2], 700);
    lab.wait(5 * SECOND, Lab::all_reach_all);
    lab.run(SECOND);
    assert_eq!(lab.nodes[0].path_mtu(&lab.address(2)), 1280);
    lab.take_frames();
    for (from, to) in [(0, 2), (2, 0)] {
        let packet = lab.echo(from, to, 1280);
        assert_eq!(pass(&mut lab, from, to, &packet), [packet]);
    }
    let frames = lab.take_frames();
    let on_small: Vec<_> = frames.iter().filter(|frame| frame.cable == small).collect();
    for kind in [DATA_FIRST, DATA_SECOND] {
        assert_eq!(
            on_small.iter().filter(|frame| frame.kind() == kind).count(),
            2
        );
    }
    assert!(
        on_small
            .iter()
            .all(|frame| frame.bytes.len() <= 700 || frame.kind() < DATA)
    );
    // A lost half costs its packet and no other.
    let packet = lab.echo(1, 2, 1280);
    assert_eq!(pass(&mut lab, 1, 2, &packet), std::slice::from_ref(&packet));
    for lost in [0, 1] {
        lab.lose(small, &[lost]);
        assert!(pass(&mut lab, 1, 2, &packet).is_empty(), "half {lost}");
        assert_eq!(pass(&mut lab, 1, 2, &packet), std::slice::from_ref(&packet));
    }
}

#[test]
fn a_destination_nobody_knows_is_answered_at_once() {
    let mut lab = line(2, 1452);
    let nobody = MeshIdentity::from_seed(&[77; 32]).address();
    let packet = lab.packet(
        0,
        nobody,
        ICMPV6,
        2,
        vec![ECHO_REQUEST, 0, 0, 0, 1, 2, 3, 4],
    );
    lab.send(0, &packet);
    let answers = lab.take_packets(0);
    assert_eq!(answers.len(), 1, "without waiting");
    assert_eq!(
        icmp_error(&answers[0]).map(|(kind, code, _)| (kind, code)),
        Some((1, 0))
    );
    assert_eq!(lab.nodes[0].counters().no_route, 1);
}

#[test]
fn a_destination_that_does_not_answer_is_reported_too() {
    let mut lab = line(3, 1452);
    // The route stands for a moment after the last link died; the session never comes.
    lab.cables[1].is_up = false;
    let packet = lab.echo(0, 2, 100);
    lab.send(0, &packet);
    lab.run(60 * SECOND);
    let answers = lab.take_packets(0);
    assert!(
        answers
            .iter()
            .any(|answer| icmp_error(answer).is_some_and(|(kind, ..)| kind == 1))
    );
}

#[test]
fn what_comes_in_is_closed_unless_opened_or_asked_for() {
    let mut lab = Lab::default();
    lab.add(NodeConfig::default());
    lab.add(NodeConfig {
        policy: Policy {
            udp: vec![5201],
            ..Policy::default()
        },
        ..NodeConfig::default()
    });
    lab.broadcast(&[0, 1], 1452);
    lab.wait(5 * SECOND, Lab::all_reach_all);
    let echo = lab.echo(0, 1, 64);
    assert_eq!(pass(&mut lab, 0, 1, &echo), [echo]);
    let open = lab.udp(0, 1, 40_000, 5201);
    assert_eq!(pass(&mut lab, 0, 1, &open), [open]);
    let closed = lab.udp(0, 1, 40_000, 22);
    lab.take_packets(0);
    assert!(pass(&mut lab, 0, 1, &closed).is_empty());
    assert_eq!(lab.nodes[1].counters().refused, 1);
    let answers = lab.take_packets(0);
    assert_eq!(
        icmp_error(&answers[0]).map(|(kind, code, _)| (kind, code)),
        Some((1, 1))
    );
    // Node 0 asked from port 40000: the answer passes, a stranger's question does not.
    let answer = lab.udp(1, 0, 5201, 40_000);
    assert_eq!(pass(&mut lab, 1, 0, &answer), [answer]);
    let question = lab.udp(1, 0, 5201, 40_001);
    assert!(pass(&mut lab, 1, 0, &question).is_empty());
}

#[test]
fn a_packet_in_somebody_elses_name_is_not_sent() {
    let mut lab = line(3, 1452);
    let forged = lab.echo(2, 1, 64);
    assert!(pass(&mut lab, 0, 1, &forged).is_empty());
    assert_eq!(lab.nodes[0].counters().rejected, 1);
}

#[test]
fn a_node_tells_who_it_is_when_asked() {
    let mut lab = line(4, 1452);
    let far = lab.address(3);
    lab.with(0, |now, node| node.request_descriptor(now, far));
    lab.wait(5 * SECOND, |lab| lab.has_event(0, &Event::Descriptor(far)));
    let descriptor = lab.nodes[0].descriptor(&far).unwrap();
    assert_eq!(descriptor.name, "node 3");
    assert_eq!(descriptor.key.address(), far);
    assert!(descriptor.services.is_empty());
}

#[test]
fn a_node_that_was_asked_tells_of_another_service_by_itself() {
    let mut lab = line(4, 1452);
    let far = lab.address(3);
    lab.with(0, |now, node| node.request_descriptor(now, far));
    lab.wait(5 * SECOND, |lab| lab.has_event(0, &Event::Descriptor(far)));
    let signer = ServiceSigner::master(&[7; 32]);
    let service = signer.announce(ServiceKind::Space, &far, 7447, "Garden club");
    let services = vec![service.unwrap()];
    for _ in 0..2 {
        let shown = services.clone();
        lab.with(3, |now, node| node.publish(now, shown).unwrap());
    }
    let is_known = |lab: &Lab| lab.nodes[0].descriptor(&far).unwrap().services == services;
    lab.wait(SECOND, is_known);
}

#[test]
fn a_node_that_does_not_answer_is_said_not_to() {
    let mut lab = line(3, 1452);
    let far = lab.address(2);
    lab.cables[1].is_up = false;
    lab.with(0, |now, node| node.request_descriptor(now, far));
    let took = lab.wait(120 * SECOND, |lab| {
        lab.has_event(0, &Event::DescriptorTimeout(far))
    });
    assert!(took > SECOND, "{took:?}");
    assert!(lab.nodes[0].descriptor(&far).is_none());
}

#[test]
fn nodes_with_aes_use_it_among_themselves_and_chacha_with_the_others() {
    // A and C have it, the relay between them has not; B's other neighbour D has.
    let mut lab = Lab::default();
    for aes in [true, false, true, true] {
        lab.add(NodeConfig {
            aes,
            ..NodeConfig::default()
        });
    }
    for (a, b) in [(0, 1), (1, 2), (2, 3)] {
        lab.broadcast(&[a, b], 1452);
    }
    lab.wait(5 * SECOND, Lab::all_reach_all);
    for (from, to) in [(0, 2), (2, 0), (0, 1), (1, 3), (3, 2)] {
        let packet = lab.echo(from, to, 1280);
        assert_eq!(pass(&mut lab, from, to, &packet), [packet]);
    }
    // A build for a processor without such instructions never uses AES.
    let aes = Suite::agreed(u32::MAX, u32::from(Suite::features(true)));
    assert_eq!(
        aes == Suite::Aes256Gcm,
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
    );
    let chacha = Suite::ChaCha20Poly1305;
    let suites = |lab: &Lab, of: usize, with: usize| lab.nodes[of].suites_with(&lab.address(with));
    for (a, b) in [(0, 2), (2, 0)] {
        assert_eq!(suites(&lab, a, b), (None, Some(aes)), "{a} {b}");
    }
    for (a, b) in [(0, 1), (1, 0)] {
        assert_eq!(suites(&lab, a, b), (Some(chacha), Some(chacha)), "{a} {b}");
    }
    for (a, b) in [(2, 3), (3, 2)] {
        assert_eq!(suites(&lab, a, b), (Some(aes), Some(aes)), "{a} {b}");
    }
    assert_eq!(suites(&lab, 3, 1).1, Some(chacha));
}
