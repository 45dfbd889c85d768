//! Private messages that a space carries for its members (NIP-17, in the gift wraps of NIP-59): from a member, who proved
//! to be one, to a member; given to the recipient alone, or to the home that the recipient once signed a permission for.
//! The space sees who writes to whom and when; what is written it cannot read.
//!
//! Wraps are signed by keys made for one message: who sends is told by the connection, not by the event.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nostr::event::{Event, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use crate::access::Viewer;
use crate::core::Core;
use crate::groups::rules::{self, Refusal};
use crate::groups::{Groups, kinds};
use crate::rate::{People, Rate};
use crate::read_state;
use crate::record::{ChannelId, StoredEvent, tag_values};
use crate::store::{Query, StoreError};

/// The `d` tag of a permission.
pub const PERMISSION: &str = "warren/collect";
/// Homes that one permission may name.
const HOMES: usize = 8;
/// People whose messages are counted at a time.
const COUNTED: usize = 4096;

/// Whether it is a wrap, or a short-lived one (typing and the like).
pub fn is_wrap(kind: u16) -> bool {
    matches!(kind, kinds::GIFT_WRAP | kinds::EPHEMERAL_GIFT_WRAP)
}

/// Whether it is a permission for a home to collect somebody's messages.
pub fn is_permission(event: &Event) -> bool {
    event.kind.as_u16() == kinds::APP_DATA && event.tags.identifier().as_deref() == Some(PERMISSION)
}

/// Whether it is what somebody keeps here for themselves: a permission, or how far they have read.
pub fn is_own(event: &Event) -> bool {
    is_permission(event) || read_state::is_one(event)
}

/// Where the event belongs, if it is part of the mail.
pub fn place(event: &Event) -> Result<Option<ChannelId>, Refusal> {
    if !is_wrap(event.kind.as_u16()) && !is_own(event) {
        return Ok(None);
    }
    if tag_values(event, "h").next().is_some() {
        return Err("invalid: a private message belongs to no channel".into());
    }
    Ok(Some(ChannelId::mail()))
}

/// Whether somebody may keep such a thing here: members may. Who is silenced may take a permission back, but give none.
pub fn check_own(event: &Event, groups: &Groups, core: &Core) -> Result<(), Refusal> {
    if is_permission(event) && tag_values(event, "p").next().is_some() {
        rules::not_silenced(groups, &event.pubkey, core.now())?;
    }
    if !core.belongs(groups, &event.pubkey) {
        return Err("restricted: join this space first".into());
    }
    if read_state::is_one(event) {
        read_state::check(event, &core.config.limits)?;
    }
    Ok(())
}

/// Which homes may collect whose messages: state that is made of the permissions in the journal.
#[derive(Debug, Clone, Default)]
pub struct Permissions {
    by_person: HashMap<PublicKey, Collectors>,
}

/// What one permission says.
#[derive(Debug, Clone)]
struct Collectors {
    /// Its date, seconds since 1970.
    at: u64,
    /// The second from which on it counts no more (NIP-40).
    expires: Option<u64>,
    homes: HashSet<PublicKey>,
}

impl Permissions {
    /// Takes in a permission that was accepted: it replaces the person's earlier one.
    pub fn apply(&mut self, event: &Event) {
        let at = event.created_at.as_secs();
        if self
            .by_person
            .get(&event.pubkey)
            .is_some_and(|known| known.at > at)
        {
            return;
        }
        let homes = tag_values(event, "p")
            .filter_map(|home| PublicKey::from_hex(home).ok())
            .take(HOMES)
            .collect();
        let expires = event.tags.expiration().map(|time| time.as_secs());
        let permission = Collectors { at, expires, homes };
        self.by_person.insert(event.pubkey, permission);
    }

    /// Forgets what somebody permitted until a second.
    pub fn forget(&mut self, person: &PublicKey, until: u64) {
        self.by_person
            .retain(|by, permission| by != person || permission.at > until);
    }

    /// Whether this reader may have what is for `person`.
    pub fn may_collect(&self, viewer: &Viewer, person: &PublicKey) -> bool {
        let permits = |permission: &Collectors| {
            permission.expires.is_none_or(|time| time > viewer.now)
                && viewer
                    .people
                    .iter()
                    .any(|reader| permission.homes.contains(reader))
        };
        viewer.people.contains(person) || self.by_person.get(person).is_some_and(permits)
    }
}

/// The one a wrap is for.
pub fn recipient(event: &Event) -> Option<PublicKey> {
    let mut named = tag_values(event, "p");
    let person = PublicKey::from_hex(named.next()?).ok()?;
    named.next().is_none().then_some(person)
}

/// Whether a deletion by `person` may erase this: what was sent to somebody is theirs (NIP-59).
pub fn is_for(event: &StoredEvent, person: &PublicKey) -> bool {
    is_wrap(event.event.kind.as_u16()) && recipient(&event.event) == Some(*person)
}

