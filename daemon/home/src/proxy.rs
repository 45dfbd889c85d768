//! The way through a home to a space for people's own programs: one HTTP request, and after an upgrade the bytes as
//! they are, in both directions. The home neither reads nor changes what they say.

use http_body_util::BodyExt;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;

use crate::dialer::{Dialer, ServiceName};
use crate::http::{Body, text};

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

fn has(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains(word))
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
    let (mut sender, connection) =
        match hyper::client::conn::http1::handshake(TokioIo::new(stream)).await {
            Ok(made) => made,
            Err(error) => return away(error.to_string()),
        };
    let driver = tokio::spawn(connection.with_upgrades());
    *request.uri_mut() = path;
    if let Ok(host) = HeaderValue::from_str(&format!("{service}.warren")) {
        request.headers_mut().insert(header::HOST, host);
    }
    request.headers_mut().remove(header::COOKIE); // the account of a browser is none of the space's business
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
