//! The spaces hosted here, the page people open, and the streams between them: in this process for our own spaces, over
//! the mesh for others'. Knows nothing of events or people; hands connections over.

mod dialer;
mod directory;
mod listen;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;
use warren_home::{Home, HomeConfig, ServiceName};
use warren_mesh::descriptor::ServiceAnnouncement;
use warren_mesh::identity::NodeAddress;
use warren_mesh::service::ServiceSigner;
use warren_space::{Limits, Space, SpaceConfig};

use crate::clock::WallClock;
use crate::config::values::WebAddress;
use crate::config::{self, Config, Mode};
use crate::control::protocol;
use crate::error::DaemonError;
use crate::keys;
use crate::plane::command::{Command, PlaneHandle};
use dialer::MeshDialer;
use directory::Directory;
pub use listen::Listener;

/// Connections that may wait to be taken by a space.
const WAITING_MAX: usize = 16;

/// A space hosted here.
#[derive(Debug)]
pub struct LocalSpace {
    name: ServiceName,
    signer: ServiceSigner,
    title: String,
    port: u16,
    visible: bool,
    space: Arc<Space>,
}

/// Spaces that are open and sockets that are bound, before privileges are dropped and before anything is served.
#[derive(Debug)]
pub struct Prepared {
    spaces: Vec<LocalSpace>,
    space_listeners: Vec<(usize, Listener)>,
    web: Vec<(WebAddress, Listener)>,
}

/// Binds what the configuration names. With TUN the node's address must be there already.
pub fn bind(config: &Config, address: NodeAddress) -> Result<Prepared, DaemonError> {
    let mut space_listeners = Vec::new();
    for (index, space) in config.space.iter().enumerate() {
        if config.network.mode == Mode::Tun && space.visible {
            let at = (address.to_ipv6(), space.port.get_ref().get()).into();
            space_listeners.push((index, Listener::tcp(at)?));
        }
    }
    let web = config
        .web
        .listen
        .iter()
        .map(|at| Ok((at.get_ref().clone(), Listener::open(at.get_ref())?)))
        .collect::<Result<_, DaemonError>>()?;
    Ok(Prepared {
        spaces: Vec::new(),
        space_listeners,
        web,
    })
}

impl Prepared {
    /// Opens the spaces' files and keys. Blocks.
    pub fn open_spaces(&mut self, config: &Config, clock: &WallClock) -> Result<(), DaemonError> {
        for space in &config.space {
            self.spaces.push(open_space(&config.state, space, clock)?);
        }
        Ok(())
    }

    /// Runs everything on the current runtime.
    pub fn start(
        self,
        config: &Config,
        address: NodeAddress,
        plane: &PlaneHandle,
        clock: &WallClock,
    ) -> Result<Services, DaemonError> {
        let spaces = Arc::new(self.spaces);
        for (index, listener) in self.space_listeners {
            let space = Arc::clone(&spaces[index].space);
            listener.serve("space", move |io, _| Arc::clone(&space).serve(io))?;
        }
        if config.network.mode == Mode::Userspace {
            for space in spaces.iter().filter(|space| space.visible) {
                let (accepted, mut streams) = mpsc::channel(WAITING_MAX);
                send(plane, Command::Listen(space.port, accepted));
                let space = Arc::clone(&space.space);
                tokio::spawn(async move {
                    while let Some(stream) = streams.recv().await {
                        tokio::spawn(Arc::clone(&space).serve(stream));
                    }
                });
            }
        }
        let announcements = announcements(&spaces, address);
        send(plane, Command::Publish(announcements));
        let directory = Directory::new(plane.clone());
        let dialer = Arc::new(MeshDialer::new(
            Arc::clone(&spaces),
            Arc::clone(&directory),
            plane.clone(),
            clock.clone(),
            config.network.mode,
            config.name.0.clone(),
        ));
        for space in spaces.iter() {
            let fetcher = Arc::clone(&dialer) as Arc<dyn warren_space::Fetcher>;
            space.space.set_fetcher(fetcher);
        }
        let mut home = None;
        if !self.web.is_empty() {
            let opened = open_home(config, dialer, clock)?;
            for (at, listener) in self.web {
                log::info!("the page is at {at}");
                let home = Arc::clone(&opened);
                listener.serve("page", move |io, from| {
                    Arc::clone(&home).serve_from(io, from)
                })?;
            }
            home = Some(opened);
        }
        Ok(Services {
            spaces,
            home,
            directory,
            address,
        })
    }
}

