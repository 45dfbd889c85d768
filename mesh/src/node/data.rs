//! The data plane: packets of people's programs go out sealed end to end, frames of others are passed on, packets for
//! this node come in. Nothing is allocated per packet once the queues are warm; a relay copies a payload and seals a
//! header of twenty bytes.

use std::collections::VecDeque;

use super::links::Place;
use super::{Checksum, Node};
use crate::identity::ShortId;
use crate::link::routing_header::INITIAL_TTL;
use crate::link::session::DATA_HEADER_LEN;
use crate::link::{OpenedData, Part, PayloadKind, RoutingHeader};
use crate::packet::icmpv6::{self, MAX_ERROR_LEN, Problem};
use crate::packet::inner::Compressed;
use crate::packet::ipv6::HEADER_LEN;
use crate::packet::policy::Verdict;
use crate::routing::LinkId;
use crate::routing::mtu;
use crate::session::{self, Opened, sealed_len};
use crate::time::Instant;
use crate::transmit::{Destination, TransmitQueue};

/// First halves that wait for their second ones.
const HALVES_MAX: usize = 16;

/// Payloads too large for a carrier travel as two halves over that link.
#[derive(Debug, Default)]
pub(super) struct Halves(VecDeque<Half>);

#[derive(Debug)]
struct Half {
    link: LinkId,
    counter: u64,
    bytes: Vec<u8>,
}

impl Halves {
    fn keep(&mut self, link: LinkId, counter: u64, bytes: &[u8]) {
        if self.0.len() >= HALVES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Half {
            link,
            counter,
            bytes: bytes.to_vec(),
        });
    }

    /// The whole payload, when `bytes` is the second half to a first one that came.
    fn join(&mut self, link: LinkId, counter: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let position = self
            .0
            .iter()
            .position(|half| half.link == link && half.counter.wrapping_add(1) == counter)?;
        let mut half = self.0.remove(position)?;
        half.bytes.extend_from_slice(bytes);
        Some(half.bytes)
    }
}

impl Node {
    /// A packet of this node's own programs.
    pub(super) fn send_inner(
        &mut self,
        now: Instant,
        head: &[u8],
        payload: &[u8],
        checksum: Checksum,
    ) {
        let own = self.identity.address();
        let Ok(packet) = Compressed::new(&own, head, payload.len(), checksum) else {
            self.counters.rejected += 1;
            return;
        };
        let route = self
            .router
            .originator(&packet.destination)
            .and_then(|originator| {
                let said = originator.advertised?;
                Some((originator.selected?, said.mtu_class, originator.anchor.key))
            });
        let Some((id, class, key)) = route else {
            self.counters.no_route += 1;
            self.tell_own(now, Problem::NoRoute, head, payload);
            return;
        };
        let path_mtu = mtu::size_of_class(class);
        if head.len() + payload.len() > usize::from(path_mtu) {
            self.tell_own(now, Problem::TooBig { mtu: path_mtu }, head, payload);
            return;
        }
        self.gate.outbound(
            now,
            &packet.destination,
            packet.header.next_header,
            packet.head,
        );
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let Ok(sealer) = self.sessions.sealer(now, &packet.destination) else {
            if self.sessions.queue(now, &packet, payload).is_err() {
                self.counters.rejected += 1;
            }
            self.sessions.note_key(now, &key);
            return;
        };
        let payload_len = sealed_len(packet.head.len() + payload.len());
        let header = RoutingHeader {
            ttl: INITIAL_TTL,
            kind: PayloadKind::SESSION,
            source: own.short_id(),
            destination: packet.destination.short_id(),
            payload_len: payload_len as u16,
        };
        let fits = self
            .interfaces
            .get(&link.interface)
            .is_some_and(|interface| DATA_HEADER_LEN + payload_len <= interface.mtu);
        let sealed = if fits {
            self.transmit.push_with(
                link.interface,
                Destination::Unicast(link.transport),
                DATA_HEADER_LEN + payload_len,
                |frame| {
                    let sealed = sealer.seal(&packet, payload, &mut frame[DATA_HEADER_LEN..]);
                    sealed.is_ok() && link.session.seal_data(&header, frame).is_ok()
                },
            )
        } else {
            let mut whole = vec![0; payload_len];
            let sealed = sealer.seal(&packet, payload, &mut whole).is_ok();
            if sealed {
                self.send_halves(id, &header, &whole);
            }
            sealed
        };
        if sealed {
            self.counters.sent += 1;
        } else {
            self.counters.rejected += 1;
        }
        self.expect_answer(now, id);
    }

    /// A message of the session layer.
    pub(super) fn send_payload(&mut self, now: Instant, output: session::Output) {
        let header = RoutingHeader {
            ttl: INITIAL_TTL,
            kind: PayloadKind(output.kind),
            source: self.identity.short_id(),
            destination: output.to,
            payload_len: u16::try_from(output.bytes.len()).unwrap_or(u16::MAX),
        };
        match self.router.next_hop(&output.to) {
            Some(link) => self.forward(now, link, &header, &output.bytes),
            None => self.counters.no_route += 1,
        }
    }

