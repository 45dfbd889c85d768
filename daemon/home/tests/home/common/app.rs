//! An app that has a home's signer sign (NIP-46), over a real socket.

use std::collections::HashMap;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip44;
use nostr::nips::nip46::{NostrConnectMessage, NostrConnectUri};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::http::Program;
use super::{PASS, PATIENCE, TestHome};

/// An app with a key of its own and one connection to the signer's relay.
pub struct App {
    pub keys: Keys,
    pub signer: PublicKey,
    pub secret: String,
    pub socket: WebSocketStream<TcpStream>,
    pub count: u32,
    /// Answers that came before somebody waited for them.
    pub early: HashMap<String, Result<String, String>>,
}

pub async fn socket(home: &TestHome) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(home.address).await.unwrap();
    let url = format!("ws://{}/signer", home.address);
    tokio_tungstenite::client_async(url, stream)
        .await
        .unwrap()
        .0
}

pub async fn say(socket: &mut WebSocketStream<TcpStream>, message: &Value) {
    socket
        .send(Message::Text(message.to_string().into()))
        .await
        .unwrap();
}

pub async fn hear(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
        {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            _ => continue,
        }
    }
}

impl App {
    /// An app with this key that was given this address.
    pub async fn open(home: &TestHome, keys: &Keys, uri: &str) -> Self {
        let NostrConnectUri::Bunker {
            remote_signer_public_key,
            secret,
            relays,
        } = NostrConnectUri::parse(uri).unwrap()
        else {
            panic!("{uri}");
        };
        assert!(relays[0].to_string().ends_with("/signer"), "{uri}");
        let mut socket = socket(home).await;
        let key = keys.public_key().to_hex();
        say(&mut socket, &json!(["REQ", "answers", {"kinds": [24133], "#p": [key], "authors": [remote_signer_public_key], "limit": 0}])).await;
        assert_eq!(hear(&mut socket).await, json!(["EOSE", "answers"]));
        Self {
            keys: keys.clone(),
            signer: remote_signer_public_key,
            secret: secret.unwrap_or_default(),
            socket,
            count: 0,
            early: HashMap::new(),
        }
    }

    pub fn event(&self, content: &str) -> Event {
        let content = nip44::encrypt(
            self.keys.secret_key(),
            &self.signer,
            content,
            nip44::Version::V2,
        )
        .unwrap();
        let tag = Tag::parse(["p", &self.signer.to_hex()]).unwrap();
        EventBuilder::new(Kind::NostrConnect, content)
            .tags([tag])
            .finalize(&self.keys)
            .unwrap()
    }

    /// Sends a request; its id.
    pub async fn send(&mut self, method: &str, params: &[&str]) -> String {
        self.count += 1;
        let id = format!("{}-{method}", self.count);
        let event = self.event(&json!({"id": id, "method": method, "params": params}).to_string());
        say(&mut self.socket, &json!(["EVENT", event])).await;
        id
    }

    /// The answer to a request.
    pub async fn answer(&mut self, id: &str) -> Result<String, String> {
        loop {
            if let Some(answer) = self.early.remove(id) {
                return answer;
            }
            let message = hear(&mut self.socket).await;
            if message[0] == "OK" {
                assert_eq!(message[2], true, "{message}");
                continue;
            }
            assert_eq!(message[0], "EVENT", "{message}");
            let event: Event = serde_json::from_value(message[2].clone()).unwrap();
            assert!(event.verify().is_ok() && event.pubkey == self.signer);
            let text =
                nip44::decrypt(self.keys.secret_key(), &self.signer, &event.content).unwrap();
            let NostrConnectMessage::Response {
                id: to,
                result,
                error,
            } = NostrConnectMessage::from_json(&text).unwrap()
            else {
                panic!("{text}");
            };
            self.early
                .insert(to, error.map_or(Ok(result.unwrap_or_default()), Err));
        }
    }

    pub async fn ask(&mut self, method: &str, params: &[&str]) -> Result<String, String> {
        let id = self.send(method, params).await;
        self.answer(&id).await
    }

    pub async fn connect(&mut self) -> Result<String, String> {
        let (signer, secret) = (self.signer.to_hex(), self.secret.clone());
        self.ask("connect", &[&signer, &secret]).await
    }

    pub async fn refused(&mut self, method: &str, params: &[&str]) -> String {
        self.ask(method, params)
            .await
            .unwrap_err()
            .split_once(':')
            .unwrap()
            .0
            .to_owned()
    }
}

pub fn note(kind: u16, content: &str) -> String {
    json!({"kind": kind, "content": content, "tags": [], "created_at": 1_714_078_911}).to_string()
}

/// A person and an app that was given an address with these permissions, not connected yet.
pub async fn ann_and_app<'a>(home: &'a TestHome, permissions: &[&str]) -> (Program<'a>, App) {
    let ann = Program::sign_up(home, "Ann", PASS).await;
    let uri = offer(&ann, permissions).await;
    let app = App::open(home, &Keys::generate(), &uri).await;
    (ann, app)
}

pub async fn offer(person: &Program<'_>, permissions: &[&str]) -> String {
    let offer = person
        .done(
            "POST",
            "apps",
            &json!({"name": "Notes", "permissions": permissions}),
        )
        .await;
    offer["uri"].as_str().unwrap().to_owned()
}

/// Waits until a request of an app waits for the person.
pub async fn waiting(person: &Program<'_>) -> Value {
    let looking = async {
        loop {
            let list = person.done("GET", "requests", &Value::Null).await;
            if let Some(request) = list["requests"].as_array().unwrap().first() {
                return request.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap()
}
