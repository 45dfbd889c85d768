//! What can go wrong with a home as a whole.

use std::path::PathBuf;

/// Why a home cannot be opened, or an account not be kept.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
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
    /// A key is gone, and people are here.
    #[error(
        "{path} is missing although there is data beside it: restore it from a backup, or move the directory of the home away and run `warrend restore BACKUP`"
    )]
    KeyMissing {
        /// Its file.
        path: PathBuf,
    },
    /// Certificates of authorities cannot be used.
    #[error("{path}: {what}; `ca_file` names a file with certificates (PEM)")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS cannot be used.
    #[error("TLS cannot be used: {0}")]
    Tls(String),
    /// This program cannot use relays of the Internet.
    #[error(
        "this program was built without the feature `uplink` and cannot use relays of the Internet: list none, or use one that was built with it"
    )]
    NoUplink,
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}
