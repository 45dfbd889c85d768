//! What a place among others is worth: codes are told to who could give them, overrides reach who belongs, invitations and
//! time-outs count as long as they should.

use crate::common::{Client, Person, START, TestSpace, ids};
use nostr::event::Event;
use serde_json::{Value, json};

const GENERAL: &[&str] = &["h", "general"];

/// A space of an owner with a moderator, Ann, and a member, Ben; both on connections of their own.
struct Club {
    space: TestSpace,
    owner: Person,
    ann: Person,
    ben: Person,
    admin: Client,
    moderator: Client,
    member: Client,
}

async fn club() -> Club {
    let (owner, ann, ben) = (Person::new(9), Person::new(1), Person::new(2));
    let space = TestSpace::with(|config| config.owner = Some(owner.0.public_key()));
    let admin = space.connect_as(&owner).await;
    let moderator = space.member(&ann).await;
    let member = space.member(&ben).await;
    space
        .manage(&owner, "assignrole", json!([ann.hex(), "moderator"]))
        .await;
    Club {
        space,
        owner,
        ann,
        ben,
        admin,
        moderator,
        member,
    }
}

fn join(person: &Person, claim: &str) -> Event {
    person.event(28934, &[&["-"], &["claim", claim]], "")
}

fn by_code(person: &Person, channel: &str, code: &str) -> Event {
    person.event(9021, &[&["h", channel], &["code", code]], "")
}

async fn make(club: &mut Club, id: &str, flags: &[&[&str]]) {
    let h = ["h", id];
    let create = club.owner.event(9007, &[&h], "");
    club.admin.accepted(&create).await;
    let mut tags: Vec<&[&str]> = vec![&h];
    tags.extend(flags);
    club.admin
        .accepted(&club.owner.event(9002, &tags, ""))
        .await;
}

#[tokio::test]
async fn a_code_is_told_to_who_could_give_the_role_it_gives() {
    let mut club = club().await;
    let invite = |options: Value| {
        club.space
            .manage(&club.owner, "createinvite", json!([options]))
    };
    let high = invite(json!({"role": "admin", "code": "high-in-the-space"})).await;
    let plain = invite(json!({"code": "plain-in-the-space"})).await;
    let give = |code: &str, role: Option<&str>| {
        let mut tags: Vec<&[&str]> = vec![GENERAL];
        let (code, role) = (["code", code], role.map(|role| ["role", role]));
        tags.push(&code);
        tags.extend(role.as_ref().map(|role| role.as_slice()));
        club.owner.event(9009, &tags, "")
    };
    let (high_here, plain_here) = (
        give("high-in-general", Some("admin")),
        give("plain-in-general", None),
    );
    club.admin.accepted(&high_here).await;
    club.admin.accepted(&plain_here).await;
    let own = club
        .space
        .manage(
            &club.ann,
            "createinvite",
            json!([{"code": "of-ann-herself"}]),
        )
        .await;
    let codes = |list: &Value, invite: &Value| {
        let mut list = list.as_array().unwrap().iter();
        list.find(|line| line["id"] == invite["id"]).unwrap()["code"].clone()
    };
    for (person, told) in [
        (&club.ann, Value::Null),
        (&club.owner, high["code"].clone()),
    ] {
        let list = club.space.manage(person, "listinvites", json!([])).await;
        assert_eq!(list.as_array().unwrap().len(), 5);
        assert_eq!(codes(&list, &high), told);
        assert_eq!(codes(&list, &plain), "plain-in-the-space");
        assert_eq!(codes(&list, &own), "of-ann-herself");
        let all = list.to_string();
        assert_eq!(all.contains("high-in-general"), !told.is_null());
        assert!(all.contains("plain-in-general"));
    }
    // Nor as an event, nor from who came in with it.
    let dan = Person::new(4);
    let mut newcomer = club.space.connect_as(&dan).await;
    newcomer
        .accepted(&by_code(&dan, "general", "high-in-general"))
        .await;
    let asked = json!({"kinds": [9009, 9021, 4240], "#h": ["general"]});
    let seen = json!(club.moderator.query(asked.clone()).await).to_string();
    assert!(seen.contains("plain-in-general") && !seen.contains("high-in-general"));
    let all = json!(club.admin.query(asked).await).to_string();
    assert!(all.contains("plain-in-general") && all.contains("high-in-general"));
    // The id is enough to revoke it.
    club.space
        .manage(&club.ann, "revokeinvite", json!([high["id"]]))
        .await;
}

