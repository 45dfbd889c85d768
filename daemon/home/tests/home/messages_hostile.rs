//! Private messages that mean harm, from members of the same space and from strangers at the home's relay; and how much
//! of everything there may be.

use std::sync::Arc;

use crate::common::PASS;
use crate::common::town::{Peer, Person, Roads, Town, event, message_limits, service};
use nostr::event::{Event, Kind, Tag, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip44;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use warren_home::{Limits, system_clock};
use warren_space::Space;

fn encrypt(from: &Keys, to: &PublicKey, text: &str) -> String {
    nip44::encrypt(from.secret_key(), to, text, nip44::Version::V2).unwrap()
}

/// A wrap around any text.
fn around(to: &PublicKey, inside: &str) -> Event {
    let once = Keys::generate();
    event(
        &once,
        1059,
        &[&["p", &to.to_hex()]],
        &encrypt(&once, to, inside),
    )
}

fn rumor(from: &Keys, to: &PublicKey, kind: u16, at: u64, text: &str) -> UnsignedEvent {
    let tags = [Tag::public_key(*to)];
    let at = Timestamp::from_secs(at);
    let mut rumor = UnsignedEvent::new(from.public_key(), at, Kind::from_u16(kind), tags, text);
    rumor.ensure_id();
    rumor
}

/// As it should be: a rumor in a seal of `by`.
fn sealed(by: &Keys, to: &PublicKey, rumor: &UnsignedEvent) -> Event {
    let rumor = serde_json::to_string(rumor).unwrap();
    let seal = event(by, 13, &[], &encrypt(by, to, &rumor));
    around(to, &serde_json::to_string(&seal).unwrap())
}

async fn sends(peer: &mut Peer, wrap: &Event) {
    let (accepted, reason) = peer.publish(wrap).await;
    assert!(accepted, "{reason}");
}

fn texts(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .map(|message| message["text"].as_str().unwrap())
        .collect()
}

/// One home with Ben, who is in a space, and Eve in that space without any home.
struct Scene {
    town: Town,
    space: Arc<Space>,
    roads: Arc<Roads>,
    eve: Keys,
}

impl Scene {
    fn new() -> Self {
        let town = Town::new();
        let space = town.space('a');
        let roads = Roads::to(&[('a', &space)]);
        Self {
            town,
            space,
            roads,
            eve: Keys::generate(),
        }
    }
}

#[tokio::test]
async fn hostile_wraps_are_dropped_and_the_good_one_between_them_is_read() {
    let scene = Scene::new();
    let b = scene.town.home("b", &scene.roads).await;
    let ben = Person::new(&b, "Ben").await;
    ben.join('a').await;
    let to = PublicKey::from_hex(&ben.key).unwrap();
    let (eve, ann, now) = (&scene.eve, Keys::generate(), system_clock()());
    let mut peer = Peer::member(&scene.space, 'a', eve).await;
    // Sealed by Eve, said to be Ann's.
    let forged = sealed(eve, &to, &rumor(&ann, &to, 14, now, "from Ann"));
    let others = sealed(
        eve,
        &to,
        &rumor(eve, &ann.public_key(), 14, now, "not for you"),
    );
    let strange = sealed(
        eve,
        &to,
        &rumor(eve, &to, 30_000, now, "of an unknown kind"),
    );
    let good = sealed(eve, &to, &rumor(eve, &to, 14, now, "the good one"));
    let good_again = sealed(eve, &to, &rumor(eve, &to, 14, now, "the good one"));
    let receipt = sealed(eve, &to, &rumor(eve, &to, 4241, now, ""));
    for wrap in [
        around(&to, "nonsense"),
        around(&to, &"[".repeat(30_000)),
        around(&to, &"x".repeat(40_000)),
        forged,
        others,
        strange,
        receipt,
        good,
        good_again,
    ] {
        sends(&mut peer, &wrap).await;
    }
    let once = Keys::generate();
    let clear = event(&once, 1059, &[&["p", &ben.key]], "not encrypted at all");
    sends(&mut peer, &clear).await;
    // Dates: from long ago it is as old as it says; from the future it came now.
    let old = sealed(eve, &to, &rumor(eve, &to, 14, 1, "from long ago"));
    let early = sealed(
        eve,
        &to,
        &rumor(eve, &to, 14, now + 9_000_000, "from the future"),
    );
    sends(&mut peer, &old).await;
    sends(&mut peer, &early).await;
    let last = ben.receives("from the future").await;
    assert!(last["at"].as_u64().unwrap() <= system_clock()());
    let talk = last["conversation"].clone();
    let path = format!("conversations/{}/messages", talk.as_str().unwrap());
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 3
    })
    .await;
    let after = sealed(eve, &to, &rumor(eve, &to, 14, now, "after all of it"));
    sends(&mut peer, &after).await;
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 4
    })
    .await;
    let history = ben.history(&talk).await;
    assert_eq!(texts(&history).last(), Some(&"from long ago"));
    assert_eq!(
        texts(&history)
            .iter()
            .filter(|text| **text == "the good one")
            .count(),
        1
    );
    let list = ben.get("conversations").await;
    assert_eq!(list["conversations"].as_array().unwrap().len(), 1, "{list}");
    // Nobody deletes what somebody else wrote.
    let mut deletion = rumor(&ann, &to, 5, now, "");
    let id = history[0]["id"].as_str().unwrap();
    deletion.tags.push(Tag::parse(["e", id]).unwrap());
    deletion.id = Some(deletion.compute_id());
    sends(&mut peer, &sealed(&ann, &to, &deletion)).await;
    let end = sealed(eve, &to, &rumor(eve, &to, 14, now, "the end"));
    sends(&mut peer, &end).await;
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 5
    })
    .await;
}

