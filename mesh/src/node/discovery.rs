//! Finding neighbours: beacons are answered, the lower short id starts the handshake, at most four run at once on an
//! interface, so that forged beacons do not buy curve work.

mod handshakes;

use core::time::Duration;
use std::collections::BTreeMap;

use rand_core::CryptoRng;

use super::link::{Link, LinkState};
use super::links::Place;
use super::{Node, Timer};
use crate::crypto::cookie::CookieGate;
use crate::identity::ShortId;
use crate::link::{Beacon, Initiator, LinkIndex, Responder};
use crate::message::Message;
use crate::packet::bucket::TokenBucket;
use crate::routing::LinkId;
use crate::time::Instant;
use crate::transmit::InterfaceId;

/// Handshakes in flight on one interface.
const ATTEMPTS_PER_INTERFACE: usize = 4;
/// First wait for an answer; it doubles every three tries ...
const RETRY: Duration = Duration::from_millis(60);
/// ... until these are used up.
const TRIES: u32 = 9;
/// As many new links as are wanted within this time are a rush.
const RUSH: Duration = Duration::from_secs(1);
/// Neighbours an interface links up with although they can be reached already, as far as it has the choice: handshakes
/// that are on their way when it becomes full are finished.
const NEIGHBOURS_WANTED: usize = 12;
/// Nobody is sent unicast beacons or resuming probes oftener than this.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
/// The same for who has neighbours enough: on a crowded medium, frames of others are always heard.
const FULL_INTERVAL: Duration = Duration::from_secs(10);
/// A neighbour that was heard this recently is not taken for restarted.
const HEARD_RECENTLY: Duration = Duration::from_millis(300);
/// How long a handshake waits for its third message.
const RESPONDER_KEPT: Duration = Duration::from_secs(5);
const ANSWERED_MAX: usize = 256;
const WANTED_MAX: usize = 64;
/// Handshake messages that may come at once and per second before cookies are asked for.
const CALM_BURST: u32 = 64;
const CALM_RATE: u32 = 32;
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// A handshake this node began.
#[derive(Debug)]
struct Attempt {
    place: Place,
    initiator: Initiator,
    /// The last message and the link it is for, once there is one.
    third: Option<(Vec<u8>, LinkId, u32)>,
    tries: u32,
}

/// A handshake somebody else began.
#[derive(Debug)]
struct Pending {
    place: Place,
    responder: Responder,
    since: Instant,
}

/// Beacons and handshakes in progress.
#[derive(Debug)]
pub(super) struct Discovery {
    attempts: BTreeMap<u32, Attempt>,
    wanted: BTreeMap<Place, ShortId>,
    pending: BTreeMap<u32, Pending>,
    answered: BTreeMap<Place, Instant>,
    gate: CookieGate,
    load: TokenBucket,
}

impl Discovery {
    pub(super) fn new<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self {
            attempts: BTreeMap::new(),
            wanted: BTreeMap::new(),
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
            gate: CookieGate::new(rng),
            load: TokenBucket::new(CALM_BURST, CALM_RATE),
        }
    }

    pub(super) fn forget_interface(&mut self, interface: InterfaceId) {
        self.attempts
            .retain(|_, attempt| attempt.place.interface != interface);
        self.pending
            .retain(|_, pending| pending.place.interface != interface);
        self.wanted
            .retain(|wanted, _| wanted.interface != interface);
    }

    fn running(&self, interface: InterfaceId) -> usize {
        self.attempts
            .values()
            .filter(|attempt| attempt.place.interface == interface)
            .count()
    }

    fn tries(&self, place: Place) -> bool {
        self.attempts.values().any(|attempt| attempt.place == place)
    }
}

impl Node {
    /// A beacon for all, from an interface without neighbours.
    pub(super) fn lonely_beacon(&self) -> Beacon {
        Beacon {
            sender: self.identity.short_id(),
            is_answer: false,
            is_full: false,
            epoch: self.epoch,
            features: 0,
        }
    }

