//! A file on its way in: written to a name of its own while its hash runs along, then renamed.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::embedded::Inner;
use super::{BlobError, Draft, FileHash, Right};
use crate::disk::DiskFile;

/// Bytes that are read at a time where a hash must be caught up.
const BUFFER: usize = 64 * 1024;

/// How far the hash of an unfinished upload has come, kept between its requests.
#[derive(Clone, Default)]
pub struct Running {
    /// The hash so far.
    pub hasher: Sha256,
    /// Bytes that are in it.
    pub hashed: u64,
}

/// See the module.
pub struct EmbeddedDraft {
    inner: Arc<Inner>,
    file: Box<dyn DiskFile>,
    name: String,
    length: u64,
    running: Running,
    /// The number of an upload that can be resumed.
    unfinished: Option<i64>,
    published: bool,
}

impl EmbeddedDraft {
    /// A draft in an open file that has `length` good bytes.
    pub fn new(
        inner: Arc<Inner>,
        file: Box<dyn DiskFile>,
        name: String,
        length: u64,
        running: Running,
        unfinished: Option<i64>,
    ) -> Self {
        Self {
            inner,
            file,
            name,
            length,
            running,
            unfinished,
            published: false,
        }
    }
}

impl Draft for EmbeddedDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_at(bytes, self.length)?;
        if self.running.hashed == self.length {
            self.running.hasher.update(bytes);
            self.running.hashed += bytes.len() as u64;
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn keep(&mut self, now: u64) -> Result<(), BlobError> {
        self.file.sync()?;
        if let Some(id) = self.unfinished {
            self.inner.tables().keep(id, self.length, now)?;
        }
        Ok(())
    }

    fn hash(&mut self) -> Result<FileHash, BlobError> {
        let mut buffer = Vec::new();
        while self.running.hashed < self.length {
            let left = self.length - self.running.hashed;
            buffer.resize(usize::try_from(left).unwrap_or(BUFFER).min(BUFFER), 0);
            self.file.read_at(&mut buffer, self.running.hashed)?;
            self.running.hasher.update(&buffer);
            self.running.hashed += buffer.len() as u64;
        }
        let digest = self.running.hasher.clone().finalize();
        Ok(FileHash::from_bytes(digest.into()))
    }

    fn publish(mut self: Box<Self>, right: &Right) -> Result<(), BlobError> {
        // Of an upload that was resumed, bytes behind its end may be left from before a crash.
        if self.file.len()? != self.length {
            self.file.set_len(self.length)?;
        }
        self.file.sync()?;
        self.inner
            .publish(&*self.file, &self.name, right, self.unfinished)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for EmbeddedDraft {
    fn drop(&mut self) {
        match self.unfinished {
            _ if self.published => {}
            Some(id) => self.inner.put_aside(id, std::mem::take(&mut self.running)),
            None => self.inner.remove_file(&self.name),
        }
    }
}
