//! Typing, being there, and how far somebody has read: heard by members or kept for one person, and never more.

use crate::common::channels::{make, tags};
use crate::common::{Client, Person, START, TestSpace, ids};
use data_encoding::BASE64;
use nostr::event::Event;
use serde_json::{Value, json};

const H: &[&str] = &["h", "general"];

/// A space in which nobody gives a second signal while a test runs.
fn slow() -> TestSpace {
    TestSpace::with(|config| config.limits.signal_seconds = 3600)
}

async fn stored_nowhere(client: &mut Client, event: &Event) {
    let found = client.query(json!({"ids": [event.id]})).await;
    assert!(found.is_empty());
    let kind = event.kind.as_u16();
    let by = json!({"kinds": [kind], "authors": [event.pubkey]});
    assert!(client.query(by).await.is_empty());
}

#[tokio::test]
async fn typing_is_heard_by_members_of_the_channel_at_its_pace_and_never_stored() {
    let mut space = slow();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut writer = space.member(&ann).await;
    make(&mut writer, &ann, "cellar", &[&["private"]]).await;
    make(&mut writer, &ann, "porch", &[&["about", "open to all"]]).await;
    let mut member = space.member(&ben).await;
    let mut stranger = space.connect_as(&eve).await;
    for client in [&mut member, &mut stranger] {
        let all = json!([{"kinds": [20001]}, {}, {"kinds": [9], "#h": ["general", "porch"]}]);
        client.subscribe("all", all).await.unwrap();
    }
    // A stranger may write on the porch, and is not heard typing.
    stranger
        .refused(&eve.event(20001, &[&["h", "porch"]], ""), "restricted")
        .await;
    let hidden = ann.event(20001, &[&["h", "cellar"]], "");
    writer.accepted(&hidden).await;
    writer
        .refused(&ann.event(20001, &[H], ""), "rate-limited")
        .await;
    let typing = ben.event(20001, &[H], "");
    member.accepted(&typing).await;
    // Signals do not use up what one may write.
    let message = ann.event(9, &[H], "done");
    writer.accepted(&message).await;
    assert_eq!(
        [member.live("all").await, member.live("all").await].map(|event| event["id"].clone()),
        [json!(typing.id), json!(message.id)],
        "what happens in the cellar is not heard"
    );
    assert_eq!(stranger.live("all").await["id"], json!(message.id));
    for bad in [
        ben.event(20001, &[H], &"x".repeat(101)),
        ben.event(
            20001,
            &[H, &["a"], &["b"], &["c"], &["d"], &["e"], &["f"]],
            "",
        ),
    ] {
        member.refused(&bad, "invalid").await;
    }
    stored_nowhere(&mut member, &typing).await;
    drop((writer, member, stranger));
    space.restart();
    let mut member = space.connect_as(&ben).await;
    stored_nowhere(&mut member, &typing).await;
    stored_nowhere(&mut member, &hidden).await;
}

/// Who is there, as a member is told.
async fn there(client: &mut Client) -> Vec<(String, String)> {
    let found = client.query(json!({"kinds": [24240]})).await;
    assert_eq!(found.len(), 1);
    let mut people: Vec<(String, String)> = tags(&found[0], "p")
        .iter()
        .map(|tag| {
            (
                tag[1].as_str().unwrap().into(),
                tag[2].as_str().unwrap().into(),
            )
        })
        .collect();
    people.sort();
    people
}

fn says(person: &Person, status: &str) -> Event {
    person.event(24240, &[&["status", status]], "")
}

#[tokio::test]
async fn who_is_there_is_told_to_members_as_long_as_the_connection_lasts() {
    let space = slow();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut watcher = space.member(&ann).await;
    let mut first = space.member(&ben).await;
    let mut stranger = space.connect_as(&eve).await;
    let asked = json!({"kinds": [24240]});
    assert!(stranger.query(asked).await.is_empty());
    let everything = stranger.query(json!({})).await;
    assert!(everything.iter().all(|event| event["kind"] != 24240));
    stranger
        .subscribe("s", json!({"kinds": [24240]}))
        .await
        .unwrap();
    stranger.refused(&says(&eve, "online"), "restricted").await;
    assert!(there(&mut watcher).await.is_empty());
    watcher
        .subscribe("s", json!({"kinds": [24240]}))
        .await
        .unwrap();
    let online = says(&ben, "online");
    first.accepted(&online).await;
    assert_eq!(watcher.live("s").await["id"], json!(online.id));
    assert_eq!(there(&mut watcher).await, [(ben.hex(), "online".into())]);
    first.refused(&says(&ben, "away"), "rate-limited").await;
    for bad in [
        ben.event(24240, &[], ""),
        says(&ben, "sleeping"),
        ben.event(24240, &[H, &["status", "online"]], ""),
    ] {
        first.refused(&bad, "invalid").await;
    }
    stored_nowhere(&mut watcher, &online).await;
    // The connection ends: the space itself says that nobody is there any more.
    drop(first);
    let news = watcher.live("s").await;
    assert_eq!(tags(&news, "p"), [&json!(["p", ben.hex(), "offline"])]);
    assert_ne!(news["pubkey"], ben.hex());
    assert!(there(&mut watcher).await.is_empty());
    // A stranger heard nothing of all that.
    let message = ann.event(9, &[H], "hello");
    stranger
        .subscribe("m", json!({"kinds": [9], "limit": 0}))
        .await
        .unwrap();
    watcher.accepted(&message).await;
    let heard = stranger.next().await;
    assert_eq!(
        (&heard[1], &heard[2]["id"]),
        (&json!("m"), &json!(message.id))
    );
}

