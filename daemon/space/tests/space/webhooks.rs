//! Webhooks: programs that speak plain HTTP write into a channel, by a secret that nobody else learns anything about.

use crate::common::channels::{make, tags};
use crate::common::{Person, TestSpace, http, ids};
use serde_json::{Value, json};

const H: &[&str] = &["h", "general"];

/// Posts a body; gives the status and all of the answer without its date.
async fn post(space: &TestSpace, path: &str, body: &str) -> (u16, String) {
    request(space, "POST", path, body).await
}

async fn request(space: &TestSpace, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http(space, &request).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let lines = answer
        .lines()
        .filter(|line| !line.to_lowercase().starts_with("date:"));
    (status, lines.collect::<Vec<_>>().join("\n"))
}

/// A space of the ninth person's.
fn owned() -> (TestSpace, Person) {
    let owner = Person::new(9);
    let space = TestSpace::with(|config| {
        config.owner = Some(owner.0.public_key());
        config.limits.webhook_bytes = 8192;
        config.limits.webhook_per_minute = 1;
    });
    (space, owner)
}

fn path(hook: &Value) -> String {
    hook["path"].as_str().unwrap().to_owned()
}

const HELLO: &str = r#"{"content":"the build is red","username":"Builds","embeds":[]}"#;

#[tokio::test]
async fn a_program_writes_into_a_channel_under_the_name_of_its_webhook() {
    let (mut space, owner) = owned();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let hook = space
        .manage(&owner, "createwebhook", json!(["general", "Robin"]))
        .await;
    assert_eq!(
        path(&hook),
        format!("/hook/{}", hook["secret"].as_str().unwrap())
    );
    client
        .subscribe("s", json!({"kinds": [9], "#h": ["general"]}))
        .await
        .unwrap();
    assert_eq!(post(&space, &path(&hook), HELLO).await.0, 204);
    let heard = client.live("s").await;
    assert_eq!(heard["content"], "the build is red");
    assert_eq!(heard["pubkey"], hook["pubkey"]);
    assert_eq!(tags(&heard, "name"), [&json!(["name", "Builds"])]);
    let (status, answer) = post(
        &space,
        &format!("{}?wait=true", path(&hook)),
        r#"{"content":"again"}"#,
    )
    .await;
    assert_eq!(status, 200);
    let heard = client.live("s").await;
    assert!(answer.contains(heard["id"].as_str().unwrap()));
    for restarted in [false, true] {
        // What it is called, and that no person writes.
        let profile = client
            .query(json!({"kinds": [0], "authors": [hook["pubkey"]]}))
            .await;
        let profile: Value = serde_json::from_str(profile[0]["content"].as_str().unwrap()).unwrap();
        assert_eq!(profile, json!({"name": "Robin", "bot": true}));
        assert_eq!(client.query(json!({"kinds": [9]})).await.len(), 2);
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ann).await;
        }
    }
    assert_eq!(
        post(&space, &path(&hook), r#"{"content":"after a restart"}"#)
            .await
            .0,
        204
    );
    // The secret is on no disk: neither in the events nor beside them.
    let secret = hook["secret"].as_str().unwrap();
    let mut folders = vec![space.config.dir.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                let mut windows = bytes.windows(secret.len());
                assert!(
                    !windows.any(|window| window == secret.as_bytes()),
                    "{}",
                    path.display()
                );
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_a_revoked_one_and_one_of_a_channel_that_is_gone_are_answered_alike() {
    let (space, owner) = owned();
    let mut client = space.connect_as(&owner).await;
    make(&mut client, &owner, "cellar", &[&["hidden"]]).await;
    make(&mut client, &owner, "shed", &[&["about", "tools"]]).await;
    let mut paths = vec![format!("/hook/{}", "0".repeat(64)), "/hook/".into()];
    for (channel, name) in [("cellar", "Wine"), ("shed", "Saw")] {
        let params = json!([channel, name]);
        let hook = space.manage(&owner, "createwebhook", params).await;
        paths.push(path(&hook));
        assert_eq!(post(&space, &path(&hook), HELLO).await.0, 204);
        if channel == "cellar" {
            let revoked = json!([hook["id"]]);
            space.manage(&owner, "revokewebhook", revoked).await;
        }
    }
    client
        .accepted(&owner.event(9008, &[&["h", "shed"]], ""))
        .await;
    for method in ["POST", "GET", "PUT"] {
        let bodies = [HELLO.to_owned(), "no JSON".into(), "x".repeat(9000)];
        for body in bodies {
            let nothing = request(&space, method, &paths[0], &body).await;
            assert_eq!(nothing.0, if method == "POST" { 404 } else { 405 });
            for path in &paths[1..] {
                assert_eq!(
                    request(&space, method, path, &body).await,
                    nothing,
                    "{path}"
                );
            }
        }
    }
    // Nothing of the hidden one gets out otherwise.
    let mut stranger = space.connect_as(&Person::new(5)).await;
    for question in [json!({}), json!({"kinds": [0]}), json!({"search": "wine"})] {
        let found = json!(stranger.query(question).await).to_string();
        assert!(
            !found.contains("Wine") && !found.contains("cellar"),
            "{found}"
        );
    }
}

#[tokio::test]
async fn what_is_posted_has_limits_filters_and_a_pace() {
    let (space, owner) = owned();
    space
        .manage(&owner, "setfilters", json!([{"words": ["weed"]}]))
        .await;
    let hook = space
        .manage(&owner, "createwebhook", json!(["general", "Robin"]))
        .await;
    let path = path(&hook);
    let long = json!({"content": "x".repeat(4001)}).to_string();
    let huge = json!({"content": "x".repeat(9000)}).to_string();
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        (r#"{"content":""}"#, 400),
        (r#"{"content":"x","username":"\u202eadmin"}"#, 400),
        (&*long, 400),
        (&*huge, 413),
        (r#"{"content":"we sell weed"}"#, 403),
        (r#"{"content":"x","username":"weed"}"#, 403),
    ] {
        assert_eq!(post(&space, &path, body).await.0, status, "{body:.40}");
    }
    let mut statuses = Vec::new();
    for n in 0..12 {
        let body = json!({ "content": format!("message {n}") }).to_string();
        statuses.push(post(&space, &path, &body).await.0);
    }
    assert!(
        statuses.contains(&204) && statuses.last() == Some(&429),
        "{statuses:?}"
    );
    // Others are served.
    let other = space
        .manage(&owner, "createwebhook", json!(["general", "Wren"]))
        .await;
    assert_eq!(post(&space, &self::path(&other), HELLO).await.0, 204);
    // It cannot mention everyone, nor say anything but a text.
    let body = r#"{"content":"@everyone","tags":[["mention","everyone"]],"kind":9000}"#;
    assert_eq!(post(&space, &self::path(&other), body).await.0, 204);
    let mut client = space.connect_as(&owner).await;
    let found = client
        .query(json!({"authors": [other["pubkey"]], "kinds": [9]}))
        .await;
    assert!(found.iter().all(|event| tags(event, "mention").is_empty()));
}

#[tokio::test]
async fn webhooks_are_made_listed_and_revoked_by_who_may_and_end_with_a_ban() {
    let (space, owner) = owned();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    client.log_in(&owner).await;
    make(&mut client, &owner, "cellar", &[&["hidden"]]).await;
    let role = json!(["smith", "Smith", "", 0, 500, ["manage-webhooks"]]);
    space.manage(&owner, "createrole", role).await;
    let create = |channel: &str| json!([channel, "Robin"]);
    space
        .not_managed(&ann, "createwebhook", create("general"), "restricted")
        .await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "smith"]))
        .await;
    let anns = space.manage(&ann, "createwebhook", create("general")).await;
    let secret = space
        .manage(&owner, "createwebhook", create("cellar"))
        .await;
    for bad in [
        json!(["general", ""]),
        json!(["general", "a\u{200b}b"]),
        json!(["general"]),
    ] {
        space
            .not_managed(&ann, "createwebhook", bad, "invalid")
            .await;
    }
    let nowhere = space
        .call(&ann, "createwebhook", create("no-such-room"))
        .await;
    assert_eq!(
        space.call(&ann, "createwebhook", create("cellar")).await,
        nowhere
    );
    let list = space.manage(&ann, "listwebhooks", json!([])).await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], "Robin");
    assert_eq!(list[0]["pubkey"], anns["pubkey"]);
    assert!(!list.to_string().contains(anns["secret"].as_str().unwrap()));
    assert_eq!(
        space
            .manage(&owner, "listwebhooks", json!([]))
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        space.manage(&ben, "listwebhooks", json!([])).await,
        json!([])
    );
    let nothing = space
        .call(&ann, "revokewebhook", json!(["0123456789abcdef"]))
        .await;
    assert_eq!(
        space
            .call(&ann, "revokewebhook", json!([secret["id"]]))
            .await,
        nothing
    );
    assert!(nothing.is_err());
    assert_eq!(post(&space, &path(&anns), HELLO).await.0, 204);
    // Who is timed out or banned does not go on by a webhook.
    let until = crate::common::START + 60;
    for (until, status) in [(until, 403), (0, 204)] {
        let params = json!([ann.hex(), until]);
        space.manage(&owner, "timeout", params).await;
        let body = json!({ "content": format!("until {until}") }).to_string();
        assert_eq!(post(&space, &path(&anns), &body).await.0, status);
    }
    space.manage(&owner, "banpubkey", json!([ann.hex()])).await;
    assert_eq!(post(&space, &path(&anns), HELLO).await.0, 404);
    // The key of a webhook can be banned like a person, and its messages deleted like a person's.
    let other = space
        .manage(&owner, "createwebhook", create("general"))
        .await;
    assert_eq!(post(&space, &path(&other), HELLO).await.0, 204);
    let found = client
        .query(json!({"authors": [other["pubkey"]], "kinds": [9]}))
        .await;
    let message = ids(&found).remove(0);
    client
        .accepted(&owner.event(9005, &[H, &["e", &message]], ""))
        .await;
    space
        .manage(&owner, "banpubkey", json!([other["pubkey"]]))
        .await;
    assert_eq!(post(&space, &path(&other), HELLO).await.0, 404);
    let left = client.query(json!({"kinds": [9]})).await;
    assert_eq!(left.len(), 2, "what ann's webhook said before");
}
