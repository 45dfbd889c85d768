//! Moving to another home: an account as one document, sealed with a passphrase, and such a document as an account.
//!
//! The document is JSON: `{"warren_account": 1, "public_key": hex, "kib", "passes", "salt", "nonce", "sealed"}`. What is
//! sealed is JSON as well: `{"version": 1, "name", "handle", "findable", "relays", "key", "signer", "apps"}`. Devices stay
//! behind.

use std::net::IpAddr;
use std::sync::Arc;

use nostr::key::{Keys, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::apps::App;
use super::error::AccountError;
use super::names::{AccountName, parse_handle};
use super::passphrase::{Wish, check_passphrase, short};
use super::record::AccountId;
use super::sealed::Locked;
use super::{Accounts, LoggedIn};
use crate::guests::Token;

const VERSION: u32 = 1;
/// Longest document that is read.
pub const DOCUMENT_BYTES: usize = 512 * 1024;

/// The document.
#[derive(Serialize, Deserialize)]
struct Document {
    warren_account: u32,
    public_key: PublicKey,
    #[serde(flatten)]
    locked: Locked,
}

/// What is sealed in it.
#[derive(Serialize, Deserialize)]
struct Luggage {
    version: u32,
    name: String,
    handle: Option<String>,
    findable: bool,
    relays: Vec<String>,
    key: Zeroizing<String>,
    signer: Zeroizing<String>,
    apps: Vec<App>,
}

fn about(person: &PublicKey) -> Vec<u8> {
    [b"warren account document v1 ".as_slice(), person.as_bytes()].concat()
}

/// Reads a document as far as it is readable without its passphrase.
fn read(document: Value) -> Result<Document, AccountError> {
    let document: Document =
        serde_json::from_value(document).map_err(|_| AccountError::Document)?;
    if document.warren_account != VERSION || !document.locked.cost.is_sane() {
        return Err(AccountError::Document);
    }
    Ok(document)
}

/// Reads what was sealed.
fn unpack(bytes: &[u8], person: &PublicKey, limit: usize) -> Result<(Luggage, Keys), AccountError> {
    let luggage: Luggage = serde_json::from_slice(bytes).map_err(|_| AccountError::Document)?;
    let keys = Keys::parse(&luggage.key).map_err(|_| AccountError::Document)?;
    Keys::parse(&luggage.signer).map_err(|_| AccountError::Document)?;
    let handle_fits = luggage
        .handle
        .as_deref()
        .is_none_or(|handle| parse_handle(handle).is_some());
    if luggage.version != VERSION
        || keys.public_key() != *person
        || luggage.apps.len() > limit
        || !handle_fits
    {
        return Err(AccountError::Document);
    }
    Ok((luggage, keys))
}

/// Reads a document and what is in it, as `import` does, without opening anything. For the fuzzer.
pub fn read_foreign(bytes: &[u8]) {
    if let Ok(document) = serde_json::from_slice(bytes)
        .map_err(|_| AccountError::Document)
        .and_then(read)
    {
        let _ = unpack(bytes, &document.public_key, 0);
    }
    if let Ok(luggage) = serde_json::from_slice::<Luggage>(bytes)
        && let Ok(keys) = Keys::parse(&luggage.key)
    {
        let _ = unpack(bytes, &keys.public_key(), 8);
    }
}

impl Accounts {
    /// The account as a document, sealed with `sealing`. Asks for the account's own passphrase again.
    pub async fn export(
        self: &Arc<Self>,
        id: &AccountId,
        passphrase: String,
        sealing: String,
        source: Option<IpAddr>,
    ) -> Result<Value, AccountError> {
        self.has_key(id)?;
        let account = self.account(id).ok_or(AccountError::LoggedOut)?;
        check_passphrase(&sealing, &account.name().map_err(AccountError::Broken)?)?;
        let id = id.clone();
        self.dearly(source, move |accounts| {
            let keys = accounts.unlock(Some(&id), "", &passphrase)?;
            let account = accounts.account(&id).ok_or(AccountError::LoggedOut)?;
            let luggage = Luggage {
                version: VERSION,
                name: account.name,
                handle: account.handle,
                findable: account.findable,
                relays: account.relays,
                key: Zeroizing::new(keys.secret_key().to_secret_hex()),
                signer: Zeroizing::new(account.signer),
                apps: account.apps,
            };
            let broken = |error: serde_json::Error| AccountError::Broken(error.to_string());
            let inside = Zeroizing::new(serde_json::to_vec(&luggage).map_err(broken)?);
            let person = account.public_key;
            let locked = Locked::seal(accounts.cost, &sealing, &inside, &about(&person))?;
            let document = Document {
                warren_account: VERSION,
                public_key: person,
                locked,
            };
            serde_json::to_value(document).map_err(broken)
        })
        .await
    }

    /// Makes an account of a document. `wish.name` may be empty: then it keeps its name.
    pub async fn import(
        self: &Arc<Self>,
        document: Value,
        sealing: String,
        wish: Wish,
        source: Option<IpAddr>,
    ) -> Result<LoggedIn, AccountError> {
        let document = read(document)?;
        self.dearly(source, move |accounts| {
            let person = document.public_key;
            let inside = document.locked.open(short(&sealing), &about(&person))?;
            let (luggage, keys) = unpack(&inside, &person, accounts.limits.apps)?;
            let name = if wish.name.is_empty() {
                &luggage.name
            } else {
                &wish.name
            };
            let name = AccountName::parse(name).map_err(AccountError::Name)?;
            check_passphrase(&wish.passphrase, &name)?;
            let mut account =
                accounts.blank(person, Some(accounts.lock(&keys, &wish.passphrase)?))?;
            account.handle = luggage.handle;
            account.findable = luggage.findable;
            account.relays = luggage.relays;
            account.signer = luggage.signer.to_string();
            account.apps = luggage.apps;
            accounts.add(&name, Some(&keys), account, Token::random()?, &wish.device)
        })
        .await
    }
}
