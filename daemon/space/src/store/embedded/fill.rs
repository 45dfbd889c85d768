//! Putting events into the index, a few at a time: it takes a while, and who asks or writes meanwhile gets their turn in
//! between. All of it is one transaction.

use std::sync::{MutexGuard, PoisonError};

use super::EmbeddedStore;
use crate::journal::Position;
use crate::store::StoreError;
use crate::store::index::Index;
use crate::store::known::Known;
use crate::store::tail::Waiting;

/// Events of one step.
const STEP: usize = 16;
/// Ids that are gathered in one step.
const GATHERED: usize = 1000;

impl EmbeddedStore {
    /// Adds events, with the place up to which the journal is now covered. The caller holds `upkeep`, or is alone.
    pub(super) fn fill_index(
        &self,
        batch: &[Waiting],
        covered: Position,
    ) -> Result<(), StoreError> {
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let result = self.fill_in_steps(batch, covered);
        if result.is_err() {
            self.index().give_up();
        }
        self.heed(result)
    }

    fn fill_in_steps(&self, batch: &[Waiting], covered: Position) -> rusqlite::Result<()> {
        let mut filling = self.index().begin()?;
        for some in batch.chunks(STEP) {
            let load = |position| self.load(position).ok();
            self.index().add(&mut filling, some, load)?;
        }
        filling.words.sort();
        while !self.index().add_words(&mut filling, STEP)? {}
        self.index().finish(filling, covered)
    }

    /// Gathers the ids of the index when they were not yet, or became too many. The caller holds `upkeep`: nothing goes
    /// into the index meanwhile.
    pub(super) fn gather_ids(&self) -> Result<(), StoreError> {
        if !self.ids.should_be_gathered() {
            return Ok(());
        }
        let events = usize::try_from(self.index().events()).unwrap_or(usize::MAX);
        let mut known = Known::with_room_for(events);
        let mut last = None;
        loop {
            let some = self.index().ids_behind(last, GATHERED);
            let some = self.heed(some)?;
            some.iter().for_each(|id8| known.add(*id8));
            if some.len() < GATHERED {
                break;
            }
            last = some.last().copied();
        }
        self.ids.set(known);
        Ok(())
    }

    /// The index. Who waits for it comes next, also when the one who has it wants it again at once: it is waited for with
    /// `turn` in hand.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
