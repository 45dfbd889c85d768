//! The benches behind `scripts/bench`: each measures ours and its peers in the same run and prints figures. Names of
//! figures are fixed: they are what results are compared by over time.

pub mod forward;
pub mod home;
pub mod mesh;
pub mod profile;
pub mod router;
pub mod simulated;
pub mod space;

use std::io::{Read, Write};

use crate::command::is_installed;
use crate::error::{LabError, Result};
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

/// One call of a home's interface; an error unless it succeeds.
pub(crate) fn post(stream: &mut (impl Read + Write), path: &str, body: &str) -> Result<()> {
    let trouble = || LabError::io(format!("calling {path}"));
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(trouble())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(trouble())?;
    if answer.starts_with("HTTP/1.1 20") {
        Ok(())
    } else {
        Err(LabError::answer(path, &answer))
    }
}
