//! What is private or hidden is asked for in every way that membership, roles and moderation offer, by somebody without
//! a name, somebody who was removed, somebody who is banned, and a moderator who does not belong there.

use crate::common::{Client, Person, TestSpace};
use nostr::event::Event;
use serde_json::{Value, json};

const KINDS: [u16; 24] = [
    5, 7, 9, 1984, 4240, 8000, 8001, 9000, 9001, 9002, 9005, 9007, 9009, 9010, 9021, 9022, 13534,
    33534, 39000, 39001, 39002, 39003, 39005, 28935,
];

struct Scene {
    space: TestSpace,
    owner: Person,
    ann: Person,
    removed: Person,
    banned: Person,
    moderator: Person,
    secrets: Vec<Event>,
}

/// A private and a hidden channel in which all that can happen happened.
async fn scene() -> Scene {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let [ann, removed, banned, moderator] = [1, 2, 3, 4].map(Person::new);
    let mut client = space.connect_as(&owner).await;
    for person in [&ann, &removed, &banned, &moderator] {
        client.log_in(person).await;
        client.join(person, "general").await;
    }
    let mut secrets = Vec::new();
    for (id, flag) in [("private-room", "private"), ("hidden-room", "hidden")] {
        let h: &[&str] = &["h", id];
        client.accepted(&owner.event(9007, &[h], "")).await;
        client.accepted(&owner.event(9002, &[h, &[flag]], "")).await;
        for person in [&ann, &removed, &banned] {
            client
                .accepted(&owner.event(9000, &[h, &["p", &person.hex()]], ""))
                .await;
        }
        let secret = ann.event(9, &[h, &["t", "secret"]], "the secret");
        client.accepted(&secret).await;
        let e = secret.id.to_hex();
        let deleted = ann.event(9, &[h], "deleted");
        client.accepted(&deleted).await;
        for event in [
            ann.event(7, &[h, &["e", &e]], "+"),
            ann.event(5, &[&["e", &deleted.id.to_hex()]], ""),
            ann.event(1984, &[&["e", &e, "spam"], &["p", &ann.hex()]], "report"),
            owner.event(9010, &[h, &["e", &e]], ""),
            owner.event(9009, &[h, &["code", "open-sesame"]], ""),
        ] {
            client.accepted(&event).await;
            secrets.push(event);
        }
        space.manage(&owner, "slowmode", json!([id, 5])).await;
        space
            .manage(&owner, "createinvite", json!([{"channel": id}]))
            .await;
        client
            .accepted(&owner.event(9001, &[h, &["p", &removed.hex()]], ""))
            .await;
        secrets.push(secret);
    }
    space
        .manage(&owner, "banpubkey", json!([banned.hex()]))
        .await;
    space
        .manage(&owner, "assignrole", json!([moderator.hex(), "moderator"]))
        .await;
    Scene {
        space,
        owner,
        ann,
        removed,
        banned,
        moderator,
        secrets,
    }
}

/// Nothing of the private channel but that it is there, and nothing at all of the hidden one.
fn clean(question: &Value, events: &[Value], secrets: &[Event]) {
    for event in events {
        let text = event.to_string();
        assert!(!text.contains("hidden-room"), "{question} gave {text}");
        let of_private = text.contains("private-room");
        let shown = [39000, 39003].contains(&event["kind"].as_u64().unwrap());
        assert!(!of_private || shown, "{question} gave {text}");
        for secret in secrets {
            assert!(
                !text.contains(&secret.id.to_hex()),
                "{question} gave {text}"
            );
        }
    }
}

async fn asks_everything(client: &mut Client, scene: &Scene) {
    let mut questions = vec![
        json!({}),
        json!({"kinds": KINDS}),
        json!({"#t": ["secret"]}),
        json!({"#d": ["private-room", "hidden-room"]}),
        json!({"#h": ["general", "private-room", "hidden-room"]}),
        json!({"#p": [scene.ann.hex()]}),
        json!({"authors": [scene.ann.hex(), scene.owner.hex()], "kinds": KINDS}),
    ];
    questions.extend(KINDS.map(|kind| json!({"kinds": [kind]})));
    for secret in &scene.secrets {
        questions.push(json!({"ids": [secret.id]}));
        questions.push(json!({"#e": [secret.id]}));
    }
    for question in questions {
        let events = client.query(question.clone()).await;
        clean(&question, &events, &scene.secrets);
    }
    for kind in [9, 4240, 1984, 9009] {
        let ask = |id: &str| json!({"kinds": [kind], "#h": [id]});
        let here = client.subscribe("x", ask("hidden-room")).await.unwrap_err();
        let there = client
            .subscribe("x", ask("private-room"))
            .await
            .unwrap_err();
        let nowhere = client
            .subscribe("x", ask("no-such-room"))
            .await
            .unwrap_err();
        assert!(here == nowhere && there == nowhere);
    }
}

/// Both are answered with the same words.
async fn alike(client: &mut Client, one: Event, other: Event) {
    let (one, other) = (client.publish(&one).await, client.publish(&other).await);
    assert_eq!(one, other);
}

