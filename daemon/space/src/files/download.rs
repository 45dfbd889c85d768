//! GET and HEAD of a file (BUD-01), whole or in part (RFC 9110), never faster than the reader reads.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use nostr::key::PublicKey;
use tokio::sync::mpsc;

use super::auth::Verb;
use super::blobs::{Content, Right};
use super::places::Place;
use super::range::{self, Part};
use super::refusal::Refusal;
use super::{FileHash, blocking, media, policy, routes};
use crate::answer::{Body, full};
use crate::core::Core;

/// Bytes that are read at a time.
const BUFFER: u64 = 64 * 1024;

struct Found {
    right: Right,
    is_public: bool,
    content: Option<Box<dyn Content>>,
    holder: Option<PublicKey>,
}

/// Answers GET and HEAD. What is not there and what is not for the asker get the same answer.
pub async fn get(
    core: &Arc<Core>,
    hash: FileHash,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let is_head = request.method() == Method::HEAD;
    let headers = request.headers().clone();
    let found = blocking(core, move |core| {
        let token = routes::token(core, &headers, Verb::Get)?;
        // A token for other files says nothing about this one.
        let token = token.filter(|token| token.files.is_empty() || token.files.contains(&hash));
        let (right, is_public) =
            policy::find(core, &hash, token.as_ref())?.ok_or(Refusal::NotFound)?;
        let content = core.files.blobs.open(&hash)?;
        Ok(Found {
            right,
            is_public,
            content,
            // A proof that names no server could be another's, who would use up this person's share.
            holder: token
                .filter(|token| token.is_for_here)
                .and_then(|token| policy::holder(core, &token.person)),
        })
    })
    .await?;
    let Some(content) = found.content else {
        log::error!(
            "the file {hash} is missing on the disk; restore it from a backup, or upload it again"
        );
        return Err(Refusal::NotFound);
    };
    let size = found.right.size;
    let tag = format!("\"{hash}\"");
    let mut response = Response::new(full(""));
    describe(core, &found.right, found.is_public, &tag, &mut response);
    let headers = request.headers();
    if matches_tag(headers, &header::IF_NONE_MATCH, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    // A part of another version than the one asked for would be of no use (RFC 9110, section 13.1.5). Ranges are for GET.
    let is_same = headers.get(header::IF_RANGE).is_none_or(|condition| {
        condition.as_bytes() == tag.as_bytes()
            || response
                .headers()
                .get(header::LAST_MODIFIED)
                .is_some_and(|date| date == condition)
    });
    let wanted = headers
        .get(header::RANGE)
        .filter(|_| is_same && !is_head && headers.get_all(header::RANGE).iter().count() == 1);
    let (start, length) = match range::part(wanted, size) {
        Part::Whole => (0, size),
        Part::Nothing => return Err(Refusal::Range(size)),
        Part::Some { start, length } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{size}", start + length - 1);
            set(&mut response, header::CONTENT_RANGE, &range);
            (start, length)
        }
    };
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if !is_head && length > 0 {
        let place = core.files.transfer(found.holder)?;
        let stall = Duration::from_secs(core.files.limits.stall_seconds);
        *response.body_mut() = body(content.into(), start, length, stall, place);
    }
    Ok(response)
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn date(seconds: u64) -> String {
    // Beyond the year 9999 there is no HTTP date.
    let seconds = seconds.min(253_402_300_799);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn describe(core: &Core, right: &Right, is_public: bool, tag: &str, response: &mut Response<Body>) {
    set(response, header::CONTENT_TYPE, &right.media_type);
    set(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if !media::is_harmless(&right.media_type) {
        set(response, header::CONTENT_SECURITY_POLICY, media::SANDBOX);
    }
    set(response, header::ACCEPT_RANGES, "bytes");
    set(response, header::ETAG, tag);
    set(response, header::LAST_MODIFIED, &date(right.uploaded));
    set(response, header::VARY, "Authorization");
    // The bytes never change; that somebody may see them can.
    let caching = if is_public {
        "public, max-age=86400, immutable"
    } else {
        "private, no-store"
    };
    set(response, header::CACHE_CONTROL, caching);
    if let Some(seconds) = core.files.limits.keep_seconds {
        let end = date(right.uploaded.saturating_add(seconds));
        set(response, HeaderName::from_static("sunset"), &end);
    }
}

fn matches_tag(headers: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| item.trim().trim_start_matches("W/"))
        .any(|item| item == tag || item == "*")
}

/// A part of a file as a body. One buffer waits to be sent while the next is read; who takes nothing for too long is given
/// up, and the connection ends before the announced length.
fn body(content: Arc<dyn Content>, start: u64, length: u64, stall: Duration, place: Place) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let (mut offset, end) = (start, start + length);
        while offset < end {
            let content = Arc::clone(&content);
            let bytes = usize::try_from((end - offset).min(BUFFER)).unwrap_or(0);
            let read = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; bytes];
                content.read_at(&mut buffer, offset).map(|()| buffer)
            });
            let read = read
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)));
            let frame = read.map(|buffer| {
                offset += buffer.len() as u64;
                Frame::data(Bytes::from(buffer))
            });
            let failed = frame.is_err();
            if let Err(error) = &frame {
                log::error!("a file cannot be read: {error}");
            }
            let sent = tokio::time::timeout(stall, sender.send(frame)).await;
            if failed || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    StreamBody::new(frames).boxed_unsync()
}
