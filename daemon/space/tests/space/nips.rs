//! The table of NIPs in this crate's README and the list in NIP-11 are what the tests say: a NIP stands there exactly when
//! there are tests with its number, `nipNN_...`. `WARREN_WRITE_DOCS=1 cargo test -p warren-space --test space nips` writes the
//! table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{TestSpace, http};
use serde_json::Value;

/// What each of them is here, for the table.
const WHAT: [(&str, &str); 26] = [
    (
        "01",
        "events, filters, subscriptions, replaceable and ephemeral events",
    ),
    (
        "09",
        "deletion requests; what was deleted leaves the disk before the answer and does not come back",
    ),
    (
        "11",
        "description with limits and the space's own key (`self`)",
    ),
    ("17", "private messages: from a member to a member"),
    ("22", "comments, in the channel of what they are about"),
    ("25", "reactions to what is in the channel, each once"),
    (
        "29",
        "groups: 9000, 9001, 9002, 9005, 9007 to 9010, 9021, 9022; 39000 to 39003, 39005; private, restricted, hidden, closed, subgroups, `previous`",
    ),
    ("30", "custom emoji; a set of the space's own (30030)"),
    ("40", "expiration"),
    (
        "42",
        "authentication; several people on one connection all count",
    ),
    (
        "43",
        "membership of the space: 13534, 8000, 8001, 33534, 28934, 28935, 28936",
    ),
    (
        "45",
        "COUNT, exact up to a limit and marked as `approximate` beyond it; no HyperLogLog",
    ),
    ("50", "search, see below"),
    (
        "52",
        "calendars: 31922, 31923, and one 31925 of each person",
    ),
    ("56", "reports, into a queue for moderators"),
    (
        "59",
        "gift wraps, given to the recipient and to homes it permitted alone",
    ),
    ("62", "request to vanish, for this space or `ALL_RELAYS`"),
    (
        "65",
        "lists of relays (10002), stored and replaced, of members",
    ),
    ("67", "EOSE says `finish` or `more`"),
    (
        "70",
        "protected events; reposts that carry one inside are refused",
    ),
    ("77", "negentropy: NEG-OPEN, NEG-MSG, NEG-CLOSE, NEG-ERR"),
    ("7D", "threads"),
    ("86", "management"),
    ("88", "polls, with one answer of each person until they end"),
    (
        "98",
        "proof of identity for management; `payload` is mandatory, each proof counts once",
    ),
    ("C7", "chats: messages, and replies that quote"),
];
const BEGIN: &str = "<!-- NIPs: written by tests/space/nips.rs -->\n";
const END: &str = "<!-- end of NIPs -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All sources below a folder.
fn sources(folder: &Path, all: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

/// The tests of a source: functions that stand directly behind `#[test]` or `#[tokio::test]` and are not left out.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let mut before = "";
    text.lines().filter_map(move |line| {
        let line = line.trim();
        let is_test = before.starts_with("#[test]") || before.starts_with("#[tokio::test");
        before = line;
        let name = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ")?;
        is_test.then(|| name.split('(').next().unwrap_or_default())
    })
}

/// The tests of each NIP, by file.
fn tests() -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut found: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    // The relay of a home's people has a list and tests of its own.
    files.retain(|path| path.file_stem().is_none_or(|stem| stem != "personal"));
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        for name in tests_of(&text) {
            let Some(nip) = name
                .strip_prefix("nip")
                .and_then(|rest| rest.split('_').next())
            else {
                continue;
            };
            let counts = found.entry(nip.to_ascii_uppercase()).or_default();
            *counts.entry(file.clone()).or_default() += 1;
        }
    }
    found
}

fn table() -> String {
    let tests = tests();
    let named: BTreeSet<&str> = WHAT.iter().map(|(nip, _)| *nip).collect();
    let tested: BTreeSet<&str> = tests.keys().map(String::as_str).collect();
    assert_eq!(named, tested, "a NIP has words here and tests, or neither");
    let mut table = "| NIP | what | tests |\n|---|---|---|\n".to_owned();
    for (nip, what) in WHAT {
        let files: Vec<String> = tests[nip]
            .iter()
            .map(|(file, count)| format!("`{file}` {count}"))
            .collect();
        table += &format!("| {nip} | {what} | {} |\n", files.join(", "));
    }
    table
}

#[test]
fn the_readme_says_of_nips_what_the_tests_say() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("the README has the mark");
    let (old, tail) = rest
        .split_once(END)
        .expect("the README has the second mark");
    let new = table();
    if std::env::var_os("WARREN_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{new}{END}{tail}")).unwrap();
    } else {
        let how = "run WARREN_WRITE_DOCS=1 cargo test -p warren-space --test space nips";
        assert_eq!(old, new, "{how}");
    }
}

#[tokio::test]
async fn the_description_names_exactly_the_nips_that_have_tests() {
    let request =
        "GET / HTTP/1.1\r\nHost: x\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n";
    let answer = http(&TestSpace::new(), request).await;
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let named: BTreeSet<String> = body["supported_nips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|nip| format!("{:02}", nip.as_u64().unwrap()))
        .collect();
    // Those with letters in their number cannot stand in that list.
    let tested: BTreeSet<String> = tests()
        .into_keys()
        .filter(|nip| nip.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    assert_eq!(named, tested);
}

/// Every test that the README names is there: its tables of limits and leaks are kept true.
#[test]
fn the_tests_that_the_readme_names_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let known: BTreeSet<String> = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .flat_map(|text| tests_of(&text).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let named = readme.split('`').skip(1).step_by(2).filter(|word| {
        word.matches('_').count() >= 4
            && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    });
    let mut count = 0;
    for name in named {
        count += 1;
        assert!(
            known.contains(name),
            "the README names {name}, which is no test"
        );
    }
    assert!(count >= 20, "{count}");
}
