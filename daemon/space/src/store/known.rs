//! Which ids the index may have: most events that come in are new, and for those nobody has to ask SQLite. A Bloom filter
//! (B. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970): it says "no" for sure, and "perhaps"
//! wrongly for less than one id in a hundred. An id is a hash already, so its first bytes are all the hashing there is.

use std::sync::{PoisonError, RwLock};

/// Bits for each id there is room for.
const BITS: usize = 10;
/// Bits that are set for each id: BITS times the natural logarithm of two.
const PROBES: u64 = 7;
/// Ids there is room for at least.
const LEAST: usize = 4096;

/// The ids of an index, for all who ask and the one who fills it. Until they were gathered, every id may be there.
#[derive(Debug, Default)]
pub struct Ids(RwLock<Option<Known>>);

impl Ids {
    /// Whether the index may have an id.
    pub fn may_have(&self, id8: i64) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_none_or(|known| known.may_have(id8))
    }

    /// Adds an id. It has to be there before the event can be found in the index alone.
    pub fn add(&self, id8: i64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &mut *known {
            known.add(id8);
        }
    }

    /// Takes what was gathered.
    pub fn set(&self, known: Known) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Whether they have to be gathered (again).
    pub fn should_be_gathered(&self) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_none_or(Known::is_full)
    }
}

/// A set of ids that never forgets one.
#[derive(Debug)]
pub struct Known {
    words: Box<[u32]>,
    room: usize,
    ids: usize,
}

impl Known {
    /// An empty set for this many ids and as many again.
    pub fn with_room_for(ids: usize) -> Self {
        let room = ids.saturating_mul(2).max(LEAST);
        Self {
            words: vec![0; (room * BITS).div_ceil(32)].into(),
            room,
            ids: 0,
        }
    }

    /// Adds an id, by the first eight bytes of it.
    pub fn add(&mut self, id8: i64) {
        for bit in self.probes(id8) {
            self.words[bit / 32] |= 1 << (bit % 32);
        }
        self.ids += 1;
    }

    /// Whether the id may have been added.
    fn may_have(&self, id8: i64) -> bool {
        self.probes(id8)
            .all(|bit| self.words[bit / 32] & (1 << (bit % 32)) != 0)
    }

    /// Whether it should be made anew: with more ids than it was made for it says "perhaps" too often.
    fn is_full(&self) -> bool {
        self.ids > self.room
    }

    fn probes(&self, id8: i64) -> impl Iterator<Item = usize> + use<> {
        let (id, bits) = (id8.cast_unsigned(), self.words.len() as u64 * 32);
        // Two halves make all probes (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).
        let (start, step) = (id >> 32, (id & 0xffff_ffff) | 1);
        (0..PROBES).map(move |n| {
            let hash = (start + n * step) & 0xffff_ffff;
            ((hash * bits) >> 32) as usize // below `bits`, which is a usize
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ids are: evenly spread.
    fn id8(n: u32) -> i64 {
        let hash = blake3::hash(&n.to_be_bytes());
        crate::store::index::number(hash.as_bytes())
    }

    #[test]
    fn what_was_added_is_known_and_nearly_nothing_else_is() {
        let mut known = Known::with_room_for(10_000);
        (0..20_000).for_each(|n| known.add(id8(n)));
        assert!(!known.is_full() && (0..20_000).all(|n| known.may_have(id8(n))));
        let wrong = (20_000..120_000)
            .filter(|n| known.may_have(id8(*n)))
            .count();
        assert!(wrong < 1200, "{wrong} of 100000");
        known.add(id8(20_000));
        assert!(known.is_full());
    }
}
