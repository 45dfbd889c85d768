//! A thin Nostr client: it says what it is told and looks only at the beginning of what comes back, so that the client is
//! not what is measured.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

pub use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::people::{CHANNEL, Person, json, now};
use crate::error::{LabError, Result};

/// How long an answer may take. No figure depends on it.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER: usize = 8 * 1024;

/// One connection to a relay.
#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

fn failed(error: &dyn std::fmt::Display) -> LabError {
    LabError::answer("a connection to a relay", &error.to_string())
}

/// Waits for something, but not for ever.
pub async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .map_err(|_| LabError::Timeout {
            what: what.to_owned(),
            after: PATIENCE,
        })
}

impl Socket {
    /// Connects.
    pub async fn open(at: SocketAddr) -> Result<Self> {
        let stream = patiently("a connection", TcpStream::connect(at))
            .await?
            .map_err(LabError::io(format!("connecting to {at}")))?;
        stream
            .set_nodelay(true)
            .map_err(LabError::io("setting up a connection"))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0);
        let opening = tokio_tungstenite::client_async_with_config(
            format!("ws://{at}/"),
            stream,
            Some(config),
        );
        let (socket, _) = patiently("a WebSocket", opening)
            .await?
            .map_err(|error| failed(&error))?;
        Ok(Self(socket))
    }

    /// Sends a message.
    pub async fn send(&mut self, text: Utf8Bytes) -> Result<()> {
        self.0
            .send(Message::Text(text))
            .await
            .map_err(|error| failed(&error))
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(failed(&"the relay ended it"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(failed(&error)),
            }
        }
    }

    /// The next message that begins with a word, as `["OK"`.
    pub async fn wait_for(&mut self, begin: &str) -> Result<Utf8Bytes> {
        patiently(begin, async {
            loop {
                let text = self.next().await?;
                if text.starts_with(begin) {
                    return Ok(text);
                }
                if text.starts_with("[\"NOTICE\"") || text.starts_with("[\"CLOSED\"") {
                    return Err(LabError::answer("the relay", &text));
                }
            }
        })
        .await?
    }

    /// Publishes; an error if it is not taken.
    pub async fn publish(&mut self, message: Utf8Bytes) -> Result<()> {
        self.send(message).await?;
        let answer = self.wait_for("[\"OK\"").await?;
        if answer.contains(",true") {
            Ok(())
        } else {
            Err(LabError::answer("the relay", &answer))
        }
    }

    /// Proves to be these people and joins the channel with each: what a space wants before anybody writes.
    pub async fn enter(&mut self, service: &str, people: &[Person]) -> Result<()> {
        let text = self.wait_for("[\"AUTH\"").await?;
        let challenge: Value = serde_json::from_str(&text).unwrap_or_default();
        let challenge = challenge[1].as_str().unwrap_or_default();
        let url = format!("ws://{service}.warren/");
        for person in people {
            let tags: [&[&str]; 2] = [&["relay", &url], &["challenge", challenge]];
            let proof = person.event(22242, now(), &tags, "")?;
            self.publish(format!("[\"AUTH\",{}]", json(&proof)?).into())
                .await?;
            let join = person.event(9021, now(), &[&["h", CHANNEL]], "")?;
            self.publish(publication(&json(&join)?)).await?;
        }
        Ok(())
    }
}

/// The message that publishes an event.
pub fn publication(event: &str) -> Utf8Bytes {
    format!("[\"EVENT\",{event}]").into()
}
