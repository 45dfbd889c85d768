//! What is kept about the node at the other end of a link: how well it is heard, whether it is alive, how far its table is
//! known. Small state machines without frames; `node` joins them.

pub mod liveness;
pub mod quality;
pub mod schedule;
pub mod sync;
