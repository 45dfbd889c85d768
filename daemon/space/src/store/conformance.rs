//! What every store must do, run against each of them. A new store adds one line to each list at the end.

use std::path::Path;
use std::sync::Arc;

use nostr::event::{EventId, Kind};
use nostr::filter::Filter;
use proptest::prelude::*;

use super::memory::MemoryStore;
use super::{EmbeddedStore, Query, Store};
use crate::disk::Directory;
use crate::record::{ChannelId, StoredEvent};
use crate::testing::{Person, channel};

fn embedded(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(
        Arc::new(Directory::open(&dir.join("journal")).unwrap()),
        &dir.join("index.sqlite"),
    )
    .unwrap()
}

fn stored(person: u8, kind: u16, at: u64, tags: &[&[&str]], content: &str) -> Arc<StoredEvent> {
    let event = Person::new(person).event(kind, at, tags, content);
    let id = crate::record::tag_values(&event, "h")
        .next()
        .and_then(ChannelId::parse);
    Arc::new(StoredEvent { event, channel: id })
}

/// The whole answer, fetched in pages of `page`.
fn all(
    store: &dyn Store,
    filter: &Filter,
    without: &[ChannelId],
    now: u64,
    page: usize,
) -> Vec<EventId> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let query = Query {
            filter,
            without,
            after,
            limit: page,
            bytes: usize::MAX,
            now,
        };
        let got = store.query(&query).unwrap();
        assert!(got.events.len() <= page);
        found.extend(got.events.iter().map(|event| event.event.id));
        after = got.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Everything, part by part.
fn walked(store: &dyn Store) -> Vec<EventId> {
    let mut ids = Vec::new();
    let mut part = Some(0);
    while let Some(number) = part {
        let walked = store.walk(number).unwrap();
        ids.extend(walked.events.iter().map(|event| event.event.id));
        part = walked.next;
    }
    ids
}

fn basics(store: &dyn Store) {
    let first = stored(1, 9, 100, &[&["h", "c"]], "first");
    let second = stored(2, 9, 101, &[&["h", "c"], &["expiration", "500"]], "second");
    store
        .append(&[Arc::clone(&first), Arc::clone(&second)], &[])
        .unwrap();
    assert_eq!(
        store.get(&first.event.id).unwrap(),
        Some(Arc::clone(&first))
    );
    assert_eq!(store.stats().events, 2);
    let any = Filter::new();
    assert_eq!(
        all(store, &any, &[], 0, 1),
        [second.event.id, first.event.id]
    );
    assert_eq!(all(store, &any, &[channel("c")], 0, 10), []);
    assert_eq!(
        all(store, &any, &[], 500, 10),
        [first.event.id],
        "expired events are not shown"
    );
    assert_eq!(store.expired(500, 10).unwrap(), [second.event.id]);
    assert_eq!(store.expired(499, 10).unwrap(), []);
    let prefix = *first.event.id.as_bytes().first_chunk::<4>().unwrap();
    assert!(store.has_prefix(&channel("c"), prefix).unwrap());
    assert!(!store.has_prefix(&channel("d"), prefix).unwrap());
    let mut replayed = Vec::new();
    store
        .replay(&[9], &mut |event| replayed.push(event.event.id))
        .unwrap();
    assert_eq!(replayed, [first.event.id, second.event.id]);
    assert!(store.append(&[], &[first.event.id]).unwrap().erased);
    assert_eq!(store.get(&first.event.id).unwrap(), None);
    assert_eq!(all(store, &any, &[], 0, 10), [second.event.id]);
}

fn replaceables(store: &dyn Store) {
    let old = stored(1, 0, 100, &[], "old");
    let new = stored(1, 0, 200, &[], "new");
    let other = stored(2, 0, 150, &[], "other");
    for event in [&old, &other, &new, &old] {
        store.append(&[Arc::clone(event)], &[]).unwrap();
        store.maintain().unwrap();
    }
    assert_eq!(
        all(store, &Filter::new().kind(Kind::from_u16(0)), &[], 0, 10),
        [new.event.id, other.event.id]
    );
    assert_eq!(store.get(&old.event.id).unwrap(), None);
    assert_eq!(all(store, &Filter::new().id(old.event.id), &[], 0, 10), []);
}

