//! A site as others read it: GET and HEAD of files, with conditions and ranges (RFC 9110), and nothing else. Folders show
//! their `index.html`; what is in a folder without one is not listed. A file `404.html` is shown for what is not there.

use std::convert::Infallible;
use std::fs::{File, Metadata};
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, mpsc, watch};
use warren_space::range::{self, Part};

use super::folder::{Folder, Found};
use super::{media, paths};
use crate::services::listen::AnyStream;
use crate::services::others::Serves;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 128;
/// Seconds in which a client must have sent its request.
const REQUEST_SECONDS: u64 = 15;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Bytes that are read at a time.
const BUFFER: u64 = 64 * 1024;
/// A reader that takes nothing for so long is let go.
const STALL: Duration = Duration::from_secs(60);
/// What a page may do: what it wants with what is its own, and nothing with anybody else. A home that passes it on says the
/// same once more.
const POLICY: &str = warren_home::SITE_POLICY;
const INDEX: &str = "index.html";
const NOT_FOUND: &str = "404.html";

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What is served now.
#[derive(Clone, Debug)]
struct Published {
    folder: Folder,
    /// Of this publication: part of every tag.
    number: u32,
}

/// See the module.
#[derive(Debug)]
pub struct SiteServer {
    published: RwLock<Published>,
    places: Arc<Semaphore>,
    ending: watch::Sender<bool>,
}

impl SiteServer {
    /// Serves the folder of a publication.
    pub fn new(folder: Folder, number: u32) -> Self {
        Self {
            published: RwLock::new(Published { folder, number }),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            ending: watch::Sender::new(false),
        }
    }

    /// From now on another publication is served; files that are on their way go on as they were.
    pub fn publish(&self, folder: Folder, number: u32) {
        *self
            .published
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Published { folder, number };
    }

    /// Ends all connections.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    fn published(&self) -> Published {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut response = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "This site can only be read.\n",
            );
            set(&mut response, header::ALLOW, "GET, HEAD");
            return response;
        }
        let is_head = request.method() == Method::HEAD;
        let published = self.published();
        let (path, query) = (
            request.uri().path().to_owned(),
            request.uri().query().map(str::to_owned),
        );
        let number = published.number;
        let looked = tokio::task::spawn_blocking(move || look(&published.folder, &path)).await;
        let mut response = match looked {
            Ok(Ok(Look::File(page))) => answer(page, number, request.headers(), is_head),
            Ok(Ok(Look::Slash(place))) => {
                let query = query.map_or_else(String::new, |query| format!("?{query}"));
                let mut response = plain(StatusCode::MOVED_PERMANENTLY, "");
                set(&mut response, header::LOCATION, &format!("{place}{query}"));
                response
            }
            Ok(Ok(Look::Nothing(Some(page)))) => {
                let mut response = whole(page, is_head);
                *response.status_mut() = StatusCode::NOT_FOUND;
                response
            }
            Ok(Ok(Look::Nothing(None))) => plain(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            Ok(Err(error)) => {
                log::error!("a file of a site cannot be read: {error}");
                plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "This site is in trouble.\n",
                )
            }
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "This site is closing.\n"),
        };
        set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
        set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        response
    }
}

impl Serves for SiteServer {
    fn serve(self: Arc<Self>, io: AnyStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
                return;
            };
            let mut ending = self.ending.subscribe();
            let service = hyper::service::service_fn(|request| {
                let site = Arc::clone(&self);
                async move { Ok::<_, Infallible>(site.respond(request).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(REQUEST_SECONDS))
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(io), service);
            tokio::select! {
                result = served => if let Err(error) = result {
                    log::debug!("a connection to a site ended: {error}");
                },
                _ = ending.wait_for(|ending| *ending) => {}
            }
        })
    }
}

/// A file to show.
struct Page {
    file: File,
    metadata: Metadata,
    media_type: &'static str,
}

/// What a path leads to.
enum Look {
    File(Page),
    /// A folder, asked for without its last slash: links in its page would lead elsewhere.
    Slash(String),
    /// Nothing, with what the site shows then.
    Nothing(Option<Page>),
}

fn open(folder: &Folder, names: &[String]) -> io::Result<Option<Page>> {
    let Some(Found::File(file)) = folder.find(names)? else {
        return Ok(None);
    };
    Ok(Some(Page {
        metadata: file.metadata()?,
        media_type: media::of(names.last().map_or("", String::as_str)),
        file,
    }))
}

