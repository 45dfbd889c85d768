//! What a client sees of a space as a plain relay: NIP-01, 11 and 42.

use std::sync::Arc;

use crate::common::{Person, SERVICE, START, TestSpace, contents, http, ids};
use serde_json::{Value, json};

const GENERAL: &[&str] = &["h", "general"];

#[tokio::test]
async fn nip11_the_description_is_complete() {
    let space = TestSpace::new();
    let answer = http(
        &space,
        "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"));
    assert!(
        head.to_lowercase()
            .contains("access-control-allow-origin: *")
    );
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["name"], "Garden club");
    assert_eq!(body["self"].as_str().unwrap().len(), 64);
    assert_eq!(body["limitation"]["max_subscriptions"], 64);
    assert_eq!(body["limitation"]["created_at_upper_limit"], 15 * 60);
    assert_eq!(body["limitation"]["restricted_writes"], true);
}

#[tokio::test]
async fn http_requests_that_are_not_for_a_relay_get_plain_answers() {
    let space = TestSpace::new();
    assert!(
        http(
            &space,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .await
        .starts_with("HTTP/1.1 200")
    );
    assert!(
        http(
            &space,
            "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .await
        .starts_with("HTTP/1.1 404")
    );
    assert!(
        http(
            &space,
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .await
        .starts_with("HTTP/1.1 405")
    );
    let old = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let old = http(&space, old).await;
    assert!(
        old.starts_with("HTTP/1.1 426") && old.contains("sec-websocket-version: 13"),
        "{old}"
    );
    assert!(
        http(
            &space,
            "OPTIONS / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .await
        .starts_with("HTTP/1.1 204")
    );
    assert!(
        http(&space, "nonsense\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
}

#[tokio::test]
async fn nip01_a_message_is_stored_answered_and_heard_live() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut writer = space.member(&ann).await;
    let mut reader = space.member(&ben).await;
    assert!(
        reader
            .subscribe("s", json!({"kinds": [9], "#h": ["general"]}))
            .await
            .unwrap()
            .is_empty()
    );
    let event = ann.event(9, &[GENERAL], "hello");
    writer.accepted(&event).await;
    let heard = reader.live("s").await;
    assert_eq!(heard, serde_json::to_value(&event).unwrap());
    assert_eq!(
        ids(&reader.query(json!({"ids": [event.id]})).await),
        [event.id.to_hex()]
    );
    assert_eq!(
        writer.publish(&event).await,
        (true, "duplicate: this is already here".into())
    );
}

#[tokio::test]
async fn nip01_filters_find_exactly_what_they_say() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let mut all = Vec::new();
    for n in 0..20u32 {
        let person = if n % 2 == 0 { &ann } else { &ben };
        let topic = format!("topic{}", n % 3);
        let kind = if n % 5 == 0 { 1 } else { 9 };
        all.push(person.event_at(
            START - 100 + n,
            kind,
            &[GENERAL, &["t", &topic]],
            &format!("m{n}"),
        ));
    }
    for event in &all {
        client.accepted(event).await;
    }
    let newest = |events: Vec<&nostr::event::Event>| {
        events
            .iter()
            .rev()
            .map(|event| event.id.to_hex())
            .collect::<Vec<_>>()
    };
    let h = json!(["general"]);
    for restarted in [false, true] {
        let got = client
            .query(
                json!({"#h": h, "#t": ["topic1", "topic2"], "kinds": [9], "authors": [ann.hex()]}),
            )
            .await;
        let want = all
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 2 == 0 && n % 3 != 0 && n % 5 != 0)
            .map(|(_, event)| event)
            .collect();
        assert_eq!(ids(&got), newest(want));
        let got = client
            .query(json!({"kinds": [1, 9], "since": START - 95, "until": START - 90}))
            .await;
        assert_eq!(ids(&got), newest(all[5..=10].iter().collect()));
        let got = client.query(json!({"kinds": [9, 1], "limit": 3})).await;
        assert_eq!(ids(&got), newest(all[17..].iter().collect()));
        let got = client
            .query(json!([{"ids": [all[3].id]}, {"ids": [all[3].id, all[4].id]}]))
            .await;
        assert_eq!(got.len(), 2);
        assert!(client.query(json!({"kinds": []})).await.is_empty());
        assert!(
            client
                .query(json!({"kinds": [9], "limit": 0}))
                .await
                .is_empty()
        );
        assert!(
            client
                .query(json!({"#t": ["topic1"], "#h": ["general"], "authors": ["00".repeat(32)]}))
                .await
                .is_empty()
        );
        if !restarted {
            // The same from the index as from the newest events in memory.
            space.space().close();
            let mut again = TestSpace {
                dir: tempfile::tempdir().unwrap(),
                now: Arc::clone(&space.now),
                space: None,
                config: space.config.clone(),
            };
            drop(client);
            again.config.name = "again".into();
            wait_until_closed(&space).await;
            again.open();
            client = again.connect_as(&ann).await;
            std::mem::forget(again); // lives as long as the process: the directory belongs to `space`
        }
    }
}

/// The connections hold the space's files until their tasks have ended.
async fn wait_until_closed(space: &TestSpace) {
    while space.space().summary().connections > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nip01_only_the_newest_version_of_a_replaceable_event_stays() {
    let mut space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let old = ann.event_at(START - 10, 0, &[], r#"{"name":"old"}"#);
    let new = ann.event_at(START - 5, 0, &[], r#"{"name":"new"}"#);
    let older = ann.event_at(START - 20, 0, &[], r#"{"name":"older"}"#);
    client.accepted(&old).await;
    client.accepted(&new).await;
    assert_eq!(
        client.publish(&older).await,
        (true, "duplicate: a newer version is already here".into())
    );
    assert_eq!(
        ids(&client.query(json!({"kinds": [0]})).await),
        [new.id.to_hex()]
    );
    assert!(client.query(json!({"ids": [old.id]})).await.is_empty());
    let first = ann.event_at(START - 10, 30023, &[GENERAL, &["d", "a"]], "1");
    let second = ann.event_at(START - 9, 30023, &[GENERAL, &["d", "a"]], "2");
    let other = ann.event_at(START - 8, 30023, &[GENERAL, &["d", "b"]], "3");
    for event in [&first, &second, &other] {
        client.accepted(event).await;
    }
    drop(client);
    space.restart();
    let mut client = space.connect().await;
    assert_eq!(
        ids(&client.query(json!({"kinds": [0]})).await),
        [new.id.to_hex()]
    );
    assert_eq!(
        contents(&client.query(json!({"kinds": [30023]})).await),
        ["3", "2"]
    );
}

#[tokio::test]
async fn nip01_ephemeral_events_are_heard_and_not_kept() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    client
        .subscribe("s", json!({"kinds": [20001], "#h": ["general"]}))
        .await
        .unwrap();
    let event = ann.event(20001, &[GENERAL], "typing");
    client.send(json!(["EVENT", event])).await;
    assert_eq!(client.live("s").await["id"], event.id.to_hex());
    assert!(client.query(json!({"kinds": [20001]})).await.is_empty());
}

#[tokio::test]
async fn nip01_what_is_wrong_is_refused_with_a_prefix() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let good = ann.event(9, &[GENERAL], "hello");
    let mut other_words = good.clone();
    other_words.content = "changed".into();
    client.refused(&other_words, "invalid").await;
    let mut forged = ann.event(9, &[GENERAL], "forged");
    forged.sig = good.sig;
    client.refused(&forged, "invalid").await;
    client
        .refused(
            &ann.event(9, &[GENERAL, &["h", "other"]], "two channels"),
            "invalid",
        )
        .await;
    client
        .refused(&ann.event(39000, &[&["d", "general"]], ""), "restricted")
        .await;
    client
        .refused(&ann.event(1, &[], "no channel"), "restricted")
        .await;
    client
        .refused(&ann.event(9, &[&["h", "nowhere"]], ""), "restricted")
        .await;
    client
        .refused(
            &ann.event(9, &[GENERAL, &["previous", "00000000"]], ""),
            "invalid",
        )
        .await;
    let prefix = good.id.to_hex()[..8].to_owned();
    client.accepted(&good).await;
    client
        .accepted(&ann.event(9, &[GENERAL, &["previous", &prefix]], "reply"))
        .await;
    client.send_text("nonsense".into()).await;
    assert_eq!(client.next().await[0], "NOTICE");
    client
        .send_text(format!(
            "[\"REQ\",\"x\",{}]",
            "{},".repeat(11).trim_end_matches(',')
        ))
        .await;
    assert_eq!(client.next().await[0], "CLOSED");
    client
        .send_text(format!("[\"CLOSE\",\"{}\"]", "x".repeat(200 * 1024)))
        .await;
    assert!(
        client.next().await.is_null(),
        "a message that is far too long ends the connection"
    );
}

#[tokio::test]
async fn nip01_a_new_subscription_of_the_same_name_takes_the_place_of_the_old() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    client.subscribe("s", json!({"kinds": [9]})).await.unwrap();
    client.subscribe("s", json!({"kinds": [11]})).await.unwrap();
    let (nine, eleven) = (
        ann.event(9, &[GENERAL], "9"),
        ann.event(11, &[GENERAL], "11"),
    );
    client.accepted(&nine).await;
    client.send(json!(["EVENT", eleven])).await;
    assert_eq!(client.live("s").await["content"], "11");
    client.send(json!(["CLOSE", "s"])).await;
    client.accepted(&ann.event(11, &[GENERAL], "after")).await;
    assert!(
        client
            .subscribe("t", json!({"kinds": [11], "limit": 0}))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn nip42_nobody_writes_for_another_and_several_people_share_a_connection() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.connect().await;
    let join = ann.event(9021, &[GENERAL], "");
    client.refused(&join, "auth-required").await;
    client.log_in(&ann).await;
    client.accepted(&join).await;
    client
        .refused(&ben.event(9021, &[GENERAL], ""), "auth-required")
        .await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    client
        .accepted(&ann.event(9, &[GENERAL], "still ann"))
        .await;
    client.accepted(&ben.event(9, &[GENERAL], "and ben")).await;
    let wrong = ann.event(
        22242,
        &[
            &["relay", "ws://elsewhere.example/"],
            &["challenge", &client.challenge.clone()],
        ],
        "",
    );
    client.send(json!(["AUTH", wrong])).await;
    let (accepted, reason) = client.answer(&wrong).await;
    assert!(!accepted && reason.starts_with("invalid: "), "{reason}");
    let mut other = space.connect().await;
    assert_ne!(other.challenge, client.challenge);
    let url = format!("ws://{SERVICE}.warren");
    let replayed = ann.event(
        22242,
        &[&["relay", &url], &["challenge", &client.challenge.clone()]],
        "",
    );
    other.send(json!(["AUTH", replayed])).await;
    assert!(
        !other.answer(&replayed).await.0,
        "a proof is good for one connection"
    );
    client.refused(&replayed, "invalid").await;
}

#[tokio::test]
async fn who_writes_too_fast_is_told_so() {
    let space = TestSpace::with(|config| {
        config.limits.event_burst = 3;
        config.limits.events_per_minute = 1;
        config.limits.message_burst = 30;
        config.limits.messages_per_second = 1;
    });
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let answers = [
        client.publish(&ann.event(9, &[GENERAL], "1")).await,
        client.publish(&ann.event(9, &[GENERAL], "2")).await,
    ];
    assert!(answers.iter().all(|(accepted, _)| *accepted));
    client
        .refused(&ann.event(9, &[GENERAL], "3"), "rate-limited")
        .await;
    for _ in 0..60 {
        client.send(json!(["CLOSE", "x"])).await;
    }
    assert!(
        client
            .subscribe("s", json!({}))
            .await
            .unwrap_err()
            .starts_with("rate-limited: ")
    );
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_and_hurts_nobody() {
    let space = TestSpace::with(|config| {
        config.limits.reader_backlog_bytes = 64 * 1024;
        config.limits.event_burst = 10_000;
        config.limits.message_burst = 10_000;
    });
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut lazy = space.member(&ben).await;
    lazy.subscribe("s", json!({"kinds": [9]})).await.unwrap();
    let mut writer = space.member(&ann).await;
    assert_eq!(space.space().summary().connections, 2);
    let long = "x".repeat(10_000);
    for n in 0..40 {
        writer
            .accepted(&ann.event(9, &[GENERAL], &format!("{n} {long}")))
            .await;
    }
    while space.space().summary().connections > 1 {
        tokio::task::yield_now().await;
    }
    writer
        .accepted(&ann.event(9, &[GENERAL], "still served"))
        .await;
}

#[tokio::test]
async fn a_long_answer_comes_in_pages_and_is_complete() {
    let space = TestSpace::with(|config| {
        config.limits.event_burst = 10_000;
        config.limits.message_burst = 10_000;
        config.limits.query_events = 2000;
    });
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let mut want = Vec::new();
    for n in 0..1500u32 {
        let event = ann.event_at(START - 1500 + n / 7, 9, &[GENERAL], &format!("{n}"));
        want.push(event);
    }
    // A hundred at a time: whoever sends without end and never reads is hung up on.
    for batch in want.chunks(100) {
        for event in batch {
            client.send(json!(["EVENT", event])).await;
        }
        for event in batch {
            assert!(client.answer_or_seen(event).await);
        }
    }
    want.sort();
    let got = client.query(json!({"kinds": [9], "#h": ["general"]})).await;
    assert_eq!(
        ids(&got),
        want.iter()
            .map(|event| event.id.to_hex())
            .collect::<Vec<_>>()
    );
    let one = client.query(json!({"kinds": [9], "limit": 777})).await;
    assert_eq!(
        ids(&one),
        want[..777]
            .iter()
            .map(|event| event.id.to_hex())
            .collect::<Vec<_>>()
    );
}

impl crate::common::Client {
    /// Waits for the answer to an event of several that were sent at once; answers come in the order of sending.
    async fn answer_or_seen(&mut self, event: &nostr::event::Event) -> bool {
        self.answer(event).await.0
    }
}
