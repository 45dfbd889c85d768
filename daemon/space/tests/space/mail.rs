//! Private messages that a space carries: from a member to a member, for nobody else's eyes.

use std::sync::atomic::Ordering;

use crate::common::{Client, Person, TestSpace, ids};
use nostr::event::{Event, FinalizeEvent};
use nostr::nips::nip17::PrivateDirectMessageBuilder;
use nostr::nips::nip59::extract_rumor;
use serde_json::{Value, json};

/// A wrap for somebody, signed by a key made for it.
fn wrap(number: u16, to: &Person, text: &str) -> Event {
    // NIP-59: dates are wrong on purpose, up to two days.
    Person::new(1000 + number).event_at(90_000_000, 1059, &[&["p", &to.hex()]], text)
}

fn own(person: &Person) -> Value {
    json!({"kinds": [1059], "#p": [person.hex()]})
}

async fn closed(client: &mut Client, filter: Value, prefix: &str) {
    let reason = client
        .subscribe("closed", filter.clone())
        .await
        .unwrap_err();
    assert!(reason.starts_with(prefix), "{filter}: {reason}");
}

#[tokio::test]
async fn nip59_a_wrap_goes_from_a_member_to_a_member_and_to_nobody_else() {
    let mut space = TestSpace::new();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let mut other = space.member(&eve).await;
    let listened = to.subscribe("mail", own(&ben)).await.unwrap();
    assert!(listened.is_empty());
    let letter = wrap(1, &ben, "sealed");
    from.accepted(&letter).await;
    let heard = to.next().await;
    assert_eq!(heard[2]["id"], letter.id.to_hex());
    // Everything others can think of gives nothing.
    let mut nobody = space.connect().await;
    closed(&mut nobody, own(&ben), "auth-required:").await;
    closed(&mut nobody, json!({"kinds": [1059]}), "auth-required:").await;
    for thief in [&mut other, &mut from] {
        closed(thief, own(&ben), "restricted:").await;
        closed(thief, json!({"kinds": [1059]}), "restricted:").await;
        closed(
            thief,
            json!({"kinds": [9, 1059], "#p": [ben.hex(), eve.hex()]}),
            "restricted:",
        )
        .await;
    }
    for thief in [&mut nobody, &mut other, &mut from] {
        for filter in [
            json!({}),
            json!({"ids": [letter.id.to_hex()]}),
            json!({"authors": [letter.pubkey.to_hex()]}),
            json!({"#p": [ben.hex()]}),
            json!({"since": 0, "until": 100_000_000_u64}),
        ] {
            let found = ids(&thief.query(filter.clone()).await);
            assert!(!found.contains(&letter.id.to_hex()), "{filter}");
        }
    }
    for thief in [&mut nobody, &mut other] {
        closed(thief, json!({"#h": ["\u{1}mail"]}), "").await;
    }
    // Who may not see it is not told that it is here: the same event again is refused or counted as any other.
    let (accepted, reason) = nobody.publish(&letter).await;
    assert!(
        !accepted && reason.starts_with("auth-required:"),
        "{reason}"
    );
    for restarted in [false, true] {
        let mut to = space.connect_as(&ben).await;
        assert_eq!(ids(&to.query(own(&ben)).await), [letter.id.to_hex()]);
        assert_eq!(
            ids(&to.query(json!({"ids": [letter.id.to_hex()]})).await),
            [letter.id.to_hex()]
        );
        // Who asks for everything gets what is everybody's.
        assert!(!ids(&to.query(json!({})).await).contains(&letter.id.to_hex()));
        if !restarted {
            space.restart();
        }
    }
}

#[tokio::test]
async fn nip59_only_members_send_and_only_to_members() {
    let space = TestSpace::new();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut member = space.member(&ann).await;
    space.member(&ben).await;
    let mut stranger = space.connect_as(&eve).await;
    stranger.refused(&wrap(1, &ben, "x"), "restricted").await;
    let mut nobody = space.connect().await;
    nobody.refused(&wrap(1, &ben, "x"), "auth-required").await;
    member.refused(&wrap(2, &eve, "x"), "restricted").await;
    let two = Person::new(1003).event(1059, &[&["p", &ben.hex()], &["p", &ann.hex()]], "x");
    member.refused(&two, "invalid").await;
    let none = Person::new(1004).event(1059, &[], "x");
    member.refused(&none, "invalid").await;
    let public = Person::new(1005).event(1059, &[&["p", &ben.hex()], &["h", "general"]], "x");
    member.refused(&public, "invalid").await;
    let protected = Person::new(1008).event(1059, &[&["p", &ben.hex()], &["-"]], "x");
    member.refused(&protected, "restricted").await;
    let mut forged = wrap(6, &ben, "x");
    forged.sig = wrap(7, &ben, "y").sig;
    member.refused(&forged, "invalid").await;
}

