//! Links that come up, are refused, fall silent, resume and end.

use std::time::Duration;

use warren_mesh::node::{Event, Medium, NodeConfig};
use warren_mesh::transmit::InterfaceId;

use super::lab::{Lab, line, transport};

const SECOND: Duration = Duration::from_secs(1);
const PROBE_FRAME: u8 = 6;

fn two() -> Lab {
    let mut lab = Lab::default();
    lab.add(NodeConfig::default());
    lab.add(NodeConfig::default());
    lab
}

fn with_passphrase(psk: Option<u8>) -> NodeConfig {
    NodeConfig {
        psk: psk.map(|byte| [byte; 32]),
        ..NodeConfig::default()
    }
}

#[test]
fn two_nodes_on_a_broadcast_medium_find_each_other() {
    let mut lab = two();
    lab.broadcast(&[0, 1], 1452);
    let took = lab.wait(SECOND, |lab| lab.are_linked(0, 1));
    assert!(took < SECOND / 5, "{took:?}");
    lab.wait(SECOND, Lab::all_reach_all);
    for (node, peer) in [(0, 1), (1, 0)] {
        assert_eq!(
            lab.take_events(node),
            [Event::NeighbourUp(lab.address(peer))]
        );
        assert_eq!(lab.nodes[node].counters().handshakes, 1);
        assert_eq!(lab.nodes[node].counters().rejected, 0);
    }
}

#[test]
fn a_node_that_is_called_by_its_address_is_found_in_either_order_of_ids() {
    for (caller, called) in [(0, 1), (1, 0)] {
        let mut lab = two();
        lab.unicast(caller, called, 1452);
        lab.wait(SECOND, |lab| lab.are_linked(0, 1));
        lab.wait(SECOND, Lab::all_reach_all);
    }
}

#[test]
fn lost_handshake_messages_are_sent_again() {
    for lost in 0..6 {
        let mut lab = two();
        let cable = lab.broadcast(&[0, 1], 1452);
        lab.lose(cable, &[lost]);
        let took = lab.wait(2 * SECOND, |lab| lab.are_linked(0, 1));
        assert!(took < SECOND, "without frame {lost}: {took:?}");
        lab.wait(SECOND, Lab::all_reach_all);
    }
}

#[test]
fn a_passphrase_links_those_who_know_it_and_nobody_else() {
    let cases = [
        (Some(1), Some(1), true),
        (Some(1), Some(2), false),
        (Some(1), None, false),
        (None, Some(1), false),
    ];
    for (a, b, fits) in cases {
        for is_broadcast in [true, false] {
            let mut lab = Lab::default();
            lab.add(with_passphrase(a));
            lab.add(with_passphrase(b));
            match is_broadcast {
                true => lab.broadcast(&[0, 1], 1452),
                false => lab.unicast(0, 1, 1452),
            };
            lab.run(60 * SECOND);
            assert_eq!(lab.are_linked(0, 1), fits, "{a:?} {b:?}");
            assert_eq!(lab.all_reach_all(), fits, "{a:?} {b:?}");
            let up = Event::NeighbourUp(lab.address(1));
            assert_eq!(lab.has_event(0, &up), fits);
            // One of the two sees that it is the passphrase: the one that called.
            let told = [0, 1]
                .into_iter()
                .any(|node| lab.has_passphrase_event(node));
            assert_eq!(told, a.is_some() && b.is_some() && !fits, "{a:?} {b:?}");
            // Strangers cost little: no storm of handshakes.
            let frames = lab.take_frames().len();
            assert!(frames < 2000, "{a:?} {b:?}: {frames} frames");
        }
    }
}

#[test]
fn a_suspended_link_resumes_with_a_probe_and_without_a_handshake() {
    let mut lab = line(2, 1452);
    lab.run(3 * SECOND);
    lab.cables[0].is_up = false;
    lab.wait(20 * SECOND, |lab| {
        !lab.is_linked(0, 1) && !lab.is_linked(1, 0)
    });
    assert!(!lab.reaches(0, 1) && !lab.reaches(1, 0));
    lab.run(10 * SECOND);
    lab.take_frames();
    lab.cables[0].is_up = true;
    lab.wait(10 * SECOND, |lab| lab.are_linked(0, 1));
    lab.wait(SECOND, Lab::all_reach_all);
    assert!(lab.frames.iter().any(|frame| frame.kind() == PROBE_FRAME));
    assert!(
        lab.frames
            .iter()
            .all(|frame| !(2..=4).contains(&frame.kind()))
    );
    for node in &lab.nodes {
        let counters = node.counters();
        assert_eq!((counters.handshakes, counters.links_resumed), (1, 1));
        assert_eq!(counters.links_lost, 1);
    }
}

#[test]
fn a_link_that_was_silent_for_too_long_needs_a_new_handshake() {
    let mut lab = line(2, 1452);
    lab.cables[0].is_up = false;
    lab.wait(20 * SECOND, |lab| {
        !lab.is_linked(0, 1) && !lab.is_linked(1, 0)
    });
    lab.run(70 * SECOND);
    assert!(lab.nodes[0].neighbours(lab.now).is_empty());
    lab.cables[0].is_up = true;
    lab.wait(10 * SECOND, |lab| lab.are_linked(0, 1));
    assert_eq!(lab.nodes[0].counters().handshakes, 2);
    assert_eq!(lab.nodes[0].counters().links_resumed, 0);
}

