//! Private messages between people of two and three homes, through spaces that both are in.

use crate::common::http::{Program, ask, between};
use crate::common::town::{
    Person, Roads, Town, copy, home_at, is_on_disk, message_limits, service,
};
use crate::common::{PASS, TestHome};
use serde_json::{Value, json};

/// Ann and Ben, each at a home of their own, both members of one space.
async fn meet<'a>(a: &'a TestHome, b: &'a TestHome) -> (Person<'a>, Person<'a>) {
    let (ann, ben) = (Person::new(a, "Ann").await, Person::new(b, "Ben").await);
    ann.join('a').await;
    ben.join('a').await;
    (ann, ben)
}

#[tokio::test]
async fn nip17_people_of_two_homes_write_to_each_other_through_their_space() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let (a, b) = (town.home("a", &roads).await, town.home("b", &roads).await);
    let (ann, ben) = meet(&a, &b).await;
    let first = ann.write("1", &[&ben], "only for you").await;
    assert_eq!(first["to"][0]["person"], ben.key.as_str());
    let came = ben.receives("only for you").await;
    assert_eq!(
        (&came["author"], &came["id"]),
        (&json!(ann.key), &first["id"])
    );
    ann.state(&first, "stored").await;
    // The same call again, as an app makes it that did not hear the answer.
    let again = ann.write("1", &[&ben], "only for you").await;
    assert_eq!(again["id"], first["id"]);
    // Unread, until Ben has looked.
    let talk = format!("conversations/{}", came["conversation"].as_str().unwrap());
    assert_eq!(ben.get(&talk).await["unread"], 1);
    ben.program
        .done("POST", &format!("{talk}/read"), &json!({}))
        .await;
    assert_eq!(ben.get(&talk).await["unread"], 0);
    ann.state(&first, "read").await;
    // An answer in the same conversation, a reaction, another subject.
    let answer = json!({
        "client_id": "b1", "conversation": came["conversation"], "text": "and back",
        "reply_to": came["id"], "subject": "Ladders",
    });
    ben.program.done("POST", "messages", &answer).await;
    let back = ann.receives("and back").await;
    assert_eq!(back["conversation"], first["conversation"]);
    assert_eq!(back["reply_to"], first["id"]);
    assert_eq!(ann.get(&talk).await["subject"], "Ladders");
    let like = json!({"client_id": "b2", "reaction": {"message": came["id"], "text": "+"}});
    ben.program.done("POST", "messages", &like).await;
    let path = format!("{talk}/messages");
    ann.until(&path, |answer| {
        let list = answer["messages"].as_array().unwrap();
        list.len() == 2 && list[1]["reactions"][0]["text"] == "+"
    })
    .await;
    // History comes in pages, newest first.
    for n in 0..5 {
        ann.write(&format!("more {n}"), &[&ben], &format!("line {n}"))
            .await;
    }
    ben.receives("line 4").await;
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 7
    })
    .await;
    let mut texts = Vec::new();
    let mut page = ben.get(&format!("{path}?limit=3")).await;
    while let Some(last) = page["messages"].as_array().unwrap().last() {
        let before = last["id"].as_str().unwrap().to_owned();
        let list = page["messages"].as_array().unwrap();
        assert!(list.len() <= 3);
        texts.extend(list.iter().map(|message| message["text"].clone()));
        page = ben.get(&format!("{path}?limit=3&before={before}")).await;
    }
    let expected = [
        "line 4",
        "line 3",
        "line 2",
        "line 1",
        "line 0",
        "and back",
        "only for you",
    ];
    assert_eq!(texts, expected);
    // What Ann takes back goes at both homes.
    let id = first["id"].as_str().unwrap();
    ann.program
        .done("DELETE", &format!("messages/{id}"), &Value::Null)
        .await;
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 6
    })
    .await;
    assert_eq!(ann.history(&first["conversation"]).await.len(), 6);
    let refused = ben
        .program
        .refused("DELETE", &format!("messages/{id}"), &Value::Null)
        .await;
    assert_eq!(refused, "unknown");
    for words in ["only for you", "and back", "line 3", "Ladders"] {
        assert!(
            !is_on_disk(town.dir.path(), words),
            "{words} lies open on a disk"
        );
    }
}