#[tokio::test]
async fn what_a_channel_allows_members_it_allows_those_who_belong_to_it() {
    let mut club = club().await;
    make(&mut club, "hall", &[]).await;
    let eve = Person::new(3);
    let mut stranger = club.space.connect_as(&eve).await;
    let message = eve.event(9, &[&["h", "hall"]], "hello from outside");
    stranger.accepted(&message).await;
    let id = message.id.to_hex();
    let allowed = ["pin", "invite", "delete-messages", "manage-channels"];
    club.space
        .manage(
            &club.owner,
            "setoverride",
            json!(["hall", "member", allowed, []]),
        )
        .await;
    for (client, person) in [(&mut stranger, &eve), (&mut club.member, &club.ben)] {
        for event in [
            person.event(9010, &[&["h", "hall"], &["e", &id]], ""),
            person.event(9009, &[&["h", "hall"], &["code", "come-in-all"]], ""),
            person.event(9005, &[&["h", "hall"], &["e", &id]], ""),
            person.event(9002, &[&["h", "hall"], &["name", "Mine"]], ""),
        ] {
            client.refused(&event, "restricted").await;
        }
        assert!(client.query(json!({"kinds": [9009]})).await.is_empty());
    }
    // Who moderates the space need not belong, and who belongs may what the channel says.
    let pin = |person: &Person| person.event(9010, &[&["h", "hall"], &["e", &id]], "");
    club.moderator.accepted(&pin(&club.ann)).await;
    club.member.join(&club.ben, "hall").await;
    club.member.accepted(&pin(&club.ben)).await;
    // What it denies members it denies strangers too.
    club.space
        .manage(
            &club.owner,
            "setoverride",
            json!(["hall", "member", [], ["write"]]),
        )
        .await;
    for (client, person) in [(&mut stranger, &eve), (&mut club.member, &club.ben)] {
        let event = person.event(9, &[&["h", "hall"]], "once more");
        client.refused(&event, "restricted").await;
    }
}

#[tokio::test]
async fn an_invitation_counts_as_long_as_its_maker_may_make_it() {
    let mut club = club().await;
    club.space
        .manage(&club.owner, "setaccess", json!(["closed"]))
        .await;
    let (dan, eve) = (Person::new(4), Person::new(3));
    let options = json!([{"code": "of-ann-herself"}]);
    club.space.manage(&club.ann, "createinvite", options).await;
    let here = club
        .ann
        .event(9009, &[GENERAL, &["code", "of-ann-in-general"]], "");
    club.moderator.accepted(&here).await;
    let mut newcomer = club.space.connect_as(&dan).await;
    newcomer.accepted(&join(&dan, "of-ann-herself")).await;
    club.space
        .manage(&club.owner, "unallowpubkey", json!([club.ann.hex()]))
        .await;
    let mut other = club.space.connect_as(&eve).await;
    for (client, person) in [(&mut club.moderator, &club.ann), (&mut other, &eve)] {
        for code in ["of-ann-herself", "of-ann-in-general"] {
            client.refused(&join(person, code), "restricted").await;
        }
        let event = by_code(person, "general", "of-ann-in-general");
        client.refused(&event, "restricted").await;
    }
}

