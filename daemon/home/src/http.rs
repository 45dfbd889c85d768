//! Small helpers for answers. Nothing here decides anything.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A line of plain text.
pub fn text(status: StatusCode, words: &str) -> Response<Body> {
    let mut response = Response::new(full(words.to_owned()));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// A page. `nonce` is what its own style and script carry; no other runs, and nothing is fetched from elsewhere.
pub fn html(status: StatusCode, page: String, nonce: &str) -> Response<Body> {
    let mut response = Response::new(full(page));
    *response.status_mut() = status;
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/html; charset=utf-8",
    );
    set(&mut response, header::CONTENT_SECURITY_POLICY, &policy);
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, header::REFERRER_POLICY, "same-origin");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

/// Sends the browser to another page.
pub fn see_other(place: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    set(&mut response, header::LOCATION, place);
    response
}

/// Sets a header, if the text can be one.
pub fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
