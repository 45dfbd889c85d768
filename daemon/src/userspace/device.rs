//! smoltcp's view of the mesh: a device of medium IP whose packets wait in two bounded queues. Buffers are reused.

use std::collections::VecDeque;

use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Packets that wait each way.
const WAITING_MAX: usize = 256;
/// What every path of an island carries, bytes.
const MTU: usize = 1280;

/// The two queues.
#[derive(Debug, Default)]
pub struct Packets {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Packets {
    /// A packet from the mesh; thrown away when too many wait, as a network does.
    pub fn push_received(&mut self, packet: &[u8]) {
        if self.received.len() < WAITING_MAX {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(packet);
            self.received.push_back(buffer);
        }
    }

    /// Hands out what the stack has sent.
    pub fn drain_sent(&mut self, mut send: impl FnMut(&[u8])) {
        while let Some(packet) = self.sent.pop_front() {
            send(&packet);
            recycle(&mut self.spare, packet);
        }
    }
}

fn recycle(spare: &mut Vec<Vec<u8>>, buffer: Vec<u8>) {
    if spare.len() < WAITING_MAX / 4 {
        spare.push(buffer);
    }
}

/// A received packet on its way into the stack.
pub struct Received<'a> {
    packet: Vec<u8>,
    spare: &'a mut Vec<Vec<u8>>,
}

/// Room for a packet out of the stack.
pub struct Room<'a> {
    sent: &'a mut VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.packet);
        recycle(self.spare, self.packet);
        result
    }
}

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut buffer = self.buffer;
        buffer.clear();
        buffer.resize(len, 0);
        let result = f(&mut buffer);
        self.sent.push_back(buffer);
        result
    }
}

impl Device for Packets {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Room<'_>)> {
        if self.sent.len() >= WAITING_MAX {
            return None;
        }
        let packet = self.received.pop_front()?;
        let buffer = self.spare.pop().unwrap_or_default();
        Some((
            Received {
                packet,
                spare: &mut self.spare,
            },
            Room {
                sent: &mut self.sent,
                buffer,
            },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Room<'_>> {
        if self.sent.len() >= WAITING_MAX {
            return None;
        }
        Some(Room {
            buffer: self.spare.pop().unwrap_or_default(),
            sent: &mut self.sent,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // The seal of the session vouches for what comes in; what goes out must be complete for any kind of receiver.
        checksum.tcp = Checksum::Tx;
        checksum.icmpv6 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = checksum;
        capabilities
    }
}
