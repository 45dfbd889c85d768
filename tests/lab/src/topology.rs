//! Which nodes a lab has and which of them hear each other. Knows nothing of namespaces or processes.

use serde::{Deserialize, Serialize};

/// Index of a node in its topology.
pub type NodeIndex = usize;

/// Nodes and the links between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Names of the nodes, short: they are part of interface names.
    pub names: Vec<String>,
    /// Pairs of nodes that hear each other.
    pub links: Vec<(NodeIndex, NodeIndex)>,
}

/// A to Z, then N26, N27, ...
fn name_of(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|i| *i < 26)
        .map_or_else(|| format!("N{index}"), |i| char::from(b'A' + i).to_string())
}

impl Topology {
    fn named(count: usize, links: Vec<(NodeIndex, NodeIndex)>) -> Self {
        Self {
            names: (0..count).map(name_of).collect(),
            links,
        }
    }

    /// A - B - C - ...
    pub fn line(count: usize) -> Self {
        Self::named(count, (1..count).map(|i| (i - 1, i)).collect())
    }

    /// A line whose ends hear each other.
    pub fn ring(count: usize) -> Self {
        let mut ring = Self::line(count);
        if count > 2 {
            ring.links.push((count - 1, 0));
        }
        ring
    }

    /// `width` x `height`, each node hears its neighbours left, right, above and below.
    pub fn grid(width: usize, height: usize) -> Self {
        let mut links = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let here = y * width + x;
                if x + 1 < width {
                    links.push((here, here + 1));
                }
                if y + 1 < height {
                    links.push((here, here + width));
                }
            }
        }
        Self::named(width * height, links)
    }

    /// A - B - C - D - E and the shortcut B - D. Cutting C off one side, or B - D, leaves everybody reachable by another
    /// way; cutting A - B or D - E shows an honest island.
    pub fn neighbourhood() -> Self {
        let mut line = Self::line(5);
        line.links.push((1, 3));
        line
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The node of this name, upper or lower case.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.names.iter().position(|n| n.eq_ignore_ascii_case(name))
    }

    /// The nodes that hear `node`.
    pub fn neighbours(&self, node: NodeIndex) -> Vec<NodeIndex> {
        self.links
            .iter()
            .filter_map(|&(a, b)| match node {
                n if n == a => Some(b),
                n if n == b => Some(a),
                _ => None,
            })
            .collect()
    }

    /// The neighbour through which the shortest path from each node leads to `target`; `None` for the target itself and
    /// for nodes without a path.
    pub fn next_hops(&self, target: NodeIndex) -> Vec<Option<NodeIndex>> {
        let mut hops = vec![None; self.len()];
        let mut queue = std::collections::VecDeque::from([target]);
        while let Some(here) = queue.pop_front() {
            for next in self.neighbours(here) {
                if next != target && hops[next].is_none() {
                    hops[next] = Some(here);
                    queue.push_back(next);
                }
            }
        }
        hops
    }

    /// Name of the interface of `from` that leads to `to`.
    pub fn interface(&self, to: NodeIndex) -> String {
        format!("to-{}", self.names[to])
    }
}

#[cfg(test)]
mod tests {
    use super::Topology;

    #[test]
    fn a_grid_of_four_by_four_has_24_links_and_a_ring_as_many_as_nodes() {
        assert_eq!(Topology::grid(4, 4).links.len(), 24);
        assert_eq!(Topology::ring(6).links.len(), 6);
        assert_eq!(Topology::line(1).links.len(), 0);
    }

    #[test]
    fn next_hops_follow_the_shortcut() {
        let street = Topology::neighbourhood();
        let to_e = street.next_hops(4);
        assert_eq!(to_e, vec![Some(1), Some(3), Some(3), Some(4), None]);
    }
}
