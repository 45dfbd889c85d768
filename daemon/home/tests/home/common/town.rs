//! Several spaces, and homes with a road to each that can be cut; and a plain Nostr client for what no home would do.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use warren_home::{
    BoxFuture, BoxStream, Dialer, HomeConfig, Limits, ServiceListing, ServiceName, system_clock,
};
use warren_space::Space;

use super::http::{Program, ask, between};
use super::{PASS, PATIENCE, TestHome, limits, open_space_at};

/// The service of a space: the same letter 52 times.
pub fn service(letter: char) -> String {
    letter.to_string().repeat(52)
}

/// The roads of one home.
pub struct Roads {
    spaces: HashMap<String, Arc<Space>>,
    cut: Mutex<HashSet<String>>,
    cuts: watch::Sender<u32>,
}

impl Roads {
    pub fn to(spaces: &[(char, &Arc<Space>)]) -> Arc<Self> {
        let spaces = spaces
            .iter()
            .map(|(letter, space)| (service(*letter), Arc::clone(space)));
        Arc::new(Self {
            spaces: spaces.collect(),
            cut: Mutex::default(),
            cuts: watch::channel(0).0,
        })
    }

    /// Breaks every stream to a space, and lets none be opened.
    pub fn cut(&self, letter: char) {
        self.cut.lock().unwrap().insert(service(letter));
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn heal(&self, letter: char) {
        self.cut.lock().unwrap().remove(&service(letter));
    }
}

impl Dialer for Roads {
    fn open<'a>(&'a self, service: &'a ServiceName) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let name = service.as_str().to_owned();
            if self.cut.lock().unwrap().contains(&name) {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            let space = self
                .spaces
                .get(&name)
                .ok_or(io::ErrorKind::HostUnreachable)?;
            let (ours, mut between) = tokio::io::duplex(64 * 1024);
            let (mut near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(Arc::clone(space).serve(far));
            let mut cuts = self.cuts.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut between, &mut near) => {}
                    _ = cuts.changed() => {}
                }
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn services(&self) -> Vec<ServiceListing> {
        let listing = |service: &String| ServiceListing {
            service: ServiceName::parse(service).unwrap(),
            kind: warren_home::ServiceKind::Space,
            name: "Garden club".into(),
            host: "Ann's home".into(),
            run: 0,
        };
        self.spaces.keys().map(listing).collect()
    }
}

/// A directory with spaces in it.
pub struct Town {
    pub dir: tempfile::TempDir,
}

impl Town {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn space(&self, letter: char) -> Arc<Space> {
        open_space_at(
            &self.dir.path().join(format!("space-{letter}")),
            &service(letter),
        )
    }

    pub async fn home(&self, name: &str, roads: &Arc<Roads>) -> TestHome {
        self.home_with(name, roads, None, message_limits()).await
    }

    pub async fn home_with(
        &self,
        name: &str,
        roads: &Arc<Roads>,
        relay: Option<char>,
        limits: Limits,
    ) -> TestHome {
        home_at(&self.dir.path().join(name), roads, relay, limits).await
    }
}

pub async fn home_at(
    dir: &Path,
    roads: &Arc<Roads>,
    relay: Option<char>,
    limits: Limits,
) -> TestHome {
    let config = HomeConfig {
        dir: dir.to_owned(),
        name: "home".into(),
        host_names: Vec::new(),
        relay: relay.map(|letter| ServiceName::parse(&service(letter)).unwrap()),
        uplink: Default::default(),
        limits,
    };
    TestHome::open_config(config, Arc::clone(roads) as Arc<dyn Dialer>).await
}

/// What a home takes, which tries again soon.
pub fn message_limits() -> Limits {
    Limits {
        message_wait: std::time::Duration::from_millis(500),
        typing_every: std::time::Duration::from_secs(600),
        ..limits()
    }
}

/// A person with an account at a home.
pub struct Person<'a> {
    pub program: Program<'a>,
    pub key: String,
}

impl<'a> Person<'a> {
    pub async fn new(home: &'a TestHome, name: &str) -> Self {
        Self::of(Program::sign_up(home, name, PASS).await).await
    }

    pub async fn of(program: Program<'a>) -> Self {
        let account = program.done("GET", "account", &Value::Null).await;
        let key = account["public_key"].as_str().unwrap().to_owned();
        Self { program, key }
    }

    /// The same person after the home was opened anew.
    pub fn at(&self, home: &'a TestHome) -> Self {
        Self {
            program: Program {
                home,
                token: self.program.token.clone(),
            },
            key: self.key.clone(),
        }
    }

    /// The key, as the recovery sheet has it.
    pub async fn keys(&self) -> Keys {
        let body = json!({"passphrase": PASS});
        let answer = self.program.done("POST", "account/key", &body).await;
        Keys::parse(answer["secret_key"].as_str().unwrap()).unwrap()
    }

    /// Joins a space by writing on its page, and waits until the home collects there.
    pub async fn join(&self, letter: char) {
        let (home, path) = (self.program.home, format!("/s/{}/", service(letter)));
        let cookie = format!("Cookie: home={}\r\n", self.program.token);
        let page = ask(home, "GET", &path, &cookie, "").await;
        let token = between(&page.body, "name=\"token\" value=\"", "\"").to_owned();
        let headers = format!("{cookie}Content-Type: application/x-www-form-urlencoded\r\n");
        let form = format!("token={token}&name=somebody&text=hello");
        let sent = ask(home, "POST", &format!("{path}send"), &headers, &form).await;
        assert_eq!(sent.status, 303, "{}", sent.body);
        self.collects(letter).await;
    }

