//! What people write in channels besides plain messages: replies, threads, reactions, polls, calendars, mentions. Each is
//! taken in the shape its NIP says, about something in the same channel, and what is elsewhere is answered as what is
//! nowhere.

use crate::common::channels::{make, tags};
use crate::common::{Client, Person, START, TestSpace, contents, ids};
use nostr::event::Event;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const H: &[&str] = &["h", "general"];

/// A space with two members on one connection, and a private channel of the first one.
async fn club() -> (TestSpace, Client, Person, Person) {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    make(&mut client, &ann, "cellar", &[&["private"]]).await;
    (space, client, ann, ben)
}

/// What one says about something in another channel is answered as what one says about nothing.
async fn nowhere(client: &mut Client, about: impl Fn(&str) -> Event, elsewhere: &Event) {
    let (accepted, there) = client.publish(&about(&elsewhere.id.to_hex())).await;
    let (_, nothing) = client.publish(&about(&"7".repeat(64))).await;
    assert!(!accepted && there.starts_with("invalid: "), "{there}");
    assert_eq!(there, nothing);
}

async fn count(client: &mut Client, filter: Value) -> u64 {
    client.send(json!(["COUNT", "n", filter])).await;
    loop {
        let message = client.next().await;
        if message[0] == "COUNT" {
            return message[2]["count"].as_u64().unwrap();
        }
        assert!(message[0] != "CLOSED" && !message.is_null(), "{message}");
    }
}

#[tokio::test]
async fn nipc7_a_reply_quotes_a_message_and_is_found_by_it() {
    let (_space, mut client, ann, ben) = club().await;
    let first = ann.event(9, &[H], "who has a ladder?");
    let id = first.id.to_hex();
    let reply = ben.event(
        9,
        &[H, &["q", &id, "", &ann.hex()], &["p", &ann.hex()]],
        "I do",
    );
    client.accepted(&first).await;
    client.accepted(&reply).await;
    for asked in [
        json!({"kinds": [9], "#q": [id]}),
        json!({"kinds": [9], "#p": [ann.hex()]}),
    ] {
        assert_eq!(ids(&client.query(asked).await), [reply.id.to_hex()]);
    }
    client
        .refused(&ben.event(9, &[H, &["q", "ladder"]], "what?"), "invalid")
        .await;
    client
        .refused(&ben.event(9, &[H, &["p", "ann"]], "ann?"), "invalid")
        .await;
}

#[tokio::test]
async fn nip7d_a_thread_has_a_title_and_gathers_its_comments() {
    let (_space, mut client, ann, ben) = club().await;
    let thread = ann.event(11, &[H, &["title", "Ladders"]], "All about them");
    client.accepted(&thread).await;
    let root = thread.id.to_hex();
    let comment = ben.event(
        1111,
        &[H, &["K", "11"], &["E", &root, "", &ann.hex()]],
        "ours is red",
    );
    client.accepted(&comment).await;
    let asked = json!({"kinds": [1111], "#E": [root]});
    assert_eq!(contents(&client.query(asked).await), ["ours is red"]);
    let tricky = ann.event(11, &[H, &["title", "Lad\u{202e}ders"]], "");
    client.refused(&tricky, "invalid").await;
}

#[tokio::test]
async fn nip22_a_comment_belongs_to_the_channel_of_what_it_is_about() {
    let (_space, mut client, ann, ben) = club().await;
    let thread = ann.event(11, &[H, &["title", "Ladders"]], "");
    let secret = ann.event(11, &[&["h", "cellar"], &["title", "Wine"]], "");
    client.accepted(&thread).await;
    client.accepted(&secret).await;
    let root = thread.id.to_hex();
    let about = |id: &str| ben.event(1111, &[H, &["E", id], &["K", "11"]], "hm");
    client.accepted(&about(&root)).await;
    nowhere(&mut client, about, &secret).await;
    // What it answers must be there too, and the kind must be true.
    let answers = |id: &str| {
        let tags: &[&[&str]] = &[H, &["E", &root], &["K", "11"], &["e", id], &["k", "1111"]];
        ben.event(1111, tags, "right")
    };
    client.accepted(&answers(&about(&root).id.to_hex())).await;
    nowhere(&mut client, answers, &secret).await;
    for bad in [
        ben.event(1111, &[H, &["E", &root], &["K", "30023"]], ""),
        ben.event(1111, &[H, &["E", &root], &["K", "1"]], ""),
        ben.event(1111, &[H, &["E", &root]], ""),
        ben.event(1111, &[H, &["K", "11"]], ""),
    ] {
        client.refused(&bad, "invalid").await;
    }
    client
        .refused(
            &ben.event(1111, &[&["E", &root], &["K", "11"]], ""),
            "restricted",
        )
        .await;
    // About an article, by its address; about a page, which is nowhere here.
    let address = format!("30023:{}:wood", ann.hex());
    let on_article = |d: &str| ben.event(1111, &[H, &["A", d], &["K", "30023"], &["a", d]], "nice");
    client.refused(&on_article(&address), "invalid").await;
    client
        .accepted(&ann.event(30023, &[H, &["d", "wood"]], "About wood"))
        .await;
    client.accepted(&on_article(&address)).await;
    let page = ben.event(
        1111,
        &[H, &["I", "https://example.org/"], &["K", "web"]],
        "see",
    );
    client.accepted(&page).await;
}

