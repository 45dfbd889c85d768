//! How many events match (NIP-45): exactly those that a subscription with the same filters would be sent.

use std::sync::Arc;

use nostr::filter::Filter;

use super::{Asker, Sight, Step};
use crate::access::Permit;
use crate::matching::matches;
use crate::record::StoredEvent;
use crate::search;
use crate::wire::{self, SubscriptionId};

/// One question.
pub struct Count {
    /// Who asks.
    pub asker: Asker,
    /// The client's name for it.
    pub id: SubscriptionId,
}

impl Count {
    /// Counts and answers. A filter's `limit` plays no part.
    pub async fn run(self, filters: Vec<Filter>) {
        let outbox = &self.asker.listener.outbox;
        let answer = match self.count(filters.into()).await {
            Ok((count, exact)) => wire::count(&self.id, count, exact),
            Err(reason) => wire::closed(&self.id, &reason),
        };
        outbox.push(answer);
    }

    async fn count(&self, filters: Arc<[Filter]>) -> Result<(usize, bool), String> {
        let most = self.asker.core.config.limits.count_events;
        let mut count = 0;
        for n in 0..filters.len() {
            let mut after = Some(Step::First);
            while let Some(step) = after {
                self.asker.listener.outbox.room().await;
                let filters = Arc::clone(&filters);
                let counted = self
                    .asker
                    .look(move |sight| count_page(sight, &filters, n, step))
                    .await?;
                let (more, next) = counted?;
                count += more;
                after = next;
                if count > most {
                    return Ok((most, false));
                }
            }
        }
        Ok((count, true))
    }
}

/// What one page adds: an event that matches several filters counts where it matches first.
fn count_page(
    sight: &Sight<'_>,
    filters: &[Filter],
    n: usize,
    step: Step,
) -> Result<(usize, Option<Step>), String> {
    if let Permit::Close(reason) = sight.viewer.permit(filters, sight.groups) {
        return Err(reason.into());
    }
    let (events, next) = sight.page(&filters[n], step, usize::MAX)?;
    let counted_before = |event: &StoredEvent| {
        filters[..n].iter().any(|filter| {
            matches(filter, &event.event)
                && search::wants(filter, &event.event)
                && sight.viewer.may_receive(event, filter, sight.groups)
        })
    };
    let new = events.iter().filter(|event| !counted_before(event)).count();
    Ok((new, next))
}
