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

mod initiator;
mod payload;
mod responder;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

pub use self::initiator::Initiator;
use self::payload::Peer;
pub use self::responder::Responder;
use super::{FrameType, GroupReceiver, GroupSender, LinkError, LinkIndex, LinkSession};
use crate::crypto::SecretKey;
use crate::crypto::cipher::Suite;
use crate::crypto::cookie::{Admission, Cookie, CookieGate, MACS_LEN, MacKeys};
use crate::crypto::noise::{Handshake, NoiseError, Parameters, Pattern};
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
        local: &LinkParty<'_>,
        peer: Peer,
        handshake: Handshake,
        local_index: LinkIndex,
        remote_index: LinkIndex,
        is_initiator: bool,
    ) -> Result<Self, LinkError> {
        let keys = handshake.split()?;
        let suite = Suite::agreed(local.features.into(), peer.features.into());
        Ok(Self {
            peer_address: peer.key.address(),
            peer: peer.key,
            features: peer.features,
            local_index,
            remote_index,
            session: LinkSession::new(now, &keys, suite, local_index, remote_index, is_initiator),
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
