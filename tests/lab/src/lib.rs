//! Neighbourhoods of `warrend` in network namespaces of this machine: for the demonstration (`scripts/run`), the tests that
//! need more than one crate, and the benches. A lab makes its namespaces itself, removes them however it ends, and never
//! sends a packet outside of them.

pub mod bench;
pub mod command;
pub mod error;
pub mod figures;
pub mod folder;
pub mod lab;
pub mod namespace;
pub mod neighbourhood;
pub mod outage;
pub mod overlay;
pub mod pair;
pub mod ping;
pub mod process;
pub mod reaper;
pub mod topology;
pub mod traffic;

pub use error::{LabError, Result};
pub use lab::{Cut, Lab};
pub use topology::Topology;
