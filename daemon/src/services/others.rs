//! What a box offers beside its spaces: a site, or what the home itself shows. Each has a key, a name and a port of its
//! own, is served to the island like a space, and is told apart by its kind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use warren_home::ServiceName;
use warren_mesh::service::{ServiceKind, ServiceSigner};

use super::hosted::{Door, Running};
use super::listen::AnyStream;

/// What serves the connections of a service.
pub trait Serves: fmt::Debug + Send + Sync + 'static {
    /// Serves one until it ends.
    fn serve(self: Arc<Self>, io: AnyStream) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Serves for Running {
    fn serve(self: Arc<Self>, io: AnyStream) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Running::serve(self, io))
    }
}

/// A service of this box that is no space.
#[derive(Clone, Debug)]
pub struct LocalService {
    /// What its files are called. One of a kind.
    pub id: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Its name.
    pub name: ServiceName,
    /// Its title, at most 64 bytes.
    pub title: String,
    /// TCP port at the node's address.
    pub port: u16,
    /// Whether the island is told of it.
    pub visible: bool,
    /// Speaks for it.
    pub signer: Arc<ServiceSigner>,
    /// Serves it, while it is open.
    pub serves: Option<Arc<dyn Serves>>,
    /// The way in from the island, while there is one.
    pub door: Option<Arc<Door>>,
}

impl LocalService {
    /// Whether the island is told of it.
    pub const fn is_shown(&self) -> bool {
        self.visible && self.serves.is_some()
    }
}

/// What the island is told of one service.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What its files are called.
    pub id: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Speaks for it.
    pub signer: Arc<ServiceSigner>,
    /// TCP port at the node's address.
    pub port: u16,
    /// Its title.
    pub title: String,
}

impl From<&LocalService> for Shown {
    fn from(service: &LocalService) -> Self {
        Self {
            id: service.id.clone(),
            kind: service.kind,
            signer: Arc::clone(&service.signer),
            port: service.port,
            title: service.title.clone(),
        }
    }
}
