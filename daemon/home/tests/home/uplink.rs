//! Relays of the Internet that the owner of a home lists: what they are sent, in which order, over which troubles, and what
//! they are never sent; and what is read from them.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::key::Keys;
use nostr::types::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use warren_home::{UplinkConfig, check_uplink};

use crate::common::foreign::{Authority, Foreign, keep_log, listing, logged, until};
use crate::common::island::{Household, Net, Person, quick, service};
use crate::feed::{sign, with_own_key};
use crate::feed_hostile::event;

/// A home whose owner lists these relays, alone in its island.
async fn home(dir: &tempfile::TempDir, uplink: UplinkConfig) -> Household {
    Household::open_listing(dir.path(), &Arc::default(), 'a', quick(|_| {}), uplink).await
}

fn now() -> u64 {
    Timestamp::now().as_secs()
}

/// How often a relay was sent each event.
fn counts(relay: &Foreign) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for event in relay.was_sent() {
        *counts.entry(event.id.to_hex()).or_default() += 1;
    }
    counts
}

/// Only so many events may be sent twice over a break: those whose receipt was not noted yet.
const TWICE: u32 = 8;

async fn hands_in(person: &Person<'_>, event: &Value) {
    let body = json!({"event": event});
    person.program.done("POST", "feed/events", &body).await;
}

#[tokio::test]
async fn what_people_write_for_everybody_goes_out_in_order_and_nothing_else_ever_does() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Foreign::open().await;
    let a = home(&dir, listing(&[&relay], None)).await;
    let keys = Keys::generate();
    let ann = with_own_key(&a, &keys, "Ann").await;
    let ben = a.person("Ben").await;
    ben.until("feed/relay", |relay| relay["unsaid"] == json!([]))
        .await;
    let first = ben.posts("first").await;
    // What the home's relay keeps of her beside.
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    let draft = sign(&keys, 31_234, &json!([["d", "x"]]), "secret draft");
    let confined = sign(&keys, 1, &json!([["-"]]), "secret but for this home");
    for secret in [
        sign(&keys, 10_000, &json!([["p", ben.key]]), "secret mutes"),
        sign(&keys, 10_003, &json!([]), "secret bookmarks"),
        sign(&keys, 10_050, &json!([["relay", "ws://secret"]]), ""),
        sign(&keys, 30_078, &json!([["d", "secret"]]), "secret data"),
        sign(&keys, 30_000, &json!([["d", "x"]]), "secret friends"),
        sign(&keys, 1, &json!([["expiration", "1"]]), "secret and over"),
        sign(
            &keys,
            5,
            &json!([["e", id(&draft)], ["k", "31234"]]),
            "secret reason",
        ),
        sign(
            &keys,
            5,
            &json!([["a", format!("31234:{}:secret", ann.key)]]),
            "",
        ),
    ]
    .iter()
    .chain([&draft, &confined])
    {
        let body = json!({"event": secret});
        ann.program.call("POST", "feed/events", &body).await;
    }
    leaves_a_letter(&a, &ann.key).await;
    let repost = json!({"kind": 9, "tags": [["h", "garden"]], "content": "secret of a space"});
    let repost = sign(&keys, 16, &json!([["e", first]]), &repost.to_string());
    hands_in(&ann, &repost).await;
    let post = sign(&keys, 1, &json!([]), "second");
    hands_in(&ann, &post).await;
    // What is for everybody, of all sorts.
    ben.follows(&ann.key).await;
    ben.made(&format!("feed/posts/{}/repost", id(&post)), &json!({}))
        .await;
    let like = json!({"reaction": "+"});
    ben.made(&format!("feed/posts/{}/react", id(&post)), &like)
        .await;
    let list = json!({"title": "Friends", "people": [ann.key]});
    ben.program.done("PUT", "feed/lists/friends", &list).await;
    relay.gets("second").await;
    ben.deletes(&format!("feed/posts/{first}")).await;
    ben.posts("third").await;
    relay.gets("third").await;
    assert_eq!(relay.posts(), ["first", "second", "third"]);
    let sent = relay.was_sent();
    let kinds: Vec<u16> = sent
        .iter()
        .filter(|event| event.pubkey.to_hex() == ben.key)
        .map(|event| event.kind.as_u16())
        .collect();
    // The profile and the list of relays are said when the account is opened.
    let mut wanted = vec![0, 10_002, 1, 3, 6, 7, 30_000, 5, 1];
    let mut found = kinds.clone();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{kinds:?}");
    assert_eq!(
        kinds[kinds.len() - 6..],
        [3, 6, 7, 30_000, 5, 1],
        "in order"
    );
    // Everything it ever heard.
    for message in relay.heard() {
        assert!(
            !message.to_string().contains("secret"),
            "this is private: {message}"
        );
        match message[0].as_str().unwrap() {
            "EVENT" => {
                let author = message[1]["pubkey"].as_str().unwrap();
                assert!([&ann.key, &ben.key].iter().any(|key| *key == author));
            }
            "REQ" | "CLOSE" => {}
            other => panic!("{other} was said to a relay"),
        }
    }
    assert!(counts(&relay).values().all(|count| *count == 1));
}

