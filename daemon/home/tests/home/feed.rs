//! The public feed over three homes with relays of their own: what one writes the others read, also after one was away.

use std::sync::Arc;
use std::time::Duration;

use crate::common::http::Program;
use crate::common::island::{Household, Net, Person, service, texts};
use crate::common::{PASS, PATIENCE};
use nostr::key::Keys;
use serde_json::{Value, json};

struct Island {
    dir: tempfile::TempDir,
    net: Arc<Net>,
}

impl Island {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            net: Arc::default(),
        }
    }

    async fn home(&self, letter: char) -> Household {
        Household::open(self.dir.path(), &self.net, letter).await
    }
}

#[tokio::test]
async fn what_people_write_reaches_those_who_follow_them_at_other_homes() {
    let island = Island::new();
    let (a, b, c) = (
        island.home('a').await,
        island.home('b').await,
        island.home('c').await,
    );
    let (ann, ben, cem) = (
        a.person("Ann").await,
        b.person("Ben").await,
        c.person("Cem").await,
    );
    ann.posts("before anybody listens").await;
    // By name at a home, by what the home is called, by key.
    let found = ben.follows(&format!("ann@{}", service('a'))).await;
    assert_eq!(
        (&found["public_key"], &found["followed"]),
        (&json!(ann.key), &json!(true))
    );
    cem.follows("ann@home a").await;
    cem.follows(&ben.key).await;
    ben.sees("feed", &["before anybody listens"]).await;
    let post = ann.posts("to everybody").await;
    for reader in [&ben, &cem] {
        reader
            .sees("feed", &["to everybody", "before anybody listens"])
            .await;
    }
    ann.sees("feed", &["to everybody", "before anybody listens"])
        .await;
    let feed = ben.get("feed").await;
    let item = of(&feed, &post);
    assert_eq!(item["author"]["name"], "Ann", "who wrote it comes along");
    // An answer is seen in the talk, and by who is answered.
    let answer = ben.replies(&post, "I read it").await;
    let told = ann.until("feed/notifications", |list| {
        !list["items"].as_array().unwrap().is_empty()
    });
    let told = told.await;
    assert_eq!(told["items"][0]["kind"], "reply");
    assert_eq!(told["items"][0]["author"]["name"], "Ben");
    let deeper = cem.replies(&answer, "so did I").await;
    let talk = ann
        .until(&format!("feed/posts/{deeper}"), |talk| {
            talk["items"].as_array().unwrap().len() == 3
        })
        .await;
    assert_eq!(talk["root"], post.as_str());
    for (id, text, parent) in [
        (&post, "to everybody", Value::Null),
        (&answer, "I read it", json!(post)),
        (&deeper, "so did I", json!(answer)),
    ] {
        let item = of(&talk, id);
        assert_eq!((&item["text"], &item["parent"]), (&json!(text), &parent));
    }
    // Answers are not among the posts unless somebody wants them.
    cem.sees(
        "feed?replies=yes",
        &[
            "so did I",
            "I read it",
            "to everybody",
            "before anybody listens",
        ],
    )
    .await;
    // Reposts and reactions.
    let again = ben
        .made(&format!("feed/posts/{post}/repost"), &json!({}))
        .await;
    cem.sees(
        "feed",
        &[
            "again: to everybody",
            "to everybody",
            "before anybody listens",
        ],
    )
    .await;
    let emoji = json!({"emoji": {"shortcode": "leek", "url": "http://x.warren/leek.png"}});
    cem.made(&format!("feed/posts/{post}/react"), &emoji).await;
    ben.made(
        &format!("feed/posts/{post}/react"),
        &json!({"reaction": "+"}),
    )
    .await;
    let talk = ann
        .until(&format!("feed/posts/{post}"), |talk| {
            of(talk, &post)["reactions"] == json!({"+": 1, ":leek:": 1})
        })
        .await;
    assert_eq!(of(&talk, &post)["reposts"], 1);
    assert_eq!(of(&talk, &post)["replies"], 1);
    let kinds = ann.get("feed/notifications").await;
    let kinds: Vec<&str> = kinds["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["kind"].as_str().unwrap())
        .collect();
    for kind in ["reaction", "repost", "reply"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let mine = ben.get(&format!("feed/posts/{post}")).await;
    assert_eq!(of(&mine, &post)["mine"].as_array().unwrap().len(), 2);
    // Taking back.
    ben.deletes(&format!("feed/posts/{again}")).await;
    ann.deletes(&format!("feed/posts/{post}")).await;
    for reader in [&ann, &ben, &cem] {
        reader.sees("feed", &["before anybody listens"]).await;
    }
    let (status, _) = ben
        .program
        .call("DELETE", &format!("feed/posts/{post}"), &Value::Null)
        .await;
    assert_eq!(
        status, 404,
        "what is another's, or gone, is nobody's to take back"
    );
    cem.deletes(&format!("feed/follows/{}", ann.key)).await;
    cem.sees("feed", &[]).await;
}

#[tokio::test]
async fn who_deletes_the_account_takes_back_what_they_wrote_or_leaves_it() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    let (ann, amy, ben) = (
        a.person("Ann").await,
        a.person("Amy").await,
        b.person("Ben").await,
    );
    for name in ["ann", "amy"] {
        ben.follows(&format!("{name}@{}", service('a'))).await;
    }
    let post = ann.posts("of Ann").await;
    amy.posts("of Amy").await;
    amy.replies(&post, "an answer").await;
    ben.sees("feed", &["of Ann", "of Amy"]).await;
    // Nothing happens where it cannot be done.
    let wrong = json!({"passphrase": "not this one, surely"});
    assert_eq!(
        ann.program.refused("POST", "account/delete", &wrong).await,
        "wrong_passphrase"
    );
    ben.sees("feed", &["of Ann", "of Amy"]).await;
    // Ben's home is away meanwhile, and reads it later.
    island.net.cut('a');
    let body = json!({"passphrase": PASS});
    ann.program.done("POST", "account/delete", &body).await;
    let body = json!({"passphrase": PASS, "posts": "keep"});
    amy.program.done("POST", "account/delete", &body).await;
    ben.sees("feed", &["of Ann", "of Amy"]).await;
    island.net.heal('a');
    ben.sees("feed", &["of Amy"]).await;
    let journal = island.dir.path().join("relay-a").join("journal");
    let mut kept = Vec::new();
    for segment in std::fs::read_dir(journal).unwrap() {
        kept.extend(std::fs::read(segment.unwrap().path()).unwrap());
    }
    let has = |text: &str| {
        kept.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(has("of Amy") && !has("of Ann"));
    // A home that comes later finds one of them.
    let c = island.home('c').await;
    let cem = c.person("Cem").await;
    cem.follows(&ann.key).await;
    cem.follows(&amy.key).await;
    cem.sees("feed", &["of Amy"]).await;
}

/// The item of this id.
fn of<'a>(list: &'a Value, id: &str) -> &'a Value {
    let items = list["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["id"] == id);
    found.unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_home_that_was_away_is_caught_up_with_and_its_posts_stay_readable_meanwhile() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    let ann = a.person("Ann").await;
    let key = ann.key.clone();
    {
        let ben = b.person("Ben").await;
        ben.follows(&format!("ann@{}", service('a'))).await;
        ann.posts("one").await;
        ben.sees("feed", &["one"]).await;
        island.net.cut('a');
        let two = ann.posts("two").await;
        ann.posts("three").await;
        ann.deletes(&format!("feed/posts/{two}")).await;
        assert_eq!(ben.texts("feed").await, ["one"], "from the cache");
        let away = json!({"who": format!("nobody@{}", service('a'))});
        assert_eq!(
            ben.program.refused("POST", "feed/follows", &away).await,
            "not_in_reach"
        );
        island.net.heal('a');
        ben.sees("feed", &["three", "one"]).await;
    }
    // A restart with the other home away: the cache is enough.
    island.net.cut('a');
    ann.posts("four").await;
    let b = b.restart().await;
    let ben = b.again("Ben").await;
    assert_eq!(ben.texts("feed").await, ["one", "three"]);
    island.net.heal('a');
    ben.sees("feed", &["four", "three", "one"]).await;
    // A cache that is lost or damaged is made again from the relays, this home's own among them.
    ben.posts("mine").await;
    let cache = b.cache().join("feed.sqlite");
    let (dir, net, limits, letter) = b.stop();
    std::fs::write(&cache, "this is no database at all").unwrap();
    let b = Household::open_with(&dir, &net, letter, limits).await;
    let ben = b.again("Ben").await;
    ben.sees("feed", &["mine", "four", "three", "one"]).await;
    let follows = ben.get("feed/follows").await;
    assert_eq!(follows["people"][0]["public_key"], key.as_str());
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_made_anew_when_the_other_box_started_again() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    let (ann, ben) = (a.person("Ann").await, b.person("Ben").await);
    ben.follows(&format!("ann@{}", service('a'))).await;
    ann.posts("one").await;
    ben.sees("feed", &["one"]).await;
    island.net.stall('a');
    ann.posts("two").await;
    assert_eq!(ben.texts("feed").await, ["one"]);
    island.net.started_anew('a');
    ben.sees("feed", &["two", "one"]).await;
}

#[tokio::test]
async fn a_home_where_nobody_lives_asks_no_other() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    // By the time that somebody at the one was told of what happens at the other, both have looked around.
    let (ann, away) = (a.person("Ann").await, service('b'));
    ann.posts("alone here").await;
    ann.sees("feed", &["alone here"]).await;
    let asked = async {
        while !island.net.opened_by('a').contains(&away) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap();
    assert_eq!(island.net.opened_by('b'), [service('b')].into());
    let ben = b.person("Ben").await;
    ben.follows(&format!("ann@{}", service('a'))).await;
    ben.sees("feed", &["alone here"]).await;
}

#[tokio::test]
async fn a_person_whose_home_nobody_knows_is_found_at_any_home_in_reach() {
    let island = Island::new();
    let (a, b, c) = (
        island.home('a').await,
        island.home('b').await,
        island.home('c').await,
    );
    let (ann, ben) = (a.person("Ann").await, b.person("Ben").await);
    let cem = c.person("Cem").await;
    ben.posts("found").await;
    ann.follows(&ben.key).await;
    ann.sees("feed", &["found"]).await;
    // Whoever is near can be looked through, and looked at without being followed.
    let near = ann
        .until("feed/people", |near| {
            near["people"].as_array().unwrap().len() == 3
        })
        .await;
    assert!(near.to_string().contains(&cem.key));
    let path = format!("feed/people/{}/posts", ben.key);
    cem.until(&path, |list| texts(list) == ["found"]).await;
    let shown = cem.get(&format!("feed/people/{}", ben.key)).await;
    assert_eq!(
        (&shown["name"], &shown["followed"], &shown["here"]),
        (&json!("Ben"), &json!(false), &json!(false))
    );
    assert_eq!(cem.texts("feed").await, Vec::<String>::new());
}

#[tokio::test]
async fn every_account_says_once_where_it_is_found_and_what_was_said_stays() {
    let island = Island::new();
    let a = island.home('a').await;
    let key = {
        let ann = a.person("Ann").await;
        ann.until("feed/relay", |relay| relay["unsaid"] == json!([]))
            .await;
        let changed = ann
            .program
            .done(
                "PATCH",
                "feed/profile",
                &json!({"about": "Beans", "picture": "http://x.warren/a.png"}),
            )
            .await;
        assert_eq!(
            (&changed["name"], &changed["about"]),
            (&json!("Ann"), &json!("Beans"))
        );
        for wrong in [
            json!({"about": 7}),
            json!({"picture": "javascript:x"}),
            json!({"lud16": "x"}),
            json!({"name": "x".repeat(200)}),
        ] {
            assert_eq!(
                ann.program.refused("PATCH", "feed/profile", &wrong).await,
                "field_invalid",
                "{wrong}"
            );
        }
        ann.key.clone()
    };
    let a = a.restart().await;
    let ann = a.again("Ann").await;
    let relay = ann
        .until("feed/relay", |relay| relay["unsaid"] == json!([]))
        .await;
    assert_eq!(relay["name"], format!("ws://{}.warren/", service('a')));
    // NIP-05 leads there, too.
    let path = "/.well-known/nostr.json?name=ann";
    let named = crate::common::http::ask(&a.home, "GET", path, "", "").await;
    let named: Value = serde_json::from_str(&named.body).unwrap();
    assert_eq!(
        (&named["names"]["ann"], &named["relays"][&key]),
        (&json!(key), &json!([relay["name"]]))
    );
    let shown = ann.get(&format!("feed/people/{key}")).await;
    assert_eq!(shown["about"], "Beans", "the profile was not written again");
}

#[tokio::test]
async fn who_keeps_the_key_elsewhere_hands_in_what_is_signed() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    let keys = Keys::generate();
    let ann = with_own_key(&a, &keys, "Ann").await;
    let ben = b.person("Ben").await;
    let refused = ann
        .program
        .refused("POST", "feed/posts", &json!({"text": "x"}))
        .await;
    assert_eq!(refused, "key_elsewhere");
    // What she should say is given to her to sign.
    let unsaid = ann.get("feed/relay").await["unsaid"].clone();
    for draft in unsaid.as_array().unwrap() {
        let event = sign(&keys, draft["kind"].as_u64().unwrap(), &draft["tags"], "");
        ann.program
            .done("POST", "feed/events", &json!({"event": event}))
            .await;
    }
    assert_eq!(ann.get("feed/relay").await["unsaid"], json!([]));
    let note = sign(&keys, 1, &json!([]), "signed in my own app");
    ann.program
        .done("POST", "feed/events", &json!({"event": note}))
        .await;
    ben.follows(&ann.key).await;
    ben.sees("feed", &["signed in my own app"]).await;
    // Only what is her own and whole.
    let other = sign(&Keys::generate(), 1, &json!([]), "not hers");
    let mut forged = sign(&keys, 1, &json!([]), "hers");
    forged["content"] = "changed".into();
    for wrong in [other, forged] {
        let body = json!({"event": wrong});
        assert_eq!(
            ann.program.refused("POST", "feed/events", &body).await,
            "field_invalid"
        );
    }
    let channel = sign(&keys, 9, &json!([["h", "general"]]), "x");
    let body = json!({"event": channel});
    assert_eq!(
        ann.program.refused("POST", "feed/events", &body).await,
        "refused"
    );
}

