//! The checks that the relay-tester of Mike Dilger has for relays, group by group, as a space answers them. Where a check
//! asks for what a space does not do on purpose (strangers who write, messages from last year), the refusal is checked.
//! What other tests hold already is not repeated:
//!
//! | check | test |
//! |---|---|
//! | auth: kind, relay, challenge and time are verified | `nip42_a_proof_is_bound_to_challenge_space_time_and_signature` |
//! | nip11 | `nip11_the_description_is_complete`, `nips.rs` |
//! | reg: signatures and ids are verified | `ids_that_lie_are_refused_and_hide_nothing` |
//! | ephemeral: heard, not kept | `nip01_ephemeral_events_are_heard_and_not_kept` |
//! | replaceables: metadata replaces | `nip01_only_the_newest_version_of_a_replaceable_event_stays` |
//! | delete: by id, resubmission | `nip09_the_author_deletes_and_what_was_deleted_stays_away` |

use crate::common::{Client, Person, SERVICE, START, TestSpace, contents, ids};
use nostr::event::Event;
use serde_json::{Value, json};

const H: &[&str] = &["h", "general"];

async fn club() -> (TestSpace, Client, Person) {
    let space = TestSpace::with(|config| config.limits.event_burst = 1000);
    let ann = Person::new(1);
    let client = space.member(&ann).await;
    (space, client, ann)
}

/// The next message that is one of these.
async fn next_of(client: &mut Client, verbs: &[&str]) -> Value {
    loop {
        let message = client.next().await;
        assert!(!message.is_null(), "the connection ended");
        if verbs.contains(&message[0].as_str().unwrap()) {
            return message;
        }
    }
}

#[tokio::test]
async fn auth_is_asked_for_at_once_and_proofs_of_something_else_are_refused() {
    let (space, _client, _) = club().await;
    let eve = Person::new(5);
    let mut client = space.connect().await; // waits for the challenge
    assert_eq!(client.challenge.len(), 64);
    let (url, challenge) = (format!("ws://{SERVICE}.warren/"), client.challenge.clone());
    let proof = |at: u32, kind: u16, relay: &str, challenge: &str| {
        let tags: &[&[&str]] = &[&["relay", relay], &["challenge", challenge]];
        eve.event_at(at, kind, tags, "")
    };
    for bad in [
        proof(START, 1, &url, &challenge),
        proof(START, 22242, "ws://elsewhere.example/", &challenge),
        proof(START, 22242, &url, "another"),
        proof(START - 3600, 22242, &url, &challenge),
    ] {
        client.send(json!(["AUTH", bad])).await;
        assert!(!client.answer(&bad).await.0);
    }
    // Somebody unknown may say who they are.
    client.log_in(&eve).await;
}

#[tokio::test]
async fn eose_comes_and_the_subscription_stays_open() {
    let (_space, mut client, ann) = club().await;
    for (id, filter) in [
        (
            "nobody",
            json!({"authors": [Person::new(7).hex()], "kinds": [1], "limit": 10}),
        ),
        ("one", json!({"ids": ["de".repeat(32)], "kinds": [1]})),
        (
            "past",
            json!({"authors": [ann.hex()], "kinds": [9], "limit": 10, "until": START}),
        ),
    ] {
        assert!(client.subscribe(id, filter).await.unwrap().is_empty());
    }
    let event = ann.event(9, &[H], "hello");
    client.accepted(&event).await;
    assert_eq!(client.live("past").await["id"], json!(event.id));
}

#[tokio::test]
async fn strangers_read_and_write_nothing() {
    let (space, mut member, ann) = club().await;
    member.accepted(&ann.event(9, &[H], "hello")).await;
    let eve = Person::new(5);
    let mut nobody = space.connect().await;
    nobody
        .refused(&eve.event(1, &[], "x"), "auth-required")
        .await;
    let mut client = space.connect_as(&eve).await;
    for event in [
        eve.event(1, &[], "x"),
        eve.event(10002, &[&["r", "ws://x"]], ""),
        eve.event(10050, &[&["relay", "ws://x"]], ""),
        eve.event(23195, &[], ""),
        eve.event(9, &[H], "x"),
    ] {
        client.refused(&event, "restricted").await;
    }
    let found = client.query(json!({"kinds": [9]})).await;
    assert_eq!(contents(&found), ["hello"]);
}

