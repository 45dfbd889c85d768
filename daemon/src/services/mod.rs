//! The spaces hosted here and what the owner does with them, the page people open, and the streams between them: in this process for our own spaces, over
//! the mesh for others'. Knows nothing of events or people; hands connections over.

mod dialer;
mod directory;
mod doors;
pub mod folders;
pub mod hosted;
pub mod listen;
pub mod manage;
mod names;
pub mod others;
pub mod reading;
pub mod record;
pub mod relay;
pub mod sites;

use std::collections::HashMap;
use std::sync::Arc;

use warren_home::{Home, HomeConfig, HomeFigures, ServiceName};
use warren_mesh::identity::NodeAddress;
use warren_mesh::packet::policy::Policy;
use warren_mesh::service::{ServiceKind, ServiceSigner};
use warren_space::stores::Stores;

use crate::clock::WallClock;
use crate::config::values::WebAddress;
use crate::config::{Config, Mode};
use crate::control::protocol;
use crate::error::DaemonError;
use crate::keys;
use crate::plane::command::PlaneHandle;
use crate::reserve::Reserve;
use dialer::MeshDialer;
use directory::Directory;
use folders::Folders;
use hosted::{Ground, Hosted, LocalSpace};
pub use listen::Listener;
use listen::PAGE_CONNECTIONS_MAX;
use manage::{Manager, SERVICE_KEY};
use reading::Reading;
use record::SpaceRecord;
use relay::Tenants;
use sites::Sites;

/// Spaces that are open and sockets that are bound, before privileges are dropped and before anything is served.
#[derive(Debug)]
pub struct Prepared {
    spaces: Vec<LocalSpace>,
    space_listeners: Vec<(String, Listener)>,
    web: Vec<(WebAddress, Listener)>,
    tenants: Arc<Tenants>,
    ground: Option<Ground>,
}

/// Binds what the configuration names. With TUN the node's address must be there already.
pub fn bind(config: &Config, address: NodeAddress) -> Result<Prepared, DaemonError> {
    let mut space_listeners = Vec::new();
    for space in &config.space {
        if config.network.mode == Mode::Tun && space.visible {
            let at = (address.to_ipv6(), space.port.get_ref().get()).into();
            space_listeners.push((space.id.get_ref().0.clone(), Listener::tcp(at)?));
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
        tenants: Arc::default(),
        ground: None,
    })
}

impl Prepared {
    /// Opens the spaces' files and keys: those of the configuration, then those that commands made. Blocks.
    pub fn open_spaces(&mut self, config: &Config, ground: &Ground) -> Result<(), DaemonError> {
        let folders = Folders::new(config.state.join("spaces"));
        folders.tidy_after(|directory| ground.forget(directory))?;
        self.ground = Some(ground.clone());
        for space in &config.space {
            let id = &space.id.get_ref().0;
            let record = SpaceRecord {
                title: space.name.0.clone(),
                about: String::new(),
                visible: space.visible,
                port: space.port.get_ref().get(),
                owner: space.owner.map(|owner| owner.0),
                quota_mib: record::QUOTA_MIB,
                files_quota_mib: record::FILES_QUOTA_MIB,
                member_quota_mib: record::MEMBER_QUOTA_MIB,
                closed: false,
                home: false,
            };
            let key = keys::service_file(&config.state, id);
            let opened = hosted::open(id, folders.of(id), &key, record, true, ground)?;
            log::info!("space {id}: {}.warren", opened.name);
            self.spaces.push(opened);
        }
        for id in folders.with(record::FILE)? {
            if self.spaces.iter().any(|space| space.id == id) {
                log::error!(
                    "a command made the space {id}, and the configuration has one of this id: the latter is served; give it another id"
                );
                continue;
            }
            // One that cannot be opened does not keep the others away from people.
            match open_made(&folders, &id, ground) {
                Ok(opened) => {
                    log::info!("space {id}: {}.warren", opened.name);
                    self.spaces.push(opened);
                }
                Err(error) => log::error!("{error}"),
            }
        }
        if !self.web.is_empty() {
            let name = &config.name.0;
            match relay::open(
                &config.state,
                name,
                &self.spaces,
                &self.tenants,
                &ground.clock,
            ) {
                Ok(opened) => {
                    log::info!("people of this home write at {}.warren", opened.name);
                    self.spaces.push(opened);
                }
                Err(error) => log::error!("{error}"),
            }
        }
        Ok(())
    }