/// A stranger leaves a sealed message in the home's relay.
async fn leaves_a_letter(home: &Household, to: &str) {
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    tokio::spawn(Arc::clone(&home.relay).serve(theirs));
    let url = format!("ws://{}.warren/", service('a'));
    let (mut socket, _) = tokio_tungstenite::client_async(url, ours).await.unwrap();
    let letter = sign(
        &Keys::generate(),
        1059,
        &json!([["p", to]]),
        "secret letter",
    );
    let text = json!(["EVENT", letter]).to_string();
    socket.send(Message::Text(text.into())).await.unwrap();
    loop {
        let message = socket.next().await.unwrap().unwrap();
        if message.to_string().starts_with("[\"OK\"") {
            assert!(message.to_string().contains("true"), "{message}");
            return;
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_while_a_relay_is_away_or_the_home_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (relay, other) = (Foreign::open().await, Foreign::open().await);
    let mut a = home(&dir, listing(&[&relay, &other], None)).await;
    a.person("Ann").await.posts("before").await;
    relay.gets("before").await;
    relay.goes_away().await;
    let mut expected = vec!["before".to_owned()];
    for round in 0..3 {
        {
            let ann = a.again("Ann").await;
            for n in 0..5 {
                let text = format!("round {round}, {n}");
                ann.posts(&text).await;
                expected.push(text);
            }
            other.gets(expected.last().unwrap()).await;
        }
        a = a.restart().await;
    }
    assert_eq!(relay.posts(), ["before"]);
    relay.comes_back().await;
    relay.gets(expected.last().unwrap()).await;
    let ann = a.again("Ann").await;
    ann.posts("after").await;
    expected.push("after".into());
    for relay in [&relay, &other] {
        relay.gets("after").await;
        let mut posts = relay.posts();
        let all = posts.len();
        posts.dedup();
        // What is written in one second may be found in another order after a restart; live it is in order.
        posts.sort();
        posts.dedup();
        let mut wanted = expected.clone();
        wanted.sort();
        assert_eq!(posts, wanted);
        let again = u32::try_from(all - posts.len()).unwrap();
        assert!(again <= TWICE * 4, "{again} posts were sent twice");
    }
}

#[tokio::test]
async fn what_an_app_wrote_with_an_old_date_while_nobody_noted_it_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::generate();
    // The owner lists no relay yet.
    let a = home(&dir, UplinkConfig::default()).await;
    {
        let ann = with_own_key(&a, &keys, "Ann").await;
        for n in 0..30u64 {
            let old = event(&keys, 1, 1_500_000_000 + n, &[], &format!("old {n}"));
            hands_in(&ann, &serde_json::to_value(old).unwrap()).await;
        }
    }
    let (dir, net, limits, letter) = a.stop();
    let relay = Foreign::open().await;
    let uplink = listing(&[&relay], None);
    let _a = Household::open_listing(&dir, &net, letter, limits, uplink).await;
    relay.gets("old 29").await;
    let expected: Vec<String> = (0..30).map(|n| format!("old {n}")).collect();
    assert_eq!(relay.posts(), expected, "the oldest first");
}

#[tokio::test]
async fn a_relay_that_refuses_gets_the_rest_and_one_that_wants_less_gets_all_of_it() {
    keep_log();
    let dir = tempfile::tempdir().unwrap();
    let (picky, slow) = (Foreign::open().await, Foreign::open().await);
    picky.answers(|event| {
        event
            .content
            .contains("beans")
            .then(|| "blocked: no \u{1b}[31mbeans here".to_owned())
    });
    let mut turns = 0;
    slow.answers(move |_| {
        turns += 1;
        (turns % 3 != 0).then(|| "rate-limited: slow down".to_owned())
    });
    let a = home(&dir, listing(&[&picky, &slow], None)).await;
    let ann = a.person("Ann").await;
    let texts = ["one", "beans", "two", "more beans", "three"];
    for text in texts {
        ann.posts(text).await;
    }
    picky.gets("three").await;
    assert_eq!(picky.posts(), texts, "each was offered once");
    slow.gets("three").await;
    let mut posts = slow.posts();
    posts.dedup();
    assert_eq!(posts, texts);
    let said = logged(&picky);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("does not take") && said[0].contains("no \\u{1b}[31mbeans"));
}

