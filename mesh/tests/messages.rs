//! Golden vectors of every message that control and broadcast frames hold. A changed byte is a change of protocol. To
//! write the file anew after a deliberate one:
//! `WARREN_WRITE_VECTORS=1 cargo test -p warren-mesh --test messages -- --ignored`.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use warren_mesh::crypto::SecretKey;
use warren_mesh::identity::{MeshIdentity, ShortId};
use warren_mesh::message::{
    Entry, EntryRoute, Heard, Hello, LinkDown, MAX_LIST, Message, Ogm, Request, WireFreshness,
};
use warren_mesh::routing::anchor::AnchorRecord;
use warren_mesh::routing::chain::{HashChain, Position};
use warren_mesh::routing::metric::{Cost, MAX_COST};

const GENERATION: u32 = 0x0001_0203;

fn originator() -> MeshIdentity {
    MeshIdentity::from_seed(&[4; 32])
}

fn chain() -> HashChain {
    HashChain::new(&SecretKey::new([5; 32]), originator().address(), GENERATION)
}

fn freshness(seq: u16) -> WireFreshness {
    WireFreshness {
        generation: GENERATION as u16,
        seq,
    }
}

fn short(byte: u8) -> ShortId {
    ShortId([byte; 8])
}

fn hello(heard: Vec<Heard>) -> Message {
    Message::Hello(Hello {
        seq: 0x1122,
        interval_ms: 4000,
        version: 0x3344_5566,
        mtu_class: 7,
        heard,
    })
}

fn advertised(chain: &mut HashChain, seq: u16, step: u8, cost: u32) -> Entry {
    Entry {
        originator: originator().short_id(),
        freshness: freshness(seq),
        route: Some(EntryRoute {
            step,
            cost: Cost::from_wire(Cost(cost).to_wire()),
            mtu_class: 4,
            next_hop_hint: 0xabc,
            element: chain.element(Position { seq, step }).unwrap(),
        }),
    }
}

fn retracted() -> Entry {
    Entry {
        originator: short(0xee),
        freshness: freshness(9),
        route: None,
    }
}

fn request(byte: u8) -> Request {
    Request {
        originator: short(byte),
        freshness: freshness(1024),
        hops: 64,
    }
}

/// Every message, with a name a person can read.
fn messages() -> Vec<(&'static str, Message)> {
    let mut chain = chain();
    let heard = |hint, quality| Heard { hint, quality };
    let anchor = chain.element(Position::checkpoint(3)).unwrap();
    vec![
        ("hello to nobody", hello(Vec::new())),
        (
            "hello that heard two",
            hello(vec![heard(0x0102, 255), heard(0xfffe, 0)]),
        ),
        (
            "ogm that advertises itself",
            Message::Ogm(Ogm {
                version: 1,
                cover: Some((0, 1)),
                entries: vec![advertised(&mut chain, 1, 0, 0)],
            }),
        ),
        (
            "ogm that advertises two and retracts one",
            Message::Ogm(Ogm {
                version: 0x0a0b_0c0d,
                cover: Some((0x0a0b_0c00, 0x0a0b_0c0d)),
                entries: vec![
                    advertised(&mut chain, 2, 17, 17),
                    retracted(),
                    advertised(&mut chain, 1024, 126, MAX_COST.0),
                ],
            }),
        ),
        (
            "ogm that answers a request",
            Message::Ogm(Ogm {
                version: 5,
                cover: None,
                entries: vec![advertised(&mut chain, 4, 64, 4097)],
            }),
        ),
        (
            "ogm that covers versions without entries",
            Message::Ogm(Ogm {
                version: 8,
                cover: Some((6, 8)),
                entries: Vec::new(),
            }),
        ),
        (
            "two requests",
            Message::Requests(vec![request(3), request(4)]),
        ),
        ("sync", Message::Sync(0x0102_0304)),
        ("probe", Message::Probe),
        ("reliable", Message::Reliable(0x0708)),
        ("ack", Message::Ack(0x0708)),
        (
            "link down",
            Message::LinkDown(LinkDown {
                from: short(1),
                to: short(2),
                hops: 64,
                link_index: 0x1112_1314,
                number: 1,
                tag: [0x99; 16],
            }),
        ),
        (
            "anchor request",
            Message::AnchorRequest(vec![short(7), short(8)]),
        ),
        (
            "anchor",
            Message::Anchor(AnchorRecord::sign(&originator(), GENERATION, 3, anchor)),
        ),
        ("goodbye", Message::Goodbye),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

fn made() -> Value {
    let list: Vec<_> = messages()
        .iter()
        .map(|(name, message)| json!({ "name": name, "bytes": hex(&encoded(message)) }))
        .collect();
    json!({
        "originator_seed": hex(&[4; 32]),
        "chain_secret": hex(&[5; 32]),
        "generation": GENERATION,
        "messages": list,
    })
}

fn path() -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests",
        "vectors",
        "messages.json",
    ]
    .iter()
    .collect()
}

fn stored() -> Value {
    serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap()
}

#[test]
fn every_message_is_written_as_in_the_golden_vectors() {
    assert_eq!(made(), stored());
}

#[test]
fn every_golden_vector_is_read_as_the_message_it_names() {
    let stored = stored();
    let list = stored["messages"].as_array().unwrap();
    assert_eq!(list.len(), messages().len());
    for ((name, message), vector) in messages().into_iter().zip(list) {
        assert_eq!(vector["name"], *name);
        let bytes = unhex(vector["bytes"].as_str().unwrap());
        assert_eq!(Message::decode_all(&bytes), Ok(vec![message]), "{name}");
    }
}

#[test]
fn all_messages_fit_one_frame_behind_each_other() {
    let all: Vec<_> = messages().into_iter().map(|(_, message)| message).collect();
    let bytes: Vec<u8> = all.iter().flat_map(encoded).collect();
    assert_eq!(Message::decode_all(&bytes), Ok(all));
}

#[test]
fn no_cut_message_is_taken_for_a_whole_one() {
    for (name, message) in messages() {
        let bytes = encoded(&message);
        for len in 1..bytes.len() {
            assert!(Message::decode_all(&bytes[..len]).is_err(), "{name}, {len}");
        }
    }
}

#[test]
fn a_list_longer_than_allowed_is_refused_and_never_written() {
    let ids = vec![short(1); MAX_LIST + 1];
    let bytes = encoded(&Message::AnchorRequest(ids));
    let Ok(read) = Message::decode_all(&bytes) else {
        panic!("what is written can be read")
    };
    assert_eq!(read, [Message::AnchorRequest(vec![short(1); MAX_LIST])]);
    let mut longer = bytes;
    longer[1] = MAX_LIST as u8 + 1;
    longer.extend([1; 8]);
    assert!(Message::decode_all(&longer).is_err());
}

#[test]
#[ignore = "writes the golden vectors anew; set WARREN_WRITE_VECTORS=1"]
fn write_the_golden_vectors() {
    if std::env::var_os("WARREN_WRITE_VECTORS").is_none() {
        return;
    }
    let text = serde_json::to_string_pretty(&made()).unwrap() + "\n";
    fs::write(path(), text).unwrap();
}
