//! Asking for newer sequence numbers when no feasible route is left (RFC 8966 section 3.8.2), and passing such requests
//! on. A node over an originator's budget defers; it never forgets.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::LinkId;
use super::freshness::Freshness;
use super::originator::millis;
use super::router::{OriginatorIndex, Output, Router, Subject, Timer};
use crate::identity::ShortId;
use crate::message::{MAX_LIST, Request};
use crate::time::Instant;

/// How many hops a request may travel.
const HOP_LIMIT: u8 = 64;
/// Requests for one neighbour wait this long for company.
const REQUEST_BATCH: Duration = Duration::from_millis(1);
/// So do answers and anchor requests.
const ANSWER_BATCH: Duration = Duration::from_millis(1);
/// A request as recent as this is not passed on twice.
const COALESCE: Duration = Duration::from_millis(80);
/// First wait for an answer; it doubles ...
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// ... up to this.
const RETRY_LAST: Duration = Duration::from_secs(2);
/// Who asked is remembered this long.
const REQUESTER_KEPT: Duration = Duration::from_secs(3);
/// A lost route is retracted when the request had this long to be answered.
const RETRACTION_HOLD: Duration = Duration::from_millis(150);
/// Requests about one originator: a bucket of four, refilled once a second.
pub(super) const BUDGET: f32 = 4.0;
/// Tries after which a destination that nobody advertises is given up.
const TRIES_WITHOUT_ROUTES: u8 = 2;
const WAITING_MAX: usize = 32;

/// What is being asked about one originator.
#[derive(Debug)]
struct Demand {
    is_starved: bool,
    tries: u8,
    token: u32,
    passed_on: Option<(Freshness, Instant)>,
    /// When the bucket is full again.
    full_at: Instant,
    /// Few originators have somebody waiting, and there is a demand for many.
    waiting: Option<Box<Waiting>>,
    asked_for_better: Option<Instant>,
    used_at: Instant,
}

/// Neighbours that asked and have no answer yet.
#[derive(Debug)]
struct Waiting {
    /// When the last one asked.
    at: Instant,
    links: Vec<(LinkId, Freshness)>,
}

/// Requests, answers and anchor requests on their way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    demands: BTreeMap<OriginatorIndex, Demand>,
    unicast: BTreeMap<LinkId, Vec<Request>>,
    broadcast: Vec<Request>,
    answers: BTreeMap<LinkId, BTreeSet<Subject>>,
    pub(super) anchors: BTreeMap<LinkId, BTreeSet<ShortId>>,
    last_token: u32,
}

impl Demand {
    fn new(now: Instant) -> Self {
        Self {
            is_starved: false,
            tries: 0,
            token: 0,
            passed_on: None,
            full_at: now,
            waiting: None,
            asked_for_better: None,
            used_at: now,
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + Duration::from_secs(1);
        if full_at.since(now).as_secs_f32() > BUDGET {
            return false;
        }
        self.full_at = full_at;
        true
    }

    fn wait(&mut self, now: Instant, link: LinkId, wanted: Freshness) {
        let waiting = self.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                at: now,
                links: Vec::new(),
            })
        });
        waiting.at = now;
        waiting.links.retain(|(other, _)| *other != link);
        if waiting.links.len() < WAITING_MAX {
            waiting.links.push((link, wanted));
        }
    }
}

impl Requests {
    fn demand(&mut self, now: Instant, index: OriginatorIndex) -> &mut Demand {
        let demand = self
            .demands
            .entry(index)
            .or_insert_with(|| Demand::new(now));
        demand.used_at = now;
        demand
    }

    fn next_token(&mut self) -> u32 {
        self.last_token = self.last_token.wrapping_add(1);
        self.last_token
    }

    /// There is a route. Returns whether neighbours were asked for one: they took that for a retraction.
    pub(super) fn satisfied(&mut self, index: OriginatorIndex) -> bool {
        let Some(demand) = self.demands.get_mut(&index) else {
            return false;
        };
        demand.token = 0;
        core::mem::take(&mut demand.is_starved) && demand.tries > 0
    }

    pub(super) fn may_ask_for_better(
        &mut self,
        now: Instant,
        index: OriginatorIndex,
        interval: Duration,
    ) -> bool {
        let demand = self.demand(now, index);
        let may = demand
            .asked_for_better
            .is_none_or(|asked| now.since(asked) > interval);
        if may {
            demand.asked_for_better = Some(now);
        }
        may
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.unicast.remove(&link);
        self.answers.remove(&link);
        self.anchors.remove(&link);
        for demand in self.demands.values_mut() {
            if let Some(waiting) = &mut demand.waiting {
                waiting.links.retain(|(waiting, _)| *waiting != link);
            }
        }
    }

    pub(super) fn forget(&mut self, index: OriginatorIndex) {
        self.demands.remove(&index);
        for subjects in self.answers.values_mut() {
            subjects.remove(&Subject::Other(index));
        }
    }

    pub(super) fn tidy(&mut self, now: Instant) {
        self.demands.retain(|_, demand| {
            demand.is_starved || now.since(demand.used_at) < Duration::from_secs(65)
        });
    }

