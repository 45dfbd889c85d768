//! The little relay in front of the signer (NIP-01, as far as it goes): it takes requests, hands out answers as they
//! come, and stores nothing. Who wants to read has to say for whom (`#p`): nobody sees everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::header::{self, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nostr::event::Event;
use nostr::filter::{Filter, SingleLetterTag};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::hub::ListenerId;
use super::{KIND, Signer};
use crate::accounts::gate::Pace;
use crate::http::{Body, set, text};

/// Longest message that is read. NIP-44 inside NIP-44 makes 64 KiB of text into 120.
const MESSAGE_BYTES: usize = 256 * 1024;
/// How often one connection may send something.
const PACE: Pace = Pace {
    every: Duration::from_millis(100),
    burst: 40,
};
/// Silence after which the other side is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one message may take to be sent.
const SEND: Duration = Duration::from_secs(15);
/// Seconds by which the date of a request may be off. Wide, for few clocks in a mesh are right; repeats are remembered.
const DATE_SECONDS: u64 = 86_400;
/// Filters of one subscription.
const FILTERS: usize = 8;
/// Longest name of a subscription (NIP-01).
const NAME_CHARS: usize = 64;

/// Answers a request for the relay: its description (NIP-11), or the switch to WebSocket (RFC 6455, section 4.2).
pub fn respond(signer: &Arc<Signer>, mut request: Request<Body>) -> Response<Body> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let Some(accept) = key.filter(|_| headers.contains_key(header::UPGRADE)) else {
        let about = json!({
            "name": "signer", "description": "Carries requests to the signer of this home (NIP-46).",
            "supported_nips": [1, 11, 46], "software": "warren", "version": env!("CARGO_PKG_VERSION"),
            "limitation": {"max_message_length": MESSAGE_BYTES, "max_filters": FILTERS, "max_subid_length": NAME_CHARS,
                "created_at_lower_limit": DATE_SECONDS, "created_at_upper_limit": DATE_SECONDS, "restricted_writes": true},
        });
        let mut response = text(StatusCode::OK, &about.to_string());
        set(
            &mut response,
            header::CONTENT_TYPE,
            "application/nostr+json",
        );
        set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        return response;
    };
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .map(HeaderValue::as_bytes)
        != Some(b"13")
    {
        return text(
            StatusCode::BAD_REQUEST,
            "Only version 13 of WebSocket is understood.\n",
        );
    }
    let accept = derive_accept_key(accept.as_bytes());
    let Ok(place) = Arc::clone(&signer.connections).try_acquire_owned() else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many apps are connected.\n",
        );
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(run(Arc::clone(signer), upgrade, place));
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    set(&mut response, header::CONNECTION, "upgrade");
    set(&mut response, header::UPGRADE, "websocket");
    set(&mut response, header::SEC_WEBSOCKET_ACCEPT, &accept);
    response
}

/// One connection, until it ends.
async fn run(signer: Arc<Signer>, upgrade: OnUpgrade, _place: OwnedSemaphorePermit) {
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(4096)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (id, mut messages) = signer.hub.enter();
    let mut due = Instant::now();
    let mut silent = false;
    loop {
        let out = tokio::select! {
            incoming = socket.next() => {
                silent = false;
                match incoming {
                    Some(Ok(Message::Text(text))) => match PACE.take(&mut due, Instant::now()) {
                        Ok(()) => heard(&signer, id, &text),
                        Err(_) => too_fast(&text),
                    }
                    .into_iter()
                    .map(|line| Message::Text(line.to_string().into()))
                    .collect(),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => vec![],
                }
            }
            message = messages.recv() => match message {
                Some(text) => vec![Message::Text(text.into())],
                None => break,
            },
            () = tokio::time::sleep(SILENCE) => {
                if silent {
                    break;
                }
                silent = true;
                vec![Message::Ping(Vec::new().into())]
            }
        };
        let mut sent = true;
        for message in out {
            sent &= matches!(
                tokio::time::timeout(SEND, socket.send(message)).await,
                Ok(Ok(()))
            );
        }
        if !sent {
            break;
        }
    }
    signer.hub.leave(id);
}

