//! Lists of relays (NIP-65), requests to vanish (NIP-62) and protected events (NIP-70) as clients see them.

use std::path::Path;
use std::sync::atomic::Ordering;

use crate::blossom::{Token, hash, ok};
use crate::common::{Client, Person, SERVICE, START, TestSpace, contents, ids};
use nostr::event::Event;
use serde_json::json;

fn h(channel: &str) -> [&str; 2] {
    ["h", channel]
}

/// Whether any file of the space holds these bytes.
fn disk_holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return disk_holds(&path, bytes);
        }
        let held = std::fs::read(path).unwrap();
        held.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test]
async fn nip65_a_list_of_relays_is_stored_for_everybody_and_replaced() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let list = |at: u32, url: &str| ann.event_at(START + at, 10002, &[&["r", url, "write"]], "");
    let (old, new) = (list(0, "wss://one.example/"), list(1, "wss://two.example/"));
    client.accepted(&old).await;
    client.accepted(&new).await;
    let (accepted, reason) = client.publish(&list(0, "wss://three.example/")).await;
    assert!(accepted && reason.starts_with("duplicate: "), "{reason}");
    let mut anybody = space.connect().await;
    let found = anybody
        .query(json!({"kinds": [10002], "authors": [ann.hex()]}))
        .await;
    assert_eq!(found, [serde_json::to_value(&new).unwrap()]);
    client
        .refused(&Person::new(2).event(10002, &[], ""), "auth-required")
        .await;
}

#[tokio::test]
async fn nip70_a_protected_event_is_taken_from_its_author_alone_and_not_inside_a_repost() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let protected = ann.event(9, &[&h("general"), &["-"]], "for this space");
    let mut other = space.member(&ben).await;
    other.refused(&protected, "auth-required").await;
    let mut anybody = space.connect().await;
    anybody.refused(&protected, "auth-required").await;
    let mut author = space.member(&ann).await;
    author.accepted(&protected).await;
    let id = protected.id.to_hex();
    for kind in [6, 16] {
        let inside = serde_json::to_string(&protected).unwrap();
        let repost = |content: &str| ben.event(kind, &[&h("general"), &["e", &id]], content);
        other.refused(&repost(&inside), "blocked").await;
        other.accepted(&repost("")).await;
        let plain = serde_json::to_string(&ann.event(9, &[&h("general")], "-")).unwrap();
        other.accepted(&repost(&plain)).await;
        for odd in ["{", "[]", r#"{"tags":{"-":1}}"#, &"[".repeat(5000)] {
            other.accepted(&repost(odd)).await;
        }
    }
}

async fn vanish(
    space: &TestSpace,
    person: &Person,
    at: u32,
    relay: &str,
) -> (Event, (bool, String)) {
    let event = person.event_at(START + at, 62, &[&["relay", relay]], "thank you");
    let mut client = space.connect_as(person).await;
    let answer = client.publish(&event).await;
    (event, answer)
}

