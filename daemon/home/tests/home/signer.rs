//! The signer as apps meet it (NIP-46), over real sockets: connecting, being allowed, being refused, coming back.

use std::collections::HashMap;
use std::time::Duration;

use crate::common::app::{App, ann_and_app, hear, note, offer, say, socket, waiting};
use crate::common::http::Program;
use crate::common::{PASS, PATIENCE, TestHome, home, limits};
use nostr::event::{Event, EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip44;
use serde_json::{Value, json};
use warren_home::Limits;

#[tokio::test]
async fn nip46_an_app_signs_and_encrypts_as_far_as_it_is_allowed() {
    let (_dir, _wire, home) = home(limits()).await;
    let all = [
        "sign_event:1",
        "nip04_encrypt",
        "nip04_decrypt",
        "nip44_encrypt",
        "nip44_decrypt",
    ];
    let (ann, mut app) = ann_and_app(&home, &all).await;
    assert_eq!(app.connect().await.unwrap(), "ack");
    assert_eq!(app.ask("ping", &[]).await.unwrap(), "pong");
    assert_eq!(app.ask("switch_relays", &[]).await.unwrap(), "null");
    let person = app.ask("get_public_key", &[]).await.unwrap();
    assert_eq!(
        ann.done("GET", "account", &Value::Null).await["public_key"],
        json!(person)
    );
    assert_ne!(
        person,
        app.signer.to_hex(),
        "the address does not tell who it is for"
    );
    let signed: Event =
        serde_json::from_str(&app.ask("sign_event", &[&note(1, "hello")]).await.unwrap()).unwrap();
    assert!(signed.verify().is_ok());
    assert_eq!(
        (
            signed.pubkey.to_hex(),
            signed.content.as_str(),
            signed.created_at.as_secs()
        ),
        (person.clone(), "hello", 1_714_078_911)
    );
    let friend = Keys::generate();
    let to = friend.public_key().to_hex();
    let person = PublicKey::from_hex(&person).unwrap();
    for version in ["nip04", "nip44"] {
        let sealed = app
            .ask(&format!("{version}_encrypt"), &[&to, "a secret"])
            .await
            .unwrap();
        let opened = match version {
            "nip04" => nostr::nips::nip04::decrypt(friend.secret_key(), &person, &sealed),
            _ => nip44::decrypt(friend.secret_key(), &person, &sealed),
        };
        assert_eq!(opened.unwrap(), "a secret");
        assert_eq!(
            app.ask(&format!("{version}_decrypt"), &[&to, &sealed])
                .await
                .unwrap(),
            "a secret"
        );
    }
    let long = "x".repeat(60_000);
    let sealed = app.ask("nip44_encrypt", &[&to, &long]).await.unwrap();
    assert_eq!(
        nip44::decrypt(friend.secret_key(), &person, &sealed).unwrap(),
        long
    );
}

#[tokio::test]
async fn nip46_what_is_refused_or_impossible_is_answered() {
    let (_dir, _wire, home) = home(limits()).await;
    let (_ann, mut app) = ann_and_app(&home, &["sign_event:1", "nip44_decrypt"]).await;
    for method in ["ping", "get_public_key", "sign_event", "logout", "dance"] {
        assert_eq!(
            app.refused(method, &[]).await,
            "unauthorized",
            "{method} before connect"
        );
    }
    let (signer, other) = (app.signer.to_hex(), Keys::generate().public_key().to_hex());
    assert_eq!(
        app.refused("connect", &[&signer, "wrong"]).await,
        "unauthorized"
    );
    assert_eq!(app.refused("connect", &[&signer]).await, "unauthorized");
    assert_eq!(app.refused("connect", &[&other, "wrong"]).await, "invalid");
    app.connect().await.unwrap();
    let foreign = json!({"kind": 1, "content": "", "created_at": 1, "pubkey": other}).to_string();
    for (method, params) in [
        ("dance", vec![]),
        ("sign_event", vec![]),
        ("sign_event", vec!["hello"]),
        ("sign_event", vec![foreign.as_str()]),
        ("nip44_decrypt", vec![other.as_str()]),
        ("nip44_decrypt", vec!["zz", "x"]),
        ("nip44_decrypt", vec![other.as_str(), "not encrypted"]),
    ] {
        assert_eq!(
            app.refused(method, &params).await,
            "invalid",
            "{method} {params:?}"
        );
    }
}

#[tokio::test]
async fn nip46_a_person_allows_once_for_good_or_not_at_all() {
    let (_dir, _wire, home) = home(limits()).await;
    let (ann, mut app) = ann_and_app(&home, &[]).await;
    app.connect().await.unwrap();
    let decide = async |allow: bool, remember: bool, expected: &str| {
        let request = waiting(&ann).await;
        assert_eq!(
            (&request["permission"], &request["app"]["name"]),
            (&json!(expected), &json!("Notes"))
        );
        let path = format!("requests/{}", request["id"].as_str().unwrap());
        ann.done(
            "POST",
            &path,
            &json!({"allow": allow, "remember": remember}),
        )
        .await;
        assert_eq!(
            ann.refused("POST", &path, &json!({"allow": allow})).await,
            "unknown",
            "once decided"
        );
        request["preview"].clone()
    };
    let id = app.send("sign_event", &[&note(1, "one")]).await;
    assert_eq!(decide(false, false, "sign_event:1").await, json!("one"));
    assert!(app.answer(&id).await.unwrap_err().starts_with("denied:"));
    let id = app.send("sign_event", &[&note(1, "two")]).await;
    decide(true, false, "sign_event:1").await;
    assert!(app.answer(&id).await.unwrap().contains("two"));
    // Two wait; the first answer that is remembered is for both.
    let (one, two) = (
        app.send("sign_event", &[&note(1, "three")]).await,
        app.send("sign_event", &[&note(1, "four")]).await,
    );
    let both = async {
        while ann.done("GET", "requests", &Value::Null).await["requests"]
            .as_array()
            .unwrap()
            .len()
            < 2
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    decide(true, true, "sign_event:1").await;
    assert!(app.answer(&one).await.unwrap().contains("three"));
    assert!(app.answer(&two).await.unwrap().contains("four"));
    assert!(
        app.ask("sign_event", &[&note(1, "five")])
            .await
            .unwrap()
            .contains("five"),
        "no question any more"
    );
    let id = app.send("sign_event", &[&note(0, "profile")]).await;
    let request = waiting(&ann).await;
    assert_eq!(
        request["permission"], "sign_event:0",
        "another kind is another question"
    );
    let path = format!("apps/{}", request["app"]["id"].as_str().unwrap());
    ann.done("PATCH", &path, &json!({"permissions": ["sign_event"]}))
        .await;
    assert!(app.answer(&id).await.unwrap().contains("profile"));
    let id = app
        .send("nip44_decrypt", &[&app.signer.to_hex(), "x"])
        .await;
    waiting(&ann).await;
    ann.done("DELETE", &path, &Value::Null).await;
    assert!(app.answer(&id).await.unwrap_err().starts_with("denied:"));
    assert_eq!(app.refused("ping", &[]).await, "unauthorized");
    assert_eq!(
        app.connect().await.unwrap_err().split_once(':').unwrap().0,
        "unauthorized",
        "the address is used up"
    );
}

#[tokio::test]
async fn nip46_nobody_who_decides_is_an_answer_too_and_few_may_wait() {
    let (_dir, _wire, home) = home(Limits {
        approval: Duration::from_millis(1),
        ..limits()
    })
    .await;
    let (_ann, mut app) = ann_and_app(&home, &[]).await;
    app.connect().await.unwrap();
    let answer = app
        .ask("sign_event", &[&note(1, "hello")])
        .await
        .unwrap_err();
    assert!(
        answer.starts_with("denied:") && answer.contains("in time"),
        "{answer}"
    );

    let (_dir, _wire, home) = self::home(Limits {
        approvals_waiting: 1,
        ..limits()
    })
    .await;
    let (ann, mut app) = ann_and_app(&home, &[]).await;
    app.connect().await.unwrap();
    app.send("sign_event", &[&note(1, "first")]).await;
    waiting(&ann).await;
    assert_eq!(
        app.refused("sign_event", &[&note(1, "second")]).await,
        "rate-limited"
    );
}

#[tokio::test]
async fn nip46_an_app_that_comes_back_keeps_what_it_was_allowed() {
    let (dir, wire, home) = home(limits()).await;
    let (ann, mut app) = ann_and_app(&home, &["sign_event:1"]).await;
    let uri = format!(
        "bunker://{}?relay=ws%3A%2F%2Flocalhost%2Fsigner&secret={}",
        app.signer, app.secret
    );
    for _ in 0..3 {
        assert_eq!(app.connect().await.unwrap(), "ack", "the same secret");
    }
    let signer = app.signer.to_hex();
    assert_eq!(
        app.ask("connect", &[&signer]).await.unwrap(),
        "ack",
        "no secret"
    );
    let mut thief = App::open(&home, &Keys::generate(), &uri).await;
    assert!(
        thief
            .connect()
            .await
            .unwrap_err()
            .starts_with("unauthorized:"),
        "an address is for one app"
    );
    // A new address for the same app adds to what it has.
    let more = offer(&ann, &["nip44_encrypt"]).await;
    let mut app = App::open(&home, &app.keys, &more).await;
    app.connect().await.unwrap();
    assert!(app.ask("sign_event", &[&note(1, "still")]).await.is_ok());
    assert!(app.ask("nip44_encrypt", &[&signer, "now"]).await.is_ok());
    let apps = ann.done("GET", "apps", &Value::Null).await;
    assert_eq!(apps["apps"].as_array().unwrap().len(), 1, "{apps}");

    // After a restart the account is sealed until its person is here; the app is told, and keeps its place.
    let token = ann.token.clone();
    home.close();
    let home = TestHome::open(dir.path(), "a", &wire).await;
    let mut app = App::open(&home, &app.keys, &more).await;
    assert_eq!(app.ask("ping", &[]).await.unwrap(), "pong");
    assert_eq!(
        app.refused("sign_event", &[&note(1, "sealed")]).await,
        "sealed"
    );
    let ann = Program { home: &home, token };
    ann.done("GET", "session", &Value::Null).await;
    assert!(app.ask("sign_event", &[&note(1, "open")]).await.is_ok());
    ann.done("DELETE", "session", &Value::Null).await;
    assert_eq!(
        app.refused("sign_event", &[&note(1, "logged out")]).await,
        "sealed"
    );
    assert_eq!(app.ask("logout", &[]).await.unwrap(), "ack");
    assert_eq!(app.refused("ping", &[]).await, "unauthorized");
}

#[tokio::test]
async fn nip46_what_an_app_asks_for_at_connecting_is_shown_and_given_only_by_its_person() {
    let (_dir, _wire, home) = home(Limits {
        approval: Duration::from_millis(1),
        ..limits()
    })
    .await;
    let (ann, mut app) = ann_and_app(&home, &["nip44_encrypt"]).await;
    let (signer, secret) = (app.signer.to_hex(), app.secret.clone());
    let about = json!({"name": "Evil\u{202e} name", "url": "https://notes.example"}).to_string();
    let connect = [
        signer.as_str(),
        &secret,
        "sign_event:1,nip44_encrypt,dance",
        &about,
    ];
    app.ask("connect", &connect).await.unwrap();
    let apps = ann.done("GET", "apps", &Value::Null).await;
    let shown = &apps["apps"][0];
    assert_eq!(
        (&shown["asked"], &shown["permissions"]),
        (&json!(["sign_event:1"]), &json!(["nip44_encrypt"]))
    );
    assert_eq!(
        (&shown["name"], &shown["url"]),
        (&json!("Notes"), &json!("https://notes.example")),
        "the person's name for it stays"
    );
    assert!(app.ask("sign_event", &[&note(1, "x")]).await.is_err());
    let path = format!("apps/{}", shown["id"].as_str().unwrap());
    assert_eq!(
        ann.refused("PATCH", &path, &json!({"permissions": ["dance"]}))
            .await,
        "field_invalid"
    );
    let shown = ann
        .done("PATCH", &path, &json!({"permissions": ["sign_event:1"]}))
        .await;
    assert_eq!(
        (&shown["asked"], &shown["permissions"]),
        (&json!([]), &json!(["sign_event:1"]))
    );
    assert!(app.ask("sign_event", &[&note(1, "x")]).await.is_ok());
    assert!(
        app.ask("nip44_encrypt", &[&signer, "x"]).await.is_err(),
        "exactly these"
    );
}

#[tokio::test]
async fn nip46_an_app_may_bring_its_own_address_if_it_listens_here() {
    let (_dir, _wire, home) = home(limits()).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let keys = Keys::generate();
    let client = keys.public_key().to_hex();
    let mut socket = socket(&home).await;
    say(
        &mut socket,
        &json!(["REQ", "a", {"kinds": [24133], "#p": [client]}]),
    )
    .await;
    hear(&mut socket).await;
    let uri = |relay: &str| json!({"uri": format!("nostrconnect://{client}?relay={relay}&secret=s3cret&name=Notes&perms=sign_event%3A1"), "permissions": ["sign_event:1"]});
    assert_eq!(
        ann.refused(
            "POST",
            "apps/connect",
            &uri("wss%3A%2F%2Felsewhere.example")
        )
        .await,
        "listens_elsewhere"
    );
    let app = ann
        .done(
            "POST",
            "apps/connect",
            &uri("ws%3A%2F%2Flocalhost%2Fsigner"),
        )
        .await;
    assert_eq!(app["app"]["permissions"], json!(["sign_event:1"]));
    let message = hear(&mut socket).await;
    let event: Event = serde_json::from_value(message[2].clone()).unwrap();
    let text = nip44::decrypt(keys.secret_key(), &event.pubkey, &event.content).unwrap();
    assert!(text.contains("\"result\":\"s3cret\""), "{text}");
    let mut app = App {
        keys,
        signer: event.pubkey,
        secret: String::new(),
        socket,
        count: 0,
        early: HashMap::new(),
    };
    assert!(app.ask("sign_event", &[&note(1, "hello")]).await.is_ok());
}

#[tokio::test]
async fn the_signers_relay_carries_nothing_else_and_shows_nobody_everything() {
    let (_dir, _wire, home) = home(limits()).await;
    let (_ann, mut app) = ann_and_app(&home, &[]).await;
    app.connect().await.unwrap();
    let mut socket = socket(&home).await;
    let stranger = Keys::generate();
    let to = |key: &PublicKey| Tag::parse(["p", &key.to_hex()]).unwrap();
    let event = |kind: Kind, key: &PublicKey| {
        EventBuilder::new(kind, "x")
            .tags([to(key)])
            .finalize(&stranger)
            .unwrap()
    };
    let old = {
        let template = nostr::event::UnsignedEvent::new(
            stranger.public_key(),
            nostr::types::Timestamp::from_secs(1000),
            Kind::NostrConnect,
            [to(&app.signer)],
            "x",
        );
        nostr::event::SignEvent::sign_event(&stranger, template).unwrap()
    };
    let mut forged = serde_json::to_value(event(Kind::NostrConnect, &app.signer)).unwrap();
    forged["content"] = json!("y");
    for (event, prefix) in [
        (
            serde_json::to_value(event(Kind::TextNote, &app.signer)).unwrap(),
            "restricted:",
        ),
        (
            serde_json::to_value(event(Kind::NostrConnect, &stranger.public_key())).unwrap(),
            "restricted:",
        ),
        (
            serde_json::to_value(event(Kind::NostrConnect, &app.signer)).unwrap(),
            "invalid:",
        ),
        (serde_json::to_value(old).unwrap(), "invalid:"),
        (forged, "invalid:"),
        (json!({"id": "x"}), "invalid:"),
    ] {
        say(&mut socket, &json!(["EVENT", event])).await;
        let answer = hear(&mut socket).await;
        assert_eq!((&answer[0], &answer[2]), (&json!("OK"), &json!(false)));
        assert!(answer[3].as_str().unwrap().starts_with(prefix), "{answer}");
    }
    for filter in [
        json!({}),
        json!({"kinds": [24133]}),
        json!({"kinds": [24133], "#p": []}),
        json!({"ids": "x"}),
    ] {
        say(&mut socket, &json!(["REQ", "a", filter])).await;
        assert_eq!(hear(&mut socket).await[0], "CLOSED", "{filter}");
    }
    for message in [
        json!({}),
        json!(["DANCE"]),
        json!(["REQ", ""]),
        json!(["EVENT", 5]),
    ] {
        say(&mut socket, &message).await;
        assert_eq!(hear(&mut socket).await[0], "NOTICE", "{message}");
    }
    // The same request again is not taken twice.
    let request = app.event(&json!({"id": "1", "method": "ping", "params": []}).to_string());
    for (n, taken) in [true, false].into_iter().enumerate() {
        say(&mut socket, &json!(["EVENT", request])).await;
        assert_eq!(hear(&mut socket).await[2], taken, "time {n}");
    }
    // Who sends without end is slowed down, and told so.
    let flood = async {
        loop {
            say(&mut socket, &json!(["EVENT", {"id": "x"}])).await;
            if hear(&mut socket).await[3]
                .as_str()
                .unwrap()
                .starts_with("rate-limited:")
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, flood).await.unwrap();
}