#[test]
fn every_store_keeps_finds_and_erases() {
    let dir = tempfile::tempdir().unwrap();
    basics(&MemoryStore::default());
    basics(&embedded(dir.path()));
}

#[test]
fn every_store_keeps_the_newest_version_only() {
    let dir = tempfile::tempdir().unwrap();
    replaceables(&MemoryStore::default());
    replaceables(&embedded(dir.path()));
}

/// One thing that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Add {
        person: u8,
        kind: u16,
        at: u64,
        topic: u8,
        channel: u8,
    },
    Erase(usize),
    Maintain,
    Reopen,
    LoseIndex,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1u8..4, prop_oneof![Just(0u16), Just(1), Just(9), Just(30023)], 100u64..110, 0u8..3, 0u8..3)
            .prop_map(|(person, kind, at, topic, channel)| Step::Add { person, kind, at, topic, channel }),
        2 => any::<usize>().prop_map(Step::Erase),
        1 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseIndex),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let list = |n: std::ops::Range<u8>| prop::option::of(prop::collection::btree_set(n, 1..3));
    (
        list(1..4),
        prop::option::of(prop::collection::btree_set(
            prop_oneof![Just(0u16), Just(1), Just(9), Just(30023)],
            1..3,
        )),
        list(0..3),
        list(0..3),
        prop::option::of(100u64..110),
        prop::option::of(100u64..110),
    )
        .prop_map(|(people, kinds, topics, channels, since, until)| {
            use nostr::filter::SingleLetterTag;
            use nostr::types::Timestamp;
            let mut filter = Filter::new();
            filter.authors =
                people.map(|people| people.into_iter().map(|n| Person::new(n).key()).collect());
            filter.kinds = kinds.map(|kinds| kinds.into_iter().map(Kind::from_u16).collect());
            if let Some(topics) = topics {
                filter = filter.custom_tags(
                    SingleLetterTag::LOWERCASE_T,
                    topics.into_iter().map(|n| format!("topic{n}")),
                );
            }
            if let Some(channels) = channels {
                filter = filter.custom_tags(
                    SingleLetterTag::LOWERCASE_H,
                    channels.into_iter().map(|n| format!("channel{n}")),
                );
            }
            filter.since = since.map(Timestamp::from_secs);
            filter.until = until.map(Timestamp::from_secs);
            filter
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_store_answers_as_the_plain_one_whatever_happened(steps in prop::collection::vec(step(), 1..60), filters in prop::collection::vec(filter(), 8), page in 1usize..7) {
        let dir = tempfile::tempdir().unwrap();
        let plain = MemoryStore::default();
        let mut store = embedded(dir.path());
        let mut added: Vec<EventId> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add { person, kind, at, topic, channel } => {
                    let (topic, channel) = (format!("topic{topic}"), format!("channel{channel}"));
                    let event = stored(person, kind, at, &[&["h", &channel], &["t", &topic], &["d", &topic]], &format!("{n}"));
                    added.push(event.event.id);
                    plain.append(&[Arc::clone(&event)], &[]).unwrap();
                    store.append(&[event], &[]).unwrap();
                }
                Step::Erase(which) if !added.is_empty() => {
                    let id = added[which % added.len()];
                    plain.append(&[], &[id]).unwrap();
                    prop_assert!(store.append(&[], &[id]).unwrap().erased);
                }
                Step::Erase(_) => {}
                Step::Maintain => store.maintain().unwrap(),
                Step::Reopen | Step::LoseIndex => {
                    drop(store);
                    if matches!(step, Step::LoseIndex) {
                        super::index::Index::remove(&dir.path().join("index.sqlite"));
                    }
                    store = embedded(dir.path());
                }
            }
        }
        for filter in &filters {
            for without in [&[][..], &[channel("channel1")][..]] {
                prop_assert_eq!(all(&store, filter, without, 0, page), all(&plain, filter, without, 0, 1000));
            }
        }
        prop_assert_eq!(walked(&store), walked(&plain));
        for id in &added {
            prop_assert_eq!(store.get(id).unwrap(), plain.get(id).unwrap());
        }
    }
}
