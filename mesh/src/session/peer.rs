//! What is known of one peer. Decides nothing about others.

use core::time::Duration;
use std::collections::VecDeque;

use super::control::Request;
use super::established::{Role, Session};
use super::handshake::Freshness;
use crate::crypto::cookie::Cookie;
use crate::crypto::noise::Handshake;
use crate::identity::{MeshPublicKey, NodeAddress};
use crate::packet::inner::INNER_LEN;
use crate::time::Instant;

/// Packets that wait for a handshake, per peer.
const MAX_WAITING: usize = 8;
/// Their bytes, per peer.
const MAX_WAITING_BYTES: usize = 16 * 1024;

/// A peer nobody used for so long is forgotten.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// A session this old gets a successor when it is used.
pub(super) const REKEY: Duration = Duration::from_secs(1800);
/// How much longer the session's responder waits than its initiator, so that they do not both begin.
const RESPONDER_WAITS: Duration = Duration::from_secs(60);
/// A session this old is not used any more, successor or not.
pub(super) const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long frames of the session before are still taken, and how long a new one waits for its first frame.
pub(super) const OVERLAP: Duration = Duration::from_secs(30);
/// A responder goes on sending by the old session for this long, within the initiator's [`OVERLAP`].
const SUPERSEDED: Duration = Duration::from_secs(20);
/// Sending for so long without an answer starts a handshake: the peer may have lost its keys.
pub(super) const UNANSWERED: Duration = Duration::from_secs(15);
/// Sending for so long without an answer ends the session's use.
pub(super) const SILENT: Duration = Duration::from_secs(180);
/// Who received and has nothing to send says so after this time.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The first repetition of a handshake message; each takes twice as long as the one before, at most [`MAX_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(250);
const MAX_RETRY: Duration = Duration::from_secs(4);
/// With those: gives up after 15.75 s.
const TRIES: u32 = 7;

/// A handshake this node began.
pub(super) struct Attempt {
    /// Nothing as long as the peer's key is not known.
    pub initiation: Option<Initiation>,
    pub tries: u32,
    pub due: Instant,
}

/// A first message on its way.
pub(super) struct Initiation {
    pub index: u32,
    pub handshake: Handshake,
    /// Without macs: the same bytes go out again until an answer comes.
    pub message: Vec<u8>,
    /// With the macs it went out with last: what a cookie reply answers.
    pub stamped: Vec<u8>,
}

impl Attempt {
    pub const fn new(now: Instant) -> Self {
        Self {
            initiation: None,
            tries: 0,
            due: now,
        }
    }

    /// Counts one try. False if there were enough.
    pub fn again(&mut self, now: Instant) -> bool {
        if self.tries == TRIES {
            return false;
        }
        self.due = now + (FIRST_RETRY * (1 << self.tries)).min(MAX_RETRY);
        self.tries += 1;
        true
    }
}

/// The last initiation that was answered: a repetition of it gets the same answer without any curve work.
pub(super) struct Answered {
    pub noise: Vec<u8>,
    pub response: Vec<u8>,
}

pub(super) struct Peer {
    pub address: NodeAddress,
    pub key: Option<MeshPublicKey>,
    /// Newest first message seen of it.
    pub freshness: Option<Freshness>,
    /// Used for sending.
    pub current: Option<Box<Session>>,
    /// Replaced, but its frames may still be on their way.
    pub before: Option<(Box<Session>, Instant)>,
    /// Made as responder, not confirmed by a frame yet.
    pub next: Option<Box<Session>>,
    pub attempt: Option<Box<Attempt>>,
    pub answered: Option<Answered>,
    pub cookie: Option<Cookie>,
    pub request: Option<Request>,
    /// It asked for our descriptor, and is told when that is another one.
    pub reads: bool,
    /// That it is told until it asks again.
    pub news: Option<Request>,
    /// Since its descriptor was asked for: from when on news of another one count.
    pub hears_from: Option<Instant>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Last use by either side.
    pub used: Instant,
    /// Last time this node's own programs wanted something of it.
    pub wanted: Option<Instant>,
    /// Since when frames went out and none came in.
    pub unanswered: Option<Instant>,
    /// Neither frames nor handshakes got an answer: nothing goes out by the sessions any more, but what the peer sends by
    /// them still opens, and proves that it is back.
    pub is_lost: bool,
    /// When a keep-alive is due.
    pub keep_alive: Option<Instant>,
    /// After a handshake that failed: no other in the background before this.
    pub rest: Instant,
}

