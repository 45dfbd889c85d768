//! Apps that use the signer, what they wait for, and the signer for the account's own devices.

use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{Failure, Reply};
use super::{Api, Caller};
use crate::accounts::apps::{App, PERMISSIONS, Permission};
use crate::accounts::error::AccountError;
use crate::signer::request::Invitation;
use crate::signer::{self, Ask};

#[derive(Deserialize)]
pub struct Offer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Deserialize)]
pub struct Connect {
    uri: String,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Deserialize)]
pub struct Allow {
    permissions: Vec<String>,
}

#[derive(Deserialize)]
pub struct Decide {
    allow: bool,
    #[serde(default)]
    remember: bool,
}

#[derive(Deserialize)]
pub struct Sign {
    method: String,
    #[serde(default)]
    params: Vec<String>,
}

impl Api {
    pub(super) fn apps(&self, caller: &Caller) -> Result<Reply, Failure> {
        let apps: Vec<Value> = self.own(caller)?.apps.iter().map(app_view).collect();
        Ok(Reply::ok(json!({"apps": apps})))
    }

    pub(super) async fn offer(&self, caller: &Caller, offer: Offer) -> Result<Reply, Failure> {
        let account = self.own(caller)?;
        let permissions = permissions(&offer.permissions)?;
        let (app, secret) = self
            .signer
            .offer(&account.id, &offer.name, permissions)
            .await?;
        let signer = account
            .signer_keys()
            .map_err(AccountError::Broken)?
            .public_key();
        let relay = format!("ws://{}/signer", caller.host);
        let uri = format!(
            "bunker://{}?relay={}&secret={secret}",
            signer.to_hex(),
            percent(&relay)
        );
        Ok(Reply::ok(json!({"app": app_view(&app), "uri": uri})))
    }

    pub(super) async fn connect(&self, caller: &Caller, body: Connect) -> Result<Reply, Failure> {
        let invitation = Invitation::parse(&body.uri).ok_or(AccountError::Field("uri"))?;
        let permissions = permissions(&body.permissions)?;
        // The home goes nowhere for a stranger: an app that wants an answer listens here.
        let here = |relay: &String| {
            let rest = relay
                .strip_prefix("ws://")
                .or_else(|| relay.strip_prefix("wss://"));
            let at = rest.and_then(|rest| rest.trim_end_matches('/').strip_suffix("/signer"));
            at.is_some_and(|host| host.eq_ignore_ascii_case(&caller.host))
        };
        if !invitation.relays.iter().any(here) {
            let relay = format!("ws://{}/signer", caller.host);
            return Err(Failure::new(
                400,
                "listens_elsewhere",
                json!({"relay": relay}),
            ));
        }
        let app = self
            .signer
            .accept(&caller.session()?.account, invitation, permissions)
            .await?;
        Ok(Reply::ok(json!({"app": app_view(&app)})))
    }

    pub(super) async fn allow(
        &self,
        caller: &Caller,
        id: &str,
        body: Allow,
    ) -> Result<Reply, Failure> {
        let permissions = permissions(&body.permissions)?;
        let app = self
            .signer
            .allow(&caller.session()?.account, id, permissions)
            .await?;
        Ok(Reply::ok(app_view(&app)))
    }

    pub(super) async fn disconnect(&self, caller: &Caller, id: &str) -> Result<Reply, Failure> {
        self.signer.remove(&caller.session()?.account, id).await?;
        Ok(Reply::ok(json!({})))
    }

    pub(super) fn requests(&self, caller: &Caller) -> Result<Reply, Failure> {
        let waiting = self.signer.waiting(&caller.session()?.account);
        let waiting: Vec<Value> = waiting.iter().map(ask_view).collect();
        Ok(Reply::ok(json!({"requests": waiting})))
    }

    pub(super) async fn decide(
        &self,
        caller: &Caller,
        id: &str,
        body: Decide,
    ) -> Result<Reply, Failure> {
        self.signer
            .decide(&caller.session()?.account, id, body.allow, body.remember)
            .await?;
        Ok(Reply::ok(json!({})))
    }

    pub(super) fn sign(&self, caller: &Caller, body: Sign) -> Result<Reply, Failure> {
        let account = self.own(caller)?;
        if account.key.is_none() {
            return Err(AccountError::KeyElsewhere.into());
        }
        let keys = self
            .accounts()
            .keys(&account.id)
            .ok_or(AccountError::LoggedOut)?;
        let result = signer::perform_for_owner(&keys, &body.method, &body.params);
        let result = result
            .map_err(|reason| Failure::new(400, "signer_refused", json!({"reason": reason})))?;
        Ok(Reply::ok(json!({"result": result})))
    }
}

fn app_view(app: &App) -> Value {
    json!({
        "id": app.id, "name": app.name, "url": app.url, "created": app.created, "seen": app.seen,
        "connected": app.client.is_some(), "permissions": app.permissions, "asked": app.asked,
    })
}

fn ask_view(ask: &Ask) -> Value {
    json!({
        "id": ask.id, "app": {"id": ask.app.id, "name": ask.app.name, "url": ask.app.url},
        "permission": ask.permission, "preview": ask.preview, "since": ask.since,
    })
}

fn permissions(list: &[String]) -> Result<Vec<Permission>, AccountError> {
    let read: Option<Vec<Permission>> = list.iter().map(|text| Permission::parse(text)).collect();
    read.filter(|list| list.len() <= PERMISSIONS)
        .ok_or(AccountError::Field("permissions"))
}

/// A text as the value of a query (RFC 3986, section 2.1).
fn percent(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    text.bytes()
        .map(|c| {
            if plain(c) {
                char::from(c).to_string()
            } else {
                format!("%{c:02X}")
            }
        })
        .collect()
}

/// Reads every body of these calls, and what is parsed out of it. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    if let Ok(offer) = super::read::<Offer>(body) {
        let _ = permissions(&offer.permissions);
    }
    if let Ok(connect) = super::read::<Connect>(body) {
        let _ = Invitation::parse(&connect.uri);
    }
    let _ = super::read::<Allow>(body);
    let _ = super::read::<Decide>(body);
    let _ = super::read::<Sign>(body);
}
