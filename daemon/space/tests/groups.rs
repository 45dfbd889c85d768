//! Channels (NIP-29) as clients see them, and everything that must not be seen.

mod common;

use common::{Client, Person, TestSpace, contents, ids};
use serde_json::{Value, json};

/// A channel made by `admin` with these flags and texts.
async fn make(client: &mut Client, admin: &Person, id: &str, metadata: &[&[&str]]) {
    client.accepted(&admin.event(9007, &[&["h", id]], "")).await;
    let mut tags: Vec<&[&str]> = vec![];
    let h = ["h", id];
    tags.push(&h);
    tags.extend(metadata);
    client.accepted(&admin.event(9002, &tags, "")).await;
}

fn tags<'a>(event: &'a Value, name: &str) -> Vec<&'a Value> {
    event["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tag| tag[0] == name)
        .collect()
}

#[tokio::test]
async fn nip29_a_channel_is_created_joined_written_in_and_described() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut admin = space.member(&ann).await;
    make(
        &mut admin,
        &ann,
        "tools",
        &[
            &["name", "Tools"],
            &["about", "Who has a ladder?"],
            &["restricted"],
        ],
    )
    .await;
    let mut member = space.connect_as(&ben).await;
    member
        .refused(&ben.event(9, &[&["h", "tools"]], "hello"), "restricted")
        .await;
    member.join(&ben, "tools").await;
    member
        .refused(&ben.event(9021, &[&["h", "tools"]], "again"), "duplicate")
        .await;
    let hello = ben.event(9, &[&["h", "tools"]], "hello");
    member.accepted(&hello).await;
    for restarted in [false, true] {
        assert_eq!(
            ids(&member.query(json!({"kinds": [9], "#h": ["tools"]})).await),
            [hello.id.to_hex()]
        );
        let described = member
            .query(json!({"kinds": [39000, 39001, 39002, 39003], "#d": ["tools"]}))
            .await;
        assert_eq!(described.len(), 4);
        let by_kind = |kind: u16| {
            described
                .iter()
                .find(|event| event["kind"] == kind)
                .unwrap()
        };
        assert_eq!(tags(by_kind(39000), "name")[0][1], "Tools");
        assert_eq!(tags(by_kind(39000), "restricted").len(), 1);
        assert_eq!(
            *tags(by_kind(39001), "p")[0],
            json!(["p", ann.hex(), "admin"])
        );
        assert_eq!(tags(by_kind(39002), "p").len(), 2);
        assert_eq!(tags(by_kind(39003), "role").len(), 2);
        for event in &described {
            let event: nostr::event::Event = serde_json::from_value(event.clone()).unwrap();
            event.verify().unwrap();
        }
        let general = member
            .query(json!({"kinds": [39000], "#d": ["general"]}))
            .await;
        assert_eq!(general.len(), 1);
        if !restarted {
            drop(member);
            space.restart();
            member = space.connect_as(&ben).await;
        }
    }
    member
        .accepted(&ben.event(9022, &[&["h", "tools"]], ""))
        .await;
    member
        .refused(&ben.event(9, &[&["h", "tools"]], "gone"), "restricted")
        .await;
    let moderation = member
        .query(json!({"kinds": [9000, 9001], "#h": ["tools"], "#p": [ben.hex()]}))
        .await;
    assert_eq!(
        moderation
            .iter()
            .map(|event| event["kind"].as_u64().unwrap())
            .collect::<std::collections::BTreeSet<_>>(),
        [9000, 9001].into()
    );
}

#[tokio::test]
async fn nip29_changes_of_a_channel_are_heard_live_in_order() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut admin = space.member(&ann).await;
    make(&mut admin, &ann, "tools", &[&["name", "Tools"]]).await;
    let mut listener = space.connect().await;
    let before = listener
        .subscribe("s", json!({"kinds": [39002], "#d": ["tools"]}))
        .await
        .unwrap();
    let mut member = space.connect_as(&ben).await;
    member.join(&ben, "tools").await;
    let after = listener.live("s").await;
    assert_eq!(tags(&after, "p").len(), 2);
    assert!(
        after["created_at"].as_u64() > before[0]["created_at"].as_u64(),
        "a later description replaces the earlier one"
    );
}

