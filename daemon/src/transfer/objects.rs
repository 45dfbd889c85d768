//! Where a backup keeps bytes: each in a file that is named by its hash (BLAKE3, 64 hexadecimal digits) and never
//! changes, `objects/ab/HASH`, for its owner's eyes alone. What is there already is not written again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::backup::MANIFEST;
use crate::error::DaemonError;
use crate::store;

/// The directory of all objects, in that of a backup.
pub(super) const DIRECTORY: &str = "objects";

/// Longest papers, bytes.
pub const PAPERS_MAX: u64 = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Objects {
    backup: PathBuf,
    /// Written in this run.
    pub written: u64,
    /// Whether what is there is read before it counts.
    verify: bool,
}

/// Whether this is the name of an object.
pub fn is_hash(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl Objects {
    /// Below the directory of a backup.
    pub fn new(backup: &Path) -> Self {
        Self {
            backup: backup.to_path_buf(),
            written: 0,
            verify: false,
        }
    }

    /// The same for a run that may be told not to trust what is there.
    pub fn of_run(backup: &Path, verify: bool) -> Self {
        Self {
            verify,
            ..Self::new(backup)
        }
    }

    fn root(&self) -> PathBuf {
        self.backup.join(DIRECTORY)
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.root().join(hash.get(..2).unwrap_or("_")).join(hash)
    }

    /// Whether an object of this length is there.
    pub fn has(&self, hash: &str, size: u64) -> bool {
        fs::metadata(self.path(hash)).is_ok_and(|found| found.len() == size)
            && (!self.verify || self.check(hash).is_ok())
    }

    /// Takes bytes; their hash and length, once they are on disk. `name`: of what they are, for messages.
    pub fn put(&mut self, name: &str, bytes: &mut dyn Read) -> Result<(String, u64), DaemonError> {
        let root = self.root();
        store::make_dir(&root)?;
        let half = root.join("half.new");
        let failed = |error| DaemonError::file("write", &half, error);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&half)
            .map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = bytes.read(&mut buffer).map_err(|error| {
                DaemonError::Refused(format!("{name} cannot be backed up: {error}"))
            })?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(failed)?;
            size += read as u64;
        }
        let hash = hasher.finalize().to_hex().to_string();
        if self.has(&hash, size) {
            fs::remove_file(&half).map_err(failed)?;
            return Ok((hash, size));
        }
        file.sync_all().map_err(failed)?;
        let path = self.path(&hash);
        let parent = path.parent().unwrap_or(&root);
        store::make_dir(parent)?;
        fs::rename(&half, &path)
            .and_then(|()| File::open(parent)?.sync_all())
            .and_then(|()| File::open(&root)?.sync_all())
            .map_err(failed)?;
        self.written += 1;
        Ok((hash, size))
    }

    /// Takes a text, which is not written if it is there.
    pub fn put_text(&mut self, text: &str) -> Result<String, DaemonError> {
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        if self.has(&hash, text.len() as u64) {
            return Ok(hash);
        }
        self.put("a text", &mut text.as_bytes())
            .map(|(hash, _)| hash)
    }

    /// A small object as text, up to `most` bytes.
    pub fn small(&self, hash: &str, most: u64) -> Result<String, DaemonError> {
        let mut text = String::new();
        let failed = |error| self.trouble(hash, error);
        let mut from = self.open(hash).map_err(failed)?;
        let read = (&mut from).take(most + 1).read_to_string(&mut text);
        read.map_err(failed)?;
        if text.len() as u64 > most {
            return Err(self.unusable(format!("the object {hash} is longer than {most} bytes")));
        }
        Ok(text)
    }

    /// The bytes of an object, once they were read to the end and are what its name says: a damaged one is told before
    /// anything is made of it.
    pub fn whole(&self, hash: &str) -> Result<Checked, DaemonError> {
        let checked = self.check(hash).and_then(|()| self.open(hash));
        checked.map_err(|error| self.trouble(hash, error))
    }

    /// An error of reading an object. What is damaged, or missing while the backup is there, is told as unusable: the rest
    /// of the backup is not. Anything else may be over in a moment, like a stick that came loose.
    fn trouble(&self, hash: &str, error: io::Error) -> DaemonError {
        let is_gone = error.kind() == io::ErrorKind::NotFound
            || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        let is_there = || {
            let manifest = File::open(self.backup.join(MANIFEST));
            manifest.is_ok_and(|mut manifest| manifest.read(&mut [0]).is_ok())
        };
        if error.kind() == io::ErrorKind::InvalidData || (is_gone && is_there()) {
            let what = match error.kind() {
                io::ErrorKind::InvalidData => error.to_string(),
                _ => format!("the object {hash} of the backup cannot be read: {error}"),
            };
            self.unusable(what)
        } else {
            DaemonError::file("read", &self.path(hash), error)
        }
    }

    /// An error of putting an object into a file. A name that no file may have is the backup's fault.
    pub fn not_put(&self, path: &Path, name: &str, error: io::Error) -> DaemonError {
        match error.kind() {
            io::ErrorKind::InvalidData => self.unusable(format!("{name}: {error}")),
            _ => DaemonError::file("write", &path.join(name), error),
        }
    }

    /// An error that says what is wrong with the backup.
    pub fn unusable(&self, error: impl ToString) -> DaemonError {
        DaemonError::Unusable {
            path: self.backup.clone(),
            what: error.to_string(),
        }
    }

    /// The bytes of an object. Reading them ends in an error if they are not what the name says.
    fn open(&self, hash: &str) -> io::Result<Checked> {
        Ok(Checked {
            file: File::open(self.path(hash))?,
            hasher: blake3::Hasher::new(),
            expected: hash.to_owned(),
        })
    }

    /// Whether an object is there and its bytes are what its name says: before a part of it is taken for good.
    pub fn check(&self, hash: &str) -> io::Result<()> {
        io::copy(&mut self.open(hash)?, &mut io::sink()).map(drop)
    }

    /// Removes every object that is not named; what cannot be removed is left for the next run.
    pub fn keep_only(&self, named: &HashSet<String>) {
        for folder in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            for object in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = object.file_name();
                if name
                    .to_str()
                    .is_some_and(|name| is_hash(name) && !named.contains(name))
                {
                    let _ = fs::remove_file(object.path());
                }
            }
        }
    }
}

/// Bytes whose hash is looked at in the end.
#[derive(Debug)]
pub struct Checked {
    file: File,
    hasher: blake3::Hasher,
    expected: String,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if read == 0
            && !buffer.is_empty()
            && self.hasher.finalize().to_hex().as_str() != self.expected
        {
            let what = format!("the object {} of the backup is damaged", self.expected);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_once_checked_when_read_and_removed_when_nobody_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut objects = Objects::new(dir.path());
        let (hash, size) = objects.put("bytes", &mut &b"bytes"[..]).unwrap();
        assert_eq!(objects.put_text("bytes").unwrap(), hash);
        assert_eq!((objects.written, size), (1, 5));
        let mut text = String::new();
        objects
            .open(&hash)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "bytes");
        let other = objects.put_text("other").unwrap();
        objects.keep_only(&HashSet::from([hash.clone()]));
        assert!(objects.has(&hash, 5) && !objects.has(&other, 5));
        fs::write(objects.path(&hash), "bytez").unwrap();
        let error = objects.open(&hash).unwrap().read_to_string(&mut text);
        assert!(error.unwrap_err().to_string().contains("damaged"));
        assert!(objects.check(&hash).is_err() && objects.check(&other).is_err());
    }
}
