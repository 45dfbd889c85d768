//! What a client may ask besides a plain subscription: how many (NIP-45), whether there are more (NIP-67), and what one
//! side has and the other has not (NIP-77), with everybody who must not find out.

use std::collections::BTreeSet;

use crate::common::{Client, Person, START, TestSpace};
use data_encoding::HEXLOWER;
use negentropy::{Id, Negentropy, NegentropyStorageVector, Storage};
use nostr::event::Event;
use serde_json::{Value, json};

const GENERAL: &[&str] = &["h", "general"];

/// A channel with these flags, made by `admin`.
async fn make(client: &mut Client, admin: &Person, id: &str, flags: &[&[&str]]) {
    client.accepted(&admin.event(9007, &[&["h", id]], "")).await;
    let h = ["h", id];
    let mut tags: Vec<&[&str]> = vec![&h, &["name", "A name"]];
    tags.extend(flags);
    client.accepted(&admin.event(9002, &tags, "")).await;
}

/// The answer to a COUNT: the number and whether it is marked as approximate, or why there is none.
async fn count(client: &mut Client, filters: Value) -> Result<(u64, bool), String> {
    let mut message = vec![json!("COUNT"), json!("c")];
    match filters {
        Value::Array(filters) => message.extend(filters),
        filter => message.push(filter),
    }
    client.send(Value::Array(message)).await;
    loop {
        let message = client.next().await;
        assert!(!message.is_null(), "the connection ended before the answer");
        match message[0].as_str() {
            Some("COUNT") if message[1] == "c" => {
                let approximate = message[2]["approximate"] == true;
                return Ok((message[2]["count"].as_u64().unwrap(), approximate));
            }
            Some("CLOSED") if message[1] == "c" => {
                return Err(message[2].as_str().unwrap().to_owned());
            }
            _ => {}
        }
    }
}

fn storage<'a>(events: impl IntoIterator<Item = &'a Event>) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::new();
    for event in events {
        let id = Id::from_byte_array(event.id.to_bytes());
        storage.insert(event.created_at.as_secs(), id).unwrap();
    }
    storage.seal().unwrap();
    storage
}

fn hex_ids(ids: Vec<Id>) -> BTreeSet<String> {
    ids.into_iter()
        .map(|id| HEXLOWER.encode(id.as_ref()))
        .collect()
}

/// What came for a sync: a message, or the reason why it ended.
async fn sync_answer(client: &mut Client, id: &str) -> Result<Vec<u8>, String> {
    loop {
        let message = client.next().await;
        assert!(!message.is_null(), "the connection ended before the answer");
        if message[1] == id && message[0] == "NEG-MSG" {
            let hex = message[2].as_str().unwrap();
            return Ok(HEXLOWER.decode(hex.as_bytes()).unwrap());
        }
        if message[1] == id && message[0] == "NEG-ERR" {
            return Err(message[2].as_str().unwrap().to_owned());
        }
    }
}

async fn open_sync(client: &mut Client, id: &str, filter: &Value, first: &[u8]) {
    let first = HEXLOWER.encode(first);
    client.send(json!(["NEG-OPEN", id, filter, first])).await;
}

/// Compares what `storage` has with what the space has: ids that only the client has, and that only the space has.
async fn compare(
    client: &mut Client,
    filter: Value,
    storage: &NegentropyStorageVector,
) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let mut negentropy = Negentropy::new(Storage::Borrowed(storage), 4096).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    open_sync(client, "n", &filter, &negentropy.initiate().unwrap()).await;
    loop {
        let answer = sync_answer(client, "n").await?;
        let next = negentropy
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .unwrap();
        let Some(next) = next else { break };
        client
            .send(json!(["NEG-MSG", "n", HEXLOWER.encode(&next)]))
            .await;
    }
    client.send(json!(["NEG-CLOSE", "n"])).await;
    Ok((hex_ids(have), hex_ids(need)))
}

fn roomy(config: &mut warren_space::SpaceConfig) {
    config.limits.event_burst = 10_000;
    config.limits.message_burst = 100_000;
}