#[tokio::test]
async fn nip29_roles_say_who_may_do_what() {
    let space = TestSpace::new();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut client = space.member(&ann).await;
    make(
        &mut client,
        &ann,
        "tools",
        &[&["name", "Tools"], &["restricted"]],
    )
    .await;
    for person in [&ben, &eve] {
        client.log_in(person).await;
        client.join(person, "tools").await;
    }
    let h: &[&str] = &["h", "tools"];
    let (a, b, e) = (ann.hex(), ben.hex(), eve.hex());
    client
        .refused(
            &eve.event(9000, &[h, &["p", &e, "admin"]], "raise myself"),
            "restricted",
        )
        .await;
    client
        .refused(&eve.event(9002, &[h, &["name", "Mine"]], ""), "restricted")
        .await;
    client
        .refused(&eve.event(9001, &[h, &["p", &a]], ""), "restricted")
        .await;
    client
        .accepted(&ann.event(9000, &[h, &["p", &b, "moderator"]], ""))
        .await;
    client
        .refused(
            &ben.event(9000, &[h, &["p", &b, "admin"]], "raise myself"),
            "restricted",
        )
        .await;
    client
        .refused(
            &ben.event(9001, &[h, &["p", &a]], "remove the admin"),
            "restricted",
        )
        .await;
    let bad = eve.event(9, &[h], "bad words");
    client.accepted(&bad).await;
    client
        .refused(
            &eve.event(9005, &[h, &["e", &bad.id.to_hex()]], ""),
            "restricted",
        )
        .await;
    client
        .accepted(&ben.event(9005, &[h, &["e", &bad.id.to_hex()]], ""))
        .await;
    assert!(client.query(json!({"ids": [bad.id]})).await.is_empty());
    client.refused(&bad, "blocked").await;
    let join = client
        .query(json!({"kinds": [9000], "#h": ["tools"], "#p": [e]}))
        .await;
    client
        .accepted(&ben.event(
            9005,
            &[h, &["e", join[0]["id"].as_str().unwrap()]],
            "the history stays",
        ))
        .await;
    assert_eq!(
        client
            .query(json!({"kinds": [9000], "#h": ["tools"], "#p": [e]}))
            .await
            .len(),
        1
    );
    client
        .accepted(&ben.event(9001, &[h, &["p", &e]], ""))
        .await;
    client
        .refused(&eve.event(9, &[h], "back?"), "restricted")
        .await;
}

