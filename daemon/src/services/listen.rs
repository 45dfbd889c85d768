//! Listening sockets, bound early and served later. Bounded: connections at once.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::config::values::WebAddress;
use crate::control::server;
use crate::error::DaemonError;

/// Connections of one listener at once.
const CONNECTIONS_MAX: usize = 256;
/// A socket in the file system may be opened by whoever may reach its directory.
const SOCKET_MODE: u32 = 0o660;

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// In the file system.
    Unix(std::os::unix::net::UnixListener),
}

/// Either kind of stream.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A stream of either kind.
pub type AnyStream = Box<dyn warren_home::ByteStream>;

impl Listener {
    /// Binds what the configuration names.
    pub fn open(at: &WebAddress) -> Result<Self, DaemonError> {
        match at {
            WebAddress::Tcp(address) => Self::tcp(*address),
            WebAddress::Unix(path) => {
                Ok(Self::Unix(server::listen_in_existing(path, SOCKET_MODE)?))
            }
        }
    }

    /// Binds a TCP address.
    pub fn tcp(address: SocketAddr) -> Result<Self, DaemonError> {
        let failed = |source| DaemonError::Listen { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Tcp(listener))
    }

    /// Hands every connection to `serve`, on the current runtime, until that ends.
    pub fn serve<F, S>(self, what: &'static str, serve: S) -> Result<(), DaemonError>
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(AnyStream) -> F + Send + 'static,
    {
        let failed = |error| DaemonError::system("a listening socket", error);
        match self {
            Self::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                tokio::spawn(async move {
                    accept(what, serve, || async {
                        let (stream, _) = listener.accept().await?;
                        // Small messages both ways: waiting to fill a segment only delays them.
                        stream.set_nodelay(true)?;
                        Ok(stream)
                    })
                    .await;
                });
            }
            Self::Unix(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
                tokio::spawn(async move {
                    accept(what, serve, || async { Ok(listener.accept().await?.0) }).await;
                });
            }
        }
        Ok(())
    }
}

async fn accept<T, F, A, AF>(what: &'static str, serve: impl Fn(AnyStream) -> F, next: A)
where
    T: Stream,
    F: Future<Output = ()> + Send + 'static,
    A: Fn() -> AF,
    AF: Future<Output = std::io::Result<T>>,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match next().await {
            Ok(stream) => {
                let served = serve(Box::new(stream));
                tokio::spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, or a connection that was gone before it was taken.
                log::warn!("{what}: a connection could not be taken: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