/// Somebody who keeps their key in an app of their own.
pub async fn with_own_key<'a>(home: &'a Household, keys: &Keys, name: &str) -> Person<'a> {
    let body = json!({"name": name, "session": "bearer"}).to_string();
    let url = "http://localhost/api/1/session/key";
    let hash = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let payload: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let proof = sign(
        keys,
        27_235,
        &json!([["u", url], ["method", "POST"], ["payload", payload]]),
        "",
    );
    let proof = data_encoding::BASE64.encode(proof.to_string().as_bytes());
    let headers = format!("Authorization: Nostr {proof}\r\nContent-Type: application/json\r\n");
    let answer =
        crate::common::http::ask(&home.home, "POST", "/api/1/session/key", &headers, &body).await;
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let token = answer["token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned();
    Person::of(Program {
        home: &home.home,
        token,
    })
    .await
}

/// An event of now.
pub fn sign(keys: &Keys, kind: u64, tags: &Value, content: &str) -> Value {
    use nostr::event::{Kind, SignEvent, Tag, UnsignedEvent};
    let tags: Vec<Vec<String>> = serde_json::from_value(tags.clone()).unwrap();
    let tags = tags.into_iter().map(|tag| Tag::parse(tag).unwrap());
    let kind = Kind::from_u16(u16::try_from(kind).unwrap());
    let now = nostr::types::Timestamp::now();
    let unsigned = UnsignedEvent::new(keys.public_key(), now, kind, tags, content);
    serde_json::to_value(keys.sign_event(unsigned).unwrap()).unwrap()
}