#[tokio::test]
async fn strangers_wait_at_the_door_until_they_are_answered() {
    let town = Town::new();
    let (space, relay) = (town.space('a'), town.space('r'));
    let roads = Roads::to(&[('a', &space), ('r', &relay)]);
    let limits = Limits {
        requests: 2,
        request_messages: 2,
        ..message_limits()
    };
    let b = town.home_with("b", &roads, Some('r'), limits).await;
    let ben = Person::new(&b, "Ben").await;
    // A relay of a home knows the home's people. This one is a space: there they join.
    Peer::member(&relay, 'r', &ben.keys().await).await;
    ben.program
        .done("POST", "messages/spaces", &json!({"service": service('r')}))
        .await;
    ben.join('a').await;
    ben.collects('r').await;
    let to = PublicKey::from_hex(&ben.key).unwrap();
    // Where Ben can be written to is told in his space, and it is the relay alone.
    let mut member = Peer::member(&space, 'a', &Keys::generate()).await;
    let list = member
        .query(json!({"kinds": [10050], "authors": [ben.key]}))
        .await;
    let relays: Vec<_> = list[0]
        .tags
        .iter()
        .filter_map(|tag| tag.content())
        .collect();
    assert_eq!(relays, [format!("ws://{}.warren/", service('r'))]);
    let strangers: Vec<Keys> = (0..3).map(|_| Keys::generate()).collect();
    let now = system_clock()();
    for (n, stranger) in strangers.iter().enumerate() {
        let mut peer = Peer::member(&relay, 'r', stranger).await;
        for text in ["one", "two", "three"] {
            let text = format!("{text} of {n}");
            sends(
                &mut peer,
                &sealed(stranger, &to, &rumor(stranger, &to, 14, now, &text)),
            )
            .await;
            if n < 2 && !text.starts_with("three") {
                ben.finds("conversations/requests", &text).await;
            }
        }
    }
    let mut peer = Peer::member(&relay, 'r', &strangers[0]).await;
    let list = ben.get("conversations/requests").await;
    assert_eq!(
        list["conversations"].as_array().unwrap().len(),
        2,
        "the third has to wait"
    );
    assert_eq!(list["requests"], 2);
    let talks = ben.get("conversations").await;
    assert!(talks["conversations"].as_array().unwrap().is_empty());
    let first = ben.finds("conversations/requests", "two of 0").await;
    assert_eq!(
        ben.history(&first["conversation"]).await.len(),
        2,
        "and so has the third message"
    );
    // No word of whether it came, until Ben answers; then it is a conversation like any other.
    assert!(peer.wraps(&strangers[0].public_key()).await.is_empty());
    let answer =
        json!({"client_id": "1", "conversation": first["conversation"], "text": "who are you?"});
    ben.program.done("POST", "messages", &answer).await;
    let asked = ben.receives("who are you?").await;
    // After the answer, however long all of this took: a list shows the latest by its date.
    let later = asked["at"].as_u64().unwrap() + 1;
    let more = rumor(&strangers[0], &to, 14, later, "a friend");
    sends(&mut peer, &sealed(&strangers[0], &to, &more)).await;
    ben.receives("a friend").await;
    let history = ben.history(&first["conversation"]).await;
    assert_eq!(
        texts(&history),
        ["a friend", "who are you?", "two of 0", "one of 0"]
    );
    assert_eq!(ben.get("conversations/requests").await["requests"], 1);
    // One is taken in without an answer; the other's is removed.
    let second = ben.finds("conversations/requests", "two of 1").await;
    let talk = format!("conversations/{}", second["conversation"].as_str().unwrap());
    let view = ben
        .program
        .done("PATCH", &talk, &json!({"accepted": true}))
        .await;
    assert_eq!(view["request"], false);
    ben.program.done("DELETE", &talk, &Value::Null).await;
    assert_eq!(
        ben.program.refused("GET", &talk, &Value::Null).await,
        "unknown"
    );
}

