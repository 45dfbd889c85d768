//! What an event says of others: which post it answers (NIP-10), reacts to (NIP-25) or repeats (NIP-18), and where its
//! author is found (NIP-65). All of it is foreign text: nothing here is believed beyond what it is.

use nostr::event::{Event, EventId, Tag};
use nostr::key::PublicKey;

use crate::dialer::ServiceName;

/// A profile (NIP-01).
pub const PROFILE: u16 = 0;
/// A post (NIP-10).
pub const POST: u16 = 1;
/// Whom somebody follows (NIP-02).
pub const FOLLOWS: u16 = 3;
/// A request to delete (NIP-09).
pub const DELETION: u16 = 5;
/// A request to vanish (NIP-62).
pub const VANISH: u16 = 62;
/// A repost of a post, and of anything else (NIP-18).
pub const REPOST: u16 = 6;
/// See [`REPOST`].
pub const OTHER_REPOST: u16 = 16;
/// A reaction (NIP-25).
pub const REACTION: u16 = 7;
/// Where somebody is found (NIP-65).
pub const RELAYS: u16 = 10_002;
/// Where somebody keeps files (BUD-03).
pub const FILE_SERVERS: u16 = 10_063;
/// A list of people (NIP-51).
pub const PEOPLE: u16 = 30_000;

/// What is taken from others.
pub const FOREIGN: [u16; 8] = [
    PROFILE,
    POST,
    DELETION,
    VANISH,
    REPOST,
    REACTION,
    OTHER_REPOST,
    RELAYS,
];
/// What people of this home have beside: it is theirs alone.
pub const OWN: [u16; 2] = [FOLLOWS, PEOPLE];
/// What tells a person that somebody has them in mind.
pub const TELLING: [u16; 4] = [POST, REPOST, REACTION, OTHER_REPOST];

/// People of one event that are looked at.
const NAMED: usize = 500;
/// Places where one person is found.
const PLACES: usize = 4;

/// The post that an event is about, and the one that the talk began with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct References {
    /// Where the talk began.
    pub root: Option<EventId>,
    /// What is answered, repeated or reacted to.
    pub parent: Option<EventId>,
}

fn id_of(tag: &Tag) -> Option<EventId> {
    EventId::from_hex(tag.content()?).ok()
}

/// What an event refers to.
pub fn references(event: &Event) -> References {
    let tags = event.tags.iter().filter(|tag| tag.kind() == "e");
    match event.kind.as_u16() {
        POST => post(tags),
        // The last one is the one that counts (NIP-25).
        REACTION => References {
            root: None,
            parent: tags.rev().find_map(id_of),
        },
        REPOST | OTHER_REPOST => References {
            root: None,
            parent: tags.filter_map(id_of).next(),
        },
        _ => References::default(),
    }
}

fn post<'a>(tags: impl Iterator<Item = &'a Tag>) -> References {
    let mut marked = References::default();
    let mut by_place = Vec::new();
    let mut is_marked = false;
    for tag in tags {
        let Some(id) = id_of(tag) else { continue };
        match tag.as_slice().get(3).map(String::as_str) {
            Some("root") => (marked.root, is_marked) = (marked.root.or(Some(id)), true),
            Some("reply") => (marked.parent, is_marked) = (marked.parent.or(Some(id)), true),
            Some("mention") => is_marked = true,
            _ => by_place.push(id),
        }
    }
    if !is_marked {
        // The old way: the first is where it began, the last is what is answered.
        marked = References {
            root: by_place.first().copied(),
            parent: by_place.last().copied(),
        };
    }
    References {
        root: marked.root.or(marked.parent),
        parent: marked.parent.or(marked.root),
    }
}

/// The people that an event names, each once.
pub fn named(event: &Event) -> Vec<PublicKey> {
    let mut people = Vec::new();
    let tags = event.tags.iter().filter(|tag| tag.kind() == "p");
    for tag in tags.take(NAMED) {
        let person = tag.content().and_then(|key| PublicKey::from_hex(key).ok());
        if let Some(person) = person.filter(|person| !people.contains(person)) {
            people.push(person);
        }
    }
    people
}

