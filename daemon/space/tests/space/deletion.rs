//! What is taken away and what goes by itself: deletion requests (NIP-09), expiration (NIP-40), and a clock that jumps.

use std::sync::atomic::Ordering;

use crate::common::{Person, START, TestSpace, contents};
use serde_json::json;

const GENERAL: &[&str] = &["h", "general"];

#[tokio::test]
async fn nip09_a_crowd_of_requests_by_others_does_not_bring_back_what_was_deleted() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut author = space.member(&ann).await;
    let mut other = space.member(&ben).await;
    let mine = ann.event(9, &[GENERAL], "mine");
    author.accepted(&mine).await;
    let e = ["e", &mine.id.to_hex()];
    author.accepted(&ann.event(5, &[&e], "")).await;
    for number in 1..=110 {
        let request = ben.event_at(crate::common::START + number, 5, &[&e], "");
        other.accepted(&request).await;
    }
    author.refused(&mine, "blocked").await;
}

#[tokio::test]
async fn nip09_the_author_deletes_and_what_was_deleted_stays_away() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let mine = ann.event(9, &[GENERAL], "a secret that must leave the disk");
    let theirs = ben.event(9, &[GENERAL], "not yours");
    client.accepted(&mine).await;
    client.accepted(&theirs).await;
    let deletion = ann.event(
        5,
        &[
            &["e", &mine.id.to_hex()],
            &["e", &theirs.id.to_hex()],
            &["k", "9"],
        ],
        "",
    );
    client.accepted(&deletion).await;
    assert_eq!(
        contents(&client.query(json!({"kinds": [9]})).await),
        ["not yours"]
    );
    client.refused(&mine, "blocked").await;
    // A deletion that comes before what it deletes.
    let late = ann.event(9, &[GENERAL], "never seen");
    client
        .accepted(&ann.event(5, &[GENERAL, &["e", &late.id.to_hex()]], ""))
        .await;
    client.refused(&late, "blocked").await;
    // A replaceable event by its address.
    let note = ann.event_at(START - 5, 30023, &[GENERAL, &["d", "n"]], "draft");
    client.accepted(&note).await;
    client
        .accepted(&ann.event(5, &[GENERAL, &["a", &format!("30023:{}:n", ann.hex())]], ""))
        .await;
    assert!(client.query(json!({"kinds": [30023]})).await.is_empty());
    drop(client);
    space.restart();
    let mut client = space.connect_as(&ann).await;
    assert_eq!(
        contents(&client.query(json!({"kinds": [9]})).await),
        ["not yours"]
    );
    client.refused(&mine, "blocked").await;
    for entry in std::fs::read_dir(space.config.dir.join("journal")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(8).any(|window| window == b"a secret"),
            "the words are still on the disk"
        );
    }
}

#[tokio::test]
async fn nip40_what_expires_is_not_taken_and_not_shown() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let (soon, past) = ((START + 60).to_string(), START.to_string());
    client
        .refused(
            &ann.event(9, &[GENERAL, &["expiration", &past]], "late"),
            "invalid",
        )
        .await;
    let event = ann.event(9, &[GENERAL, &["expiration", &soon]], "for a minute");
    client.accepted(&event).await;
    assert_eq!(client.query(json!({"kinds": [9]})).await.len(), 1);
    space.now.store(START + 61, Ordering::SeqCst);
    assert!(client.query(json!({"kinds": [9]})).await.is_empty());
    assert!(client.query(json!({"ids": [event.id]})).await.is_empty());
}

#[tokio::test]
async fn a_clock_that_jumps_by_a_day_moves_the_limits_with_it() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let day = 24 * 3600;
    let tomorrow = ann.event_at(START + day, 9, &[GENERAL], "tomorrow");
    client.refused(&tomorrow, "invalid").await;
    space.now.store(START + day, Ordering::SeqCst);
    client.accepted(&tomorrow).await;
    client
        .refused(
            &ann.event_at(START - 1, 9, &[GENERAL], "too old"),
            "invalid",
        )
        .await;
    space.now.store(START, Ordering::SeqCst);
    client
        .accepted(&ann.event(9, &[GENERAL], "the clock went back"))
        .await;
    assert_eq!(
        contents(&client.query(json!({"kinds": [9]})).await),
        ["tomorrow", "the clock went back"]
    );
}
