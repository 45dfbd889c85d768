//! What the home knows of one person's file without opening anything: which wraps are here, what goes out, and the
//! person's spaces. Made of the records in their order; touches no file.

use std::collections::{BTreeMap, HashMap};

use nostr::event::EventId;
use nostr::key::PublicKey;

use crate::dialer::ServiceName;
use crate::messages::book::Book;
use crate::messages::lines::Place;
use crate::messages::record::Record;
use crate::messages::wraps;

/// What is here of a wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// The wrap, not opened, and whether it came to the home's relay.
    Unopened(Place, bool),
    /// What was in it.
    Opened(Place),
    /// Nothing.
    Done(Place),
}

/// A wrap on its way out.
#[derive(Debug)]
pub struct Pending {
    /// Which.
    pub wrap: EventId,
    /// To whom.
    pub to: PublicKey,
    /// Where it stands.
    pub place: Place,
    /// Services that did not take it, in this run of the home.
    pub refused: Vec<ServiceName>,
    /// Whether one is being given it.
    pub is_moving: bool,
}

/// See the file.
#[derive(Debug, Default)]
pub struct Index {
    /// All wraps that ever came or were made for the person: their dates, and what is here.
    pub wraps: BTreeMap<EventId, (u64, Hold)>,
    /// What goes out, oldest first.
    pub pending: Vec<Pending>,
    /// What went out, and by which service.
    pub sent: HashMap<EventId, String>,
    /// The person's spaces, and whether each was told that this home collects.
    pub spaces: BTreeMap<ServiceName, bool>,
    /// Where the person's settings stand, oldest first.
    pub settings: Vec<Place>,
    /// Bytes of records that are needed no more.
    pub dead: u64,
    /// Bytes of wraps from strangers that are not opened.
    pub strangers: u64,
}

impl Index {
    /// Takes in one more record.
    pub fn apply(&mut self, place: Place, record: &Record) {
        match record {
            Record::Wrap { event, stranger } => {
                let hold = Hold::Unopened(place, *stranger);
                self.strangers += if *stranger { place.bytes() } else { 0 };
                self.hold(event.id, event.created_at.as_secs(), hold);
            }
            Record::Opened { wrap, at, .. } => self.hold(*wrap, *at, Hold::Opened(place)),
            Record::Done { wrap, at } => self.hold(*wrap, *at, Hold::Done(place)),
            Record::Out { wrap } => {
                if let Some(to) = wraps::receiver(wrap) {
                    self.pending.push(Pending {
                        wrap: wrap.id,
                        to,
                        place,
                        refused: Vec::new(),
                        is_moving: false,
                    });
                }
            }
            Record::Sent { wrap, by } => {
                self.settle(wrap);
                self.sent.insert(*wrap, by.clone());
            }
            Record::Stopped { wrap } => {
                self.dead += place.bytes();
                self.settle(wrap);
            }
            Record::Space {
                service,
                belongs,
                permits,
            } => {
                if let Some(service) = ServiceName::parse(service) {
                    // What it did not take before it may take now.
                    let pending = self.pending.iter_mut();
                    pending.for_each(|p| p.refused.retain(|refused| *refused != service));
                    match belongs {
                        true => drop(self.spaces.insert(service, *permits)),
                        false => drop(self.spaces.remove(&service)),
                    }
                }
            }
            Record::Talk { .. } | Record::Settings { .. } => self.settings.push(place),
        }
    }

    fn hold(&mut self, wrap: EventId, at: u64, hold: Hold) {
        match self.wraps.insert(wrap, (at, hold)) {
            Some((_, Hold::Unopened(place, stranger))) => {
                self.strangers -= if stranger { place.bytes() } else { 0 };
                self.dead += place.bytes();
            }
            Some((_, Hold::Opened(place) | Hold::Done(place))) => self.dead += place.bytes(),
            None => {}
        }
    }

    fn settle(&mut self, wrap: &EventId) {
        if let Some(n) = self.pending.iter().position(|p| p.wrap == *wrap) {
            self.dead += self.pending.remove(n).place.bytes();
        }
    }

    /// Whether a record is still needed.
    pub fn needs(&self, place: Place, record: &Record, book: &Book) -> bool {
        let holds = |wrap: &EventId, hold: Hold| {
            self.wraps
                .get(wrap)
                .is_some_and(|(_, known)| *known == hold)
        };
        match record {
            Record::Wrap { event, stranger } => holds(&event.id, Hold::Unopened(place, *stranger)),
            Record::Opened { wrap, .. } => holds(wrap, Hold::Opened(place)),
            Record::Done { wrap, .. } => holds(wrap, Hold::Done(place)),
            Record::Out { .. } => self.pending.iter().any(|pending| pending.place == place),
            Record::Sent { wrap, .. } => book.outgoing.contains_key(wrap),
            Record::Stopped { .. } => false,
            Record::Space { service, .. } => {
                ServiceName::parse(service).is_some_and(|space| self.spaces.contains_key(&space))
            }
            Record::Talk { .. } => book
                .talks
                .values()
                .any(|talk| talk.marks_place == Some(place)),
            Record::Settings { .. } => book.settings_place == Some(place),
        }
    }

    /// Wraps that were not opened yet, oldest first, and whether each came to the home's relay.
    pub fn unopened(&self) -> Vec<(Place, bool)> {
        let unopened = self.wraps.values().filter_map(|(_, hold)| match hold {
            Hold::Unopened(place, stranger) => Some((*place, *stranger)),
            _ => None,
        });
        let mut unopened: Vec<_> = unopened.collect();
        unopened.sort_by_key(|(place, _)| place.start());
        unopened
    }

    /// Wraps that were opened, in the order of the file.
    pub fn opened(&self) -> Vec<Place> {
        let opened = self.wraps.values().filter_map(|(_, hold)| match hold {
            Hold::Opened(place) => Some(*place),
            _ => None,
        });
        let mut opened: Vec<_> = opened.collect();
        opened.sort_by_key(|place| place.start());
        opened
    }
}