    pub(super) fn memory(&self) -> usize {
        let waiting = self
            .demands
            .values()
            .filter_map(|demand| demand.waiting.as_deref());
        let links = |waiting: &Waiting| waiting.links.capacity() * size_of::<(LinkId, Freshness)>();
        self.demands.len() * (size_of::<OriginatorIndex>() + size_of::<Demand>()) * 3 / 2
            + waiting
                .map(|waiting| size_of::<Waiting>() + links(waiting))
                .sum::<usize>()
    }
}

impl Router {
    /// The last feasible route is gone.
    pub(super) fn starve(&mut self, now: Instant, index: OriginatorIndex) {
        let token = self.requests.next_token();
        let demand = self.requests.demand(now, index);
        if demand.is_starved {
            return;
        }
        demand.is_starved = true;
        demand.tries = 0;
        demand.token = token;
        self.counters.starvations += 1;
        self.timers.set(now, Timer::Request(index, token));
        if let Some(originator) = self.get_mut(index) {
            originator.lost_at_ms = millis(now);
            if originator.advertised.is_some() {
                self.timers
                    .set(now + RETRACTION_HOLD, Timer::Retract(index));
            }
        }
    }

    pub(super) fn retract_after_hold(&mut self, now: Instant, index: OriginatorIndex) {
        if self.get(index).is_some_and(|o| o.selected.is_none()) {
            self.retract(now, index);
        }
    }

    /// The freshness a request asks for: one more than the feasibility distance, which makes any answer feasible.
    fn wanted(&self, index: OriginatorIndex) -> Option<Freshness> {
        let originator = self.get(index)?;
        let generation = originator.anchor.generation;
        Some(
            originator
                .feasible
                .map_or(Freshness { generation, seq: 1 }, |limit| {
                    Freshness {
                        generation,
                        seq: limit.seq,
                    }
                    .successor()
                }),
        )
    }

    pub(super) fn request_again(&mut self, now: Instant, index: OriginatorIndex, token: u32) {
        let Some(wanted) = self.wanted(index) else {
            return;
        };
        let nobody_advertises = self
            .get(index)
            .is_none_or(|originator| originator.advertisements().next().is_none());
        let demand = self.requests.demand(now, index);
        if demand.token != token || !demand.is_starved {
            return;
        }
        if nobody_advertises && demand.tries >= TRIES_WITHOUT_ROUTES {
            demand.is_starved = false;
            return;
        }
        let to_all = demand.tries > 0;
        let may = demand.spend(now);
        if may {
            demand.passed_on = Some((wanted, now));
        }
        demand.tries = demand.tries.saturating_add(1);
        let doublings = u32::from(demand.tries - 1).min(8);
        let wait = (RETRY_FIRST * (1 << doublings)).min(RETRY_LAST);
        let wait = self.rng.jitter(wait, 80, 120);
        self.timers.set(now + wait, Timer::Request(index, token));
        if may {
            self.ask(now, index, wanted, HOP_LIMIT, None, to_all);
        }
    }

    /// Asks once for a newer sequence number, to make a better route feasible.
    pub(super) fn request_newer(&mut self, now: Instant, index: OriginatorIndex) {
        if let Some(wanted) = self.wanted(index)
            && self.requests.demand(now, index).spend(now)
        {
            self.ask(now, index, wanted, HOP_LIMIT, None, false);
        }
    }

    /// Sends a request to the best neighbour that is no child of ours, or to all.
    fn ask(
        &mut self,
        now: Instant,
        index: OriginatorIndex,
        wanted: Freshness,
        hops: u8,
        except: Option<LinkId>,
        to_all: bool,
    ) {
        let Some(originator) = self.get(index) else {
            return;
        };
        let request = Request {
            originator: originator.address.short_id(),
            freshness: wanted.to_wire(),
            hops,
        };
        let best = originator
            .advertisements()
            .filter(|stored| !stored.is_child && Some(stored.link) != except)
            .filter_map(|stored| {
                let link = self.links.get(&stored.link)?;
                Some((stored.cost.plus(link.cost), stored.link))
            })
            .min();
        match best {
            Some((_, link)) if !to_all => self.queue_request(now, Some(link), request),
            _ => self.queue_request(now, None, request),
        }
        self.counters.requests += 1;
    }

    fn queue_request(&mut self, now: Instant, to: Option<LinkId>, request: Request) {
        if self.requests.unicast.is_empty() && self.requests.broadcast.is_empty() {
            self.timers.set(now + REQUEST_BATCH, Timer::SendRequests);
        }
        let queue = match to {
            Some(link) => self.requests.unicast.entry(link).or_default(),
            None => &mut self.requests.broadcast,
        };
        match queue
            .iter_mut()
            .find(|queued| queued.originator == request.originator)
        {
            Some(queued) => *queued = request,
            None => queue.push(request),
        }
    }

