//! What every store of files must do, and what the embedded one does when the disk is full or the process is killed.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::{BlobError, Blobs, EmbeddedBlobs, FileHash, Report, Right, Sweep, UploadKey};
use crate::disk::{Directory, Disk, DiskFile};
use crate::testing::{Person, channel};

pub fn hash_of(bytes: &[u8]) -> FileHash {
    FileHash::from_bytes(Sha256::digest(bytes).into())
}

pub fn right(bytes: &[u8], person: &Person, into: Option<&str>, uploaded: u64) -> Right {
    Right {
        hash: hash_of(bytes),
        size: bytes.len() as u64,
        uploader: person.key(),
        channel: into.map(channel),
        media_type: "text/plain".into(),
        uploaded,
    }
}

pub fn key(right: &Right) -> UploadKey {
    UploadKey {
        uploader: right.uploader,
        hash: right.hash,
        channel: right.channel.clone(),
    }
}

pub fn put(blobs: &dyn Blobs, bytes: &[u8], right: &Right) {
    let mut draft = blobs.draft().unwrap();
    for part in bytes.chunks(7) {
        draft.write(part).unwrap();
    }
    assert_eq!(draft.hash().unwrap(), right.hash);
    draft.publish(right).unwrap();
}

pub fn read(blobs: &dyn Blobs, right: &Right) -> Option<Vec<u8>> {
    let content = blobs.open(&right.hash).unwrap()?;
    let mut bytes = vec![0; usize::try_from(right.size).unwrap()];
    content.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

fn uploads(blobs: &dyn Blobs, person: &Person) -> Vec<(FileHash, u64)> {
    let mut list = Vec::new();
    blobs
        .uploaded_by(&person.key(), &mut |right| {
            list.push((right.hash, right.uploaded));
            true
        })
        .unwrap();
    list
}

/// A store that can be closed and opened again.
pub trait Place {
    fn open(&self) -> Box<dyn Blobs>;
}

/// The suite. `place` is empty.
pub fn conforms(place: &dyn Place) {
    let (ann, ben) = (Person::new(1), Person::new(2));
    let blobs = place.open();

    // One file, two people, two channels: stored once, four rights.
    let cat = b"a picture of a cat".as_slice();
    let first = right(cat, &ann, None, 10);
    put(&*blobs, cat, &first);
    for (person, into, at) in [
        (&ann, Some("cellar"), 11),
        (&ben, Some("cellar"), 12),
        (&ben, Some("attic"), 13),
    ] {
        put(&*blobs, cat, &right(cat, person, into, at));
    }
    put(&*blobs, cat, &right(cat, &ann, None, 99)); // again: the first date stays
    assert_eq!(read(&*blobs, &first).as_deref(), Some(cat));
    let rights = blobs.rights(&first.hash).unwrap();
    let seen: Vec<_> = rights
        .iter()
        .map(|right| (right.channel.clone(), right.uploader, right.uploaded))
        .collect();
    assert_eq!(
        seen,
        [
            (None, ann.key(), 10),
            (Some(channel("attic")), ben.key(), 13),
            (Some(channel("cellar")), ann.key(), 11),
        ]
    );
    assert_eq!(blobs.total().files, 1);
    assert_eq!(blobs.total().bytes, cat.len() as u64);
    assert_eq!(blobs.usage(&ann.key()).unwrap().bytes, cat.len() as u64);
    assert_eq!(blobs.right(&key(&first)).unwrap(), Some(first.clone()));
    assert_eq!(uploads(&*blobs, &ben), [(first.hash, 13), (first.hash, 12)]);

    // The empty file is one too.
    let empty = right(b"", &ann, None, 20);
    put(&*blobs, b"", &empty);
    assert_eq!(read(&*blobs, &empty), Some(Vec::new()));

    // A draft that is dropped leaves nothing.
    let mut draft = blobs.draft().unwrap();
    draft.write(b"never mind").unwrap();
    drop(draft);
    assert!(blobs.open(&hash_of(b"never mind")).unwrap().is_none());

    // What was written in parts goes on after a restart, from what was made safe.
    let dog = b"a long film about a dog".as_slice();
    let film = right(dog, &ben, Some("attic"), 30);
    let mut draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 30)
        .unwrap();
    draft.write(&dog[..5]).unwrap();
    draft.keep(30).unwrap();
    draft.write(b"not safe yet").unwrap();
    drop(draft);
    let kept = |blobs: &dyn Blobs| blobs.unfinished(&key(&film)).unwrap().map(|it| it.kept);
    assert_eq!(kept(&*blobs), Some(5));
    let usage = blobs.usage(&ben.key()).unwrap();
    assert_eq!((usage.unfinished, usage.unfinished_bytes), (1, film.size));
    drop(blobs);
    let blobs = place.open();
    assert_eq!(kept(&*blobs), Some(5));
    assert_eq!(blobs.total().unfinished_bytes, film.size);
    assert_eq!(
        blobs.unfinished(&key(&film)).unwrap().unwrap().media_type,
        "video/mp4"
    );
    let mut draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 31)
        .unwrap();
    assert_eq!(draft.length(), 5);
    draft.write(&dog[5..9]).unwrap();
    draft.keep(31).unwrap();
    drop(draft);
    let mut draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 32)
        .unwrap();
    draft.write(&dog[9..]).unwrap();
    assert_eq!(draft.hash().unwrap(), film.hash);
    draft.publish(&film).unwrap();
    assert_eq!(kept(&*blobs), None);
    assert_eq!(blobs.total().unfinished_bytes, 0);
    assert_eq!(read(&*blobs, &film).as_deref(), Some(dog));

    // Removing rights one by one; the bytes go with the last. Who has the file open reads on.
    let mut of_ben = |right: &Right| right.uploader == ben.key();
    assert_eq!(blobs.remove(&first.hash, &mut of_ben).unwrap(), 2);
    let open = blobs.open(&first.hash).unwrap().unwrap();
    assert_eq!(blobs.remove(&first.hash, &mut |_| true).unwrap(), 2);
    assert_eq!(blobs.remove(&first.hash, &mut |_| true).unwrap(), 0);
    assert!(blobs.open(&first.hash).unwrap().is_none());
    assert!(blobs.rights(&first.hash).unwrap().is_empty());
    let mut bytes = [0; 9];
    open.read_at(&mut bytes, 2).unwrap();
    assert_eq!(&bytes, b"picture o");

    // A channel's files go once for each of its deletions, also when told twice of one.
    blobs.forget_channel(&channel("attic"), 1).unwrap();
    assert!(blobs.open(&film.hash).unwrap().is_none());
    put(&*blobs, dog, &film);
    blobs.forget_channel(&channel("attic"), 1).unwrap();
    assert_eq!(read(&*blobs, &film).as_deref(), Some(dog));
    blobs.channel_deleted(&channel("attic")).unwrap();
    assert!(blobs.rights(&film.hash).unwrap().is_empty());

    // Old things are put away.
    let (old, new) = (
        right(b"old", &ann, None, 100),
        right(b"new", &ann, None, 200),
    );
    put(&*blobs, b"old", &old);
    put(&*blobs, b"new", &new);
    drop(blobs.resume(&key(&film), film.size, "x/y", 100).unwrap());
    let sweep = |unfinished_before, uploaded_before| {
        blobs
            .sweep(Sweep {
                unfinished_before,
                uploaded_before,
            })
            .unwrap();
    };
    sweep(100, 0);
    assert!(blobs.unfinished(&key(&film)).unwrap().is_some());
    sweep(101, 200);
    assert!(blobs.unfinished(&key(&film)).unwrap().is_none());
    assert!(blobs.open(&old.hash).unwrap().is_none());
    assert_eq!(read(&*blobs, &new).as_deref(), Some(b"new".as_slice()));
    assert!(!blobs.abandon(&key(&film)).unwrap());

    // Reports: once each, bounded by person and in all.
    let report = |n: u8, reporter: &Person| Report {
        hash: new.hash,
        event_id: [n; 32],
        reporter: reporter.key(),
        event: "{}".into(),
    };
    for n in [1, 1, 2, 3] {
        blobs.report(&report(n, &ann), 2, 3).unwrap();
    }
    blobs.report(&report(4, &ben), 2, 3).unwrap();
    blobs.report(&report(5, &ben), 2, 3).unwrap();
    let ids: Vec<u8> = blobs
        .reports()
        .unwrap()
        .iter()
        .map(|report| report.event_id[0])
        .collect();
    assert_eq!(ids, [5, 4, 2]);
    blobs.remove(&new.hash, &mut |_| true).unwrap();
    assert!(blobs.reports().unwrap().is_empty());
    assert_eq!(blobs.usage(&ben.key()).unwrap(), super::Usage::default());
}