/// What the space says to an event whose JSON is written in another way; its id is that of the event.
async fn raw(client: &mut Client, event: &Event, content: &str) -> (String, Value) {
    let mut value = json!(event);
    value["content"] = json!("CONTENT");
    let text = json!(["EVENT", value]).to_string();
    client
        .send_text(text.replace("\"CONTENT\"", &format!("\"{content}\"")))
        .await;
    let answer = next_of(client, &["OK", "NOTICE"]).await;
    (answer[0].as_str().unwrap().into(), answer[2].clone())
}

#[tokio::test]
async fn json_is_read_however_it_is_escaped_and_given_back_as_it_was_signed() {
    let (_space, mut client, ann) = club().await;
    let texts = [
        (
            "line\nquote\"slash\\return\rtab\tback\u{8}feed\u{c}",
            r#"line\nquote\"slash\\return\rtab\tback\bfeed\f"#,
        ),
        ("\u{0}\u{1}\u{1f}/\u{7f}", "\\u0000\\u0001\\u001F\\/\u{7f}"),
        ("ä😀", r"\u00e4\ud83d\ude00"),
        ("\u{fdd1}\u{1fffe}", "\u{fdd1}\u{1fffe}"),
    ];
    for (text, written) in texts {
        let event = ann.event(9, &[H], text);
        let answer = raw(&mut client, &event, written).await;
        assert_eq!(answer, ("OK".into(), json!(true)), "{written}");
        let found = client.query(json!({"ids": [event.id]})).await;
        assert_eq!(contents(&found), [text]);
        let back: Event = serde_json::from_value(found[0].clone()).unwrap();
        assert!(back.verify_id() && back.verify_signature());
    }
    // What is no JSON: control characters as they are, half of a pair.
    for (text, written) in [("a\nb", "a\nb"), ("x", r"\ud83d")] {
        let event = ann.event(9, &[H], text);
        assert_ne!(raw(&mut client, &event, written).await.1, true);
    }
    // Fields that nobody knows are read over, in any order.
    let event = ann.event(9, &[H], "extra");
    let value = json!(event);
    let field = |name: &str| format!("\"{name}\":{}", value[name]);
    let names = [
        "sig",
        "content",
        "tags",
        "kind",
        "created_at",
        "pubkey",
        "id",
    ];
    let fields: Vec<String> = names.iter().map(|name| field(name)).collect();
    client
        .send_text(format!("[\"EVENT\",{{\"zzz\":[1],{}}}]", fields.join(",")))
        .await;
    assert!(client.answer(&event).await.0);
}

#[tokio::test]
async fn events_that_cannot_be_are_answered_and_the_connection_goes_on() {
    let (_space, mut client, ann) = club().await;
    let value = json!(ann.event(9, &[H], "x"));
    for (name, wrong) in [
        ("created_at", "-200"),
        ("created_at", "1e+10"),
        ("created_at", "1.5"),
        ("created_at", "\"1\""),
        ("kind", "65536"),
        ("kind", "-1"),
        ("tags", "[[],[]]"),
        ("tags", "[[1]]"),
        ("tags", "{}"),
        ("content", "null"),
        ("id", "\"\""),
        ("sig", "\"00\""),
    ] {
        let right = format!("\"{name}\":{}", value[name]);
        let text = value.to_string();
        assert!(text.contains(&right));
        let text = text.replace(&right, &format!("\"{name}\":{wrong}"));
        client.send_text(format!("[\"EVENT\",{text}]")).await;
        let answer = next_of(&mut client, &["NOTICE", "OK"]).await;
        // An event whose id can be read is answered by it.
        match name {
            "id" => assert_eq!(answer[0], "NOTICE", "{wrong}: {answer}"),
            _ => assert_eq!(
                (&answer[1], &answer[2]),
                (&value["id"], &json!(false)),
                "{name} {wrong}: {answer}"
            ),
        }
    }
    for filter in [
        r#"{"kinds":[65536]}"#,
        r#"{"since":-1}"#,
        r#"{"ids":["abcd"]}"#,
        r#"{"authors":["abcd"]}"#,
        r#"{"limit":-1}"#,
        r#"{"kinds":"9"}"#,
    ] {
        client
            .send_text(format!("[\"REQ\",\"bad\",{filter}]"))
            .await;
        let answer = next_of(&mut client, &["NOTICE", "CLOSED", "EOSE", "EVENT"]).await;
        // A half of an id is nobody's: a filter that cannot match may also be answered with nothing.
        assert_ne!(answer[0], "EVENT", "{filter}: {answer}");
    }
    client.accepted(&ann.event(9, &[H], "still here")).await;
}

