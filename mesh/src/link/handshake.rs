//! How two neighbours become a link: Noise XX (XXpsk2 in a mesh with a passphrase), inside which each proves to own its
//! mesh key. Objects without I/O: messages in, messages out; resending and timing out is the caller's. A new handshake
//! over an existing link makes a new session and touches nothing of the old one.
//!
//! Each side signs, with its mesh key: "warren link handshake v1" || role 1 || handshake hash before its message 32 ||
//! its static X25519 key 32 || initiator's index 4 || responder's index 4. The static key is random at every start of a
//! node. `mac1` of HANDSHAKE1 is keyed by the responder's short id (known from its beacon), that of HANDSHAKE2 by the
//! initiator's ephemeral key (known to who has seen HANDSHAKE1).
//!
//! Under load, ask [`CookieGate::admit`](crate::crypto::cookie::CookieGate::admit) with [`responder_mac_keys`] or
//! [`Initiator::reply_mac_keys`] before anything here: no curve work happens without it.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::payload::{self, Peer, Role, Statement};
use super::{FrameType, GroupReceiver, GroupSender, LinkError, LinkIndex, LinkSession};
use crate::crypto::SecretKey;
use crate::crypto::cookie::{Admission, Cookie, CookieGate, MACS_LEN, MacKeys};
use crate::crypto::noise::{self, Handshake, NoiseError, Parameters, Pattern};
use crate::identity::{MeshIdentity, MeshPublicKey, NodeAddress, ShortId};
use crate::time::Instant;
use crate::wire::{Reader, Writer};

const PROLOGUE: &[u8] = b"warren link v1";
const EPHEMERAL_LEN: usize = 32;

/// Longest handshake datagram accepted, in bytes.
pub const MAX_HANDSHAKE: usize = 1024;

/// What this node brings into its handshakes.
#[derive(Clone, Copy, Debug)]
pub struct LinkParty<'a> {
    /// Its mesh key.
    pub identity: &'a MeshIdentity,
    /// Its X25519 private key for links, random at every start.
    pub static_secret: &'a SecretKey,
    /// The key made from the mesh passphrase, if there is one.
    pub psk: Option<&'a SecretKey>,
    /// Its broadcast group.
    pub group: &'a GroupSender,
    /// What it can do beyond the basics, as bits.
    pub features: u16,
}

impl<'a> LinkParty<'a> {
    const fn parameters(&self) -> Parameters<'a> {
        Parameters {
            pattern: match self.psk {
                Some(_) => Pattern::XxPsk2,
                None => Pattern::Xx,
            },
            prologue: PROLOGUE,
            local_static: self.static_secret,
            remote_static: None,
            psk: self.psk,
        }
    }

    /// Length of Noise message 1.
    const fn first_message_len(&self) -> usize {
        match self.psk {
            Some(_) => EPHEMERAL_LEN + 16,
            None => EPHEMERAL_LEN,
        }
    }
}

/// A finished handshake.
#[derive(Debug)]
pub struct Established {
    /// The neighbour's mesh key, proven.
    pub peer: MeshPublicKey,
    /// The address that follows from it.
    pub peer_address: NodeAddress,
    /// What the neighbour can do beyond the basics, as bits.
    pub features: u16,
    /// The index the neighbour names in frames to us.
    pub local_index: LinkIndex,
    /// The index we name in frames to the neighbour.
    pub remote_index: LinkIndex,
    /// Seals and opens frames.
    pub session: LinkSession,
    /// Opens the neighbour's broadcasts, with the session's tag key.
    pub peer_group: GroupReceiver,
}

impl Established {
    fn new(
        now: Instant,
        peer: Peer,
        handshake: Handshake,
        local_index: LinkIndex,
        remote_index: LinkIndex,
        is_initiator: bool,
    ) -> Result<Self, LinkError> {
        let keys = handshake.split()?;
        Ok(Self {
            peer_address: peer.key.address(),
            peer: peer.key,
            features: peer.features,
            local_index,
            remote_index,
            session: LinkSession::new(now, &keys, local_index, remote_index, is_initiator),
            peer_group: peer.group,
        })
    }
}

