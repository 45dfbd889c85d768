//! Joins consecutive packets of one flow into super-packets before they are written to TUN: the receiving half of what
//! the kernel calls GRO. Only packets whose checksum is still partial are joined; a filled-in checksum is for the kernel
//! to verify and passes untouched. Never reorders packets.

use std::io::IoSlice;

use warren_mesh::deliver::Checksum;

use super::header::{
    self, ACK, FIN, Gso, IPV6_LEN, PSH, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, UDP_LEN, VnetHeader,
};
use crate::sys::VNET_HEADER_LEN;

/// Most packets of one super-packet: a batch of the carrier holds no more.
const JOIN_MAX: usize = 64;
/// Longest super-packet: the IPv6 payload length has sixteen bits.
const BYTES_MAX: usize = 65_000;
/// virtio header, IPv6 header, longest TCP header.
const HEAD_MAX: usize = VNET_HEADER_LEN + IPV6_LEN + 60;

/// What may be joined on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// No virtio header: one packet, one write, complete checksums.
    None,
    /// TCP over IPv6.
    Tcp,
    /// UDP, too.
    TcpAndUdp,
}

/// A run of packets that will be written together.
struct Run<'a> {
    head: &'a [u8],
    transport: u8,
    /// Payload bytes of every packet but the last.
    size: usize,
    payload_len: usize,
    next_sequence: u32,
    /// FIN and PSH of the last one.
    last_flags: u8,
    closed: bool,
    count: usize,
    checksum: Checksum,
    payloads: [IoSlice<'a>; JOIN_MAX + 1],
}

/// Writes packets in order; `write` gets the parts of one device write.
pub fn write_all<'a>(
    packets: impl Iterator<Item = (&'a mut [u8], Checksum)>,
    offload: Offload,
    mut write: impl FnMut(&[IoSlice<'_>]),
) {
    let mut run = Run::empty();
    for (packet, checksum) in packets {
        if offload == Offload::None {
            complete(packet, checksum);
            write(&[IoSlice::new(packet)]);
            continue;
        }
        let packet: &'a [u8] = packet;
        match Piece::parse(packet, checksum, offload) {
            Some(piece) if run.accepts(&piece) => run.add(&piece),
            Some(piece) => {
                run.flush(&mut write);
                run.start(&piece, checksum);
            }
            None => {
                run.flush(&mut write);
                let vnet = VnetHeader {
                    checksum: match checksum {
                        Checksum::Complete => None,
                        Checksum::Partial { start, offset } => Some((start, offset)),
                    },
                    ..VnetHeader::PLAIN
                };
                write(&[IoSlice::new(&vnet.to_bytes()), IoSlice::new(packet)]);
            }
        }
    }
    run.flush(&mut write);
}

/// A packet that may be part of a run.
struct Piece<'a> {
    packet: &'a [u8],
    transport: u8,
    head_len: usize,
}

impl<'a> Piece<'a> {
    fn parse(packet: &'a [u8], checksum: Checksum, offload: Offload) -> Option<Self> {
        let Checksum::Partial { start, offset } = checksum else {
            return None;
        };
        let whole = usize::from(header::word(packet, 4)?) + IPV6_LEN == packet.len();
        if usize::from(start) != IPV6_LEN || packet[0] >> 4 != 6 || !whole {
            return None;
        }
        let (transport, head_len, field) = match *packet.get(6)? {
            TCP => {
                let length = header::tcp_header_len(packet, IPV6_LEN)?;
                // Anything but plain data (SYN, RST, URG, CWR) goes alone, as in the kernel's tcp_gro_receive.
                let flags = packet[IPV6_LEN + 13];
                if flags & ACK == 0 || flags & !(ACK | PSH | FIN | 0x40) != 0 {
                    return None;
                }
                (TCP, IPV6_LEN + length, TCP_CHECKSUM)
            }
            UDP if offload == Offload::TcpAndUdp => {
                let length = usize::from(header::word(packet, IPV6_LEN + 4)?);
                if length + IPV6_LEN != packet.len() || length < UDP_LEN {
                    return None;
                }
                (UDP, IPV6_LEN + UDP_LEN, UDP_CHECKSUM)
            }
            _ => return None,
        };
        (usize::from(offset) == field && packet.len() > head_len).then_some(Self {
            packet,
            transport,
            head_len,
        })
    }

    fn payload(&self) -> &'a [u8] {
        &self.packet[self.head_len..]
    }

    fn sequence(&self) -> u32 {
        header::long(self.packet, IPV6_LEN + 4).unwrap_or(0)
    }

    fn end_flags(&self) -> u8 {
        if self.transport == TCP {
            self.packet[IPV6_LEN + 13] & (FIN | PSH)
        } else {
            0
        }
    }
}

