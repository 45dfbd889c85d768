//! This node as an originator: its generation and sequence number, the hash chain behind them, and the promise that a
//! generation is on disk before anybody hears of it.

use core::time::Duration;
use std::sync::Arc;

use super::LinkId;
use super::anchor::AnchorRecord;
use super::chain::{Element, HashChain, Position};
use super::freshness::Freshness;
use super::requests::BUDGET;
use super::router::{Output, Router, Subject, Timer};
use crate::crypto::{SecretKey, kdf};
use crate::identity::MeshIdentity;
use crate::message::Request;
use crate::time::Instant;

/// An originator speaks up at least this often, ...
const REFRESH_MIN: Duration = Duration::from_secs(600);
/// ... or, in large islands, once per this time and originator known.
const REFRESH_PER_ORIGINATOR: Duration = Duration::from_millis(3600);
/// A checkpoint is signed anew when the last one lies this many sequence numbers back.
const CHECKPOINT_AGE: u16 = 4;
const WAITING_MAX: usize = 64;

/// This node's own state as an originator.
#[derive(Debug)]
pub(super) struct OwnOriginator {
    identity: Arc<MeshIdentity>,
    pub(super) generation: u32,
    pub(super) seq: u16,
    chain: HashChain,
    /// The chain's element at (`seq`, 0): the proof of metric step 0.
    pub(super) element: Element,
    pub(super) anchor: AnchorRecord,
    pub(super) anchor_sent: u16,
    /// Table version at the last change.
    pub(super) version: u32,
    /// A generation that is being written to disk.
    persisting: Option<u32>,
    budget: f32,
    budget_at: Instant,
    is_deferred: bool,
    waiting: Vec<LinkId>,
    spoke_at: Instant,
}

impl OwnOriginator {
    pub(super) fn new(now: Instant, identity: Arc<MeshIdentity>, generation: u32) -> Self {
        let secret = chain_secret(&identity);
        let mut chain = HashChain::new(&secret, identity.address(), generation);
        let anchor = sign_anchor(&identity, &mut chain, 1);
        let element = best_element(&mut chain, 1);
        Self {
            identity,
            generation,
            seq: 1,
            chain,
            element,
            anchor,
            anchor_sent: 0,
            version: 0,
            persisting: None,
            budget: BUDGET,
            budget_at: now,
            is_deferred: false,
            waiting: Vec::new(),
            spoke_at: now,
        }
    }

    pub(super) const fn freshness(&self) -> Freshness {
        Freshness {
            generation: self.generation,
            seq: self.seq,
        }
    }

    /// A checkpoint from which the current element can be verified.
    pub(super) fn checkpoint(&mut self) -> AnchorRecord {
        if self.seq - self.anchor.seq > CHECKPOINT_AGE {
            self.anchor = sign_anchor(&self.identity, &mut self.chain, self.seq);
        }
        self.anchor
    }
}

/// One secret for all generations: a generation that is used again, because its number was lost with a disk, has the chain
/// it had.
fn chain_secret(identity: &MeshIdentity) -> SecretKey {
    let secret = SecretKey::new(*identity.x25519_secret());
    kdf::derive(&secret, "warren chain secret v1", &[])
}

fn sign_anchor(identity: &MeshIdentity, chain: &mut HashChain, seq: u16) -> AnchorRecord {
    // The worst element of a sequence number: knowing it improves nobody's metric.
    let element = element(chain, Position::checkpoint(seq));
    AnchorRecord::sign(identity, chain.generation(), seq, element)
}

fn best_element(chain: &mut HashChain, seq: u16) -> Element {
    element(chain, Position { seq, step: 0 })
}

fn element(chain: &mut HashChain, position: Position) -> Element {
    chain
        .element(position)
        .expect("this node's sequence numbers stay within its own chain")
}

impl Router {
    pub(super) fn start_own(&mut self, now: Instant) {
        self.version += 1;
        self.own.version = self.version;
        self.own.spoke_at = now;
        self.announce_soon(now);
        self.schedule_refresh(now);
    }