#[tokio::test]
async fn nip62_everything_of_a_person_leaves_the_disk_and_does_not_come_back() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    let mut other = space.member(&ben).await;
    let kept = ben.event(9, &[&h("general")], "stays here");
    other.accepted(&kept).await;
    let gone: Vec<Event> = (0..300u32)
        .map(|n| {
            ann.event_at(
                START - n,
                9,
                &[&h("general")],
                &format!("vanishing words {n}"),
            )
        })
        .chain([
            ann.event(0, &[], r#"{"name":"vanishing profile"}"#),
            ann.event(10002, &[&["r", "wss://vanishing.example/"]], ""),
            ann.event(5, &[&["e", &"0".repeat(64)]], "vanishing deletion"),
        ])
        .collect();
    for event in gone.iter().take(190) {
        client.accepted(event).await;
    }
    space.now.fetch_add(300, Ordering::SeqCst);
    space.restart();
    let mut client = space.connect_as(&ann).await;
    for event in &gone[190..] {
        client.accepted(event).await;
    }
    // A letter to her goes with her, whoever wrote it.
    let mut other = space.connect_as(&ben).await;
    let ann_hex = ann.hex();
    let letter = ben.event(1059, &[&["p", &ann_hex]], "a vanishing letter");
    other.accepted(&letter).await;
    assert!(disk_holds(space.dir.path(), b"vanishing"));
    for (relay, prefix) in [
        ("wss://other.example/", "invalid: "),
        ("all_relays", "invalid: "),
    ] {
        let (accepted, reason) = vanish(&space, &ann, 0, relay).await.1;
        assert!(!accepted && reason.starts_with(prefix), "{reason}");
    }
    let url = format!("ws://{SERVICE}.warren");
    let (request, answer) = vanish(&space, &ann, 0, &url).await;
    assert_eq!(answer, (true, String::new()));
    assert!(
        !disk_holds(space.dir.path(), b"vanishing"),
        "before the answer"
    );
    for restarted in [false, true] {
        let mut client = space.connect_as(&ann).await;
        assert!(
            client
                .query(json!({"authors": [ann.hex()], "kinds": [0, 1, 5, 9, 10002]}))
                .await
                .is_empty()
        );
        assert!(
            client
                .query(json!({"search": "vanishing"}))
                .await
                .is_empty()
        );
        let members = client
            .query(json!({"kinds": [39002], "#d": ["general"]}))
            .await;
        assert!(!members[0].to_string().contains(&ann.hex()), "nor a member");
        for event in [&gone[0], &gone[250]] {
            let (accepted, _) = client.publish(event).await;
            assert!(!accepted, "it does not come back");
        }
        let mut other = space.connect_as(&ben).await;
        assert!(other.query(json!({"ids": [letter.id]})).await.is_empty());
        other.refused(&letter, "restricted").await;
        // The request is its author's business, and stays.
        let asked = json!({"kinds": [62]});
        assert_eq!(
            ids(&client.query(asked.clone()).await),
            [request.id.to_hex()]
        );
        let unrequest = ann.event_at(START, 5, &[&["e", &request.id.to_hex()]], "");
        client.publish(&unrequest).await;
        assert_eq!(client.query(asked.clone()).await.len(), 1);
        assert!(other.query(asked).await.is_empty());
        assert_eq!(
            contents(&other.query(json!({"kinds": [9]})).await),
            ["stays here"]
        );
        let (accepted, reason) = client.publish(&request).await;
        assert!(accepted && reason.starts_with("duplicate: "), "{reason}");
        if !restarted {
            drop((client, other));
            space.restart();
        }
    }
    // Who comes back begins anew, and what was there before stays away.
    let mut client = space.connect_as(&ann).await;
    client
        .accepted(&ann.event_at(START + 10, 9021, &[&h("general")], ""))
        .await;
    client.refused(&gone[0], "blocked").await;
    let fresh = ann.event_at(START + 10, 9, &[&h("general")], "here again");
    client.accepted(&fresh).await;
}

#[tokio::test]
async fn nip62_who_was_never_here_may_ask_and_leaves_nothing() {
    let space = TestSpace::new();
    let eve = Person::new(9);
    let events = space.space().summary().events;
    for at in 0..3 {
        assert_eq!(
            vanish(&space, &eve, at, "ALL_RELAYS").await.1,
            (true, String::new())
        );
    }
    assert_eq!(space.space().summary().events, events);
    let mut client = space.connect().await;
    let request = eve.event(62, &[&["relay", "ALL_RELAYS"]], "");
    client.refused(&request, "auth-required").await;
    let expires = (START + 1000).to_string();
    let tags: [&[&str]; 2] = [&["relay", "ALL_RELAYS"], &["expiration", &expires]];
    client.log_in(&eve).await;
    client.refused(&eve.event(62, &tags, ""), "invalid").await;
}