impl Peer {
    pub fn new(now: Instant, address: NodeAddress) -> Self {
        Self {
            address,
            key: None,
            freshness: None,
            current: None,
            before: None,
            next: None,
            attempt: None,
            answered: None,
            cookie: None,
            request: None,
            reads: false,
            news: None,
            hears_from: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            used: now,
            wanted: None,
            unanswered: None,
            is_lost: false,
            keep_alive: None,
            rest: Instant::ZERO,
        }
    }

    /// Whether there is somebody or something that waits for a session.
    pub fn has_demand(&self) -> bool {
        !self.waiting.is_empty() || self.request.is_some()
    }

    /// Whether frames may go out now.
    pub fn can_send(&self, now: Instant) -> bool {
        let Some(current) = &self.current else {
            return false;
        };
        // A session the peer made and did not confirm: it may have forgotten the one before by now.
        let is_superseded = self
            .next
            .as_ref()
            .is_some_and(|next| now.since(next.created) >= SUPERSEDED);
        now.since(current.created) < MAX_AGE
            && !is_superseded
            && !self.is_lost
            && current.send.is_usable()
            && self
                .unanswered
                .is_none_or(|since| now.since(since) < SILENT)
    }

    /// When a handshake in the background is due: the session is old, or its peer silent.
    pub fn rekey_due(&self) -> Instant {
        let (Some(current), Some(since)) = (&self.current, self.unanswered) else {
            return Instant::NEVER;
        };
        if self.attempt.is_some() {
            return Instant::NEVER;
        }
        // The initiator begins again; the responder only if nothing came of that.
        let rekey = match current.role {
            _ if current.send.is_worn() => Duration::ZERO,
            Role::Initiator => REKEY,
            Role::Responder => REKEY + RESPONDER_WAITS,
        };
        (current.created + rekey)
            .min(since + UNANSWERED)
            .max(self.rest)
    }

    /// Adds a packet that waits; the oldest goes if there are too many. Returns the change in bytes held.
    pub fn wait(&mut self, inner: Vec<u8>) -> isize {
        let before = self.waiting_bytes;
        if inner.len() > MAX_WAITING_BYTES {
            return 0;
        }
        while self.waiting.len() >= MAX_WAITING
            || self.waiting_bytes + inner.len() > MAX_WAITING_BYTES
        {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= oldest.len();
        }
        self.waiting_bytes += inner.len();
        self.waiting.push_back(inner);
        self.waiting_bytes as isize - before as isize
    }

    /// Takes the packets that waited.
    pub fn take_waiting(&mut self) -> VecDeque<Vec<u8>> {
        self.waiting_bytes = 0;
        core::mem::take(&mut self.waiting)
    }

    /// Bytes of the packets that wait.
    pub const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The session with this index of ours, if it may still be used.
    pub fn session_mut(&mut self, now: Instant, local: u32) -> Option<(&mut Session, Slot)> {
        let current = self
            .current
            .as_deref_mut()
            .map(|session| (session, Slot::Current));
        let next = self
            .next
            .as_deref_mut()
            .map(|session| (session, Slot::Next));
        let before = self.before.as_mut().filter(|(_, until)| now <= *until);
        let before = before.map(|(session, _)| (&mut **session, Slot::Before));
        [current, next, before]
            .into_iter()
            .flatten()
            .find(|(session, _)| session.local == local)
    }

    /// Indices of ours that name this peer.
    pub fn indices(&self) -> impl Iterator<Item = u32> {
        let sessions = [
            self.current.as_ref(),
            self.next.as_ref(),
            self.before.as_ref().map(|(session, _)| session),
        ];
        let attempt = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.initiation.as_ref());
        sessions
            .into_iter()
            .flatten()
            .map(|session| session.local)
            .chain(attempt.map(|initiation| initiation.index))
    }

    /// When this peer needs attention next.
    pub fn due(&self) -> Instant {
        let mut due = self.used + IDLE;
        let current = &self.current;
        let times = [
            self.attempt.as_ref().map(|attempt| attempt.due),
            self.request
                .as_ref()
                .filter(|_| current.is_some())
                .map(|request| request.due),
            self.news
                .as_ref()
                .filter(|_| current.is_some())
                .map(|news| news.due),
            self.keep_alive,
            self.before.as_ref().map(|(_, until)| *until),
            self.next.as_ref().map(|next| next.created + IDLE),
            current
                .as_ref()
                .and_then(|current| current.receive.old_until()),
            Some(self.rekey_due()),
        ];
        for time in times.into_iter().flatten() {
            due = due.min(time);
        }
        due
    }
}

/// Which of a peer's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Current,
    Next,
    Before,
}

/// The packet for people's programs behind a waiting inner packet, to answer it with an error.
pub(super) fn is_packet(inner: &[u8]) -> bool {
    inner.len() >= INNER_LEN && inner[0] & 0xe0 == 0
}
