//! Nodes that start again: with the next generation, or without remembering the last.

use std::time::Duration;

use super::net::{Conditions, Net};

fn line(count: usize, conditions: Conditions) -> Net {
    let mut net = Net::new(count, conditions, 7);
    for node in 1..count {
        net.connect(node - 1, node, 16);
    }
    net.run(Duration::from_secs(10));
    assert_eq!(net.unreached(), []);
    net
}

#[test]
fn a_node_that_lost_its_generation_hears_of_it_and_jumps_above() {
    for (conditions, off) in [
        (Conditions::default(), 0),
        (Conditions::default(), 5),
        (Conditions::default(), 400),
        (
            Conditions {
                loss: 20,
                repeat: 5,
                reorder: true,
            },
            30,
        ),
    ] {
        let mut net = line(4, conditions);
        let before = net.generations[0];
        let peers = if off > 0 { net.unplug(0) } else { Vec::new() };
        net.run(Duration::from_secs(off));
        net.restart(0, 2);
        for (peer, cost) in peers {
            net.connect(0, peer, cost);
        }
        net.run(Duration::from_secs(15));
        assert!(
            net.generations[0] > before,
            "off for {off} s: {}",
            net.generations[0]
        );
        assert_eq!(net.unreached(), [], "off for {off} s");
        for at in 1..4 {
            assert_eq!(
                net.known(at, 0).unwrap().anchor.generation,
                net.generations[0]
            );
        }
    }
}

#[test]
fn a_lost_generation_is_noticed_through_strangers_who_never_knew_it() {
    // 0 - 1 - 2 know node 0; it comes back without its disk, behind a node that never heard of it.
    let mut net = Net::new(4, Conditions::default(), 9);
    net.connect(0, 1, 16);
    net.connect(1, 2, 16);
    net.run(Duration::from_secs(5));
    let before = net.generations[0];
    net.unplug(0);
    net.run(Duration::from_secs(5));
    net.restart(0, 1);
    net.connect(0, 3, 16);
    net.run(Duration::from_secs(2));
    assert_eq!(net.generations[0], 1, "nobody could tell it");
    net.connect(3, 2, 16);
    net.run(Duration::from_secs(10));
    assert!(net.generations[0] > before);
    assert_eq!(net.unreached(), []);
}

#[test]
fn a_generation_lost_by_far_more_than_the_wire_can_tell_is_noticed_too() {
    let mut net = Net::new(3, Conditions::default(), 11);
    net.restart(0, 40_000);
    net.connect(0, 1, 16);
    net.connect(1, 2, 16);
    net.run(Duration::from_secs(5));
    net.unplug(0);
    net.run(Duration::from_secs(2));
    net.restart(0, 1);
    net.connect(0, 1, 16);
    net.run(Duration::from_secs(10));
    assert!(net.generations[0] > 40_000);
    assert_eq!(net.unreached(), []);
}

#[test]
fn a_new_generation_reaches_everybody_although_nothing_else_changed() {
    let mut net = line(5, Conditions::default());
    let next = net.generations[0] + 1;
    net.generations[0] = next;
    let now = net.now;
    net.routers[0].generation_persisted(now, next);
    net.run(Duration::from_secs(3));
    assert_eq!(net.unreached(), []);
    for at in 1..5 {
        let known = net.known(at, 0).unwrap();
        assert_eq!(known.anchor.generation, next, "at {at}");
        assert_eq!(known.best.seq, 1, "at {at}");
    }
}

#[test]
fn a_restart_within_a_blink_is_told_to_everybody() {
    let mut net = line(5, Conditions::default());
    for round in 0..5 {
        let next = net.generations[0] + 1;
        net.restart(0, next);
        net.run(Duration::from_secs(3));
        assert_eq!(net.unreached(), [], "round {round}");
        for at in 1..5 {
            let known = net.known(at, 0).unwrap();
            assert_eq!(known.anchor.generation, next, "at {at}, round {round}");
        }
    }
}
