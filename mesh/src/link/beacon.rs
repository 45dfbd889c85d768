//! Beacons: "somebody is here". Public, unauthenticated, believed only as far as worth a handshake.

use super::{FrameType, LinkError};
use crate::identity::ShortId;
use crate::wire::{Reader, Writer};

/// Length of a beacon datagram in bytes.
pub const BEACON_LEN: usize = 16;

const FLAG_ANSWER: u8 = 1;
const FLAG_FULL: u8 = 2;

/// What a beacon says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// The sender.
    pub sender: ShortId,
    /// Whether it answers another beacon, to one node only.
    pub is_answer: bool,
    /// Whether the sender has neighbours enough: it wants no more that it can reach already.
    pub is_full: bool,
    /// Random at every start of the sender: a new one means that its old links are dead.
    pub epoch: [u8; 4],
    /// What the sender can do beyond the basics; unknown bits are ignored.
    pub features: u16,
}

impl Beacon {
    /// The datagram.
    pub fn encode(&self) -> [u8; BEACON_LEN] {
        let mut bytes = Vec::with_capacity(BEACON_LEN);
        bytes.put_u8(FrameType::Beacon.byte());
        bytes.put(&self.sender.0);
        let answer = if self.is_answer { FLAG_ANSWER } else { 0 };
        let full = if self.is_full { FLAG_FULL } else { 0 };
        bytes.put_u8(answer | full);
        bytes.put(&self.epoch);
        bytes.put_u16(self.features);
        let mut frame = [0; BEACON_LEN];
        frame.copy_from_slice(&bytes);
        frame
    }

    /// Reads a datagram. Unknown flags are ignored, as are bytes that a later release may append.
    pub fn decode(datagram: &[u8]) -> Result<Self, LinkError> {
        let found = FrameType::of(datagram)?;
        if found != FrameType::Beacon {
            return Err(LinkError::FrameType(found as u8));
        }
        if datagram.len() < BEACON_LEN {
            return Err(LinkError::Length {
                len: datagram.len(),
            });
        }
        let mut reader = Reader::new(&datagram[1..]);
        let sender = ShortId(reader.array()?);
        let flags = reader.u8()?;
        Ok(Self {
            sender,
            is_answer: flags & FLAG_ANSWER != 0,
            is_full: flags & FLAG_FULL != 0,
            epoch: reader.array()?,
            features: reader.u16()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_says_who_is_there_in_sixteen_bytes() {
        let beacon = Beacon {
            sender: ShortId([1, 2, 3, 4, 5, 6, 7, 8]),
            is_answer: true,
            is_full: true,
            epoch: [9, 10, 11, 12],
            features: 0x0102,
        };
        let bytes = beacon.encode();
        assert_eq!(
            bytes,
            [0x11, 1, 2, 3, 4, 5, 6, 7, 8, 3, 9, 10, 11, 12, 1, 2]
        );
        assert_eq!(Beacon::decode(&bytes), Ok(beacon));
        for len in 0..BEACON_LEN {
            let result = Beacon::decode(&bytes[..len]);
            assert_eq!(result, Err(LinkError::Length { len }));
        }
    }

    #[test]
    fn other_versions_and_types_are_no_beacons() {
        let mut bytes = [0; BEACON_LEN];
        bytes[0] = 0x21;
        assert_eq!(Beacon::decode(&bytes), Err(LinkError::Version(2)));
        bytes[0] = 0x12;
        assert_eq!(Beacon::decode(&bytes), Err(LinkError::FrameType(2)));
        bytes[0] = 0x1f;
        assert_eq!(Beacon::decode(&bytes), Err(LinkError::FrameType(15)));
    }
}