    fn schedule_refresh(&mut self, now: Instant) {
        let known = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        let interval = REFRESH_MIN.max(REFRESH_PER_ORIGINATOR * known);
        let at = now + self.rng.jitter(interval, 90, 110);
        self.timers.set(at, Timer::Refresh(self.own.generation));
    }

    pub(super) fn refresh_own(&mut self, now: Instant, generation: u32) {
        if generation != self.own.generation {
            return;
        }
        if now.since(self.own.spoke_at) > REFRESH_MIN / 2 {
            self.bump(now);
        }
        self.schedule_refresh(now);
    }

    /// Takes the next sequence number; at the end of the chain, asks for the next generation. Returns whether the number
    /// was taken.
    fn bump(&mut self, now: Instant) -> bool {
        if self.own.seq >= self.own.chain.length() {
            self.want_generation(self.own.generation.saturating_add(1));
            return false;
        }
        self.own.seq += 1;
        self.own.element = best_element(&mut self.own.chain, self.own.seq);
        self.own.spoke_at = now;
        self.version += 1;
        self.own.version = self.version;
        true
    }

    /// Asks for a generation to be written to disk.
    pub(super) fn want_generation(&mut self, generation: u32) {
        if self.own.persisting.is_none_or(|asked| asked < generation) {
            self.own.persisting = Some(generation);
            self.out.push_back(Output::PersistGeneration(generation));
        }
    }

    /// `generation` is on disk: this node speaks under it from now on.
    pub fn generation_persisted(&mut self, now: Instant, generation: u32) {
        if generation <= self.own.generation {
            return;
        }
        if self.own.persisting.is_some_and(|asked| asked <= generation) {
            self.own.persisting = None;
        }
        let own = &mut self.own;
        own.generation = generation;
        own.seq = 1;
        let secret = chain_secret(&own.identity);
        own.chain = HashChain::new(&secret, own.identity.address(), generation);
        own.anchor = sign_anchor(&own.identity, &mut own.chain, 1);
        own.element = best_element(&mut own.chain, 1);
        own.anchor_sent = 0;
        self.start_own(now);
        self.answer_own_waiting(now);
    }

    /// A neighbour asks for a newer sequence number of this node.
    pub(super) fn own_requested(&mut self, now: Instant, link: LinkId, request: &Request) {
        let mine = self.own.freshness();
        let wanted = Freshness::from_wire(request.freshness, mine.generation);
        if wanted.generation > mine.generation && wanted != mine.successor() {
            // Somebody knows this node from a later start than it knows itself: the proof decides.
            self.fetch_anchor(now, link, request.originator);
            return;
        }
        if wanted <= mine {
            self.answer(now, link, Subject::Own);
            return;
        }
        if wanted > mine.successor() {
            return;
        }
        let refill = now.since(self.own.budget_at).as_secs_f32();
        self.own.budget = (self.own.budget + refill).min(BUDGET);
        self.own.budget_at = now;
        if self.own.budget < 1.0 {
            self.own_wait(link);
            if !self.own.is_deferred {
                self.own.is_deferred = true;
                let missing = Duration::from_secs_f32(1.0 - self.own.budget);
                self.timers
                    .set(now + missing + Duration::from_millis(1), Timer::OwnBudget);
            }
            return;
        }
        self.own.budget -= 1.0;
        if self.bump(now) {
            self.answer(now, link, Subject::Own);
        } else {
            self.own_wait(link);
        }
    }

    fn own_wait(&mut self, link: LinkId) {
        if !self.own.waiting.contains(&link) && self.own.waiting.len() < WAITING_MAX {
            self.own.waiting.push(link);
        }
    }

    pub(super) fn own_budget_refilled(&mut self, now: Instant) {
        self.own.is_deferred = false;
        let refill = now.since(self.own.budget_at).as_secs_f32();
        self.own.budget = (self.own.budget + refill).min(BUDGET) - 1.0;
        self.own.budget_at = now;
        if self.bump(now) {
            self.answer_own_waiting(now);
        }
    }

    fn answer_own_waiting(&mut self, now: Instant) {
        for link in core::mem::take(&mut self.own.waiting) {
            self.answer(now, link, Subject::Own);
        }
    }
}
