//! The files of a space (Blossom): uploads, downloads, and who may do and see what.
//!
//! | file | what |
//! |---|---|
//! | `routes` | which request goes where |
//! | `auth` | who asks (BUD-11) |
//! | `policy` | who may do and see what, and how much |
//! | `places` | who transfers how much at a time |
//! | `download`, `range`, `media` | GET and HEAD of a file (BUD-01) |
//! | `upload`, `resume`, `receive` | PUT, HEAD, PATCH and DELETE of `/upload` (BUD-02, BUD-06, our own) |
//! | `picture` | the picture of the space itself |
//! | `manage`, `mirror`, `report` | deletion and lists (BUD-12), copies (BUD-04), reports (BUD-09) |
//! | `blobs` | where the bytes lie |

pub mod auth;
mod blobs;
mod download;
pub mod manage;
pub mod media;
pub mod mirror;
mod picture;
mod places;
mod policy;
pub mod range;
mod receive;
mod refusal;
mod report;
mod resume;
mod routes;
mod upload;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use nostr::key::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::FileLimits;
use crate::core::Core;
use crate::disk::Disk;
use crate::rate::{People, Rate};
use crate::record::ChannelId;
use blobs::{Blobs, EmbeddedBlobs, Sweep, UploadKey};
use places::{Place, Places};
use refusal::Refusal;
use resume::Turn;

pub use blobs::{BlobError, FileHash};
#[cfg(feature = "s3")]
pub use blobs::{ObjectExtras, Objects};
pub use picture::{PICTURE_BYTES, PictureError, keep_picture, kind_of as picture_kind};
pub use routes::respond;

/// A future that is boxed, so that [`Fetcher`] can be used behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A reliable, ordered stream of bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Any byte stream.
pub type BoxStream = Box<dyn ByteStream>;

/// What opens streams to other spaces, to copy files from (BUD-04). The host of the space implements it. A space never
/// opens a connection by itself, and never to anything but a service.
pub trait Fetcher: Send + Sync + 'static {
    /// Opens a stream to the space with this service name (52 base32 characters, without `.warren`). It gives up by
    /// itself after a while, and is cancelled by dropping.
    fn open<'a>(&'a self, service: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;
}

/// The files of one space.
pub struct Files {
    blobs: Box<dyn Blobs>,
    limits: FileLimits,
    /// Bytes that are on their way in, by person, for uploads that are in no table yet.
    reserved: Mutex<HashMap<PublicKey, u64>>,
    rates: Mutex<People>,
    transfers: Arc<Places>,
    /// Uploads that somebody is writing and that can be resumed.
    turns: Mutex<HashMap<UploadKey, Arc<Turn>>>,
    fetcher: Mutex<Option<Arc<dyn Fetcher>>>,
    /// Held for reading while rights are judged by the channels as they are, and for writing while a channel goes: so that
    /// nothing of a channel that was deleted is ever seen in one of the same name that was made after it.
    gate: RwLock<()>,
}

impl Files {
    /// Opens the files on a disk, with their tables at a path.
    pub fn open(disk: Arc<dyn Disk>, tables: &Path, limits: FileLimits) -> Result<Self, BlobError> {
        Ok(Self::new(EmbeddedBlobs::open(disk, tables)?, limits))
    }

    /// The same with whole files on an S3 store; the disk has what is not whole yet.
    #[cfg(feature = "s3")]
    pub fn open_with(
        disk: Arc<dyn Disk>,
        tables: &Path,
        objects: Objects,
        limits: FileLimits,
    ) -> Result<Self, BlobError> {
        let blobs = EmbeddedBlobs::open_with(disk, tables, objects)?;
        Ok(Self::new(blobs, limits))
    }

