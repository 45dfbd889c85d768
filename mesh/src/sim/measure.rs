//! Who reaches whom, and what it costs: read off the world's next hops.

use super::world::{NOBODY, World};

/// Pairs that have a path, and those whose next hops lead there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Ordered pairs of nodes that are on and have a path.
    pub pairs: u64,
    /// Those of them that reach each other by next hops.
    pub reached: u64,
}

impl Reach {
    /// Whether at least `share` (0 to 1) of the pairs reach each other.
    pub fn is_at_least(&self, share: f64) -> bool {
        self.share() >= share
    }

    /// The share that does.
    #[allow(clippy::cast_precision_loss)]
    pub fn share(&self) -> f64 {
        if self.pairs == 0 {
            return 1.0;
        }
        self.reached as f64 / self.pairs as f64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Arrives,
    Lost,
}

/// Follows the next hops of everybody towards everybody.
pub fn reach(world: &World) -> Reach {
    let count = world.places.len();
    let mut reach = Reach::default();
    for to in (0..count).filter(|&to| world.is_on(to)) {
        let hops = world.topology.hops_from(to, |node| world.is_on(node));
        let mut fates = vec![Fate::Unknown; count];
        fates[to] = Fate::Arrives;
        for from in (0..count).filter(|&from| from != to && world.is_on(from)) {
            if hops[from].is_none() {
                continue;
            }
            reach.pairs += 1;
            if fate(world, &mut fates, from, to) == Fate::Arrives {
                reach.reached += 1;
            }
        }
    }
    reach
}

fn fate(world: &World, fates: &mut [Fate], from: usize, to: usize) -> Fate {
    let mut path = Vec::new();
    let mut here = from;
    let fate = loop {
        if fates[here] != Fate::Unknown {
            break fates[here];
        }
        path.push(here);
        let next = world.next[here][to];
        let passes = next != NOBODY
            && world.is_on(next as usize)
            && world.topology.quality(here, next as usize).is_some();
        if !passes || path.len() > fates.len() {
            break Fate::Lost;
        }
        here = next as usize;
    };
    path.into_iter().for_each(|node| fates[node] = fate);
    fate
}

/// Largest routing memory per known originator among all nodes, bytes.
pub fn bytes_per_originator(world: &World) -> f64 {
    world
        .places
        .iter()
        .filter_map(|place| place.node.as_ref())
        .filter(|node| node.router().originators().next().is_some())
        .map(|node| {
            #[allow(clippy::cast_precision_loss)]
            let share = node.router().memory() as f64 / node.router().originators().count() as f64;
            share
        })
        .fold(0.0, f64::max)
}
