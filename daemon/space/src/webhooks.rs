//! Webhooks: `POST /hook/<secret>` with a JSON body `{"content", "username"?}`, as Discord's webhooks take it, writes a
//! message into a channel. Whether a secret is wrong or was revoked is told to nobody.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::answer::{Body, full};
use crate::core::Core;
use crate::groups::webhooks::hash;
use crate::ingest::{HookPost, UNKNOWN_HOOK};
use crate::names;
use crate::pipeline::Pipeline;

/// How a webhook's path begins.
pub const PATH: &str = "/hook/";
/// Seconds in which the body must have come.
const BODY: Duration = Duration::from_secs(15);
/// Characters of a message and of a name.
const CONTENT_CHARS: usize = 4000;
const NAME_CHARS: usize = 80;

/// What is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The text.
    pub content: String,
    /// Under which name, where it is another than the webhook's.
    pub username: Option<String>,
}

/// Reads a body; `Err` says what is wrong with it.
pub fn parse(body: &[u8]) -> Result<Posted, &'static str> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Err("invalid: the body is a JSON object with `content`");
    };
    let content = match fields.get("content") {
        Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
        _ => return Err("invalid: `content` is the text of the message; nothing else is shown"),
    };
    if content.chars().count() > CONTENT_CHARS {
        return Err("invalid: `content` has up to 4000 characters");
    }
    let username = match fields.get("username") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if is_name(name) => Some(name.clone()),
        Some(_) => return Err("invalid: `username` has 1 to 80 characters that can be seen"),
    };
    Ok(Posted { content, username })
}

/// Whether a webhook may be called so.
pub fn is_name(name: &str) -> bool {
    names::is_readable(name) && name.chars().count() <= NAME_CHARS
}

/// Answers one request. 204; with `?wait=true` 200 and the id of the message.
pub async fn respond(
    core: &Core,
    pipeline: &Pipeline,
    request: Request<Incoming>,
) -> Response<Body> {
    if request.method() != Method::POST {
        return refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid: messages are posted here",
        );
    }
    let path = request.uri().path();
    let hash = hash(path.strip_prefix(PATH).unwrap_or_default());
    // Before the body is read, so that who guesses makes us read nothing.
    if core.groups().community().webhooks.get(&hash).is_none() {
        return refuse(StatusCode::NOT_FOUND, UNKNOWN_HOOK);
    }
    let waits = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "wait=true"));
    let limit = core.config.limits.webhook_bytes;
    let body = Limited::new(request.into_body(), limit).collect();
    let Ok(Ok(body)) = tokio::time::timeout(BODY, body).await else {
        let reason = format!("invalid: a message has at most {limit} bytes, which come at once");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &reason);
    };
    let posted = match parse(&body.to_bytes()) {
        Ok(posted) => posted,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let post = HookPost {
        hash,
        content: posted.content,
        username: posted.username,
    };
    match pipeline.post(post).await {
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "error: the space is closing",
        ),
        Some(Ok(made)) if waits => answer(StatusCode::OK, &made),
        Some(Ok(_)) => {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Some(Err(reason)) => refuse(status(&reason), &reason),
    }
}

fn status(reason: &str) -> StatusCode {
    if reason == UNKNOWN_HOOK {
        return StatusCode::NOT_FOUND;
    }
    match reason.split(':').next() {
        Some("rate-limited") => StatusCode::TOO_MANY_REQUESTS,
        Some("error") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response<Body> {
    answer(status, &json!({ "message": reason }))
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_says_what_is_written_and_by_whom() {
        let read = parse(br#"{"content":"hello","username":"Builds","embeds":[]}"#).unwrap();
        assert_eq!(
            (read.content.as_str(), read.username.as_deref()),
            ("hello", Some("Builds"))
        );
        let long = json!({ "content": "x".repeat(4001) }).to_string();
        for body in [
            "",
            "[]",
            "{}",
            r#"{"content":""}"#,
            r#"{"content":" "}"#,
            r#"{"content":7}"#,
            r#"{"embeds":[{}]}"#,
            r#"{"content":"x","username":""}"#,
            r#"{"content":"x","username":"a\u202eb"}"#,
            &long,
        ] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&body);
        }
    }
}
