//! What a space keeps events in: one trait, several stores, one set of tests that every store passes.
//! A store never asks who is reading; it is told which channels to leave out.

#[cfg(test)]
mod conformance;
mod embedded;
#[cfg(test)]
pub mod fixtures;
mod index;
mod index_search;
mod index_sql;
mod known;
#[cfg(test)]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(test)]
mod power_loss;
#[cfg(test)]
mod search_tests;
mod tail;

use std::sync::Arc;

use nostr::event::EventId;
use nostr::filter::Filter;

use crate::record::{ChannelId, StoredEvent};

pub use embedded::EmbeddedStore;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresStore, parse_address as parse_postgres};

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal's files.
    #[error("the journal: {0}")]
    Journal(#[from] std::io::Error),
    /// The index.
    #[error("the index: {0}")]
    Index(#[from] rusqlite::Error),
    /// Bytes of the journal that are no event.
    #[error("the journal: {0}")]
    Record(#[from] crate::record::RecordError),
    /// A server that keeps the events.
    #[error("the server of the events: {0}")]
    Server(String),
}

/// Where the answer to a filter goes on: behind the event of this date and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Date of the last event that was given, seconds since 1970.
    pub created_at: u64,
    /// Its id.
    pub id: EventId,
}

impl Cursor {
    /// Whether an event comes after this place: newest first, and of the same second the lowest id first (NIP-01).
    pub fn is_before(&self, created_at: u64, id: &EventId) -> bool {
        created_at < self.created_at || (created_at == self.created_at && *id > self.id)
    }
}

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// What is wanted. Its `limit` is not looked at; what its `search` says beyond the words is in its other parts
    /// already (`search::apply_operators`).
    pub filter: &'a Filter,
    /// Channels whose events are left out.
    pub without: &'a [ChannelId],
    /// Where to go on.
    pub after: Option<Cursor>,
    /// Events to give at most.
    pub limit: usize,
    /// Bytes of events after which the page ends.
    pub bytes: usize,
    /// Events that expire at or before this time are left out, seconds since 1970.
    pub now: u64,
}

/// A part of the answer.
#[derive(Debug, Default)]
pub struct Page {
    /// Newest first.
    pub events: Vec<Arc<StoredEvent>>,
    /// Where to go on; `None` when there is nothing more.
    pub next: Option<Cursor>,
}

/// A part of everything.
#[derive(Debug, Default)]
pub struct Walked {
    /// In the order in which they came.
    pub events: Vec<Arc<StoredEvent>>,
    /// Where to go on; `None` when there is nothing more.
    pub next: Option<u32>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events that can be asked for.
    pub events: u64,
    /// Bytes on disk, without the index.
    pub bytes: u64,
}

/// How much a store put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Upkeep {
    /// Little: it can wait until nothing else happens.
    Little,
    /// [`Store::maintain`] should run soon, beside everything else.
    Due,
    /// So much that nothing should be added before.
    Overdue,
}

/// What came of an [`Store::append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Whether what was to be erased is gone from the disk. If not, it is hidden from every question, stays so after
    /// a crash, and the next [`Store::append`] tries again, also an empty one.
    pub erased: bool,
}

/// A place for events. All calls block; a space makes them on threads of its own.
pub trait Store: Send + Sync {
    /// Adds events, removes those that `erase` names, and returns when both are safe from a loss of power.
    /// An older version of a replaceable event goes away. After an error nothing of the call counts.
    fn append(
        &self,
        events: &[Arc<StoredEvent>],
        erase: &[EventId],
    ) -> Result<Appended, StoreError>;

    /// One event.
    fn get(&self, id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError>;

    /// Answers a question.
    fn query(&self, query: &Query<'_>) -> Result<Page, StoreError>;

    /// How many events answer a question, at most its limit. A store that can tell without reading them does.
    fn count(&self, query: &Query<'_>) -> Result<usize, StoreError> {
        let (mut found, mut after) = (0, query.after);
        loop {
            let page = self.query(&Query { after, ..*query })?;
            found += page.events.len();
            after = page.next;
            if after.is_none() || found >= query.limit {
                return Ok(found.min(query.limit));
            }
        }
    }

    /// Whether the channel has an event whose id begins with these bytes (`previous` tags of NIP-29).
    fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> Result<bool, StoreError>;

    /// Calls `each` for all events of these kinds in the order in which they came.
    fn replay(&self, kinds: &[u16], each: &mut dyn FnMut(&StoredEvent)) -> Result<(), StoreError>;

    /// Everything in the order in which it came, a part at a time: 0 begins. What was there before the first part and is
    /// neither replaced nor erased by the last one is given once.
    fn walk(&self, part: u32) -> Result<Walked, StoreError>;

    /// Some of the events that expired (NIP-40).
    fn expired(&self, now: u64, limit: usize) -> Result<Vec<EventId>, StoreError>;

    /// Does what was put off: fills the index, writes half-empty segments anew.
    fn maintain(&self) -> Result<(), StoreError>;

    /// How much was put off for [`Store::maintain`].
    fn upkeep(&self) -> Upkeep;

    /// Gives back memory that only makes the next calls faster.
    fn rest(&self) {}

    /// How much there is.
    fn stats(&self) -> Stats;

    /// Lets go of what another life of the space could not have at the same time. Every call after this fails.
    fn close(&self) {}

    /// Bytes on disk, as in [`Store::stats`], without waiting for whoever has the index.
    fn bytes(&self) -> u64 {
        self.stats().bytes
    }
}
