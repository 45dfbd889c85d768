//! Membership of the space and invitations (NIP-43), as clients see them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::common::{Client, Person, START, TestSpace};
use serde_json::{Value, json};

fn owned(owner: &Person) -> TestSpace {
    TestSpace::with(|config| config.owner = Some(owner.0.public_key()))
}

fn join(person: &Person, claim: &str) -> nostr::event::Event {
    person.event(28934, &[&["-"], &["claim", claim]], "")
}

fn members(list: &[Value]) -> BTreeSet<String> {
    let [list] = list else {
        panic!("one list was expected: {list:?}")
    };
    let tags = list["tags"].as_array().unwrap().iter();
    tags.filter(|tag| tag[0] == "member")
        .map(|tag| tag[1].as_str().unwrap().to_owned())
        .collect()
}

async fn list(client: &mut Client) -> BTreeSet<String> {
    members(&client.query(json!({"kinds": [13534]})).await)
}

#[tokio::test]
async fn nip43_who_joins_is_listed_put_into_the_default_channels_and_stays_after_a_restart() {
    let (owner, ann, ben) = (Person::new(9), Person::new(1), Person::new(2));
    let mut space = owned(&owner);
    let mut client = space.connect_as(&owner).await;
    for id in ["hall", "den"] {
        client.accepted(&owner.event(9007, &[&["h", id]], "")).await;
    }
    client
        .accepted(&owner.event(9002, &[&["h", "den"], &["private"]], ""))
        .await;
    space
        .not_managed(
            &owner,
            "setdefaultchannels",
            json!([["general", "den"]]),
            "restricted",
        )
        .await;
    space
        .manage(&owner, "setdefaultchannels", json!([["general", "hall"]]))
        .await;
    let mut watcher = space.member(&ben).await;
    watcher
        .subscribe("s", json!({"kinds": [8000, 8001]}))
        .await
        .unwrap();
    let mut member = space.connect_as(&ann).await;
    let (accepted, reason) = member.publish(&join(&ann, "")).await;
    assert!(
        accepted && reason.starts_with("info: welcome to Garden club"),
        "{reason}"
    );
    let (accepted, reason) = member.publish(&join(&ann, "")).await;
    assert!(!accepted && reason.starts_with("duplicate: "), "{reason}");
    let heard = watcher.live("s").await;
    assert_eq!(
        (&heard["kind"], &heard["tags"][1]),
        (&json!(8000), &json!(["p", ann.hex()]))
    );
    for restarted in [false, true] {
        let all = BTreeSet::from([owner.hex(), ann.hex(), ben.hex()]);
        assert_eq!(list(&mut member).await, all);
        member
            .accepted(&ann.event(9, &[&["h", "general"]], &format!("hello {restarted}")))
            .await;
        member
            .accepted(&ann.event(9, &[&["h", "hall"]], &format!("hello {restarted}")))
            .await;
        member
            .refused(&ann.event(9, &[&["h", "den"]], "hello"), "restricted")
            .await;
        assert_eq!(space.space().summary().members, 3);
        if !restarted {
            drop((member, watcher));
            space.restart();
            member = space.connect_as(&ann).await;
            watcher = space.connect_as(&ben).await;
            watcher
                .subscribe("s", json!({"kinds": [8000, 8001], "since": START + 5}))
                .await
                .unwrap();
        }
    }
    member
        .refused(&ann.event(28936, &[], "without the tag"), "invalid")
        .await;
    space.now.store(START + 10, Ordering::SeqCst);
    member.accepted(&ann.event(28936, &[&["-"]], "")).await;
    let heard = watcher.live("s").await;
    assert_eq!(
        (&heard["kind"], &heard["tags"][1]),
        (&json!(8001), &json!(["p", ann.hex()]))
    );
    member
        .refused(&ann.event(9, &[&["h", "general"]], "gone"), "restricted")
        .await;
    assert_eq!(
        list(&mut watcher).await,
        BTreeSet::from([owner.hex(), ben.hex()])
    );
    assert!(member.query(json!({"kinds": [13534]})).await.is_empty());
}

