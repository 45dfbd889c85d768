//! Private messages that a space carries for its members (NIP-17, in the gift wraps of NIP-59): from a member, who proved
//! to be one, to a member; given to the recipient alone, or to the home that the recipient once signed a permission for.
//! The space sees who writes to whom and when; what is written it cannot read.
//!
//! Wraps are signed by keys made for one message: who sends is told by the connection, not by the event.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nostr::event::{Event, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use crate::access::Viewer;
use crate::core::Core;
use crate::groups::rules::Refusal;
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
/// Wraps that are counted at a time.
const PAGE: usize = 500;

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

/// Whether somebody may keep such a thing here: members may.
pub fn check_own(event: &Event, groups: &Groups, core: &Core) -> Result<(), Refusal> {
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
    by_person: HashMap<PublicKey, (u64, HashSet<PublicKey>)>,
}

impl Permissions {
    /// Takes in a permission that was accepted: it replaces the person's earlier one.
    pub fn apply(&mut self, event: &Event) {
        let at = event.created_at.as_secs();
        if self
            .by_person
            .get(&event.pubkey)
            .is_some_and(|(known, _)| *known > at)
        {
            return;
        }
        let homes = tag_values(event, "p")
            .filter_map(|home| PublicKey::from_hex(home).ok())
            .take(HOMES)
            .collect();
        self.by_person.insert(event.pubkey, (at, homes));
    }

    /// Whether one of these readers may have what is for `person`.
    pub fn may_collect(&self, readers: &[PublicKey], person: &PublicKey) -> bool {
        readers.contains(person)
            || self
                .by_person
                .get(person)
                .is_some_and(|(_, homes)| readers.iter().any(|reader| homes.contains(reader)))
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
            .is_some_and(|person| groups.permissions.may_collect(&viewer.people, &person));
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
                    .is_ok_and(|person| groups.permissions.may_collect(&viewer.people, &person))
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
                    .is_ok_and(|person| groups.permissions.may_collect(&viewer.people, &person))
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
    waiting: Mutex<HashMap<PublicKey, usize>>,
}

impl Mail {
    /// Nothing was sent yet.
    pub fn new(rate: Rate) -> Self {
        Self {
            senders: Mutex::new(People::new(rate)),
            waiting: Mutex::default(),
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
        let Some(sender) = viewer.people.iter().find(|person| belongs(person)) else {
            return Err("restricted: join a channel of this space first".into());
        };
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
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= COUNTED {
            waiting.clear();
        }
        let count = match waiting.get(&person) {
            Some(count) if *count < limit => *count,
            // Unknown, or some may have been deleted meanwhile.
            _ => count(&person, limit, core)?,
        };
        let fits = count < limit;
        waiting.insert(person, count + usize::from(fits));
        Ok(fits)
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
    let (mut found, mut after) = (0, None);
    loop {
        let query = Query {
            filter: &filter,
            without: &[],
            after,
            limit: PAGE,
            bytes: usize::MAX,
            now: core.now(),
        };
        let page = core.store.query(&query)?;
        found += page.events.len();
        after = page.next;
        if after.is_none() || found >= limit {
            return Ok(found);
        }
    }
}
