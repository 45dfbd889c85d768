//! The benches behind `scripts/bench`: each measures ours and its peers in the same run and prints figures. Names of
//! figures are fixed: they are what results are compared by over time.

pub mod forward;
pub mod home;
pub mod mesh;
pub mod profile;
pub mod router;
pub mod simulated;
pub mod space;

use crate::command::is_installed;
use crate::figures::Report;
use crate::overlay::Program;

/// The rivals that are installed here; says which are not.
pub(crate) fn rivals(wanted: &[Program], report: Report) -> Vec<Program> {
    wanted
        .iter()
        .copied()
        .filter(|program| {
            let there = is_installed(program.name());
            if !there {
                report.progress(&format!(
                    "{} is not installed: its figures are left out",
                    program.name()
                ));
            }
            there
        })
        .collect()
}
