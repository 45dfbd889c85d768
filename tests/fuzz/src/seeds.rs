//! Where fuzzing starts: the golden vectors, small programs for the targets that read programs, and texts as people and
//! programs write them. `seeds` (the program) writes them into the corpus.

use serde_json::Value;

use crate::node::Pair;

/// The golden vectors of the mesh.
const VECTORS: [&str; 6] = [
    include_str!("../../../mesh/tests/vectors/descriptors.json"),
    include_str!("../../../mesh/tests/vectors/inner-headers.json"),
    include_str!("../../../mesh/tests/vectors/link-frames.json"),
    include_str!("../../../mesh/tests/vectors/link-handshakes.json"),
    include_str!("../../../mesh/tests/vectors/messages.json"),
    include_str!("../../../mesh/tests/vectors/sessions.json"),
];
/// Longest vector that is worth mutating.
const LONGEST: usize = 1500;

/// What another home's relay says, with the tags that the feed reads, and what it says of a name; what people type.
const FEED: &[&str] = &[
    r#"["EVENT","n1",{"id":"0000000000000000000000000000000000000000000000000000000000000001","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1,"kind":1,"tags":[["e","0000000000000000000000000000000000000000000000000000000000000002","","root"],["e","0000000000000000000000000000000000000000000000000000000000000003","","reply"],["p","379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"]],"content":"x","sig":"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"}]"#,
    r#"["EVENT","who",{"id":"0000000000000000000000000000000000000000000000000000000000000001","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1,"kind":10002,"tags":[["r","ws://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren/","write"],["r","wss://x.example/"]],"content":"","sig":"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"}]"#,
    r#"["EOSE","n1","more"]"#,
    r#"["CLOSED","us","restricted: x"]"#,
    r#"{"names":{"ann":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"}}"#,
    "ann@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren",
    "nostr:npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6",
];

