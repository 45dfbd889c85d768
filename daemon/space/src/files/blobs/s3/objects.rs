//! The store as the rest sees it: objects by their hash. All calls block.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use hyper::body::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};

use super::holds::Holds;
use crate::background::Background;
use crate::disk::DiskFile;
use crate::files::blobs::{BlobError, FileHash};
use crate::keyfile;
use crate::stores::S3;

/// Bytes of a part; the store's own limit is 10000 parts.
const PART: u64 = 8 << 20;
/// Files that move up at a time: each has one part in memory.
const MOVING: usize = 4;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Seconds without a byte after which a request is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a request may take, its retries included.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the first question may take.
const FIRST: Duration = Duration::from_secs(20);
/// First line of a note of parts that are on their way up; the second is the store's name for them.
const NOTE: &str = "warren upload 1";

/// See the module.
pub struct Objects {
    background: Background,
    pub(super) store: std::sync::Arc<AmazonS3>,
    place: Path,
    /// Where uploads are noted while their parts are on their way, so that they can be given up after a crash.
    notes: PathBuf,
    moving: Mutex<usize>,
    moved: Condvar,
    /// Who uses which.
    pub holds: Holds,
}

/// Bytes that come down.
pub type Stream = BoxStream<'static, object_store::Result<Bytes>>;

fn failed(error: &dyn std::fmt::Display) -> BlobError {
    BlobError::Server(error.to_string().chars().take(500).collect())
}

fn is_gone<T>(result: object_store::Result<T>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// One of those that may move up now.
struct Turn<'a>(&'a Objects);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.moving.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.moved.notify_one();
    }
}

impl Objects {
    /// For the space of this name; `notes` is a directory of its own. A store that refuses is an error; one that cannot be
    /// reached is not: it may come back.
    pub fn open(server: &S3, place: &str, notes: &FilePath) -> Result<Self, BlobError> {
        static TLS: Once = Once::new();
        TLS.call_once(|| {
            // An error only says that there is one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_timeout_disabled()
            .with_read_timeout(SILENCE)
            .with_allow_http(server.endpoint.starts_with("http://"));
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 3,
            retry_timeout: Duration::from_secs(30),
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(&server.endpoint)
            .with_region(&server.region)
            .with_bucket_name(&server.bucket)
            .with_access_key_id(&server.access_key)
            .with_secret_access_key(server.secret_key.expose())
            .with_client_options(client)
            .with_retry(retry)
            .build()
            .map_err(|error| failed(&error))?;
        let place = Path::parse(format!("{}/{place}", server.prefix).trim_start_matches('/'))
            .map_err(|error| failed(&error))?;
        let objects = Self {
            background: Background::start("space-s3")?,
            store: std::sync::Arc::new(store),
            place,
            notes: notes.to_owned(),
            moving: Mutex::new(0),
            moved: Condvar::new(),
            holds: Holds::default(),
        };
        objects.is_welcome()?;
        Ok(objects)
    }

    /// Whether the store takes the key and has the bucket.
    fn is_welcome(&self) -> Result<(), BlobError> {
        let (store, place) = (self.store.clone(), self.place.clone());
        let first = async move { store.list(Some(&place)).next().await.transpose() };
        match self.background.run(FIRST, first) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_refusal(&error) => Err(failed(&error)),
            Ok(Err(error)) => {
                log::warn!(
                    "the S3 store does not answer; files are out of reach until it does: {error}"
                );
                Ok(())
            }
            Err(_) => {
                log::warn!("the S3 store does not answer; files are out of reach until it does");
                Ok(())
            }
        }
    }

    pub(super) fn path(&self, hash: &FileHash) -> Path {
        self.place.clone().join(hash.to_string())
    }

    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<object_store::Result<T>, BlobError> {
        self.background
            .run(PATIENCE, work)
            .map_err(|error| failed(&error))
    }

    fn turn(&self) -> Turn<'_> {
        let mut moving = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        while *moving >= MOVING {
            moving = self
                .moved
                .wait(moving)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *moving += 1;
        Turn(self)
    }

    /// Moves a file up. When this returns, the store has it.
    pub fn put(&self, hash: &FileHash, file: &dyn DiskFile, size: u64) -> Result<(), BlobError> {
        let _turn = self.turn();
        let part = |offset: u64| -> Result<Bytes, BlobError> {
            let length = (size - offset).min(PART);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_at(&mut bytes, offset)?;
            Ok(bytes.into())
        };
        let (store, path) = (self.store.clone(), self.path(hash));
        if size <= PART {
            let bytes = part(0)?;
            let put = async move { store.put(&path, bytes.into()).await };
            self.run(put)?.map_err(|error| failed(&error))?;
            return Ok(());
        }
        let (begin, name) = (store.clone(), path.clone());
        let id = self
            .run(async move { begin.create_multipart(&name).await })?
            .map_err(|error| failed(&error))?;
        let note = self.notes.join(format!("{hash}.upload"));
        let sent = keyfile::replace(&note, &format!("{NOTE}\n{id}\n"))
            .map_err(BlobError::from)
            .and_then(|()| {
                let mut parts = Vec::new();
                let mut offset = 0;
                while offset < size {
                    let bytes = part(offset)?;
                    offset += bytes.len() as u64;
                    let (store, path, id, n) =
                        (store.clone(), path.clone(), id.clone(), parts.len());
                    let put = async move { store.put_part(&path, &id, n, bytes.into()).await };
                    parts.push(self.run(put)?.map_err(|error| failed(&error))?);
                }
                let (store, path, id) = (store.clone(), path.clone(), id.clone());
                let complete = async move { store.complete_multipart(&path, &id, parts).await };
                self.run(complete)?.map_err(|error| failed(&error))?;
                Ok(())
            });
        // Parts whose end cannot be told to the store now are given up at the next start, from the note.
        if sent.is_ok() || self.abort(&path, &id).is_ok() {
            let _ = fs::remove_file(note);
        }
        sent
    }

    fn abort(&self, path: &Path, id: &str) -> Result<(), BlobError> {
        let (store, path, id) = (self.store.clone(), path.clone(), id.to_owned());
        let aborted = self.run(async move { store.abort_multipart(&path, &id).await })?;
        is_gone(aborted).map(|_| ())
    }

    /// Gives up what was on its way up when the program ended. Nothing may be on its way now that is noted.
    pub fn abort_left_over(&self) -> Result<(), BlobError> {
        for entry in fs::read_dir(&self.notes)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some(hash) = name.strip_suffix(".upload").and_then(FileHash::parse) else {
                continue;
            };
            // Who holds it is moving it up in this life.
            self.holds.delete(
                &hash,
                || Ok(false),
                || {
                    let text = fs::read_to_string(entry.path()).unwrap_or_default();
                    let mut lines = text.lines();
                    if let (Some(NOTE), Some(id)) = (lines.next(), lines.next()) {
                        self.abort(&self.path(&hash), id)?;
                    }
                    fs::remove_file(entry.path()).map_err(BlobError::from)
                },
            )?;
        }
        Ok(())
    }