fn look(folder: &Folder, path: &str) -> io::Result<Look> {
    if let Some(mut wanted) = paths::wanted(path) {
        if wanted.is_folder {
            wanted.names.push(INDEX.to_owned());
        }
        match folder.find(&wanted.names)? {
            Some(Found::File(_)) => {
                if let Some(page) = open(folder, &wanted.names)? {
                    return Ok(Look::File(page));
                }
            }
            Some(Found::Folder) if !wanted.is_folder => {
                wanted.names.push(INDEX.to_owned());
                if let Some(Found::File(_)) = folder.find(&wanted.names)? {
                    return Ok(Look::Slash(format!("{path}/")));
                }
            }
            _ => {}
        }
    }
    open(folder, &[NOT_FOUND.to_owned()]).map(Look::Nothing)
}

fn plain(status: StatusCode, words: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(words.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// All of a file, whatever was asked for.
fn whole(page: Page, is_head: bool) -> Response<Body> {
    let mut response = plain(StatusCode::OK, "");
    set(&mut response, header::CONTENT_TYPE, page.media_type);
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    fill(&mut response, page, 0, u64::MAX, is_head);
    response
}

/// A file under the conditions of a request (RFC 9110, sections 13 and 14).
fn answer(page: Page, number: u32, headers: &HeaderMap, is_head: bool) -> Response<Body> {
    let size = page.metadata.len();
    let modified = page.metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let tag = format!("\"{number:x}-{size:x}-{:x}\"", since.as_nanos());
    // Beyond the year 9999 there is no HTTP date.
    let seconds = since.as_secs().min(253_402_300_799);
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let mut response = plain(StatusCode::OK, "");
    set(&mut response, header::CONTENT_TYPE, page.media_type);
    set(&mut response, header::ETAG, &tag);
    set(&mut response, header::LAST_MODIFIED, &date);
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    if is_known(headers, &tag, seconds) {
        response.headers_mut().remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    let same = headers.get(header::IF_RANGE).is_none_or(|condition| {
        condition.as_bytes() == tag.as_bytes() || condition.as_bytes() == date.as_bytes()
    });
    let ranges = headers.get_all(header::RANGE).iter().count();
    let wanted = headers
        .get(header::RANGE)
        .filter(|_| same && !is_head && ranges == 1);
    match range::part(wanted, size) {
        Part::Whole => fill(&mut response, page, 0, size, is_head),
        Part::Nothing => {
            response = plain(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "The file is not that long.\n",
            );
            set(
                &mut response,
                header::CONTENT_RANGE,
                &format!("bytes */{size}"),
            );
        }
        Part::Some { start, length } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{size}", start + length - 1);
            set(&mut response, header::CONTENT_RANGE, &range);
            fill(&mut response, page, start, length, false);
        }
    }
    response
}

/// Whether the asker has this already.
fn is_known(headers: &HeaderMap, tag: &str, modified: u64) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        let lines = headers.get_all(header::IF_NONE_MATCH).into_iter();
        return lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(|item| item.trim().trim_start_matches("W/"))
            .any(|item| item == tag || item == "*");
    }
    headers
        .get(header::IF_MODIFIED_SINCE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok())
        .is_some_and(|date| modified <= date.as_secs())
}

/// Gives `length` bytes from `start` on, or as many as there are.
fn fill(response: &mut Response<Body>, page: Page, start: u64, length: u64, is_head: bool) {
    let length = length.min(page.metadata.len().saturating_sub(start));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if is_head || length == 0 {
        return;
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(send(Arc::new(page.file), start, start + length, sender));
    let frames = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    *response.body_mut() = StreamBody::new(frames).boxed_unsync();
}

/// One buffer waits to be sent while the next is read. A file that is shorter than it was ends the connection.
async fn send(file: Arc<File>, mut at: u64, end: u64, to: mpsc::Sender<io::Result<Frame<Bytes>>>) {
    while at < end {
        let bytes = usize::try_from((end - at).min(BUFFER)).unwrap_or(0);
        let file = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; bytes];
            file.read_exact_at(&mut buffer, at).map(|()| buffer)
        });
        let read = read
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &read {
            log::error!("a file of a site cannot be read: {error}");
        }
        let is_last = read.is_err();
        at += bytes as u64;
        let frame = read.map(|buffer| Frame::data(Bytes::from(buffer)));
        let sent = tokio::time::timeout(STALL, to.send(frame)).await;
        if is_last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
