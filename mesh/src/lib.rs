//! Warren's mesh protocols as state machines: bytes and time come in, bytes, packets and timers go out. No sockets, no
//! clock, no threads: the daemon and the simulator drive the very same code.

pub mod crypto;
pub mod deliver;
pub mod descriptor;
pub mod identity;
pub mod link;
pub mod message;
pub mod neighbour;
pub mod node;
pub mod packet;
pub mod rng;
pub mod routing;
pub mod service;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod time;
pub mod timers;
pub mod transmit;
pub mod wire;
