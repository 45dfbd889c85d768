//! Every secret asked for in every way, by everybody whom it is none of the business of. What is secret carries a mark,
//! and no answer may hold the mark, the id of a secret, or the name of the hidden channel; and what is said about a
//! secret is answered word by word as what is said about nothing. Who belongs asks in the same ways and must find it all:
//! so that a way that finds nothing at all is noticed. The time that an answer takes is not measured here.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::blossom::Token;
use crate::common::{Client, Person, START};
use crate::secrets::{FILE, MARK, ROOMS, Scene, everything, is_gone, scene};
use data_encoding::HEXLOWER;
use negentropy::{Negentropy, NegentropyStorageVector, Storage};
use nostr::event::Event;
use serde_json::{Value, json};

const NOWHERE: &str = "absent-room";

/// Every question that could lead to a secret.
fn questions(scene: &Scene) -> Vec<Value> {
    let mut all = vec![
        json!({}),
        json!({"since": 0, "until": 4_000_000_000u32}),
        json!({"#h": ["general", "private-room", "hidden-room"]}),
        json!({"#h": ["private-room"]}),
        json!({"#h": ["hidden-room"]}),
        json!({"#d": ["private-room", "hidden-room", "read-state:canarybird", "warren/collect"]}),
        json!({"#t": [MARK]}),
        json!({"#K": ["11"]}),
        json!({"#p": [scene.ann.hex(), Person::new(2).hex()]}),
        json!({"authors": [scene.ann.hex()]}),
        json!({"authors": [scene.owner.hex(), Person::new(77).hex(), scene.hook["pubkey"]]}),
    ];
    let searched = [
        MARK.to_owned(),
        "canary*".into(),
        "\"the canarybird\"".into(),
        format!("{MARK} in:hidden-room"),
        format!("{MARK} in:private-room in:general"),
        format!("{MARK} from:{}", scene.ann.hex()),
        "has:poll".into(),
    ];
    all.extend(searched.map(|text| json!({ "search": text })));
    let kinds: BTreeSet<u16> = scene
        .secrets
        .iter()
        .map(|event| event.kind.as_u16())
        .chain([
            0, 4240, 8000, 9000, 9001, 9002, 9005, 9007, 13534, 20001, 21059, 24240, 28935,
        ])
        .chain([30030, 33534, 39000, 39001, 39002, 39003, 39005])
        .collect();
    all.extend(kinds.into_iter().map(|kind| json!({ "kinds": [kind] })));
    for secret in &scene.secrets {
        let id = secret.id.to_hex();
        all.push(json!({ "ids": [id] }));
        let tags = ["e", "E", "q"].map(|tag| json!({ format!("#{tag}"): [id] }));
        all.extend(tags);
        if let Some(d) = secret.tags.identifier() {
            let address = format!("{}:{}:{d}", secret.kind.as_u16(), secret.pubkey);
            all.push(json!({ "#a": [address] }));
        }
    }
    all
}

/// Everything the space says to one question, asked as a subscription, as a count and as a sync.
struct Heard {
    req: Result<Vec<Value>, String>,
    count: Result<u64, String>,
    sync: Result<String, String>,
}

async fn ask(client: &mut Client, question: &Value) -> Heard {
    let req = client.subscribe("r", question.clone()).await;
    client.send(json!(["CLOSE", "r"])).await;
    client.send(json!(["COUNT", "c", question])).await;
    let empty = {
        let mut storage = NegentropyStorageVector::new();
        storage.seal().unwrap();
        let mut negentropy = Negentropy::new(Storage::Borrowed(&storage), 0).unwrap();
        HEXLOWER.encode(&negentropy.initiate().unwrap())
    };
    client.send(json!(["NEG-OPEN", "s", question, empty])).await;
    let (mut count, mut sync) = (None, None);
    while count.is_none() || sync.is_none() {
        let message = client.next().await;
        assert!(!message.is_null(), "{question} ended the connection");
        let text = || message[2].as_str().unwrap().to_owned();
        match message[0].as_str() {
            Some("COUNT") => count = Some(Ok(message[2]["count"].as_u64().unwrap())),
            Some("CLOSED") => count = Some(Err(text())),
            Some("NEG-MSG") => sync = Some(Ok(text())),
            Some("NEG-ERR") => sync = Some(Err(text())),
            _ => {}
        }
    }
    client.send(json!(["NEG-CLOSE", "s"])).await;
    Heard {
        req,
        count: count.unwrap(),
        sync: sync.unwrap(),
    }
}