const CONFIG: &[&str] = &[
    "version = 1\nname = \"a\"\n",
    r#"version = 1
name = "garden"
state = "/var/lib/warren"
user = "warren"
[log]
level = "info"
[mesh]
passphrase_file = "/etc/warren/passphrase"
[[mesh.interface]]
name = "mesh0"
throughput = "100M"
raise_mtu = true
[mesh.udp]
listen = "[::]:4242"
peers = ["[::1]:4243"]
[network]
mode = "tun"
tun = "warren0"
open = ["tcp/5201", "udp/5201", "all"]
[control]
socket = "/run/warren/control.sock"
[web]
listen = ["127.0.0.1:8080", "unix:/path/http.sock"]
[[space]]
id = "garden"
name = "Garden club"
visible = true
port = 7447
"#,
];
/// Searches, with a text after a zero byte.
const SEARCHES: &[&str] = &[
    "red \"big ladder\" ladd* from:bob in:general has:image after:2026-01-31 x:y\0a red ladder",
    "東京 Äpfel before:1700000000\0東京都 apfel https://example.com/a.png",
];
/// Messages of a sync: nothing there, a fingerprint of all, a list of one id.
const SYNC: &[&[u8]] = &[
    &[0x61, 0, 0, 2, 0],
    &[
        0x61, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    ],
    b"\x61\x03\x00\x00\x00\x00\x02\x01abcdefghijklmnopqrstuvwxyz012345",
];
const UCI: &[&str] = &[
    "config warren 'main'\n\toption enabled '1'\n\toption name 'roof'\n\toption network 'tun'\n\tlist open 'tcp/22'\n",
    "config interface 'mesh0'\n\toption throughput \"100M\"\n\toption raise_mtu 'off'\n\nconfig udp\n\tlist peer '[::1]:4242'\n",
    "config space 'garden'\n\toption name 'It'\\''s'\n\toption port '7447'\n\toption visible '1'\n# a comment\n",
];
const CONTROL: &[&str] = &[
    r#"{"command":"status"}"#,
    r#"{"command":"neighbours"}"#,
    r#"{"command":"dance"}"#,
    r#"{"command":"status","more":1}"#,
];
const EVENT: &str = r#"{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1612809991,"kind":9,"tags":[["h","garden"],["e","70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5"],["expiration","1712809991"]],"content":"tea \u00e9 \ud83c\udf75","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}"#;
const METADATA: &str = r#"{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1,"kind":9002,"tags":[["h","garden"],["name","Garden"],["about","beds"],["private"],["closed"]],"content":"","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}"#;
const POLL: &str = r#"{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1,"kind":1068,"tags":[["h","garden"],["option","a","Apples"],["option","b","Pears"],["polltype","singlechoice"],["endsAt","1712809991"],["emoji","pear","http://x/p.png","30030:379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe:space"]],"content":"Which :pear:?","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}"#;
const MEETING: &str = r#"{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1,"kind":31922,"tags":[["h","garden"],["d","x"],["title","Harvest"],["start","2026-09-30"],["end","2026-10-02"]],"content":"","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}"#;
const CLIENT: &[&str] = &[
    r##"["REQ","a",{"kinds":[9,39000],"#h":["garden"],"since":1,"until":9,"limit":10}]"##,
    r#"["REQ","a",{"authors":["379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"]},{"ids":[]}]"#,
    r#"["CLOSE","a"]"#,
    r#"["COUNT","a",{"search":"tea"}]"#,
];
const CHANNEL: &[&str] = &[
    "\u{1}\0\0\0\u{1}{\"method\":\"POST\",\"path\":\"/api/1/x?y\",\"headers\":{\"accept\":\"*/*\"}}",
    "\u{1}\0\0\0\u{2}{\"socket\":\"/s/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/\"}",
    "\u{3}\0\0\0\u{1}data",
    "\u{4}\0\0\0\u{1}",
    "\u{5}\0\0\0\u{1}\u{1}",
    "\u{6}\0\0\0\u{1}\0\u{1}\0\0",
];
const WEB: &[&str] = &[
    "name=Ann+B%C3%A9&text=hello%21&channel=garden",
    "localhost:8080",
    "[fc00::1]:80",
    "warren.lan.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.localhost:8080",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren",
];
const TOKEN: &str = r#"{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1750000000,"kind":24242,"tags":[["t","upload"],["expiration","1750086400"],["x","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],["server","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren"],["h","garden"]],"content":"Upload","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}"#;
const FILE: &[&str] = &[
    "text/plain; charset=\"UTF-8\"; x=y",
    "cursor=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa&limit=5&since=1&until=2",
    r#"{"url":"http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.png"}"#,
    "http://127.0.0.1:8080/s/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Invitations, and what a space says of itself.
const INVITATIONS: &[&str] = &[
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/k3wq7yh2k3wq7yh2",
    "http://192.0.2.1:8080/i/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Stra%C3%9Fe%207?x#y",
    "{\"name\":\"Garden club\",\"description\":\"Beans\",\"icon\":\"http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.warren/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.png\"}",
];
/// Paths, names and the record of a site.
const SITES: &[&str] = &[
    "/",
    "/soups/bean%20soup.txt",
    "/%2e%2e/secret",
    "soups/old/bean soup.txt",
    "version = 1\nname = \"Recipes\"\nvisible = true\nport = 7448\nfrom = \"/home/ann/recipes\"\nnumber = 3\npublished = 1750000000\n",
];
const CALLS: &[&str] = &[
    r#"{"name":"Ann","passphrase":"correct horse","device":"phone","session":"bearer"}"#,
    r#"{"name":"\u0410nn \uff21","handle":null,"findable":true,"relays":["wss://relay.example"]}"#,
    r#"{"old":"correct horse","new":"another horse","log_out_others":true}"#,
    r#"{"document":{},"document_passphrase":"for the journey","passphrase":"correct horse"}"#,
    r#"{"passphrase":"correct horse","document_passphrase":"for the journey"}"#,
    r#"{"name":"Notes","permissions":["sign_event:1","nip44_encrypt"]}"#,
    r#"{"uri":"nostrconnect://379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe?relay=ws%3A%2F%2Fh%2Fsigner&secret=s","permissions":[]}"#,
    r#"{"allow":true,"remember":true}"#,
    r#"{"method":"sign_event","params":["{}"]}"#,
    r#"{"client_id":"1","to":["379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"],"text":"hello","subject":"Ladders"}"#,
    r#"{"client_id":"2","conversation":"00112233445566778899aabbccddeeff","file":{"url":"http://h/x","type":"image/jpeg","key":"00","nonce":"00","hash":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"}}"#,
    r#"{"client_id":"3","reaction":{"message":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","text":"+"}}"#,
    r#"{"person":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","blocked":true}"#,
    r#"{"muted":true,"accepted":true}"#,
];
const ACCOUNTS: &[&str] = &[
    r#"{"version":1,"id":"00112233445566778899aabbccddeeff","name":"Ann","handle":"ann","findable":false,"relays":[],"created":1,"public_key":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","key":{"kib":8192,"passes":1,"salt":"00","nonce":"00","sealed":"00"},"devices":[{"id":"00112233445566778899aabbccddeeff","name":"","created":1,"seen":1,"key":null}],"signer":"0101010101010101010101010101010101010101010101010101010101010101","apps":[{"id":"0011223344556677","client":null,"secret":"00","name":"Notes","url":"","created":1,"seen":0,"permissions":["sign_event:1"],"asked":[]}]}"#,
    r#"{"warren_account":1,"public_key":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","kib":8192,"passes":1,"salt":"00","nonce":"00","sealed":"00"}"#,
    r#"{"version":1,"name":"Ann","handle":null,"findable":false,"relays":[],"key":"0101010101010101010101010101010101010101010101010101010101010101","signer":"0101010101010101010101010101010101010101010101010101010101010101","apps":[]}"#,
];
const SIGNER: &[&str] = &[
    r##"["REQ","a",{"kinds":[24133],"#p":["379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"],"limit":0}]"##,
    r#"["CLOSE","a"]"#,
    r#"{"id":"1","method":"connect","params":["379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","s","sign_event:1,nip44_encrypt","{\"name\":\"Notes\"}"]}"#,
    r#"{"id":7,"method":"sign_event","params":["{\"kind\":1,\"content\":\"hi\",\"tags\":[[\"t\",\"x\"]],\"created_at\":5}"]}"#,
    r#"{"id":"3","method":"nip44_decrypt","params":["379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","x"]}"#,
    "nostrconnect://379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe?relay=wss%3A%2F%2Fb&perms=nip44_encrypt%2Csign_event%3A1&name=My+Client&secret=0s8j2djs",
];
const MAIL: &[&str] = &[
    "warren messages 1\n0000000000000000 {}\n",
    r#"{"is":"done","wrap":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","at":1}"#,
    r#"{"is":"opened","wrap":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","at":1,"sealed":"AAAA"}"#,
    r#"{"is":"sent","wrap":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","by":"home"}"#,
    r#"{"is":"space","service":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","belongs":true,"permits":false}"#,
    r#"{"is":"wrap","stranger":true,"event":{"id":"70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5","pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":1612809991,"kind":9,"tags":[["h","garden"],["e","70b10f70c1318967eddf12527799411b1a9780ad9c43858f5e5fcd45486a13a5"],["expiration","1712809991"]],"content":"tea \u00e9 \ud83c\udf75","sig":"273a9cd5d11455590f4359500bccb7a89428262b96b3ea87a756b770964472f8c3e87f5d5e64d8d2e859a71462a3f477b554565c4f2f326cb01dd7620db71502"}}"#,
    r#"{"pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":5,"kind":14,"tags":[["subject","x"],["ms","12"]],"content":"hello"}"#,
    r#"{"pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":5,"kind":4241,"tags":[["e","379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"],["state","read"]],"content":""}"#,
    r#"{"pubkey":"379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe","created_at":5,"kind":5,"tags":[["e","379e863e8357163b5bce5d2688dc4f1dcc2d505222fb8d74db600f30535dfdfe"]],"content":""}"#,
];
const MANAGEMENT: &[&str] = &[
    r#"{"method":"supportedmethods","params":[]}"#,
    r#"{"method":"createrole","params":["gardener","Gardener","waters",120,300,["pin","kick"]]}"#,
    r#"{"method":"setfilters","params":[{"words":["*spam","bad thing"],"links":["example.org"]}]}"#,
    "Nostr eyJraW5kIjoyNzIzNX0=",
];
const WEBHOOK: &[&str] = &[
    r#"{"content":"the build is red","username":"Builds","avatar_url":"http://x","embeds":[{"title":"a"}]}"#,
    r#"{"content":"\u202e\ud83d\ude00","username":null}"#,
];
const FILTERS: &[&str] = &[
    "weed\n*spam\nbad thing\n\nw\u{435}ed, NoSpammer! https://ex\u{200b}ample.org:80/x?y",
    "example.org\n\n{\"name\":\"\u{202e}nimda\",\"display_name\":\"\u{1f469}\u{200d}\u{1f33e}\"}",
];
const MAPS: &[&str] = &[
    r#"{"nodes":[{"id":"a"},{"id":7,"name":"x"}],"links":[{"source":"a","target":7,"source_tq":0.5,"target_tq":1}]}"#,
    r#"{"nodes":[{"id":1},{"id":1}],"links":[]}"#,
];

/// The bytes of all hexadecimal texts in a JSON value.
fn bytes_in(value: &Value, all: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => {
            if let Ok(bytes) = data_encoding::HEXLOWER.decode(text.as_bytes())
                && (4..=LONGEST).contains(&bytes.len())
            {
                all.push(bytes);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| bytes_in(value, all)),
        Value::Object(fields) => fields.values().for_each(|value| bytes_in(value, all)),
        _ => {}
    }
}

/// A program of one operation that takes sized bytes.
fn operation(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u16).to_be_bytes();
    [before, &len, bytes].concat()
}

