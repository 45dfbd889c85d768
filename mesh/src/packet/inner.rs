//! The six bytes that stand for an IPv6 header inside a session. The addresses are not sent: the source is the session's
//! peer, the destination is the receiver, so nobody can claim another's address. The length follows from the frame's.
//!
//! | bits | field |
//! |---|---|
//! | 3 | kind: 0 IPv6 packet, 1 control message of the session; others are refused |
//! | 1 | IPv6: the transport checksum is not filled in (the frame's tag vouches for the bytes); control: 0 |
//! | 20 | IPv6: flow label, most significant bits first; control: 0 in the first 4, then see below |
//! | 8 | IPv6: traffic class |
//! | 8 | IPv6: next header |
//! | 8 | IPv6: hop limit |
//!
//! Control: byte 0 is `0x20`, byte 1 the message type, bytes 2 to 5 the request id. Where an unfilled checksum is follows
//! from the protocol, which then stands right behind the IPv6 header: TCP at 16, UDP at 6, ICMPv6 at 2.

use super::ipv6::{self, HEADER_LEN, Header};
use super::{PacketError, checksum};
use crate::deliver::Checksum;
use crate::identity::NodeAddress;

/// Bytes of an inner header.
pub const INNER_LEN: usize = 6;

const CONTROL: u8 = 0x20;
const UNFILLED: u8 = 0x10;

/// What an inner header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerHeader {
    /// An IPv6 packet: its payload follows.
    Ipv6(CompactIpv6),
    /// A message of the session layer itself.
    Control {
        /// Which message.
        message: u8,
        /// The same in request and answer.
        request: u32,
    },
}

/// An IPv6 header without what the session knows anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactIpv6 {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// What follows.
    pub next_header: u8,
    /// Hops it may still take (none is used up inside the mesh).
    pub hop_limit: u8,
    /// Whether the transport checksum is still to be filled in.
    pub unfilled_checksum: bool,
}

/// Where a protocol keeps its checksum, bytes from the start of its header.
pub const fn checksum_offset(protocol: u8) -> Option<u16> {
    match protocol {
        ipv6::TCP => Some(16),
        ipv6::UDP => Some(6),
        ipv6::ICMPV6 => Some(2),
        _ => None,
    }
}

impl InnerHeader {
    /// The six bytes.
    pub const fn to_bytes(self) -> [u8; INNER_LEN] {
        match self {
            Self::Ipv6(header) => {
                let label = header.flow_label.to_be_bytes();
                let flag = if header.unfilled_checksum {
                    UNFILLED
                } else {
                    0
                };
                [
                    flag | label[1] & 0x0f,
                    label[2],
                    label[3],
                    header.traffic_class,
                    header.next_header,
                    header.hop_limit,
                ]
            }
            Self::Control { message, request } => {
                let request = request.to_be_bytes();
                [
                    CONTROL, message, request[0], request[1], request[2], request[3],
                ]
            }
        }
    }

    /// Reads six bytes.
    pub fn parse(bytes: [u8; INNER_LEN]) -> Result<Self, PacketError> {
        let [first, a, b, c, d, e] = bytes;
        match first >> 5 {
            0 => {
                let header = CompactIpv6 {
                    flow_label: u32::from_be_bytes([0, first & 0x0f, a, b]),
                    traffic_class: c,
                    next_header: d,
                    hop_limit: e,
                    unfilled_checksum: first & UNFILLED != 0,
                };
                if header.unfilled_checksum && checksum_offset(header.next_header).is_none() {
                    return Err(PacketError::ChecksumPlace);
                }
                Ok(Self::Ipv6(header))
            }
            1 if first == CONTROL => Ok(Self::Control {
                message: a,
                request: u32::from_be_bytes([b, c, d, e]),
            }),
            _ => Err(PacketError::InnerKind),
        }
    }
}

