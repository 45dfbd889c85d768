//! The named runs and what they report.

use core::time::Duration;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::hostile;
use super::measure::{bytes_per_originator, reach};
use super::random::Random;
use super::topology::Topology;
use super::world::{Conditions, World};

/// What a run can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Same seed, same run.
    pub seed: u64,
    /// Share of frames lost on every link.
    pub loss: f64,
    /// Seconds of idle traffic that are counted.
    pub idle_seconds: u64,
    /// Whether frames may overtake each other.
    pub reorder: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            loss: 0.0,
            idle_seconds: 600,
            reorder: false,
        }
    }
}

/// The scenarios, and what each shows.
pub const SCENARIOS: [(&str, &str); 13] = [
    (
        "grid-49",
        "7 x 7 nodes: cold start and idle overhead, as radio and point-to-point",
    ),
    ("grid-100", "10 x 10 nodes: the same"),
    ("tree-50", "a random tree of 50 nodes: the same"),
    ("line-50", "a line of 50 nodes: the same"),
    (
        "asymmetric-49",
        "grid-49 with links that lose up to 40 % in either direction",
    ),
    (
        "nodes-1000",
        "1000 nodes at random, 8 neighbours each: cold start and idle overhead as radio",
    ),
    (
        "mobile-50",
        "50 nodes, every 10 s each moves 30 m: share of pings delivered",
    ),
    ("mobile-50-10", "the same with 10 m"),
    ("mobile-50-60", "the same with 60 m"),
    (
        "ring",
        "a ring of six: time without traffic after a link dies, announced and silent",
    ),
    (
        "restarts",
        "a grid of 49 in which nodes restart: time until everybody reaches them again",
    ),
    (
        "hostile-10",
        "a grid of 100, one node in ten drops, lies, replays and invents",
    ),
    (
        "honest-10",
        "the same grid with the same nodes honest: what hostile-10 is compared with",
    ),
];

/// Cold start is reached when this share of pairs is.
const REACHED: f64 = 0.99;
const START_SPREAD: Duration = Duration::from_secs(1);
const COLD_LIMIT: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(60);

/// Runs a scenario. `None`: there is none of this name.
pub fn run(name: &str, options: Options) -> Option<Value> {
    let mut random = Random::new(options.seed ^ 0x7090_1090);
    let mut report = match name {
        "grid-49" => still(&Topology::grid(7, 7), options),
        "grid-100" => still(&Topology::grid(10, 10), options),
        "tree-50" => still(&Topology::tree(50, &mut random), options),
        "line-50" => still(&Topology::line(50), options),
        "asymmetric-49" => {
            let mut topology = Topology::grid(7, 7);
            topology.make_asymmetric(0.6, &mut random);
            still(&topology, options)
        }
        "nodes-1000" => {
            let topology = Topology::geometric(1000, 8.0, &mut random);
            let options = Options {
                idle_seconds: options.idle_seconds.min(60),
                ..options
            };
            still_on(&topology, options, false)
        }
        "mobile-50" => mobile(30.0, options),
        "mobile-50-10" => mobile(10.0, options),
        "mobile-50-60" => mobile(60.0, options),
        "ring" => ring(6, options),
        "restarts" => restarts(options),
        "hostile-10" => hostile_tenth(options, true),
        "honest-10" => hostile_tenth(options, false),
        _ => return None,
    };
    report.insert("scenario".into(), json!(name));
    Some(finish(report, options))
}

/// Runs cold start and idle on a map from elsewhere.
pub fn run_map(topology: &Topology, options: Options) -> Value {
    let options = Options {
        idle_seconds: if topology.len() > 300 {
            options.idle_seconds.min(60)
        } else {
            options.idle_seconds
        },
        ..options
    };
    let mut report = still(topology, options);
    report.insert("scenario".into(), json!("map"));
    finish(report, options)
}

fn finish(mut report: Map<String, Value>, options: Options) -> Value {
    report.insert("seed".into(), json!(options.seed));
    report.insert("loss".into(), json!(options.loss));
    Value::Object(report)
}

fn conditions(options: Options, point_to_point: bool) -> Conditions {
    Conditions {
        loss: options.loss,
        point_to_point,
        reorder: options.reorder,
    }
}

