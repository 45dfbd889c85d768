//! Work inside a network namespace: a thread of our own enters it, opens what is wanted there, and ends. A socket stays in
//! the namespace it was opened in, so the caller may use it from anywhere. Never changes the caller's own namespace.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{LabError, Result};

/// Where `ip netns` keeps namespaces.
const FOLDER: &str = "/run/netns";

/// The file that stands for a namespace.
pub fn path(namespace: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(namespace)
}

/// Names of all namespaces of this machine that have one.
pub fn all() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// Runs `work` on a thread inside the namespace.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = File::open(path(namespace))
        .map_err(LabError::io(format!("opening namespace {namespace}")))?;
    thread::scope(|scope| {
        let handle = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| LabError::io(format!("entering namespace {namespace}"))(e.into()))?;
            work()
        });
        handle.join().unwrap_or_else(|_| {
            Err(LabError::Unknown(format!(
                "result from namespace {namespace}: its thread panicked"
            )))
        })
    })
}

/// Whether this process may make namespaces.
pub fn are_possible() -> bool {
    rustix::process::geteuid().is_root()
}
