//! A space full of secrets, and those whom they are none of the business of.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

use std::sync::atomic::Ordering;

use data_encoding::BASE64;
use nostr::event::Event;
use serde_json::{Value, json};

use crate::blossom::{self, Token};
use crate::common::channels::make;
use crate::common::{Client, Person, START, TestSpace};

pub const MARK: &str = "canarybird";
pub const ROOMS: [&str; 2] = ["private-room", "hidden-room"];
pub const FILE: &[u8] = b"the canarybird's cage";

/// Somebody who must not know.
pub struct Viewer {
    pub name: &'static str,
    pub person: Option<Person>,
}

pub struct Scene {
    pub space: TestSpace,
    pub owner: Person,
    pub ann: Person,
    pub secrets: Vec<Event>,
    pub hook: Value,
}

impl Scene {
    pub fn viewers() -> [Viewer; 6] {
        [
            ("nobody", None),
            ("a stranger", Some(20)),
            ("a member", Some(21)),
            ("somebody removed", Some(22)),
            ("somebody banned", Some(23)),
            ("a moderator elsewhere", Some(24)),
        ]
        .map(|(name, number)| Viewer {
            name,
            person: number.map(Person::new),
        })
    }

    pub async fn connect(&self, viewer: &Viewer) -> Client {
        match &viewer.person {
            Some(person) => self.space.connect_as(person).await,
            None => self.space.connect().await,
        }
    }

    pub fn now(&self) -> u32 {
        self.space.now.load(Ordering::SeqCst)
    }
}

/// Everything that can be written in a room, at a second.
pub fn everything(ann: &Person, at: u32, room: &str) -> Vec<Event> {
    let h: &[&str] = &["h", room];
    let say = |kind: u16, tags: &[&[&str]], text: &str| {
        let mut all: Vec<&[&str]> = vec![h];
        all.extend(tags);
        ann.event_at(at, kind, &all, text)
    };
    let message = say(9, &[&["t", MARK], &["p", &ann.hex()]], "the canarybird");
    let id = message.id.to_hex();
    let thread = say(11, &[&["title", MARK]], "a canarybird thread");
    let poll = say(
        1068,
        &[&["option", "a", MARK], &["option", "b", "no"]],
        "canarybird?",
    );
    let entry = say(
        31922,
        &[&["d", room], &["title", MARK], &["start", "2026-11-30"]],
        "",
    );
    let address = format!("31922:{}:{room}", ann.hex());
    let gone = say(9, &[], "a canarybird that is deleted");
    let edited = say(9, &[], "a canarybrid");
    let (thread_id, poll_id) = (thread.id.to_hex(), poll.id.to_hex());
    let all = vec![
        say(9, &[&["q", &id]], "a canarybird reply"),
        say(
            1111,
            &[&["E", &thread_id], &["K", "11"]],
            "a canarybird comment",
        ),
        say(
            7,
            &[&["e", &id], &["emoji", MARK, "http://x.warren/c.png"]],
            ":canarybird:",
        ),
        say(1018, &[&["e", &poll_id], &["response", "a"]], ""),
        say(
            31925,
            &[&["d", room], &["a", &address], &["status", "accepted"]],
            MARK,
        ),
        say(30023, &[&["d", room]], "a canarybird article"),
        say(
            9,
            &[&["edit", &edited.id.to_hex(), &at.to_string()]],
            "a canarybird",
        ),
        say(5, &[&["e", &gone.id.to_hex()]], MARK),
        say(1984, &[&["e", &id, "spam"], &["p", &ann.hex()]], MARK),
        say(9010, &[&["e", &id]], MARK),
        say(9009, &[&["code", "canarybird-sesame"]], MARK),
    ];
    [message, thread, poll, entry, gone, edited]
        .into_iter()
        .chain(all)
        .collect()
}

pub fn is_gone(event: &Event) -> bool {
    ["a canarybird that is deleted", "a canarybrid"].contains(&event.content.as_str())
}

pub async fn scene() -> Scene {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| {
        config.owner = Some(owner.0.public_key());
        config.limits.event_burst = 100_000;
        config.limits.message_burst = 1_000_000;
        config.limits.signal_seconds = 1;
    });
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.connect_as(&owner).await;
    let viewers = Scene::viewers();
    let members = viewers[2..]
        .iter()
        .filter_map(|viewer| viewer.person.as_ref());
    for person in [&ann, &ben].into_iter().chain(members) {
        client.log_in(person).await;
        client.join(person, "general").await;
    }
    let mut secrets = Vec::new();
    for (room, flag) in ROOMS.iter().zip(["private", "hidden"]) {
        make(&mut client, &owner, room, &[&[flag], &["about", MARK]]).await;
        for person in [&ann]
            .into_iter()
            .chain(viewers[3..5].iter().filter_map(|v| v.person.as_ref()))
        {
            let put = owner.event(9000, &[&["h", room], &["p", &person.hex(), "admin"]], "");
            client.accepted(&put).await;
        }
        for event in everything(&ann, START, room) {
            client.accepted(&event).await;
            secrets.push(event);
        }
        let removed = viewers[3]
            .person
            .as_ref()
            .map(Person::hex)
            .unwrap_or_default();
        client
            .accepted(&owner.event(9001, &[&["h", room], &["p", &removed]], ""))
            .await;
        let token = Token::upload(&ann, FILE).with(&["h", room]);
        blossom::ok(token.put(&space, FILE).send().await);
    }
    // Private messages, what somebody keeps for themselves, and who may collect for whom.
    let mut sealed = vec![2];
    sealed.resize(120, 9);
    for event in [
        Person::new(77).event(1059, &[&["p", &ben.hex()]], MARK),
        ann.event(
            30078,
            &[&["d", "read-state:canarybird"]],
            &BASE64.encode(&sealed),
        ),
        ann.event(
            30078,
            &[&["d", "warren/collect"], &["p", &Person::new(78).hex()]],
            "",
        ),
    ] {
        client.accepted(&event).await;
        secrets.push(event);
    }
    let banned = viewers[4]
        .person
        .as_ref()
        .map(Person::hex)
        .unwrap_or_default();
    space.manage(&owner, "banpubkey", json!([banned])).await;
    let moderator = viewers[5]
        .person
        .as_ref()
        .map(Person::hex)
        .unwrap_or_default();
    space
        .manage(&owner, "assignrole", json!([moderator, "moderator"]))
        .await;
    let hook = space
        .manage(&owner, "createwebhook", json!(["hidden-room", MARK]))
        .await;
    space
        .manage(&owner, "slowmode", json!(["hidden-room", 0]))
        .await;
    Scene {
        space,
        owner,
        ann,
        secrets,
        hook,
    }
}
