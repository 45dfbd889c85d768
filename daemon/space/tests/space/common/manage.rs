//! Calls of a space's management over HTTP (NIP-86), as a program makes them.

use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::{BASE64, HEXLOWER};
use nostr::event::Event;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Person, SERVICE, TestSpace};

/// Makes every proof another, within the same second.
static NONCE: AtomicU32 = AtomicU32::new(0);

/// A proof of identity for a body, at a second.
pub fn proof(person: &Person, at: u32, body: &str) -> Event {
    let url = format!("http://{SERVICE}.warren/");
    let hash = HEXLOWER.encode(&Sha256::digest(body));
    let nonce = NONCE.fetch_add(1, Ordering::SeqCst).to_string();
    let tags: [&[&str]; 4] = [
        &["u", &url],
        &["method", "POST"],
        &["payload", &hash],
        &["nonce", &nonce],
    ];
    person.event_at(at, 27235, &tags, "")
}

impl TestSpace {
    /// Sends a body with a proof; gives the status line's number and the body of the answer.
    pub async fn post(&self, proof: Option<&Event>, body: &str) -> (u16, Value) {
        let authorization = proof.map_or(String::new(), |proof| {
            let json = serde_json::to_vec(proof).unwrap();
            format!("Authorization: Nostr {}\r\n", BASE64.encode(&json))
        });
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/nostr+json+rpc\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = self.stream();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Calls a method; `Err` with what the space says against it.
    pub async fn call(
        &self,
        person: &Person,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let body = json!({ "method": method, "params": params }).to_string();
        let now = self.now.load(Ordering::SeqCst) + 1;
        let (status, answer) = self.post(Some(&proof(person, now, &body)), &body).await;
        assert_eq!(status, 200, "{answer}");
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Calls a method that must succeed.
    pub async fn manage(&self, person: &Person, method: &str, params: Value) -> Value {
        self.call(person, method, params).await.unwrap()
    }

    /// Calls a method that must be refused, with this prefix.
    pub async fn not_managed(&self, person: &Person, method: &str, params: Value, prefix: &str) {
        let error = self.call(person, method, params).await.unwrap_err();
        assert!(error.starts_with(&format!("{prefix}: ")), "{error}");
    }
}