/// The keys of `mac1` and cookies of HANDSHAKE1 messages to the node with this short id.
pub fn responder_mac_keys(responder: ShortId) -> MacKeys {
    MacKeys::new("warren link handshake 1 v1", &responder.0)
}

fn reply_mac_keys(ephemeral: &[u8]) -> MacKeys {
    MacKeys::new("warren link handshake 2 v1", ephemeral)
}

/// The sender's index of a HANDSHAKE1 or HANDSHAKE2 datagram: whom a cookie reply names.
pub fn sender_index(datagram: &[u8]) -> Option<LinkIndex> {
    match FrameType::of(datagram).ok()? {
        FrameType::Handshake1 | FrameType::Handshake2 => {
            let bytes = datagram.get(1..)?.first_chunk::<4>()?;
            Some(LinkIndex(u32::from_be_bytes(*bytes)))
        }
        _ => None,
    }
}

/// The COOKIE datagram that answers the handshake message `datagram` from `from`, after the gate said
/// [`Admission::NeedsCookie`].
pub fn cookie_reply<R: CryptoRng + ?Sized>(
    gate: &CookieGate,
    now: Instant,
    keys: &MacKeys,
    datagram: &[u8],
    from: &[u8],
    rng: &mut R,
) -> Option<Vec<u8>> {
    let index = sender_index(datagram)?;
    let mut reply = vec![FrameType::Cookie.byte()];
    reply.put(&gate.reply(now, keys, datagram, index.0, from, rng));
    Some(reply)
}

/// A message that may have to be sent again, with a cookie.
#[derive(Debug)]
struct Stamped {
    keys: MacKeys,
    message: Vec<u8>,
}

impl Stamped {
    fn new(keys: MacKeys, mut message: Vec<u8>) -> Self {
        keys.stamp(None, &mut message);
        Self { keys, message }
    }

    fn take_cookie(
        &mut self,
        now: Instant,
        local: LinkIndex,
        datagram: &[u8],
    ) -> Result<(), LinkError> {
        let mut reader = expect(FrameType::Cookie, datagram)?;
        let reply = reader.take(reader.rest().len())?;
        let (index, cookie): (u32, Cookie) = self.keys.open_reply(now, &self.message, reply)?;
        if index != local.0 {
            return Err(LinkError::Index);
        }
        self.message.truncate(self.message.len() - MACS_LEN);
        self.keys.stamp(Some(&cookie), &mut self.message);
        Ok(())
    }
}

fn expect(wanted: FrameType, datagram: &[u8]) -> Result<Reader<'_>, LinkError> {
    let found = FrameType::of(datagram)?;
    if found != wanted {
        return Err(LinkError::FrameType(found as u8));
    }
    if datagram.len() > MAX_HANDSHAKE {
        return Err(LinkError::Length {
            len: datagram.len(),
        });
    }
    Ok(Reader::new(&datagram[1..]))
}

/// The side that sends HANDSHAKE1.
#[derive(Debug)]
pub struct Initiator {
    handshake: Option<Handshake>,
    peer: ShortId,
    local_index: LinkIndex,
    stamped: Stamped,
    reply_keys: MacKeys,
}

impl Initiator {
    /// Starts a handshake with the node of this short id. `local_index` is random and unused.
    pub fn start<R: CryptoRng + ?Sized>(
        local: &LinkParty<'_>,
        peer: ShortId,
        local_index: LinkIndex,
        rng: &mut R,
    ) -> Result<Self, LinkError> {
        let mut handshake = Handshake::initiator(local.parameters(), rng)?;
        let mut message = vec![FrameType::Handshake1.byte()];
        message.put_u32(local_index.0);
        let noise_at = message.len();
        handshake.write(&[], &mut message)?;
        let reply_keys = reply_mac_keys(&message[noise_at..noise_at + EPHEMERAL_LEN]);
        Ok(Self {
            handshake: Some(handshake),
            peer,
            local_index,
            stamped: Stamped::new(responder_mac_keys(peer), message),
            reply_keys,
        })
    }

