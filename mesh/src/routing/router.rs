//! The routing table and its outputs. Messages of neighbours and changes of links come in; what to announce, whom to ask
//! and whom to answer goes out as values. The rules stand in the files beside: `select` (which route), `learn` (what is
//! believed), `requests` (asking for newer ones), `own` (this node as an originator), `announce` (what is said).

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::LinkId;
use super::anchor::AnchorRecord;
use super::learn::Awaited;
use super::metric::Cost;
use super::originator::Originator;
use super::own::OwnOriginator;
use super::requests::Requests;
use super::slots::Slots;
use crate::identity::{MeshIdentity, NodeAddress, ShortId};
use crate::message::Request;
use crate::rng::NodeRng;
use crate::time::Instant;
use crate::timers::Timers;

/// Most originators a node keeps: 4096 entries are 1 MiB.
pub const MAX_ORIGINATORS: usize = 4096;

/// Number of an originator in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginatorIndex(pub u32);

/// Somebody whose route a message is about: this node or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// This node.
    Own,
    /// Another originator.
    Other(OriginatorIndex),
}

/// What routing wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Announce what changed, at this time at the latest.
    AnnounceBy(Instant),
    /// Send requests: to one neighbour and acknowledged, or to all.
    Requests {
        /// The neighbour, or `None` for all.
        to: Option<LinkId>,
        /// At most [`crate::message::MAX_LIST`].
        requests: Vec<Request>,
    },
    /// Send one neighbour the current entries of these, acknowledged.
    Answer {
        /// The neighbour.
        link: LinkId,
        /// What to send.
        subjects: Vec<Subject>,
        /// Whether their anchors go along.
        with_anchors: bool,
    },
    /// Ask a neighbour for anchors, acknowledged.
    FetchAnchors {
        /// The neighbour.
        link: LinkId,
        /// Whose.
        originators: Vec<ShortId>,
    },
    /// Write this generation to disk, then call [`Router::generation_persisted`].
    PersistGeneration(u32),
}

/// Checks the signature of an anchor. A function of the caller's choice, so that a simulator of a thousand nodes in one
/// process can check each signature once.
pub type VerifyAnchor = fn(&AnchorRecord) -> bool;

/// A link as routing sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouterLink {
    pub(super) peer: ShortId,
    pub(super) cost: Cost,
    pub(super) mtu_class: u8,
    /// Whether more than 3 % of frames are lost: small changes of cost are then noise.
    pub(super) is_lossy: bool,
    /// How many more unknown originators this neighbour may introduce now.
    pub(super) introductions: f32,
    pub(super) introductions_at: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Request(OriginatorIndex, u32),
    Retract(OriginatorIndex),
    Optional(OriginatorIndex),
    SendRequests,
    SendAnswers,
    FetchAnchors,
    OwnBudget,
    Refresh(u32),
    Awaited(ShortId),
    Tidy,
}

/// What routing counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouterCounters {
    /// Changes of a next hop.
    pub next_hop_changes: u64,
    /// Times a destination was left without a feasible route.
    pub starvations: u64,
    /// Requests made.
    pub requests: u64,
    /// Requests passed on.
    pub requests_forwarded: u64,
    /// Entries refused: element does not fit, generation old.
    pub entries_refused: u64,
    /// Anchors whose signature does not fit.
    pub anchors_refused: u64,
    /// Originators refused because the table or the neighbour's allowance is full.
    pub originators_refused: u64,
}

/// The routing table.
#[derive(Debug)]
pub struct Router {
    pub(super) me: NodeAddress,
    pub(super) own: OwnOriginator,
    pub(super) table: Slots,
    pub(super) links: BTreeMap<LinkId, RouterLink>,
    /// Counts changes of what this node advertises.
    pub(super) version: u32,
    pub(super) requests: Requests,
    pub(super) awaited: BTreeMap<ShortId, Awaited>,
    /// Neighbours that wait for a checkpoint this node has to fetch first.
    pub(super) anchor_waiting: BTreeMap<OriginatorIndex, Vec<LinkId>>,
    pub(super) timers: Timers<Timer>,
    pub(super) rng: NodeRng,
    pub(super) verify: VerifyAnchor,
    pub(super) out: VecDeque<Output>,
    pub(super) counters: RouterCounters,
    /// Destinations whose next hop changed, for whoever checks for loops; `None` while nobody does.
    pub(super) changed: Option<Vec<NodeAddress>>,
}

/// How often routes nobody can reach any more are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// After how long without a route an originator is forgotten.
const FORGET_AFTER_MS: u32 = 30 * 60 * 1000;

impl Router {
    /// A table that knows nobody. `generation` is on disk already.
    pub fn new(
        now: Instant,
        identity: Arc<MeshIdentity>,
        generation: u32,
        rng: NodeRng,
        verify: VerifyAnchor,
    ) -> Self {
        let me = identity.address();
        let own = OwnOriginator::new(now, identity, generation);
        let mut router = Self {
            me,
            own,
            table: Slots::default(),
            links: BTreeMap::new(),
            version: 0,
            requests: Requests::default(),
            awaited: BTreeMap::new(),
            anchor_waiting: BTreeMap::new(),
            timers: Timers::default(),
            rng,
            verify,
            out: VecDeque::new(),
            counters: RouterCounters::default(),
            changed: None,
        };
        router.start_own(now);
        router.timers.set(now + TIDY_INTERVAL, Timer::Tidy);
        router
    }

