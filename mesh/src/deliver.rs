//! IPv6 packets that arrived for this node (or that it made for itself, such as ICMPv6 errors), gathered for the TUN
//! device. One buffer, reused; no allocation per packet once it is warm.

use core::ops::Range;

/// What the receiver of a packet has to know about its transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Filled in.
    Complete,
    /// Only the pseudo-header sum stands in the field: whoever passes the packet on to something that checks must
    /// complete it (virtio's "needs checksum"). Offsets are bytes from the start of the IPv6 packet.
    Partial {
        /// Where summing starts: the transport header.
        start: u16,
        /// Where the sum goes, from `start`.
        offset: u16,
    },
}

/// Packets for the TUN device, in order of arrival.
#[derive(Debug, Default)]
pub struct DeliverQueue {
    bytes: Vec<u8>,
    packets: Vec<(Range<usize>, Checksum)>,
}

impl DeliverQueue {
    /// Adds a packet of `len` bytes that `fill` writes into a zeroed slice. An error of `fill` takes the packet back.
    pub fn push_with<E>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<Checksum, E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        match fill(&mut self.bytes[start..]) {
            Ok(checksum) => {
                self.packets.push((start..start + len, checksum));
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Adds a finished packet.
    pub fn push(&mut self, packet: &[u8], checksum: Checksum) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(packet);
        self.packets.push((start..start + packet.len(), checksum));
    }

    /// The packets, oldest first; the slices may be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&mut [u8], Checksum)> {
        let mut rest: &mut [u8] = &mut self.bytes;
        let mut taken = 0;
        self.packets.iter().map(move |(range, checksum)| {
            let tail = core::mem::take(&mut rest);
            let (packet, tail) = tail[range.start - taken..].split_at_mut(range.len());
            taken = range.end;
            rest = tail;
            (packet, *checksum)
        })
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Forgets all packets, keeps the buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.packets.clear();
    }
}
