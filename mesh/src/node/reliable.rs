//! Frames that want an acknowledgement: sent again every 15 ms, six times at most. What they say is made anew each time,
//! so that a late copy never tells an old truth.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Node, Timer};
use crate::message::Message;
use crate::routing::LinkId;
use crate::routing::router::Subject;
use crate::time::Instant;

const RETRANSMIT: Duration = Duration::from_millis(15);
const TRIES: u32 = 6;
const PENDING_MAX: usize = 4096;

/// What a frame says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// These messages.
    Messages(Vec<Message>),
    /// The current entries of these originators.
    Answer {
        subjects: Vec<Subject>,
        with_anchors: bool,
    },
}

#[derive(Debug)]
struct Pending {
    link: LinkId,
    serial: u32,
    content: Content,
    tries: u32,
}

/// Frames without an acknowledgement yet.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    pending: BTreeMap<u16, Pending>,
    last: u16,
}

impl Reliable {
    pub(super) fn acknowledged(&mut self, number: u16, by: LinkId) {
        if self
            .pending
            .get(&number)
            .is_some_and(|pending| pending.link == by)
        {
            self.pending.remove(&number);
        }
    }
}

impl Node {
    pub(super) fn send_reliable(&mut self, now: Instant, link: LinkId, content: Content) {
        let Some(serial) = self.links.get(link).map(|link| link.serial) else {
            return;
        };
        if self.reliable.pending.len() >= PENDING_MAX {
            self.reliable.pending.pop_first();
        }
        let number = loop {
            self.reliable.last = self.reliable.last.wrapping_add(1).max(1);
            if !self.reliable.pending.contains_key(&self.reliable.last) {
                break self.reliable.last;
            }
        };
        self.reliable.pending.insert(
            number,
            Pending {
                link,
                serial,
                content,
                tries: 0,
            },
        );
        self.retransmit_due(now, number);
    }

    pub(super) fn retransmit_due(&mut self, now: Instant, number: u16) {
        let Some(pending) = self.reliable.pending.get_mut(&number) else {
            return;
        };
        let (link, serial) = (pending.link, pending.serial);
        let usable = self
            .links
            .same(link, serial)
            .is_some_and(|link| link.is_up());
        if pending.tries >= TRIES || !usable {
            self.reliable.pending.remove(&number);
            return;
        }
        pending.tries += 1;
        let mut messages = match pending.content.clone() {
            Content::Messages(messages) => messages,
            Content::Answer {
                subjects,
                with_anchors,
            } => self.entries_of(&subjects, with_anchors),
        };
        messages.insert(0, Message::Reliable(number));
        self.send_control(link, &messages);
        self.timers.set(now + RETRANSMIT, Timer::Retransmit(number));
    }
}
