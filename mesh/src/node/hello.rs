//! HELLO and announcements, per interface: one transmission for all neighbours where the medium allows.

use super::link::LinkState;
use super::{InterfaceConfig, Medium, Node, Timer};
use crate::message::{Heard, Hello, Message, Ogm, hint_of};
use crate::neighbour::schedule::Schedule;
use crate::rng::NodeRng;
use crate::routing::LinkId;
use crate::routing::anchor::ANCHOR_LEN;
use crate::routing::mtu;
use crate::routing::router::Subject;
use crate::time::Instant;
use crate::transmit::{Destination, InterfaceId};

/// Bytes of messages that fit one control frame on every carrier.
const MAX_PLAINTEXT: usize = 1100;
/// Bytes of an OGM before its entries.
const OGM_HEADER: usize = 15;

/// An interface in use.
#[derive(Debug)]
pub(super) struct Interface {
    id: InterfaceId,
    pub(super) medium: Medium,
    /// Longest UDP payload, bytes.
    pub(super) mtu: usize,
    pub(super) mtu_class: u8,
    pub(super) throughput_kbps: Option<u32>,
    pub(super) schedule: Schedule,
    /// The time of the HELLO timer that counts.
    armed: Instant,
    /// Version of the table that neighbours here were told last.
    sent_version: u32,
}

impl Interface {
    pub(super) fn new(
        now: Instant,
        id: InterfaceId,
        config: InterfaceConfig,
        version: u32,
        rng: &mut NodeRng,
    ) -> Self {
        Self {
            id,
            medium: config.medium,
            mtu: usize::from(config.mtu),
            mtu_class: mtu::class_of_payload(config.mtu),
            throughput_kbps: config.throughput_kbps,
            schedule: Schedule::new(now, rng),
            armed: Instant::NEVER,
            // Neighbours get the whole table when their link comes up.
            sent_version: version,
        }
    }

    /// The interface as one of sixteen bits; interfaces beyond share them.
    const fn bit(&self) -> u16 {
        1 << (self.id.0 % 16)
    }
}

impl Node {
    /// Sets the timer for the next HELLO, if it is not set.
    pub(super) fn arm_hello(&mut self, id: InterfaceId) {
        if let Some(interface) = self.interfaces.get_mut(&id) {
            let next = interface.schedule.next();
            if interface.armed != next {
                interface.armed = next;
                self.timers.set(next, Timer::Hello(id));
            }
        }
    }

    /// The node's own neighbours changed: HELLOs come often for a while.
    pub(super) fn hurry(&mut self, now: Instant) {
        let ids: Vec<_> = self.interfaces.keys().copied().collect();
        for id in ids {
            if let Some(interface) = self.interfaces.get_mut(&id) {
                interface.schedule.hurry(now, &mut self.rng);
            }
            self.arm_hello(id);
        }
    }

