//! Management over HTTP (NIP-86 with NIP-98): roles, settings, moderation, and who may not.

use std::sync::atomic::Ordering;

use crate::common::manage::proof;
use crate::common::{Person, START, TestSpace};
use serde_json::{Value, json};

fn owned(owner: &Person) -> TestSpace {
    TestSpace::with(|config| config.owner = Some(owner.0.public_key()))
}

#[tokio::test]
async fn nip98_a_call_needs_a_proof_for_this_body_that_was_not_used() {
    let owner = Person::new(9);
    let mut space = owned(&owner);
    let body = r#"{"method":"supportedmethods","params":[]}"#;
    let (status, answer) = space.post(None, body).await;
    assert_eq!(status, 401);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .starts_with("auth-required: ")
    );
    let good = proof(&owner, START + 1, body);
    let (status, _) = space.post(Some(&good), &body.replace("[]", "[1]")).await;
    assert_eq!(status, 401, "another body");
    let (status, answer) = space.post(Some(&good), body).await;
    assert_eq!(status, 200);
    assert!(
        answer["result"]
            .as_array()
            .unwrap()
            .contains(&json!("banpubkey"))
    );
    let (status, _) = space.post(Some(&good), body).await;
    assert_eq!(status, 401, "used before");
    let unused = proof(&owner, START + 1, body);
    let late = proof(&owner, START - 61, body);
    assert_eq!(space.post(Some(&late), body).await.0, 401);
    space.now.store(START + 5, Ordering::SeqCst);
    space.restart();
    for old in [&good, &unused] {
        let (status, _) = space.post(Some(old), body).await;
        assert_eq!(status, 401, "signed before the restart");
    }
    let (status, answer) = space
        .post(Some(&proof(&owner, START + 6, "nonsense")), "nonsense")
        .await;
    assert_eq!(status, 400, "{answer}");
    let long = "x".repeat(70_000);
    assert_eq!(
        space
            .post(Some(&proof(&owner, START + 6, &long)), &long)
            .await
            .0,
        413
    );
}

#[tokio::test]
async fn nip86_strangers_and_plain_members_manage_nothing() {
    let (owner, ann, eve) = (Person::new(9), Person::new(1), Person::new(3));
    let space = owned(&owner);
    space.member(&ann).await;
    let all = space.manage(&owner, "supportedmethods", json!([])).await;
    let params = json!([owner.hex(), "moderator", [], []]);
    for method in all.as_array().unwrap() {
        let method = method.as_str().unwrap();
        let stranger = space.call(&eve, method, params.clone()).await;
        assert_eq!(
            stranger,
            Err("restricted: your role does not allow this".into()),
            "{method}"
        );
        if !["supportedmethods", "listinvites", "listwebhooks"].contains(&method) {
            assert!(
                space.call(&ann, method, params.clone()).await.is_err(),
                "{method}"
            );
        }
    }
    assert_eq!(
        space.manage(&ann, "listinvites", json!([])).await,
        json!([])
    );
    let own = space.manage(&ann, "supportedmethods", json!([])).await;
    assert!(!own.as_array().unwrap().contains(&json!("banpubkey")));
    space
        .not_managed(&owner, "blockip", json!(["::1"]), "unsupported")
        .await;
    space
        .not_managed(&owner, "banpubkey", json!(["nonsense"]), "invalid")
        .await;
}

#[tokio::test]
async fn nip86_the_space_is_renamed_for_everybody_and_after_a_restart() {
    let owner = Person::new(9);
    let mut space = owned(&owner);
    space
        .manage(&owner, "changerelayname", json!(["Allotments"]))
        .await;
    space
        .manage(&owner, "changerelaydescription", json!(["Beds and paths"]))
        .await;
    space
        .manage(
            &owner,
            "changerelayicon",
            json!(["https://example.org/a.png"]),
        )
        .await;
    for name in ["", "ad\u{202e}min", "zero\u{200b}width", &"x".repeat(65)] {
        space
            .not_managed(&owner, "changerelayname", json!([name]), "invalid")
            .await;
    }
    space.restart();
    assert_eq!(space.space().summary().name, "Allotments");
    let described = crate::common::http(
        &space,
        "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n",
    )
    .await;
    for text in ["Allotments", "Beds and paths", "example.org/a.png"] {
        assert!(described.contains(text), "{described}");
    }
}