#[test]
fn goodbye_ends_a_link_at_once() {
    let mut lab = line(3, 1452);
    lab.take_events(1);
    lab.with(2, |_, node| node.say_goodbye());
    let down = Event::NeighbourDown(lab.address(2));
    let took = lab.wait(SECOND, |lab| lab.has_event(1, &down));
    assert!(took <= Duration::from_millis(2), "{took:?}");
    assert!(!lab.is_linked(1, 2) && !lab.reaches(1, 2));
    assert_eq!(
        lab.nodes[1].counters().links_lost,
        0,
        "nobody had to find out"
    );
}

#[test]
fn an_interface_that_goes_takes_its_links_along_and_brings_them_back() {
    let mut lab = line(3, 1452);
    lab.with(1, |now, node| node.remove_interface(now, InterfaceId(1)));
    lab.cables[1].is_up = false;
    assert!(!lab.is_linked(1, 2));
    assert!(lab.is_linked(1, 0));
    lab.wait(20 * SECOND, |lab| !lab.is_linked(2, 1));
    lab.wait(SECOND, |lab| !lab.reaches(0, 2));
    lab.cables[1].is_up = true;
    lab.attach(1, 1, Medium::Broadcast, 1452);
    lab.wait(10 * SECOND, |lab| lab.are_linked(1, 2));
    lab.wait(SECOND, Lab::all_reach_all);
}

#[test]
fn a_peering_that_ended_takes_its_link_down_at_once() {
    let mut lab = line(2, 1452);
    lab.with(0, |now, node| {
        node.link_lost(now, InterfaceId(0), transport(1, 0))
    });
    assert!(!lab.is_linked(0, 1));
    assert!(!lab.reaches(0, 1));
    // It was not true: the next frame brings the link back.
    lab.wait(10 * SECOND, |lab| lab.are_linked(0, 1));
    assert_eq!(lab.nodes[0].counters().handshakes, 1);
}

/// Three nodes, each linked with each.
fn triangle() -> Lab {
    let mut lab = Lab::default();
    for _ in 0..3 {
        lab.add(NodeConfig::default());
    }
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        lab.broadcast(&[a, b], 1452);
    }
    lab.wait(5 * SECOND, |lab| {
        lab.all_reach_all() && lab.are_linked(0, 1) && lab.are_linked(1, 2) && lab.are_linked(0, 2)
    });
    lab
}

#[test]
fn who_declares_a_link_dead_tells_the_other_end_through_the_mesh() {
    let mut lab = triangle();
    // HELLOs are rare by now: alone, the other end would need seconds.
    lab.run(60 * SECOND);
    lab.cables[0].is_up = false;
    lab.run(Duration::from_millis(200));
    assert!(lab.is_linked(1, 0));
    lab.with(0, |now, node| {
        node.link_lost(now, InterfaceId(0), transport(1, 0))
    });
    let took = lab.wait(SECOND, |lab| !lab.is_linked(1, 0));
    assert!(took < Duration::from_millis(100), "{took:?}");
    lab.wait(SECOND, Lab::all_reach_all);
}

#[test]
fn a_notice_about_a_link_that_was_just_heard_is_not_believed() {
    let mut lab = triangle();
    lab.run(5 * SECOND);
    // Node 0 is mistaken; node 1 hears it every 10 ms over the very link.
    lab.with(0, |now, node| {
        node.link_lost(now, InterfaceId(0), transport(1, 0))
    });
    lab.take_events(1);
    let echo = lab.echo(1, 0, 100);
    for _ in 0..50 {
        lab.send(1, &echo);
        lab.run(Duration::from_millis(10));
    }
    assert!(lab.are_linked(0, 1));
    assert!(!lab.has_event(1, &Event::NeighbourDown(lab.address(0))));
}

#[test]
fn a_silent_link_is_found_dead_in_half_a_second_when_it_is_used() {
    let mut lab = triangle();
    lab.run(60 * SECOND);
    lab.cables[0].is_up = false;
    let echo = lab.echo(0, 1, 100);
    lab.send(0, &echo);
    let took = lab.wait(SECOND, |lab| !lab.is_linked(0, 1));
    assert!(took < Duration::from_millis(400), "{took:?}");
    lab.wait(SECOND, Lab::all_reach_all);
    lab.take_packets(1);
    lab.send(0, &echo);
    lab.wait(SECOND, |lab| lab.has_packets(1));
}

#[test]
fn on_a_crowded_medium_hardly_anybody_links_up_with_everybody() {
    let mut lab = Lab::default();
    let everybody: Vec<_> = (0..40).map(|_| lab.add(NodeConfig::default())).collect();
    lab.broadcast(&everybody, 1452);
    lab.wait(20 * SECOND, Lab::all_reach_all);
    lab.run(30 * SECOND);
    assert!(lab.all_reach_all());
    let counts: Vec<_> = lab
        .nodes
        .iter()
        .map(|node| {
            node.neighbours(lab.now)
                .iter()
                .filter(|view| view.up)
                .count()
        })
        .collect();
    // Twelve, and those that were on their way or the only way to somebody when the twelfth came.
    let most = counts.iter().max().copied();
    let links = counts.iter().sum::<usize>() / 2;
    assert!(
        most <= Some(20) && links <= 40 * 7,
        "{links} links: {counts:?}"
    );
}

#[test]
fn a_neighbour_that_is_the_only_way_to_somebody_is_linked_up_with_whatever_the_crowd() {
    let mut lab = Lab::default();
    let mut crowd: Vec<_> = (0..20).map(|_| lab.add(NodeConfig::default())).collect();
    let late = lab.add(NodeConfig::default());
    let behind = lab.add(NodeConfig::default());
    crowd.push(late);
    let air = lab.broadcast(&crowd[..20], 1452);
    lab.run(20 * SECOND);
    lab.broadcast(&[late, behind], 1452);
    lab.join(air, late);
    lab.wait(20 * SECOND, Lab::all_reach_all);
}
