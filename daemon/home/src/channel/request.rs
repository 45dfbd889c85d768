//! One request through the channel: from frames to an HTTP request, and its answer back.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};

use super::frame::{Head, Reason};
use super::streams::{Gone, Incoming, Pipe};
use super::{Answers, Opened, Private};
use crate::http::Body;

/// Headers that belong to a connection and not to a request (RFC 9110, 7.6.1), or that the home sets itself.
const NOT_THROUGH: [HeaderName; 8] = [
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::TE,
    header::HOST,
    header::ORIGIN,
    header::COOKIE,
    header::SET_COOKIE,
];

/// What the app asked for.
pub struct Asked {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// By which request the channel was opened.
    pub opened: Opened,
}

impl Asked {
    fn into_request(self, body: Body) -> Option<Request<Body>> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).ok()?;
        *request.uri_mut() = self.path.parse::<Uri>().ok()?;
        if !self.path.starts_with('/') {
            return None;
        }
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            if !NOT_THROUGH.contains(&name) {
                headers.append(name, HeaderValue::from_str(value).ok()?);
            }
        }
        let opened = self.opened;
        let host = opened.host.unwrap_or(HeaderValue::from_static("localhost"));
        headers.insert(header::HOST, host);
        headers.extend(opened.cookie.map(|cookie| (header::COOKIE, cookie)));
        request.extensions_mut().insert(Private {
            source: opened.source,
        });
        Some(request)
    }
}

/// Hands the request over and sends the answer back.
pub async fn run(
    answers: Arc<impl Answers>,
    asked: Asked,
    pipe: &Pipe,
    incoming: Incoming,
) -> Result<(), Gone> {
    let Some(request) = asked.into_request(body(pipe.clone(), incoming)) else {
        return pipe.reset(Reason::Malformed).await;
    };
    let (head, mut body) = answers.answer(request).await.into_parts();
    let told = Head {
        status: head.status.as_u16(),
        headers: names(&head.headers),
    };
    pipe.head(&told).await?;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => pipe.data(&data).await?,
            Ok(Err(_trailers)) => {}
            Err(_) => return pipe.reset(Reason::Gone).await,
        }
    }
    pipe.end().await
}

fn names(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    for name in headers.keys().filter(|name| !NOT_THROUGH.contains(name)) {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        named.insert(name.to_string(), values.join(", "));
    }
    named
}

/// What the app sends, as a body: an app that goes away in the middle is an error, not an end.
fn body(pipe: Pipe, incoming: Incoming) -> Body {
    let chunks = stream::unfold(Some((pipe, incoming)), async |state| {
        let (pipe, mut incoming) = state?;
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        match incoming.recv().await {
            Some(Some(chunk)) => {
                let told = pipe.used(chunk.len()).await;
                let chunk = told.map(|()| Frame::data(Bytes::from(chunk)));
                Some((chunk.map_err(|Gone| cut()), Some((pipe, incoming))))
            }
            Some(None) => None,
            None => Some((Err(cut()), None)),
        }
    });
    StreamBody::new(Box::pin(chunks)).boxed_unsync()
}