#[tokio::test]
async fn a_relay_that_wants_to_know_who_writes_is_told_the_home_and_no_person() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Foreign::open().await;
    let mut asked = false;
    relay.answers(move |_| {
        let first = !std::mem::replace(&mut asked, true);
        first.then(|| "auth-required: prove it".to_owned())
    });
    let a = home(&dir, listing(&[&relay], None)).await;
    let ann = a.person("Ann").await;
    ann.posts("hello").await;
    relay.gets("hello").await;
    let heard = relay.heard();
    let proof = heard.iter().find(|message| message[0] == "AUTH").unwrap();
    let proof: Event = serde_json::from_value(proof[1].clone()).unwrap();
    proof.verify().unwrap();
    assert_ne!(proof.pubkey.to_hex(), ann.key);
    assert!(a.home.home.is_own_key(&proof.pubkey));
    assert_eq!(proof.kind.as_u16(), 22_242);
    let tags = serde_json::to_value(&proof.tags).unwrap();
    assert_eq!(
        tags,
        json!([["relay", relay.url()], ["challenge", "prove it"]])
    );
}

#[tokio::test]
async fn people_who_are_at_no_home_in_reach_are_read_from_listed_relays_and_from_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let net: Arc<Net> = Arc::default();
    let (relay, named) = (Foreign::open().await, Foreign::open().await);
    let uplink = listing(&[&relay], None);
    let a = Household::open_listing(dir.path(), &net, 'a', quick(|_| {}), uplink).await;
    let b = Household::open(dir.path(), &net, 'b').await;
    let (ann, ben) = (a.person("Ann").await, b.person("Ben").await);
    ben.posts("from a home").await;
    let (far, stranger) = (Keys::generate(), Keys::generate());
    let elsewhere: &[&[&str]] = &[&["r", &named.url()]];
    let mut forged = event(&far, 1, now(), &[], "forged");
    forged.content = "other words".into();
    relay.has([
        event(&far, 0, now(), &[], r#"{"name":"Far"}"#),
        event(&far, 10_002, now(), elsewhere, ""),
        event(&far, 1, now() - 9, &[], "from far away"),
        event(&far, 4, now(), &[], "not for here"),
        event(&stranger, 1, now(), &[], "not asked for"),
        event(&stranger, 1, now(), &[&["p", &ann.key]], "hello Ann"),
        forged,
    ]);
    ann.follows(&far.public_key().to_hex()).await;
    ann.follows(&format!("Ben@{}", service('b'))).await;
    ann.sees("feed", &["from far away", "from a home"]).await;
    relay.has([event(&far, 1, now(), &[], "and live")]);
    ann.sees("feed", &["from far away", "from a home", "and live"])
        .await;
    // Whoever has people here in mind is heard, too.
    let told = ann
        .until("feed/notifications", |list| {
            list.to_string().contains("hello Ann")
        })
        .await;
    assert_eq!(told["items"].as_array().unwrap().len(), 1, "{told}");
    let path = format!("feed/people/{}", far.public_key().to_hex());
    ann.until(&path, |far| far["name"] == "Far").await;
    // Ben is at a home in reach: the relay is not asked for him before that home is gone.
    let asked = |key: &str| {
        let heard = relay.heard();
        let mut asked = heard.iter().filter(|message| message[0] == "REQ");
        asked.any(|message| message[2]["authors"].to_string().contains(key))
    };
    assert!(asked(&far.public_key().to_hex()) && !asked(&ben.key));
    // What somebody looks at stays here, and what others live here is not asked.
    let path = format!("feed/people/{}/posts", stranger.public_key().to_hex());
    ann.get(&path).await;
    assert!(!asked(&stranger.public_key().to_hex()));
    net.cut('b');
    until("the relay to be asked for Ben", || asked(&ben.key)).await;
    // Names of relays in what people write never lead to a connection.
    let hint: &[&[&str]] = &[&["e", &"0".repeat(64), &named.url(), "root"]];
    relay.has([event(&far, 1, now(), hint, "with a hint")]);
    ann.until("feed?replies=yes", |list| {
        list.to_string().contains("with a hint")
    })
    .await;
    assert_eq!(named.connections(), 0);
    assert!(
        relay
            .was_sent()
            .iter()
            .all(|event| event.pubkey.to_hex() == ann.key)
    );
}

