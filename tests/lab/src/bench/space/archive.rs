//! Large spaces, made as an archive that `warrend space import` takes (its form is in the daemon's README): every event
//! is signed, and every signature is checked on the way in.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use tar::{Builder, Header};

use super::people::{Person, now, words};
use super::relay::TITLE;
use crate::error::{LabError, Result};

/// People who wrote the messages.
pub const AUTHORS: u32 = 200;
/// Messages of one entry of the archive.
const PART: u64 = 4096;
/// Seconds between two messages.
const APART: u64 = 26;
/// The last one's age: the dates are the same in every run of a day, but none lies in the future.
const AGE: u64 = 3600;

struct Archive {
    tar: Builder<BufWriter<File>>,
    hash: blake3::Hasher,
}

impl Archive {
    fn add(&mut self, name: &str, mut bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(name.as_bytes());
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
        self.append(name, &mut bytes)
    }

    fn append(&mut self, name: &str, bytes: &mut &[u8]) -> std::io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        self.tar.append(&header, bytes.by_ref())
    }
}

/// Writes an archive of a space with so many messages.
pub fn write(path: &Path, messages: u64) -> Result<()> {
    let failed = || LabError::io(format!("writing {}", path.display()));
    let file = File::create(path).map_err(failed())?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(failed())?;
    let mut archive = Archive {
        tar: Builder::new(BufWriter::new(file)),
        hash: blake3::Hasher::new(),
    };
    let record = format!("version = 1\nname = \"{TITLE}\"\nvisible = true\nport = 7447\n");
    let secret = "11".repeat(32);
    for (name, text) in [
        ("version", "warren-space-archive 1\n".to_owned()),
        ("space.toml", record),
        ("service.key", format!("warren-service-key 1 {secret}\n")),
        ("space.key", format!("warren space key 1\n{secret}\n")),
    ] {
        archive.add(name, text.as_bytes()).map_err(failed())?;
    }
    let people = (0..AUTHORS).map(Person::new).collect::<Result<Vec<_>>>()?;
    let first = now() - AGE - messages * APART;
    let workers = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let parts = messages.div_ceil(PART);
    for round in 0..parts.div_ceil(workers) {
        let texts: Vec<Result<String>> = thread::scope(|scope| {
            let handles: Vec<_> = (round * workers..parts.min((round + 1) * workers))
                .map(|part| {
                    let people = &people;
                    let last = messages.min((part + 1) * PART);
                    scope.spawn(move || lines(people, part * PART..last, first))
                })
                .collect();
            let joined = handles.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|text| text.unwrap_or_else(|_| Err(LabError::Unknown("signer".into()))))
                .collect()
        });
        for (n, text) in texts.into_iter().enumerate() {
            let name = format!("events/{:08}.jsonl", round * workers + n as u64 + 1);
            archive.add(&name, text?.as_bytes()).map_err(failed())?;
        }
    }
    let end = format!(
        "{{\"events\":{messages},\"files\":0,\"blake3\":\"{}\"}}",
        archive.hash.finalize().to_hex()
    );
    archive
        .append("end.json", &mut end.as_bytes())
        .map_err(failed())?;
    let mut out = archive.tar.into_inner().map_err(failed())?;
    out.flush().map_err(failed())
}

fn lines(people: &[Person], numbers: std::ops::Range<u64>, first: u64) -> Result<String> {
    let mut text = String::new();
    for number in numbers {
        let person = &people[(number % u64::from(AUTHORS)) as usize];
        text += &person.message(first + number * APART, &words(number))?;
        text.push('\n');
    }
    Ok(text)
}
