//! Links that come up, fall silent, resume and die. Who declares a link dead tells the other end through the mesh, so
//! that both ends do not find out one after the other.

use core::time::Duration;
use std::collections::BTreeMap;

use subtle::ConstantTimeEq;

use super::link::{Link, LinkState};
use super::reliable::Content;
use super::{Event, Node, Timer};
use crate::link::LinkIndex;
use crate::message::{LinkDown, Message};
use crate::neighbour::liveness::{
    MISS_SILENCE, NOTICE_SILENCE, SEND_SILENCE, SUSPENDED_KEPT, Suspicion, Verdict, miss_after,
};
use crate::routing::LinkId;
use crate::time::Instant;

/// Until the first HELLO tells better.
const FIRST_HELLO: Duration = Duration::from_secs(4);
/// A notice that could not be sent is tried again after this time, doubling every second try, ...
const NOTICE_RETRY: Duration = Duration::from_millis(10);
/// ... this often. One that went out goes once more, later.
const NOTICE_TRIES: u32 = 12;
const NOTICE_REPEAT: Duration = Duration::from_millis(400);
const NOTICE_HOPS: u8 = 64;
const NOTICES_MAX: usize = 256;

#[derive(Debug)]
struct Notice {
    link: LinkId,
    serial: u32,
    tries: u32,
}

/// Notices of dead links on their way out.
#[derive(Debug, Default)]
pub(super) struct Notices {
    notices: BTreeMap<u32, Notice>,
    last: u32,
}

impl Node {
    /// Something genuine came over a link.
    pub(super) fn heard(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.last_heard = now;
        match link.state {
            LinkState::Up => {}
            LinkState::Unconfirmed => self.confirm(now, id),
            LinkState::Suspended(_) => self.resume(now, id),
        }
    }