/// The embedded store in a directory that goes away with the test.
struct OnDisk {
    dir: tempfile::TempDir,
    disk: Arc<Watched>,
}

impl OnDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Directory::open(&dir.path().join("files")).unwrap();
        let disk = Arc::new(Watched {
            disk,
            state: Arc::default(),
        });
        Self { dir, disk }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.disk.list().unwrap();
        names.sort();
        names
    }

    fn try_open(&self) -> Result<EmbeddedBlobs, BlobError> {
        let disk: Arc<dyn Disk> = Arc::clone(&self.disk) as Arc<dyn Disk>;
        EmbeddedBlobs::open(disk, &self.dir.path().join("files.sqlite"))
    }
}

impl Place for OnDisk {
    fn open(&self) -> Box<dyn Blobs> {
        Box::new(self.try_open().unwrap())
    }
}

/// A directory that can be full, can fail at one step, and notes the largest buffer it was handed.
struct Watched {
    disk: Directory,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    largest: AtomicUsize,
    /// Bytes that still fit; `None`: no end.
    room: Mutex<Option<usize>>,
    /// Steps after which everything fails, as if the process were gone; `None`: never.
    steps: Mutex<Option<u32>>,
}

impl State {
    fn step(&self) -> io::Result<()> {
        match &mut *self.steps.lock().unwrap() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the plug was pulled")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

struct WatchedFile {
    file: Box<dyn DiskFile>,
    state: Arc<State>,
}

impl Disk for Watched {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.state.step()?;
        Ok(Box::new(WatchedFile {
            file: self.disk.create(name)?,
            state: Arc::clone(&self.state),
        }))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(WatchedFile {
            file: self.disk.open(name)?,
            state: Arc::clone(&self.state),
        }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state.step()?;
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.state.step()?;
        self.disk.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.state.step()?;
        self.disk.sync_names()
    }
}

impl DiskFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.state
            .largest
            .fetch_max(buffer.len(), Ordering::Relaxed);
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.state.step()?;
        self.state.largest.fetch_max(bytes.len(), Ordering::Relaxed);
        if let Some(room) = &mut *self.state.room.lock().unwrap() {
            *room = room
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
        }
        self.file.write_at(bytes, offset)
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state.step()?;
        self.file.set_len(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.state.step()?;
        self.file.sync()
    }
}

#[test]
fn the_embedded_store_conforms() {
    let place = OnDisk::new();
    conforms(&place);
    // Nothing lies about that is in no table.
    drop(place.open());
    assert!(place.names().is_empty());
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let place = OnDisk::new();
    let blobs = place.open();
    *place.disk.state.room.lock().unwrap() = Some(10);
    let mut draft = blobs.draft().unwrap();
    draft.write(b"12345678").unwrap();
    assert!(matches!(draft.write(b"12345678"), Err(BlobError::Full)));
    drop(draft);
    assert!(place.names().is_empty());
    assert_eq!(blobs.total(), super::Usage::default());
    // And the next upload, with room again, works.
    *place.disk.state.room.lock().unwrap() = None;
    let note = right(b"a note", &Person::new(1), None, 1);
    put(&*blobs, b"a note", &note);
    assert!(read(&*blobs, &note).is_some());
}

/// The steps of an upload and a deletion, cut off after each of them: afterwards a file is there as a whole with its
/// right, or not at all, and what was acknowledged is as it was acknowledged.
#[test]
fn wherever_the_process_ends_nothing_half_done_is_seen() {
    let ann = Person::new(1);
    let stays = right(b"stays", &ann, None, 1);
    let comes = right(b"comes", &ann, None, 2);
    let goes = right(b"goes", &ann, None, 3);
    let mut outcomes = std::collections::BTreeSet::new();
    for steps in 0..20 {
        let place = OnDisk::new();
        let blobs = place.open();
        put(&*blobs, b"stays", &stays);
        put(&*blobs, b"goes", &goes);
        *place.disk.state.steps.lock().unwrap() = Some(steps);
        let uploaded = blobs
            .draft()
            .and_then(|mut draft| {
                draft.write(b"comes")?;
                draft.publish(&comes)
            })
            .is_ok();
        let removed = uploaded && blobs.remove(&goes.hash, &mut |_| true).is_ok();
        // Gone without a word: what would clean up on the way out cannot reach the disk any more.
        drop(blobs);
        *place.disk.state.steps.lock().unwrap() = None;
        let blobs = place.open();
        assert_eq!(read(&*blobs, &stays).as_deref(), Some(b"stays".as_slice()));
        for (right, bytes) in [(&comes, b"comes".as_slice()), (&goes, b"goes".as_slice())] {
            let is_known = blobs.right(&key(right)).unwrap().is_some();
            let content = read(&*blobs, right);
            assert_eq!(content.as_deref(), is_known.then_some(bytes), "{steps}");
        }
        if uploaded {
            assert!(blobs.right(&key(&comes)).unwrap().is_some(), "{steps}");
        }
        if removed {
            assert!(blobs.right(&key(&goes)).unwrap().is_none(), "{steps}");
        }
        assert!(place.names().iter().all(|name| !name.ends_with(".part")));
        outcomes.insert((uploaded, removed));
    }
    assert_eq!(
        outcomes.len(),
        2,
        "the cuts must fall before the answer and behind it"
    );
}

#[test]
fn no_buffer_grows_with_the_file() {
    let place = OnDisk::new();
    let blobs = place.open();
    let part = [7; 64 * 1024];
    let bytes: Vec<u8> = part.repeat(40);
    let film = right(&bytes, &Person::new(1), None, 1);
    let mut draft = blobs.resume(&key(&film), film.size, "x/y", 1).unwrap();
    for _ in 0..39 {
        draft.write(&part).unwrap();
    }
    draft.keep(1).unwrap();
    drop(draft);
    drop(blobs);
    // After a restart all of it is hashed anew from the disk.
    let blobs = place.open();
    let mut draft = blobs.resume(&key(&film), film.size, "x/y", 2).unwrap();
    draft.write(&part).unwrap();
    assert_eq!(draft.hash().unwrap(), film.hash);
    draft.publish(&film).unwrap();
    assert_eq!(place.disk.state.largest.load(Ordering::Relaxed), 64 * 1024);
}

/// Tables of every version that was released, with a file, its rights and an unfinished upload.
#[test]
fn tables_of_every_released_version_open_and_give_the_same_files() {
    for version in ["files-1"] {
        let place = OnDisk::new();
        let from = std::path::Path::new(crate::store::fixtures::FOLDER).join(version);
        std::fs::copy(
            from.join("files.sqlite"),
            place.dir.path().join("files.sqlite"),
        )
        .unwrap();
        for entry in std::fs::read_dir(from.join("files")).unwrap() {
            let entry = entry.unwrap();
            let to = place.dir.path().join("files").join(entry.file_name());
            std::fs::copy(entry.path(), to).unwrap();
        }
        let blobs = place.open();
        let (ann, ben) = (Person::new(1), Person::new(2));
        let public = right(b"a picture of a cat", &ann, None, 10);
        let private = right(b"a picture of a cat", &ben, Some("garden"), 11);
        assert_eq!(
            blobs.rights(&public.hash).unwrap(),
            [public.clone(), private]
        );
        assert_eq!(
            read(&*blobs, &public).as_deref(),
            Some(b"a picture of a cat".as_slice())
        );
        let film = right(b"a long film", &ben, None, 12);
        let unfinished = blobs.unfinished(&key(&film)).unwrap().unwrap();
        assert_eq!((unfinished.kept, unfinished.size), (6, 11));
        let mut draft = blobs.resume(&key(&film), 11, "video/mp4", 13).unwrap();
        draft.write(b" film").unwrap();
        draft.publish(&film).unwrap();
        assert_eq!(
            read(&*blobs, &film).as_deref(),
            Some(b"a long film".as_slice())
        );
        assert_eq!(blobs.reports().unwrap().len(), 1);
        assert_eq!(blobs.total().files, 2);
    }
}

/// Writes the fixture of the version of today: `cargo test ... -- --ignored write_the_fixture_of_files`.
#[test]
#[ignore = "makes the fixture of a new version"]
fn write_the_fixture_of_files() {
    let dir = std::path::Path::new(crate::store::fixtures::FOLDER).join("files-1");
    let disk = Directory::open(&dir.join("files")).unwrap();
    let blobs = EmbeddedBlobs::open(Arc::new(disk), &dir.join("files.sqlite")).unwrap();
    let (ann, ben) = (Person::new(1), Person::new(2));
    let cat = b"a picture of a cat".as_slice();
    let public = right(cat, &ann, None, 10);
    put(&blobs, cat, &public);
    put(&blobs, cat, &right(cat, &ben, Some("garden"), 11));
    let film = right(b"a long film", &ben, None, 12);
    let mut draft = blobs.resume(&key(&film), 11, "video/mp4", 12).unwrap();
    draft.write(b"a long").unwrap();
    draft.keep(12).unwrap();
    drop(draft);
    let report = Report {
        hash: public.hash,
        event_id: [1; 32],
        reporter: ben.key(),
        event: "{}".into(),
    };
    blobs.report(&report, 9, 9).unwrap();
    blobs.close();
}

#[test]
fn tables_that_a_newer_program_made_are_refused_and_stay_as_they_are() {
    let place = OnDisk::new();
    let note = right(b"a note", &Person::new(1), None, 1);
    put(&*place.open(), b"a note", &note);
    let tables = place.dir.path().join("files.sqlite");
    let version = |version: u32| {
        let tables = rusqlite::Connection::open(&tables).unwrap();
        tables.pragma_update(None, "user_version", version).unwrap();
    };
    version(2);
    let error = place.try_open().err().unwrap().to_string();
    assert!(error.contains("a newer program"), "{error}");
    version(1);
    assert!(read(&*place.open(), &note).is_some());
}
