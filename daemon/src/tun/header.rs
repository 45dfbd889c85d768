//! The few header fields that segmenting and coalescing touch: virtio (v1.2, 5.1.6.1), IPv6 (RFC 8200), TCP (RFC 9293)
//! and UDP (RFC 768). Readers of foreign bytes: they answer `None` instead of going past the end.

/// Length of an IPv6 header without extensions.
pub const IPV6_LEN: usize = 40;
/// Length of a UDP header.
pub const UDP_LEN: usize = 8;
/// IPv6 next-header value of TCP.
pub const TCP: u8 = 6;
/// IPv6 next-header value of UDP.
pub const UDP: u8 = 17;

/// Offset of the checksum in a TCP header.
pub const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub const UDP_CHECKSUM: usize = 6;

/// TCP flags.
pub const FIN: u8 = 0x01;
/// TCP flags.
pub const SYN: u8 = 0x02;
/// TCP flags.
pub const RST: u8 = 0x04;
/// TCP flags.
pub const PSH: u8 = 0x08;
/// TCP flags.
pub const ACK: u8 = 0x10;
/// TCP flags.
pub const URG: u8 = 0x20;
/// TCP flags.
pub const CWR: u8 = 0x80;

/// What a virtio header says of a packet's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    /// One packet.
    None,
    /// TCP segments over IPv6 with this many payload bytes each.
    Tcp(u16),
    /// UDP datagrams with this many payload bytes each.
    Udp(u16),
}

/// The virtio header that stands before a packet, in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VnetHeader {
    /// Offset of the transport header and of the checksum in it, if the checksum is still to be completed.
    pub checksum: Option<(u16, u16)>,
    /// Whether the packet stands for many.
    pub gso: Gso,
    /// Bytes of headers in front of the payload; a hint.
    pub header_len: u16,
}

const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Why a virtio header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VnetError {
    /// Shorter than a virtio header.
    #[error("the packet is shorter than its virtio header")]
    Short,
    /// A kind of super-packet that was not asked for.
    #[error("super-packets of kind {0} are not expected here")]
    Kind(u8),
}

impl VnetHeader {
    /// A packet that is whole and needs nothing.
    pub const PLAIN: Self = Self {
        checksum: None,
        gso: Gso::None,
        header_len: 0,
    };

    /// Reads the header of `bytes` and returns it with the packet behind it.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), VnetError> {
        let (raw, packet) = bytes
            .split_first_chunk::<{ crate::sys::VNET_HEADER_LEN }>()
            .ok_or(VnetError::Short)?;
        let word = |at: usize| u16::from_ne_bytes([raw[at], raw[at + 1]]);
        let gso = match raw[1] & !GSO_ECN {
            0 => Gso::None,
            GSO_TCP6 => Gso::Tcp(word(4)),
            GSO_UDP => Gso::Udp(word(4)),
            other => return Err(VnetError::Kind(other)),
        };
        let header = Self {
            checksum: (raw[0] & NEEDS_CHECKSUM != 0).then(|| (word(6), word(8))),
            gso,
            header_len: word(2),
        };
        Ok((header, packet))
    }

    /// The header's ten bytes.
    pub fn to_bytes(self) -> [u8; crate::sys::VNET_HEADER_LEN] {
        let mut raw = [0; crate::sys::VNET_HEADER_LEN];
        let (kind, size) = match self.gso {
            Gso::None => (0, 0),
            Gso::Tcp(size) => (GSO_TCP6, size),
            Gso::Udp(size) => (GSO_UDP, size),
        };
        raw[1] = kind;
        raw[2..4].copy_from_slice(&self.header_len.to_ne_bytes());
        raw[4..6].copy_from_slice(&size.to_ne_bytes());
        if let Some((start, offset)) = self.checksum {
            raw[0] = NEEDS_CHECKSUM;
            raw[6..8].copy_from_slice(&start.to_ne_bytes());
            raw[8..10].copy_from_slice(&offset.to_ne_bytes());
        }
        raw
    }
}

/// The sixteen-bit one's complement sum of the IPv6 pseudo-header (RFC 8200, 8.1) without the length, not folded.
pub fn pseudo_sum(addresses: &[u8], protocol: u8) -> u32 {
    addresses
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum::<u32>()
        + u32::from(protocol)
}

/// The sum with a transport length added, folded to the sixteen bits that stand in a partial checksum field.
pub const fn partial_checksum(pseudo: u32, transport_len: usize) -> u16 {
    let mut sum = pseudo + transport_len as u32;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The big-endian sixteen bits at `at`.
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The big-endian thirty-two bits at `at`.
pub fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Length of the TCP header that starts at `at`, if it is whole.
pub fn tcp_header_len(bytes: &[u8], at: usize) -> Option<usize> {
    let length = usize::from(bytes.get(at + 12)? >> 4) * 4;
    (length >= 20 && at + length <= bytes.len()).then_some(length)
}
