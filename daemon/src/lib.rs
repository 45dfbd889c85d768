//! The Warren daemon as a library: what `warrend` is made of, with its parsers in reach of fuzzers. Everything that
//! touches the operating system is here; protocol rules are in the mesh crate.

pub mod carrier;
pub mod plane;
pub mod sys;
pub mod tun;
pub mod userspace;