    /// The neighbour was heard in a new session.
    pub(super) fn confirm(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id) {
            link.last_heard = now;
            let (interface, serial) = (link.interface, link.serial);
            self.bring_up(now, id);
            self.attempt_done(now, interface, serial);
        }
    }

    fn resume(&mut self, now: Instant, id: LinkId) {
        self.counters.links_resumed += 1;
        self.bring_up(now, id);
        self.send_control(id, &[Message::Sync(0)]);
    }

    fn bring_up(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.state = LinkState::Up;
        link.sync.restart();
        link.suspicion = None;
        link.unanswered_since = None;
        link.quality.forget_sequence();
        link.costed_delivery = link.quality.delivery();
        let (short, address, class, interface) =
            (link.short, link.address, link.mtu_class, link.interface);
        let kbps = self
            .interfaces
            .get(&interface)
            .and_then(|interface| interface.throughput_kbps);
        let cost = link.cost(kbps);
        self.router.link_up(now, id, short, cost, class);
        self.send_table(id, 0);
        self.expect_hello(now, id, FIRST_HELLO);
        self.hurry(now);
        self.events.push_back(Event::NeighbourUp(address));
    }

    /// A link fell silent, or its interface is gone: no routes over it, the keys are kept.
    pub(super) fn suspend(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if !link.is_up() {
            return;
        }
        link.state = LinkState::Suspended(now);
        link.suspicion = None;
        link.unanswered_since = None;
        link.miss_token = link.miss_token.wrapping_add(1);
        link.notices_made += 1;
        let (serial, address) = (link.serial, link.address);
        self.counters.links_lost += 1;
        self.router.link_down(now, id);
        self.hurry(now);
        self.events.push_back(Event::NeighbourDown(address));
        self.timers
            .set(now + SUSPENDED_KEPT, Timer::Forget(id, serial));
        if self.notices.notices.len() < NOTICES_MAX {
            self.notices.last = self.notices.last.wrapping_add(1);
            let number = self.notices.last;
            self.notices.notices.insert(
                number,
                Notice {
                    link: id,
                    serial,
                    tries: 0,
                },
            );
            self.timers
                .set(now + Duration::from_millis(1), Timer::Notice(number));
        }
    }

    pub(super) fn forget_due(&mut self, now: Instant, id: LinkId, serial: u32) {
        let is_over = self.links.same(id, serial).is_some_and(|link| {
            matches!(link.state, LinkState::Suspended(_)) && !link.is_resumable(now)
        });
        if is_over {
            self.links.remove(id, false);
        }
    }

    /// The neighbour stops: nothing is kept.
    pub(super) fn forget_link(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.remove(id, false) else {
            return;
        };
        if link.is_up() {
            self.router.link_down(now, id);
            self.hurry(now);
            self.events.push_back(Event::NeighbourDown(link.address));
        }
    }

    /// The next HELLO is due within `interval`.
    pub(super) fn expect_hello(&mut self, now: Instant, id: LinkId, interval: Duration) {
        if let Some(link) = self.links.get_mut(id) {
            link.miss_token = link.miss_token.wrapping_add(1);
            let timer = Timer::Miss(id, link.serial, link.miss_token);
            self.timers.set(now + miss_after(interval), timer);
        }
    }

    pub(super) fn hello_missed(&mut self, now: Instant, id: LinkId, serial: u32, token: u32) {
        let Some(link) = self.links.same(id, serial) else {
            return;
        };
        if link.miss_token != token || !link.is_up() {
            return;
        }
        if now.since(link.last_heard) < MISS_SILENCE {
            self.timers
                .set(now + MISS_SILENCE, Timer::Miss(id, serial, token));
            return;
        }
        self.suspect(now, id);
    }

    /// Data went out over a link; something has to come back soon.
    pub(super) fn expect_answer(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && link.unanswered_since.is_none()
            && link.suspicion.is_none()
        {
            link.unanswered_since = Some(now);
            self.timers
                .set(now + SEND_SILENCE, Timer::Silence(id, link.serial));
        }
    }

    pub(super) fn silence_due(&mut self, now: Instant, id: LinkId, serial: u32) {
        let Some(link) = self.links.same(id, serial) else {
            return;
        };
        if let Some(since) = link.unanswered_since.take()
            && link.last_heard < since
        {
            self.suspect(now, id);
        }
    }

    fn suspect(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && link.is_up()
            && link.suspicion.is_none()
        {
            link.suspicion = Some(Suspicion::new(now, link.quality.probes_needed()));
            let serial = link.serial;
            self.probe_due(now, id, serial);
        }
    }

    pub(super) fn probe_due(&mut self, now: Instant, id: LinkId, serial: u32) {
        let Some(link) = self.links.same(id, serial) else {
            return;
        };
        let last_heard = link.last_heard;
        let interval = link.hello_interval;
        let Some(suspicion) = link.suspicion.as_mut() else {
            return;
        };
        match suspicion.check(last_heard) {
            Verdict::Alive => {
                link.suspicion = None;
                self.expect_hello(now, id, interval);
            }
            Verdict::Probe(wait) => {
                self.send_control(id, &[Message::Probe]);
                self.timers.set(now + wait, Timer::Probe(id, serial));
            }
            Verdict::Dead => self.suspend(now, id),
        }
    }

    /// Sends a notice of a dead link towards its other end.
    pub(super) fn notice_due(&mut self, now: Instant, number: u32) {
        let Some(notice) = self.notices.notices.get_mut(&number) else {
            return;
        };
        let (id, serial) = (notice.link, notice.serial);
        notice.tries += 1;
        let tries = notice.tries;
        let message = self.links.same(id, serial).and_then(|link| {
            if !matches!(link.state, LinkState::Suspended(_)) {
                return None;
            }
            Some((link.short, link.session.remote_index().0, link.notices_made))
        });
        let Some((to, link_index, counted)) = message else {
            self.notices.notices.remove(&number);
            return;
        };
        let from = self.identity.short_id();
        let Some(link) = self.links.get(id) else {
            return;
        };
        let tag = link
            .session
            .broadcast_send_key()
            .notice(&from, &to, link_index, counted);
        let sent = self.pass_link_down(
            now,
            LinkDown {
                from,
                to,
                hops: NOTICE_HOPS,
                link_index,
                number: counted,
                tag,
            },
        );
        let wait = if sent {
            NOTICE_REPEAT
        } else {
            NOTICE_RETRY * (1 << ((tries - 1) / 2).min(5))
        };
        if tries > NOTICE_TRIES {
            self.notices.notices.remove(&number);
            return;
        }
        if sent && let Some(notice) = self.notices.notices.get_mut(&number) {
            // Once more, then no more.
            notice.tries = notice.tries.max(NOTICE_TRIES);
        }
        self.timers.set(now + wait, Timer::Notice(number));
    }

    fn pass_link_down(&mut self, now: Instant, notice: LinkDown) -> bool {
        let next_hop = self
            .router
            .next_hop(&notice.to)
            .filter(|link| self.links.get(*link).is_some_and(Link::is_up));
        if let Some(link) = next_hop {
            self.send_reliable(
                now,
                link,
                Content::Messages(vec![Message::LinkDown(notice)]),
            );
        }
        next_hop.is_some()
    }

    /// A notice that a link is dead: ours, or somebody else's to pass on.
    pub(super) fn on_link_down(&mut self, now: Instant, notice: &LinkDown) {
        if notice.to != self.identity.short_id() {
            if notice.hops > 1 {
                self.pass_link_down(
                    now,
                    LinkDown {
                        hops: notice.hops.min(NOTICE_HOPS) - 1,
                        ..notice.clone()
                    },
                );
            }
            return;
        }
        let Some(id) = self.links.by_index(LinkIndex(notice.link_index)) else {
            return;
        };
        let is_believed = self.links.get(id).is_some_and(|link| {
            link.is_up()
                && link.short == notice.from
                && link.session.local_index().0 == notice.link_index
                && now.since(link.last_heard) >= NOTICE_SILENCE
                && notice.number > link.notice_believed
                && bool::from(
                    link.session
                        .broadcast_receive_key()
                        .notice(&notice.from, &notice.to, notice.link_index, notice.number)
                        .ct_eq(&notice.tag),
                )
        });
        if is_believed {
            if let Some(link) = self.links.get_mut(id) {
                link.notice_believed = notice.number;
            }
            self.suspend(now, id);
        }
    }
}
