//! Room on the disk that the daemon keeps for itself: a file that is given up when the disk is full, so that a box starts
//! all the same, and a space can be moved away from it. Holds nothing of anybody's.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const FILE: &str = "reserve";
/// What it begins with.
const HEAD: &[u8] = b"warren-reserve 1 -\n";
/// How much it keeps, bytes: a start and the lists of an export take a few dozen KiB.
const SIZE: usize = 256 * 1024;
/// Bytes that are written at a time: where there is less room, it keeps what there is.
const PIECE: usize = 4096;

/// The room that is kept in a state directory.
#[derive(Debug, Clone)]
pub struct Reserve(PathBuf);

impl Reserve {
    /// The one of this state directory.
    pub fn of(state: &Path) -> Self {
        Self(state.join(FILE))
    }

    /// Keeps the room from now on, or as much of it as there is.
    pub fn keep(&self) {
        if fs::metadata(&self.0).is_ok_and(|found| found.len() >= SIZE as u64) {
            return;
        }
        if let Err(error) = self.fill() {
            log::warn!("the disk is full, or nearly: {}: {error}", self.0.display());
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.0)?;
        file.write_all(HEAD)?;
        let mut piece = [0; PIECE];
        for _ in 0..SIZE / PIECE {
            // Random: file systems of routers compress, and zeros would keep nothing.
            getrandom::fill(&mut piece).map_err(|error| io::Error::other(error.to_string()))?;
            file.write_all(&piece)?;
        }
        file.sync_all()
    }

    /// Does what needs a little room; if it fails and room was kept, once more without that.
    pub fn lend<T, E>(&self, mut work: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        work().or_else(|error| match fs::remove_file(&self.0) {
            Ok(()) => work(),
            Err(_) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Reserve, SIZE};

    #[test]
    fn the_room_is_lent_once_and_kept_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        assert_eq!(reserve.lend(|| Err::<(), _>("full")), Err("full"));
        reserve.keep();
        let kept = dir.path().join("reserve");
        assert!(std::fs::metadata(&kept).unwrap().len() >= SIZE as u64);
        // As on a full disk: it works only while nothing is kept.
        let work = || if kept.exists() { Err("full") } else { Ok(7) };
        assert_eq!(reserve.lend(work), Ok(7));
        assert!(!kept.exists());
        reserve.keep();
        assert!(
            std::fs::read(&kept)
                .unwrap()
                .starts_with(b"warren-reserve 1 ")
        );
    }
}