/// The homes where the author of a list of relays writes, as far as they are in this network: no other is ever asked.
pub fn homes(list: &Event) -> Vec<ServiceName> {
    let mut homes = Vec::new();
    for tag in list.tags.iter().filter(|tag| tag.kind() == "r") {
        let writes = tag.as_slice().get(2).is_none_or(|marker| marker != "read");
        let home = tag.content().and_then(service_of).filter(|_| writes);
        if let Some(home) = home.filter(|home| !homes.contains(home)) {
            homes.push(home);
            if homes.len() == PLACES {
                break;
            }
        }
    }
    homes
}

/// The service in `ws://<service>.warren/`, and in nothing else.
pub fn service_of(url: &str) -> Option<ServiceName> {
    let rest = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    ServiceName::parse(host.strip_suffix(".warren")?)
}

/// Whether a request to vanish is meant for what is read from homes: it names one of them, or everything there is.
pub fn vanishes_here(request: &Event) -> bool {
    let mut relays = request.tags.iter().filter(|tag| tag.kind() == "relay");
    relays.any(|tag| {
        tag.content()
            .is_some_and(|name| name == "ALL_RELAYS" || service_of(name).is_some())
    })
}

/// The address of a home's relay.
pub fn address_of(service: &ServiceName) -> String {
    format!("ws://{service}.warren/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nostr::event::{Kind, SignEvent, UnsignedEvent};
    use nostr::key::Keys;
    use nostr::types::Timestamp;

    fn event(kind: u16, tags: &[&[&str]]) -> Event {
        let tags = tags
            .iter()
            .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
        let keys = Keys::generate();
        let (key, at) = (keys.public_key(), Timestamp::from_secs(1));
        let unsigned = UnsignedEvent::new(key, at, Kind::from_u16(kind), tags, "");
        keys.sign_event(unsigned).unwrap()
    }

    fn id(n: u8) -> String {
        format!("{n:02x}").repeat(32)
    }

    #[test]
    fn what_is_answered_is_found_in_the_new_way_and_the_old() {
        let (a, b, c) = (id(1), id(2), id(3));
        let refs = |tags: &[&[&str]]| {
            let found = references(&event(POST, tags));
            let hex = |id: Option<EventId>| id.map(|id| id.to_hex());
            (hex(found.root), hex(found.parent))
        };
        let both = |root: &str, parent: &str| (Some(root.to_owned()), Some(parent.to_owned()));
        assert_eq!(refs(&[]), (None, None));
        assert_eq!(refs(&[&["e", &a, "", "root"]]), both(&a, &a));
        assert_eq!(
            refs(&[&["e", &b, "", "reply"], &["e", &a, "", "root"]]),
            both(&a, &b)
        );
        assert_eq!(refs(&[&["e", &b, "", "reply"]]), both(&b, &b));
        assert_eq!(refs(&[&["e", &c, "", "mention"]]), (None, None));
        assert_eq!(refs(&[&["e", &a], &["e", &c], &["e", &b]]), both(&a, &b));
        assert_eq!(refs(&[&["e", "nonsense"], &["e", &a]]), both(&a, &a));
        assert_eq!(
            references(&event(REACTION, &[&["e", &a], &["e", &b]])).parent,
            EventId::from_hex(&b).ok()
        );
    }

    #[test]
    fn only_homes_of_this_network_where_somebody_writes_are_asked() {
        let (one, two) = ("a".repeat(52), "b".repeat(52));
        let list = event(
            RELAYS,
            &[
                &["r", "wss://relay.example/"],
                &["r", &format!("ws://{one}.warren/")],
                &["r", &format!("ws://{one}.warren")],
                &["r", &format!("ws://{two}.warren/"), "read"],
                &["r", &format!("ws://{two}.warren.example/")],
                &["r", &format!("ws://{two}.warren:80/x")],
                &["r", &format!("http://{two}.warren/")],
                &["r", "ws://192.168.1.1/"],
            ],
        );
        assert_eq!(homes(&list), [ServiceName::parse(&one).unwrap()]);
        let many: Vec<String> = "abcdefgh"
            .chars()
            .map(|c| format!("ws://{}.warren/", c.to_string().repeat(52)))
            .collect();
        let tags: Vec<[&str; 2]> = many.iter().map(|url| ["r", url.as_str()]).collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tag| tag.as_slice()).collect();
        assert_eq!(homes(&event(RELAYS, &tags)).len(), PLACES);
    }
}
