//! What a stranger can make a space hold or do has an end, and others do not notice.

use crate::common::{Client, Person, START, TestSpace, contents};
use serde_json::{Value, json};

/// Waits until one of the messages has this verb, and gives it.
async fn until(client: &mut Client, verb: &str) -> Value {
    loop {
        let message = client.next().await;
        assert!(!message.is_null(), "the connection ended before {verb}");
        if message[0] == verb {
            return message;
        }
    }
}

/// Whether somebody else is served as ever.
async fn others_are_served(space: &TestSpace, ann: &Person) {
    let mut other = space.connect_as(ann).await;
    let found = other.query(json!({"kinds": [9], "limit": 1})).await;
    assert_eq!(contents(&found), ["hello"]);
}

async fn with_hello(space: &TestSpace) -> (Client, Person) {
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    client
        .accepted(&ann.event(9, &[&["h", "general"]], "hello"))
        .await;
    (client, ann)
}

#[tokio::test]
async fn a_bomb_of_questions_ends_in_refusals_and_others_are_served() {
    let space = TestSpace::with(|config| {
        config.limits.message_burst = 10_000;
        config.limits.subscriptions = 20;
    });
    let (_client, ann) = with_hello(&space).await;
    let mut bomb = space.connect().await;
    for n in 0..200 {
        let id = format!("{n}");
        bomb.send(json!(["REQ", id, {}])).await;
        bomb.send(json!(["COUNT", id, {}, {"search": "hello"}]))
            .await;
        bomb.send(json!(["NEG-OPEN", id, {}, "61"])).await;
    }
    bomb.send(json!(["REQ", "0", {"ids": []}])).await;
    let (mut closed, mut stopped) = (0, 0);
    // Everything is answered somehow; the last question takes the place of the first and is served.
    loop {
        let message = bomb.next().await;
        match message[0].as_str() {
            Some("CLOSED") => closed += 1,
            Some("NEG-ERR") => stopped += 1,
            Some("EOSE") if message[1] == "0" && closed >= 180 => break,
            Some(_) => {}
            None => panic!("the connection ended"),
        }
    }
    assert!(closed >= 180 && stopped >= 1, "{closed} {stopped}");
    others_are_served(&space, &ann).await;
}

#[tokio::test]
async fn who_asks_too_fast_is_told_so_for_every_kind_of_question() {
    let space = TestSpace::with(|config| {
        config.limits.message_burst = 1;
        config.limits.messages_per_second = 0;
    });
    let mut client = space.connect().await;
    client.send(json!(["REQ", "first", {"ids": []}])).await;
    until(&mut client, "EOSE").await;
    for (question, verb) in [
        (json!(["REQ", "q", {}]), "CLOSED"),
        (json!(["COUNT", "q", {}]), "CLOSED"),
        (json!(["NEG-OPEN", "q", {}, "61"]), "NEG-ERR"),
        (json!(["NEG-MSG", "q", "61"]), "NEG-ERR"),
    ] {
        client.send(question).await;
        let answer = until(&mut client, verb).await;
        assert_eq!(answer[1], "q");
        assert!(answer[2].as_str().unwrap().starts_with("rate-limited: "));
    }
}

