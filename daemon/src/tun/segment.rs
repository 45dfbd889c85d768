//! Splits what was read from TUN into packets that fit the path. Payload is not copied and checksums are not computed:
//! each segment is a header on the stack and a slice of the buffer. Never looks at payload.

use warren_mesh::deliver::Checksum;

use super::header::{
    self, CWR, FIN, Gso, IPV6_LEN, PSH, TCP, TCP_CHECKSUM, UDP, UDP_CHECKSUM, UDP_LEN, VnetHeader,
};

/// IPv6 header, some extensions, the longest TCP header.
const HEADERS_MAX: usize = 256;

/// Why a packet from TUN was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Not an IPv6 packet, or cut off.
    #[error("not a whole IPv6 packet")]
    NotIpv6,
    /// The virtio header and the packet do not fit together.
    #[error("the virtio header does not fit the packet behind it")]
    Offsets,
    /// The virtio header itself.
    #[error(transparent)]
    Vnet(#[from] header::VnetError),
}

/// Hands every packet that `packet` stands for to `emit(head, payload, checksum)`.
pub fn split(
    vnet: VnetHeader,
    packet: &[u8],
    mut emit: impl FnMut(&[u8], &[u8], Checksum),
) -> Result<(), SegmentError> {
    if packet.len() < IPV6_LEN || packet[0] >> 4 != 6 {
        return Err(SegmentError::NotIpv6);
    }
    let size = match vnet.gso {
        Gso::None => {
            let checksum = match vnet.checksum {
                None => Checksum::Complete,
                Some((start, offset)) => {
                    let field = usize::from(start) + usize::from(offset);
                    if usize::from(start) < IPV6_LEN || field + 2 > packet.len() {
                        return Err(SegmentError::Offsets);
                    }
                    Checksum::Partial { start, offset }
                }
            };
            emit(packet, &[], checksum);
            return Ok(());
        }
        Gso::Tcp(size) | Gso::Udp(size) => usize::from(size),
    };
    let (start, offset) = vnet.checksum.ok_or(SegmentError::Offsets)?;
    let transport = usize::from(start);
    let tcp = matches!(vnet.gso, Gso::Tcp(_));
    let (transport_len, expected) = if tcp {
        let length = header::tcp_header_len(packet, transport).ok_or(SegmentError::Offsets)?;
        (length, TCP_CHECKSUM)
    } else {
        (UDP_LEN, UDP_CHECKSUM)
    };
    let head_len = transport + transport_len;
    if size == 0
        || transport < IPV6_LEN
        || usize::from(offset) != expected
        || head_len > HEADERS_MAX
        || head_len > packet.len()
    {
        return Err(SegmentError::Offsets);
    }
    let (headers, payload) = packet.split_at(head_len);
    let mut head = [0; HEADERS_MAX];
    let head = &mut head[..head_len];
    head.copy_from_slice(headers);
    let checksum = Checksum::Partial { start, offset };
    let pseudo = header::pseudo_sum(&headers[8..IPV6_LEN], if tcp { TCP } else { UDP });
    let sequence = header::long(headers, transport + 4).ok_or(SegmentError::Offsets)?;
    let flags = headers[transport + if tcp { 13 } else { 0 }];
    let count = payload.len().div_ceil(size).max(1);
    let mut from = 0;
    for index in 0..count {
        let end = (from + size).min(payload.len());
        let part = &payload[from..end];
        let length = transport_len + part.len();
        let after_ip = (head_len - IPV6_LEN + part.len()) as u16;
        head[4..6].copy_from_slice(&after_ip.to_be_bytes());
        if tcp {
            // RFC 9293 and the kernel's own tcp_gso_segment: FIN and PSH belong to the last, CWR to the first.
            let mut flags = flags;
            if index + 1 < count {
                flags &= !(FIN | PSH);
            }
            if index > 0 {
                flags &= !CWR;
            }
            head[transport + 13] = flags;
            let sequence = sequence.wrapping_add(from as u32);
            head[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
        } else {
            head[transport + 4..transport + 6].copy_from_slice(&(length as u16).to_be_bytes());
        }
        let field = transport + expected;
        let partial = header::partial_checksum(pseudo, length);
        head[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        emit(head, part, checksum);
        from = end;
    }
    Ok(())
}
