//! Whoever writes from this home: guests, and accounts by the devices that are logged in. To pages and links both are
//! the same: a name and a key behind a token.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use nostr::key::PublicKey;
use tokio::sync::{broadcast, watch};

use crate::accounts::{Accounts, Session};
use crate::dialer::ServiceName;
use crate::error::HomeError;
use crate::guests::{Guest, GuestError, GuestId, Guests, Token};

/// Notes of who wrote where that may wait to be read.
const NOTES: usize = 64;
/// Guests of whom is remembered where they wrote, and spaces of each.
const GUESTS: usize = 1000;
const GUEST_SPACES: usize = 16;

/// All people of a home.
pub struct People {
    /// Those with a throw-away account.
    pub guests: Arc<Guests>,
    /// Those with an account that stays.
    pub accounts: Arc<Accounts>,
    wrote: broadcast::Sender<(PublicKey, ServiceName)>,
    /// Where guests wrote since the start: it is theirs when they keep their account.
    as_guest: Mutex<HashMap<PublicKey, BTreeSet<ServiceName>>>,
}

/// Who wrote a message that waits, as far as it can be signed for now.
pub enum Writer {
    /// With their key.
    Here(Box<Guest>),
    /// Their account is sealed until they are here again.
    Sealed,
    /// Their account is no more.
    Gone,
}

impl People {
    /// Both kinds. A guest whose account was kept when the plug was pulled is forgotten now. Blocks.
    pub fn new(guests: Guests, accounts: Accounts) -> Result<Self, HomeError> {
        for id in guests.ids() {
            if accounts.by_device(&id).is_some() {
                guests.forget(&id)?;
            }
        }
        Ok(Self {
            guests: Arc::new(guests),
            accounts: Arc::new(accounts),
            wrote: broadcast::channel(NOTES).0,
            as_guest: Mutex::default(),
        })
    }

    /// The one behind a token, if there is a key that signs.
    pub fn get(&self, id: &GuestId) -> Option<Guest> {
        let Some(account) = self.accounts.by_device(id) else {
            return self.guests.get(id);
        };
        let keys = self.accounts.keys(&account.id)?;
        Some(Guest {
            id: id.clone(),
            name: account.name,
            keys,
        })
    }

    /// The one behind a token. Guests are made or renamed as they wish; an account keeps its name. Blocks.
    pub fn enter(&self, token: &Token, name: &str, now: u64) -> Result<Guest, GuestError> {
        if self.accounts.by_device(&token.id()).is_some() {
            return self.get(&token.id()).ok_or(GuestError::KeyElsewhere);
        }
        self.guests.enter(token, name, now)
    }

    /// Who wrote a message: behind this token then, or, when that device is logged out, the person.
    pub fn writer(&self, id: &GuestId, person: &PublicKey) -> Writer {
        if let Some(guest) = self
            .get(id)
            .filter(|guest| guest.keys.public_key() == *person)
        {
            return Writer::Here(Box::new(guest));
        }
        let Some(account) = self.accounts.by_person(person) else {
            return Writer::Gone;
        };
        match self.accounts.keys(&account.id) {
            Some(keys) => Writer::Here(Box::new(Guest {
                id: id.clone(),
                name: account.name,
                keys,
            })),
            None => Writer::Sealed,
        }
    }

    /// A space took what somebody wrote, or let them in: they belong to it.
    pub fn wrote_in(&self, person: &PublicKey, service: &ServiceName) {
        if self.accounts.by_person(person).is_none() {
            let mut all = self.as_guest.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() < GUESTS || all.contains_key(person) {
                let spaces = all.entry(*person).or_default();
                if spaces.len() < GUEST_SPACES {
                    spaces.insert(service.clone());
                }
            }
        }
        let _ = self.wrote.send((*person, service.clone()));
    }

    /// A guest has an account now: what was said of the guest is said again.
    pub fn kept(&self, person: &PublicKey) {
        let mut all = self.as_guest.lock().unwrap_or_else(PoisonError::into_inner);
        let spaces = all.remove(person).unwrap_or_default();
        drop(all);
        for service in spaces {
            let _ = self.wrote.send((*person, service));
        }
    }

    /// Who wrote where, from now on. What is missed comes again when they write again.
    pub fn writers(&self) -> broadcast::Receiver<(PublicKey, ServiceName)> {
        self.wrote.subscribe()
    }

    /// Changes whenever an account was opened or sealed.
    pub fn opened(&self) -> watch::Receiver<u32> {
        self.accounts.opened()
    }

    /// A request shows this token: opens the account behind it, and notes that its device or guest is here. Needs a
    /// runtime.
    pub fn present(self: &Arc<Self>, token: &Token) -> Option<Session> {
        if let Some((session, stale)) = self.accounts.present(token) {
            if stale {
                let (people, account) = (Arc::clone(self), session.account.clone());
                tokio::spawn(async move {
                    if let Err(error) = people.accounts.keep_dates(&account).await {
                        log::warn!("when a device was last here could not be kept: {error}");
                    }
                });
            }
            return Some(session);
        }
        let (id, now) = (token.id(), self.accounts.now());
        if self.guests.seen(&id, now) {
            let people = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = people.guests.keep_date(&id, now) {
                    log::warn!("when a guest was last here could not be kept: {error}");
                }
            });
        }
        None
    }
}
