//! Links between direct neighbours: who is there (beacons), who it is (handshake), and frames that nobody else can
//! make or read. No sockets, no timers, no list of neighbours: objects that turn bytes into bytes.
//!
//! Every datagram starts with a byte 0x10 | type (version 1). The bytes after it:
//!
//! | type | name | layout |
//! |---|---|---|
//! | 1 | BEACON | sender short id 8, flags 1, epoch 4, features 2 |
//! | 2 | HANDSHAKE1 | sender index 4, Noise message 1 (32, with passphrase 48), mac1 16, mac2 16 |
//! | 3 | HANDSHAKE2 | sender index 4, receiver index 4, Noise message 2, mac1 16, mac2 16 |
//! | 4 | HANDSHAKE3 | receiver index 4, Noise message 3 |
//! | 5 | COOKIE | receiver index 4, nonce 24, cookie 16, tag 16 |
//! | 6 | CONTROL | receiver index 4, counter 4, sealed messages, tag 16 |
//! | 7 | BROADCAST | group id 4, counter 4, n 1, n tags of 8, encrypted messages |
//! | 8 | DATA | receiver index 4, counter 4, sealed routing header 20, tag 16, payload |
//! | 9, 10 | DATA_FIRST, DATA_SECOND | as DATA, halves of one payload |

pub mod beacon;
pub mod broadcast;
mod error;
pub mod handshake;
pub mod routing_header;
pub mod session;

pub use beacon::Beacon;
pub use broadcast::{GroupId, GroupReceiver, GroupSender, TagKey};
pub use error::LinkError;
pub use handshake::{Established, Initiator, LinkParty, Responder};
pub use routing_header::{Part, PayloadKind, RoutingHeader};
pub use session::{LinkReceiver, LinkSender, LinkSession, OpenedData};

/// Version of the frames, in the high nibble of the first byte.
pub const VERSION: u8 = 1;

/// The receiver's random name for a link session (or for a handshake that may become one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// What a datagram is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Somebody is there.
    Beacon = 1,
    /// First message of a handshake.
    Handshake1 = 2,
    /// Second message of a handshake.
    Handshake2 = 3,
    /// Third message of a handshake.
    Handshake3 = 4,
    /// Answer to a handshake message under load.
    Cookie = 5,
    /// Sealed messages for one neighbour.
    Control = 6,
    /// Messages for all neighbours at once.
    Broadcast = 7,
    /// A payload on its way through the mesh.
    Data = 8,
    /// First half of a payload.
    DataFirst = 9,
    /// Second half of a payload.
    DataSecond = 10,
}

impl FrameType {
    /// The type of a datagram.
    pub fn of(datagram: &[u8]) -> Result<Self, LinkError> {
        let first = *datagram.first().ok_or(LinkError::Length { len: 0 })?;
        if first >> 4 != VERSION {
            return Err(LinkError::Version(first >> 4));
        }
        Ok(match first & 0x0f {
            1 => Self::Beacon,
            2 => Self::Handshake1,
            3 => Self::Handshake2,
            4 => Self::Handshake3,
            5 => Self::Cookie,
            6 => Self::Control,
            7 => Self::Broadcast,
            8 => Self::Data,
            9 => Self::DataFirst,
            10 => Self::DataSecond,
            unknown => return Err(LinkError::FrameType(unknown)),
        })
    }

    /// The first byte of such a datagram.
    pub const fn byte(self) -> u8 {
        VERSION << 4 | self as u8
    }
}

/// The index of ours that a datagram names, where its type names one. It is not authenticated.
pub fn receiver_index(datagram: &[u8]) -> Option<LinkIndex> {
    let at = match FrameType::of(datagram).ok()? {
        FrameType::Beacon | FrameType::Handshake1 | FrameType::Broadcast => return None,
        FrameType::Handshake2 => 5,
        _ => 1,
    };
    let bytes = datagram.get(at..)?.first_chunk::<4>()?;
    Some(LinkIndex(u32::from_be_bytes(*bytes)))
}

/// The sender's group id of a BROADCAST datagram. It is not authenticated: several neighbours may share one.
pub fn group_id(datagram: &[u8]) -> Option<GroupId> {
    matches!(FrameType::of(datagram), Ok(FrameType::Broadcast)).then_some(())?;
    let bytes = datagram.get(1..)?.first_chunk::<4>()?;
    Some(GroupId(u32::from_be_bytes(*bytes)))
}