/// What is answered to a message that comes too soon.
fn too_fast(text: &str) -> Vec<Value> {
    let slow = "rate-limited: slow down";
    match read(text) {
        Some(ClientMessage::Event(event)) => vec![json!(["OK", event["id"], false, slow])],
        Some(ClientMessage::Request(name, _)) => vec![json!(["CLOSED", name, slow])],
        _ => vec![json!(["NOTICE", slow])],
    }
}

/// Takes one message and says what is answered at once.
fn heard(signer: &Arc<Signer>, id: ListenerId, text: &str) -> Vec<Value> {
    match read(text) {
        Some(ClientMessage::Event(event)) => {
            let (ok, why) = match take(signer, event.clone()) {
                Ok(()) => (true, String::new()),
                Err(why) => (false, why),
            };
            vec![json!(["OK", event["id"], ok, why])]
        }
        Some(ClientMessage::Request(name, filters)) => match check(filters) {
            Ok(filters) => match signer.hub.subscribe(id, &name, filters) {
                true => vec![json!(["EOSE", name])],
                false => vec![json!([
                    "CLOSED",
                    name,
                    "rate-limited: too many subscriptions"
                ])],
            },
            Err(why) => vec![json!(["CLOSED", name, why])],
        },
        Some(ClientMessage::Close(name)) => {
            signer.hub.unsubscribe(id, &name);
            vec![]
        }
        None => vec![json!([
            "NOTICE",
            "invalid: only EVENT, REQ and CLOSE are understood"
        ])],
    }
}

fn take(signer: &Arc<Signer>, event: Value) -> Result<(), String> {
    let event: Event =
        serde_json::from_value(event).map_err(|error| format!("invalid: {error}"))?;
    if event.kind.as_u16() != KIND {
        return Err(format!("restricted: only kind {KIND} is taken here"));
    }
    let off = event.created_at.as_secs().abs_diff(signer.accounts.now());
    if off > DATE_SECONDS {
        return Err(format!("invalid: the date is off by {off} seconds"));
    }
    event
        .verify()
        .map_err(|error| format!("invalid: {error}"))?;
    signer.take(&event)
}

/// Filters that may be listened with: each says for whom.
fn check(filters: Vec<Value>) -> Result<Vec<Filter>, String> {
    let p = SingleLetterTag::from_char('p').map_err(|error| format!("error: {error}"))?;
    if filters.is_empty() || filters.len() > FILTERS {
        return Err(format!("invalid: 1 to {FILTERS} filters"));
    }
    let read = |filter| {
        serde_json::from_value::<Filter>(filter).map_err(|error| format!("invalid: {error}"))
    };
    let filters: Vec<Filter> = filters.into_iter().map(read).collect::<Result<_, _>>()?;
    let says = |filter: &Filter| {
        filter
            .generic_tags
            .get(&p)
            .is_some_and(|people| !people.is_empty())
    };
    if !filters.iter().all(says) {
        return Err("restricted: say with #p for whom".into());
    }
    Ok(filters)
}

/// A message of NIP-01.
#[derive(Debug)]
enum ClientMessage {
    Event(Value),
    Request(String, Vec<Value>),
    Close(String),
}

fn read(text: &str) -> Option<ClientMessage> {
    let mut parts = serde_json::from_str::<Vec<Value>>(text).ok()?.into_iter();
    let verb = parts.next()?;
    let name = |part: Option<Value>| match part {
        Some(Value::String(name)) if !name.is_empty() && name.chars().count() <= NAME_CHARS => {
            Some(name)
        }
        _ => None,
    };
    match verb.as_str()? {
        "EVENT" => parts
            .next()
            .filter(Value::is_object)
            .map(ClientMessage::Event),
        "REQ" => Some(ClientMessage::Request(name(parts.next())?, parts.collect())),
        "CLOSE" => Some(ClientMessage::Close(name(parts.next())?)),
        _ => None,
    }
}

/// Reads a message and what is in it, as the relay does. For the fuzzer.
pub fn read_foreign(text: &str) {
    match read(text) {
        Some(ClientMessage::Request(_, filters)) => drop(check(filters)),
        Some(ClientMessage::Event(event)) => drop(serde_json::from_value::<Event>(event)),
        _ => {}
    }
}
