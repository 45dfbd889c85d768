//! Opens streams to services for the home: in this process to a space hosted here, over the mesh to others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use warren_home::{BoxFuture, BoxStream, Dialer, ServiceListing, ServiceName};
use warren_mesh::identity::NodeAddress;
use warren_mesh::service::{Day, ServiceKind};

use super::directory::{Directory, Found};
use super::hosted::Hosted;
use crate::clock::WallClock;
use crate::config::Mode;
use crate::plane::command::{Command, PlaneHandle};

/// Bytes between the home and a space in this process, each way.
const IN_PROCESS: usize = 64 * 1024;
/// Finding a service and connecting to it take at most this long together.
const PATIENCE: Duration = Duration::from_secs(8);

/// See the module.
#[derive(Debug)]
pub struct MeshDialer {
    hosted: Arc<Hosted>,
    directory: Arc<Directory>,
    plane: PlaneHandle,
    clock: WallClock,
    mode: Mode,
    name: String,
}

impl MeshDialer {
    /// A dialer for the home called `name`.
    pub const fn new(
        hosted: Arc<Hosted>,
        directory: Arc<Directory>,
        plane: PlaneHandle,
        clock: WallClock,
        mode: Mode,
        name: String,
    ) -> Self {
        Self {
            hosted,
            directory,
            plane,
            clock,
            mode,
            name,
        }
    }

    async fn dial(&self, service: &ServiceName) -> io::Result<BoxStream> {
        if let Some(space) = self.hosted.open_one(service) {
            let (ours, theirs) = tokio::io::duplex(IN_PROCESS);
            tokio::spawn(space.serve(Box::new(theirs)));
            return Ok(Box::new(ours));
        }
        let today = Day::from_unix(self.clock.unix_seconds());
        let mut last = io::Error::new(
            io::ErrorKind::NotFound,
            "nobody in reach says that it hosts this space",
        );
        for found in self.directory.find(service).await {
            // Anybody may claim a service: only its key holder's word counts.
            if let Err(error) = found.announcement.verify(&found.host, today) {
                last = io::Error::new(io::ErrorKind::PermissionDenied, error);
                continue;
            }
            match self.connect(found.host, found.announcement.port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect(&self, host: NodeAddress, port: u16) -> io::Result<BoxStream> {
        match self.mode {
            Mode::Tun => {
                let stream = TcpStream::connect((host.to_ipv6(), port)).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Mode::Userspace => {
                let (reply, answer) = oneshot::channel();
                self.plane
                    .send(Command::Connect(host, port, reply))
                    .map_err(io::Error::other)?;
                let stream = answer
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?
                    .map_err(|error| io::Error::new(io::ErrorKind::ConnectionRefused, error))?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Dialer for MeshDialer {
    fn open<'a>(&'a self, service: &'a ServiceName) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            tokio::time::timeout(PATIENCE, self.dial(service))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    fn services(&self) -> Vec<ServiceListing> {
        self.listings(self.directory.all(), |kind| kind != ServiceKind::Home)
    }

    fn relays(&self) -> Vec<ServiceListing> {
        // Homes look for each other all the time.
        self.listings(self.directory.all_behind(), |kind| {
            kind == ServiceKind::Home
        })
    }
}

impl MeshDialer {
    /// The services of the island whose kind is wanted.
    fn listings(
        &self,
        found: Vec<Found>,
        wanted: impl Fn(ServiceKind) -> bool,
    ) -> Vec<ServiceListing> {
        let spaces = self.hosted.spaces();
        let open = spaces
            .iter()
            .filter(|local| local.space.is_some() && wanted(local.kind()));
        let local = open.map(|local| ServiceListing {
            service: local.name.clone(),
            kind: local.kind(),
            name: local.title(),
            host: self.name.clone(),
            run: 0,
        });
        let beside = self.hosted.others();
        let open = beside
            .iter()
            .filter(|local| local.serves.is_some() && wanted(local.kind));
        let beside = open.map(|local| ServiceListing {
            service: local.name.clone(),
            kind: local.kind,
            name: local.title.clone(),
            host: self.name.clone(),
            run: 0,
        });
        let others = found
            .into_iter()
            .filter(|found| wanted(found.announcement.kind))
            .map(|found| ServiceListing {
                service: found.name,
                kind: found.announcement.kind,
                name: found.announcement.title,
                host: found.host_name,
                run: found.run,
            });
        local.chain(beside).chain(others).collect()
    }
}

/// The same way for spaces hosted here, which copy files from other spaces.
impl warren_space::Fetcher for MeshDialer {
    fn open<'a>(
        &'a self,
        service: &'a str,
    ) -> warren_space::BoxFuture<'a, io::Result<warren_space::BoxStream>> {
        Box::pin(async move {
            let service = ServiceName::parse(service).ok_or(io::ErrorKind::InvalidInput)?;
            let stream = Dialer::open(self, &service).await?;
            Ok(Box::new(stream) as warren_space::BoxStream)
        })
    }
}
