//! Routing inside an island: a distance vector in the spirit of B.A.T.M.A.N. V, kept loop-free by RFC 8966's feasibility
//! condition, with metrics that no relay can improve. Knows originators and numbered links, never keys of links, frames
//! or transport addresses.

pub mod anchor;
pub mod announce;
pub mod chain;
pub mod freshness;
pub mod learn;
pub mod metric;
pub mod mtu;
pub mod originator;
pub mod own;
pub mod requests;
pub mod router;
pub mod select;

/// A link to a neighbour, numbered by the node; numbers are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u16);
