//! End-to-end sessions between two nodes of an island. [`Sessions`] is a table without I/O: packets, frames and time come
//! in; frames, messages and events go out. Relays see who talks to whom and how much, never what.
//!
//! | file | what |
//! |---|---|
//! | `table` | [`Sessions`]: all peers, bounded; seals and opens without allocating |
//! | `exchange` | how sessions come about: handshakes |
//! | `upkeep` | timers and control messages |
//! | `peer` | what is known of one peer: its sessions, handshake, waiting packets |
//! | `handshake` | Noise IK: messages and identity |
//! | `established` | one session: frames |
//! | `ratchet` | keys by epoch, replay windows |
//! | `control` | small messages inside sessions: keep-alive, descriptors |
//!
//! Rules:
//! * A frame with an unknown index makes the receiver start a handshake at a limited rate, and tears nothing down.
//! * The responder of a handshake sends under the new keys only after a frame came under them; until then the old session
//!   goes on. So a replayed or half-lost handshake costs nobody a packet.
//! * Two handshakes that cross: the initiation of the node with the lower address counts.
//! * A fresh handshake runs in the background after 30 minutes of use, and when 15 seconds of sending got no answer; who
//!   only receives says so every 10 seconds.

mod control;
mod established;
mod exchange;
mod handshake;
mod peer;
mod ratchet;
mod table;
mod upkeep;

pub use table::{Limits, Opened, Sealer, Sessions};

use crate::crypto::noise::NoiseError;
use crate::descriptor::Descriptor;
use crate::identity::{NodeAddress, ShortId};
use crate::packet::PacketError;
use crate::packet::inner::INNER_LEN;
use crate::wire::Truncated;

/// Bytes a session frame adds to what follows the 40 bytes of the IPv6 header.
pub const SEALED_OVERHEAD: usize = established::OVERHEAD + INNER_LEN;

/// Routing kind of session frames.
pub const KIND_DATA: u8 = 0;
/// Routing kind of handshake messages.
pub const KIND_HANDSHAKE: u8 = 1;

/// Length of the session frame for `payload_len` bytes behind the IPv6 header.
pub const fn sealed_len(payload_len: usize) -> usize {
    SEALED_OVERHEAD + payload_len
}

/// A message to send through the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// To whom.
    pub to: ShortId,
    /// [`KIND_DATA`] or [`KIND_HANDSHAKE`].
    pub kind: u8,
    /// The routing payload.
    pub bytes: Vec<u8>,
}

/// Something the node has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// A session with this node is up (again).
    Established(NodeAddress),
    /// This packet waited for a session that did not come about: answer it with "address unreachable".
    Undelivered(Vec<u8>),
    /// A descriptor that was asked for; its signature and owner have been checked.
    Descriptor(NodeAddress, Box<Descriptor>),
    /// Nobody answered a descriptor request.
    DescriptorTimeout(NodeAddress),
}

/// Why a frame or message was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not a frame or message of this version.
    #[error("the bytes are no session message of this version")]
    Malformed,
    /// No session has this index; a handshake has been started if the rate allowed.
    #[error("no session has the index of this frame")]
    UnknownIndex,
    /// The frame was seen before or is too old.
    #[error("the frame was seen before or is too old")]
    Replayed,
    /// The frame's tag does not fit.
    #[error("the frame's tag does not fit")]
    Tag,
    /// A handshake does not open.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A key that is none, or not the one of the address.
    #[error("the key does not belong to the address of its sender")]
    Identity,
    /// A handshake that was answered before or that nobody waits for.
    #[error("the handshake message is an old one")]
    Stale,
    /// Too many handshakes or requests at once: this one has to wait.
    #[error("too many handshakes at once")]
    Busy,
    /// The first authentication code does not fit: whoever sent it does not even know this node's address.
    #[error("the handshake message is not addressed to this node")]
    Mac,
    /// What is inside a frame is no packet.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl From<Truncated> for SessionError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl From<ratchet::Refused> for SessionError {
    fn from(refused: ratchet::Refused) -> Self {
        match refused {
            ratchet::Refused::Counter => Self::Replayed,
            ratchet::Refused::Tag => Self::Tag,
        }
    }
}

/// There is no session to this node yet: hand the packet to [`Sessions::queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no session to this node yet")]
pub struct NoSession;
