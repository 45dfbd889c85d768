//! Files in a directory of the file system, named by their hash, with the tables beside them; or, with the feature `s3`,
//! only uploads that are not whole yet, and the files on an S3 store.
//!
//! A file is written to `t<n>.part` (or `u<n>.part`, when it can be resumed), synced, renamed to its hash, and the names
//! are synced; only then the tables learn of it, and only then its sender. What a crash leaves in between has no row in
//! the tables and is removed at the next start. A file is deleted the other way round: first the row, then the bytes.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nostr::key::PublicKey;

use super::draft::{EmbeddedDraft, Running};
#[cfg(feature = "s3")]
use super::s3::{Janitor, Objects};
use super::tables::Tables;
use super::{
    BlobError, Blobs, Content, Draft, FileHash, Report, Right, Sweep, Unfinished, UploadKey, Usage,
    travel,
};
use crate::disk::{Disk, DiskFile};
use crate::record::ChannelId;

/// See the module.
pub struct EmbeddedBlobs {
    /// Where files are on an S3 store: who deletes there. It ends before what it asks.
    #[cfg(feature = "s3")]
    janitor: Mutex<Option<Janitor>>,
    inner: Arc<Inner>,
}

/// What drafts share with the store.
pub struct Inner {
    disk: Arc<dyn Disk>,
    tables: Mutex<Tables>,
    next: AtomicU32,
    /// Hashes of unfinished uploads that nobody is writing just now.
    aside: Mutex<HashMap<i64, Running>>,
    /// Where whole files are, if they are not on the disk.
    #[cfg(feature = "s3")]
    objects: Option<Arc<Objects>>,
}

fn unfinished_name(id: i64) -> String {
    format!("u{id}.part")
}

impl EmbeddedBlobs {
    /// Opens the store and removes what a crash left half-done.
    pub fn open(disk: Arc<dyn Disk>, tables: &Path) -> Result<Self, BlobError> {
        let inner = Inner::open(disk, tables)?;
        Ok(Self {
            inner: Arc::new(inner),
            #[cfg(feature = "s3")]
            janitor: Mutex::default(),
        })
    }

    /// The same with whole files on an S3 store.
    #[cfg(feature = "s3")]
    pub fn open_with(
        disk: Arc<dyn Disk>,
        tables: &Path,
        objects: Objects,
    ) -> Result<Self, BlobError> {
        let mut inner = Inner::open(disk, tables)?;
        let objects = Arc::new(objects);
        inner.objects = Some(Arc::clone(&objects));
        let inner = Arc::new(inner);
        let janitor = Janitor::start(&inner, &objects)?;
        Ok(Self {
            inner,
            janitor: Mutex::new(Some(janitor)),
        })
    }

    /// Removes files that have no right any more. `tables` is what the caller holds; where others need not wait, they do not.
    /// On a store the call returns before they are gone, unless it shall `wait`.
    fn remove_files(
        &self,
        tables: MutexGuard<'_, Tables>,
        hashes: &[FileHash],
        wait: bool,
    ) -> Result<(), BlobError> {
        #[cfg(feature = "s3")]
        if self.inner.objects.is_some() {
            drop(tables);
            let janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = janitor.as_ref().map(|janitor| janitor.delete(hashes));
            drop(janitor);
            return match asked {
                Some(gone) if wait => gone.wait(),
                _ => Ok(()),
            };
        }
        let _ = wait; // a disk does not keep anybody waiting
        self.inner.remove_files(hashes);
        drop(tables);
        Ok(())
    }
}

impl Inner {
    fn open(disk: Arc<dyn Disk>, tables: &Path) -> Result<Self, BlobError> {
        let tables = Tables::open(tables)?;
        let unfinished: HashSet<String> = tables
            .unfinished_ids()?
            .into_iter()
            .map(unfinished_name)
            .collect();
        for name in disk.list()? {
            let known = match FileHash::parse(&name) {
                Some(hash) => tables.has(&hash)?,
                None => !name.ends_with(".part") || unfinished.contains(&name),
            };
            if !known {
                disk.remove(&name)?;
            }
        }
        Ok(Self {
            disk,
            tables: Mutex::new(tables),
            next: AtomicU32::new(0),
            aside: Mutex::default(),
            #[cfg(feature = "s3")]
            objects: None,
        })
    }

