//! Warren's mesh protocols as state machines: bytes and time come in, bytes, packets and timers go out. No sockets, no
//! clock, no threads: the daemon and the simulator drive the very same code.
//!
//! [`node::Node`] is what a program uses; everything else is a floor below it, and calls only go down:
//!
//! | floor | modules |
//! |---|---|
//! | a whole node | [`node`] |
//! | packets of programs, end to end | [`session`], [`packet`], [`descriptor`], [`service`] |
//! | ways through the island | [`routing`] |
//! | neighbours | [`neighbour`], [`message`], [`link`] |
//! | who somebody is, and secrets | [`identity`], [`crypto`] |
//! | tools without meaning | [`time`], [`timers`], [`rng`], [`wire`], [`transmit`], [`deliver`] |
//!
//! `sim` (feature `sim`) runs many nodes in one process. The README of this crate explains how it all works, with every
//! format and constant. Its example is compiled and run as a test:
#![doc = include_str!("../README.md")]

pub mod node;

pub mod descriptor;
pub mod packet;
pub mod service;
pub mod session;

pub mod routing;

pub mod link;
pub mod message;
pub mod neighbour;

pub mod crypto;
pub mod identity;

pub mod deliver;
pub mod rng;
pub mod time;
pub mod timers;
pub mod transmit;
pub mod wire;

#[cfg(feature = "sim")]
pub mod sim;
