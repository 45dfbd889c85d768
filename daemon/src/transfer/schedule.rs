//! Backups that the daemon makes by itself: the same as `warrend backup`, on a thread of its own that asks the daemon as
//! the subcommand does. A failure is loud in the log and in `status`, and is tried again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backup;
use crate::clock::WallClock;
use crate::config::Backup;
use crate::error::DaemonError;

/// How often it is looked whether one is due.
pub(super) const LOOK: Duration = Duration::from_secs(60);
/// How long after a failure it is tried again.
pub(super) const AGAIN: u64 = 3600;

/// How backups stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Where they are made.
    pub dir: String,
    /// When the last one was made, seconds since 1970.
    pub made: Option<u64>,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Schedule {
    config: Backup,
    socket: PathBuf,
    clock: WallClock,
    status: Arc<Mutex<BackupStatus>>,
}

impl Schedule {
    /// Of the daemon at this control socket.
    pub fn new(config: Backup, socket: PathBuf, clock: WallClock) -> Self {
        let status = BackupStatus {
            dir: config.dir.display().to_string(),
            ..BackupStatus::default()
        };
        Self {
            config,
            socket,
            clock,
            status: Arc::new(Mutex::new(status)),
        }
    }

    /// How they stand.
    pub fn status(&self) -> BackupStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, result: Result<u64, String>) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(made) => {
                status.made = Some(made);
                status.error = None;
            }
            Err(error) => status.error = Some(error),
        }
    }

    /// Makes them until it is dropped. The control socket must be served.
    pub async fn run(self) {
        let mut failed = None;
        loop {
            let now = self.clock.unix_seconds();
            let waits = failed.is_some_and(|at: u64| now.saturating_sub(at) < AGAIN && at <= now);
            if !waits {
                failed = match self.look(now).await {
                    Ok(()) => None,
                    Err(error) => {
                        log::error!("THE BACKUP FAILED, and is tried again in an hour: {error}");
                        self.note(Err(error));
                        Some(now)
                    }
                };
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes one if it is due.
    async fn look(&self, now: u64) -> Result<(), String> {
        let (socket, dir) = (self.socket.clone(), self.config.dir.clone());
        let seconds = self.config.every.seconds();
        // A date in the future is of a clock that was wrong: then one is due.
        let is_due = move |made: u64| made > now || now - made >= seconds;
        let work = move || {
            let made = backup::made(&dir)?;
            if made.is_some_and(|made| !is_due(made)) {
                return Ok((made, None));
            }
            let done = backup::backup(&socket, &dir, false)?;
            Ok((backup::made(&dir)?, Some(done)))
        };
        let (made, done) = on_a_thread("backup", work).await?;
        let Some(done) = done else {
            // None was due: what the last try said still holds.
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.made = made.or(status.made);
            return Ok(());
        };
        log::info!(
            "backed up into {}: {} spaces, {} sites, {} new pieces",
            self.config.dir.display(),
            done.spaces,
            done.sites,
            done.written
        );
        if !done.failed.is_empty() {
            return Err(format!("of all but this: {}", done.failed.join("; ")));
        }
        self.note(Ok(made.unwrap_or(now)));
        Ok(())
    }
}

/// Does what waits for answers of the daemon on a thread of its own: the threads for short work give these answers.
pub(super) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, DaemonError> + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        let _ = tell.send(work().map_err(|error| error.to_string()));
    });
    started.map_err(|error| error.to_string())?;
    told.await.map_err(|_| String::from("it was given up"))?
}
