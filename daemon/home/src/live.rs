//! What happens in a room, as a stream of server-sent events for the page: everything at first, then each change.
//! A page that was away gets everything anew, so nothing is ever missing after a break.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header;
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::config::Clock;
use crate::guests::GuestId;
use crate::http::{Body, set};
use crate::page::{self, Viewer};
use crate::room::{Change, Room};

/// Silence after which a comment is sent, so that a browser that is gone is noticed.
pub const SILENCE: Duration = Duration::from_secs(20);

/// Who watches.
pub struct Watcher {
    /// The room.
    pub room: Arc<Room>,
    /// Whose unsent messages are shown.
    pub guest: GuestId,
    /// The name beside them.
    pub name: String,
    /// What forms must repeat.
    pub form_token: String,
    /// The time.
    pub clock: Clock,
}

/// The stream.
pub fn stream(watcher: Watcher) -> Response<Body> {
    let changes = watcher.room.watch(); // before the first view, so that no change falls between
    let frames = stream::unfold(
        (watcher, changes, true),
        |(watcher, mut changes, first)| async move {
            let text = if first {
                watcher.all()
            } else {
                watcher.next(&mut changes).await?
            };
            Some((
                Ok::<_, io::Error>(Frame::data(Bytes::from(text))),
                (watcher, changes, false),
            ))
        },
    );
    response(frames)
}

/// The answer that sends server-sent events as they come.
pub fn response(
    frames: impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/event-stream; charset=utf-8",
    );
    set(&mut response, header::CACHE_CONTROL, "no-store");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

impl Watcher {
    async fn next(&self, changes: &mut Receiver<Change>) -> Option<String> {
        let change = match tokio::time::timeout(SILENCE, changes.recv()).await {
            Err(_) => return Some(":\n\n".into()),
            Ok(Err(RecvError::Closed)) => return None,
            Ok(Err(RecvError::Lagged(_))) => Change::All,
            Ok(Ok(change)) => change,
        };
        Some(match change {
            Change::Said(line) => {
                let html = page::line(&line, &self.room.name(&line.author), (self.clock)());
                event("said", &json!({ "html": html }))
            }
            Change::All => {
                *changes = changes.resubscribe(); // what came before is in the view
                self.all()
            }
        })
    }

    fn all(&self) -> String {
        let view = self.room.view(Some(&self.guest));
        let viewer = Viewer {
            name: &self.name,
            form_token: &self.form_token,
        };
        let (state, away) = page::reach(view.reach, view.unsent.len());
        event(
            "all",
            &json!({"html": page::lines(&view, &viewer, (self.clock)()), "state": state, "away": away}),
        )
    }
}

/// One server-sent event. JSON has no line breaks, so one data line is enough.
pub fn event(name: &str, data: &serde_json::Value) -> String {
    format!("retry: 1000\nevent: {name}\ndata: {data}\n\n")
}
