//! The table of all peers and the way of packets through it. Handshakes are in
//! `exchange`, control messages and timers in `upkeep`.

use std::collections::{BTreeMap, VecDeque};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::established::{PREFIX, Session, frame_index};
use super::handshake::{Local, mac_keys};
use super::peer::{Attempt, KEEP_ALIVE, OVERLAP, Peer, Slot, UNANSWERED};
use super::{NoSession, Output, SEALED_OVERHEAD, SessionError, SessionEvent};
use crate::crypto::SecretKey;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::cipher::Suite;
use crate::crypto::cookie::{CookieGate, MacKeys};
use crate::identity::{MeshIdentity, MeshPublicKey, NodeAddress, ShortId};
use crate::packet::PacketError;
use crate::packet::bucket::TokenBucket;
use crate::packet::inner::{CompactIpv6, Compressed, INNER_LEN, InnerHeader};
use crate::time::Instant;

/// How much the table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Peers at most, about 2 KiB each. When it is full, those without a session go first, then those that this node
    /// wanted nothing of, then the longest unused: strangers cannot push out whom we talk to.
    pub peers: usize,
    /// Bytes of all packets that wait for handshakes.
    pub waiting_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 1024,
            waiting_bytes: 512 * 1024,
        }
    }
}

/// A frame that opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// A packet for this node's programs.
    Packet {
        /// Who sent it, proven: the packet's source address.
        peer: NodeAddress,
        /// What stood for its IPv6 header.
        header: CompactIpv6,
        /// What follows the IPv6 header.
        payload: &'a mut [u8],
    },
    /// A message between the two session layers; it has been dealt with.
    Control,
}

/// End-to-end sessions with all peers.
pub struct Sessions {
    pub(super) local: Local,
    pub(super) limits: Limits,
    pub(super) rng: ChaCha20Rng,
    pub(super) sequence: u32,
    pub(super) peers: Vec<Option<Box<Peer>>>,
    pub(super) free: Vec<usize>,
    pub(super) by_address: BTreeMap<NodeAddress, usize>,
    pub(super) by_index: BTreeMap<u32, usize>,
    last_sent: Option<(NodeAddress, usize)>,
    last_opened: Option<(u32, usize)>,
    pub(super) waiting_bytes: usize,
    pub(super) outputs: VecDeque<Output>,
    pub(super) events: VecDeque<SessionEvent>,
    pub(super) next_timeout: Instant,
    pub(super) descriptor: Vec<u8>,
    /// Those who read the descriptor are told that it is another one.
    pub(super) news_due: Instant,
    /// Not before this.
    pub(super) news_from: Instant,
    /// Whom we asked for their keys because of frames with unknown indices.
    pub(super) strangers: VecDeque<(ShortId, Instant)>,
    pub(super) mac_keys: MacKeys,
    pub(super) cookies: CookieGate,
    pub(super) initiations: TokenBucket,
    pub(super) proven_initiations: TokenBucket,
    pub(super) answers: TokenBucket,
    pub(super) cookie_replies: TokenBucket,
    pub(super) unknown: TokenBucket,
}

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sessions({} peers)", self.by_address.len())
    }
}

