//! The signer (NIP-46): it signs, encrypts and decrypts for people's apps, as far as each person allowed each app, and
//! while the account is open. It is reached at a little relay of its own (`relay`) that carries nothing but kind 24133.
//! Every request of a known shape is answered, also when the answer is no.

mod asks;
mod hub;
pub mod relay;
pub mod request;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use nostr::event::{Event, EventId, SignEvent, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::nips::{nip04, nip44};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::accounts::Accounts;
use crate::accounts::apps::{App, Method, Permission, secret_hash};
use crate::accounts::error::AccountError;
use crate::accounts::record::{Account, AccountId};
use crate::accounts::sealed::random;
use crate::client::signed;
pub use asks::Ask;
use asks::Asks;
use hub::Hub;
use request::{About, Invitation, Request, Work};

/// The kind of requests and answers.
pub const KIND: u16 = 24133;
/// Seconds for which an address that no app has used is good.
const ADDRESS_SECONDS: u64 = 86_400;
/// Seconds after which the time an app last asked is written again.
const SEEN_SECONDS: u64 = 3600;
/// Requests that are remembered, so that nobody plays one again.
const REMEMBERED: usize = 4096;
/// Characters of what is to be signed that its person is shown.
const PREVIEW_CHARS: usize = 300;

/// What apps are told when the account's key is not in memory.
const SEALED: &str = "sealed: the account is logged out at its home; log in there and try again";
const NOT_CONNECTED: &str =
    "unauthorized: this app is not connected to the account; connect with a new address";

/// The signer of a home.
pub struct Signer {
    accounts: Arc<Accounts>,
    hub: Hub,
    asks: Asks,
    remembered: Mutex<VecDeque<EventId>>,
    connections: Arc<Semaphore>,
}

impl Signer {
    /// For these accounts.
    pub fn new(accounts: Arc<Accounts>) -> Self {
        Self {
            hub: Hub::default(),
            asks: Asks::default(),
            remembered: Mutex::default(),
            connections: Arc::new(Semaphore::new(accounts.limits().signer_connections)),
            accounts,
        }
    }

    /// Takes a request from the relay. The error is for its `OK`; nothing is done then. Needs a runtime.
    fn take(self: &Arc<Self>, event: &Event) -> Result<(), String> {
        let to = event
            .tags
            .public_keys()
            .next()
            .ok_or("invalid: no p tag says whose signer it is for")?;
        let (account, keys) = self
            .accounts
            .by_signer(&to)
            .ok_or("restricted: no signer here has this key")?;
        let client = event.pubkey;
        let text = nip44::decrypt(keys.secret_key(), &client, &event.content)
            .map_err(|_| "invalid: the content is not encrypted for this signer (NIP-44)")?;
        let request =
            Request::parse(&text).ok_or("invalid: the content is not a request (NIP-46)")?;
        if request.method != "connect" && self.is_repeated(event.id) {
            return Err("duplicate: this request was taken before".into());
        }
        let signer = Arc::clone(self);
        tokio::spawn(async move {
            let result = signer.respond(&account, &keys, client, &request).await;
            signer.answer(&keys, client, &request.id, result);
        });
        Ok(())
    }

    fn is_repeated(&self, id: EventId) -> bool {
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.contains(&id) {
            return true;
        }
        if remembered.len() >= REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(id);
        false
    }

    /// Sends an answer to an app.
    fn answer(&self, keys: &Keys, client: PublicKey, id: &str, result: Result<String, String>) {
        let text = match result {
            Ok(result) => json!({"id": id, "result": result}),
            Err(error) => json!({"id": id, "error": error}),
        };
        let content = nip44::encrypt(
            keys.secret_key(),
            &client,
            text.to_string(),
            nip44::Version::V2,
        );
        let event = content
            .map_err(|error| error.to_string())
            .and_then(|content| {
                signed(
                    keys,
                    KIND,
                    self.accounts.now(),
                    &[&["p", &client.to_hex()]],
                    &content,
                )
            });
        match event {
            Ok(event) => self.hub.publish(&event),
            Err(error) => log::error!("an app could not be answered: {error}"),
        }
    }

