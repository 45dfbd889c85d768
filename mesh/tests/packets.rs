//! Properties of packets: what is taken apart comes together again, checksums are valid, nothing foreign gets in.

use core::time::Duration;

use proptest::prelude::*;
use warren_mesh::deliver::Checksum;
use warren_mesh::identity::NodeAddress;
use warren_mesh::packet::checksum::{self, Sum};
use warren_mesh::packet::icmpv6::{self, MAX_ERROR_LEN, Problem};
use warren_mesh::packet::inner::{Compressed, INNER_LEN, InnerHeader};
use warren_mesh::packet::ipv6::{self, HEADER_LEN, Header, ICMPV6, TCP, UDP};
use warren_mesh::packet::policy::{Gate, Policy, Verdict};
use warren_mesh::time::Instant;

fn node(last: u16) -> NodeAddress {
    let mut bytes = [0xfc; 16];
    bytes[14..].copy_from_slice(&last.to_be_bytes());
    NodeAddress::from_bytes(bytes).unwrap()
}

fn ports(protocol: u8, source: u16, destination: u16, tcp_flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; if protocol == TCP { 20 } else { 8 }];
    bytes[..2].copy_from_slice(&source.to_be_bytes());
    bytes[2..4].copy_from_slice(&destination.to_be_bytes());
    if protocol == TCP {
        bytes[13] = tcp_flags;
    }
    bytes
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const FIN_ACK: u8 = 0x11;
const RST: u8 = 4;

#[test]
fn answers_to_what_this_node_asked_pass_and_nothing_else() {
    let (peer, other) = (node(1), node(2));
    for protocol in [TCP, UDP] {
        let mut gate = Gate::default();
        let answer = ports(protocol, 80, 5000, SYN_ACK);
        assert_eq!(
            gate.inbound(at(0), &peer, protocol, &answer),
            Verdict::Refuse
        );
        gate.outbound(at(1), &peer, protocol, &ports(protocol, 5000, 80, SYN));
        assert_eq!(gate.inbound(at(1), &peer, protocol, &answer), Verdict::Pass);
        assert_eq!(gate.inbound(at(2), &peer, protocol, &answer), Verdict::Pass);
        assert_eq!(
            gate.inbound(at(2), &other, protocol, &answer),
            Verdict::Refuse
        );
        for (source, destination) in [(81, 5000), (80, 5001), (5000, 80)] {
            let packet = ports(protocol, source, destination, SYN_ACK);
            assert_eq!(
                gate.inbound(at(2), &peer, protocol, &packet),
                Verdict::Refuse
            );
        }
    }
}

#[test]
fn open_ports_are_open_and_only_they() {
    let policy = Policy {
        open_all: false,
        tcp: vec![5201],
        udp: vec![53],
    };
    let mut gate = Gate::new(policy);
    let peer = node(1);
    assert_eq!(
        gate.inbound(at(0), &peer, TCP, &ports(TCP, 1, 5201, SYN)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(0), &peer, UDP, &ports(UDP, 1, 5201, 0)),
        Verdict::Refuse
    );
    assert_eq!(
        gate.inbound(at(0), &peer, UDP, &ports(UDP, 1, 53, 0)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(0), &peer, TCP, &ports(TCP, 1, 22, SYN)),
        Verdict::Refuse
    );
    gate.outbound(at(0), &peer, TCP, &ports(TCP, 5201, 1, SYN_ACK));
    gate.outbound(at(0), &peer, TCP, &ports(TCP, 22, 1, RST | ACK));
    assert_eq!(gate.flows(), 0, "answers of this node begin no flow");
    let mut all = Gate::new(Policy {
        open_all: true,
        ..Policy::default()
    });
    assert_eq!(
        all.inbound(at(0), &peer, TCP, &ports(TCP, 1, 22, SYN)),
        Verdict::Pass
    );
}

