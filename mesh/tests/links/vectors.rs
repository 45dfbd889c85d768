//! Golden vectors: every byte that this program puts on the wire for fixed keys, as files. A changed byte is a change
//! of protocol. To write the files anew after a deliberate one:
//! `WARREN_WRITE_VECTORS=1 cargo test -p warren-mesh --test links -- --ignored`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::cipher::{PacketCipher, Suite};
use warren_mesh::crypto::cookie::CookieGate;
use warren_mesh::identity::{MeshIdentity, ShortId};
use warren_mesh::link::handshake::{cookie_reply, responder_mac_keys};
use warren_mesh::link::{Beacon, Part};
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::routing::chain::{HashChain, MAX_SEQ, Position};

use super::common::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn addresses() -> Value {
    let one = |seed: u8| {
        let identity = MeshIdentity::from_seed(&[seed; 32]);
        json!({
            "seed": hex(&[seed; 32]),
            "public_key": hex(&identity.public_key().0),
            "address": hex(identity.address().as_bytes()),
            "address_text": identity.address().to_string(),
            "short_id": hex(&identity.short_id().0),
            "x25519_public_key": hex(&identity.public_key().to_x25519().unwrap()),
        })
    };
    [0, 1, 0x7f, 0xff].map(one).into_iter().collect()
}

fn party(party: &Party, number: u8) -> Value {
    json!({
        "mesh_seed": hex(&[number ^ 0xff; 32]),
        "rng_seed": hex(&[number; 32]),
        "static_secret": hex(party.static_secret.as_bytes()),
        "short_id": hex(&party.identity.short_id().0),
    })
}

fn handshake(psk: Option<u8>) -> Value {
    let make = |n| psk.map_or_else(|| Party::new(n), |psk| Party::with_psk(n, psk));
    let (mut a, mut b) = (make(1), make(2));
    let keys = responder_mac_keys(b.identity.short_id());
    let parties = (party(&a, 1), party(&b, 2));
    let gate = CookieGate::new(&mut Party::new(3).rng);
    let mut initiator = a.start(b.identity.short_id(), INITIATOR_INDEX);
    let first = initiator.message().to_vec();
    let from = b"fe80::1";
    let cookie = cookie_reply(&gate, seconds(5), &keys, &first, from, &mut b.rng).unwrap();
    initiator.take_cookie(seconds(5), &cookie).unwrap();
    let with_cookie = initiator.message().to_vec();
    let mut responder = b.accept(RESPONDER_INDEX, &with_cookie).unwrap();
    let second = responder.message().to_vec();
    let (third, mut at_a) = initiator.finish(seconds(5), &a.link(), &second).unwrap();
    let mut at_b = responder.finish(seconds(5), &b.link(), &third).unwrap();
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    at_a.session.seal_control(b"ping", &mut from_a);
    at_b.session.seal_control(b"pong", &mut from_b);
    json!({
        "initiator": parties.0,
        "responder": parties.1,
        "psk": psk.map(|psk| hex(&[psk; 32])),
        "handshake1": hex(&first),
        "cookie_gate_rng_seed": hex(&[3; 32]),
        "cookie": hex(&cookie),
        "handshake1_with_cookie": hex(&with_cookie),
        "handshake2": hex(&second),
        "handshake3": hex(&third),
        "control_ping": hex(&from_a),
        "control_pong": hex(&from_b),
    })
}

