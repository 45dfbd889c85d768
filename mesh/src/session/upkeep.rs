//! What established sessions say to each other, and everything that is due at some time: repeated handshakes, keep-alives,
//! requests, and forgetting. Decides nothing about who may begin a session.

use core::time::Duration;

use rand_core::Rng;

use super::control::{self, Request};
use super::established::PREFIX;
use super::peer::{Attempt, IDLE, UNANSWERED, is_packet};
use super::table::{Sealer, Sessions};
use super::{KIND_DATA, Output, SessionEvent, sealed_len};
use crate::descriptor::Descriptor;
use crate::identity::NodeAddress;
use crate::packet::inner::{INNER_LEN, InnerHeader};
use crate::packet::ipv6::HEADER_LEN;
use crate::time::Instant;

/// A handshake that failed in the background is tried again after this time.
const REST: Duration = Duration::from_secs(60);

impl Sessions {
    /// Sends what waited for a session. True if a frame went out.
    pub(super) fn flush(&mut self, now: Instant, slot: usize) -> bool {
        let Some(peer) = self.peers[slot].as_mut().filter(|peer| peer.can_send(now)) else {
            return false;
        };
        self.waiting_bytes -= peer.waiting_bytes();
        let waiting = peer.take_waiting();
        let mut sent = false;
        for inner in waiting {
            sent |= self.send_inner(now, slot, &inner);
        }
        if let Some(peer) = self.peers[slot].as_mut()
            && let Some(request) = peer.request.as_mut()
        {
            request.due = now;
            sent = true;
            self.attend(now, slot);
        }
        sent
    }

    fn send_inner(&mut self, now: Instant, slot: usize, inner: &[u8]) -> bool {
        let Some((header, text)) = inner.split_first_chunk::<INNER_LEN>() else {
            return false;
        };
        let Ok(header) = InnerHeader::parse(*header) else {
            return false;
        };
        let Some(peer) = self.peers[slot].as_mut() else {
            return false;
        };
        if !peer
            .current
            .as_mut()
            .is_some_and(|current| current.send.prepare(now))
        {
            return false;
        }
        let to = peer.address.short_id();
        let mut frame = vec![0; sealed_len(text.len())];
        frame[PREFIX + INNER_LEN..PREFIX + inner.len()].copy_from_slice(text);
        let wants_answer = !matches!(
            header,
            InnerHeader::Control {
                message: control::KEEP_ALIVE,
                ..
            }
        );
        let sealer = Sealer {
            peer,
            now,
            next_timeout: &mut self.next_timeout,
        };
        if sealer.finish(header, &mut frame, wants_answer).is_err() {
            return false;
        }
        self.outputs.push_back(Output {
            to,
            kind: KIND_DATA,
            bytes: frame,
        });
        true
    }

    pub(super) fn send_control(
        &mut self,
        now: Instant,
        slot: usize,
        message: u8,
        request: u32,
        body: &[u8],
    ) {
        let mut inner = InnerHeader::Control { message, request }
            .to_bytes()
            .to_vec();
        inner.extend_from_slice(body);
        self.send_inner(now, slot, &inner);
    }

    /// What this node answers when asked for its descriptor: its encoded, signed form. Those who asked before, and whose
    /// sessions are still there, are told that there is another one: of the first change at once, of those that follow
    /// soon together.
    pub fn set_descriptor(&mut self, now: Instant, encoded: Vec<u8>) {
        self.descriptor = encoded;
        self.news_due = self.news_due.min(self.news_from.max(now));
        self.next_timeout = self.next_timeout.min(self.news_due);
        self.tell_news(now);
    }

    /// Says it if it is due.
    pub(super) fn tell_news(&mut self, now: Instant) {
        if self.news_due <= now {
            self.news_due = Instant::NEVER;
            for slot in 0..self.peers.len() {
                if let Some(peer) = self.peers[slot].as_mut()
                    && peer.reads
                    && peer.can_send(now)
                {
                    peer.news = Some(Request::new(now, 0));
                    self.news_from = now + control::NEWS_EVERY;
                    self.attend(now, slot);
                }
            }
        }
        self.next_timeout = self.next_timeout.min(self.news_due);
    }

    /// Asks a node for its descriptor, with a session made for it if need be. A [`SessionEvent::Descriptor`] or
    /// [`SessionEvent::DescriptorTimeout`] follows.
    pub fn request_descriptor(&mut self, now: Instant, of: NodeAddress) {
        let slot = self.slot_for(now, of);
        let id = self.rng.next_u32();
        if let Some(peer) = self.peers[slot].as_mut() {
            peer.used = now;
            peer.wanted = Some(now);
            peer.hears_from.get_or_insert(now);
            if peer.request.is_none() {
                peer.request = Some(Request::new(now, id));
            }
        }
        self.seek_session(now, slot);
    }

    /// A control message from a peer.
    pub(super) fn control(
        &mut self,
        now: Instant,
        slot: usize,
        message: u8,
        request: u32,
        body: &[u8],
    ) {
        match message {
            control::DESCRIPTOR_REQUEST => self.answer_descriptor(now, slot, request),
            control::DESCRIPTOR => self.take_descriptor(slot, request, body),
            control::DESCRIPTOR_CHANGED => self.hear_news(now, slot),
            _ => {}
        }
    }

