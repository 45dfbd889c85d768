//! The IPv6 header (RFC 8200) and the way through its extension headers to the transport. Never rewrites a packet.

use super::PacketError;
use crate::wire::{Reader, Truncated};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// The smallest MTU every IPv6 path carries (RFC 8200, section 5).
pub const MIN_MTU: u16 = 1280;
/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// RFC 8200 names six headers, of which one may stand twice; whoever sends more wants to hide something.
const MAX_EXTENSION_HEADERS: usize = 7;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Bytes after the fixed header.
    pub payload_len: u16,
    /// What follows: an extension header or the transport.
    pub next_header: u8,
    /// Hops it may still take.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Header {
    /// Reads the header of a packet of which `head` is the beginning and that is `total_len` bytes long. The length
    /// field has to agree exactly; jumbograms (RFC 2675) do not.
    pub fn parse(head: &[u8], total_len: usize) -> Result<Self, PacketError> {
        let fixed: &[u8; HEADER_LEN] = head.first_chunk().ok_or(PacketError::Truncated)?;
        let mut reader = Reader::new(fixed);
        let first = reader.u32()?;
        if first >> 28 != 6 {
            return Err(PacketError::NotIpv6);
        }
        let payload_len = reader.u16()?;
        if usize::from(payload_len) + HEADER_LEN != total_len {
            return Err(PacketError::Length);
        }
        Ok(Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            payload_len,
            next_header: reader.u8()?,
            hop_limit: reader.u8()?,
            source: reader.array()?,
            destination: reader.array()?,
        })
    }

    /// The header's bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        out[6] = self.next_header;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.source);
        out[24..].copy_from_slice(&self.destination);
        out
    }
}

/// Where a packet stands in a datagram that was cut up (RFC 8200, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The same in all fragments of one datagram.
    pub identification: u32,
    /// In units of eight bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// What lies behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Transport protocol.
    pub protocol: u8,
    /// Where the transport header begins, bytes after the fixed header.
    pub offset: usize,
    /// Set if the packet is part of a larger datagram. (A fragment header alone on a whole packet, RFC 6946, is not.)
    pub fragment: Option<Fragment>,
}

/// Walks the extension headers. `bytes` starts behind the fixed header; it may end inside the payload, but not inside an
/// extension header. Takes at most seven steps.
pub fn upper(next_header: u8, bytes: &[u8]) -> Result<Upper, PacketError> {
    let mut protocol = next_header;
    let mut reader = Reader::new(bytes);
    let mut fragment = None;
    for position in 0..=MAX_EXTENSION_HEADERS {
        let offset = bytes.len() - reader.rest().len();
        let here = Upper {
            protocol,
            offset,
            fragment,
        };
        match protocol {
            HOP_BY_HOP if position > 0 => return Err(PacketError::ExtensionHeaders),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => {
                protocol = reader.u8()?;
                let units = usize::from(reader.u8()?);
                reader.take(units * 8 + 6)?;
            }
            AUTHENTICATION => {
                protocol = reader.u8()?;
                let words = usize::from(reader.u8()?);
                reader.take((words + 2) * 4 - 2)?;
            }
            FRAGMENT => {
                if fragment.is_some() {
                    return Err(PacketError::ExtensionHeaders);
                }
                protocol = reader.u8()?;
                reader.u8()?;
                let place = reader.u16()?;
                let found = Fragment {
                    identification: reader.u32()?,
                    offset: place >> 3,
                    more: place & 1 == 1,
                };
                if found.offset > 0 || found.more {
                    fragment = Some(found);
                }
                if found.offset > 0 {
                    // What follows is the middle of something: no headers to read there.
                    return Ok(Upper {
                        protocol,
                        offset: offset + 8,
                        fragment,
                    });
                }
            }
            _ => return Ok(here),
        }
    }
    Err(PacketError::ExtensionHeaders)
}

impl From<Truncated> for PacketError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_reading_and_writing() {
        let header = Header {
            traffic_class: 0xb8,
            flow_label: 0xf_1234,
            payload_len: 3,
            next_header: UDP,
            hop_limit: 9,
            source: [0xfc; 16],
            destination: [7; 16],
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([1, 2, 3]);
        assert_eq!(Header::parse(&bytes, 43), Ok(header));
        assert_eq!(Header::parse(&bytes, 44), Err(PacketError::Length));
        bytes[0] = 0x45;
        assert_eq!(Header::parse(&bytes, 43), Err(PacketError::NotIpv6));
        assert_eq!(Header::parse(&bytes[..39], 43), Err(PacketError::Truncated));
    }

    #[test]
    fn extension_headers_lead_to_the_transport() {
        let mut bytes = vec![FRAGMENT, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([AUTHENTICATION, 0, 0, 1, 0, 0, 0, 9]);
        bytes.extend([TCP, 4].into_iter().chain([0; 22]));
        bytes.extend([0; 20]);
        let found = upper(HOP_BY_HOP, &bytes).unwrap();
        assert_eq!((found.protocol, found.offset), (TCP, 40));
        assert_eq!(
            found.fragment,
            Some(Fragment {
                identification: 9,
                offset: 0,
                more: true
            })
        );
    }

    #[test]
    fn endless_chains_and_misplaced_headers_are_refused() {
        let chain: Vec<u8> = core::iter::repeat_n([DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0], 40)
            .flatten()
            .collect();
        assert_eq!(
            upper(DESTINATION_OPTIONS, &chain),
            Err(PacketError::ExtensionHeaders)
        );
        assert_eq!(
            upper(DESTINATION_OPTIONS, &[HOP_BY_HOP, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(PacketError::ExtensionHeaders)
        );
        assert_eq!(
            upper(ROUTING, &[TCP, 1, 0, 0, 0, 0, 0, 0]),
            Err(PacketError::Truncated)
        );
    }

    #[test]
    fn a_later_fragment_is_not_read_any_further() {
        let found = upper(FRAGMENT, &[TCP, 0, 0, 9, 0, 0, 0, 5]).unwrap();
        assert_eq!(
            found,
            Upper {
                protocol: TCP,
                offset: 8,
                fragment: Some(Fragment {
                    identification: 5,
                    offset: 1,
                    more: true
                }),
            }
        );
    }
}
