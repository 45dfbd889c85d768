//! One link: the neighbour's identity, the session with it, and the small state machines that watch it.

use core::net::SocketAddr;
use core::time::Duration;

use super::links::Place;
use crate::identity::{NodeAddress, ShortId};
use crate::link::{Established, GroupReceiver, LinkIndex, LinkReceiver, LinkSession};
use crate::neighbour::liveness::{SUSPENDED_KEPT, Suspicion};
use crate::neighbour::quality::Quality;
use crate::neighbour::sync::TableSync;
use crate::routing::metric::Cost;
use crate::time::Instant;
use crate::transmit::InterfaceId;

/// A replaced session still opens frames for this long.
const OLD_SESSION_KEPT: Duration = Duration::from_secs(10);

/// Whether a link carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// The handshake is done here, the neighbour has not been heard in the session.
    Unconfirmed,
    /// In use.
    Up,
    /// Silent: no routes over it, but the keys are kept since this instant.
    Suspended(Instant),
}

/// A link to a neighbour.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells this link from earlier ones of the same number, in timers.
    pub(super) serial: u32,
    pub(super) interface: InterfaceId,
    pub(super) transport: SocketAddr,
    pub(super) address: NodeAddress,
    pub(super) short: ShortId,
    pub(super) session: LinkSession,
    old: Option<(LinkReceiver, Instant)>,
    pub(super) group: GroupReceiver,
    pub(super) state: LinkState,
    pub(super) last_heard: Instant,
    pub(super) quality: Quality,
    /// The delivery ratio that routing's cost was made from.
    pub(super) costed_delivery: f32,
    pub(super) sync: TableSync,
    pub(super) suspicion: Option<Suspicion>,
    /// Makes earlier timers for missed HELLOs stale.
    pub(super) miss_token: u32,
    /// When data was sent that nothing came back to yet.
    pub(super) unanswered_since: Option<Instant>,
    /// Speed to this neighbour in kbit/s, if the operating system knows it.
    pub(super) throughput_kbps: Option<u32>,
    /// Largest inner packet, as a class: the smaller of both ends.
    pub(super) mtu_class: u8,
    /// Longest time between two HELLOs of the neighbour.
    pub(super) hello_interval: Duration,
    /// Notices of this link's death, in this session: made here, and believed last.
    pub(super) notices_made: u32,
    pub(super) notice_believed: u32,
    /// Probes in answer to frames of a suspended session go out no oftener than this allows.
    pub(super) resumed_try: Option<Instant>,
}

impl Link {
    pub(super) fn new(
        now: Instant,
        serial: u32,
        place: Place,
        established: Established,
        mtu_class: u8,
    ) -> Self {
        Self {
            serial,
            interface: place.interface,
            transport: place.transport,
            address: established.peer_address,
            short: established.peer_address.short_id(),
            session: established.session,
            old: None,
            group: established.peer_group,
            state: LinkState::Unconfirmed,
            last_heard: now,
            quality: Quality::default(),
            costed_delivery: 1.0,
            sync: TableSync::default(),
            suspicion: None,
            miss_token: 0,
            unanswered_since: None,
            throughput_kbps: None,
            mtu_class,
            hello_interval: Duration::from_secs(4),
            notices_made: 0,
            notice_believed: 0,
            resumed_try: None,
        }
    }

    /// Takes over what is worth keeping of the link this one replaces.
    pub(super) fn inherit(&mut self, now: Instant, before: Self) {
        let mut group = before.group;
        group.renew(self.group.clone());
        self.group = group;
        self.throughput_kbps = before.throughput_kbps;
        self.old = Some((before.session.into_receiver(), now + OLD_SESSION_KEPT));
    }

    pub(super) fn place(&self) -> Place {
        Place {
            interface: self.interface,
            transport: self.transport,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// Whether the keys of a suspended link may still be used.
    pub(super) fn is_resumable(&self, now: Instant) -> bool {
        matches!(self.state, LinkState::Suspended(since) if now.since(since) < SUSPENDED_KEPT)
    }

    /// The session that a frame with this index belongs to; old ones only receive.
    pub(super) fn receiver(&mut self, now: Instant, index: LinkIndex) -> Option<&mut LinkReceiver> {
        if self.session.local_index() == index {
            return Some(self.session.receiver());
        }
        match &mut self.old {
            Some((old, until)) if old.local_index() == index && now < *until => Some(old),
            _ => None,
        }
    }

    /// Forgets the replaced session; its index, if there was one.
    pub(super) fn drop_old(&mut self) -> Option<LinkIndex> {
        self.old.take().map(|(old, _)| old.local_index())
    }

    pub(super) fn cost(&self, interface_kbps: Option<u32>) -> Cost {
        Cost::of_link(
            self.throughput_kbps.or(interface_kbps),
            self.quality.delivery(),
        )
    }
}
