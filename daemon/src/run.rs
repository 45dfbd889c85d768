//! `warrend run`: sets everything up in the order that privileges demand, runs until told to stop, and takes everything
//! down again. Two threads: the data plane, and this one for everything else.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Instant, SystemTime};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use warren_mesh::crypto::cipher;
use warren_mesh::identity::NodeAddress;
use warren_mesh::node::{Node, NodeConfig};
use warren_mesh::packet::policy::Policy;
use warren_mesh::transmit::InterfaceId;

use crate::carrier::udp;
use crate::clock::{self, WallClock};
use crate::config::values::Open;
use crate::config::{self, Aes, Config, Mode};
use crate::control::server;
use crate::desk::Desk;
use crate::error::DaemonError;
use crate::interfaces::{INNER_MTU, Interfaces};
use crate::leftovers::Leftovers;
use crate::netlink::Netlink;
use crate::plane::command::{COMMANDS_MAX, Command, NOTICES_MAX, Notice, PlaneHandle, Waker};
use crate::plane::{Local, MeshClock, Plane};
use crate::reserve::Reserve;
use crate::services;
use crate::services::hosted::Ground;
use crate::transfer::exports::Exports;
use crate::transfer::restore;
use crate::transfer::schedule::Schedule;
use crate::tun::Tun;
use crate::userspace::UserNet;
use crate::{control, keys, logger, metrics, privileges, status, store};

/// The carrier `udp`'s number; `ether` interfaces follow.
const UDP_ID: InterfaceId = InterfaceId(0);
/// What the kernel may gather into one super-packet: it then fills one batch of the carrier, and no second one with a
/// few left-overs. 42 segments of 1428 bytes (TCP with time stamps) and the room the kernel keeps for headers.
const GSO_MAX: u32 = 60_300;

/// Runs the daemon with the configuration in `file` until SIGTERM or SIGINT.
pub fn run(file: &Path) -> Result<(), DaemonError> {
    let (config, text) = config::load_with_text(file)?;
    logger::start(config.log.level);
    let user = config
        .user
        .as_ref()
        .map(|user| privileges::find_user(user.get_ref()))
        .transpose()?;
    store::make_dir(&config.state)?;
    let _lock = store::lock(&config.state)?;
    restore::check_whole(&config.state)?;
    let (identity, new_key) = keys::mesh(&config.state)?;
    let address = identity.address();
    if new_key {
        log::info!(
            "made a new key in {}",
            keys::directory(&config.state).display()
        );
    }
    let psk = config
        .mesh
        .passphrase_file
        .as_ref()
        .map(|file| keys::psk(file.get_ref()))
        .transpose()?;
    let stores = config.store.load()?;
    allow_many_files();
    let reserve = Reserve::of(&config.state);
    let generation = reserve.lend(|| keys::next_generation(&config.state))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|error| DaemonError::system("an event loop", error))?;
    let waker = Waker::new().map_err(|error| DaemonError::system("an event descriptor", error))?;
    let local = open_local(&config, address, &runtime, &waker)?;
    let control = control::server::listen(&config.control.socket)?;
    let mut prepared = services::bind(&config, address)?;
    let metrics = config.metrics.as_ref().map(metrics::prepare).transpose()?;
    if rustix::process::geteuid().is_root() {
        // Back to root, too, when `user` was taken out of the configuration: without capabilities root is a user as any.
        let owner = user.unwrap_or(privileges::ROOT);
        privileges::give(&config.state, owner)?;
        privileges::give(&config.control.socket, owner)?;
    }
    privileges::drop_all(user)?;
    let clock = WallClock::open(&config.state)?;
    prepared.open_spaces(&config, &Ground::new(&clock, stores))?;

    log::info!("{} is {address}", config.name.0);
    let mesh_clock = MeshClock::start();
    let node = Node::new(
        mesh_clock.now(),
        NodeConfig {
            name: config.name.0.clone(),
            psk: psk.map(|psk| *psk),
            policy: policy(&config),
            aes: config.mesh.aes == Aes::Auto && cipher::has_aes(),
        },
        identity,
        generation,
        *keys::random()?,
    );
    let (commands, receiver) = sync_channel(COMMANDS_MAX);
    let (notices, notices_out) = mpsc::channel(NOTICES_MAX);
    let handle = PlaneHandle::new(commands, waker.clone());
    let plane = Plane::new(node, mesh_clock, local, receiver, waker, notices)
        .map_err(|error| DaemonError::system("the data plane's descriptors", error))?;
    let plane = thread::Builder::new()
        .name(String::from("plane"))
        .spawn(move || plane.run())
        .map_err(|error| DaemonError::system("a thread", error))?;
    let daemon = Daemon {
        config,
        text,
        metrics,
        address,
        plane: handle.clone(),
        clock,
    };
    let result = runtime.block_on(daemon.serve(prepared, control, notices_out));
    // It may have ended by itself; then it says why below.
    let _ = handle.send(Command::Stop);
    let ended = plane.join();
    runtime.shutdown_background();
    result?;
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(DaemonError::system("the data plane's wait", error)),
        Err(_) => Err(DaemonError::Service {
            what: String::from("the data plane"),
            reason: String::from("it ended by a fault of its own; please report the lines above"),
        }),
    }
}

