//! `warrend init`: keys in files of their own and a commented configuration. Never overwrites anything.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::config::template::{self, Answers};
use crate::config::values::{InterfaceName, NodeName};
use crate::config::{self, DEFAULT_SOCKET, Mode};
use crate::error::DaemonError;
use crate::{keys, store};

/// Where to put everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Configuration, keys, data and control socket in one directory.
    Dir(PathBuf),
    /// The configuration in this file, the rest in the system's places.
    Config(PathBuf),
}

/// What `init` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to put everything.
    pub place: Place,
    /// The node's name; this machine's if there is none.
    pub name: Option<String>,
    /// Interfaces of the mesh.
    pub interfaces: Vec<String>,
    /// How programs reach the mesh.
    pub mode: Mode,
}

/// Makes the files; what to tell the user.
pub fn init(options: &Options) -> Result<String, DaemonError> {
    let (file, state, socket) = match &options.place {
        Place::Dir(dir) => {
            store::make_dir(dir)?;
            // Whatever directory `run` is started in, it means this one.
            let dir = dir
                .canonicalize()
                .map_err(|error| DaemonError::file("find", dir, error))?;
            (
                dir.join("warren.toml"),
                dir.clone(),
                dir.join("control.sock"),
            )
        }
        Place::Config(file) => (
            file.clone(),
            PathBuf::from("/var/lib/warren"),
            PathBuf::from(DEFAULT_SOCKET),
        ),
    };
    if file.exists() {
        return Err(DaemonError::Exists(file));
    }
    let name = match &options.name {
        Some(name) => name.clone(),
        None => host_name(),
    };
    NodeName::from_str(&name).map_err(|error| DaemonError::Usage(error.to_string()))?;
    for interface in &options.interfaces {
        InterfaceName::from_str(interface)
            .map_err(|error| DaemonError::Usage(error.to_string()))?;
    }
    let text = template::render(&Answers {
        name: &name,
        state: &state,
        socket: &socket,
        mode: options.mode,
        interfaces: &options.interfaces,
    });
    config::parse(&file, &text)?;
    if let Some(parent) = file.parent().filter(|parent| *parent != Path::new("")) {
        std::fs::create_dir_all(parent)
            .map_err(|error| DaemonError::file("make the directory", parent, error))?;
    }
    store::make_dir(&state)?;
    let (identity, new) = keys::mesh(&state)?;
    store::create(&file, text.as_bytes())?;
    let key = if new {
        "A new key"
    } else {
        "The key that was there"
    };
    Ok(format!(
        "{key} is in {}; keep a copy of that directory.\n\
         This node's address is {}\n\
         Look through {} and start with: warrend run --config {}\n",
        keys::directory(&state).display(),
        identity.address(),
        file.display(),
        file.display()
    ))
}

fn host_name() -> String {
    let name = rustix::system::uname();
    let name: String = name
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .take(32)
        .collect();
    if name.is_empty() {
        String::from("warren")
    } else {
        name
    }
}