#[tokio::test]
async fn nip77_two_stores_become_the_same() {
    let mut space = TestSpace::with(roomy);
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let all: Vec<Event> = (0..400u32)
        .map(|n| ann.event_at(START - 1000 + n / 3, 9, &[GENERAL], &format!("m{n}")))
        .collect();
    // Two of three are here, two of three there.
    let mut mine: Vec<&Event> = all
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 3 != 0)
        .map(|(_, event)| event)
        .collect();
    for event in all
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 3 != 1)
        .map(|(_, event)| event)
    {
        client.accepted(event).await;
    }
    let expected = |rest: usize| -> BTreeSet<String> {
        all.iter()
            .skip(rest)
            .step_by(3)
            .map(|event| event.id.to_hex())
            .collect()
    };
    let filter = json!({"kinds": [9], "#h": ["general"]});
    let (have, need) = compare(&mut client, filter.clone(), &storage(mine.iter().copied()))
        .await
        .unwrap();
    assert_eq!((have.clone(), need.clone()), (expected(1), expected(0)));
    for id in &have {
        let event = all.iter().find(|event| event.id.to_hex() == *id).unwrap();
        client.accepted(event).await;
    }
    let fetched = client.query(json!({"ids": need})).await;
    assert_eq!(fetched.len(), need.len());
    mine.extend(all.iter().filter(|event| need.contains(&event.id.to_hex())));
    // The same from the index as from the newest events in memory.
    drop(client);
    space.restart();
    let mut client = space.connect_as(&ann).await;
    let same = compare(&mut client, filter.clone(), &storage(mine.iter().copied()))
        .await
        .unwrap();
    assert_eq!(same, (BTreeSet::new(), BTreeSet::new()));
    let mut part = filter;
    part["since"] = json!(START - 1000 + 100);
    let (_, need) = compare(&mut client, part.clone(), &storage([]))
        .await
        .unwrap();
    assert_eq!(need.len(), 100);
    part["limit"] = json!(7);
    let (_, need) = compare(&mut client, part, &storage([])).await.unwrap();
    assert_eq!(need.len(), 7, "a limit asks for the newest");
}

#[tokio::test]
async fn nip77_what_is_wrong_ends_the_sync_and_nothing_else() {
    let space = TestSpace::new();
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    let filter = json!({"kinds": [9]});
    for first in [
        &[][..],
        &[0x20],
        &[0x61, 1, 0, 9],
        &[0x61, 0, 0, 2, 0xff, 0xff, 0xff, 0x7f],
    ] {
        open_sync(&mut client, "s", &filter, first).await;
        let reason = sync_answer(&mut client, "s").await.unwrap_err();
        assert!(reason.starts_with("invalid: "), "{first:?}: {reason}");
    }
    open_sync(&mut client, "old", &filter, &[0x62]).await;
    assert_eq!(
        sync_answer(&mut client, "old").await.unwrap(),
        [0x61],
        "another version is told ours"
    );
    client.send(json!(["NEG-MSG", "nothing", "61"])).await;
    let reason = sync_answer(&mut client, "nothing").await.unwrap_err();
    assert!(reason.starts_with("closed: "), "{reason}");
    client.send(json!(["NEG-CLOSE", "nothing"])).await;
    let hello = ann.event(9, &[GENERAL], "hello");
    client.accepted(&hello).await;
    let (_, need) = compare(&mut client, filter, &storage([])).await.unwrap();
    assert_eq!(need, BTreeSet::from([hello.id.to_hex()]));
}

#[tokio::test]
async fn nip77_syncs_are_bounded_in_number_size_and_for_the_whole_space() {
    let space = TestSpace::with(|config| {
        roomy(config);
        config.limits.syncs = 2;
        config.limits.sync_events = 20;
        config.limits.sync_events_in_all = 60;
    });
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    for n in 0..30u32 {
        let at = START - 100 + n;
        client
            .accepted(&ann.event_at(at, 9, &[GENERAL], &format!("m{n}")))
            .await;
    }
    let first = Negentropy::new(Storage::Borrowed(&storage([])), 0)
        .unwrap()
        .initiate()
        .unwrap();
    let all = json!({"kinds": [9]});
    open_sync(&mut client, "a", &all, &first).await;
    loop {
        let message = client.next().await;
        if message[0] == "NEG-ERR" {
            assert!(message[2].as_str().unwrap().starts_with("blocked: "));
            assert_eq!(message[3], 20, "how many it may be");
            break;
        }
    }
    let some = json!({"kinds": [9], "since": START - 85});
    open_sync(&mut client, "a", &some, &first).await;
    sync_answer(&mut client, "a").await.unwrap();
    open_sync(&mut client, "b", &some, &first).await;
    sync_answer(&mut client, "b").await.unwrap();
    open_sync(&mut client, "c", &some, &first).await;
    let reason = sync_answer(&mut client, "c").await.unwrap_err();
    assert!(reason.starts_with("restricted: "), "{reason}");
    let mut other = space.connect_as(&ann).await;
    open_sync(&mut other, "a", &some, &first).await;
    let reason = sync_answer(&mut other, "a").await.unwrap_err();
    assert!(reason.starts_with("rate-limited: "), "{reason}");
    // What one gives back is there for others.
    client.send(json!(["NEG-CLOSE", "a"])).await;
    client.send(json!(["NEG-CLOSE", "b"])).await;
    assert!(client.query(json!({"ids": []})).await.is_empty());
    loop {
        open_sync(&mut other, "a", &some, &first).await;
        match sync_answer(&mut other, "a").await {
            Ok(_) => break,
            Err(reason) => assert!(reason.starts_with("rate-limited: "), "{reason}"),
        }
    }
}