impl<'a> Run<'a> {
    fn empty() -> Self {
        Self {
            head: &[],
            transport: 0,
            size: 0,
            payload_len: 0,
            next_sequence: 0,
            last_flags: 0,
            closed: false,
            count: 0,
            checksum: Checksum::Complete,
            payloads: [IoSlice::new(&[]); JOIN_MAX + 1],
        }
    }

    fn start(&mut self, piece: &Piece<'a>, checksum: Checksum) {
        self.head = &piece.packet[..piece.head_len];
        self.transport = piece.transport;
        self.size = piece.payload().len();
        self.checksum = checksum;
        self.payload_len = 0;
        self.count = 0;
        self.closed = false;
        self.add(piece);
    }

    fn add(&mut self, piece: &Piece<'a>) {
        let payload = piece.payload();
        self.count += 1;
        self.payloads[self.count] = IoSlice::new(payload);
        self.payload_len += payload.len();
        self.next_sequence = piece.sequence().wrapping_add(payload.len() as u32);
        self.last_flags = piece.end_flags();
        self.closed = payload.len() < self.size || self.last_flags != 0;
    }

    fn accepts(&self, piece: &Piece<'a>) -> bool {
        let (a, b) = (self.head, piece.packet);
        let payload = piece.payload().len();
        if self.count == 0
            || self.closed
            || self.count >= JOIN_MAX
            || self.transport != piece.transport
            || a.len() != piece.head_len
            || payload > self.size
            || a.len() + self.payload_len + payload > BYTES_MAX
            // Version, class and flow label; next header, hop limit and both addresses.
            || a[..4] != b[..4]
            || a[6..IPV6_LEN] != b[6..IPV6_LEN]
        {
            return false;
        }
        let (a, b) = (&a[IPV6_LEN..], &b[IPV6_LEN..piece.head_len]);
        if self.transport == UDP {
            return a[..4] == b[..4];
        }
        // Ports; acknowledgement; header length and flags without those of the end; window; urgent pointer and options.
        a[..4] == b[..4]
            && piece.sequence() == self.next_sequence
            && a[8..13] == b[8..13]
            && a[13] & !(FIN | PSH) == b[13] & !(FIN | PSH)
            && a[14..16] == b[14..16]
            && a[18..] == b[18..]
    }

    fn flush(&mut self, write: &mut impl FnMut(&[IoSlice<'_>])) {
        if self.count == 0 {
            return;
        }
        let count = std::mem::take(&mut self.count);
        let mut head = [0; HEAD_MAX];
        let head_len = self.head.len();
        let head = &mut head[..VNET_HEADER_LEN + head_len];
        let (start, offset) = match self.checksum {
            Checksum::Partial { start, offset } => (start, offset),
            Checksum::Complete => return,
        };
        let gso = match (count, self.transport) {
            (1, _) => Gso::None,
            (_, TCP) => Gso::Tcp(self.size as u16),
            _ => Gso::Udp(self.size as u16),
        };
        let vnet = VnetHeader {
            checksum: Some((start, offset)),
            gso,
            header_len: head_len as u16,
        };
        head[..VNET_HEADER_LEN].copy_from_slice(&vnet.to_bytes());
        let packet = &mut head[VNET_HEADER_LEN..];
        packet.copy_from_slice(self.head);
        if count > 1 {
            let transport_len = head_len - IPV6_LEN + self.payload_len;
            packet[4..6].copy_from_slice(&(transport_len as u16).to_be_bytes());
            let pseudo = header::pseudo_sum(&self.head[8..IPV6_LEN], self.transport);
            let partial = header::partial_checksum(pseudo, transport_len).to_be_bytes();
            let field = IPV6_LEN + usize::from(offset);
            packet[field..field + 2].copy_from_slice(&partial);
            if self.transport == TCP {
                packet[IPV6_LEN + 13] |= self.last_flags;
            } else {
                packet[IPV6_LEN + 4..IPV6_LEN + 6]
                    .copy_from_slice(&(transport_len as u16).to_be_bytes());
            }
        }
        // The first slot is kept for the head, which lives only here.
        let mut parts: [IoSlice<'_>; JOIN_MAX + 1] = self.payloads;
        parts[0] = IoSlice::new(head);
        write(&parts[..=count]);
    }
}

/// Completes a partial checksum in place (RFC 1071), for a device without offload.
pub fn complete(packet: &mut [u8], checksum: Checksum) {
    let Checksum::Partial { start, offset } = checksum else {
        return;
    };
    let Some(transport) = packet.get_mut(usize::from(start)..) else {
        return;
    };
    let at = usize::from(offset);
    if at + 2 > transport.len() {
        return;
    }
    let mut sum: u64 = 0;
    let mut words = transport.chunks_exact(2);
    for pair in words.by_ref() {
        sum += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // A UDP checksum of zero means "none" and is not allowed over IPv6: its other representation is sent.
    let value = match !(sum as u16) {
        0 => 0xffff,
        value => value,
    };
    transport[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
