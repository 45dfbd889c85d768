//! What neighbours say, and what routing wants said.

use core::time::Duration;

use super::links::{Place, index_at};
use super::reliable::Content;
use super::{Event, Node, Timer};
use crate::link::LinkIndex;
use crate::message::{Hello, Message, Ogm, hint_of};
use crate::routing::LinkId;
use crate::routing::router::Output;
use crate::time::Instant;

/// A change of a link's delivery ratio below this leaves its cost alone.
const NOTABLE_CHANGE: f32 = 0.05;

impl Node {
    /// The link whose session a frame names, and by which index. A frame of a session nobody here has shows that its
    /// sender is mistaken about us.
    pub(super) fn link_of_frame(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &[u8],
    ) -> Option<(LinkId, LinkIndex)> {
        let index = LinkIndex(index_at(datagram, 1)?);
        let Some(id) = self.links.by_index(index) else {
            self.unknown_frame(now, from);
            return None;
        };
        let here = self.links.get(id)?.interface == from.interface;
        here.then_some((id, index))
    }

    pub(super) fn receive_control(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &mut [u8],
    ) -> bool {
        let Some((id, index)) = self.link_of_frame(now, from, datagram) else {
            return false;
        };
        let Some(link) = self.links.get_mut(id) else {
            return false;
        };
        let Some(receiver) = link.receiver(now, index) else {
            return false;
        };
        let Ok(text) = receiver.open_control(datagram) else {
            return false;
        };
        let Ok(messages) = Message::decode_all(text) else {
            return false;
        };
        self.heard(now, id);
        self.on_messages(now, id, messages);
        true
    }

    pub(super) fn receive_broadcast(
        &mut self,
        now: Instant,
        from: Place,
        datagram: &mut [u8],
    ) -> bool {
        let opened = self.links.by_place(from).and_then(|id| {
            let link = self.links.get_mut(id)?;
            let text = link
                .group
                .open(link.session.broadcast_receive_key(), datagram)
                .ok()?;
            Some((id, Message::decode_all(text)))
        });
        match opened {
            Some((id, Ok(messages))) => {
                self.heard(now, id);
                self.on_messages(now, id, messages);
                true
            }
            Some((_, Err(_))) => false,
            None => {
                self.unknown_frame(now, from);
                false
            }
        }
    }

    fn on_messages(&mut self, now: Instant, id: LinkId, messages: Vec<Message>) {
        for message in messages {
            match message {
                Message::Hello(hello) => self.on_hello(now, id, &hello),
                Message::Ogm(ogm) => self.on_ogm(now, id, &ogm),
                Message::Requests(requests) => {
                    for request in &requests {
                        self.router.on_request(now, id, request);
                    }
                }
                Message::Sync(since) => self.send_table(id, since),
                Message::Probe => self.send_control(id, &[Message::Ack(0)]),
                Message::Reliable(number) => self.send_control(id, &[Message::Ack(number)]),
                Message::Ack(number) => self.reliable.acknowledged(number, id),
                Message::LinkDown(notice) => self.on_link_down(now, &notice),
                Message::AnchorRequest(originators) => {
                    for originator in &originators {
                        self.router.on_anchor_request(now, id, originator);
                    }
                }
                Message::Anchor(record) => self.router.on_anchor(now, id, record),
                Message::Goodbye => {
                    self.forget_link(now, id);
                    return;
                }
            }
        }
    }

    fn on_hello(&mut self, now: Instant, id: LinkId, hello: &Hello) {
        let my_hint = hint_of(&self.identity.short_id());
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.quality.on_hello(hello.seq);
        for heard in hello.heard.iter().filter(|heard| heard.hint == my_hint) {
            link.quality.on_heard(heard.quality);
        }
        link.hello_interval = Duration::from_millis(u64::from(hello.interval_ms));
        let interval = link.hello_interval;
        let own_class = self
            .interfaces
            .get(&link.interface)
            .map_or(0, |interface| interface.mtu_class);
        let class = own_class.min(hello.mtu_class);
        let class_changed = core::mem::replace(&mut link.mtu_class, class) != class;
        let change = (link.quality.delivery() - link.costed_delivery).abs();
        link.sync.on_version(hello.version);
        self.expect_hello(now, id, interval);
        if class_changed {
            self.router.set_link_mtu(now, id, class);
        }
        if change > NOTABLE_CHANGE {
            self.update_cost(now, id);
        }
        self.close_gap(now, id);
    }

    fn on_ogm(&mut self, now: Instant, id: LinkId, ogm: &Ogm) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        if !link.sync.on_entries(ogm.version, ogm.cover) {
            link.sync.on_version(ogm.version);
            self.close_gap(now, id);
            return;
        }
        for entry in &ogm.entries {
            self.router.learn(now, id, entry);
        }
        self.close_gap(now, id);
    }

    /// Asks for what is missing of a neighbour's table.
    pub(super) fn close_gap(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && link.is_up()
            && link.sync.start_asking()
        {
            self.timers.set(now, Timer::Sync(id, link.serial));
        }
    }

    pub(super) fn ask_for_table(&mut self, now: Instant, id: LinkId, serial: u32) {
        let Some(link) = self.links.same(id, serial) else {
            return;
        };
        if let Some((since, wait)) = link.sync.ask() {
            self.send_control(id, &[Message::Sync(since)]);
            self.timers.set(now + wait, Timer::Sync(id, serial));
        }
    }

    /// Tells routing what a link costs now.
    pub(super) fn update_cost(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else {
            return;
        };
        link.costed_delivery = link.quality.delivery();
        let is_lossy = link.quality.is_lossy();
        let kbps = self
            .interfaces
            .get(&link.interface)
            .and_then(|interface| interface.throughput_kbps);
        let cost = link.cost(kbps);
        self.router.set_link_cost(now, id, cost, is_lossy);
    }

    pub(super) fn on_router_output(&mut self, now: Instant, output: Output) {
        match output {
            Output::AnnounceBy(at) => self.announce_by(at),
            Output::Requests {
                to: Some(link),
                requests,
            } => self.send_reliable(
                now,
                link,
                Content::Messages(vec![Message::Requests(requests)]),
            ),
            Output::Requests { to: None, requests } => {
                let ids: Vec<_> = self.interfaces.keys().copied().collect();
                for id in ids {
                    self.send_to_all(id, &[Message::Requests(requests.clone())]);
                }
            }
            Output::Answer {
                link,
                subjects,
                with_anchors,
            } => {
                let per_frame = if with_anchors { 7 } else { 30 };
                for part in subjects.chunks(per_frame) {
                    let content = Content::Answer {
                        subjects: part.to_vec(),
                        with_anchors,
                    };
                    self.send_reliable(now, link, content);
                }
            }
            Output::FetchAnchors { link, originators } => {
                let content = Content::Messages(vec![Message::AnchorRequest(originators)]);
                self.send_reliable(now, link, content);
            }
            Output::PersistGeneration(generation) => {
                self.events.push_back(Event::PersistGeneration(generation));
            }
        }
    }
}
