//! The accounts in memory: found by name, device, person, signer and handle; and the keys of those that are open.

use std::collections::HashMap;

use nostr::key::{Keys, PublicKey};

use crate::accounts::error::AccountError;
use crate::accounts::names::AccountName;
use crate::accounts::record::{Account, AccountId};
use crate::accounts::sealed::{Cost, Sealed};
use crate::guests::GuestId;

struct Entry {
    account: Account,
    folded: String,
    look: String,
    signer: Keys,
    /// When the file last said that a device was here.
    dated: u64,
}

/// All accounts.
#[derive(Default)]
pub struct State {
    entries: HashMap<AccountId, Entry>,
    devices: HashMap<GuestId, AccountId>,
    open: HashMap<AccountId, Keys>,
}

impl State {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of all.
    pub fn ids(&self) -> Vec<AccountId> {
        self.entries.keys().cloned().collect()
    }

    /// One.
    pub fn get(&self, id: &AccountId) -> Option<&Account> {
        self.entries.get(id).map(|entry| &entry.account)
    }

    /// Takes in a new one, or the new state of a known one.
    pub fn put(&mut self, account: Account) -> Result<(), String> {
        let name = account.name()?;
        let entry = Entry {
            folded: name.folded(),
            look: name.look(),
            signer: account.signer_keys()?,
            dated: account
                .devices
                .iter()
                .map(|device| device.seen)
                .max()
                .unwrap_or(0),
            account,
        };
        let id = entry.account.id.clone();
        self.devices.retain(|_, owner| *owner != id);
        for device in &entry.account.devices {
            self.devices.insert(device.id.clone(), id.clone());
        }
        if entry.account.devices.is_empty() {
            self.open.remove(&id);
        }
        self.entries.insert(id, entry);
        Ok(())
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &AccountId) {
        self.entries.remove(id);
        self.open.remove(id);
        self.devices.retain(|_, owner| owner != id);
    }

    fn find(&self, is: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.entries.values().find(|entry| is(entry))
    }

    /// By any spelling of its name.
    pub fn by_name(&self, name: &AccountName) -> Option<AccountId> {
        let folded = name.folded();
        self.find(|entry| entry.folded == folded)
            .map(|entry| entry.account.id.clone())
    }

    /// By a device.
    pub fn by_device(&self, device: &GuestId) -> Option<AccountId> {
        self.devices.get(device).cloned()
    }

    /// By who it is.
    pub fn by_person(&self, person: &PublicKey) -> Option<AccountId> {
        self.find(|entry| entry.account.public_key == *person)
            .map(|entry| entry.account.id.clone())
    }

    /// By its signer.
    pub fn by_signer(&self, signer: &PublicKey) -> Option<(Account, Keys)> {
        self.find(|entry| entry.signer.public_key() == *signer)
            .map(|entry| (entry.account.clone(), entry.signer.clone()))
    }

    /// By its handle, if it wants to be found.
    pub fn by_handle(&self, handle: &str) -> Option<Account> {
        self.find(|entry| entry.account.findable && entry.account.handle.as_deref() == Some(handle))
            .map(|entry| entry.account.clone())
    }

    /// Whether somebody else has this handle.
    pub fn has_handle(&self, handle: &str, own: &AccountId) -> bool {
        self.find(|entry| {
            entry.account.id != *own && entry.account.handle.as_deref() == Some(handle)
        })
        .is_some()
    }

    /// Whether nobody has this name or one that looks like it.
    pub fn check_free(&self, name: &AccountName) -> Result<(), AccountError> {
        self.check_name(name, None)
    }

    fn check_name(&self, name: &AccountName, own: Option<&AccountId>) -> Result<(), AccountError> {
        let (folded, look) = (name.folded(), name.look());
        let same = |entry: &Entry| {
            Some(&entry.account.id) != own && (entry.folded == folded || entry.look == look)
        };
        self.find(same)
            .map_or(Ok(()), |_| Err(AccountError::NameTaken))
    }

    /// Whether nobody else has the name or the handle of this account.
    pub fn check_unique(&self, account: &Account) -> Result<(), AccountError> {
        let name = account.name().map_err(AccountError::Broken)?;
        self.check_name(&name, Some(&account.id))?;
        match &account.handle {
            Some(handle) if self.has_handle(handle, &account.id) => Err(AccountError::HandleTaken),
            _ => Ok(()),
        }
    }

    /// What the passphrases of all accounts cost.
    pub fn costs(&self) -> Vec<Cost> {
        self.entries
            .values()
            .filter_map(|entry| entry.account.key.as_ref().map(|key| key.cost))
            .collect()
    }

    /// A device is here. Says whether the file is this many seconds behind, what its token opens, and who it is.
    pub fn seen(
        &mut self,
        id: &AccountId,
        device: &GuestId,
        now: u64,
        behind: u64,
    ) -> Option<(bool, Option<Sealed>, PublicKey)> {
        let entry = self.entries.get_mut(id)?;
        let device = entry
            .account
            .devices
            .iter_mut()
            .find(|known| known.id == *device)?;
        device.seen = device.seen.max(now);
        let stale = now > entry.dated + behind;
        if stale {
            entry.dated = now;
        }
        Some((stale, device.key.clone(), entry.account.public_key))
    }

    /// The accounts that are open, with their keys.
    pub fn open_ones(&self) -> Vec<(Account, Keys)> {
        let open = self.open.iter();
        open.filter_map(|(id, keys)| Some((self.get(id)?.clone(), keys.clone())))
            .collect()
    }

    /// Everybody.
    pub fn people(&self) -> Vec<PublicKey> {
        let all = self.entries.values();
        all.map(|entry| entry.account.public_key).collect()
    }

    /// Keeps the keys of an account that was opened.
    pub fn unseal(&mut self, id: &AccountId, keys: Keys) {
        if self
            .entries
            .get(id)
            .is_some_and(|entry| !entry.account.devices.is_empty())
        {
            self.open.insert(id.clone(), keys);
        }
    }

    /// The keys of an account, if it is open.
    pub fn keys(&self, id: &AccountId) -> Option<Keys> {
        self.open.get(id).cloned()
    }
}