async fn described(client: &mut Client, channel: &str) -> Vec<String> {
    let mut described: Vec<String> = client
        .query(json!({"kinds": [39000, 39002], "#d": [channel]}))
        .await
        .iter()
        .map(|event| {
            let mut tags = event["tags"].as_array().unwrap().clone();
            tags.sort_by_key(ToString::to_string);
            format!("{} {tags:?}", event["kind"])
        })
        .collect();
    described.sort();
    described
}

#[tokio::test]
async fn nip62_channels_stay_as_they_are_when_their_founder_vanishes() {
    let ann = Person::new(1);
    let mut space = TestSpace::new();
    let (ben, cleo, dan) = (Person::new(2), Person::new(3), Person::new(4));
    let mut founder = space.member(&ann).await;
    let (ben_hex, cleo_hex, dan_hex) = (ben.hex(), cleo.hex(), dan.hex());
    let tools = h("tools");
    founder.accepted(&ann.event(9007, &[&tools], "")).await;
    let flags: [&[&str]; 5] = [
        &tools,
        &["name", "Tools"],
        &["about", "x"],
        &["private"],
        &["closed"],
    ];
    founder.accepted(&ann.event(9002, &flags, "")).await;
    founder
        .accepted(&ann.event(
            9000,
            &[&tools, &["p", &ben_hex, "moderator"], &["p", &cleo_hex]],
            "",
        ))
        .await;
    founder
        .accepted(&ann.event(9000, &[&tools, &["p", &dan_hex]], ""))
        .await;
    founder
        .accepted(&ann.event(9001, &[&tools, &["p", &dan_hex]], ""))
        .await;
    founder
        .accepted(&ann.event(9009, &[&tools, &["code", "come in please"]], ""))
        .await;
    let mut moderator = space.connect_as(&ben).await;
    let bad = ben.event(9, &[&tools], "deleted by the founder");
    moderator.accepted(&bad).await;
    founder
        .accepted(&ann.event(9005, &[&tools, &["e", &bad.id.to_hex()]], ""))
        .await;
    let said = ben.event(9, &[&tools], "still here");
    moderator.accepted(&said).await;
    let before = described(&mut moderator, "tools").await;
    assert!(before.iter().any(|text| text.contains(&ann.hex())));
    assert_eq!(
        vanish(&space, &ann, 0, "ALL_RELAYS").await.1,
        (true, String::new())
    );
    for restarted in [false, true] {
        let after = described(&mut moderator, "tools").await;
        assert_eq!(after[0], before[0], "its name and its rules");
        assert!(!after[1].contains(&ann.hex()) && !after[1].contains(&dan_hex));
        assert!(after[1].contains(&ben_hex) && after[1].contains(&cleo_hex));
        assert_eq!(
            contents(
                &moderator
                    .query(json!({"kinds": [9], "#h": ["tools"]}))
                    .await
            ),
            ["still here"]
        );
        moderator.refused(&bad, "blocked").await;
        // Roles hold: a moderator invites, a member does not.
        let code = format!("another code {restarted}");
        moderator
            .accepted(&ben.event(9009, &[&tools, &["code", &code]], ""))
            .await;
        let mut member = space.connect_as(&cleo).await;
        member
            .refused(
                &cleo.event(9009, &[&tools, &["code", &code]], ""),
                "restricted",
            )
            .await;
        let mut stranger = space.connect_as(&dan).await;
        assert!(
            stranger
                .subscribe("s", json!({"#h": ["tools"]}))
                .await
                .is_err()
        );
        let mut gone = space.connect_as(&ann).await;
        assert!(gone.subscribe("s", json!({"#h": ["tools"]})).await.is_err());
        // Her invitations went with her.
        let join = dan.event(9021, &[&tools, &["code", "come in please"]], "");
        stranger.refused(&join, "restricted").await;
        if !restarted {
            drop((moderator, founder));
            space.restart();
            moderator = space.connect_as(&ben).await;
            founder = space.connect().await;
        }
    }
    let mut invited = space.connect_as(&dan).await;
    let join = dan.event(9021, &[&tools, &["code", "another code true"]], "");
    invited.accepted(&join).await;
}