impl Sessions {
    /// An empty table. `generation` is larger than any this node used before and on disk already; `seed` comes from the
    /// operating system's random source.
    pub fn new(identity: &MeshIdentity, generation: u32, seed: [u8; 32], limits: Limits) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        Self {
            mac_keys: mac_keys(&identity.address()),
            cookies: CookieGate::new(&mut rng),
            local: Local {
                key: identity.public_key(),
                address: identity.address(),
                secret: SecretKey::new(*identity.x25519_secret()),
                generation,
                features: 0,
            },
            limits,
            rng,
            sequence: 0,
            peers: Vec::new(),
            free: Vec::new(),
            by_address: BTreeMap::new(),
            by_index: BTreeMap::new(),
            last_sent: None,
            last_opened: None,
            waiting_bytes: 0,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            next_timeout: Instant::NEVER,
            descriptor: Vec::new(),
            news_due: Instant::NEVER,
            news_from: Instant::ZERO,
            strangers: VecDeque::new(),
            initiations: TokenBucket::new(40, 20),
            proven_initiations: TokenBucket::new(40, 40),
            answers: TokenBucket::new(50, 50),
            cookie_replies: TokenBucket::new(200, 200),
            unknown: TokenBucket::new(10, 10),
        }
    }

    /// What handshakes announce from now on, as bits: see [`Suite::features`].
    pub const fn set_features(&mut self, features: u16) {
        self.local.features = features as u32;
    }

    /// The AEAD of the session that packets for this node leave by, if there is one.
    pub fn suite_with(&self, peer: &NodeAddress) -> Option<Suite> {
        let peer = self.peers[*self.by_address.get(peer)?].as_ref()?;
        Some(peer.current.as_ref()?.send.suite())
    }

    /// A higher generation is on disk and counts from now on.
    pub fn set_generation(&mut self, generation: u32) {
        self.local.generation = self.local.generation.max(generation);
    }

    /// How many peers have a session.
    pub fn established(&self) -> usize {
        self.peers
            .iter()
            .flatten()
            .filter(|peer| peer.current.is_some())
            .count()
    }

    /// Whether frames for this node can go out now.
    pub fn is_established(&self, now: Instant, peer: &NodeAddress) -> bool {
        self.by_address
            .get(peer)
            .and_then(|slot| self.peers[*slot].as_ref())
            .is_some_and(|peer| peer.can_send(now))
    }

    /// What seals the next frame for this node. It borrows the table: reserve the frame's place and seal at once.
    pub fn sealer(&mut self, now: Instant, peer: &NodeAddress) -> Result<Sealer<'_>, NoSession> {
        let slot = match self.last_sent {
            Some((address, slot)) if address == *peer => slot,
            _ => {
                let slot = *self.by_address.get(peer).ok_or(NoSession)?;
                self.last_sent = Some((*peer, slot));
                slot
            }
        };
        let peer = self.peers[slot].as_mut().ok_or(NoSession)?;
        if !peer.can_send(now)
            || !peer
                .current
                .as_mut()
                .is_some_and(|current| current.send.prepare(now))
        {
            return Err(NoSession);
        }
        Ok(Sealer {
            peer,
            now,
            next_timeout: &mut self.next_timeout,
        })
    }

    /// Seals a packet into `out`, of exactly [`super::sealed_len`] bytes for what follows its IPv6 header. `rest` is
    /// what follows the part of the packet that was compressed.
    pub fn seal_into(
        &mut self,
        now: Instant,
        packet: &Compressed<'_>,
        rest: &[u8],
        out: &mut [u8],
    ) -> Result<Result<(), PacketError>, NoSession> {
        Ok(self
            .sealer(now, &packet.destination)?
            .seal(packet, rest, out))
    }

    /// Keeps a packet until there is a session, and sees to it that there will be one. Packets that wait in vain come
    /// back as [`SessionEvent::Undelivered`].
    pub fn queue(
        &mut self,
        now: Instant,
        packet: &Compressed<'_>,
        rest: &[u8],
    ) -> Result<(), PacketError> {
        let mut inner = vec![0; INNER_LEN + packet.head.len() + rest.len()];
        inner[..INNER_LEN].copy_from_slice(&InnerHeader::Ipv6(packet.header).to_bytes());
        packet.write_payload(rest, &mut inner[INNER_LEN..])?;
        let slot = self.slot_for(now, packet.destination);
        let room = self.limits.waiting_bytes.saturating_sub(self.waiting_bytes);
        if let Some(peer) = self.peers[slot].as_mut() {
            peer.used = now;
            peer.wanted = Some(now);
            if inner.len() <= room {
                self.waiting_bytes = self.waiting_bytes.saturating_add_signed(peer.wait(inner));
            }
        }
        self.seek_session(now, slot);
        Ok(())
    }

    /// Opens a frame in place. `source` is whom the routing header names: a frame with an unknown index makes this node
    /// offer it a handshake.
    pub fn open<'a>(
        &mut self,
        now: Instant,
        source: ShortId,
        frame: &'a mut [u8],
    ) -> Result<Opened<'a>, SessionError> {
        let index = frame_index(frame)?;
        let slot = match self.last_opened {
            Some((last, slot)) if last == index => Some(slot),
            _ => self.by_index.get(&index).copied(),
        };
        let found = slot.and_then(|slot| Some((slot, self.peers[slot].as_mut()?)));
        let Some((slot, peer)) = found else {
            return Err(self.unknown_index(now, source));
        };
        let Some((session, place)) = peer.session_mut(now, index) else {
            return Err(self.unknown_index(now, source));
        };
        let text = session.open_frame(now, frame)?;
        let (header, payload) = text
            .split_first_chunk_mut::<INNER_LEN>()
            .ok_or(SessionError::Malformed)?;
        let header = InnerHeader::parse(*header)?;
        let address = peer.address;
        peer.used = now;
        peer.unanswered = None;
        peer.is_lost = false;
        self.last_opened = Some((index, slot));
        if place == Slot::Next {
            self.promote(now, slot);
        }
        match header {
            InnerHeader::Ipv6(header) => {
                self.expect_to_answer(now, slot);
                Ok(Opened::Packet {
                    peer: address,
                    header,
                    payload,
                })
            }
            InnerHeader::Control { message, request } => {
                self.control(now, slot, message, request, payload);
                Ok(Opened::Control)
            }
        }
    }

    /// Something came that calls for an answer: if programs have none, a keep-alive is due.
    pub(super) fn expect_to_answer(&mut self, now: Instant, slot: usize) {
        if let Some(peer) = self.peers[slot].as_mut()
            && peer.keep_alive.is_none()
        {
            let due = now + KEEP_ALIVE;
            peer.keep_alive = Some(due);
            self.next_timeout = self.next_timeout.min(due);
        }
    }

    /// A key that routing learned. Without it the first handshake with a peer takes one round trip more.
    pub fn note_key(&mut self, now: Instant, key: &MeshPublicKey) {
        let address = key.address();
        if let Some(slot) = self.by_address.get(&address).copied()
            && let Some(peer) = self.peers[slot].as_mut()
            && peer.key.is_none()
        {
            peer.key = Some(*key);
            if let Some(attempt) = peer.attempt.as_mut() {
                **attempt = Attempt::new(now);
            }
            self.attend(now, slot);
        }
    }

    /// The next message to send through the mesh.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When [`Sessions::handle_timeout`] wants to be called.
    pub const fn poll_timeout(&self) -> Instant {
        self.next_timeout
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_timeout {
            return;
        }
        self.next_timeout = Instant::NEVER;
        self.tell_news(now);
        for slot in 0..self.peers.len() {
            self.attend(now, slot);
        }
    }

    /// The place of a peer, made if there is none.
    pub(super) fn slot_for(&mut self, now: Instant, address: NodeAddress) -> usize {
        if let Some(slot) = self.by_address.get(&address) {
            return *slot;
        }
        if self.by_address.len() >= self.limits.peers.max(1) {
            let rank = |peer: &Peer| (peer.current.is_some(), peer.wanted, peer.used);
            let least = self.peers.iter().flatten().min_by_key(|peer| rank(peer));
            if let Some(slot) = least.and_then(|peer| self.by_address.get(&peer.address).copied()) {
                self.remove(slot);
            }
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        let peer = Peer::new(now, address);
        self.next_timeout = self.next_timeout.min(peer.due());
        self.peers[slot] = Some(Box::new(peer));
        self.by_address.insert(address, slot);
        slot
    }

    /// Forgets a peer; what waited for it comes back.
    pub(super) fn remove(&mut self, slot: usize) {
        self.give_up_waiting(slot);
        let Some(peer) = self.peers[slot].take() else {
            return;
        };
        for index in peer.indices() {
            self.by_index.remove(&index);
        }
        self.by_address.remove(&peer.address);
        self.free.push(slot);
        self.last_sent = None;
        self.last_opened = None;
    }

    /// A random index that is not in use, registered for a peer.
    pub(super) fn new_index(&mut self, slot: usize) -> u32 {
        loop {
            let index = self.rng.next_u32();
            if let std::collections::btree_map::Entry::Vacant(entry) = self.by_index.entry(index) {
                entry.insert(slot);
                return index;
            }
        }
    }

    /// The session that a frame confirmed becomes the one to send by.
    fn promote(&mut self, now: Instant, slot: usize) {
        if let Some(next) = self.peers[slot].as_mut().and_then(|peer| peer.next.take()) {
            self.install(now, slot, next);
            self.flush(now, slot);
        }
    }

    /// Makes a session the current one.
    pub(super) fn install(&mut self, now: Instant, slot: usize, session: Box<Session>) {
        let Some(peer) = self.peers[slot].as_mut() else {
            return;
        };
        let oldest = match peer.current.replace(session) {
            Some(old) => peer.before.replace((old, now + OVERLAP)),
            None => {
                self.events
                    .push_back(SessionEvent::Established(peer.address));
                None
            }
        };
        let attempt = peer
            .attempt
            .take()
            .and_then(|attempt| attempt.initiation)
            .map(|initiation| initiation.index);
        peer.unanswered = None;
        peer.is_lost = false;
        for index in attempt
            .into_iter()
            .chain(oldest.map(|(session, _)| session.local))
        {
            self.by_index.remove(&index);
        }
        self.last_opened = None;
        if let Some(peer) = &self.peers[slot] {
            self.next_timeout = self.next_timeout.min(peer.due());
        }
    }
}

