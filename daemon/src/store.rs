//! Small versioned files of the daemon's own: one line `warren-KIND VERSION VALUE`, replaced atomically and durably.
//! Never holds anything large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::DaemonError;

/// Longest file this reads, bytes.
pub const FILE_MAX: u64 = 1024;
const VERSION: &str = "1";

/// Makes a directory for this user alone, and those above it.
pub fn make_dir(path: &Path) -> Result<(), DaemonError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| DaemonError::file("make the directory", path, error))
}

/// Keeps every other daemon out of a state directory for as long as the result lives.
pub fn lock(directory: &Path) -> Result<File, DaemonError> {
    let path = directory.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| DaemonError::file("open", &path, error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DaemonError::StateInUse(directory.to_path_buf())),
        Err(error) => Err(DaemonError::file("lock", &path, error.into())),
    }
}

/// Replaces `path` with `bytes`: after a power cut either the old or the new content is there. Returns once it is on disk.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DaemonError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        write_beside(&temporary, bytes)?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|error| DaemonError::file("write", path, error))
}

/// Reads a text of at most `most` bytes that `parse` understands; `None` if there is no file. `expected` says what it
/// should be.
pub fn load<T>(
    path: &Path,
    most: u64,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &'static str,
) -> Result<Option<T>, DaemonError> {
    let Some(bytes) = read(path, most)? else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(&bytes).ok().and_then(parse);
    parsed.map(Some).ok_or_else(|| DaemonError::Format {
        path: path.to_path_buf(),
        expected,
    })
}

/// Writes a file that must not exist yet, readable by this user alone: all of it appears, or nothing. Returns once it is on
/// disk.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), DaemonError> {
    let mut half = path.as_os_str().to_owned();
    half.push(".half");
    let half = Path::new(&half);
    let write = || -> io::Result<()> {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        write_beside(half, bytes)?;
        // Unlike a rename it takes no other's place. Some file systems have no second names.
        match fs::hard_link(half, path) {
            Ok(()) => fs::remove_file(half)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) => fs::rename(half, path)?,
        }
        sync_parent(path)
    };
    write().map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(half);
            DaemonError::Exists(path.to_path_buf())
        } else {
            DaemonError::file("write", path, error)
        }
    })
}

/// Writes what is to take its place by a name of its own. Returns once it is on disk.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The whole of a small file; `None` if there is none.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, DaemonError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DaemonError::file("read", path, error)),
        Ok(file) => file,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DaemonError::file("read", path, error))?;
    if bytes.len() as u64 > limit {
        let source = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {limit} bytes"),
        );
        return Err(DaemonError::file("read", path, source));
    }
    Ok(Some(bytes))
}

/// The line for a value of a kind.
pub fn line(kind: &str, value: &str) -> String {
    format!("warren-{kind} {VERSION} {value}\n")
}

/// The value in a line of a kind, if it is one of this version.
pub fn parse_line<'a>(kind: &str, bytes: &'a [u8]) -> Option<&'a str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let value = text
        .strip_prefix("warren-")?
        .strip_prefix(kind)?
        .strip_prefix(' ')?
        .strip_prefix(VERSION)?
        .strip_prefix(' ')?;
    (!value.is_empty() && !value.contains(char::is_whitespace)).then_some(value)
}

/// The number in a counter file; `None` if there is no file.
pub fn read_number(path: &Path, kind: &'static str) -> Result<Option<u64>, DaemonError> {
    let Some(bytes) = read(path, FILE_MAX)? else {
        return Ok(None);
    };
    parse_line(kind, &bytes)
        .and_then(|value| value.parse().ok())
        .map(Some)
        .ok_or_else(|| DaemonError::Format {
            path: path.to_path_buf(),
            expected: "a number in the form this version writes",
        })
}

/// Writes a counter file.
pub fn write_number(path: &Path, kind: &'static str, value: u64) -> Result<(), DaemonError> {
    replace(path, line(kind, &value.to_string()).as_bytes())
}
