//! New events to those who listen. The privacy check stands here a second time, against the state of this moment:
//! who was just removed from a channel hears nothing more.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nostr::event::EventId;
use nostr::filter::Filter;
use nostr::key::PublicKey;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::access::Viewer;
use crate::groups::{Authority, Groups, Subject};
use crate::matching::matches;
use crate::outbox::Outbox;
use crate::record::StoredEvent;
use crate::wire::{self, Completeness, SubscriptionId};

/// What somebody says of whether they are there: one of a few words (`groups::rules::STATUSES`).
pub type Status = &'static str;

/// New events that wait for a subscription whose stored events are still on their way.
const HELD: usize = 1000;

/// One connection that may listen.
#[derive(Debug)]
pub struct Listener {
    /// What goes to the connection.
    pub outbox: Outbox,
    people: RwLock<Vec<PublicKey>>,
    presence: Mutex<Vec<(PublicKey, Status)>>,
    subscriptions: Mutex<Vec<Subscription>>,
    /// Whether there are subscriptions. Those of who is not asked are never missed: what is stored before a look at this
    /// is found by the question that comes after a change of it, because both pass the store's locks.
    is_listening: AtomicBool,
}

#[derive(Debug)]
struct Subscription {
    id: SubscriptionId,
    filters: Arc<[Filter]>,
    /// `Some` while the stored events are on their way: what is new comes after them.
    held: Option<Vec<Arc<StoredEvent>>>,
    /// The newest of the stored events that were sent: one of them may only now be on its way to those who listen.
    newest_sent: Box<[EventId]>,
}

impl Listener {
    /// Nobody in particular, with no subscriptions.
    pub fn new(outbox_bytes: usize) -> Self {
        Self {
            outbox: Outbox::new(outbox_bytes),
            people: RwLock::default(),
            presence: Mutex::default(),
            subscriptions: Mutex::default(),
            is_listening: AtomicBool::new(false),
        }
    }

