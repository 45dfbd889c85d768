//! The one who deletes objects: on a thread of its own, so that neither messages nor uploads wait for it. What cannot be
//! deleted now is tried again. Once it removes what a crash left: objects without a right, parts of uploads.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Objects;
use crate::files::blobs::embedded::Inner;
use crate::files::blobs::{BlobError, FileHash};

/// How long until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Something to do.
pub enum Job {
    /// Delete those that have no right; whoever waits hears when they are gone.
    Delete(Vec<FileHash>, Option<Sender<Result<(), BlobError>>>),
    /// Remove what a crash left, if that was not done.
    Tidy,
}

/// See the module. Ends when it is dropped, after what it was told to do.
pub struct Janitor {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    objects: Arc<Objects>,
}

impl Janitor {
    /// Starts it.
    pub fn start(inner: &Arc<Inner>, objects: &Arc<Objects>) -> Result<Self, BlobError> {
        let (jobs, work) = mpsc::channel();
        objects.holds.set_janitor(Some(jobs.clone()));
        let worker = Worker {
            inner: Arc::downgrade(inner),
            objects: Arc::clone(objects),
            again: BTreeSet::new(),
            is_tidy: false,
        };
        let thread = std::thread::Builder::new()
            .name("space-s3-tidy".into())
            .stack_size(512 * 1024)
            .spawn(move || worker.run(&work))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            objects: Arc::clone(objects),
        })
    }

    /// Removes what a crash left, once in its life. Not while files come in that get their rights later.
    pub fn tidy(&self) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Job::Tidy);
        }
    }

    /// Deletes those that have no right. After an error it goes on trying.
    pub fn delete(&self, hashes: &[FileHash]) -> Receipt {
        let (answer, answered) = mpsc::channel();
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !hashes.is_empty()) {
            let _ = jobs.send(Job::Delete(hashes.to_vec(), Some(answer)));
            return Receipt(Some(answered));
        }
        Receipt(None)
    }
}

/// What becomes of a deletion.
pub struct Receipt(Option<Receiver<Result<(), BlobError>>>);

impl Receipt {
    /// Returns when it is done.
    pub fn wait(self) -> Result<(), BlobError> {
        self.0.map_or(Ok(()), |answered| {
            let broken = |_| Err(BlobError::Server("the space is closing".into()));
            answered.recv().unwrap_or_else(broken)
        })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.objects.holds.set_janitor(None);
        self.jobs = None;
        // Another life of this space must not meet a deletion of this one.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    inner: Weak<Inner>,
    objects: Arc<Objects>,
    again: BTreeSet<FileHash>,
    is_tidy: bool,
}

impl Worker {
    fn run(mut self, work: &Receiver<Job>) {
        loop {
            match work.recv_timeout(AGAIN) {
                Ok(Job::Delete(hashes, answer)) => {
                    let mut done = Ok(());
                    for hash in hashes {
                        if let Err(error) = self.delete(&hash) {
                            self.again.insert(hash);
                            done = Err(error);
                        }
                    }
                    if let Err(error) = &done {
                        log::error!("deleted files are still on the S3 store: {error}");
                    }
                    if let Some(answer) = answer {
                        let _ = answer.send(done);
                    }
                }
                Ok(Job::Tidy) if self.is_tidy => {}
                Ok(Job::Tidy) => match self.tidy() {
                    Ok(()) => self.is_tidy = true,
                    Err(error) => log::warn!(
                        "what may lie about on the S3 store cannot be looked for now: {error}"
                    ),
                },
                Err(RecvTimeoutError::Timeout) => {
                    for hash in std::mem::take(&mut self.again) {
                        if self.delete(&hash).is_err() {
                            self.again.insert(hash);
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn has(inner: &Weak<Inner>, hash: &FileHash) -> Result<bool, BlobError> {
        let Some(inner) = inner.upgrade() else {
            return Ok(true); // whoever opens the space next looks
        };
        inner.tables().has(hash)
    }

    fn delete(&self, hash: &FileHash) -> Result<(), BlobError> {
        self.objects.holds.delete(
            hash,
            || Self::has(&self.inner, hash),
            || self.objects.delete(hash),
        )
    }

    fn tidy(&self) -> Result<(), BlobError> {
        self.objects.abort_left_over()?;
        for (hash, _) in self.objects.list()? {
            if !Self::has(&self.inner, &hash)? {
                self.delete(&hash)?;
            }
        }
        Ok(())
    }
}
