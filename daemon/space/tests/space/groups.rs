//! Channels (NIP-29) as clients see them, and everything that must not be seen.

use crate::common::channels::{make, tags};
use crate::common::{Client, Person, TestSpace, contents, ids};
use serde_json::json;

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
    let soon = (crate::common::START + 100).to_string();
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
    space.now.store(
        crate::common::START + 200,
        std::sync::atomic::Ordering::SeqCst,
    );
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
