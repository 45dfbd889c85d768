//! The rights to all files in a list beside them, for when a space is moved or backed up: whoever copies the directory has
//! it too. `rights.jsonl`, one JSON object a line: `hash`, `size`, `uploader`, `channel` (or `null`), `type`, `uploaded`.

use std::io;

use nostr::key::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tables::Tables;
use super::{BlobError, FileHash, Right};
use crate::disk::{Disk, DiskFile};
use crate::record::ChannelId;

/// What the list is called.
pub const LIST: &str = "rights.jsonl";
/// While it is written. What ends so is copied by nobody.
const NEW: &str = "rights.jsonl.new";
/// Longest list that is read, bytes: some hundred thousand rights.
const LIST_MAX: u64 = 128 << 20;
/// Bytes that are read or written at a time.
const BUFFER: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    hash: String,
    size: u64,
    uploader: String,
    channel: Option<String>,
    r#type: String,
    uploaded: u64,
}

impl Line {
    fn of(right: Right) -> Self {
        Self {
            hash: right.hash.to_string(),
            size: right.size,
            uploader: right.uploader.to_hex(),
            channel: right.channel.map(|id| id.as_str().to_owned()),
            r#type: right.media_type,
            uploaded: right.uploaded,
        }
    }

    fn right(self) -> Option<Right> {
        let channel = match self.channel {
            Some(id) => Some(ChannelId::parse(&id)?),
            None => None,
        };
        Some(Right {
            hash: FileHash::parse(&self.hash)?,
            size: self.size,
            uploader: PublicKey::from_hex(&self.uploader).ok()?,
            channel,
            media_type: self.r#type,
            uploaded: self.uploaded,
        })
    }
}

fn damaged(what: &str) -> BlobError {
    BlobError::Disk(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()))
}

/// Writes the list; returns once it is on disk.
pub fn note(disk: &dyn Disk, tables: &Tables) -> Result<(), BlobError> {
    let file = disk.create(NEW)?;
    let (mut bytes, mut at) = (Vec::new(), 0);
    let mut flush = |bytes: &mut Vec<u8>| -> Result<(), BlobError> {
        file.write_at(bytes, at)?;
        at += bytes.len() as u64;
        bytes.clear();
        Ok(())
    };
    tables.every_right(&mut |right| {
        serde_json::to_writer(&mut bytes, &Line::of(right)).map_err(io::Error::from)?;
        bytes.push(b'\n');
        if bytes.len() >= BUFFER {
            flush(&mut bytes)?;
        }
        Ok(())
    })?;
    flush(&mut bytes)?;
    file.sync()?;
    disk.rename(NEW, LIST)?;
    disk.sync_names()?;
    Ok(())
}

/// Takes the rights of the list, if there is one, and removes it. Rights to files that are not here are passed over: the
/// file was deleted while it was copied.
/// `is_there` says of the first right to a file whether the file is, and fails where it is another one.
pub fn take(
    disk: &dyn Disk,
    tables: &mut Tables,
    is_there: &dyn Fn(&Right) -> Result<bool, BlobError>,
) -> Result<(), BlobError> {
    let names = disk.list()?;
    if !names.iter().any(|name| name == LIST) {
        return Ok(());
    }
    let file = disk.open(LIST)?;
    let length = file.len()?;
    if length > LIST_MAX {
        return Err(damaged("the list of rights is too long"));
    }
    let mut text = vec![0; usize::try_from(length).map_err(|_| damaged("too long"))?];
    file.read_at(&mut text, 0)?;
    let mut checked: Option<(FileHash, bool)> = None;
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line: Line =
            serde_json::from_slice(line).map_err(|_| damaged("the list of rights is damaged"))?;
        let right = line
            .right()
            .ok_or(damaged("the list of rights is damaged"))?;
        let (hash, here) = match checked {
            Some((hash, here)) if hash == right.hash => (hash, here),
            _ => (right.hash, tables.has(&right.hash)? || is_there(&right)?),
        };
        checked = Some((hash, here));
        if here {
            tables.add(&right, None)?;
        }
    }
    disk.remove(LIST)?;
    Ok(())
}

/// Whether a file is in a directory, as its name and length say.
pub fn is_there(disk: &dyn Disk, right: &Right) -> Result<bool, BlobError> {
    let found = match disk.open(&right.hash.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if found.len()? != right.size || hash_of(&*found)? != right.hash {
        return Err(damaged("a file is not what its name says"));
    }
    Ok(true)
}

fn hash_of(file: &dyn DiskFile) -> Result<FileHash, BlobError> {
    let (length, mut at) = (file.len()?, 0);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    while at < length {
        let part = usize::try_from(length - at).unwrap_or(BUFFER).min(BUFFER);
        file.read_at(&mut buffer[..part], at)?;
        hasher.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(FileHash::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::Directory;
    use crate::files::blobs::Blobs;
    use crate::files::blobs::embedded::EmbeddedBlobs;
    use crate::testing::Person;

    fn open(dir: &Path) -> EmbeddedBlobs {
        let disk = Directory::open(&dir.join("files")).unwrap();
        EmbeddedBlobs::open(Arc::new(disk), &dir.join("files.sqlite")).unwrap()
    }

    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from.join("files")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join("files").join(entry.file_name())).unwrap();
        }
    }

    #[test]
    fn files_travel_with_who_may_see_them_and_changed_ones_are_refused() {
        let (from, to, other) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        let blobs = open(from.path());
        let ann = Person::new(1).key();
        let mut rights = Vec::new();
        for (text, channel) in [("public", None), ("private", Some("tools"))] {
            let mut draft = blobs.draft().unwrap();
            draft.write(text.as_bytes()).unwrap();
            let right = Right {
                hash: draft.hash().unwrap(),
                size: text.len() as u64,
                uploader: ann,
                channel: channel.and_then(ChannelId::parse),
                media_type: "text/plain".into(),
                uploaded: 7,
            };
            draft.publish(&right).unwrap();
            rights.push(right);
        }
        blobs.note_rights().unwrap();
        let moved = open(to.path());
        copy(from.path(), to.path());
        moved.take_rights().unwrap();
        drop(moved);
        // A start removes what has no right: nothing of this has none.
        let moved = open(to.path());
        for right in &rights {
            let found = moved.rights(&right.hash).unwrap();
            assert_eq!(found, std::slice::from_ref(right));
            let mut bytes = vec![0; right.size as usize];
            let content = moved.open(&right.hash).unwrap().unwrap();
            content.read_at(&mut bytes, 0).unwrap();
        }
        assert!(!to.path().join("files").join(LIST).exists());
        let changed = open(other.path());
        copy(from.path(), other.path());
        let name = rights[1].hash.to_string();
        fs::write(other.path().join("files").join(name), "PRIVATE").unwrap();
        assert!(changed.take_rights().is_err());
        // Who vanishes is not in the list any more.
        let listed = || fs::read_to_string(from.path().join("files").join(LIST)).unwrap();
        blobs.forget_person(&ann, 6).unwrap();
        assert_eq!(blobs.total().files, 2, "what came later stays");
        assert!(listed().contains(&ann.to_hex()));
        blobs.forget_person(&ann, 7).unwrap();
        assert_eq!((blobs.total().files, blobs.total().bytes), (0, 0));
        assert_eq!(listed(), "");
        assert!(!blobs.knows(&ann).unwrap());
    }
}
