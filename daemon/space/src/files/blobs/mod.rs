//! What a space keeps files in: one trait, one set of tests that every store passes. A store never asks who is reading;
//! it is told what to keep and gives back who uploaded what into which channel.

#[cfg(test)]
mod conformance;
mod draft;
mod embedded;
#[cfg(feature = "s3")]
mod s3;
mod tables;
pub mod travel;

use std::fmt;
use std::io;

use nostr::key::PublicKey;

use crate::record::ChannelId;

pub use embedded::EmbeddedBlobs;
#[cfg(feature = "s3")]
pub use s3::{ObjectExtras, Objects};

/// The SHA-256 of a file's bytes: its name in Blossom (BUD-00).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Characters of a hash as hex.
    pub const CHARS: usize = 64;

    /// Takes the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 lowercase hex characters.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != Self::CHARS {
            return None;
        }
        let written = data_encoding::HEXLOWER.decode_mut(text.as_bytes(), &mut bytes);
        written.is_ok().then_some(Self(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No room is left. Nothing of the call is left either.
    #[error("the disk is full")]
    Full,
    /// A file.
    #[error("a file: {0}")]
    Disk(io::Error),
    /// What is known of the files.
    #[error("the table of files: {0}")]
    Tables(rusqlite::Error),
    /// A newer program wrote the table.
    #[error(
        "a newer program made the table of files (version {0}, this one knows {1}); install that one again"
    )]
    Newer(i64, i64),
    /// The server that keeps files.
    #[error("the S3 store: {0}")]
    #[cfg_attr(not(feature = "s3"), allow(dead_code))] // there is none
    Server(String),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Disk(error),
        }
    }
}

impl From<rusqlite::Error> for BlobError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Tables(error),
        }
    }
}

/// One person's upload of a file into one channel. The bytes are stored once, however many uploaded them; who may see
/// them is decided for each right by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// The file.
    pub hash: FileHash,
    /// Its length in bytes.
    pub size: u64,
    /// Who uploaded it.
    pub uploader: PublicKey,
    /// Into which channel; `None`: for everybody who reaches the space.
    pub channel: Option<ChannelId>,
    /// The media type the uploader gave it.
    pub media_type: String,
    /// When, seconds since 1970.
    pub uploaded: u64,
}

/// Which unfinished upload: one for each person, file and channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadKey {
    /// Who uploads.
    pub uploader: PublicKey,
    /// What the whole file's hash is to be.
    pub hash: FileHash,
    /// Into which channel.
    pub channel: Option<ChannelId>,
}

/// What is known of an unfinished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes that are safely on disk.
    pub kept: u64,
    /// Bytes of the whole file.
    pub size: u64,
    /// The media type that was given at its beginning.
    pub media_type: String,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files.
    pub files: u64,
    /// Their bytes; of a person each file counts once.
    pub bytes: u64,
    /// Unfinished uploads.
    pub unfinished: u64,
    /// The bytes they will have when they are finished.
    pub unfinished_bytes: u64,
}

/// What to put away, see [`Blobs::sweep`].
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    /// Unfinished uploads that were last written before this second.
    pub unfinished_before: u64,
    /// Rights from before this second.
    pub uploaded_before: u64,
}

/// A person's complaint about a file (BUD-09).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub hash: FileHash,
    /// The id of the signed event.
    pub event_id: [u8; 32],
    /// Who complains.
    pub reporter: PublicKey,
    /// The signed event as JSON.
    pub event: String,
}

/// A file that is being written. Dropping it forgets it, except for what [`Draft::keep`] made safe of an upload that can
/// be resumed.
pub trait Draft: Send {
    /// Adds bytes at the end and to the hash.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;

    /// Bytes it has.
    fn length(&self) -> u64;

    /// Makes what was written safe from a loss of power, so that the upload can go on from here later. `now` is in
    /// seconds since 1970.
    fn keep(&mut self, now: u64) -> Result<(), BlobError>;

    /// The hash of all bytes. Reads again what was written before a restart.
    fn hash(&mut self) -> Result<FileHash, BlobError>;

