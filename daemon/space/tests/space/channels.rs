//! How channels come, change and go (NIP-29): who makes them, what stands under what, what is pinned.

use crate::common::channels::{make, tags};
use crate::common::{Client, Person, TestSpace};
use serde_json::json;

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
    let soon = (crate::common::START + 100).to_string();
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

#[tokio::test]
async fn nip29_the_id_of_a_new_channel_tells_nothing_of_hidden_ones() {
    let mut space = TestSpace::new();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let create = |person: &Person, id: &str, tags: &[&[&str]]| {
        let mut all: Vec<&[&str]> = vec![];
        let h = ["h", id];
        all.push(&h);
        all.extend(tags);
        person.event(9007, &all, "")
    };
    // Hidden from the beginning, it must have an id that nobody comes upon.
    for id in ["plans", "aaaaaaaaaaaaaaaaaaaa"] {
        client
            .refused(&create(&ann, id, &[&["hidden"]]), "invalid")
            .await;
    }
    let random = "k3v9x2m8q7t5w1zr";
    client.accepted(&create(&ann, random, &[&["hidden"]])).await;
    // One that everybody could see before it was hidden is answered as one that was deleted.
    make(&mut client, &ann, "was-seen", &[&["hidden"]]).await;
    make(&mut client, &ann, "is-gone", &[&["about", "tools"]]).await;
    client
        .accepted(&ann.event(9008, &[&["h", "is-gone"]], ""))
        .await;
    for restarted in [false, true] {
        let gone = client.publish(&create(&ben, "is-gone", &[])).await;
        assert!(!gone.0 && gone.1.starts_with("duplicate: "), "{}", gone.1);
        for id in [random, "was-seen"] {
            assert_eq!(client.publish(&create(&ben, id, &[])).await, gone);
        }
        if !restarted {
            drop(client);
            space.restart();
            client = space.connect_as(&ben).await;
        }
    }
}
