//! Values of options as all commands read them, and which daemon a command speaks to.

use std::path::PathBuf;

use lexopt::{Parser, ValueExt};

use super::usage;
use crate::config::{self, DEFAULT_FILE, DEFAULT_SOCKET};
use crate::error::DaemonError;

/// Which daemon is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The control socket.
    pub control: Option<PathBuf>,
    /// The configuration, which names the socket.
    pub config: Option<PathBuf>,
}

impl Connection {
    /// Its control socket.
    pub fn socket(&self) -> Result<PathBuf, DaemonError> {
        Ok(match (&self.control, &self.config) {
            (Some(socket), _) => socket.clone(),
            (None, Some(config)) => config::load(config)?.control.socket,
            (None, None) => PathBuf::from(DEFAULT_SOCKET),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        let config = self.config.clone();
        config.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
    }
}

/// Any text.
pub fn text(parser: &mut Parser) -> Result<String, DaemonError> {
    parser.value().map_err(usage)?.string().map_err(usage)
}

/// A file or folder.
pub fn path(parser: &mut Parser) -> Result<PathBuf, DaemonError> {
    parser.value().map(PathBuf::from).map_err(usage)
}

/// A number; `needs` says which.
pub fn number(parser: &mut Parser, needs: &str) -> Result<u32, DaemonError> {
    text(parser)?.parse().map_err(|_| usage(needs))
}

/// A TCP port.
pub fn port(parser: &mut Parser) -> Result<u16, DaemonError> {
    let port = text(parser)?.parse();
    port.map_err(|_| usage("--port needs a number from 1024 to 65535"))
}

/// Whether something shall be.
pub fn yes_or_no(parser: &mut Parser, option: &str) -> Result<bool, DaemonError> {
    match text(parser)?.as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(usage(format!("--{option} needs `yes` or `no`"))),
    }
}
