//! The threads of a space, through which all blocking work goes: one checks what comes in, one writes it in batches, one or
//! two read, one keeps the store in order meanwhile. A batch is what came in while the one before was made
//! safe and what was about to come then (see [`Writer::gather`]), so it grows by itself under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nostr::event::{Event, EventId};
use tokio::sync::OwnedSemaphorePermit;

use crate::core::Core;
use crate::error::SpaceError;
use crate::fanout::Listener;
use crate::groups::kinds;
use crate::ingest::{self, Act, Batch, HookPost, Pace, Stop};
use crate::management;
use crate::presence;
use crate::record::ChannelId;
use crate::store::Upkeep;
use crate::vanish::{self, Vanish};
use crate::wire;

/// Bytes of stack for each thread. SQLite and the curve need far less.
const STACK: usize = 512 * 1024;
/// Events of one batch.
const BATCH: usize = 512;
/// How long a batch waits for events that are being checked, for each event of the batch before and at most; and how often
/// it looks. Each write to the disk writes the journal's last page again: the fewer there are, the less flash wears.
const SHARE: Duration = Duration::from_micros(100);
const TOGETHER: Duration = Duration::from_millis(4);
const LOOK: Duration = Duration::from_micros(500);
/// How long after a batch its size says nothing any more.
const ALONE: Duration = Duration::from_secs(1);
/// Threads that read at most; on a machine with one core there is one.
const READERS: usize = 2;
/// How long memory waits for the next question.
const REST: Duration = Duration::from_secs(2);
/// How long the newest events may wait for the index when nothing else happens.
const QUIET: Duration = Duration::from_secs(60);
/// How often expired events are looked for.
const HOUR: Duration = Duration::from_secs(3600);
/// Expired events that are erased at once.
const EXPIRED: usize = 500;

/// An event on its way in.
pub struct Submission {
    /// The event.
    pub event: Box<Event>,
    /// Who hears the answer.
    pub reply: Reply,
}

/// The way back to the author.
pub struct Reply {
    /// The author's connection.
    pub listener: Arc<Listener>,
    /// Held until the answer: what is on its way in is bounded for the whole space.
    pub permit: OwnedSemaphorePermit,
}

impl Reply {
    fn send(self, id: &EventId, verdict: &ingest::Verdict) {
        let (accepted, reason) = match verdict {
            Ok(reason) => (true, reason),
            Err(reason) => (false, reason),
        };
        self.listener.outbox.push(wire::ok(id, accepted, reason));
        drop(self.permit);
    }
}

type Task = Box<dyn FnOnce(&Core) + Send>;

/// What the writing thread does.
enum Work {
    /// Takes in an event.
    Event(Submission),
    /// Writes into the log what was done elsewhere.
    Note(
        Act,
        Option<ChannelId>,
        tokio::sync::oneshot::Sender<management::Outcome>,
    ),
    /// Manages the space. The answer goes out once what it wrote is safe.
    Call(
        management::Call,
        tokio::sync::oneshot::Sender<management::Outcome>,
    ),
    /// Takes in what was posted to a webhook. Answered the same way.
    Hook(HookPost, tokio::sync::oneshot::Sender<management::Outcome>),
}

impl Work {
    /// Whether all that came before must be on the disk.
    fn takes_away(&self) -> bool {
        match self {
            Self::Event(submission) => ingest::takes_away(&submission.event),
            Self::Note(..) => false,
            Self::Call(..) => true,
            Self::Hook(..) => false,
        }
    }
}

/// Who waits for the batch.
enum Waiting {
    Author(Reply, EventId, ingest::Verdict),
    Manager(
        tokio::sync::oneshot::Sender<management::Outcome>,
        management::Outcome,
    ),
}

/// Said to who asked to vanish when the disk did not let go of everything.
const UNFINISHED: &str = "error: not everything is gone from the disk yet; ask again";

impl Waiting {
    /// Whether it waits for one of these events.
    fn is_one_of(&self, ids: &[EventId]) -> bool {
        matches!(self, Self::Author(_, id, _) if ids.contains(id))
    }

    fn answer(self, failed: Option<&str>, erased: bool) {
        const HIDDEN: &str =
            "error: it is hidden, but not yet gone from the disk; the space will try again";
        match self {
            Self::Author(reply, id, verdict) => {
                let verdict = match verdict {
                    Ok(_) if failed.is_some() => Err(failed.unwrap_or_default().to_owned()),
                    Ok(reason) if reason.is_empty() && !erased => Err(HIDDEN.to_owned()),
                    verdict => verdict,
                };
                reply.send(&id, &verdict);
            }
            Self::Manager(answer, outcome) => {
                let outcome = match (outcome, failed) {
                    (Ok(_), Some(reason)) => Err(reason.to_owned()),
                    (Ok(_), None) if !erased => Err(HIDDEN.to_owned()),
                    (outcome, _) => outcome,
                };
                let _ = answer.send(outcome);
            }
        }
    }
}

