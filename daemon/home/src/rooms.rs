//! The rooms of a home, one for each space somebody looked at, each with its link. Links end by themselves when nobody
//! looks any more, and are begun again when somebody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Clock;
use crate::dialer::{Dialer, ServiceName};
use crate::link::Link;
use crate::people::People;
use crate::room::Room;
use crate::shelf::Shelf;

/// Spaces that a home looks at, at a time.
const ROOMS: usize = 64;
/// Of these, how many that nobody in reach is known to host: anybody can make up an address.
const UNKNOWN: usize = 16;

/// A room, and the task that keeps its connection while somebody needs it.
#[derive(Default)]
struct Entered {
    room: Arc<Room>,
    link: Option<JoinHandle<()>>,
    /// Counts the entries, so that the one longest ago is known.
    at: u64,
}

impl Entered {
    /// Whether it may go: nobody looks and nothing waits.
    fn is_idle(&self) -> bool {
        self.room.watchers() == 0 && self.room.unsent().is_empty()
    }
}

/// All rooms.
pub struct Rooms {
    /// Opens streams.
    pub dialer: Arc<dyn Dialer>,
    /// Whose keys sign.
    pub people: Arc<People>,
    /// What could not be sent.
    pub shelf: Arc<Shelf>,
    clock: Clock,
    stop: watch::Sender<bool>,
    rooms: Mutex<(u64, HashMap<ServiceName, Entered>)>,
}

impl Rooms {
    /// No rooms yet, but those for which something is still to be sent.
    pub fn new(
        dialer: Arc<dyn Dialer>,
        people: Arc<People>,
        shelf: Arc<Shelf>,
        clock: Clock,
    ) -> Self {
        let mut rooms = HashMap::new();
        for service in shelf.services() {
            let entered = Entered::default();
            entered.room.restore(shelf.load(&service));
            rooms.insert(service, entered);
        }
        Self {
            dialer,
            people,
            shelf,
            clock,
            stop: watch::channel(false).0,
            rooms: Mutex::new((0, rooms)),
        }
    }

    /// The room of a space, with its link up; `None` when there are too many. Needs a runtime.
    pub fn enter(&self, service: &ServiceName) -> Option<Arc<Room>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, rooms) = &mut *rooms;
        if !rooms.contains_key(service) {
            let listed = self.dialer.services();
            let is_listed =
                |service: &ServiceName| listed.iter().any(|one| one.service == *service);
            let is_unknown = |(name, entered): &(&ServiceName, &Entered)| {
                !entered.room.is_found() && !is_listed(name)
            };
            if !is_listed(service) && rooms.iter().filter(is_unknown).count() >= UNKNOWN {
                make_room(rooms, |name, entered| is_unknown(&(name, entered)))?;
            } else if rooms.len() >= ROOMS {
                make_room(rooms, |_, _| true)?;
            }
        }
        *count += 1;
        let entered = rooms.entry(service.clone()).or_default();
        entered.at = *count;
        self.ensure(service, &entered.room, &mut entered.link);
        Some(Arc::clone(&entered.room))
    }

    /// Begins links for what waits to be sent since before a restart. Needs a runtime.
    pub fn resume(&self) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, entered) in &mut rooms.1 {
            if entered.link.is_none() && entered.room.has_pending() {
                self.ensure(service, &entered.room, &mut entered.link);
            }
        }
    }

    fn ensure(&self, service: &ServiceName, room: &Arc<Room>, link: &mut Option<JoinHandle<()>>) {
        if *self.stop.borrow() || link.as_ref().is_some_and(|link| !link.is_finished()) {
            return;
        }
        let begun = Link {
            dialer: Arc::clone(&self.dialer),
            service: service.clone(),
            room: Arc::clone(room),
            people: Arc::clone(&self.people),
            clock: Arc::clone(&self.clock),
            shelf: Arc::clone(&self.shelf),
            stop: self.stop.subscribe(),
        };
        *link = Some(tokio::spawn(begun.run()));
    }

    /// Ends all links.
    pub fn close(&self) {
        let _ = self.stop.send_replace(true);
    }
}

/// Lets the idle room go that was entered longest ago, of those that `may` go; `None` when all are needed.
fn make_room(
    rooms: &mut HashMap<ServiceName, Entered>,
    may: impl Fn(&ServiceName, &Entered) -> bool,
) -> Option<()> {
    let idle = rooms
        .iter()
        .filter(|(name, entered)| entered.is_idle() && may(name, entered));
    let oldest = idle.min_by_key(|(_, entered)| entered.at)?.0.clone();
    if let Some(link) = rooms.remove(&oldest)?.link {
        link.abort();
    }
    Some(())
}
