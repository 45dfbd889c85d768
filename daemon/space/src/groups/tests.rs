//! The state of channels as a function of their events.

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
    let mut groups = Groups::default();
    let before = groups.clone();
    let changes: Vec<_> = events.iter().map(|event| groups.apply(event)).collect();
    assert_eq!(changes[1].as_ref().unwrap().snapshots, [Snapshot::Metadata]);
    let c = groups.get(&channel("c")).unwrap();
    assert_eq!(c.metadata.texts.get("name").map(|name| &**name), Some("C"));
    assert!(c.is_private() && !c.metadata.closed);
    assert_eq!(c.metadata.supported_kinds, Some(vec![9, 11]));
    assert_eq!(
        (
            c.rank(&ann.key()),
            c.rank(&ben.key()),
            c.rank(&Person::new(3).key())
        ),
        (Some(Rank::Admin), Some(Rank::Moderator), None)
    );
    assert_eq!(c.invites.get("abc"), Some(&Some(200)));
    assert!(
        c.changed_at[Snapshot::Members.index()] > c.changed_at[Snapshot::Roles.index()] + 1,
        "changes of one second stay in order"
    );
    assert_eq!(
        (
            before.len(),
            groups.len(),
            groups.people_besides(&ann.key())
        ),
        (0, 1, 1)
    );
    groups.apply(&ann.event(
        kinds::REMOVE_USER,
        104,
        &[h, &["p", &ben.key().to_hex()]],
        "",
    ));
    assert!(!groups.is_member(&ben.key()));
}
