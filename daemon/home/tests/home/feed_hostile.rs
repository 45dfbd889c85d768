//! What others can do to a feed, and cannot: floods, huge profiles, forged and future events, deletions of what is not
//! theirs, lists that do not end, relays that send what nobody asked for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::island::{Household, Net, quick, service};
use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::Keys;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::Message;

fn now() -> u64 {
    Timestamp::now().as_secs()
}

pub fn event(keys: &Keys, kind: u16, at: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags = tags
        .iter()
        .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
    let at = Timestamp::from_secs(at);
    let unsigned = UnsignedEvent::new(keys.public_key(), at, Kind::from_u16(kind), tags, content);
    keys.sign_event(unsigned).unwrap()
}

/// A relay that says to every question what the test wants, whatever was asked.
#[derive(Default, Debug)]
struct Liar {
    events: Mutex<Vec<Value>>,
    asked: AtomicU32,
}

impl Liar {
    fn say(&self, events: impl IntoIterator<Item = Event>) {
        let new = events
            .into_iter()
            .map(|event| serde_json::to_value(event).unwrap());
        self.events.lock().unwrap().extend(new);
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) {
        let Ok(mut socket) = tokio_tungstenite::accept_async(io).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let question: Value = serde_json::from_str(&text).unwrap();
            if question[0] != "REQ" {
                continue;
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            let events = self.events.lock().unwrap().clone();
            for event in events {
                let said = json!(["EVENT", question[1], event]).to_string();
                if socket.send(Message::Text(said.into())).await.is_err() {
                    return;
                }
            }
            let end = json!(["EOSE", question[1]]).to_string();
            let _ = socket.send(Message::Text(end.into())).await;
        }
    }
}

struct Scene {
    _dir: tempfile::TempDir,
    home: Household,
    liar: Arc<Liar>,
    net: Arc<Net>,
}

/// One home, and another that lies.
async fn scene(change: impl FnOnce(&mut warren_home::FeedLimits)) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let net: Arc<Net> = Arc::default();
    let liar = Arc::new(Liar::default());
    let talks = Arc::clone(&liar);
    net.put_other(&service('z'), move |io| {
        tokio::spawn(Arc::clone(&talks).serve(io));
    });
    let home = Household::open_with(dir.path(), &net, 'a', quick(change)).await;
    Scene {
        _dir: dir,
        home,
        liar,
        net,
    }
}

#[tokio::test]
async fn only_what_is_true_asked_for_and_of_now_is_shown() {
    let scene = scene(|_| {}).await;
    let ann = scene.home.person("Ann").await;
    let (friend, enemy) = (Keys::generate(), Keys::generate());
    let good = event(&friend, 1, now(), &[], "good");
    let mut forged = event(&friend, 1, now(), &[], "forged");
    forged.content = "other words".into();
    let mut stolen = event(&enemy, 1, now(), &[], "stolen name");
    stolen.pubkey = friend.public_key();
    let id = good.id.to_hex();
    scene.liar.say([
        good.clone(),
        forged,
        stolen,
        event(&friend, 1, now() + 86_400, &[], "of tomorrow"),
        event(&friend, 1, now(), &[&["expiration", "1000"]], "expired"),
        event(&enemy, 1, now(), &[], "not asked for"),
        event(&friend, 9, now(), &[], "another kind"),
        event(&enemy, 5, now(), &[&["e", &id]], "not his to delete"),
        event(&enemy, 0, now(), &[], r#"{"name":"Enemy"}"#),
        event(
            &friend,
            3,
            now(),
            &[&["p", &ann.key]],
            "follows of others are not kept",
        ),
        event(
            &friend,
            0,
            now(),
            &[],
            &json!({"name": "x".repeat(20_000)}).to_string(),
        ),
        event(&friend, 1, now() - 1, &[], "last"),
    ]);
    ann.follows(&friend.public_key().to_hex()).await;
    ann.sees("feed", &["good", "last"]).await;
    let feed = ann.get("feed").await;
    assert_eq!(
        crate::common::island::texts(&feed),
        ["good", "last"],
        "newest first"
    );
    let friend_key = friend.public_key().to_hex();
    let shown = ann.get(&format!("feed/people/{friend_key}")).await;
    assert!(
        shown.get("name").is_none(),
        "a profile that is too long is none: {shown}"
    );
    // A deletion by its author counts, also of what comes only later.
    let later = event(&friend, 1, now(), &[], "deleted before it came");
    let (first, second) = (good.id.to_hex(), later.id.to_hex());
    scene.liar.say([event(
        &friend,
        5,
        now(),
        &[&["e", &first], &["e", &second]],
        "",
    )]);
    scene.net.cut('z');
    scene.net.heal('z');
    ann.sees("feed", &["last"]).await;
    scene.liar.say([later]);
    let asked = scene.liar.asked.load(Ordering::SeqCst);
    scene.net.cut('z');
    scene.net.heal('z');
    while scene.liar.asked.load(Ordering::SeqCst) < asked + 3 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    ann.sees("feed", &["last"]).await;
}

#[tokio::test]
async fn a_flood_of_somebody_who_is_followed_does_not_drive_out_others() {
    let scene = scene(|limits| {
        limits.person_events = 40;
        limits.page_events = 500;
    })
    .await;
    let ann = scene.home.person("Ann").await;
    let (quiet, loud) = (Keys::generate(), Keys::generate());
    scene
        .liar
        .say([event(&quiet, 1, now() - 100, &[], "quiet")]);
    let flood = (0..300u64).map(|n| event(&loud, 1, now() - 500 + n, &[], &format!("loud {n}")));
    scene.liar.say(flood);
    ann.follows(&quiet.public_key().to_hex()).await;
    ann.follows(&loud.public_key().to_hex()).await;
    let list = ann
        .until("feed?limit=100", |list| {
            let text = list.to_string();
            text.contains("\"quiet\"") && text.contains("loud 299")
        })
        .await;
    let newest: Vec<String> = crate::common::island::texts(&list);
    assert_eq!(newest.len(), 41, "{newest:?}");
    assert!(!newest.contains(&"loud 0".to_owned()));
}

#[tokio::test]
async fn the_cache_keeps_its_size_and_what_people_here_wrote() {
    const MOST: u64 = 200_000;
    let scene = scene(|limits| limits.cache_bytes = MOST).await;
    let ann = scene.home.person("Ann").await;
    let mine = ann.posts("what I wrote myself").await;
    let friend = Keys::generate();
    let long = "x".repeat(4000);
    let posts =
        (0..200u64).map(|n| event(&friend, 1, now() - 300 + n, &[], &format!("{n} {long}")));
    scene.liar.say(posts);
    // Strangers who have her in mind get a quarter at most.
    let strangers: Vec<Event> = (0..100u64)
        .map(|n| {
            event(
                &Keys::generate(),
                1,
                now(),
                &[&["p", &ann.key]],
                &format!("{n} {long}"),
            )
        })
        .collect();
    scene.liar.say(strangers);
    ann.follows(&friend.public_key().to_hex()).await;
    ann.until("feed?limit=1", |list| {
        list["items"][0]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("199 ") || text.starts_with("what"))
    })
    .await;
    let list = ann
        .until("feed?limit=100", |list| {
            list.to_string().contains("\"199 x")
        })
        .await;
    let bytes = scene.home.home.home.feed_bytes();
    assert!(bytes <= MOST, "{bytes}");
    let count = list["items"].as_array().unwrap().len();
    assert!((20..60).contains(&count), "the newest are there: {count}");
    let told = ann.get("feed/notifications?limit=100").await;
    let told = told["items"].as_array().unwrap().len();
    assert!(told <= 12, "strangers took {told} places");
    let own = ann.get(&format!("feed/posts/{mine}")).await;
    assert_eq!(own["items"][0]["text"], "what I wrote myself");
}

