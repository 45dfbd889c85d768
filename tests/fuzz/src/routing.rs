//! A routing table with neighbours that say anything: true announcements of a few originators, spoiled ones, and whatever
//! else decodes. The table stays bounded and never points over a link that is down.

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use warren_mesh::identity::{MeshIdentity, ShortId};
use warren_mesh::message::{Entry, EntryRoute, Message, WireFreshness};
use warren_mesh::rng::NodeRng;
use warren_mesh::routing::LinkId;
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::routing::chain::{self, Element, Position};
use warren_mesh::routing::metric::{Cost, MAX_COST};
use warren_mesh::routing::router::{MAX_ORIGINATORS, Output, Router, Subject};
use warren_mesh::time::Instant;

use crate::input::Input;

const ORIGINATORS: u8 = 4;
/// Two in a row, and the last there is.
const GENERATIONS: [u32; 3] = [1, 2, u32::MAX];
const LAST_SEQ: u16 = 4;
const STEPS: u16 = 128;
const LINKS: usize = 3;
const OPERATIONS: usize = 256;
/// More than a few originators and what is remembered of their requests can take.
const MEMORY_MAX: usize = 2 << 20;

/// An originator with its chains, as far as they are used here.
struct Originator {
    identity: MeshIdentity,
    /// By generation, then by place in the chain.
    elements: [Vec<Element>; 3],
}

impl Originator {
    fn new(number: u8) -> Self {
        let identity = MeshIdentity::from_seed(&[0x40 + number; 32]);
        let address = identity.address();
        let elements = GENERATIONS.map(|generation| {
            let mut position = Position {
                seq: LAST_SEQ,
                step: 0,
            };
            let mut element = Element([number; 16]);
            let mut elements = vec![element];
            while position.seq > 1 || position.step < 127 {
                let next = match position.step {
                    127 => Position {
                        seq: position.seq - 1,
                        step: 0,
                    },
                    step => Position {
                        seq: position.seq,
                        step: step + 1,
                    },
                };
                element = chain::advance(&address, generation, position, element, next)
                    .expect("a step down the chain");
                elements.push(element);
                position = next;
            }
            elements
        });
        Self { identity, elements }
    }

    fn element(&self, generation: usize, seq: u16, step: u8) -> Element {
        let place = (LAST_SEQ - seq) * STEPS + u16::from(step);
        self.elements[generation][usize::from(place)]
    }
}

fn originators() -> &'static [Originator] {
    static ALL: OnceLock<Vec<Originator>> = OnceLock::new();
    ALL.get_or_init(|| (0..ORIGINATORS).map(Originator::new).collect())
}

/// Signatures are not the matter here, and too slow: this one byte stands for them.
fn is_signed(record: &AnchorRecord) -> bool {
    record.signature[0] == 1
}

fn link(number: u8) -> LinkId {
    LinkId::of_slot(usize::from(number) % LINKS).expect("few links have numbers")
}

fn bring_up(router: &mut Router, now: Instant, number: u8) {
    let peer = ShortId([0xe0 + number % LINKS as u8; 8]);
    router.link_up(now, link(number), peer, Cost(16), 3);
}

/// A true announcement or anchor, as the input chooses it.
fn truth(input: &mut Input<'_>) -> (Entry, AnchorRecord) {
    let originator = &originators()[usize::from(input.u8() % ORIGINATORS)];
    let place = input.u8();
    let generation = usize::from(place) % GENERATIONS.len();
    let seq = u16::from(place) / GENERATIONS.len() as u16 % LAST_SEQ + 1;
    let step = input.u8() % 128;
    let record = AnchorRecord {
        key: originator.identity.public_key(),
        generation: GENERATIONS[generation],
        seq,
        element: originator.element(generation, seq, 127),
        signature: [1; 64],
    };
    let entry = Entry {
        originator: originator.identity.short_id(),
        freshness: WireFreshness {
            generation: GENERATIONS[generation] as u16,
            seq,
        },
        route: Some(EntryRoute {
            step,
            cost: Cost::from_wire(input.u16()),
            mtu_class: step & 0x0f,
            next_hop_hint: input.u16() & 0xfff,
            element: originator.element(generation, seq, step),
        }),
    };
    (entry, record)
}