#[tokio::test]
async fn filters_that_match_everything_or_nothing_cost_what_others_cost() {
    let space = TestSpace::with(|config| {
        config.limits.message_burst = 10_000;
        config.limits.event_burst = 10_000;
        config.limits.query_events = 50;
    });
    let (mut client, ann) = with_hello(&space).await;
    for n in 0..300u32 {
        let event = ann.event_at(START - 1000 + n, 9, &[&["h", "general"]], "filler");
        client.accepted(&event).await;
    }
    assert_eq!(
        client.query(json!({})).await.len(),
        50,
        "a filter without a limit has ours"
    );
    let nobody: Vec<String> = (0..900).map(|n| format!("{n:064x}")).collect();
    assert!(
        client
            .query(json!({"authors": nobody, "kinds": [9]}))
            .await
            .is_empty()
    );
    assert!(
        client
            .query(json!({"ids": nobody, "search": "filler"}))
            .await
            .is_empty()
    );
    let channels: Vec<String> = (0..900).map(|n| format!("c{n}")).collect();
    let reason = client
        .subscribe("x", json!({"#h": channels}))
        .await
        .unwrap_err();
    assert!(reason.starts_with("restricted: "), "{reason}");
    let many: Vec<String> = (0..1001).map(|n| format!("{n}")).collect();
    let reason = client
        .subscribe("x", json!({"#t": many}))
        .await
        .unwrap_err();
    assert!(reason.starts_with("invalid: "), "{reason}");
    assert!(client.query(json!({"since": u64::MAX})).await.is_empty());
    assert!(
        client
            .query(json!({"until": 0, "search": "hello"}))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn ten_megabytes_of_json_end_that_connection_only() {
    let space = TestSpace::new();
    let (_client, ann) = with_hello(&space).await;
    let big = "x".repeat(10 << 20);
    for message in [
        json!(["EVENT", {"content": big}]),
        json!(["REQ", "s", {"search": big}]),
        json!(["NEG-MSG", "s", big]),
    ] {
        let mut client = space.connect().await;
        client.send_text(message.to_string()).await;
        while !client.next().await.is_null() {}
    }
    others_are_served(&space, &ann).await;
}

#[tokio::test]
async fn deep_nesting_is_refused_and_the_connection_goes_on() {
    let space = TestSpace::new();
    let (mut client, _ann) = with_hello(&space).await;
    let (open, close) = ("[".repeat(20_000), "]".repeat(20_000));
    for (word, text) in [
        ("NOTICE", format!("{open}{close}")),
        ("CLOSED", format!("[\"REQ\",\"s\",{open}{close}]")),
        (
            "CLOSED",
            format!("[\"COUNT\",\"s\",{{\"kinds\":{open}{close}}}]"),
        ),
        (
            "NEG-ERR",
            format!("[\"NEG-OPEN\",\"s\",{{}},{open}{close}]"),
        ),
        ("NOTICE", format!("[\"EVENT\",{{\"tags\":{open}{close}}}]")),
    ] {
        client.send_text(text).await;
        let answer = until(&mut client, word).await;
        let reason = if word == "NOTICE" {
            &answer[1]
        } else {
            &answer[2]
        };
        assert!(reason.as_str().unwrap().starts_with("invalid: "));
        assert!(reason.as_str().unwrap().len() < 200, "the answer is short");
    }
    assert_eq!(client.query(json!({"kinds": [9]})).await.len(), 1);
}

#[tokio::test]
async fn ids_that_lie_are_refused_and_hide_nothing() {
    let space = TestSpace::new();
    let (mut client, ann) = with_hello(&space).await;
    let (honest, other) = (
        ann.event(9, &[&["h", "general"]], "honest"),
        ann.event(9, &[&["h", "general"]], "other"),
    );
    // The id of another event, before and after that one is here.
    let mut liar = other.clone();
    liar.id = honest.id;
    client.refused(&liar, "invalid").await;
    client.accepted(&honest).await;
    client.refused(&liar, "invalid").await;
    // The right id under a signature of something else.
    let mut unsigned = other.clone();
    unsigned.sig = honest.sig;
    client.refused(&unsigned, "invalid").await;
    let found = client.query(json!({"ids": [honest.id, other.id]})).await;
    assert_eq!(contents(&found), ["honest"]);
}

#[tokio::test]
async fn each_filter_of_a_question_is_paid_for() {
    let space = TestSpace::with(|config| {
        config.limits.message_burst = 25;
        config.limits.messages_per_second = 0;
    });
    let mut client = space.connect().await;
    let filters = vec![json!({"ids": ["0".repeat(64)]}); 10];
    let question = |verb: &str| {
        let mut question = vec![json!(verb), json!("q")];
        question.extend(filters.iter().cloned());
        Value::Array(question)
    };
    client.send(question("REQ")).await;
    until(&mut client, "EOSE").await;
    client.send(question("COUNT")).await;
    until(&mut client, "COUNT").await;
    client.send(question("REQ")).await;
    let refused = client.next().await;
    assert_eq!(refused[0], "CLOSED");
    assert!(refused[2].as_str().unwrap().starts_with("rate-limited: "));
    client.send(json!(["REQ", "one", filters[0]])).await;
    until(&mut client, "EOSE").await;
}
