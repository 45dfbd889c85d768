//! A whole space in one file: a tar archive (POSIX ustar), so that everybody can look into it. Secret: it holds the keys.
//!
//! | entry, in this order | what |
//! |---|---|
//! | `version` | `warren-space-archive 1` |
//! | `space.toml`, `service.key`, `space.key` | as they are in a space's directory |
//! | `channels/N.jsonl` | `["id","channel"]` a line, for events of the next entry whose tags do not name their channel |
//! | `events/N.jsonl` | one event a line as NIP-01 writes it, in the order in which they came; N from 00000001 |
//! | `files/NAME` | files beside the events |
//! | `end.json` | `{"events":N,"files":N,"blake3":HEX}`: the hash of name, length (8 bytes, little endian) and bytes of each entry before |
//!
//! An archive without its end was cut, and is refused. `tar xOf FILE --wildcards 'events/*' | strfry import` hands the
//! events to another relay.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};
use warren_space::export::is_extra_name;

use super::incoming::{Incoming, Place};
use super::source::Of;
use super::{Progress, lines, source};
use crate::control::protocol::Papers;
use crate::error::DaemonError;
use crate::services::record::SpaceRecord;

const VERSION: &str = "warren-space-archive 1\n";
/// Longest of the small entries, bytes.
const SMALL_MAX: u64 = 16 * 1024;
/// Longest list of channels, bytes.
const CHANNELS_MAX: u64 = 16 << 20;

/// What went over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The title of the space.
    pub title: String,
    /// What it is called on this box.
    pub id: String,
    /// Events.
    pub events: u64,
    /// Files.
    pub files: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    events: u64,
    files: u64,
    blake3: String,
}

struct Writer<W: Write> {
    tar: Builder<W>,
    hash: blake3::Hasher,
}

impl<W: Write> Writer<W> {
    fn add(&mut self, name: &str, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_cksum();
        begin(&mut self.hash, name, size);
        let mut hashed = Hashed {
            inner: bytes.take(size),
            hash: &mut self.hash,
            read: 0,
        };
        self.tar.append(&header, &mut hashed)?;
        let same_length = hashed.read == size && bytes.read(&mut [0])? == 0;
        if same_length {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "{name} changed while it was read; try again"
            )))
        }
    }

    fn add_text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.add(name, text.len() as u64, &mut text.as_bytes())
    }
}

fn begin(hash: &mut blake3::Hasher, name: &str, size: u64) {
    hash.update(name.as_bytes());
    hash.update(&size.to_le_bytes());
}

/// Hashes what passes.
struct Hashed<'a, R> {
    inner: R,
    hash: &'a mut blake3::Hasher,
    read: u64,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// Writes a space of the daemon at `socket` into a new file, for its owner's eyes alone. The file has its name only when
