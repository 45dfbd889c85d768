//! Why a frame of a link is refused. Whoever sees one of these drops the frame; nothing on the wire tells the sender.

use crate::crypto::aead::BadTag;
use crate::crypto::cookie::BadCookieReply;
use crate::crypto::noise::NoiseError;
use crate::crypto::replay::ReplayError;
use crate::identity::{IdentityError, ShortId};
use crate::wire::Truncated;

/// Everything that can be wrong with a link frame or a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// No frame of its type is this long.
    #[error("a frame of {len} bytes is too short or too long for its type")]
    Length {
        /// Length of the whole datagram in bytes.
        len: usize,
    },
    /// The bytes end inside a field.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// The first byte names another version.
    #[error("a frame of version {0}: the neighbour runs another release")]
    Version(u8),
    /// The first byte names no type, or not the one handed over.
    #[error("a frame of type {0} does not belong here")]
    FrameType(u8),
    /// The frame names an index or a group that is not this object's.
    #[error("the frame is for another link")]
    Index,
    /// The counter was refused.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Nobody with the link's keys made this frame, or it was damaged.
    #[error(transparent)]
    Tag(#[from] BadTag),
    /// The first tag of a handshake message is wrong: it was meant for somebody else, or damaged.
    #[error("the handshake message is not for this node")]
    Mac,
    /// The cookie reply does not fit our message.
    #[error(transparent)]
    Cookie(#[from] BadCookieReply),
    /// The Noise handshake refuses the message.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The other side has a passphrase where we have none, or the reverse.
    #[error("one side has a mesh passphrase, the other has none: set the same on both")]
    PassphraseMissing,
    /// The other side's key opened, its payload did not.
    #[error(
        "the neighbour has another mesh passphrase (or the frame was damaged): set the same on both"
    )]
    PassphraseDiffers,
    /// The handshake's payload speaks another version.
    #[error("the neighbour's handshake is of version {0}: it runs another release")]
    HandshakeVersion(u8),
    /// The signature of a handshake, or the key behind it, is bad.
    #[error("the neighbour does not own the mesh key it shows: {0}")]
    Identity(#[from] IdentityError),
    /// We have met ourselves.
    #[error("the neighbour shows this node's own mesh key: a loop, or the key was copied")]
    OwnKey,
    /// Somebody else answered.
    #[error("expected node {expected}, met {found}")]
    OtherPeer {
        /// Whom the handshake was for.
        expected: ShortId,
        /// Who answered.
        found: ShortId,
    },
    /// The routing header and the frame disagree about the payload's length.
    #[error("the routing header speaks of {stated} bytes, the frame carries {carried}")]
    PayloadLength {
        /// Bytes by the header.
        stated: usize,
        /// Bytes there are.
        carried: usize,
    },
    /// A broadcast frame has one byte for the number of neighbours.
    #[error("{0} neighbours do not fit one broadcast frame of at most 255")]
    TooManyNeighbours(usize),
}
