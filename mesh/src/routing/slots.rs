//! Storage of originators: numbered slots and an index by short id, grown a little at a time, so that a table holds little
//! more memory than it has originators. No rules here.

use super::originator::Originator;
use super::router::OriginatorIndex;
use crate::identity::ShortId;

/// All originators of a table.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Originator>>,
    free: Vec<u32>,
    /// First four bytes of the short id and the slot, sorted.
    index: Vec<(u32, u32)>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn get(&self, index: OriginatorIndex) -> Option<&Originator> {
        self.slots.get(index.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, index: OriginatorIndex) -> Option<&mut Originator> {
        self.slots.get_mut(index.0 as usize)?.as_mut()
    }

    pub(super) fn find(&self, id: &ShortId) -> Option<OriginatorIndex> {
        let prefix = prefix(id);
        let start = self.index.partition_point(|(other, _)| *other < prefix);
        self.index[start..]
            .iter()
            .take_while(|(other, _)| *other == prefix)
            .map(|(_, slot)| OriginatorIndex(*slot))
            .find(|index| {
                self.get(*index)
                    .is_some_and(|o| o.address.short_id() == *id)
            })
    }

    /// All originators with their numbers, in order of number.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (OriginatorIndex, &Originator)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, originator)| {
                Some((OriginatorIndex(slot as u32), originator.as_ref()?))
            })
    }

    pub(super) fn insert(&mut self, originator: Originator) -> OriginatorIndex {
        let prefix = prefix(&originator.address.short_id());
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(originator);
                slot
            }
            None => {
                reserve_little(&mut self.slots);
                self.slots.push(Some(originator));
                (self.slots.len() - 1) as u32
            }
        };
        let at = self.index.partition_point(|entry| *entry < (prefix, slot));
        reserve_little(&mut self.index);
        self.index.insert(at, (prefix, slot));
        OriginatorIndex(slot)
    }

    pub(super) fn remove(&mut self, index: OriginatorIndex) -> Option<Originator> {
        let originator = self.slots.get_mut(index.0 as usize)?.take()?;
        self.index.retain(|(_, slot)| *slot != index.0);
        self.free.push(index.0);
        Some(originator)
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Originator>>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.capacity() * size_of::<(u32, u32)>()
    }
}

fn prefix(id: &ShortId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]])
}

/// Room for a few more: doubling would leave half of a table's memory unused.
fn reserve_little<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / 64).max(4));
    }
}
