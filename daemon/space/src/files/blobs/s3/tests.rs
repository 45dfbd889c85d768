//! Files on a real S3 store: the suite that every store of files passes, large files in parts, races, what a crash leaves,
//! and a store that is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::multipart::MultipartStore;

use super::{ObjectExtras, Objects};
use crate::disk::Directory;
use crate::export::Extras;
use crate::files::blobs::conformance::{Place, conforms, hash_of, key, put, read, right};
use crate::files::blobs::{BlobError, Blobs, EmbeddedBlobs, Sweep};
use crate::stores::{S3, Secret};
use crate::testing::{Person, servers::S3Server};

struct OnStore<'a> {
    dir: tempfile::TempDir,
    server: &'a S3Server,
    name: String,
}

impl<'a> OnStore<'a> {
    fn new(server: &'a S3Server) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            server,
            name: nostr::key::Keys::generate().public_key().to_hex()[..32].to_owned(),
        }
    }

    fn s3(&self) -> S3 {
        S3 {
            endpoint: self.server.endpoint(),
            bucket: "warren".into(),
            region: "us-east-1".into(),
            prefix: "spaces".into(),
            access_key: "key".into(),
            secret_key: Secret::new("hunter2".into()),
        }
    }

    fn files(&self) -> std::path::PathBuf {
        self.dir.path().join("files")
    }

    fn objects(&self) -> Objects {
        Directory::open(&self.files()).unwrap();
        Objects::open(&self.s3(), &self.name, &self.files()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.server.names(&format!("spaces/{}/", self.name))
    }

    fn on_disk(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.files()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Place for OnStore<'_> {
    fn open(&self) -> Box<dyn Blobs> {
        let disk = Directory::open(&self.files()).unwrap();
        let tables = self.dir.path().join("files.sqlite");
        let blobs = EmbeddedBlobs::open_with(Arc::new(disk), &tables, self.objects());
        Box::new(blobs.unwrap())
    }
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "waited in vain: {what}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn the_s3_store_conforms() {
    let place = OnStore::new(S3Server::shared());
    conforms(&place);
    drop(place.open());
    assert_eq!(
        place.names(),
        [] as [&str; 0],
        "nothing lies about that is in no table"
    );
    assert_eq!(place.on_disk(), [] as [&str; 0]);
}

#[test]
fn a_large_file_goes_up_in_parts_and_comes_down_in_any_part() {
    let place = OnStore::new(S3Server::shared());
    let blobs = place.open();
    let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let film = right(&bytes, &Person::new(1), None, 1);
    let mut draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 1)
        .unwrap();
    for part in bytes.chunks(64 * 1024) {
        draft.write(part).unwrap();
    }
    draft.publish(&film).unwrap();
    assert_eq!(place.names().len(), 1);
    assert_eq!(place.on_disk(), [] as [&str; 0], "it is there once");
    assert!(
        place
            .server
            .unfinished()
            .iter()
            .all(|name| !name.contains(&place.name))
    );
    let content = blobs.open(&film.hash).unwrap().unwrap();
    let mut offset = 0;
    for part in bytes.chunks(64 * 1024) {
        let mut buffer = vec![0; part.len()];
        content.read_at(&mut buffer, offset).unwrap();
        assert_eq!(buffer, part);
        offset += part.len() as u64;
    }
    for (begin, length) in [(19_999_999, 1), (0, 1), (8_388_600, 20), (5, 300_000)] {
        let mut buffer = vec![0; length];
        content.read_at(&mut buffer, begin as u64).unwrap();
        assert_eq!(buffer, bytes[begin..begin + length]);
    }
    let beyond = content.read_at(&mut [0; 2], film.size - 1);
    assert!(beyond.is_err());
}

#[test]
fn whoever_is_faster_a_file_with_a_right_has_its_bytes_and_one_without_has_none() {
    let place = OnStore::new(S3Server::shared());
    let blobs = place.open();
    let people: Vec<Person> = (1..5).map(Person::new).collect();
    let bytes = b"the same picture".as_slice();
    for round in 0..10 {
        std::thread::scope(|scope| {
            for (n, person) in people.iter().enumerate() {
                let blobs = &*blobs;
                scope.spawn(move || {
                    let mine = right(bytes, person, None, 1);
                    put(blobs, bytes, &mine);
                    let who = person.key();
                    if (n + round) % 4 != 0 {
                        blobs
                            .remove(&mine.hash, &mut |right| right.uploader == who)
                            .unwrap();
                    }
                });
            }
        });
        let one = right(bytes, &people[0], None, 1);
        assert_eq!(read(&*blobs, &one).as_deref(), Some(bytes), "{round}");
        blobs.remove(&one.hash, &mut |_| true).unwrap();
        assert_eq!(place.names(), [] as [&str; 0], "{round}");
    }
}