/// Whether the viewer may see an event of the mail.
pub fn may_see(event: &Event, viewer: &Viewer, groups: &Groups) -> bool {
    let is_author = || viewer.people.contains(&event.pubkey);
    if is_wrap(event.kind.as_u16()) {
        return recipient(event)
            .is_some_and(|person| groups.permissions.may_collect(viewer, &person));
    }
    let is_named = || {
        tag_values(event, "p")
            .filter_map(|home| PublicKey::from_hex(home).ok())
            .any(|home| viewer.people.contains(&home))
    };
    // A permission is its author's and the homes' it names; what a recipient deleted, and how far somebody has read, is
    // told to nobody else.
    is_author() || (is_permission(event) && is_named())
}

/// Whether a filter asks for mail of this kind: what is private goes to nobody who asks for everything.
pub fn asks_for(filter: &Filter, kind: u16) -> bool {
    filter.ids.is_some()
        || filter
            .kinds
            .as_ref()
            .is_some_and(|kinds| kinds.contains(&Kind::from_u16(kind)))
}

/// Whether the mail need not be looked through for this filter.
pub fn leaves_out(filter: &Filter, viewer: &Viewer, groups: &Groups) -> bool {
    let own = |named: Option<&std::collections::BTreeSet<String>>| {
        named.is_some_and(|named| {
            named.iter().any(|person| {
                PublicKey::from_hex(person)
                    .is_ok_and(|person| groups.permissions.may_collect(viewer, &person))
            })
        })
    };
    let asks = filter.ids.is_some()
        || (asks_for(filter, kinds::GIFT_WRAP)
            && own(filter.generic_tags.get(&SingleLetterTag::LOWERCASE_P)))
        || (asks_for(filter, kinds::APP_DATA) && !viewer.people.is_empty());
    !asks
}

/// Why a question for wraps is not answered, if so: one names whose they are, and may have them.
pub fn refusal(filter: &Filter, viewer: &Viewer, groups: &Groups) -> Option<&'static str> {
    let asks = filter
        .kinds
        .as_ref()
        .is_some_and(|kinds| kinds.iter().any(|kind| is_wrap(kind.as_u16())));
    if !asks {
        return None;
    }
    let named = filter.generic_tags.get(&SingleLetterTag::LOWERCASE_P);
    let own = named.is_some_and(|named| {
        !named.is_empty()
            && named.iter().all(|person| {
                PublicKey::from_hex(person)
                    .is_ok_and(|person| groups.permissions.may_collect(viewer, &person))
            })
    });
    match own {
        true => None,
        false if viewer.people.is_empty() => {
            Some("auth-required: say who you are to collect your messages")
        }
        false => Some("restricted: private messages are for those they name (#p)"),
    }
}

/// How often somebody may send, and how much waits for whom.
#[derive(Debug)]
pub struct Mail {
    senders: Mutex<People>,
    waiting: Mutex<HashMap<PublicKey, Waiting>>,
    /// How often messages were counted.
    #[cfg(test)]
    counted: std::sync::atomic::AtomicUsize,
}

/// What waits for one person.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    count: usize,
    /// Counted since something last went: not more than there is.
    is_counted: bool,
}

impl Mail {
    /// Nothing was sent yet.
    pub fn new(rate: Rate) -> Self {
        Self {
            senders: Mutex::new(People::new(rate)),
            waiting: Mutex::default(),
            #[cfg(test)]
            counted: Default::default(),
        }
    }

    /// Steps 6, 7 and 10 for a wrap: from a member to a member, not too fast. To people of a home from anybody.
    pub fn check(
        &self,
        event: &Event,
        viewer: &Viewer,
        groups: &Groups,
        core: &Core,
    ) -> Result<(), Refusal> {
        let belongs = |person: &PublicKey| core.belongs(groups, person);
        let Some(person) = recipient(event) else {
            return Err("invalid: a private message is for one person (p tag)".into());
        };
        if event.tags.iter().any(|tag| tag.kind() == "-") {
            // NIP-70: its author alone may publish it, and a wrap's author is nobody.
            return Err("restricted: a private message cannot be a protected event".into());
        }
        if let Some(personal) = &core.personal {
            if !belongs(&person) {
                return Err("restricted: the message is for nobody who lives here".into());
            }
            let taken = match personal.known(&viewer.people) {
                Some(sender) => self.take(sender),
                None => personal.take_letter(&person),
            };
            return taken.then_some(()).ok_or_else(too_fast);
        }
        if viewer.people.is_empty() {
            return Err("auth-required: only members send messages here".into());
        }
        let mut members = viewer.people.iter().filter(|person| belongs(person));
        let Some(sender) = members.next() else {
            return Err("restricted: join a channel of this space first".into());
        };
        // Which of them writes is not to be seen: one who is silenced silences the connection.
        for person in members.chain([sender]) {
            rules::not_silenced(groups, person, viewer.now)?;
        }
        if !belongs(&person) {
            return Err("restricted: the message is for nobody of this space".into());
        }
        self.take(sender).then_some(()).ok_or_else(too_fast)
    }

