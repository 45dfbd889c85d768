//! What this node believes of what neighbours tell: an originator exists when its signed anchor says so, and a metric
//! step holds when the hash chain proves it. Entries about originators whose anchor is still on its way wait for it.

use core::time::Duration;

use super::LinkId;
use super::anchor::AnchorRecord;
use super::chain::{self, ChainError, Element, Position};
use super::freshness::Freshness;
use super::metric::FLOORS;
use super::originator::{Advertisement, Distance, Originator};
use super::router::{MAX_ORIGINATORS, OriginatorIndex, Router, Timer};
use crate::identity::{NodeAddress, ShortId};
use crate::message::{Entry, EntryRoute, hint_of};
use crate::time::Instant;

/// Unknown originators that one neighbour may introduce at once, ...
pub(super) const INTRODUCTION_BURST: f32 = 2048.0;
/// ... and per second from then on. Each costs a signature check.
const INTRODUCTION_RATE: f32 = 50.0;
/// An anchor that did not come is asked for again after this time, doubling four times, ...
const FETCH_AGAIN: Duration = Duration::from_millis(250);
/// ... this often.
const FETCHES_MAX: u32 = 10;
/// Most originators whose anchors are on their way.
const AWAITED_MAX: usize = MAX_ORIGINATORS;
/// Most entries kept for one of them.
const AWAITED_ENTRIES: usize = 8;

/// Entries that wait for an anchor.
#[derive(Debug)]
pub(super) struct Awaited {
    asked: u32,
    entries: Vec<(LinkId, Entry)>,
}

enum Verdict {
    Proven,
    /// The element is not of this chain.
    Forged,
    /// Too old to be of use.
    Stale,
    /// So new that a signed checkpoint is needed first.
    TooNew,
}

impl Router {
    /// A neighbour's word on one originator.
    pub fn learn(&mut self, now: Instant, link: LinkId, entry: &Entry) {
        if !self.links.contains_key(&link) {
            return;
        }
        if entry.originator == self.me.short_id() {
            let heard = Freshness::from_wire(entry.freshness, self.own.generation);
            if entry.route.is_some() && heard.generation > self.own.generation {
                self.fetch_anchor(now, link, entry.originator);
            }
            return;
        }
        let Some(index) = self.table.find(&entry.originator) else {
            if entry.route.is_some() {
                self.await_anchor(now, link, entry);
            }
            return;
        };
        match &entry.route {
            None => {
                let forgot = self.get_mut(index).is_some_and(|o| o.forget(link));
                if forgot {
                    self.recompute(now, index);
                }
            }
            Some(route) => self.learn_route(now, link, index, entry, route),
        }
    }

    fn learn_route(
        &mut self,
        now: Instant,
        link: LinkId,
        index: OriginatorIndex,
        entry: &Entry,
        route: &EntryRoute,
    ) {
        let Some(originator) = self.get(index) else {
            return;
        };
        let fresh = Freshness::from_wire(entry.freshness, originator.anchor.generation);
        if fresh.generation > originator.anchor.generation {
            self.await_anchor(now, link, entry);
            return;
        }
        let is_former = fresh.generation < originator.anchor.generation;
        let verdict = if is_former {
            Verdict::Stale
        } else {
            let distance = Distance {
                seq: fresh.seq,
                step: route.step,
            };
            prove(originator, distance, &route.element)
        };
        match verdict {
            Verdict::Proven => {}
            Verdict::TooNew => {
                self.await_anchor(now, link, entry);
                return;
            }
            Verdict::Forged | Verdict::Stale => {
                self.counters.entries_refused += 1;
                // What the neighbour said before is not what it uses now.
                let forgot = self.get_mut(index).is_some_and(|o| o.forget(link));
                if forgot {
                    self.recompute(now, index);
                }
                if is_former {
                    self.correct(now, link, index);
                }
                return;
            }
        }
        let my_hint = hint_of(&self.me.short_id()) & 0xfff;
        let Some(originator) = self.table.get_mut(index) else {
            return;
        };
        let distance = Distance {
            seq: fresh.seq,
            step: route.step,
        };
        if is_better(distance, originator.best) {
            originator.best = distance;
            originator.best_element = route.element;
        }
        let limit = originator.feasible;
        let links = &self.links;
        originator.store(
            Advertisement {
                link,
                seq: fresh.seq,
                step: route.step,
                lowest_step: route.step,
                cost: route.cost.max(FLOORS[usize::from(route.step)]),
                mtu_class: route.mtu_class,
                is_child: route.next_hop_hint == my_hint,
            },
            |stored| {
                let distance = Distance {
                    seq: stored.seq,
                    step: stored.lowest_step,
                };
                let cost = links.get(&stored.link).map_or(u64::from(u32::MAX), |link| {
                    u64::from(stored.cost.plus(link.cost).0)
                });
                let infeasible = limit.is_some_and(|limit| !distance.is_within(limit));
                cost + (u64::from(infeasible) << 33) + (u64::from(stored.is_child) << 34)
            },
        );
        self.recompute(now, index);
    }

