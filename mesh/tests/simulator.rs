//! Named scenarios of the simulator, short: what must hold in every run, whatever the topology, the losses and the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use warren_mesh::identity::NodeAddress;
use warren_mesh::routing::metric::{Cost, FLOORS, UNKNOWN_LINK_COST};
use warren_mesh::routing::router::Subject;
use warren_mesh::sim::hostile;
use warren_mesh::sim::measure::{bytes_per_originator, reach};
use warren_mesh::sim::random::Random;
use warren_mesh::sim::scenario::{self, Options};
use warren_mesh::sim::topology::Topology;
use warren_mesh::sim::world::{Conditions, World};

const SECOND: Duration = Duration::from_secs(1);
const RADIO: Conditions = Conditions {
    loss: 0.0,
    point_to_point: false,
    reorder: false,
};

fn everybody_reaches_everybody(world: &World) -> bool {
    let reach = reach(world);
    reach.reached == reach.pairs
}

/// Runs until everybody reaches everybody; seconds that took.
fn converge(world: &mut World, limit: Duration) -> f64 {
    let (start, until) = (world.now(), world.now() + limit);
    loop {
        world.run(Duration::from_millis(50));
        let all_on = (0..world.places.len()).all(|node| world.is_on(node));
        if all_on && everybody_reaches_everybody(world) {
            return world.now().since(start).as_secs_f64();
        }
        let reach = reach(world);
        assert!(world.now() < until, "{reach:?} after {limit:?}");
    }
}

fn topologies(seed: u64) -> Vec<(&'static str, Topology)> {
    let mut random = Random::new(seed);
    vec![
        ("grid", Topology::grid(4, 4)),
        ("tree", Topology::tree(16, &mut random)),
        ("line", Topology::line(12)),
        ("ring", Topology::ring(12)),
        ("geometric", Topology::geometric(20, 6.0, &mut random)),
    ]
}

/// Cold start, links that flap, and quiet again, on every topology.
fn no_loops(conditions: Conditions, seed: u64) {
    for (name, topology) in topologies(seed) {
        let mut world = World::new(topology.clone(), conditions, seed);
        world.start_all(SECOND);
        converge(&mut world, 60 * SECOND);
        let links: Vec<_> = (0..topology.len())
            .flat_map(|a| topology.heard_by(a).map(move |(b, _)| (a, b)))
            .filter(|(a, b)| a < b)
            .collect();
        for round in 0..6 {
            let (a, b) = links[world.random.below(links.len())];
            world.topology.cut(a, b);
            if round % 2 == 0 {
                world.announce_cut(a, b);
            }
            let pause = Duration::from_secs_f64(world.random.between(0.05, 2.0));
            world.run(pause);
            world.topology.link(a, b);
            world.run(pause / 2);
        }
        converge(&mut world, 60 * SECOND);
        assert_eq!(world.loops, 0, "{name}, {conditions:?}, seed {seed}");
        assert!(world.changes > 100, "{name}: {}", world.changes);
        let bytes = bytes_per_originator(&world);
        assert!(
            bytes <= 512.0,
            "{name}: {bytes} (small tables carry the fixed part)"
        );
    }
}

#[test]
fn no_loop_at_any_step_without_loss() {
    for seed in 1..=2 {
        no_loops(RADIO, seed);
        no_loops(
            Conditions {
                point_to_point: true,
                ..RADIO
            },
            seed,
        );
    }
}

#[test]
fn no_loop_at_any_step_with_a_tenth_lost() {
    no_loops(Conditions { loss: 0.1, ..RADIO }, 3);
}

#[test]
fn no_loop_at_any_step_with_a_third_lost_and_frames_overtaking_each_other() {
    no_loops(
        Conditions {
            loss: 0.3,
            reorder: true,
            ..RADIO
        },
        4,
    );
}