#[tokio::test]
async fn a_person_is_reached_by_the_relay_they_name_when_no_space_is_shared() {
    let town = Town::new();
    let (space, relay) = (town.space('a'), town.space('r'));
    let to_a = Roads::to(&[('r', &relay)]);
    let to_b = Roads::to(&[('a', &space), ('r', &relay)]);
    let a = town.home("a", &to_a).await;
    let b = town
        .home_with("b", &to_b, Some('r'), message_limits())
        .await;
    let (ann, ben) = (Person::new(&a, "Ann").await, Person::new(&b, "Ben").await);
    for person in [&ann, &ben] {
        Peer::member(&relay, 'r', &person.keys().await).await;
    }
    ben.program
        .done("POST", "messages/spaces", &json!({"service": service('r')}))
        .await;
    ben.collects('r').await;
    // Ann was given Ben's address: a name with the relay in it (NIP-19).
    let relay = nostr::types::RelayUrl::parse(&format!("ws://{}.warren/", service('r'))).unwrap();
    let person = PublicKey::from_hex(&ben.key).unwrap();
    let profile = nostr::nips::nip19::Nip19Profile::new(person, [relay]);
    let address = nostr::nips::nip19::ToBech32::to_bech32(&profile).unwrap();
    let body = json!({"client_id": "1", "to": [address], "text": "hello, Ben"});
    let sent = ann.program.done("POST", "messages", &body).await;
    ben.finds("conversations/requests", "hello, Ben").await;
    ann.state(&sent, "sent").await;
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_goes_on_when_there_is_room() {
    let scene = Scene::new();
    let limits = Limits {
        messages_bytes: 20_000,
        messages_waiting: 4,
        ..message_limits()
    };
    let roads = Roads::to(&[('a', &scene.space)]);
    let b = scene.town.home_with("b", &roads, None, limits).await;
    let ben = Person::new(&b, "Ben").await;
    ben.join('a').await;
    let to = PublicKey::from_hex(&ben.key).unwrap();
    let (eve, now) = (&scene.eve, system_clock()());
    let mut peer = Peer::member(&scene.space, 'a', eve).await;
    let quiet = json!({"receipts": false});
    ben.program.done("PATCH", "messages/settings", &quiet).await;
    for n in 0..7 {
        let text = format!("{n} {}", "x".repeat(2000));
        sends(
            &mut peer,
            &sealed(eve, &to, &rumor(eve, &to, 14, now + n, &text)),
        )
        .await;
    }
    let talk = ben
        .until("conversations", |list| {
            !list["conversations"].as_array().unwrap().is_empty()
        })
        .await["conversations"][0]["id"]
        .clone();
    // Five fit; the others stay in the space.
    let path = format!("conversations/{}/messages", talk.as_str().unwrap());
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 5
    })
    .await;
    let spaces = ben.get("messages/spaces").await;
    assert!(spaces["bytes"].as_u64().unwrap() <= spaces["max_bytes"].as_u64().unwrap());
    // Room is made; a new connection brings what was left behind.
    let forget = format!("conversations/{}", talk.as_str().unwrap());
    ben.program.done("DELETE", &forget, &Value::Null).await;
    roads.cut('a');
    // Nothing can be carried away now: only so much waits.
    let mut codes = Vec::new();
    for n in 0..6 {
        let body =
            json!({"client_id": n.to_string(), "to": [eve.public_key().to_hex()], "text": "x"});
        let (status, answer) = ben.program.call("POST", "messages", &body).await;
        codes.push((status, answer["error"]["code"].clone()));
    }
    assert_eq!(codes[0].0, 201);
    assert_eq!(codes.last().unwrap(), &(409, json!("too_many")));
    roads.heal('a');
    sends(
        &mut peer,
        &sealed(eve, &to, &rumor(eve, &to, 14, now + 90, "there is room")),
    )
    .await;
    ben.receives("there is room").await;
}

