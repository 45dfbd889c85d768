//! Whole nodes exchanging datagrams in memory: what the daemon will see.

mod foreign;
mod generations;
mod lab;
mod links;
mod packets;
