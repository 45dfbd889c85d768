//! The header that steers a payload through the mesh. Each link seals it anew; the payload behind it passes unchanged.

use super::FrameType;
use crate::identity::ShortId;

/// Length of an encoded header in bytes.
pub const ROUTING_HEADER_LEN: usize = 20;
/// Hops a payload may take.
pub const INITIAL_TTL: u8 = 64;

/// What a payload is; only its destination looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadKind(pub u8);

impl PayloadKind {
    /// A frame of an end-to-end session.
    pub const SESSION: Self = Self(0);
    /// A handshake message of an end-to-end session.
    pub const HANDSHAKE: Self = Self(1);
}

/// Where a payload comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingHeader {
    /// Links it may still cross.
    pub ttl: u8,
    /// What it is.
    pub kind: PayloadKind,
    /// Who made it. Not authenticated by links: relays could write anything.
    pub source: ShortId,
    /// Whom it is for.
    pub destination: ShortId,
    /// Length of the whole payload in bytes, also where a frame carries half of it.
    pub payload_len: u16,
}

impl RoutingHeader {
    /// ttl 1, kind 1, source 8, destination 8, payload length 2.
    pub fn encode(&self) -> [u8; ROUTING_HEADER_LEN] {
        let mut bytes = [0; ROUTING_HEADER_LEN];
        bytes[0] = self.ttl;
        bytes[1] = self.kind.0;
        bytes[2..10].copy_from_slice(&self.source.0);
        bytes[10..18].copy_from_slice(&self.destination.0);
        bytes[18..].copy_from_slice(&self.payload_len.to_be_bytes());
        bytes
    }

    /// Every 20 bytes are a header.
    pub fn decode(bytes: &[u8; ROUTING_HEADER_LEN]) -> Self {
        let (mut source, mut destination) = (ShortId::default(), ShortId::default());
        source.0.copy_from_slice(&bytes[2..10]);
        destination.0.copy_from_slice(&bytes[10..18]);
        Self {
            ttl: bytes[0],
            kind: PayloadKind(bytes[1]),
            source,
            destination,
            payload_len: u16::from_be_bytes([bytes[18], bytes[19]]),
        }
    }
}

/// How much of its payload a data frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first half, rounded up.
    First,
    /// The second half. Its counter is the first half's plus one.
    Second,
}

impl Part {
    /// Bytes of a payload of `payload_len` that this part carries.
    pub const fn len_of(self, payload_len: usize) -> usize {
        match self {
            Self::Whole => payload_len,
            Self::First => payload_len.div_ceil(2),
            Self::Second => payload_len / 2,
        }
    }

    pub(super) const fn frame_type(self) -> FrameType {
        match self {
            Self::Whole => FrameType::Data,
            Self::First => FrameType::DataFirst,
            Self::Second => FrameType::DataSecond,
        }
    }

    pub(super) const fn of(frame: FrameType) -> Option<Self> {
        match frame {
            FrameType::Data => Some(Self::Whole),
            FrameType::DataFirst => Some(Self::First),
            FrameType::DataSecond => Some(Self::Second),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_header_comes_back_from_its_twenty_bytes() {
        let bytes: [u8; ROUTING_HEADER_LEN] = core::array::from_fn(|i| i as u8 + 1);
        let header = RoutingHeader::decode(&bytes);
        assert_eq!((header.ttl, header.kind), (1, PayloadKind(2)));
        assert_eq!(header.source, ShortId([3, 4, 5, 6, 7, 8, 9, 10]));
        assert_eq!(header.payload_len, 0x1314);
        assert_eq!(header.encode(), bytes);
    }

    #[test]
    fn two_halves_make_a_payload_of_any_length() {
        for len in [0, 1, 2, 1417, 65_535] {
            assert_eq!(Part::First.len_of(len) + Part::Second.len_of(len), len);
        }
    }
}
