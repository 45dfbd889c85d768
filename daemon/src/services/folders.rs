//! One directory for each service that a command made, below `spaces/` or `sites/` in the state directory. A directory
//! is put together under another name and appears by one rename; it goes in the same way. So after `kill -9` or a power
//! cut it is there whole, or not at all.
//!
//! | name | what |
//! |---|---|
//! | `ID` | a service |
//! | `.incoming-...` | is being put together; removed at the next start |
//! | `.removed-ID` | was removed; the rest of it goes at the next start |

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::values::SpaceId;
use crate::error::DaemonError;
use crate::store;

/// Before the names of directories that are being put together.
pub const INCOMING: &str = ".incoming-";
const REMOVED: &str = ".removed-";

/// See the module.
#[derive(Clone, Debug)]
pub struct Folders(PathBuf);

impl Folders {
    /// Takes a directory, which need not exist yet.
    pub const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The directory of a service.
    pub fn of(&self, id: &str) -> PathBuf {
        self.0.join(id)
    }

    /// The directory in which a service is put together.
    pub fn incoming(&self, name: &str) -> PathBuf {
        self.0.join(format!("{INCOMING}{name}"))
    }

    /// Removes what a crash left half-done.
    pub fn tidy(&self) -> Result<(), DaemonError> {
        self.tidy_after(|_| Ok(()))
    }

    /// The same after something was done for each directory. One for which it fails stays until the next start.
    pub fn tidy_after(
        &self,
        before: impl Fn(&Path) -> Result<(), DaemonError>,
    ) -> Result<(), DaemonError> {
        for name in self.names()? {
            if name.starts_with(INCOMING) || name.starts_with(REMOVED) {
                let path = self.0.join(name);
                match before(&path) {
                    Ok(()) => remove_all(&path)?,
                    Err(error) => log::error!("what was removed is not yet gone: {error}"),
                }
            }
        }
        Ok(())
    }

    /// The ids of directories that hold a file of this name, sorted.
    pub fn with(&self, file: &str) -> Result<Vec<String>, DaemonError> {
        let mut ids = self.names()?;
        ids.retain(|id| id.parse::<SpaceId>().is_ok() && self.of(id).join(file).exists());
        ids.sort();
        Ok(ids)
    }

    /// Those of some ids that are still here.
    pub fn still<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a String> {
        ids.iter().filter(|id| self.of(id).exists())
    }

    fn names(&self) -> Result<Vec<String>, DaemonError> {
        let failed = |error| DaemonError::file("read", &self.0, error);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }

    /// An id made of `wanted` that nothing here has.
    pub fn free_id(&self, wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
        let free =
            |id: &String| !is_taken(id) && !self.of(id).exists() && !self.incoming(id).exists();
        (1_u32..)
            .map(|n| match n {
                1 => wanted.to_owned(),
                n => format!("{wanted}-{n}"),
            })
            .find(free)
            .unwrap_or_default()
    }

    /// An empty directory in which a service is put together.
    pub fn begin(&self, name: &str) -> Result<PathBuf, DaemonError> {
        let path = self.incoming(name);
        remove_all(&path)?;
        store::make_dir(&path)?;
        Ok(path)
    }

    /// What was put together appears as `id`. Returns once all of it, and its name, is on disk.
    pub fn commit(&self, name: &str, id: &str) -> Result<(), DaemonError> {
        let (from, to) = (self.incoming(name), self.of(id));
        if to.exists() {
            return Err(DaemonError::Exists(to));
        }
        let moved = sync_tree(&from)
            .and_then(|()| fs::rename(&from, &to))
            .and_then(|()| File::open(&self.0)?.sync_all());
        moved.map_err(|error| DaemonError::file("make", &to, error))
    }

    /// Removes a service. It is gone as soon as its name is.
    pub fn remove(&self, id: &str) -> Result<(), DaemonError> {
        self.remove_after(id, |_| Ok(()))
    }

    /// The same after something was done for the directory, once it has lost its name. If that fails, the next start
    /// tries again.
    pub fn remove_after(
        &self,
        id: &str,
        before: impl Fn(&Path) -> Result<(), DaemonError>,
    ) -> Result<(), DaemonError> {
        let gone = self.0.join(format!("{REMOVED}{id}"));
        if gone.exists() {
            before(&gone)?;
            remove_all(&gone)?;
        }
        let path = self.of(id);
        fs::rename(&path, &gone)
            .and_then(|()| File::open(&self.0)?.sync_all())
            .map_err(|error| DaemonError::file("remove", &path, error))?;
        before(&gone)?;
        remove_all(&gone)
    }
}

/// Removes a directory with all in it; links are not followed. None there is no error.
pub fn remove_all(path: &Path) -> Result<(), DaemonError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DaemonError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Returns once a directory, all files below it and their names are on disk.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_and_goes_whole_and_what_a_crash_left_is_tidied() {
        let parent = tempfile::tempdir().unwrap();
        let folders = Folders::new(parent.path().join("spaces"));
        folders.tidy().unwrap();
        assert!(folders.with("x").unwrap().is_empty());
        let incoming = folders.begin("garden").unwrap();
        fs::write(incoming.join("x"), "1").unwrap();
        assert!(folders.with("x").unwrap().is_empty(), "not there yet");
        folders.commit("garden", "garden").unwrap();
        assert_eq!(folders.with("x").unwrap(), ["garden"]);
        assert_eq!(folders.free_id("garden", |_| false), "garden-2");
        assert_eq!(folders.free_id("pond", |id| id == "pond"), "pond-2");

        fs::write(folders.begin("pond").unwrap().join("x"), "half").unwrap();
        fs::create_dir(parent.path().join("spaces/.removed-old")).unwrap();
        folders.tidy().unwrap();
        assert_eq!(folders.names().unwrap(), ["garden"]);

        folders.begin("garden").unwrap();
        assert!(
            folders.commit("garden", "garden").is_err(),
            "nothing is overwritten"
        );
        assert_eq!(fs::read(folders.of("garden").join("x")).unwrap(), b"1");
        folders.remove("garden").unwrap();
        folders.tidy().unwrap();
        assert!(folders.names().unwrap().is_empty());
    }
}