#[tokio::test]
async fn nip77_private_messages_are_compared_by_those_they_are_for() {
    let space = TestSpace::new();
    let (ann, ben, home) = (Person::new(1), Person::new(2), Person::new(9));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let wraps: Vec<Event> = (0..3u16)
        .map(|n| Person::new(50 + n).event(1059, &[&["p", &ben.hex()]], "sealed"))
        .collect();
    for wrap in &wraps {
        from.accepted(wrap).await;
    }
    let permission = ben.event(30078, &[&["d", "warren/collect"], &["p", &home.hex()]], "");
    to.accepted(&permission).await;
    let named = json!({"kinds": [1059], "#p": [ben.hex()]});
    let all: BTreeSet<String> = wraps.iter().map(|wrap| wrap.id.to_hex()).collect();
    let mut collector = space.connect_as(&home).await;
    for client in [&mut to, &mut collector] {
        let need = compare(client, named.clone(), &storage([]))
            .await
            .unwrap()
            .1;
        assert_eq!(need, all);
        let need = compare(client, named.clone(), &storage(&wraps[1..])).await;
        assert_eq!(need.unwrap().1.len(), 1);
    }
    let refused = compare(&mut from, named.clone(), &storage([])).await;
    assert!(refused.unwrap_err().starts_with("restricted: "));
    // A permission that is taken back ends what is open.
    open_sync(&mut collector, "open", &named, &[0x61]).await;
    sync_answer(&mut collector, "open").await.unwrap();
    let later = ben.event_at(START + 1, 30078, &[&["d", "warren/collect"]], "");
    to.accepted(&later).await;
    collector.send(json!(["NEG-MSG", "open", "61"])).await;
    let reason = sync_answer(&mut collector, "open").await.unwrap_err();
    assert!(reason.starts_with("restricted: "), "{reason}");
}

#[tokio::test]
async fn nip77_a_silent_client_is_forgotten() {
    let space = TestSpace::with(|config| config.limits.sync_seconds = 0);
    let mut client = space.connect().await;
    open_sync(&mut client, "s", &json!({}), &[0x61]).await;
    sync_answer(&mut client, "s").await.unwrap();
    let reason = sync_answer(&mut client, "s").await.unwrap_err();
    assert!(reason.starts_with("closed: "), "{reason}");
}

#[tokio::test]
async fn nip45_a_count_says_what_a_subscription_would_send() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    for n in 0..30u32 {
        let person = if n % 3 == 0 { &ben } else { &ann };
        let at = START - 100 + n;
        client
            .accepted(&person.event_at(at, 9, &[GENERAL], &format!("m{n}")))
            .await;
    }
    assert_eq!(
        count(&mut client, json!({"kinds": [9]})).await,
        Ok((30, false))
    );
    assert_eq!(
        count(&mut client, json!({"kinds": [9], "limit": 3})).await,
        Ok((30, false))
    );
    let bens = json!({"kinds": [9], "authors": [ben.hex()]});
    let late = json!({"kinds": [9], "since": START - 75});
    assert_eq!(count(&mut client, bens.clone()).await, Ok((10, false)));
    assert_eq!(
        count(&mut client, json!([bens, late, bens])).await,
        Ok((14, false)),
        "an event that matches twice counts once"
    );
    assert_eq!(
        count(&mut client, json!({"kinds": []})).await,
        Ok((0, false))
    );
    assert_eq!(
        count(&mut client, json!({"kinds": [39000], "#d": ["general"]})).await,
        Ok((1, false))
    );
    assert!(
        count(&mut client, json!([]))
            .await
            .unwrap_err()
            .starts_with("invalid: ")
    );
}

#[tokio::test]
async fn nip45_a_count_is_bounded_and_says_so() {
    let space = TestSpace::with(|config| config.limits.count_events = 10);
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    for n in 0..10u32 {
        let at = START - 100 + n;
        client
            .accepted(&ann.event_at(at, 9, &[GENERAL], &format!("m{n}")))
            .await;
    }
    assert_eq!(
        count(&mut client, json!({"kinds": [9]})).await,
        Ok((10, false))
    );
    client.accepted(&ann.event(9, &[GENERAL], "one more")).await;
    assert_eq!(
        count(&mut client, json!({"kinds": [9]})).await,
        Ok((10, true))
    );
}