    /// The tables, for one change at a time.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aside(&self) -> MutexGuard<'_, HashMap<i64, Running>> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers how far the hash of an upload came.
    pub fn put_aside(&self, id: i64, running: Running) {
        self.aside().insert(id, running);
    }

    /// Gives a written and synced file its name and its first or another right.
    pub fn publish(
        &self,
        file: &dyn DiskFile,
        name: &str,
        right: &Right,
        unfinished: Option<i64>,
    ) -> Result<(), BlobError> {
        #[cfg(feature = "s3")]
        if let Some(objects) = &self.objects {
            return self.publish_object(objects, file, name, right, unfinished);
        }
        let _ = file; // its name is enough here
        // From here on nobody else may remove the last right and with it the file.
        let mut tables = self.tables();
        let known = tables.has(&right.hash)?;
        let hash = right.hash.to_string();
        self.disk.rename(name, &hash)?;
        let added = self
            .disk
            .sync_names()
            .map_err(BlobError::from)
            .and_then(|()| tables.add(right, unfinished));
        if added.is_err() {
            // An upload that can be resumed begins anew: its bytes went with the name.
            if let Some(id) = unfinished {
                let _ = tables.abandon(Some(id), None, 0);
            }
            if !known {
                self.remove_file(&hash);
            }
        }
        added
    }

    /// Removes a file that counts no more.
    pub fn remove_file(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            log::warn!(
                "the file {name} could not be removed; the next start will try again: {error}"
            );
        }
    }

    fn remove_files(&self, hashes: &[FileHash]) {
        for hash in hashes {
            self.remove_file(&hash.to_string());
        }
        if !hashes.is_empty()
            && let Err(error) = self.disk.sync_names()
        {
            log::warn!("the directory of files could not be synced: {error}");
        }
    }

    fn remove_unfinished(&self, ids: &[i64]) {
        for id in ids {
            self.aside().remove(id);
            self.remove_file(&unfinished_name(*id));
        }
    }
}

struct OpenFile(Box<dyn DiskFile>);

impl Content for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buffer, offset)
    }
}

impl Blobs for EmbeddedBlobs {
    fn draft(&self) -> Result<Box<dyn Draft>, BlobError> {
        let name = format!("t{}.part", self.inner.next.fetch_add(1, Ordering::Relaxed));
        let file = self.inner.disk.create(&name)?;
        Ok(Box::new(EmbeddedDraft::new(
            Arc::clone(&self.inner),
            file,
            name,
            0,
            Running::default(),
            None,
        )))
    }

    fn resume(
        &self,
        key: &UploadKey,
        size: u64,
        media_type: &str,
        now: u64,
    ) -> Result<Box<dyn Draft>, BlobError> {
        let mut tables = self.inner.tables();
        let (id, kept) = match tables.unfinished(key)? {
            Some(found) => (found.id, found.upload.kept),
            None => (tables.begin(key, size, media_type, now)?, 0),
        };
        drop(tables);
        let name = unfinished_name(id);
        let file = if kept == 0 {
            self.inner.disk.create(&name)?
        } else {
            let file = self.inner.disk.open(&name)?;
            file.set_len(kept)?;
            file
        };
        let running = self.inner.aside().remove(&id).unwrap_or_default();
        // A hash that ran ahead of what was made safe cannot go back.
        let running = if running.hashed > kept {
            Running::default()
        } else {
            running
        };
        Ok(Box::new(EmbeddedDraft::new(
            Arc::clone(&self.inner),
            file,
            name,
            kept,
            running,
            Some(id),
        )))
    }

    fn unfinished(&self, key: &UploadKey) -> Result<Option<Unfinished>, BlobError> {
        let found = self.inner.tables().unfinished(key)?;
        Ok(found.map(|found| found.upload))
    }

    fn abandon(&self, key: &UploadKey) -> Result<bool, BlobError> {
        let mut tables = self.inner.tables();
        let Some(found) = tables.unfinished(key)? else {
            return Ok(false);
        };
        let gone = tables.abandon(Some(found.id), None, 0)?;
        self.inner.remove_unfinished(&gone);
        Ok(true)
    }

