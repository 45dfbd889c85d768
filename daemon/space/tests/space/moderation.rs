//! Keeping order: bans, time-outs, slow mode, filters, reports, deletions and the log of it all.

use std::sync::atomic::Ordering;

use crate::common::{Person, START, TestSpace};
use serde_json::json;

const GENERAL: &[&str] = &["h", "general"];

fn owned(owner: &Person) -> TestSpace {
    TestSpace::with(|config| config.owner = Some(owner.0.public_key()))
}

#[tokio::test]
async fn who_is_banned_is_out_and_does_not_come_back_until_the_ban_is_lifted() {
    let (owner, ann, eve) = (Person::new(9), Person::new(1), Person::new(3));
    let mut space = owned(&owner);
    let mut admin = space.member(&ann).await;
    admin.log_in(&owner).await;
    admin
        .accepted(&owner.event(9007, &[&["h", "den"]], ""))
        .await;
    admin
        .accepted(&owner.event(9002, &[&["h", "den"], &["private"]], ""))
        .await;
    let mut client = space.member(&eve).await;
    client.join(&eve, "den").await;
    let secret = owner.event(9, &[&["h", "den"]], "the secret");
    admin.accepted(&secret).await;
    assert_eq!(
        client
            .query(json!({"#h": ["den"], "kinds": [9]}))
            .await
            .len(),
        1
    );
    client
        .subscribe("live", json!({"#h": ["den", "general"], "kinds": [9]}))
        .await
        .unwrap();
    space
        .manage(&owner, "banpubkey", json!([eve.hex(), "spam"]))
        .await;
    for restarted in [false, true] {
        assert!(client.subscribe("x", json!({"#h": ["den"]})).await.is_err());
        assert!(client.query(json!({"ids": [secret.id]})).await.is_empty());
        for event in [
            eve.event(9, &[GENERAL], "hello"),
            eve.event(9021, &[GENERAL], "let me back in"),
            eve.event(9021, &[&["h", "no-such-channel"]], ""),
            eve.event(28934, &[&["-"]], ""),
            eve.event(0, &[], "{}"),
            eve.event(7, &[GENERAL, &["e", &secret.id.to_hex()]], "+"),
        ] {
            client.refused(&event, "blocked").await;
        }
        let back = owner.event(9000, &[GENERAL, &["p", &eve.hex()]], "");
        admin.refused(&back, "blocked").await;
        space
            .not_managed(&owner, "allowpubkey", json!([eve.hex()]), "blocked")
            .await;
        let banned = space.manage(&owner, "listbannedpubkeys", json!([])).await;
        assert_eq!(banned, json!([{"pubkey": eve.hex(), "reason": "spam"}]));
        if !restarted {
            // What was subscribed before hears nothing of the private channel.
            admin
                .accepted(&owner.event(9, &[&["h", "den"]], "without eve"))
                .await;
            admin.accepted(&owner.event(9, &[GENERAL], "for all")).await;
            assert_eq!(client.live("live").await["content"], "for all");
            drop((client, admin));
            space.restart();
            client = space.connect_as(&eve).await;
            admin = space.connect_as(&owner).await;
        }
    }
    space
        .manage(&owner, "unbanpubkey", json!([eve.hex()]))
        .await;
    client
        .accepted(&eve.event(9021, &[GENERAL], "thank you"))
        .await;
    client.accepted(&eve.event(9, &[GENERAL], "sorry")).await;
}

#[tokio::test]
async fn a_ban_in_the_middle_of_posting_lets_nothing_through_after_its_answer() {
    let (owner, eve) = (Person::new(9), Person::new(3));
    let space = std::sync::Arc::new(owned(&owner));
    let mut client = space.member(&eve).await;
    let (started, begin) = tokio::sync::oneshot::channel();
    let posting = tokio::spawn({
        let eve = Person::new(3);
        async move {
            let mut started = Some(started);
            let mut taken = 0;
            for n in 0..150 {
                let event = eve.event(9, &[GENERAL], &format!("flood {n}"));
                let (accepted, reason) = client.publish(&event).await;
                if let Some(started) = started.take() {
                    started.send(()).unwrap();
                }
                if !accepted {
                    assert!(reason.starts_with("blocked: "), "{reason}");
                    return (client, eve, taken);
                }
                taken += 1;
            }
            (client, eve, taken)
        }
    });
    begin.await.unwrap();
    space.manage(&owner, "banpubkey", json!([eve.hex()])).await;
    let (mut client, eve, taken) = posting.await.unwrap();
    client
        .refused(&eve.event(9, &[GENERAL], "one more"), "blocked")
        .await;
    let mut reader = space.connect_as(&owner).await;
    let stored = reader
        .query(json!({"kinds": [9], "authors": [eve.hex()]}))
        .await;
    assert_eq!(
        stored.len(),
        taken,
        "what was answered OK is there, and nothing more"
    );
}