/// all of it is on disk.
pub fn export(socket: &Path, space: &str, file: &Path) -> Result<Summary, DaemonError> {
    if file.exists() {
        return Err(DaemonError::Exists(file.to_path_buf()));
    }
    let failed = |error| DaemonError::file("write", file, error);
    let papers = source::papers(socket, space)?;
    let mut half = file.as_os_str().to_owned();
    half.push(".new");
    let (half, out) = Unfinished::create(PathBuf::from(half)).map_err(failed)?;
    let mut writer = Writer {
        tar: Builder::new(BufWriter::new(out)),
        hash: blake3::Hasher::new(),
    };
    let mut summary = Summary {
        id: papers.id.clone(),
        ..Summary::default()
    };
    let record = SpaceRecord::parse(&papers.record).map(|record| SpaceRecord {
        closed: false,
        ..record
    });
    let record = record.ok_or_else(|| {
        DaemonError::Refused("its record of the space is none of this version".into())
    })?;
    summary.title.clone_from(&record.title);
    writer.add_text("version", VERSION).map_err(failed)?;
    for (name, text) in [
        ("space.toml", &record.render()),
        ("service.key", &papers.service_key),
        ("space.key", &papers.space_key),
    ] {
        writer.add_text(name, text).map_err(failed)?;
    }
    let progress = Progress::new();
    let mut number = 0_u32;
    source::events(socket, &papers.id, |part| {
        if part.count == 0 {
            return Ok(());
        }
        number += 1;
        if !part.channels.is_empty() {
            let name = format!("channels/{number:08}.jsonl");
            writer.add_text(&name, &part.channels).map_err(failed)?;
        }
        let name = format!("events/{number:08}.jsonl");
        writer.add_text(&name, &part.events).map_err(failed)?;
        summary.events += part.count;
        progress.tell(summary.events, 0);
        Ok(())
    })?;
    for extra in source::files(socket, Of::Space(&papers.id))? {
        let mut bytes = source::file(socket, Of::Space(&papers.id), &extra.name)?;
        let name = format!("files/{}", extra.name);
        writer.add(&name, extra.size, &mut bytes).map_err(failed)?;
        summary.files += 1;
        progress.tell(summary.events, summary.files);
    }
    let end = End {
        events: summary.events,
        files: summary.files,
        blake3: writer.hash.finalize().to_hex().to_string(),
    };
    let end = serde_json::to_string(&end).unwrap_or_default();
    let finish = |mut writer: Writer<BufWriter<File>>| {
        writer.add_text("end.json", &end)?;
        let out = writer.tar.into_inner()?.into_inner()?;
        out.sync_all()?;
        std::fs::rename(&half.0, file)?;
        let parent = file.parent().filter(|parent| *parent != Path::new(""));
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    finish(writer).map_err(failed)?;
    Ok(summary)
}

/// A file that goes away unless it got its name.
pub(super) struct Unfinished(pub PathBuf);

impl Unfinished {
    /// A new one, for its owner's eyes alone.
    pub(super) fn create(path: PathBuf) -> io::Result<(Self, File)> {
        let half = Self(path);
        // What an earlier run left may belong to somebody else, be open to others, or lead elsewhere.
        match std::fs::remove_file(&half.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&half.0)?;
        Ok((half, out))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What is in an archive, as it is read.
pub trait Visitor {
    /// What an error of the visitor is.
    type Error;
    /// Which space it is.
    fn papers(&mut self, papers: &Papers) -> Result<(), Self::Error>;
    /// The next event, and its channel where its tags do not name it.
    fn event(&mut self, json: &str, channel: Option<&str>) -> Result<(), Self::Error>;
    /// The next file.
    fn file(&mut self, name: &str, bytes: &mut dyn Read) -> Result<(), Self::Error>;
}

/// Reads a whole archive. What was given to `visitor` counts only if this returns without an error: the last thing that
/// is looked at is the checksum. Memory is bounded whatever is in the archive.
pub fn read<V: Visitor>(
    archive: impl Read,
    visitor: &mut V,
) -> Result<Summary, ReadError<V::Error>> {
    let mut archive = Archive::new(archive);
    let mut hash = blake3::Hasher::new();
    let mut small = Vec::new();
    let mut channels = HashMap::new();
    let mut summary = Summary::default();
    // Raw: nothing that would make this hold a long name in memory is understood.
    for entry in archive.entries()?.raw(true) {
        let entry = entry?;
        let header = entry.header();
        let name = String::from_utf8(header.path_bytes().into_owned())
            .map_err(|_| ReadError::what("a name in it is no text"))?;
        let size = header.entry_size()?;
        if header.entry_type() != EntryType::Regular {
            return Err(ReadError::what(format!("{name:?} is no plain file")));
        }
        if name == "end.json" {
            let end: End = serde_json::from_str(&text(entry, SMALL_MAX)?)
                .map_err(|error| ReadError::what(error.to_string()))?;
            let sound = end.blake3 == hash.finalize().to_hex().as_str()
                && (end.events, end.files) == (summary.events, summary.files);
            if !sound || small.len() < PAPERS.len() {
                return Err(ReadError::what(
                    "its checksum is wrong: it was changed or damaged",
                ));
            }
            return Ok(summary);
        }
        begin(&mut hash, &name, size);
        let mut hashed = Hashed {
            inner: entry,
            hash: &mut hash,
            read: 0,
        };
        if let Some(expected) = PAPERS.get(small.len()) {
            if name != *expected {
                return Err(ReadError::what("it is no archive of a space"));
            }
            small.push(text(&mut hashed, SMALL_MAX)?);
            if small.len() == 1 && small[0] != VERSION {
                return Err(ReadError::what("it is of another version"));
            }
            if let [_, record, service_key, space_key] = &small[..] {
                summary.title = SpaceRecord::parse(record).map_or_else(String::new, |r| r.title);
                let papers = Papers {
                    id: String::new(),
                    record: record.clone(),
                    service_key: service_key.clone(),
                    space_key: space_key.clone(),
                };
                visitor.papers(&papers).map_err(ReadError::Visitor)?;
            }
        } else if name.starts_with("channels/") {
            channels.clear(); // each list is for the events right behind it
            let list = text(&mut hashed, CHANNELS_MAX)?;
            for line in list.lines() {
                let (id, channel): (String, String) = serde_json::from_str(line)
                    .map_err(|error| ReadError::what(format!("{name}: {error}")))?;
                channels.insert(id, channel);
            }
        } else if name.starts_with("events/") {
            let mut from = BufReader::new(&mut hashed);
            while let Some(line) = lines::next(&mut from)? {
                let channel = lines::channel_of(&line, &mut channels)
                    .map_err(|error| ReadError::what(format!("{name}: {error}")))?;
                visitor
                    .event(&line, channel.as_deref())
                    .map_err(ReadError::Visitor)?;
                summary.events += 1;
            }
            channels.clear();
        } else if let Some(name) = name
            .strip_prefix("files/")
            .filter(|name| is_extra_name(name))
        {
            visitor
                .file(name, &mut hashed)
                .map_err(ReadError::Visitor)?;
            io::copy(&mut hashed, &mut io::sink())?;
            summary.files += 1;
        } else {
            return Err(ReadError::what(format!("nobody knows what {name:?} is")));
        }
    }
    Err(ReadError::what("its end is missing: it was cut"))
}

const PAPERS: [&str; 4] = ["version", "space.toml", "service.key", "space.key"];

/// Why an archive could not be read.
#[derive(Debug)]
pub enum ReadError<E> {
    /// What is wrong with it.
    Archive(String),
    /// What the visitor said.
    Visitor(E),
}

impl<E> ReadError<E> {
    fn what(what: impl Into<String>) -> Self {
        Self::Archive(what.into())
    }
}

impl<E> From<io::Error> for ReadError<E> {
    fn from(error: io::Error) -> Self {
        Self::Archive(error.to_string())
    }
}

fn text(from: impl Read, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    from.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other("a part of it is too long"));
    }
    Ok(text)
}

struct Import<'a> {
    place: &'a Place,
    file: &'a Path,
    incoming: Option<Incoming<'a>>,
    progress: Progress,
    events: u64,
}