    pub(super) fn receive_beacon(&mut self, now: Instant, from: Place, datagram: &[u8]) -> bool {
        let Ok(beacon) = Beacon::decode(datagram) else {
            return false;
        };
        if beacon.sender == self.identity.short_id() {
            return true;
        }
        if !beacon.is_answer {
            self.somebody(now, from, beacon.sender);
            return true;
        }
        // An answer: whoever sends it has no session with us.
        let link = self.links.by_place(from);
        if let Some(link) = link.and_then(|link| self.links.get_mut(link)) {
            match link.state {
                LinkState::Up if now.since(link.last_heard) < HEARD_RECENTLY => return true,
                LinkState::Suspended(_) => link.state = LinkState::Suspended(Instant::ZERO),
                LinkState::Up | LinkState::Unconfirmed => {}
            }
        }
        let is_spare = self.router.next_hop(&beacon.sender).is_some()
            && !self.is_neighbour(from.interface, beacon.sender);
        if !beacon.is_full || !is_spare {
            self.link_or_answer(now, from, beacon.sender);
        }
        true
    }

    /// Somebody without a session was heard.
    fn somebody(&mut self, now: Instant, from: Place, sender: ShortId) {
        if self.discovery.tries(from) {
            return;
        }
        if let Some(link) = self.links.by_place(from)
            && self.try_resume(now, link)
        {
            return;
        }
        self.link_or_answer(now, from, sender);
    }

    /// A frame came that belongs to no session here. Who sent it is unknown unless there is a link to that address.
    pub(super) fn unknown_frame(&mut self, now: Instant, from: Place) {
        match self.links.by_place(from) {
            Some(id) => {
                let Some(short) = self.links.get(id).map(|link| link.short) else {
                    return;
                };
                if self.links.get(id).is_some_and(Link::is_up) {
                    // It may have suspended this link: anything in the session brings it back.
                    self.probe_once(now, id);
                } else {
                    self.somebody(now, from, short);
                }
            }
            None => self.answer_with_beacon(now, from),
        }
    }

    /// Sends a suspended link one probe, if its keys are still good.
    fn try_resume(&mut self, now: Instant, id: LinkId) -> bool {
        let resumable = self
            .links
            .get(id)
            .is_some_and(|link| link.is_resumable(now));
        if resumable {
            self.probe_once(now, id);
        }
        resumable
    }

    fn probe_once(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && link
                .resumed_try
                .is_none_or(|tried| now.since(tried) >= ANSWER_INTERVAL)
        {
            link.resumed_try = Some(now);
            self.send_control(id, &[Message::Probe]);
        }
    }

    fn link_or_answer(&mut self, now: Instant, from: Place, sender: ShortId) {
        let on_their_way = self.discovery.running(from.interface);
        if self.has_enough(now, from.interface, sender, on_their_way) {
            return;
        }
        if self.identity.short_id() < sender {
            if self.discovery.tries(from) {
                return;
            }
            if self.discovery.wanted.len() < WANTED_MAX {
                self.discovery.wanted.insert(from, sender);
            }
            self.next_attempts(now, from.interface);
        } else {
            self.answer_with_beacon(now, from);
        }
    }

    /// Whether a link to `sender` is not wanted: with those that are on their way, twelve are enough on one interface, and
    /// any that is the only way to somebody. Who is one stays one. Those who all call at once may just not be known yet
    /// to be reachable: they find others.
    fn has_enough(
        &self,
        now: Instant,
        interface: InterfaceId,
        sender: ShortId,
        on_their_way: usize,
    ) -> bool {
        let up = || self.links.up_on(interface).map(|(_, link)| link);
        if up().count() + on_their_way < NEIGHBOURS_WANTED || self.is_neighbour(interface, sender) {
            return false;
        }
        let is_young = |link: &&Link| now.since(link.session.since()) < RUSH;
        self.router.next_hop(&sender).is_some()
            || up().filter(is_young).count() >= NEIGHBOURS_WANTED
    }

    fn is_neighbour(&self, interface: InterfaceId, sender: ShortId) -> bool {
        self.links
            .on(interface)
            .any(|(_, link)| link.short == sender)
    }

    fn is_full(&self, interface: InterfaceId) -> bool {
        self.links.up_on(interface).count() >= NEIGHBOURS_WANTED
    }

    fn answer_with_beacon(&mut self, now: Instant, to: Place) {
        let is_full = self.is_full(to.interface);
        let interval = if is_full {
            FULL_INTERVAL
        } else {
            ANSWER_INTERVAL
        };
        let last = self.discovery.answered.get(&to);
        if last.is_some_and(|last| now.since(*last) < interval) {
            return;
        }
        if self.discovery.answered.len() >= ANSWERED_MAX {
            self.discovery.answered.clear();
        }
        self.discovery.answered.insert(to, now);
        let beacon = Beacon {
            is_answer: true,
            is_full,
            ..self.lonely_beacon()
        };
        to.send(&mut self.transmit, &beacon.encode());
    }