#[tokio::test]
async fn nip43_joining_a_channel_makes_a_member_of_the_space_too() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let space = owned(&owner);
    let mut client = space.connect_as(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "hall"]], ""))
        .await;
    let mut member = space.connect_as(&ann).await;
    member.join(&ann, "hall").await;
    assert!(list(&mut member).await.contains(&ann.hex()));
    let put = member
        .query(json!({"kinds": [9000], "#p": [ann.hex()]}))
        .await;
    let channels: BTreeSet<_> = put
        .iter()
        .map(|event| event["tags"][0][1].clone().to_string())
        .collect();
    assert_eq!(
        channels,
        BTreeSet::from(["\"general\"".into(), "\"hall\"".into()])
    );
    // Leaving the channel is not leaving the space.
    member
        .accepted(&ann.event(9022, &[&["h", "hall"]], ""))
        .await;
    assert!(list(&mut member).await.contains(&ann.hex()));
}

#[tokio::test]
async fn nip43_nobody_but_the_space_says_who_its_members_are() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    for kind in [8000, 8001, 13534, 33534, 28935, 4240] {
        let forged = ann.event(kind, &[&["-"], &["p", &ann.hex()], &["act", "ban"]], "");
        client.refused(&forged, "restricted").await;
    }
    let old = ann.event_at(START - 3600, 28934, &[&["-"]], "");
    client.refused(&old, "invalid").await;
}

#[tokio::test]
async fn nip43_an_invitation_made_on_the_fly_lets_in_one_person_while_its_maker_may_invite() {
    let (owner, ann, ben, eve) = (
        Person::new(9),
        Person::new(1),
        Person::new(2),
        Person::new(3),
    );
    let mut space = owned(&owner);
    space.manage(&owner, "setaccess", json!(["closed"])).await;
    let mut admin = space.connect_as(&owner).await;
    let mut client = space.connect_as(&ann).await;
    let claim_of = |events: Vec<Value>| {
        let [event] = &events[..] else {
            panic!("one invitation was expected")
        };
        let signed: nostr::event::Event = serde_json::from_value(event.clone()).unwrap();
        signed.verify().unwrap();
        event["tags"][1][1].as_str().unwrap().to_owned()
    };
    let first = claim_of(admin.query(json!({"kinds": [28935]})).await);
    let second = claim_of(admin.query(json!({"kinds": [28935]})).await);
    assert_ne!(first, second);
    assert!(client.query(json!({"kinds": [28935]})).await.is_empty());
    assert!(
        admin
            .query(json!({}))
            .await
            .iter()
            .all(|event| event["kind"] != 28935)
    );
    client.accepted(&join(&ann, &first)).await;
    assert!(
        client.query(json!({"kinds": [28935]})).await.is_empty(),
        "a member without the permission makes none"
    );
    space.restart();
    let mut other = space.connect_as(&ben).await;
    let (accepted, used) = other.publish(&join(&ben, &first)).await;
    assert!(!accepted, "it was used, also after a restart");
    let (_, never) = other.publish(&join(&ben, "never-made")).await;
    assert_eq!(used, never);
    let (_, none) = other.publish(&join(&ben, "")).await;
    assert_eq!(none, never);
    space.now.store(START + 25 * 3600, Ordering::SeqCst);
    let late = ben.event_at(START + 25 * 3600, 28934, &[&["-"], &["claim", &second]], "");
    assert_eq!(
        other.publish(&late).await,
        (false, never.clone()),
        "it expired"
    );
    // One whose maker lost the permission opens nothing.
    space.now.store(START, Ordering::SeqCst);
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "moderator"]))
        .await;
    let mut client = space.connect_as(&ann).await;
    let third = claim_of(client.query(json!({"kinds": [28935]})).await);
    space
        .manage(&owner, "unassignrole", json!([ann.hex(), "moderator"]))
        .await;
    let mut other = space.connect_as(&eve).await;
    assert_eq!(other.publish(&join(&eve, &third)).await, (false, never));
}

