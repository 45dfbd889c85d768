//! Who transfers how much at a time. Strangers together, and every member, have a share that leaves room for others: who
//! reads slowly, or not at all, keeps nobody from their files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nostr::key::PublicKey;

use super::refusal::Refusal;
use crate::config::FileLimits;

/// The transfers that run.
#[derive(Debug)]
pub struct Places {
    most: usize,
    most_of_strangers: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By member; of all others together under `None`.
    by: HashMap<Option<PublicKey>, usize>,
}

/// One transfer's place. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    holder: Option<PublicKey>,
}

impl Places {
    /// All free.
    pub fn new(limits: &FileLimits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.transfers,
            most_of_strangers: limits.stranger_transfers,
            most_of_one: limits.person_transfers,
            taken: Mutex::default(),
        })
    }

    /// A place for a member, or for somebody else (`None`).
    pub fn take(self: &Arc<Self>, holder: Option<PublicKey>) -> Result<Place, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let share = match holder {
            Some(_) => self.most_of_one,
            None => self.most_of_strangers,
        };
        let own = taken.by.get(&holder).copied().unwrap_or(0);
        if taken.all >= self.most || own >= share {
            return Err(Refusal::Busy);
        }
        taken.all += 1;
        taken.by.insert(holder, own + 1);
        Ok(Place {
            places: Arc::clone(self),
            holder,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by.get_mut(&self.holder) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;

    #[test]
    fn strangers_and_single_members_leave_room_for_others() {
        let places = Places::new(&FileLimits {
            transfers: 6,
            stranger_transfers: 3,
            person_transfers: 2,
            ..FileLimits::default()
        });
        let [ann, ben] = [1, 2].map(|n| Some(Person::new(n).key()));
        let mut held: Vec<Place> = (0..3).map(|_| places.take(None).unwrap()).collect();
        assert!(matches!(places.take(None), Err(Refusal::Busy)));
        held.extend((0..2).map(|_| places.take(ann).unwrap()));
        assert!(places.take(ann).is_err());
        held.push(places.take(ben).unwrap());
        assert!(places.take(ben).is_err(), "all are taken");
        held.remove(0);
        held.push(places.take(ben).unwrap());
        held.clear();
        assert!(places.taken.lock().unwrap().by.is_empty());
        assert!(places.take(None).is_ok());
    }
}
