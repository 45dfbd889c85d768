//! The way through a home to a space for people's own programs: one HTTP request, and after an upgrade the bytes as
//! they are, in both directions. The home neither reads nor changes what they say.

use http_body_util::BodyExt;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

use crate::dialer::{Dialer, ServiceName};
use crate::http::{Body, text};

/// Bytes that wait in each connection to a space: one that takes slowly slows its sender, and memory stays flat.
const BUFFER: usize = 64 * 1024;
/// Headers of an answer that pass from a space's files to the home's own address. Others could speak for the home:
/// cookies, refreshes, service workers.
const PASSED: [&str; 30] = [
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "retry-after",
    "sunset",
    "transfer-encoding",
    "upload-complete",
    "upload-length",
    "upload-limit",
    "upload-offset",
    "vary",
    "x-content-type-options",
    "x-reason",
    "x-cashu",
    "x-lightning",
];
/// What a browser may do with what a space gives under the home's address, unless it is a picture, sound, a film or plain
/// text: show it, as a page of nobody, without script.
const SANDBOX: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'none'";

/// What a page of a site, or whatever a service shows as one, may do at an address of its own: what it likes with itself.
/// It loads from nowhere else, sends nothing to anybody else, and is in nobody's frame: so it can neither act for the
/// people of a home nor tell others who reads it.
pub const SITE_POLICY: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; base-uri 'self'; frame-ancestors 'self'; sandbox allow-scripts allow-same-origin allow-forms allow-modals allow-downloads allow-popups allow-popups-to-escape-sandbox";

/// How long opening the way may take.
const OPEN: std::time::Duration = std::time::Duration::from_secs(15);

/// Whether a request is a program's and not a browser page's: a WebSocket, or the description of NIP-11.
pub fn is_for_program(headers: &HeaderMap) -> bool {
    asks_for_websocket(headers) || has(headers, header::ACCEPT, "application/nostr+json")
}

/// Whether a request wants to become a WebSocket.
pub fn asks_for_websocket(headers: &HeaderMap) -> bool {
    has(headers, header::UPGRADE, "websocket")
}

/// Whether a request manages a space (NIP-86).
pub fn is_management(headers: &HeaderMap) -> bool {
    has(headers, header::CONTENT_TYPE, "application/nostr+json+rpc")
}

fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains(word))
}

/// Whether a path inside a space is one of its files (Blossom) or webhooks, and not a page of the home.
pub fn is_for_files(path: &str) -> bool {
    let name = path.split('.').next().unwrap_or_default();
    let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_below = path.starts_with("list/") || path.starts_with("hook/");
    ["upload", "mirror", "report"].contains(&path)
        || ((is_hash || is_below) && path.matches('/').count() == usize::from(is_below))
}

/// Headers of an answer that turns a connection into a WebSocket (RFC 6455).
const UPGRADING: [&str; 6] = [
    "connection",
    "date",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "upgrade",
];

/// Makes an answer of a space fit for the home's own address, where a page of the space could act for the people who are
/// logged in there.
pub fn confine(response: Response<Body>) -> Response<Body> {
    confine_to(response, SANDBOX)
}

/// The same for a page of a site, which may load pictures, films and styles from below `place`, a URL.
pub fn confine_site(response: Response<Body>, place: &str) -> Response<Body> {
    let policy = format!(
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline' {place}; img-src data: {place}; media-src {place}; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    confine_to(response, &policy)
}

/// Makes sure that what comes from a service's own address keeps to itself, whatever else it says.
pub fn fence(mut response: Response<Body>) -> Response<Body> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let policy = HeaderValue::from_static(SITE_POLICY);
        // Beside what the service itself says: all policies hold together.
        response
            .headers_mut()
            .append(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn confine_to(mut response: Response<Body>, policy: &str) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        keep(response.headers_mut(), &UPGRADING);
        return response;
    }
    let headers = response.headers_mut();
    keep(headers, &PASSED);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let types: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let is_harmless = matches!(&types[..], [one] if one.to_str().is_ok_and(is_harmless));
    if !is_harmless {
        let policy = HeaderValue::from_str(policy);
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            policy.unwrap_or(HeaderValue::from_static(SANDBOX)),
        );
    }
    response
}

fn keep(headers: &mut HeaderMap, known: &[&str]) {
    let foreign: Vec<_> = headers
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
        .cloned()
        .collect();
    for name in foreign {
        headers.remove(name);
    }
}

/// Takes out of a request what is between its sender and the home alone: the account of a browser or a program. What a
/// person signed for this one request (NIP-98, BUD-11) is for the space.
fn keep_to_ourselves(headers: &mut HeaderMap) {
    headers.remove(header::COOKIE);
    let is_signed = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"nostr"))
    };
    if !headers.get_all(header::AUTHORIZATION).iter().all(is_signed) {
        headers.remove(header::AUTHORIZATION);
    }
}