/// A TCP packet, as a program sends it.
fn packet(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([6, 64]);
    packet.extend([0xfc; 16]);
    packet.extend([0xfc; 15]);
    packet.push(1);
    packet.extend([0x1f, 0x90, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10]);
    packet.extend([0x10, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    packet
}

/// A segment of a journal with one record.
fn segment(payload: &[u8]) -> Vec<u8> {
    let sum = |bytes: &[u8]| blake3::hash(bytes).as_bytes()[..4].to_vec();
    let mut header = b"WRNJRNL\0\0\x01\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    header.extend(sum(&header));
    let mut record = (payload.len() as u32).to_be_bytes().to_vec();
    record.extend([1, 0, 0, 0]);
    record.extend(sum(payload));
    record.extend(sum(&record));
    [&header[..], &record, payload].concat()
}

/// An event as a space keeps it.
fn stored(event: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for field in ["id", "pubkey", "sig"] {
        let hex = event[field].as_str().unwrap_or_default();
        out.extend(
            data_encoding::HEXLOWER
                .decode(hex.as_bytes())
                .unwrap_or_default(),
        );
    }
    out.extend(
        event["created_at"]
            .as_u64()
            .unwrap_or_default()
            .to_be_bytes(),
    );
    out.extend((event["kind"].as_u64().unwrap_or_default() as u16).to_be_bytes());
    out.extend(b"\x06garden");
    let tags = event["tags"].to_string();
    out.extend((tags.len() as u32).to_be_bytes());
    out.extend(tags.as_bytes());
    out.extend(event["content"].as_str().unwrap_or_default().as_bytes());
    out
}

/// Every seed: the target it is for, and its bytes.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut vectors = Vec::new();
    for text in VECTORS {
        let value = serde_json::from_str(text).expect("the vectors are JSON");
        bytes_in(&value, &mut vectors);
    }
    let mut seeds = Vec::new();
    for bytes in &vectors {
        match bytes[0] >> 4 {
            1 => {
                seeds.push(("frames", operation(&[0, 0], bytes)));
                seeds.push(("handshake", [&[7], &bytes[..]].concat()));
                seeds.push(("handshake", [&[0], &bytes[..]].concat()));
                seeds.push(("sessions", operation(&[0x20], bytes)));
            }
            0 => {
                seeds.push(("messages", bytes.clone()));
                seeds.push(("routing", operation(&[7], bytes)));
                seeds.push(("frames", operation(&[0, 9], bytes)));
            }
            _ => seeds.push(("sessions", operation(&[0x23], bytes))),
        }
        if bytes.len() >= 6 {
            seeds.push(("packet", [&[0; 9], &bytes[..6]].concat()));
        }
        for record in ["anchor", "descriptor", "service"] {
            if bytes.len() >= 100 && [1, 2].contains(&bytes[0]) {
                seeds.push((record, bytes.clone()));
            }
        }
    }
    for datagram in Pair::new(true).captured().iter().take(24) {
        seeds.push(("frames", operation(&[1, 0x80], datagram)));
    }
    // Genuine traffic in between: packets, time, a spoiled copy.
    let mut life = operation(&[0, 13], b"hello");
    life.extend([8, 3, 0xe8, 5, 3, 0, 9, 1, 0, 0, 15]);
    life.extend(operation(&[0x8d], b"hello"));
    life.extend([8, 0xff, 0xff, 6, 9, 0, 0, 0, 4, 0]);
    seeds.push(("frames", life));
    let mut life = operation(&[11], b"hello");
    life.extend([15, 4, 0, 0, 9, 1, 0, 0, 15, 5, 1, 0, 0, 0, 0, 0]);
    life.extend([9, 15, 8, 7, 0x10, 0x8d, 0, 1, 7, 15]);
    seeds.push(("sessions", life));
    for stage in [1, 2, 3, 4, 5, 6, 0x85, 0x86] {
        seeds.push(("handshake", [&[stage], &[0; 40][..]].concat()));
        seeds.push(("handshake", vec![stage, 0, 40, 1, 0, 0, 0, 5, 1, 2, 3]));
    }
    let mut life = Vec::new();
    for place in 0..12 {
        life.extend([0x34, 0, place, 127, 0, 0, 0, 0]);
        life.extend([0x33, 0, place, 9, 0x11, 0, 0, 0]);
        life.extend([10, 1, 0, 0x73, 0, place, 30, 0x12, 0, 0, 0]);
    }
    life.extend([12, 10, 1, 0, 12, 11, 1, 0, 15, 0]);
    seeds.push(("routing", life));

    let tcp = packet(b"hello");
    seeds.push((
        "packet",
        [&[0, 60, 1, 0, 40, 0, 16, 5, 0], &[0; 6][..], &tcp].concat(),
    ));
    seeds.push((
        "packet",
        [&[0, 40, 0, 0, 0, 0, 0, 5, 0], &[0; 6][..], &tcp].concat(),
    ));
    let mut gate = operation(&[2, 1, 6], &tcp[40..]);
    gate.extend(operation(&[0, 1, 6], &tcp[40..]));
    gate.extend(operation(&[2, 1, 6], &tcp[40..]));
    gate.extend(operation(&[2, 2, 44], &[6, 0, 0, 1, 0, 0, 0, 9, 1, 2]));
    seeds.push(("gate", gate));
    let vnet: Vec<u8> = [1_u16 | 4 << 8, 60, 2, 40, 16]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    seeds.push(("segment", [&vnet[..], &tcp].concat()));
    let mut joined = vec![1];
    for _ in 0..3 {
        joined.extend(operation(&[40, 16], &tcp));
    }
    seeds.push(("coalesce", joined));

    let texts: [(&'static str, &[&str]); 12] = [
        ("config", CONFIG),
        ("uci", UCI),
        ("control", CONTROL),
        ("client", CLIENT),
        ("web", WEB),
        ("channel", CHANNEL),
        ("file", FILE),
        ("management", MANAGEMENT),
        ("filters", FILTERS),
        ("webhook", WEBHOOK),
        ("map", MAPS),
        ("search", SEARCHES),
    ];
    for (name, texts) in texts {
        seeds.extend(texts.iter().map(|text| (name, text.as_bytes().to_vec())));
    }
    let of_homes = [
        ("call", CALLS),
        ("account", ACCOUNTS),
        ("signer", SIGNER),
        ("feed", FEED),
        ("invitation", INVITATIONS),
        ("site", SITES),
        ("mail", MAIL),
    ];
    for (name, texts) in of_homes {
        seeds.extend(texts.iter().map(|text| (name, text.as_bytes().to_vec())));
    }
    for event in [EVENT, METADATA, POLL, MEETING] {
        for verb in ["EVENT", "AUTH"] {
            seeds.push(("client", format!("[\"{verb}\",{event}]").into_bytes()));
        }
        let value: Value = serde_json::from_str(event).expect("the events are JSON");
        let stored = stored(&value);
        seeds.push(("event", stored.clone()));
        seeds.push(("journal", segment(&stored)));
        let content = value["content"].as_str().unwrap_or_default();
        seeds.push(("web", content.as_bytes().to_vec()));
    }
    for event in [EVENT, TOKEN] {
        let encoded = data_encoding::BASE64URL_NOPAD.encode(event.as_bytes());
        seeds.push(("authorization", format!("Nostr {encoded}").into_bytes()));
    }
    for range in ["bytes=0-499", "bytes=-500", "bytes=9500-", "bytes=0-0,-1"] {
        let size = 10_000_u64.to_be_bytes();
        seeds.push(("range", [&size[..], range.as_bytes()].concat()));
    }
    for message in SYNC {
        seeds.push(("sync", message.to_vec()));
    }
    seeds.push(("keyfile", b"warren-number 1 17\n".to_vec()));
    seeds
}