    /// A descriptor that this node asked for is another one now: it asks again, though not as often as a peer likes.
    fn hear_news(&mut self, now: Instant, slot: usize) {
        let id = self.rng.next_u32();
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        if peer.request.is_none() && peer.hears_from.is_some_and(|from| from <= now) {
            peer.hears_from = Some(now + control::NEWS_REST);
            peer.request = Some(Request::new(now, id));
            self.attend(now, slot);
        }
    }

    fn answer_descriptor(&mut self, now: Instant, slot: usize, request: u32) {
        if let Some(peer) = self.peers[slot].as_mut() {
            peer.reads = true;
            peer.news = None;
        }
        if !self.descriptor.is_empty() && self.answers.allow(now) {
            let descriptor = self.descriptor.clone();
            self.send_control(now, slot, control::DESCRIPTOR, request, &descriptor);
        }
    }

    fn take_descriptor(&mut self, slot: usize, request: u32, body: &[u8]) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        // Only what was asked for is worth a signature check.
        if peer
            .request
            .as_ref()
            .is_none_or(|asked| asked.id != request)
        {
            return;
        }
        let address = peer.address;
        if let Ok(descriptor) = Descriptor::decode(body)
            && descriptor.key.address() == address
        {
            peer.request = None;
            let descriptor = Box::new(descriptor);
            self.events
                .push_back(SessionEvent::Descriptor(address, descriptor));
        }
    }

    /// Does what is due for one peer and notes when it wants to be seen again.
    pub(super) fn attend(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        if now >= peer.used + IDLE {
            self.fail_request(slot);
            self.remove(slot);
            return;
        }
        if peer.before.as_ref().is_some_and(|(_, until)| *until <= now)
            && let Some((old, _)) = peer.before.take()
        {
            self.by_index.remove(&old.local);
        }
        if peer
            .next
            .as_ref()
            .is_some_and(|next| next.created + IDLE <= now)
            && let Some(unconfirmed) = peer.next.take()
        {
            self.by_index.remove(&unconfirmed.local);
        }
        if let Some(current) = peer.current.as_mut() {
            current.receive.forget_old(now);
        }
        if peer.rekey_due() <= now {
            peer.attempt = Some(Box::new(Attempt::new(now)));
        }
        if peer
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.due <= now)
            && !matches!(self.attempt(now, slot), Ok(true))
        {
            self.attempt_failed(now, slot);
        }
        self.attend_session(now, slot);
        if let Some(peer) = &self.peers[slot] {
            self.next_timeout = self.next_timeout.min(peer.due());
        }
    }

    fn attend_session(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers[slot]
            .as_mut()
            .filter(|peer| peer.current.is_some())
        else {
            return;
        };
        if peer.keep_alive.is_some_and(|due| due <= now) {
            peer.keep_alive = None;
            self.send_control(now, slot, control::KEEP_ALIVE, 0, &[]);
        }
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        if let Some(request) = peer.request.as_mut().filter(|request| request.due <= now) {
            let (again, id) = (request.again(now), request.id);
            if again {
                self.send_control(now, slot, control::DESCRIPTOR_REQUEST, id, &[]);
            } else {
                self.fail_request(slot);
            }
        }
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        if let Some(news) = peer.news.as_mut().filter(|news| news.due <= now) {
            if news.again(now) {
                self.send_control(now, slot, control::DESCRIPTOR_CHANGED, 0, &[]);
            } else {
                // It has other worries, or is of a version that does not know what this means.
                peer.news = None;
            }
        }
    }

    fn fail_request(&mut self, slot: usize) {
        if let Some(peer) = self.peers[slot].as_mut()
            && peer.request.take().is_some()
        {
            self.events
                .push_back(SessionEvent::DescriptorTimeout(peer.address));
        }
    }

    /// Nobody answered the handshake: what waited comes back. A session that got no answers either is not sent by any more.
    fn attempt_failed(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        let index = peer
            .attempt
            .take()
            .and_then(|attempt| attempt.initiation)
            .map(|initiation| initiation.index);
        peer.rest = now + REST;
        let silent = peer
            .unanswered
            .is_some_and(|since| now.since(since) >= UNANSWERED);
        peer.is_lost |= silent;
        peer.unanswered = peer.unanswered.filter(|_| !silent);
        let can_send = peer.can_send(now);
        if let Some(index) = index {
            self.by_index.remove(&index);
        }
        if !can_send {
            self.fail_request(slot);
            self.give_up_waiting(slot);
        }
    }

    pub(super) fn give_up_waiting(&mut self, slot: usize) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        self.waiting_bytes -= peer.waiting_bytes();
        let address = peer.address;
        for inner in peer
            .take_waiting()
            .into_iter()
            .filter(|inner| is_packet(inner))
        {
            let Some((header, payload)) = inner.split_first_chunk::<INNER_LEN>() else {
                continue;
            };
            if let Ok(InnerHeader::Ipv6(header)) = InnerHeader::parse(*header) {
                let mut packet = vec![0; HEADER_LEN + payload.len()];
                if header
                    .expand_into(&self.local.address, &address, payload, true, &mut packet)
                    .is_ok()
                {
                    self.events.push_back(SessionEvent::Undelivered(packet));
                }
            }
        }
    }
}