fn is_harmless(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", subtype)) => !subtype.ends_with("xml"),
        Some(("audio" | "video", _)) => true,
        _ => ["text/plain", "application/octet-stream", "application/json"]
            .contains(&essence.as_str()),
    }
}

/// The path and query of a request as the space sees them: without the home's `prefix`.
pub fn path(uri: &Uri, prefix: &str) -> Uri {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let own = whole.strip_prefix(prefix).unwrap_or(whole);
    own.parse().unwrap_or_else(|_| Uri::from_static("/"))
}

/// Passes a request to a space, which sees it as one for `path` (and query) of its own.
pub async fn pass(
    dialer: &dyn Dialer,
    service: &ServiceName,
    path: Uri,
    mut request: Request<Body>,
) -> Response<Body> {
    let away = |error: String| {
        log::debug!("the space {service} cannot be reached: {error}");
        text(
            StatusCode::BAD_GATEWAY,
            "The space cannot be reached right now.\n",
        )
    };
    let stream = match tokio::time::timeout(OPEN, dialer.open(service)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return away(error.to_string()),
        Err(_) => return away("no answer in time".into()),
    };
    let made = hyper::client::conn::http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = match made {
        Ok(made) => made,
        Err(error) => return away(error.to_string()),
    };
    let driver = tokio::spawn(connection.with_upgrades());
    *request.uri_mut() = path;
    if let Ok(host) = HeaderValue::from_str(&format!("{service}.warren")) {
        request.headers_mut().insert(header::HOST, host);
    }
    keep_to_ourselves(request.headers_mut());
    let from_client = hyper::upgrade::on(&mut request);
    let mut response = match sender.send_request(request).await {
        Ok(response) => response,
        Err(error) => {
            driver.abort();
            return away(error.to_string());
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let from_space = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(client), Ok(space)) = (from_client.await, from_space.await) else {
                return;
            };
            let (mut client, mut space) = (TokioIo::new(client), TokioIo::new(space));
            let _ =
                tokio::io::copy_bidirectional_with_sizes(&mut client, &mut space, 4096, 4096).await;
        });
    }
    response.map(|body| body.map_err(std::io::Error::other).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files_are_told_from_pages() {
        let hash = "a".repeat(64);
        for path in [
            "upload",
            "mirror",
            "report",
            "list/abc",
            "hook/abc",
            &hash,
            &format!("{hash}.tar.gz"),
        ] {
            assert!(is_for_files(path), "{path}");
        }
        for path in [
            "",
            "live",
            "send",
            "list",
            "uploads",
            "list/a/b",
            "hook",
            "hook/a/b",
            &hash[1..],
            &format!("{hash}/x"),
        ] {
            assert!(!is_for_files(path), "{path}");
        }
    }

    #[test]
    fn a_space_does_not_get_what_opens_an_account() {
        let sent = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            headers.insert(header::COOKIE, "home=secret".parse().unwrap());
            keep_to_ourselves(&mut headers);
            assert!(!headers.contains_key(header::COOKIE));
            headers.contains_key(header::AUTHORIZATION)
        };
        assert!(sent("Nostr abc"));
        assert!(sent("nostr abc"));
        assert!(!sent("Bearer token"));
        assert!(!sent("nostr-token"));
    }

    #[test]
    fn a_websocket_is_opened_without_anything_else() {
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.insert("sec-websocket-accept", "x".parse().unwrap());
        headers.insert(header::SET_COOKIE, "home=evil".parse().unwrap());
        let response = confine(response);
        assert!(response.headers().contains_key("sec-websocket-accept"));
        assert!(!response.headers().contains_key(header::SET_COOKIE));
    }

    #[test]
    fn what_a_space_gives_cannot_act_for_the_home() {
        let answer = |media_type: &str| {
            let mut response = text(StatusCode::OK, "");
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
            headers.insert(header::SET_COOKIE, "guest=evil".parse().unwrap());
            headers.insert(header::REFRESH, "0;url=/".parse().unwrap());
            headers.insert("service-worker-allowed", "/".parse().unwrap());
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                "default-src *".parse().unwrap(),
            );
            headers.insert("sunset", "soon".parse().unwrap());
            confine(response)
        };
        for (media_type, is_free) in [
            ("image/png", true),
            ("text/plain; charset=utf-8", true),
            ("text/html", false),
            ("Image/SVG+XML", false),
            ("text/javascript", false),
            ("", false),
        ] {
            let response = answer(media_type);
            let headers = response.headers();
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers["sunset"], "soon");
            for gone in ["set-cookie", "refresh", "service-worker-allowed"] {
                assert!(!headers.contains_key(gone), "{gone}");
            }
            let policy = headers.get(header::CONTENT_SECURITY_POLICY);
            assert_eq!(policy.is_none(), is_free, "{media_type}");
            assert!(policy.is_none_or(|policy| policy == SANDBOX));
        }
    }
}