/// The way to the threads. `None` ends a thread.
pub struct Pipeline {
    check: Sender<Option<Submission>>,
    /// Events that were handed in and are not checked yet.
    unchecked: Arc<AtomicUsize>,
    write: Sender<Option<Work>>,
    read: Sender<Option<Task>>,
    tidy: Sender<Option<Tidy>>,
    readers: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pipeline {
    /// Starts the threads.
    pub fn start(core: &Arc<Core>) -> Result<Self, SpaceError> {
        let (check, checks) = mpsc::channel();
        let (write, writes) = mpsc::channel();
        let (read, reads) = mpsc::channel();
        let (tidy, tidies) = mpsc::channel();
        let due = Arc::new(AtomicBool::new(false));
        let unchecked = Arc::new(AtomicUsize::new(0));
        let _ = tidy.send(Some(Tidy::Now)); // what the store knows only after its first upkeep
        let reads = Arc::new(Mutex::new(Reads {
            tasks: reads,
            is_awake: false,
        }));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = READERS.min(cores);
        let mut threads = vec![
            spawn("space-check", {
                let (core, write) = (Arc::clone(core), write.clone());
                let unchecked = Arc::clone(&unchecked);
                move || check_all(&core, &checks, &write, &unchecked)
            })?,
            spawn("space-write", {
                let (core, tidy) = (Arc::clone(core), tidy.clone());
                let (due, unchecked) = (Arc::clone(&due), Arc::clone(&unchecked));
                move || Writer::new(&core, tidy, due, unchecked).run(&writes)
            })?,
        ];
        for _ in 0..readers {
            let (core, reads) = (Arc::clone(core), Arc::clone(&reads));
            threads.push(spawn("space-read", move || read_all(&core, &reads))?);
        }
        threads.push(spawn("space-tidy", {
            let core = Arc::clone(core);
            move || tidy_all(&core, &tidies, &due)
        })?);
        Ok(Self {
            check,
            unchecked,
            write,
            read,
            tidy,
            readers,
            threads: Mutex::new(threads),
        })
    }

    /// Hands in an event. The answer goes to its listener.
    pub fn submit(&self, submission: Submission) {
        // A space that was closed takes nothing; its connections end anyway.
        self.unchecked.fetch_add(1, Ordering::Relaxed);
        let _ = self.check.send(Some(submission));
    }

    /// Runs something on a reading thread and waits for what it gives; `None` when the space is closing.
    pub async fn read<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let task: Task = Box::new(move |core| {
            let _ = answer.send(task(core));
        });
        self.read.send(Some(task)).ok()?;
        answered.await.ok()
    }

    /// Runs something on a reading thread some time; nobody waits for it.
    pub fn later(&self, task: impl FnOnce(&Core) + Send + 'static) {
        let _ = self.read.send(Some(Box::new(task)));
    }

