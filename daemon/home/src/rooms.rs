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

/// A room, and the task that keeps its connection while somebody needs it.
type Entered = (Arc<Room>, Option<JoinHandle<()>>);

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
    rooms: Mutex<HashMap<ServiceName, Entered>>,
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
            let room = Room::default();
            room.restore(shelf.load(&service));
            rooms.insert(service, (Arc::new(room), None));
        }
        Self {
            dialer,
            people,
            shelf,
            clock,
            stop: watch::channel(false).0,
            rooms: Mutex::new(rooms),
        }
    }

    /// The room of a space, with its link up; `None` when there are too many. Needs a runtime.
    pub fn enter(&self, service: &ServiceName) -> Option<Arc<Room>> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() >= ROOMS && !rooms.contains_key(service) {
            rooms.retain(|_, (room, link)| {
                link.as_ref().is_some_and(|link| !link.is_finished()) || !room.unsent().is_empty()
            });
            if rooms.len() >= ROOMS {
                return None;
            }
        }
        let (room, link) = rooms.entry(service.clone()).or_default();
        self.ensure(service, room, link);
        Some(Arc::clone(room))
    }

    /// Begins links for what waits to be sent since before a restart. Needs a runtime.
    pub fn resume(&self) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, (room, link)) in rooms.iter_mut() {
            if link.is_none() && room.has_pending() {
                self.ensure(service, room, link);
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
