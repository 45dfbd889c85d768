//! Where the channel begins: `GET /channel` tells the key, and becomes the channel when a WebSocket is asked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{Answers, ChannelKey, Opened, connection};
use crate::forms::is_same_origin;
use crate::http::{Body, full, set, text};
use crate::proxy::asks_for_websocket;

/// How long the way from the answer to the handshake's end may take.
pub const HANDSHAKE: Duration = Duration::from_secs(15);

/// Answers a request for `/channel`, which came from `source`.
pub fn door(
    key: &Arc<ChannelKey>,
    answers: Arc<impl Answers>,
    mut request: Request<Body>,
    source: Option<IpAddr>,
) -> Response<Body> {
    if !asks_for_websocket(request.headers()) {
        let words = json!({"version": 1, "key": HEXLOWER.encode(&key.public)}).to_string();
        let mut response = Response::new(full(words));
        set(&mut response, header::CONTENT_TYPE, "application/json");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        return response;
    }
    // A page from elsewhere would ask in the name of who looks at it.
    if !is_same_origin(request.headers()) {
        return text(StatusCode::FORBIDDEN, "Only this home's own pages.\n");
    }
    let Ok(response) = create_response_with_body(&request, || full("")) else {
        return text(StatusCode::BAD_REQUEST, "Not a WebSocket request.\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let opened = Opened {
        cookie: request.headers().get(header::COOKIE).cloned(),
        host: request.headers().get(header::HOST).cloned(),
        source,
    };
    let key = Arc::clone(key);
    tokio::spawn(async move {
        let Ok(Ok(io)) = tokio::time::timeout(HANDSHAKE, upgrade).await else {
            return;
        };
        connection::run(TokioIo::new(io), &key.secret, answers, opened).await;
    });
    response
}