/// The last element of the EOSE of a subscription.
async fn hint(client: &mut Client, filters: Value) -> Value {
    let mut message = vec![json!("REQ"), json!("e")];
    match filters {
        Value::Array(filters) => message.extend(filters),
        filter => message.push(filter),
    }
    client.send(Value::Array(message)).await;
    loop {
        let message = client.next().await;
        assert!(!message.is_null() && message[0] != "CLOSED", "{message}");
        if message[0] == "EOSE" {
            return message[2].clone();
        }
    }
}

#[tokio::test]
async fn nip67_the_end_of_stored_events_says_whether_there_are_more() {
    let space = TestSpace::with(|config| config.limits.query_events = 5);
    let ann = Person::new(1);
    let mut client = space.member(&ann).await;
    for n in 0..5u32 {
        let at = START - 100 + n;
        client
            .accepted(&ann.event_at(at, 9, &[GENERAL], &format!("m{n}")))
            .await;
    }
    let (finish, more) = (json!(["finish"]), json!(["more"]));
    assert_eq!(hint(&mut client, json!({"kinds": [9]})).await, finish);
    assert_eq!(hint(&mut client, json!({"kinds": [1]})).await, finish);
    assert_eq!(
        hint(&mut client, json!({"kinds": [9], "limit": 5})).await,
        finish
    );
    assert_eq!(
        hint(&mut client, json!({"kinds": [9], "limit": 4})).await,
        more
    );
    assert_eq!(
        hint(&mut client, json!({"kinds": [9], "limit": 0})).await,
        Value::Null
    );
    assert_eq!(
        hint(
            &mut client,
            json!([{"kinds": [1]}, {"kinds": [9], "limit": 2}])
        )
        .await,
        more
    );
    assert_eq!(
        hint(
            &mut client,
            json!([{"kinds": [9], "limit": 2}, {"kinds": [9]}])
        )
        .await,
        Value::Null,
        "the second brings what the first leaves out"
    );
    client.accepted(&ann.event(9, &[GENERAL], "one more")).await;
    assert_eq!(hint(&mut client, json!({"kinds": [9]})).await, more);
}

/// A space with a channel of each kind that not everybody may read, each with messages of its member.
async fn with_secrets(space: &TestSpace) -> (Client, Person) {
    let ann = Person::new(1);
    let mut admin = space.member(&ann).await;
    for (id, flags) in [("private", &["private"][..]), ("hidden", &["hidden"])] {
        make(&mut admin, &ann, id, &[flags]).await;
        for n in 0..3u32 {
            let event = ann.event_at(
                START - 10 + n,
                9,
                &[&["h", id]],
                &format!("{id} {n} secret"),
            );
            admin.accepted(&event).await;
        }
    }
    (admin, ann)
}

/// What somebody who may not read hears of a channel in each way of asking, and of one that does not exist.
async fn ask_everything(client: &mut Client, channel: &str) -> Vec<String> {
    let named = json!({"#h": [channel]});
    let mut heard = vec![
        client.subscribe("q", named.clone()).await.unwrap_err(),
        count(client, named.clone()).await.unwrap_err(),
        compare(client, named, &storage([])).await.unwrap_err(),
    ];
    for filter in [
        json!({"kinds": [9], "authors": [Person::new(1).hex()]}),
        json!({"kinds": [9]}),
        json!({"kinds": [9], "#h": ["general", channel]}),
        json!({"#d": [channel]}),
    ] {
        heard.push(format!("{}", client.query(filter.clone()).await.len()));
        heard.push(format!("{:?}", count(client, filter.clone()).await));
        heard.push(format!("{:?}", compare(client, filter, &storage([])).await));
    }
    heard
}