#[tokio::test]
async fn who_invites_to_a_channel_alone_brings_no_strangers_into_a_closed_space() {
    let mut club = club().await;
    make(&mut club, "hall", &[&["closed"]]).await;
    club.space
        .manage(&club.owner, "setaccess", json!(["closed"]))
        .await;
    let dan = Person::new(4);
    let put = club.owner.event(9000, &[GENERAL, &["p", &dan.hex()]], "");
    club.admin.accepted(&put).await;
    let host = club
        .owner
        .event(9000, &[&["h", "hall"], &["p", &dan.hex(), "moderator"]], "");
    club.admin.accepted(&host).await;
    let mut inviter = club.space.connect_as(&dan).await;
    let invite = dan.event(9009, &[&["h", "hall"], &["code", "into-the-hall"]], "");
    inviter.accepted(&invite).await;
    let eve = Person::new(3);
    let mut stranger = club.space.connect_as(&eve).await;
    for event in [
        by_code(&eve, "hall", "into-the-hall"),
        join(&eve, "into-the-hall"),
    ] {
        stranger.refused(&event, "restricted").await;
    }
    club.member
        .accepted(&by_code(&club.ben, "hall", "into-the-hall"))
        .await;
}

#[tokio::test]
async fn the_log_of_a_hidden_channel_stays_closed_when_the_channel_is_gone() {
    let mut club = club().await;
    make(&mut club, "den", &[&["hidden"]]).await;
    club.space
        .manage(&club.owner, "slowmode", json!(["den", 5]))
        .await;
    for state in ["there", "gone", "restarted"] {
        for (person, reads) in [(&club.owner, true), (&club.ann, false)] {
            let log = club.space.manage(person, "audit", json!([])).await;
            let is_there = log.to_string().contains("\"den\"");
            assert_eq!(is_there, reads, "{state}");
        }
        let asked = json!({"kinds": [4240]});
        let events = json!(club.moderator.query(asked).await).to_string();
        assert!(!events.contains("\"den\""), "{state}");
        match state {
            "there" => {
                let gone = club.owner.event(9008, &[&["h", "den"]], "");
                club.admin.accepted(&gone).await;
            }
            "gone" => {
                club.space.restart();
                club.moderator = club.space.connect_as(&club.ann).await;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn who_is_silenced_sends_no_private_messages_and_manages_nothing() {
    let mut club = club().await;
    let home = Person::new(8);
    let silence = json!([club.ann.hex(), START + 50]);
    club.space.manage(&club.owner, "timeout", silence).await;
    let letter =
        |n: u16, to: &Person| Person::new(1000 + n).event(1059, &[&["p", &to.hex()]], "sealed");
    club.moderator
        .refused(&letter(1, &club.ben), "restricted")
        .await;
    let typing = Person::new(1002).event(21059, &[&["p", &club.ben.hex()]], "");
    club.moderator.refused(&typing, "restricted").await;
    // Another name on the same connection does not help.
    club.moderator.log_in(&club.ben).await;
    club.moderator
        .refused(&letter(3, &club.owner), "restricted")
        .await;
    club.member.accepted(&letter(4, &club.ann)).await;
    let permit = |at: u32, homes: &[&str]| {
        let mut tags: Vec<&[&str]> = vec![&["d", "warren/collect"]];
        let homes: Vec<[&str; 2]> = homes.iter().map(|home| ["p", *home]).collect();
        tags.extend(homes.iter().map(|home| home.as_slice()));
        club.ann.event_at(START + at, 30078, &tags, "")
    };
    let home = home.hex();
    club.moderator
        .refused(&permit(1, &[&home]), "restricted")
        .await;
    club.moderator.accepted(&permit(2, &[])).await;
    for (method, params) in [
        ("createinvite", json!([{}])),
        ("timeout", json!([club.ben.hex(), START + 50])),
        ("unallowpubkey", json!([club.ben.hex()])),
        ("banevent", json!(["0".repeat(64)])),
    ] {
        club.space
            .not_managed(&club.ann, method, params, "restricted")
            .await;
    }
    for method in ["listinvites", "audit", "listtimeouts", "supportedmethods"] {
        club.space.manage(&club.ann, method, json!([])).await;
    }
    // They still read.
    let own = json!({"kinds": [1059], "#p": [club.ann.hex()]});
    assert_eq!(ids(&club.moderator.query(own).await).len(), 1);
    let ended = json!([club.ann.hex(), 0]);
    club.space.manage(&club.owner, "timeout", ended).await;
    club.moderator.accepted(&letter(5, &club.owner)).await;
}
