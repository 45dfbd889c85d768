//! ICMPv6 echo between simulated nodes: how a scenario sees who reaches whom.

use crate::identity::NodeAddress;
use crate::packet::checksum::Sum;
use crate::packet::ipv6::{HEADER_LEN, Header, ICMPV6};

pub(super) const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Takes echo requests apart from replies; answers the former.
pub(super) fn sort_packet(packet: &[u8], answers: &mut Vec<Vec<u8>>, replies: &mut Vec<u64>) {
    let Some((header, [kind, _, _, _, number @ ..])) = packet.split_at_checked(HEADER_LEN) else {
        return;
    };
    let (Some(source), Some(destination), Some(number)) = (
        header[8..24]
            .first_chunk()
            .and_then(|bytes| NodeAddress::from_bytes(*bytes)),
        header[24..40]
            .first_chunk()
            .and_then(|bytes| NodeAddress::from_bytes(*bytes)),
        number.first_chunk::<8>(),
    ) else {
        return;
    };
    match *kind {
        ECHO_REQUEST => answers.push(echo(ECHO_REPLY, &destination, &source, number)),
        ECHO_REPLY => replies.push(u64::from_be_bytes(*number)),
        _ => {}
    }
}

pub(super) fn echo(
    kind: u8,
    source: &NodeAddress,
    destination: &NodeAddress,
    number: &[u8; 8],
) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0];
    body.extend_from_slice(number);
    let sum = Sum::default()
        .add_pseudo_header(
            source.as_bytes(),
            destination.as_bytes(),
            body.len() as u32,
            ICMPV6,
        )
        .add_bytes(&body)
        .finish();
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = Header {
        traffic_class: 0,
        flow_label: 0,
        payload_len: body.len() as u16,
        next_header: ICMPV6,
        hop_limit: 64,
        source: *source.as_bytes(),
        destination: *destination.as_bytes(),
    };
    let mut packet = header.to_bytes().to_vec();
    packet.append(&mut body);
    packet
}