/// A packet of this node's programs, ready for the inner header.
#[derive(Clone, Copy, Debug)]
pub struct Compressed<'a> {
    /// To whom.
    pub destination: NodeAddress,
    /// What stands for the IPv6 header.
    pub header: CompactIpv6,
    /// What follows it in the first part of the packet.
    pub head: &'a [u8],
    /// A checksum to fill in before sealing, because the receiver could not tell its place: start and offset in the
    /// payload behind the IPv6 header.
    pub complete: Option<(usize, usize)>,
}

impl<'a> Compressed<'a> {
    /// Takes the IPv6 header off a packet, of which `head` is the beginning and `rest_len` the number of bytes after
    /// that. The source has to be `own`, the destination a node.
    pub fn new(
        own: &NodeAddress,
        head: &'a [u8],
        rest_len: usize,
        checksum: Checksum,
    ) -> Result<Self, PacketError> {
        let header = Header::parse(head, head.len() + rest_len)?;
        let destination =
            NodeAddress::from_bytes(header.destination).ok_or(PacketError::Address)?;
        if header.source != *own.as_bytes() {
            return Err(PacketError::Address);
        }
        let mut complete = None;
        let mut unfilled_checksum = false;
        if let Checksum::Partial { start, offset } = checksum {
            let fits = usize::from(offset) + 2 <= usize::from(header.payload_len);
            if usize::from(start) == HEADER_LEN
                && checksum_offset(header.next_header) == Some(offset)
                && fits
            {
                unfilled_checksum = true;
            } else {
                let start = usize::from(start)
                    .checked_sub(HEADER_LEN)
                    .ok_or(PacketError::ChecksumPlace)?;
                if start + usize::from(offset) + 2 > usize::from(header.payload_len)
                    || offset % 2 != 0
                {
                    return Err(PacketError::ChecksumPlace);
                }
                complete = Some((start, usize::from(offset)));
            }
        }
        Ok(Self {
            destination,
            header: CompactIpv6 {
                traffic_class: header.traffic_class,
                flow_label: header.flow_label,
                next_header: header.next_header,
                hop_limit: header.hop_limit,
                unfilled_checksum,
            },
            head: &head[HEADER_LEN..],
            complete,
        })
    }

    /// Writes what follows the IPv6 header, both parts, into `out` (of exactly their length) and fills in a checksum
    /// that would not survive otherwise.
    pub fn write_payload(&self, rest: &[u8], out: &mut [u8]) -> Result<(), PacketError> {
        if out.len() != self.head.len() + rest.len() {
            return Err(PacketError::Length);
        }
        let (first, second) = out.split_at_mut(self.head.len());
        first.copy_from_slice(self.head);
        second.copy_from_slice(rest);
        match self.complete {
            Some((start, offset)) => checksum::complete(out, start, offset),
            None => Ok(()),
        }
    }
}

impl CompactIpv6 {
    /// The fixed header of a packet from `source` to `destination` with `payload_len` bytes behind it.
    pub fn expand(
        &self,
        source: &NodeAddress,
        destination: &NodeAddress,
        payload_len: u16,
    ) -> Header {
        Header {
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            payload_len,
            next_header: self.next_header,
            hop_limit: self.hop_limit,
            source: *source.as_bytes(),
            destination: *destination.as_bytes(),
        }
    }