    async fn respond(
        &self,
        account: &Account,
        keys: &Keys,
        client: PublicKey,
        request: &Request,
    ) -> Result<String, String> {
        if request.method == "connect" {
            return self.connect(account, keys, client, request).await;
        }
        let app = account
            .apps
            .iter()
            .find(|app| app.client == Some(client))
            .ok_or(NOT_CONNECTED)?;
        self.seen(account, app).await;
        match request.method.as_str() {
            "ping" => Ok("pong".into()),
            "get_public_key" => Ok(account.public_key.to_hex()),
            // The signer is where the app found it.
            "switch_relays" => Ok("null".into()),
            "logout" => {
                self.remove(&account.id, &app.id)
                    .await
                    .map_err(|error| format!("error: {error}"))?;
                Ok("ack".into())
            }
            other => {
                let method = Method::parse(other)
                    .ok_or_else(|| format!("invalid: no method {other:.40}"))?;
                let work = Work::parse(method, &request.params, account.public_key)?;
                self.keys(account)?;
                let permission = work.permission();
                if !app.may(&permission) {
                    self.ask(account, app, permission, &work).await?;
                }
                // What happened to the account while its person was asked counts.
                perform(&self.keys(account)?, work)
            }
        }
    }

    fn keys(&self, account: &Account) -> Result<Keys, String> {
        if account.key.is_none() {
            return Err("unsupported: the key of this account is not at its home".into());
        }
        self.accounts.keys(&account.id).ok_or_else(|| SEALED.into())
    }

    async fn connect(
        &self,
        account: &Account,
        keys: &Keys,
        client: PublicKey,
        request: &Request,
    ) -> Result<String, String> {
        if PublicKey::from_hex(request.param(0)).ok() != Some(keys.public_key()) {
            return Err("invalid: the first parameter is not the key of this signer".into());
        }
        let secret = secret_hash(request.param(1));
        let wanted = Permission::parse_list(request.param(2));
        let about = About::parse(request.param(3));
        let now = self.accounts.now();
        let connected = self.accounts.change(&account.id, move |account| {
            let fresh = |app: &App| {
                app.client.is_none()
                    && app.secret.as_deref() == Some(&secret)
                    && app.created + ADDRESS_SECONDS > now
            };
            let known = account
                .apps
                .iter()
                .position(|app| app.client == Some(client));
            let offered = account.apps.iter().position(fresh);
            let app = match (known, offered) {
                // The same app again: it keeps what it has, whatever secret it shows; a new address adds to that.
                (Some(known), Some(offered)) => {
                    let permissions = account.apps[offered].permissions.clone();
                    account.apps[known].grant(&permissions);
                    let id = account.apps[known].id.clone();
                    account.apps.remove(offered);
                    account.apps.iter_mut().find(|app| app.id == id)
                }
                (Some(place), None) | (None, Some(place)) => account.apps.get_mut(place),
                (None, None) => None,
            };
            let app = app.ok_or(AccountError::Unknown("address"))?;
            app.client = Some(client);
            if app.name.is_empty() {
                app.name = about.name;
            }
            if app.url.is_empty() {
                app.url = about.url;
            }
            app.ask(&wanted);
            Ok(())
        });
        match connected.await {
            Ok(()) => Ok("ack".into()),
            Err(AccountError::Unknown(_)) => Err(
                "unauthorized: the secret is wrong, used up or too old; ask for a new address"
                    .into(),
            ),
            Err(error) => {
                log::error!("an app could not be connected: {error}");
                Err("error: the home could not keep this; try again later".into())
            }
        }
    }

