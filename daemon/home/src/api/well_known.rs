//! NIP-05: which key belongs to a name at this home, for those who want to be found.

use hyper::header;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::header_text;
use crate::accounts::Accounts;
use crate::dialer::ServiceName;
use crate::feed::references::address_of;
use crate::forms;
use crate::http::{Body, set, text};

/// Answers `GET /.well-known/nostr.json?name=NAME`. A name that nobody has and one whose person does not want to be found
/// have the same answer. `relay` is the home's own, where everybody here writes.
pub fn respond(
    accounts: &Accounts,
    relay: Option<&ServiceName>,
    request: &Request<Body>,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET is understood here.\n",
        );
    }
    let fields = forms::fields(request.uri().query().unwrap_or_default().as_bytes());
    let name = forms::field(&fields, "name").to_ascii_lowercase();
    let mut body = json!({"names": {}, "relays": {}});
    if let Some(account) = accounts.by_handle(&name) {
        let person = account.public_key.to_hex();
        body["names"][&name] = person.as_str().into();
        let own = relay.map(address_of);
        let others = account.relays.into_iter();
        let others = others.filter(|url| Some(url) != own.as_ref());
        let relays: Vec<String> = own.iter().cloned().chain(others).collect();
        body["relays"][&person] = relays.into();
    }
    // NIP-46, "Announcing remote-signer metadata".
    let host = header_text(request.headers(), header::HOST);
    body["nip46"] = json!({"relays": [format!("ws://{host}/signer")]});
    let mut response = text(StatusCode::OK, &body.to_string());
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    response
}