    fn open(&self, hash: &FileHash) -> Result<Option<Box<dyn Content>>, BlobError> {
        #[cfg(feature = "s3")]
        if let Some(objects) = &self.inner.objects {
            return self.inner.open_object(objects, hash);
        }
        match self.inner.disk.open(&hash.to_string()) {
            Ok(file) => Ok(Some(Box::new(OpenFile(file)))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn rights(&self, hash: &FileHash) -> Result<Vec<Right>, BlobError> {
        self.inner.tables().rights(hash)
    }

    fn right(&self, key: &UploadKey) -> Result<Option<Right>, BlobError> {
        self.inner.tables().right(key)
    }

    fn uploaded_by(
        &self,
        person: &PublicKey,
        each: &mut dyn FnMut(Right) -> bool,
    ) -> Result<(), BlobError> {
        self.inner.tables().uploaded_by(person, each)
    }

    fn remove(
        &self,
        hash: &FileHash,
        which: &mut dyn FnMut(&Right) -> bool,
    ) -> Result<usize, BlobError> {
        let mut tables = self.inner.tables();
        let (count, gone) = tables.remove(hash, which)?;
        self.remove_files(tables, &gone, true)?;
        Ok(count)
    }

    fn forget_channel(&self, channel: &ChannelId, deletions: u32) -> Result<(), BlobError> {
        let mut tables = self.inner.tables();
        if tables.deletions(channel)? >= deletions {
            return Ok(());
        }
        let gone = tables.remove_channel(channel)?;
        let unfinished = tables.abandon(None, Some(channel), 0)?;
        self.inner.remove_unfinished(&unfinished);
        self.remove_files(tables, &gone, false)?;
        // Last: a crash before this does it all once more.
        self.inner.tables().set_deletions(channel, deletions)
    }

    fn channel_deleted(&self, channel: &ChannelId) -> Result<(), BlobError> {
        let known = self.inner.tables().deletions(channel)?;
        self.forget_channel(channel, known.saturating_add(1))
    }

    fn knows(&self, person: &PublicKey) -> Result<bool, BlobError> {
        self.inner.tables().knows(person)
    }

    fn forget_person(&self, person: &PublicKey, until: u64) -> Result<(), BlobError> {
        let mut tables = self.inner.tables();
        if !tables.knows(person)? {
            return Ok(());
        }
        let (gone, unfinished) = tables.forget_person(person, until)?;
        self.inner.remove_unfinished(&unfinished);
        // A list that was written for a copy names the person too.
        if self
            .inner
            .disk
            .list()?
            .iter()
            .any(|name| name == travel::LIST)
        {
            travel::note(&*self.inner.disk, &tables)?;
        }
        self.remove_files(tables, &gone, true)
    }

    fn note_rights(&self) -> Result<(), BlobError> {
        travel::note(&*self.inner.disk, &self.inner.tables())
    }

    fn take_rights(&self) -> Result<(), BlobError> {
        #[cfg(feature = "s3")]
        if let Some(objects) = &self.inner.objects {
            // Each was compared with its name on its way up.
            let there = objects.list()?;
            return travel::take(&*self.inner.disk, &mut self.inner.tables(), &|right| {
                Ok(there.get(&right.hash) == Some(&right.size))
            });
        }
        let disk = &*self.inner.disk;
        travel::take(disk, &mut self.inner.tables(), &|right| {
            travel::is_there(disk, right)
        })
    }

    fn close(&self) {
        #[cfg(feature = "s3")]
        drop(
            self.janitor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.inner.tables().close();
    }

    fn sweep(&self, sweep: Sweep) -> Result<(), BlobError> {
        let mut tables = self.inner.tables();
        let unfinished = tables.abandon(None, None, sweep.unfinished_before)?;
        self.inner.remove_unfinished(&unfinished);
        let gone = tables.remove_older(sweep.uploaded_before)?;
        self.remove_files(tables, &gone, false)?;
        #[cfg(feature = "s3")]
        if let Some(janitor) = &*self.janitor.lock().unwrap_or_else(PoisonError::into_inner) {
            janitor.tidy();
        }
        Ok(())
    }

    fn usage(&self, person: &PublicKey) -> Result<Usage, BlobError> {
        self.inner.tables().usage(person)
    }

    fn total(&self) -> Usage {
        self.inner.tables().total()
    }

    fn report(&self, report: &Report, most: usize, all: usize) -> Result<(), BlobError> {
        self.inner.tables().report(report, most, all)
    }

    fn reports(&self) -> Result<Vec<Report>, BlobError> {
        self.inner.tables().reports()
    }
}