#[tokio::test]
async fn nip29_a_closed_channel_opens_to_an_invitation_until_it_expires() {
    let space = TestSpace::new();
    let (ann, ben, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let mut client = space.member(&ann).await;
    make(&mut client, &ann, "quiet", &[&["closed"], &["private"]]).await;
    let h: &[&str] = &["h", "quiet"];
    let soon = (common::START + 100).to_string();
    client
        .accepted(&ann.event(9009, &[h, &["code", "open-sesame"]], ""))
        .await;
    client
        .accepted(&ann.event(
            9009,
            &[h, &["code", "for-a-while"], &["expiration", &soon]],
            "",
        ))
        .await;
    client.log_in(&ben).await;
    client.log_in(&eve).await;
    client
        .refused(&ben.event(9021, &[h], ""), "restricted")
        .await;
    client
        .refused(
            &ben.event(9021, &[h, &["code", "wrong-words"]], ""),
            "restricted",
        )
        .await;
    client
        .accepted(&ben.event(9021, &[h, &["code", "open-sesame"]], ""))
        .await;
    space
        .now
        .store(common::START + 200, std::sync::atomic::Ordering::SeqCst);
    client
        .refused(
            &eve.event(9021, &[h, &["code", "for-a-while"]], ""),
            "restricted",
        )
        .await;
    client
        .accepted(&eve.event(9021, &[h, &["code", "open-sesame"]], ""))
        .await;
}

/// Everything that somebody who must not see `secret` in `channel` can ask.
async fn asks_for(client: &mut Client, channel: &str, secret: &nostr::event::Event) {
    let questions = [
        json!({}),
        json!({"ids": [secret.id]}),
        json!({"authors": [secret.pubkey]}),
        json!({"kinds": [secret.kind.as_u16()]}),
        json!({"#t": ["secret"]}),
        json!([{"kinds": [1]}, {"#t": ["secret"]}]),
        json!({"#h": ["general", channel]}),
        json!({"since": 0, "until": 4_000_000_000u32}),
    ];
    for question in questions {
        for event in client.query(question.clone()).await {
            assert_ne!(event["id"], secret.id.to_hex(), "{question}");
            assert!(
                !event["tags"]
                    .to_string()
                    .contains(&format!("\"h\",\"{channel}\"")),
                "{question} gave {event}"
            );
        }
    }
}

#[tokio::test]
async fn nip29_what_is_private_is_seen_by_members_who_ask_for_it_and_by_nobody_else() {
    let mut space = TestSpace::new();
    let (ann, eve) = (Person::new(1), Person::new(3));
    let mut member = space.member(&ann).await;
    for flag in ["private", "hidden"] {
        let h = ["h", flag];
        make(
            &mut member,
            &ann,
            flag,
            &[&[flag], &["name", "Secret plans"]],
        )
        .await;
        let secret = ann.event(9, &[&h, &["t", "secret"]], "the secret");
        member.accepted(&secret).await;
        for round in 0..2 {
            // Members see it when they name the channel, and only then.
            assert_eq!(
                contents(&member.query(json!({"#h": [flag], "kinds": [9]})).await),
                ["the secret"]
            );
            asks_for(
                &mut member_without_h(&space, &ann).await,
                "nothing",
                &secret,
            )
            .await;
            let mut stranger = space.connect().await;
            let reason = stranger
                .subscribe("x", json!({"#h": [flag]}))
                .await
                .unwrap_err();
            assert_eq!(
                Err(reason),
                stranger
                    .subscribe("x", json!({"#h": ["no-such-channel"]}))
                    .await
            );
            asks_for(&mut stranger, flag, &secret).await;
            let mut outsider = space.member_or_login(&eve, round).await;
            let reason = outsider
                .subscribe("x", json!({"#h": [flag]}))
                .await
                .unwrap_err();
            assert_eq!(
                Err(reason),
                outsider
                    .subscribe("x", json!({"#h": ["no-such-channel"]}))
                    .await
            );
            asks_for(&mut outsider, flag, &secret).await;
            // The answer to somebody else's message does not tell that it is known.
            let (accepted, known) = outsider.publish(&secret).await;
            let (_, unknown) = outsider.publish(&ann.event(9, &[&h], "never sent")).await;
            assert!(!accepted);
            assert_eq!(known, unknown);
            // `previous` does not tell either.
            let prefix = secret.id.to_hex()[..8].to_owned();
            outsider
                .refused(
                    &eve.event(9, &[&["h", "general"], &["previous", &prefix]], "probe"),
                    "invalid",
                )
                .await;
            // Nor does writing, and for a hidden channel not even joining without an invitation.
            let (_, here) = outsider.publish(&eve.event(9, &[&h], "let me in")).await;
            let (_, nowhere) = outsider
                .publish(&eve.event(9, &[&["h", "no-such-channel"]], "let me in"))
                .await;
            if flag == "hidden" {
                assert_eq!(here, nowhere);
                outsider
                    .refused(&eve.event(9021, &[&h], ""), "restricted")
                    .await;
            }
            let described = outsider
                .query(json!({"kinds": [39000, 39001, 39002, 39003], "#d": [flag]}))
                .await;
            let kinds: Vec<u64> = described
                .iter()
                .map(|event| event["kind"].as_u64().unwrap())
                .collect();
            assert!(!kinds.contains(&39002), "members of a private channel");
            assert_eq!(kinds.is_empty(), flag == "hidden");
            if round == 0 {
                drop((member, stranger, outsider));
                space.restart(); // the same from the index
                member = space.connect_as(&ann).await;
            }
        }
        // Live: only who is a member at this moment hears.
        let mut outsider = space.connect_as(&eve).await;
        outsider.subscribe("all", json!({})).await.unwrap();
        member
            .subscribe("all", json!({"kinds": [9]}))
            .await
            .unwrap();
        member
            .subscribe("named", json!({"kinds": [9], "#h": [flag]}))
            .await
            .unwrap();
        let live = ann.event(9, &[&h, &["t", "secret"]], "another secret");
        member.send(json!(["EVENT", live])).await;
        assert_eq!(member.live("named").await["id"], live.id.to_hex());
        let open = ann.event(9, &[&["h", "general"]], flag);
        member.send(json!(["EVENT", open])).await;
        assert_eq!(
            member.live("all").await["id"],
            open.id.to_hex(),
            "nothing private without naming the channel"
        );
        assert_eq!(
            outsider.live("all").await["id"],
            open.id.to_hex(),
            "an outsider hears the open channel only"
        );
        // A deletion of what is private does not tell its id to others.
        let deletion = ann.event(5, &[&["e", &live.id.to_hex()]], "");
        member.accepted(&deletion).await;
        assert!(!ids(&outsider.query(json!({"kinds": [5]})).await).contains(&deletion.id.to_hex()));
        member
            .accepted(&ann.event(9005, &[&h, &["e", &secret.id.to_hex()]], ""))
            .await;
        assert!(
            outsider
                .query(json!({"kinds": [9005], "#e": [secret.id]}))
                .await
                .is_empty()
        );
    }
}

async fn member_without_h(space: &TestSpace, person: &Person) -> Client {
    space.connect_as(person).await
}

impl TestSpace {
    async fn member_or_login(&self, person: &Person, round: usize) -> Client {
        let mut client = self.connect_as(person).await;
        if round == 0 {
            let _ = client
                .publish(&person.event(9021, &[&["h", "general"]], ""))
                .await;
        }
        client
    }
}

#[tokio::test]
async fn nip29_who_was_removed_hears_nothing_more() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut admin = space.member(&ann).await;
    make(&mut admin, &ann, "quiet", &[&["private"]]).await;
    let mut member = space.connect_as(&ben).await;
    member.join(&ben, "general").await;
    member.join(&ben, "quiet").await;
    member
        .subscribe("s", json!({"kinds": [9], "#h": ["quiet", "general"]}))
        .await
        .unwrap();
    admin
        .accepted(&ann.event(9, &[&["h", "quiet"]], "with ben"))
        .await;
    assert_eq!(member.live("s").await["content"], "with ben");
    admin
        .accepted(&ann.event(9001, &[&["h", "quiet"], &["p", &ben.hex()]], ""))
        .await;
    admin
        .accepted(&ann.event(9, &[&["h", "quiet"]], "without ben"))
        .await;
    admin
        .accepted(&ann.event(9, &[&["h", "general"]], "to all"))
        .await;
    assert_eq!(member.live("s").await["content"], "to all");
}

