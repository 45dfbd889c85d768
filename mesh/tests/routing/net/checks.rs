//! What must hold of the network after every step, and what is asked of it in the end.

use warren_mesh::routing::originator::{Distance, Originator};
use warren_mesh::routing::router::Subject;

use super::{Net, NodeAddress, wire};

impl Net {
    /// The node that frames of `node` for `to` go to, over a link whose both ends hold the same session.
    fn next(&self, node: usize, to: usize) -> Option<usize> {
        let next = self.routers[node]
            .next_hop(&self.address(to).short_id())?
            .slot();
        let mine = self.ends.get(&(node, next))?.session;
        let theirs = self.ends.get(&(next, node))?.session;
        (mine == theirs).then_some(next)
    }

    pub(super) fn check_loops(&self, to: usize) {
        for start in (0..self.routers.len()).filter(|start| *start != to) {
            let mut path = vec![start];
            while let Some(next) = self.next(path[path.len() - 1], to) {
                if next == to {
                    break;
                }
                assert!(
                    !path.contains(&next),
                    "frames for {to} go round: {path:?} and back to {next} at {:?}",
                    self.now
                );
                path.push(next);
            }
        }
    }

    /// Why there are none: what the next hop advertised lies within this node's feasibility distance, and what this node
    /// advertises is a worse step than that.
    pub(super) fn check_order(&self, node: usize) {
        for known in self.routers[node].originators() {
            let Some(stored) = known.selected.and_then(|link| known.over(link)) else {
                continue;
            };
            let heard = Distance {
                seq: stored.seq,
                step: stored.lowest_step,
            };
            let limit = known.feasible.expect("a route in use was advertised");
            assert!(
                heard.is_within(limit),
                "{node}: {heard:?} not within {limit:?}"
            );
            let said = known.advertised.expect("a route in use is advertised");
            let last = over_said(known).unwrap_or(heard);
            assert!(
                said.distance.seq < last.seq || said.distance.step > last.step,
                "{node} improved a step: {last:?} to {:?}",
                said.distance
            );
        }
    }

    /// Pairs that have a path of wires, and those of them whose next hops do not lead there.
    pub fn unreached(&self) -> Vec<(usize, usize)> {
        let count = self.routers.len();
        let mut missing = Vec::new();
        for to in 0..count {
            let mut reached = vec![false; count];
            reached[to] = true;
            let mut work = vec![to];
            while let Some(here) = work.pop() {
                for &(a, b) in self.wires.keys() {
                    if (a == here || b == here) && !reached[a + b - here] {
                        reached[a + b - here] = true;
                        work.push(a + b - here);
                    }
                }
            }
            for from in (0..count).filter(|from| *from != to && reached[*from]) {
                let mut here = from;
                while here != to {
                    match self.next(here, to) {
                        Some(next) if self.wires.contains_key(&wire(here, next)) => here = next,
                        _ => break,
                    }
                }
                if here != to {
                    missing.push((from, to));
                }
            }
        }
        missing
    }

    /// What a node knows of another.
    pub fn known(&self, at: usize, of: usize) -> Option<&Originator> {
        self.routers[at].originator(&self.address(of))
    }

    /// Number of a node.
    pub fn number(&self, address: &NodeAddress) -> Option<usize> {
        self.numbers.get(address).copied()
    }

    /// Generation and sequence number that a node itself is at.
    pub fn own(&self, node: usize) -> (u32, u16) {
        let entry = self.routers[node].entry(Subject::Own).unwrap();
        (self.generations[node], entry.freshness.seq)
    }

    /// Whom a node believes to have said something that it never said.
    pub fn believes_too_much(&self) -> Vec<(usize, usize)> {
        let mut wrong = Vec::new();
        for (at, router) in self.routers.iter().enumerate() {
            for known in router.originators() {
                let of = self.number(&known.address).unwrap();
                if (known.anchor.generation, known.best.seq) > self.spoken[of] {
                    wrong.push((at, of));
                }
            }
        }
        wrong
    }
}

/// What the neighbour that was advertised last had said, if it is still what is stored.
fn over_said(known: &Originator) -> Option<Distance> {
    let said = known.advertised?;
    let stored = known.over(said.next_hop)?;
    (stored.seq == said.distance.seq).then_some(Distance {
        seq: stored.seq,
        step: stored.lowest_step,
    })
}
