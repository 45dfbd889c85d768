//! A Nostr client over an in-memory stream, and a space in a directory that goes away with the test.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

pub mod channels;
pub mod house;
pub mod manage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::{Keys, SecretKey};
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use warren_space::{Limits, Space, SpaceConfig};

pub const SERVICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Longest wait for something that must come. No test passes because of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A space whose clock stands where the test puts it.
pub struct TestSpace {
    pub dir: tempfile::TempDir,
    pub now: Arc<AtomicU32>,
    pub space: Option<Arc<Space>>,
    pub config: SpaceConfig,
}

pub const START: u32 = 1_750_000_000;

impl TestSpace {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut SpaceConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = SpaceConfig {
            dir: dir.path().join("space"),
            name: "Garden club".into(),
            about: "All about gardens".into(),
            service: SERVICE.into(),
            owner: None,
            limits: Limits::default(),
            stores: warren_space::stores::Stores::default(),
        };
        change(&mut config);
        let mut this = Self {
            dir,
            now: Arc::new(AtomicU32::new(START)),
            space: None,
            config,
        };
        this.open();
        this
    }

    pub fn open(&mut self) {
        let now = Arc::clone(&self.now);
        let clock = Arc::new(move || u64::from(now.load(Ordering::SeqCst)));
        self.space = Some(Space::open(self.config.clone(), clock).unwrap());
    }

    pub fn restart(&mut self) {
        self.space().close();
        self.space = None;
        self.open();
    }

    pub fn space(&self) -> &Arc<Space> {
        self.space.as_ref().unwrap()
    }

    pub fn stream(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(Arc::clone(self.space()).serve(theirs));
        ours
    }

    pub async fn connect(&self) -> Client {
        Client::over(self.stream()).await
    }

    /// A connection on which somebody has proved to be `person`.
    pub async fn connect_as(&self, person: &Person) -> Client {
        let mut client = self.connect().await;
        client.log_in(person).await;
        client
    }

    /// The same, and the person has joined the first channel.
    pub async fn member(&self, person: &Person) -> Client {
        let mut client = self.connect_as(person).await;
        client.join(person, "general").await;
        client
    }
}

pub struct Person(pub Keys);

impl Person {
    pub fn new(number: u16) -> Self {
        let mut secret = [0; 32];
        secret[30..].copy_from_slice(&number.max(1).to_be_bytes());
        Self(Keys::new(SecretKey::from_slice(&secret).unwrap()))
    }

    pub fn hex(&self) -> String {
        self.0.public_key().to_hex()
    }

    pub fn event_at(&self, created_at: u32, kind: u16, tags: &[&[&str]], content: &str) -> Event {
        let tags = tags
            .iter()
            .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
        let created_at = Timestamp::from_secs(created_at.into());
        let unsigned = UnsignedEvent::new(
            self.0.public_key(),
            created_at,
            Kind::from_u16(kind),
            tags,
            content,
        );
        self.0.sign_event(unsigned).unwrap()
    }

    pub fn event(&self, kind: u16, tags: &[&[&str]], content: &str) -> Event {
        self.event_at(START, kind, tags, content)
    }
}

pub struct Client {
    socket: WebSocketStream<DuplexStream>,
    pub challenge: String,
    questions: u32,
}

impl Client {
    pub async fn over(stream: DuplexStream) -> Self {
        let (socket, _) =
            tokio_tungstenite::client_async(format!("ws://{SERVICE}.warren/"), stream)
                .await
                .unwrap();
        let mut this = Self {
            socket,
            challenge: String::new(),
            questions: 0,
        };
        let auth = this.next().await;
        assert_eq!(auth[0], "AUTH");
        this.challenge = auth[1].as_str().unwrap().to_owned();
        this
    }

    pub async fn send(&mut self, message: Value) {
        self.send_text(message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        // When the other side has hung up, the next read says so.
        let _ = self.socket.send(Message::Text(text.into())).await;
    }

    /// The next message; `Value::Null` when the connection ended.
    pub async fn next(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("a message was expected");
            match message {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Publishes and waits for the answer; live events that come first are given back too.
    pub async fn publish(&mut self, event: &Event) -> (bool, String) {
        self.send(json!(["EVENT", event])).await;
        self.answer(event).await
    }

    pub async fn answer(&mut self, event: &Event) -> (bool, String) {
        loop {
            let message = self.next().await;
            assert!(!message.is_null(), "the connection ended before the answer");
            if message[0] == "OK" && message[1] == event.id.to_hex() {
                return (
                    message[2].as_bool().unwrap(),
                    message[3].as_str().unwrap().to_owned(),
                );
            }
        }
    }

    pub async fn accepted(&mut self, event: &Event) {
        let (accepted, reason) = self.publish(event).await;
        assert!(accepted, "{reason}");
    }

    pub async fn refused(&mut self, event: &Event, prefix: &str) {
        let (accepted, reason) = self.publish(event).await;
        assert!(
            !accepted && reason.starts_with(&format!("{prefix}: ")),
            "expected {prefix}, got {accepted} {reason}"
        );
    }

    pub async fn log_in(&mut self, person: &Person) {
        let url = format!("ws://{SERVICE}.warren/");
        let challenge = self.challenge.clone();
        let event = person.event(22242, &[&["relay", &url], &["challenge", &challenge]], "");
        self.send(json!(["AUTH", event])).await;
        assert_eq!(self.answer(&event).await, (true, String::new()));
    }

    pub async fn join(&mut self, person: &Person, channel: &str) {
        let event = person.event(9021, &[&["h", channel]], "");
        self.accepted(&event).await;
    }

    /// Begins a subscription and gives what is stored. `Err` with the reason when it is closed.
    pub async fn subscribe(&mut self, id: &str, filters: Value) -> Result<Vec<Value>, String> {
        let mut message = vec![json!("REQ"), json!(id)];
        match filters {
            Value::Array(filters) => message.extend(filters),
            filter => message.push(filter),
        }
        self.send(Value::Array(message)).await;
        let mut events = Vec::new();
        loop {
            let message = self.next().await;
            assert!(!message.is_null(), "the connection ended before the answer");
            match message[0].as_str() {
                Some("EVENT") if message[1] == id => events.push(message[2].clone()),
                Some("EOSE") if message[1] == id => return Ok(events),
                Some("CLOSED") if message[1] == id => {
                    return Err(message[2].as_str().unwrap().to_owned());
                }
                _ => {}
            }
        }
    }

    /// Asks once.
    pub async fn query(&mut self, filters: Value) -> Vec<Value> {
        self.questions += 1;
        let id = format!("question {}", self.questions);
        let events = self.subscribe(&id, filters).await.unwrap();
        self.send(json!(["CLOSE", id])).await;
        events
    }

    /// The next live event of a subscription.
    pub async fn live(&mut self, id: &str) -> Value {
        loop {
            let message = self.next().await;
            assert!(!message.is_null(), "the connection ended before the event");
            if message[0] == "EVENT" && message[1] == id {
                return message[2].clone();
            }
        }
    }
}

/// Sends a request as it is; gives all of the answer.
pub async fn http(space: &TestSpace, request: &str) -> String {
    let mut stream = space.stream();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub fn ids(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

pub fn contents(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["content"].as_str().unwrap())
        .collect()
}