/// Starts everybody and waits until nearly everybody reaches nearly everybody. Seconds from the first start.
fn cold_start(world: &mut World) -> Option<f64> {
    world.start_all(START_SPREAD);
    let large = world.places.len() > 300;
    let step = Duration::from_millis(if large { 50 } else { 10 });
    let limit = world.now() + COLD_LIMIT;
    while world.now() < limit {
        world.run(step);
        let all_on = (0..world.places.len()).all(|node| world.is_on(node));
        if all_on && reach(world).is_at_least(REACHED) {
            return Some(world.seconds());
        }
    }
    None
}

#[allow(clippy::cast_precision_loss)]
fn per_node(world: &World, bytes: u64) -> f64 {
    bytes as f64 / world.places.len() as f64
}

fn still(topology: &Topology, options: Options) -> Map<String, Value> {
    let mut report = still_on(topology, options, false);
    let other = still_on(topology, options, true);
    let loops = |map: &Map<String, Value>| map["loops"].as_u64().unwrap_or(0);
    report.insert("loops".into(), json!(loops(&report) + loops(&other)));
    report.insert("p2p_cold_start_s".into(), other["cold_start_s"].clone());
    report.insert("p2p_reach_pct".into(), other["reach_pct"].clone());
    report.insert(
        "p2p_bytes_per_node_s".into(),
        other["radio_bytes_per_node_s"].clone(),
    );
    report
}

fn still_on(topology: &Topology, options: Options, point_to_point: bool) -> Map<String, Value> {
    let mut world = World::new(
        topology.clone(),
        conditions(options, point_to_point),
        options.seed,
    );
    let mut report = Map::new();
    let cold = cold_start(&mut world);
    report.insert("nodes".into(), json!(topology.len()));
    report.insert("links".into(), json!(topology.links()));
    report.insert("cold_start_s".into(), json!(cold));
    report.insert(
        "cold_bytes_per_node".into(),
        json!(per_node(&world, world.total_bytes()).round()),
    );
    world.run(SETTLE);
    report.insert("reach_pct".into(), json!(reach(&world).share() * 100.0));
    let before = world.total_bytes();
    world.run(Duration::from_secs(options.idle_seconds));
    #[allow(clippy::cast_precision_loss)]
    let rate = per_node(&world, world.total_bytes() - before) / options.idle_seconds as f64;
    report.insert("radio_bytes_per_node_s".into(), json!(round(rate, 1)));
    report.insert(
        "bytes_per_originator".into(),
        json!(round(bytes_per_originator(&world), 1)),
    );
    add_loops(&mut report, &world);
    report
}

fn add_loops(report: &mut Map<String, Value>, world: &World) {
    report.insert("loops".into(), json!(world.loops));
    report.insert(
        "loops_over_dead_links".into(),
        json!(world.loops_over_dead_links),
    );
    report.insert("next_hop_changes".into(), json!(world.changes));
}

fn round(value: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (value * factor).round() / factor
}