    /// Runs everything on the current runtime. `policy`: what the owner opened to the island.
    pub async fn start(
        self,
        config: &Config,
        address: NodeAddress,
        policy: Policy,
        plane: &PlaneHandle,
        clock: &WallClock,
    ) -> Result<Services, DaemonError> {
        let mode = config.network.mode;
        let hosted = Arc::new(Hosted::new(
            self.spaces,
            policy,
            address,
            mode,
            plane.clone(),
        ));
        let mut listeners: HashMap<String, Listener> = self.space_listeners.into_iter().collect();
        for space in hosted.spaces().iter().filter(|space| space.is_shown()) {
            let Some(running) = &space.space else {
                continue;
            };
            let listener = match listeners.remove(&space.id) {
                Some(listener) => Ok(Some(listener)),
                None => hosted.bind(space.record.port),
            };
            let served =
                listener.and_then(|listener| hosted.serve(running, space.record.port, listener));
            match served {
                Ok(door) => hosted.put(LocalSpace {
                    door: Some(Arc::new(door)),
                    ..space.clone()
                }),
                Err(error) => log::error!("space {}: {error}", space.id),
            }
        }
        let sites = Sites::open(
            Arc::clone(&hosted),
            &config.state,
            local_port(config),
            clock,
        )?;
        hosted.say().await;
        hosted.follow_names();
        let directory = Directory::new(plane.clone(), clock.clone());
        let dialer = Arc::new(MeshDialer::new(
            Arc::clone(&hosted),
            Arc::clone(&directory),
            plane.clone(),
            clock.clone(),
            mode,
            config.name.0.clone(),
        ));
        hosted.set_dialer(&dialer);
        let mut home = None;
        if !self.web.is_empty() {
            let spaces = hosted.spaces();
            let relay = spaces.iter().find(|space| space.record.home);
            let relay = relay.map(|relay| relay.name.clone());
            let opened = open_home(config, relay, dialer, clock)?;
            self.tenants.set(&opened);
            opened.resume();
            for (at, listener) in self.web {
                log::info!("the page is at {at}");
                let home = Arc::clone(&opened);
                listener.serve("page", PAGE_CONNECTIONS_MAX, move |io, from| {
                    Arc::clone(&home).serve_from(io, from)
                })?;
            }
            home = Some(opened);
        }
        let ground = self
            .ground
            .unwrap_or_else(|| Ground::new(clock, Stores::default()));
        Ok(Services {
            reading: Reading::new(
                config.state.join("home"),
                Reserve::of(&config.state),
                Arc::clone(&ground.stores),
            ),
            manager: Manager::new(Arc::clone(&hosted), &config.state, &ground, host(config)),
            sites,
            hosted,
            home,
            directory,
        })
    }
}

/// Opens a space that a command made. One whose events cannot be opened is still one of this box.
fn open_made(folders: &Folders, id: &str, ground: &Ground) -> Result<LocalSpace, DaemonError> {
    let directory = folders.of(id);
    let record = SpaceRecord::load(&directory)?.ok_or_else(|| DaemonError::missing(&directory))?;
    let key = directory.join(SERVICE_KEY);
    match hosted::open(id, directory.clone(), &key, record.clone(), false, ground) {
        Ok(opened) => Ok(opened),
        Err(error) => {
            log::error!("{error}");
            let keyless = matches!(error, DaemonError::KeyMissing { .. });
            // Of no use, but every space has one.
            let signer = match keyless {
                true => ServiceSigner::master(&*keys::random()?),
                false => keys::service_of(&directory, &key)?,
            };
            let name = ServiceName::parse(&signer.service().to_string());
            Ok(LocalSpace {
                id: id.to_owned(),
                name: name.ok_or(error)?,
                signer: Arc::new(signer),
                record,
                configured: false,
                directory,
                keyless,
                space: None,
                door: None,
            })
        }
    }
}

fn web_addresses(config: &Config) -> impl Iterator<Item = std::net::SocketAddr> {
    let all = config.web.listen.iter();
    all.filter_map(|at| match at.get_ref() {
        WebAddress::Tcp(address) => Some(*address),
        WebAddress::Unix(_) => None,
    })
}

/// The port at which this machine itself opens the page.
fn local_port(config: &Config) -> Option<u16> {
    let is_local = |at: &std::net::SocketAddr| at.ip().is_loopback() || at.ip().is_unspecified();
    web_addresses(config).find(is_local).map(|at| at.port())
}

