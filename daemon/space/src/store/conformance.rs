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
use crate::search::apply_operators;
use crate::testing::{Person, channel};

fn embedded(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(
        Arc::new(Directory::open(&dir.join("journal")).unwrap()),
        &dir.join("index.sqlite"),
    )
    .unwrap()
}

/// A store on the server of these tests, with nothing in it.
#[cfg(feature = "postgres")]
fn on_postgres() -> super::PostgresStore {
    use super::postgres::tests::{at, new_schema};
    let server = crate::testing::servers::PostgresServer::shared();
    super::PostgresStore::open(&at(server), &new_schema()).unwrap()
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
    for (event, count) in [(&old, 1), (&other, 2), (&new, 2), (&old, 2)] {
        store.append(&[Arc::clone(event)], &[]).unwrap();
        assert_eq!(store.stats().events, count, "also before it is indexed");
        store.maintain().unwrap();
        assert_eq!(store.stats().events, count);
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
    #[cfg(feature = "postgres")]
    basics(&on_postgres());
}

#[test]
fn every_store_keeps_the_newest_version_only() {
    let dir = tempfile::tempdir().unwrap();
    replaceables(&MemoryStore::default());
    replaceables(&embedded(dir.path()));
    #[cfg(feature = "postgres")]
    replaceables(&on_postgres());
}

fn searches(store: &dyn Store) {
    let texts = [
        (1, 9, "Who has a red ladder?"),
        (1, 9, "A ladder, and a red one"),
        (2, 1, "梯子を東京都で"),
        (1, 7, "ladder"),
        (2, 0, r#"{"name":"Ladder","about":"red"}"#),
        (2, 9, "https://example.com/ladder.jpg"),
    ];
    let events: Vec<_> = texts
        .iter()
        .zip(100u64..)
        .map(|((person, kind, text), at)| stored(*person, *kind, at, &[&["h", "c"]], text))
        .collect();
    let found = |search: &str, without: &[ChannelId]| {
        let mut filter = Filter::new().search(search);
        apply_operators(&mut filter);
        let found = all(store, &filter, without, 0, 2);
        let place = |id| {
            events
                .iter()
                .position(|event| event.event.id == id)
                .unwrap()
        };
        found.into_iter().map(place).collect::<Vec<_>>()
    };
    store.append(&events, &[]).unwrap();
    for _in_index in [false, true] {
        assert_eq!(found("ladder", &[]), [5, 4, 1, 0], "newest first");
        assert_eq!(found("LADDER red", &[]), [1, 0]);
        assert_eq!(found("\"red ladder\"", &[]), [0]);
        assert_eq!(found("東京", &[]), [2]);
        assert_eq!(found("京", &[]), [2]);
        assert_eq!(found("has:image", &[]), [5]);
        assert_eq!(found("in:c before:102 red", &[]), [1, 0]);
        assert_eq!(found("in:d red", &[]), [0usize; 0]);
        assert_eq!(found("red", &[channel("c")]), [0usize; 0]);
        let (hex, other) = (Person::new(2).key().to_hex(), Person::new(3).key().to_hex());
        assert_eq!(found(&format!("from:{hex}"), &[]), [5, 4, 2]);
        assert_eq!(found(&format!("from:{hex} ladder"), &[]), [5, 4]);
        assert_eq!(found(&format!("from:{other} ladder"), &[]), [0usize; 0]);
        for odd in [
            "\"",
            "*",
            "AND",
            "NEAR(",
            "a\"b",
            "-x ^y {z}:",
            "c=",
            "'; --",
        ] {
            found(odd, &[]);
        }
        store.maintain().unwrap();
    }
    store.append(&[], &[events[1].event.id]).unwrap();
    assert_eq!(found("red", &[]), [0]);
    let renamed = stored(2, 0, 200, &[], r#"{"name":"Other"}"#);
    store.append(&[renamed], &[]).unwrap();
    store.maintain().unwrap();
    assert_eq!(found("ladder", &[]), [5, 0]);
}

#[test]
fn nip50_every_store_finds_words() {
    let dir = tempfile::tempdir().unwrap();
    searches(&MemoryStore::default());
    searches(&embedded(dir.path()));
    #[cfg(feature = "postgres")]
    searches(&on_postgres());
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
        words: usize,
    },
    Erase(usize),
    Maintain,
    Reopen,
    LoseIndex,
}

/// Words that texts are made of and that are searched for.
const WORDS: [&str; 6] = [
    "red",
    "Ladder",
    "größe",
    "東京都",
    "ladders https://example.com/a.png",
    "https://example.com",
];
const SEARCHES: [&str; 14] = [
    "",
    "red",
    "ladder red",
    "\"red ladder\"",
    "ladd*",
    "GROSSE",
    "grosse red",
    "東京",
    "京都",
    "都",
    "\"東京都 red\"",
    "has:image",
    "has:link red",
    "nothing",
];

/// A text of some of the words, another one for each `n`.
fn content(kind: u16, words: usize, n: usize) -> String {
    let text: Vec<&str> = WORDS
        .iter()
        .enumerate()
        .filter(|(bit, _)| words >> bit & 1 == 1)
        .map(|(_, word)| *word)
        .collect();
    let text = format!("{} n{n}", text.join(" "));
    match kind {
        0 => serde_json::json!({ "name": text }).to_string(),
        _ => text,
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1u8..4, prop_oneof![Just(0u16), Just(1), Just(9), Just(30023)], 100u64..110, 0u8..3, 0u8..3, 0usize..64)
            .prop_map(|(person, kind, at, topic, channel, words)| Step::Add { person, kind, at, topic, channel, words }),
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
        prop::option::of(prop::sample::select(&SEARCHES[..])),
    )
        .prop_map(|(people, kinds, topics, channels, since, until, search)| {
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
            filter.search = search.map(str::to_owned);
            apply_operators(&mut filter);
            filter
        })
}

/// A store that can be closed and opened again.
trait Place {
    fn open(&self) -> Box<dyn Store>;
    fn lose_index(&self) {}
}

impl Place for tempfile::TempDir {
    fn open(&self) -> Box<dyn Store> {
        Box::new(embedded(self.path()))
    }

    fn lose_index(&self) {
        super::index::Index::remove(&self.path().join("index.sqlite"));
    }
}

#[cfg(feature = "postgres")]
impl Place for String {
    fn open(&self) -> Box<dyn Store> {
        let server = super::postgres::tests::at(crate::testing::servers::PostgresServer::shared());
        Box::new(super::PostgresStore::open(&server, self).unwrap())
    }
}

fn answers_as_the_plain_one(
    place: &dyn Place,
    steps: Vec<Step>,
    filters: &[Filter],
    page: usize,
) -> Result<(), TestCaseError> {
    let plain = MemoryStore::default();
    let mut store = place.open();
    let mut added: Vec<EventId> = Vec::new();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Add {
                person,
                kind,
                at,
                topic,
                channel,
                words,
            } => {
                let (topic, channel) = (format!("topic{topic}"), format!("channel{channel}"));
                let tags: &[&[&str]] = &[&["h", &channel], &["t", &topic], &["d", &topic]];
                let event = stored(person, kind, at, tags, &content(kind, words, n));
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
                    place.lose_index();
                }
                store = place.open();
            }
        }
        prop_assert_eq!(store.stats().events, plain.stats().events);
    }
    for filter in filters {
        for without in [&[][..], &[channel("channel1")][..]] {
            prop_assert_eq!(
                all(&*store, filter, without, 0, page),
                all(&plain, filter, without, 0, 1000)
            );
        }
    }
    prop_assert_eq!(walked(&*store), walked(&plain));
    store.maintain().unwrap();
    prop_assert_eq!(store.stats().events, plain.stats().events);
    for id in &added {
        prop_assert_eq!(store.get(id).unwrap(), plain.get(id).unwrap());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_store_answers_as_the_plain_one_whatever_happened(steps in prop::collection::vec(step(), 1..60), filters in prop::collection::vec(filter(), 8), page in 1usize..7) {
        answers_as_the_plain_one(&tempfile::tempdir().unwrap(), steps, &filters, page)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn postgresql_answers_as_the_plain_one_whatever_happened(steps in prop::collection::vec(step(), 1..60), filters in prop::collection::vec(filter(), 8), page in 1usize..7) {
        answers_as_the_plain_one(&super::postgres::tests::new_schema(), steps, &filters, page)?;
    }
}

#[test]
fn what_was_here_before_a_restart_is_found_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = [9u16, 5, 0, 5, 65_535];
    let store = embedded(dir.path());
    for (kind, at) in kinds.iter().zip(1..) {
        store.append(&[stored(1, *kind, at, &[], "")], &[]).unwrap();
        if at == 3 {
            store.maintain().unwrap(); // some in the index, some behind it
        }
    }
    let check = |store: &EmbeddedStore| {
        let count = |kind: u16| all(store, &Filter::new().kind(Kind::from_u16(kind)), &[], 0, 10);
        assert_eq!(
            [0, 5, 9, 65_535].map(|kind| count(kind).len()),
            [1, 2, 1, 1]
        );
        assert!(count(7).is_empty());
    };
    check(&store);
    drop(store);
    check(&embedded(dir.path()));
}