#[tokio::test]
async fn guests_read_and_do_not_write() {
    let island = Island::new();
    let a = island.home('a').await;
    let ann = a.person("Ann").await;
    let post = ann.posts("for all who come by").await;
    let guest = Program::new(&a.home);
    let list = guest.done("GET", "feed", &Value::Null).await;
    assert_eq!(texts(&list), ["for all who come by"]);
    let talk = guest
        .done("GET", &format!("feed/posts/{post}"), &Value::Null)
        .await;
    assert_eq!(texts(&talk), ["for all who come by"]);
    for path in ["feed/notifications", "feed/follows", "feed/lists"] {
        assert_eq!(
            guest.refused("GET", path, &Value::Null).await,
            "not_logged_in",
            "{path}"
        );
    }
    for (path, body) in [
        ("feed/posts", json!({"text": "x"})),
        ("feed/follows", json!({"who": ann.key})),
        (
            "feed/events",
            json!({"event": sign(&Keys::generate(), 1, &json!([]), "x")}),
        ),
    ] {
        assert_eq!(
            guest.refused("POST", path, &body).await,
            "not_logged_in",
            "{path}"
        );
    }
}

#[tokio::test]
async fn lists_of_people_are_kept_read_by_and_removed() {
    let island = Island::new();
    let (a, b) = (island.home('a').await, island.home('b').await);
    let (ann, ben) = (a.person("Ann").await, b.person("Ben").await);
    ben.posts("of the list").await;
    ann.follows(&ben.key).await;
    ann.sees("feed", &["of the list"]).await;
    ann.posts("mine").await;
    let list = json!({"title": "Gardeners", "people": [ben.key]});
    ann.program.done("PUT", "feed/lists/garden", &list).await;
    ann.sees("feed?list=garden", &["of the list"]).await;
    let lists = ann.get("feed/lists").await;
    assert_eq!(lists["lists"][0]["title"], "Gardeners");
    assert_eq!(lists["lists"][0]["people"][0]["name"], "Ben");
    ann.program
        .done("PUT", "feed/lists/garden", &json!({"people": []}))
        .await;
    ann.sees("feed?list=garden", &[]).await;
    ann.deletes("feed/lists/garden").await;
    assert_eq!(ann.get("feed/lists").await["lists"], json!([]));
    assert_eq!(
        ann.program
            .refused("GET", "feed?list=garden", &Value::Null)
            .await,
        "unknown"
    );
    assert_eq!(
        ann.program
            .refused("DELETE", "feed/lists/garden", &Value::Null)
            .await,
        "unknown"
    );
}