    /// The people this connection proved to be.
    pub fn people(&self) -> Vec<PublicKey> {
        self.people
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds a person; `false` when there are too many.
    pub fn add_person(&self, person: PublicKey, limit: usize) -> bool {
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        if !people.contains(&person) {
            if people.len() >= limit {
                return false;
            }
            people.push(person);
        }
        true
    }

    fn presence(&self) -> MutexGuard<'_, Vec<(PublicKey, Status)>> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what somebody on this connection says of whether they are there; `None`: they are not.
    pub fn set_presence(&self, person: PublicKey, status: Option<Status>) {
        let mut presence = self.presence();
        presence.retain(|(known, _)| *known != person);
        presence.extend(status.map(|status| (person, status)));
    }

    /// The connection ends: gives the people who were there on it.
    pub fn forget_presence(&self) -> Vec<PublicKey> {
        let gone = std::mem::take(&mut *self.presence());
        gone.into_iter().map(|(person, _)| person).collect()
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<Subscription>> {
        self.subscriptions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a subscription, in place of one with the same name; `false` when there are too many.
    pub fn subscribe(&self, id: &SubscriptionId, filters: Arc<[Filter]>, limit: usize) -> bool {
        let mut subscriptions = self.subscriptions();
        subscriptions.retain(|subscription| subscription.id != *id);
        let room = subscriptions.len() < limit;
        if room {
            subscriptions.push(Subscription {
                id: id.clone(),
                filters,
                held: Some(Vec::new()),
                newest_sent: Box::default(),
            });
        }
        self.note(&subscriptions);
        room
    }

    fn note(&self, subscriptions: &[Subscription]) {
        self.is_listening
            .store(!subscriptions.is_empty(), Ordering::Relaxed);
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: &SubscriptionId) {
        let mut subscriptions = self.subscriptions();
        subscriptions.retain(|subscription| subscription.id != *id);
        self.note(&subscriptions);
    }

    /// The stored events were sent: says so, and sends what came in the meantime and was not among them.
    pub fn go_live(
        &self,
        id: &SubscriptionId,
        sent: &HashSet<EventId>,
        newest_sent: Vec<EventId>,
        completeness: Completeness,
    ) {
        let mut subscriptions = self.subscriptions();
        let Some(subscription) = subscriptions
            .iter_mut()
            .find(|subscription| subscription.id == *id)
        else {
            return;
        };
        subscription.newest_sent = newest_sent.into();
        self.outbox.push(wire::eose(id, completeness));
        for event in subscription.held.take().unwrap_or_default() {
            if !sent.contains(&event.event.id) {
                self.outbox.push(wire::event_of(id, &event.event));
            }
        }
    }

    fn hear(&self, copy: &mut Shared<'_>, wanted: impl Fn(&Filter) -> bool) {
        let event = copy.event;
        let mut subscriptions = self.subscriptions();
        subscriptions.retain_mut(|subscription| {
            if !subscription
                .filters
                .iter()
                .any(|filter| is_live(filter) && matches(filter, &event.event) && wanted(filter))
            {
                return true;
            }
            if subscription.newest_sent.contains(&event.event.id) {
                return true;
            }
            match &mut subscription.held {
                None => self.outbox.push(copy.message(&subscription.id)),
                Some(held) if held.len() < HELD => held.push(Arc::clone(event)),
                Some(_) => {
                    self.outbox.push(wire::closed(
                        &subscription.id,
                        "error: too much is being written; ask again",
                    ));
                    return false;
                }
            }
            true
        });
        self.note(&subscriptions);
    }
}

/// An event as it goes to those who listen: written once for all whose subscriptions have the same name, as those of one
/// program mostly do.
struct Shared<'a> {
    event: &'a Arc<StoredEvent>,
    json: Option<String>,
    copies: Vec<(SubscriptionId, Utf8Bytes)>,
}

/// Names of subscriptions whose copy of an event is kept while it is told: programs that many people use have few.
const COPIES: usize = 8;

impl<'a> Shared<'a> {
    fn of(event: &'a Arc<StoredEvent>) -> Self {
        Self {
            event,
            json: None,
            copies: Vec::new(),
        }
    }

    fn message(&mut self, id: &SubscriptionId) -> Utf8Bytes {
        if let Some((_, message)) = self.copies.iter().find(|(name, _)| name == id) {
            return message.clone();
        }
        let json = self.json.get_or_insert_with(|| json(self.event));
        let message = Utf8Bytes::from(wire::event(id, json));
        if self.copies.len() < COPIES {
            self.copies.push((id.clone(), message.clone()));
        }
        message
    }
}

/// Whether a filter goes on after the stored events. A search (NIP-50) is answered once.
fn is_live(filter: &Filter) -> bool {
    filter.search.is_none()
}

/// All connections.
#[derive(Debug)]
pub struct Fanout {
    authority: Authority,
    listeners: Mutex<(u32, HashMap<u32, Arc<Listener>>)>,
}

/// A connection's place among the listeners; dropping it ends the listening.
#[derive(Debug)]
pub struct Seat {
    /// The listener.
    pub listener: Arc<Listener>,
    number: u32,
    fanout: Arc<Fanout>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fanout.listeners().1.remove(&self.number);
    }
}

impl Fanout {
    /// Nobody listens.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            listeners: Mutex::default(),
        }
    }

    fn listeners(&self) -> MutexGuard<'_, (u32, HashMap<u32, Arc<Listener>>)> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for a connection; `None` when all are taken.
    pub fn sit(self: &Arc<Self>, outbox_bytes: usize, limit: usize) -> Option<Seat> {
        let listener = Arc::new(Listener::new(outbox_bytes));
        let mut listeners = self.listeners();
        if listeners.1.len() >= limit {
            return None;
        }
        let mut number = listeners.0;
        while listeners.1.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        listeners.0 = number.wrapping_add(1);
        listeners.1.insert(number, Arc::clone(&listener));
        Some(Seat {
            listener,
            number,
            fanout: Arc::clone(self),
        })
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.listeners().1.len()
    }

    /// Ends all connections.
    pub fn close(&self) {
        for listener in self.all() {
            listener.outbox.close();
        }
    }

    fn all(&self) -> Vec<Arc<Listener>> {
        self.listeners().1.values().cloned().collect()
    }

    /// What people said on all connections of whether they are there.
    pub fn presences(&self) -> Vec<(PublicKey, Status)> {
        let all = self.all();
        all.iter()
            .flat_map(|listener| listener.presence().clone())
            .collect()
    }

    fn viewer(&self, listener: &Listener, now: u64) -> Viewer {
        Viewer {
            people: listener.people(),
            authority: self.authority,
            now,
        }
    }

    /// Those who have subscriptions.
    fn listening(&self) -> Vec<Arc<Listener>> {
        let listeners = self.listeners();
        let listening = listeners.1.values();
        listening
            .filter(|listener| listener.is_listening.load(Ordering::Relaxed))
            .cloned()
            .collect()
    }

    fn tell(&self, event: &Arc<StoredEvent>, now: u64, may: impl Fn(&Viewer, &Filter) -> bool) {
        let mut copy = Shared::of(event);
        for listener in self.listening() {
            let viewer = OnceCell::new();
            let viewer = || viewer.get_or_init(|| self.viewer(&listener, now));
            listener.hear(&mut copy, |filter| may(viewer(), filter));
        }
    }

    /// Tells everybody who wants to know of an event and may.
    pub fn publish(&self, event: &Arc<StoredEvent>, groups: &Groups, now: u64) {
        self.tell(event, now, |viewer, filter| {
            viewer.may_receive(event, filter, groups)
        });
    }

    /// Tells everybody who wants to know of a new description and may.
    pub fn publish_description(
        &self,
        event: &Arc<StoredEvent>,
        subject: &Subject,
        groups: &Groups,
        now: u64,
    ) {
        self.tell(event, now, |viewer, _| {
            viewer.may_see_subject(subject, groups)
        });
    }

    /// Whether anybody listens for events of this kind: making a description costs a signature.
    pub fn anybody_wants(&self, kind: u16) -> bool {
        let kind = nostr::event::Kind::from_u16(kind);
        let wants = |filter: &Filter| {
            is_live(filter)
                && filter
                    .kinds
                    .as_ref()
                    .is_none_or(|kinds| kinds.contains(&kind))
        };
        self.listening().iter().any(|listener| {
            listener
                .subscriptions()
                .iter()
                .any(|subscription| subscription.filters.iter().any(wants))
        })
    }
}