    /// A link carries frames now.
    pub fn link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        peer: ShortId,
        cost: Cost,
        mtu_class: u8,
    ) {
        self.links.insert(
            link,
            RouterLink {
                peer,
                cost,
                mtu_class,
                is_lossy: false,
                introductions: super::learn::INTRODUCTION_BURST,
                introductions_at: now,
            },
        );
    }

    /// A link is gone: every route over it falls to its backup, or is asked for anew.
    pub fn link_down(&mut self, now: Instant, link: LinkId) {
        if self.links.remove(&link).is_none() {
            return;
        }
        self.requests.forget_link(link);
        for index in self.indices() {
            let Some(originator) = self.get_mut(index) else {
                continue;
            };
            if originator.forget(link) || originator.selected == Some(link) {
                self.recompute(now, index);
            }
        }
    }

    /// A link's cost changed.
    pub fn set_link_cost(&mut self, now: Instant, link: LinkId, cost: Cost, is_lossy: bool) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        known.is_lossy = is_lossy;
        if known.cost == cost {
            return;
        }
        known.cost = cost;
        self.recompute_over(now, link);
    }

    /// The size of packets that a link carries changed.
    pub fn set_link_mtu(&mut self, now: Instant, link: LinkId, mtu_class: u8) {
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        known.mtu_class = mtu_class;
        self.recompute_over(now, link);
    }

    fn recompute_over(&mut self, now: Instant, link: LinkId) {
        for index in self.indices() {
            if self.get(index).is_some_and(|o| o.selected == Some(link)) {
                self.recompute(now, index);
            }
        }
    }

    /// The link to send frames for `destination` on.
    pub fn next_hop(&self, destination: &ShortId) -> Option<LinkId> {
        self.get(self.table.find(destination)?)?.selected
    }

    /// The originator with this address.
    pub fn originator(&self, address: &NodeAddress) -> Option<&Originator> {
        let index = self.table.find(&address.short_id())?;
        self.get(index).filter(|known| known.address == *address)
    }

    /// The originator with this short id.
    pub fn originator_by_short_id(&self, id: &ShortId) -> Option<&Originator> {
        self.get(self.table.find(id)?)
    }

    /// All originators, in the order they were met.
    pub fn originators(&self) -> impl Iterator<Item = &Originator> {
        self.table.iter().map(|(_, originator)| originator)
    }

    /// Cost of the path to an originator over the route in use.
    pub fn path_cost(&self, originator: &Originator) -> Option<Cost> {
        let link = originator.selected?;
        let stored = originator.over(link)?;
        Some(stored.cost.plus(self.links.get(&link)?.cost))
    }

    /// Whether another feasible route stands ready.
    pub fn has_backup(&self, originator: &Originator) -> bool {
        originator.advertisements().any(|stored| {
            Some(stored.link) != originator.selected
                && self.links.contains_key(&stored.link)
                && originator.is_feasible(stored)
        })
    }

    /// What was counted.
    pub const fn counters(&self) -> RouterCounters {
        self.counters
    }

    /// Table version: counts changes of what this node advertises.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Router::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Request(index, token) => self.request_again(now, index, token),
                Timer::Retract(index) => self.retract_after_hold(now, index),
                Timer::Optional(index) => self.request_better(now, index),
                Timer::SendRequests => self.send_requests(),
                Timer::SendAnswers => self.send_answers(),
                Timer::FetchAnchors => self.send_anchor_requests(),
                Timer::OwnBudget => self.own_budget_refilled(now),
                Timer::Refresh(generation) => self.refresh_own(now, generation),
                Timer::Awaited(originator) => self.fetch_again(now, originator),
                Timer::Tidy => self.tidy(now),
            }
        }
    }

    /// Starts noting destinations whose next hop changes.
    pub fn watch_changes(&mut self) {
        self.changed = Some(Vec::new());
    }

    /// The destinations noted since the last call.
    pub fn take_changes(&mut self) -> Vec<NodeAddress> {
        self.changed
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }

    /// Bytes of memory the table takes, all of it.
    pub fn memory(&self) -> usize {
        self.table.memory() + self.requests.memory()
    }

    pub(super) fn get(&self, index: OriginatorIndex) -> Option<&Originator> {
        self.table.get(index)
    }

    pub(super) fn get_mut(&mut self, index: OriginatorIndex) -> Option<&mut Originator> {
        self.table.get_mut(index)
    }

    pub(super) fn indices(&self) -> Vec<OriginatorIndex> {
        self.table.iter().map(|(index, _)| index).collect()
    }

    fn tidy(&mut self, now: Instant) {
        let now_ms = super::originator::millis(now);
        self.requests.tidy(now);
        self.anchor_waiting.clear();
        for index in self.indices() {
            let gone = self.get(index).is_some_and(|originator| {
                originator.selected.is_none()
                    && originator.advertised.is_none()
                    && originator.advertisements().next().is_none()
                    && now_ms.wrapping_sub(originator.lost_at_ms) > FORGET_AFTER_MS
            });
            if gone {
                self.forget_originator(index);
            }
        }
        self.timers.set(now + TIDY_INTERVAL, Timer::Tidy);
    }

    pub(super) fn forget_originator(&mut self, index: OriginatorIndex) {
        if self.table.remove(index).is_some() {
            self.requests.forget(index);
        }
    }
}