fn open_local(
    config: &Config,
    address: NodeAddress,
    runtime: &Runtime,
    waker: &Waker,
) -> Result<Local, DaemonError> {
    if config.network.mode == Mode::Userspace {
        let seed = u64::from_ne_bytes(*keys::random()?);
        return Ok(Local::User(Box::new(UserNet::new(
            address,
            seed,
            waker.clone(),
        ))));
    }
    let name = &config.network.tun.get_ref().0;
    let tun = Tun::open(name).map_err(|source| DaemonError::Tun {
        name: name.clone(),
        source,
    })?;
    if !tun.offload() {
        log::info!("{name}: this kernel's TUN has no offload; packets pass one by one");
    }
    runtime.block_on(async {
        let netlink = Netlink::connect()?;
        netlink
            .configure_tun(name, address, u32::from(INNER_MTU), GSO_MAX)
            .await
    })?;
    Ok(Local::Tun(tun))
}

/// Each connection is an open file, and systems give a program 1024 of them unless it asks for what it may have.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("the number of open files stays as it is: {error}");
    }
}

/// What the owner opened to the island; the ports of visible spaces follow when they are served.
fn policy(config: &Config) -> Policy {
    let mut policy = Policy::default();
    for open in &config.network.open {
        match open {
            Open::All => policy.open_all = true,
            Open::Tcp(port) => policy.tcp.push(*port),
            Open::Udp(port) => policy.udp.push(*port),
        }
    }
    policy
}

/// What the second thread works with.
struct Daemon {
    config: Config,
    /// The text of its file.
    text: String,
    metrics: Option<metrics::Prepared>,
    address: NodeAddress,
    plane: PlaneHandle,
    clock: WallClock,
}

