//! Golden vectors: every byte of a session's life, of the inner header, of a descriptor and of a service's papers, for
//! fixed keys, as files. A changed byte is a change of the protocol and needs a new version.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use warren_mesh::deliver::Checksum;
use warren_mesh::descriptor::{Descriptor, MAX_DESCRIPTOR, Uplink};
use warren_mesh::identity::{MeshIdentity, MeshPublicKey, NodeAddress};
use warren_mesh::packet::inner::{CompactIpv6, Compressed, InnerHeader};
use warren_mesh::packet::ipv6::Header;
use warren_mesh::service::{Day, ServiceCertificate, ServiceKind, ServiceSigner};
use warren_mesh::session::{Limits, Opened, Output, Sessions, sealed_len};
use warren_mesh::time::Instant;

const NOW: Instant = Instant::from_micros(1_000_000);
/// The first key of the ratchet is old by then.
const LATER: Instant = Instant::from_micros(130_000_000);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", name]
        .iter()
        .collect()
}

fn stored(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn alice() -> MeshIdentity {
    MeshIdentity::from_seed(&[0xa1; 32])
}

fn bob() -> MeshIdentity {
    MeshIdentity::from_seed(&[0xb0; 32])
}

fn sessions(identity: &MeshIdentity) -> Sessions {
    Sessions::new(
        identity,
        7,
        [identity.address().as_bytes()[1]; 32],
        Limits::default(),
    )
}

fn packet(body: &[u8]) -> Vec<u8> {
    let header = Header {
        traffic_class: 0xb8,
        flow_label: 0x9_8765,
        payload_len: body.len() as u16,
        next_header: 17,
        hop_limit: 61,
        source: *alice().address().as_bytes(),
        destination: *bob().address().as_bytes(),
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend(body);
    packet
}

fn seal(sessions: &mut Sessions, now: Instant, body: &[u8]) -> Vec<u8> {
    let packet = packet(body);
    let compressed = Compressed::new(&alice().address(), &packet, 0, Checksum::Complete).unwrap();
    let mut frame = vec![0; sealed_len(body.len())];
    sessions
        .sealer(now, &bob().address())
        .unwrap()
        .seal(&compressed, &[], &mut frame)
        .unwrap();
    frame
}

fn only(sessions: &mut Sessions) -> Output {
    let output = sessions.poll_output().unwrap();
    assert_eq!(sessions.poll_output(), None);
    output
}

fn session_vectors() -> Value {
    let (alice_id, bob_id) = (alice(), bob());
    let (mut a, mut b) = (sessions(&alice_id), sessions(&bob_id));
    let waiting = packet(b"first");
    let compressed = Compressed::new(&alice_id.address(), &waiting, 0, Checksum::Complete).unwrap();
    a.queue(NOW, &compressed, &[]).unwrap();
    let key_request = only(&mut a).bytes;
    b.handle_message(NOW, alice_id.short_id(), &key_request)
        .unwrap();
    let key = only(&mut b).bytes;
    a.handle_message(NOW, bob_id.short_id(), &key).unwrap();
    let initiation = only(&mut a).bytes;
    b.handle_message(NOW, alice_id.short_id(), &initiation)
        .unwrap();
    let response = only(&mut b).bytes;
    a.handle_message(NOW, bob_id.short_id(), &response).unwrap();
    let frames = [
        only(&mut a).bytes,
        seal(&mut a, NOW, b"second"),
        seal(&mut a, LATER, &[0x77; 40]),
    ];
    json!({
        "initiator seed": hex(&[0xa1; 32]),
        "responder seed": hex(&[0xb0; 32]),
        "generation": 7,
        "key request": hex(&key_request),
        "key": hex(&key),
        "initiation": hex(&initiation),
        "response": hex(&response),
        "packets": [hex(&waiting), hex(&packet(b"second")), hex(&packet(&[0x77; 40]))],
        "frames": frames.map(|frame| hex(&frame)),
    })
}

fn inner_vectors() -> Value {
    let headers = [
        InnerHeader::Ipv6(CompactIpv6 {
            traffic_class: 0xb8,
            flow_label: 0x9_8765,
            next_header: 17,
            hop_limit: 61,
            unfilled_checksum: false,
        }),
        InnerHeader::Ipv6(CompactIpv6 {
            traffic_class: 0,
            flow_label: 0xf_ffff,
            next_header: 6,
            hop_limit: 64,
            unfilled_checksum: true,
        }),
        InnerHeader::Control {
            message: 1,
            request: 0xdead_beef,
        },
    ];
    let rows = headers
        .map(|header| json!({ "means": format!("{header:?}"), "bytes": hex(&header.to_bytes()) }));
    Value::from(rows.to_vec())
}

fn descriptor() -> (Descriptor, MeshIdentity) {
    let identity = alice();
    let master = ServiceSigner::master(&[0x51; 32]);
    let certificate = master
        .certify(ServiceSigner::signing_key(&[0x52; 32]), Day(20_779))
        .unwrap();
    let boxed = ServiceSigner::certified(&[0x52; 32], certificate).unwrap();
    let services = vec![
        boxed
            .announce(ServiceKind::Space, &identity.address(), 7447, "Garden club")
            .unwrap(),
        ServiceSigner::master(&[0x53; 32])
            .announce(ServiceKind::Space, &identity.address(), 80, "")
            .unwrap(),
    ];
    let descriptor = Descriptor {
        key: identity.public_key(),
        number: 0x0102_0304_0506_0708,
        name: "Müller".into(),
        features: 0x8000_0001,
        uplink: Uplink::Present,
        services,
    };
    (descriptor, identity)
}

/// The same box with one service of every kind.
fn descriptor_of_kinds() -> (Descriptor, MeshIdentity) {
    let (mut descriptor, identity) = descriptor();
    let kinds = [ServiceKind::Site, ServiceKind::Home];
    for (seed, kind) in [0x54, 0x55].into_iter().zip(kinds) {
        let signer = ServiceSigner::master(&[seed; 32]);
        let announced = signer.announce(kind, &identity.address(), 7448, "Recipes");
        descriptor.services.push(announced.unwrap());
    }
    (descriptor, identity)
}

fn descriptor_vectors() -> Value {
    let (descriptor, identity) = descriptor();
    let certificate = descriptor.services[0].proof.certificate.as_ref().unwrap();
    json!({
        "seed": hex(&[0xa1; 32]),
        "service master seed": hex(&[0x51; 32]),
        "service signing seed": hex(&[0x52; 32]),
        "service name": ServiceSigner::master(&[0x51; 32]).service().to_string(),
        "certificate": hex(&certificate.encode()),
        "descriptor": hex(&descriptor.encode(&identity).unwrap()),
        "descriptor of every kind": hex(&descriptor_of_kinds().0.encode(&identity).unwrap()),
    })
}

fn all() -> [(&'static str, Value); 3] {
    [
        ("sessions.json", session_vectors()),
        ("inner-headers.json", inner_vectors()),
        ("descriptors.json", descriptor_vectors()),
    ]
}

#[test]
fn every_byte_is_as_in_the_golden_vectors() {
    for (name, value) in all() {
        assert_eq!(value, stored(name), "{name}");
    }
}

#[test]
#[ignore = "writes the golden vectors anew; set WARREN_WRITE_VECTORS=1"]
fn write_the_golden_vectors() {
    if std::env::var_os("WARREN_WRITE_VECTORS").is_none() {
        return;
    }
    for (name, value) in all() {
        let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
        fs::write(path(name), text).unwrap();
    }
}

#[test]
fn a_responder_opens_the_stored_session() {
    let stored = stored("sessions.json");
    let (alice, bob) = (alice(), bob());
    let mut responder = sessions(&bob);
    responder
        .handle_message(NOW, alice.short_id(), &unhex(&stored["key request"]))
        .unwrap();
    responder
        .handle_message(NOW, alice.short_id(), &unhex(&stored["initiation"]))
        .unwrap();
    let frames = stored["frames"]
        .as_array()
        .unwrap()
        .iter()
        .zip(stored["packets"].as_array().unwrap());
    for (frame, packet) in frames {
        let mut frame = unhex(frame);
        let opened = responder.open(LATER, alice.short_id(), &mut frame).unwrap();
        let Opened::Packet {
            peer,
            header,
            payload,
        } = opened
        else {
            panic!("{opened:?}");
        };
        let mut out = vec![0; 40 + payload.len()];
        header
            .expand_into(&peer, &bob.address(), payload, false, &mut out)
            .unwrap();
        assert_eq!(out, unhex(packet));
    }
}

#[test]
fn a_service_of_an_unknown_kind_is_skipped_and_the_rest_is_read() {
    let bytes = unhex(&stored("descriptors.json")["descriptor of every kind"]);
    let (mut expected, identity) = descriptor_of_kinds();
    let read = Descriptor::decode(&bytes).unwrap();
    assert_eq!(read, expected);
    assert_eq!(read.verified_services(Day(20_800)).count(), 4);
    // The kind of the last one stands before its key; the box itself signs what a later version may say there.
    let site = expected.services.remove(2);
    let place = bytes
        .windows(32)
        .position(|window| window == site.key)
        .unwrap();
    let mut later = b"warren descriptor v1".to_vec();
    later.extend(&bytes[..bytes.len() - 64]);
    later[20 + place - 1] = 9;
    let signature = identity.sign(&later);
    later.extend(signature);
    assert_eq!(Descriptor::decode(&later[20..]), Ok(expected));
}

#[test]
fn the_stored_descriptor_says_what_it_should_and_stands_no_damage() {
    let stored = stored("descriptors.json");
    let bytes = unhex(&stored["descriptor"]);
    let (expected, identity) = descriptor();
    let read = Descriptor::decode(&bytes).unwrap();
    assert_eq!(read, expected);
    assert_eq!(read.verified_services(Day(20_800)).count(), 2);
    assert_eq!(
        read.verified_services(Day(20_810)).count(),
        1,
        "the certificate has run out"
    );
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        assert!(Descriptor::decode(&damaged).is_err(), "byte {place}");
        assert!(
            Descriptor::decode(&bytes[..place]).is_err(),
            "cut at {place}"
        );
    }
    assert!(expected.encode(&bob()).is_err(), "signed by somebody else");
    let certificate = ServiceCertificate::decode(&unhex(&stored["certificate"])).unwrap();
    assert_eq!(
        certificate.service.to_string(),
        stored["service name"].as_str().unwrap()
    );
    assert_eq!(certificate.verify(Day(20_779)), Ok(()));
    assert!(bytes.len() < MAX_DESCRIPTOR && expected.encode(&identity).is_ok());
}

#[test]
fn what_does_not_fit_one_packet_is_refused_when_made() {
    let (mut descriptor, identity) = descriptor();
    let long = "x".repeat(64);
    let service = ServiceSigner::master(&[1; 32])
        .announce(ServiceKind::Space, &identity.address(), 1, &long)
        .unwrap();
    descriptor.services = vec![service.clone(); 8];
    assert!(
        descriptor
            .encode(&identity)
            .unwrap_err()
            .to_string()
            .contains("1200 fit")
    );
    descriptor.services = vec![service; 9];
    assert!(
        descriptor
            .encode(&identity)
            .unwrap_err()
            .to_string()
            .contains("at most 8")
    );
}

#[test]
fn the_stored_inner_headers_read_as_they_were_written() {
    for row in stored("inner-headers.json").as_array().unwrap() {
        let bytes: [u8; 6] = unhex(&row["bytes"]).try_into().unwrap();
        let header = InnerHeader::parse(bytes).unwrap();
        assert_eq!(format!("{header:?}"), row["means"].as_str().unwrap());
        assert_eq!(header.to_bytes(), bytes);
    }
}

#[test]
fn addresses_in_the_vectors_are_those_of_the_keys() {
    let key = unhex(&stored("sessions.json")["key"]);
    let key = MeshPublicKey(key[1..].try_into().unwrap());
    assert_eq!(key, bob().public_key());
    let address: NodeAddress = key.address();
    assert_eq!(address, bob().address());
}
