//! Which route to an originator is used, and what the choice makes this node say.
//!
//! Among the feasible advertisements (RFC 8966 section 3.5.1, on metric steps) the cheapest by exact cost wins, and
//! replaces a working one only when it is a tenth better. The sequence number plays no part in the choice.

use core::time::Duration;

use super::metric::Cost;
use super::originator::{Advertised, Advertisement, Distance, millis};
use super::router::{OriginatorIndex, Output, Router, Timer};
use crate::time::Instant;

/// How long a feasibility distance outlives the last route.
const FEASIBILITY_KEPT_MS: u32 = 180_000;
/// Jitter before a change is announced, so that many changes share a frame.
const ANNOUNCE_JITTER: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(20));
/// How long after the last one a better but infeasible route may be asked for.
const OPTIONAL_INTERVAL: Duration = Duration::from_secs(60);
const OPTIONAL_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// How soon a change must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    /// With the next HELLO.
    Ride,
    /// Within milliseconds.
    Soon,
}

/// An advertisement together with this node's own link.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    stored: Advertisement,
    cost: Cost,
    step: u8,
    mtu_class: u8,
    is_lossy: bool,
}

impl Router {
    /// Chooses anew after anything about the originator changed.
    pub(super) fn recompute(&mut self, now: Instant, index: OriginatorIndex) {
        self.expire_feasibility(now, index);
        let Some(originator) = self.get(index) else {
            return;
        };
        let before = originator.selected;
        let mut best: Option<Candidate> = None;
        let mut current: Option<Candidate> = None;
        for stored in originator.advertisements() {
            if !originator.is_feasible(stored) {
                continue;
            }
            let Some(candidate) = self.candidate(stored) else {
                continue;
            };
            if best.is_none_or(|best| candidate.cost < best.cost) {
                best = Some(candidate);
            }
            if before == Some(stored.link) {
                current = Some(candidate);
            }
        }
        // A tenth better, or the old one stays.
        let chosen = match (best, current) {
            (Some(best), Some(current))
                if u64::from(best.cost.0) * 10 > u64::from(current.cost.0) * 9 =>
            {
                Some(current)
            }
            (best, _) => best,
        };
        if let Some(current) = current {
            self.schedule_optional_request(now, index, current.cost);
        }
        let after = chosen.map(|candidate| candidate.stored.link);
        if let Some(originator) = self.get_mut(index) {
            originator.selected = after;
            let address = originator.address;
            if before != after {
                self.counters.next_hop_changes += 1;
                if let Some(changed) = &mut self.changed {
                    changed.push(address);
                }
            }
        }
        match chosen {
            Some(chosen) => {
                let asked = self.requests.satisfied(index);
                self.advertise(now, index, chosen, asked);
                self.answer_waiting(now, index);
            }
            None => {
                let starves = self.get(index).is_some_and(|originator| {
                    before.is_some()
                        || originator.advertised.is_some()
                        || originator.advertisements().next().is_some()
                });
                if starves {
                    self.starve(now, index);
                }
            }
        }
    }

    fn candidate(&self, stored: &Advertisement) -> Option<Candidate> {
        let link = self.links.get(&stored.link)?;
        let cost = stored.cost.plus(link.cost);
        Some(Candidate {
            stored: *stored,
            cost,
            step: cost.step_after(stored.step)?,
            mtu_class: stored.mtu_class.min(link.mtu_class),
            is_lossy: link.is_lossy,
        })
    }

    fn expire_feasibility(&mut self, now: Instant, index: OriginatorIndex) {
        if let Some(originator) = self.get_mut(index)
            && originator.selected.is_none()
            && originator.advertised.is_none()
            && millis(now).wrapping_sub(originator.lost_at_ms) > FEASIBILITY_KEPT_MS
        {
            originator.feasible = None;
        }
    }

    fn advertise(
        &mut self,
        now: Instant,
        index: OriginatorIndex,
        chosen: Candidate,
        is_regained: bool,
    ) {
        let Some(originator) = self.get_mut(index) else {
            return;
        };
        let urgency = match originator.advertised {
            None => Some(Urgency::Soon),
            Some(_) if is_regained => Some(Urgency::Soon),
            // What was said was said of an earlier generation.
            Some(_) if originator.feasible.is_none() => Some(Urgency::Soon),
            Some(said) => {
                // A quarter off is news; where frames are lost, the cost wavers: half off.
                let (numerator, denominator) = if chosen.is_lossy { (3, 2) } else { (5, 4) };
                let (new, old) = (u64::from(chosen.cost.0), u64::from(said.cost.0));
                if new * denominator > old * numerator || new * numerator < old * denominator {
                    Some(Urgency::Soon)
                } else if chosen.stored.seq != said.distance.seq
                    || chosen.stored.link != said.next_hop
                    || chosen.mtu_class != said.mtu_class
                {
                    Some(Urgency::Ride)
                } else {
                    None
                }
            }
        };
        let Some(urgency) = urgency else { return };
        originator.advertise(Advertised {
            distance: Distance {
                seq: chosen.stored.seq,
                step: chosen.step,
            },
            cost: chosen.cost,
            next_hop: chosen.stored.link,
            mtu_class: chosen.mtu_class,
        });
        self.changed_entry(index);
        if urgency == Urgency::Soon {
            self.announce_soon(now);
        }
    }

    /// Takes the advertisement back.
    pub(super) fn retract(&mut self, now: Instant, index: OriginatorIndex) {
        if let Some(originator) = self.get_mut(index)
            && originator.advertised.take().is_some()
        {
            self.changed_entry(index);
            self.announce_soon(now);
        }
    }

    fn changed_entry(&mut self, index: OriginatorIndex) {
        self.version += 1;
        let version = self.version;
        if let Some(originator) = self.get_mut(index) {
            originator.version = version;
        }
    }

    /// Announces within the jitter.
    pub(super) fn announce_soon(&mut self, now: Instant) {
        let by = now + self.rng.between(ANNOUNCE_JITTER.0, ANNOUNCE_JITTER.1);
        self.out.push_back(Output::AnnounceBy(by));
    }

    fn schedule_optional_request(&mut self, now: Instant, index: OriginatorIndex, cost: Cost) {
        if self.is_better_infeasible(index, cost)
            && self
                .requests
                .may_ask_for_better(now, index, OPTIONAL_INTERVAL)
        {
            let at = now + self.rng.between(OPTIONAL_DELAY.0, OPTIONAL_DELAY.1);
            self.timers.set(at, Timer::Optional(index));
        }
    }

    /// Whether a neighbour that is no child offers a route a fifth cheaper than `cost` that feasibility forbids.
    fn is_better_infeasible(&self, index: OriginatorIndex, cost: Cost) -> bool {
        self.get(index).is_some_and(|originator| {
            originator.advertisements().any(|stored| {
                !stored.is_child
                    && !originator.is_feasible(stored)
                    && self.links.get(&stored.link).is_some_and(|link| {
                        u64::from(stored.cost.plus(link.cost).0) * 5 < u64::from(cost.0) * 4
                    })
            })
        })
    }

    pub(super) fn request_better(&mut self, now: Instant, index: OriginatorIndex) {
        let cost = self
            .get(index)
            .and_then(|originator| self.path_cost(originator));
        if let Some(cost) = cost
            && self.is_better_infeasible(index, cost)
        {
            self.request_newer(now, index);
        }
    }
}
