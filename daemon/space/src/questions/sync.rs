//! Comparing what both sides have (NIP-77), with the negentropy protocol. A sync takes a list of dates and ids once, as
//! the viewer sees the space at that moment, and compares it message by message; each message is one bounded step on
//! a reading thread. The list is counted against a limit of the whole space and forgotten when the client is silent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use negentropy::{Id, Negentropy, NegentropyStorageVector, Storage};
use nostr::event::{Event, Tag};
use nostr::filter::Filter;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{Asker, CLOSING, Sight, Step};
use crate::access::{self, Permit};
use crate::record::{ChannelId, StoredEvent};
use crate::wire::{self, SubscriptionId};

/// What a witness takes of the space's room for syncs, counted in events.
const WITNESS: u32 = 10;

/// One sync.
pub struct Sync {
    /// Who asks.
    pub asker: Asker,
    /// The client's name for it.
    pub id: SubscriptionId,
}

/// Why a sync ends, with the number of events that one may compare when that is the reason.
struct End(String, Option<usize>);

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self(reason, None)
    }
}

impl From<&str> for End {
    fn from(reason: &str) -> Self {
        Self(reason.into(), None)
    }
}

/// What is compared.
struct List {
    storage: NegentropyStorageVector,
    witnesses: Witnesses,
    room: Option<OwnedSemaphorePermit>,
}

/// One event of each sort that is in a list, without its text: as long as the viewer may receive these, the viewer may
/// still see all that is compared. By channel, kind, whether it is the viewer's own, and the tags that are looked at.
#[derive(Default)]
struct Witnesses(HashMap<(Option<ChannelId>, u16, bool, Vec<Tag>), StoredEvent>);

impl Sync {
    /// Compares until the client has enough, says nothing for too long, or may no longer see what is compared.
    pub async fn run(self, filter: Filter, first: Vec<u8>, mut messages: mpsc::Receiver<Vec<u8>>) {
        if let Err(End(reason, most)) = self.compare(filter, first, &mut messages).await {
            let outbox = &self.asker.listener.outbox;
            outbox.push(wire::neg_err(&self.id, &reason, most));
        }
    }

    async fn compare(
        &self,
        filter: Filter,
        first: Vec<u8>,
        messages: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<(), End> {
        let limits = &self.asker.core.config.limits;
        let outbox = &self.asker.listener.outbox;
        let filter: Arc<[Filter]> = [filter].into();
        let mut list = self.gather(&filter).await?;
        let frame = limits.sync_message_bytes;
        let mut is_sealed = false;
        let mut message = first;
        loop {
            outbox.room().await;
            let filter = Arc::clone(&filter);
            let step = self.asker.look(move |sight| {
                list.check(sight, &filter)?;
                if !is_sealed {
                    list.storage.seal().map_err(|_| End::from(CLOSING))?;
                }
                let answer = answer(&list.storage, &message, frame)?;
                Ok::<_, End>((list, answer))
            });
            let (kept, answer) = step.await??;
            (list, is_sealed) = (kept, true);
            outbox.push(wire::neg_msg(&self.id, &answer));
            let patience = Duration::from_secs(limits.sync_seconds);
            message = match tokio::time::timeout(patience, messages.recv()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(_) => return Err("closed: you took too long to answer".into()),
            };
        }
    }

    /// The events that match, a page at a time.
    async fn gather(&self, filter: &Arc<[Filter]>) -> Result<List, End> {
        let limits = &self.asker.core.config.limits;
        let mut list = List {
            storage: NegentropyStorageVector::new(),
            witnesses: Witnesses::default(),
            room: None,
        };
        let mut wanted = filter[0].limit.unwrap_or(usize::MAX);
        let mut events = 0;
        let mut after = Some(Step::First);
        while let Some(step) = after.filter(|_| wanted > 0) {
            let filter = Arc::clone(filter);
            let page = self.asker.look(move |sight| {
                list.check(sight, &filter)?;
                let (page, next) = sight.page(&filter[0], step, wanted)?;
                list.add(sight, &page)?;
                Ok::<_, End>((list, page.len(), next))
            });
            let added;
            (list, added, after) = page.await??;
            wanted -= added.min(wanted);
            events += added;
            if events > limits.sync_events {
                let reason = "blocked: this sync is too big; ask for a part, by date for example";
                return Err(End(reason.into(), Some(limits.sync_events)));
            }
        }
        Ok(list)
    }
}

impl List {
    /// Whether the viewer may still see everything that is compared. Who may not hears what a subscription would hear.
    fn check(&self, sight: &Sight<'_>, filter: &[Filter]) -> Result<(), End> {
        if let Permit::Close(reason) = sight.viewer.permit(filter, sight.groups) {
            return Err(reason.into());
        }
        let sees = |event: &StoredEvent| sight.viewer.may_receive(event, &filter[0], sight.groups);
        if !self.witnesses.0.values().all(sees) {
            return Err("closed: what you may read has changed; begin again".into());
        }
        Ok(())
    }

    fn add(&mut self, sight: &Sight<'_>, events: &[Arc<StoredEvent>]) -> Result<(), End> {
        let mut room = 0u32;
        for event in events {
            let id = Id::from_byte_array(event.event.id.to_bytes());
            let created_at = event.event.created_at.as_secs();
            if created_at == u64::MAX {
                continue; // the protocol keeps this date for itself
            }
            self.storage
                .insert(created_at, id)
                .map_err(|_| End::from(CLOSING))?;
            room += 1;
            let is_own = sight.viewer.people.contains(&event.event.pubkey);
            let tags = access::judged_by(&event.event);
            let kind = event.event.kind.as_u16();
            let key = (event.channel.clone(), kind, is_own, tags.clone());
            self.witnesses.0.entry(key).or_insert_with(|| {
                room += WITNESS;
                without_text(event, tags)
            });
        }
        let taken = Arc::clone(&sight.core.sync_room)
            .try_acquire_many_owned(room)
            .map_err(|_| End::from("rate-limited: too much is being compared; try again later"))?;
        match &mut self.room {
            Some(room) => room.merge(taken),
            none => *none = Some(taken),
        }
        Ok(())
    }
}

fn without_text(event: &StoredEvent, tags: Vec<Tag>) -> StoredEvent {
    let Event {
        id,
        pubkey,
        created_at,
        kind,
        sig,
        ..
    } = event.event;
    StoredEvent {
        event: Event::new(id, pubkey, created_at, kind, tags, "", sig),
        channel: event.channel.clone(),
    }
}

/// Our message after one of the client's. `frame`: bytes it may have, at least 4096.
fn answer(storage: &NegentropyStorageVector, message: &[u8], frame: u32) -> Result<Vec<u8>, End> {
    let invalid = |error| End(format!("invalid: {error}"), None);
    Negentropy::new(Storage::Borrowed(storage), frame.max(4096).into())
        .and_then(|mut negentropy| negentropy.reconcile(message))
        .map_err(invalid)
}

/// One of a client's messages against a few events: for fuzzing. Gives how long the answer is.
pub fn answer_for_fuzzing(message: &[u8]) -> Option<usize> {
    let mut storage = NegentropyStorageVector::new();
    for n in 0..200u8 {
        let id = *blake3::hash(&[n]).as_bytes();
        storage
            .insert(u64::from(n / 3), Id::from_byte_array(id))
            .ok()?;
    }
    storage.seal().ok()?;
    answer(&storage, message, 4096)
        .ok()
        .map(|answer| answer.len())
}