/// The moving scenario: 50 nodes on 1 km x 1 km, the 150 shortest pairs are links; every 10 s each node moves and the
/// links are redone; just before the next move 200 random pairs with a path of at least two hops are pinged within 2 s.
fn mobile(metres: f64, options: Options) -> Map<String, Value> {
    const NODES: usize = 50;
    const LINKS: usize = 150;
    const STEPS: usize = 30;
    const PINGS: usize = 200;
    let mut world = World::new(
        Topology::empty(NODES),
        conditions(options, false),
        options.seed,
    );
    let mut places: Vec<(f64, f64)> = (0..NODES)
        .map(|_| {
            let x = world.random.between(0.0, 1000.0);
            (x, world.random.between(0.0, 1000.0))
        })
        .collect();
    world.topology.relink(&shortest_pairs(&places, LINKS));
    world.start_all(START_SPREAD);
    world.run(Duration::from_secs(30));
    let (before, since) = (world.total_bytes(), world.now());
    let first_second = world.by_second.len();
    let mut sent = 0u64;
    for _ in 0..STEPS {
        for (x, y) in &mut places {
            let angle = world.random.between(0.0, 2.0 * core::f64::consts::PI);
            *x = (*x + metres * angle.cos()).clamp(0.0, 1000.0);
            *y = (*y + metres * angle.sin()).clamp(0.0, 1000.0);
        }
        world.topology.relink(&shortest_pairs(&places, LINKS));
        let base = world.now();
        let hops: Vec<_> = (0..NODES)
            .map(|node| world.topology.hops_from(node, |_| true))
            .collect();
        let mut pings = Vec::new();
        while pings.len() < PINGS {
            let (from, to) = (world.random.below(NODES), world.random.below(NODES));
            if hops[from][to].is_some_and(|hops| hops >= 2) {
                let at = Duration::from_secs_f64(world.random.between(8.0, 9.85));
                pings.push((base + at, from, to));
            }
        }
        pings.sort_unstable();
        for (at, from, to) in pings {
            world.run_until(at);
            world.ping(from, to, sent);
            sent += 1;
        }
        world.run_until(base + Duration::from_secs(10));
    }
    let seconds = world.now().since(since).as_secs_f64();
    let mut report = Map::new();
    #[allow(clippy::cast_precision_loss)]
    let delivered = world.answered.len() as f64 * 100.0 / sent as f64;
    report.insert("nodes".into(), json!(NODES));
    report.insert("metres_per_step".into(), json!(metres));
    report.insert("pings".into(), json!(sent));
    report.insert("delivered_pct".into(), json!(round(delivered, 3)));
    let rate = per_node(&world, world.total_bytes() - before) / seconds;
    report.insert("radio_bytes_per_node_s".into(), json!(round(rate, 1)));
    let peak = world.by_second.iter().skip(first_second).max();
    let peak = per_node(&world, peak.copied().unwrap_or(0));
    report.insert("peak_bytes_per_node_s".into(), json!(round(peak, 0)));
    add_loops(&mut report, &world);
    report
}

fn shortest_pairs(places: &[(f64, f64)], count: usize) -> BTreeSet<(usize, usize)> {
    let mut pairs: Vec<_> = (0..places.len())
        .flat_map(|a| (0..a).map(move |b| (b, a)))
        .map(|(a, b)| {
            let (dx, dy) = (places[a].0 - places[b].0, places[a].1 - places[b].1);
            (dx.hypot(dy), a, b)
        })
        .collect();
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    pairs
        .into_iter()
        .take(count)
        .map(|(_, a, b)| (a, b))
        .collect()
}

/// A ring: the longest time without an answer, pinging every 20 ms across the link that dies.
fn ring(nodes: usize, options: Options) -> Map<String, Value> {
    const RUNS: u64 = 20;
    let mut report = Map::new();
    report.insert("nodes".into(), json!(nodes));
    let mut loops = 0;
    for (name, announced) in [("failover_down_s", true), ("failover_silent_s", false)] {
        let mut outages = Vec::new();
        for run in 0..RUNS {
            let seed = options.seed * 1000 + run;
            let (outage, looped) = ring_outage(nodes, announced, Options { seed, ..options });
            outages.push(outage);
            loops += looped;
        }
        #[allow(clippy::cast_precision_loss)]
        let mean = outages.iter().sum::<f64>() / outages.len() as f64;
        let worst = outages.iter().copied().fold(0.0, f64::max);
        report.insert(name.into(), json!(round(mean, 3)));
        report.insert(format!("{name}_worst"), json!(round(worst, 3)));
    }
    report.insert("loops".into(), json!(loops));
    report
}

fn ring_outage(nodes: usize, announced: bool, options: Options) -> (f64, u64) {
    const INTERVAL: Duration = Duration::from_millis(20);
    const PINGS: u64 = 400;
    let mut world = World::new(
        Topology::ring(nodes),
        conditions(options, true),
        options.seed,
    );
    world.start_all(START_SPREAD);
    world.run(Duration::from_secs(90));
    let base = world.now();
    let cut_at = base + Duration::from_secs_f64(world.random.between(2.0, 3.0));
    let mut is_cut = false;
    for number in 0..PINGS {
        let at = base + INTERVAL * number as u32;
        if !is_cut && at >= cut_at {
            is_cut = true;
            world.run_until(cut_at);
            world.topology.cut(0, 1);
            if announced {
                world.announce_cut(0, 1);
            }
        }
        world.run_until(at);
        world.ping(1, 0, number);
    }
    world.run(Duration::from_secs(1));
    let answered: Vec<_> = world.answered.iter().copied().collect();
    let gap = answered
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or(PINGS);
    let ends_well = answered.last().is_some_and(|last| *last + 50 > PINGS);
    // A gap of one interval means that nothing was lost.
    #[allow(clippy::cast_precision_loss)]
    let outage = (gap as f64 - 1.0) * INTERVAL.as_secs_f64();
    (if ends_well { outage } else { 99.0 }, world.loops)
}

