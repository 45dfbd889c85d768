//! The mesh programs that a lab can run: `warrend`, and the rivals it is measured against. Each gets a lab's links as they
//! are and says under which address every node is reached. Programs are configured as their packages ship them.

pub mod babeld;
pub mod warrend;
pub mod yggdrasil;

use std::net::Ipv6Addr;

use crate::error::Result;
use crate::lab::Lab;
use crate::process::{CpuTime, Process};

pub use warrend::Warrend;

/// Which mesh program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Warrend,
    /// Ours as it is on processors without instructions for AES.
    WarrendChaCha,
    /// yggdrasil-go, as Debian packages it.
    Yggdrasil,
    /// The Babel daemon (RFC 8966): routes, but neither encrypts nor carries.
    Babeld,
}

impl Program {
    /// Its name as figures show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warrend => "warrend",
            Self::WarrendChaCha => "warrend with ChaCha20",
            Self::Yggdrasil => "yggdrasil",
            Self::Babeld => "babeld",
        }
    }

    /// Starts it on every node of a lab, with the ports `open` (as in `network.open`) reachable where the program has a
    /// say in that.
    pub fn start(self, lab: &Lab, open: &[&str]) -> Result<Running> {
        match self {
            Self::Warrend => warrend::start_everywhere(lab, open, false),
            Self::WarrendChaCha => warrend::start_everywhere(lab, open, true),
            Self::Yggdrasil => yggdrasil::start_everywhere(lab),
            Self::Babeld => babeld::start_everywhere(lab),
        }
    }
}

/// A mesh program running on every node of a lab.
#[derive(Debug)]
pub struct Running {
    /// The daemons, by node.
    pub daemons: Vec<Process>,
    /// Each node's address in the mesh.
    pub addresses: Vec<Ipv6Addr>,
}

impl Running {
    /// An error if any daemon has ended.
    pub fn check(&mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(Process::check)
    }

    /// CPU time of all daemons so far.
    pub fn cpu(&self) -> Result<CpuTime> {
        let mut sum = CpuTime::default();
        for daemon in &self.daemons {
            let cpu = daemon.cpu()?;
            sum.user += cpu.user;
            sum.system += cpu.system;
        }
        Ok(sum)
    }
}
