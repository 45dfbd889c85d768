//! The relay of a home's people, which no list of spaces shows: two boxes whose people read each other, and a backup.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::daemon::{Router, links, wait_until};

/// A call of a home's interface.
async fn call(web: u16, method: &str, path: &str, token: &str, body: &Value) -> Value {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", web))
        .await
        .unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} /api/1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}"))
}

async fn account(web: u16, name: &str, path: &str) -> String {
    let body = json!({"name": name, "passphrase": "correct horse battery", "session": "bearer"});
    let made = call(web, "POST", path, "", &body).await;
    made["token"]
        .as_str()
        .unwrap_or_else(|| panic!("{made}"))
        .to_owned()
}

async fn reads(web: u16, token: &str, expected: &str) {
    loop {
        let feed = call(web, "GET", "feed", token, &Value::Null).await;
        if feed["items"][0]["text"] == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn people_of_two_boxes_read_each_other_and_no_list_of_spaces_shows_how() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = links();
    let near = Router::start(&parent.path().join("a"), "Ann's box", &a);
    let far = Router::start(&parent.path().join("b"), "Ben's box", &b);
    let (ann, ben) = (
        account(near.web, "Ann", "accounts").await,
        account(far.web, "Ben", "accounts").await,
    );
    let posted = call(
        far.web,
        "POST",
        "feed/posts",
        &ben,
        &json!({"text": "hello island"}),
    )
    .await;
    assert!(posted["id"].is_string(), "{posted}");
    let findable = json!({"findable": true});
    call(far.web, "PATCH", "account", &ben, &findable).await;
    let relay = call(far.web, "GET", "feed/relay", &ben, &Value::Null).await;
    let service = relay["name"].as_str().unwrap();
    let service = service
        .trim_start_matches("ws://")
        .trim_end_matches(".warren/");
    let who = json!({"who": format!("ben@{service}")});
    wait_until("Ben's home is found", || {
        near.try_command(&["neighbours"]).status.success()
    });
    let mut followed = Value::Null;
    while followed["followed"] != true {
        followed = call(near.web, "POST", "feed/follows", &ann, &who).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let deadline = tokio::time::timeout(
        super::daemon::PATIENCE,
        reads(near.web, &ann, "hello island"),
    );
    deadline.await.expect("the post arrives");
    for router in [&near, &far] {
        assert_eq!(router.ask(&["spaces"]), json!([]));
        assert_eq!(router.ask(&["space", "list"]), json!([]));
        let refused = router.refused(&["space", "remove", service, "--yes"]);
        assert!(!refused.is_empty());
    }
}

#[tokio::test]
async fn what_people_wrote_for_everybody_comes_back_from_a_backup() {
    let parent = tempfile::tempdir().unwrap();
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    let mut lost = Router::start(&parent.path().join("a"), "Ann's box", "");
    let ann = account(lost.web, "Ann", "accounts").await;
    call(
        lost.web,
        "POST",
        "feed/posts",
        &ann,
        &json!({"text": "kept"}),
    )
    .await;
    let relay = call(lost.web, "GET", "feed/relay", &ann, &Value::Null).await;
    lost.say(&["backup", path]);
    lost.stop();
    let mut new = Router::new(&parent.path().join("b"), "Ann's box", "");
    new.say(&["restore", path]);
    new.run();
    let ann = account(new.web, "Ann", "session").await;
    let again = call(new.web, "GET", "feed/relay", &ann, &Value::Null).await;
    assert_eq!(
        again["name"], relay["name"],
        "it is where people say they are found"
    );
    let read = tokio::time::timeout(super::daemon::PATIENCE, reads(new.web, &ann, "kept"));
    read.await.expect("the post is back");
}