#[tokio::test]
async fn long_lists_are_read_page_by_page_and_wrong_questions_are_refused() {
    let island = Island::new();
    let a = island.home('a').await;
    let ann = a.person("Ann").await;
    let texts_of: Vec<String> = (0..7).map(|n| format!("post {n}")).collect();
    for text in &texts_of {
        ann.posts(text).await;
    }
    // Several are of the same second: none is left out and none comes twice.
    let (mut seen, mut before) = (Vec::new(), String::new());
    for _ in 0..9 {
        let page = ann.get(&format!("feed?limit=2{before}")).await;
        seen.extend(texts(&page));
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, texts_of);
    for path in [
        "feed?limit=0",
        "feed?limit=101",
        "feed?before=x",
        "feed?before=1-zz",
    ] {
        assert_eq!(
            ann.program.refused("GET", path, &Value::Null).await,
            "field_invalid",
            "{path}"
        );
    }
    for (path, body) in [
        ("feed/posts", json!({"text": " "})),
        ("feed/posts", json!({"text": "x".repeat(5001)})),
        (
            "feed/posts",
            json!({"text": "x", "emoji": [{"shortcode": "a b", "url": "http://x/"}]}),
        ),
        ("feed/follows", json!({"who": "a b"})),
        ("feed/follows", json!({"who": ann.key})),
    ] {
        assert_eq!(
            ann.program.refused("POST", path, &body).await,
            "field_invalid",
            "{body}"
        );
    }
    for (path, body) in [
        (
            "feed/posts",
            json!({"text": "x", "reply_to": "0".repeat(64)}),
        ),
        ("feed/follows", json!({"who": "nobody"})),
        ("feed/follows", json!({"who": "ann@no such home"})),
        ("feed/nothing", json!({})),
    ] {
        assert_eq!(
            ann.program.refused("POST", path, &body).await,
            "unknown",
            "{body}"
        );
    }
}