    fn next_attempts(&mut self, now: Instant, interface: InterfaceId) {
        loop {
            if self.discovery.running(interface) >= ATTEMPTS_PER_INTERFACE {
                return;
            }
            let waiting: Vec<_> = self
                .discovery
                .wanted
                .iter()
                .filter(|(place, _)| place.interface == interface)
                .map(|(place, peer)| (*place, *peer))
                .collect();
            if waiting.is_empty() {
                return;
            }
            // Any of them, or one would be everybody's neighbour; and not if it became one too many meanwhile.
            let (place, peer) = waiting[self.rng.u32() as usize % waiting.len()];
            self.discovery.wanted.remove(&place);
            if self.discovery.tries(place)
                || self.has_enough(now, interface, peer, self.discovery.running(interface))
            {
                continue;
            }
            let index = self.unused_index();
            let mut rng = self.rng.fork();
            let Ok(initiator) = Initiator::start(&self.party(), peer, index, rng.inner()) else {
                continue;
            };
            self.discovery.attempts.insert(
                index.0,
                Attempt {
                    place,
                    initiator,
                    third: None,
                    tries: 0,
                },
            );
            self.attempt_due(now, index.0);
        }
    }

    fn unused_index(&mut self) -> LinkIndex {
        loop {
            let index = self.rng.u32();
            if self.links.by_index(LinkIndex(index)).is_none()
                && !self.discovery.attempts.contains_key(&index)
                && !self.discovery.pending.contains_key(&index)
            {
                return LinkIndex(index);
            }
        }
    }

    /// Sends the last message of a handshake again, or gives up.
    pub(super) fn attempt_due(&mut self, now: Instant, index: u32) {
        let Some(attempt) = self.discovery.attempts.get_mut(&index) else {
            return;
        };
        if attempt.tries >= TRIES {
            self.end_attempt(now, index);
            return;
        }
        attempt.tries += 1;
        let wait = RETRY * (1 << ((attempt.tries - 1) / 3).min(3));
        self.timers.set(now + wait, Timer::Attempt(index));
        self.send_attempt(index);
    }

    fn send_attempt(&mut self, index: u32) {
        if let Some(attempt) = self.discovery.attempts.get(&index) {
            let message = match &attempt.third {
                Some((third, _, _)) => third,
                None => attempt.initiator.message(),
            };
            attempt.place.send(&mut self.transmit, message);
        }
    }

    fn end_attempt(&mut self, now: Instant, index: u32) {
        let Some(attempt) = self.discovery.attempts.remove(&index) else {
            return;
        };
        if let Some((_, id, serial)) = attempt.third
            && self
                .links
                .same(id, serial)
                .is_some_and(|link| link.state == LinkState::Unconfirmed)
        {
            self.links.remove(id, false);
        }
        self.next_attempts(now, attempt.place.interface);
    }

    /// The neighbour was heard in the session of a handshake: no more messages are needed.
    pub(super) fn attempt_done(&mut self, now: Instant, interface: InterfaceId, serial: u32) {
        self.discovery.attempts.retain(|_, attempt| {
            attempt
                .third
                .as_ref()
                .is_none_or(|(_, _, of)| *of != serial)
        });
        self.next_attempts(now, interface);
    }

    pub(super) fn start_tidying(&mut self, now: Instant) {
        self.timers.set(now + TIDY_INTERVAL, Timer::Tidy);
    }

    /// Forgets handshakes that did not end, and asks for new sessions on links whose keys are old.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.discovery
            .pending
            .retain(|_, pending| now.since(pending.since) < RESPONDER_KEPT);
        self.discovery
            .answered
            .retain(|_, at| now.since(*at) < FULL_INTERVAL);
        let me = self.identity.short_id();
        let old: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_up() && link.session.needs_rekey(now) && me < link.short)
            .map(|(_, link)| (link.place(), link.short))
            .collect();
        for (place, peer) in old {
            if !self.discovery.tries(place) {
                self.discovery.wanted.insert(place, peer);
                self.next_attempts(now, place.interface);
            }
        }
        self.start_tidying(now);
    }
}