#[tokio::test]
async fn host_and_managers_rename_the_space_and_who_speaks_last_is_heard() {
    let owner = Person::new(9);
    let mut space = owned(&owner);
    let name = |space: &TestSpace| space.space().summary().name;
    space
        .manage(&owner, "changerelayname", json!(["Allotments"]))
        .await;
    space.restart();
    assert_eq!(name(&space), "Allotments", "the host said nothing new");
    space.config.name = "Beds".into();
    for _ in 0..2 {
        space.restart();
        assert_eq!(name(&space), "Beds");
    }
    let log = space.manage(&owner, "audit", json!([])).await;
    let says = |act: &&serde_json::Value| act["tags"].to_string().contains("\"Beds\"");
    assert_eq!(log.as_array().unwrap().iter().filter(says).count(), 1);
    // The same act in the same second would be the same event.
    space.now.fetch_add(1, Ordering::SeqCst);
    space
        .manage(&owner, "changerelayname", json!(["Allotments"]))
        .await;
    space.config.about = "Paths".into();
    space.restart();
    assert_eq!(name(&space), "Allotments", "of the name nothing was said");
    assert_eq!(space.space().about(), "Paths");
    // A host that has heard of it may well say the former name again.
    space.space().taken_over("Allotments", "Paths");
    space.restart();
    assert_eq!(name(&space), "Beds");
}

#[tokio::test]
async fn nip86_roles_are_made_changed_given_published_and_deleted() {
    let (owner, ann, ben) = (Person::new(9), Person::new(1), Person::new(2));
    let mut space = owned(&owner);
    let mut client = space.member(&ann).await;
    client.log_in(&ben).await;
    client.join(&ben, "general").await;
    let role = json!([
        "gardener",
        "Gardener",
        "waters",
        120,
        300,
        ["pin", "time-out"]
    ]);
    space.manage(&owner, "createrole", role).await;
    space
        .not_managed(
            &owner,
            "createrole",
            json!(["gardener", "Again"]),
            "duplicate",
        )
        .await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "gardener"]))
        .await;
    space.restart();
    let mut client = space.connect_as(&ann).await;
    let published = client
        .query(json!({"kinds": [33534], "#d": ["gardener"]}))
        .await;
    let tags = published[0]["tags"].as_array().unwrap();
    for tag in [
        json!(["-"]),
        json!(["label", "Gardener"]),
        json!(["color", "120"]),
        json!(["order", "300"]),
    ] {
        assert!(tags.contains(&tag), "{tags:?}");
    }
    let list = client.query(json!({"kinds": [13534]})).await;
    let listed = json!(["member", ann.hex(), "gardener"]);
    assert!(list[0]["tags"].as_array().unwrap().contains(&listed));
    let roles = client
        .query(json!({"kinds": [39003], "#d": ["general"]}))
        .await;
    assert!(roles[0]["tags"].to_string().contains("gardener"));
    let admins = client
        .query(json!({"kinds": [39001], "#d": ["general"]}))
        .await;
    assert!(admins[0]["tags"].to_string().contains(&ann.hex()));
    let until = START + 1000;
    space
        .manage(&ann, "timeout", json!([ben.hex(), until]))
        .await;
    space
        .manage(
            &owner,
            "editrole",
            json!(["gardener", "Head gardener", "", 1, 300, []]),
        )
        .await;
    space
        .not_managed(&ann, "timeout", json!([ben.hex(), 0]), "restricted")
        .await;
    space
        .manage(&owner, "deleterole", json!(["gardener"]))
        .await;
    assert!(
        client
            .query(json!({"kinds": [33534], "#d": ["gardener"]}))
            .await
            .is_empty()
    );
    // A new role of the same id is given to nobody.
    space
        .manage(
            &owner,
            "createrole",
            json!(["gardener", "Gardener", "", 1, 300, ["time-out"]]),
        )
        .await;
    space
        .not_managed(&ann, "timeout", json!([ben.hex(), 0]), "restricted")
        .await;
    space
        .not_managed(&owner, "deleterole", json!(["moderator"]), "invalid")
        .await;
}