    async fn seen(&self, account: &Account, app: &App) {
        let now = self.accounts.now();
        if app.seen + SEEN_SECONDS > now {
            return;
        }
        let id = app.id.clone();
        let kept = self.accounts.change(&account.id, move |account| {
            if let Some(app) = account.apps.iter_mut().find(|app| app.id == id) {
                app.seen = now;
            }
            Ok(())
        });
        if let Err(error) = kept.await {
            log::warn!("when an app last asked could not be kept: {error}");
        }
    }

    /// Waits until the person allows this, or not.
    async fn ask(
        &self,
        account: &Account,
        app: &App,
        permission: Permission,
        work: &Work,
    ) -> Result<(), String> {
        let preview = match work {
            Work::Sign(event) => preview(event),
            Work::Cipher(_, peer, _) => peer.to_hex(),
        };
        let limits = self.accounts.limits();
        let ask = Ask {
            id: short_id().map_err(|error| format!("error: {error}"))?,
            account: account.id.clone(),
            app: app.clone(),
            permission,
            preview,
            since: self.accounts.now(),
        };
        let id = ask.id.clone();
        let answered = self.asks.add(ask, limits.approvals_waiting);
        let answered = answered.ok_or("rate-limited: too many requests wait for this person")?;
        let decided = tokio::time::timeout(limits.approval, answered).await;
        self.asks.give_up(&id);
        match decided {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(format!("denied: the person does not allow {permission}")),
            Err(_) => Err(format!(
                "denied: nobody allowed {permission} in time; it can be allowed at the home"
            )),
        }
    }

    /// A new address for an app, good once: the app's entry and the secret.
    pub async fn offer(
        &self,
        account: &AccountId,
        name: &str,
        permissions: Vec<Permission>,
    ) -> Result<(App, String), AccountError> {
        let secret = data_encoding::BASE32_NOPAD
            .encode(&random::<20>()?)
            .to_ascii_lowercase();
        let now = self.accounts.now();
        let mut app = App {
            id: short_id()?,
            client: None,
            secret: Some(secret_hash(&secret)),
            name: request::short(name),
            url: String::new(),
            created: now,
            seen: 0,
            permissions: Vec::new(),
            asked: Vec::new(),
        };
        app.grant(&permissions);
        let added = app.clone();
        self.add(account, added).await?;
        Ok((app, secret))
    }

    async fn add(&self, account: &AccountId, app: App) -> Result<(), AccountError> {
        let (max, now) = (self.accounts.limits().apps, self.accounts.now());
        self.accounts
            .change(account, move |account| {
                if app.client.is_some() {
                    account.apps.retain(|known| known.client != app.client);
                }
                account
                    .apps
                    .retain(|app| app.client.is_some() || app.created + ADDRESS_SECONDS > now);
                if account.apps.len() >= max {
                    return Err(AccountError::TooMany { what: "apps", max });
                }
                account.apps.push(app);
                Ok(())
            })
            .await
    }

    /// Connects an app that showed its own address (`nostrconnect://`), with what the person allows it.
    pub async fn accept(
        &self,
        account: &AccountId,
        invitation: Invitation,
        permissions: Vec<Permission>,
    ) -> Result<App, AccountError> {
        let mut app = App {
            id: short_id()?,
            client: Some(invitation.client),
            secret: None,
            name: invitation.about.name,
            url: invitation.about.url,
            created: self.accounts.now(),
            seen: 0,
            permissions: Vec::new(),
            asked: Vec::new(),
        };
        app.grant(&permissions);
        self.add(account, app.clone()).await?;
        let keys = self
            .accounts
            .account(account)
            .ok_or(AccountError::LoggedOut)?;
        let keys = keys.signer_keys().map_err(AccountError::Broken)?;
        let id = short_id()?;
        self.answer(&keys, invitation.client, &id, Ok(invitation.secret));
        Ok(app)
    }

