//! The service abstraction: a home names a space and gets a stream to it, however far it is.
//! Nothing here knows of routes, circuits or addresses, and a home never learns them.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
pub use warren_mesh::service::ServiceKind;

/// A future that is boxed, so that [`Dialer`] can be used behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A reliable, ordered stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Any byte stream.
pub type BoxStream = Box<dyn ByteStream>;

/// The name of a service without `.warren`: 52 lowercase base32 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// Characters of a name: 32 bytes in base32 (RFC 4648) without padding.
    pub const CHARS: usize = 52;

    /// Takes a name; `None` when it is not 52 lowercase base32 characters.
    pub fn parse(text: &str) -> Option<Self> {
        let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
        (text.len() == Self::CHARS && text.bytes().all(base32)).then(|| Self(text.to_owned()))
    }

    /// The 52 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One service that this home knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceListing {
    /// How it is reached.
    pub service: ServiceName,
    /// What it is.
    pub kind: ServiceKind,
    /// What its owner calls it. Untrusted text.
    pub name: String,
    /// What the home that hosts it calls itself. Untrusted text.
    pub host: String,
    /// Another number after the box that hosts it was away or started again; 0 where that is not known, or not proven to be
    /// about this service.
    pub run: u32,
}

/// What opens streams to services. The daemon implements it.
pub trait Dialer: Send + Sync + 'static {
    /// Opens a stream to a service. It gives up by itself after a while (some seconds), and is cancelled by dropping.
    fn open<'a>(&'a self, service: &'a ServiceName) -> BoxFuture<'a, io::Result<BoxStream>>;

    /// The services of the island, those of this home included, in any order.
    fn services(&self) -> Vec<ServiceListing>;

    /// The relays of the island's homes, where their people write for everybody; this home's included, in any order.
    fn relays(&self) -> Vec<ServiceListing> {
        Vec::new()
    }
}

/// Opens a WebSocket to a space, whose messages may be so long. The caller decides how long it may take.
pub async fn websocket(
    dialer: &dyn Dialer,
    service: &ServiceName,
    message_bytes: usize,
) -> io::Result<WebSocketStream<BoxStream>> {
    let stream = dialer.open(service).await?;
    upgrade(stream, &format!("ws://{service}.warren/"), message_bytes).await
}

/// Opens a WebSocket on a stream to who serves this address.
pub async fn upgrade(
    stream: BoxStream,
    url: &str,
    message_bytes: usize,
) -> io::Result<WebSocketStream<BoxStream>> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(4096)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes));
    let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
    opened
        .map(|(socket, _response)| socket)
        .map_err(io::Error::other)
}
