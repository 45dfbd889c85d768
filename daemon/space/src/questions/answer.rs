//! The stored events of one subscription, never sent faster than the client reads.

use std::collections::HashSet;
use std::sync::Arc;

use nostr::event::EventId;
use nostr::filter::Filter;

use super::{Asker, Step};
use crate::wire::{self, Completeness, SubscriptionId};

/// Ids of stored events that a subscription remembers, so that it does not get the newest twice.
const NEWEST: usize = 32;

/// One subscription.
pub struct Answer {
    /// Who asks.
    pub asker: Asker,
    /// The client's name for it.
    pub id: SubscriptionId,
}

/// What was sent so far.
#[derive(Default)]
struct Sent {
    ids: HashSet<EventId>,
    newest: Vec<EventId>,
    /// For each filter that was cut by a limit, the first event beyond it; `None` when nobody looked.
    beyond: Vec<Option<EventId>>,
}

impl Answer {
    /// Sends the stored events, then what comes in.
    pub async fn run(self, filters: Arc<[Filter]>) {
        let listener = &self.asker.listener;
        let mut sent = Sent::default();
        for n in 0..filters.len() {
            if let Err(reason) = self.one(&filters, n, &mut sent).await {
                listener.unsubscribe(&self.id);
                listener.outbox.push(wire::closed(&self.id, &reason));
                return;
            }
        }
        let completeness = sent.completeness();
        listener.go_live(&self.id, &sent.ids, sent.newest, completeness);
    }

    async fn one(&self, filters: &Arc<[Filter]>, n: usize, sent: &mut Sent) -> Result<(), String> {
        let outbox = &self.asker.listener.outbox;
        let most = self.asker.core.config.limits.query_events;
        let mut wanted = filters[n].limit.unwrap_or(most).min(most);
        if wanted == 0 {
            sent.beyond.push(None);
            return Ok(());
        }
        let mut after = Some(Step::First);
        while let Some(step) = after {
            outbox.room().await;
            let filters = Arc::clone(filters);
            // One more than wanted says whether there are more (NIP-67).
            let page = self
                .asker
                .look(move |sight| sight.page(&filters[n], step, wanted + 1))
                .await?;
            let (events, next) = page?;
            after = next;
            for event in events {
                let id = event.event.id;
                if wanted == 0 {
                    sent.beyond.push(Some(id));
                    return Ok(());
                }
                if sent.ids.insert(id) {
                    if sent.newest.len() < NEWEST {
                        sent.newest.push(id);
                    }
                    outbox.push(wire::event_of(&self.id, &event.event));
                }
                wanted -= 1;
            }
        }
        Ok(())
    }
}

impl Sent {
    /// Whether all stored events that match were sent.
    fn completeness(&self) -> Completeness {
        let another = |id: &EventId| !self.ids.contains(id); // another filter may have brought it
        if self.beyond.is_empty() {
            Completeness::Finish
        } else if self.beyond.iter().flatten().any(another) {
            Completeness::More
        } else {
            Completeness::Unknown
        }
    }
}
