//! The encrypted channel of the app: inside one WebSocket, requests to this home and connections to spaces, so that a
//! passphrase never crosses an open WiFi in the clear. Against those who listen; who can change the page on its way can
//! change what it does.
//!
//! Noise NK (revision 34, `Noise_NK_25519_ChaChaPoly_BLAKE2s`): the app knows the home's key, from a code that the home
//! shows or from the first visit, and stays unknown itself. Each WebSocket message is binary and holds one Noise message;
//! the handshake's two have empty payloads, every one after them holds one frame (see [`frame`]).

mod connection;
mod door;
pub mod frame;
mod key;
mod noise;
mod request;
mod socket;
mod streams;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::HeaderValue;
use hyper::{Request, Response};

use crate::dialer::{BoxFuture, Dialer};
use crate::http::Body;

pub use door::door;
pub use key::ChannelKey;

/// Bound into the handshake: another protocol's messages do not open.
pub const PROLOGUE: &[u8] = b"warren channel v1";

/// Marks a request that came through the channel: nobody on the way has read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Private {
    /// From which address the channel was opened.
    pub source: Option<IpAddr>,
}

/// What the request that opened the channel said: all requests inside come from the same browser.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// The browser's cookie.
    pub cookie: Option<HeaderValue>,
    /// Under which name the home was asked for.
    pub host: Option<HeaderValue>,
    /// From which address.
    pub source: Option<IpAddr>,
}

/// Who answers the requests of a channel.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request. It carries [`Private`] as an extension.
    fn answer(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;

    /// Opens streams to spaces.
    fn dialer(&self) -> Arc<dyn Dialer>;
}