#[tokio::test]
async fn invitations_give_a_role_name_a_channel_end_by_date_and_by_number_and_can_be_revoked() {
    let owner = Person::new(9);
    let people: Vec<Person> = (20..25).map(Person::new).collect();
    let mut space = owned(&owner);
    space.manage(&owner, "setaccess", json!(["closed"])).await;
    let mut client = space.connect_as(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "den"]], ""))
        .await;
    client
        .accepted(&owner.event(9002, &[&["h", "den"], &["hidden"], &["closed"]], ""))
        .await;
    let until = START + 100;
    let invite = |options: Value| space.manage(&owner, "createinvite", json!([options]));
    let to_den = invite(json!({"channel": "den", "uses": 2, "role": "moderator"})).await;
    let to_space = invite(json!({"role": "moderator", "expiration": until})).await;
    let revoked = invite(json!({"code": "by-the-gate"})).await;
    assert_eq!(revoked["code"], "by-the-gate");
    space
        .manage(&owner, "revokeinvite", json!([revoked["id"]]))
        .await;
    space.restart();
    let mut client = space.connect().await;
    for person in &people {
        client.log_in(person).await;
    }
    let code = |invite: &Value| invite["code"].as_str().unwrap().to_owned();
    let (_, never) = client.publish(&join(&people[0], "never-made")).await;
    let nothing = |answer: (bool, String)| assert_eq!(answer, (false, never.clone()));
    nothing(client.publish(&join(&people[0], "by-the-gate")).await);
    // By NIP-43 and by NIP-29, and then it is used up for both.
    client.accepted(&join(&people[0], &code(&to_den))).await;
    let by_channel =
        |person: &Person, code: &str| person.event(9021, &[&["h", "den"], &["code", code]], "");
    client
        .accepted(&by_channel(&people[1], &code(&to_den)))
        .await;
    nothing(client.publish(&join(&people[2], &code(&to_den))).await);
    let (_, nowhere) = client
        .publish(&people[2].event(9021, &[&["h", "no-such-channel"]], ""))
        .await;
    assert_eq!(
        client
            .publish(&by_channel(&people[2], &code(&to_den)))
            .await,
        (false, nowhere)
    );
    // The role counts in the channel only.
    let message = people[1].event(9, &[&["h", "den"]], "hello");
    client.accepted(&message).await;
    let delete = people[0].event(9005, &[&["h", "den"], &["e", &message.id.to_hex()]], "");
    client.refused(&delete, "restricted").await; // both are moderators
    let kick = people[0].event(9001, &[&["h", "general"], &["p", &people[1].hex()]], "");
    client.refused(&kick, "restricted").await;
    space
        .not_managed(&people[0], "createinvite", json!([{}]), "restricted")
        .await;
    space
        .manage(&people[0], "createinvite", json!([{"channel": "den"}]))
        .await;
    // The role counts in the space.
    client.accepted(&join(&people[3], &code(&to_space))).await;
    space.manage(&people[3], "createinvite", json!([{}])).await;
    space
        .not_managed(
            &people[3],
            "createinvite",
            json!([{"role": "moderator"}]),
            "restricted",
        )
        .await;
    space.now.store(until, Ordering::SeqCst);
    nothing(
        client
            .publish(&people[4].event_at(until, 28934, &[&["-"], &["claim", &code(&to_space)]], ""))
            .await,
    );
}

#[tokio::test]
async fn a_hundred_who_race_for_an_invitation_get_exactly_the_places_it_has() {
    const PLACES: usize = 7;
    let owner = Person::new(9);
    let mut space = owned(&owner);
    space.manage(&owner, "setaccess", json!(["closed"])).await;
    let mut client = space.connect_as(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "den"]], ""))
        .await;
    client
        .accepted(&owner.event(9002, &[&["h", "den"], &["closed"]], ""))
        .await;
    let places = PLACES.to_string();
    client
        .accepted(&owner.event(
            9009,
            &[&["h", "den"], &["code", "come-in-all"], &["uses", &places]],
            "",
        ))
        .await;
    let invite = json!([{"code": "come-in-too", "uses": PLACES}]);
    space.manage(&owner, "createinvite", invite).await;
    let mut racers = Vec::new();
    for number in 0..100 {
        let person = Person::new(100 + number);
        let mut client = space.connect_as(&person).await;
        racers.push(tokio::spawn(async move {
            let event = match number % 2 {
                0 => person.event(9021, &[&["h", "den"], &["code", "come-in-all"]], ""),
                _ => join(&person, "come-in-too"),
            };
            (number % 2, client.publish(&event).await)
        }));
    }
    let mut won = [0, 0];
    let mut reasons = [BTreeSet::new(), BTreeSet::new()];
    for racer in racers {
        let (way, (accepted, reason)) = racer.await.unwrap();
        won[usize::from(way)] += usize::from(accepted);
        if !accepted {
            reasons[usize::from(way)].insert(reason);
        }
    }
    assert_eq!(won, [PLACES, PLACES]);
    assert!(
        reasons.iter().all(|reasons| reasons.len() == 1),
        "{reasons:?}"
    );
    for restarted in [false, true] {
        let all = list(&mut client).await;
        assert_eq!(all.len(), 2 * PLACES + 1);
        let late = Person::new(999);
        let mut other = space.connect_as(&late).await;
        other
            .refused(&join(&late, "come-in-too"), "restricted")
            .await;
        if !restarted {
            space.restart();
            client = space.connect_as(&owner).await;
        }
    }
}