    pub(super) fn hello_due(&mut self, now: Instant, id: InterfaceId) {
        let heard: Vec<_> = self
            .links
            .on(id)
            .filter(|(_, link)| !matches!(link.state, LinkState::Suspended(_)))
            .map(|(_, link)| {
                (
                    link.transport,
                    link.is_up(),
                    Heard {
                        hint: hint_of(&link.short),
                        quality: link.quality.rx_byte(),
                    },
                )
            })
            .collect();
        let version = self.router.version();
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return;
        };
        if interface.schedule.next() > now {
            return;
        }
        let is_point_to_point = match &interface.medium {
            Medium::Broadcast => heard.len() == 1,
            Medium::Unicast { .. } => true,
        };
        let interval = interface
            .schedule
            .on_hello(now, is_point_to_point, &mut self.rng);
        let hello = Message::Hello(Hello {
            seq: interface.schedule.seq,
            interval_ms: u16::try_from(interval.as_millis()).unwrap_or(u16::MAX),
            version,
            mtu_class: interface.mtu_class,
            heard: heard.iter().map(|(_, _, heard)| *heard).collect(),
        });
        let lonely: Vec<_> = match &interface.medium {
            Medium::Broadcast if heard.is_empty() => vec![Destination::Broadcast],
            Medium::Broadcast => Vec::new(),
            Medium::Unicast { peers } => peers
                .iter()
                .filter(|peer| {
                    !heard
                        .iter()
                        .any(|(transport, up, _)| transport == *peer && *up)
                })
                .map(|peer| Destination::Unicast(*peer))
                .collect(),
        };
        let beacon = self.lonely_beacon().encode();
        for to in lonely {
            self.transmit.push(id, to, &beacon);
        }
        if !heard.is_empty() {
            let mut frames = self.take_changes(id);
            match frames.last_mut() {
                Some(last) if encoded_len(last) + 16 + heard.len() * 3 <= MAX_PLAINTEXT => {
                    last.push(hello);
                }
                _ => frames.push(vec![hello]),
            }
            for frame in frames {
                self.send_to_all(id, &frame);
            }
        }
        self.arm_hello(id);
    }

    /// Announces within the time that routing asked for.
    pub(super) fn announce_by(&mut self, at: Instant) {
        if self.announce_at.is_none_or(|planned| planned > at) {
            self.announce_at = Some(at);
            self.timers.set(at, Timer::Announce);
        }
    }

    pub(super) fn announce_due(&mut self, now: Instant) {
        if self.announce_at.is_none_or(|at| at > now) {
            return;
        }
        self.announce_at = None;
        let ids: Vec<_> = self.interfaces.keys().copied().collect();
        for id in ids {
            let frames = self.take_changes(id);
            if frames.is_empty() {
                continue;
            }
            let worst = self
                .links
                .up_on(id)
                .map(|(_, link)| link.quality.rx().min(link.quality.tx()))
                .fold(f32::INFINITY, f32::min);
            if worst.is_infinite() {
                continue;
            }
            for frame in frames {
                self.send_to_all(id, &frame);
            }
            if let Some(interface) = self.interfaces.get_mut(&id) {
                interface.schedule.follow_up(now, worst, &mut self.rng);
            }
            self.arm_hello(id);
        }
    }

    /// What changed since the last announcement on an interface, as frames; anchors that its neighbours have not seen go
    /// along.
    fn take_changes(&mut self, id: InterfaceId) -> Vec<Vec<Message>> {
        let version = self.router.version();
        let Some(interface) = self.interfaces.get_mut(&id) else {
            return Vec::new();
        };
        let since = core::mem::replace(&mut interface.sent_version, version);
        if since == version {
            return Vec::new();
        }
        let bit = interface.bit();
        self.frames_since(since, Some(bit))
    }

    fn frames_since(&mut self, since: u32, announce: Option<u16>) -> Vec<Vec<Message>> {
        let version = self.router.version();
        let mut frames = Vec::new();
        let mut anchors = Vec::new();
        let mut entries = Vec::new();
        let mut len = OGM_HEADER;
        let mut from = since;
        let mut covered = since;
        for (changed, subject) in self.router.changes_since(since) {
            let anchor = announce.and_then(|bit| self.router.unsent_anchor(subject, bit));
            let Some(entry) = self.router.entry(subject) else {
                continue;
            };
            let more = if entry.route.is_some() {
                crate::message::ENTRY_LEN
            } else {
                13
            } + anchor.map_or(0, |_| ANCHOR_LEN + 1);
            if len + more > MAX_PLAINTEXT && !entries.is_empty() {
                let mut frame: Vec<Message> = core::mem::take(&mut anchors);
                frame.push(Message::Ogm(Ogm {
                    version,
                    cover: Some((from, covered)),
                    entries: core::mem::take(&mut entries),
                }));
                frames.push(frame);
                from = covered;
                len = OGM_HEADER;
            }
            len += more;
            covered = changed;
            anchors.extend(anchor.map(Message::Anchor));
            entries.push(entry);
        }
        if !entries.is_empty() || from < version {
            let mut frame = anchors;
            frame.push(Message::Ogm(Ogm {
                version,
                cover: Some((from, version)),
                entries,
            }));
            frames.push(frame);
        }
        frames
    }

    /// Sends one neighbour everything that changed after version `since`; from 0 the whole table.
    pub(super) fn send_table(&mut self, link: LinkId, since: u32) {
        for frame in self.frames_since(since, None) {
            self.send_control(link, &frame);
        }
    }

    /// The entries of `subjects`, with their anchors if asked for, as messages for one frame.
    pub(super) fn entries_of(&mut self, subjects: &[Subject], with_anchors: bool) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut entries = Vec::new();
        for &subject in subjects {
            if with_anchors {
                messages.extend(self.router.anchor(subject).map(Message::Anchor));
            }
            entries.extend(self.router.entry(subject));
        }
        messages.push(Message::Ogm(Ogm {
            version: self.router.version(),
            cover: None,
            entries,
        }));
        messages
    }

    /// One frame for everybody on an interface.
    pub(super) fn send_to_all(&mut self, id: InterfaceId, messages: &[Message]) {
        let mut plaintext = core::mem::take(&mut self.scratch);
        plaintext.clear();
        messages
            .iter()
            .for_each(|message| message.encode(&mut plaintext));
        let links: Vec<_> = self
            .links
            .on(id)
            .filter(|(_, link)| !matches!(link.state, LinkState::Suspended(_)))
            .map(|(link, _)| link)
            .collect();
        let is_broadcast = self
            .interfaces
            .get(&id)
            .is_some_and(|interface| interface.medium == Medium::Broadcast);
        match (is_broadcast, links.as_slice()) {
            (true, []) => {}
            (true, [one]) => {
                // With one neighbour its session is used; strangers still hear that somebody is here.
                if let Some(link) = self.links.get_mut(*one) {
                    let mut frame = Vec::with_capacity(plaintext.len() + 25);
                    link.session.seal_control(&plaintext, &mut frame);
                    self.transmit.push(id, Destination::Broadcast, &frame);
                }
            }
            (true, many) => {
                let mut frame = Vec::with_capacity(plaintext.len() + 10 + 8 * many.len());
                let keys = many
                    .iter()
                    .filter_map(|link| self.links.get(*link))
                    .map(|link| link.session.broadcast_send_key());
                // More than 255 neighbours on one interface: the others are told by unicast.
                if self
                    .group
                    .seal(keys.take(255), &plaintext, &mut frame)
                    .is_ok()
                {
                    self.transmit.push(id, Destination::Broadcast, &frame);
                }
                for link in many.iter().skip(255) {
                    self.send_sealed(*link, &plaintext);
                }
            }
            (false, many) => {
                for link in many {
                    self.send_sealed(*link, &plaintext);
                }
            }
        }
        self.scratch = plaintext;
    }

    /// One frame for one neighbour.
    pub(super) fn send_control(&mut self, link: LinkId, messages: &[Message]) {
        let mut plaintext = core::mem::take(&mut self.scratch);
        plaintext.clear();
        messages
            .iter()
            .for_each(|message| message.encode(&mut plaintext));
        self.send_sealed(link, &plaintext);
        self.scratch = plaintext;
    }

    fn send_sealed(&mut self, link: LinkId, plaintext: &[u8]) {
        if let Some(link) = self.links.get_mut(link) {
            let mut frame = Vec::with_capacity(plaintext.len() + 25);
            link.session.seal_control(plaintext, &mut frame);
            let to = Destination::Unicast(link.transport);
            self.transmit.push(link.interface, to, &frame);
        }
    }
}

fn encoded_len(messages: &[Message]) -> usize {
    let mut bytes = Vec::new();
    messages
        .iter()
        .for_each(|message| message.encode(&mut bytes));
    bytes.len()
}
