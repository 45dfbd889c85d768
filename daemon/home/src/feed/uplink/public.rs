//! What of the people here goes out to relays of the Internet: what is public anyway, and meant for everywhere.

use nostr::event::{Event, EventId};
use serde_json::Value;

use crate::feed::references::{
    DELETION, FOLLOWS, OTHER_REPOST, PEOPLE, POST, PROFILE, REACTION, RELAYS, REPOST,
};

/// What may go out at all. Everything else that the home's relay keeps stays: sealed messages, what is muted, drafts, data
/// of apps, kinds that nobody here has heard of.
pub const KINDS: [u16; 9] = [
    PROFILE,
    POST,
    FOLLOWS,
    DELETION,
    REPOST,
    REACTION,
    OTHER_REPOST,
    RELAYS,
    PEOPLE,
];

/// Whether an event may go out now. `is_known` says of the target of a deletion whether it is one that may have gone out.
pub fn may_go(event: &Event, now: u64, is_known: impl Fn(&EventId) -> bool) -> bool {
    let kind = event.kind.as_u16();
    let has = |name: &str| event.tags.iter().any(|tag| tag.kind() == name);
    // NIP-70: nowhere else. NIP-29: for a channel.
    if !KINDS.contains(&kind) || has("-") || has("h") {
        return false;
    }
    let expires = event.tags.expiration();
    if expires.is_some_and(|until| until.as_secs() <= now) {
        return false;
    }
    match kind {
        // What is sealed in it is for its author alone (NIP-51).
        PEOPLE => event.content.is_empty(),
        REPOST | OTHER_REPOST => !carries_confined(&event.content),
        DELETION => names_public(event, is_known),
        _ => true,
    }
}

/// Whether a repost has an event inside that is meant for one place alone.
fn carries_confined(content: &str) -> bool {
    let Ok(inside) = serde_json::from_str::<Value>(content) else {
        return false;
    };
    let tags = inside["tags"].as_array();
    tags.is_some_and(|tags| tags.iter().any(|tag| tag[0] == "-" || tag[0] == "h"))
}

/// Whether a deletion (NIP-09) is about public things alone: it tells of whatever it names.
fn names_public(deletion: &Event, is_known: impl Fn(&EventId) -> bool) -> bool {
    let values = |name: &'static str| {
        let tags = deletion.tags.iter().filter(move |tag| tag.kind() == name);
        tags.map(|tag| tag.content().unwrap_or_default())
    };
    let is_public = |kind: &str| kind.parse().is_ok_and(|kind: u16| KINDS.contains(&kind));
    let kind_of = |address: &'static str| {
        values(address).map(|value| value.split(':').next().unwrap_or_default())
    };
    let all_public = values("k").all(is_public) && kind_of("a").all(is_public);
    // Without kinds only what was seen here as public tells that it is.
    let says_kinds = values("k").next().is_some() || values("a").next().is_some();
    let mut targets = values("e").filter_map(|id| EventId::from_hex(id).ok());
    all_public && (says_kinds || targets.any(|id| is_known(&id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::signed;
    use nostr::key::Keys;

    const NOW: u64 = 1_000_000;

    fn goes(kind: u16, tags: &[&[&str]], content: &str) -> bool {
        let event = signed(&Keys::generate(), kind, NOW, tags, content).unwrap();
        let known = EventId::from_byte_array([7; 32]);
        may_go(&event, NOW, |id| *id == known)
    }

    #[test]
    fn what_is_public_goes_and_nothing_else() {
        for kind in [0, 1, 3, 6, 7, 16, 10_002, 30_000] {
            assert!(goes(kind, &[], ""), "{kind}");
        }
        for kind in [
            4, 9, 13, 14, 15, 62, 1059, 10_000, 10_050, 10_063, 13_194, 21_059, 22_242, 30_078,
            31_234,
        ] {
            assert!(!goes(kind, &[], ""), "{kind}");
        }
    }

    #[test]
    fn what_is_confined_stays() {
        assert!(!goes(1, &[&["-"]], "here alone"));
        assert!(!goes(1, &[&["h", "garden"]], "for a channel"));
        assert!(!goes(1, &[&["expiration", "999999"]], "over"));
        assert!(goes(1, &[&["expiration", "1000001"]], "soon over"));
        assert!(!goes(30_000, &[&["d", "x"]], "sealed"));
        assert!(goes(6, &[], r#"{"tags":[["e","x"]]}"#));
        assert!(!goes(6, &[], r#"{"tags":[["-"]]}"#));
        assert!(!goes(16, &[], r#"{"tags":[["h","garden"]]}"#));
    }

    #[test]
    fn a_deletion_goes_where_what_it_deletes_went() {
        let (known, unknown) = ("07".repeat(32), "08".repeat(32));
        assert!(goes(5, &[&["e", &known]], ""));
        assert!(!goes(5, &[&["e", &unknown]], ""), "of something private");
        assert!(goes(5, &[&["e", &unknown], &["k", "1"]], ""));
        assert!(!goes(5, &[&["e", &known], &["k", "1059"]], ""));
        assert!(goes(5, &[&["a", "30000:x:friends"]], ""));
        assert!(!goes(5, &[&["a", "31234:x:a draft"]], ""));
        assert!(!goes(5, &[], ""));
    }
}