#[tokio::test]
async fn nip59_what_is_short_lived_is_heard_and_not_kept() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let filter = json!({"kinds": [21059], "#p": [ben.hex()]});
    to.subscribe("typing", filter.clone()).await.unwrap();
    let typing = Person::new(1001).event(21059, &[&["p", &ben.hex()]], "x");
    from.accepted(&typing).await;
    assert_eq!(to.next().await[2]["id"], typing.id.to_hex());
    assert!(space.connect_as(&ben).await.query(filter).await.is_empty());
}

#[tokio::test]
async fn a_home_collects_for_who_permitted_it_until_the_permission_is_taken_back() {
    let mut space = TestSpace::new();
    let (ann, ben, home) = (Person::new(1), Person::new(2), Person::new(9));
    let mut from = space.member(&ann).await;
    let mut person = space.member(&ben).await;
    let letter = wrap(1, &ben, "sealed");
    from.accepted(&letter).await;
    let mut collector = space.connect_as(&home).await;
    closed(&mut collector, own(&ben), "restricted:").await;
    let permission = ben.event(30078, &[&["d", "warren/collect"], &["p", &home.hex()]], "");
    // Nobody permits anything for somebody else, and no stranger for himself.
    collector.refused(&permission, "auth-required").await;
    let strange = home.event(30078, &[&["d", "warren/collect"], &["p", &home.hex()]], "");
    collector.refused(&strange, "restricted").await;
    person.accepted(&permission).await;
    assert_eq!(ids(&collector.query(own(&ben)).await), [letter.id.to_hex()]);
    closed(&mut collector, own(&ann), "restricted:").await;
    let about = json!({"kinds": [30078], "authors": [ben.hex()]});
    assert_eq!(collector.query(about.clone()).await.len(), 1);
    assert!(
        from.query(about.clone()).await.is_empty(),
        "who collects for whom is not for others"
    );
    drop((from, person, collector));
    space.restart();
    let mut collector = space.connect_as(&home).await;
    collector.subscribe("mail", own(&ben)).await.unwrap();
    // The home may fetch, not erase.
    let erase = home.event(5, &[&["e", &letter.id.to_hex()]], "");
    collector.refused(&erase, "restricted").await;
    let mut person = space.connect_as(&ben).await;
    let later = ben.event_at(
        crate::common::START + 1,
        30078,
        &[&["d", "warren/collect"]],
        "",
    );
    person.accepted(&later).await;
    let mut from = space.connect_as(&ann).await;
    from.accepted(&wrap(2, &ben, "for ben alone")).await;
    assert_eq!(person.query(own(&ben)).await.len(), 2);
    closed(&mut collector, own(&ben), "restricted:").await;
}

#[tokio::test]
async fn recipients_delete_what_was_sent_to_them_and_nobody_else_does() {
    let space = TestSpace::new();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let mut other = space.member(&eve).await;
    let letter = wrap(1, &ben, "sealed");
    from.accepted(&letter).await;
    let erase = |person: &Person| person.event(5, &[&["e", &letter.id.to_hex()]], "");
    for (client, person) in [(&mut other, &eve), (&mut from, &ann)] {
        client.accepted(&erase(person)).await;
        assert_eq!(to.query(own(&ben)).await.len(), 1);
    }
    to.accepted(&erase(&ben)).await;
    assert!(to.query(own(&ben)).await.is_empty());
    // It does not come back. That somebody deleted a message is told to nobody, its sender neither.
    from.accepted(&letter).await;
    assert!(to.query(own(&ben)).await.is_empty());
    assert!(
        ids(&other
            .query(json!({"kinds": [5], "authors": [ben.hex()]}))
            .await)
        .is_empty()
    );
}

