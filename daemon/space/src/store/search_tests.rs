//! The words of the index on disk: how an older index becomes one with words, how words leave it, how much is looked at.

use std::path::Path;
use std::sync::Arc;

use nostr::event::EventId;
use nostr::filter::Filter;
use rusqlite::Connection;

use super::{EmbeddedStore, Query, Store};
use crate::disk::Directory;
use crate::record::StoredEvent;
use crate::search::apply_operators;
use crate::testing::{Person, channel};

/// The tables as the release before had them.
const VERSION_1: &str = "
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, offset INTEGER NOT NULL);
INSERT INTO checkpoint VALUES (1, 1, 32);
CREATE TABLE segments (number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, dead INTEGER NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, id8 INTEGER NOT NULL, author8 INTEGER NOT NULL, kind INTEGER NOT NULL,
  created_at INTEGER NOT NULL, channel8 INTEGER, expires INTEGER, address8 INTEGER,
  segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX events_id ON events (id8);
CREATE INDEX events_author ON events (author8, created_at);
CREATE INDEX events_kind ON events (kind, created_at);
CREATE INDEX events_time ON events (created_at);
CREATE INDEX events_expires ON events (expires) WHERE expires IS NOT NULL;
CREATE INDEX events_address ON events (address8) WHERE address8 IS NOT NULL;
CREATE TABLE tags (tag8 INTEGER NOT NULL, created_at INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (tag8, created_at, seq)) WITHOUT ROWID;
CREATE TABLE replaced (address8 INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
  PRIMARY KEY (address8, segment, offset)) WITHOUT ROWID;
INSERT INTO events VALUES (1, 2, 3, 9, 100, NULL, NULL, NULL, 1, 32, 400);
PRAGMA user_version = 1;
";

fn open(dir: &Path) -> EmbeddedStore {
    let journal = Directory::open(&dir.join("journal")).unwrap();
    EmbeddedStore::open(Arc::new(journal), &dir.join("index.sqlite")).unwrap()
}

fn message(at: u64, content: &str) -> Arc<StoredEvent> {
    Arc::new(StoredEvent {
        event: Person::new(1).event(9, at, &[&["h", "c"]], content),
        channel: Some(channel("c")),
    })
}

fn found(store: &dyn Store, mut filter: Filter, limit: usize) -> Vec<EventId> {
    apply_operators(&mut filter);
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = Query {
            filter: &filter,
            without: &[],
            after,
            limit,
            bytes: usize::MAX,
            now: 0,
        };
        let page = store.query(&query).unwrap();
        found.extend(page.events.iter().map(|event| event.event.id));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Whether the files of the index hold these bytes.
fn index_holds(dir: &Path, bytes: &[u8]) -> bool {
    ["", "-wal", "-journal"].iter().any(|suffix| {
        let file = dir.join(format!("index.sqlite{suffix}"));
        let held = std::fs::read(file).unwrap_or_default();
        held.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn an_index_of_the_release_before_is_built_anew_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let event = message(100, "a ladder");
    {
        let store = open(dir.path());
        store.append(&[Arc::clone(&event)], &[]).unwrap();
    }
    super::index::Index::remove(&dir.path().join("index.sqlite"));
    let old = Connection::open(dir.path().join("index.sqlite")).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.close().unwrap();
    let store = open(dir.path());
    let search = Filter::new().search("ladder");
    assert_eq!(found(&store, search.clone(), 10), [event.event.id]);
    assert_eq!(store.get(&event.event.id).unwrap(), Some(event.clone()));
    assert_eq!(store.stats().events, 1);
    drop(store);
    let index = Connection::open(dir.path().join("index.sqlite")).unwrap();
    let version: i64 = index
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, super::index::VERSION);
    drop(index);
    assert_eq!(found(&open(dir.path()), search, 10), [event.event.id]);
}

#[test]
fn words_of_what_was_erased_are_overwritten_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut events: Vec<_> = (0..300)
        .map(|n| message(100 + n, &format!("ordinary words number{n}")))
        .collect();
    events.insert(150, message(250, "zanzibarian ordinary"));
    // In several batches, so that FTS5 has several lists and has merged some.
    for batch in events.chunks(10) {
        store.append(batch, &[]).unwrap();
        store.maintain().unwrap();
    }
    assert!(
        index_holds(dir.path(), b"zanzibarian"),
        "a word is there as it is"
    );
    let secret = events[150].event.id;
    assert!(store.append(&[], &[secret]).unwrap().erased);
    assert!(!index_holds(dir.path(), b"zanzibarian"));
    assert!(
        !index_holds(dir.path(), b"anzibaria"),
        "also without its first letter"
    );
    assert_eq!(found(&store, Filter::new().search("zanzibarian"), 10), []);
    assert_eq!(
        found(&store, Filter::new().search("ordinary"), 100).len(),
        300
    );
}

#[test]
fn after_an_erasure_that_the_index_did_not_hear_of_its_words_are_gone_too() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, erased) = (message(100, "kept words"), message(101, "erased words"));
    let before = dir.path().join("before.sqlite");
    {
        let store = open(dir.path());
        store
            .append(&[Arc::clone(&kept), Arc::clone(&erased)], &[])
            .unwrap();
        store.maintain().unwrap();
    }
    std::fs::copy(dir.path().join("index.sqlite"), &before).unwrap();
    {
        let store = open(dir.path());
        assert!(store.append(&[], &[erased.event.id]).unwrap().erased);
    }
    // As after a loss of power: the journal was written anew, the index is as it was.
    super::index::Index::remove(&dir.path().join("index.sqlite"));
    std::fs::rename(&before, dir.path().join("index.sqlite")).unwrap();
    assert!(
        index_holds(dir.path(), b"erased"),
        "the index that knows it still is in place"
    );
    let store = open(dir.path());
    assert!(!index_holds(dir.path(), b"erased"));
    let words = Filter::new().search("words");
    assert_eq!(found(&store, words, 10), [kept.event.id]);
}