/// Whether a text gives something away. The private channel's description alone is everybody's (NIP-29).
fn check(viewer: &str, way: &str, text: &str, secrets: &[Event]) {
    let leaks = |what: &str| text.contains(what);
    assert!(!leaks("hidden-room"), "{viewer}, {way}: {text}");
    for secret in secrets {
        assert!(!leaks(&secret.id.to_hex()), "{viewer}, {way}: {text}");
    }
}

fn check_event(viewer: &str, way: &str, event: &Value, secrets: &[Event]) {
    let text = event.to_string();
    check(viewer, way, &text, secrets);
    let is_description = [39000, 39003].contains(&event["kind"].as_u64().unwrap());
    let of_private = text.contains("private-room") || text.contains(MARK);
    assert!(!of_private || is_description, "{viewer}, {way}: {text}");
}

#[tokio::test]
async fn who_asks_for_a_secret_in_any_way_hears_nothing_of_it() {
    let mut scene = scene().await;
    for restarted in [false, true] {
        let questions = questions(&scene);
        for viewer in Scene::viewers() {
            let mut client = scene.connect(&viewer).await;
            for question in &questions {
                let heard = ask(&mut client, question).await;
                let way = question.to_string();
                for event in heard.req.iter().flatten() {
                    check_event(viewer.name, &way, event, &scene.secrets);
                }
                if let Ok(ids) = &heard.sync {
                    check(viewer.name, &format!("sync of {way}"), ids, &scene.secrets);
                }
                // All three say the same: nobody counts what they do not see.
                match (&heard.req, &heard.count, &heard.sync) {
                    (Ok(events), Ok(count), Ok(_)) => {
                        assert_eq!(events.len() as u64, *count, "{}, {way}", viewer.name);
                    }
                    (Err(one), Err(two), Err(three)) => {
                        assert!(one == two && two == three, "{one}, {two}, {three}");
                    }
                    _ => panic!("{}, {way}: answered in different ways", viewer.name),
                }
            }
            for room in ROOMS {
                let ask_for = |room: &str| json!({"#h": [room], "kinds": [9]});
                let here = ask(&mut client, &ask_for(room)).await;
                let nowhere = ask(&mut client, &ask_for(NOWHERE)).await;
                assert_eq!(here.req, nowhere.req);
                assert_eq!(here.count, nowhere.count);
                assert_eq!(here.sync, nowhere.sync);
            }
        }
        if !restarted {
            scene.space.restart();
        }
    }
}

#[tokio::test]
async fn who_belongs_finds_every_secret_in_the_same_ways() {
    let scene = scene().await;
    let ben = Person::new(2);
    let mut client = scene.space.connect_as(&scene.ann).await;
    client.log_in(&ben).await;
    let (mut found, mut synced) = (BTreeSet::new(), String::new());
    let mut all = questions(&scene);
    all.push(json!({"kinds": [1059], "#p": [ben.hex()]}));
    for question in all {
        let heard = ask(&mut client, &question).await;
        for event in heard.req.into_iter().flatten() {
            found.insert(event["id"].as_str().unwrap().to_owned());
        }
        synced += &heard.sync.unwrap_or_default();
    }
    for secret in scene.secrets.iter().filter(|event| !is_gone(event)) {
        let id = secret.id.to_hex();
        // A report is for who answers reports: the admin of the room is one.
        assert!(found.contains(&id), "{secret:?}");
        assert!(synced.contains(&id), "{secret:?}");
    }
    let read = Token::get(&scene.ann).for_here();
    let path = format!("/{}", crate::blossom::hash(FILE));
    assert_eq!(read.request(&scene.space, &path).send().await.status, 200);
}

