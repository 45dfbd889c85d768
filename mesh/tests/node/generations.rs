//! What a node promises about its generation: on disk before anybody hears of it, and always above what anybody knows.

use std::time::Duration;

use warren_mesh::node::{Event, NodeConfig};

use super::lab::{Lab, line};

const SECOND: Duration = Duration::from_secs(1);

fn generation_known(lab: &Lab, at: usize, of: usize) -> Option<u32> {
    let known = lab.nodes[at].router().originator(&lab.address(of))?;
    Some(known.anchor.generation)
}

/// A line of three whose first node is in this generation.
fn settled(generation: u32) -> Lab {
    let mut lab = Lab::default();
    lab.add_at(NodeConfig::default(), generation);
    lab.add(NodeConfig::default());
    lab.add(NodeConfig::default());
    lab.broadcast(&[0, 1], 1452);
    lab.broadcast(&[1, 2], 1452);
    lab.wait(5 * SECOND, Lab::all_reach_all);
    lab
}

#[test]
fn a_node_with_an_older_disk_than_the_island_remembers_is_not_refused_for_ever() {
    for off in [0, 3, 300] {
        let mut lab = settled(50);
        if off > 0 {
            lab.cables[0].is_up = false;
        }
        lab.run(off * SECOND);
        lab.restart(0, NodeConfig::default(), 7);
        lab.cables[0].is_up = true;
        let took = lab.wait(20 * SECOND, |lab| {
            lab.generations[0] > 50 && generation_known(lab, 2, 0) == Some(lab.generations[0])
        });
        lab.wait(10 * SECOND, Lab::all_reach_all);
        assert!(took < 10 * SECOND, "off for {off} s: {took:?}");
        lab.take_packets(0);
        let echo = lab.echo(2, 0, 100);
        lab.send(2, &echo);
        lab.wait(5 * SECOND, |lab| lab.has_packets(0));
    }
}

#[test]
fn a_generation_that_cannot_be_written_is_not_used() {
    let mut lab = settled(50);
    lab.disk_fails = true;
    lab.restart(0, NodeConfig::default(), 7);
    lab.run(30 * SECOND);
    assert!(lab.has_event(0, &Event::PersistGeneration(51)));
    assert_eq!(generation_known(&lab, 2, 0), Some(50));
    // The disk is back, and the owner of the node tries again.
    lab.with(0, |now, node| node.generation_persisted(now, 51));
    lab.wait(10 * SECOND, |lab| generation_known(lab, 2, 0) == Some(51));
    lab.wait(10 * SECOND, Lab::all_reach_all);
}

#[test]
fn a_restarted_node_is_reached_again_soon() {
    let mut lab = line(4, 1452);
    for generation in 2..6 {
        lab.restart(0, NodeConfig::default(), generation);
        let took = lab.wait(10 * SECOND, |lab| {
            lab.all_reach_all() && generation_known(lab, 3, 0) == Some(generation)
        });
        assert!(took < 3 * SECOND, "{took:?}");
        lab.run(5 * SECOND);
    }
}

#[cfg(feature = "sim")]
mod insiders {
    use warren_mesh::message::{LinkDown, Message, Request, WireFreshness};
    use warren_mesh::routing::router::Subject;

    use super::*;

    #[test]
    fn a_used_up_chain_leads_to_a_new_generation_and_everything_goes_on() {
        let mut lab = line(3, 1452);
        let target = lab.address(0).short_id();
        for _ in 0..1030 {
            // A neighbour asks for the next number, as fast as it is given.
            let own = lab.nodes[0].router().entry(Subject::Own).unwrap().freshness;
            let next = if own.seq == 1024 {
                WireFreshness {
                    generation: own.generation + 1,
                    seq: 1,
                }
            } else {
                WireFreshness {
                    seq: own.seq + 1,
                    ..own
                }
            };
            let request = Request {
                originator: target,
                freshness: next,
                hops: 1,
            };
            lab.with(1, |_, node| node.say(&[Message::Requests(vec![request])]));
            lab.run(Duration::from_millis(1050));
        }
        assert!(lab.has_event(0, &Event::PersistGeneration(2)));
        assert_eq!(lab.generations[0], 2);
        lab.run(10 * SECOND);
        assert!(lab.all_reach_all());
        for at in [1, 2] {
            assert_eq!(generation_known(&lab, at, 0), Some(2), "at {at}");
        }
        lab.take_packets(0);
        let echo = lab.echo(2, 0, 100);
        lab.send(2, &echo);
        lab.wait(SECOND, |lab| lab.has_packets(0));
    }

    #[test]
    fn a_notice_without_the_links_own_key_is_not_believed() {
        let mut lab = line(3, 1452);
        lab.run(60 * SECOND);
        let address = lab.address(1);
        let (local, remote) = lab.nodes[0].session_with(&address).unwrap();
        let (from, to) = (address.short_id(), lab.address(0).short_id());
        for link_index in [local, remote] {
            let notice = LinkDown {
                from,
                to,
                hops: 64,
                link_index,
                number: 1,
                tag: [0; 16],
            };
            lab.with(1, |_, node| node.say(&[Message::LinkDown(notice)]));
            lab.run(Duration::from_millis(10));
            assert!(lab.is_linked(0, 1));
        }
    }
}
