//! One HTTP/1.1 connection to a space: the description (NIP-11), a line for browsers, the door to the WebSocket, and the
//! way to the files.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::{Body, text, with_cors};
use crate::auth::relay_url;
use crate::core::Core;
use crate::files;
use crate::management;
use crate::pipeline::Pipeline;
use crate::webhooks;

/// The NIPs that NIP-11 names: each has tests with its number (`tests/space/nips.rs`).
pub const SUPPORTED_NIPS: [u16; 24] = [
    1, 9, 11, 17, 22, 25, 29, 30, 40, 42, 43, 45, 50, 52, 56, 59, 62, 65, 67, 70, 77, 86, 88, 98,
];
/// The same of the relay of a home's people.
pub const PERSONAL_NIPS: [u16; 14] = [1, 9, 11, 17, 40, 42, 45, 50, 59, 62, 65, 67, 70, 77];
/// Seconds in which a client must have sent its request.
const REQUEST_SECONDS: u64 = 15;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;

type Door = Arc<Mutex<Option<hyper::upgrade::OnUpgrade>>>;

/// Serves requests until the connection ends or becomes a WebSocket; then gives the raw stream.
pub async fn serve<IO>(
    core: &Arc<Core>,
    pipeline: &Arc<Pipeline>,
    io: IO,
) -> Option<TokioIo<hyper::upgrade::Upgraded>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let door: Door = Door::default();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (core, pipeline, door) = (Arc::clone(core), Arc::clone(pipeline), Arc::clone(&door));
        async move { Ok::<_, Infallible>(respond(&core, &pipeline, request, &door).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(REQUEST_SECONDS))
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        log::debug!("a connection to a space ended: {error}");
    }
    let upgrade = door.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    upgrade.await.ok().map(TokioIo::new)
}

async fn respond(
    core: &Arc<Core>,
    pipeline: &Pipeline,
    request: Request<Incoming>,
    door: &Door,
) -> Response<Body> {
    match request.uri().path() {
        "/" if core.personal.is_none()
            && request.method() == Method::POST
            && lists(
                request.headers(),
                header::CONTENT_TYPE,
                management::CONTENT_TYPE,
            ) =>
        {
            with_cors(management::respond(core, pipeline, request).await)
        }
        "/" => root(core, request, door),
        "/.well-known/nostr.json" if core.personal.is_some() => names(core, &request),
        path if path.starts_with(webhooks::PATH) && core.personal.is_none() => {
            webhooks::respond(core, pipeline, request).await
        }
        _ => files::respond(core, pipeline, request).await,
    }
}

/// Whose name it is (NIP-05), at the relay of a home's people: as others find them who only know the relay. A name that
/// nobody has and one whose person does not want to be found have the same answer.
fn names(core: &Core, request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("name="));
    let name = name.unwrap_or_default().to_ascii_lowercase();
    let personal = core.personal.as_ref();
    let person = personal.and_then(|personal| personal.named(&name));
    let mut body = json!({"names": {}, "relays": {}});
    if let Some(person) = person {
        body["names"][&name] = person.to_hex().into();
        body["relays"][person.to_hex()] = json!([relay_url(&core.config.service)]);
    }
    let mut response = text(StatusCode::OK, body.to_string());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    with_cors(response)
}

/// The space itself: its description, and the door to the WebSocket.
fn root(core: &Core, mut request: Request<Incoming>, door: &Door) -> Response<Body> {
    if request.method() == Method::OPTIONS {
        return with_cors(text(StatusCode::NO_CONTENT, ""));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET is understood here.\n",
        );
        let known = HeaderValue::from_static("GET, HEAD, OPTIONS, POST");
        response.headers_mut().insert(header::ALLOW, known);
        return with_cors(response);
    }
    if asks_for_websocket(request.headers()) && !has_known_version(request.headers()) {
        let mut response = text(
            StatusCode::UPGRADE_REQUIRED,
            "WebSockets of version 13 are understood here.\n",
        );
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        );
        return with_cors(response);
    }
    if let Some(accept) = websocket_accept(request.headers()) {
        *door.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(hyper::upgrade::on(&mut request));
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        return response;
    }
    if lists(request.headers(), header::ACCEPT, "application/nostr+json") {
        let mut response = text(StatusCode::OK, description(core).to_string());
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/nostr+json"),
        );
        return with_cors(response);
    }
    with_cors(text(
        StatusCode::OK,
        match core.personal {
            Some(_) => {
                "This is where the people of a home write for everybody, and are written to.\n"
            }
            None => "This is a space. Open it in an app, or through the page of your home.\n",
        },
    ))
}

/// What NIP-11 tells about a space.
fn description(core: &Core) -> serde_json::Value {
    let config = &core.config;
    if core.personal.is_some() {
        return personal_description(core);
    }
    json!({
        "name": core.text("name"),
        "description": core.text("about"),
        "icon": core.text("icon"),
        "self": core.keys.public_key().to_hex(),
        "pubkey": config.owner.map(|owner| owner.to_hex()),
        "supported_nips": SUPPORTED_NIPS,
        "nip29": { "subgroups": true },
        "software": "warren",
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": limitation(core),
    })
}

/// The same of the relay of a home's people.
fn personal_description(core: &Core) -> serde_json::Value {
    json!({
        "name": core.config.name,
        "description": core.config.about,
        "self": core.keys.public_key().to_hex(),
        "supported_nips": PERSONAL_NIPS,
        "software": "warren",
        "version": env!("CARGO_PKG_VERSION"),
        "limitation": limitation(core),
    })
}

fn limitation(core: &Core) -> serde_json::Value {
    let limits = &core.config.limits;
    let mut shown = json!({
        "max_message_length": limits.message_bytes,
        "max_subscriptions": limits.subscriptions,
        "max_filters": limits.filters,
        "max_limit": limits.query_events,
        "default_limit": limits.query_events,
        "max_subid_length": limits.subscription_id_chars,
        "max_event_tags": limits.event_tags,
        "max_content_length": limits.content_chars,
        "max_count": limits.count_events,
        "max_sync_events": limits.sync_events,
        "auth_required": false,
        "payment_required": false,
        "restricted_writes": true,
        "created_at_upper_limit": limits.future_seconds,
        "max_file_bytes": limits.files.file_bytes,
    });
    if core.personal.is_none() {
        shown["created_at_lower_limit"] = limits.past_seconds.into();
    }
    shown
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    lists(headers, header::CONNECTION, "upgrade") && lists(headers, header::UPGRADE, "websocket")
}

fn has_known_version(headers: &HeaderMap) -> bool {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    version.is_some_and(|version| version.as_bytes() == b"13")
}

/// The answer to a request for a WebSocket (RFC 6455, section 4.2).
fn websocket_accept(headers: &HeaderMap) -> Option<HeaderValue> {
    if !asks_for_websocket(headers) || !has_known_version(headers) {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Whether a comma-separated header names a word, whatever its parameters.
fn lists(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        item.split(';')
            .next()
            .is_some_and(|item| item.trim().eq_ignore_ascii_case(word))
    })
}
