//! A Warren space: a Nostr relay with groups, as a library that is handed connections.
//!
//! It never opens a socket, never reads the daemon's configuration file and never asks the system for the time:
//! connections, configuration and clock come in as arguments. It owns one directory on disk.

mod config;
mod error;
mod space;

pub use config::{Clock, Limits, SpaceConfig, system_clock};
pub use error::SpaceError;
pub use space::{Space, Summary};
