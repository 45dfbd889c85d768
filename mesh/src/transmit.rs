//! Frames on their way out, gathered so that the carrier can hand many to the kernel in one call (UDP_SEGMENT). Buffers
//! are recycled: a frame costs no allocation once the queue is warm. Nothing here knows what a frame means.

use core::net::SocketAddr;
use std::collections::VecDeque;

/// One of the node's interfaces, numbered by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u16);

/// Who on an interface a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// One transport address.
    Unicast(SocketAddr),
    /// Everybody who listens on the interface (its multicast group).
    Broadcast,
}

/// Datagrams for one destination, laid end to end: each is `segment` bytes long, the last may be shorter.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The interface to send on.
    pub interface: InterfaceId,
    /// Whom to send to.
    pub to: Destination,
    /// Length of each datagram in bytes; `bytes` holds at least one.
    pub segment: usize,
    /// The datagrams.
    pub bytes: Vec<u8>,
}

/// Longest batch in bytes: what one UDP send can take.
pub const MAX_BATCH_BYTES: usize = 65_000;
/// Most datagrams of a batch: the kernel's UDP_MAX_SEGMENTS is 64 in older and 128 in newer kernels.
pub const MAX_BATCH_SEGMENTS: usize = 64;
const SPARE_BUFFERS: usize = 16;

/// First-in first-out queue of batches.
#[derive(Debug, Default)]
pub struct TransmitQueue {
    batches: VecDeque<Batch>,
    spare: Vec<Vec<u8>>,
}

impl TransmitQueue {
    /// Adds a datagram of exactly `len` bytes that `fill` writes, joining the last batch where the kernel could send
    /// both in one call. `fill` gets a zeroed slice of `len` bytes.
    pub fn push_with<R>(
        &mut self,
        interface: InterfaceId,
        to: Destination,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let bytes = self.room(interface, to, len);
        let start = bytes.len();
        bytes.resize(start + len, 0);
        fill(&mut bytes[start..])
    }

    /// The same for a datagram that ends with `payload`: `fill` gets all of it, the first `head_len` bytes zeroed. A relay's
    /// way: what is copied need not be zeroed first.
    pub fn push_behind<R>(
        &mut self,
        interface: InterfaceId,
        to: Destination,
        head_len: usize,
        payload: &[u8],
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let bytes = self.room(interface, to, head_len + payload.len());
        let start = bytes.len();
        bytes.reserve(head_len + payload.len());
        bytes.resize(start + head_len, 0);
        bytes.extend_from_slice(payload);
        fill(&mut bytes[start..])
    }

    /// Where a datagram of `len` bytes goes: the end of the last batch, if the kernel can send it along, or a new one.
    fn room(&mut self, interface: InterfaceId, to: Destination, len: usize) -> &mut Vec<u8> {
        let joins = self.batches.back().is_some_and(|batch| {
            batch.interface == interface
                && batch.to == to
                && len <= batch.segment
                && batch.bytes.len() % batch.segment == 0
                && batch.bytes.len() + len <= MAX_BATCH_BYTES
                && batch.bytes.len() / batch.segment < MAX_BATCH_SEGMENTS
                && matches!(to, Destination::Unicast(_))
        });
        if !joins {
            let bytes = self.spare.pop().unwrap_or_default();
            self.batches.push_back(Batch {
                interface,
                to,
                segment: len,
                bytes,
            });
        }
        let index = self.batches.len() - 1;
        &mut self.batches[index].bytes
    }

    /// Adds a finished datagram.
    pub fn push(&mut self, interface: InterfaceId, to: Destination, datagram: &[u8]) {
        self.push_with(interface, to, datagram.len(), |slot| {
            slot.copy_from_slice(datagram);
        });
    }

    /// The oldest batch.
    pub fn pop(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Gives a sent batch's buffer back for reuse.
    pub fn recycle(&mut self, batch: Batch) {
        if self.spare.len() < SPARE_BUFFERS {
            let mut bytes = batch.bytes;
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Bytes waiting.
    pub fn queued_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Destination {
        Destination::Unicast(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn equal_datagrams_for_one_peer_share_a_batch_and_a_shorter_one_closes_it() {
        let mut queue = TransmitQueue::default();
        for len in [10, 10, 4, 10] {
            queue.push(InterfaceId(1), peer(1), &vec![7; len]);
        }
        let first = queue.pop().unwrap();
        assert_eq!((first.segment, first.bytes.len()), (10, 24));
        let second = queue.pop().unwrap();
        assert_eq!((second.segment, second.bytes.len()), (10, 10));
        assert!(queue.pop().is_none());
    }

    #[test]
    fn different_peers_and_broadcasts_never_share_a_batch() {
        let mut queue = TransmitQueue::default();
        queue.push(InterfaceId(1), peer(1), &[0; 5]);
        queue.push(InterfaceId(1), peer(2), &[0; 5]);
        queue.push(InterfaceId(1), Destination::Broadcast, &[0; 5]);
        queue.push(InterfaceId(1), Destination::Broadcast, &[0; 5]);
        assert_eq!(core::iter::from_fn(|| queue.pop()).count(), 4);
    }

    #[test]
    fn a_batch_never_exceeds_what_one_send_can_take() {
        let mut queue = TransmitQueue::default();
        for _ in 0..200 {
            queue.push(InterfaceId(1), peer(1), &[0; 1400]);
        }
        let mut total = 0;
        while let Some(batch) = queue.pop() {
            assert!(batch.bytes.len() <= MAX_BATCH_BYTES);
            assert!(batch.bytes.len() / batch.segment <= MAX_BATCH_SEGMENTS);
            total += batch.bytes.len();
            queue.recycle(batch);
        }
        assert_eq!(total, 200 * 1400);
    }
}
