//! Who listens at the signer's little relay: their filters, and a bounded way to each. Whoever does not read what they
//! asked for is dropped, not buffered for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::event::Event;
use nostr::filter::{Filter, MatchEventOptions};
use serde_json::json;
use tokio::sync::mpsc;

/// Messages that may wait for one listener.
const WAITING: usize = 16;
/// Subscriptions of one listener.
const SUBSCRIPTIONS: usize = 16;

/// Names a listener.
pub type ListenerId = u32;

#[derive(Default)]
struct Listener {
    subscriptions: HashMap<String, Vec<Filter>>,
    /// `None` once it did not read in time.
    out: Option<mpsc::Sender<String>>,
}

#[derive(Default)]
struct State {
    next: ListenerId,
    listeners: HashMap<ListenerId, Listener>,
}

/// All listeners.
#[derive(Default)]
pub struct Hub(Mutex<State>);

impl Hub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new listener and what it is to be sent. The way ends when it is dropped.
    pub fn enter(&self) -> (ListenerId, mpsc::Receiver<String>) {
        let (out, messages) = mpsc::channel(WAITING);
        let mut state = self.state();
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        state.listeners.insert(
            id,
            Listener {
                out: Some(out),
                ..Listener::default()
            },
        );
        (id, messages)
    }

    /// A listener is gone.
    pub fn leave(&self, id: ListenerId) {
        self.state().listeners.remove(&id);
    }

    /// Sets a subscription; `false` when there are too many.
    pub fn subscribe(&self, id: ListenerId, name: &str, filters: Vec<Filter>) -> bool {
        let mut state = self.state();
        let Some(listener) = state.listeners.get_mut(&id) else {
            return false;
        };
        if listener.subscriptions.len() >= SUBSCRIPTIONS
            && !listener.subscriptions.contains_key(name)
        {
            return false;
        }
        listener.subscriptions.insert(name.to_owned(), filters);
        true
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: ListenerId, name: &str) {
        if let Some(listener) = self.state().listeners.get_mut(&id) {
            listener.subscriptions.remove(name);
        }
    }

    /// Sends an event to everybody who asked for it.
    pub fn publish(&self, event: &Event) {
        let mut state = self.state();
        for listener in state.listeners.values_mut() {
            let asked = listener.subscriptions.iter().filter(|(_, filters)| {
                filters
                    .iter()
                    .any(|filter| filter.match_event(event, MatchEventOptions::default()))
            });
            let sent = asked.map(|(name, _)| json!(["EVENT", name, event]).to_string());
            let kept = listener.out.as_ref().is_some_and(|out| {
                let mut sent = sent;
                sent.all(|text| out.try_send(text).is_ok())
            });
            if !kept {
                listener.out = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nostr::event::Kind;
    use nostr::key::Keys;

    #[test]
    fn a_listener_gets_what_it_asked_for_and_one_that_does_not_read_is_dropped() {
        let hub = Hub::default();
        let (app, other) = (Keys::generate(), Keys::generate());
        let event = |to: &Keys| {
            crate::client::signed(&app, 24133, 1, &[&["p", &to.public_key().to_hex()]], "x")
                .unwrap()
        };
        let (one, mut messages) = hub.enter();
        let filter = Filter::new()
            .kind(Kind::from_u16(24133))
            .pubkey(app.public_key());
        assert!(hub.subscribe(one, "a", vec![filter]));
        hub.publish(&event(&other));
        hub.publish(&event(&app));
        assert!(messages.try_recv().unwrap().starts_with("[\"EVENT\",\"a\""));
        assert!(messages.try_recv().is_err(), "the other was not for it");
        hub.unsubscribe(one, "a");
        hub.publish(&event(&app));
        assert!(messages.try_recv().is_err());
        for n in 0..SUBSCRIPTIONS {
            assert!(hub.subscribe(one, &n.to_string(), vec![Filter::new()]));
        }
        assert!(!hub.subscribe(one, "one more", vec![Filter::new()]));
        hub.publish(&event(&app));
        hub.publish(&event(&app));
        while messages.try_recv().is_ok() {}
        assert!(messages.is_closed(), "it was dropped");
    }
}
