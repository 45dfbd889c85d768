//! A Nostr program that reaches a space through the home's page server.

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::Keys;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::daemon::PATIENCE;

/// Somebody with a connection to a space.
pub struct Client {
    pub keys: Keys,
    socket: WebSocketStream<TcpStream>,
}

pub fn event(keys: &Keys, kind: u16, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags
        .iter()
        .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
    let unsigned = UnsignedEvent::new(
        keys.public_key(),
        Timestamp::now(),
        Kind::from_u16(kind),
        tags,
        content,
    );
    keys.sign_event(unsigned).unwrap()
}

impl Client {
    /// Connects through the home at `web` and proves who it is; `None` when nobody serves the space.
    pub async fn try_connect(web: u16, service: &str, keys: &Keys) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", web)).await.unwrap();
        let url = format!("ws://127.0.0.1:{web}/s/{service}/");
        let (socket, _) = tokio_tungstenite::client_async(&url, stream).await.ok()?;
        let mut client = Self {
            keys: keys.clone(),
            socket,
        };
        let challenge = client.next().await;
        assert_eq!(challenge[0], "AUTH");
        let relay = format!("ws://{service}.warren/");
        let challenge = challenge[1].as_str().unwrap();
        let proof = event(
            keys,
            22242,
            &[&["relay", &relay], &["challenge", challenge]],
            "",
        );
        client.send(json!(["AUTH", proof])).await;
        assert!(client.answer().await.0, "it is who it says");
        Some(client)
    }

    pub async fn connect(web: u16, service: &str, keys: &Keys) -> Self {
        Self::try_connect(web, service, keys)
            .await
            .expect("the space is served")
    }

    async fn send(&mut self, message: Value) {
        let message = Message::text(message.to_string());
        self.socket.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match message.unwrap().unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(_) => panic!("the space hung up"),
                _ => {}
            }
        }
    }

    async fn answer(&mut self) -> (bool, String) {
        loop {
            let answer = self.next().await;
            if answer[0] == "OK" {
                let reason = answer[3].as_str().unwrap().to_owned();
                return (answer[2].as_bool().unwrap(), reason);
            }
        }
    }

    /// Hands in an event, which must be taken.
    pub async fn publish(&mut self, event: &Event) {
        self.send(json!(["EVENT", event])).await;
        let (taken, reason) = self.answer().await;
        assert!(taken, "{reason}");
    }

    /// Hands in an event and gives the answer.
    pub async fn offer(&mut self, event: &Event) -> (bool, String) {
        self.send(json!(["EVENT", event])).await;
        self.answer().await
    }

    /// One call of the space's management (NIP-86), through the home at `web`.
    pub fn manage(&self, web: u16, service: &str, method: &str, params: Value) -> Value {
        let body = json!({"method": method, "params": params}).to_string();
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(body.as_bytes()));
        let url = format!("http://{service}.warren/");
        let tags: [&[&str]; 3] = [&["u", &url], &["method", "POST"], &["payload", &hash]];
        let proof = event(&self.keys, 27235, &tags, "");
        let proof = serde_json::to_string(&proof).unwrap();
        let proof = format!("Nostr {}", data_encoding::BASE64.encode(proof.as_bytes()));
        let headers = [
            ("Content-Type", "application/nostr+json+rpc"),
            ("Authorization", proof.as_str()),
        ];
        let host = format!("{service}.localhost:{web}");
        super::web::ask(web, &host, "POST", "/", &headers, &body).json()
    }

    /// Joins the first channel.
    pub async fn join(&mut self) {
        let join = event(&self.keys, 9021, &[&["h", "general"]], "");
        self.publish(&join).await;
    }

    /// Writes into the first channel.
    pub async fn write(&mut self, words: &str) -> Event {
        let said = event(&self.keys, 9, &[&["h", "general"]], words);
        self.publish(&said).await;
        said
    }

    /// All events that a filter finds.
    pub async fn query(&mut self, filter: Value) -> Vec<Value> {
        self.send(json!(["REQ", "q", filter])).await;
        let mut found = Vec::new();
        loop {
            let mut answer = self.next().await;
            match answer[0].as_str() {
                Some("EVENT") => found.push(answer[2].take()),
                Some("EOSE") => return found,
                Some("CLOSED") => panic!("{answer}"),
                _ => {}
            }
        }
    }

    /// What was written into the first channel, sorted.
    pub async fn words(&mut self) -> Vec<String> {
        let found = self.query(json!({"kinds": [9], "#h": ["general"]})).await;
        let mut words: Vec<String> = found
            .iter()
            .map(|event| event["content"].as_str().unwrap().to_owned())
            .collect();
        words.sort();
        words
    }
}