#[tokio::test]
async fn hidden_channels_are_not_counted_and_not_compared() {
    let space = TestSpace::new();
    let (mut admin, ann) = with_secrets(&space).await;
    for channel in ["private", "hidden"] {
        let named = json!({"#h": [channel], "kinds": [9]});
        assert_eq!(count(&mut admin, named.clone()).await, Ok((3, false)));
        assert_eq!(
            count(&mut admin, json!({"kinds": [9]})).await,
            Ok((0, false)),
            "named it must be"
        );
        let need = compare(&mut admin, named, &storage([])).await.unwrap().1;
        assert_eq!(need.len(), 3);
        let unnamed = compare(&mut admin, json!({"kinds": [9]}), &storage([]))
            .await
            .unwrap()
            .1;
        assert!(unnamed.is_empty());
    }
    let eve = Person::new(9);
    let mut nobody = space.connect().await;
    let mut stranger = space.connect_as(&eve).await;
    for client in [&mut nobody, &mut stranger] {
        let nothing = ask_everything(client, "nothing").await;
        assert_eq!(ask_everything(client, "hidden").await, nothing);
        let private = ask_everything(client, "private").await;
        assert_eq!(
            private[..12],
            nothing[..12],
            "its description alone is public"
        );
    }
    // Who was removed hears nothing more, in a sync that is open neither.
    let ben = Person::new(2);
    let ben_hex = ben.hex();
    let mut member = space.connect_as(&ben).await;
    admin
        .accepted(&ann.event(9000, &[&["h", "hidden"], &["p", &ben_hex]], ""))
        .await;
    let named = json!({"#h": ["hidden"], "kinds": [9]});
    assert_eq!(count(&mut member, named.clone()).await, Ok((3, false)));
    open_sync(&mut member, "open", &named, &[0x61]).await;
    sync_answer(&mut member, "open").await.unwrap();
    let wide = json!({"#h": ["hidden", "general"], "kinds": [9]});
    open_sync(&mut member, "wide", &wide, &[0x61]).await;
    sync_answer(&mut member, "wide").await.unwrap();
    admin
        .accepted(&ann.event(9001, &[&["h", "hidden"], &["p", &ben_hex]], ""))
        .await;
    let everything = HEXLOWER.encode(
        &Negentropy::new(Storage::Borrowed(&storage([])), 0)
            .unwrap()
            .initiate()
            .unwrap(),
    );
    for (id, prefix) in [("open", "restricted: "), ("wide", "closed: ")] {
        member.send(json!(["NEG-MSG", id, everything])).await;
        let reason = sync_answer(&mut member, id).await.unwrap_err();
        assert!(reason.starts_with(prefix), "{id}: {reason}");
    }
    let nothing = ask_everything(&mut member, "nothing").await;
    assert_eq!(ask_everything(&mut member, "hidden").await, nothing);
}

#[tokio::test]
async fn nip77_private_messages_are_compared_with_their_recipient_and_with_homes_that_collect() {
    let space = TestSpace::with(roomy);
    let (ann, ben, home) = (Person::new(1), Person::new(2), Person::new(9));
    let mut from = space.member(&ann).await;
    let mut to = space.member(&ben).await;
    let mut wraps = Vec::new();
    for number in 0..5u16 {
        let wrap = Person::new(1000 + number).event_at(
            START - u32::from(number) * 1000,
            1059,
            &[&["p", &ben.hex()]],
            "sealed",
        );
        from.accepted(&wrap).await;
        wraps.push(wrap);
    }
    let permission = ben.event(30078, &[&["d", "warren/collect"], &["p", &home.hex()]], "");
    to.accepted(&permission).await;
    let mut collector = space.connect_as(&home).await;
    let filter = json!({"kinds": [1059], "#p": [ben.hex()]});
    let missing: BTreeSet<String> = wraps[2..].iter().map(|wrap| wrap.id.to_hex()).collect();
    for client in [&mut to, &mut collector] {
        let (have, need) = compare(client, filter.clone(), &storage(&wraps[..2]))
            .await
            .unwrap();
        assert_eq!((have.len(), need), (0, missing.clone()));
        let own = json!({"kinds": [30078], "authors": [ben.hex()]});
        let (_, need) = compare(client, own, &storage([])).await.unwrap();
        assert_eq!(need, BTreeSet::from([permission.id.to_hex()]));
    }
    let reason = compare(&mut from, filter.clone(), &storage([]))
        .await
        .unwrap_err();
    assert!(reason.starts_with("restricted: "), "{reason}");
    // A sync that is open ends with the permission.
    let empty = storage([]);
    let mut negentropy = Negentropy::new(Storage::Borrowed(&empty), 4096).unwrap();
    let first = negentropy.initiate().unwrap();
    open_sync(&mut collector, "open", &filter, &first).await;
    sync_answer(&mut collector, "open").await.unwrap();
    to.accepted(&ben.event_at(START + 1, 30078, &[&["d", "warren/collect"]], ""))
        .await;
    collector
        .send(json!(["NEG-MSG", "open", HEXLOWER.encode(&first)]))
        .await;
    let reason = sync_answer(&mut collector, "open").await.unwrap_err();
    assert!(reason.starts_with("restricted: "), "{reason}");
}
