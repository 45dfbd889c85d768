//! Handshakes between neighbours on their way: messages in, links out.

use super::Pending;
use crate::crypto::cookie::{Admission, address_bytes};
use crate::link::handshake::{self, responder_mac_keys};
use crate::link::{Established, LinkError, LinkIndex, Responder};
use crate::node::link::Link;
use crate::node::links::{Place, index_at};
use crate::node::{Event, Node};
use crate::routing::LinkId;
use crate::time::Instant;

/// Handshakes that wait for their third message.
const RESPONDERS_MAX: usize = 64;
/// Events nobody took yet, beyond which strangers cause no more.
const NOTES_MAX: usize = 64;

impl Node {
    pub(in crate::node) fn receive_first(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &[u8],
    ) -> bool {
        let Some(remote) = handshake::sender_index(datagram) else {
            return false;
        };
        let again =
            self.discovery.pending.values().find(|pending| {
                pending.place == from && pending.responder.remote_index() == remote
            });
        if let Some(pending) = again {
            from.send(&mut self.transmit, pending.responder.message());
            return true;
        }
        let keys = responder_mac_keys(self.identity.short_id());
        let is_calm = self.discovery.load.is_calm(now);
        let source = address_bytes(&from.transport);
        match handshake::admit(
            &self.discovery.gate,
            now,
            &keys,
            datagram,
            &source,
            !is_calm,
        ) {
            Admission::Forget => return false,
            Admission::NeedsCookie => {
                let gate = &self.discovery.gate;
                let rng = self.rng.inner();
                if let Some(reply) =
                    handshake::cookie_reply(gate, now, &keys, datagram, &source, rng)
                {
                    from.send(&mut self.transmit, &reply);
                }
                return true;
            }
            Admission::Proceed => {}
        }
        if !self.discovery.load.allow(now) {
            return true;
        }
        let index = self.unused_index();
        let mut rng = self.rng.fork();
        let Ok(responder) = Responder::accept(&self.party(), index, datagram, rng.inner()) else {
            return false;
        };
        from.send(&mut self.transmit, responder.message());
        if self.discovery.pending.len() >= RESPONDERS_MAX {
            let oldest = self
                .discovery
                .pending
                .iter()
                .min_by_key(|(_, pending)| pending.since)
                .map(|(index, _)| *index);
            if let Some(oldest) = oldest {
                self.discovery.pending.remove(&oldest);
            }
        }
        self.discovery.pending.insert(
            index.0,
            Pending {
                place: from,
                responder,
                since: now,
            },
        );
        true
    }

    pub(in crate::node) fn receive_second(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &[u8],
    ) -> bool {
        let Some(index) = index_at(datagram, 5) else {
            return false;
        };
        let Some(mut attempt) = self.discovery.attempts.remove(&index) else {
            return false;
        };
        if attempt.place != from || attempt.third.is_some() {
            let answered = attempt.third.is_some();
            self.discovery.attempts.insert(index, attempt);
            if answered {
                self.send_attempt(index);
            }
            return answered;
        }
        match attempt.initiator.finish(now, &self.party(), datagram) {
            Ok((third, established)) => {
                let installed = self.install(now, from, established);
                if let Some((id, serial)) = installed {
                    attempt.third = Some((third, id, serial));
                    attempt.tries = 0;
                    self.discovery.attempts.insert(index, attempt);
                    self.send_attempt(index);
                }
                installed.is_some()
            }
            Err(LinkError::Mac | LinkError::Index | LinkError::Length { .. }) => {
                self.discovery.attempts.insert(index, attempt);
                false
            }
            Err(error) => {
                if error == LinkError::PassphraseDiffers && self.events.len() < NOTES_MAX {
                    self.events
                        .push_back(Event::PassphraseDiffers(from.transport));
                }
                self.next_attempts(now, from.interface);
                false
            }
        }
    }

    pub(in crate::node) fn receive_third(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &[u8],
    ) -> bool {
        let Some(index) = index_at(datagram, 1) else {
            return false;
        };
        if let Some(link) = self.links.by_index(LinkIndex(index)) {
            // The link is up, our first frame in it was lost.
            self.probe_once(now, link);
            return true;
        }
        let Some(mut pending) = self.discovery.pending.remove(&index) else {
            return false;
        };
        match pending.responder.finish(now, &self.party(), datagram) {
            // Callers do not know how many others call.
            Ok(established)
                if self.has_enough(now, from.interface, established.peer_address.short_id(), 0) =>
            {
                true
            }
            Ok(established) => match self.install(now, from, established) {
                Some((id, _)) => {
                    self.confirm(now, id);
                    true
                }
                None => false,
            },
            Err(LinkError::Index | LinkError::Length { .. }) => {
                self.discovery.pending.insert(index, pending);
                false
            }
            Err(_) => false,
        }
    }

    pub(in crate::node) fn receive_cookie(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &[u8],
    ) -> bool {
        let Some(index) = index_at(datagram, 1) else {
            return false;
        };
        if let Some(attempt) = self.discovery.attempts.get_mut(&index)
            && attempt.place == from
            && attempt.initiator.take_cookie(now, datagram).is_ok()
        {
            self.send_attempt(index);
            return true;
        }
        false
    }

    /// A handshake ended: the link takes the place of an earlier one to the same neighbour.
    fn install(
        &mut self,
        now: Instant,
        from: Place,
        established: Established,
    ) -> Option<(LinkId, u32)> {
        let mtu_class = self.interfaces.get(&from.interface)?.mtu_class;
        let address = established.peer_address;
        let before = self
            .links
            .on(from.interface)
            .find(|(_, link)| link.address == address)
            .map(|(id, _)| id)
            .or_else(|| self.links.by_place(from));
        let serial = self.links.next_serial();
        let mut link = Link::new(now, serial, from, established, mtu_class);
        if let Some(id) = before {
            let was_up = self.links.get(id).is_some_and(Link::is_up);
            let same = self.links.get(id).is_some_and(|old| old.address == address);
            if let Some(old) = self.links.remove(id, same)
                && same
            {
                link.inherit(now, old);
            }
            if was_up {
                self.router.link_down(now, id);
            }
        }
        let id = self.links.insert(before, link)?;
        self.counters.handshakes += 1;
        Some((id, serial))
    }
}