#[tokio::test]
async fn nobody_rises_and_nobody_touches_who_stands_at_or_above_them() {
    let owner = Person::new(9);
    let people: Vec<Person> = (1..=5).map(Person::new).collect();
    let [chief, deputy, peer, low, _] = &people[..] else {
        panic!("five people")
    };
    let space = owned(&owner);
    let mut client = space.connect().await;
    for person in &people {
        client.log_in(person).await;
        client.join(person, "general").await;
    }
    let rights = json!([
        "manage-roles",
        "ban",
        "kick",
        "time-out",
        "invite",
        "delete-messages"
    ]);
    space
        .manage(
            &owner,
            "createrole",
            json!(["chief", "Chief", "", 1, 50, rights]),
        )
        .await;
    space
        .manage(
            &owner,
            "createrole",
            json!(["deputy", "Deputy", "", 1, 60, rights]),
        )
        .await;
    space
        .manage(&owner, "createrole", json!(["low", "Low", "", 1, 900, []]))
        .await;
    for (person, role) in [
        (chief, "chief"),
        (deputy, "deputy"),
        (peer, "deputy"),
        (low, "low"),
    ] {
        space
            .manage(&owner, "assignrole", json!([person.hex(), role]))
            .await;
    }
    let no = async |by: &Person, method: &str, params: Value| {
        space.not_managed(by, method, params, "restricted").await;
    };
    // Roles at or above one's own are not given, not even to oneself, and not taken or changed.
    no(deputy, "assignrole", json!([deputy.hex(), "chief"])).await;
    no(deputy, "assignrole", json!([deputy.hex(), "low"])).await;
    no(deputy, "assignrole", json!([low.hex(), "deputy"])).await;
    no(deputy, "assignrole", json!([low.hex(), "chief"])).await;
    no(deputy, "unassignrole", json!([chief.hex(), "chief"])).await;
    no(deputy, "unassignrole", json!([peer.hex(), "deputy"])).await;
    no(deputy, "editrole", json!(["deputy", "Deputy", "", 1, 40])).await;
    no(deputy, "editrole", json!(["low", "Low", "", 1, 60])).await;
    no(deputy, "editrole", json!(["chief", "Chief", "", 1, 901])).await;
    no(deputy, "deleterole", json!(["chief"])).await;
    no(deputy, "createrole", json!(["new", "New", "", 1, 60])).await;
    no(
        deputy,
        "createrole",
        json!(["new", "New", "", 1, 70, ["manage-space"]]),
    )
    .await;
    no(
        deputy,
        "editrole",
        json!(["low", "Low", "", 1, 900, ["audit"]]),
    )
    .await;
    space
        .manage(
            deputy,
            "createrole",
            json!(["new", "New", "", 1, 70, ["kick"]]),
        )
        .await;
    space
        .manage(deputy, "assignrole", json!([low.hex(), "new"]))
        .await;
    // People at or above oneself are not touched.
    for target in [&owner, chief, peer, deputy] {
        for method in ["banpubkey", "unallowpubkey"] {
            no(deputy, method, json!([target.hex()])).await;
        }
        no(deputy, "timeout", json!([target.hex(), START + 100])).await;
        let kick = deputy.event(9001, &[&["h", "general"], &["p", &target.hex()]], "");
        client.refused(&kick, "restricted").await;
        let role: &[&[&str]] = &[&["h", "general"], &["p", &target.hex(), "low"]];
        client
            .refused(&deputy.event(9000, role, ""), "restricted")
            .await;
    }
    let above = chief.event(9, &[&["h", "general"]], "from above");
    client.accepted(&above).await;
    let delete = deputy.event(9005, &[&["h", "general"], &["e", &above.id.to_hex()]], "");
    client.refused(&delete, "restricted").await;
    no(deputy, "banevent", json!([above.id])).await;
    space
        .manage(chief, "banpubkey", json!([deputy.hex(), "enough"]))
        .await;
    let raise: &[&[&str]] = &[&["h", "general"], &["p", &low.hex(), "admin"]];
    client
        .refused(&low.event(9000, raise, "raise myself"), "restricted")
        .await;
    let unknown: &[&[&str]] = &[&["h", "general"], &["p", &people[4].hex(), "no-such-role"]];
    client
        .refused(&chief.event(9000, unknown, ""), "invalid")
        .await;
}

