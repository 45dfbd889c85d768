//! What can go wrong with a space as a whole. A refused message is not here: it is an answer to its sender.

use std::path::PathBuf;

/// How a space comes back from a backup.
const RESTORE: &str = "restore the space from a backup: `warrend space remove NAME --yes` (one of the configuration file: move its directory and its key in `keys` away), stop the daemon, `warrend restore BACKUP`";

/// Why a space cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// The service name is not 52 lowercase base32 characters.
    #[error(
        "the service name `{0}` is not 52 lowercase base32 characters: take it from the space's key file"
    )]
    ServiceName(String),
    /// A file could not be read or written.
    #[error(
        "{action} {path}: {source}; check that the disk is not full and that the directory belongs to the daemon"
    )]
    File {
        /// What was tried.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: {what}; restore it from a backup, or move it away to begin anew without it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key's file is not what its name says.
    #[error("{path}: {what}; {RESTORE}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The journal is not what was written.
    #[error("the journal {path} is damaged: {what}; {RESTORE}")]
    Journal {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// What was made together with the space is gone, and the rest of it is there.
    #[error("{path} is missing although there is data ({data}): {RESTORE}")]
    Missing {
        /// What is gone.
        path: PathBuf,
        /// What is there.
        data: PathBuf,
    },
    /// The index could not be used, not even after it was built anew.
    #[error(
        "the index {path}: {source}; it can be removed while the daemon is stopped and is then built anew"
    )]
    Index {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A server that keeps events or files, or what is said of it, cannot be used.
    #[error("{0}")]
    Store(String),
    /// A thread could not be started.
    #[error(
        "cannot start a thread for the space: {0}; the machine is out of memory or of processes"
    )]
    Thread(std::io::Error),
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}
