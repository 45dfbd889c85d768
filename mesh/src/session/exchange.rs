//! How sessions come about. The rules of crossing handshakes, and what a stranger may make this node do, are here and
//! nowhere else.

use core::time::Duration;

use super::control;
use super::established::{Role, Session};
use super::handshake::{self, Message, mac_keys};
use super::peer::{Answered, Attempt, Initiation};
use super::table::Sessions;
use super::{KIND_HANDSHAKE, Output, SessionError};
use crate::crypto::cipher::Suite;
use crate::crypto::cookie::Admission;
use crate::identity::{MeshPublicKey, NodeAddress, ShortId};
use crate::time::Instant;

/// The node with the lower address ignores the other's initiation while its own had at most so many tries.
const PATIENT_TRIES: u32 = 2;
/// How long a responder whose programs wait leaves it to the initiator.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// A session this new is not replaced because of a frame with an unknown index: such frames were under way.
const SETTLING: Duration = Duration::from_secs(5);
/// Strangers asked for their keys at the same time, and for how long an answer counts.
const MAX_STRANGERS: usize = 16;
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);

impl Sessions {
    /// A message of routing kind [`KIND_HANDSHAKE`] from the node with this short id.
    pub fn handle_message(
        &mut self,
        now: Instant,
        source: ShortId,
        bytes: &[u8],
    ) -> Result<(), SessionError> {
        match Message::parse(bytes)? {
            Message::Initiation { sender, noise } => {
                self.initiation(now, source, bytes, sender, noise)
            }
            Message::Response { receiver, noise } => self.response(now, bytes, receiver, noise),
            Message::Cookie { receiver, reply } => self.cookie(now, receiver, reply),
            Message::KeyRequest { key } => {
                if key.address().short_id() != source {
                    return Err(SessionError::Identity);
                }
                if !self.answers.allow(now) {
                    return Err(SessionError::Busy);
                }
                self.note_key(now, &key);
                self.send_handshake(source, handshake::key(&self.local.key));
                Ok(())
            }
            Message::Key { key } => self.key(now, source, &key),
        }
    }

    fn key(
        &mut self,
        now: Instant,
        source: ShortId,
        key: &MeshPublicKey,
    ) -> Result<(), SessionError> {
        let address = key.address();
        if address.short_id() != source {
            return Err(SessionError::Identity);
        }
        let asked = self
            .strangers
            .iter()
            .position(|(id, until)| *id == source && now <= *until);
        if let Some(position) = asked {
            self.strangers.remove(position);
            if address != self.local.address {
                let slot = self.slot_for(now, address);
                self.seek_session(now, slot);
            }
        }
        self.note_key(now, key);
        Ok(())
    }

    /// A frame names an index nobody has: its sender still uses a session that this node lost. Offers a new one.
    pub(super) fn unknown_index(&mut self, now: Instant, source: ShortId) -> SessionError {
        if let Some(slot) = self.slot_of(source) {
            let settled = self.peers[slot].as_ref().is_some_and(|peer| {
                peer.attempt.is_none()
                    && peer
                        .current
                        .as_ref()
                        .is_none_or(|current| now.since(current.created) >= SETTLING)
            });
            if settled && self.unknown.allow(now) {
                self.begin(now, slot);
            }
        } else if source != self.local.address.short_id()
            && !self
                .strangers
                .iter()
                .any(|(id, until)| *id == source && now <= *until)
            && self.unknown.allow(now)
        {
            if self.strangers.len() == MAX_STRANGERS {
                self.strangers.pop_front();
            }
            self.strangers.push_back((source, now + STRANGER_TIMEOUT));
            self.send_handshake(source, handshake::key_request(&self.local.key));
        }
        SessionError::UnknownIndex
    }

    /// The peer with this short id. (Of two with one short id the lower address wins, as everywhere.)
    fn slot_of(&self, id: ShortId) -> Option<usize> {
        let mut low = [0; 16];
        low[0] = 0xfc;
        low[1..9].copy_from_slice(&id.0);
        let low = NodeAddress::from_bytes(low)?;
        let (address, slot) = self.by_address.range(low..).next()?;
        (address.short_id() == id).then_some(*slot)
    }

    /// Sees to it that there will be a session, if there is none.
    pub(super) fn seek_session(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        if peer.can_send(now) {
            self.flush(now, slot);
            return;
        }
        if peer.attempt.is_some() {
            return;
        }
        match peer
            .next
            .as_ref()
            .map(|next| next.created + CONFIRMATION)
            .filter(|due| now < *due)
        {
            Some(due) => {
                peer.attempt = Some(Box::new(Attempt::new(due)));
                self.next_timeout = self.next_timeout.min(due);
            }
            None => self.begin(now, slot),
        }
    }

