//! The state of channels as a function of their events.

use super::permissions::Permission;
use super::roles::{FOUNDER_ORDER, STRANGER_ORDER};
use super::*;
use crate::testing::{Person, channel};

#[test]
fn the_state_follows_from_the_events_alone() {
    let (ann, ben) = (Person::new(1), Person::new(2));
    let h: &[&str] = &["h", "c"];
    let events = [
        ann.event(kinds::CREATE_GROUP, 100, &[h], ""),
        ann.event(
            kinds::EDIT_METADATA,
            101,
            &[
                h,
                &["name", "C"],
                &["private"],
                &["supported_kinds", "9", "x", "11"],
            ],
            "",
        ),
        ann.event(
            kinds::PUT_USER,
            101,
            &[h, &["p", &ben.key().to_hex(), "moderator", "gardener"]],
            "",
        ),
        ann.event(kinds::PUT_USER, 101, &[h, &["p", "not a person"]], ""),
        ann.event(
            kinds::CREATE_INVITE,
            102,
            &[h, &["code", "abc"], &["expiration", "200"]],
            "",
        ),
        ann.event(9, 103, &[h], "no moderation"),
    ];
    let space = Person::new(9).key();
    let mut groups = Groups::new(space);
    let before = groups.clone();
    let changes: Vec<_> = events
        .iter()
        .map(|event| groups.apply(event, None))
        .collect();
    let subject = Subject::Channel(channel("c"), Snapshot::Metadata);
    assert_eq!(changes[1], Some(vec![subject]));
    assert_eq!(changes[5], None);
    let authority = Authority {
        relay: space,
        owner: None,
        is_home: false,
    };
    let c = groups.get(&channel("c")).unwrap();
    assert_eq!(c.metadata.texts.get("name").map(|name| &**name), Some("C"));
    assert!(c.is_private() && !c.metadata.closed);
    assert_eq!(c.metadata.supported_kinds, Some(vec![9, 11]));
    let order = |person: &Person| groups.standing_in(&authority, c, &person.key()).order;
    assert_eq!(
        [order(&ann), order(&ben), order(&Person::new(3))],
        [FOUNDER_ORDER, 200, STRANGER_ORDER]
    );
    let invites = &groups.community().invites;
    assert!(invites.for_channel("abc", &channel("c"), 199).is_some());
    assert!(invites.for_channel("abc", &channel("c"), 200).is_none());
    assert!(invites.for_channel("abc", &channel("d"), 199).is_none());
    assert!(
        c.changed_at[Snapshot::Members.index()] > c.changed_at[Snapshot::Roles.index()],
        "changes of one second stay in order"
    );
    assert_eq!((before.len(), groups.len()), (0, 1));
    assert_eq!(groups.community().members.len(), 2);
    let kick = ann.event(
        kinds::REMOVE_USER,
        104,
        &[h, &["p", &ben.key().to_hex()]],
        "",
    );
    groups.apply(&kick, None);
    let c = groups.get(&channel("c")).unwrap();
    assert!(!c.members.contains_key(&ben.key()) && groups.is_member(&ben.key()));
}

/// A space with a channel `c` of `ann`, and a way to write down acts of the space.
fn with_channel(ann: &Person) -> (Groups, Person) {
    let space = Person::new(9);
    let mut groups = Groups::new(space.key());
    groups.apply(
        &ann.event(kinds::CREATE_GROUP, 100, &[&["h", "c"]], ""),
        None,
    );
    (groups, space)
}

#[test]
fn only_what_the_space_signed_changes_the_space() {
    let (ann, ben) = (Person::new(1), Person::new(2));
    let (mut groups, space) = with_channel(&ann);
    let p = ben.key().to_hex();
    let ban: &[&[&str]] = &[&["act", "ban"], &["p", &p]];
    let add: &[&[&str]] = &[&["-"], &["p", &p]];
    for forger in [&ann, &ben] {
        groups.apply(&forger.event(kinds::ACT, 101, ban, ""), None);
        groups.apply(&forger.event(kinds::MEMBER_ADDED, 101, add, ""), None);
    }
    assert!(groups.community().banned.is_empty() && !groups.is_member(&ben.key()));
    groups.apply(&space.event(kinds::MEMBER_ADDED, 102, add, ""), None);
    groups.apply(&space.event(kinds::ACT, 103, ban, "spam"), None);
    assert!(groups.is_member(&ben.key()));
    assert_eq!(
        groups.community().banned.get(&ben.key()).map(|why| &**why),
        Some("spam")
    );
}

#[test]
fn a_role_counts_where_it_was_given_and_a_channel_can_say_otherwise() {
    let (ann, ben) = (Person::new(1), Person::new(2));
    let (mut groups, space) = with_channel(&ann);
    let p = ben.key().to_hex();
    let authority = Authority {
        relay: space.key(),
        owner: None,
        is_home: false,
    };
    let role: &[&[&str]] = &[
        &["act", "create-role"],
        &["role", "gardener"],
        &["label", "Gardener"],
        &["order", "300"],
        &["permission", "pin"],
        &["permission", "kick"],
    ];
    groups.apply(&space.event(kinds::ACT, 101, role, ""), None);
    let put: &[&[&str]] = &[&["h", "c"], &["p", &p, "gardener"]];
    groups.apply(&ann.event(kinds::PUT_USER, 102, put, ""), None);
    let has = |groups: &Groups, permission| {
        let here = groups.standing_in(&authority, groups.get(&channel("c")).unwrap(), &ben.key());
        let everywhere = groups.standing(&authority, &ben.key());
        (
            here.permissions.has(permission),
            everywhere.permissions.has(permission),
        )
    };
    assert_eq!(has(&groups, Permission::Pin), (true, false));
    let say = |deny: &str, role: &str, allow: &str| {
        let tags: &[&[&str]] = &[
            &["act", "override"],
            &["h", "c"],
            &["role", role],
            &["deny", deny],
            &["allow", allow],
        ];
        space.event(kinds::ACT, 103, tags, "")
    };
    groups.apply(&say("pin", "gardener", "invite"), None);
    assert_eq!(has(&groups, Permission::Pin), (false, false));
    assert_eq!(has(&groups, Permission::Invite), (true, false));
    groups.apply(&say("write", "member", "react"), None);
    assert_eq!(has(&groups, Permission::Write), (false, true));
    // The founder is an admin: nothing is denied to them.
    let c = groups.get(&channel("c")).unwrap();
    let ann = groups.standing_in(&authority, c, &ann.key());
    assert!(ann.permissions.has(Permission::Write));
    let gone: &[&[&str]] = &[&["act", "delete-role"], &["role", "gardener"]];
    groups.apply(&space.event(kinds::ACT, 104, gone, ""), None);
    assert_eq!(has(&groups, Permission::Kick), (false, false));
    assert!(
        !groups
            .get(&channel("c"))
            .unwrap()
            .overrides
            .contains_key("gardener")
    );
}