#[tokio::test]
async fn the_spaces_mailbox_is_kept_small_by_the_home() {
    let scene = Scene::new();
    let limits = Limits {
        wraps_left: 5,
        ..message_limits()
    };
    let b = scene.town.home_with("b", &scene.roads, None, limits).await;
    let ben = Person::new(&b, "Ben").await;
    ben.join('a').await;
    let to = PublicKey::from_hex(&ben.key).unwrap();
    let (eve, now) = (&scene.eve, system_clock()());
    let mut peer = Peer::member(&scene.space, 'a', eve).await;
    for n in 0..20 {
        let rumor = rumor(eve, &to, 14, now + n, &n.to_string());
        sends(&mut peer, &sealed(eve, &to, &rumor)).await;
    }
    let last = ben.receives("19").await;
    let path = format!(
        "conversations/{}/messages",
        last["conversation"].as_str().unwrap()
    );
    ben.until(&path, |answer| {
        answer["messages"].as_array().unwrap().len() == 20
    })
    .await;
    // With the next connection.
    scene.roads.cut('a');
    scene.roads.heal('a');
    let mut own = Peer::new(&scene.space, 'a', &ben.keys().await).await;
    let small = async {
        while own.wraps(&to).await.len() > 5 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, small)
        .await
        .unwrap();
    assert_eq!(ben.history(&last["conversation"]).await.len(), 20);
}

#[tokio::test]
async fn messages_of_a_deleted_account_leave_the_disk() {
    let scene = Scene::new();
    let b = scene.town.home("b", &scene.roads).await;
    let ben = Person::new(&b, "Ben").await;
    ben.write("1", &[&ben], "a note").await;
    let messages = scene.town.dir.path().join("b/messages");
    let count = || std::fs::read_dir(&messages).unwrap().count();
    assert_eq!(count(), 1);
    let delete = json!({"passphrase": PASS});
    ben.program.done("POST", "account/delete", &delete).await;
    let gone = async {
        while count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::common::PATIENCE, gone)
        .await
        .unwrap();
}