#[tokio::test]
async fn strangers_the_removed_and_the_banned_find_nothing() {
    let mut scene = scene().await;
    for restarted in [false, true] {
        let mut stranger = scene.space.connect().await;
        asks_everything(&mut stranger, &scene).await;
        for question in [
            json!({"kinds": [13534]}),
            json!({"kinds": [8000, 8001, 33534]}),
        ] {
            assert!(stranger.query(question).await.is_empty());
        }
        let mut removed = scene.space.connect_as(&scene.removed).await;
        asks_everything(&mut removed, &scene).await;
        let mut banned = scene.space.connect_as(&scene.banned).await;
        asks_everything(&mut banned, &scene).await;
        assert!(
            banned
                .query(json!({"kinds": [13534, 8000, 8001]}))
                .await
                .is_empty()
        );
        let mut moderator = scene.space.connect_as(&scene.moderator).await;
        asks_everything(&mut moderator, &scene).await;
        if !restarted {
            drop((stranger, removed, banned, moderator));
            scene.space.restart();
        }
    }
}

#[tokio::test]
async fn what_is_written_about_secrets_is_answered_as_what_is_written_about_nothing() {
    let scene = scene().await;
    let nothing = "7".repeat(64);
    for person in [&scene.removed, &scene.banned, &scene.moderator] {
        let mut client = scene.space.connect_as(person).await;
        for (n, secret) in scene.secrets.iter().enumerate() {
            let id = secret.id.to_hex();
            let probe = format!("probe {n}");
            for kind in [5, 7] {
                let about = |id: &str| person.event(kind, &[&["e", id]], &probe);
                alike(&mut client, about(&id), about(&nothing)).await;
            }
            for kind in [7, 9005, 9010] {
                let about = |id: &str| person.event(kind, &[&["h", "general"], &["e", id]], &probe);
                alike(&mut client, about(&id), about(&nothing)).await;
            }
            let previous = |id: &str| {
                let tags: &[&[&str]] = &[&["h", "general"], &["previous", &id[..8]]];
                person.event(9, tags, &probe)
            };
            alike(&mut client, previous(&id), previous(&nothing)).await;
            // Somebody else's event that is here, and one that never was.
            let (accepted, known) = client.publish(secret).await;
            let unknown = scene.ann.event(9, &[&["h", "private-room"]], "never sent");
            assert_eq!((accepted, known), client.publish(&unknown).await);
        }
        let here = person.hex();
        for kind in [9, 7, 9000, 9001, 9002, 9005, 9008, 9009, 9010, 9021, 9022] {
            let about = |id: &str| {
                let tags: &[&[&str]] = &[
                    &["h", id],
                    &["p", &here],
                    &["code", "wrong-words"],
                    &["e", &nothing],
                ];
                person.event(kind, tags, "")
            };
            alike(&mut client, about("hidden-room"), about("no-such-room")).await;
        }
    }
}

#[tokio::test]
async fn a_report_of_what_one_may_not_see_is_taken_as_one_of_what_is_not_there() {
    let scene = scene().await;
    let nothing = "7".repeat(64);
    let mut client = scene.space.connect_as(&scene.removed).await;
    let secret = scene.secrets.last().unwrap().id.to_hex();
    let about = |id: &str| {
        let p = scene.ann.hex();
        scene
            .removed
            .event(1984, &[&["e", id, "spam"], &["p", &p]], "probe")
    };
    alike(&mut client, about(&secret), about(&nothing)).await;
    let queue = scene
        .space
        .manage(&scene.moderator, "listeventsneedingmoderation", json!([]))
        .await;
    assert_eq!(
        queue.as_array().unwrap().len(),
        2,
        "the probes, and nothing of the rooms: {queue}"
    );
}

#[tokio::test]
async fn management_answers_alike_for_secrets_and_for_nothing() {
    let scene = scene().await;
    let space = &scene.space;
    let nothing = "7".repeat(64);
    for person in [
        &scene.removed,
        &scene.banned,
        &scene.moderator,
        &Person::new(77),
    ] {
        for (method, params) in [
            ("slowmode", json!(["ROOM", 3])),
            ("setoverride", json!(["ROOM", "member", ["pin"], []])),
            ("listoverrides", json!(["ROOM"])),
            ("createinvite", json!([{"channel": "ROOM"}])),
            ("setdefaultchannels", json!([["ROOM"]])),
        ] {
            let at = |room: &str| {
                serde_json::from_str::<Value>(&params.to_string().replace("ROOM", room)).unwrap()
            };
            let nowhere = space.call(person, method, at("no-such-room")).await;
            assert!(nowhere.is_err(), "{method}");
            assert_eq!(
                space.call(person, method, at("hidden-room")).await,
                nowhere,
                "{method}"
            );
            if method != "setdefaultchannels" {
                assert_eq!(
                    space.call(person, method, at("private-room")).await,
                    nowhere,
                    "{method}"
                );
            }
        }
        for secret in &scene.secrets {
            for method in ["allowevent", "banevent"] {
                let here = space.call(person, method, json!([secret.id])).await;
                assert_eq!(
                    here,
                    space.call(person, method, json!([nothing])).await,
                    "{method}"
                );
            }
            let (_, answer) = (
                0,
                space
                    .call(person, "revokeinvite", json!(["open-sesame"]))
                    .await,
            );
            assert_eq!(
                answer,
                space
                    .call(person, "revokeinvite", json!(["never-made"]))
                    .await
            );
        }
        for method in ["audit", "listinvites", "listeventsneedingmoderation"] {
            let text = format!("{:?}", space.call(person, method, json!([])).await);
            assert!(
                !text.contains("-room") && !text.contains("open-sesame"),
                "{method}: {text}"
            );
        }
    }
    // What a moderator elsewhere "banned" is still there for those who belong.
    let mut client = space.connect_as(&scene.ann).await;
    let found = client
        .query(json!({"kinds": [9], "#h": ["hidden-room"]}))
        .await;
    assert_eq!(found.len(), 1);
}
