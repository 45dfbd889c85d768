//! The interface towards others: browsers and their other pages, crowds, NIP-05, NIP-98, and other homes.

use crate::common::http::{Program, ask, between};
use crate::common::{PASS, TestHome, home, limits, login};
use nostr::event::{EventBuilder, FinalizeEvent, Kind, Tag};
use nostr::key::Keys;
use serde_json::{Value, json};
use warren_home::Limits;

#[tokio::test]
async fn twenty_people_who_want_one_name_at_once_get_one_account() {
    let (_dir, _wire, home) = home(Limits {
        logins_waiting: 100,
        ..limits()
    })
    .await;
    let tries = (0..20).map(|_| async {
        Program::new(&home)
            .call("POST", "accounts", &login("Ann", PASS))
            .await
            .0
    });
    let got = futures_util::future::join_all(tries).await;
    assert_eq!(
        got.iter().filter(|status| **status == 201).count(),
        1,
        "{got:?}"
    );
    assert_eq!(
        got.iter().filter(|status| **status == 409).count(),
        19,
        "{got:?}"
    );
}

#[tokio::test]
async fn a_browser_carries_its_token_in_a_cookie_that_no_script_and_no_other_page_gets() {
    let (_dir, _wire, home) = home(limits()).await;
    let json = "Content-Type: application/json\r\n";
    let body = json!({"name": "Ann", "passphrase": PASS}).to_string();
    let made = ask(&home, "POST", "/api/1/accounts", json, &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(made.head.contains("httponly; samesite=strict") && !made.body.contains("token"));
    let cookie = format!("Cookie: {}\r\n", between(&made.head, "set-cookie: ", ";"));
    let me = ask(&home, "GET", "/api/1/session", &cookie, "").await;
    assert!(me.body.contains("\"kind\":\"account\""), "{}", me.body);
    for (headers, status, code) in [
        (
            format!("{cookie}{json}Origin: http://evil.example\r\n"),
            403,
            "other_origin",
        ),
        (
            format!("{cookie}{json}Sec-Fetch-Site: cross-site\r\n"),
            403,
            "other_origin",
        ),
        (
            format!("{cookie}Content-Type: text/plain\r\n"),
            415,
            "not_json",
        ),
        (cookie.clone(), 415, "not_json"),
    ] {
        let answer = ask(
            &home,
            "PATCH",
            "/api/1/account",
            &headers,
            "{\"findable\":true}",
        )
        .await;
        assert_eq!(answer.status, status, "{headers}");
        assert!(answer.body.contains(code), "{}", answer.body);
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(20_000));
    assert_eq!(
        ask(
            &home,
            "PATCH",
            "/api/1/account",
            &format!("{cookie}{json}"),
            &long
        )
        .await
        .status,
        413
    );
    let out = ask(&home, "DELETE", "/api/1/session", &cookie, "").await;
    assert!(
        out.head.contains("home=; path=/; max-age=0"),
        "{}",
        out.head
    );
    assert!(
        ask(&home, "GET", "/api/1/session", &cookie, "")
            .await
            .body
            .contains("nobody")
    );
    for (method, path) in [
        ("GET", "/api/2/session"),
        ("GET", "/api/1/nothing"),
        ("OPTIONS", "/api/1/account"),
    ] {
        let answer = ask(&home, method, path, json, "").await;
        assert!(
            answer.status >= 400 && !answer.head.contains("access-control"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn who_tries_passphrases_too_often_is_asked_to_wait_and_a_crowd_to_come_again() {
    let (_dir, _wire, home) = home(Limits {
        login_burst: 3,
        ..limits()
    })
    .await;
    let nobody = Program::new(&home);
    for _ in 0..3 {
        assert_eq!(
            nobody.refused("POST", "session", &login("Ann", PASS)).await,
            "wrong_passphrase"
        );
    }
    let (status, answer) = nobody.call("POST", "session", &login("Ann", PASS)).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (429, &json!("rate_limited"))
    );
    assert!(
        (1..=10).contains(&answer["error"]["args"]["seconds"].as_u64().unwrap()),
        "{answer}"
    );
    assert_eq!(
        nobody.call("GET", "session", &Value::Null).await.0,
        200,
        "the rest goes on"
    );

    let (_dir, _wire, busy) = self::home(Limits {
        logins_waiting: 1,
        ..limits()
    })
    .await;
    let tries = (0..30).map(|_| async {
        Program::new(&busy)
            .call("POST", "session", &login("Ann", PASS))
            .await
            .0
    });
    let got = futures_util::future::join_all(tries).await;
    assert!(got.contains(&403) && got.contains(&503), "{got:?}");
    assert!(
        got.iter().all(|status| [403, 503].contains(status)),
        "{got:?}"
    );
}

#[tokio::test]
async fn nip05_tells_of_those_who_want_to_be_found_and_of_nobody_else() {
    let (_dir, _wire, home) = home(limits()).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    let find = async |name: &str| {
        let answer = ask(
            &home,
            "GET",
            &format!("/.well-known/nostr.json?name={name}"),
            "Origin: http://app.example\r\n",
            "",
        )
        .await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("access-control-allow-origin: *"));
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let hidden = find("ann").await;
    assert_eq!(hidden, find("nobody").await);
    assert_eq!(hidden["names"], json!({}));
    let account = ann
        .done(
            "PATCH",
            "account",
            &json!({"findable": true, "relays": ["wss://relay.example"]}),
        )
        .await;
    let found = find("ann").await;
    let key = account["public_key"].as_str().unwrap();
    assert_eq!(found["names"], json!({"ann": key}));
    assert_eq!(found["relays"][key], json!(["wss://relay.example"]));
    assert_eq!(found["nip46"]["relays"], json!(["ws://localhost/signer"]));
    assert_eq!(find("").await["names"], json!({}));
    let zhanna = Program::sign_up(&home, "Жанна", PASS).await;
    assert_eq!(
        zhanna
            .refused("PATCH", "account", &json!({"findable": true}))
            .await,
        "handle_invalid"
    );
    zhanna
        .done(
            "PATCH",
            "account",
            &json!({"findable": true, "handle": "zhanna"}),
        )
        .await;
    assert_eq!(find("zhanna").await["names"].as_object().unwrap().len(), 1);
    zhanna
        .done(
            "PATCH",
            "account",
            &json!({"findable": false, "handle": null}),
        )
        .await;
    assert_eq!(find("zhanna").await["names"], json!({}));
}

#[tokio::test]
async fn an_account_moves_to_another_home_with_what_it_allowed() {
    let (dir, wire, home) = home(limits()).await;
    let ann = Program::sign_up(&home, "Ann", PASS).await;
    ann.done(
        "PATCH",
        "account",
        &json!({"findable": true, "relays": ["wss://relay.example"]}),
    )
    .await;
    ann.done(
        "POST",
        "apps",
        &json!({"name": "Notes", "permissions": ["sign_event:1"]}),
    )
    .await;
    let before = ann.done("GET", "account", &Value::Null).await;
    let ask_wrong =
        json!({"passphrase": "not the passphrase", "document_passphrase": "for the journey"});
    assert_eq!(
        ann.refused("POST", "account/export", &ask_wrong).await,
        "wrong_passphrase"
    );
    let ask = json!({"passphrase": PASS, "document_passphrase": "for the journey"});
    let document = ann.done("POST", "account/export", &ask).await["document"].clone();
    assert!(!document.to_string().contains("Notes"), "it is sealed");
    let bring = |document: &Value, sealing: &str, name: &str| json!({"document": document, "document_passphrase": sealing, "name": name, "passphrase": "at the new home", "session": "bearer"});
    let here = Program::new(&home);
    assert_eq!(
        here.refused(
            "POST",
            "accounts/import",
            &bring(&document, "for the journey", "")
        )
        .await,
        "account_exists"
    );

    let other = TestHome::open(dir.path(), "b", &wire).await;
    let there = Program::new(&other);
    assert_eq!(
        there
            .refused(
                "POST",
                "accounts/import",
                &bring(&document, "something else", "")
            )
            .await,
        "wrong_passphrase"
    );
    for (field, value) in [
        ("warren_account", json!(2)),
        ("kib", json!(1 << 30)),
        ("public_key", json!("00")),
        ("sealed", json!("zz")),
    ] {
        let mut spoiled = document.clone();
        spoiled[field] = value;
        assert_eq!(
            there
                .refused(
                    "POST",
                    "accounts/import",
                    &bring(&spoiled, "for the journey", "")
                )
                .await,
            "document_invalid",
            "{field}"
        );
    }
    let moved = Program::enter(
        &other,
        "accounts/import",
        201,
        &bring(&document, "for the journey", ""),
    )
    .await;
    let after = moved.done("GET", "account", &Value::Null).await;
    for field in ["name", "handle", "findable", "relays", "public_key"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let apps = moved.done("GET", "apps", &Value::Null).await;
    assert_eq!(apps["apps"][0]["permissions"], json!(["sign_event:1"]));
    assert_eq!(
        moved.done("GET", "devices", &Value::Null).await["devices"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    Program::log_in(&other, "Ann", "at the new home").await;
}

#[tokio::test]
async fn nip98_lets_somebody_in_whose_key_stays_elsewhere() {
    let (_dir, _wire, home) = home(limits()).await;
    let keys = Keys::generate();
    let enter = async |keys: &Keys, url: &str, body: &str, tamper: &str| {
        let hash = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
        let payload = data_encoding::HEXLOWER.encode(hash.as_ref());
        let tags = [["u", url], ["method", "POST"], ["payload", &payload]]
            .map(|tag| Tag::parse(tag).unwrap());
        let event = EventBuilder::new(Kind::HttpAuth, "")
            .tags(tags)
            .finalize(keys)
            .unwrap();
        let proof = data_encoding::BASE64.encode(serde_json::to_string(&event).unwrap().as_bytes());
        let headers = format!("Authorization: Nostr {proof}\r\nContent-Type: application/json\r\n");
        let body = format!("{body}{tamper}");
        let first = ask(&home, "POST", "/api/1/session/key", &headers, &body).await;
        let again = ask(&home, "POST", "/api/1/session/key", &headers, &body).await;
        assert_eq!(again.status, 401, "each proof is good once");
        (
            first.status,
            serde_json::from_str::<Value>(&first.body).unwrap(),
        )
    };
    let url = "http://localhost/api/1/session/key";
    let body = r#"{"name":"Ann","session":"bearer"}"#;
    assert_eq!(
        enter(&keys, "http://evil.example/api/1/session/key", body, "")
            .await
            .0,
        401
    );
    assert_eq!(enter(&keys, url, body, " ").await.0, 401, "another body");
    let (status, answer) = enter(&keys, url, body, "").await;
    assert_eq!(status, 200, "{answer}");
    let ann = Program {
        home: &home,
        token: answer["token"].as_str().unwrap().to_owned(),
    };
    let account = ann.done("GET", "account", &Value::Null).await;
    assert_eq!(
        (&account["key"], &account["public_key"]),
        (&json!("elsewhere"), &json!(keys.public_key()))
    );
    assert_eq!(
        ann.refused("POST", "account/key", &json!({"passphrase": ""}))
            .await,
        "key_elsewhere"
    );
    assert_eq!(
        ann.refused("POST", "signer", &json!({"method": "sign_event"}))
            .await,
        "key_elsewhere"
    );
    let nobody = Program::new(&home);
    assert_eq!(
        nobody.refused("POST", "session", &login("Ann", PASS)).await,
        "wrong_passphrase"
    );
    assert_eq!(
        enter(&keys, url, r#"{"session":"bearer"}"#, "").await.0,
        200,
        "a second device"
    );
    ann.done("POST", "account/delete", &json!({})).await;
    assert_eq!(
        ann.refused("GET", "account", &Value::Null).await,
        "not_logged_in"
    );
}