#[tokio::test]
async fn who_came_in_by_an_invitation_is_written_to_before_they_said_anything() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let (a, b) = (town.home("a", &roads).await, town.home("b", &roads).await);
    let (ann, ben) = (Person::new(&a, "Ann").await, Person::new(&b, "Ben").await);
    let made = space.manage("createinvite", vec![json!({"uses": 2})]).await;
    let code = made.unwrap()["code"].as_str().unwrap().to_owned();
    let invitation = json!({"invitation": format!("{}/{code}", service('a'))});
    for person in [&ann, &ben] {
        let joined = person.program.done("POST", "invitations", &invitation);
        assert_eq!(joined.await["joined"], true);
        person.collects('a').await;
    }
    let first = ann.write("1", &[&ben], "welcome").await;
    ben.receives("welcome").await;
    ann.state(&first, "stored").await;
}

#[tokio::test]
async fn who_wrote_as_a_guest_and_kept_the_account_is_written_to_before_they_write_again() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let (a, b) = (town.home("a", &roads).await, town.home("b", &roads).await);
    let ann = Person::new(&a, "Ann").await;
    ann.join('a').await;
    let path = format!("/s/{}/", service('a'));
    let page = ask(&b, "GET", &path, "", "").await;
    let cookie = between(&page.head, "set-cookie: ", ";").to_owned();
    let form_token = between(&page.body, "name=\"token\" value=\"", "\"");
    let form = format!("token={form_token}&name=Ben&text=hello");
    let headers =
        format!("Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    let sent = ask(&b, "POST", &format!("{path}send"), &headers, &form).await;
    assert_eq!(sent.status, 303, "{}", sent.body);
    let token = cookie.split_once('=').unwrap().1.to_owned();
    let guest = Program { home: &b, token };
    let login = json!({"passphrase": PASS, "device": "browser"});
    guest.done("POST", "account/keep", &login).await;
    let ben = Person::of(guest).await;
    ben.collects('a').await;
    ann.write("1", &[&ben], "welcome").await;
    ben.receives("welcome").await;
}

#[tokio::test]
async fn a_message_waits_for_who_is_away_and_is_sent_once() {
    let town = Town::new();
    let space = town.space('a');
    let (to_a, to_b) = (Roads::to(&[('a', &space)]), Roads::to(&[('a', &space)]));
    let (a, b) = (town.home("a", &to_a).await, town.home("b", &to_b).await);
    let (ann, ben) = meet(&a, &b).await;
    // The receiver's home is away.
    to_b.cut('a');
    let first = ann.write("1", &[&ben], "while you were away").await;
    ann.state(&first, "sent").await;
    to_b.heal('a');
    ben.receives("while you were away").await;
    ann.state(&first, "stored").await;
    // The sender's home is away.
    to_a.cut('a');
    let second = ann.write("2", &[&ben], "while I was away").await;
    assert_eq!(second["to"][0]["state"], "waiting");
    to_a.heal('a');
    ben.receives("while I was away").await;
    ann.state(&second, "stored").await;
    assert_eq!(ben.history(&first["conversation"]).await.len(), 2);
}

#[tokio::test]
async fn mail_arrives_while_the_account_is_sealed_and_opens_with_it() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let a = town.home("a", &roads).await;
    let b = town.home("b", &roads).await;
    let (ann, ben) = meet(&a, &b).await;
    ben.write("0", &[&ann], "before").await;
    ann.receives("before").await;
    b.close();
    let b = town.home("b", &roads).await;
    let first = ann.write("1", &[&ben], "after the power cut").await;
    ann.state(&first, "sent").await;
    // It comes although nobody logs in: the home holds the permission.
    let messages = town.dir.path().join("b/messages");
    let arrived = async {
        while !is_on_disk(&messages, "\"is\":\"wrap\"") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, arrived)
        .await
        .unwrap();
    ann.state(&first, "sent").await;
    let ben = ben.at(&b);
    ben.receives("after the power cut").await;
    ann.state(&first, "stored").await;
    // Everything is still there, and nobody who is logged out reads it.
    assert_eq!(ben.history(&first["conversation"]).await.len(), 2);
    ben.program.done("DELETE", "session", &Value::Null).await;
    let refused = ben
        .program
        .refused("GET", "conversations", &Value::Null)
        .await;
    assert_eq!(refused, "not_logged_in");
}

