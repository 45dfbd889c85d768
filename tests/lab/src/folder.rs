//! A temporary folder for what runs without namespaces.

use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};

/// Removed with its content when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder whose name says what it is for.
    pub fn make(what: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("warren-{what}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(LabError::io(format!("making {}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system's own cleaning of temporary folders takes what could not be removed here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
