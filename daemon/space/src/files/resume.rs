//! Uploads in parts, which go on after a broken connection or a restart. The form follows the drafts for Blossom
//! (`PATCH` with `Upload-Length`, `Upload-Offset`, `Upload-Type`; pull requests 67 and 102 of hzrd149/blossom) and takes
//! from draft-ietf-httpbis-resumable-upload how the two sides agree on the offset.
//!
//! An unfinished upload is known by its person, the whole file's hash and the channel: whoever holds a token for these
//! goes on with it, from any connection.
//!
//! | request | answer |
//! |---|---|
//! | `HEAD /upload` with `X-SHA-256`, `X-Content-Length` | 200, `Upload-Offset`: bytes that are here |
//! | `PATCH /upload` with `X-SHA-256`, or `PATCH /<sha256>`, with `Upload-Length`, `Upload-Offset`, `Content-Length` | 204 and the new `Upload-Offset`; 201 or 200 with the descriptor when it was the last part |
//! | the same with an offset behind what is here | 409, `Upload-Offset` |
//! | `DELETE /upload` with `X-SHA-256` | 204, the parts are gone |
//!
//! A part may begin before the end of what is here; the bytes that overlap are not read again. What was told as
//! `Upload-Offset` is on disk. A later request for the same upload ends an earlier one that still waits for its
//! connection to die.

use std::sync::{Arc, PoisonError};

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::auth::{Token, Verb};
use super::blobs::{Draft, FileHash, UploadKey};
use super::receive::{Plan, receive};
use super::refusal::{Refusal, UPLOAD_LENGTH, UPLOAD_OFFSET};
use super::upload::{drain, media_type, publish};
use super::{blocking, policy, routes};
use crate::answer::{Body, text};
use crate::core::Core;

/// Who is writing an upload just now.
#[derive(Debug, Default)]
pub struct Turn {
    writing: Arc<Mutex<()>>,
    newcomer: Notify,
}

/// The right to write an upload, until it is dropped.
struct MyTurn {
    core: Arc<Core>,
    key: UploadKey,
    turn: Arc<Turn>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl MyTurn {
    /// Asks whoever writes the upload to stop, and waits until that is done.
    async fn take(core: &Arc<Core>, key: &UploadKey) -> Self {
        let turn = {
            let mut turns = core
                .files
                .turns
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        // Built before waiting, so that a request that is dropped while it waits leaves nothing behind.
        let mut mine = Self {
            core: Arc::clone(core),
            key: key.clone(),
            turn,
            guard: None,
        };
        mine.turn.newcomer.notify_waiters();
        mine.guard = Some(Arc::clone(&mine.turn.writing).lock_owned().await);
        mine
    }
}

impl Drop for MyTurn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self
            .core
            .files
            .turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.key); // nobody else waits for it
        }
    }
}

/// What a part says of itself.
struct Part {
    token: Token,
    rank: policy::Rank,
    hash: FileHash,
    size: u64,
    offset: u64,
    length: u64,
}

fn read_part(core: &Core, headers: &HeaderMap, hash: FileHash) -> Result<Part, Refusal> {
    let token = routes::must_token(core, headers, Verb::Upload)?;
    token.covers(&hash)?;
    let rank = policy::may_upload(core, &token)?;
    let number = |name: &'static str, wrong: &'static str| {
        routes::number(headers, &HeaderName::from_static(name), wrong)?
            .ok_or(Refusal::Invalid(wrong))
    };
    let size = number(
        UPLOAD_LENGTH,
        "Upload-Length must be the whole file's bytes",
    )?;
    let offset = number(UPLOAD_OFFSET, "Upload-Offset must be where the part begins")?;
    let wrong = "Content-Length is no number";
    let length = routes::number(headers, &header::CONTENT_LENGTH, wrong)?
        .ok_or(Refusal::LengthRequired("Content-Length"))?;
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(Refusal::Range(size));
    }
    core.files.take_change(&token.person)?;
    Ok(Part {
        token,
        rank,
        hash,
        size,
        offset,
        length,
    })
}

/// How a part begins.
enum Begun {
    /// Here are the bytes that are here.
    Open(Box<dyn Draft>),
    /// The whole file is here: they uploaded it before, and perhaps did not hear of it.
    Whole(Box<Response<Body>>),
}

