//! The Warren daemon as a library: what `warrend` is made of, with its parsers in reach of fuzzers. Everything that
//! touches the operating system is here; protocol rules are in the mesh crate.

pub mod carrier;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod desk;
pub mod error;
pub mod interfaces;
pub mod keys;
pub mod leftovers;
pub mod logger;
pub mod metrics;
pub mod netlink;
pub mod plane;
pub mod privileges;
pub mod reserve;
pub mod run;
pub mod services;
pub mod sites;
pub mod status;
pub mod store;
pub mod sys;
pub mod transfer;
pub mod tun;
pub mod userspace;
