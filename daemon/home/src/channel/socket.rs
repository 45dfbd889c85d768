//! A connection to a space through the channel: text messages both ways, as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::frame::{BODY_MAX, Head, Reason};
use super::streams::{Gone, Incoming, Pipe};
use crate::dialer::{self, Dialer, ServiceName};

/// How long opening may take.
const OPEN: Duration = Duration::from_secs(15);
/// How long a space may take to take a message.
const SEND: Duration = Duration::from_secs(30);

/// Opens the connection and carries messages until either side ends it.
pub async fn run(
    dialer: &dyn Dialer,
    path: &str,
    pipe: &Pipe,
    mut incoming: Incoming,
) -> Result<(), Gone> {
    let service = path
        .strip_prefix("/s/")
        .and_then(|rest| ServiceName::parse(rest.trim_end_matches('/')));
    let Some(service) = service else {
        return pipe.reset(Reason::Malformed).await;
    };
    let opening = dialer::websocket(dialer, &service, BODY_MAX);
    let mut space = match tokio::time::timeout(OPEN, opening).await {
        Ok(Ok(space)) => space,
        _ => return pipe.head(&head(502)).await,
    };
    pipe.head(&head(101)).await?;
    loop {
        tokio::select! {
            message = space.next() => match message {
                Some(Ok(Message::Text(text))) => pipe.message(text.as_bytes()).await?,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return pipe.end().await,
            },
            message = incoming.recv() => {
                let Some(Some(message)) = message else {
                    let _ = tokio::time::timeout(SEND, space.close(None)).await;
                    return pipe.end().await;
                };
                pipe.used(message.len()).await?;
                let Ok(text) = String::from_utf8(message) else {
                    return pipe.reset(Reason::Malformed).await;
                };
                let sent = tokio::time::timeout(SEND, space.send(Message::Text(text.into()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return pipe.reset(Reason::Gone).await;
                }
            }
        }
    }
}

fn head(status: u16) -> Head {
    Head {
        status,
        headers: BTreeMap::new(),
    }
}
