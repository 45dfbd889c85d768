//! Accounts and devices.

use nostr::event::Event;
use nostr::types::RelayUrl;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{Failure, Reply};
use super::{Api, Caller, account_view};
use crate::accounts::error::AccountError;
use crate::accounts::names::{AccountName, parse_handle};
use crate::accounts::{LoggedIn, Wish};
use crate::feed::FeedError;
use crate::feed::references::VANISH;

/// Addresses where an account says it is found.
const RELAYS: usize = 10;

/// How a device shows its token from now on.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Carry {
    /// A browser's cookie.
    #[default]
    Cookie,
    /// A program; the token is in the answer.
    Bearer,
}

/// Name, passphrase and device.
#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    name: String,
    passphrase: String,
    #[serde(default)]
    device: String,
    #[serde(default)]
    session: Carry,
}

impl Login {
    fn wish(self) -> (Wish, Carry) {
        let wish = Wish {
            name: self.name,
            passphrase: self.passphrase,
            device: self.device,
        };
        (wish, self.session)
    }
}

#[derive(Deserialize)]
pub struct Import {
    document: Value,
    document_passphrase: String,
    #[serde(flatten)]
    login: Login,
}

#[derive(Deserialize)]
pub struct Change {
    name: Option<String>,
    /// Missing: as it is. `null`: none.
    #[serde(default, deserialize_with = "present")]
    handle: Option<Option<String>>,
    findable: Option<bool>,
    relays: Option<Vec<String>>,
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
pub struct ChangePassphrase {
    old: String,
    new: String,
    #[serde(default)]
    log_out_others: bool,
}

#[derive(Deserialize)]
pub struct Passphrase {
    #[serde(default)]
    passphrase: String,
}

/// What becomes of what somebody wrote for everybody.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Posts {
    /// It goes, too.
    Delete,
    /// It stays where it is.
    Keep,
}

#[derive(Deserialize)]
pub struct Delete {
    #[serde(default)]
    passphrase: String,
    /// Missing: it goes, as far as the home can say so in the person's name.
    posts: Option<Posts>,
    /// A request to vanish (NIP-62), where the key is elsewhere.
    event: Option<Event>,
}

#[derive(Deserialize)]
pub struct Export {
    passphrase: String,
    document_passphrase: String,
}

impl Api {
    fn logged_in(&self, status: u16, done: LoggedIn, carry: Carry) -> Result<Reply, Failure> {
        let account = self
            .accounts()
            .account(&done.session.account)
            .ok_or(AccountError::LoggedOut)?;
        let view = account_view(&account, self.accounts());
        Ok(Reply::logged_in(status, done, carry == Carry::Bearer, view))
    }

    pub(super) async fn create(&self, caller: &Caller, login: Login) -> Result<Reply, Failure> {
        let (wish, carry) = login.wish();
        let done = self.accounts().create(wish, None, caller.source).await?;
        self.logged_in(201, done, carry)
    }

    pub(super) async fn import(&self, caller: &Caller, import: Import) -> Result<Reply, Failure> {
        let (wish, carry) = import.login.wish();
        let done = self
            .accounts()
            .import(
                import.document,
                import.document_passphrase,
                wish,
                caller.source,
            )
            .await?;
        self.logged_in(201, done, carry)
    }