fn frames() -> Value {
    let mut centre = Party::new(1);
    let (mut a, _) = establish(&mut centre, &mut Party::new(2));
    let (other, _) = establish(&mut centre, &mut Party::new(3));
    let beacon = Beacon {
        sender: ShortId(*b"\x01\x02\x03\x04\x05\x06\x07\x08"),
        is_answer: true,
        is_full: false,
        epoch: [9, 8, 7, 6],
        features: 0x0304,
    };
    let control: Vec<String> = [0usize, 5, 100]
        .into_iter()
        .map(|len| {
            let mut frame = Vec::new();
            a.session.seal_control(&vec![len as u8; len], &mut frame);
            hex(&frame)
        })
        .collect();
    let parts = [
        (Part::Whole, 0),
        (Part::Whole, 5),
        (Part::Whole, 20),
        (Part::Whole, 61),
        (Part::First, 61),
        (Part::Second, 61),
    ];
    let data: Vec<Value> = parts
        .into_iter()
        .map(|(part, len)| {
            let mut frame = room_and_payload(part.len_of(len));
            a.session.seal_part(part, &header(len), &mut frame).unwrap();
            json!({ "part": format!("{part:?}"), "payload_len": len, "frame": hex(&frame) })
        })
        .collect();
    let keys = [&a, &other].map(|end| end.session.broadcast_send_key());
    let broadcast: Vec<String> = [0usize, 5, 100]
        .into_iter()
        .map(|len| {
            let mut frame = Vec::new();
            let text = vec![len as u8; len];
            centre.group.seal(keys, &text, &mut frame).unwrap();
            hex(&frame)
        })
        .collect();
    json!({
        "beacon": hex(&beacon.encode()),
        "control": control,
        "data": data,
        "broadcast": broadcast,
    })
}

fn chain() -> Value {
    let identity = MeshIdentity::from_seed(&[4; 32]);
    let mut full = HashChain::new(&SecretKey::new([5; 32]), identity.address(), 6);
    let positions = [
        (1, 127),
        (1, 0),
        (2, 64),
        (500, 1),
        (MAX_SEQ, 127),
        (MAX_SEQ, 0),
    ];
    let elements: Vec<Value> = positions
        .into_iter()
        .map(|(seq, step)| {
            let element = full.element(Position { seq, step }).unwrap();
            json!({ "seq": seq, "step": step, "element": hex(&element.0) })
        })
        .collect();
    let at = Position::checkpoint(3);
    let record = AnchorRecord::sign(&identity, 6, 3, full.element(at).unwrap());
    let mut anchor = Vec::new();
    record.encode(&mut anchor);
    json!({
        "originator_seed": hex(&[4; 32]),
        "originator": hex(identity.address().as_bytes()),
        "secret": hex(&[5; 32]),
        "generation": 6,
        "elements": elements,
        "anchor_of_seq_3": hex(&anchor),
    })
}

/// Of each AEAD for packets that this build has.
fn ciphers() -> Value {
    let all = u32::from(Suite::features(true));
    let suites = [
        Some(Suite::ChaCha20Poly1305),
        (Suite::agreed(all, all) == Suite::Aes256Gcm).then_some(Suite::Aes256Gcm),
    ];
    let one = |suite| {
        let cipher = PacketCipher::derive(suite, &SecretKey::new([8; 32]), "golden");
        let mut text = *b"twenty bytes of text";
        let tag = cipher.seal(&[9; 12], b"data", &mut text);
        (
            format!("{suite:?}"),
            json!({ "text": hex(&text), "tag": hex(&tag) }),
        )
    };
    Value::Object(suites.into_iter().flatten().map(one).collect())
}

fn files() -> [(&'static str, Value); 5] {
    [
        ("addresses.json", addresses()),
        (
            "link-handshakes.json",
            json!({ "open": handshake(None), "passphrase": handshake(Some(7)) }),
        ),
        ("link-frames.json", frames()),
        ("chain.json", chain()),
        ("ciphers.json", ciphers()),
    ]
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "vectors", name]
        .iter()
        .collect()
}

#[test]
fn every_byte_on_the_wire_is_as_in_the_golden_vectors() {
    for (name, made) in files() {
        let text = fs::read_to_string(path(name)).unwrap();
        let mut stored: Value = serde_json::from_str(&text).unwrap();
        // A build for a processor without AES has nothing to compare there.
        if let Some(Value::Object(made)) = (name == "ciphers.json").then_some(&made) {
            assert!(made.contains_key("ChaCha20Poly1305"));
            stored
                .as_object_mut()
                .unwrap()
                .retain(|key, _| made.contains_key(key));
        }
        assert_eq!(made, stored, "{name}");
    }
}

#[test]
#[ignore = "writes the golden vectors anew; set WARREN_WRITE_VECTORS=1"]
fn write_the_golden_vectors() {
    if std::env::var_os("WARREN_WRITE_VECTORS").is_none() {
        return;
    }
    for (name, made) in files() {
        let text = serde_json::to_string_pretty(&made).unwrap() + "\n";
        fs::write(path(name), text).unwrap();
    }
}
