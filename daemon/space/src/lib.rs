//! A Warren space: a Nostr relay with groups, as a library that is handed connections.
//!
//! It never opens a socket, never reads the daemon's configuration file and never asks the system for the time:
//! connections, configuration and clock come in as arguments. It owns one directory on disk.
//!
//! Every call goes down in this list: `space` -> `connection`, `http` -> `files`, `questions`, `webhooks` -> `pipeline` ->
//! `management` -> `ingest`, `presence` ->
//! `fanout`, `snapshots` -> `access` -> `groups`, `store` -> `journal` -> `disk`.

mod access;
mod answer;
mod auth;
#[cfg(any(feature = "postgres", feature = "s3"))]
mod background;
mod claims;
mod config;
mod connection;
mod core;
mod disk;
mod error;
pub mod export;
mod fanout;
mod files;
pub mod fuzz;
mod groups;
mod http;
mod ingest;
mod journal;
mod keyfile;
mod mail;
mod management;
mod matching;
mod names;
mod outbox;
mod personal;
mod pipeline;
mod presence;
mod protected;
mod questions;
mod rate;
mod read_state;
mod record;
mod search;
mod signature;
mod snapshots;
mod space;
mod store;
pub mod stores;
#[cfg(test)]
mod testing;
mod told;
mod vanish;
mod webhooks;
mod wire;

pub use auth::relay_url;
pub use config::{Clock, FileLimits, Limits, SpaceConfig, system_clock};
pub use error::SpaceError;
pub use files::{
    BoxFuture, BoxStream, ByteStream, Fetcher, PICTURE_BYTES, PictureError, picture_kind, range,
};
pub use names::is_readable;
pub use personal::Residents;
pub use space::{FIRST_CHANNEL, Space, Summary, remove_from_servers};