#[tokio::test]
async fn who_listens_hears_nothing_of_what_happens_where_they_do_not_belong() {
    let scene = scene().await;
    let mut listeners = Vec::new();
    for viewer in Scene::viewers() {
        let mut client = scene.connect(&viewer).await;
        let mut heard = 0;
        for (n, question) in questions(&scene).into_iter().enumerate() {
            // As many as one connection may have; those that are closed at once take no place.
            if client.subscribe(&format!("q{n}"), question).await.is_ok() {
                heard += 1;
            }
            if heard == 60 {
                break;
            }
        }
        client
            .subscribe(
                "fence",
                json!({"kinds": [9], "#h": ["general"], "limit": 0}),
            )
            .await
            .unwrap();
        listeners.push((viewer, client));
    }
    let mut client = scene.space.connect_as(&scene.ann).await;
    client.log_in(&scene.owner).await;
    let mut secrets = scene.secrets.clone();
    for room in ROOMS {
        for event in everything(&scene.ann, START + 10, room) {
            client.accepted(&event).await;
            secrets.push(event);
        }
        let typing = scene.ann.event(20001, &[&["h", room]], "");
        let (accepted, _) = client.publish(&typing).await;
        assert!(
            accepted || room == "hidden-room",
            "the pace is one for all rooms"
        );
        secrets.push(typing);
    }
    let ben = Person::new(2);
    for kind in [1059, 21059] {
        let wrap = Person::new(79).event(kind, &[&["p", &ben.hex()]], MARK);
        client.accepted(&wrap).await;
        secrets.push(wrap);
    }
    let body = json!({ "content": MARK }).to_string();
    let post = scene
        .space
        .request("POST", scene.hook["path"].as_str().unwrap())
        .body(body.as_bytes());
    assert_eq!(post.send().await.status, 204);
    let fence = scene.owner.event(9, &[&["h", "general"]], "the end");
    client.accepted(&fence).await;
    for (viewer, mut client) in listeners {
        loop {
            let message = client.next().await;
            assert!(!message.is_null(), "{}: hung up", viewer.name);
            if message[0] != "EVENT" {
                continue;
            }
            check_event(viewer.name, "live", &message[2], &secrets);
            if message[1] == "fence" {
                assert_eq!(message[2]["id"], json!(fence.id));
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_is_said_about_a_secret_is_answered_as_what_is_said_about_nothing() {
    let scene = scene().await;
    let nothing = "7".repeat(64);
    for viewer in Scene::viewers() {
        let Some(person) = &viewer.person else {
            continue;
        };
        let mut client = scene.connect(&viewer).await;
        let mut probes = 0;
        for secret in &scene.secrets {
            let id = secret.id.to_hex();
            let d = secret.tags.identifier().unwrap_or_default();
            let address = format!("{}:{}:{d}", secret.kind.as_u16(), secret.pubkey);
            let absent = format!("{}:{}:{d}", secret.kind.as_u16(), Person::new(99).hex());
            let general: &[&str] = &["h", "general"];
            let about = |text: &str, id: &str, address: &str| -> Vec<Event> {
                let at = scene.now();
                let say = |kind: u16, tags: &[&[&str]]| person.event_at(at, kind, tags, text);
                let date = START.to_string();
                vec![
                    say(5, &[&["e", id]]),
                    say(5, &[general, &["e", id]]),
                    say(5, &[&["a", address]]),
                    say(7, &[&["e", id]]),
                    say(7, &[general, &["e", id]]),
                    say(7, &[general, &["a", address]]),
                    say(9, &[general, &["q", id]]),
                    say(9, &[general, &["previous", &id[..8]]]),
                    say(9, &[general, &["edit", id, &date]]),
                    say(1018, &[general, &["e", id], &["response", "a"]]),
                    say(1111, &[general, &["E", id], &["K", "11"]]),
                    say(1111, &[general, &["A", address], &["K", "30023"]]),
                    say(
                        31925,
                        &[
                            general,
                            &["d", text],
                            &["a", address],
                            &["status", "accepted"],
                        ],
                    ),
                    say(9005, &[general, &["e", id]]),
                    say(9010, &[general, &["e", id]]),
                ]
            };
            probes += 1;
            let text = format!("probe {probes}");
            // As many reports as one person may have waiting.
            let report = |id: &str| {
                let tags: &[&[&str]] = &[&["e", id, "spam"], &["p", &scene.ann.hex()]];
                person.event_at(scene.now(), 1984, tags, &text)
            };
            if probes <= 5 {
                let one = client.publish(&report(&id)).await;
                assert_eq!(one, client.publish(&report(&nothing)).await);
            }
            let pairs = about(&text, &id, &address)
                .into_iter()
                .zip(about(&text, &nothing, &absent));
            for (there, nowhere) in pairs {
                let one = client.publish(&there).await;
                let other = client.publish(&nowhere).await;
                assert_eq!(one, other, "{}: {there:?}", viewer.name);
            }
            // Somebody else's event that is here, and one that never was: `duplicate:` is for who may see it.
            let (accepted, known) = client.publish(secret).await;
            let mut never = Person::new(77).event(secret.kind.as_u16(), &[], "never sent");
            if secret.kind.as_u16() != 1059 {
                let tags: Vec<Vec<&str>> = secret
                    .tags
                    .iter()
                    .map(|tag| tag.as_slice().iter().map(String::as_str).collect())
                    .collect();
                let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
                never = Person::new(77).event(secret.kind.as_u16(), &tags, "never sent");
                assert_eq!(
                    (accepted, known),
                    client.publish(&never).await,
                    "{secret:?}"
                );
            } else {
                assert!(!known.contains("duplicate"), "{never:?}: {known}");
            }
        }
        for kind in [
            9, 7, 11, 20001, 9000, 9001, 9002, 9005, 9008, 9009, 9010, 9021, 9022,
        ] {
            let about = |room: &str| {
                let tags: &[&[&str]] = &[
                    &["h", room],
                    &["p", &person.hex()],
                    &["code", "wrong-words"],
                    &["e", &nothing],
                ];
                person.event_at(scene.now(), kind, tags, "")
            };
            let (there, nowhere) = (about("hidden-room"), about(NOWHERE));
            let one = client.publish(&there).await;
            assert_eq!(
                one,
                client.publish(&nowhere).await,
                "{}: {kind}",
                viewer.name
            );
        }
    }
}

#[tokio::test]
async fn the_management_and_the_files_say_nothing_to_who_does_not_belong() {
    let scene = scene().await;
    let space = &scene.space;
    let methods = space
        .manage(&scene.owner, "supportedmethods", json!([]))
        .await;
    let secret = scene.secrets[0].id.to_hex();
    let invites = space.manage(&scene.owner, "listinvites", json!([])).await;
    let nothing = "7".repeat(64);
    let there = [
        &secret,
        "hidden-room",
        "canarybird-sesame",
        scene.hook["id"].as_str().unwrap(),
    ];
    let nowhere = [&nothing, NOWHERE, "never-made-words", "0123456789abcdef"];
    assert!(invites.to_string().contains("canarybird-sesame"));
    let params = [
        json!([]),
        json!(["ID"]),
        json!(["ROOM"]),
        json!(["CODE"]),
        json!(["HOOK"]),
        json!(["ROOM", 3]),
        json!(["ROOM", "Robin"]),
        json!(["ROOM", "member", ["pin"], []]),
        json!([{"channel": "ROOM"}]),
        json!([["ROOM"]]),
    ];
    for viewer in Scene::viewers() {
        let Some(person) = &viewer.person else {
            continue;
        };
        for method in methods.as_array().unwrap() {
            let method = method.as_str().unwrap();
            for params in &params {
                // Renaming the space and the like is a moderator's neither; what is the same for all is not asked twice.
                let fill = |values: &[&str; 4]| {
                    let mut text = params.to_string();
                    for (name, value) in ["ID", "ROOM", "CODE", "HOOK"].iter().zip(values) {
                        text = text.replace(&format!("\"{name}\""), &format!("\"{value}\""));
                    }
                    serde_json::from_str::<Value>(&text).unwrap()
                };
                space.now.fetch_add(2, Ordering::SeqCst);
                let one = space.call(person, method, fill(&there)).await;
                let other = space.call(person, method, fill(&nowhere)).await;
                let text = format!("{one:?}");
                let way = format!("{method} {params}");
                // What the caller banned before is listed with what the caller named.
                let own = [
                    "listbannedevents",
                    "listallowedpubkeys",
                    "listbannedpubkeys",
                    "audit",
                ];
                if !own.contains(&method) {
                    check(viewer.name, &way, &text, &scene.secrets);
                }
                assert!(
                    !text.contains("-room") && !text.contains(MARK),
                    "{way}: {text}"
                );
                let makes_codes = method == "createinvite" && one.is_ok();
                if !makes_codes && method != "audit" {
                    assert_eq!(one.is_ok(), other.is_ok(), "{}, {way}", viewer.name);
                    assert_eq!(one.err(), other.err(), "{}, {way}", viewer.name);
                }
            }
        }
        for method in ["GET", "HEAD"] {
            let mut answers = Vec::new();
            for file in [crate::blossom::hash(FILE), crate::blossom::hash(b"nothing")] {
                let token = Token::get(person).for_here().at(scene.now());
                let mut request = space.request(method, &format!("/{file}"));
                request = request.header("authorization", &token.header());
                answers.push(request.send().await.without_date());
            }
            assert_eq!(answers[0], answers[1], "{}", viewer.name);
            assert_ne!(answers[0].status, 200);
        }
        let list = space
            .get(&format!("/list/{}", scene.ann.hex()))
            .send()
            .await;
        assert_eq!(list.json(), json!([]));
    }
}