/// The event's JSON.
pub fn json(event: &StoredEvent) -> String {
    serde_json::to_string(&event.event).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;

    fn subscription(name: &str) -> (SubscriptionId, Arc<[Filter]>) {
        let id = serde_json::from_value(serde_json::Value::from(name)).unwrap();
        (id, Arc::new([Filter::new()]))
    }

    #[tokio::test]
    async fn listeners_whose_subscriptions_have_one_name_share_one_copy_of_an_event() {
        let authority = Authority {
            relay: Person::new(1).key(),
            owner: None,
            is_home: false,
        };
        let fanout = Arc::new(Fanout::new(authority));
        let seats: Vec<Seat> = (0..4).filter_map(|_| fanout.sit(1 << 20, 8)).collect();
        for (seat, name) in seats.iter().zip(["a", "a", "b"]) {
            let (id, filters) = subscription(name);
            assert!(seat.listener.subscribe(&id, filters, 8));
            let finish = Completeness::Finish;
            seat.listener
                .go_live(&id, &HashSet::new(), Vec::new(), finish);
        }
        assert_eq!(fanout.listening().len(), 3);
        let event = Arc::new(StoredEvent {
            event: Person::new(2).event(0, 5, &[], "hello"),
            channel: None,
        });
        fanout.publish(&event, &Groups::new(authority.relay), 5);
        let mut heard = Vec::new();
        for seat in &seats[..3] {
            heard.push(
                seat.listener
                    .outbox
                    .take()
                    .await
                    .unwrap()
                    .pop_back()
                    .unwrap(),
            );
        }
        assert!(
            heard[0].starts_with("[\"EVENT\",\"a\",") && heard[2].starts_with("[\"EVENT\",\"b\",")
        );
        assert_eq!(heard[0].as_ptr(), heard[1].as_ptr());
        seats[0].listener.unsubscribe(&subscription("a").0);
        assert_eq!(fanout.listening().len(), 2);
    }
}
