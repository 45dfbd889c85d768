//! The home's own interface for apps and pages, version 1: JSON in, JSON out. Errors are a word and its arguments;
//! sentences are made by who shows them. The table of calls stands in the README of this crate.
//!
//! Who calls is told by the cookie of a browser or by `Authorization: Bearer TOKEN`. Calls that change something must
//! come from this home's own pages, as far as a browser says, and be `application/json`, which no page elsewhere can send
//! without asking first.

mod account;
mod apps;
mod drafts;
mod feed;
mod invitations;
mod messages;
mod own_key;
mod reply;
mod well_known;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::accounts::error::AccountError;
use crate::accounts::moving::DOCUMENT_BYTES;
use crate::accounts::record::Account;
use crate::accounts::{Accounts, Session};
use crate::feed::Feed;
use crate::forms;
use crate::guests::Token;
use crate::http::Body;
use crate::invitation::Joiner;
use crate::messages::Messages;
use crate::people::People;
use crate::signer::{self, Signer};
use own_key::Proofs;
use reply::{Failure, Reply};

/// Bytes of a request that are read, but for a document of an account.
const BODY_BYTES: usize = 16 * 1024;
/// Bytes of a request to the signer: text that is encrypted may be long.
const SIGNER_BYTES: usize = 256 * 1024;
/// Bytes of a request to the feed: an event may be long.
const FEED_BYTES: usize = 512 * 1024;
/// Bytes of a message: its text may need six times its length in JSON.
const MESSAGE_BYTES: usize = 128 * 1024;
/// How long a request may take to be sent.
const SENDING: Duration = Duration::from_secs(30);

/// Whether a path is answered here.
pub fn is_for_api(path: &str) -> bool {
    path.starts_with("/api/") || path == "/.well-known/nostr.json" || path == "/signer"
}

/// The interface, over everything that it needs.
pub struct Api {
    people: Arc<People>,
    signer: Arc<Signer>,
    feed: Arc<Feed>,
    messages: Arc<Messages>,
    proofs: Proofs,
    joiner: Arc<Joiner>,
}

/// Who calls.
struct Caller {
    /// From where.
    source: Option<IpAddr>,
    /// Under which name they see the home.
    host: String,
    /// What stands behind the path.
    query: String,
    /// What they showed.
    token: Option<Token>,
    /// Whose device it is, if it is one.
    session: Option<Session>,
}

impl Caller {
    fn session(&self) -> Result<&Session, Failure> {
        Ok(self.session.as_ref().ok_or(AccountError::LoggedOut)?)
    }
}

impl Api {
    /// Over these people, their messages and their feed, and who comes into spaces this way.
    pub fn new(
        people: Arc<People>,
        messages: Arc<Messages>,
        feed: Arc<Feed>,
        joiner: Arc<Joiner>,
    ) -> Self {
        let signer = Arc::new(Signer::new(Arc::clone(&people.accounts)));
        Self {
            people,
            signer,
            feed,
            messages,
            proofs: Proofs::default(),
            joiner,
        }
    }

    fn accounts(&self) -> &Arc<Accounts> {
        &self.people.accounts
    }

    /// Answers a request. Needs a runtime.
    pub async fn respond(&self, request: Request<Body>, source: Option<IpAddr>) -> Response<Body> {
        match request.uri().path() {
            "/signer" => signer::relay::respond(&self.signer, request),
            "/.well-known/nostr.json" => {
                well_known::respond(self.accounts(), self.feed.relay(), &request)
            }
            _ => match self.call(request, source).await {
                Ok(reply) => reply.into_response(),
                Err(failure) => failure.into_response(),
            },
        }
    }