#[tokio::test]
async fn what_was_answered_is_sent_although_the_home_was_killed() {
    let town = Town::new();
    let space = town.space('a');
    let (to_a, to_b) = (Roads::to(&[('a', &space)]), Roads::to(&[('a', &space)]));
    let a = town.home("a", &to_a).await;
    let b = town.home("b", &to_b).await;
    let (ann, ben) = meet(&a, &b).await;
    to_a.cut('a');
    let first = ann.write("1", &[&ben], "before the kill").await;
    // The disk as it is now, without anything being closed.
    let killed = town.dir.path().join("killed");
    copy(&town.dir.path().join("a"), &killed);
    a.close();
    let a = home_at(&killed, &to_b, None, message_limits()).await;
    let ann = ann.at(&a);
    let again = ann.write("1", &[&ben], "before the kill").await;
    assert_eq!(
        again["id"], first["id"],
        "the app's retry sends nothing twice"
    );
    ben.receives("before the kill").await;
    ann.state(&first, "stored").await;
    assert_eq!(ben.history(&first["conversation"]).await.len(), 1);
}

#[tokio::test]
async fn nip17_three_people_talk_and_each_hears_everything() {
    let town = Town::new();
    let (one, two) = (town.space('a'), town.space('b'));
    let roads = Roads::to(&[('a', &one), ('b', &two)]);
    let (a, b, c) = (
        town.home("a", &roads).await,
        town.home("b", &roads).await,
        town.home("c", &roads).await,
    );
    let (ann, ben) = meet(&a, &b).await;
    // Cleo is in another space with Ann, and in none with Ben, but at home with Dora.
    let (cleo, dora) = (Person::new(&c, "Cleo").await, Person::new(&c, "Dora").await);
    ann.join('b').await;
    cleo.join('b').await;
    let first = ann.write("1", &[&ben, &cleo], "all of you").await;
    for person in [&ben, &cleo] {
        let came = person.receives("all of you").await;
        assert_eq!(came["conversation"], first["conversation"]);
        let path = format!("conversations/{}", came["conversation"].as_str().unwrap());
        assert_eq!(
            person.get(&path).await["people"].as_array().unwrap().len(),
            2
        );
    }
    ann.state(&first, "stored").await;
    // Two people of one home need no space.
    let note = cleo.write("2", &[&dora], "tea is ready").await;
    dora.receives("tea is ready").await;
    cleo.state(&note, "stored").await;
    assert_eq!(note["to"][0]["person"], dora.key.as_str());
    // A note to oneself.
    let own = dora.write("3", &[&dora], "buy string").await;
    assert_eq!(dora.receives("buy string").await["id"], own["id"]);
}

