//! The way to a relay that is read: that of another home, or one of the Internet that the owner of this home lists.

use std::io;
use std::sync::Arc;

use tokio_tungstenite::WebSocketStream;

use crate::dialer::{self, BoxFuture, BoxStream, Dialer, ServiceName};

/// A connection to a relay.
pub type Socket = WebSocketStream<BoxStream>;

/// One relay.
pub trait Way: Send + Sync + 'static {
    /// What it is called in notes of how far it was read: no two have the same.
    fn name(&self) -> &str;

    /// Whether it is a home's. People of this network are known there, and it may be asked for whatever somebody here
    /// looks at.
    fn is_home(&self) -> bool;

    /// Opens a connection, for messages of so many bytes. The caller decides how long it may take.
    fn open(&self, message_bytes: usize) -> BoxFuture<'_, io::Result<Socket>>;

    /// It cannot be used now, and why.
    fn failed(&self, why: &str);

    /// It can be used.
    fn answered(&self) {}
}

/// The way to a home's relay.
pub struct ToHome {
    /// Opens streams.
    pub dialer: Arc<dyn Dialer>,
    /// Which home.
    pub service: ServiceName,
}

impl Way for ToHome {
    fn name(&self) -> &str {
        self.service.as_str()
    }

    fn is_home(&self) -> bool {
        true
    }

    fn open(&self, message_bytes: usize) -> BoxFuture<'_, io::Result<Socket>> {
        Box::pin(dialer::websocket(
            &*self.dialer,
            &self.service,
            message_bytes,
        ))
    }

    fn failed(&self, why: &str) {
        log::debug!("the home {} cannot be reached: {why}", self.service);
    }
}
