//! The space's own secp256k1 key (NIP-11's `self`), in a file of its own that only the daemon's user may read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nostr::key::Keys;

use crate::error::SpaceError;

/// First line of the file: what it is, and its version.
const FIRST_LINE: &str = "warren space key 1";

/// Reads the key, or makes one when there is no file yet.
pub fn open(path: &Path) -> Result<Keys, SpaceError> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).ok_or_else(|| SpaceError::Key {
            path: path.to_owned(),
            what: format!("not a key file: it must begin with the line `{FIRST_LINE}`"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys = Keys::generate();
            write(path, &keys).map_err(|source| SpaceError::File {
                action: "write",
                path: path.to_owned(),
                source,
            })?;
            Ok(keys)
        }
        Err(source) => Err(SpaceError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

fn parse(text: &str) -> Option<Keys> {
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    Keys::parse(lines.next()?.trim()).ok()
}

fn write(path: &Path, keys: &Keys) -> io::Result<()> {
    replace(
        path,
        &format!("{FIRST_LINE}\n{}\n", keys.secret_key().to_secret_hex()),
    )
}

/// Writes a small file that only the daemon's user may read, whole or not at all. Returns once it is on disk.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_stays_the_same_and_is_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("space.key");
        let first = open(&path).unwrap().public_key();
        assert_eq!(open(&path).unwrap().public_key(), first);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(open(&path), Err(SpaceError::Key { .. })));
    }
}
