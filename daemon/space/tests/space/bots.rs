//! A bot is any Nostr program with a role: it may do exactly what its role says, permission by permission.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::blossom::Token;
use crate::common::channels::make;
use crate::common::{Client, Person, TestSpace};
use serde_json::{Value, json};

const GENERAL: &[&str] = &["h", "general"];

/// What can be done, and what a role must allow for it.
const ACTS: [(&str, &[&str]); 18] = [
    ("write", &["write"]),
    ("react", &["react"]),
    ("upload", &["upload"]),
    ("mention everyone", &["write", "mention-everyone"]),
    ("write in haste", &["write", "skip-slow-mode"]),
    ("pin", &["pin"]),
    ("delete", &["delete-messages"]),
    ("invite", &["invite"]),
    ("kick", &["kick"]),
    ("ban", &["ban"]),
    ("time out", &["time-out"]),
    ("edit the channel", &["manage-channels"]),
    ("make a role", &["manage-roles"]),
    ("read reports", &["reports"]),
    ("read the log", &["audit"]),
    ("make a webhook", &["manage-webhooks"]),
    ("add an emoji", &["manage-emoji"]),
    ("set filters", &["manage-space"]),
];

struct Scene {
    space: TestSpace,
    owner: Person,
    bot: Person,
    victim: Person,
    by_owner: Client,
    by_bot: Client,
}

impl Scene {
    fn now(&self) -> u32 {
        self.space.now.load(Ordering::SeqCst)
    }

    /// A message of the victim.
    async fn message(&mut self, n: usize) -> String {
        let event = self
            .victim
            .event_at(self.now(), 9, &[GENERAL], &format!("v{n}"));
        self.by_owner.accepted(&event).await;
        event.id.to_hex()
    }

    async fn publishes(&mut self, kind: u16, tags: &[&[&str]], text: &str) -> bool {
        let event = self.bot.event_at(self.now(), kind, tags, text);
        let (accepted, reason) = self.by_bot.publish(&event).await;
        let is_role = reason.contains("your role") || reason.starts_with("rate-limited: ");
        assert!(accepted || is_role, "{kind}: {reason}");
        accepted
    }

    async fn calls(&self, method: &str, params: Value) -> bool {
        match self.space.call(&self.bot, method, params).await {
            Ok(_) => true,
            Err(reason) => {
                assert!(reason.contains("your role"), "{method}: {reason}");
                false
            }
        }
    }

    /// Whether the bot may do something just now. `n` makes every try another.
    async fn may(&mut self, act: &str, n: usize) -> bool {
        let text = format!("{act} {n}");
        let (stranger, victim) = (Person::new(100 + n as u16).hex(), self.victim.hex());
        match act {
            "write" => self.publishes(9, &[GENERAL], &text).await,
            "react" => {
                let id = self.message(n).await;
                self.publishes(7, &[GENERAL, &["e", &id]], "+").await
            }
            "upload" => {
                let token = Token::upload(&self.bot, text.as_bytes()).at(self.now());
                let answer = token.put(&self.space, text.as_bytes()).send().await;
                assert!([201, 403].contains(&answer.status), "{answer:?}");
                answer.status == 201
            }
            "mention everyone" => {
                let mention: &[&str] = &["mention", "everyone"];
                self.publishes(9, &[GENERAL, mention], &text).await
            }
            "write in haste" => {
                let slow: &[&str] = &["h", "slow"];
                // The first may be written by who may write at all, the second by who need not wait.
                self.publishes(9, &[slow], &text).await
                    && self.publishes(9, &[slow], &format!("{text}!")).await
            }
            "pin" => {
                let id = self.message(n).await;
                self.publishes(9010, &[GENERAL, &["e", &id]], "").await
            }
            "delete" => {
                let id = self.message(n).await;
                self.publishes(9005, &[GENERAL, &["e", &id]], "").await
            }
            "invite" => {
                let code = format!("come along {n}");
                self.publishes(9009, &[GENERAL, &["code", &code]], "").await
            }
            "kick" => {
                let p: &[&str] = &["p", &victim];
                let kicked = self.publishes(9001, &[GENERAL, p], &text).await;
                let back = self.owner.event_at(self.now(), 9000, &[GENERAL, p], &text);
                self.by_owner.accepted(&back).await;
                kicked
            }
            "ban" => self.calls("banpubkey", json!([stranger])).await,
            "time out" => {
                let until = self.now() + 5;
                self.calls("timeout", json!([stranger, until])).await
            }
            "edit the channel" => {
                let tags: &[&[&str]] = &[GENERAL, &["name", "General"], &["restricted"]];
                self.publishes(9002, tags, &text).await
            }
            "make a role" => {
                let params = json!([format!("r{n}"), format!("Role {n}"), "", 0, 700, []]);
                self.calls("createrole", params).await
            }
            "read reports" => self.calls("listeventsneedingmoderation", json!([])).await,
            "read the log" => self.calls("audit", json!([])).await,
            "make a webhook" => {
                self.calls("createwebhook", json!(["general", "Robin"]))
                    .await
            }
            "add an emoji" => {
                let params = json!([format!("e{n}"), "http://x.warren/e.png"]);
                self.calls("addemoji", params).await
            }
            "set filters" => self.calls("setfilters", json!([{}])).await,
            _ => panic!("{act}"),
        }
    }
}