impl Visitor for Import<'_> {
    type Error = DaemonError;

    fn papers(&mut self, papers: &Papers) -> Result<(), DaemonError> {
        self.incoming = Some(Incoming::begin(self.place, self.file, papers)?);
        Ok(())
    }

    fn event(&mut self, json: &str, channel: Option<&str>) -> Result<(), DaemonError> {
        self.events += 1;
        if self.events.is_multiple_of(1000) {
            self.progress.tell(self.events, 0);
        }
        match &mut self.incoming {
            Some(incoming) => incoming.event(json, channel),
            None => Ok(()),
        }
    }

    fn file(&mut self, name: &str, bytes: &mut dyn Read) -> Result<(), DaemonError> {
        match &mut self.incoming {
            Some(incoming) => incoming.file(name, bytes),
            None => Ok(()),
        }
    }
}

/// Makes the space in an archive appear on a box that does not have it.
pub fn import(place: &Place, file: &Path) -> Result<Summary, DaemonError> {
    let archive = File::open(file).map_err(|error| DaemonError::file("read", file, error))?;
    let mut import = Import {
        place,
        file,
        incoming: None,
        progress: Progress::new(),
        events: 0,
    };
    let unusable = |what: String| DaemonError::Unusable {
        path: file.to_path_buf(),
        what,
    };
    let read = read(BufReader::with_capacity(64 * 1024, archive), &mut import);
    let mut summary = read.map_err(|error| match error {
        ReadError::Archive(what) => unusable(what),
        ReadError::Visitor(error) => error,
    })?;
    let incoming = import.incoming.take();
    let incoming = incoming.ok_or_else(|| unusable("it is empty".into()))?;
    summary.id = incoming.finish()?;
    Ok(summary)
}