#[test]
fn what_a_crash_left_on_the_store_is_removed_and_nothing_else() {
    let place = OnStore::new(S3Server::shared());
    let blobs = place.open();
    let kept = right(b"kept", &Person::new(1), None, 1);
    put(&*blobs, b"kept", &kept);
    drop(blobs);
    // A file that came up and got no right, and one of which only a part came up.
    let objects = place.objects();
    let disk = Directory::open(place.dir.path()).unwrap();
    let orphan = hash_of(b"orphan");
    let file = crate::disk::Disk::create(&disk, "orphan").unwrap();
    file.write_at(b"orphan", 0).unwrap();
    objects.put(&orphan, &*file, 6).unwrap();
    let half = hash_of(b"half");
    let id = objects.begin_parts(&half);
    let note = format!("warren upload 1\n{id}\n");
    std::fs::write(place.files().join(format!("{half}.upload")), note).unwrap();
    assert_eq!(place.names().len(), 2);
    let is_half = |name: &String| name.ends_with(&half.to_string());
    assert!(place.server.unfinished().iter().any(is_half), "the control");
    drop(objects);
    let blobs = place.open();
    blobs
        .sweep(Sweep {
            unfinished_before: 0,
            uploaded_before: 0,
        })
        .unwrap();
    wait_until("the store is tidy", || {
        place.names().len() == 1 && !place.server.unfinished().iter().any(is_half)
    });
    assert_eq!(read(&*blobs, &kept).as_deref(), Some(b"kept".as_slice()));
    drop(blobs);
    assert_eq!(place.on_disk(), [] as [&str; 0], "the note too");
}

#[test]
fn a_store_that_is_away_loses_nothing_and_one_that_refuses_says_why() {
    let server = S3Server::start();
    let place = OnStore::new(&server);
    let blobs = place.open();
    let film = right(b"a film", &Person::new(1), None, 1);
    server.stop();
    let mut draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 1)
        .unwrap();
    draft.write(b"a film").unwrap();
    draft.keep(1).unwrap();
    assert!(matches!(draft.publish(&film), Err(BlobError::Server(_))));
    assert!(blobs.right(&key(&film)).unwrap().is_none());
    drop(blobs);
    let blobs = place.open();
    assert_eq!(
        blobs.unfinished(&key(&film)).unwrap().unwrap().kept,
        film.size
    );
    server.start_again();
    let draft = blobs
        .resume(&key(&film), film.size, "video/mp4", 2)
        .unwrap();
    draft.publish(&film).unwrap();
    assert_eq!(read(&*blobs, &film).as_deref(), Some(b"a film".as_slice()));
    let elsewhere = S3 {
        bucket: "nowhere".into(),
        ..place.s3()
    };
    let Err(error) = Objects::open(&elsewhere, &place.name, &place.files()) else {
        panic!("a bucket that is not there was taken");
    };
    let error = error.to_string();
    assert!(error.contains("NoSuchBucket"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn files_travel_between_a_store_and_a_directory() {
    let place = OnStore::new(S3Server::shared());
    let blobs = place.open();
    let ann = Person::new(1);
    let (public, private) = (
        right(b"public", &ann, None, 1),
        right(b"private", &ann, Some("c"), 2),
    );
    put(&*blobs, b"public", &public);
    put(&*blobs, b"private", &private);
    blobs.note_rights().unwrap();
    let from = ObjectExtras::new(place.objects(), &place.files());
    let into = OnStore::new(S3Server::shared());
    let to = ObjectExtras::new(into.objects(), &into.files());
    let names: Vec<String> = from
        .list()
        .unwrap()
        .into_iter()
        .map(|extra| extra.name)
        .collect();
    assert_eq!(names.len(), 3);
    for name in &names {
        let mut bytes = from.open(name).unwrap().unwrap();
        to.put(name, &mut bytes).unwrap();
    }
    assert!(from.open("../files.sqlite").unwrap().is_none());
    let wrong = to.put(&private.hash.to_string(), &mut b"changed".as_slice());
    assert!(wrong.is_err());
    drop(to);
    let moved = into.open();
    moved.take_rights().unwrap();
    for (right, bytes) in [(&public, b"public".as_slice()), (&private, b"private")] {
        assert_eq!(
            moved.rights(&right.hash).unwrap(),
            std::slice::from_ref(right)
        );
        assert_eq!(read(&*moved, right).as_deref(), Some(bytes));
    }
}

impl Objects {
    /// Begins an upload in parts, and forgets it.
    fn begin_parts(&self, hash: &crate::files::blobs::FileHash) -> String {
        let (store, path) = (self.store.clone(), self.path(hash));
        let part = self.run(async move {
            let id = store.create_multipart(&path).await?;
            store.put_part(&path, &id, 0, vec![7; 100].into()).await?;
            Ok(id)
        });
        part.unwrap().unwrap()
    }
}