    /// The HANDSHAKE1 datagram, to be sent until something comes back.
    pub fn message(&self) -> &[u8] {
        &self.stamped.message
    }

    /// Whom it is for.
    pub const fn peer(&self) -> ShortId {
        self.peer
    }

    /// Our index.
    pub const fn local_index(&self) -> LinkIndex {
        self.local_index
    }

    /// The keys of `mac1` and cookies of the HANDSHAKE2 we wait for.
    pub const fn reply_mac_keys(&self) -> &MacKeys {
        &self.reply_keys
    }

    /// A COOKIE datagram came: [`Initiator::message`] carries the cookie from now on. Send it again.
    pub fn take_cookie(&mut self, now: Instant, datagram: &[u8]) -> Result<(), LinkError> {
        self.stamped.take_cookie(now, self.local_index, datagram)
    }

    /// Reads HANDSHAKE2. On success the HANDSHAKE3 datagram to send (again, until the neighbour is heard in the new
    /// session) and the session; this object is used up. After [`LinkError::Mac`], [`LinkError::Index`] or
    /// [`LinkError::Length`] it goes on waiting, after other errors it is best dropped.
    pub fn finish(
        &mut self,
        now: Instant,
        local: &LinkParty<'_>,
        datagram: &[u8],
    ) -> Result<(Vec<u8>, Established), LinkError> {
        expect(FrameType::Handshake2, datagram)?;
        let body = self
            .reply_keys
            .verify_mac1(datagram)
            .ok_or(LinkError::Mac)?;
        let mut reader = expect(FrameType::Handshake2, body)?;
        let remote_index = LinkIndex(reader.u32()?);
        if reader.u32()? != self.local_index.0 {
            return Err(LinkError::Index);
        }
        let handshake = self.handshake.as_mut().ok_or(NoiseError::State)?;
        let before = handshake.hash();
        let payload = read(local, handshake, reader.rest())?;
        let statement = |role, hash, static_public| Statement {
            role,
            hash,
            static_public,
            initiator_index: self.local_index,
            responder_index: remote_index,
        };
        let theirs = handshake.remote_static().ok_or(NoiseError::State)?;
        let theirs = statement(Role::Responder, before, theirs);
        let peer = payload::decode(local, &theirs, Some(self.peer), &payload)?;
        let ours = noise::x25519_public(local.static_secret);
        let ours = statement(Role::Initiator, handshake.hash(), ours);
        let mut message = vec![FrameType::Handshake3.byte()];
        message.put_u32(remote_index.0);
        let payload = Zeroizing::new(payload::encode(local, &ours));
        handshake.write(&payload, &mut message)?;
        let handshake = self.handshake.take().ok_or(NoiseError::State)?;
        let established =
            Established::new(now, peer, handshake, self.local_index, remote_index, true)?;
        Ok((message, established))
    }
}

/// The side that answers a HANDSHAKE1.
#[derive(Debug)]
pub struct Responder {
    handshake: Option<Handshake>,
    local_index: LinkIndex,
    remote_index: LinkIndex,
    stamped: Stamped,
}