#[tokio::test]
async fn a_flood_of_wraps_ends_at_the_senders_rate_and_at_the_recipients_limit() {
    let space = TestSpace::with(|config| {
        config.limits.wrap_burst = 20;
        config.limits.wraps_per_minute = 1;
        config.limits.mailbox_events = 5;
    });
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let mut other = space.member(&eve).await;
    for number in 0..5 {
        from.accepted(&wrap(number, &ben, "x")).await;
    }
    from.refused(&wrap(5, &ben, "x"), "restricted").await;
    from.accepted(&wrap(6, &eve, "others are not in its way"))
        .await;
    // Room is made by the recipient.
    let erase = to.query(own(&ben)).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    to.accepted(&ben.event(5, &[&["e", &erase]], "")).await;
    from.accepted(&wrap(7, &ben, "x")).await;
    for number in 8..20 {
        from.publish(&wrap(number, &eve, "x")).await;
    }
    from.refused(&wrap(30, &eve, "x"), "rate-limited").await;
    other
        .accepted(&wrap(31, &ann, "others are not slowed down"))
        .await;
}

#[tokio::test]
async fn nip17_a_private_message_made_by_a_library_arrives_and_opens() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    // The library asks the system for the time.
    let today = nostr::types::Timestamp::now().as_secs();
    space
        .now
        .store(u32::try_from(today).unwrap(), Ordering::SeqCst);
    let message = PrivateDirectMessageBuilder::new(ben.0.public_key(), "only for you")
        .finalize(&ann.0)
        .unwrap();
    from.accepted(&message).await;
    let found = to.query(own(&ben)).await;
    let arrived: Event = serde_json::from_value(found[0].clone()).unwrap();
    let opened = extract_rumor(&ben.0, &arrived).unwrap();
    assert_eq!(
        (opened.sender, opened.rumor.kind.as_u16()),
        (ann.0.public_key(), 14)
    );
    assert_eq!(opened.rumor.content, "only for you");
    // The lists of where somebody takes messages are everybody's to read.
    let list = ben.event_at(
        crate::common::START,
        10050,
        &[&["relay", "ws://home.example/"]],
        "",
    );
    to.accepted(&list).await;
    let asked = json!({"kinds": [10050], "authors": [ben.hex()]});
    assert_eq!(
        ids(&space.connect().await.query(asked).await),
        [list.id.to_hex()]
    );
}

#[tokio::test]
async fn a_report_about_a_private_message_reaches_the_moderators_of_the_space() {
    let owner = Person::new(9);
    let mut space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let letter = wrap(1, &ben, "sealed");
    from.accepted(&letter).await;
    let report = ben.event(
        1984,
        &[
            &["p", &ann.hex(), "spam"],
            &["e", &letter.id.to_hex(), "spam"],
        ],
        "unwanted",
    );
    to.accepted(&report).await;
    for restarted in [false, true] {
        let waiting = space
            .manage(&owner, "listeventsneedingmoderation", json!([]))
            .await;
        assert_eq!(waiting[0]["report"], report.id.to_hex());
        assert_eq!(waiting[0]["channel"], Value::Null);
        let mut moderator = space.connect_as(&owner).await;
        let seen = moderator.query(json!({"kinds": [1984]})).await;
        assert_eq!(ids(&seen), [report.id.to_hex()]);
        if !restarted {
            space.restart();
        }
    }
    // The message itself stays between the two.
    let mut moderator = space.connect_as(&owner).await;
    let asked = json!({"ids": [letter.id.to_hex()]});
    assert!(moderator.query(asked).await.is_empty());
    space
        .manage(&owner, "allowevent", json!([report.id.to_hex()]))
        .await;
}

#[tokio::test]
async fn nip40_a_home_collects_until_the_permission_expires() {
    let space = TestSpace::new();
    let (ann, ben, home) = (Person::new(1), Person::new(2), Person::new(9));
    let mut from = space.member(&ann).await;
    let mut person = space.member(&ben).await;
    from.accepted(&wrap(1, &ben, "sealed")).await;
    let until = (crate::common::START + 60).to_string();
    let permission = ben.event(
        30078,
        &[
            &["d", "warren/collect"],
            &["p", &home.hex()],
            &["expiration", &until],
        ],
        "",
    );
    person.accepted(&permission).await;
    let mut collector = space.connect_as(&home).await;
    let held = collector.subscribe("mail", own(&ben)).await.unwrap();
    assert_eq!(held.len(), 1);
    space.now.store(crate::common::START + 60, Ordering::SeqCst);
    closed(&mut collector, own(&ben), "restricted:").await;
    // What was subscribed before hears nothing more.
    for number in 2..4 {
        from.accepted(&wrap(number, &ben, "for ben alone")).await; // the answer comes when the one before was heard
    }
    collector
        .send(json!(["COUNT", "last", {"kinds": [1]}]))
        .await;
    assert_eq!(collector.next().await[0], "COUNT");
}
