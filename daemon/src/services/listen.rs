//! Listening sockets, bound early and served later. Bounded: connections at once.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::config::values::WebAddress;
use crate::control::server;
use crate::error::DaemonError;

/// Connections of the page at once.
pub const PAGE_CONNECTIONS_MAX: usize = 256;
/// Of a listener's connections, one address may have: a page needs six at most, and one phone does not shut out the others.
const PER_ADDRESS_MAX: usize = 48;
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

    /// Hands every connection, `most` at once, to `serve`, with the address it comes from if it has one, on the current
    /// runtime, until that ends or the result is aborted.
    pub fn serve<F, S>(
        self,
        what: &'static str,
        most: usize,
        serve: S,
    ) -> Result<AbortHandle, DaemonError>
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(AnyStream, Option<IpAddr>) -> F + Send + 'static,
    {
        let failed = |error| DaemonError::system("a listening socket", error);
        let task = match self {
            Self::Tcp(listener) => {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                tokio::spawn(async move {
                    accept(what, most, serve, || async {
                        let (stream, from) = listener.accept().await?;
                        // Small messages both ways: waiting to fill a segment only delays them.
                        stream.set_nodelay(true)?;
                        let from = from.ip();
                        let counted = Some(from).filter(|ip| !is_own(*ip, &stream));
                        Ok((stream, Some(from), counted))
                    })
                    .await;
                })
            }
            Self::Unix(listener) => {
                let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
                tokio::spawn(async move {
                    accept(what, most, serve, || async {
                        Ok((listener.accept().await?.0, None, None))
                    })
                    .await;
                })
            }
        };
        Ok(task.abort_handle())
    }
}

/// Whether a connection comes from this machine: from a loopback address, or from the very one it leads to.
fn is_own(from: IpAddr, stream: &tokio::net::TcpStream) -> bool {
    from.is_loopback() || stream.local_addr().is_ok_and(|to| to.ip() == from)
}

/// Who has how many connections.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place; free again when dropped.
struct Place(Crowd, Option<IpAddr>);

impl Crowd {
    /// A place for a connection from this address; `None` if it has enough. Addresses of this machine stand for many: what
    /// is in front of the page there. They are not counted.
    fn enter(&self, from: Option<IpAddr>) -> Option<Place> {
        if let Some(ip) = from {
            let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = crowd.entry(ip).or_insert(0);
            if *count >= PER_ADDRESS_MAX {
                return None;
            }
            *count += 1;
        }
        Some(Place(self.clone(), from))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(ip) = self.1 else { return };
        let mut crowd = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = crowd.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&ip);
            }
        }
    }
}

/// `next` gives a stream, where it comes from, and the address that it is counted under.
async fn accept<T, F, A, AF>(
    what: &'static str,
    most: usize,
    serve: impl Fn(AnyStream, Option<IpAddr>) -> F,
    next: A,
) where
    T: Stream,
    F: Future<Output = ()> + Send + 'static,
    A: Fn() -> AF,
    AF: Future<Output = std::io::Result<(T, Option<IpAddr>, Option<IpAddr>)>>,
{
    let slots = Arc::new(Semaphore::new(most));
    let crowd = Crowd::default();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match next().await {
            Ok((stream, from, counted)) => {
                let Some(place) = crowd.enter(counted) else {
                    continue;
                };
                let served = serve(Box::new(stream), from);
                tokio::spawn(async move {
                    served.await;
                    drop((slot, place));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_never_takes_all_places_and_gets_its_own_back() {
        let crowd = Crowd::default();
        let greedy: Option<IpAddr> = "192.0.2.1".parse().ok();
        let mut places: Vec<_> = (0..PER_ADDRESS_MAX).map(|_| crowd.enter(greedy)).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(crowd.enter(greedy).is_none());
        assert!(crowd.enter("192.0.2.2".parse().ok()).is_some());
        places.pop();
        assert!(crowd.enter(greedy).is_some());
        drop(places);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