#[tokio::test]
async fn nip17_a_file_is_uploaded_encrypted_and_its_key_travels_in_the_message() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let (a, b) = (town.home("a", &roads).await, town.home("b", &roads).await);
    let (ann, ben) = meet(&a, &b).await;
    // What the app encrypted: to everybody else only bytes.
    let blob = "x".repeat(5000);
    let hash = sha256(blob.as_bytes());
    let name = service('a');
    let server = format!("{name}.warren");
    let until = (warren_home::system_clock()() + 600).to_string();
    let tags = [
        vec!["t", "upload"],
        vec!["x", &hash],
        vec!["expiration", &until],
        vec!["server", &server],
    ];
    let template = json!({"kind": 24242, "content": "upload", "tags": tags, "created_at": warren_home::system_clock()()});
    let signed = json!({"method": "sign_event", "params": [template.to_string()]});
    let signed = ann.program.done("POST", "signer", &signed).await;
    let proof =
        data_encoding::BASE64URL_NOPAD.encode(signed["result"].as_str().unwrap().as_bytes());
    let headers =
        format!("Authorization: Nostr {proof}\r\nContent-Type: application/octet-stream\r\n");
    let path = format!("/s/{name}/upload");
    let put = crate::common::http::ask(&a, "PUT", &path, &headers, &blob).await;
    assert!(
        put.status == 200 || put.status == 201,
        "{} {}",
        put.status,
        put.head
    );
    let url = format!("http://{name}.warren/{hash}");
    let mut file = json!({
        "url": url, "type": "image/jpeg", "key": "00".repeat(32), "nonce": "11".repeat(12), "hash": hash,
        "size": 5000, "name": "ladder.jpg",
    });
    let body = json!({"client_id": "1", "to": [ben.key], "file": file});
    let sent = ann.program.done("POST", "messages", &body).await;
    assert_eq!(sent["kind"], 15);
    let talk = format!("conversations/{}", sent["conversation"].as_str().unwrap());
    let came = ben
        .until("conversations", |list| {
            !list["conversations"].as_array().unwrap().is_empty()
        })
        .await;
    let last = &came["conversations"][0]["last"];
    for field in ["url", "type", "key", "nonce", "hash", "size", "name"] {
        assert_eq!(last["file"][field], file[field], "{field}");
    }
    let got = crate::common::http::ask(&b, "GET", &format!("/s/{name}/{hash}"), "", "").await;
    assert_eq!(got.body, blob);
    assert_eq!(ann.get(&talk).await["last"]["file"]["algorithm"], "aes-gcm");
    file["hash"] = "nonsense".into();
    let body = json!({"client_id": "2", "to": [ben.key], "file": file});
    assert_eq!(
        ann.program.refused("POST", "messages", &body).await,
        "field_invalid"
    );
}