#[tokio::test]
async fn nip62_files_complaints_and_permissions_go_too() {
    let owner = Person::new(9);
    let mut space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let (ann, ben, home) = (Person::new(1), Person::new(2), Person::new(8));
    let mut client = space.member(&ann).await;
    let mut other = space.member(&ben).await;
    let upload = |space: &TestSpace, person: &Person, text: &str| {
        let bytes = text.as_bytes();
        Token::upload(person, bytes).put(space, bytes).send_boxed()
    };
    ok(upload(&space, &ann, "a vanishing picture").await);
    ok(upload(&space, &ann, "a picture both had").await);
    ok(upload(&space, &ben, "a picture both had").await);
    ok(upload(&space, &ben, "what ben drew").await);
    // A complaint about a file, one about a message, and leave for a home.
    let name = hash(b"what ben drew");
    let about_file = ann.event(1984, &[&["x", &name, "spam"]], "a vanishing complaint");
    let body = serde_json::to_vec(&about_file).unwrap();
    ok(space.put("/report", &body).send().await);
    let bad = ben.event(9, &[&h("general")], "bad");
    other.accepted(&bad).await;
    let about = ann.event(
        1984,
        &[&["p", &ben.hex(), "spam"], &["e", &bad.id.to_hex()]],
        "a vanishing report",
    );
    client.accepted(&about).await;
    let permission = ann.event(30078, &[&["d", "warren/collect"], &["p", &home.hex()]], "");
    client.accepted(&permission).await;
    let mut collector = space.connect_as(&home).await;
    let mail = json!({"kinds": [1059], "#p": [ann.hex()]});
    assert!(collector.subscribe("before", mail.clone()).await.is_ok());
    assert!(disk_holds(space.dir.path(), b"vanishing"));
    let (_, answer) = vanish(&space, &ann, 0, "ALL_RELAYS").await;
    assert_eq!(answer, (true, String::new()));
    assert!(
        !disk_holds(space.dir.path(), b"vanishing"),
        "before the answer"
    );
    for restarted in [false, true] {
        let mut collector = space.connect_as(&home).await;
        assert!(collector.subscribe("after", mail.clone()).await.is_err());
        let waiting = space
            .manage(&owner, "listeventsneedingmoderation", json!([]))
            .await;
        assert_eq!(waiting, json!([]));
        let status = async |text: &str| {
            let path = format!("/{}", hash(text.as_bytes()));
            space.get(&path).send().await.status
        };
        assert_eq!(status("a vanishing picture").await, 404);
        assert_eq!(status("a picture both had").await, 200);
        let path = format!("/list/{}", ann.hex());
        assert_eq!(space.get(&path).send().await.json(), json!([]));
        if !restarted {
            space.restart();
        }
    }
}

#[tokio::test]
async fn a_deleted_channel_takes_along_reports_and_deletion_requests_about_it() {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let mut admin = space.connect_as(&owner).await;
    admin.accepted(&owner.event(9007, &[&h("den")], "")).await;
    client.join(&ann, "den").await;
    let messages = ["one", "two"].map(|text| ann.event(9, &[&h("den")], text));
    for message in &messages {
        client.accepted(message).await;
    }
    let [one, two] = messages.map(|message| message.id.to_hex());
    let report = ann.event(
        1984,
        &[&["p", &ann.hex(), "other"], &["e", &one]],
        "vanishing words of a report",
    );
    client.accepted(&report).await;
    let deletion = ann.event(5, &[&["e", &two]], "vanishing words of a deletion");
    client.accepted(&deletion).await;
    let elsewhere = ann.event(5, &[&["e", &"0".repeat(64)]], "staying words");
    client.accepted(&elsewhere).await;
    assert!(disk_holds(space.dir.path(), b"vanishing words of a report"));
    admin.accepted(&owner.event(9008, &[&h("den")], "")).await;
    assert!(!disk_holds(space.dir.path(), b"vanishing words"));
    assert!(disk_holds(space.dir.path(), b"staying words"));
}