/// Seals one frame.
#[must_use]
pub struct Sealer<'a> {
    pub(super) peer: &'a mut Peer,
    pub(super) now: Instant,
    pub(super) next_timeout: &'a mut Instant,
}

impl core::fmt::Debug for Sealer<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sealer({})", self.peer.address)
    }
}

impl Sealer<'_> {
    /// Writes the frame for a packet into `out`, of exactly [`super::sealed_len`] bytes: one copy, sealed in place.
    pub fn seal(
        self,
        packet: &Compressed<'_>,
        rest: &[u8],
        out: &mut [u8],
    ) -> Result<(), PacketError> {
        if packet.destination != self.peer.address {
            return Err(PacketError::Address);
        }
        let end = PREFIX + INNER_LEN + packet.head.len() + rest.len();
        if out.len() != end + TAG_LEN {
            return Err(PacketError::Length);
        }
        let text = &mut out[PREFIX + INNER_LEN..end];
        packet.write_payload(rest, text)?;
        self.peer.wanted = Some(self.now);
        self.finish(InnerHeader::Ipv6(packet.header), out, true)
    }

    /// Seals a frame whose text stands behind the place of its inner header.
    pub(super) fn finish(
        self,
        header: InnerHeader,
        out: &mut [u8],
        wants_answer: bool,
    ) -> Result<(), PacketError> {
        if out.len() < SEALED_OVERHEAD {
            return Err(PacketError::Length);
        }
        debug_assert_eq!(SEALED_OVERHEAD, PREFIX + INNER_LEN + TAG_LEN);
        out[PREFIX..PREFIX + INNER_LEN].copy_from_slice(&header.to_bytes());
        if let Some(current) = &mut self.peer.current {
            current.seal_frame(out);
        }
        self.peer.used = self.now;
        self.peer.keep_alive = None;
        if wants_answer {
            if self.peer.unanswered.is_none() {
                self.peer.unanswered = Some(self.now);
                *self.next_timeout = (*self.next_timeout).min(self.now + UNANSWERED);
            }
            let due = self.peer.rekey_due();
            if due <= self.now {
                *self.next_timeout = (*self.next_timeout).min(due);
            }
        }
        Ok(())
    }
}