#[test]
fn no_loop_over_links_that_hear_one_way_better_than_the_other() {
    for seed in 5..7 {
        let mut topology = Topology::grid(5, 5);
        topology.make_asymmetric(0.6, &mut Random::new(seed));
        let mut world = World::new(
            topology,
            Conditions {
                reorder: true,
                ..RADIO
            },
            seed,
        );
        world.start_all(SECOND);
        converge(&mut world, 60 * SECOND);
        world.run(60 * SECOND);
        assert_eq!(world.loops, 0, "seed {seed}");
    }
}

#[test]
fn no_loop_while_nodes_lose_power_and_come_back() {
    let mut world = World::new(
        Topology::grid(4, 4),
        Conditions {
            loss: 0.05,
            ..RADIO
        },
        8,
    );
    world.start_all(SECOND);
    converge(&mut world, 30 * SECOND);
    for _ in 0..12 {
        let node = world.random.below(16);
        world.stop(node);
        let off = Duration::from_secs_f64(world.random.between(0.01, 4.0));
        world.run(off);
        world.start(node, Duration::ZERO);
        world.run(Duration::from_millis(1));
        converge(&mut world, 30 * SECOND);
    }
    assert_eq!(world.loops, 0);
}

#[test]
fn no_loop_while_everybody_moves() {
    for seed in 1..=3 {
        let mut random = Random::new(seed);
        let mut places: Vec<_> = (0..20).map(|_| (random.unit(), random.unit())).collect();
        let mut world = World::new(
            Topology::empty(20),
            Conditions {
                loss: 0.05,
                ..RADIO
            },
            seed,
        );
        world.start_all(SECOND);
        for _ in 0..10 {
            let mut pairs: Vec<_> = (0..20).flat_map(|a| (0..a).map(move |b| (b, a))).collect();
            let distance = |&(a, b): &(usize, usize)| {
                let ((ax, ay), (bx, by)): ((f64, f64), (f64, f64)) = (places[a], places[b]);
                (ax - bx).hypot(ay - by)
            };
            pairs.sort_by(|x, y| distance(x).total_cmp(&distance(y)));
            world.topology.relink(&pairs.into_iter().take(50).collect());
            world.run(5 * SECOND);
            for (x, y) in &mut places {
                *x = (*x + random.between(-0.06, 0.06)).clamp(0.0, 1.0);
                *y = (*y + random.between(-0.06, 0.06)).clamp(0.0, 1.0);
            }
        }
        converge(&mut world, 30 * SECOND);
        assert_eq!(world.loops, 0, "seed {seed}");
        assert!(world.changes > 1000);
    }
}

#[test]
fn a_node_that_lost_its_disk_is_not_refused_for_ever() {
    for (loss, off) in [(0.0, 0.1), (0.0, 20.0), (0.2, 5.0)] {
        let mut world = World::new(Topology::grid(4, 4), Conditions { loss, ..RADIO }, 9);
        for place in &mut world.places {
            place.generation = 40;
        }
        world.start_all(SECOND);
        converge(&mut world, 30 * SECOND);
        world.stop(5);
        world.run(Duration::from_secs_f64(off));
        world.places[5].generation = 2;
        world.start(5, Duration::ZERO);
        world.run(10 * SECOND);
        let took = converge(&mut world, 60 * SECOND);
        assert!(took < 20.0, "loss {loss}, off {off}: {took}");
        // It heard its own signature under 41, and nobody made it up.
        assert!(world.places[5].generation > 41);
        let address = world.places[5].address;
        for at in (0..16).filter(|at| *at != 5) {
            let node = world.places[at].node.as_ref().unwrap();
            let known = node.router().originator(&address).unwrap();
            assert_eq!(known.anchor.generation, world.places[5].generation);
            assert!(known.anchor.verify().is_ok());
        }
        assert_eq!(world.loops, 0);
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let options = Options {
        idle_seconds: 20,
        loss: 0.1,
        reorder: true,
        ..Options::default()
    };
    let run = |options| scenario::run("grid-49", options).unwrap();
    let first = run(options);
    assert_eq!(first, run(options));
    assert_eq!(first["loops"], 0);
    assert_ne!(first, run(Options { seed: 2, ..options }));
}

#[test]
fn no_scenario_is_unknown_by_its_own_list() {
    assert!(scenario::run("no-such-scenario", Options::default()).is_none());
    let names: Vec<_> = scenario::SCENARIOS.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"hostile-10") && names.contains(&"mobile-50"));
}

