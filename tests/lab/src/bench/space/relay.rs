//! The relays that are measured beside each other: a space of `warrend`, and two peers with their own defaults but for
//! limits that would end a bench. All run in the namespace of one lab, with their data on the same disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::namespace;
use crate::overlay::warrend::{Options, Warrend};
use crate::process::Process;

/// Title of the space.
pub const TITLE: &str = "Garden club";
/// Its port.
const PORT: u16 = 7447;
/// Files that a relay may have open while nobody is connected.
const SETTLED: usize = 100;
/// How long a relay may take to listen. A space that was imported is read first.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long it is watched whether it does anything.
const LOOK: Duration = Duration::from_millis(300);

/// A relay that runs.
#[derive(Debug)]
pub struct Relay {
    /// What it is called in figures.
    pub name: &'static str,
    /// Where it listens.
    pub at: SocketAddr,
    /// The service name of a space.
    pub service: Option<String>,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    Daemon(Box<Warrend>),
    Alone(Process),
}

impl Relay {
    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        match &mut self.runs {
            Runs::Daemon(daemon) => daemon.process(),
            Runs::Alone(process) => Ok(process),
        }
    }

    /// Waits until it has nothing to do.
    pub fn rest(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let before = self.process()?.cpu()?;
            std::thread::sleep(LOOK);
            let used = self.process()?.cpu()?.since(before).total();
            if used < LOOK.as_secs_f64() / 10.0 {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(LabError::Timeout {
                    what: format!("{} to have nothing to do", self.name),
                    after: PATIENCE,
                });
            }
        }
    }

    /// Waits until it has noticed that clients are gone.
    pub fn settle(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.process()?.open_files()? > SETTLED {
            if begin.elapsed() > PATIENCE {
                return Err(LabError::Timeout {
                    what: format!("{} to close connections", self.name),
                    after: PATIENCE,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        self.process()?.stop(Duration::from_secs(60)).map(drop)
    }

    /// A space of a daemon that is prepared in `folder`.
    pub fn start_space(lab: &Lab, mut daemon: Warrend) -> Result<Self> {
        daemon.start()?;
        let address = daemon.wait_for_address_within(PATIENCE)?;
        let service = daemon.service(TITLE, PATIENCE)?;
        let relay = Self {
            name: "warrend",
            at: (address, PORT).into(),
            service: Some(service),
            runs: Runs::Daemon(Box::new(daemon)),
        };
        relay.listening(lab)
    }

    /// nostr-rs-relay, with SQLite.
    pub fn start_nostr_rs(lab: &Lab, programs: &Path, folder: &Path) -> Result<Self> {
        let port = 7448;
        make(folder)?;
        let config = folder.join("config.toml");
        let text = format!("[network]\naddress = \"127.0.0.1\"\nport = {port}\n");
        std::fs::write(&config, text)
            .map_err(LabError::io(format!("writing {}", config.display())))?;
        let arguments = [
            "--config",
            &config.to_string_lossy(),
            "--db",
            &folder.to_string_lossy(),
        ];
        let program = programs.join("nostr-rs-relay");
        Self::start_peer(lab, "nostr-rs-relay", port, &program, &arguments, folder)
    }

    /// rust-nostr's relay, with LMDB.
    pub fn start_rust_nostr(lab: &Lab, programs: &Path, folder: &Path) -> Result<Self> {
        let port = 7449;
        make(folder)?;
        let store = folder.join("lmdb");
        let arguments = [&port.to_string(), &*store.to_string_lossy()];
        let program = programs.join("rust-nostr-relay");
        Self::start_peer(lab, "rust-nostr", port, &program, &arguments, folder)
    }

    fn start_peer(
        lab: &Lab,
        name: &'static str,
        port: u16,
        program: &Path,
        arguments: &[&str],
        folder: &Path,
    ) -> Result<Self> {
        // `env` becomes the program. Its log says every event unless it is told not to.
        let program = program.to_string_lossy();
        let words: Vec<&str> = ["RUST_LOG=error", &*program]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let process = Process::start(
            name,
            Some(&lab.namespace(0)),
            Path::new("env"),
            &words,
            &folder.join("log"),
        )?;
        let relay = Self {
            name,
            at: (Ipv4Addr::LOCALHOST, port).into(),
            service: None,
            runs: Runs::Alone(process),
        };
        relay.listening(lab)
    }

    /// Waits until it takes connections.
    fn listening(mut self, lab: &Lab) -> Result<Self> {
        let begin = Instant::now();
        let at = self.at;
        loop {
            self.process()?.check()?;
            let tried = namespace::within(&lab.namespace(0), || {
                std::net::TcpStream::connect_timeout(&at, Duration::from_secs(1))
                    .map_err(LabError::io(format!("connecting to {at}")))
            });
            match tried {
                Ok(_) => return Ok(self),
                Err(error) if begin.elapsed() > PATIENCE => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Prepares a daemon in a folder of its own. With `space` it makes one; otherwise one is imported into it.
pub fn prepare(lab: &Lab, folder: &Path, space: bool, web: &[String]) -> Result<Warrend> {
    let options = Options {
        space: space.then(|| TITLE.to_owned()),
        web: web.to_vec(),
        ..Options::default()
    };
    Warrend::prepare_in(folder, "A", Some(lab.namespace(0)), &[], &options)
}

/// A folder on the disk that is measured, removed when dropped.
#[derive(Debug)]
pub struct Data(PathBuf);

impl Data {
    /// Makes the folder anew: one that a killed bench left is removed first.
    pub fn make(path: &Path) -> Result<Self> {
        let _ = std::fs::remove_dir_all(path);
        make(path)?;
        let path = std::fs::canonicalize(path)
            .map_err(LabError::io(format!("finding {}", path.display())))?;
        Ok(Self(path))
    }

    /// A folder in it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // The next bench removes what could not be removed here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn make(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(LabError::io(format!("making {}", path.display())))
}