#[tokio::test]
async fn nip25_a_reaction_is_about_something_in_its_channel_and_counts_once() {
    let (_space, mut client, ann, ben) = club().await;
    let message = ann.event(9, &[H], "cake?");
    let secret = ann.event(9, &[&["h", "cellar"]], "wine?");
    client.accepted(&message).await;
    client.accepted(&secret).await;
    let id = message.id.to_hex();
    let react = |at: u32, id: &str, what: &str| ben.event_at(at, 7, &[H, &["e", id]], what);
    client.accepted(&react(START, &id, "+")).await;
    client
        .refused(&react(START + 1, &id, "+"), "duplicate")
        .await;
    client.accepted(&react(START, &id, "❤️")).await;
    client.accepted(&ann.event(7, &[H, &["e", &id]], "+")).await;
    nowhere(&mut client, |id| react(START, id, "+"), &secret).await;
    assert_eq!(
        count(&mut client, json!({"kinds": [7], "#e": [id]})).await,
        3
    );
    for bad in [
        ben.event(7, &[&["e", &id]], "+"),
        ben.event(7, &[H], "+"),
        ben.event(7, &[H, &["e", &id]], &"x".repeat(81)),
    ] {
        let (accepted, reason) = client.publish(&bad).await;
        assert!(!accepted, "{reason}");
    }
    // Taken back, it can be given again.
    let own = react(START, &id, "+").id.to_hex();
    client.accepted(&ben.event(5, &[H, &["e", &own]], "")).await;
    client.accepted(&react(START + 2, &id, "+")).await;
}

#[tokio::test]
async fn nip30_emoji_name_their_pictures_and_those_of_the_space_are_the_spaces() {
    let mut space = TestSpace::with(|config| config.owner = Some(Person::new(9).0.public_key()));
    let (owner, ann) = (Person::new(9), Person::new(1));
    let mut client = space.member(&ann).await;
    let message = ann.event(9, &[H], "cake?");
    client.accepted(&message).await;
    let (id, picture) = (message.id.to_hex(), "http://x.warren/party.png");
    let react = |tags: &[&[&str]]| {
        let mut all: Vec<&[&str]> = vec![H];
        let e: &[&str] = &["e", &id];
        all.push(e);
        all.extend(tags);
        ann.event(7, &all, ":party:")
    };
    client.refused(&react(&[]), "invalid").await;
    client
        .refused(&react(&[&["emoji", "cake", picture]]), "invalid")
        .await;
    client
        .refused(
            &react(&[&["emoji", "party", "javascript:alert(1)"]]),
            "invalid",
        )
        .await;
    client
        .accepted(&react(&[&["emoji", "party", picture]]))
        .await;

    // The space's own set: changed by who may, read by members.
    space
        .not_managed(&ann, "addemoji", json!(["party", picture]), "restricted")
        .await;
    for bad in [
        json!(["a b", picture]),
        json!(["party", "nowhere"]),
        json!([]),
    ] {
        space.not_managed(&owner, "addemoji", bad, "invalid").await;
    }
    client
        .subscribe("set", json!({"kinds": [30030]}))
        .await
        .unwrap();
    space
        .manage(&owner, "addemoji", json!(["party", picture]))
        .await;
    let live = client.live("set").await;
    assert_eq!(tags(&live, "emoji"), [&json!(["emoji", "party", picture])]);
    let set = format!("30030:{}:space", live["pubkey"].as_str().unwrap());
    let says = |picture: &str| {
        let tags: &[&[&str]] = &[H, &["emoji", "party", picture, &set]];
        ann.event(9, tags, "hurray :party:")
    };
    client.accepted(&says(picture)).await;
    client
        .refused(&says("http://x.warren/evil.png"), "invalid")
        .await;
    for restarted in [false, true] {
        let sets = client
            .query(json!({"kinds": [30030], "#d": ["space"]}))
            .await;
        assert_eq!(sets.len(), 1);
        let mut stranger = space.connect_as(&Person::new(5)).await;
        assert!(stranger.query(json!({"kinds": [30030]})).await.is_empty());
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ann).await;
        }
    }
    space.manage(&owner, "removeemoji", json!(["party"])).await;
    space
        .not_managed(&owner, "removeemoji", json!(["party"]), "invalid")
        .await;
    client
        .refused(
            &ann.event(9, &[H, &["emoji", "party", picture, &set]], ""),
            "invalid",
        )
        .await;
    let sets = client.query(json!({"kinds": [30030]})).await;
    assert!(tags(&sets[0], "emoji").is_empty());
}