    /// The length of an object; `None` if it is not there.
    pub fn size(&self, hash: &FileHash) -> Result<Option<u64>, BlobError> {
        let (store, path) = (self.store.clone(), self.path(hash));
        let found = self.run(async move { store.head(&path).await })?;
        Ok(is_gone(found)?.map(|found| found.size))
    }

    /// Begins to fetch a part.
    pub fn stream(&self, hash: &FileHash, begin: u64, end: u64) -> io::Result<Stream> {
        let (store, path) = (self.store.clone(), self.path(hash));
        let options = GetOptions {
            range: Some(GetRange::Bounded(begin..end)),
            ..GetOptions::default()
        };
        let got = self.background.run(PATIENCE, async move {
            let got = store.get_opts(&path, options).await?;
            Ok::<_, object_store::Error>(got.into_stream())
        })?;
        got.map_err(io::Error::other)
    }

    /// The next bytes of a stream, and the stream.
    pub fn next(&self, mut stream: Stream) -> io::Result<Option<(Bytes, Stream)>> {
        let next = self.background.run(PATIENCE, async move {
            let next = stream.next().await.transpose()?;
            Ok::<_, object_store::Error>(next.map(|bytes| (bytes, stream)))
        })?;
        next.map_err(io::Error::other)
    }

    /// Deletes an object; one that is not there is no error.
    pub fn delete(&self, hash: &FileHash) -> Result<(), BlobError> {
        let (store, path) = (self.store.clone(), self.path(hash));
        let deleted = self.run(async move { store.delete(&path).await })?;
        is_gone(deleted).map(|_| ())
    }

    /// Deletes all objects, and what is on its way. Nobody may use them.
    pub fn remove_all(&self) -> Result<(), BlobError> {
        if self.notes.exists() {
            self.abort_left_over()?;
        }
        for hash in self.list()?.keys() {
            self.delete(hash)?;
        }
        Ok(())
    }

    /// All objects with their lengths.
    pub fn list(&self) -> Result<BTreeMap<FileHash, u64>, BlobError> {
        let (store, place) = (self.store.clone(), self.place.clone());
        let found = self.run(async move {
            let all = store.list(Some(&place));
            all.try_filter_map(|found| {
                let hash = found.location.filename().and_then(FileHash::parse);
                std::future::ready(Ok(hash.map(|hash| (hash, found.size))))
            })
            .try_collect()
            .await
        })?;
        found.map_err(|error| failed(&error))
    }
}

/// Whether the store answered, and will answer so again: by the codes of the S3 API.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    const CODES: [&str; 4] = [
        "NoSuchBucket",
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
    ];
    let text = error.to_string();
    matches!(
        error,
        NotFound { .. } | PermissionDenied { .. } | Unauthenticated { .. }
    ) || CODES.iter().any(|code| text.contains(code))
}
