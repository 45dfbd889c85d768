//! IPv6 packets, inner headers, ICMPv6 errors and the policy of what may come in.

use core::time::Duration;

use warren_mesh::deliver::Checksum;
use warren_mesh::identity::NodeAddress;
use warren_mesh::packet::checksum;
use warren_mesh::packet::icmpv6::{self, MAX_ERROR_LEN, Problem};
use warren_mesh::packet::inner::{Compressed, INNER_LEN, InnerHeader};
use warren_mesh::packet::ipv6::{self, HEADER_LEN, Header};
use warren_mesh::packet::policy::{Gate, Policy, Verdict};
use warren_mesh::time::Instant;

use crate::input::Input;

/// A packet of a program or of a neighbour: what is read of it is written back the same, an error that answers it is
/// a packet with a right checksum, and what is compressed comes out whole.
pub fn packet(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (split, partial) = (usize::from(input.u16()), input.u8() & 1 == 1);
    let (start, offset, mtu) = (input.u16(), input.u16(), input.u16());
    let inner = input.piece(INNER_LEN);
    if let Some(inner) = inner.first_chunk::<INNER_LEN>()
        && let Ok(header) = InnerHeader::parse(*inner)
    {
        assert_eq!(header.to_bytes(), *inner, "an inner header has one form");
    }
    let packet = input.rest();
    let (head, rest) = packet.split_at(split.min(packet.len()));

    if let Ok(header) = Header::parse(packet, packet.len()) {
        assert_eq!(header.to_bytes(), packet[..HEADER_LEN]);
        if let Ok(upper) = ipv6::upper(header.next_header, &packet[HEADER_LEN..]) {
            assert!(upper.offset <= packet.len() - HEADER_LEN);
        }
    }
    for problem in [
        Problem::NoRoute,
        Problem::AdminProhibited,
        Problem::TooBig { mtu },
    ] {
        let mut out = [0; MAX_ERROR_LEN];
        if let Some(len) = icmpv6::error(problem, &[0xfc; 16], head, rest, &mut out) {
            let error = &out[..len];
            let header = Header::parse(error, len).expect("an error is a packet");
            let sum = checksum::Sum::default()
                .add_pseudo_header(
                    &header.source,
                    &header.destination,
                    u32::from(header.payload_len),
                    header.next_header,
                )
                .add_bytes(&error[HEADER_LEN..]);
            assert_eq!(sum.finish(), 0, "an error has a right checksum");
        }
    }

    let Some(own) = packet
        .get(8..24)
        .and_then(|source| NodeAddress::from_bytes(*source.first_chunk()?))
    else {
        return;
    };
    let checksum = if partial {
        Checksum::Partial { start, offset }
    } else {
        Checksum::Complete
    };
    let Ok(compressed) = Compressed::new(&own, head, rest.len(), checksum) else {
        return;
    };
    let mut payload = vec![0; compressed.head.len() + rest.len()];
    if compressed.write_payload(rest, &mut payload).is_err() {
        return;
    }
    let mut whole = vec![0; HEADER_LEN + payload.len()];
    let expanded =
        compressed
            .header
            .expand_into(&own, &compressed.destination, &payload, partial, &mut whole);
    assert!(expanded.is_ok(), "what was compressed expands");
    assert_eq!(whole[..HEADER_LEN], packet[..HEADER_LEN]);
    if !partial {
        assert_eq!(whole, packet);
    }
}

/// The policy: packets out and in, in any order. Nothing passes that its owner opened neither by rule nor by speaking
/// first, and its memory has an end.
pub fn gate(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut gate = Gate::new(Policy {
        open_all: false,
        tcp: vec![80],
        udp: vec![53],
    });
    let mut closed = Gate::new(Policy::default());
    let mut now = Instant::ZERO;
    while !input.is_empty() {
        let (what, peer, next_header) = (input.u8(), input.u8(), input.u8());
        let mut address = [0xfc; 16];
        address[15] = peer % 4;
        let Some(peer) = NodeAddress::from_bytes(address) else {
            return;
        };
        let packet = input.sized();
        match what % 4 {
            0 => gate.outbound(now, &peer, next_header, packet),
            1 => now = now + Duration::from_secs(u64::from(next_header)),
            _ => {
                gate.inbound(now, &peer, next_header, packet);
                let verdict = closed.inbound(now, &peer, next_header, packet);
                let protocol = ipv6::upper(next_header, packet).map(|upper| upper.protocol);
                if matches!(protocol, Ok(ipv6::TCP | ipv6::UDP)) {
                    assert_eq!(
                        verdict,
                        Verdict::Refuse,
                        "nothing was opened and nobody asked"
                    );
                }
            }
        }
        assert!(gate.flows() <= 4096);
    }
}
