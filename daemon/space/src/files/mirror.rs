//! PUT `/mirror`: copies a file from another space (BUD-04). A space is told an address and goes there by the name of its
//! service only; no address of the Internet is ever looked up or reached.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::auth::{AuthError, Verb};
use super::blobs::FileHash;
use super::receive::{Plan, receive};
use super::refusal::Refusal;
use super::upload::{drain, media_type, publish};
use super::{Fetcher, blocking, policy, routes};
use crate::answer::Body;
use crate::core::Core;

/// Bytes of the request.
const REQUEST_BYTES: usize = 8 * 1024;
/// How long the other space has to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the connection's buffers.
const BUFFER: usize = 64 * 1024;

/// The space and file that an address names: `http://<service>.warren/<sha256>[.ext]`, the same with `.localhost` and a
/// port, or `http://HOST/s/<service>/<sha256>[.ext]`. `None` for every other address.
pub fn origin(url: &str) -> Option<(String, FileHash)> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) = rest.split_once('/')?;
    let host = authority.split(':').next()?;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let (service, name) = match path.strip_prefix("s/") {
        Some(path) => path.split_once('/')?,
        None => {
            let service = host
                .strip_suffix(".warren")
                .or_else(|| host.strip_suffix(".localhost"))?;
            (service, path)
        }
    };
    let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
    let is_service = service.len() == 52 && service.bytes().all(base32);
    let hash = routes::file(name).filter(|_| is_service)?;
    Some((service.to_owned(), hash))
}

/// The address in the request's body.
pub fn address(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.get("url")?.as_str().map(str::to_owned)
}

/// Copies a file.
pub async fn put(core: &Arc<Core>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let headers = head.headers.clone();
    let checked = blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::Upload)?;
        let rank = policy::may_upload(core, &token)?;
        core.files.take_change(&token.person)?;
        Ok((token, rank))
    })
    .await;
    let (token, rank) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            drain(&head.headers, body).await;
            return Err(refusal);
        }
    };
    let body = Limited::new(body, REQUEST_BYTES).collect();
    let stall = Duration::from_secs(core.files.limits.stall_seconds);
    let body = tokio::time::timeout(stall, body)
        .await
        .map_err(|_| Refusal::Stalled)?
        .map_err(|_| Refusal::Invalid("the body is too long"))?;
    let url = address(&body.to_bytes())
        .ok_or(Refusal::Invalid("the body is not JSON with a text `url`"))?;
    let (service, hash) = origin(&url).ok_or(Refusal::OutsideAddress)?;
    if token.covers(&hash).is_err() {
        return Err(AuthError::File.into());
    }
    let permit = core.files.transfer(Some(token.person))?;
    let fetcher = core.files.fetcher().ok_or(Refusal::Origin)?;
    let (response, _connection) = tokio::time::timeout(PATIENCE, fetch(&*fetcher, &service, &hash))
        .await
        .map_err(|_| Refusal::Origin)??;
    if response.status() != StatusCode::OK {
        return Err(Refusal::Origin);
    }
    let wrong = "the other space does not say how long the file is";
    let length = routes::number(response.headers(), &header::CONTENT_LENGTH, wrong)?
        .ok_or(Refusal::Origin)?;
    let media_type = media_type(response.headers(), &header::CONTENT_TYPE);
    let person = token.person;
    let (_reservation, draft) = blocking(core, move |core| {
        let reservation = policy::reserve(core, &person, rank, length)?;
        Ok((reservation, core.files.blobs.draft()?))
    })
    .await?;
    let plan = Plan {
        skip: 0,
        end: length,
        is_kept: false,
    };
    let (draft, received) = receive(core, response.into_body(), draft, plan, pending()).await;
    received.map_err(|refusal| match refusal {
        Refusal::Broken | Refusal::Stalled | Refusal::Invalid(_) => Refusal::Origin,
        refusal => refusal,
    })?;
    let draft = draft.ok_or(Refusal::Trouble)?;
    let answer = blocking(core, move |core| {
        let mut draft = draft;
        if draft.length() != length || draft.hash()? != hash {
            return Err(Refusal::WrongHash);
        }
        publish(core, draft, &token, hash, media_type)
    })
    .await;
    drop(permit);
    answer
}

/// Ends a connection with the request it was for.
struct Connection(tokio::task::AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fetch(
    fetcher: &dyn Fetcher,
    service: &str,
    hash: &FileHash,
) -> Result<(Response<Incoming>, Connection), Refusal> {
    let away = |error: &dyn std::fmt::Display| {
        log::debug!("a file could not be fetched from {service}.warren: {error}");
        Refusal::Origin
    };
    let stream = fetcher.open(service).await.map_err(|error| away(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| away(&error))?;
    let connection = Connection(tokio::spawn(connection).abort_handle());
    let request = Request::get(format!("/{hash}"))
        .header(header::HOST, format!("{service}.warren"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| away(&error))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| away(&error))?;
    Ok((response, connection))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SERVICE;

    #[test]
    fn only_addresses_of_spaces_are_fetched() {
        let hash = "b".repeat(64);
        for good in [
            format!("http://{SERVICE}.warren/{hash}"),
            format!("https://{SERVICE}.WARREN./{hash}.png?x#y"),
            format!("http://{SERVICE}.localhost:8080/{hash}.tar.gz"),
            format!("http://192.168.1.1:8080/s/{SERVICE}/{hash}.png"),
        ] {
            let found = origin(&good).unwrap_or_else(|| panic!("{good}"));
            assert_eq!(found, (SERVICE.to_owned(), FileHash::parse(&hash).unwrap()));
        }
        for bad in [
            String::new(),
            format!("http://cdn.example.com/{hash}"),
            format!("http://192.168.1.1/{hash}"),
            format!("http://localhost/{hash}"),
            format!("http://{SERVICE}.warren.evil.example/{hash}"),
            format!("http://user@{SERVICE}.warren:80@evil.example/{hash}"),
            format!("http://{SERVICE}.warren/../{hash}"),
            format!("http://{SERVICE}.warren/{hash}/x"),
            format!("file://{SERVICE}.warren/{hash}"),
            format!("http://{SERVICE}.warren"),
            format!("http://x/s/short/{hash}"),
        ] {
            assert_eq!(origin(&bad), None, "{bad}");
        }
    }
}