#[tokio::test]
async fn a_time_out_ends_by_itself_and_survives_a_restart() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let mut space = owned(&owner);
    let mut client = space.member(&ann).await;
    let before = ann.event(9, &[GENERAL], "before");
    client.accepted(&before).await;
    let until = START + 100;
    space
        .manage(&owner, "timeout", json!([ann.hex(), until, "cool down"]))
        .await;
    space.restart();
    let mut client = space.connect_as(&ann).await;
    client
        .refused(&ann.event(9, &[GENERAL], "during"), "restricted")
        .await;
    let like = ann.event(7, &[GENERAL, &["e", &before.id.to_hex()]], "+");
    client.refused(&like, "restricted").await;
    assert_eq!(
        client
            .query(json!({"kinds": [9], "#h": ["general"]}))
            .await
            .len(),
        1
    );
    client
        .accepted(&ann.event(5, &[&["e", &before.id.to_hex()]], "sorry"))
        .await;
    space.now.store(until, Ordering::SeqCst);
    client.accepted(&ann.event(9, &[GENERAL], "after")).await;
    space
        .manage(&owner, "timeout", json!([ann.hex(), until + 100]))
        .await;
    client
        .refused(&ann.event(9, &[GENERAL], "again"), "restricted")
        .await;
    space.manage(&owner, "timeout", json!([ann.hex(), 0])).await;
    client.accepted(&ann.event(9, &[GENERAL], "forgiven")).await;
}

#[tokio::test]
async fn slow_mode_makes_people_wait_also_after_a_deletion_and_a_restart() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let mut space = owned(&owner);
    let mut client = space.member(&ann).await;
    client.log_in(&owner).await;
    space
        .manage(&owner, "slowmode", json!(["general", 30]))
        .await;
    let at = |second: u32, text: &str| ann.event_at(START + second, 9, &[GENERAL], text);
    let first = at(0, "first");
    client.accepted(&first).await;
    client.refused(&at(0, "at once"), "rate-limited").await;
    client
        .accepted(&ann.event(5, &[&["e", &first.id.to_hex()]], ""))
        .await;
    client
        .refused(&at(0, "after a deletion"), "rate-limited")
        .await;
    client
        .refused(
            &ann.event_at(START - 600, 9, &[GENERAL], "of old"),
            "invalid",
        )
        .await;
    client
        .refused(&at(600, "of tomorrow"), "rate-limited")
        .await;
    client.accepted(&owner.event(9, &[GENERAL], "one")).await;
    client.accepted(&owner.event(9, &[GENERAL], "two")).await;
    space.now.store(START + 30, Ordering::SeqCst);
    client.accepted(&at(30, "second")).await;
    space.restart();
    let mut client = space.connect_as(&ann).await;
    client
        .refused(&at(31, "after a restart"), "rate-limited")
        .await;
    space.now.store(START + 60, Ordering::SeqCst);
    client.accepted(&at(60, "third")).await;
    space
        .manage(&owner, "slowmode", json!(["general", 0]))
        .await;
    client.accepted(&at(60, "fourth")).await;
}

#[tokio::test]
async fn words_and_links_that_are_not_wanted_are_refused_for_all_but_managers() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let mut space = owned(&owner);
    let filters = json!([{"words": ["weed", "*spam"], "links": ["example.org"]}]);
    space.manage(&owner, "setfilters", filters).await;
    let too_many: Vec<String> = (0..201).map(|n| format!("word{n}")).collect();
    space
        .not_managed(
            &owner,
            "setfilters",
            json!([{"words": too_many}]),
            "invalid",
        )
        .await;
    space
        .not_managed(
            &owner,
            "setfilters",
            json!([{"links": ["not a host"]}]),
            "invalid",
        )
        .await;
    space.restart();
    let mut client = space.member(&ann).await;
    client.log_in(&owner).await;
    for text in ["WEED", "wееd", "nospamhere", "see https://evil.example/"] {
        client
            .refused(&ann.event(9, &[GENERAL], text), "blocked")
            .await;
    }
    client
        .accepted(&ann.event(9, &[GENERAL], "seaweed at https://example.org/"))
        .await;
    client
        .accepted(&owner.event(9, &[GENERAL], "no weed here"))
        .await;
    space.manage(&owner, "setfilters", json!([{}])).await;
    client.accepted(&ann.event(9, &[GENERAL], "weed")).await;
}

#[tokio::test]
async fn mentions_of_everyone_need_the_permission() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let space = owned(&owner);
    let mut client = space.member(&ann).await;
    let mention: &[&[&str]] = &[GENERAL, &["mention", "everyone"]];
    client
        .refused(&ann.event(9, mention, "look"), "restricted")
        .await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "moderator"]))
        .await;
    client.accepted(&ann.event(9, mention, "look")).await;
}

