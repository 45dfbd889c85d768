//! A store that keeps everything in memory and nothing for long: for tests, and to show that the trait has no
//! journal in it.

use std::sync::{Arc, Mutex};

use nostr::event::EventId;

use super::tail::{address, answers, newer};
use super::{Appended, Cursor, Page, Query, Stats, Store, StoreError, Upkeep, Walked};
use crate::record::{ChannelId, StoredEvent};

/// Events in the order in which they came.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Vec<Arc<StoredEvent>>>);

impl Store for MemoryStore {
    fn append(
        &self,
        events: &[Arc<StoredEvent>],
        erase: &[EventId],
    ) -> Result<Appended, StoreError> {
        let mut all = self.0.lock().unwrap();
        for event in events {
            let address = address(event);
            let same =
                |old: &StoredEvent| address.is_some() && super::tail::address(old) == address;
            if all.iter().any(|old| same(old) && newer(old, event)) {
                continue;
            }
            all.retain(|old| !same(old));
            all.push(Arc::clone(event));
        }
        all.retain(|event| !erase.contains(&event.event.id));
        Ok(Appended { erased: true })
    }

    fn get(&self, id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .iter()
            .find(|event| event.event.id == *id)
            .cloned())
    }

    fn query(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        let search = crate::search::Search::of(query.filter);
        let mut events: Vec<_> = self
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|event| answers(event, query, search.as_ref()))
            .cloned()
            .collect();
        events.sort_by(|a, b| a.event.cmp(&b.event));
        let more = events.len() > query.limit;
        events.truncate(query.limit);
        let last = events.last().map(|event| Cursor {
            created_at: event.event.created_at.as_secs(),
            id: event.event.id,
        });
        Ok(Page {
            next: last.filter(|_| more),
            events,
        })
    }

    fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> Result<bool, StoreError> {
        let all = self.0.lock().unwrap();
        Ok(all.iter().any(|event| {
            event.channel.as_ref() == Some(channel)
                && event.event.id.as_bytes().starts_with(&prefix)
        }))
    }

    fn replay(&self, kinds: &[u16], each: &mut dyn FnMut(&StoredEvent)) -> Result<(), StoreError> {
        let all = self.0.lock().unwrap();
        all.iter()
            .filter(|event| kinds.contains(&event.event.kind.as_u16()))
            .for_each(|event| each(event));
        Ok(())
    }

    fn walk(&self, _part: u32) -> Result<Walked, StoreError> {
        Ok(Walked {
            events: self.0.lock().unwrap().clone(),
            next: None,
        })
    }

    fn expired(&self, now: u64, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let all = self.0.lock().unwrap();
        let expired = all
            .iter()
            .filter(|event| event.expires().is_some_and(|time| time <= now));
        Ok(expired.map(|event| event.event.id).take(limit).collect())
    }

    fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::Little
    }

    fn stats(&self) -> Stats {
        Stats {
            events: self.0.lock().unwrap().len() as u64,
            bytes: 0,
        }
    }
}