#[tokio::test]
async fn dates_far_from_now_are_refused_and_those_of_a_day_are_taken() {
    let (_space, mut client, ann) = club().await;
    let day = 24 * 3600;
    let at = |at: u32| ann.event_at(at, 9, &[H], "dated");
    for good in [START, START - day, START + 14 * 60] {
        client.accepted(&at(good)).await;
    }
    // A week, a month, a year ago, before Nostr, before 2000, 1970; then the future, past 31 and 32 bits.
    for bad in [
        START - 7 * day,
        START - 28 * day,
        START - 365 * day,
        1_420_070_461,
        915_148_861,
        0,
        START + 16 * 60,
        START + 365 * day,
        2_147_483_649,
        u32::MAX,
    ] {
        client.refused(&at(bad), "invalid").await;
    }
    let mut beyond = json!(at(START));
    for date in [4_294_967_297u64, i64::MAX as u64, u64::MAX] {
        beyond["created_at"] = json!(date);
        client.send(json!(["EVENT", beyond])).await;
        let answer = next_of(&mut client, &["OK", "NOTICE"]).await;
        assert!(answer[0] == "NOTICE" || answer[2] == false, "{answer}");
    }
    // What is not of a channel may be old: a profile is written once. Private messages are dated wrongly on purpose.
    client.accepted(&ann.event_at(0, 0, &[], "{}")).await;
    client
        .accepted(&Person::new(8).event_at(START - 2 * day, 1059, &[&["p", &ann.hex()]], ""))
        .await;
    client
        .refused(&ann.event_at(START + day, 0, &[], "{}"), "invalid")
        .await;
}

#[tokio::test]
async fn events_are_found_by_everything_and_in_order() {
    let (_space, mut client, ann) = club().await;
    let ben = Person::new(2);
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let (a, b): (&[&str], &[&str]) = (&["t", "a"], &["t", "b"]);
    let all = [
        ann.event_at(START - 60, 9, &[H, a], "1"),
        ann.event_at(START - 50, 9, &[H, b, &["r", "x"]], "2"),
        ann.event_at(START - 40, 11, &[H, a, b], "3"),
        ben.event_at(START - 30, 9, &[H, a], "4"),
        ben.event_at(START - 20, 30023, &[H, &["d", "wood"]], "5"),
    ];
    for event in [3, 0, 4, 1, 2].map(|n| &all[n]) {
        client.accepted(event).await;
    }
    let every: Vec<String> = all.iter().map(|event| event.id.to_hex()).collect();
    let kinds = [9, 11, 30023];
    let wood = format!("30023:{}:wood", ben.hex());
    assert!(wood.len() > 64);
    for (filter, expected) in [
        (json!({"ids": every}), "54321"),
        (json!({"kinds": kinds}), "54321"),
        (json!({"kinds": kinds, "limit": 2}), "54"),
        (json!({"kinds": kinds, "limit": 0}), ""),
        (json!({"authors": [ann.hex()], "kinds": [9]}), "21"),
        (
            json!({"authors": [ann.hex(), ben.hex()], "kinds": [9, 11]}),
            "4321",
        ),
        (json!({"authors": [ann.hex()], "#t": ["a"]}), "31"),
        (json!({"kinds": [9], "#t": ["a"]}), "41"),
        (json!({"#t": ["a", "b"]}), "4321"),
        (json!({"#t": ["b"], "#r": ["x"]}), "2"),
        (json!({"#t": ["a"], "#r": ["x"]}), ""),
        (
            json!({"kinds": [30023], "#d": ["wood"], "authors": [ben.hex()]}),
            "5",
        ),
        (json!([{"#t": ["b"]}, {"kinds": [30023]}]), "325"),
        (
            json!({"kinds": kinds, "since": START - 40, "until": START - 40}),
            "3",
        ),
        (json!({"kinds": kinds, "since": START - 30}), "54"),
        (json!({"kinds": kinds, "until": START - 50}), "21"),
        (
            json!({"kinds": kinds, "since": START, "until": START - 60}),
            "",
        ),
    ] {
        let found = client.query(filter.clone()).await;
        assert_eq!(contents(&found).concat(), expected, "{filter}");
    }
    // Of the same second, the lowest id first.
    let same: Vec<Event> = (0..6)
        .map(|n| ann.event_at(START - 5, 9, &[H, &["t", "same"]], &n.to_string()))
        .collect();
    for event in &same {
        client.accepted(event).await;
    }
    let found = ids(&client.query(json!({"#t": ["same"]})).await);
    assert!(found.is_sorted(), "{found:?}");
}

