//! Which request about files goes where.
//!
//! | method and path | what | source |
//! |---|---|---|
//! | GET, HEAD `/<sha256>[.ext]` | a file, or a part of it | BUD-01 |
//! | DELETE `/<sha256>` | deletes it | BUD-12 |
//! | PUT `/upload` | uploads one in one go | BUD-02 |
//! | HEAD `/upload` | whether an upload would be taken, and how much of it is here | BUD-06 |
//! | PATCH `/upload`, PATCH `/<sha256>[.ext]` | uploads a part | our own, see `resume` |
//! | DELETE `/upload` | gives an unfinished upload up | our own |
//! | GET `/list/<pubkey>` | what somebody uploaded | BUD-12 |
//! | PUT `/mirror` | copies a file from another space | BUD-04 |
//! | PUT, GET `/report` | complains about a file; the complaints | BUD-09, our own |

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::auth::{self, AuthError, Expected, Token, Verb};
use super::blobs::{FileHash, Right};
use super::refusal::Refusal;
use super::{download, manage, media, mirror, report, resume, upload};
use crate::answer::{Body, full, text, with_cors};
use crate::core::Core;
use crate::pipeline::Pipeline;

/// Methods of all paths, for a preflight.
const ALLOW: &str = "GET, HEAD, PUT, PATCH, DELETE, OPTIONS";

/// Answers one request.
pub async fn respond(
    core: &Arc<Core>,
    pipeline: &Pipeline,
    request: Request<Incoming>,
) -> Response<Body> {
    let answer = match route(core, pipeline, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(),
    };
    with_cors(answer)
}

async fn route(
    core: &Arc<Core>,
    pipeline: &Pipeline,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let rest = path.strip_prefix('/').ok_or(Refusal::NoSuchPath)?;
    let method = request.method().clone();
    let is_known = ["upload", "mirror", "report"].contains(&rest)
        || rest.starts_with("list/")
        || file(rest).is_some();
    if !is_known {
        return Err(Refusal::NoSuchPath);
    }
    if method == Method::OPTIONS {
        let mut response = text(StatusCode::NO_CONTENT, "");
        let allow = HeaderValue::from_static(ALLOW);
        response.headers_mut().insert(header::ALLOW, allow);
        return Ok(response);
    }
    match (rest, method) {
        ("upload", Method::PUT) => upload::put(core, request).await,
        ("upload", Method::HEAD) => upload::head(core, request.headers()).await,
        ("upload", Method::PATCH) => {
            let hash = named_hash(request.headers())?
                .ok_or(Refusal::Invalid("the X-SHA-256 header must name the file"))?;
            resume::patch(core, hash, request).await
        }
        ("upload", Method::DELETE) => resume::give_up(core, request.headers()).await,
        ("mirror", Method::PUT) => mirror::put(core, request).await,
        ("report", Method::PUT) => report::put(core, request).await,
        ("report", Method::GET) => report::get(core, request.headers()).await,
        (rest, method) => {
            if let Some(person) = rest.strip_prefix("list/") {
                if method != Method::GET {
                    return Err(Refusal::Method);
                }
                return manage::list(core, person, &request).await;
            }
            let hash = file(rest).ok_or(Refusal::Method)?;
            match method {
                Method::GET | Method::HEAD => download::get(core, hash, &request).await,
                Method::DELETE => manage::delete(core, pipeline, hash, request.headers()).await,
                Method::PATCH => resume::patch(core, hash, request).await,
                _ => Err(Refusal::Method),
            }
        }
    }
}

/// The hash in `<sha256>[.ext]`.
pub fn file(name: &str) -> Option<FileHash> {
    let (hash, extension) = name.split_once('.').unwrap_or((name, "bin"));
    let fits = (1..=16).contains(&extension.len())
        && extension
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    FileHash::parse(hash).filter(|_| fits)
}

/// The one value of a header as text; an error when there are several, or it is no text.
pub fn one<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    wrong: &'static str,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).into_iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::Invalid(wrong));
    }
    first
        .map(|value| value.to_str().map_err(|_| Refusal::Invalid(wrong)))
        .transpose()
}

/// A header that is a number of bytes.
pub fn number(
    headers: &HeaderMap,
    name: &HeaderName,
    wrong: &'static str,
) -> Result<Option<u64>, Refusal> {
    let Some(value) = one(headers, name, wrong)? else {
        return Ok(None);
    };
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or(Refusal::Invalid(wrong))?;
    Ok(Some(number))
}

/// The file that `X-SHA-256` names.
pub fn named_hash(headers: &HeaderMap) -> Result<Option<FileHash>, Refusal> {
    const WRONG: &str = "the X-SHA-256 header is not 64 lowercase hex characters";
    let name = HeaderName::from_static("x-sha-256");
    one(headers, &name, WRONG)?
        .map(|hash| FileHash::parse(hash).ok_or(Refusal::Invalid(WRONG)))
        .transpose()
}

/// The token of a request, which need not have one. Checks the signature: blocks.
pub fn token(core: &Core, headers: &HeaderMap, verb: Verb) -> Result<Option<Token>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let header = value.to_str().map_err(|_| AuthError::Shape)?;
    if values.next().is_some() {
        return Err(AuthError::Shape.into());
    }
    let expected = Expected {
        verb,
        service: &core.config.service,
        now: core.now(),
        future_seconds: core.config.limits.future_seconds,
    };
    Ok(Some(auth::token(header, expected)?))
}

/// The same for a request that must have one.
pub fn must_token(core: &Core, headers: &HeaderMap, verb: Verb) -> Result<Token, Refusal> {
    Ok(token(core, headers, verb)?.ok_or(AuthError::Missing)?)
}

/// What is told of a file (BUD-02), with the channel it was uploaded into, if any.
pub fn descriptor(core: &Core, right: &Right) -> serde_json::Value {
    let mut value = json!({
        "url": format!(
            "http://{}.warren/{}.{}",
            core.config.service,
            right.hash,
            media::extension(&right.media_type)
        ),
        "sha256": right.hash.to_string(),
        "size": right.size,
        "type": right.media_type,
        "uploaded": right.uploaded,
    });
    if let Some(channel) = &right.channel {
        value["channel"] = channel.as_str().into();
    }
    if let Some(seconds) = core.files.limits.keep_seconds {
        value["expires"] = right.uploaded.saturating_add(seconds).into();
    }
    value
}

/// An answer in JSON.
pub fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_hash_and_any_extension() {
        let hash = "a".repeat(64);
        for name in ["", ".png", ".tar.gz"] {
            assert!(file(&format!("{hash}{name}")).is_some(), "{name}");
        }
        for name in [".", ".a/b", ".%2e", "a", ".aaaaaaaaaaaaaaaaa"] {
            assert!(file(&format!("{hash}{name}")).is_none(), "{name}");
        }
        assert!(file(&"A".repeat(64)).is_none());
        assert!(file(&"a".repeat(63)).is_none());
    }
}
