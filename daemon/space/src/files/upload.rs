//! PUT and HEAD of `/upload`: a file in one go (BUD-02), and whether it would be taken (BUD-06). Nothing here is quicker
//! or different when the same bytes are stored already: that is for those to know who may see them.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::auth::{AuthError, Token, Verb};
use super::blobs::{Draft, FileHash, Right};
use super::policy::{self, Looker};
use super::receive::{Plan, receive};
use super::refusal::{Refusal, UPLOAD_LENGTH, UPLOAD_OFFSET};
use super::{blocking, media, routes};
use crate::answer::{Body, text};
use crate::core::Core;

/// Bytes of a refused upload that are read and thrown away, so that a sender who does not look up while sending gets the
/// answer and not a broken connection.
const DRAINED: usize = 256 * 1024;
/// How long that may take.
const DRAIN: Duration = Duration::from_secs(2);

/// Whether an upload would be taken, and how much of it is here from an earlier try.
pub async fn head(core: &Arc<Core>, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let headers = headers.clone();
    blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::Upload)?;
        let hash = routes::named_hash(&headers)?
            .ok_or(Refusal::Invalid("the X-SHA-256 header must name the file"))?;
        token.covers(&hash)?;
        let rank = policy::may_upload(core, &token)?;
        let name = HeaderName::from_static("x-content-length");
        let length = routes::number(&headers, &name, "X-Content-Length is no number")?
            .ok_or(Refusal::LengthRequired("X-Content-Length"))?;
        let key = policy::key(&token, hash);
        let (offset, size) = match core.files.blobs.unfinished(&key)? {
            Some(unfinished) => (unfinished.kept, unfinished.size),
            // What they uploaded before is here as a whole. Of others' uploads nothing is said.
            None => match core.files.blobs.right(&key)? {
                Some(right) => (right.size, right.size),
                None => {
                    drop(policy::reserve(core, &token.person, rank, length)?);
                    (0, length)
                }
            },
        };
        let mut response = text(StatusCode::OK, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        headers.insert(UPLOAD_LENGTH, HeaderValue::from(size));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    })
    .await
}

/// Takes a file.
pub async fn put(core: &Arc<Core>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let begun = blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::Upload)?;
        let named = routes::named_hash(&headers)?;
        match &named {
            Some(hash) => token.covers(hash)?,
            None if token.files.is_empty() => return Err(AuthError::File.into()),
            None => {}
        }
        let rank = policy::may_upload(core, &token)?;
        let length = routes::number(
            &headers,
            &header::CONTENT_LENGTH,
            "Content-Length is no number",
        )?
        .ok_or(Refusal::LengthRequired("Content-Length"))?;
        core.files.take_change(&token.person)?;
        let reservation = policy::reserve(core, &token.person, rank, length)?;
        let permit = core.files.transfer(Some(token.person))?;
        let draft = core.files.blobs.draft()?;
        Ok((token, named, length, draft, (reservation, permit)))
    })
    .await;
    let (token, named, length, draft, _room) = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            drain(&head.headers, body).await;
            return Err(refusal);
        }
    };
    let plan = Plan {
        skip: 0,
        end: length,
        is_kept: false,
    };
    let (draft, received) = receive(core, body, draft, plan, pending()).await;
    received?;
    let draft = draft.ok_or(Refusal::Trouble)?;
    let media_type = media_type(&head.headers, &header::CONTENT_TYPE);
    blocking(core, move |core| {
        let mut draft = draft;
        if draft.length() != length {
            return Err(Refusal::Broken);
        }
        let hash = draft.hash()?;
        if named.is_some_and(|named| named != hash) || token.covers(&hash).is_err() {
            return Err(Refusal::WrongHash);
        }
        publish(core, draft, &token, hash, media_type)
    })
    .await
}

/// The media type a header gives.
pub fn media_type(headers: &HeaderMap, name: &HeaderName) -> String {
    media::clean(headers.get(name).and_then(|value| value.to_str().ok()))
}

/// Makes a whole upload a file: 201, or 200 for who could see the same bytes before. Blocks.
pub fn publish(
    core: &Arc<Core>,
    draft: Box<dyn Draft>,
    token: &Token,
    hash: FileHash,
    media_type: String,
) -> Result<Response<Body>, Refusal> {
    let _gate = core
        .files
        .gate
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    // Once more: a long upload may outlast a membership.
    policy::may_upload(core, token)?;
    let looker = Looker::person(core, token.person);
    let known = core.files.blobs.rights(&hash)?;
    let status = if known.iter().any(|right| looker.may_see(right)) {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let right = Right {
        hash,
        size: draft.length(),
        uploader: token.person,
        channel: token.channel.clone(),
        media_type,
        uploaded: core.now(),
    };
    draft.publish(&right)?;
    // Who uploads the same once more keeps the first date and type.
    let right = core
        .files
        .blobs
        .right(&policy::key(token, hash))?
        .unwrap_or(right);
    Ok(routes::json_answer(
        status,
        &routes::descriptor(core, &right),
    ))
}

/// Reads on for a moment what nobody wants. Not for who waits to be asked to send (`Expect`).
pub async fn drain(headers: &HeaderMap, mut body: Incoming) {
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, hyper::body::Bytes::len);
            if bytes > DRAINED {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN, reading).await;
}