#[tokio::test]
async fn nip56_reports_wait_for_moderators_who_alone_see_them() {
    let (owner, ann, ben, eve) = (
        Person::new(9),
        Person::new(1),
        Person::new(2),
        Person::new(3),
    );
    let mut space = owned(&owner);
    let mut client = space.connect().await;
    for person in [&ann, &ben, &eve] {
        client.log_in(person).await;
        client.join(person, "general").await;
    }
    space
        .manage(&owner, "assignrole", json!([ben.hex(), "moderator"]))
        .await;
    let bad = eve.event(9, &[GENERAL], "bad");
    let fine = eve.event(9, &[GENERAL], "fine");
    client.accepted(&bad).await;
    client.accepted(&fine).await;
    let report = |event: &nostr::event::Event| {
        let (e, p) = (event.id.to_hex(), eve.hex());
        ann.event(1984, &[&["e", &e, "spam"], &["p", &p]], "look at this")
    };
    let reports = [report(&bad), report(&fine)];
    for report in &reports {
        client.accepted(report).await;
    }
    client
        .refused(&ann.event(1984, &[], "nobody"), "invalid")
        .await;
    space.restart();
    let asked = json!({"kinds": [1984]});
    for person in [&ann, &eve] {
        let mut client = space.connect_as(person).await;
        assert!(client.query(asked.clone()).await.is_empty());
        space
            .not_managed(
                person,
                "listeventsneedingmoderation",
                json!([]),
                "restricted",
            )
            .await;
    }
    let mut moderator = space.connect_as(&ben).await;
    assert_eq!(moderator.query(asked).await.len(), 2);
    let queue = space
        .manage(&ben, "listeventsneedingmoderation", json!([]))
        .await;
    assert_eq!(queue.as_array().unwrap().len(), 2);
    assert_eq!(
        (&queue[0]["id"], &queue[0]["reason"]),
        (&json!(bad.id), &json!("spam"))
    );
    space
        .manage(&ben, "banevent", json!([bad.id, "spam"]))
        .await;
    space.manage(&ben, "allowevent", json!([fine.id])).await;
    space.restart();
    let queue = space
        .manage(&ben, "listeventsneedingmoderation", json!([]))
        .await;
    assert_eq!(queue, json!([]));
    let mut client = space.connect_as(&eve).await;
    assert!(client.query(json!({"ids": [bad.id]})).await.is_empty());
    assert_eq!(client.query(json!({"ids": [fine.id]})).await.len(), 1);
    client.refused(&bad, "blocked").await;
    let banned = space.manage(&ben, "listbannedevents", json!([])).await;
    assert_eq!(banned, json!([{"id": bad.id, "reason": "spam"}]));
    for n in 0..20 {
        let mut ann_client = space.connect_as(&ann).await;
        let again = ann.event(1984, &[&["p", &eve.hex(), "spam"]], &n.to_string());
        ann_client.accepted(&again).await;
        if n == 19 {
            let more = ann.event(1984, &[&["p", &eve.hex(), "spam"]], "more");
            ann_client.refused(&more, "rate-limited").await;
        }
    }
}

#[tokio::test]
async fn the_log_holds_every_act_signed_by_the_space_and_outlives_channels() {
    let (owner, ann, ben) = (Person::new(9), Person::new(1), Person::new(2));
    let mut space = owned(&owner);
    let mut client = space.connect().await;
    for person in [&ann, &ben] {
        client.log_in(person).await;
        client.join(person, "general").await;
    }
    client.log_in(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "den"]], ""))
        .await;
    let bad = ben.event(9, &[GENERAL], "bad");
    client.accepted(&bad).await;
    client
        .accepted(&owner.event(9005, &[GENERAL, &["e", &bad.id.to_hex()]], "rude"))
        .await;
    client
        .accepted(&owner.event(9001, &[GENERAL, &["p", &ben.hex()]], "out"))
        .await;
    space
        .manage(&owner, "timeout", json!([ben.hex(), START + 50]))
        .await;
    space
        .manage(&owner, "banpubkey", json!([ben.hex(), "enough"]))
        .await;
    let invite = space.manage(&owner, "createinvite", json!([{}])).await;
    client
        .accepted(&owner.event(9008, &[&["h", "den"]], "done"))
        .await;
    space.restart();
    let lines = space.manage(&owner, "audit", json!([])).await;
    let acts: std::collections::BTreeSet<String> = lines
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let event: nostr::event::Event = serde_json::from_value(line.clone()).unwrap();
            event.verify().unwrap();
            assert!(line["tags"].to_string().contains(&owner.hex()), "{line}");
            let mut tags = line["tags"].as_array().unwrap().iter();
            tags.find(|tag| tag[0] == "act").unwrap()[1]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected = [
        "ban",
        "create-channel",
        "create-invite",
        "delete-channel",
        "delete-event",
        "kick",
        "time-out",
    ];
    assert_eq!(acts, expected.map(String::from).into());
    // A moderator reads it as events too, but no codes; a member reads nothing.
    let asked = json!({"kinds": [4240], "#h": ["general"]});
    let mut client = space.connect_as(&ann).await;
    assert!(client.query(asked.clone()).await.is_empty());
    assert!(client.query(json!({"kinds": [4240]})).await.is_empty());
    space
        .not_managed(&ann, "audit", json!([]), "restricted")
        .await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "moderator"]))
        .await;
    assert_eq!(client.query(asked).await.len(), 2);
    let seen = space.manage(&ann, "audit", json!([])).await.to_string();
    assert!(seen.contains("enough") && !seen.contains(invite["code"].as_str().unwrap()));
}