#[tokio::test]
async fn the_relay_of_another_home_can_be_listed_by_its_address_in_the_internet() {
    let (dir, far) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // A home of another island, whose relay is at an address of the Internet.
    let c = Household::open(far.path(), &Arc::default(), 'c').await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let space = Arc::clone(&c.relay);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&space).serve(stream));
        }
    });
    let uplink = UplinkConfig {
        relays: vec![format!("ws://{address}").parse().unwrap()],
        ca_file: None,
    };
    let a = home(&dir, uplink).await;
    let (ann, cem) = (a.person("Ann").await, c.person("Cem").await);
    cem.posts("one").await;
    ann.follows(&cem.key).await;
    ann.sees("feed", &["one"]).await;
    cem.posts("two").await;
    ann.sees("feed", &["one", "two"]).await;
    // It takes what people who live there write, and nothing of Ann's: which she does not notice.
    ann.posts("mine").await;
    ann.sees("feed", &["one", "two", "mine"]).await;
    assert_eq!(cem.texts("feed?of=home").await, ["one", "two"]);
    serving.abort();
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_owner_trusts_and_with_nobody_else() {
    keep_log();
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = Foreign::open_with(Some(authority.certify("localhost"))).await;
    let unknown = Foreign::open_with(Some(stranger.certify("localhost"))).await;
    let misnamed = Foreign::open_with(Some(authority.certify("relay.example"))).await;
    let all = [&good, &unknown, &misnamed];
    let uplink = listing(&all, Some(authority.write(dir.path())));
    let a = home(&dir, uplink).await;
    let ann = a.person("Ann").await;
    let far = Keys::generate();
    for relay in all {
        let text = format!("at {}", relay.url());
        relay.has([event(&far, 1, now(), &[], &text)]);
    }
    ann.posts("sealed on its way").await;
    good.gets("sealed on its way").await;
    ann.follows(&far.public_key().to_hex()).await;
    ann.sees(
        "feed",
        &["sealed on its way", &format!("at {}", good.url())],
    )
    .await;
    for (relay, why) in [
        (&unknown, "from nobody that this box trusts"),
        (&misnamed, "for another name"),
    ] {
        until(why, || logged(relay).iter().any(|line| line.contains(why))).await;
        until("more attempts", || relay.connections() > 4).await;
        assert!(relay.heard().is_empty(), "nothing was said to it");
        assert_eq!(logged(relay).len(), 1, "{:?}", logged(relay));
    }
    // The feed goes on without them.
    assert_eq!(ann.texts("feed").await.len(), 2);
}

