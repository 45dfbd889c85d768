//! The simulator: many nodes of the code that ships, in one process, under virtual time. A run is determined by its seed.
//!
//! | file | what |
//! |---|---|
//! | `random` | the run's random numbers |
//! | `topology` | who hears whom, how well |
//! | `world` | nodes, time, frames on their way |
//! | `echo` | the pings between them |
//! | `measure` | who reaches whom, loops, bytes |
//! | `scenario` | the named runs and their reports |
//! | `hostile` | nodes that lie, replay and drop |
//! | `foreign` | maps from elsewhere |
//!
//! Bytes are counted on the medium: 14 Ethernet, 40 IPv6, 8 UDP and the datagram; a broadcast counts once on a radio, and
//! once per link on point-to-point media. Data frames do not count as overhead. Not simulated: CPU time, airtime,
//! retransmission by the MAC.

mod echo;
pub mod foreign;
pub mod hostile;
pub mod measure;
pub mod random;
pub mod scenario;
pub mod topology;
pub mod world;