#[tokio::test]
async fn nip29_invitations_are_read_by_those_who_make_them() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut admin = space.member(&ann).await;
    make(&mut admin, &ann, "open", &[&["name", "Open"], &["closed"]]).await;
    admin
        .accepted(&ann.event(9009, &[&["h", "open"], &["code", "very-secret"]], ""))
        .await;
    assert_eq!(
        admin
            .query(json!({"kinds": [9009], "#h": ["open"]}))
            .await
            .len(),
        1
    );
    let mut other = space.connect_as(&ben).await;
    assert!(other.query(json!({"kinds": [9009]})).await.is_empty());
    other
        .accepted(&ben.event(9021, &[&["h", "open"], &["code", "very-secret"]], ""))
        .await;
    let mut stranger = space.connect().await;
    assert!(
        stranger
            .query(json!({"kinds": [9021, 9009]}))
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn nip29_with_an_owner_only_the_owner_makes_channels() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let mut client = space.member(&ann).await;
    client
        .refused(&ann.event(9007, &[&["h", "mine"]], ""), "restricted")
        .await;
    client.log_in(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "mine"]], ""))
        .await;
    client
        .accepted(&owner.event(
            9002,
            &[&["h", "general"], &["name", "Hall"]],
            "the owner has a say everywhere",
        ))
        .await;
    client
        .refused(&ann.event(9007, &[&["h", "mine"]], ""), "restricted")
        .await;
}