    /// Sends a payload over a link.
    fn forward(&mut self, now: Instant, id: LinkId, header: &RoutingHeader, payload: &[u8]) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let Some(interface) = self.interfaces.get(&link.interface) else {
            return;
        };
        let len = DATA_HEADER_LEN + payload.len();
        if len <= interface.mtu {
            let to = Destination::Unicast(link.transport);
            let sealed =
                self.transmit
                    .push_behind(link.interface, to, DATA_HEADER_LEN, payload, |frame| {
                        link.session.seal_data(header, frame)
                    });
            if sealed.is_err() {
                self.counters.rejected += 1;
            }
        } else {
            self.send_halves(id, header, payload);
        }
        self.expect_answer(now, id);
    }

    fn send_halves(&mut self, id: LinkId, header: &RoutingHeader, payload: &[u8]) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        let (first, second) = payload.split_at(Part::First.len_of(payload.len()));
        for (part, half) in [(Part::First, first), (Part::Second, second)] {
            let to = Destination::Unicast(link.transport);
            let sealed =
                self.transmit
                    .push_behind(link.interface, to, DATA_HEADER_LEN, half, |frame| {
                        link.session.seal_part(part, header, frame)
                    });
            if sealed.is_err() {
                self.counters.rejected += 1;
            }
        }
    }

    pub(super) fn receive_data(&mut self, now: Instant, from: Place, datagram: &mut [u8]) -> bool {
        let Some((id, index)) = self.link_of_frame(now, from, datagram) else {
            return false;
        };
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let opened = link
            .receiver(now, index)
            .map(|receiver| receiver.open_data(datagram));
        let Some(Ok(opened)) = opened else {
            return false;
        };
        if link.is_up() {
            link.last_heard = now;
        } else {
            self.heard(now, id);
        }
        let OpenedData {
            header,
            part,
            counter,
            payload,
        } = opened;
        match part {
            Part::Whole => self.route(now, header, &mut datagram[payload]),
            Part::First => self.halves.keep(id, counter, &datagram[payload]),
            Part::Second => {
                if let Some(mut whole) = self.halves.join(id, counter, &datagram[payload]) {
                    self.route(now, header, &mut whole);
                }
            }
        }
        true
    }

    /// A payload came over a link: ours, or to pass on.
    fn route(&mut self, now: Instant, mut header: RoutingHeader, payload: &mut [u8]) {
        if header.destination == self.identity.short_id() {
            self.counters.received += 1;
            self.arrived(now, header.kind, header.source, payload);
            return;
        }
        if header.ttl <= 1 {
            self.counters.ttl_exceeded += 1;
            return;
        }
        header.ttl = header.ttl.min(INITIAL_TTL) - 1;
        match self.router.next_hop(&header.destination) {
            Some(link) => {
                self.counters.forwarded += 1;
                self.forward(now, link, &header, payload);
            }
            None => self.counters.no_route += 1,
        }
    }

    fn arrived(&mut self, now: Instant, kind: PayloadKind, source: ShortId, payload: &mut [u8]) {
        match kind {
            PayloadKind::SESSION => self.open_session(now, source, payload),
            PayloadKind::HANDSHAKE => {
                if self.sessions.handle_message(now, source, payload).is_err() {
                    self.counters.rejected += 1;
                }
            }
            _ => self.counters.rejected += 1,
        }
    }

    fn open_session(&mut self, now: Instant, source: ShortId, frame: &mut [u8]) {
        let own = self.identity.address();
        let (peer, header, payload) = match self.sessions.open(now, source, frame) {
            Ok(Opened::Packet {
                peer,
                header,
                payload,
            }) => (peer, header, payload),
            Ok(Opened::Control) => return,
            Err(_) => {
                self.counters.rejected += 1;
                return;
            }
        };
        let len = HEADER_LEN + payload.len();
        if self.gate.inbound(now, &peer, header.next_header, payload) == Verdict::Refuse {
            self.counters.refused += 1;
            let mut packet = vec![0; len];
            let expanded = header.expand_into(&peer, &own, payload, true, &mut packet);
            if expanded.is_ok() && self.icmp_errors.allow(now) {
                let mut error = [0; MAX_ERROR_LEN];
                let problem = Problem::AdminProhibited;
                let made = icmpv6::error(problem, own.as_bytes(), &packet, &[], &mut error);
                if let Some(len) = made {
                    self.send_inner(now, &error[..len], &[], Checksum::Complete);
                }
            }
            return;
        }
        let delivered = self.deliver.push_with(len, |packet| {
            header.expand_into(&peer, &own, payload, false, packet)
        });
        if delivered.is_err() {
            self.counters.rejected += 1;
        }
    }

    /// A packet waited for a session in vain.
    pub(super) fn undelivered(&mut self, now: Instant, packet: &[u8]) {
        self.tell_own(now, Problem::AddressUnreachable, packet, &[]);
    }

    /// Answers a packet of this node's own programs with an ICMPv6 error.
    fn tell_own(&mut self, now: Instant, problem: Problem, head: &[u8], payload: &[u8]) {
        // "Too big" is never held back: a connection would hang without it.
        let allowed = matches!(problem, Problem::TooBig { .. }) || self.icmp_errors.allow(now);
        if !allowed {
            return;
        }
        let own = self.identity.address();
        let mut error = [0; MAX_ERROR_LEN];
        if let Some(len) = icmpv6::error(problem, own.as_bytes(), head, payload, &mut error) {
            self.deliver.push(&error[..len], Checksum::Complete);
        }
    }

    /// Datagrams that wait to be sent.
    pub const fn queue(&self) -> &TransmitQueue {
        &self.transmit
    }
}