#[tokio::test]
async fn mentions_name_people_roles_that_are_there_and_everyone() {
    let space = TestSpace::with(|config| config.owner = Some(Person::new(9).0.public_key()));
    let (owner, ann, ben) = (Person::new(9), Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let params = json!(["cooks", "Cooks", "", 0, 500, ["mention-everyone"]]);
    space.manage(&owner, "createrole", params).await;
    let says = |person: &Person, mention: &[&str]| person.event(9, &[H, mention], "dinner");
    client
        .refused(&says(&ann, &["mention", "role", "cooks"]), "restricted")
        .await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "cooks"]))
        .await;
    client
        .accepted(&says(&ann, &["mention", "role", "cooks"]))
        .await;
    client.accepted(&says(&ann, &["mention", "everyone"])).await;
    for bad in [
        &["mention", "role", "waiters"][..],
        &["mention", "role"],
        &["mention", "all"],
        &["mention"],
    ] {
        client.refused(&says(&ann, bad), "invalid").await;
    }
    // Everybody may mention a person, and that person finds it.
    client.accepted(&says(&ben, &["p", &ann.hex()])).await;
    let asked = json!({"kinds": [9], "#p": [ann.hex()]});
    assert_eq!(client.query(asked).await.len(), 1);
}

#[tokio::test]
async fn nip88_a_poll_takes_one_answer_of_each_person_until_it_ends() {
    let (mut space, mut client, ann, ben) = club().await;
    let end = (START + 100).to_string();
    let poll_in = |h: &str| {
        let tags: &[&[&str]] = &[
            &["h", h],
            &["option", "yes", "Yes"],
            &["option", "no", "No"],
            &["polltype", "singlechoice"],
            &["endsAt", &end],
        ];
        ann.event(1068, tags, "Pineapple?")
    };
    let (poll, secret) = (poll_in("general"), poll_in("cellar"));
    client.accepted(&poll).await;
    client.accepted(&secret).await;
    let id = poll.id.to_hex();
    let vote = |person: &Person, at: u32, poll: &str, what: &str| {
        person.event_at(at, 1018, &[H, &["e", poll], &["response", what]], "")
    };
    let first = vote(&ben, START, &id, "no");
    client.accepted(&first).await;
    client.accepted(&vote(&ann, START, &id, "no")).await;
    nowhere(&mut client, |id| vote(&ben, START, id, "no"), &secret).await;
    client
        .refused(&vote(&ben, START, &id, "maybe"), "invalid")
        .await;
    client
        .refused(&ben.event(1018, &[H, &["e", &id]], ""), "invalid")
        .await;
    // The newer answer takes the place of the older one, which does not come back.
    let second = vote(&ben, START + 5, &id, "yes");
    client.accepted(&second).await;
    client
        .refused(&vote(&ben, START + 4, &id, "no"), "duplicate")
        .await;
    client.refused(&first, "duplicate").await;
    let asked = json!({"kinds": [1018], "#e": [id]});
    for restarted in [false, true] {
        let votes = client.query(asked.clone()).await;
        assert_eq!(votes.len(), 2);
        assert_eq!(count(&mut client, asked.clone()).await, 2);
        let bens: Vec<_> = votes
            .iter()
            .filter(|vote| vote["pubkey"] == ben.hex())
            .collect();
        assert_eq!(tags(bens[0], "response"), [&json!(["response", "yes"])]);
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ben).await;
            client.log_in(&ann).await;
        }
    }
    // Two at the same moment are one.
    let race: Vec<Event> = (6..16)
        .map(|n| vote(&ben, START + n, &id, if n % 2 == 0 { "yes" } else { "no" }))
        .collect();
    for vote in &race {
        client.send(json!(["EVENT", vote])).await;
    }
    for vote in &race {
        assert!(client.answer(vote).await.0);
    }
    assert_eq!(count(&mut client, asked.clone()).await, 2);
    // After the end nothing is added, backdated, or taken back; who made the poll may still delete it.
    space.now.store(START + 100, Ordering::SeqCst);
    client
        .refused(&vote(&ben, START + 20, &id, "no"), "restricted")
        .await;
    client
        .refused(&vote(&ben, START + 101, &id, "no"), "restricted")
        .await;
    let last = race.last().unwrap().id.to_hex();
    let back = ben.event_at(START + 100, 5, &[H, &["e", &last]], "");
    client.refused(&back, "restricted").await;
    assert_eq!(count(&mut client, asked.clone()).await, 2);
    client
        .accepted(&ann.event_at(START + 100, 5, &[H, &["e", &id]], ""))
        .await;
    client.accepted(&back).await;
}