#[tokio::test]
async fn nip29_a_deleted_channel_takes_everything_with_it_and_its_id_is_not_given_again() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    make(&mut client, &ann, "tools", &[&["name", "Tools"]]).await;
    make(
        &mut client,
        &ann,
        "saws",
        &[&["name", "Saws"], &["parent", "tools"]],
    )
    .await;
    let h: &[&str] = &["h", "tools"];
    client.join(&ben, "tools").await;
    let all: Vec<_> = (0..30)
        .map(|n| ben.event(9, &[h], &format!("m{n}")))
        .collect();
    for event in &all {
        client.accepted(event).await;
    }
    client
        .accepted(&ann.event(9009, &[h, &["code", "come-along"]], ""))
        .await;
    client
        .refused(&ben.event(9008, &[h], ""), "restricted")
        .await;
    client
        .subscribe("s", json!({"kinds": [9008], "#h": ["tools"]}))
        .await
        .unwrap();
    client.accepted(&ann.event(9008, &[h], "")).await;
    assert_eq!(client.live("s").await["kind"], 9008);
    for restarted in [false, true] {
        assert!(
            client
                .query(json!({"kinds": [9], "authors": [ben.hex()]}))
                .await
                .is_empty()
        );
        let described = client
            .query(json!({"kinds": [39000], "#d": ["tools", "saws"]}))
            .await;
        assert_eq!(described.len(), 1);
        assert!(
            tags(&described[0], "parent").is_empty(),
            "its children are roots now"
        );
        client
            .refused(&ben.event(9, &[h], "hello?"), "restricted")
            .await;
        client
            .refused(&ann.event(9007, &[h], ""), "duplicate")
            .await;
        client
            .refused(
                &ben.event(9021, &[h, &["code", "come-along"]], ""),
                "restricted",
            )
            .await;
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ann).await;
            client.log_in(&ben).await;
        }
    }
}

#[tokio::test]
async fn nip29_pins_are_listed_in_order_and_only_what_the_channel_has() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    make(&mut client, &ann, "tools", &[&["private"]]).await;
    let h: &[&str] = &["h", "tools"];
    let (one, two) = (ann.event(9, &[h], "one"), ann.event(9, &[h], "two"));
    let elsewhere = ann.event(9, &[&["h", "general"]], "elsewhere");
    for event in [&one, &two, &elsewhere] {
        client.accepted(event).await;
    }
    let address = format!("30023:{}:guide", ann.hex());
    let (first, second) = (one.id.to_hex(), two.id.to_hex());
    let pin = ann.event(
        9010,
        &[h, &["e", &second], &["a", &address], &["e", &first]],
        "",
    );
    client.accepted(&pin).await;
    let (_, other) = client
        .publish(&ann.event(9010, &[h, &["e", &elsewhere.id.to_hex()]], ""))
        .await;
    let (_, nothing) = client
        .publish(&ann.event(9010, &[h, &["e", &"7".repeat(64)]], ""))
        .await;
    assert!(other.starts_with("invalid: ") && other == nothing);
    client
        .refused(&ben.event(9010, &[h], ""), "restricted")
        .await;
    let asked = json!({"kinds": [39005], "#d": ["tools"]});
    for restarted in [false, true] {
        let pins = client.query(asked.clone()).await;
        let order: Vec<_> = pins[0]["tags"].as_array().unwrap()[1..].to_vec();
        assert_eq!(
            order,
            [
                json!(["e", second]),
                json!(["a", address]),
                json!(["e", first])
            ]
        );
        let mut outsider = space.connect_as(&ben).await;
        assert!(outsider.query(asked.clone()).await.is_empty());
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ann).await;
        }
    }
    client
        .accepted(&ann.event(9005, &[h, &["e", &second]], ""))
        .await;
    let pins = client.query(asked.clone()).await;
    assert_eq!(tags(&pins[0], "e"), [&json!(["e", first])]);
    client.accepted(&ann.event(9010, &[h], "")).await;
    assert!(tags(&client.query(asked).await[0], "e").is_empty());
}

