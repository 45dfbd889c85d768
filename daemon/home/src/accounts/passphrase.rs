//! What asks for a passphrase: making accounts, logging in, and everything that a device alone may not do. Keys are
//! derived one at a time, after a look at how often the same source asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nostr::key::{Keys, PublicKey};

use super::error::AccountError;
use super::names::{AccountName, NameFault};
use super::record::{Account, AccountId};
use super::sealed::{Cost, Locked, PASSPHRASE_BYTES, PASSPHRASE_CHARS};
use super::{Accounts, LoggedIn, Session, blocking, keys_of};
use crate::guests::Token;

/// What somebody chose for a new account.
pub struct Wish {
    /// The name, as typed.
    pub name: String,
    /// The passphrase, as typed.
    pub passphrase: String,
    /// What the device is called.
    pub device: String,
}

impl Accounts {
    /// Counts one thing that costs work, against this source.
    pub fn pace(&self, source: Option<IpAddr>) -> Result<(), AccountError> {
        self.sources
            .take(source, Instant::now())
            .map_err(AccountError::wait)
    }

    /// Does work that derives keys from passphrases: after a look at how often this source asks, one at a time.
    pub(super) async fn dearly<T, F>(
        self: &Arc<Self>,
        source: Option<IpAddr>,
        work: F,
    ) -> Result<T, AccountError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, AccountError> + Send + 'static,
    {
        self.pace(source)?;
        let turn = self.queue.enter().await.ok_or(AccountError::Busy)?;
        let accounts = Arc::clone(self);
        // The turn goes along: it lasts as long as the work, also when the one who asked is gone.
        blocking(move || {
            let _turn = turn;
            work(&accounts)
        })
        .await
    }

    /// Makes an account, with a new key, or with the key of a guest, who keeps the token as well.
    pub async fn create(
        self: &Arc<Self>,
        wish: Wish,
        guest: Option<(Token, Keys)>,
        source: Option<IpAddr>,
    ) -> Result<LoggedIn, AccountError> {
        let name = AccountName::parse(&wish.name).map_err(AccountError::Name)?;
        check_passphrase(&wish.passphrase, &name)?;
        self.dearly(source, move |accounts| {
            // Not before the turn is paid for, or anybody could ask quickly which names there are.
            accounts.state().check_free(&name)?;
            let (token, keys) = match guest {
                Some(guest) => guest,
                None => (Token::random()?, Keys::generate()),
            };
            let person = keys.public_key();
            let key = accounts.lock(&keys, &wish.passphrase)?;
            let account = accounts.blank(person, Some(key))?;
            accounts.add(&name, Some(&keys), account, token, &wish.device)
        })
        .await
    }

    /// Makes an account for somebody who keeps the key elsewhere and has proved to hold it, or logs them in.
    pub async fn enter_with_own_key(
        self: &Arc<Self>,
        person: PublicKey,
        name: Option<String>,
        device: String,
    ) -> Result<LoggedIn, AccountError> {
        let known = self.state().by_person(&person);
        let accounts = Arc::clone(self);
        blocking(move || {
            let token = Token::random()?;
            if let Some(account) = known {
                if accounts
                    .account(&account)
                    .is_some_and(|account| account.key.is_some())
                {
                    return Err(AccountError::AccountExists); // a key that is sealed here opens with its passphrase
                }
                return accounts.admit(&account, None, token, &device);
            }
            let name = name.ok_or(AccountError::Name(NameFault::Empty))?;
            let name = AccountName::parse(&name).map_err(AccountError::Name)?;
            let account = accounts.blank(person, None)?;
            accounts.add(&name, None, account, token, &device)
        })
        .await
    }

    /// Logs in. An unknown name and a wrong passphrase have one answer, and cost the same.
    pub async fn log_in(
        self: &Arc<Self>,
        wish: Wish,
        source: Option<IpAddr>,
    ) -> Result<LoggedIn, AccountError> {
        self.dearly(source, move |accounts| {
            let name = AccountName::parse(&wish.name).ok();
            let id = name.and_then(|name| accounts.state().by_name(&name));
            let keys = accounts.unlock(id.as_ref(), &wish.name, &wish.passphrase)?;
            let id = id.ok_or(AccountError::WrongPassphrase)?;
            accounts.admit(&id, Some(keys), Token::random()?, &wish.device)
        })
        .await
    }

