//! Segmenting what comes from TUN and joining what goes to it: the bytes stay the same, and every checksum is right once
//! it is completed, by a computation of this test's own.

use proptest::prelude::*;
use warren_mesh::deliver::{Checksum, DeliverQueue};
use warrend::tun::coalesce::{self, Offload};
use warrend::tun::header::{Gso, VnetHeader};
use warrend::tun::segment;

const SOURCE: [u8; 16] = [0xfc, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const DESTINATION: [u8; 16] = [
    0xfc, 0xff, 0xee, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xf0,
];

/// RFC 1071 over RFC 8200's pseudo-header, the slow and plain way. 0 when the checksum in the packet is right.
fn checksum_error(packet: &[u8]) -> u16 {
    let transport = &packet[40..];
    let mut bytes = packet[8..40].to_vec();
    bytes.extend((transport.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, packet[6]]);
    bytes.extend(transport);
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) * 256 + u32::from(pair[1]);
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    !(sum as u16)
}

/// What the kernel hands over: a super-packet with the pseudo-header's sum in the checksum field.
fn super_packet(tcp: bool, options: usize, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let head = if tcp { 20 + options * 4 } else { 8 };
    let length = head + payload.len();
    let mut packet = vec![0x60, 0x12, 0x34, 0x56];
    packet.extend((length as u16).to_be_bytes());
    packet.extend([if tcp { 6 } else { 17 }, 63]);
    packet.extend(SOURCE);
    packet.extend(DESTINATION);
    packet.extend([0x1f, 0x90, 0xc3, 0x50]);
    if tcp {
        packet.extend(sequence.to_be_bytes());
        packet.extend([
            9,
            8,
            7,
            6,
            ((5 + options) as u8) << 4,
            flags,
            0x7f,
            0xff,
            0,
            0,
            0,
            0,
        ]);
        packet.extend((0..options * 4).map(|byte| byte as u8));
    } else {
        packet.extend((length as u16).to_be_bytes());
        packet.extend([0, 0]);
    }
    let mut pseudo = length as u32 + u32::from(packet[6]);
    for pair in packet[8..40].chunks(2) {
        pseudo += u32::from(pair[0]) * 256 + u32::from(pair[1]);
    }
    while pseudo > 0xffff {
        pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    }
    let field = 40 + if tcp { 16 } else { 6 };
    packet[field..field + 2].copy_from_slice(&(pseudo as u16).to_be_bytes());
    packet.extend(payload);
    packet
}

fn vnet(tcp: bool, size: usize) -> VnetHeader {
    VnetHeader {
        checksum: Some((40, if tcp { 16 } else { 6 })),
        gso: if tcp {
            Gso::Tcp(size as u16)
        } else {
            Gso::Udp(size as u16)
        },
        header_len: 60,
    }
}

fn segments(header: VnetHeader, packet: &[u8]) -> Vec<(Vec<u8>, Checksum)> {
    let mut all = Vec::new();
    segment::split(header, packet, |head, payload, checksum| {
        all.push(([head, payload].concat(), checksum));
    })
    .unwrap();
    all
}

/// What would be written to a device: each write's bytes in one piece.
fn written(packets: &[(Vec<u8>, Checksum)], offload: Offload) -> Vec<Vec<u8>> {
    let mut queue = DeliverQueue::default();
    for (packet, checksum) in packets {
        queue.push(packet, *checksum);
    }
    let mut writes = Vec::new();
    coalesce::write_all(queue.iter_mut(), offload, |parts| {
        writes.push(parts.iter().flat_map(|part| part.to_vec()).collect());
    });
    writes
}

fn completed(packet: &[u8], checksum: Checksum) -> Vec<u8> {
    let mut packet = packet.to_vec();
    coalesce::complete(&mut packet, checksum);
    packet
}

fn payload_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 256) as u8).collect()
}

