//! What a space is called: by its owner's command, and by its managers from far away (NIP-86).

use data_encoding::{BASE64, HEXLOWER};
use nostr::key::Keys;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::event;
use super::daemon::{Router, links, wait_until};
use super::http;

/// A call of a space's management through a home, until the space takes it: a proof of the second in which the space
/// was started counts in the next one.
async fn manage(web: u16, service: &str, keys: &Keys, method: &str, params: Value) {
    let body = json!({ "method": method, "params": params }).to_string();
    let mut last = String::new();
    let start = std::time::Instant::now();
    while start.elapsed() < super::daemon::PATIENCE {
        let url = format!("http://{service}.warren/");
        let hash = HEXLOWER.encode(&Sha256::digest(&body));
        let tags: [&[&str]; 3] = [&["u", &url], &["method", "POST"], &["payload", &hash]];
        let proof = serde_json::to_vec(&event(keys, 27235, &tags, "")).unwrap();
        let headers = format!(
            "Content-Type: application/nostr+json+rpc\r\nAuthorization: Nostr {}\r\n",
            BASE64.encode(&proof)
        );
        let path = format!("/s/{service}/");
        let answer = http::ask(web, "POST", &path, &headers, body.as_bytes()).await;
        let answer = answer.expect("the space answers");
        if answer.status == 200 {
            let said: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(said["result"], true, "{said}");
            return;
        }
        last = answer.text();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("waited in vain: {last}");
}

/// What the space says of itself (NIP-11).
async fn described(web: u16, service: &str) -> Value {
    let path = format!("/s/{service}/");
    let accept = "Accept: application/nostr+json\r\n";
    let answer = http::ask(web, "GET", &path, accept, b"").await;
    serde_json::from_slice(&answer.expect("the space answers").body).unwrap()
}

#[tokio::test]
async fn a_space_is_called_what_was_said_last_wherever_somebody_looks() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = links();
    let near = Router::start(&parent.path().join("a"), "A", &a);
    let mut host = Router::start(&parent.path().join("b"), "B", &b);
    let owner = Keys::generate();
    let hex = owner.public_key().to_hex();
    let made = host.ask(&["space", "create", "Pond", "--visible", "--owner", &hex]);
    let service = made["service"].as_str().unwrap();

    let far =
        "Frogs, newts and \u{432}\u{43e}\u{434}\u{430} in the garden behind the old mill, all year";
    assert!(far.chars().count() > 60 && far.chars().count() <= 80);
    let far: String = far.chars().take(64).collect();
    assert!(far.len() > 64, "longer than what the island can be told");
    manage(host.web, service, &owner, "changerelayname", json!([far])).await;
    assert_eq!(described(host.web, service).await["name"], *far);
    assert_eq!(host.ask(&["space", "show", "pond"])["title"], *far);
    wait_until("the neighbour hears of it", || {
        let title = near.ask(&["spaces"])[0]["title"].clone();
        title
            .as_str()
            .is_some_and(|title| title.len() > 50 && far.starts_with(title))
    });

    // The name of before, which the settings may still have, is a new word, too.
    for name in ["Pond", "Big pond"] {
        let set = host.ask(&["space", "set", "pond", "--name", name]);
        assert_eq!(set["title"], name);
        assert_eq!(described(host.web, service).await["name"], name);
        wait_until("the neighbour hears of it", || {
            near.ask(&["spaces"])[0]["title"] == name
        });
    }
    let about = json!(["Water"]);
    manage(host.web, service, &owner, "changerelaydescription", about).await;
    manage(host.web, service, &owner, "changerelayname", json!([far])).await;
    for _ in 0..2 {
        let shown = host.ask(&["space", "show", "pond"]);
        assert_eq!(
            (&shown["title"], &shown["about"]),
            (&json!(far), &json!("Water"))
        );
        assert_eq!(described(host.web, service).await["description"], "Water");
        // Other settings leave it alone.
        host.ask(&["space", "set", "pond", "--quota", "9"]);
        host.kill();
        host.run();
    }
}