/// Under which name others open the page here, as far as that can be known: the first name it has, or the first address
/// that is one; with the port where it is not HTTP's own.
fn host(config: &Config) -> String {
    let addresses = || web_addresses(config);
    let with_port = |name: String, port: Option<u16>| match port {
        None | Some(80) => name,
        Some(port) => format!("{name}:{port}"),
    };
    if let Some(name) = config.web.names.first() {
        return with_port(name.0.clone(), addresses().next().map(|at| at.port()));
    }
    let is_one = |at: &std::net::SocketAddr| !at.ip().is_unspecified() && !at.ip().is_loopback();
    match addresses().find(is_one).or_else(|| addresses().next()) {
        Some(at) if is_one(&at) && at.is_ipv6() => {
            with_port(format!("[{}]", at.ip()), Some(at.port()))
        }
        Some(at) if is_one(&at) => with_port(at.ip().to_string(), Some(at.port())),
        at => with_port(String::from("localhost"), at.map(|at| at.port())),
    }
}

fn open_home(
    config: &Config,
    relay: Option<ServiceName>,
    dialer: Arc<MeshDialer>,
    clock: &WallClock,
) -> Result<Arc<Home>, DaemonError> {
    let clock = clock.clone();
    let home = HomeConfig {
        dir: config.state.join("home"),
        name: config.name.0.clone(),
        host_names: config.web.names.iter().map(|name| name.0.clone()).collect(),
        relay,
        uplink: config.feed.uplink(),
        limits: warren_home::Limits::default(),
    };
    Home::open(home, dialer, Arc::new(move || clock.unix_seconds())).map_err(|error| {
        DaemonError::Service {
            what: String::from("the home"),
            reason: error.to_string(),
        }
    })
}

/// What runs.
#[derive(Debug)]
pub struct Services {
    /// What the owner does with spaces.
    pub manager: Manager,
    /// What the owner does with sites.
    pub sites: Sites,
    /// All of it, for exports and backups.
    pub reading: Reading,
    hosted: Arc<Hosted>,
    home: Option<Arc<Home>>,
    directory: Arc<Directory>,
}

impl Services {
    /// Spaces, or other services of one kind, hosted here and those that others show.
    pub async fn view(&self, kind: ServiceKind) -> Vec<protocol::Space> {
        self.directory.refresh_for_a_moment().await;
        let spaces = self.hosted.spaces();
        let open = spaces
            .iter()
            .filter(|local| local.kind() == kind && local.space.is_some());
        let local = open.map(|local| protocol::Space {
            service: local.name.to_string(),
            title: local.title(),
            host: self.hosted.address.to_string(),
            port: local.record.port,
            local: true,
            figures: manage::figures(local),
        });
        let beside = self.hosted.others();
        let open = beside
            .iter()
            .filter(|local| local.kind == kind && local.serves.is_some());
        let beside = open.map(|local| protocol::Space {
            service: local.name.to_string(),
            title: local.title.clone(),
            host: self.hosted.address.to_string(),
            port: local.port,
            local: true,
            figures: None,
        });
        let others = self
            .directory
            .all()
            .into_iter()
            .filter(|found| found.announcement.kind == kind)
            .map(|found| protocol::Space {
                service: found.name.to_string(),
                title: found.announcement.title,
                host: found.host.to_string(),
                port: found.announcement.port,
                local: false,
                figures: None,
            });
        local.chain(beside).chain(others).collect()
    }

    /// Whether the island is not told of the home's own service.
    pub fn is_home_left_out(&self) -> bool {
        self.hosted.is_home_left_out()
    }

    /// How many people the home has, where there is one.
    pub fn home_figures(&self) -> Option<HomeFigures> {
        self.home.as_ref().map(|home| home.figures())
    }

    /// Ends streams and closes files. Returns once everything is on disk.
    pub async fn stop(&self) {
        if let Some(home) = self.home.clone() {
            let _ = tokio::task::spawn_blocking(move || home.close()).await;
        }
        let spaces = self.hosted.spaces();
        let closed = tokio::task::spawn_blocking(move || {
            for running in spaces.iter().filter_map(|space| space.space.as_ref()) {
                running.space.close();
            }
        });
        if closed.await.is_err() {
            log::error!("a space could not be closed cleanly");
        }
    }
}
