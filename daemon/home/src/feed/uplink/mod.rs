//! Relays of the Internet that the owner of a home lists: they are sent what people here write for everybody, and read for
//! those whom people here follow and who are at no home in reach. No other relay is ever contacted, whoever names it. They
//! see the home's address in the Internet. Only with the feature `uplink`.
//!
//! | file | what |
//! |---|---|
//! | `public` | what goes out |
//! | `scribe`, `ledger` | what people here wrote, in order, and how far each relay has it |
//! | `sender` | the connection that sends; what is read comes by a `link` |
//! | `wire` | TCP, TLS and whom to trust |
//! | `outlet` | all of it together; `absent` stands there without the feature |

#[cfg(not(feature = "uplink"))]
mod absent;
#[cfg(feature = "uplink")]
mod ledger;
#[cfg(feature = "uplink")]
mod outlet;
#[cfg(feature = "uplink")]
mod public;
#[cfg(feature = "uplink")]
mod scribe;
#[cfg(feature = "uplink")]
mod sender;
#[cfg(feature = "uplink")]
mod wire;

#[cfg(not(feature = "uplink"))]
pub use absent::{Supply, Uplink, check};
#[cfg(feature = "uplink")]
pub use outlet::{Supply, Uplink, check};

#[cfg(feature = "uplink")]
use outlet::Relay;
