//! What every released version of a store holds in its fixture, below `tests/fixtures`. Events are never made anew: a
//! fixture has the ids of the day it was made, and these are compared.

use std::path::Path;
use std::sync::Arc;

use nostr::filter::Filter;

use super::{EmbeddedStore, Query, Store};
use crate::disk::Directory;
use crate::record::{ChannelId, StoredEvent};
use crate::search::apply_operators;
use crate::testing::{Person, channel};

/// What was ever released, by store and version: a new one is added, none goes.
const VERSIONS: &[&str] = &["embedded-1"];
/// The folder of the fixtures.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn stored(person: u8, kind: u16, at: u64, tags: &[&[&str]], content: &str) -> StoredEvent {
    let event = Person::new(person).event(kind, at, tags, content);
    let channel = crate::record::tag_values(&event, "h")
        .next()
        .and_then(ChannelId::parse);
    StoredEvent { event, channel }
}

/// Puts into an empty store what a fixture has.
pub fn fill(store: &dyn Store) {
    let erased = Arc::new(stored(2, 9, 104, &[&["h", "garden"]], "a word too much"));
    let deletion = StoredEvent {
        channel: Some(channel("garden")),
        ..stored(2, 5, 105, &[&["e", &erased.event.id.to_hex()]], "")
    };
    let mail = StoredEvent {
        channel: Some(ChannelId::mail()),
        ..stored(
            3,
            1059,
            106,
            &[&["p", &Person::new(1).key().to_hex()]],
            "sealed",
        )
    };
    let events = [
        stored(1, 0, 100, &[], r#"{"name":"old name"}"#),
        stored(1, 0, 101, &[], r#"{"name":"Ann"}"#),
        stored(
            1,
            9,
            102,
            &[&["h", "garden"], &["t", "tools"]],
            "Who has a red ladder?",
        ),
        stored(
            2,
            9,
            103,
            &[&["h", "shed"], &["expiration", "5000000000"]],
            "梯子を東京都で",
        ),
        deletion,
        mail,
    ];
    store.append(&[Arc::clone(&erased)], &[]).unwrap();
    for event in events {
        let gone: &[_] = match event.event.kind.as_u16() {
            5 => &[erased.event.id],
            _ => &[],
        };
        store.append(&[Arc::new(event)], gone).unwrap();
    }
    store.maintain().unwrap();
}

/// Whether a store that was opened from a fixture gives what was in it, in every way it can be asked.
pub fn is_as_it_was(store: &dyn Store) {
    let found = |filter: Filter, without: &[ChannelId]| {
        let mut filter = filter;
        apply_operators(&mut filter);
        let query = Query {
            filter: &filter,
            without,
            after: None,
            limit: 100,
            bytes: usize::MAX,
            now: 1000,
        };
        let page = store.query(&query).unwrap();
        page.events
            .iter()
            .map(|event| event.event.created_at.as_secs())
            .collect::<Vec<_>>()
    };
    let all = [106, 105, 103, 102, 101];
    assert_eq!(found(Filter::new(), &[]), all);
    assert_eq!(
        found(Filter::new(), &[channel("shed")]),
        [106, 105, 102, 101]
    );
    assert_eq!(found(Filter::new().hashtag("tools"), &[]), [102]);
    assert_eq!(
        found(Filter::new().author(Person::new(2).key()), &[]),
        [105, 103]
    );
    assert_eq!(found(Filter::new().search("LADDER red"), &[]), [102]);
    assert_eq!(found(Filter::new().search("東京"), &[]), [103]);
    assert_eq!(found(Filter::new().search("much"), &[]), [0u64; 0]);
    assert_eq!(store.stats().events, 5);
    assert_eq!(store.expired(5_000_000_000, 9).unwrap().len(), 1);
    let mut walked = Vec::new();
    let mut part = Some(0);
    while let Some(number) = part {
        let now = store.walk(number).unwrap();
        walked.extend(now.events);
        part = now.next;
    }
    let mut places = Vec::new();
    for event in &walked {
        assert!(event.event.verify_id() && event.event.verify_signature());
        assert_eq!(store.get(&event.event.id).unwrap().as_ref(), Some(event));
        let channel = event.channel.as_ref().map_or("", ChannelId::as_str);
        places.push((event.event.kind.as_u16(), channel.to_owned()));
    }
    let expected = [
        (0, ""),
        (9, "garden"),
        (9, "shed"),
        (5, "garden"),
        (1059, "\u{1}mail"),
    ];
    assert_eq!(
        places,
        expected.map(|(kind, channel)| (kind, channel.to_owned()))
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn open(dir: &Path) -> EmbeddedStore {
    let journal = Directory::open(&dir.join("journal")).unwrap();
    EmbeddedStore::open(Arc::new(journal), &dir.join("index.sqlite")).unwrap()
}

/// Journals of every version that was released. The index is not among them: it is built anew.
#[test]
fn journals_of_every_released_version_open_and_give_the_same_events() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        copy(&Path::new(FOLDER).join(version), dir.path());
        is_as_it_was(&open(dir.path()));
    }
}

/// Nothing of a later version is read as if it were damaged, and nothing of it is changed.
#[test]
fn a_journal_that_a_newer_program_wrote_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()));
    let path = dir.path().join("journal/00000001.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9] = 2;
    let sum = blake3::hash(&bytes[..28]);
    bytes[28..32].copy_from_slice(&sum.as_bytes()[..4]);
    std::fs::write(&path, &bytes).unwrap();
    let journal = Directory::open(&dir.path().join("journal")).unwrap();
    let opened = EmbeddedStore::open(Arc::new(journal), &dir.path().join("index.sqlite"));
    let error = opened.unwrap_err().to_string();
    assert!(
        error.contains("a newer program wrote 00000001.journal (version 2)"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// Writes the fixture of the version of today: `cargo test ... -- --ignored write_the_fixture_of_the_journal`.
#[test]
#[ignore = "makes the fixture of a new version"]
fn write_the_fixture_of_the_journal() {
    let dir = Path::new(FOLDER).join("embedded-1");
    fill(&open(&dir));
    super::index::Index::remove(&dir.join("index.sqlite"));
}
