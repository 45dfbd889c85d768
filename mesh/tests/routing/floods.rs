//! Insiders that invent: originators, anchors, requests. What is held stays bounded, and the others keep theirs.

use std::sync::Arc;
use std::time::Duration;

use warren_mesh::crypto::SecretKey;
use warren_mesh::identity::{MeshIdentity, MeshPublicKey, ShortId};
use warren_mesh::message::{Entry, EntryRoute, Request, WireFreshness};
use warren_mesh::rng::NodeRng;
use warren_mesh::routing::LinkId;
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::routing::chain::{Element, HashChain, Position};
use warren_mesh::routing::metric::Cost;
use warren_mesh::routing::router::{MAX_ORIGINATORS, Router};
use warren_mesh::time::Instant;

/// A signature check that costs nothing: these floods come from somebody with all the keys it needs.
fn anything(_: &AnchorRecord) -> bool {
    true
}

fn router() -> Router {
    let identity = Arc::new(MeshIdentity::from_seed(&[1; 32]));
    let mut router = Router::new(Instant::ZERO, identity, 1, NodeRng::new([2; 32]), anything);
    for slot in [HONEST, LIAR] {
        let peer = ShortId([slot as u8 + 100; 8]);
        router.link_up(Instant::ZERO, link(slot), peer, Cost(16), 4);
    }
    router
}

const HONEST: usize = 0;
const LIAR: usize = 1;
const PROVEN: u8 = 40;

fn link(slot: usize) -> LinkId {
    LinkId::of_slot(slot).unwrap()
}

/// A chain of one sequence number.
fn element(key: MeshPublicKey, step: u8) -> Element {
    let mut chain = HashChain::with_length(&SecretKey::new([3; 32]), key.address(), 1, 1);
    chain.element(Position { seq: 1, step }).unwrap()
}

fn anchor(number: u32) -> AnchorRecord {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let key = MeshPublicKey(key);
    AnchorRecord {
        key,
        generation: 1,
        seq: 1,
        element: element(key, 127),
        signature: [0; 64],
    }
}

/// A route at a proven step.
fn entry(number: u32) -> Entry {
    let key = anchor(number).key;
    Entry {
        originator: key.address().short_id(),
        freshness: WireFreshness {
            generation: 1,
            seq: 1,
        },
        route: Some(EntryRoute {
            step: PROVEN,
            cost: Cost(100),
            mtu_class: 0,
            next_hop_hint: 0,
            element: element(key, PROVEN),
        }),
    }
}

/// The same proof for a better step.
fn better(number: u32) -> Entry {
    let mut entry = entry(number);
    if let Some(route) = &mut entry.route {
        route.step -= 1;
    }
    entry
}

fn knows(router: &Router, number: u32) -> bool {
    router.originator(&anchor(number).address()).is_some()
}

#[test]
fn a_flood_of_invented_originators_stays_within_the_table_and_the_others_keep_theirs() {
    let mut router = router();
    let mut now = Instant::ZERO;
    for number in 0..100 {
        router.on_anchor(now, link(HONEST), anchor(number));
        router.learn(now, link(HONEST), &entry(number));
    }
    for number in 1000..21_000 {
        // 50 a second is what a neighbour may introduce in the long run.
        now = now + Duration::from_millis(20);
        router.on_anchor(now, link(LIAR), anchor(number));
        router.learn(now, link(LIAR), &entry(number));
        while router.poll_output().is_some() {}
    }
    let known = router.originators().count();
    assert_eq!(known, MAX_ORIGINATORS);
    assert!(
        router.memory() <= MAX_ORIGINATORS * 256 * 11 / 10,
        "{}",
        router.memory()
    );
    assert!((0..100).all(|number| knows(&router, number)));
    // And newcomers behind the honest neighbour get in.
    for number in 100..300 {
        now = now + Duration::from_millis(20);
        router.on_anchor(now, link(HONEST), anchor(number));
        router.learn(now, link(HONEST), &entry(number));
        router.on_anchor(now, link(LIAR), anchor(number + 100_000));
    }
    assert!((0..300).all(|number| knows(&router, number)));
    assert_eq!(router.originators().count(), MAX_ORIGINATORS);
    assert!(router.counters().originators_refused > 0);
}

#[test]
fn a_neighbour_may_not_introduce_faster_than_signatures_are_worth_checking() {
    let mut router = router();
    for number in 0..10_000 {
        router.on_anchor(Instant::ZERO, link(LIAR), anchor(number));
    }
    assert_eq!(router.originators().count(), 2048);
    router.on_anchor(Instant::ZERO, link(HONEST), anchor(200_000));
    assert!(knows(&router, 200_000));
}

#[test]
fn anchors_that_never_come_do_not_keep_others_from_being_awaited() {
    let mut router = router();
    let now = Instant::ZERO;
    for number in 0..20_000 {
        router.learn(now, link(LIAR), &entry(number));
    }
    assert_eq!(router.originators().count(), 0);
    // An honest neighbour mentions one more: its route is used as soon as its anchor is here.
    router.learn(now, link(HONEST), &entry(200_000));
    router.on_anchor(now, link(HONEST), anchor(200_000));
    let known = router.originator(&anchor(200_000).address()).unwrap();
    assert!(known.over(link(HONEST)).is_some());
}

#[test]
fn a_step_better_than_the_proven_one_is_refused() {
    let mut router = router();
    router.on_anchor(Instant::ZERO, link(HONEST), anchor(1));
    router.learn(Instant::ZERO, link(HONEST), &entry(1));
    router.learn(Instant::ZERO, link(LIAR), &better(1));
    let known = router.originator(&anchor(1).address()).unwrap();
    assert!(known.over(link(LIAR)).is_none());
    assert_eq!(known.best.step, PROVEN);
    assert_eq!(router.counters().entries_refused, 1);
}

#[test]
fn requests_for_the_impossible_cost_no_sequence_numbers_and_no_memory() {
    let mut router = router();
    let me = MeshIdentity::from_seed(&[1; 32]).short_id();
    let mut now = Instant::ZERO;
    for number in 0..10_000u32 {
        now = now + Duration::from_millis(1);
        let mut originator = ShortId([9; 8]);
        originator.0[..4].copy_from_slice(&number.to_be_bytes());
        for wanted in [me, originator] {
            let request = Request {
                originator: wanted,
                freshness: WireFreshness {
                    generation: 1,
                    seq: 1000,
                },
                hops: 255,
            };
            router.on_request(now, link(LIAR), &request);
        }
        router.handle_timeout(now);
        while router.poll_output().is_some() {}
    }
    let own = router
        .entry(warren_mesh::routing::router::Subject::Own)
        .unwrap();
    assert_eq!(own.freshness.seq, 1);
    assert!(router.memory() < 10_000, "{}", router.memory());
}