    /// Writes the whole packet into `out`, of exactly 40 bytes more than `payload`, and says what its checksum field
    /// holds. An unfilled one gets the pseudo-header's sum afresh, whatever the sender left there; with `fill` it is
    /// completed instead.
    pub fn expand_into(
        &self,
        source: &NodeAddress,
        destination: &NodeAddress,
        payload: &[u8],
        fill: bool,
        out: &mut [u8],
    ) -> Result<Checksum, PacketError> {
        let payload_len = u16::try_from(payload.len()).map_err(|_| PacketError::Length)?;
        if out.len() != HEADER_LEN + payload.len() {
            return Err(PacketError::Length);
        }
        let header = self.expand(source, destination, payload_len);
        let (fixed, rest) = out.split_at_mut(HEADER_LEN);
        fixed.copy_from_slice(&header.to_bytes());
        rest.copy_from_slice(payload);
        if !self.unfilled_checksum {
            return Ok(Checksum::Complete);
        }
        let offset = checksum_offset(self.next_header).ok_or(PacketError::ChecksumPlace)?;
        let place = usize::from(offset);
        let field = rest
            .get_mut(place..place + 2)
            .ok_or(PacketError::ChecksumPlace)?;
        let pseudo = checksum::Sum::default()
            .add_pseudo_header(
                &header.source,
                &header.destination,
                payload_len.into(),
                self.next_header,
            )
            .folded();
        field.copy_from_slice(&pseudo.to_be_bytes());
        if fill {
            checksum::complete(out, HEADER_LEN, place)?;
            return Ok(Checksum::Complete);
        }
        Ok(Checksum::Partial {
            start: HEADER_LEN as u16,
            offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_and_impossible_checksums_are_refused() {
        for first in 0x21..=0xff {
            assert_eq!(
                InnerHeader::parse([first, 0, 0, 0, 0, 0]),
                Err(PacketError::InnerKind)
            );
        }
        assert_eq!(
            InnerHeader::parse([0x10, 0, 0, 0, 132, 64]),
            Err(PacketError::ChecksumPlace)
        );
    }

    #[test]
    fn a_foreign_source_or_destination_is_refused() {
        let node = |last| {
            NodeAddress::from_bytes([0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]).unwrap()
        };
        let packet = |source: [u8; 16], destination: [u8; 16]| {
            Header {
                traffic_class: 0,
                flow_label: 0,
                payload_len: 0,
                next_header: 59,
                hop_limit: 64,
                source,
                destination,
            }
            .to_bytes()
        };
        let (a, b) = (node(1), node(2));
        let good = packet(*a.as_bytes(), *b.as_bytes());
        assert_eq!(
            Compressed::new(&a, &good, 0, Checksum::Complete)
                .unwrap()
                .destination,
            b
        );
        assert_eq!(
            Compressed::new(&b, &good, 0, Checksum::Complete).unwrap_err(),
            PacketError::Address
        );
        let outside = packet(*a.as_bytes(), [0x20; 16]);
        assert_eq!(
            Compressed::new(&a, &outside, 0, Checksum::Complete).unwrap_err(),
            PacketError::Address
        );
    }

    #[test]
    fn a_checksum_behind_an_extension_header_is_filled_in_by_the_sender() {
        let node = |last| {
            NodeAddress::from_bytes([0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]).unwrap()
        };
        let (a, b) = (node(1), node(2));
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 16 + 1,
            next_header: 60,
            hop_limit: 64,
            source: *a.as_bytes(),
            destination: *b.as_bytes(),
        };
        let pseudo = checksum::Sum::default()
            .add_pseudo_header(a.as_bytes(), b.as_bytes(), 9, ipv6::UDP)
            .folded();
        let mut packet = header.to_bytes().to_vec();
        packet.extend([ipv6::UDP, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0, 2, 0, 9]);
        packet.extend(pseudo.to_be_bytes());
        packet.push(0x55);
        let compressed = Compressed::new(
            &a,
            &packet[..48],
            9,
            Checksum::Partial {
                start: 48,
                offset: 6,
            },
        )
        .unwrap();
        assert!(!compressed.header.unfilled_checksum);
        let mut out = [0; 17];
        compressed.write_payload(&packet[48..], &mut out).unwrap();
        let sum = checksum::Sum::default()
            .add_pseudo_header(a.as_bytes(), b.as_bytes(), 9, ipv6::UDP)
            .add_bytes(&out[8..]);
        assert_eq!(sum.finish(), 0);
        assert_eq!(
            Compressed::new(
                &a,
                &packet,
                0,
                Checksum::Partial {
                    start: 48,
                    offset: 8
                }
            )
            .unwrap_err(),
            PacketError::ChecksumPlace
        );
    }
}
