//! The events by which the space itself describes its channels (39000 to 39003, 39005), its members (13534), its roles
//! (33534) and its emoji (30030). They are made when somebody asks, from the state, and never stored: a member list of thousands would
//! otherwise be written anew at every join.

mod describe;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nostr::event::{Event, EventId, Kind, Signature, UnsignedEvent};
use nostr::filter::Filter;
use nostr::key::Keys;

use crate::access::Viewer;
use crate::claims::Claims;
use crate::config::Clock;
use crate::groups::permissions::Permission;
use crate::groups::{Groups, Snapshot, Subject, kinds};
use crate::record::StoredEvent;
use crate::wire::matches;

/// Signed descriptions that are kept for the next who asks.
const KEPT: usize = 64;
/// Seconds that an invitation made on the fly is good for.
const CLAIM_SECONDS: u64 = 24 * 3600;

/// Makes and signs descriptions.
pub struct Snapshots {
    keys: Keys,
    claims: Claims,
    clock: Clock,
    kept: Mutex<HashMap<Subject, Arc<StoredEvent>>>,
}

impl Snapshots {
    /// Signs with these keys.
    pub fn new(keys: Keys, clock: Clock) -> Self {
        Self {
            claims: Claims::new(&keys),
            keys,
            clock,
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
        if filter.search.is_some() {
            return Vec::new(); // a search (NIP-50) wants what people wrote
        }
        let mut found = Vec::new();
        let mut describe = |subject: Subject| {
            if wants(filter, subject.kind())
                && viewer.may_see_subject(&subject, groups)
                && let Some(event) = self.matching(filter, groups, &subject)
            {
                found.push(event);
            }
        };
        if Snapshot::ALL
            .iter()
            .any(|snapshot| wants(filter, snapshot.kind()))
        {
            for (id, _) in groups.iter() {
                for snapshot in Snapshot::ALL {
                    describe(Subject::Channel(id.clone(), snapshot));
                }
            }
        }
        describe(Subject::Members);
        describe(Subject::Emoji);
        if wants(filter, kinds::ROLE) {
            for (id, _) in groups.community().roles.iter() {
                describe(Subject::Role(id.into()));
            }
        }
        found.extend(self.invitation(filter, groups, viewer));
        found.sort_by(|a, b| a.event.cmp(&b.event));
        found
    }

    /// One description.
    pub fn get(&self, groups: &Groups, subject: &Subject) -> Option<Arc<StoredEvent>> {
        self.matching(&Filter::new(), groups, subject)
    }

    fn matching(
        &self,
        filter: &Filter,
        groups: &Groups,
        subject: &Subject,
    ) -> Option<Arc<StoredEvent>> {
        let changed_at = groups.changed_at(subject)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = kept
            .get(subject)
            .filter(|event| event.event.created_at.as_secs() == changed_at)
        {
            return matches(filter, &event.event).then(|| Arc::clone(event));
        }
        let unsigned = describe::build(self.keys.public_key(), groups, subject, changed_at)?;
        let event = self.signed_if(filter, &unsigned)?;
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(subject.clone(), Arc::clone(&event));
        Some(event)
    }

    /// An invitation for one newcomer, made for the first of the viewer's people who may invite. Only to who asks for
    /// just that (NIP-43).
    fn invitation(
        &self,
        filter: &Filter,
        groups: &Groups,
        viewer: &Viewer,
    ) -> Option<Arc<StoredEvent>> {
        let kinds = filter.kinds.as_ref()?;
        if !kinds.contains(&Kind::from_u16(kinds::SPACE_INVITE)) {
            return None;
        }
        let by = viewer.people.iter().find(|person| {
            let standing = groups.standing(&viewer.authority, person);
            standing.permissions.has(Permission::Invite)
        })?;
        let now = (self.clock)();
        let random = Keys::generate().public_key();
        let random = *random.as_bytes().first_chunk::<8>()?;
        let claim = self.claims.make(by, now + CLAIM_SECONDS, random);
        let relay = self.keys.public_key();
        let tags: [&[&str]; 2] = [&["-"], &["claim", &claim]];
        self.signed_if(
            filter,
            &describe::event(relay, kinds::SPACE_INVITE, now, &tags),
        )
    }

    /// The event, signed, if the filter wants it: the signature is the costly part.
    fn signed_if(&self, filter: &Filter, unsigned: &UnsignedEvent) -> Option<Arc<StoredEvent>> {
        let id = unsigned.compute_id();
        let mut event = as_event(unsigned, id);
        if !matches(filter, &event) {
            return None;
        }
        event.sig = self.keys.sign_schnorr(id.as_bytes());
        Some(Arc::new(StoredEvent {
            event,
            channel: None,
        }))
    }
}

fn wants(filter: &Filter, kind: u16) -> bool {
    filter
        .kinds
        .as_ref()
        .is_none_or(|kinds| kinds.contains(&Kind::from_u16(kind)))
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