    /// A neighbour speaks of a generation that is over: it is shown the proof. So an originator that lost its last
    /// generation with its disk learns of it and jumps above it.
    fn correct(&mut self, now: Instant, link: LinkId, index: OriginatorIndex) {
        if self.may_introduce(now, link) {
            self.answer_anchor(link, super::router::Subject::Other(index));
        }
    }

    /// When too many anchors are awaited, the neighbour that mentioned most of those originators gives one up for
    /// another's.
    fn make_room_for_awaited(&mut self, newcomer: LinkId) -> bool {
        let mut by_link = std::collections::BTreeMap::new();
        for (id, awaited) in &self.awaited {
            let Some((link, _)) = awaited.entries.first() else {
                continue;
            };
            let (count, last) = by_link.entry(*link).or_insert((0u32, *id));
            (*count, *last) = (*count + 1, *id);
        }
        match by_link.iter().max_by_key(|(_, (count, _))| *count) {
            Some((&crowd, &(_, last))) if crowd != newcomer => {
                self.awaited.remove(&last);
                true
            }
            _ => false,
        }
    }

    /// Keeps an entry until its originator's anchor has come, and asks for that.
    fn await_anchor(&mut self, now: Instant, link: LinkId, entry: &Entry) {
        let is_new = !self.awaited.contains_key(&entry.originator);
        if is_new && self.awaited.len() >= AWAITED_MAX && !self.make_room_for_awaited(link) {
            self.counters.originators_refused += 1;
            return;
        }
        let awaited = self
            .awaited
            .entry(entry.originator)
            .or_insert_with(|| Awaited {
                asked: 0,
                entries: Vec::new(),
            });
        awaited.entries.retain(|(from, _)| *from != link);
        if awaited.entries.len() < AWAITED_ENTRIES {
            awaited.entries.push((link, entry.clone()));
        }
        if is_new {
            self.timers
                .set(now + FETCH_AGAIN, Timer::Awaited(entry.originator));
            self.fetch_anchor(now, link, entry.originator);
        }
    }

    /// An anchor did not come: somebody else who mentioned the originator is asked.
    pub(super) fn fetch_again(&mut self, now: Instant, originator: ShortId) {
        let Some(awaited) = self.awaited.get_mut(&originator) else {
            return;
        };
        awaited.asked += 1;
        let others = awaited.entries.len();
        let link = awaited
            .entries
            .get(awaited.asked as usize % others.max(1))
            .map(|(link, _)| *link)
            .filter(|link| self.links.contains_key(link));
        if awaited.asked > FETCHES_MAX {
            self.awaited.remove(&originator);
            return;
        }
        let wait = FETCH_AGAIN * (1 << awaited.asked.min(4));
        self.timers.set(now + wait, Timer::Awaited(originator));
        if let Some(link) = link {
            self.fetch_anchor(now, link, originator);
        }
    }

    /// A signed anchor or checkpoint came.
    pub fn on_anchor(&mut self, now: Instant, link: LinkId, record: AnchorRecord) {
        let address = record.address();
        let id = address.short_id();
        if address == self.me {
            if record.generation > self.own.generation && self.is_signed(&record) {
                self.want_generation(record.generation + 1);
            }
            return;
        }
        let known = self.table.find(&id);
        if let Some((index, originator)) = known.and_then(|index| Some((index, self.get(index)?))) {
            if originator.address != address {
                // Two nodes with one short id: the lower address wins everywhere.
                if originator.address < address {
                    return;
                }
            } else if record.generation < originator.anchor.generation {
                self.correct(now, link, index);
                return;
            } else if (record.generation, record.seq)
                <= (originator.anchor.generation, originator.anchor.seq)
            {
                return;
            }
        }
        if !self.may_introduce(now, link) {
            self.counters.originators_refused += 1;
            return;
        }
        if !self.is_signed(&record) {
            self.counters.anchors_refused += 1;
            return;
        }
        let index = match known {
            Some(index) if self.get(index).is_some_and(|o| o.address == address) => {
                let is_new_generation = self.get_mut(index).is_some_and(|o| o.renew(record));
                if is_new_generation {
                    self.recompute(now, index);
                    // If the originator itself is a neighbour, it may not know how far it had come.
                    let to_itself = self.links.iter().find(|(_, link)| link.peer == id);
                    if let Some((&own_link, _)) = to_itself
                        && own_link != link
                    {
                        self.correct(now, own_link, index);
                    }
                }
                Some(index)
            }
            other => {
                if let Some(index) = other {
                    self.forget_originator(index);
                }
                self.insert(link, record, address)
            }
        };
        let Some(index) = index else { return };
        if let Some(awaited) = self.awaited.remove(&id) {
            for (from, entry) in awaited.entries {
                self.learn(now, from, &entry);
            }
        }
        self.pass_on_anchor(index);
    }