#[tokio::test]
async fn nip29_channels_stand_under_each_other_without_circles() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    make(&mut client, &ann, "a", &[&["name", "A"]]).await;
    make(&mut client, &ann, "b", &[&["parent", "a"]]).await;
    make(&mut client, &ann, "c", &[&["parent", "a"]]).await;
    make(&mut client, &ann, "d", &[&["parent", "c"]]).await;
    make(&mut client, &ben, "e", &[]).await;
    make(
        &mut client,
        &ann,
        "secret",
        &[&["hidden"], &["parent", "a"]],
    )
    .await;
    let edit = |person: &Person, id: &str, rest: &[&[&str]]| {
        let h = ["h", id];
        let mut tags: Vec<&[&str]> = vec![&h];
        tags.extend(rest);
        person.event(9002, &tags, "")
    };
    let children = async |client: &mut Client, id: &str| {
        let found = client.query(json!({"kinds": [39000], "#d": [id]})).await;
        let children = tags(&found[0], "child").into_iter();
        children
            .map(|tag| tag[1].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        children(&mut client, "a").await,
        ["b", "c"],
        "the hidden one is not named"
    );
    // Circles, parents that are not there, and parents of others.
    for parent in ["a", "c", "d"] {
        client
            .refused(
                &edit(
                    &ann,
                    "a",
                    &[&["parent", parent], &["child", "b"], &["child", "c"]],
                ),
                "invalid",
            )
            .await;
    }
    client
        .refused(&edit(&ben, "e", &[&["parent", "a"]]), "restricted")
        .await;
    let (_, hidden) = client
        .publish(&edit(&ben, "e", &[&["parent", "secret"]]))
        .await;
    let (_, missing) = client
        .publish(&edit(&ben, "e", &[&["parent", "nowhere"]]))
        .await;
    assert_eq!(hidden, missing);
    client
        .refused(
            &edit(&ann, "b", &[&["parent", "a"], &["parent", "c"]]),
            "invalid",
        )
        .await;
    // All children are named, in a new order.
    client
        .refused(&edit(&ann, "a", &[&["child", "c"]]), "invalid")
        .await;
    client
        .accepted(&edit(&ann, "a", &[&["child", "c"], &["child", "b"]]))
        .await;
    assert_eq!(children(&mut client, "a").await, ["c", "b"]);
    // Moved and promoted.
    client
        .accepted(&edit(&ann, "b", &[&["parent", "c"], &["name", "B"]]))
        .await;
    client.accepted(&edit(&ann, "d", &[])).await;
    space.restart();
    let mut client = space.connect_as(&ann).await;
    assert_eq!(children(&mut client, "a").await, ["c"]);
    assert_eq!(children(&mut client, "c").await, ["b"]);
    assert!(children(&mut client, "d").await.is_empty());
}

#[tokio::test]
async fn nip29_what_was_done_is_not_undone_by_a_date() {
    let space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    make(&mut client, &ann, "tools", &[]).await;
    let soon = (common::START + 100).to_string();
    let (h, expires): (&[&str], &[&str]) = (&["h", "tools"], &["expiration", &soon]);
    for (kind, tag) in [(9000, ["p", &ben.hex()]), (9001, ["p", &ben.hex()])] {
        client
            .refused(&ann.event(kind, &[h, &tag, expires], ""), "invalid")
            .await;
    }
    client
        .refused(&ann.event(9002, &[h, expires], ""), "invalid")
        .await;
    client
        .refused(&ann.event(5, &[expires], ""), "invalid")
        .await;
}
