//! What the home says to its own relay in its own name: it hands in what its people signed, and looks up what they
//! said last. Each time one connection; the relay is in this process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::key::Keys;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::references::address_of;
use super::way::Socket;
use crate::client::signed;
use crate::config::Clock;
use crate::dialer::{self, Dialer, ServiceName};

/// Bytes of one message of the relay.
pub const MESSAGE_BYTES: usize = 1 << 20;
/// How long the relay may take for one answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Events that are looked up at a time.
const EVENTS: usize = 500;

/// Why something did not get into the relay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// It cannot be reached.
    #[error("it cannot be reached: {0}")]
    Away(String),
    /// It does not take it: a word and a sentence (NIP-01).
    #[error("it refuses: {0}")]
    Refused(String),
}

/// The way to the home's own relay.
#[derive(Clone)]
pub struct OwnRelay {
    /// Its name.
    pub service: ServiceName,
    /// The home's own key, by which the relay knows it.
    pub keys: Keys,
    /// Opens streams.
    pub dialer: Arc<dyn Dialer>,
    /// The time.
    pub clock: Clock,
}

fn away(error: impl std::fmt::Display) -> RelayError {
    RelayError::Away(error.to_string())
}

impl OwnRelay {
    /// Hands in what somebody signed. Returns once it is on the disk.
    pub async fn publish(&self, events: &[Event]) -> Result<(), RelayError> {
        self.in_time(async {
            let mut socket = self.open().await?;
            self.log_in(&mut socket).await?;
            for event in events {
                ask(&mut socket, "EVENT", event).await?;
            }
            let _ = socket.close(None).await;
            Ok(())
        })
        .await
    }

    /// What the relay has.
    pub async fn query(&self, filter: Value) -> Result<Vec<Event>, RelayError> {
        self.in_time(async {
            let mut socket = self.open().await?;
            send(&mut socket, json!(["REQ", "q", filter])).await?;
            let mut events = Vec::new();
            loop {
                let message = next(&mut socket).await?;
                match message[0].as_str() {
                    Some("EVENT") if events.len() < EVENTS => {
                        events.extend(serde_json::from_value::<Event>(message[2].clone()));
                    }
                    Some("EOSE") => break,
                    Some("CLOSED") => {
                        let reason = message[2].as_str().unwrap_or_default();
                        return Err(RelayError::Refused(reason.to_owned()));
                    }
                    _ => {}
                }
            }
            let _ = socket.close(None).await;
            Ok(events)
        })
        .await
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        match tokio::time::timeout(ANSWER, work).await {
            Ok(done) => done,
            Err(_) => Err(away("no answer in time")),
        }
    }

    /// A connection, as nobody in particular.
    pub async fn open(&self) -> Result<Socket, RelayError> {
        dialer::websocket(&*self.dialer, &self.service, MESSAGE_BYTES)
            .await
            .map_err(away)
    }

    async fn log_in(&self, socket: &mut Socket) -> Result<(), RelayError> {
        let challenge = loop {
            let message = next(socket).await?;
            if message[0] == "AUTH" {
                break message[1].as_str().unwrap_or_default().to_owned();
            }
        };
        let relay = address_of(&self.service);
        let tags: [&[&str]; 2] = [&["relay", &relay], &["challenge", &challenge]];
        let proof = signed(&self.keys, 22242, (self.clock)(), &tags, "").map_err(away)?;
        ask(socket, "AUTH", &proof).await
    }
}

/// Sends a message to the relay.
pub async fn send(socket: &mut Socket, message: Value) -> Result<(), RelayError> {
    let sent = socket.send(Message::Text(message.to_string().into())).await;
    sent.map_err(away)
}

/// The next message of the relay.
pub async fn next(socket: &mut Socket) -> Result<Value, RelayError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).map_err(away),
            Some(Ok(Message::Close(_))) | None => {
                return Err(away(io::Error::from(io::ErrorKind::ConnectionAborted)));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(away(error)),
        }
    }
}

async fn ask(socket: &mut Socket, verb: &str, event: &Event) -> Result<(), RelayError> {
    send(socket, json!([verb, event])).await?;
    let id = event.id.to_hex();
    loop {
        let message = next(socket).await?;
        if message[0] == "OK" && message[1] == id.as_str() {
            let reason = message[3].as_str().unwrap_or_default();
            return match message[2].as_bool() {
                Some(true) => Ok(()),
                _ => Err(RelayError::Refused(reason.to_owned())),
            };
        }
    }
}