    /// Waits until the home collects in a space.
    pub async fn collects(&self, letter: char) {
        let name = service(letter);
        self.until("messages/spaces", |answer| {
            let spaces = answer["spaces"].as_array().unwrap();
            spaces.iter().any(|space| {
                space["service"] == name && space["collects"] == true && space["reached"] == true
            })
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> Value {
        self.program.done("GET", path, &Value::Null).await
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let last = Mutex::new(Value::Null);
        let asking = async {
            loop {
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
                *last.lock().unwrap() = answer;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => panic!("{path} stayed {}", last.lock().unwrap()),
        }
    }

    /// Sends a text; its view.
    pub async fn write(&self, client: &str, to: &[&Person<'_>], text: &str) -> Value {
        let to: Vec<&str> = to.iter().map(|person| person.key.as_str()).collect();
        let body = json!({"client_id": client, "to": to, "text": text});
        self.program.done("POST", "messages", &body).await
    }

    /// The messages of a conversation, newest first.
    pub async fn history(&self, conversation: &Value) -> Vec<Value> {
        let path = format!("conversations/{}/messages", conversation.as_str().unwrap());
        self.get(&path).await["messages"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// Waits for a message with this text, in a conversation or a request; its view.
    pub async fn receives(&self, text: &str) -> Value {
        self.finds("conversations", text).await
    }

    pub async fn finds(&self, list: &str, text: &str) -> Value {
        let found = self
            .until(list, |answer| {
                let list = answer["conversations"].as_array().unwrap();
                list.iter().any(|talk| talk["last"]["text"] == text)
            })
            .await;
        let list = found["conversations"].as_array().unwrap();
        let talk = list.iter().find(|talk| talk["last"]["text"] == text);
        talk.unwrap()["last"].clone()
    }

    /// Waits until a message of this person is in this state for each receiver.
    pub async fn state(&self, message: &Value, state: &str) {
        let path = format!(
            "conversations/{}/messages?limit=100",
            message["conversation"].as_str().unwrap()
        );
        self.until(&path, |answer| {
            let list = answer["messages"].as_array().unwrap();
            let found = list.iter().find(|found| found["id"] == message["id"]);
            let to = found.unwrap()["to"].as_array().unwrap();
            !to.is_empty() && to.iter().all(|one| one["state"] == state)
        })
        .await;
    }
}

/// A Nostr client at a space, without any home.
pub struct Peer {
    socket: WebSocketStream<DuplexStream>,
    service: String,
}

pub fn event(keys: &Keys, kind: u16, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags
        .iter()
        .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
    let now = Timestamp::from_secs(system_clock()());
    let unsigned = UnsignedEvent::new(keys.public_key(), now, Kind::from_u16(kind), tags, content);
    keys.sign_event(unsigned).unwrap()
}

impl Peer {
    /// A member of a space.
    pub async fn member(space: &Arc<Space>, letter: char, keys: &Keys) -> Self {
        let mut peer = Self::new(space, letter, keys).await;
        let join = event(keys, 9021, &[&["h", "general"]], "");
        let (accepted, reason) = peer.publish(&join).await;
        assert!(accepted || reason.starts_with("duplicate"), "{reason}");
        peer
    }

    pub async fn new(space: &Arc<Space>, letter: char, keys: &Keys) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(Arc::clone(space).serve(theirs));
        let url = format!("ws://{}.warren/", service(letter));
        let (socket, _) = tokio_tungstenite::client_async(url, ours).await.unwrap();
        let mut peer = Self {
            socket,
            service: service(letter),
        };
        let hello = peer.hear().await;
        let url = format!("ws://{}.warren/", peer.service);
        let tags: [&[&str]; 2] = [&["relay", &url], &["challenge", hello[1].as_str().unwrap()]];
        let proof = event(keys, 22242, &tags, "");
        let (accepted, reason) = peer.ask("AUTH", &proof).await;
        assert!(accepted, "{reason}");
        peer
    }

    async fn hear(&mut self) -> Value {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .unwrap();
            if let Message::Text(text) = message.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    async fn ask(&mut self, verb: &str, event: &Event) -> (bool, String) {
        self.say(&json!([verb, event])).await;
        loop {
            let answer = self.hear().await;
            if answer[0] == "OK" && answer[1] == event.id.to_hex() {
                let reason = answer[3].as_str().unwrap_or_default();
                return (answer[2] == true, reason.to_owned());
            }
        }
    }

    pub async fn publish(&mut self, event: &Event) -> (bool, String) {
        self.ask("EVENT", event).await
    }

    pub async fn query(&mut self, filter: Value) -> Vec<Event> {
        self.say(&json!(["REQ", "q", filter])).await;
        let mut found = Vec::new();
        loop {
            let answer = self.hear().await;
            match answer[0].as_str().unwrap() {
                "EVENT" => found.push(serde_json::from_value(answer[2].clone()).unwrap()),
                "EOSE" | "CLOSED" => return found,
                _ => {}
            }
        }
    }

    /// The wraps that wait for somebody who is on this connection.
    pub async fn wraps(&mut self, person: &PublicKey) -> Vec<Event> {
        self.query(json!({"kinds": [1059], "#p": [person]})).await
    }
}

/// Copies a directory as it is at this moment: what a kill would leave.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(std::fs::copy(&path, &target).unwrap()),
        }
    }
}

/// Whether any file below a directory has these bytes in it.
pub fn is_on_disk(dir: &Path, words: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_on_disk(&path, words);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    })
}
