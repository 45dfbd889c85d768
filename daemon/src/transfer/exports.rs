//! Exports of single spaces that the daemon makes by itself: everything that was written in one, a JSON line each, for
//! whatever reads Nostr events. Keys and files are not in them; a backup has those. A failure is loud in the log and in `status`,
//! and is tried again.
//!
//! A file is called `ID-DATE.jsonl`, with the date as `2026-01-31T235959Z`, and has its name only when all of it is on disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::archive::Unfinished;
use super::schedule::{AGAIN, LOOK, on_a_thread};
use super::source;
use crate::clock::WallClock;
use crate::config::Export;
use crate::control::client;
use crate::control::protocol::{HostedSpace, Request};
use crate::error::DaemonError;

/// How the exports of one space stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportStatus {
    /// The space, as the configuration names it.
    pub space: String,
    /// Where they are made.
    pub dir: String,
    /// When the last one was made, seconds since 1970.
    pub made: Option<u64>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Exports {
    config: Vec<Export>,
    socket: PathBuf,
    clock: WallClock,
    status: Arc<Mutex<Vec<ExportStatus>>>,
}

impl Exports {
    /// Of the daemon at this control socket.
    pub fn new(config: Vec<Export>, socket: PathBuf, clock: WallClock) -> Self {
        let status = config.iter().map(|export| ExportStatus {
            space: export.space.clone(),
            dir: export.dir.display().to_string(),
            ..ExportStatus::default()
        });
        Self {
            status: Arc::new(Mutex::new(status.collect())),
            config,
            socket,
            clock,
        }
    }

    /// How they stand, in the order of the configuration.
    pub fn status(&self) -> Vec<ExportStatus> {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, number: usize, result: Result<Option<u64>, String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match (status.get_mut(number), result) {
            (Some(status), Ok(made)) => (status.made, status.error) = (made, None),
            (Some(status), Err(error)) => status.error = Some(error),
            (None, _) => {}
        }
    }

    /// Makes them until it is dropped. The control socket must be served.
    pub async fn run(self) {
        let mut failed: Vec<Option<u64>> = vec![None; self.config.len()];
        loop {
            for (number, (export, failed)) in self.config.iter().zip(&mut failed).enumerate() {
                let now = self.clock.unix_seconds();
                let waits = failed.is_some_and(|at| now.saturating_sub(at) < AGAIN && at <= now);
                if waits {
                    continue;
                }
                let result = self.look(export.clone(), now).await;
                *failed = result.as_ref().err().map(|error| {
                    let space = &export.space;
                    log::error!(
                        "THE EXPORT OF {space} FAILED, and is tried again in an hour: {error}"
                    );
                    now
                });
                self.note(number, result);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes one if it is due. When the last was made, seconds since 1970.
    async fn look(&self, export: Export, now: u64) -> Result<Option<u64>, String> {
        let socket = self.socket.clone();
        let last = on_a_thread("export", move || make(&socket, &export, now)).await?;
        if let Some(events) = last.events {
            log::info!("exported into {}: {events} events", last.file.display());
        }
        let written = fs::metadata(&last.file).and_then(|file| file.modified());
        let written = written
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(written.map(|at| at.as_secs()))
    }
}

/// The date in a name. Colons are no characters of names on many a USB stick.
fn stamp(seconds: u64) -> String {
    warren_home::iso(seconds).replace(':', "")
}

/// The exports of a space in a directory, oldest first.
fn made_before(dir: &Path, id: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        let date = name
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('-'));
        let date = date.and_then(|rest| rest.strip_suffix(".jsonl"));
        // Another space may be called `ID-something`.
        let is_date = |date: &str| {
            date.len() == stamp(0).len()
                && date
                    .bytes()
                    .all(|c| c.is_ascii_digit() || b"-TZ".contains(&c))
        };
        if date.is_some_and(is_date) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The last export of a space.
struct Last {
    file: PathBuf,
    /// How many events, if it was made just now.
    events: Option<u64>,
}

/// Writes one if the last is old enough, and removes the oldest beyond what is kept.
fn make(socket: &Path, export: &Export, now: u64) -> Result<Last, DaemonError> {
    let dir = &export.dir;
    let all: Vec<HostedSpace> = client::ask(socket, &Request::SpaceList {})?;
    let named =
        |space: &&HostedSpace| [&space.id, &space.title, &space.service].contains(&&export.space);
    let space = all.iter().find(named).ok_or_else(|| {
        DaemonError::Refused(format!("there is no space {:?} here", export.space))
    })?;
    let failed = |error| DaemonError::file("write into", dir, error);
    fs::create_dir_all(dir).map_err(failed)?;
    let name = |seconds| format!("{}-{}.jsonl", space.id, stamp(seconds));
    let (old, new) = (name(now.saturating_sub(export.every.seconds())), name(now));
    let before = made_before(dir, &space.id).map_err(failed)?;
    // A date in the future is of a clock that was wrong, and does not count.
    let is_recent = |made: &&String| **made > old && **made <= new;
    if let Some(recent) = before.iter().rev().find(is_recent) {
        return Ok(Last {
            file: dir.join(recent),
            events: None,
        });
    }
    let file = dir.join(&new);
    let half = dir.join(format!("{}.jsonl.new", space.id));
    let (half, out) = Unfinished::create(half).map_err(failed)?;
    let mut out = BufWriter::new(out);
    let mut events = 0;
    source::events(socket, &space.id, |part| {
        events += part.count;
        out.write_all(part.events.as_bytes()).map_err(failed)
    })?;
    let finish = |out: BufWriter<File>| {
        out.into_inner()?.sync_all()?;
        fs::rename(&half.0, &file)?;
        File::open(dir)?.sync_all()
    };
    finish(out).map_err(failed)?;
    let all = made_before(dir, &space.id).map_err(failed)?;
    let too_many = all.len().saturating_sub(export.keep.get());
    for oldest in all.iter().take(too_many).filter(|name| **name != new) {
        if let Err(error) = fs::remove_file(dir.join(oldest)) {
            log::warn!("{}", failed(error));
        }
    }
    Ok(Last {
        file,
        events: Some(events),
    })
}