fn begin(core: &Arc<Core>, part: &Part, media_type: &str) -> Result<Begun, Refusal> {
    let files = &core.files;
    let key = policy::key(&part.token, part.hash);
    let kept = match files.blobs.unfinished(&key)? {
        Some(unfinished) if unfinished.size != part.size => {
            return Err(Refusal::Invalid(
                "Upload-Length is not what it was at the beginning of this upload",
            ));
        }
        Some(unfinished) => unfinished.kept,
        None => {
            if let Some(right) = files.blobs.right(&key)?
                && right.size == part.size
            {
                let answer = routes::json_answer(StatusCode::OK, &routes::descriptor(core, &right));
                return Ok(Begun::Whole(Box::new(answer)));
            }
            0
        }
    };
    if part.offset > kept {
        return Err(Refusal::WrongOffset(kept));
    }
    // Until it stands in the tables, the room for it is reserved; from then on the tables count it.
    let _reservation = if files.blobs.unfinished(&key)?.is_none() {
        let most = files.limits.person_unfinished;
        let reservation = policy::reserve(core, &part.token.person, part.rank, part.size)?;
        if files.blobs.usage(&part.token.person)?.unfinished >= most {
            return Err(Refusal::TooMany {
                what: "unfinished uploads",
                most,
            });
        }
        Some(reservation)
    } else {
        None
    };
    let draft = files
        .blobs
        .resume(&key, part.size, media_type, core.now())?;
    Ok(Begun::Open(draft))
}

/// Takes a part of a file.
pub async fn patch(
    core: &Arc<Core>,
    hash: FileHash,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let part = match blocking(core, move |core| read_part(core, &headers, hash)).await {
        Ok(part) => part,
        Err(refusal) => {
            drain(&head.headers, body).await;
            return Err(refusal);
        }
    };
    let (size, offset, length) = (part.size, part.offset, part.length);
    let token = part.token.clone();
    let mine = MyTurn::take(core, &policy::key(&token, hash)).await;
    let give_way = mine.turn.newcomer.notified();
    let media_type = media_type(&head.headers, &HeaderName::from_static("upload-type"));
    let begun = blocking(core, move |core| {
        let permit = core
            .files
            .transfer(policy::holder(core, &part.token.person))?;
        Ok((begin(core, &part, &media_type)?, permit))
    })
    .await;
    let (draft, _permit) = match begun {
        Ok((Begun::Open(draft), permit)) => (draft, permit),
        Ok((Begun::Whole(answer), _)) => {
            drain(&head.headers, body).await;
            return Ok(*answer);
        }
        Err(refusal) => {
            drain(&head.headers, body).await;
            return Err(refusal);
        }
    };
    let plan = Plan {
        skip: (draft.length() - offset).min(length),
        end: size,
        is_kept: true,
    };
    let (draft, received) = receive(core, body, draft, plan, give_way).await;
    received?;
    let draft = draft.ok_or(Refusal::Trouble)?;
    let answer = blocking(core, move |core| finish(core, draft, &token, hash, size)).await;
    drop(mine);
    answer
}

/// After a part: how far it is, or the file.
fn finish(
    core: &Arc<Core>,
    mut draft: Box<dyn Draft>,
    token: &Token,
    hash: FileHash,
    size: u64,
) -> Result<Response<Body>, Refusal> {
    if draft.length() < size {
        let mut response = text(StatusCode::NO_CONTENT, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(UPLOAD_OFFSET, HeaderValue::from(draft.length()));
        headers.insert(UPLOAD_LENGTH, HeaderValue::from(size));
        return Ok(response);
    }
    let key = policy::key(token, hash);
    if draft.hash()? != hash {
        drop(draft);
        core.files.blobs.abandon(&key)?;
        return Err(Refusal::WrongHash);
    }
    let media_type = core
        .files
        .blobs
        .unfinished(&key)?
        .map(|unfinished| unfinished.media_type)
        .unwrap_or_else(|| super::media::UNKNOWN.into());
    publish(core, draft, token, hash, media_type)
}

/// Gives an unfinished upload up.
pub async fn give_up(core: &Arc<Core>, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let headers = headers.clone();
    let (token, hash) = blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::Upload)?;
        let hash = routes::named_hash(&headers)?
            .ok_or(Refusal::Invalid("the X-SHA-256 header must name the file"))?;
        token.covers(&hash)?;
        core.files.take_change(&token.person)?;
        Ok((token, hash))
    })
    .await?;
    let key = policy::key(&token, hash);
    let mine = MyTurn::take(core, &key).await;
    let was_there = blocking(core, move |core| Ok(core.files.blobs.abandon(&key)?)).await;
    drop(mine);
    if was_there? {
        Ok(text(StatusCode::NO_CONTENT, ""))
    } else {
        Err(Refusal::NotFound)
    }
}