    fn is_signed(&self, record: &AnchorRecord) -> bool {
        (self.verify)(record)
    }

    fn may_introduce(&mut self, now: Instant, link: LinkId) -> bool {
        let Some(link) = self.links.get_mut(&link) else {
            return false;
        };
        let refill = now.since(link.introductions_at).as_secs_f32() * INTRODUCTION_RATE;
        link.introductions = (link.introductions + refill).min(INTRODUCTION_BURST);
        link.introductions_at = now;
        if link.introductions < 1.0 {
            return false;
        }
        link.introductions -= 1.0;
        true
    }

    fn insert(
        &mut self,
        link: LinkId,
        record: AnchorRecord,
        address: NodeAddress,
    ) -> Option<OriginatorIndex> {
        if self.table.len() >= MAX_ORIGINATORS && !self.make_room(link) {
            self.counters.originators_refused += 1;
            return None;
        }
        Some(self.table.insert(Originator::new(record, address)))
    }

    /// In a full table, the neighbour behind whom most originators lie gives one up for a newcomer behind another:
    /// whoever invents originators crowds out its own.
    fn make_room(&mut self, newcomer: LinkId) -> bool {
        let mut behind = std::collections::BTreeMap::new();
        for (_, originator) in self.table.iter() {
            *behind.entry(originator.selected).or_insert(0u32) += 1;
        }
        let Some((&crowd, _)) = behind.iter().max_by_key(|(_, count)| **count) else {
            return false;
        };
        if crowd == Some(newcomer) {
            return false;
        }
        let last = self
            .table
            .iter()
            .rev()
            .find(|(_, originator)| originator.selected == crowd)
            .map(|(index, _)| index);
        if let Some(last) = last {
            self.forget_originator(last);
        }
        last.is_some()
    }

    /// A neighbour wants an anchor. One too old to verify today's elements from is refreshed first.
    pub fn on_anchor_request(&mut self, now: Instant, link: LinkId, id: &ShortId) {
        if *id == self.me.short_id() {
            self.answer_anchor(link, super::router::Subject::Own);
            return;
        }
        let Some(index) = self.table.find(id) else {
            return;
        };
        let Some(originator) = self.get(index) else {
            return;
        };
        let is_recent =
            originator.best.seq.saturating_sub(originator.anchor.seq) <= CHECKPOINT_REACH;
        match originator.selected {
            Some(upstream) if !is_recent && upstream != link => {
                let waiting = self.anchor_waiting.entry(index).or_default();
                if !waiting.contains(&link) {
                    waiting.push(link);
                }
                self.fetch_anchor(now, upstream, *id);
            }
            _ => self.answer_anchor(link, super::router::Subject::Other(index)),
        }
    }

    fn pass_on_anchor(&mut self, index: OriginatorIndex) {
        for link in self.anchor_waiting.remove(&index).unwrap_or_default() {
            self.answer_anchor(link, super::router::Subject::Other(index));
        }
    }
}

/// How many sequence numbers after a checkpoint an element can still be verified from it.
const CHECKPOINT_REACH: u16 = 6;

const fn chain_index(distance: Distance) -> u32 {
    distance.seq as u32 * 128 - distance.step as u32
}

fn is_better(new: Distance, old: Distance) -> bool {
    chain_index(new) > chain_index(old)
}

/// Whether `element` stands at `distance` of the originator's chain.
fn prove(originator: &Originator, distance: Distance, element: &Element) -> Verdict {
    let known = (Position::from(originator.best), originator.best_element);
    let claimed = (Position::from(distance), *element);
    match chain::verify(
        &originator.address,
        originator.anchor.generation,
        known,
        claimed,
    ) {
        Ok(()) => Verdict::Proven,
        Err(ChainError::TooFar { .. }) if is_better(distance, originator.best) => Verdict::TooNew,
        Err(ChainError::TooFar { .. }) => Verdict::Stale,
        Err(_) => Verdict::Forged,
    }
}
