//! The relay of a home's people (NIP-65) as clients see it: what its people may write, what everybody may read, and that
//! sealed messages reach whom they are for and nobody else. A number stands in its `supported_nips` only when a test with
//! its name is in this file.

use std::sync::atomic::Ordering;

use crate::common::house::{Home, own, people, wrap};
use crate::common::{Client, Person, SERVICE, START, contents, http, ids};
use nostr::event::{Event, FinalizeEvent};
use nostr::nips::nip17::PrivateDirectMessageBuilder;
use nostr::nips::nip59::extract_rumor;
use serde_json::{Value, json};

#[tokio::test]
async fn nip11_it_says_what_it_is_and_names_only_nips_that_have_tests() {
    let home = Home::new();
    let (head, body) = home.get("/", "application/nostr+json").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body["name"], "Ann's home");
    assert!(body.get("nip29").is_none(), "it has no groups");
    let limits = &body["limitation"];
    assert_eq!(limits["restricted_writes"], true);
    assert_eq!(limits["max_event_tags"], 5000);
    assert!(limits.get("created_at_lower_limit").is_none());
    let source = include_str!("personal.rs");
    for nip in body["supported_nips"].as_array().unwrap() {
        let name = format!("async fn nip{:02}_", nip.as_u64().unwrap());
        assert!(source.contains(&name), "no test for NIP {nip}");
    }
    // Management is of spaces.
    let call = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/nostr+json+rpc\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert!(http(&home.relay, call).await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn nip01_people_of_the_home_write_all_that_is_public_and_everybody_reads_it() {
    let mut home = Home::new();
    let (ann, _, eve) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let mut anybody = home.relay.connect().await;
    let wanted = json!({"authors": [ann.hex()], "limit": 100});
    assert_eq!(anybody.subscribe("live", wanted.clone()).await, Ok(vec![]));
    let kinds = [
        0, 1, 3, 6, 7, 16, 20, 1068, 1111, 1222, 9735, 9802, 10_000, 10_002, 10_063, 30_000,
        30_023, 30_078,
    ];
    let mut kept = Vec::new();
    for kind in kinds {
        let event = ann.event(kind, &[&["d", "x"]], if kind == 0 { "{}" } else { "words" });
        client.accepted(&event).await;
        assert_eq!(anybody.live("live").await["id"], event.id.to_hex());
        kept.push(event.id.to_hex());
    }
    let passing = ann.event(20_010, &[], "here");
    client.accepted(&passing).await;
    assert_eq!(anybody.live("live").await["id"], passing.id.to_hex());
    // Old things may be brought along.
    let old = ann.event_at(1_400_000_000, 1, &[], "long ago");
    client.accepted(&old).await;
    kept.push(old.id.to_hex());
    home.restart();
    let mut found = ids(&home.relay.connect().await.query(wanted).await);
    found.sort();
    kept.sort();
    assert_eq!(found, kept);
    // Of others nothing is kept, and nothing that belongs to spaces.
    let mut stranger = home.relay.connect_as(&eve).await;
    stranger
        .refused(&eve.event(1, &[], "x"), "restricted")
        .await;
    let mut client = home.relay.connect_as(&ann).await;
    client
        .refused(&eve.event(1, &[], "x"), "auth-required")
        .await;
    let in_a_channel = ann.event(1, &[&["h", "general"]], "x");
    client.refused(&in_a_channel, "restricted").await;
    for kind in [
        1984, 9000, 9007, 9021, 9022, 20_001, 24_240, 28_934, 28_936, 8000, 39_000,
    ] {
        let event = ann.event(kind, &[&["p", &eve.hex()]], "");
        client.refused(&event, "restricted").await;
    }
    // What would tell the world what is meant for one person.
    for kind in [4, 13, 14, 15] {
        client
            .refused(&ann.event(kind, &[&["p", &eve.hex()]], "x"), "blocked")
            .await;
    }
    let mut forged = ann.event(1, &[], "mine");
    forged.sig = ann.event(1, &[], "other").sig;
    client.refused(&forged, "invalid").await;
    let tomorrow = ann.event_at(START + 86_400, 1, &[], "x");
    client.refused(&tomorrow, "invalid").await;
}

#[tokio::test]
async fn nip42_only_who_proved_to_live_here_writes_and_the_home_hands_in_what_they_signed() {
    let home = Home::new();
    let (ann, ben, eve) = people();
    let note = ann.event(1, &[], "signed elsewhere");
    home.relay
        .connect()
        .await
        .refused(&note, "auth-required")
        .await;
    let mut other = home.relay.connect_as(&ben).await;
    other.refused(&note, "auth-required").await;
    let mut itself = home.relay.connect_as(&Person::new(99)).await;
    itself.accepted(&note).await;
    itself
        .refused(&eve.event(1, &[], "not of this home"), "restricted")
        .await;
    itself
        .refused(&Person::new(99).event(1, &[], "nobody"), "restricted")
        .await;
    // Who moves out may not write from that moment on.
    let mut client = home.relay.connect_as(&ben).await;
    client.accepted(&ben.event(1, &[], "still here")).await;
    home.house.0.lock().unwrap().remove(&ben.0.public_key());
    client
        .refused(&ben.event(1, &[], "gone"), "restricted")
        .await;
}

#[tokio::test]
async fn nip09_people_take_back_what_they_wrote_and_nobody_elses() {
    let mut home = Home::new();
    let (ann, ben, _) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let mut other = home.relay.connect_as(&ben).await;
    let note = ann.event(1, &[], "taken back");
    let data = ann.event(30_078, &[&["d", "settings"]], "sealed");
    client.accepted(&note).await;
    client.accepted(&data).await;
    let id = note.id.to_hex();
    other
        .accepted(&ben.event(5, &[&["e", &id]], "not his"))
        .await;
    assert_eq!(other.query(json!({"ids": [id]})).await.len(), 1);
    let address = format!("30078:{}:settings", ann.hex());
    let both = ann.event(5, &[&["e", &id], &["a", &address]], "");
    client.accepted(&both).await;
    home.restart();
    let mut client = home.relay.connect_as(&ann).await;
    assert!(
        client
            .query(json!({"authors": [ann.hex()], "kinds": [1, 30_078]}))
            .await
            .is_empty()
    );
    client.refused(&note, "blocked").await;
    assert_eq!(client.query(json!({"kinds": [5]})).await.len(), 2);
}

#[tokio::test]
async fn nip40_what_expired_is_not_given() {
    let home = Home::new();
    let (ann, ..) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let until = (START + 10).to_string();
    let note = ann.event(1, &[&["expiration", &until]], "for a moment");
    client.accepted(&note).await;
    let ask = json!({"kinds": [1]});
    assert_eq!(client.query(ask.clone()).await.len(), 1);
    home.relay.now.fetch_add(11, Ordering::SeqCst);
    assert!(client.query(ask).await.is_empty());
}

/// Ann, who wrote five notes.
async fn ladders(home: &Home) -> (Client, Value) {
    let (ann, ..) = people();
    let mut client = home.relay.connect_as(&ann).await;
    for n in 0..5 {
        let note = ann.event_at(START - n, 1, &[], &format!("ladder {n}"));
        client.accepted(&note).await;
    }
    (client, json!({"kinds": [1], "authors": [ann.hex()]}))
}

#[tokio::test]
async fn nip45_notes_are_counted() {
    let home = Home::new();
    let (mut client, filter) = ladders(&home).await;
    client.send(json!(["COUNT", "c", filter])).await;
    assert_eq!(client.next().await[2]["count"], 5);
}

#[tokio::test]
async fn nip50_notes_are_found_by_their_words() {
    let home = Home::new();
    let (mut client, _) = ladders(&home).await;
    let found = client.query(json!({"search": "ladder 3"})).await;
    assert_eq!(contents(&found), ["ladder 3"]);
}

#[tokio::test]
async fn nip67_the_end_says_whether_there_is_more() {
    let home = Home::new();
    let (mut client, _) = ladders(&home).await;
    for (limit, word) in [(2, "more"), (10, "finish")] {
        client
            .send(json!(["REQ", "few", {"kinds": [1], "limit": limit}]))
            .await;
        let end = loop {
            let message = client.next().await;
            if message[0] == "EOSE" {
                break message;
            }
        };
        assert_eq!(end[2], json!([word]));
    }
}

#[tokio::test]
async fn nip77_what_one_side_has_and_the_other_has_not_is_found() {
    let home = Home::new();
    let (mut client, filter) = ladders(&home).await;
    // Version 1; one range up to the end of time, as a list of nothing: we have nothing.
    client
        .send(json!(["NEG-OPEN", "n", filter, "6100000200"]))
        .await;
    let answer = client.next().await;
    assert_eq!(answer[0], "NEG-MSG", "{answer}");
    for id in ids(&client.query(json!({"kinds": [1]})).await) {
        assert!(answer[2].as_str().unwrap().contains(&id));
    }
}

#[tokio::test]
async fn nip62_everything_of_a_person_leaves_and_does_not_come_back() {
    let mut home = Home::new();
    let (ann, ben, eve) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let note = ann.event(1, &[], "vanishing");
    client.accepted(&note).await;
    let letter = wrap(1, &ann, "vanishing too");
    home.relay.connect().await.accepted(&letter).await;
    let mut other = home.relay.connect_as(&ben).await;
    let stays = ben.event(1, &[], "stays");
    other.accepted(&stays).await;
    let here = format!("ws://{SERVICE}.warren/");
    client
        .accepted(&ann.event(62, &[&["relay", &here]], ""))
        .await;
    home.restart();
    let mut client = home.relay.connect_as(&ann).await;
    assert_eq!(
        ids(&client.query(json!({"kinds": [1]})).await),
        [stays.id.to_hex()]
    );
    assert!(client.query(own(&ann)).await.is_empty());
    client.refused(&note, "blocked").await;
    // Who read it before hears of it.
    let mut reader = home.relay.connect().await;
    let said = reader.query(json!({"kinds": [62], "authors": [ann.hex()]}));
    assert_eq!(said.await.len(), 1);
    // Who never wrote here may ask, too, and leaves nothing.
    let mut stranger = home.relay.connect_as(&eve).await;
    stranger
        .accepted(&eve.event(62, &[&["relay", "ALL_RELAYS"]], ""))
        .await;
    let said = stranger.query(json!({"kinds": [62], "authors": [eve.hex()]}));
    assert!(said.await.is_empty());
}

#[tokio::test]
async fn nip65_a_list_of_relays_is_kept_and_replaced() {
    let home = Home::new();
    let (ann, ..) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let here = format!("ws://{SERVICE}.warren/");
    let old = ann.event(10_002, &[&["r", "wss://one.example/"]], "");
    let new = ann.event_at(START + 1, 10_002, &[&["r", &here]], "");
    client.accepted(&new).await;
    let (_, reason) = client.publish(&old).await;
    assert!(reason.starts_with("duplicate: "), "{reason}");
    let mut anybody = home.relay.connect().await;
    let asked = json!({"kinds": [10_002], "authors": [ann.hex()]});
    assert_eq!(ids(&anybody.query(asked).await), [new.id.to_hex()]);
}

#[tokio::test]
async fn nip70_a_protected_event_is_not_carried_inside_a_repost() {
    let home = Home::new();
    let (ann, ben, _) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let note = ann.event(1, &[&["-"]], "for those who come here");
    let mut other = home.relay.connect_as(&ben).await;
    other.refused(&note, "auth-required").await;
    client.accepted(&note).await;
    let inside = serde_json::to_string(&note).unwrap();
    let repost = |content: &str| ben.event(6, &[&["e", &note.id.to_hex()]], content);
    other.refused(&repost(&inside), "blocked").await;
    other.accepted(&repost("")).await;
}

#[tokio::test]
async fn nip05_whoever_wants_to_be_found_is_found_by_name() {
    let home = Home::new();
    let (head, body) = home
        .get("/.well-known/nostr.json?name=ANN", "application/json")
        .await;
    let open = "access-control-allow-origin: *";
    assert!(head.to_lowercase().contains(open));
    let ann = Person::new(1).hex();
    assert_eq!(body["names"]["ann"], ann.as_str());
    assert_eq!(body["relays"][&ann][0], format!("ws://{SERVICE}.warren/"));
    for query in ["?name=ben", "?name=", "", "?name=%00", "?x&&name"] {
        let path = format!("/.well-known/nostr.json{query}");
        let (_, body) = home.get(&path, "application/json").await;
        assert_eq!(body, json!({"names": {}, "relays": {}}), "{query}");
    }
}

/// Everything somebody can ask to get at a letter to Ann.
async fn steals_nothing(thief: &mut Client, letter: &Event, ann: &Person) {
    let id = letter.id.to_hex();
    for (filter, is_narrow) in [
        (json!({}), false),
        (json!({"search": "sealed"}), false),
        (json!({"since": 0, "until": 100_000_000_u64}), true),
        (json!({"ids": [id]}), true),
        (json!({"authors": [letter.pubkey.to_hex()]}), true),
        (json!({"#p": [ann.hex()]}), true),
    ] {
        let found = ids(&thief.query(filter.clone()).await);
        assert!(!found.contains(&id), "{filter}");
        if is_narrow {
            thief.send(json!(["COUNT", "c", filter])).await;
            assert_eq!(thief.next().await[2]["count"], 0, "{filter}");
        }
    }
    let in_mail = json!({"#h": ["\u{1}mail"]});
    for filter in [own(ann), json!({"kinds": [1059]}), in_mail] {
        let asked = thief.subscribe("x", filter.clone()).await;
        assert!(asked.is_err(), "{filter}");
        thief
            .send(json!(["NEG-OPEN", "n", filter, "6100000200"]))
            .await;
        assert_eq!(thief.next().await[0], "NEG-ERR", "{filter}");
    }
    // Sending it again does not tell whether it was here, is here or was deleted.
    assert_eq!(thief.publish(letter).await, (true, String::new()));
}

#[tokio::test]
async fn nip59_strangers_leave_sealed_messages_and_only_whom_they_are_for_reads_them() {
    let mut home = Home::new();
    let (ann, ben, eve) = people();
    let mut nobody = home.relay.connect().await;
    let letter = wrap(1, &ann, "sealed");
    let id = letter.id.to_hex();
    let mut to = home.relay.connect_as(&ann).await;
    to.subscribe("mail", own(&ann)).await.unwrap();
    nobody.accepted(&letter).await;
    assert_eq!(to.live("mail").await["id"], id);
    let passing = Person::new(1009).event(21_059, &[&["p", &ann.hex()]], "x");
    let typing = json!({"kinds": [21_059], "#p": [ann.hex()]});
    to.subscribe("typing", typing).await.unwrap();
    nobody.accepted(&passing).await;
    assert_eq!(to.live("typing").await["id"], passing.id.to_hex());
    nobody
        .refused(&wrap(2, &eve, "not of this home"), "restricted")
        .await;
    for restarted in [false, true] {
        steals_nothing(&mut home.relay.connect().await, &letter, &ann).await;
        for thief in [&eve, &ben, &Person::new(99)] {
            let mut client = home.relay.connect_as(thief).await;
            steals_nothing(&mut client, &letter, &ann).await;
        }
        let mut to = home.relay.connect_as(&ann).await;
        assert_eq!(ids(&to.query(own(&ann)).await), std::slice::from_ref(&id));
        if !restarted {
            home.restart();
        }
    }
    let mut to = home.relay.connect_as(&ann).await;
    to.accepted(&ann.event(5, &[&["e", &id]], "")).await;
    assert!(to.query(own(&ann)).await.is_empty());
    let mut nobody = home.relay.connect().await;
    steals_nothing(&mut nobody, &letter, &ann).await;
    assert!(
        to.query(own(&ann)).await.is_empty(),
        "it does not come back"
    );
    let deletions = json!({"kinds": [5], "authors": [ann.hex()]});
    assert!(nobody.query(deletions).await.is_empty());
}

#[tokio::test]
async fn nip17_a_message_of_a_library_reaches_a_home_that_was_permitted_to_collect_it() {
    let home = Home::new();
    let (ann, _, eve) = people();
    let today = nostr::types::Timestamp::now().as_secs();
    home.relay
        .now
        .store(u32::try_from(today).unwrap(), Ordering::SeqCst);
    let message = PrivateDirectMessageBuilder::new(ann.0.public_key(), "only for you")
        .finalize(&eve.0)
        .unwrap();
    home.relay.connect().await.accepted(&message).await;
    let carrier = Person::new(50);
    let mut collector = home.relay.connect().await;
    let now = u32::try_from(today).unwrap();
    let log_in = |challenge: &str| {
        let url = format!("ws://{SERVICE}.warren/");
        carrier.event_at(
            now,
            22_242,
            &[&["relay", &url], &["challenge", challenge]],
            "",
        )
    };
    let proof = log_in(&collector.challenge);
    collector.send(json!(["AUTH", proof])).await;
    assert!(collector.answer(&proof).await.0);
    assert!(collector.subscribe("m", own(&ann)).await.is_err());
    let tags: &[&[&str]] = &[&["d", "warren/collect"], &["p", &carrier.hex()]];
    home.relay.now.store(START, Ordering::SeqCst);
    let mut client = home.relay.connect_as(&ann).await;
    client.accepted(&ann.event(30_078, tags, "")).await;
    home.relay.now.store(now, Ordering::SeqCst);
    let found = collector.query(own(&ann)).await;
    let arrived: Event = serde_json::from_value(found[0].clone()).unwrap();
    let opened = extract_rumor(&ann.0, &arrived).unwrap();
    assert_eq!(opened.rumor.content, "only for you");
    // The permission itself is hers and the carrier's.
    let about = json!({"kinds": [30_078], "authors": [ann.hex()]});
    assert!(home.relay.connect().await.query(about).await.is_empty());
    // Who does not live here permits nothing.
    home.relay.now.store(START, Ordering::SeqCst);
    let mut stranger = home.relay.connect_as(&eve).await;
    stranger
        .refused(&eve.event(30_078, tags, ""), "restricted")
        .await;
}

#[tokio::test]
async fn a_flood_of_strangers_ends_at_one_connection_at_one_recipient_and_at_the_mailbox() {
    let mut home = Home::with(|limits| {
        limits.stranger_wrap_burst = 6;
        limits.stranger_wraps_per_minute = 1;
        limits.stranger_mailbox_events = 4;
        limits.mailbox_events = 6;
    });
    let (ann, ben, _) = people();
    let mut nobody = home.relay.connect().await;
    for n in 0..4 {
        nobody.accepted(&wrap(n, &ann, "x")).await;
    }
    nobody.refused(&wrap(4, &ann, "x"), "restricted").await;
    nobody.accepted(&wrap(5, &ben, "x")).await;
    nobody.refused(&wrap(6, &ben, "x"), "rate-limited").await;
    // Another connection has a burst of its own, the recipient has none left.
    let mut another = home.relay.connect().await;
    another.accepted(&wrap(7, &ben, "x")).await;
    another.refused(&wrap(8, &ann, "x"), "restricted").await;
    another.refused(&wrap(9, &ann, "x"), "rate-limited").await;
    // People of the home are not slowed down, and there is room left for what they write.
    let mut housemate = home.relay.connect_as(&ben).await;
    housemate.accepted(&wrap(10, &ann, "x")).await;
    home.restart();
    let mut housemate = home.relay.connect_as(&ben).await;
    housemate.accepted(&wrap(11, &ann, "x")).await;
    housemate.refused(&wrap(12, &ann, "x"), "restricted").await;
}

#[tokio::test]
async fn nobody_keeps_more_than_a_share_and_what_is_taken_back_makes_room() {
    let mut home = Home::with(|limits| limits.person_events = 3);
    let (ann, ben, _) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let notes: Vec<Event> = (0..3).map(|n| ann.event(1, &[], &n.to_string())).collect();
    for note in &notes {
        client.accepted(note).await;
    }
    let another = ann.event(1, &[], "too much");
    client.refused(&another, "restricted").await;
    let mut other = home.relay.connect_as(&ben).await;
    other.accepted(&ben.event(1, &[], "not in his way")).await;
    home.restart();
    let mut client = home.relay.connect_as(&ann).await;
    client.refused(&another, "restricted").await;
    // Taking back always works, and counts after a minute at the latest.
    let (first, second) = (notes[0].id.to_hex(), notes[1].id.to_hex());
    client
        .accepted(&ann.event(5, &[&["e", &first], &["e", &second]], ""))
        .await;
    home.relay.now.fetch_add(61, Ordering::SeqCst);
    client.accepted(&another).await;
    let by_size = Home::with(|limits| limits.person_bytes = 2000);
    let mut client = by_size.relay.connect_as(&ann).await;
    client.accepted(&ann.event(1, &[], &"x".repeat(2000))).await;
    client.refused(&ann.event(1, &[], "y"), "restricted").await;
}

#[tokio::test]
async fn a_list_of_nearly_five_thousand_people_is_kept_and_a_hundred_thousand_are_refused() {
    let home = Home::new();
    let (ann, ..) = people();
    let mut client = home.relay.connect_as(&ann).await;
    let list = |count: u32| {
        let keys: Vec<String> = (0..count).map(|n| format!("{n:064x}")).collect();
        let tags: Vec<[&str; 2]> = keys.iter().map(|key| ["p", key.as_str()]).collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tag| tag.as_slice()).collect();
        ann.event(3, &tags, "")
    };
    client.accepted(&list(5000)).await;
    client.refused(&list(5001), "invalid").await;
    let mut another = home.relay.connect_as(&ann).await;
    another.send(json!(["EVENT", list(100_000)])).await;
    // Longer than a message may be: the connection ends, or says so.
    let message = another.next().await;
    assert!(message.is_null() || message[0] == "NOTICE", "{message}");
    assert_eq!(client.query(json!({"kinds": [3]})).await.len(), 1);
}