    async fn call(&self, request: Request<Body>, source: Option<IpAddr>) -> Result<Reply, Failure> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let path = path.strip_prefix("/api/1/").ok_or(Failure::new(
            404,
            "unknown",
            json!({"what": "path"}),
        ))?;
        let token = token(&head.headers);
        let caller = Caller {
            source,
            host: header_text(&head.headers, header::HOST).to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            session: token.as_ref().and_then(|token| self.people.present(token)),
            token,
        };
        if head.method != Method::GET
            && head.method != Method::HEAD
            && !forms::is_same_origin(&head.headers)
        {
            return Err(Failure::new(403, "other_origin", json!({})));
        }
        let most = match path {
            "accounts/import" => DOCUMENT_BYTES + BODY_BYTES,
            "signer" => SIGNER_BYTES,
            path if path.starts_with("feed/") => FEED_BYTES,
            "messages" => MESSAGE_BYTES,
            _ => BODY_BYTES,
        };
        let body = tokio::time::timeout(SENDING, Limited::new(body, most).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return Err(Failure::new(413, "too_long", json!({"max": most}))),
            Err(_) => return Err(Failure::new(408, "too_slow", json!({}))),
        };
        let kind = header_text(&head.headers, header::CONTENT_TYPE)
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !body.is_empty() && kind != "application/json" {
            return Err(Failure::new(415, "not_json", json!({})));
        }
        let has_no_body = matches!(head.method, Method::GET | Method::HEAD | Method::DELETE);
        if !has_no_body && kind != "application/json" {
            return Err(Failure::new(415, "not_json", json!({})));
        }
        if path == "session/key" && head.method == Method::POST {
            let proof = header_text(&head.headers, header::AUTHORIZATION);
            return self.enter_with_own_key(&caller, proof, &body).await;
        }
        let method = if head.method == Method::HEAD {
            &Method::GET
        } else {
            &head.method
        };
        if messages::is_for_messages(path) {
            let query = head.uri.query().unwrap_or_default();
            return self
                .messages_call(method, path, query, &caller, &body)
                .await;
        }
        self.route(method, path, &caller, &body).await
    }

    async fn route(
        &self,
        method: &Method,
        path: &str,
        caller: &Caller,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        let parts: Vec<&str> = path.split('/').collect();
        match (method.as_str(), &parts[..]) {
            ("POST", ["accounts"]) => self.create(caller, read(body)?).await,
            ("POST", ["accounts", "import"]) => self.import(caller, read(body)?).await,
            ("GET", ["session"]) => Ok(self.who(caller)),
            ("POST", ["session"]) => self.log_in(caller, read(body)?).await,
            ("DELETE", ["session"]) => self.log_out(caller).await,
            ("GET", ["account"]) => {
                Ok(Reply::ok(account_view(&self.own(caller)?, self.accounts())))
            }
            ("PATCH", ["account"]) => self.change(caller, read(body)?).await,
            ("POST", ["account", "keep"]) => self.keep(caller, read(body)?).await,
            ("POST", ["account", "passphrase"]) => {
                self.change_passphrase(caller, read(body)?).await
            }
            ("POST", ["account", "delete"]) => self.delete(caller, read(body)?).await,
            ("POST", ["account", "key"]) => self.reveal(caller, read(body)?).await,
            ("POST", ["account", "export"]) => self.export(caller, read(body)?).await,
            ("GET", ["devices"]) => self.devices(caller),
            ("DELETE", ["devices"]) => self.revoke_others(caller).await,
            ("DELETE", ["devices", id]) => self.revoke(caller, id).await,
            ("GET", ["apps"]) => self.apps(caller),
            ("POST", ["apps"]) => self.offer(caller, read(body)?).await,
            ("POST", ["apps", "connect"]) => self.connect(caller, read(body)?).await,
            ("PATCH", ["apps", id]) => self.allow(caller, id, read(body)?).await,
            ("DELETE", ["apps", id]) => self.disconnect(caller, id).await,
            ("POST", ["invitations"]) => self.accept(caller, read(body)?).await,
            ("GET", ["requests"]) => self.requests(caller),
            ("POST", ["requests", id]) => self.decide(caller, id, read(body)?).await,
            ("POST", ["signer"]) => self.sign(caller, read(body)?),
            (_, ["feed", rest @ ..]) => self.feed(method, rest, caller, body).await,
            _ => Err(Failure::new(404, "unknown", json!({"what": "path"}))),
        }
    }

    fn own(&self, caller: &Caller) -> Result<Account, Failure> {
        let account = self.accounts().account(&caller.session()?.account);
        Ok(account.ok_or(AccountError::LoggedOut)?)
    }
}

/// What an account tells of itself to its own devices.
fn account_view(account: &Account, accounts: &Accounts) -> Value {
    json!({
        "name": account.name,
        "handle": account.handle,
        "findable": account.findable,
        "relays": account.relays,
        "created": account.created,
        "public_key": account.public_key,
        "key": if account.key.is_some() { "home" } else { "elsewhere" },
        "open": accounts.keys(&account.id).is_some(),
    })
}

/// The token of a request: a program's before a browser's.
fn token(headers: &HeaderMap) -> Option<Token> {
    let bearer = header_text(headers, header::AUTHORIZATION);
    match bearer.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Token::parse(token.trim())
        }
        _ => forms::token(headers),
    }
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Reads the body of a call.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let place = json!({"line": error.line(), "column": error.column()});
        Failure::new(400, "body_invalid", place)
    })
}

/// Reads bodies of every call, as the interface does. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    account::read_foreign(body);
    messages::read_foreign(body);
    apps::read_foreign(body);
    feed::read_foreign(body);
    invitations::read_foreign(body);
}
