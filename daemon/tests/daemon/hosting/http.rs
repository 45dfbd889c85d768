//! HTTP as a program speaks it to a home: one request a connection, and an answer only if all of it came.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use nostr::key::Keys;
use nostr::types::Timestamp;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::event;

/// The name of a file: its SHA-256.
pub fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// What came back, to its last byte.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let lines = self.head.lines();
        let mut found = lines.filter_map(|line| line.split_once(": "));
        let value = found.find(|(key, _)| key.eq_ignore_ascii_case(name));
        value.map_or(String::new(), |(_, value)| value.to_owned())
    }

    /// What it says, for the message of a failed test.
    pub fn text(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!(
            "{} {}",
            self.head,
            body.chars().take(300).collect::<String>()
        )
    }
}

/// The header of somebody who may do this with a file (BUD-11).
pub fn blob_proof(keys: &Keys, verb: &str, name: &str) -> String {
    let end = (Timestamp::now().as_secs() + 3600).to_string();
    let proof = event(
        keys,
        24242,
        &[&["t", verb], &["expiration", &end], &["x", name]],
        "",
    );
    let proof = serde_json::to_vec(&proof).unwrap();
    format!(
        "Authorization: Nostr {}\r\n",
        BASE64URL_NOPAD.encode(&proof)
    )
}

/// Asks. `None`: the connection ended before the answer was whole, as when the daemon is killed.
pub async fn ask(web: u16, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", web)).await.ok()?;
    let length = match method {
        "GET" | "HEAD" => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let answer = Answer {
        status: std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()?,
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
        body: bytes.split_off(end + 4),
    };
    let is_whole =
        method == "HEAD" || answer.header("content-length").parse() == Ok(answer.body.len());
    (is_whole || answer.status == 204).then_some(answer)
}
