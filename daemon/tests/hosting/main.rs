//! A person hosts spaces on a box: real daemons without root, the real command line, real sockets.

mod backups;
mod client;
mod daemon;
mod exports;

#[cfg(all(feature = "postgres", feature = "s3"))]
#[path = "../../space/tests/servers/mod.rs"]
mod servers;
mod spaces;
#[cfg(all(feature = "postgres", feature = "s3"))]
mod stores;