#[test]
fn icmpv6_echo_and_errors_pass_and_what_belongs_to_a_local_link_does_not() {
    let mut gate = Gate::default();
    for kind in 0..=255_u8 {
        let expected = if matches!(kind, 1..=4 | 128 | 129) {
            Verdict::Pass
        } else {
            Verdict::Refuse
        };
        assert_eq!(
            gate.inbound(at(0), &node(1), ICMPV6, &[kind, 0, 0, 0, 0, 0, 0, 0]),
            expected,
            "type {kind}"
        );
    }
    assert_eq!(gate.inbound(at(0), &node(1), ICMPV6, &[]), Verdict::Refuse);
}

#[test]
fn flows_end_by_time_and_by_goodbye() {
    let peer = node(1);
    let answer = |protocol| ports(protocol, 80, 5000, ACK);
    let mut gate = Gate::default();
    gate.outbound(at(0), &peer, UDP, &ports(UDP, 5000, 80, 0));
    assert_eq!(
        gate.inbound(at(61), &peer, UDP, &answer(UDP)),
        Verdict::Refuse,
        "nobody answered in time"
    );
    gate.outbound(at(100), &peer, UDP, &ports(UDP, 5000, 80, 0));
    assert_eq!(
        gate.inbound(at(110), &peer, UDP, &answer(UDP)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(400), &peer, UDP, &answer(UDP)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(701), &peer, UDP, &answer(UDP)),
        Verdict::Refuse
    );

    gate.outbound(at(1000), &peer, TCP, &ports(TCP, 5000, 80, SYN));
    assert_eq!(
        gate.inbound(at(1000), &peer, TCP, &answer(TCP)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(8000), &peer, TCP, &answer(TCP)),
        Verdict::Pass,
        "two hours of silence"
    );
    gate.outbound(at(8001), &peer, TCP, &ports(TCP, 5000, 80, FIN_ACK));
    assert_eq!(
        gate.inbound(at(8100), &peer, TCP, &answer(TCP)),
        Verdict::Pass
    );
    assert_eq!(
        gate.inbound(at(8400), &peer, TCP, &answer(TCP)),
        Verdict::Refuse
    );
}