#[tokio::test]
async fn who_is_there_on_two_devices_leaves_with_the_last_and_the_removed_are_not_shown() {
    let space = TestSpace::with(|config| config.owner = Some(Person::new(9).0.public_key()));
    let (ann, ben, cat) = (Person::new(1), Person::new(2), Person::new(3));
    let mut watcher = space.member(&ann).await;
    let mut phone = space.member(&ben).await;
    let mut laptop = space.connect_as(&ben).await;
    let mut other = space.member(&cat).await;
    phone.accepted(&says(&ben, "away")).await;
    other.accepted(&says(&cat, "busy")).await;
    watcher
        .subscribe("s", json!({"kinds": [24240], "limit": 0}))
        .await
        .unwrap();
    drop(phone);
    let mut news = watcher.live("s").await;
    while tags(&news, "p").is_empty() {
        news = watcher.live("s").await; // what people said before
    }
    assert_eq!(tags(&news, "p")[0][1], ben.hex());
    laptop.send(json!(["CLOSE", "nothing"])).await;
    assert_eq!(there(&mut watcher).await, [(cat.hex(), "busy".into())]);
    // Their connection is still open, and they are no members any more.
    space
        .manage(&Person::new(9), "banpubkey", json!([cat.hex()]))
        .await;
    assert!(there(&mut watcher).await.is_empty());
    assert!(other.query(json!({"kinds": [24240]})).await.is_empty());
}

/// Something that is sealed as NIP-44 seals it.
fn sealed(bytes: usize) -> String {
    let mut all = vec![2];
    all.resize(bytes, 7);
    BASE64.encode(&all)
}

fn read_state(person: &Person, at: u32, slot: &str, content: &str) -> Event {
    person.event_at(at, 30078, &[&["d", &format!("read-state:{slot}")]], content)
}

#[tokio::test]
async fn how_far_somebody_has_read_follows_them_and_is_for_nobody_else() {
    let mut space = TestSpace::with(|config| {
        config.owner = Some(Person::new(9).0.public_key());
        config.limits.read_states = 3;
    });
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut phone = space.member(&ann).await;
    let old = read_state(&ann, START - 5, "phone", &sealed(120));
    let new = read_state(&ann, START, "phone", &sealed(130));
    phone.accepted(&old).await;
    phone.accepted(&new).await;
    let (accepted, reason) = phone.publish(&old).await;
    assert!(accepted && reason.starts_with("duplicate: "), "{reason}");
    let laptop_state = read_state(&ann, START, "laptop", &sealed(140));
    phone.accepted(&laptop_state).await;
    for restarted in [false, true] {
        let mut laptop = space.connect_as(&ann).await;
        let found = laptop
            .query(json!({"kinds": [30078], "authors": [ann.hex()]}))
            .await;
        assert_eq!(found.len(), 2);
        let by_slot = json!({"kinds": [30078], "#d": ["read-state:phone"]});
        assert_eq!(ids(&laptop.query(by_slot).await), [new.id.to_hex()]);
        // Others, the owner of the space among them, find nothing in any way.
        for other in [Person::new(2), Person::new(9)] {
            let mut client = space.connect_as(&other).await;
            for question in [
                json!({"kinds": [30078]}),
                json!({"ids": [new.id]}),
                json!({"authors": [ann.hex()], "kinds": [30078], "#d": ["read-state:phone"]}),
                json!({"authors": [ann.hex()]}),
            ] {
                let found = client.query(question.clone()).await;
                let is_one = |event: &Value| event["kind"] == 30078;
                assert!(!found.iter().any(is_one), "{question}");
            }
            let known = client.publish(&new).await;
            let unknown = read_state(&ann, START, "tablet", &sealed(99));
            assert_eq!(known, client.publish(&unknown).await);
        }
        if !restarted {
            drop((laptop, phone));
            space.restart();
            phone = space.connect_as(&ann).await;
        }
    }
    // Live, on the other device only.
    let mut laptop = space.connect_as(&ann).await;
    let mut other = space.member(&ben).await;
    for client in [&mut laptop, &mut other] {
        let all = json!([{"kinds": [30078, 9], "limit": 0}]);
        client.subscribe("s", all).await.unwrap();
    }
    let newer = read_state(&ann, START + 1, "phone", &sealed(150));
    phone.accepted(&newer).await;
    phone.accepted(&ann.event(9, &[H], "read it")).await;
    assert_eq!(laptop.live("s").await["id"], json!(newer.id));
    assert_eq!(other.live("s").await["kind"], 9);
    // Limits, and what is not sealed.
    phone
        .accepted(&read_state(&ann, START, "tablet", &sealed(99)))
        .await;
    phone
        .refused(&read_state(&ann, START, "watch", &sealed(99)), "restricted")
        .await;
    for bad in [
        read_state(&ann, START + 2, "phone", "{\"general\":5}"),
        read_state(&ann, START + 2, "phone", &sealed(60)),
        read_state(&ann, START + 2, "phone", &sealed(30_000)),
        read_state(&ann, START + 2, "", &sealed(99)),
        read_state(&ann, START + 2, "my phone", &sealed(99)),
    ] {
        phone.refused(&bad, "invalid").await;
    }
    let in_channel = ann.event(30078, &[H, &["d", "read-state:phone"]], &sealed(99));
    phone.refused(&in_channel, "invalid").await;
    let stranger = Person::new(5);
    let mut client = space.connect_as(&stranger).await;
    client
        .refused(
            &read_state(&stranger, START, "phone", &sealed(99)),
            "restricted",
        )
        .await;
    // It is its author's to delete.
    phone
        .accepted(&ann.event(5, &[&["e", &newer.id.to_hex()]], ""))
        .await;
    let by_slot = json!({"kinds": [30078], "#d": ["read-state:phone"]});
    assert!(phone.query(by_slot).await.is_empty());
    assert!(other.query(json!({"kinds": [5]})).await.is_empty());
}
