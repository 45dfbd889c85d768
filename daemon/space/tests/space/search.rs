//! Searching (NIP-50) as a client sees it, and everything that a search must not tell.

use crate::common::{Client, Person, START, TestSpace, contents};
use serde_json::{Value, json};

async fn say(client: &mut Client, person: &Person, channel: &str, at: u32, text: &str) {
    client
        .accepted(&person.event_at(START - 1000 + at, 9, &[&["h", channel]], text))
        .await;
}

fn texts(events: &[Value]) -> Vec<String> {
    contents(events).into_iter().map(str::to_owned).collect()
}

async fn search(client: &mut Client, text: &str) -> Vec<String> {
    texts(&client.query(json!({ "search": text })).await)
}

async fn make_hidden(client: &mut Client, admin: &Person, id: &str) {
    client.accepted(&admin.event(9007, &[&["h", id]], "")).await;
    let tags: [&[&str]; 3] = [&["h", id], &["name", "x"], &["hidden"]];
    client.accepted(&admin.event(9002, &tags, "")).await;
}

#[tokio::test]
async fn nip50_messages_are_found_newest_first_before_and_after_a_restart() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    say(&mut client, &ann, "general", 1, "Who has a red ladder?").await;
    say(&mut client, &ben, "general", 2, "I have a LADDER").await;
    say(&mut client, &ann, "general", 3, "はしごは東京都にある").await;
    say(
        &mut client,
        &ben,
        "general",
        4,
        "the plan: https://example.com/plan.png",
    )
    .await;
    client
        .accepted(&ann.event(0, &[], r#"{"name":"Ladder Ann"}"#))
        .await;
    for restarted in [false, true] {
        let (red, have) = ("Who has a red ladder?", "I have a LADDER");
        assert_eq!(
            search(&mut client, "ladder").await,
            [r#"{"name":"Ladder Ann"}"#, have, red]
        );
        assert_eq!(search(&mut client, "ladder red").await, [red]);
        assert_eq!(search(&mut client, "東京").await, ["はしごは東京都にある"]);
        assert_eq!(search(&mut client, "has:image").await.len(), 1);
        let bens = format!("ladder from:{} in:general", ben.hex());
        assert_eq!(search(&mut client, &bens).await, [have]);
        let before = format!("ladder before:{}", START - 998);
        assert_eq!(search(&mut client, &before).await, [red]);
        assert_eq!(search(&mut client, "nothing of this kind").await, [""; 0]);
        let limited = json!({"search": "ladder", "limit": 1, "kinds": [9]});
        assert_eq!(texts(&client.query(limited).await), [have]);
        for odd in [
            "\"",
            "* * *",
            "AND OR NOT",
            "a:b:c x:",
            "'; DROP TABLE words; --",
            "\u{0}",
        ] {
            search(&mut client, odd).await;
        }
        search(&mut client, &"long ".repeat(10_000)).await;
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ben).await;
        }
    }
    let plan = client.query(json!({"search": "plan"})).await;
    let id = plan[0]["id"].as_str().unwrap().to_owned();
    client.accepted(&ben.event(5, &[&["e", &id]], "")).await;
    assert_eq!(search(&mut client, "plan").await, [""; 0]);
}

#[tokio::test]
async fn nip50_a_search_is_answered_once() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    client
        .subscribe("s", json!({"search": "ladder"}))
        .await
        .unwrap();
    client
        .subscribe("all", json!({"kinds": [9]}))
        .await
        .unwrap();
    client
        .send(json!([
            "EVENT",
            ann.event(9, &[&["h", "general"]], "ladder")
        ]))
        .await;
    loop {
        let message = client.next().await;
        assert!(message[0] != "EVENT" || message[1] == "all", "{message}");
        if message[0] == "EVENT" {
            break;
        }
    }
    assert_eq!(search(&mut client, "ladder").await, ["ladder"]);
}

#[tokio::test]
async fn hidden_text_is_not_found_and_changes_nothing_for_others() {
    let space = TestSpace::new();
    let (ann, eve) = (Person::new(1), Person::new(9));
    let mut admin = space.member(&ann).await;
    make_hidden(&mut admin, &ann, "secret").await;
    for n in 0..20 {
        say(
            &mut admin,
            &ann,
            "secret",
            100 + n,
            &format!("treasure {n}"),
        )
        .await;
    }
    say(&mut admin, &ann, "general", 50, "no treasure here").await;
    say(&mut admin, &ann, "general", 51, "treasure island").await;
    // Who may read finds it only where the channel is named.
    assert_eq!(search(&mut admin, "treasure in:secret").await.len(), 20);
    let by_tag = json!({"search": "treasure", "#h": ["secret"]});
    assert_eq!(admin.query(by_tag.clone()).await.len(), 20);
    let public = ["treasure island", "no treasure here"];
    assert_eq!(search(&mut admin, "treasure").await, public);
    let ben = Person::new(2);
    let ben_hex = ben.hex();
    admin
        .accepted(&ann.event(9000, &[&["h", "secret"], &["p", &ben_hex]], ""))
        .await;
    let mut removed = space.connect_as(&ben).await;
    assert_eq!(search(&mut removed, "treasure in:secret").await.len(), 20);
    admin
        .accepted(&ann.event(9001, &[&["h", "secret"], &["p", &ben_hex]], ""))
        .await;
    let mut nobody = space.connect().await;
    let mut stranger = space.connect_as(&eve).await;
    for client in [&mut nobody, &mut stranger, &mut removed] {
        for filter in [
            json!({"search": "treasure"}),
            json!({"search": "treasure", "#h": ["general", "secret"]}),
            json!({"search": "treasure in:secret in:general"}),
            json!({"search": format!("treasure from:{}", ann.hex())}),
            json!({"search": "treasure", "limit": 2}),
        ] {
            assert_eq!(
                contents(&client.query(filter.clone()).await),
                public,
                "{filter}"
            );
            // Neither how many there are nor whether there are more tells of what is hidden.
            client.send(json!(["COUNT", "c", filter])).await;
            client.send(json!(["REQ", "e", filter])).await;
            let (mut count, mut end) = (Value::Null, Value::Null);
            while count.is_null() || end.is_null() {
                let message = client.next().await;
                match message[0].as_str() {
                    Some("COUNT") => count = message[2].clone(),
                    Some("EOSE") if message[1] == "e" => end = message[2].clone(),
                    _ => assert!(!message.is_null() && message[0] != "CLOSED", "{message}"),
                }
            }
            assert_eq!((count, end), (json!({"count": 2}), json!(["finish"])));
        }
        // A channel that is hidden answers as one that does not exist.
        let mut answers = Vec::new();
        for channel in ["secret", "nothing"] {
            let search = json!({"search": format!("treasure in:{channel}")});
            let tag = json!({"search": "treasure", "#h": [channel]});
            for (n, filter) in [search, tag].into_iter().enumerate() {
                answers.push(client.subscribe(&format!("{n}"), filter).await.unwrap_err());
            }
        }
        assert_eq!(answers[..2], answers[2..]);
    }
}
