//! Spaces on their way: into one file and out of it on another box, into a backup and back. Done by the subcommands with
//! their own rights; the daemon is asked for what is in a space, and takes in what was put together.

pub mod archive;
pub mod backup;
pub mod exports;
pub mod incoming;
mod lines;
pub mod objects;
pub mod publish;
pub mod restore;
pub mod schedule;
pub mod source;

use std::io::{IsTerminal, Write};

/// Tells a person at a terminal how far it is.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
}

impl Progress {
    /// Nothing is told where nobody looks.
    pub fn new() -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// So many events and files.
    pub fn tell(&self, events: u64, files: u64) {
        if self.shown {
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\r{events} messages and more, {files} files ");
            let _ = out.flush();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
