//! The relay of the people of one home (NIP-65): the same core as a space, with another policy. It has no channels, no
//! roles and no members of its own; whose relay it is the home says, at every event.
//!
//! | who | may |
//! |---|---|
//! | people of the home, proved (NIP-42) | write what is public and their own, take it back, vanish |
//! | the home itself, proved | hand in what its people signed |
//! | everybody | read what is public; leave sealed messages (NIP-59) for people of the home, a few at a time |
//! | whom a sealed message is for, and homes that person permitted | read it (see `mail`) |
//!
//! What others wrote is not kept here, whoever follows them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nostr::event::Event;
use nostr::filter::Filter;
use nostr::key::PublicKey;

use crate::access::Viewer;
use crate::config::Limits;
use crate::core::Core;
use crate::groups::kinds;
use crate::groups::rules::{self, Refusal, invalid, restricted};
use crate::mail;
use crate::rate::{People, Rate};
use crate::record::{ChannelId, StoredEvent};
use crate::store::{Query, StoreError};

/// Who lives at the home whose relay it is. Asked at every event, so that who moves in or out counts at once.
pub trait Residents: Send + Sync + 'static {
    /// Whether somebody has an account at the home.
    fn lives_here(&self, person: &PublicKey) -> bool;

    /// Whether it is the key by which the home itself proves who it is, to hand in what its people signed.
    fn is_home(&self, key: &PublicKey) -> bool;

    /// Whom a name of NIP-05 belongs to, if that person wants to be found.
    fn named(&self, handle: &str) -> Option<PublicKey>;
}

/// Seconds after which what somebody keeps is counted anew, when it is too much.
const COUNT_AGAIN: u64 = 60;
/// Events that are counted at a time.
const PAGE: usize = 500;
/// Kinds that would tell the world what was meant for one person: a NIP-04 message, and what belongs inside a gift wrap
/// (NIP-17, NIP-59).
const SEALED_ONLY: [u16; 4] = [4, 13, 14, 15];

/// What a home's relay needs beyond a space.
pub struct Personal {
    residents: Arc<dyn Residents>,
    kept: Mutex<HashMap<PublicKey, Kept>>,
    letters: Mutex<People>,
}

/// How much somebody keeps here.
#[derive(Debug, Clone, Copy)]
struct Kept {
    events: usize,
    bytes: usize,
    counted_at: u64,
}

/// How fast strangers may leave messages: for one person, and on one connection.
pub fn strangers_rate(limits: &Limits) -> Rate {
    Rate {
        per_second: f64::from(limits.stranger_wraps_per_minute) / 60.0,
        burst: f64::from(limits.stranger_wrap_burst),
    }
}

impl Personal {
    /// The relay of these people.
    pub fn new(residents: Arc<dyn Residents>, limits: &Limits) -> Self {
        Self {
            residents,
            kept: Mutex::default(),
            letters: Mutex::new(People::new(strangers_rate(limits))),
        }
    }

    /// Whether somebody lives at the home.
    pub fn lives_here(&self, person: &PublicKey) -> bool {
        self.residents.lives_here(person)
    }

    /// Whom a name of NIP-05 belongs to.
    pub fn named(&self, handle: &str) -> Option<PublicKey> {
        self.residents.named(handle)
    }

    /// The one among these who is known here: a person of the home, or the home itself.
    pub fn known<'a>(&self, people: &'a [PublicKey]) -> Option<&'a PublicKey> {
        people
            .iter()
            .find(|person| self.residents.lives_here(person) || self.residents.is_home(person))
    }

    /// Whether the home itself speaks.
    pub fn is_home(&self, viewer: &Viewer) -> bool {
        viewer.people.iter().any(|key| self.residents.is_home(key))
    }

    /// Whether a stranger may leave one more message for this person now.
    pub fn take_letter(&self, to: &PublicKey) -> bool {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.take(to, Instant::now())
    }

    /// Step 7 and 9: whether an event may be kept here.
    pub fn check(&self, event: &Event, channel: Option<&ChannelId>) -> Result<(), Refusal> {
        let kind = event.kind.as_u16();
        if channel.is_some() {
            return Err(restricted(
                "there are no channels here: leave out the h tag",
            ));
        }
        if !self.residents.lives_here(&event.pubkey) {
            return Err(restricted("this is the relay of people who live here"));
        }
        if SEALED_ONLY.contains(&kind) {
            return Err(
                "blocked: this kind tells others what is private; seal it in a gift wrap (NIP-17)"
                    .into(),
            );
        }
        let is_of_spaces = kinds::is_moderation(kind)
            || [
                kinds::JOIN,
                kinds::LEAVE,
                kinds::SPACE_JOIN,
                kinds::SPACE_LEAVE,
                kinds::REPORT,
                kinds::TYPING,
                kinds::PRESENCE,
            ]
            .contains(&kind);
        if is_of_spaces {
            return Err(restricted("this is for the space that it is about"));
        }
        if kind == kinds::DELETION && event.tags.expiration().is_some() {
            return Err(invalid("a deletion does not expire"));
        }
        if kind == 0 {
            rules::profile(&event.content)?;
        }
        Ok(())
    }

    /// Whether somebody may keep one more event here, and counts it. Called by the thread that writes.
    pub fn take_room(&self, event: &Event, core: &Core) -> Result<bool, StoreError> {
        let limits = &core.config.limits;
        let now = core.now();
        let fits =
            |kept: &Kept| kept.events < limits.person_events && kept.bytes < limits.person_bytes;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = match kept.get(&event.pubkey) {
            Some(own) if fits(own) || now < own.counted_at.saturating_add(COUNT_AGAIN) => *own,
            // Unknown, or some may have been taken back meanwhile.
            _ => count(&event.pubkey, core)?,
        };
        let room = fits(&own);
        if room {
            own.events += 1;
            own.bytes += event.content.len() + 512;
        }
        kept.insert(event.pubkey, own);
        Ok(room)
    }
}

/// What somebody keeps here.
fn count(person: &PublicKey, core: &Core) -> Result<Kept, StoreError> {
    let filter = Filter::new().author(*person);
    let mut kept = Kept {
        events: 0,
        bytes: 0,
        counted_at: core.now(),
    };
    let mut after = None;
    loop {
        let page = core.store.query(&Query {
            filter: &filter,
            without: &[],
            after,
            limit: PAGE,
            bytes: 1 << 20,
            now: core.now(),
        })?;
        kept.events += page.events.len();
        let bytes = page
            .events
            .iter()
            .map(|event: &Arc<StoredEvent>| event.cost());
        kept.bytes += bytes.sum::<usize>();
        after = page.next;
        if after.is_none() {
            return Ok(kept);
        }
    }
}

impl Core {
    /// Whether somebody belongs to the space, or lives at the home whose relay it is.
    pub fn belongs(&self, groups: &crate::groups::Groups, person: &PublicKey) -> bool {
        match &self.personal {
            Some(personal) => personal.lives_here(person),
            None => groups.is_member(person) || self.authority.is_above(person),
        }
    }

    /// Whether it is a sealed message of somebody whom this home does not know (step 3).
    pub fn is_strange_letter(&self, event: &Event, people: &[PublicKey]) -> bool {
        mail::is_wrap(event.kind.as_u16())
            && self
                .personal
                .as_ref()
                .is_some_and(|personal| personal.known(people).is_none())
    }
}
