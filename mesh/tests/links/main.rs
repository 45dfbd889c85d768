//! Links from outside: two or more nodes' ends of links, driven by hand. Everything random comes from fixed seeds.

mod broadcast;
mod chain;
mod common;
mod frames;
mod fuzz;
mod handshake;
mod vectors;