#[tokio::test]
async fn who_is_muted_makes_no_noise_and_who_is_blocked_is_not_heard() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let (a, b) = (town.home("a", &roads).await, town.home("b", &roads).await);
    let (ann, ben) = meet(&a, &b).await;
    let dora = Person::new(&b, "Dora").await;
    dora.join('a').await;
    let first = ann.write("1", &[&ben], "one").await;
    ben.receives("one").await;
    ann.state(&first, "stored").await;
    let talk = format!("conversations/{}", first["conversation"].as_str().unwrap());
    let view = ben
        .program
        .done("PATCH", &talk, &json!({"muted": true}))
        .await;
    assert_eq!(view["muted"], true);
    let mut live = Live::open(&ben).await;
    ann.write("2", &[&ben], "two").await;
    let heard = live.next("message").await;
    assert_eq!(
        (&heard["muted"], &heard["message"]["text"]),
        (&json!(true), &json!("two"))
    );
    // Somebody writes: seen while it happens, and not kept.
    ann.program
        .done("POST", &format!("{talk}/typing"), &json!({}))
        .await;
    assert_eq!(live.next("typing").await["person"], ann.key.as_str());
    let refused = ann
        .program
        .refused("POST", &format!("{talk}/typing"), &json!({}))
        .await;
    assert_eq!(refused, "rate_limited");
    // No word of what was read.
    let quiet = json!({"read_receipts": false, "receipts": false});
    ben.program.done("PATCH", "messages/settings", &quiet).await;
    let third = ann.write("3", &[&ben], "three").await;
    ben.receives("three").await;
    ben.program
        .done("POST", &format!("{talk}/read"), &json!({}))
        .await;
    // Blocked: it is taken from the space, and dropped when it is opened.
    let block = json!({"person": ann.key, "blocked": true});
    ben.program.done("POST", "blocked", &block).await;
    ann.write("4", &[&ben], "four").await;
    let witness = ann.write("5", &[&dora], "five").await;
    dora.receives("five").await;
    ann.state(&witness, "stored").await;
    let block = json!({"person": ann.key, "blocked": false});
    ben.program.done("POST", "blocked", &block).await;
    ann.write("6", &[&ben], "six").await;
    ben.receives("six").await;
    let texts: Vec<Value> = ben.history(&first["conversation"]).await;
    let texts: Vec<&str> = texts.iter().map(|m| m["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["six", "three", "two", "one"]);
    ann.state(&third, "sent").await;
    // What is set stays over a restart.
    b.close();
    let b = town.home("b", &roads).await;
    let ben = ben.at(&b);
    assert_eq!(ben.get(&talk).await["muted"], true);
    let settings = ben.get("messages/settings").await;
    assert_eq!(settings, json!({"receipts": false, "read_receipts": false}));
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_with_a_word() {
    let town = Town::new();
    let space = town.space('a');
    let roads = Roads::to(&[('a', &space)]);
    let a = town.home("a", &roads).await;
    let nobody = crate::common::http::Program::new(&a);
    assert_eq!(
        nobody.refused("GET", "conversations", &Value::Null).await,
        "not_logged_in"
    );
    let ann = Person::new(&a, "Ann").await;
    for (body, code) in [
        (json!({"client_id": "1", "text": "x"}), "field_invalid"),
        (
            json!({"client_id": "", "to": [ann.key], "text": "x"}),
            "field_invalid",
        ),
        (
            json!({"client_id": "1", "to": ["nobody"], "text": "x"}),
            "field_invalid",
        ),
        (json!({"client_id": "1", "to": [ann.key]}), "field_invalid"),
        (
            json!({"client_id": "1", "to": [ann.key], "text": "x".repeat(16_001)}),
            "too_long",
        ),
        (
            json!({"client_id": "1", "conversation": "x", "text": "x"}),
            "unknown",
        ),
        (
            json!({"client_id": "1", "to": vec![ann.key.as_str(); 13], "text": "\u{1}".repeat(16_000)}),
            "too_long",
        ),
    ] {
        let refused = ann.program.refused("POST", "messages", &body).await;
        assert_eq!(
            refused,
            code,
            "{}",
            body.to_string().chars().take(80).collect::<String>()
        );
    }
    // Who keeps the key elsewhere has an app for this.
    let own = nostr::key::Keys::generate();
    let login = json!({"name": "Olga", "session": "bearer"}).to_string();
    let proof = crate::common::town::event(
        &own,
        27235,
        &[
            &["u", "http://localhost/api/1/session/key"],
            &["method", "POST"],
            &["payload", &sha256(login.as_bytes())],
        ],
        "",
    );
    let proof = data_encoding::BASE64.encode(serde_json::to_string(&proof).unwrap().as_bytes());
    let headers = format!("Authorization: Nostr {proof}\r\nContent-Type: application/json\r\n");
    let entered =
        crate::common::http::ask(&a, "POST", "/api/1/session/key", &headers, &login).await;
    let entered: Value = serde_json::from_str(&entered.body).unwrap();
    let olga = crate::common::http::Program {
        home: &a,
        token: entered["token"].as_str().unwrap().to_owned(),
    };
    let body = json!({"client_id": "1", "to": [ann.key], "text": "x"});
    assert_eq!(
        olga.refused("POST", "messages", &body).await,
        "key_elsewhere"
    );
    assert_eq!(
        olga.refused("GET", "conversations", &Value::Null).await,
        "key_elsewhere"
    );
    let many: Vec<String> = (0..13)
        .map(|_| nostr::key::Keys::generate().public_key().to_hex())
        .collect();
    let body = json!({"client_id": "1", "to": many, "text": "x"});
    assert_eq!(
        ann.program.refused("POST", "messages", &body).await,
        "too_many"
    );
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    data_encoding::HEXLOWER.encode(digest.as_ref())
}

/// A stream of changes.
struct Live {
    lines: tokio::io::Lines<tokio::io::BufReader<tokio::net::TcpStream>>,
}

impl Live {
    async fn open(person: &Person<'_>) -> Self {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(person.program.home.address)
            .await
            .unwrap();
        let head = format!(
            "GET /api/1/messages/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            person.program.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = tokio::io::BufReader::new(stream).lines();
        while lines.next_line().await.unwrap().unwrap() != ":" {}
        Self { lines }
    }

    /// The data of the next event of this name.
    async fn next(&mut self, name: &str) -> Value {
        let reading = async {
            let mut is_it = false;
            loop {
                let line = self.lines.next_line().await.unwrap().unwrap();
                if let Some(event) = line.strip_prefix("event: ") {
                    is_it = event == name;
                } else if let Some(data) = line.strip_prefix("data: ").filter(|_| is_it) {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        tokio::time::timeout(crate::common::PATIENCE, reading)
            .await
            .unwrap()
    }
}