impl Responder {
    /// Reads HANDSHAKE1 and makes HANDSHAKE2: two curve operations. `local_index` is random and unused.
    pub fn accept<R: CryptoRng + ?Sized>(
        local: &LinkParty<'_>,
        local_index: LinkIndex,
        datagram: &[u8],
        rng: &mut R,
    ) -> Result<Self, LinkError> {
        expect(FrameType::Handshake1, datagram)?;
        let body = responder_mac_keys(local.identity.short_id())
            .verify_mac1(datagram)
            .ok_or(LinkError::Mac)?;
        let mut reader = expect(FrameType::Handshake1, body)?;
        let remote_index = LinkIndex(reader.u32()?);
        let first = reader.rest();
        if first.len() != local.first_message_len() {
            return Err(match first.len() {
                32 | 48 => LinkError::PassphraseMissing,
                _ => LinkError::Length {
                    len: datagram.len(),
                },
            });
        }
        let mut handshake = Handshake::responder(local.parameters(), rng)?;
        handshake.read(first)?;
        let statement = Statement {
            role: Role::Responder,
            hash: handshake.hash(),
            static_public: noise::x25519_public(local.static_secret),
            initiator_index: remote_index,
            responder_index: local_index,
        };
        let payload = Zeroizing::new(payload::encode(local, &statement));
        let mut message = vec![FrameType::Handshake2.byte()];
        message.put_u32(local_index.0);
        message.put_u32(remote_index.0);
        handshake.write(&payload, &mut message)?;
        Ok(Self {
            handshake: Some(handshake),
            local_index,
            remote_index,
            stamped: Stamped::new(reply_mac_keys(&first[..EPHEMERAL_LEN]), message),
        })
    }

    /// The HANDSHAKE2 datagram. Send it again when the same HANDSHAKE1 comes again.
    pub fn message(&self) -> &[u8] {
        &self.stamped.message
    }

    /// Our index.
    pub const fn local_index(&self) -> LinkIndex {
        self.local_index
    }

    /// The initiator's index.
    pub const fn remote_index(&self) -> LinkIndex {
        self.remote_index
    }

    /// A COOKIE datagram came: [`Responder::message`] carries the cookie from now on. Send it again.
    pub fn take_cookie(&mut self, now: Instant, datagram: &[u8]) -> Result<(), LinkError> {
        self.stamped.take_cookie(now, self.local_index, datagram)
    }

    /// Reads HANDSHAKE3. On success this object is used up; after [`LinkError::Index`] or [`LinkError::Length`] it goes
    /// on waiting, after other errors it is best dropped.
    pub fn finish(
        &mut self,
        now: Instant,
        local: &LinkParty<'_>,
        datagram: &[u8],
    ) -> Result<Established, LinkError> {
        let mut reader = expect(FrameType::Handshake3, datagram)?;
        if reader.u32()? != self.local_index.0 {
            return Err(LinkError::Index);
        }
        let handshake = self.handshake.as_mut().ok_or(NoiseError::State)?;
        let before = handshake.hash();
        let payload = read(local, handshake, reader.rest())?;
        let statement = Statement {
            role: Role::Initiator,
            hash: before,
            static_public: handshake.remote_static().ok_or(NoiseError::State)?,
            initiator_index: self.remote_index,
            responder_index: self.local_index,
        };
        let peer = payload::decode(local, &statement, None, &payload)?;
        let handshake = self.handshake.take().ok_or(NoiseError::State)?;
        let (local_index, remote_index) = (self.local_index, self.remote_index);
        Established::new(now, peer, handshake, local_index, remote_index, false)
    }
}

/// Reads a Noise message whose sender's static key opens before its payload does: if only the payload fails, the
/// passphrases differ.
fn read(
    local: &LinkParty<'_>,
    handshake: &mut Handshake,
    message: &[u8],
) -> Result<Zeroizing<Vec<u8>>, LinkError> {
    match handshake.read(message) {
        Ok(payload) => Ok(Zeroizing::new(payload)),
        Err(NoiseError::Decrypt) if local.psk.is_some() && handshake.remote_static().is_some() => {
            Err(LinkError::PassphraseDiffers)
        }
        Err(error) => Err(error.into()),
    }
}

/// Judges a handshake datagram before any curve work; see [`CookieGate::admit`].
pub fn admit(
    gate: &CookieGate,
    now: Instant,
    keys: &MacKeys,
    datagram: &[u8],
    from: &[u8],
    under_load: bool,
) -> Admission {
    if datagram.len() > MAX_HANDSHAKE {
        return Admission::Forget;
    }
    gate.admit(now, keys, datagram, from, under_load)
}
