//! Who hears whom, and which share of frames gets through in each direction.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;

/// A graph of directed qualities; nodes are numbers.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// For each node whom it is heard by, and the share of frames that arrive there, 0 to 1.
    neighbours: Vec<BTreeMap<usize, f64>>,
}

impl Topology {
    /// `nodes` nodes without links.
    pub fn empty(nodes: usize) -> Self {
        Self {
            neighbours: vec![BTreeMap::new(); nodes],
        }
    }

    /// A line.
    pub fn line(nodes: usize) -> Self {
        let mut topology = Self::empty(nodes);
        (1..nodes).for_each(|node| topology.link(node - 1, node));
        topology
    }

    /// A ring.
    pub fn ring(nodes: usize) -> Self {
        let mut topology = Self::line(nodes);
        topology.link(0, nodes - 1);
        topology
    }

    /// A rectangle in which everybody hears those above, below, left and right.
    pub fn grid(width: usize, height: usize) -> Self {
        let mut topology = Self::empty(width * height);
        for node in 0..width * height {
            if node % width + 1 < width {
                topology.link(node, node + 1);
            }
            if node + width < width * height {
                topology.link(node, node + width);
            }
        }
        topology
    }

    /// A random tree.
    pub fn tree(nodes: usize, random: &mut Random) -> Self {
        let mut topology = Self::empty(nodes);
        for node in 1..nodes {
            let parent = random.below(node);
            topology.link(parent, node);
        }
        topology
    }

    /// Nodes at random on a square, everybody hears those within a radius that gives `degree` neighbours on average.
    /// Drawn again until 97 % hang together.
    pub fn geometric(nodes: usize, degree: f64, random: &mut Random) -> Self {
        #[allow(clippy::cast_precision_loss)]
        let squared_radius = degree / (core::f64::consts::PI * nodes as f64);
        loop {
            let places: Vec<_> = (0..nodes).map(|_| (random.unit(), random.unit())).collect();
            let mut topology = Self::empty(nodes);
            for a in 0..nodes {
                for b in 0..a {
                    let (dx, dy) = (places[a].0 - places[b].0, places[a].1 - places[b].1);
                    if dx * dx + dy * dy < squared_radius {
                        topology.link(a, b);
                    }
                }
            }
            let connected = topology.hops_from(0, |_| true).iter().flatten().count();
            if connected * 100 >= nodes * 97 {
                return topology;
            }
        }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.neighbours.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.neighbours.is_empty()
    }

    /// Number of links.
    pub fn links(&self) -> usize {
        self.neighbours.iter().map(BTreeMap::len).sum::<usize>() / 2
    }

    /// Links two nodes, without loss.
    pub fn link(&mut self, a: usize, b: usize) {
        self.link_with(a, b, 1.0, 1.0);
    }

    /// Links two nodes: the share of frames that get through from `a` to `b`, and back.
    pub fn link_with(&mut self, a: usize, b: usize, there: f64, back: f64) {
        if a != b {
            self.neighbours[a].insert(b, there);
            self.neighbours[b].insert(a, back);
        }
    }

    /// Cuts a link.
    pub fn cut(&mut self, a: usize, b: usize) {
        self.neighbours[a].remove(&b);
        self.neighbours[b].remove(&a);
    }

    /// Who hears `node`, and which share of its frames.
    pub fn heard_by(&self, node: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.neighbours[node]
            .iter()
            .map(|(to, share)| (*to, *share))
    }

    /// The share of frames that get from `a` to `b`; `None` if `b` does not hear `a`.
    pub fn quality(&self, a: usize, b: usize) -> Option<f64> {
        self.neighbours[a].get(&b).copied()
    }

    /// Makes each direction of each link worse by its own random factor down to `worst`.
    pub fn make_asymmetric(&mut self, worst: f64, random: &mut Random) {
        for shares in &mut self.neighbours {
            for share in shares.values_mut() {
                *share *= random.between(worst, 1.0);
            }
        }
    }

    /// Replaces all links by these, without loss.
    pub fn relink(&mut self, links: &BTreeSet<(usize, usize)>) {
        self.neighbours.iter_mut().for_each(BTreeMap::clear);
        for &(a, b) in links {
            self.link(a, b);
        }
    }

    /// Hops from a node to every other over nodes that are on; `None`: no path.
    pub fn hops_from(&self, from: usize, is_on: impl Fn(usize) -> bool) -> Vec<Option<u32>> {
        let mut hops = vec![None; self.len()];
        hops[from] = Some(0);
        let mut queue = std::collections::VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            let next = hops[node].map(|hops| hops + 1);
            for (to, _) in self.heard_by(node) {
                if hops[to].is_none() && is_on(to) {
                    hops[to] = next;
                    queue.push_back(to);
                }
            }
        }
        hops
    }
}