/// Nodes lose power and come back: seconds until everybody reaches everybody again.
fn restarts(options: Options) -> Map<String, Value> {
    const RESTARTS: usize = 20;
    let mut world = World::new(
        Topology::grid(7, 7),
        conditions(options, false),
        options.seed,
    );
    let cold = cold_start(&mut world);
    world.run(Duration::from_secs(30));
    let mut times = Vec::new();
    let mut failures = 0;
    for _ in 0..RESTARTS {
        let node = world.random.below(world.places.len());
        world.stop(node);
        let off = Duration::from_secs_f64(world.random.between(0.05, 8.0));
        world.run(off);
        world.start(node, Duration::ZERO);
        let since = world.now();
        let mut back = None;
        while back.is_none() && world.now().since(since) < Duration::from_secs(30) {
            world.run(Duration::from_millis(20));
            let reach = reach(&world);
            if reach.reached == reach.pairs {
                back = Some(world.now().since(since).as_secs_f64());
            }
        }
        match back {
            Some(seconds) => times.push(seconds),
            None => failures += 1,
        }
        world.run(Duration::from_secs(5));
    }
    let mut report = Map::new();
    report.insert("nodes".into(), json!(world.places.len()));
    report.insert("cold_start_s".into(), json!(cold));
    report.insert("restarts".into(), json!(RESTARTS));
    report.insert("never_back".into(), json!(failures));
    #[allow(clippy::cast_precision_loss)]
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    report.insert("back_after_s".into(), json!(round(mean, 3)));
    let worst = times.iter().copied().fold(0.0, f64::max);
    report.insert("back_after_s_worst".into(), json!(round(worst, 3)));
    add_loops(&mut report, &world);
    report
}

/// A grid of 100 with ten hostile nodes: pings between honest pairs that have a path of honest nodes. With `active` off
/// the same nodes only drop what they should pass on.
fn hostile_tenth(options: Options, active: bool) -> Map<String, Value> {
    const SECONDS: u64 = 60;
    const PINGS: u64 = 2000;
    let mut world = World::new(
        Topology::grid(10, 10),
        conditions(options, false),
        options.seed,
    );
    let hostile = hostile::corrupt(&mut world, 0.1);
    if !active {
        world
            .places
            .iter_mut()
            .for_each(|place| place.hostility = None);
    }
    world.start_all(START_SPREAD);
    world.run(Duration::from_secs(10));
    let honest: Vec<_> = (0..world.places.len())
        .filter(|node| !hostile.contains(node))
        .collect();
    let paths: Vec<_> = (0..world.places.len())
        .map(|node| {
            world
                .topology
                .hops_from(node, |node| !hostile.contains(&node))
        })
        .collect();
    let mut sent = 0;
    for _ in 0..SECONDS {
        if active {
            hostile::act(&mut world, &hostile);
        }
        let base = world.now();
        for number in 0..PINGS / SECONDS {
            let (from, to) = loop {
                let from = honest[world.random.below(honest.len())];
                let to = honest[world.random.below(honest.len())];
                if from != to && paths[from][to].is_some() {
                    break (from, to);
                }
            };
            world.run_until(base + Duration::from_millis(25 * number));
            world.ping(from, to, sent);
            sent += 1;
        }
        world.run_until(base + hostile::INTERVAL);
    }
    world.run(Duration::from_secs(5));
    let mut report = Map::new();
    #[allow(clippy::cast_precision_loss)]
    let delivered = world.answered.len() as f64 * 100.0 / sent as f64;
    report.insert("nodes".into(), json!(world.places.len()));
    report.insert(
        "hostile".into(),
        json!(if active { hostile.len() } else { 0 }),
    );
    report.insert("pings".into(), json!(sent));
    report.insert("delivered_pct".into(), json!(round(delivered, 2)));
    report.insert(
        "loops_through_hostile".into(),
        json!(world.loops_through_hostile),
    );
    add_loops(&mut report, &world);
    report
}
