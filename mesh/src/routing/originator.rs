//! What is kept about one originator: its signed anchor, the best verified element of its hash chain, up to four
//! neighbours' advertisements, the feasibility distance (RFC 8966 section 2.4) and what this node last advertised.
//! Bounded to 256 bytes; rules that need other nodes' state live in the table.

use super::LinkId;
use super::anchor::AnchorRecord;
use super::chain::{Element, Position};
use super::metric::Cost;
use crate::identity::NodeAddress;
use crate::time::Instant;

/// Advertisements kept per originator. One makes starvation five times as frequent; eight cost memory without gain.
pub const STORED_ROUTES: usize = 4;

/// Sequence number and metric step: newer is better, then smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distance {
    /// Sequence number within the current generation.
    pub seq: u16,
    /// Metric step.
    pub step: u8,
}

impl Distance {
    /// Whether a neighbour at `self` is certainly no descendant of a node whose feasibility distance is `limit`.
    pub const fn is_within(self, limit: Self) -> bool {
        self.seq > limit.seq || (self.seq == limit.seq && self.step < limit.step)
    }
}

/// What one neighbour advertises.
#[derive(Clone, Copy, Debug)]
pub struct Advertisement {
    /// The link to the neighbour.
    pub link: LinkId,
    /// Its sequence number and step.
    pub seq: u16,
    /// Its metric step now.
    pub step: u8,
    /// The lowest step it advertised at this sequence number.
    pub lowest_step: u8,
    /// The cost of its path.
    pub cost: Cost,
    /// Largest inner packet its path carries, as a class.
    pub mtu_class: u8,
    /// Whether its next hop seems to be this node.
    pub is_child: bool,
}

/// What this node tells its neighbours about an originator.
#[derive(Clone, Copy, Debug)]
pub struct Advertised {
    /// Sequence number and step.
    pub distance: Distance,
    /// Cost of the whole path.
    pub cost: Cost,
    /// Over which link.
    pub next_hop: LinkId,
    /// Largest inner packet, as a class.
    pub mtu_class: u8,
}

/// One originator.
#[derive(Clone, Debug)]
pub struct Originator {
    /// Signed by the originator: key, generation, a verified element.
    pub anchor: AnchorRecord,
    /// Follows from the key.
    pub address: NodeAddress,
    /// The newest position of the chain that was verified, ...
    pub best: Distance,
    /// ... and its element: all older and worse ones follow from it.
    pub best_element: Element,
    advertisements: [Option<Advertisement>; STORED_ROUTES],
    /// The link in use.
    pub selected: Option<LinkId>,
    /// Feasibility distance in the current generation.
    pub feasible: Option<Distance>,
    /// What was advertised last; `None` after a retraction.
    pub advertised: Option<Advertised>,
    /// Table version at the last change of `advertised`; 0: nothing was ever said.
    pub version: u32,
    /// Interfaces on which neighbours were sent the current anchor, as bits.
    pub anchor_sent: u16,
    /// When the last route was lost (milliseconds of the node's clock), while there is none.
    pub lost_at_ms: u32,
}

/// Milliseconds of the clock, wrapping after 49 days: enough to compare with "180 seconds ago".
pub const fn millis(now: Instant) -> u32 {
    (now.as_micros() / 1000) as u32
}

impl Originator {
    /// An originator whose anchor has just been verified.
    pub fn new(anchor: AnchorRecord, address: NodeAddress) -> Self {
        let best = anchor_distance(&anchor);
        Self {
            best_element: anchor.element,
            best,
            anchor,
            address,
            advertisements: [None; STORED_ROUTES],
            selected: None,
            feasible: None,
            advertised: None,
            version: 0,
            anchor_sent: 0,
            lost_at_ms: 0,
        }
    }

    /// A new generation, or a checkpoint of this one. In a new generation every stored advertisement and the feasibility
    /// distance are things of the past. Returns whether it was one.
    pub fn renew(&mut self, anchor: AnchorRecord) -> bool {
        let is_new = anchor.generation > self.anchor.generation;
        if is_new || anchor.seq > self.best.seq {
            self.best = anchor_distance(&anchor);
            self.best_element = anchor.element;
        }
        self.anchor = anchor;
        if is_new {
            self.anchor_sent = 0;
            self.advertisements = [None; STORED_ROUTES];
            self.feasible = None;
        }
        is_new
    }

    /// The advertisements.
    pub fn advertisements(&self) -> impl Iterator<Item = &Advertisement> {
        self.advertisements.iter().flatten()
    }

    /// The advertisement over `link`.
    pub fn over(&self, link: LinkId) -> Option<&Advertisement> {
        self.advertisements().find(|stored| stored.link == link)
    }

    /// Forgets what the neighbour on `link` advertised. Returns whether there was anything.
    pub fn forget(&mut self, link: LinkId) -> bool {
        for slot in &mut self.advertisements {
            if slot.is_some_and(|stored| stored.link == link) {
                *slot = None;
                return true;
            }
        }
        false
    }

    /// Stores an advertisement in place of the neighbour's last one. When there is no room, `badness` decides which of
    /// the unselected ones goes.
    pub fn store(&mut self, mut new: Advertisement, badness: impl Fn(&Advertisement) -> u64) {
        let selected = self.selected;
        let mut free = None;
        for slot in &mut self.advertisements {
            match slot {
                Some(stored) if stored.link == new.link => {
                    if stored.seq == new.seq {
                        new.lowest_step = stored.lowest_step.min(new.step);
                    }
                    *slot = Some(new);
                    return;
                }
                None => free = Some(slot),
                Some(_) => {}
            }
        }
        if let Some(slot) = free {
            *slot = Some(new);
            return;
        }
        let worst = self
            .advertisements
            .iter_mut()
            .flatten()
            .filter(|stored| Some(stored.link) != selected)
            .max_by_key(|stored| badness(stored));
        if let Some(worst) = worst
            && badness(worst) > badness(&new)
        {
            *worst = new;
        }
    }

    /// Whether an advertisement may be used without risking a loop.
    pub fn is_feasible(&self, stored: &Advertisement) -> bool {
        let distance = Distance {
            seq: stored.seq,
            step: stored.lowest_step,
        };
        self.feasible.is_none_or(|limit| distance.is_within(limit))
    }

    /// Notes what is being advertised, and lowers the feasibility distance to it.
    pub fn advertise(&mut self, advertised: Advertised) {
        let distance = advertised.distance;
        let lower = self.feasible.is_none_or(|limit| {
            distance.seq > limit.seq || (distance.seq == limit.seq && distance.step < limit.step)
        });
        if lower {
            self.feasible = Some(distance);
        }
        self.advertised = Some(advertised);
    }
}

const fn anchor_distance(anchor: &AnchorRecord) -> Distance {
    Distance {
        seq: anchor.seq,
        step: 127,
    }
}

impl From<Distance> for Position {
    fn from(distance: Distance) -> Self {
        Self {
            seq: distance.seq,
            step: distance.step,
        }
    }
}
