//! Requests to vanish (NIP-62): everything that a person wrote until then leaves the disk before the answer, and the gift
//! wraps that are addressed to the person with it. None of it comes back.
//!
//! What channels are made of stays as it is, but not in the person's words: the space says again, under its own key, what
//! would be missing without them. The request itself is kept, for its author alone: it says what must not come back.

use std::collections::{BTreeMap, BTreeSet};

use nostr::event::{Event, EventId, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use crate::auth::names_space;
use crate::core::Core;
use crate::groups::rules::Refusal;
use crate::groups::{Channel, Groups, Metadata, Snapshot, Subject, VANISH, kinds};
use crate::record::{ChannelId, StoredEvent, tag_values};
use crate::store::{Query, StoreError};

/// The kind of a request to vanish.
pub const KIND: u16 = 62;
/// A gift wrap (NIP-59).
const GIFT_WRAP: u16 = 1059;
/// Named instead of a space, it means all of them.
const EVERYWHERE: &str = "ALL_RELAYS";
/// Events and bytes of events that are erased at once.
const STEP_EVENTS: usize = 4096;
const STEP_BYTES: usize = 1 << 20;
/// People that one event of the space names, so that clients can read it.
const PEOPLE: usize = 200;
/// Messages that one event of the space says are deleted.
const IDS: usize = 200;
/// Receivers of a gift wrap that are looked at. It should have one.
const RECEIVERS: usize = 16;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Vanish {
    /// The event that asks.
    pub request: EventId,
    /// Who vanishes.
    pub person: PublicKey,
    /// Everything of this second and before goes, seconds since 1970.
    pub until: u64,
}

impl Vanish {
    /// What an event asks for; `None` when it is no such request.
    pub fn of(event: &Event) -> Option<Self> {
        (event.kind.as_u16() == KIND).then(|| Self {
            request: event.id,
            person: event.pubkey,
            until: event.created_at.as_secs(),
        })
    }

    fn covers(&self, event: &Event) -> bool {
        event.pubkey == self.person && event.created_at.as_secs() <= self.until
    }
}

/// Whether a request to vanish may be taken. Anybody may vanish, also who never belonged.
pub fn check(event: &Event, service: &str) -> Result<(), Refusal> {
    let here = |name: &str| name == EVERYWHERE || names_space(name, service);
    if !tag_values(event, "relay").any(here) {
        return Err("invalid: a relay tag must name this space, or say ALL_RELAYS".into());
    }
    if event.tags.expiration().is_some() {
        return Err("invalid: a request to vanish does not expire".into());
    }
    Ok(())
}

/// Whether there is anything here that goes.
pub fn concerns_us(vanish: &Vanish, groups: &Groups, core: &Core) -> Result<bool, StoreError> {
    if groups.is_member(&vanish.person) || core.files.knows(&vanish.person) {
        return Ok(true);
    }
    for filter in filters(vanish) {
        let page = core.store.query(&question(&filter, None, 1))?;
        if !page.events.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses what a request to vanish has taken away: what the person wrote before it, and gift wraps to the person.
pub fn check_gone(event: &Event, core: &Core) -> Result<Option<Refusal>, StoreError> {
    let kind = event.kind.as_u16();
    if kind == KIND {
        return Ok(None);
    }
    let mut people = vec![event.pubkey];
    if kind == GIFT_WRAP {
        let receivers = tag_values(event, "p").take(RECEIVERS);
        people.extend(receivers.filter_map(|key| PublicKey::from_hex(key).ok()));
    }
    let requests = Filter::new()
        .kind(Kind::from_u16(KIND))
        .authors(people)
        .since(event.created_at);
    let found = core.store.query(&question(&requests, None, 1))?;
    Ok((!found.events.is_empty())
        .then(|| "blocked: this belongs to somebody who asked to vanish".into()))
}

/// What a person wrote and was sent, up to the request.
fn filters(vanish: &Vanish) -> [Filter; 2] {
    let until = Timestamp::from_secs(vanish.until);
    [
        Filter::new().author(vanish.person).until(until),
        Filter::new()
            .kind(Kind::from_u16(GIFT_WRAP))
            .custom_tag(SingleLetterTag::LOWERCASE_P, vanish.person.to_hex())
            .until(until),
    ]
}

fn question(filter: &Filter, after: Option<crate::store::Cursor>, limit: usize) -> Query<'_> {
    Query {
        filter,
        without: &[],
        after,
        limit,
        bytes: STEP_BYTES,
        now: 0,
    }
}

/// Erases what goes, a bounded part at a time, and the person's files. When it returns `Ok(true)`, all of it is gone from
/// the disk.
pub fn erase(vanish: &Vanish, core: &Core) -> Result<bool, StoreError> {
    for filter in filters(vanish) {
        let mut after = None;
        loop {
            let page = core.store.query(&question(&filter, after, STEP_EVENTS))?;
            let ids: Vec<EventId> = page
                .events
                .iter()
                .filter(|event| event.event.kind.as_u16() != KIND)
                .map(|event| event.event.id)
                .collect();
            if !ids.is_empty() && !core.store.append(&[], &ids)?.erased {
                return Ok(false);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    if let Err(error) = core.files.forget_person(&vanish.person, vanish.until) {
        log::error!("the files of somebody who vanishes cannot be erased: {error}");
        return Ok(false);
    }
    Ok(true)
}

/// Ends what a crash cut short: once at the start.
pub fn finish_all(core: &Core) -> Result<(), StoreError> {
    let mut open = Vec::new();
    core.store.replay(&[KIND], &mut |event| {
        open.extend(Vanish::of(&event.event));
    })?;
    for vanish in open {
        erase(&vanish, core)?;
    }
    Ok(())
}

/// An event of the space: kind and tags.
pub type Statement = (u16, Vec<Vec<String>>);

/// What the space says so that the channels are, without the person's words, as they are now without the person.
/// `unstored`: events that will be stored before.
pub fn statements(
    vanish: &Vanish,
    now: &Groups,
    unstored: &[std::sync::Arc<StoredEvent>],
    core: &Core,
) -> Result<Vec<Statement>, StoreError> {
    let mut left = Groups::new(core.keys.public_key());
    let mut deleted: BTreeMap<ChannelId, Vec<Vec<String>>> = BTreeMap::new();
    let mut keep = |event: &StoredEvent| {
        if !vanish.covers(&event.event) {
            left.apply(&event.event, event.channel.as_ref());
        } else if let Some(channel) = &event.channel
            && event.event.kind.as_u16() == kinds::DELETE_EVENT
        {
            let ids = tag_values(&event.event, "e").map(|id| words(&["e", id]));
            deleted.entry(channel.clone()).or_default().extend(ids);
        }
    };
    core.store.replay(&kinds::STATE, &mut keep)?;
    unstored.iter().for_each(|event| keep(event));
    let mut channels: Vec<_> = now.iter().collect();
    channels.sort_by_key(|(id, _)| *id);
    let mut statements = Vec::new();
    for (id, channel) in channels {
        let known = Known {
            id,
            now: channel,
            left: left.get(id),
        };
        describe(&known, now, vanish, core, &mut statements);
    }
    // What the person deleted stays so.
    for (id, _) in left.iter().filter(|(id, _)| now.get(id).is_none()) {
        let tags = vec![words(&["h", id.as_str()])];
        statements.push((kinds::DELETE_GROUP, tags));
    }
    if now.is_member(&vanish.person) {
        let person = vanish.person.to_hex();
        let tags = vec![
            words(&["-"]),
            words(&["act", VANISH]),
            words(&["p", &person]),
        ];
        statements.push((kinds::MEMBER_REMOVED, tags));
    }
    // What was deleted stays so.
    for (channel, ids) in deleted {
        for ids in ids.chunks(IDS) {
            let mut tags = vec![words(&["h", channel.as_str()])];
            tags.extend_from_slice(ids);
            statements.push((kinds::DELETE_EVENT, tags));
        }
    }
    Ok(statements)
}

/// A channel, and what would be left of it.
struct Known<'a> {
    id: &'a ChannelId,
    now: &'a Channel,
    left: Option<&'a Channel>,
}

/// What has to be said of one channel.
fn describe(
    known: &Known<'_>,
    groups: &Groups,
    vanish: &Vanish,
    core: &Core,
    out: &mut Vec<Statement>,
) {
    let &Known {
        id,
        now: channel,
        left,
    } = known;
    let mut say = |kind: u16, tags: Vec<Vec<String>>| {
        let mut all = vec![words(&["h", id.as_str()])];
        all.extend(tags);
        out.push((kind, all));
    };
    let space = core.keys.public_key();
    let mut wanted = channel.members.clone();
    wanted.remove(&vanish.person);
    let founded = Channel {
        metadata: Metadata::default(),
        founder: space,
        members: Default::default(),
        children: Vec::new(),
        pins: Vec::new(),
        ..channel.clone()
    };
    if left.is_none() {
        say(kinds::CREATE_GROUP, Vec::new());
    }
    let left = left.unwrap_or(&founded);
    if left.metadata != channel.metadata
        && let Some(event) = core
            .snapshots
            .get(groups, &Subject::Channel(id.clone(), Snapshot::Metadata))
    {
        let tags = event.event.tags.iter().filter(|tag| tag.kind() != "d");
        say(
            kinds::EDIT_METADATA,
            tags.map(|tag| tag.as_slice().to_vec()).collect(),
        );
    }
    // It must come out the same from what is left as from what is in memory now.
    let gone: BTreeSet<PublicKey> = left
        .members
        .keys()
        .chain(channel.members.keys())
        .filter(|person| !wanted.contains_key(*person))
        .copied()
        .collect();
    let gone: Vec<_> = gone
        .iter()
        .map(|person| words(&["p", &person.to_hex()]))
        .collect();
    for people in gone.chunks(PEOPLE) {
        say(kinds::REMOVE_USER, people.to_vec());
    }
    let come: Vec<_> = wanted
        .iter()
        .filter(|(person, roles)| {
            [left, channel]
                .iter()
                .any(|members| members.members.get(person) != Some(roles))
        })
        .map(|(person, roles)| {
            let mut tag = words(&["p", &person.to_hex()]);
            tag.extend(roles.0.iter().map(|role| role.to_string()));
            tag
        })
        .collect();
    for people in come.chunks(PEOPLE) {
        say(kinds::PUT_USER, people.to_vec());
    }
    if left.pins != channel.pins {
        let pins = channel.pins.iter();
        let pins = pins.map(|(name, value)| words(&[&name.to_string(), value]));
        say(kinds::PIN_LIST, pins.collect());
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::Directory;
    use crate::store::{EmbeddedStore, Store};
    use crate::testing::{Person, SERVICE};
    use crate::{Limits, Space, SpaceConfig};

    #[test]
    fn nip62_what_a_crash_cut_short_is_finished_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let config = SpaceConfig {
            dir: dir.path().to_owned(),
            name: "Garden club".into(),
            about: String::new(),
            service: SERVICE.into(),
            owner: None,
            limits: Limits::default(),
            stores: crate::stores::Stores::default(),
        };
        let open = || Space::open(config.clone(), Arc::new(|| 2000)).unwrap();
        let before = open().summary().events;
        let ann = Person::new(1);
        let stored = |kind, at, tags: &[&[&str]]| {
            Arc::new(StoredEvent {
                event: ann.event(kind, at, tags, ""),
                channel: None,
            })
        };
        let request = stored(KIND, 1000, &[&["relay", "ALL_RELAYS"]]);
        let (old, new) = (stored(0, 900, &[]), stored(10002, 1100, &[]));
        {
            let disk = Directory::open(&dir.path().join("journal")).unwrap();
            let index = dir.path().join("index.sqlite");
            let store = EmbeddedStore::open(Arc::new(disk), &index).unwrap();
            store.append(&[old, new, request], &[]).unwrap();
            assert_eq!(store.stats().events, before + 3);
        }
        assert_eq!(open().summary().events, before + 2, "the old one is gone");
    }
}