    fn begin(&mut self, now: Instant, slot: usize) {
        if let Some(peer) = self.peers[slot].as_mut() {
            peer.attempt = Some(Box::new(Attempt::new(now)));
        }
        self.attend(now, slot);
    }

    /// Sends or repeats what begins a session. False if it was tried often enough.
    pub(super) fn attempt(&mut self, now: Instant, slot: usize) -> Result<bool, SessionError> {
        let Some(peer) = self.peers[slot].as_mut() else {
            return Ok(true);
        };
        let Some(attempt) = peer.attempt.as_mut() else {
            return Ok(true);
        };
        if !attempt.again(now) {
            return Ok(false);
        }
        let address = peer.address;
        let Some(key) = peer.key else {
            let request = handshake::key_request(&self.local.key);
            self.send_handshake(address.short_id(), request);
            return Ok(true);
        };
        if attempt.initiation.is_none() {
            let index = self.new_index(slot);
            self.sequence += 1;
            let begun = self
                .local
                .initiate(&mut self.rng, &key, index, self.sequence);
            let (handshake, message) = begun.inspect_err(|_| {
                self.by_index.remove(&index);
            })?;
            if let Some(attempt) = self.peers[slot]
                .as_mut()
                .and_then(|peer| peer.attempt.as_mut())
            {
                attempt.initiation = Some(Initiation {
                    index,
                    handshake,
                    message,
                    stamped: Vec::new(),
                });
            }
        }
        if let Some(peer) = self.peers[slot].as_mut()
            && let Some(initiation) = peer
                .attempt
                .as_mut()
                .and_then(|attempt| attempt.initiation.as_mut())
        {
            initiation.stamped.clone_from(&initiation.message);
            let cookie = peer.cookie.as_ref().filter(|cookie| cookie.is_fresh(now));
            mac_keys(&address).stamp(cookie, &mut initiation.stamped);
            let message = initiation.stamped.clone();
            self.send_handshake(address.short_id(), message);
        }
        Ok(true)
    }

    fn initiation(
        &mut self,
        now: Instant,
        source: ShortId,
        bytes: &[u8],
        sender: u32,
        noise: &[u8],
    ) -> Result<(), SessionError> {
        if self.mac_keys.verify_mac1(bytes).is_none() {
            return Err(SessionError::Mac);
        }
        if let Some(peer) = self
            .slot_of(source)
            .and_then(|slot| self.peers[slot].as_ref())
        {
            if let Some(answered) = peer
                .answered
                .as_ref()
                .filter(|answered| answered.noise == noise)
            {
                let response = answered.response.clone();
                if !self.cookie_replies.allow(now) {
                    return Err(SessionError::Busy);
                }
                self.send_handshake(source, response);
                return Ok(());
            }
            let ours_first = self.local.address < peer.address
                && peer.attempt.as_ref().is_some_and(|attempt| {
                    attempt.initiation.is_some() && attempt.tries <= PATIENT_TRIES
                });
            if ours_first {
                return Err(SessionError::Stale);
            }
        }
        self.admit(now, source, bytes, sender)?;
        let initiated = self.local.read_initiation(&mut self.rng, sender, noise)?;
        let (key, freshness, features) = (initiated.key, initiated.freshness, initiated.features);
        let address = key.address();
        if address.short_id() != source || address == self.local.address {
            return Err(SessionError::Identity);
        }
        let slot = self.slot_for(now, address);
        if self.peers[slot]
            .as_ref()
            .is_some_and(|peer| peer.freshness >= Some(freshness))
        {
            return Err(SessionError::Stale);
        }
        let index = self.new_index(slot);
        let (keys, mut message) =
            self.local
                .respond(initiated, index, sender)
                .inspect_err(|_| {
                    self.by_index.remove(&index);
                })?;
        let suite = Suite::agreed(self.local.features, features);
        let lower = self.local.address < address;
        let Some(peer) = self.peers[slot].as_mut() else {
            return Ok(());
        };
        peer.key = Some(key);
        peer.freshness = Some(freshness);
        let replaced = peer.next.replace(Box::new(Session::new(
            now,
            Role::Responder,
            (index, sender),
            keys,
            suite,
        )));
        // The higher address gives up its own initiation; if the other's comes to nothing, it begins a new one.
        let mut given_up = None;
        if !lower && let Some(attempt) = peer.attempt.take() {
            given_up = attempt.initiation.map(|initiation| initiation.index);
            if peer.has_demand() {
                peer.attempt = Some(Box::new(Attempt::new(now + CONFIRMATION)));
            }
        }
        self.next_timeout = self.next_timeout.min(peer.due());
        for index in given_up
            .into_iter()
            .chain(replaced.map(|session| session.local))
        {
            self.by_index.remove(&index);
        }
        // No cookie on a response: only who waits for it works on it, and does so once.
        mac_keys(&address).stamp(None, &mut message);
        if let Some(peer) = self.peers[slot].as_mut() {
            peer.answered = Some(Answered {
                noise: noise.to_vec(),
                response: message.clone(),
            });
        }
        self.send_handshake(source, message);
        Ok(())
    }