    /// Adds a device to an account. Those that were not here for the longest time make room. Blocks.
    fn admit(
        &self,
        id: &AccountId,
        keys: Option<Keys>,
        token: Token,
        device: &str,
    ) -> Result<LoggedIn, AccountError> {
        let max = self.limits.devices;
        let session = Session {
            account: id.clone(),
            device: token.id(),
        };
        self.change_now(id, |account| {
            let device = self.device(&account.public_key, keys.as_ref(), &token, device)?;
            account
                .devices
                .sort_by_key(|device| std::cmp::Reverse(device.seen));
            account.devices.truncate(max.saturating_sub(1));
            account.devices.push(device);
            Ok(())
        })?;
        if let Some(keys) = keys {
            self.unseal(id, keys);
        }
        Ok(LoggedIn { session, token })
    }

    pub(super) fn lock(&self, keys: &Keys, passphrase: &str) -> Result<Locked, AccountError> {
        let about = Account::about(&keys.public_key());
        Ok(Locked::seal(
            self.cost,
            passphrase,
            keys.secret_key().as_secret_bytes(),
            &about,
        )?)
    }

    /// The keys of an account, by its passphrase. Where there is nothing to open, the same work is done for nothing.
    pub(super) fn unlock(
        &self,
        id: Option<&AccountId>,
        typed: &str,
        passphrase: &str,
    ) -> Result<Keys, AccountError> {
        let account = id.and_then(|id| self.account(id));
        let Some((account, key)) =
            account.and_then(|account| account.key.clone().map(|key| (account, key)))
        else {
            self.cost_of_nobody(typed).waste(short(passphrase))?;
            return Err(AccountError::WrongPassphrase);
        };
        let secret = key.open(short(passphrase), &Account::about(&account.public_key))?;
        keys_of(&secret, &account.public_key)
    }

    /// What a login under a name that nobody has must cost: what it costs for somebody, always the same one.
    fn cost_of_nobody(&self, typed: &str) -> Cost {
        let mut costs = self.state().costs();
        costs.sort();
        let hash = blake3::keyed_hash(&self.unknown, typed.to_lowercase().as_bytes());
        let pick = usize::from(hash.as_bytes()[0]) << 8 | usize::from(hash.as_bytes()[1]);
        costs
            .get(pick % costs.len().max(1))
            .copied()
            .unwrap_or(self.cost)
    }

    /// The keys of a logged-in account, after its passphrase was asked for once more.
    pub async fn reveal(
        self: &Arc<Self>,
        id: &AccountId,
        passphrase: String,
        source: Option<IpAddr>,
    ) -> Result<Keys, AccountError> {
        self.has_key(id)?;
        let id = id.clone();
        self.dearly(source, move |accounts| {
            accounts.unlock(Some(&id), "", &passphrase)
        })
        .await
    }

    pub(super) fn has_key(&self, id: &AccountId) -> Result<(), AccountError> {
        match self.account(id) {
            None => Err(AccountError::LoggedOut),
            Some(account) if account.key.is_none() => Err(AccountError::KeyElsewhere),
            Some(_) => Ok(()),
        }
    }

    /// Changes the passphrase, and on wish logs out all other devices.
    pub async fn change_passphrase(
        self: &Arc<Self>,
        session: Session,
        old: String,
        new: String,
        log_out_others: bool,
        source: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        self.has_key(&session.account)?;
        let account = self
            .account(&session.account)
            .ok_or(AccountError::LoggedOut)?;
        check_passphrase(&new, &account.name().map_err(AccountError::Broken)?)?;
        self.dearly(source, move |accounts| {
            let keys = accounts.unlock(Some(&session.account), "", &old)?;
            let key = accounts.lock(&keys, &new)?;
            accounts.change_now(&session.account, |account| {
                account.key = Some(key);
                if log_out_others {
                    account.devices.retain(|device| device.id == session.device);
                }
                Ok(())
            })
        })
        .await
    }
}

pub(super) fn check_passphrase(passphrase: &str, name: &AccountName) -> Result<(), AccountError> {
    if passphrase.len() > PASSPHRASE_BYTES {
        return Err(AccountError::PassphraseLong);
    }
    let same = AccountName::parse(passphrase).is_ok_and(|typed| typed.folded() == name.folded());
    if passphrase.chars().count() < PASSPHRASE_CHARS || same {
        return Err(AccountError::PassphraseShort);
    }
    Ok(())
}

/// No passphrase is longer; what is longer is wrong, and no work is done for its length.
pub(super) fn short(passphrase: &str) -> &str {
    if passphrase.len() > PASSPHRASE_BYTES {
        ""
    } else {
        passphrase
    }
}
