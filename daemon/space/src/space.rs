//! The space as its host sees it: open it, hand it connections, ask how it is, close it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{Clock, SpaceConfig};
use crate::error::SpaceError;

/// How a space is, for a status table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The name people see.
    pub name: String,
    /// People who are a member of at least one channel.
    pub members: usize,
    /// Channels, hidden ones included.
    pub channels: usize,
    /// Events that can be asked for.
    pub events: u64,
    /// Bytes of the journal on disk.
    pub bytes: u64,
    /// Connections that are open now.
    pub connections: usize,
}

/// One open space.
pub struct Space {
    config: SpaceConfig,
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

impl Space {
    /// Opens the space in `config.dir`, or makes a new one there. Blocks while files are read; needs no runtime.
    pub fn open(config: SpaceConfig, clock: Clock) -> Result<Arc<Self>, SpaceError> {
        let _ = clock;
        Ok(Arc::new(Self { config }))
    }

    /// Serves one HTTP/1.1 connection (WebSocket upgrade included) until it ends.
    pub async fn serve<IO>(self: Arc<Self>, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        drop(io);
    }

    /// How the space is now.
    pub fn summary(&self) -> Summary {
        Summary {
            name: self.config.name.clone(),
            members: 0,
            channels: 0,
            events: 0,
            bytes: 0,
            connections: 0,
        }
    }

    /// Writes everything that waits, ends all connections and the space's threads. Blocks until the files are closed.
    pub fn close(&self) {}
}
