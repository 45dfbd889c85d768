//! All events in the order in which they came, a segment of the journal at a time.

use std::io;
use std::sync::{Arc, PoisonError};

use super::EmbeddedStore;
use crate::journal::Position;
use crate::journal::segment::RecordKind;
use crate::record::{StoredEvent, peek_id};
use crate::store::{StoreError, Walked};

/// Why a reading of the journal ends.
enum Stop {
    /// The segment is over.
    Behind,
    Store(StoreError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl EmbeddedStore {
    /// See [`crate::store::Store::walk`]. A part is a segment.
    pub(super) fn walk_segment(&self, part: u32) -> Result<Walked, StoreError> {
        // Nothing is erased or moved meanwhile; what is appended is in a later part, or in this one.
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let segments = self.journal.segments();
        let mut numbers = segments
            .iter()
            .map(|(number, _, _)| *number)
            .filter(|number| *number >= part);
        let Some(segment) = numbers.next() else {
            return Ok(Walked::default());
        };
        let mut walked = Walked {
            events: Vec::new(),
            next: Some(segment + 1),
        };
        let from = Position { segment, offset: 0 };
        let read = self.journal.replay(from, |written, kind, payload| {
            if written.position.segment != segment {
                return Err(Stop::Behind);
            }
            let (RecordKind::Event, Some(id)) = (kind, peek_id(payload)) else {
                return Ok(());
            };
            let event = StoredEvent::decode(payload).map_err(|error| Stop::Store(error.into()))?;
            let tail = self.tail();
            if tail.hidden().contains(&id) || tail.replaces(&event) {
                return Ok(());
            }
            let waits = tail.get(&id).is_some();
            drop(tail);
            let has = self.index().has_at(&id, written.position);
            if waits || self.heed(has).map_err(Stop::Store)? {
                walked.events.push(Arc::new(event));
            }
            Ok(())
        });
        match read {
            Ok(()) | Err(Stop::Behind) => Ok(walked),
            Err(Stop::Store(error)) => Err(error),
        }
    }
}
