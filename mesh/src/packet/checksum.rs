//! The Internet checksum (RFC 1071) over IPv6's pseudo-header (RFC 8200, section 8.1), whole and partial.

use super::PacketError;

/// A running one's complement sum of 16-bit words. Parts have to be even in length, all but the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes; an odd last byte counts as if a zero followed.
    #[must_use]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        // 32-bit words into 64 bits: folding adds the halves, and no packet is long enough to overflow.
        let mut sum = self.0;
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            sum += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        }
        let mut last = [0; 4];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        Self(sum + u64::from(u32::from_be_bytes(last)))
    }

    /// Adds the pseudo-header of an upper-layer packet of `length` bytes.
    #[must_use]
    pub fn add_pseudo_header(
        self,
        source: &[u8; 16],
        destination: &[u8; 16],
        length: u32,
        next_header: u8,
    ) -> Self {
        let mut sum = self.add_bytes(source).add_bytes(destination);
        sum.0 += u64::from(length) + u64::from(next_header);
        sum
    }

    /// The sum folded to 16 bits, not complemented: what a partial checksum field holds.
    pub const fn folded(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum: the complement of the folded sum.
    pub const fn finish(self) -> u16 {
        !self.folded()
    }
}

/// Fills in a checksum of which the field so far holds only the pseudo-header's sum (virtio's "needs checksum"). `start`
/// is where summing starts in `packet`, `offset` where the field is from there, both in bytes.
pub fn complete(packet: &mut [u8], start: usize, offset: usize) -> Result<(), PacketError> {
    let covered = packet.get_mut(start..).ok_or(PacketError::ChecksumPlace)?;
    let end = offset.checked_add(2).ok_or(PacketError::ChecksumPlace)?;
    // An odd offset would put the field across two words; no transport has one.
    if covered.len() < end || !offset.is_multiple_of(2) {
        return Err(PacketError::ChecksumPlace);
    }
    let sum = match Sum::default().add_bytes(covered).finish() {
        // RFC 768 and RFC 8200: zero means "none" in UDP, and all ones is the same number in every other protocol.
        0 => 0xffff,
        sum => sum,
    };
    covered[offset..end].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let sum = Sum::default().add_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), 0xddf2);
        assert_eq!(sum.finish(), !0xddf2);
    }

    #[test]
    fn odd_lengths_count_as_if_padded() {
        for len in 0..9_usize {
            let bytes: Vec<u8> = (1..=len as u8).map(|b| b.wrapping_mul(77)).collect();
            let mut padded = bytes.clone();
            padded.resize(12, 0);
            assert_eq!(
                Sum::default().add_bytes(&bytes).folded(),
                Sum::default().add_bytes(&padded).folded()
            );
        }
    }

    #[test]
    fn a_place_outside_the_packet_is_refused() {
        let mut packet = [0; 48];
        assert!(complete(&mut packet, 40, 6).is_ok());
        for (start, offset) in [(40, 8), (49, 0), (usize::MAX, 2), (40, usize::MAX), (40, 5)] {
            assert_eq!(
                complete(&mut packet, start, offset),
                Err(PacketError::ChecksumPlace)
            );
        }
    }
}
