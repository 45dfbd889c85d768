//! The events by which the space itself describes its channels (39000 to 39003, 39005), its members (13534), its roles
//! (33534) and its emoji (30030). They are made when somebody asks, from the state, and never stored: a member list of thousands would
//! otherwise be written anew at every join.

mod describe;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nostr::event::{Event, EventId, Kind, Signature, UnsignedEvent};
use nostr::filter::Filter;
use nostr::key::Keys;

use crate::access::Viewer;
use crate::claims::Claims;
use crate::config::Clock;
use crate::groups::permissions::Permission;
use crate::groups::{Groups, Snapshot, Subject, emoji, kinds};
use crate::matching::matches;
use crate::record::StoredEvent;

/// Bytes of descriptions that are kept whole for the next who asks. Of the others the signature is kept.
const KEPT_BYTES: usize = 1 << 20;
/// Seconds that an invitation made on the fly is good for.
const CLAIM_SECONDS: u64 = 24 * 3600;

/// Makes and signs descriptions.
pub struct Snapshots {
    keys: Keys,
    claims: Claims,
    clock: Clock,
    kept: Mutex<Kept>,
    /// How often something was signed.
    #[cfg(test)]
    signed: std::sync::atomic::AtomicUsize,
}

/// What was signed: for each thing that there is to describe its last description, so that asking costs no signature.
#[derive(Default)]
struct Kept {
    signed: HashMap<Subject, Signed>,
    /// Bytes of those that are kept whole.
    bytes: usize,
}

struct Signed {
    id: EventId,
    signature: Signature,
    at: u64,
    whole: Option<Arc<StoredEvent>>,
}

impl Kept {
    /// A description that was signed of something that is as it was at `at`.
    fn whole(&self, subject: &Subject, at: u64) -> Option<Arc<StoredEvent>> {
        let signed = self.signed.get(subject).filter(|signed| signed.at == at)?;
        signed.whole.clone()
    }

    /// The signature of an event, if it was signed before.
    fn signature(&self, subject: &Subject, id: &EventId) -> Option<Signature> {
        let signed = self.signed.get(subject)?;
        (signed.id == *id).then_some(signed.signature)
    }

    fn put(&mut self, subject: &Subject, event: &Arc<StoredEvent>, groups: &Groups) {
        let cost = |event: &Arc<StoredEvent>| event.cost();
        if !self.signed.contains_key(subject) && self.signed.len() >= subjects(groups) {
            self.signed
                .retain(|subject, _| groups.changed_at(subject).is_some());
            let wholes = self
                .signed
                .values()
                .filter_map(|signed| signed.whole.as_ref());
            self.bytes = wholes.map(cost).sum();
        }
        if self.bytes + event.cost() > KEPT_BYTES {
            for signed in self.signed.values_mut() {
                signed.whole = None;
            }
            self.bytes = 0;
        }
        let is_small = event.cost() <= KEPT_BYTES;
        let signed = Signed {
            id: event.event.id,
            signature: event.event.sig,
            at: event.event.created_at.as_secs(),
            whole: is_small.then(|| Arc::clone(event)),
        };
        let old = self.signed.insert(subject.clone(), signed);
        let old = old.and_then(|old| old.whole);
        self.bytes += if is_small { event.cost() } else { 0 };
        self.bytes = self.bytes.saturating_sub(old.as_ref().map_or(0, cost));
    }
}

/// How many things there are to describe.
fn subjects(groups: &Groups) -> usize {
    groups.len() * Snapshot::ALL.len() + groups.community().roles.len() + 2
}

impl Snapshots {
    /// Signs with these keys.
    pub fn new(keys: Keys, clock: Clock) -> Self {
        Self {
            claims: Claims::new(&keys),
            keys,
            clock,
            kept: Mutex::default(),
            #[cfg(test)]
            signed: Default::default(),
        }
    }