#[tokio::test]
async fn relays_that_mean_harm_are_bounded_and_keep_nobody_from_the_others() {
    const MOST: u64 = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let good = Foreign::open().await;
    let (liar, giant, endless) = (
        Foreign::open().await,
        Foreign::open().await,
        Foreign::open().await,
    );
    let far = Keys::generate();
    // Answers to nothing, and nothing that was asked for.
    let long = "x".repeat(4000);
    let junk = |n: u64| {
        event(
            &Keys::generate(),
            1,
            now() - n,
            &[],
            &format!("junk {long}"),
        )
    };
    let unasked: Vec<String> = (0..20)
        .flat_map(|n| {
            ["n1", "s1", "us", "who", "a1", "other"]
                .map(|sub| json!(["EVENT", sub, junk(n)]).to_string())
        })
        .collect();
    liar.babbles(unasked);
    giant.babbles(vec![
        json!(["EVENT", "n1", "x".repeat(3 << 20)]).to_string(),
    ]);
    let mine = event(&far, 1, now(), &[], "true, and said a thousand times");
    let mut forged = mine.clone();
    forged.content = "forged".into();
    endless.babbles(
        [&forged, &mine]
            .map(|event| json!(["EVENT", "n1", event]).to_string())
            .to_vec(),
    );
    good.has((0..100u64).map(|n| event(&far, 1, now() - 200 + n, &[], &format!("{n} {long}"))));
    let uplink = listing(&[&liar, &giant, &endless, &good], None);
    let limits = quick(|limits| limits.cache_bytes = MOST);
    let a = Household::open_listing(dir.path(), &Arc::default(), 'a', limits, uplink).await;
    let ann = a.person("Ann").await;
    ann.follows(&far.public_key().to_hex()).await;
    ann.posts("mine").await;
    good.gets("mine").await;
    let has_both = |list: &Value| {
        let text = list.to_string();
        text.contains("true, and said") && text.contains("\"99 x")
    };
    let list = ann.until("feed?limit=100", has_both).await.to_string();
    assert!(!list.contains("junk") && !list.contains("forged"));
    until("the giant to be tried again", || giant.connections() > 3).await;
    let bytes = a.home.home.feed_bytes();
    assert!(bytes <= MOST, "{bytes}");
    let own = ann.get("feed/notifications").await;
    assert_eq!(own["items"], json!([]), "strangers named nobody here");
}

#[tokio::test]
async fn certificates_that_are_none_are_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let relays = vec!["wss://relay.example".parse().unwrap()];
    let uplink = |file: &std::path::Path| UplinkConfig {
        relays: relays.clone(),
        ca_file: Some(file.to_owned()),
    };
    let error = check_uplink(&uplink(&file)).unwrap_err().to_string();
    assert!(
        error.contains("ca.pem") && error.contains("`ca_file`"),
        "{error}"
    );
    std::fs::write(&file, "no certificate").unwrap();
    let error = check_uplink(&uplink(&file)).unwrap_err().to_string();
    assert!(error.contains("no certificate of an authority"), "{error}");
    Authority::new().write(dir.path());
    check_uplink(&uplink(&file)).unwrap();
}
