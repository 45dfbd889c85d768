//! The few things that all files of a home have in common: their directory, and how they are written and removed so
//! that neither a kill nor a loss of power leaves half of one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::HomeError;

/// Makes a [`HomeError`] that names the file.
pub fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> HomeError + use<'a> {
    move |source| HomeError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Makes a directory (mode 0700) and those above it, if they are missing.
pub fn make_dir(path: &Path) -> Result<(), HomeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed("make", path))
}

/// The files of a directory with this ending. What a write that was cut short left behind is removed on the way.
pub fn list(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, HomeError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = entry.map_err(failed("read", dir))?.path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ending) if ending == extension => found.push(path),
            Some("new") => drop(fs::remove_file(path)),
            _ => {}
        }
    }
    Ok(found)
}

/// Writes a file (mode 0600) so that after a loss of power it is either the old one or the new one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_names(path)
}

/// Removes a file for good; it is no error when it is gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_names(path),
    }
}

/// Makes sure that what was renamed or removed beside this file stays so.
pub fn sync_names(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