fn open_space(
    state: &Path,
    space: &config::Space,
    clock: &WallClock,
) -> Result<LocalSpace, DaemonError> {
    let id = &space.id.get_ref().0;
    let failed = |reason: String| DaemonError::Service {
        what: format!("the space {id}"),
        reason,
    };
    let signer = keys::service(state, id)?;
    let service = signer.service().to_string();
    let owner = space.owner.map(|owner| owner.0);
    let clock = clock.clone();
    let opened = Space::open(
        SpaceConfig {
            dir: state.join("spaces").join(id),
            name: space.name.0.clone(),
            about: String::new(),
            service: service.clone(),
            owner,
            limits: Limits::default(),
        },
        Arc::new(move || clock.unix_seconds()),
    )
    .map_err(|error| failed(error.to_string()))?;
    log::info!("space {id}: {service}.warren");
    Ok(LocalSpace {
        name: ServiceName::parse(&service).ok_or_else(|| failed("its key has no name".into()))?,
        signer,
        title: space.name.0.clone(),
        port: space.port.get_ref().get(),
        visible: space.visible,
        space: opened,
    })
}

fn open_home(
    config: &Config,
    dialer: Arc<MeshDialer>,
    clock: &WallClock,
) -> Result<Arc<Home>, DaemonError> {
    let clock = clock.clone();
    let home = HomeConfig {
        dir: config.state.join("home"),
        name: config.name.0.clone(),
        host_names: Vec::new(),
        limits: warren_home::Limits::default(),
    };
    Home::open(home, dialer, Arc::new(move || clock.unix_seconds())).map_err(|error| {
        DaemonError::Service {
            what: String::from("the home"),
            reason: error.to_string(),
        }
    })
}

fn announcements(spaces: &[LocalSpace], address: NodeAddress) -> Vec<ServiceAnnouncement> {
    spaces
        .iter()
        .filter(|space| space.visible)
        .filter_map(|space| {
            space
                .signer
                .announce(&address, space.port, &space.title)
                .inspect_err(|error| log::error!("space {}: not announced: {error}", space.title))
                .ok()
        })
        .collect()
}

fn send(plane: &PlaneHandle, command: Command) {
    if let Err(error) = plane.send(command) {
        log::error!("{error}");
    }
}

/// What runs.
#[derive(Debug)]
pub struct Services {
    spaces: Arc<Vec<LocalSpace>>,
    home: Option<Arc<Home>>,
    directory: Arc<Directory>,
    address: NodeAddress,
}

impl Services {
    /// Spaces hosted here and those that others show.
    pub async fn view(&self) -> Vec<protocol::Space> {
        self.directory.refresh_for_a_moment().await;
        let local = self.spaces.iter().map(|local| {
            let summary = local.space.summary();
            protocol::Space {
                service: local.name.to_string(),
                title: local.title.clone(),
                host: self.address.to_string(),
                port: local.port,
                local: true,
                figures: Some(protocol::SpaceFigures {
                    members: summary.members as u64,
                    channels: summary.channels as u64,
                    events: summary.events,
                    bytes: summary.bytes,
                }),
            }
        });
        let others = self
            .directory
            .all()
            .into_iter()
            .map(|found| protocol::Space {
                service: found.name.to_string(),
                title: found.announcement.title,
                host: found.host.to_string(),
                port: found.announcement.port,
                local: false,
                figures: None,
            });
        local.chain(others).collect()
    }

    /// Ends streams and closes files. Returns once everything is on disk.
    pub async fn stop(&self) {
        if let Some(home) = self.home.clone() {
            let _ = tokio::task::spawn_blocking(move || home.close()).await;
        }
        let spaces = Arc::clone(&self.spaces);
        let closed = tokio::task::spawn_blocking(move || {
            for space in spaces.iter() {
                space.space.close();
            }
        });
        if closed.await.is_err() {
            log::error!("a space could not be closed cleanly");
        }
    }
}
