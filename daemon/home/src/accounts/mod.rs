//! The accounts of a home: who they are, what opens them, and their files. An account is *open* while its key is in
//! memory: from a login, or the first request of a logged-in device after a restart, until its last device logs out.
//! The disk alone opens nothing.

pub mod apps;
pub mod error;
pub mod gate;
pub mod moving;
pub mod names;
mod passphrase;
pub mod record;
pub mod sealed;
mod state;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nostr::key::{Keys, PublicKey, SecretKey};
use tokio::sync::watch;

use crate::config::{Clock, Limits};
use crate::error::HomeError;
use crate::files;
use crate::guests::{GuestId, Token};
use error::AccountError;
use gate::{Pace, Queue, Sources};
use names::AccountName;
pub use passphrase::Wish;
use record::{Account, AccountId, Device, FILE_BYTES, VERSION};
use sealed::{Cost, Locked, Sealed, random};
use state::State;

/// Seconds after which the time a device was last here is written again.
const SEEN_SECONDS: u64 = 3600;

/// All accounts of a home.
pub struct Accounts {
    dir: PathBuf,
    limits: Limits,
    clock: Clock,
    /// What new passphrases cost.
    cost: Cost,
    state: Mutex<State>,
    /// Held while files change, so that nobody who reads waits for the disk.
    writing: Mutex<()>,
    queue: Queue,
    sources: Sources,
    /// Makes the cost for a name that nobody has the same each time, and not to be foreseen.
    unknown: [u8; 32],
    /// When the next new account is due at an even pace.
    new_due: Mutex<Instant>,
    /// Counts the times an account was opened, or devices logged out.
    opened: watch::Sender<u32>,
}

/// A device that is logged in, as a request shows it.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub device: GuestId,
}

/// What a login or a new account gives.
pub struct LoggedIn {
    /// Who.
    pub session: Session,
    /// What the device has to show from now on.
    pub token: Token,
}

impl Accounts {
    /// Reads all accounts in a directory, and makes it when it is missing.
    pub fn open(dir: PathBuf, limits: Limits, clock: Clock) -> Result<Self, HomeError> {
        files::make_dir(&dir)?;
        let mut state = State::default();
        for path in files::list(&dir, "account")? {
            let damaged = |what: String| HomeError::Damaged {
                path: path.clone(),
                what,
            };
            let length = fs::metadata(&path)
                .map_err(files::failed("read", &path))?
                .len();
            if length > FILE_BYTES {
                return Err(damaged("it is too long to be an account".into()));
            }
            let bytes = fs::read(&path).map_err(files::failed("read", &path))?;
            let account = Account::parse(&bytes).map_err(damaged)?;
            if path.file_stem().and_then(|stem| stem.to_str()) != Some(account.id.as_str()) {
                return Err(damaged("it is the file of another account".into()));
            }
            state.put(account).map_err(damaged)?;
        }
        Ok(Self {
            dir,
            cost: limits.passphrase_cost.unwrap_or_else(Cost::here),
            queue: Queue::new(limits.logins_waiting),
            sources: Sources::new(Pace {
                every: limits.login_every,
                burst: limits.login_burst,
            }),
            limits,
            clock,
            state: Mutex::new(state),
            writing: Mutex::default(),
            unknown: random()?,
            new_due: Mutex::new(Instant::now()),
            opened: watch::channel(0).0,
        })
    }