#[test]
fn later_fragments_pass_behind_a_first_one_that_did() {
    let peer = node(1);
    let mut gate = Gate::new(Policy {
        udp: vec![53],
        ..Policy::default()
    });
    let fragment = |place: u16, id: u32, port: u16| {
        let mut bytes = vec![UDP, 0];
        bytes.extend(place.to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(ports(UDP, 9, port, 0));
        bytes
    };
    const FRAGMENT: u8 = 44;
    let mut inbound =
        |now, peer: &NodeAddress, bytes: &[u8]| gate.inbound(now, peer, FRAGMENT, bytes);
    assert_eq!(
        inbound(at(0), &peer, &fragment(8 << 3, 1, 53)),
        Verdict::Refuse
    );
    assert_eq!(inbound(at(0), &peer, &fragment(1, 1, 54)), Verdict::Refuse);
    assert_eq!(
        inbound(at(0), &peer, &fragment(8 << 3, 1, 53)),
        Verdict::Refuse
    );
    assert_eq!(inbound(at(0), &peer, &fragment(1, 1, 53)), Verdict::Pass);
    assert_eq!(
        inbound(at(1), &peer, &fragment(8 << 3, 1, 53)),
        Verdict::Pass
    );
    assert_eq!(
        inbound(at(1), &peer, &fragment(8 << 3, 2, 53)),
        Verdict::Refuse
    );
    assert_eq!(
        inbound(at(1), &node(2), &fragment(8 << 3, 1, 53)),
        Verdict::Refuse
    );
    assert_eq!(
        inbound(at(40), &peer, &fragment(8 << 3, 1, 53)),
        Verdict::Refuse
    );
}

#[test]
fn a_flood_from_outside_evicts_no_flow_of_ours() {
    let mut gate = Gate::new(Policy {
        tcp: vec![5201],
        ..Policy::default()
    });
    let ours: Vec<_> = (0..100_u16).map(|i| (node(i), 40_000 + i)).collect();
    for (peer, port) in &ours {
        gate.outbound(at(0), peer, TCP, &ports(TCP, *port, 443, SYN));
    }
    // Whatever comes, and whatever this node answers to it.
    for i in 0..50_000_u32 {
        let (peer, port) = (node(i as u16), (i >> 3) as u16);
        let destination = if i % 2 == 0 { 5201 } else { port };
        gate.inbound(at(1), &peer, TCP, &ports(TCP, port, destination, SYN));
        gate.outbound(
            at(1),
            &peer,
            TCP,
            &ports(
                TCP,
                destination,
                port,
                if i % 2 == 0 { SYN_ACK } else { RST },
            ),
        );
        gate.inbound(at(1), &peer, UDP, &ports(UDP, port, destination, 0));
        gate.outbound(at(1), &peer, ICMPV6, &[129, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert_eq!(gate.flows(), ours.len());
    for (peer, port) in &ours {
        assert_eq!(
            gate.inbound(at(2), peer, TCP, &ports(TCP, 443, *port, SYN_ACK)),
            Verdict::Pass
        );
    }
}

#[test]
fn when_this_node_itself_begins_too_many_flows_answered_ones_survive() {
    let mut gate = Gate::default();
    let peer = node(1);
    for port in 0..500 {
        gate.outbound(at(0), &peer, TCP, &ports(TCP, port, 443, SYN));
        assert_eq!(
            gate.inbound(at(0), &peer, TCP, &ports(TCP, 443, port, SYN_ACK)),
            Verdict::Pass
        );
    }
    for port in 500..60_000 {
        gate.outbound(at(1), &peer, UDP, &ports(UDP, port, 7, 0));
    }
    assert!(gate.flows() <= 4096);
    for port in 0..500 {
        assert_eq!(
            gate.inbound(at(2), &peer, TCP, &ports(TCP, 443, port, ACK)),
            Verdict::Pass
        );
    }
    assert_eq!(
        gate.inbound(at(2), &peer, UDP, &ports(UDP, 7, 59_999, 0)),
        Verdict::Pass,
        "the newest is kept"
    );
}

proptest! {
    #[test]
    fn compressing_and_expanding_gives_the_packet_back(
        traffic_class in any::<u8>(),
        flow_label in 0u32..1 << 20,
        next_header in prop::sample::select(vec![TCP, UDP, ICMPV6, 0, 44, 59, 132]),
        hop_limit in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(),
    ) {
        let (from, to) = (node(1), node(2));
        let header = Header {
            traffic_class,
            flow_label,
            payload_len: body.len() as u16,
            next_header,
            hop_limit,
            source: *from.as_bytes(),
            destination: *to.as_bytes(),
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(&body);
        let (head, rest) = packet.split_at(HEADER_LEN + cut.index(body.len() + 1));
        let compressed = Compressed::new(&from, head, rest.len(), Checksum::Complete).unwrap();
        let mut inner = compressed.head.to_vec();
        inner.extend(rest);
        let bytes = InnerHeader::Ipv6(compressed.header).to_bytes();
        prop_assert_eq!(bytes.len(), INNER_LEN);
        let Ok(InnerHeader::Ipv6(read)) = InnerHeader::parse(bytes) else {
            return Err(TestCaseError::fail("not an IPv6 header"));
        };
        let mut out = vec![0xaa; packet.len()];
        prop_assert_eq!(read.expand_into(&from, &to, &inner, false, &mut out), Ok(Checksum::Complete));
        prop_assert_eq!(out, packet);
    }

    #[test]
    fn an_unfilled_checksum_arrives_unfilled_or_filled_in_but_never_wrong(
        protocol in prop::sample::select(vec![TCP, UDP, ICMPV6]),
        mut body in prop::collection::vec(any::<u8>(), 20..200),
        garbage in any::<u16>(),
    ) {
        let (from, to) = (node(1), node(2));
        let offset: u16 = match protocol { TCP => 16, UDP => 6, _ => 2 };
        let field = usize::from(offset)..usize::from(offset) + 2;
        body[field.clone()].copy_from_slice(&garbage.to_be_bytes());
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: body.len() as u16,
            next_header: protocol,
            hop_limit: 64,
            source: *from.as_bytes(),
            destination: *to.as_bytes(),
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(&body);
        let partial = Checksum::Partial { start: 40, offset };
        let compressed = Compressed::new(&from, &packet, 0, partial).unwrap();
        prop_assert!(compressed.header.unfilled_checksum);
        let valid = |packet: &[u8]| {
            let sum = Sum::default()
                .add_pseudo_header(from.as_bytes(), to.as_bytes(), body.len() as u32, protocol)
                .add_bytes(&packet[40..]);
            sum.finish() == 0
        };
        let mut filled = vec![0; packet.len()];
        prop_assert_eq!(
            compressed.header.expand_into(&from, &to, compressed.head, true, &mut filled),
            Ok(Checksum::Complete)
        );
        prop_assert!(valid(&filled));
        let mut unfilled = vec![0; packet.len()];
        prop_assert_eq!(
            compressed.header.expand_into(&from, &to, compressed.head, false, &mut unfilled),
            Ok(partial)
        );
        checksum::complete(&mut unfilled, 40, offset.into()).unwrap();
        prop_assert_eq!(unfilled, filled);
    }

    #[test]
    fn icmpv6_errors_are_valid_whole_and_small(
        body in prop::collection::vec(any::<u8>(), 0..3000),
        next_header in any::<u8>(),
        mtu in any::<u16>(),
        kind in 0..4,
        destination in any::<u8>(),
    ) {
        let problem = match kind {
            0 => Problem::NoRoute,
            1 => Problem::AdminProhibited,
            2 => Problem::AddressUnreachable,
            _ => Problem::TooBig { mtu },
        };
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: body.len() as u16,
            next_header,
            hop_limit: 64,
            source: *node(1).as_bytes(),
            destination: [destination; 16],
        };
        let mut out = [0; MAX_ERROR_LEN];
        if let Some(len) = icmpv6::error(problem, node(9).as_bytes(), &header.to_bytes(), &body, &mut out) {
            prop_assert!(destination != 0xff && len <= 1280);
            let error = Header::parse(&out, len).unwrap();
            prop_assert_eq!(error.destination, header.source);
            let sum = Sum::default()
                .add_pseudo_header(&error.source, &error.destination, (len - 40) as u32, ICMPV6)
                .add_bytes(&out[40..len]);
            prop_assert_eq!(sum.finish(), 0);
            // An error is never answered with an error.
            let first = out;
            prop_assert_eq!(icmpv6::error(problem, node(1).as_bytes(), &first[..len], &[], &mut out), None);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), next_header in any::<u8>()) {
        let _ = Header::parse(&bytes, bytes.len());
        let _ = ipv6::upper(next_header, &bytes);
        let mut gate = Gate::default();
        gate.outbound(at(0), &node(1), next_header, &bytes);
        gate.inbound(at(0), &node(1), next_header, &bytes);
        let mut out = [0; MAX_ERROR_LEN];
        let _ = icmpv6::error(Problem::NoRoute, &[1; 16], &bytes, &[], &mut out);
        let _ = Compressed::new(&node(1), &bytes, 0, Checksum::Partial { start: next_header.into(), offset: 3 });
        if let Some(first) = bytes.first_chunk::<INNER_LEN>()
            && let Ok(InnerHeader::Ipv6(header)) = InnerHeader::parse(*first)
        {
            let mut out = vec![0; bytes.len() + HEADER_LEN];
            let _ = header.expand_into(&node(1), &node(2), &bytes, true, &mut out);
        }
    }

    #[test]
    fn without_open_ports_and_flows_only_icmpv6_echo_and_errors_pass(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        next_header in prop::sample::select(vec![0u8, TCP, UDP, 43, 44, 50, 51, ICMPV6, 59, 60, 132, 135, 200]),
    ) {
        let mut gate = Gate::default();
        if gate.inbound(at(0), &node(1), next_header, &bytes) == Verdict::Pass {
            let found = ipv6::upper(next_header, &bytes).unwrap();
            prop_assert_eq!(found.protocol, ICMPV6);
            prop_assert!(matches!(bytes[found.offset], 1..=4 | 128 | 129));
        }
        prop_assert_eq!(gate.flows(), 0);
    }
}
