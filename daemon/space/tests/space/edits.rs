//! Edits: a message in the place of an older version, which names all versions before it. And what happens to pins when
//! what they show goes.

use crate::common::channels::{make, tags};
use crate::common::{Client, Person, START, TestSpace, contents, ids};
use nostr::event::Event;
use serde_json::json;

const H: &[&str] = &["h", "general"];

/// A space that the first person owns.
fn anns() -> TestSpace {
    TestSpace::with(|config| config.owner = Some(Person::new(1).0.public_key()))
}

/// A version of a message after others: ids and dates, oldest first.
fn version(person: &Person, at: u32, before: &[(&Event, u32)], text: &str) -> Event {
    let edits: Vec<[String; 3]> = before
        .iter()
        .map(|(event, at)| ["edit".into(), event.id.to_hex(), at.to_string()])
        .collect();
    let edits: Vec<Vec<&str>> = edits
        .iter()
        .map(|tag| tag.iter().map(String::as_str).collect())
        .collect();
    let mut tags: Vec<&[&str]> = vec![H];
    tags.extend(edits.iter().map(Vec::as_slice));
    person.event_at(at, 9, &tags, text)
}

#[tokio::test]
async fn a_message_is_edited_by_its_author_and_says_so_for_ever() {
    let mut space = anns();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let first = version(&ann, START, &[], "helo");
    client.accepted(&first).await;
    client
        .accepted(&ann.event(9010, &[H, &["e", &first.id.to_hex()]], ""))
        .await;
    client
        .subscribe("all", json!({"#h": ["general"], "limit": 0}))
        .await
        .unwrap();
    let second = version(&ann, START + 1, &[(&first, START)], "hello");
    client.send(json!(["EVENT", second])).await;
    // Who listens hears the new version, and that the old one is deleted.
    let mut heard = client.live("all").await;
    while heard["kind"] != 9 {
        heard = client.live("all").await; // of what was pinned before
    }
    assert_eq!(heard["id"], second.id.to_hex());
    while heard["kind"] != 9005 {
        heard = client.live("all").await;
    }
    assert_eq!(tags(&heard, "e"), [&json!(["e", first.id.to_hex()])]);
    client.send(json!(["CLOSE", "all"])).await;
    let third = version(
        &ann,
        START + 2,
        &[(&first, START), (&second, START + 1)],
        "hello!",
    );
    client.accepted(&third).await;
    for restarted in [false, true] {
        let found = client.query(json!({"kinds": [9]})).await;
        assert_eq!(contents(&found), ["hello!"]);
        assert_eq!(tags(&found[0], "edit").len(), 2);
        // Old versions do not come back, and pins lead to the new one.
        client.refused(&first, "blocked").await;
        client.refused(&second, "blocked").await;
        let pins = client
            .query(json!({"kinds": [39005], "#d": ["general"]}))
            .await;
        assert_eq!(tags(&pins[0], "e"), [&json!(["e", third.id.to_hex()])]);
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ann).await;
            client.log_in(&ben).await;
        }
    }
}

#[tokio::test]
async fn history_is_not_made_up_and_others_words_are_not_edited() {
    let space = anns();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    make(&mut client, &ann, "cellar", &[&["private"]]).await;
    let (first, other) = (
        version(&ann, START, &[], "one"),
        version(&ann, START - 9, &[], "other"),
    );
    let secret = ann.event(9, &[&["h", "cellar"]], "secret");
    for event in [&first, &other, &secret] {
        client.accepted(event).await;
    }
    client
        .refused(
            &version(&ben, START, &[(&first, START)], "his"),
            "restricted",
        )
        .await;
    for lie in [
        version(&ann, START, &[(&first, START - 1)], "an older date"),
        version(
            &ann,
            START,
            &[(&other, START - 9), (&first, START)],
            "a longer past",
        ),
        version(&ann, START - 1, &[(&first, START)], "before itself"),
    ] {
        client.refused(&lie, "invalid").await;
    }
    let second = version(&ann, START, &[(&first, START)], "two");
    client.accepted(&second).await;
    for lie in [
        version(&ann, START + 1, &[(&second, START)], "a shorter past"),
        version(&ann, START + 1, &[(&first, START)], "what is gone"),
        version(&ann, START + 1, &[(&secret, START)], "what is elsewhere"),
    ] {
        client.refused(&lie, "invalid").await;
    }
    // Elsewhere and nowhere are the same; and what has no text is not edited.
    let nothing = Person::new(7).event(9, &[H], "never sent");
    let about = |event: &Event| version(&ben, START, &[(event, START)], "x");
    let there = client.publish(&about(&secret)).await;
    assert_eq!(there, client.publish(&about(&nothing)).await);
    let edit: &[&str] = &["edit", &second.id.to_hex(), "1"];
    client
        .refused(
            &ann.event(7, &[H, &["e", &second.id.to_hex()], edit], "+"),
            "invalid",
        )
        .await;
    let found = client.query(json!({"kinds": [9], "#h": ["general"]})).await;
    assert_eq!(contents(&found), ["two", "other"]);
}