    /// Whether curve work may be spent on an initiation. When they come fast, only on those whose sender has shown by a
    /// cookie that it gets what is sent to its short id.
    fn admit(
        &mut self,
        now: Instant,
        source: ShortId,
        bytes: &[u8],
        sender: u32,
    ) -> Result<(), SessionError> {
        if self.initiations.is_calm(now) {
            self.initiations.allow(now);
            return Ok(());
        }
        match self
            .cookies
            .admit(now, &self.mac_keys, bytes, &source.0, true)
        {
            Admission::Proceed if self.proven_initiations.allow(now) => Ok(()),
            Admission::Proceed => Err(SessionError::Busy),
            Admission::NeedsCookie => {
                if self.cookie_replies.allow(now) {
                    let reply = self.cookies.reply(
                        now,
                        &self.mac_keys,
                        bytes,
                        sender,
                        &source.0,
                        &mut self.rng,
                    );
                    self.send_handshake(source, handshake::cookie(&reply));
                }
                Err(SessionError::Busy)
            }
            Admission::Forget => Err(SessionError::Mac),
        }
    }

    /// The peer is busy and wants the initiation again with a cookie: at once, for the first one.
    fn cookie(&mut self, now: Instant, receiver: u32, reply: &[u8]) -> Result<(), SessionError> {
        let slot = *self.by_index.get(&receiver).ok_or(SessionError::Stale)?;
        let peer = self.peers[slot].as_mut().ok_or(SessionError::Stale)?;
        let attempt = peer.attempt.as_mut().ok_or(SessionError::Stale)?;
        let begun = attempt
            .initiation
            .as_ref()
            .filter(|initiation| initiation.index == receiver);
        let stamped = &begun.ok_or(SessionError::Stale)?.stamped;
        let opened = mac_keys(&peer.address).open_reply(now, stamped, reply);
        let (_, cookie) = opened.map_err(|_| SessionError::Mac)?;
        let first = peer
            .cookie
            .as_ref()
            .is_none_or(|cookie| !cookie.is_fresh(now));
        peer.cookie = Some(cookie);
        if first {
            attempt.due = now;
            self.attend(now, slot);
        }
        Ok(())
    }

    fn response(
        &mut self,
        now: Instant,
        bytes: &[u8],
        receiver: u32,
        noise: &[u8],
    ) -> Result<(), SessionError> {
        if self.mac_keys.verify_mac1(bytes).is_none() {
            return Err(SessionError::Mac);
        }
        let slot = *self.by_index.get(&receiver).ok_or(SessionError::Stale)?;
        let peer = self.peers[slot].as_mut().ok_or(SessionError::Stale)?;
        let attempt = peer.attempt.as_mut().ok_or(SessionError::Stale)?;
        let begun = attempt
            .initiation
            .as_mut()
            .filter(|initiation| initiation.index == receiver);
        let (sender, features) =
            handshake::read_response(&mut begun.ok_or(SessionError::Stale)?.handshake, noise)?;
        let initiation = attempt.initiation.take().ok_or(SessionError::Stale)?;
        let keys = initiation.handshake.split()?;
        let suite = Suite::agreed(self.local.features, features);
        // Only the lower address may hold a session it answered as well: its own initiation counts.
        let dropped = peer.next.take();
        if let Some(dropped) = dropped {
            self.by_index.remove(&dropped.local);
        }
        self.install(
            now,
            slot,
            Box::new(Session::new(
                now,
                Role::Initiator,
                (receiver, sender),
                keys,
                suite,
            )),
        );
        if !self.flush(now, slot) {
            // The responder waits for a frame before it uses the session.
            self.send_control(now, slot, control::KEEP_ALIVE, 0, &[]);
        }
        Ok(())
    }

    pub(super) fn send_handshake(&mut self, to: ShortId, bytes: Vec<u8>) {
        self.outputs.push_back(Output {
            to,
            kind: KIND_HANDSHAKE,
            bytes,
        });
    }
}
