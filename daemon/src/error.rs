//! What can stop the daemon or a subcommand: what happened, to what, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::config::uci::UciError;

/// The daemon's errors.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The OpenWrt configuration is wrong.
    #[error(transparent)]
    Uci(#[from] UciError),
    /// The command line is wrong.
    #[error("{0}; `warrend --help` shows what there is")]
    Usage(String),
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// read, write, make, ...
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that must not be overwritten is there.
    #[error("{path} exists already and is left as it is; name another place", path = .0.display())]
    Exists(PathBuf),
    /// A file of ours does not hold what it should.
    #[error("{path} is not {expected}; restore it from a backup or move it away", path = path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A key is gone, and what was made after it is there.
    #[error(
        "{path} is missing although there is data ({data}): restore it from a backup; `warrend restore` puts back what is not there, a space or a site when its directory was moved away", path = path.display(), data = data.display()
    )]
    KeyMissing {
        /// Its file.
        path: PathBuf,
        /// What is there.
        data: PathBuf,
    },
    /// An archive or a backup cannot be used.
    #[error("{path} cannot be used: {what}", path = path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A restore was cut short.
    #[error(
        "restoring this box from {from} was cut short; run `warrend restore` once more, or remove {marker} to go on with what is there", marker = marker.display()
    )]
    HalfRestored {
        /// The backup.
        from: String,
        /// The file that says so.
        marker: PathBuf,
    },
    /// The space is on this box already.
    #[error("this space is here already, as {0}; nothing was changed")]
    SpaceIsHere(String),
    /// A key or a passphrase that others can read.
    #[error("{path} can be read by others; run: chmod 600 {path}", path = .0.display())]
    KeyIsOpen(PathBuf),
    /// The TUN device could not be made.
    #[error(
        "cannot make the TUN device {name}: {source}; run as root (CAP_NET_ADMIN), or set network.mode to \"userspace\""
    )]
    Tun {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The operating system's network configuration refused something.
    #[error("cannot {action} {name}: {reason}")]
    Network {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// Why.
        reason: String,
    },
    /// A socket could not be opened.
    #[error("cannot listen on {address}: {source}; is it in use already?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A socket in the file system could not be opened.
    #[error("cannot listen on {path}: {source}", path = path.display())]
    ListenUnix {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon uses the same control socket.
    #[error("{path}: another warrend answers here; stop it first", path = .0.display())]
    AlreadyRunning(PathBuf),
    /// Another daemon uses the same state directory.
    #[error(
        "another warrend works in {path}; stop it first, or give this one a `state` of its own", path = .0.display()
    )]
    StateInUse(PathBuf),
    /// No daemon answers.
    #[error("no warrend answers at {path}: {source}; is it running, and may you talk to it?", path = path.display())]
    NotRunning {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not all was done; the text says what was not.
    #[error("{0}")]
    NotAll(String),
    /// The relay of another home is on this box.
    #[error(
        "where people of another home write for everybody is here and stays; to have that of the backup, move {path} away and \
         restore once more", path = .0.display()
    )]
    RelayIsHere(PathBuf),
    /// The daemon answered with an error.
    #[error("the daemon refused: {0}")]
    Refused(String),
    /// The user to become does not exist.
    #[error(
        "there is no user {0:?} on this system; make it, or take `user` out of the configuration"
    )]
    NoUser(String),
    /// Privileges could not be given up.
    #[error("cannot give up privileges ({step}): {source}")]
    Privileges {
        /// At what.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Something the operating system should always give.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What the home is told cannot be used.
    #[error(transparent)]
    Home(#[from] warren_home::HomeError),
    /// A space or the home did not start.
    #[error("{what} did not start: {reason}")]
    Service {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
}

impl DaemonError {
    /// An error about a file.
    pub fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// A file that should be there is not.
    pub fn missing(path: &Path) -> Self {
        Self::file("read", path, io::Error::from(rustix::io::Errno::NOENT))
    }

    /// An error of the operating system itself.
    pub const fn system(what: &'static str, source: io::Error) -> Self {
        Self::System { what, source }
    }
}