    /// The descriptions that a filter wants and the viewer may see, newest first, at most `wanted`.
    pub fn query(
        &self,
        filter: &Filter,
        groups: &Groups,
        viewer: &Viewer,
        wanted: usize,
    ) -> Vec<Arc<StoredEvent>> {
        let authors = filter.authors.as_ref();
        let by_others = authors.is_some_and(|people| !people.contains(&self.keys.public_key()));
        if filter.search.is_some() || by_others {
            return Vec::new(); // a search (NIP-50) wants what people wrote
        }
        let mut subjects: Vec<(Reverse<u64>, Subject)> = Vec::new();
        let mut describe = |subject: Subject| {
            if let Some(at) = groups.changed_at(&subject)
                && may_match(filter, &subject, at)
                && viewer.may_see_subject(&subject, groups)
            {
                subjects.push((Reverse(at), subject));
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
        subjects.sort_by_key(|(at, _)| *at);
        let mut found: Vec<Arc<StoredEvent>> = Vec::new();
        found.extend(self.invitation(filter, groups, viewer));
        let mut last = None;
        for (at, subject) in subjects {
            // Of one second the lowest id comes first: all of them are looked at.
            if found.len() >= wanted && last != Some(at) {
                break;
            }
            last = Some(at);
            found.extend(self.matching(filter, groups, &subject));
        }
        found.sort_by(|a, b| a.event.cmp(&b.event));
        found.truncate(wanted);
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
        if let Some(event) = kept.whole(subject, changed_at) {
            return matches(filter, &event.event).then_some(event);
        }
        let unsigned = describe::build(self.keys.public_key(), groups, subject, changed_at)?;
        let event = self.signed_if(filter, &unsigned, |id| kept.signature(subject, id))?;
        kept.put(subject, &event, groups);
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
            |_| None,
        )
    }

    /// The event, signed, if the filter wants it: the signature is the costly part. `known`: one from before.
    fn signed_if(
        &self,
        filter: &Filter,
        unsigned: &UnsignedEvent,
        known: impl FnOnce(&EventId) -> Option<Signature>,
    ) -> Option<Arc<StoredEvent>> {
        let id = unsigned.compute_id();
        let mut event = as_event(unsigned, id);
        if !matches(filter, &event) {
            return None;
        }
        event.sig = known(&id).unwrap_or_else(|| {
            #[cfg(test)]
            self.signed
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.keys.sign_schnorr(id.as_bytes())
        });
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

/// Whether a description may match a filter, as far as can be told without making it.
fn may_match(filter: &Filter, subject: &Subject, at: u64) -> bool {
    let (letters, d): (&str, Option<&str>) = match subject {
        Subject::Channel(id, Snapshot::Metadata | Snapshot::Roles) => ("d", Some(id.as_str())),
        Subject::Channel(id, Snapshot::Admins | Snapshot::Members) => ("dp", Some(id.as_str())),
        Subject::Channel(id, Snapshot::Pins) => ("dea", Some(id.as_str())),
        Subject::Role(id) => ("d", Some(id)),
        Subject::Members => ("", None),
        Subject::Emoji => ("d", Some(emoji::SET)),
    };
    let mut tags = filter.generic_tags.iter();
    wants(filter, subject.kind())
        && filter.since.is_none_or(|since| since.as_secs() <= at)
        && filter.until.is_none_or(|until| until.as_secs() >= at)
        && tags.all(|(letter, values)| {
            letters.contains(letter.as_char())
                && (letter.as_char() != 'd' || d.is_some_and(|d| values.contains(d)))
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::groups::Authority;
    use crate::testing::Person;

    #[test]
    fn what_did_not_change_is_signed_once_and_nothing_more_than_is_wanted() {
        const CHANNELS: usize = 200;
        let (space, ann) = (Person::new(9), Person::new(1));
        let mut groups = Groups::new(space.key());
        for n in 0..CHANNELS {
            let id = format!("c{n}");
            let event = ann.event(kinds::CREATE_GROUP, 1000 + n as u64, &[&["h", &id]], "");
            groups.apply(&event, None);
        }
        let snapshots = Snapshots::new(space.0.clone(), Arc::new(|| 2000));
        let viewer = Viewer {
            people: vec![ann.key()],
            authority: Authority {
                relay: space.key(),
                owner: None,
                is_home: false,
            },
            now: 2000,
        };
        let ask = |filter: &Filter, groups: &Groups, wanted| {
            let before = snapshots.signed.load(Ordering::Relaxed);
            let found = snapshots.query(filter, groups, &viewer, wanted);
            let signed = snapshots.signed.load(Ordering::Relaxed) - before;
            (found, signed)
        };
        let everything = Filter::new();
        let (newest, signed) = ask(&everything, &groups, 10);
        assert_eq!(newest.len(), 10);
        assert!(signed <= 20, "{signed}: not more than one second too many");
        let (all, _) = ask(&everything, &groups, usize::MAX);
        assert!(all.len() > CHANNELS * Snapshot::ALL.len());
        assert_eq!(newest, all[..10]);
        all.iter().for_each(|event| event.event.verify().unwrap());
        for wanted in [usize::MAX, 10] {
            let (again, signed) = ask(&everything, &groups, wanted);
            assert_eq!((again.as_slice(), signed), (&all[..again.len()], 0));
        }
        // What changes is signed anew, and nothing else.
        let put = ann.event(
            kinds::PUT_USER,
            1500,
            &[&["h", "c7"], &["p", &Person::new(2).key().to_hex()]],
            "",
        );
        groups.apply(&put, None);
        let (_, signed) = ask(&everything, &groups, usize::MAX);
        assert!((1..=4).contains(&signed), "{signed}");
        // What cannot match is not made.
        let by_channel = everything
            .clone()
            .custom_tag(nostr::filter::SingleLetterTag::LOWERCASE_H, "c7");
        let by_ann = everything.clone().author(ann.key());
        for filter in [by_channel, by_ann] {
            assert!(ask(&filter, &groups, 10).0.is_empty());
        }
        let one = everything.identifier("c7").kind(Kind::from_u16(39002));
        assert_eq!(ask(&one, &groups, 10).0.len(), 1);
        // What is gone is not remembered.
        let kept = || snapshots.kept.lock().unwrap().signed.len();
        for n in 0..CHANNELS {
            let id = format!("c{n}");
            groups.apply(
                &ann.event(kinds::DELETE_GROUP, 1600, &[&["h", &id]], ""),
                None,
            );
        }
        groups.apply(
            &ann.event(kinds::CREATE_GROUP, 1700, &[&["h", "new"]], ""),
            None,
        );
        ask(&Filter::new(), &groups, usize::MAX);
        assert!(kept() <= subjects(&groups), "{}", kept());
    }
}