#[tokio::test]
async fn replaceable_events_replace_what_is_older_and_nothing_else() {
    let (_space, mut client, ann) = club().await;
    let list = |at: u32, url: &str| ann.event_at(at, 10002, &[&["r", url]], url);
    let article = |at: u32, d: &str, text: &str| ann.event_at(at, 30023, &[H, &["d", d]], text);
    let versions = [
        (
            list(START - 20, "a"),
            list(START - 10, "b"),
            list(START - 15, "c"),
        ),
        (
            article(START - 20, "x", "a"),
            article(START - 10, "x", "b"),
            article(START - 15, "x", "c"),
        ),
    ];
    client.accepted(&article(START - 12, "y", "other")).await;
    for (old, new, between) in versions {
        client.accepted(&old).await;
        client.accepted(&new).await;
        let (accepted, reason) = client.publish(&between).await;
        assert!(accepted && reason.starts_with("duplicate: "), "{reason}");
        let kind = new.kind.as_u16();
        let found = client
            .query(json!({"kinds": [kind], "authors": [ann.hex()]}))
            .await;
        let others = if kind == 30023 {
            vec!["b", "other"]
        } else {
            vec!["b"]
        };
        assert_eq!(contents(&found), others);
        let gone = json!({"ids": [old.id, between.id]});
        assert!(client.query(gone).await.is_empty());
    }
    // Of the same second the lower id stays, whichever comes first.
    for (d, order) in [("lower first", [0, 1]), ("higher first", [1, 0])] {
        let mut twins = [article(START, d, "1"), article(START, d, "2")];
        twins.sort_by_key(|event| event.id);
        for n in order {
            assert!(client.publish(&twins[n]).await.0);
        }
        let found = client.query(json!({"#d": [d], "kinds": [30023]})).await;
        assert_eq!(ids(&found), [twins[0].id.to_hex()], "{d}");
    }
}

#[tokio::test]
async fn deletions_by_address_take_what_is_older_of_that_name_and_author() {
    let (_space, mut client, ann) = club().await;
    let ben = Person::new(2);
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let article = |at: u32, d: &str, text: &str| ann.event_at(at, 30023, &[H, &["d", d]], text);
    let address = |d: &str| format!("30023:{}:{d}", ann.hex());
    let (old, other) = (
        article(START - 20, "x", "old"),
        article(START - 20, "y", "other"),
    );
    client.accepted(&old).await;
    client.accepted(&other).await;
    // By others: taken as any request, and nothing goes.
    for tag in [["e", &*old.id.to_hex()], ["a", &*address("x")]] {
        client
            .accepted(&ben.event_at(START - 15, 5, &[H, &tag], ""))
            .await;
    }
    let all = json!({"kinds": [30023]});
    assert_eq!(client.query(all.clone()).await.len(), 2);
    // Older than the version: nothing goes.
    let early = ann.event_at(START - 30, 5, &[H, &["a", &address("x")]], "");
    client.accepted(&early).await;
    assert_eq!(client.query(all.clone()).await.len(), 2);
    let deletion = ann.event_at(START - 10, 5, &[H, &["a", &address("x")]], "");
    client.accepted(&deletion).await;
    assert_eq!(contents(&client.query(all.clone()).await), ["other"]);
    client.refused(&old, "blocked").await;
    client
        .refused(&article(START - 11, "x", "as old"), "blocked")
        .await;
    client.accepted(&article(START - 5, "x", "new")).await;
    assert_eq!(contents(&client.query(all).await), ["new", "other"]);
    // A reaction to what was deleted is its author's own, and stays.
    let message = ann.event(9, &[H], "cake?");
    client.accepted(&message).await;
    let reaction = ben.event(7, &[H, &["e", &message.id.to_hex()]], "+");
    client.accepted(&reaction).await;
    client
        .accepted(&ann.event(5, &[H, &["e", &message.id.to_hex()]], ""))
        .await;
    let left = client.query(json!({"kinds": [7]})).await;
    assert_eq!(ids(&left), [reaction.id.to_hex()]);
}

#[tokio::test]
async fn a_connection_may_come_back_at_once() {
    let (space, client, ann) = club().await;
    drop(client);
    for _ in 0..20 {
        let mut again = space.connect_as(&ann).await;
        assert!(again.query(json!({"kinds": [9]})).await.is_empty());
    }
}