    /// Makes it a file of the space, with one right. When this returns, it survives a loss of power; after an error it is
    /// not there. The draft must have the hash and size that the right names.
    fn publish(self: Box<Self>, right: &Right) -> Result<(), BlobError>;
}

/// The bytes of a file. They stay readable while somebody has them open, also after the file was deleted.
pub trait Content: Send + Sync {
    /// Fills the buffer from `offset` on, or fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A place for files. All calls block.
pub trait Blobs: Send + Sync {
    /// Begins a file that is written in one go.
    fn draft(&self) -> Result<Box<dyn Draft>, BlobError>;

    /// Begins an upload that can be resumed, or goes on with it at [`Unfinished::kept`].
    fn resume(
        &self,
        key: &UploadKey,
        size: u64,
        media_type: &str,
        now: u64,
    ) -> Result<Box<dyn Draft>, BlobError>;

    /// An upload that can be resumed.
    fn unfinished(&self, key: &UploadKey) -> Result<Option<Unfinished>, BlobError>;

    /// Gives an unfinished upload up; whether there was one. Nobody may be writing it.
    fn abandon(&self, key: &UploadKey) -> Result<bool, BlobError>;

    /// Opens a file.
    fn open(&self, hash: &FileHash) -> Result<Option<Box<dyn Content>>, BlobError>;

    /// Who uploaded a file into which channel; of each channel the first who did.
    fn rights(&self, hash: &FileHash) -> Result<Vec<Right>, BlobError>;

    /// One right.
    fn right(&self, key: &UploadKey) -> Result<Option<Right>, BlobError>;

    /// Calls `each` for a person's rights, newest first and of one second by hash, until it says `false`.
    fn uploaded_by(
        &self,
        person: &PublicKey,
        each: &mut dyn FnMut(Right) -> bool,
    ) -> Result<(), BlobError>;

    /// Removes those rights to a file that `which` names, and the bytes with the last one. How many were removed; they
    /// are gone from the file system when this returns.
    fn remove(
        &self,
        hash: &FileHash,
        which: &mut dyn FnMut(&Right) -> bool,
    ) -> Result<usize, BlobError>;

    /// Writes a list of all rights beside the files, as [`travel`] has it, so that whoever copies the files has it too.
    fn note_rights(&self) -> Result<(), BlobError>;

    /// Takes the rights of such a list to files that were copied here. Each file must be what its name says.
    fn take_rights(&self) -> Result<(), BlobError>;

    /// Lets go of everything on disk: another process, or another life of the space in this one, may open it. Every call
    /// after this fails.
    fn close(&self);

    /// Removes all rights and unfinished uploads of a channel that was deleted `deletions` times, unless this was done
    /// for that many deletions before.
    fn forget_channel(&self, channel: &ChannelId, deletions: u32) -> Result<(), BlobError>;

    /// The same for one more deletion than is known.
    fn channel_deleted(&self, channel: &ChannelId) -> Result<(), BlobError>;

    /// Whether there is anything of a person: files, unfinished uploads or reports.
    fn knows(&self, person: &PublicKey) -> Result<bool, BlobError>;

    /// Removes all that a person uploaded, began to upload and reported up to a second. Files that others uploaded too
    /// stay for them. Nobody may be writing one of the uploads.
    fn forget_person(&self, person: &PublicKey, until: u64) -> Result<(), BlobError>;

    /// Puts away what is too old.
    fn sweep(&self, sweep: Sweep) -> Result<(), BlobError>;

    /// What a person has.
    fn usage(&self, person: &PublicKey) -> Result<Usage, BlobError>;

    /// What there is in all.
    fn total(&self) -> Usage;

    /// Keeps a report, unless it is there already or the reporter has `most` of them. Beyond `all` the oldest go.
    fn report(&self, report: &Report, most: usize, all: usize) -> Result<(), BlobError>;

    /// The reports, newest first.
    fn reports(&self) -> Result<Vec<Report>, BlobError>;
}