fn say(router: &mut Router, now: Instant, from: LinkId, message: Message) {
    match message {
        Message::Ogm(ogm) => ogm
            .entries
            .iter()
            .for_each(|entry| router.learn(now, from, entry)),
        Message::Requests(requests) => requests
            .iter()
            .for_each(|request| router.on_request(now, from, request)),
        Message::AnchorRequest(ids) => ids
            .iter()
            .for_each(|id| router.on_anchor_request(now, from, id)),
        Message::Anchor(record) => router.on_anchor(now, from, record),
        Message::Sync(since) => {
            for (_, subject) in router.changes_since(since) {
                let _ = (router.entry(subject), router.anchor(subject));
            }
        }
        _ => {}
    }
}

fn check(router: &Router, up: [bool; LINKS]) {
    assert!(router.originators().count() <= MAX_ORIGINATORS);
    assert!(router.memory() <= MEMORY_MAX);
    for originator in router.originators() {
        if let Some(selected) = originator.selected {
            assert!(up[selected.slot()], "a route over a link that is down");
            let cost = router.path_cost(originator);
            assert!(cost.is_some_and(|cost| cost <= MAX_COST));
        }
        assert!(is_signed(&originator.anchor), "an originator nobody signed");
    }
}

/// See the file.
pub fn routing(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let identity = Arc::new(MeshIdentity::from_seed(&[1; 32]));
    let me = identity.short_id();
    let mut now = Instant::from_micros(1_000_000);
    let rng = NodeRng::new([3; 32]);
    let mut router = Router::new(now, identity, 1, rng, is_signed);
    let mut up = [true, true, false];
    bring_up(&mut router, now, 0);
    bring_up(&mut router, now, 1);
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        let what = input.u8();
        let number = (what >> 6) % LINKS as u8;
        let from = link(number);
        match what & 0x0f {
            0..=3 => {
                let (mut entry, _) = truth(&mut input);
                match what >> 4 & 3 {
                    0 => entry.route = None,
                    1 => entry.originator = me,
                    2 if what & 1 == 1 => {
                        if let Some(route) = entry.route.as_mut() {
                            route.element.0[0] ^= 1;
                        }
                    }
                    _ => {}
                }
                router.learn(now, from, &entry);
            }
            4..=6 => {
                let (_, mut record) = truth(&mut input);
                match what >> 4 & 3 {
                    0 => record.signature[0] = 0,
                    1 => record.seq ^= u16::from(input.u8()),
                    _ => {}
                }
                router.on_anchor(now, from, record);
            }
            7..=9 => {
                if let Ok(messages) = Message::decode_all(input.sized()) {
                    for message in messages {
                        say(&mut router, now, from, message);
                    }
                }
            }
            10 => {
                now = now + Duration::from_millis(input.u16().into());
                router.handle_timeout(now);
            }
            11 => {
                now = now + Duration::from_secs(input.u16().into());
                router.handle_timeout(now);
            }
            12 => {
                let slot = usize::from(number);
                up[slot] = !up[slot];
                if up[slot] {
                    bring_up(&mut router, now, number);
                } else {
                    router.link_down(now, from);
                }
            }
            13 => {
                let cost = Cost::from_wire(input.u16());
                router.set_link_cost(now, from, cost, what >> 4 & 1 == 1);
            }
            14 => router.set_link_mtu(now, from, input.u8() & 0x0f),
            _ => {
                let subjects = router.changes_since(input.u8().into());
                for subject in subjects.into_iter().map(|(_, subject)| subject) {
                    let _ = (router.entry(subject), router.unsent_anchor(subject, 1));
                }
                let _ = router.anchor(Subject::Own);
            }
        }
        while let Some(output) = router.poll_output() {
            if let Output::PersistGeneration(generation) = output {
                router.generation_persisted(now, generation);
            }
        }
        check(&router, up);
    }
}