    fn take(&self, sender: &PublicKey) -> bool {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.take(sender, Instant::now())
    }
    /// Whether one more may wait for its recipient, and counts it. Called by the thread that writes.
    pub fn take_room(
        &self,
        event: &Event,
        viewer: &Viewer,
        core: &Core,
    ) -> Result<bool, StoreError> {
        let limits = &core.config.limits;
        let limit = if core.is_strange_letter(event, &viewer.people) {
            limits.stranger_mailbox_events.min(limits.mailbox_events)
        } else {
            limits.mailbox_events
        };
        let Some(person) = recipient(event) else {
            return Ok(false);
        };
        let mut waiting = self.waiting();
        if waiting.len() >= COUNTED {
            waiting.clear();
        }
        let known = waiting.get(&person).copied();
        let known = known.filter(|known| known.count < limit || known.is_counted);
        let Waiting { count, is_counted } = match known {
            Some(known) => known,
            None => {
                #[cfg(test)]
                self.counted
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Waiting {
                    // Of strangers fewer may wait, but all of them are counted.
                    count: count(&person, limits.mailbox_events, core)?,
                    is_counted: true,
                }
            }
        };
        let fits = count < limit;
        let kept = Waiting {
            count: count + usize::from(fits),
            // What was counted in now may not reach the disk.
            is_counted: is_counted && !fits,
        };
        waiting.insert(person, kept);
        Ok(fits)
    }

    /// Something that waited for somebody was erased; `None`: for anybody. Called by the thread that writes.
    pub fn made_room(&self, person: Option<&PublicKey>) {
        let mut waiting = self.waiting();
        match person {
            Some(person) => drop(waiting.remove(person)),
            None => waiting.clear(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<PublicKey, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_fast() -> Refusal {
    "rate-limited: you write very fast; wait a moment".into()
}

/// What waits for somebody, at most `limit`.
fn count(person: &PublicKey, limit: usize, core: &Core) -> Result<usize, StoreError> {
    let filter = Filter::new()
        .kind(Kind::from_u16(kinds::GIFT_WRAP))
        .pubkey(*person);
    core.store.count(&Query {
        filter: &filter,
        without: &[],
        after: None,
        limit,
        bytes: usize::MAX,
        now: core.now(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::groups::Authority;
    use crate::testing::{Person, SERVICE};
    use crate::{Limits, Space, SpaceConfig};

    #[test]
    fn a_full_mailbox_is_counted_once_until_something_of_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits {
            mailbox_events: 5,
            ..Limits::default()
        };
        let config = SpaceConfig {
            stores: crate::stores::Stores::default(),
            dir: dir.path().to_owned(),
            name: "Garden club".into(),
            about: String::new(),
            service: SERVICE.into(),
            owner: None,
            limits,
        };
        let space = Space::open(config, Arc::new(|| 2000)).unwrap();
        let core = space.core();
        let ben = Person::new(2);
        let wrap = |n: u8| {
            let to = ben.key().to_hex();
            Arc::new(StoredEvent {
                event: Person::new(100 + n).event(1059, 1000, &[&["p", &to]], ""),
                channel: Some(ChannelId::mail()),
            })
        };
        let viewer = Viewer {
            people: vec![ben.key()],
            authority: core.authority,
            now: core.now(),
        };
        let counted = || core.mail.counted.load(Ordering::Relaxed);
        for n in 0..5 {
            assert!(core.mail.take_room(&wrap(n).event, &viewer, core).unwrap());
            // Some lie in the index, some wait for it.
            core.store.append(&[wrap(n)], &[]).unwrap();
            if n == 2 {
                core.store.maintain().unwrap();
            }
        }
        assert_eq!(counted(), 1);
        for n in 5..55 {
            assert!(!core.mail.take_room(&wrap(n).event, &viewer, core).unwrap());
        }
        assert_eq!(counted(), 2, "once more, to be sure that it is full");
        core.store.append(&[], &[wrap(0).event.id]).unwrap();
        core.mail.made_room(Some(&ben.key()));
        assert!(core.mail.take_room(&wrap(60).event, &viewer, core).unwrap());
        assert_eq!(counted(), 3);
    }

    #[test]
    fn nip40_a_permission_to_collect_ends_with_its_expiration() {
        let (ben, home, space) = (Person::new(2), Person::new(9), Person::new(8));
        let hex = home.key().to_hex();
        let (d, p) = (["d", PERMISSION], ["p", hex.as_str()]);
        let permission = ben.event(30078, 1000, &[&d, &p, &["expiration", "1500"]], "");
        let mut permissions = Permissions::default();
        permissions.apply(&permission);
        let collects = |permissions: &Permissions, now| {
            let viewer = Viewer {
                people: vec![home.key()],
                authority: Authority {
                    relay: space.key(),
                    owner: None,
                    is_home: false,
                },
                now,
            };
            permissions.may_collect(&viewer, &ben.key())
        };
        assert!(collects(&permissions, 1499));
        assert!(!collects(&permissions, 1500));
        permissions.apply(&ben.event(30078, 1001, &[&d, &p], ""));
        assert!(collects(&permissions, 1500));
        permissions.forget(&ben.key(), 1000);
        assert!(collects(&permissions, 1500), "it came later");
        permissions.forget(&ben.key(), 1001);
        assert!(!collects(&permissions, 1500));
    }
}