#[tokio::test]
async fn a_message_is_edited_twenty_times_and_not_more() {
    let space = anns();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let mut versions = vec![version(&ann, START, &[], "0")];
    client.accepted(&versions[0]).await;
    for n in 1..=21u32 {
        let before: Vec<(&Event, u32)> = versions.iter().zip(START..).collect();
        let next = version(&ann, START + n, &before, &n.to_string());
        if n <= 20 {
            client.accepted(&next).await;
        } else {
            client.refused(&next, "invalid").await;
        }
        versions.push(next);
    }
    assert_eq!(contents(&client.query(json!({"kinds": [9]})).await), ["20"]);
}

#[tokio::test]
async fn a_comment_stays_with_its_thread_when_it_is_edited() {
    let space = anns();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let threads = ["one", "two"].map(|title| ann.event(11, &[H, &["title", title]], title));
    for thread in &threads {
        client.accepted(thread).await;
    }
    let [one, two] = threads.map(|thread| thread.id.to_hex());
    let first = ann.event(1111, &[H, &["E", &one], &["K", "11"]], "first");
    client.accepted(&first).await;
    let (id, at) = (first.id.to_hex(), START.to_string());
    let edit = |root: &str| {
        let tags: &[&[&str]] = &[H, &["E", root], &["K", "11"], &["edit", &id, &at]];
        ann.event(1111, tags, "better")
    };
    client.refused(&edit(&two), "invalid").await;
    client.accepted(&edit(&one)).await;
    let found = client.query(json!({"kinds": [1111], "#E": [one]})).await;
    assert_eq!(contents(&found), ["better"]);
}

/// The pins of the first channel.
async fn pins(client: &mut Client) -> Vec<String> {
    let asked = json!({"kinds": [39005], "#d": ["general"]});
    let described = client.query(asked).await;
    let pins = tags(&described[0], "e");
    pins.iter()
        .map(|tag| tag[1].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn nip29_what_its_author_deletes_or_takes_along_is_no_longer_pinned() {
    let mut space = anns();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let all: Vec<Event> = [&ann, &ben, &ben]
        .iter()
        .zip(["ann's", "ben's", "ben's other"])
        .map(|(person, text)| person.event(9, &[H], text))
        .collect();
    let named: Vec<String> = all.iter().map(|event| event.id.to_hex()).collect();
    for event in &all {
        client.accepted(event).await;
    }
    let pin: Vec<[&str; 2]> = named.iter().map(|id| ["e", id.as_str()]).collect();
    let mut tags: Vec<&[&str]> = vec![H];
    tags.extend(pin.iter().map(|tag| tag.as_slice()));
    client.accepted(&ann.event(9010, &tags, "")).await;
    assert_eq!(pins(&mut client).await, named);
    // What goes by itself is not pinned in the first place.
    let later = (START + 60).to_string();
    let passing = ann.event(9, &[H, &["expiration", &later]], "passing");
    client.accepted(&passing).await;
    client
        .refused(
            &ann.event(9010, &[H, &["e", &passing.id.to_hex()]], ""),
            "invalid",
        )
        .await;
    client
        .accepted(&ben.event(5, &[&["e", &named[1]]], ""))
        .await;
    assert_eq!(pins(&mut client).await, [&*named[0], &*named[2]]);
    drop(client);
    space.restart();
    let mut client = space.connect_as(&ben).await;
    assert_eq!(pins(&mut client).await, [&*named[0], &*named[2]]);
    client
        .accepted(&ben.event(62, &[&["relay", "ALL_RELAYS"]], ""))
        .await;
    assert_eq!(pins(&mut client).await, [&*named[0]]);
    let mut client = space.connect_as(&ann).await;
    assert_eq!(ids(&client.query(json!({"kinds": [9]})).await).len(), 2);
}
