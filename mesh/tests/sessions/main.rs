//! Sessions as scenarios, driven by hand over a network that loses, delays and repeats on demand.

mod attacks;
mod handshakes;
mod lifetime;
mod net;
