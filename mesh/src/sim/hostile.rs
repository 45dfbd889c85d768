//! Nodes that lie, replay and drop. They are insiders: their sessions are real, what they say under them is not.

use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use super::random::Random;
use super::world::World;
use crate::identity::{MeshIdentity, ShortId};
use crate::message::{Entry, EntryRoute, LinkDown, MAX_LIST, Message, Ogm, Request, WireFreshness};
use crate::routing::anchor::AnchorRecord;
use crate::routing::chain::Element;
use crate::routing::metric::Cost;

const OVERHEARD_MAX: usize = 200;

/// What a hostile node remembers.
#[derive(Debug, Default)]
pub struct Hostility {
    overheard: VecDeque<(usize, Rc<[u8]>)>,
    /// Originators it invented so far.
    pub invented: u32,
}

impl Hostility {
    /// Keeps a frame for later.
    pub fn overhear(&mut self, from: usize, bytes: &Rc<[u8]>) {
        if self.overheard.len() >= OVERHEARD_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back((from, Rc::clone(bytes)));
    }
}

/// Turns every tenth node hostile, never node 0. Returns who.
pub fn corrupt(world: &mut World, share: f64) -> Vec<usize> {
    let count = world.places.len();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let wanted = (count as f64 * share).round() as usize;
    let mut hostile = Vec::new();
    while hostile.len() < wanted {
        let node = 1 + world.random.below(count - 1);
        if world.places[node].hostility.is_none() {
            world.places[node].hostility = Some(Hostility::default());
            hostile.push(node);
        }
    }
    hostile
}

/// Every hostile node does each of its tricks once.
pub fn act(world: &mut World, hostile: &[usize]) {
    for &node in hostile {
        replay(world, node);
        mute(world, node);
        lie(world, node);
    }
}

/// Sends old frames of others again, to everybody in reach, in their names.
fn replay(world: &mut World, node: usize) {
    let targets: Vec<_> = world.topology.heard_by(node).map(|(to, _)| to).collect();
    for _ in 0..5 {
        let Some(hostility) = &world.places[node].hostility else {
            return;
        };
        let count = hostility.overheard.len();
        if count == 0 || targets.is_empty() {
            return;
        }
        let pick = world.random.below(count);
        let to = targets[world.random.below(targets.len())];
        if let Some(hostility) = &world.places[node].hostility {
            let (from, bytes) = hostility.overheard[pick].clone();
            world.inject(from, to, bytes);
        }
    }
}

/// Takes a broadcast of a neighbour, sets its counter far ahead, and sends it in the neighbour's name: who moves the
/// counter without a valid tag will not hear the neighbour again.
fn mute(world: &mut World, node: usize) {
    let Some(hostility) = &world.places[node].hostility else {
        return;
    };
    let broadcast = hostility
        .overheard
        .iter()
        .rev()
        .find(|(_, bytes)| bytes.first() == Some(&0x17) && bytes.len() > 9);
    let Some((from, bytes)) = broadcast.cloned() else {
        return;
    };
    let mut forged = bytes.to_vec();
    forged[5..9].copy_from_slice(&0x7fff_fff0u32.to_be_bytes());
    let forged: Rc<[u8]> = forged.into();
    let targets: Vec<_> = world.topology.heard_by(node).map(|(to, _)| to).collect();
    for to in targets.into_iter().filter(|to| *to != from) {
        world.inject(from, to, Rc::clone(&forged));
    }
}

/// Says things that are not so, under its own sessions.
fn lie(world: &mut World, node: usize) {
    let fresh = Random::new(world.now().as_micros() ^ (node as u64) << 40).seed();
    let invented = world.places[node]
        .hostility
        .as_mut()
        .map_or(0, |hostility| {
            hostility.invented += 1;
            hostility.invented
        });
    world.with_node(node, |_, liar| {
        let version = liar.router().version() + 1_000_000;
        let mut entries = Vec::new();
        for known in liar.router().originators().take(MAX_LIST / 4) {
            let originator = known.address.short_id();
            let entry = |generation: u32, seq, step, cost, element| Entry {
                originator,
                freshness: WireFreshness {
                    generation: generation as u16,
                    seq,
                },
                route: Some(EntryRoute {
                    step,
                    cost: Cost(cost),
                    mtu_class: 15,
                    next_hop_hint: 0,
                    element,
                }),
            };
            let generation = known.anchor.generation;
            // Metric 0 without proof, a newer number without proof, a dead generation, and the one lie that holds: a
            // proven step at no cost.
            entries.push(entry(generation, known.best.seq, 0, 0, known.best_element));
            entries.push(entry(
                generation,
                known.best.seq + 1,
                1,
                0,
                Element(fresh[..16].try_into().unwrap_or_default()),
            ));
            entries.push(entry(
                generation.wrapping_sub(1),
                known.best.seq,
                1,
                0,
                known.best_element,
            ));
            entries.push(entry(
                generation,
                known.best.seq,
                known.best.step,
                0,
                known.best_element,
            ));
        }
        let victims: Vec<ShortId> = entries.iter().map(|entry| entry.originator).collect();
        for part in entries.chunks(25) {
            let ogm = Ogm {
                version,
                cover: None,
                entries: part.to_vec(),
            };
            liar.say(&[Message::Ogm(ogm)]);
        }
        let requests = victims
            .iter()
            .map(|victim| Request {
                originator: *victim,
                freshness: WireFreshness {
                    generation: u16::MAX / 3,
                    seq: 1024,
                },
                hops: 255,
            })
            .take(MAX_LIST)
            .collect();
        liar.say(&[Message::Requests(requests)]);
        if let [from, to, ..] = victims[..] {
            liar.say(&[Message::LinkDown(LinkDown {
                from,
                to,
                hops: 255,
                link_index: 1,
                number: 1,
                tag: [0; 16],
            })]);
        }
        // A well-signed originator that does not exist, and one whose signature is wrong.
        let mut seed = fresh;
        seed[..4].copy_from_slice(&invented.to_be_bytes());
        let identity = MeshIdentity::from_seed(&seed);
        let mut record = AnchorRecord::sign(&identity, 1, 1, Element([7; 16]));
        liar.say(&[Message::Anchor(record)]);
        record.generation = 9;
        liar.say(&[Message::Anchor(record)]);
    });
}

/// How often hostile nodes act.
pub const INTERVAL: Duration = Duration::from_secs(1);
