//! The relay of a home's people, whose house the test keeps.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use nostr::event::Event;
use nostr::key::PublicKey;
use serde_json::{Value, json};
use warren_space::{Limits, Residents, Space, SpaceConfig};

use super::{Person, SERVICE, START, TestSpace, http};

/// Whoever the test lets live here; 99 is the home itself.
#[derive(Default)]
pub struct House(pub Mutex<HashSet<PublicKey>>);

impl Residents for House {
    fn lives_here(&self, person: &PublicKey) -> bool {
        self.0.lock().unwrap().contains(person)
    }
    fn is_home(&self, key: &PublicKey) -> bool {
        *key == Person::new(99).0.public_key()
    }
    fn named(&self, handle: &str) -> Option<PublicKey> {
        (handle == "ann").then(|| Person::new(1).0.public_key())
    }
}

pub struct Home {
    pub relay: TestSpace,
    pub house: Arc<House>,
}

impl Home {
    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut limits = Limits::of_home();
        change(&mut limits);
        let config = SpaceConfig {
            stores: warren_space::stores::Stores::default(),
            dir: dir.path().join("space"),
            name: "Ann's home".into(),
            about: String::new(),
            service: SERVICE.into(),
            owner: None,
            limits,
        };
        let house = Arc::new(House::default());
        for number in [1, 2] {
            let person = Person::new(number).0.public_key();
            house.0.lock().unwrap().insert(person);
        }
        let relay = TestSpace {
            dir,
            now: Arc::new(AtomicU32::new(START)),
            space: None,
            config,
        };
        let mut this = Self { relay, house };
        this.open();
        this
    }

    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn open(&mut self) {
        let now = Arc::clone(&self.relay.now);
        let clock = Arc::new(move || u64::from(now.load(Ordering::SeqCst)));
        let house = Arc::clone(&self.house) as Arc<dyn Residents>;
        let space = Space::open_personal(self.relay.config.clone(), house, clock);
        self.relay.space = Some(space.unwrap());
    }

    pub fn restart(&mut self) {
        self.relay.space().close();
        self.relay.space = None;
        self.open();
    }

    pub async fn get(&self, path: &str, accept: &str) -> (String, Value) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        let answer = http(&self.relay, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }
}

/// Of the house: Ann and Ben. Not of it: Eve.
pub fn people() -> (Person, Person, Person) {
    (Person::new(1), Person::new(2), Person::new(3))
}

pub fn wrap(number: u16, to: &Person, text: &str) -> Event {
    Person::new(1000 + number).event_at(90_000_000, 1059, &[&["p", &to.hex()]], text)
}

pub fn own(person: &Person) -> Value {
    json!({"kinds": [1059], "#p": [person.hex()]})
}