#[test]
fn a_search_goes_on_behind_thousands_that_it_does_not_want() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // Found by their word, and sorted out by their topic: more than one step looks at.
    let mut events: Vec<_> = (0..5000)
        .map(|n| message(1000 + n / 3, &format!("common {n}")))
        .collect();
    let topic = Person::new(1).event(9, 10, &[&["h", "c"], &["t", "rare"]], "common");
    events.push(Arc::new(StoredEvent {
        event: topic,
        channel: Some(channel("c")),
    }));
    for batch in events.chunks(1000) {
        store.append(batch, &[]).unwrap();
        store.maintain().unwrap();
    }
    let rare = Filter::new().hashtag("rare").search("common");
    assert_eq!(found(&store, rare.clone(), 3), [events[5000].event.id]);
    // The newest still wait in memory: they come first, and once.
    let late = Person::new(1).event(9, 9000, &[&["h", "c"], &["t", "rare"]], "common");
    let early = Person::new(1).event(9, 5, &[&["h", "c"], &["t", "rare"]], "common");
    let waiting = [late, early].map(|event| {
        Arc::new(StoredEvent {
            event,
            channel: Some(channel("c")),
        })
    });
    store.append(&waiting, &[]).unwrap();
    let expected = [
        waiting[0].event.id,
        events[5000].event.id,
        waiting[1].event.id,
    ];
    assert_eq!(found(&store, rare.clone(), 1), expected);
    assert_eq!(found(&store, rare, 10), expected);
    let all = found(&store, Filter::new().search("common"), 7);
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (5003, 5003));
}

#[test]
fn beginnings_are_found_of_few_words_and_of_many_in_large_channels_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // "d" has more than 2000 events, "c" fewer.
    let in_channel = |n: u64| if n.is_multiple_of(3) { "c" } else { "d" };
    let events: Vec<_> = (0..3300)
        .map(|n| {
            let tags: &[&[&str]] = &[&["h", in_channel(n)]];
            let text = format!("zan{n:04} zany{} everywhere", n % 2);
            let event = Person::new(1 + (n % 2) as u8).event(9, 100 + n, tags, &text);
            let channel = Some(channel(in_channel(n)));
            Arc::new(StoredEvent { event, channel })
        })
        .collect();
    for batch in events.chunks(550) {
        store.append(batch, &[]).unwrap();
        store.maintain().unwrap();
    }
    let expected = |wanted: &dyn Fn(u64) -> bool| -> Vec<EventId> {
        let numbers = (0..3300_u64).rev().filter(|n| wanted(*n));
        numbers.map(|n| events[n as usize].event.id).collect()
    };
    let all = |search: &str| found(&store, Filter::new().search(search), 700);
    let (c, d) = (|n: u64| n.is_multiple_of(3), |n: u64| !n.is_multiple_of(3));
    let hundred = |n: u64| n / 100 == 12;
    assert_eq!(all("zan*"), expected(&|_| true));
    assert_eq!(all("zan12*"), expected(&hundred));
    let odd = expected(&|n| hundred(n) && n % 2 == 1);
    assert_eq!(all("zan12* everywhere zany1"), odd);
    assert_eq!(all("zan12* in:c"), expected(&|n| hundred(n) && c(n)));
    assert_eq!(
        all("zan12* everywhere in:d"),
        expected(&|n| hundred(n) && d(n))
    );
    assert_eq!(all("zan* zany* in:d"), expected(&d));
    assert_eq!(all("zanz*"), []);
    assert_eq!(all("zanz* in:d everywhere"), []);
    let from = format!("from:{}", Person::new(2).key().to_hex());
    let both = expected(&|n| n % 2 == 1 && d(n));
    assert_eq!(all(&format!("everywhere {from} in:d")), both);
    assert_eq!(all(&format!("zan* zany1 {from} in:d")), both);
    assert_eq!(all(&format!("{from} in:d everywhere in:e")), both);
    assert_eq!(all(&format!("zany0 {from} in:d")), []);
    // What may not be read is not found, wherever it is looked for.
    for (search, hidden, rest) in [
        ("zan12* everywhere", "d", expected(&|n| hundred(n) && c(n))),
        (
            "zan12* everywhere in:d",
            "c",
            expected(&|n| hundred(n) && d(n)),
        ),
        (
            "zan12* everywhere in:c in:d",
            "c",
            expected(&|n| hundred(n) && d(n)),
        ),
        ("zan12* everywhere in:d", "d", vec![]),
    ] {
        let mut filter = Filter::new().search(search);
        apply_operators(&mut filter);
        let query = Query {
            filter: &filter,
            without: &[channel(hidden)],
            after: None,
            limit: 700,
            bytes: usize::MAX,
            now: 0,
        };
        let page = store.query(&query).unwrap();
        let ids: Vec<_> = page.events.iter().map(|event| event.event.id).collect();
        assert_eq!(ids, rest, "{search} without {hidden}");
    }
}

#[test]
fn a_beginning_that_as_many_words_have_as_are_looked_for_one_by_one_and_one_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let events: Vec<_> = (0..257)
        .map(|n| message(100 + n, &format!("zan{n:03}")))
        .collect();
    store.append(&events[..256], &[]).unwrap();
    store.maintain().unwrap();
    let search = Filter::new().search("zan*");
    assert_eq!(found(&store, search.clone(), 300).len(), 256);
    store.append(&events[256..], &[]).unwrap();
    store.maintain().unwrap();
    assert_eq!(found(&store, search, 300).len(), 257);
}