    pub(super) fn send_requests(&mut self) {
        for (link, requests) in core::mem::take(&mut self.requests.unicast) {
            for part in requests.chunks(MAX_LIST) {
                self.out.push_back(Output::Requests {
                    to: Some(link),
                    requests: part.to_vec(),
                });
            }
        }
        for part in core::mem::take(&mut self.requests.broadcast).chunks(MAX_LIST) {
            self.out.push_back(Output::Requests {
                to: None,
                requests: part.to_vec(),
            });
        }
    }

    /// A neighbour asks.
    pub fn on_request(&mut self, now: Instant, link: LinkId, request: &Request) {
        if !self.links.contains_key(&link) {
            return;
        }
        if request.originator == self.me.short_id() {
            self.own_requested(now, link, request);
            return;
        }
        let Some(index) = self.table.find(&request.originator) else {
            return;
        };
        let Some(originator) = self.get_mut(index) else {
            return;
        };
        let generation = originator.anchor.generation;
        let wanted = Freshness::from_wire(request.freshness, generation);
        // Whoever asks me has no route: if it was my next hop, it is none any more. But a request that its sender's
        // route satisfies is a late copy of one from before.
        let is_late = originator.over(link).is_some_and(|stored| {
            let seq = stored.seq;
            Freshness { generation, seq } >= wanted
        });
        if originator.selected == Some(link) && !is_late {
            originator.forget(link);
            self.recompute(now, index);
        }
        let Some(originator) = self.get(index) else {
            return;
        };
        let advertised = originator.advertised.map(|said| Freshness {
            generation,
            seq: said.distance.seq,
        });
        if originator.selected.is_some() && advertised.is_some_and(|said| said >= wanted) {
            self.answer(now, link, Subject::Other(index));
            return;
        }
        if originator.selected.is_none()
            && originator.feasible.is_none()
            && originator.advertisements().next().is_none()
        {
            return;
        }
        let next_hop = originator.selected;
        let demand = self.requests.demand(now, index);
        demand.wait(now, link, wanted);
        let is_fresh = demand
            .passed_on
            .is_some_and(|(passed, at)| passed >= wanted && now.since(at) < COALESCE);
        if request.hops <= 1 || is_fresh || !demand.spend(now) {
            return;
        }
        demand.passed_on = Some((wanted, now));
        self.counters.requests_forwarded += 1;
        let hops = request.hops.min(HOP_LIMIT) - 1;
        match next_hop {
            Some(next_hop) => self.queue_request(
                now,
                Some(next_hop),
                Request {
                    originator: request.originator,
                    freshness: wanted.to_wire(),
                    hops,
                },
            ),
            None => self.ask(now, index, wanted, hops, Some(link), false),
        }
    }

    /// Tells those who asked, now that there is a route.
    pub(super) fn answer_waiting(&mut self, now: Instant, index: OriginatorIndex) {
        let Some(demand) = self.requests.demands.get_mut(&index) else {
            return;
        };
        let Some(mut waiting) = demand.waiting.take() else {
            return;
        };
        if now.since(waiting.at) > REQUESTER_KEPT {
            return;
        }
        let Some(originator) = self.get(index) else {
            return;
        };
        let Some(said) = originator.advertised else {
            return;
        };
        let fresh = Freshness {
            generation: originator.anchor.generation,
            seq: said.distance.seq,
        };
        let selected = originator.selected;
        let (answered, kept): (Vec<_>, Vec<_>) = waiting
            .links
            .drain(..)
            .partition(|(link, wanted)| fresh >= *wanted && Some(*link) != selected);
        for (link, _) in answered {
            self.answer(now, link, Subject::Other(index));
        }
        if !kept.is_empty()
            && let Some(demand) = self.requests.demands.get_mut(&index)
        {
            waiting.links = kept;
            demand.waiting = Some(waiting);
        }
    }

    /// Sends a neighbour the current entry of `subject`.
    pub(super) fn answer(&mut self, now: Instant, link: LinkId, subject: Subject) {
        if !self.links.contains_key(&link) {
            return;
        }
        if self.requests.answers.is_empty() {
            self.timers.set(now + ANSWER_BATCH, Timer::SendAnswers);
        }
        self.requests
            .answers
            .entry(link)
            .or_default()
            .insert(subject);
    }

    pub(super) fn send_answers(&mut self) {
        for (link, subjects) in core::mem::take(&mut self.requests.answers) {
            let subjects = subjects.into_iter().collect();
            self.out.push_back(Output::Answer {
                link,
                subjects,
                with_anchors: false,
            });
        }
    }

    /// Asks a neighbour for an anchor, together with others.
    pub(super) fn fetch_anchor(&mut self, now: Instant, link: LinkId, originator: ShortId) {
        if self.requests.anchors.is_empty() {
            self.timers.set(now + ANSWER_BATCH, Timer::FetchAnchors);
        }
        self.requests
            .anchors
            .entry(link)
            .or_default()
            .insert(originator);
    }

    pub(super) fn send_anchor_requests(&mut self) {
        for (link, originators) in core::mem::take(&mut self.requests.anchors) {
            let originators: Vec<_> = originators.into_iter().collect();
            for part in originators.chunks(MAX_LIST) {
                self.out.push_back(Output::FetchAnchors {
                    link,
                    originators: part.to_vec(),
                });
            }
        }
    }
}
