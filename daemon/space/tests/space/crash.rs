//! `kill -9` in a loop of writes: every event that was answered OK is there afterwards, and what was deleted is not.
//!
//! The test runs itself again as the process that is killed. 20 rounds; `WARREN_CRASH_ROUNDS=200` for the long run.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::common::{Person, SERVICE, START, TestSpace};
use serde_json::json;
use warren_space::{Limits, SpaceConfig};

const DIR: &str = "WARREN_CRASH_DIR";

fn space_in(dir: &Path) -> TestSpace {
    let limits = Limits {
        event_burst: u32::MAX,
        events_per_minute: u32::MAX,
        message_burst: u32::MAX,
        messages_per_second: u32::MAX,
        query_events: 100_000,
        ..Limits::default()
    };
    let config = SpaceConfig {
        dir: dir.to_owned(),
        name: "Crash".into(),
        about: String::new(),
        service: SERVICE.into(),
        owner: None,
        limits,
        stores: warren_space::stores::Stores::default(),
    };
    let mut space = TestSpace {
        dir: tempfile::tempdir().unwrap(),
        now: Arc::new(AtomicU32::new(START)),
        space: None,
        config,
    };
    space.open();
    space
}

/// The process that is killed. Without its variable in the environment it does nothing.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let space = space_in(&dir);
        let ann = Person::new(1);
        let mut client = space.connect_as(&ann).await;
        let _ = client
            .publish(&ann.event(9021, &[&["h", "general"]], ""))
            .await;
        let run = std::process::id();
        let mut out = std::io::stdout();
        for n in 0u32.. {
            let events: Vec<_> = (0..8)
                .map(|m| ann.event(9, &[&["h", "general"]], &format!("{run} {n} {m}")))
                .collect();
            for event in &events {
                client.send(json!(["EVENT", event])).await;
            }
            for event in &events {
                assert!(client.answer(event).await.0);
                writeln!(out, "kept {}", event.id.to_hex()).unwrap();
            }
            if n % 5 == 0 {
                writeln!(out, "unsure {}", events[3].id.to_hex()).unwrap();
                assert!(
                    client
                        .publish(&ann.event(5, &[&["e", &events[3].id.to_hex()]], ""))
                        .await
                        .0
                );
                writeln!(out, "gone {}", events[3].id.to_hex()).unwrap();
            }
            out.flush().unwrap();
        }
    });
}

/// Kills the child also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_was_answered_ok_survives_kill_9() {
    let rounds: u64 = std::env::var("WARREN_CRASH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(20);
    let dir = tempfile::tempdir().unwrap();
    let mut kept = std::collections::BTreeSet::new();
    let mut gone = std::collections::BTreeSet::new();
    for round in 0..rounds {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(DIR, dir.path().join("space"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        // A different number of answers each round, so that the kill falls on every part of the work.
        let answers = (round * 37) % 150 + 1;
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut take = |line: String| match line.rsplit_once(' ') {
            Some((verb, id)) if verb.ends_with("kept") => drop(kept.insert(id.to_owned())),
            Some((verb, id)) if verb.ends_with("unsure") => drop(kept.remove(id)),
            Some((verb, id)) if verb.ends_with("gone") => drop(gone.insert(id.to_owned())),
            _ => {}
        };
        while seen < answers {
            let line = lines.next().expect("the child ended by itself").unwrap();
            seen += u64::from(line.contains("kept"));
            take(line);
        }
        child.0.kill().unwrap();
        // What it said before it died counts too; a line that was cut off does not.
        for line in lines.map_while(Result::ok).filter(|line| line.len() >= 69) {
            take(line);
        }
        drop(child);
    }
    assert!(
        kept.len() as u64 > rounds * 20 && !gone.is_empty(),
        "too little was written: {} and {}",
        kept.len(),
        gone.len()
    );
    let space = space_in(&dir.path().join("space"));
    let mut client = space.connect().await;
    let all: std::collections::BTreeSet<String> =
        crate::common::ids(&client.query(json!({"kinds": [9], "limit": 100_000})).await)
            .into_iter()
            .collect();
    let lost: Vec<_> = kept.difference(&all).collect();
    assert!(
        lost.is_empty(),
        "{} of {} events were answered OK and are gone",
        lost.len(),
        kept.len()
    );
    assert_eq!(
        gone.intersection(&all).count(),
        0,
        "what was deleted is back"
    );
    println!(
        "{rounds} rounds, {} events kept, {} deleted",
        kept.len(),
        gone.len()
    );
}

fn opened(config: &SpaceConfig) -> Result<Arc<warren_space::Space>, String> {
    let clock = Arc::new(|| u64::from(START));
    warren_space::Space::open(config.clone(), clock).map_err(|error| error.to_string())
}

#[test]
fn a_lost_key_or_journal_is_told_and_nothing_takes_its_place() {
    let mut space = TestSpace::new();
    space.space().close();
    space.space = None;
    let dir = &space.config.dir;
    for (name, data) in [("space.key", "journal"), ("journal", "index.sqlite")] {
        let (path, away) = (dir.join(name), space.dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let error = opened(&space.config).unwrap_err();
        let expected = format!("{} is missing although there is data", path.display());
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains(data) && error.contains("`warrend restore BACKUP`"));
        assert!(!path.exists(), "{name} was made anew");
        std::fs::rename(&away, &path).unwrap();
        opened(&space.config).unwrap().close();
    }
    // The index is made of the journal.
    std::fs::remove_file(dir.join("index.sqlite")).unwrap();
    opened(&space.config).unwrap().close();
}

#[test]
fn a_first_start_that_was_cut_short_is_finished_by_the_next() {
    let steps = ["space.key", "journal", "index.sqlite", "files.sqlite"];
    for cut in 0..=steps.len() {
        let mut space = TestSpace::new();
        space.space().close();
        space.space = None;
        // What is made last goes first.
        for name in steps.iter().skip(cut).rev() {
            let path = space.config.dir.join(name);
            let gone = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            gone.unwrap();
        }
        let opened = opened(&space.config);
        assert!(
            opened.is_ok(),
            "cut before {:?}: {opened:?}",
            steps.get(cut)
        );
    }
}

#[test]
fn a_damaged_journal_is_called_so_and_what_works_is_said() {
    let mut space = TestSpace::new();
    space.space().close();
    space.space = None;
    let journal = space.config.dir.join("journal");
    for entry in std::fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        // The header of the file stays.
        bytes.iter_mut().skip(64).for_each(|byte| *byte = !*byte);
        std::fs::write(&path, bytes).unwrap();
    }
    let error = opened(&space.config).unwrap_err();
    assert!(
        error.contains("journal is damaged") || error.contains("is damaged: "),
        "{error}"
    );
    assert!(
        error.contains("`warrend space remove NAME --yes`"),
        "{error}"
    );
    assert!(!error.contains("disk is not full"), "{error}");
}