/// What a node says of itself: generation (of which the wire carries sixteen bits) and sequence number.
fn own(world: &World, node: usize) -> (u32, u16) {
    let router = world.places[node].node.as_ref().unwrap().router();
    let entry = router.entry(Subject::Own).unwrap();
    assert_eq!(
        world.places[node].generation as u16,
        entry.freshness.generation
    );
    (world.places[node].generation, entry.freshness.seq)
}

/// The best step that anybody at each node can have heard: honest nodes add their link's cost and a step, hostile ones
/// pass on what they heard as their own.
fn best_steps(world: &World, originator: usize, is_hostile: &[bool]) -> Vec<u8> {
    let count = world.places.len();
    let mut says = vec![u8::MAX; count];
    let mut hears = vec![u8::MAX; count];
    says[originator] = 0;
    let mut work = vec![originator];
    while let Some(here) = work.pop() {
        for (to, _) in world.topology.heard_by(here) {
            if to == originator || says[here] >= hears[to] {
                continue;
            }
            let heard = says[here];
            hears[to] = heard;
            let said = if is_hostile[to] {
                Some(heard)
            } else {
                FLOORS[usize::from(heard)]
                    .plus(UNKNOWN_LINK_COST)
                    .step_after(heard)
            };
            if let Some(said) = said
                && said < says[to]
            {
                says[to] = said;
                work.push(to);
            }
        }
    }
    hears
}

/// Nobody honest believes anything that its originator did not say.
fn check_beliefs(world: &World, is_hostile: &[bool]) -> (usize, usize) {
    let numbers: BTreeMap<NodeAddress, usize> = world
        .places
        .iter()
        .enumerate()
        .map(|(number, place)| (place.address, number))
        .collect();
    let steps: Vec<_> = (0..world.places.len())
        .map(|originator| best_steps(world, originator, is_hostile))
        .collect();
    let (mut known, mut invented) = (0, 0);
    for (at, place) in world.places.iter().enumerate() {
        if is_hostile[at] {
            continue;
        }
        for originator in place.node.as_ref().unwrap().router().originators() {
            assert!(
                originator.anchor.verify().is_ok(),
                "an anchor nobody signed"
            );
            let Some(&number) = numbers.get(&originator.address) else {
                // Invented with keys of its own: only what those keys signed.
                assert_eq!(originator.anchor.generation, 1);
                assert!(originator.advertised.is_none(), "a route to nobody");
                invented += 1;
                continue;
            };
            known += 1;
            let says = (originator.anchor.generation, originator.best.seq);
            assert!(
                says <= own(world, number),
                "{at} believes {says:?} of {number}"
            );
            let least = steps[number][at];
            for heard in originator.advertisements() {
                assert!(
                    heard.lowest_step >= least,
                    "{at} of {number}: {heard:?} < {least}"
                );
                assert!(heard.cost >= FLOORS[usize::from(heard.step)]);
            }
        }
    }
    (known, invented)
}

#[test]
fn a_tenth_of_liars_is_believed_in_nothing_that_is_not_proven() {
    let mut world = World::new(Topology::grid(6, 6), RADIO, 11);
    let hostile = hostile::corrupt(&mut world, 0.1);
    let is_hostile: Vec<_> = (0..36).map(|node| hostile.contains(&node)).collect();
    world.start_all(SECOND);
    world.run(8 * SECOND);
    let restarted = (0..36)
        .find(|node| {
            !is_hostile[*node] && world.topology.heard_by(*node).any(|(to, _)| is_hostile[to])
        })
        .unwrap();
    for second in 0..20 {
        if second == 6 {
            // From now on its first generation is history that liars may replay.
            world.stop(restarted);
            world.start(restarted, Duration::ZERO);
            world.run(5 * SECOND);
        }
        hostile::act(&mut world, &hostile);
        world.run(hostile::INTERVAL);
        check_beliefs(&world, &is_hostile);
    }
    let (known, invented) = check_beliefs(&world, &is_hostile);
    assert!(known > 900 && invented > 0, "{known}, {invented}");
    let address = world.places[restarted].address;
    for at in (0..36).filter(|at| !is_hostile[*at] && *at != restarted) {
        let router = world.places[at].node.as_ref().unwrap().router();
        let known = router.originator(&address).unwrap();
        assert_eq!(known.anchor.generation, 2, "an old generation at {at}");
    }
    assert_eq!(world.loops, 0, "among honest nodes");
}

