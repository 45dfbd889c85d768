//! The events by which the space itself describes a channel (39000 to 39003). They are made when somebody asks, from
//! the state, and never stored: a member list of thousands would otherwise be written anew at every join.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nostr::event::{Event, EventId, Kind, Signature, Tag, Tags, UnsignedEvent};
use nostr::filter::Filter;
use nostr::key::{Keys, PublicKey};
use nostr::types::Timestamp;

use crate::access::Viewer;
use crate::groups::{Channel, Groups, Rank, Snapshot};
use crate::record::{ChannelId, StoredEvent};
use crate::wire::matches;

/// Signed descriptions that are kept for the next who asks.
const KEPT: usize = 64;

/// Makes and signs descriptions.
#[derive(Debug)]
pub struct Snapshots {
    keys: Keys,
    kept: Mutex<HashMap<(ChannelId, Snapshot), Arc<StoredEvent>>>,
}

impl Snapshots {
    /// Signs with these keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys,
            kept: Mutex::default(),
        }
    }

    /// All descriptions that a filter wants and the viewer may see, newest first.
    pub fn query(
        &self,
        filter: &Filter,
        groups: &Groups,
        viewer: &Viewer,
    ) -> Vec<Arc<StoredEvent>> {
        if !wants_any(filter) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (id, channel) in groups.iter() {
            for snapshot in Snapshot::ALL {
                if viewer.may_see_snapshot(channel, snapshot)
                    && wants(filter, snapshot)
                    && let Some(event) = self.matching(filter, id, channel, snapshot)
                {
                    found.push(event);
                }
            }
        }
        found.sort_by(|a, b| a.event.cmp(&b.event));
        found
    }

    /// One description.
    pub fn get(
        &self,
        id: &ChannelId,
        channel: &Channel,
        snapshot: Snapshot,
    ) -> Option<Arc<StoredEvent>> {
        self.matching(&Filter::new(), id, channel, snapshot)
    }

    fn matching(
        &self,
        filter: &Filter,
        id: &ChannelId,
        channel: &Channel,
        snapshot: Snapshot,
    ) -> Option<Arc<StoredEvent>> {
        let key = (id.clone(), snapshot);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = kept.get(&key).filter(|event| {
            event.event.created_at.as_secs() == channel.changed_at[snapshot.index()]
        }) {
            return matches(filter, &event.event).then(|| Arc::clone(event));
        }
        let unsigned = build(self.keys.public_key(), id, channel, snapshot);
        let event_id = unsigned.compute_id();
        let mut event = as_event(&unsigned, event_id);
        if !matches(filter, &event) {
            return None; // the signature is the costly part
        }
        event.sig = self.keys.sign_schnorr(event_id.as_bytes());
        let event = Arc::new(StoredEvent {
            event,
            channel: None,
        });
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(&event));
        Some(event)
    }
}

/// Whether a filter can want any description at all. A search (NIP-50) wants what people wrote.
pub fn wants_any(filter: &Filter) -> bool {
    filter.search.is_none()
        && Snapshot::ALL
            .into_iter()
            .any(|snapshot| wants(filter, snapshot))
}

fn wants(filter: &Filter, snapshot: Snapshot) -> bool {
    filter
        .kinds
        .as_ref()
        .is_none_or(|kinds| kinds.contains(&Kind::from_u16(snapshot.kind())))
}

fn as_event(unsigned: &UnsignedEvent, id: EventId) -> Event {
    let tags = unsigned.tags.iter().cloned();
    Event::new(
        id,
        unsigned.pubkey,
        unsigned.created_at,
        unsigned.kind,
        tags,
        unsigned.content.clone(),
        Signature::from_byte_array([0; 64]),
    )
}

fn build(relay: PublicKey, id: &ChannelId, channel: &Channel, snapshot: Snapshot) -> UnsignedEvent {
    let mut tags = Tags::new();
    let mut tag = |words: &[&str]| {
        if let Ok(tag) = Tag::parse(words.iter().copied()) {
            tags.push(tag);
        }
    };
    tag(&["d", id.as_str()]);
    match snapshot {
        Snapshot::Metadata => {
            let metadata = &channel.metadata;
            metadata
                .texts
                .iter()
                .for_each(|(name, text)| tag(&[name, text]));
            let flags = [
                ("private", metadata.private),
                ("restricted", metadata.restricted),
                ("hidden", metadata.hidden),
                ("closed", metadata.closed),
            ];
            flags
                .iter()
                .filter(|(_, set)| *set)
                .for_each(|(name, _)| tag(&[name]));
            if let Some(kinds) = &metadata.supported_kinds {
                let kinds: Vec<String> = kinds.iter().map(u16::to_string).collect();
                let mut words = vec!["supported_kinds"];
                words.extend(kinds.iter().map(String::as_str));
                tag(&words);
            }
        }
        Snapshot::Admins | Snapshot::Members => {
            let mut members: Vec<_> = channel.members.iter().collect();
            members.sort_by_key(|(person, _)| **person);
            for (person, roles) in members {
                let person = person.to_hex();
                if snapshot == Snapshot::Members {
                    tag(&["p", &person]);
                } else if roles.rank() > Rank::Member {
                    let mut words = vec!["p", &person];
                    words.extend(roles.0.iter().map(|role| &**role));
                    tag(&words);
                }
            }
        }
        Snapshot::Roles => {
            tag(&[
                "role",
                "admin",
                "changes the channel, gives roles, and all that a moderator does",
            ]);
            tag(&[
                "role",
                "moderator",
                "deletes messages, removes members, makes invitations",
            ]);
        }
    }
    let created_at = Timestamp::from_secs(channel.changed_at[snapshot.index()]);
    UnsignedEvent::new(
        relay,
        created_at,
        Kind::from_u16(snapshot.kind()),
        tags.to_vec(),
        "",
    )
}