    /// Only one writes at a time.
    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.clock)()
    }

    /// What a home takes of what.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    fn path(&self, id: &AccountId) -> PathBuf {
        self.dir.join(format!("{}.account", id.as_str()))
    }

    /// Changes an account: in its file first, then in memory. Blocks.
    fn change_now<T>(
        &self,
        id: &AccountId,
        change: impl FnOnce(&mut Account) -> Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let _writing = self.writing();
        let mut account = self.account(id).ok_or(AccountError::LoggedOut)?;
        let before = account.clone();
        let done = change(&mut account)?;
        if account != before {
            self.state().check_unique(&account)?;
            self.write(&account)?;
            self.state().put(account).map_err(AccountError::Broken)?;
        }
        Ok(done)
    }

    /// Changes an account: in its file first, then in memory.
    pub async fn change<T, F>(
        self: &Arc<Self>,
        id: &AccountId,
        change: F,
    ) -> Result<T, AccountError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Account) -> Result<T, AccountError> + Send + 'static,
    {
        let (accounts, id) = (Arc::clone(self), id.clone());
        blocking(move || accounts.change_now(&id, change)).await
    }

    fn write(&self, account: &Account) -> Result<(), AccountError> {
        let path = self.path(&account.id);
        let bytes = account
            .to_bytes()
            .map_err(|error| AccountError::Broken(error.to_string()))?;
        files::write_atomically(&path, &bytes).map_err(files::failed("write", &path))?;
        Ok(())
    }

    /// Takes in a new account with its first device. Blocks.
    fn add(
        &self,
        name: &AccountName,
        keys: Option<&Keys>,
        mut account: Account,
        token: Token,
        device: &str,
    ) -> Result<LoggedIn, AccountError> {
        let device = self.device(&account.public_key, keys, &token, device)?;
        let pace = Pace {
            every: self.limits.new_every,
            burst: self.limits.new_burst,
        };
        let mut due = self.new_due.lock().unwrap_or_else(PoisonError::into_inner);
        pace.take(&mut due, Instant::now())
            .map_err(AccountError::wait)?;
        drop(due);
        let _writing = self.writing();
        {
            let state = self.state();
            if state.len() >= self.limits.accounts {
                return Err(AccountError::TooMany {
                    what: "accounts",
                    max: self.limits.accounts,
                });
            }
            if state.by_person(&account.public_key).is_some() {
                return Err(AccountError::AccountExists);
            }
            account.name = name.as_str().to_owned();
            if account
                .handle
                .as_ref()
                .is_none_or(|handle| state.has_handle(handle, &account.id))
            {
                account.handle = name
                    .handle()
                    .filter(|handle| !state.has_handle(handle, &account.id));
                account.findable &= account.handle.is_some();
            }
            state.check_unique(&account)?;
        }
        let session = Session {
            account: account.id.clone(),
            device: device.id.clone(),
        };
        account.devices = vec![device];
        self.write(&account)?;
        self.state().put(account).map_err(AccountError::Broken)?;
        if let Some(keys) = keys {
            self.unseal(&session.account, keys.clone());
        }
        Ok(LoggedIn { session, token })
    }

    fn blank(&self, public_key: PublicKey, key: Option<Locked>) -> Result<Account, AccountError> {
        Ok(Account {
            version: VERSION,
            id: AccountId::new(random()?),
            name: String::new(),
            handle: None,
            findable: false,
            relays: Vec::new(),
            created: self.now(),
            public_key,
            key,
            devices: Vec::new(),
            signer: Keys::generate().secret_key().to_secret_hex(),
            apps: Vec::new(),
        })
    }

    fn device(
        &self,
        person: &PublicKey,
        keys: Option<&Keys>,
        token: &Token,
        name: &str,
    ) -> Result<Device, AccountError> {
        let secret = keys.map(|keys| keys.secret_key());
        let key = secret.map(|secret| {
            Sealed::by_token(token, secret.as_secret_bytes(), &Account::about(person))
        });
        Ok(Device {
            id: token.id(),
            name: device_name(name),
            created: self.now(),
            seen: self.now(),
            key: key.transpose()?,
        })
    }

    fn unseal(&self, id: &AccountId, keys: Keys) {
        self.state().unseal(id, keys);
        self.tell_opened();
    }

    fn tell_opened(&self) {
        self.opened
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever an account was opened, and when devices were logged out.
    pub fn opened(&self) -> watch::Receiver<u32> {
        self.opened.subscribe()
    }

    /// Logs out devices: those for which `gone` is true. An account without devices is sealed.
    pub async fn log_out(
        self: &Arc<Self>,
        id: &AccountId,
        gone: impl Fn(&GuestId) -> bool + Send + 'static,
    ) -> Result<usize, AccountError> {
        let count = self.change(id, move |account| {
            let before = account.devices.len();
            account.devices.retain(|device| !gone(&device.id));
            Ok(before - account.devices.len())
        });
        let count = count.await?;
        self.tell_opened();
        Ok(count)
    }

    /// Takes the token of a request: whose device it is, if it is one. Opens the account when it was sealed by a
    /// restart. The flag is true when the device's date should be written ([`Self::keep_dates`]).
    pub fn present(&self, token: &Token) -> Option<(Session, bool)> {
        let now = self.now();
        let id = token.id();
        let (account, stale, opening) = {
            let mut state = self.state();
            let account = state.by_device(&id)?;
            let (stale, key, person) = state.seen(&account, &id, now, SEEN_SECONDS)?;
            let opening = key
                .filter(|_| state.keys(&account).is_none())
                .map(|key| (key, person));
            (account, stale, opening)
        };
        if let Some((key, person)) = opening
            && let Ok(secret) = key.open_by_token(token, &Account::about(&person))
            && let Ok(keys) = keys_of(&secret, &person)
        {
            self.unseal(&account, keys);
        }
        Some((
            Session {
                account,
                device: id,
            },
            stale,
        ))
    }

    /// Writes when the devices of an account were last here.
    pub async fn keep_dates(self: &Arc<Self>, id: &AccountId) -> Result<(), AccountError> {
        let (accounts, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            let _writing = accounts.writing();
            accounts
                .account(&id)
                .map_or(Ok(()), |account| accounts.write(&account))
        })
        .await
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.state().len()
    }

    /// All accounts.
    pub fn ids(&self) -> Vec<AccountId> {
        self.state().ids()
    }

    /// An account.
    pub fn account(&self, id: &AccountId) -> Option<Account> {
        self.state().get(id).cloned()
    }

    /// The account behind a device.
    pub fn by_device(&self, device: &GuestId) -> Option<Account> {
        let state = self.state();
        state
            .by_device(device)
            .and_then(|id| state.get(&id).cloned())
    }

    /// The account of a person.
    pub fn by_person(&self, person: &PublicKey) -> Option<Account> {
        let state = self.state();
        state
            .by_person(person)
            .and_then(|id| state.get(&id).cloned())
    }

    /// Whether somebody has an account here.
    pub fn lives_here(&self, person: &PublicKey) -> bool {
        self.state().by_person(person).is_some()
    }

    /// The accounts that are open, with their keys.
    pub fn open_ones(&self) -> Vec<(Account, Keys)> {
        self.state().open_ones()
    }

    /// Everybody who has an account here.
    pub fn people(&self) -> Vec<PublicKey> {
        self.state().people()
    }

    /// The account whose signer has this key, with the signer's keys.
    pub fn by_signer(&self, signer: &PublicKey) -> Option<(Account, Keys)> {
        self.state().by_signer(signer)
    }

    /// The account of this handle, if it wants to be found.
    pub fn by_handle(&self, handle: &str) -> Option<Account> {
        self.state().by_handle(handle)
    }

    /// The keys of an account, while it is open.
    pub fn keys(&self, id: &AccountId) -> Option<Keys> {
        self.state().keys(id)
    }

    /// Removes an account for good. Whoever calls has asked for its passphrase.
    pub async fn delete(self: &Arc<Self>, id: &AccountId) -> Result<(), AccountError> {
        let (accounts, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            let _writing = accounts.writing();
            let path = accounts.path(&id);
            files::remove(&path).map_err(files::failed("remove", &path))?;
            accounts.state().remove(&id);
            accounts.tell_opened();
            Ok(())
        })
        .await
    }
}

/// Runs what blocks where that is no harm.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AccountError> + Send + 'static,
) -> Result<T, AccountError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(AccountError::Broken(error.to_string())))
}

fn keys_of(secret: &[u8], person: &PublicKey) -> Result<Keys, AccountError> {
    let keys = SecretKey::from_slice(secret).map(Keys::new).ok();
    keys.filter(|keys| keys.public_key() == *person)
        .ok_or(AccountError::WrongPassphrase)
}

/// A device's name as it is kept; empty when there is none.
fn device_name(name: &str) -> String {
    let name = crate::guests::clean_name(name).unwrap_or_default();
    name.chars().take(crate::guests::NAME_CHARS).collect()
}