proptest! {
    #[test]
    fn a_super_packet_comes_out_as_it_went_in(
        tcp: bool,
        options in 0_usize..11,
        size in 40_usize..1448,
        count in 1_usize..43,
        last in 1_usize..40,
        push: bool,
        fin: bool,
        sequence: u32,
    ) {
        let flags = 0x10 | if push { 0x08 } else { 0 } | u8::from(fin);
        let payload = payload_of(size * (count - 1) + last);
        let packet = super_packet(tcp, options, flags, sequence, &payload);
        let segments = segments(vnet(tcp, size), &packet);
        prop_assert_eq!(segments.len(), count);
        for (segment, checksum) in &segments {
            prop_assert_eq!(checksum_error(&completed(segment, *checksum)), 0);
            prop_assert_eq!(segment.len() - 40, usize::from(segment[4]) * 256 + usize::from(segment[5]));
        }
        let writes = written(&segments, Offload::TcpAndUdp);
        prop_assert_eq!(writes.len(), 1);
        let (header, out) = VnetHeader::parse(&writes[0]).unwrap();
        prop_assert_eq!(out, &packet[..]);
        let gso = match (count, tcp) {
            (1, _) => Gso::None,
            (_, true) => Gso::Tcp(size as u16),
            (_, false) => Gso::Udp(size as u16),
        };
        prop_assert_eq!(header.gso, gso);
        prop_assert_eq!(checksum_error(&completed(out, Checksum::Partial { start: 40, offset: if tcp { 16 } else { 6 } })), 0);
    }

    #[test]
    fn without_offload_every_packet_is_complete(size in 40_usize..1448, count in 1_usize..20, sequence: u32) {
        let payload = payload_of(size * count);
        let packet = super_packet(true, 3, 0x10, sequence, &payload);
        let writes = written(&segments(vnet(true, size), &packet), Offload::None);
        prop_assert_eq!(writes.len(), count);
        let mut joined: Vec<u8> = Vec::new();
        for write in &writes {
            prop_assert_eq!(checksum_error(write), 0);
            joined.extend(&write[72..]);
        }
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn segmenting_and_joining_any_bytes_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        tcp: bool, start: u16, offset: u16, size: u16,
    ) {
        if let Ok((header, packet)) = VnetHeader::parse(&bytes) {
            let _ = segment::split(header, packet, |_, _, _| {});
        }
        let gso = if tcp { Gso::Tcp(size) } else { Gso::Udp(size) };
        let header = VnetHeader { checksum: Some((start, offset)), gso, header_len: 0 };
        let _ = segment::split(header, &bytes, |_, _, _| {});
        let mut real = super_packet(tcp, 2, 0x10, 7, &payload_of(100));
        for (at, byte) in bytes.iter().enumerate().take(8) {
            let length = real.len();
            real[(usize::from(*byte) + at * 17) % length] ^= byte;
        }
        let packets = vec![
            (bytes.clone(), Checksum::Partial { start, offset }),
            (real.clone(), Checksum::Partial { start: 40, offset: 16 }),
            (real, Checksum::Partial { start: 40, offset: 6 }),
            (bytes, Checksum::Complete),
        ];
        for offload in [Offload::None, Offload::Tcp, Offload::TcpAndUdp] {
            let _ = written(&packets, offload);
        }
    }
}

fn two(change: impl FnOnce(&mut Vec<u8>)) -> usize {
    let partial = Checksum::Partial {
        start: 40,
        offset: 16,
    };
    let first = super_packet(true, 3, 0x10, 1000, &payload_of(100));
    let mut second = super_packet(true, 3, 0x10, 1100, &payload_of(100));
    change(&mut second);
    written(&[(first, partial), (second, partial)], Offload::TcpAndUdp).len()
}

#[test]
fn only_what_follows_in_the_same_flow_is_joined() {
    assert_eq!(two(|_| {}), 1);
    assert_eq!(two(|p| p[43] ^= 1), 2, "port");
    assert_eq!(two(|p| p[8] ^= 1), 2, "address");
    assert_eq!(two(|p| p[3] ^= 1), 2, "flow label");
    assert_eq!(two(|p| p[7] ^= 1), 2, "hop limit");
    assert_eq!(two(|p| p[47] ^= 1), 2, "sequence number");
    assert_eq!(two(|p| p[51] ^= 1), 2, "acknowledgement");
    assert_eq!(two(|p| p[53] |= 0x02), 2, "SYN");
    assert_eq!(two(|p| p[53] |= 0x80), 2, "CWR");
    assert_eq!(two(|p| p[53] |= 0x40), 2, "ECE");
    assert_eq!(two(|p| p[55] ^= 1), 2, "window");
    assert_eq!(two(|p| p[65] ^= 1), 2, "options");
    assert_eq!(two(|p| p[53] |= 0x08), 1, "PSH ends a run");
}

#[test]
fn a_short_packet_or_push_ends_a_run() {
    let partial = Checksum::Partial {
        start: 40,
        offset: 16,
    };
    let packet = |sequence, flags, length| {
        (
            super_packet(true, 0, flags, sequence, &payload_of(length)),
            partial,
        )
    };
    let short = [
        packet(0, 0x10, 100),
        packet(100, 0x10, 50),
        packet(150, 0x10, 100),
    ];
    assert_eq!(written(&short, Offload::Tcp).len(), 2);
    let push = [
        packet(0, 0x10, 100),
        packet(100, 0x18, 100),
        packet(200, 0x10, 100),
    ];
    assert_eq!(written(&push, Offload::Tcp).len(), 2);
    let longer = [packet(0, 0x10, 100), packet(100, 0x10, 101)];
    assert_eq!(written(&longer, Offload::Tcp).len(), 2);
}

#[test]
fn a_complete_checksum_is_left_untouched() {
    let mut packet = super_packet(true, 0, 0x10, 5, &payload_of(10));
    coalesce::complete(
        &mut packet,
        Checksum::Partial {
            start: 40,
            offset: 16,
        },
    );
    packet[56] ^= 0xff;
    for offload in [Offload::Tcp, Offload::TcpAndUdp] {
        let writes = written(
            &[
                (packet.clone(), Checksum::Complete),
                (packet.clone(), Checksum::Complete),
            ],
            offload,
        );
        assert_eq!(writes.len(), 2);
        let (header, out) = VnetHeader::parse(&writes[0]).unwrap();
        assert_eq!((header, out), (VnetHeader::PLAIN, &packet[..]));
    }
    assert_eq!(
        written(&[(packet.clone(), Checksum::Complete)], Offload::None),
        [packet]
    );
}

#[test]
fn flags_of_the_ends_stay_at_the_ends() {
    let packet = super_packet(true, 0, 0x10 | 0x80 | 0x08 | 0x01, 0, &payload_of(300));
    let flags: Vec<u8> = segments(vnet(true, 100), &packet)
        .iter()
        .map(|(segment, _)| segment[53])
        .collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
}
