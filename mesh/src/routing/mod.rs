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
mod slots;

use core::num::NonZeroU16;

/// A link to a neighbour, numbered by the node; numbers are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(NonZeroU16);

impl LinkId {
    /// The link in slot `slot`; `None` beyond 65 534.
    pub fn of_slot(slot: usize) -> Option<Self> {
        let number = u16::try_from(slot).ok()?.checked_add(1)?;
        NonZeroU16::new(number).map(Self)
    }

    /// Its slot. (Numbers begin at 1, so that "no link" costs no memory.)
    pub const fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}