#[tokio::test]
async fn a_bot_may_do_exactly_what_its_role_says() {
    let (owner, bot, victim) = (Person::new(9), Person::new(1), Person::new(2));
    let space = TestSpace::with(|config| {
        config.owner = Some(owner.0.public_key());
        config.limits.event_burst = 100_000;
        config.limits.message_burst = 100_000;
        config.limits.files.change_burst = 10_000;
    });
    let by_owner = space.member(&owner).await;
    let by_bot = space.member(&bot).await;
    let mut scene = Scene {
        space,
        owner,
        bot,
        victim,
        by_owner,
        by_bot,
    };
    // As a program says that it is one (NIP-24).
    let profile = scene.bot.event(0, &[], r#"{"name":"Robin","bot":true}"#);
    scene.by_bot.accepted(&profile).await;
    scene.by_owner.log_in(&scene.victim).await;
    scene.by_owner.join(&scene.victim, "general").await;
    make(
        &mut scene.by_owner,
        &scene.owner,
        "slow",
        &[&["restricted"]],
    )
    .await;
    scene.by_bot.join(&scene.bot, "slow").await;
    let owner = &scene.owner;
    scene
        .space
        .manage(owner, "slowmode", json!(["slow", 60]))
        .await;
    // Members may do nothing here: all that is left is the role. The victim has one of its own.
    let none = json!(["member", "member", "", 0, 1000, []]);
    scene.space.manage(owner, "editrole", none).await;
    let talks = json!(["talker", "Talker", "", 0, 600, ["write"]]);
    scene.space.manage(owner, "createrole", talks).await;
    let params = json!([scene.victim.hex(), "talker"]);
    scene.space.manage(owner, "assignrole", params).await;
    let role = |permissions: &[&str]| json!(["robot", "Robot", "", 0, 500, permissions]);
    scene.space.manage(owner, "createrole", role(&[])).await;
    let params = json!([scene.bot.hex(), "robot"]);
    scene.space.manage(owner, "assignrole", params).await;
    let mut n = 0;
    let named: BTreeSet<&str> = ACTS
        .iter()
        .flat_map(|(_, needed)| *needed)
        .copied()
        .collect();
    assert_eq!(named.len(), 18, "every permission is tried");
    let roles = ACTS.iter().map(|(_, needed)| *needed).chain([&[][..]]);
    for allowed in roles {
        // Slow mode has passed, and so have the proofs of the calls before.
        scene.space.now.fetch_add(200, Ordering::SeqCst);
        let role = role(allowed);
        scene.space.manage(&scene.owner, "editrole", role).await;
        for (act, needed) in ACTS {
            n += 1;
            let expected = needed.iter().all(|permission| allowed.contains(permission));
            assert_eq!(scene.may(act, n).await, expected, "{allowed:?}: {act}");
        }
    }
}