    pub(super) async fn keep(&self, caller: &Caller, login: Login) -> Result<Reply, Failure> {
        let token = caller.token.clone().ok_or(AccountError::NotGuest)?;
        let id = token.id();
        let guest = self
            .people
            .guests
            .get(&id)
            .filter(|_| caller.session.is_none());
        let guest = guest.ok_or(AccountError::NotGuest)?;
        let (mut wish, carry) = login.wish();
        if wish.name.is_empty() {
            wish.name = guest.name;
        }
        let person = guest.keys.public_key();
        let done = self
            .accounts()
            .create(wish, Some((token, guest.keys)), caller.source)
            .await?;
        self.people.kept(&person);
        let guests = std::sync::Arc::clone(&self.people.guests);
        // The account is kept. A guest's file that cannot be removed now is removed at the next start.
        match tokio::task::spawn_blocking(move || guests.forget(&id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("{error}"),
            Err(error) => log::warn!("a guest was not forgotten: {error}"),
        }
        self.logged_in(201, done, carry)
    }

    pub(super) async fn log_in(&self, caller: &Caller, login: Login) -> Result<Reply, Failure> {
        let (wish, carry) = login.wish();
        let done = self.accounts().log_in(wish, caller.source).await?;
        self.logged_in(200, done, carry)
    }

    pub(super) fn who(&self, caller: &Caller) -> Reply {
        if let (Some(session), Ok(account)) = (&caller.session, self.own(caller)) {
            let account = account_view(&account, self.accounts());
            return Reply::ok(
                json!({"kind": "account", "account": account, "device": session.device.as_str()}),
            );
        }
        let guest = caller
            .token
            .as_ref()
            .and_then(|token| self.people.guests.get(&token.id()));
        Reply::ok(guest.map_or(json!({"kind": "nobody"}), |guest| {
            json!({"kind": "guest", "name": guest.name, "public_key": guest.keys.public_key()})
        }))
    }

    pub(super) async fn log_out(&self, caller: &Caller) -> Result<Reply, Failure> {
        if let Some(session) = &caller.session {
            let own = session.device.clone();
            self.accounts()
                .log_out(&session.account, move |device| *device == own)
                .await?;
        }
        Ok(Reply::logged_out())
    }

    pub(super) async fn change(&self, caller: &Caller, change: Change) -> Result<Reply, Failure> {
        let name = change
            .name
            .map(|name| AccountName::parse(&name))
            .transpose()
            .map_err(AccountError::Name)?;
        let handle = match change.handle {
            Some(Some(handle)) => Some(Some(parse_handle(&handle).ok_or(AccountError::Handle)?)),
            other => other,
        };
        let relays = change.relays;
        if relays.as_ref().is_some_and(|relays| {
            relays.len() > RELAYS || relays.iter().any(|relay| !is_relay(relay))
        }) {
            return Err(AccountError::Field("relays").into());
        }
        let session = caller.session()?;
        let changed = self.accounts().change(&session.account, move |account| {
            if let Some(name) = name {
                account.name = name.as_str().to_owned();
            }
            if let Some(handle) = handle {
                account.handle = handle;
            }
            if let Some(findable) = change.findable {
                account.findable = findable;
            }
            if account.findable && account.handle.is_none() {
                return Err(AccountError::Handle); // nobody is found without one
            }
            if let Some(relays) = relays {
                account.relays = relays;
            }
            Ok(account.clone())
        });
        let account = changed.await?;
        Ok(Reply::ok(account_view(&account, self.accounts())))
    }

    pub(super) async fn change_passphrase(
        &self,
        caller: &Caller,
        change: ChangePassphrase,
    ) -> Result<Reply, Failure> {
        let session = caller.session()?.clone();
        let accounts = self.accounts();
        accounts
            .change_passphrase(
                session,
                change.old,
                change.new,
                change.log_out_others,
                caller.source,
            )
            .await?;
        Ok(Reply::ok(json!({})))
    }

    pub(super) async fn delete(&self, caller: &Caller, body: Delete) -> Result<Reply, Failure> {
        let account = self.own(caller)?;
        let keys = match account.key {
            Some(_) => {
                let source = caller.source;
                let revealed = self.accounts().reveal(&account.id, body.passphrase, source);
                Some(revealed.await?)
            }
            None => None,
        };
        let gone = match (keys, body.event) {
            _ if body.posts == Some(Posts::Keep) => Ok(()),
            (Some(keys), _) => self.feed.vanish(&keys).await,
            (None, Some(event)) if event.kind.as_u16() == VANISH => {
                self.feed.hand_in(&account.public_key, event).await
            }
            (None, Some(_)) => Err(FeedError::Field("event")),
            (None, None) if body.posts.is_some() => return Err(AccountError::KeyElsewhere.into()),
            (None, None) => Ok(()),
        };
        match gone {
            // Where there is no relay nobody wrote anything.
            Ok(()) | Err(FeedError::NoRelay) => {}
            Err(error) => return Err(error.into()),
        }
        self.accounts().delete(&account.id).await?;
        Ok(Reply::logged_out())
    }

    pub(super) async fn reveal(&self, caller: &Caller, body: Passphrase) -> Result<Reply, Failure> {
        let keys = self
            .accounts()
            .reveal(&caller.session()?.account, body.passphrase, caller.source)
            .await?;
        let secret = keys.secret_key().to_secret_hex();
        Ok(Reply::ok(
            json!({"secret_key": secret, "public_key": keys.public_key()}),
        ))
    }

    pub(super) async fn export(&self, caller: &Caller, body: Export) -> Result<Reply, Failure> {
        let account = &caller.session()?.account;
        let accounts = self.accounts();
        let document = accounts
            .export(
                account,
                body.passphrase,
                body.document_passphrase,
                caller.source,
            )
            .await?;
        Ok(Reply::ok(json!({"document": document})))
    }

    pub(super) fn devices(&self, caller: &Caller) -> Result<Reply, Failure> {
        let own = &caller.session()?.device;
        let view = self.own(caller)?.devices.into_iter().map(|device| {
            json!({
                "id": device.id.as_str(), "name": device.name, "created": device.created, "seen": device.seen,
                "this": device.id == *own,
            })
        });
        Ok(Reply::ok(json!({"devices": view.collect::<Vec<_>>()})))
    }

    pub(super) async fn revoke_others(&self, caller: &Caller) -> Result<Reply, Failure> {
        let session = caller.session()?;
        let own = session.device.clone();
        let gone = self
            .accounts()
            .log_out(&session.account, move |device| *device != own)
            .await?;
        Ok(Reply::ok(json!({"logged_out": gone})))
    }

    pub(super) async fn revoke(&self, caller: &Caller, id: &str) -> Result<Reply, Failure> {
        let session = caller.session()?;
        let own = session.device.as_str() == id;
        let id = id.to_owned();
        match self
            .accounts()
            .log_out(&session.account, move |device| device.as_str() == id)
            .await?
        {
            0 => Err(AccountError::Unknown("device").into()),
            _ if own => Ok(Reply::logged_out()),
            _ => Ok(Reply::ok(json!({"logged_out": 1}))),
        }
    }
}

fn is_relay(text: &str) -> bool {
    text.len() <= 200 && RelayUrl::parse(text).is_ok()
}

/// Reads every body of these calls, and what is parsed out of it. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    if let Ok(login) = super::read::<Login>(body) {
        let _ =
            AccountName::parse(&login.name).map(|name| (name.folded(), name.look(), name.handle()));
    }
    if let Ok(change) = super::read::<Change>(body) {
        let _ = change
            .handle
            .flatten()
            .is_some_and(|handle| parse_handle(&handle).is_some());
        let _ = change
            .relays
            .is_some_and(|relays| relays.iter().any(|relay| is_relay(relay)));
    }
    let _ = super::read::<Import>(body);
    let _ = super::read::<ChangePassphrase>(body);
    let _ = super::read::<Export>(body);
}