    fn new(blobs: EmbeddedBlobs, limits: FileLimits) -> Self {
        let rate = Rate {
            per_second: f64::from(limits.changes_per_minute) / 60.0,
            burst: f64::from(limits.change_burst),
        };
        Self {
            blobs: Box::new(blobs),
            reserved: Mutex::default(),
            rates: Mutex::new(People::new(rate)),
            transfers: Places::new(&limits),
            turns: Mutex::default(),
            fetcher: Mutex::default(),
            gate: RwLock::new(()),
            limits,
        }
    }

    /// By which way files of other spaces are reached; `None`: none are.
    pub fn set_fetcher(&self, fetcher: Option<Arc<dyn Fetcher>>) {
        *self.fetcher.lock().unwrap_or_else(PoisonError::into_inner) = fetcher;
    }

    fn fetcher(&self) -> Option<Arc<dyn Fetcher>> {
        self.fetcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes who may see which file beside the files, for whoever copies them.
    pub fn note_rights(&self) -> Result<(), BlobError> {
        self.blobs.note_rights()
    }

    /// Takes what such a list says of files that were copied here.
    pub fn take_rights(&self) -> Result<(), BlobError> {
        self.blobs.take_rights()
    }

    /// Lets go of the files: the space is closing.
    pub fn close(&self) {
        self.blobs.close();
    }

    /// Bytes of all files on disk, unfinished uploads not counted.
    pub fn bytes(&self) -> u64 {
        self.blobs.total().bytes
    }

    /// Puts away what is too old: unfinished uploads, and files where they are kept for a time only.
    pub fn sweep(&self, now: u64) -> Result<(), BlobError> {
        self.blobs.sweep(Sweep {
            unfinished_before: now.saturating_sub(self.limits.unfinished_seconds),
            uploaded_before: self.oldest(now),
        })
    }

    /// Files that were uploaded before this second have expired.
    fn oldest(&self, now: u64) -> u64 {
        self.limits
            .keep_seconds
            .map_or(0, |seconds| now.saturating_sub(seconds) + 1)
    }

    /// Forgets the files of channels that were deleted before the space was closed, where that was not done in time.
    /// `deletions`: how often each channel was deleted in all the life of the space.
    pub fn catch_up(&self, deletions: &HashMap<ChannelId, u32>) -> Result<(), BlobError> {
        for (channel, count) in deletions {
            self.blobs.forget_channel(channel, *count)?;
        }
        Ok(())
    }

    /// Changes the channels, and forgets the files of those that were deleted, once for each deletion.
    pub fn channels_change(&self, deleted: &[ChannelId], change: impl FnOnce()) {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        change();
        for channel in deleted {
            if let Err(error) = self.blobs.channel_deleted(channel) {
                log::error!(
                    "the files of a deleted channel stay on the disk until the next start: {error}"
                );
            }
        }
    }

    /// Whether there is anything of a person; also when that cannot be told.
    pub fn knows(&self, person: &PublicKey) -> bool {
        self.blobs.knows(person).unwrap_or_else(|error| {
            log::error!("it cannot be told what files somebody has: {error}");
            true
        })
    }

    /// Removes what somebody who vanishes uploaded and reported up to a second. What is being uploaded at the moment is
    /// refused at its end, because the person is no member any more.
    pub fn forget_person(&self, person: &PublicKey, until: u64) -> Result<(), BlobError> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.blobs.forget_person(person, until)
    }

    /// Takes one of a person's changes.
    fn take_change(&self, person: &PublicKey) -> Result<(), Refusal> {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.take(person, Instant::now()) {
            Ok(())
        } else {
            Err(Refusal::TooFast)
        }
    }

    /// A place among the transfers, for a member, or for somebody else (`None`).
    fn transfer(&self, holder: Option<PublicKey>) -> Result<Place, Refusal> {
        self.transfers.take(holder)
    }
}

/// Does work that blocks: reads and writes files, checks signatures.
async fn blocking<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&Arc<Core>) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let core = Arc::clone(core);
    tokio::task::spawn_blocking(move || work(&core))
        .await
        .unwrap_or(Err(Refusal::Trouble))
}