#[tokio::test]
async fn talks_that_lead_in_circles_are_shown_as_a_tree() {
    let scene = scene(|_| {}).await;
    let ann = scene.home.person("Ann").await;
    let friend = Keys::generate();
    let root = event(&friend, 1, now() - 9, &[], "root");
    let root_id = root.id.to_hex();
    let other = event(&friend, 1, now() - 8, &[], "another talk");
    let nowhere = "f".repeat(64);
    let lost = event(
        &friend,
        1,
        now() - 7,
        &[&["e", &root_id, "", "root"], &["e", &nowhere, "", "reply"]],
        "answers what is nowhere",
    );
    let (lost_id, other_id) = (lost.id.to_hex(), other.id.to_hex());
    let astray = event(
        &friend,
        1,
        now() - 6,
        &[&["e", &root_id, "", "root"], &["e", &other_id, "", "reply"]],
        "answers another talk",
    );
    let deep = event(
        &friend,
        1,
        now() - 5,
        &[&["e", &root_id, "", "root"], &["e", &lost_id, "", "reply"]],
        "answers that",
    );
    scene.liar.say([root, other, lost, astray, deep]);
    ann.follows(&friend.public_key().to_hex()).await;
    ann.sees("feed", &["another talk", "root"]).await;
    let talk = ann
        .until(&format!("feed/posts/{root_id}"), |talk| {
            talk["items"].as_array().unwrap().len() == 4
        })
        .await;
    let parents: Vec<&Value> = talk["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["parent"])
        .collect();
    assert_eq!(
        parents,
        [
            &Value::Null,
            &json!(root_id),
            &json!(root_id),
            &json!(lost_id)
        ]
    );
}

#[tokio::test]
async fn a_list_of_too_many_people_is_read_up_to_its_limit_and_grows_no_further() {
    let scene = scene(|limits| limits.follows = 20).await;
    let ann = scene.home.person("Ann").await;
    let some: Vec<String> = (0..20)
        .map(|_| Keys::generate().public_key().to_hex())
        .collect();
    for key in &some {
        ann.follows(key).await;
    }
    let one_more = json!({"who": Keys::generate().public_key().to_hex()});
    assert_eq!(
        ann.program.refused("POST", "feed/follows", &one_more).await,
        "too_many"
    );
    ann.deletes(&format!("feed/follows/{}", some[0])).await;
    ann.follows(one_more["who"].as_str().unwrap()).await;
    let follows = ann.get("feed/follows").await;
    assert_eq!(follows["people"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn relays_outside_that_somebody_names_are_never_asked() {
    let scene = scene(|_| {}).await;
    let ann = scene.home.person("Ann").await;
    let friend = Keys::generate();
    // Nothing but services of this network can be opened at all; a list with others makes nothing of them.
    let y = format!("ws://{}.warren/", service('y'));
    let relays: &[&[&str]] = &[
        &["r", "ws://198.51.100.1/"],
        &["r", "wss://relay.example/"],
        &["r", &y],
    ];
    scene.liar.say([
        event(&friend, 10_002, now(), relays, ""),
        event(&friend, 1, now(), &[], "here"),
    ]);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    scene.net.put_other(&service('y'), move |_io| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    ann.follows(&friend.public_key().to_hex()).await;
    ann.sees("feed", &["here"]).await;
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let opened = scene.net.opened();
    assert!(
        opened.iter().all(|service| service.len() == 52),
        "{opened:?}"
    );
}