    /// Manages the space; `None` when it is closing.
    pub async fn manage(&self, call: management::Call) -> Option<management::Outcome> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.write.send(Some(Work::Call(call, answer))).ok()?;
        answered.await.ok()
    }

    /// Takes in what was posted to a webhook; `None` when the space is closing.
    pub async fn post(&self, post: HookPost) -> Option<management::Outcome> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.write.send(Some(Work::Hook(post, answer))).ok()?;
        answered.await.ok()
    }

    /// Writes an act into the log, and waits until it is safe; `None` when the space is closing.
    pub async fn note(&self, act: Act, channel: Option<ChannelId>) -> Option<management::Outcome> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let note = Work::Note(act, channel, answer);
        self.write.send(Some(note)).ok()?;
        answered.await.ok()
    }

    /// Ends the threads, each after what was handed to it.
    pub fn stop(&self) {
        let mut threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
                .into_iter();
        // In the order of the way in: nothing is handed to a thread that has ended.
        let mut join = || {
            if let Some(thread) = threads.next() {
                let _ = thread.join();
            }
        };
        let _ = self.check.send(None);
        join();
        let _ = self.write.send(None);
        join();
        for _ in 0..self.readers {
            let _ = self.read.send(None);
        }
        for _ in 0..self.readers {
            join();
        }
        let _ = self.tidy.send(None);
        join();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, SpaceError> {
    std::thread::Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(SpaceError::Thread)
}

fn check_all(
    core: &Core,
    checks: &Receiver<Option<Submission>>,
    write: &Sender<Option<Work>>,
    unchecked: &AtomicUsize,
) {
    while let Ok(Some(submission)) = checks.recv() {
        let id = submission.event.id;
        let viewer = core.viewer(&submission.reply.listener);
        match ingest::examine(&submission.event, &viewer, core) {
            Ok(None) => {
                let _ = write.send(Some(Work::Event(submission)));
            }
            Ok(Some(known)) => submission.reply.send(&id, &Ok(known)),
            Err(reason) => submission.reply.send(&id, &Err(reason)),
        }
        unchecked.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the readers share. One of them waits for the next task, the others for their turn to wait.
struct Reads {
    tasks: Receiver<Option<Task>>,
    /// Whether something was read since memory was last given back.
    is_awake: bool,
}

fn read_all(core: &Core, reads: &Mutex<Reads>) {
    loop {
        let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = if reads.is_awake { REST } else { HOUR };
        match reads.tasks.recv_timeout(wait) {
            Ok(Some(task)) => {
                reads.is_awake = true;
                drop(reads);
                task(core);
            }
            Err(RecvTimeoutError::Timeout) => {
                reads.is_awake = false;
                core.store.rest();
            }
            Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// When the store is put in order.
enum Tidy {
    /// Now.
    Now,
    /// If it is still due.
    WhenDue,
}

fn tidy_all(core: &Core, tidies: &Receiver<Option<Tidy>>, due: &AtomicBool) {
    while let Ok(Some(tidy)) = tidies.recv() {
        match tidy {
            Tidy::Now => {
                maintain(core);
                core.store.rest();
            }
            Tidy::WhenDue => {
                due.store(false, Ordering::Relaxed); // before looking: what comes after it is asked for again
                if core.store.upkeep() != Upkeep::Little {
                    maintain(core);
                }
            }
        }
    }
}

fn maintain(core: &Core) {
    if let Err(error) = core.store.maintain() {
        log::error!("the index cannot be brought up to date: {error}");
    }
}

struct Writer<'a> {
    core: &'a Core,
    pace: Pace,
    /// Whether events wait for the index.
    is_behind: bool,
    tidy: Sender<Option<Tidy>>,
    /// Whether the store's upkeep was asked for and has not begun.
    due: Arc<AtomicBool>,
    unchecked: Arc<AtomicUsize>,
    /// How many wrote at once last time, and when.
    crowd: u32,
    wrote: Instant,
}

impl<'a> Writer<'a> {
    fn new(
        core: &'a Arc<Core>,
        tidy: Sender<Option<Tidy>>,
        due: Arc<AtomicBool>,
        unchecked: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            core,
            pace: Pace::new(&core.config.limits),
            is_behind: true,
            tidy,
            due,
            unchecked,
            crowd: 0,
            wrote: Instant::now(),
        }
    }

    fn run(&mut self, writes: &Receiver<Option<Work>>) {
        loop {
            let wait = if self.is_behind { QUIET } else { HOUR };
            let mut next = match writes.recv_timeout(wait) {
                Ok(Some(work)) => Some(work),
                Err(RecvTimeoutError::Timeout) => {
                    self.when_quiet();
                    continue;
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return,
            };
            self.gather();
            let mut batch = Batch::new(self.core);
            let mut waiting = Vec::new();
            let mut stop = false;
            while let Some(work) = next.take() {
                if work.takes_away() && !batch.is_empty() {
                    self.store(batch, std::mem::take(&mut waiting));
                    batch = Batch::new(self.core);
                }
                waiting.push(self.admit(work, &mut batch));
                if batch.is_closed || waiting.len() >= BATCH {
                    break;
                }
                match writes.try_recv() {
                    Ok(Some(work)) => next = Some(work),
                    Ok(None) => stop = true,
                    Err(_) => {}
                }
            }
            self.crowd = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
            self.wrote = Instant::now();
            self.store(batch, waiting);
            self.see_to_upkeep();
            if stop {
                return;
            }
        }
    }

    /// Lets events that are about to come be in the batch, too. Who writes alone is not kept waiting.
    fn gather(&self) {
        let begin = Instant::now();
        let most = SHARE.saturating_mul(self.crowd).min(TOGETHER);
        let mut is_more_to_come = self.crowd > 1 && begin - self.wrote < ALONE;
        while is_more_to_come && begin.elapsed() < most {
            std::thread::sleep(LOOK.min(most));
            is_more_to_come = self.unchecked.load(Ordering::Relaxed) > 0;
        }
    }

    /// Steps 9 to 11.
    fn admit(&mut self, work: Work, batch: &mut Batch) -> Waiting {
        match work {
            Work::Event(Submission { event, reply }) => {
                let id = event.id;
                let viewer = self.core.viewer(&reply.listener);
                let signal = presence::said(&event);
                let verdict = batch.admit(*event, &viewer, self.core, &mut self.pace);
                if let Some((person, status)) = signal.filter(|_| verdict.is_ok()) {
                    reply.listener.set_presence(person, status);
                }
                Waiting::Author(reply, id, verdict)
            }
            Work::Note(act, channel, answer) => {
                let noted = batch.act(act, channel.as_ref(), self.core);
                let outcome = noted.map(|()| true.into()).map_err(Stop::reason);
                Waiting::Manager(answer, outcome)
            }
            Work::Call(call, answer) => {
                let outcome = call.run(batch, self.core, &mut self.pace);
                Waiting::Manager(answer, outcome)
            }
            Work::Hook(post, answer) => {
                let outcome = post.run(batch, self.core, &mut self.pace);
                Waiting::Manager(answer, outcome)
            }
        }
    }

    /// Steps 12 to 15.
    fn store(&mut self, batch: Batch, waiting: Vec<Waiting>) {
        let core = self.core;
        let stored = if batch.events.is_empty() {
            Ok(true)
        } else {
            core.store
                .append(&batch.events, &batch.erase)
                .map(|appended| appended.erased)
        };
        let erased = match stored {
            Ok(erased) => erased || batch.erase.is_empty(),
            Err(error) => {
                let reason = ingest::disk_trouble(&error);
                for waiting in waiting {
                    waiting.answer(Some(&reason), true);
                }
                return;
            }
        };
        self.is_behind |= !batch.events.is_empty();
        for event in batch.events.iter().filter(|_| !batch.erase.is_empty()) {
            let is_mail = event.channel.as_ref().is_some_and(ChannelId::is_mail);
            match event.event.kind.as_u16() {
                kinds::DELETION if is_mail => core.mail.made_room(Some(&event.event.pubkey)),
                kinds::ACT => core.mail.made_room(None),
                _ => {}
            }
        }
        let before = core.groups();
        if batch.is_changed {
            let deleted: Vec<ChannelId> = batch
                .events
                .iter()
                .filter(|event| event.event.kind.as_u16() == kinds::DELETE_GROUP)
                .filter_map(|event| event.channel.clone())
                .collect();
            core.files
                .channels_change(&deleted, || core.set_groups(batch.groups.clone()));
        }
        let is_unfinished = |vanish: &&Vanish| match vanish::erase(vanish, core) {
            Ok(erased) => !erased,
            Err(error) => {
                log::error!("what somebody who vanishes wrote cannot be erased: {error}");
                true
            }
        };
        let unfinished: Vec<EventId> = batch
            .vanish
            .iter()
            .filter(is_unfinished)
            .map(|vanish| vanish.request)
            .collect();
        for vanish in &batch.vanish {
            core.mail.made_room(Some(&vanish.person));
        }
        for waiting in waiting {
            let unfinished = waiting.is_one_of(&unfinished).then_some(UNFINISHED);
            waiting.answer(unfinished, erased);
        }
        for event in &batch.live {
            // Who could read a channel hears that it is gone.
            let is_end = event.event.kind.as_u16() == kinds::DELETE_GROUP;
            let groups = if is_end { &before } else { &batch.groups };
            core.fanout.publish(event, groups, core.now());
        }
        for subject in &batch.subjects {
            if core.fanout.anybody_wants(subject.kind())
                && let Some(event) = core.snapshots.get(&batch.groups, subject)
            {
                core.fanout
                    .publish_description(&event, subject, &batch.groups, core.now());
            }
        }
    }

    fn see_to_upkeep(&self) {
        match self.core.store.upkeep() {
            Upkeep::Little => {}
            Upkeep::Due => {
                if !self.due.swap(true, Ordering::Relaxed) {
                    let _ = self.tidy.send(Some(Tidy::WhenDue));
                }
            }
            Upkeep::Overdue => maintain(self.core),
        }
    }

    fn when_quiet(&mut self) {
        let _ = self.tidy.send(Some(Tidy::Now));
        self.is_behind = false;
        let expired = self
            .core
            .store
            .expired(self.core.now(), EXPIRED)
            .unwrap_or_default();
        if let Err(error) = self.core.files.sweep(self.core.now()) {
            log::error!("old files cannot be put away: {error}");
        }
        // Also when nothing expired: what could not be erased before is tried again.
        if let Err(error) = self.core.store.append(&[], &expired) {
            log::error!("expired events cannot be erased: {error}");
        } else if !expired.is_empty() {
            self.core.mail.made_room(None);
        }
    }
}