impl Daemon {
    async fn serve(
        self,
        prepared: services::Prepared,
        control: std::os::unix::net::UnixListener,
        notices: mpsc::Receiver<Notice>,
    ) -> Result<(), DaemonError> {
        let signals = |kind| signal(kind).map_err(|error| DaemonError::system("signals", error));
        let mut terminate = signals(SignalKind::terminate())?;
        let mut interrupt = signals(SignalKind::interrupt())?;
        if let Some(config) = &self.config.mesh.udp {
            let peers = config.peers.iter().map(|peer| peer.get_ref().0).collect();
            let carrier = udp::open(UDP_ID, config.listen.0, peers).map_err(|source| {
                DaemonError::Listen {
                    address: config.listen.0,
                    source,
                }
            })?;
            let _ = self.plane.send(Command::AddInterface(Box::new(carrier)));
        }
        let (stop, stopped) = watch::channel(false);
        let interfaces = self.watch_interfaces(stopped)?;
        let plane_ended = tokio::spawn(persist(
            self.config.state.clone(),
            self.plane.clone(),
            notices,
        ));
        tokio::spawn(keep_time(self.clock.clone()));
        let policy = policy(&self.config);
        let started = prepared.start(&self.config, self.address, policy, &self.plane, &self.clock);
        let services = Arc::new(started.await?);
        Reserve::of(&self.config.state).keep();
        let control = tokio::net::UnixListener::from_std(control)
            .map_err(|error| DaemonError::system("the control socket", error))?;
        let schedule = self.config.backup.clone().map(|backup| {
            let socket = self.config.control.socket.clone();
            Schedule::new(backup, socket, self.clock.clone())
        });
        let exports = (!self.config.export.is_empty()).then(|| {
            let socket = self.config.control.socket.clone();
            let exports = self.config.export.iter();
            let exports = exports.map(|export| export.get_ref().clone()).collect();
            Exports::new(exports, socket, self.clock.clone())
        });
        let answers = Arc::new(Desk {
            status: status::Fixed {
                name: self.config.name.0.clone(),
                address: self.address,
                mode: self.config.network.mode,
                start: Instant::now(),
                clock: self.clock.clone(),
                schedule: schedule.clone(),
                exports: exports.clone(),
            },
            plane: self.plane.clone(),
            config: self.text.clone(),
            services: Arc::clone(&services),
        });
        if let Some(metrics) = self.metrics {
            metrics.serve(Arc::clone(&answers))?;
        }
        let control = tokio::spawn(server::serve(control, answers));
        if let Some(schedule) = schedule {
            tokio::spawn(schedule.run());
        }
        if let Some(exports) = exports {
            tokio::spawn(exports.run());
        }
        tokio::select! {
            _ = terminate.recv() => log::info!("told to stop (SIGTERM)"),
            _ = interrupt.recv() => log::info!("told to stop (SIGINT)"),
            _ = plane_ended => log::error!("the data plane has ended"),
        }
        control.abort();
        let _ = control.await;
        let _ = std::fs::remove_file(&self.config.control.socket);
        services.stop().await;
        let _ = stop.send(true);
        if let Some(interfaces) = interfaces
            && interfaces.await.is_err()
        {
            log::error!("interfaces may not be as they were before");
        }
        Ok(())
    }

    fn watch_interfaces(
        &self,
        stopped: watch::Receiver<bool>,
    ) -> Result<Option<tokio::task::JoinHandle<()>>, DaemonError> {
        let configured = &self.config.mesh.interface;
        if configured.is_empty() {
            return Ok(None);
        }
        let interfaces = Interfaces::new(
            Netlink::connect()?,
            self.plane.clone(),
            UDP_ID.0 + 1,
            configured,
            Leftovers::open(&self.config.state),
        )?;
        Ok(Some(tokio::spawn(
            interfaces.run(Netlink::changes()?, stopped),
        )))
    }
}

/// Writes generations to disk; the mesh uses one only after that. Ends when the data plane does.
async fn persist(
    state: std::path::PathBuf,
    plane: PlaneHandle,
    mut notices: mpsc::Receiver<Notice>,
) {
    while let Some(Notice::PersistGeneration(generation)) = notices.recv().await {
        let state = state.clone();
        let saved =
            tokio::task::spawn_blocking(move || keys::save_generation(&state, generation)).await;
        match saved {
            Ok(Ok(())) => {
                let _ = plane.send(Command::GenerationPersisted(generation));
            }
            // A full disk: the old generation stays in use, and the mesh asks again.
            Ok(Err(error)) => log::error!("generation {generation} is not in use: {error}"),
            Err(_) => log::error!("generation {generation} is not in use"),
        }
    }
}

async fn keep_time(clock: WallClock) {
    let mut every = tokio::time::interval(clock::TICK);
    loop {
        every.tick().await;
        clock.tick(SystemTime::now(), Instant::now());
    }
}