#[tokio::test]
async fn a_channel_allows_and_denies_roles_what_the_space_does_not() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let mut space = owned(&owner);
    let mut client = space.member(&ann).await;
    client.log_in(&owner).await;
    client
        .accepted(&owner.event(9007, &[&["h", "news"]], ""))
        .await;
    client.join(&ann, "news").await;
    space
        .manage(
            &owner,
            "setoverride",
            json!(["news", "member", ["pin"], ["write"]]),
        )
        .await;
    let say = ann.event(9, &[&["h", "news"]], "may I?");
    for restarted in [false, true] {
        client.refused(&say, "restricted").await;
        let everywhere = ann.event(9, &[&["h", "general"]], &format!("here yes {restarted}"));
        client.accepted(&everywhere).await;
        if !restarted {
            space.restart();
            client = space.connect_as(&ann).await;
            client.log_in(&owner).await;
        }
    }
    let news = owner.event(9, &[&["h", "news"]], "news");
    client.accepted(&news).await;
    let like = ann.event(7, &[&["h", "news"], &["e", &news.id.to_hex()]], "+");
    client.accepted(&like).await;
    let pin = ann.event(9010, &[&["h", "news"], &["e", &news.id.to_hex()]], "");
    client.accepted(&pin).await;
    space
        .manage(&owner, "setoverride", json!(["news", "member", [], []]))
        .await;
    client.accepted(&say).await;
    client
        .refused(&ann.event(9010, &[&["h", "news"]], ""), "restricted")
        .await;
    space
        .not_managed(
            &ann,
            "setoverride",
            json!(["news", "member", ["pin"]]),
            "restricted",
        )
        .await;
}

#[tokio::test]
async fn names_that_look_like_others_are_refused() {
    let (owner, ann) = (Person::new(9), Person::new(1));
    let space = owned(&owner);
    let mut client = space.member(&ann).await;
    client.log_in(&owner).await;
    for label in [
        "аdmin",
        "ADMIN",
        "ａｄｍｉｎ",
        "ad\u{200b}min",
        "\u{202e}nimda",
        "Owner",
        "Móderator",
        "\u{3164}",
    ] {
        let role = json!(["x", label, "", 1, 400]);
        space
            .not_managed(&owner, "createrole", role, "invalid")
            .await;
    }
    for id in ["Admin", "", "a b", "аdmin", &"x".repeat(33)] {
        space
            .not_managed(
                &owner,
                "createrole",
                json!([id, "Fine", "", 1, 400]),
                "invalid",
            )
            .await;
    }
    for name in [
        "gen\u{200b}eral",
        "\u{202e}lareneg",
        " general",
        "z\u{300}\u{301}\u{302}\u{303}\u{304}",
    ] {
        let channel = owner.event(9007, &[&["h", "other"], &["name", name]], "");
        client.refused(&channel, "invalid").await;
        let renamed = owner.event(9002, &[&["h", "general"], &["name", name]], "");
        client.refused(&renamed, "invalid").await;
        let profile = ann.event(0, &[], &json!({"name": name}).to_string());
        client.refused(&profile, "invalid").await;
    }
    let channel = owner.event(9007, &[&["h", "gen\u{200b}eral"]], "");
    client.refused(&channel, "invalid").await;
    let profile = ann.event(
        0,
        &[],
        &json!({"name": "Ann 👩‍🌾", "display_name": "آن"}).to_string(),
    );
    client.accepted(&profile).await;
}