#[test]
fn a_neighbour_that_liars_want_muted_is_still_heard() {
    // With triangles: a liar's neighbours hear each other, and forgeries in each other's names.
    let topology = Topology::geometric(25, 6.0, &mut Random::new(12));
    let mut world = World::new(topology, RADIO, 12);
    let hostile = hostile::corrupt(&mut world, 0.2);
    world.start_all(SECOND);
    world.run(8 * SECOND);
    for _ in 0..20 {
        hostile::act(&mut world, &hostile);
        world.run(hostile::INTERVAL);
    }
    // Every honest pair of neighbours hears all of each other's HELLOs, and has not lost the link once.
    let (mut links, mut rejected) = (0, 0);
    for at in (0..25).filter(|at| !hostile.contains(at)) {
        let place = &world.places[at];
        let node = place.node.as_ref().unwrap();
        let neighbours = node.neighbours(world.now());
        for (to, _) in world.topology.heard_by(at) {
            if hostile.contains(&to) {
                continue;
            }
            let address = world.places[to].address;
            let view = neighbours.iter().find(|view| view.address == address);
            let view = view.unwrap_or_else(|| panic!("{at} lost {to}"));
            assert!(
                view.up && view.rx_quality > 0.99,
                "{at} hears {to}: {view:?}"
            );
            assert!(view.silent_for < 5 * SECOND);
            links += 1;
        }
        rejected += node.counters().rejected;
        assert_eq!(node.counters().links_lost, 0, "at {at}");
    }
    assert!(rejected > 100, "{rejected} forgeries came");
    assert!(links > 20, "{links}");
}

#[test]
fn honest_pairs_whose_paths_avoid_the_liars_lose_nothing() {
    // A line with liars hanging off it: they hear everything and say anything, and no path leads through them.
    let mut topology = Topology::empty(14);
    (1..10).for_each(|node| topology.link(node - 1, node));
    for (liar, at) in [(10, 1), (11, 4), (12, 6), (13, 9)] {
        topology.link(liar, at);
    }
    let mut world = World::new(topology, RADIO, 13);
    let hostile = [10, 11, 12, 13];
    for liar in hostile {
        world.places[liar].hostility = Some(hostile::Hostility::default());
    }
    world.start_all(SECOND);
    world.run(10 * SECOND);
    let mut sent = 0;
    for _ in 0..20 {
        hostile::act(&mut world, &hostile);
        let base = world.now();
        for number in 0..20 {
            world.run_until(base + Duration::from_millis(50 * number));
            let (from, to) = (world.random.below(10), world.random.below(9));
            let to = if to >= from { to + 1 } else { to };
            world.ping(from, to, sent);
            sent += 1;
        }
        world.run_until(base + SECOND);
    }
    world.run(2 * SECOND);
    assert_eq!(world.answered.len() as u64, sent);
    assert_eq!(world.loops, 0);
}

#[test]
fn known_originators_take_at_most_256_bytes_each() {
    let mut world = World::new(Topology::grid(10, 10), RADIO, 14);
    world.start_all(SECOND);
    let took = converge(&mut world, 20 * SECOND);
    assert!(took < 5.0, "{took}");
    world.run(130 * SECOND);
    let bytes = bytes_per_originator(&world);
    assert!(bytes <= 256.0, "{bytes}");
    assert!(Cost(1).step() == 0, "one hop of 1 Gbit/s is the unit");
}