    /// Sets what an app may do, and answers what waited for it.
    pub async fn allow(
        &self,
        account: &AccountId,
        app: &str,
        permissions: Vec<Permission>,
    ) -> Result<App, AccountError> {
        let id = app.to_owned();
        let app = self
            .accounts
            .change(account, move |account| {
                let app = account.apps.iter_mut().find(|app| app.id == id);
                let app = app.ok_or(AccountError::Unknown("app"))?;
                app.set(&permissions);
                Ok(app.clone())
            })
            .await?;
        self.asks
            .decide_all(account, &app.id, true, |permission| app.may(permission));
        Ok(app)
    }

    /// Ends an app's connection. What it asks for afterwards is refused.
    pub async fn remove(&self, account: &AccountId, app: &str) -> Result<(), AccountError> {
        let id = app.to_owned();
        self.accounts
            .change(account, move |account| {
                let before = account.apps.len();
                account.apps.retain(|app| app.id != id);
                if before == account.apps.len() {
                    Err(AccountError::Unknown("app"))
                } else {
                    Ok(())
                }
            })
            .await?;
        self.asks.decide_all(account, app, false, |_| true);
        Ok(())
    }

    /// The requests that wait for a person.
    pub fn waiting(&self, account: &AccountId) -> Vec<Ask> {
        self.asks.of(account)
    }

    /// The person decides about one that waits; with `remember`, the app may do the same from now on.
    pub async fn decide(
        &self,
        account: &AccountId,
        id: &str,
        allow: bool,
        remember: bool,
    ) -> Result<(), AccountError> {
        let waiting = self.asks.of(account).into_iter().find(|ask| ask.id == id);
        let ask = waiting.ok_or(AccountError::Unknown("request"))?;
        if allow && remember {
            let (app, permission) = (ask.app.id.clone(), ask.permission);
            self.accounts
                .change(account, move |account| {
                    if let Some(app) = account.apps.iter_mut().find(|known| known.id == app) {
                        app.grant(&[permission]);
                    }
                    Ok(())
                })
                .await?;
            self.asks
                .decide_all(account, &ask.app.id, true, |other| permission.covers(other));
        } else {
            self.asks.decide(account, id, allow);
        }
        Ok(())
    }
}

/// What an account's own device asks the signer for, without any app.
pub fn perform_for_owner(keys: &Keys, method: &str, params: &[String]) -> Result<String, String> {
    let method = Method::parse(method).ok_or("invalid: no such method")?;
    perform(keys, Work::parse(method, params, keys.public_key())?)
}

fn perform(keys: &Keys, work: Work) -> Result<String, String> {
    let secret = keys.secret_key();
    match work {
        Work::Sign(event) => {
            let event = keys
                .sign_event(*event)
                .map_err(|error| format!("error: {error}"))?;
            let event: Value =
                serde_json::to_value(event).map_err(|error| format!("error: {error}"))?;
            Ok(event.to_string())
        }
        Work::Cipher(method, peer, text) => match method {
            Method::Nip04Encrypt => nip04::encrypt(secret, &peer, text),
            Method::Nip04Decrypt => nip04::decrypt(secret, &peer, text),
            Method::Nip44Encrypt => nip44::encrypt(secret, &peer, text, nip44::Version::V2),
            Method::Nip44Decrypt | Method::SignEvent => nip44::decrypt(secret, &peer, text),
        }
        .map_err(|_| format!("invalid: {} is not possible with this", method.as_str())),
    }
}

fn short_id() -> Result<String, AccountError> {
    Ok(data_encoding::HEXLOWER.encode(&random::<8>()?))
}

/// What a person reads before they allow a signature: the words, and all that the tags say beside them. Of some kinds
/// (deletion, proofs of identity) the tags are all that counts.
fn preview(event: &UnsignedEvent) -> String {
    let tags = event.tags.iter().map(|tag| tag.as_slice().join(" "));
    let words = std::iter::once(event.content.clone()).filter(|words| !words.is_empty());
    let lines: Vec<String> = words.chain(tags).collect();
    lines.join("\n").chars().take(PREVIEW_CHARS).collect()
}