#[tokio::test]
async fn nip88_polls_that_make_no_sense_are_refused() {
    let (_space, mut client, ann, _) = club().await;
    let (a, b): (&[&str], &[&str]) = (&["option", "a", "A"], &["option", "b", "B"]);
    let early = (START - 1).to_string();
    for tags in [
        &[H, a][..],
        &[H, a, a],
        &[H, a, &["option", "b"]],
        &[H, a, &["option", "b c", "B"]],
        &[H, a, b, &["polltype", "ranked"]],
        &[H, a, b, &["endsAt", &early]],
        &[H, a, b, &["endsAt", "soon"]],
    ] {
        client.refused(&ann.event(1068, tags, "?"), "invalid").await;
    }
    client.accepted(&ann.event(1068, &[H, a, b], "?")).await;
    // The filters of the space read what can be chosen, too.
    let space = TestSpace::with(|config| config.owner = Some(Person::new(9).0.public_key()));
    let filters = json!([{"words": ["weed"]}]);
    space.manage(&Person::new(9), "setfilters", filters).await;
    let mut client = space.member(&ann).await;
    let weed = ann.event(1068, &[H, a, &["option", "b", "Weed"]], "?");
    client.refused(&weed, "blocked").await;
}

#[tokio::test]
async fn nip52_a_calendar_has_entries_with_dates_and_one_answer_of_each_person() {
    let (_space, mut client, ann, ben) = club().await;
    let entry = |kind: u16, d: &str, start: &str, end: &str| {
        let tags: &[&[&str]] = &[
            H,
            &["d", d],
            &["title", "Harvest"],
            &["start", start],
            &["end", end],
        ];
        ann.event(kind, tags, "bring baskets")
    };
    let day = entry(31922, "harvest", "2026-09-30", "2026-10-02");
    let hour = entry(31923, "meeting", "1790000000", "1790003600");
    client.accepted(&day).await;
    client.accepted(&hour).await;
    for bad in [
        entry(31922, "x", "2026-02-30", "2026-03-01"),
        entry(31922, "x", "2026-03-01", "2026-03-01"),
        entry(31922, "x", "1790000000", "1790003600"),
        entry(31923, "x", "1790000000", "1790000000"),
        entry(31923, "x", "2026-03-01", "2026-03-02"),
        entry(31923, "", "1", "2"),
        ann.event(31922, &[H, &["d", "x"], &["start", "2026-03-01"]], ""),
    ] {
        client.refused(&bad, "invalid").await;
    }
    let address = |d: &str| format!("31922:{}:{d}", ann.hex());
    let answer = |at: u32, d: &str, about: &str, status: &str| {
        let tags: &[&[&str]] = &[H, &["d", d], &["a", about], &["status", status]];
        ben.event_at(at, 31925, tags, "")
    };
    client
        .accepted(&answer(START, "1", &address("harvest"), "accepted"))
        .await;
    client
        .refused(
            &answer(START, "2", &address("harvest"), "perhaps"),
            "invalid",
        )
        .await;
    client
        .refused(
            &answer(START, "2", &address("picnic"), "accepted"),
            "invalid",
        )
        .await;
    // Under another name it is still the same person's.
    client
        .accepted(&answer(START + 1, "2", &address("harvest"), "declined"))
        .await;
    client
        .refused(
            &answer(START, "3", &address("harvest"), "accepted"),
            "duplicate",
        )
        .await;
    let asked = json!({"kinds": [31925], "#a": [address("harvest")]});
    let answers = client.query(asked).await;
    assert_eq!(answers.len(), 1);
    assert_eq!(
        tags(&answers[0], "status"),
        [&json!(["status", "declined"])]
    );
    // An entry of a private channel is nowhere for who answers elsewhere.
    let wine = ann.event(
        31922,
        &[
            &["h", "cellar"],
            &["d", "wine"],
            &["title", "Wine"],
            &["start", "2026-09-30"],
        ],
        "",
    );
    client.accepted(&wine).await;
    let (_, there) = client
        .publish(&answer(START, "4", &address("wine"), "accepted"))
        .await;
    let (_, nothing) = client
        .publish(&answer(START, "4", &address("nothing"), "accepted"))
        .await;
    assert_eq!(there, nothing);
}
