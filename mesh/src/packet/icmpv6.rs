//! ICMPv6 errors (RFC 4443) that this node makes for its own programs and for its peers. Never answers echo: the
//! operating system does that. How many may go out (RFC 4443, section 2.4 f) the caller decides with [`error_limit`].

use super::bucket::TokenBucket;
use super::checksum::Sum;
use super::ipv6::{self, HEADER_LEN, Header, ICMPV6, MIN_MTU};

/// Redirect (RFC 4861): counts as an error here, as RFC 4443 demands.
const REDIRECT: u8 = 137;
/// Bytes before the quoted packet: IPv6 header, type, code, checksum, parameter.
const OVERHEAD: usize = HEADER_LEN + 8;
/// Longest error with its IPv6 header, bytes (RFC 4443, section 2.4 c).
pub const MAX_ERROR_LEN: usize = MIN_MTU as usize;

/// What went wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no way to the destination.
    NoRoute,
    /// The receiving node's owner has not opened this.
    AdminProhibited,
    /// There is a way, but the destination does not answer.
    AddressUnreachable,
    /// Larger than the path carries.
    TooBig {
        /// What the path carries, bytes; never below 1280.
        mtu: u16,
    },
}

impl Problem {
    const fn type_code_parameter(self) -> (u8, u8, u32) {
        match self {
            Self::NoRoute => (1, 0, 0),
            Self::AdminProhibited => (1, 1, 0),
            Self::AddressUnreachable => (1, 3, 0),
            Self::TooBig { mtu } => (2, 0, if mtu < MIN_MTU { MIN_MTU } else { mtu } as u32),
        }
    }
}

/// The limit RFC 4443 (section 2.4 f) asks for: 50 errors at once and 100 a second.
pub fn error_limit() -> TokenBucket {
    TokenBucket::new(50, 100)
}

/// Writes the error that answers a packet into `out` and returns its length, or nothing if RFC 4443 (section 2.4 e)
/// forbids an answer: to an ICMPv6 error or a redirect, to a multicast destination, to a source that is not one node.
///
/// The packet is `head` (with the IPv6 header and the start of what follows) and `payload` behind it; the error comes
/// from `source` and goes to the packet's source.
pub fn error(
    problem: Problem,
    source: &[u8; 16],
    head: &[u8],
    payload: &[u8],
    out: &mut [u8; MAX_ERROR_LEN],
) -> Option<usize> {
    let header = Header::parse(head, head.len() + payload.len()).ok()?;
    let nobody = header.source == [0; 16] || header.source[0] == 0xff;
    if nobody || header.destination[0] == 0xff {
        return None;
    }
    let behind = &head[HEADER_LEN..];
    let upper = ipv6::upper(header.next_header, behind).ok()?;
    if upper.protocol == ICMPV6 {
        // A later fragment, or one too short to tell, might belong to an error.
        if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return None;
        }
        let kind = behind.get(upper.offset).or_else(|| payload.first());
        if kind.is_none_or(|kind| *kind < 128 || *kind == REDIRECT) {
            return None;
        }
    }

    let quoted = (head.len() + payload.len()).min(MAX_ERROR_LEN - OVERHEAD);
    let from_head = head.len().min(quoted);
    let len = OVERHEAD + quoted;
    out[OVERHEAD..OVERHEAD + from_head].copy_from_slice(&head[..from_head]);
    out[OVERHEAD + from_head..len].copy_from_slice(&payload[..quoted - from_head]);

    let error_header = Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: (len - HEADER_LEN) as u16,
        next_header: ICMPV6,
        hop_limit: 64,
        source: *source,
        destination: header.source,
    };
    out[..HEADER_LEN].copy_from_slice(&error_header.to_bytes());
    let (kind, code, parameter) = problem.type_code_parameter();
    out[40] = kind;
    out[41] = code;
    out[42..44].fill(0);
    out[44..48].copy_from_slice(&parameter.to_be_bytes());
    let sum = Sum::default()
        .add_pseudo_header(source, &header.source, (len - HEADER_LEN) as u32, ICMPV6)
        .add_bytes(&out[HEADER_LEN..len])
        .finish();
    out[42..44].copy_from_slice(&sum.to_be_bytes());
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next_header: u8, transport: &[u8], destination: u8) -> Vec<u8> {
        let header = Header {
            traffic_class: 0,
            flow_label: 1,
            payload_len: transport.len() as u16,
            next_header,
            hop_limit: 64,
            source: [0xfc; 16],
            destination: [destination; 16],
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(transport);
        bytes
    }

    #[test]
    fn an_error_quotes_the_packet_and_fits_the_smallest_path() {
        let mut out = [0; MAX_ERROR_LEN];
        let bytes = packet(ipv6::UDP, &[9; 1400], 0xfc);
        for cut in [40, 48, 1440] {
            let (head, payload) = bytes.split_at(cut);
            let len = error(
                Problem::TooBig { mtu: 1300 },
                &[3; 16],
                head,
                payload,
                &mut out,
            )
            .unwrap();
            assert_eq!(len, 1280);
            assert_eq!(out[40..42], [2, 0]);
            assert_eq!(out[44..48], 1300_u32.to_be_bytes());
            assert_eq!(out[48..], bytes[..1232]);
            let sum = Sum::default()
                .add_pseudo_header(&[3; 16], &[0xfc; 16], 1240, ICMPV6)
                .add_bytes(&out[40..]);
            assert_eq!(sum.finish(), 0);
        }
    }

    #[test]
    fn errors_redirects_and_multicast_get_no_answer() {
        let mut out = [0; MAX_ERROR_LEN];
        let mut answer = |bytes: &[u8], payload: &[u8]| {
            error(Problem::NoRoute, &[3; 16], bytes, payload, &mut out)
        };
        assert!(answer(&packet(ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0], 0xfc), &[]).is_some());
        assert!(answer(&packet(ICMPV6, &[1, 0, 0, 0, 0, 0, 0, 0], 0xfc), &[]).is_none());
        assert!(answer(&packet(ICMPV6, &[137, 0, 0, 0, 0, 0, 0, 0], 0xfc), &[]).is_none());
        assert!(answer(&packet(ICMPV6, &[], 0xfc), &[]).is_none());
        assert!(answer(&packet(ipv6::UDP, &[0; 8], 0xff), &[]).is_none());
        let error_apart = packet(ICMPV6, &[1, 0, 0, 0], 0xfc);
        assert!(answer(&error_apart[..40], &error_apart[40..]).is_none());
        let mut from_nobody = packet(ipv6::UDP, &[0; 8], 0xfc);
        from_nobody[8..24].fill(0);
        assert!(answer(&from_nobody, &[]).is_none());
    }
}
