//! How recent an originator's word is: (generation, sequence number), compared in that order.

use super::chain::MAX_SEQ;
use crate::message::WireFreshness;

/// Generation of an originator and sequence number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Freshness {
    /// Counts the originator's starts.
    pub generation: u32,
    /// 1 to [`MAX_SEQ`].
    pub seq: u16,
}

impl Freshness {
    /// The next sequence number, in the next generation when this one is used up.
    pub const fn successor(self) -> Self {
        if self.seq >= MAX_SEQ {
            Self {
                generation: self.generation + 1,
                seq: 1,
            }
        } else {
            Self {
                generation: self.generation,
                seq: self.seq + 1,
            }
        }
    }

    /// As it stands in messages.
    pub const fn to_wire(self) -> WireFreshness {
        WireFreshness {
            generation: self.generation as u16,
            seq: self.seq,
        }
    }

    /// From a message: of all generations with these low sixteen bits the one nearest to `known` is meant.
    pub const fn from_wire(wire: WireFreshness, known: u32) -> Self {
        let distance = wire.generation.wrapping_sub(known as u16).cast_signed();
        Self {
            generation: known.saturating_add_signed(distance as i32),
            seq: wire.seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_told_apart_around_the_known_one() {
        for (known, generation) in [(5, 6), (70_000, 69_990), (65_535, 65_536), (3, 1)] {
            let fresh = Freshness { generation, seq: 9 };
            assert_eq!(Freshness::from_wire(fresh.to_wire(), known), fresh);
        }
    }

    #[test]
    fn the_last_sequence_number_is_followed_by_a_new_generation() {
        let last = Freshness {
            generation: 1,
            seq: MAX_SEQ,
        };
        assert!(last.successor() > last);
        assert_eq!(last.successor().generation, 2);
    }
}
