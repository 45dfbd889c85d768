//! The file behind one person's messages: a first line with its version, then a record a line, only ever added to. A
//! line is the first 16 digits of the record's BLAKE3 hash, a space, and the record, which is JSON. What was added is
//! on the disk when [`Log::append`] returns; a line that a loss of power cut short is removed at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::HomeError;
use crate::files;

/// First line of a file.
pub const FIRST_LINE: &str = "warren messages 1";
/// Longest line that is read.
const LINE_BYTES: u64 = 512 * 1024;
/// Digits of a hash, and the space behind them.
const HASH: usize = 16;

/// Where a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    at: u64,
    len: u32,
}

impl Place {
    /// Where it begins.
    pub fn start(self) -> u64 {
        self.at
    }

    /// Bytes of the line.
    pub fn bytes(self) -> u64 {
        self.len.into()
    }
}

/// An open file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    len: u64,
    /// After a write of which nobody knows what is on the disk. Only a start finds out.
    is_broken: bool,
}

fn hash(record: &str) -> String {
    blake3::hash(record.as_bytes()).to_hex()[..HASH].to_owned()
}

fn line(record: &str) -> String {
    format!("{} {record}\n", hash(record))
}

/// The record in a line, if the line is whole.
pub fn record(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (digits, record) = text.split_once(' ')?;
    (digits == hash(record)).then_some(record)
}

impl Log {
    /// Opens a file, or makes one, and gives every record in it to `each`. Lines that cannot be read are passed over.
    pub fn open(path: PathBuf, mut each: impl FnMut(Place, &str)) -> Result<Self, HomeError> {
        if !path.exists() {
            files::write_atomically(&path, format!("{FIRST_LINE}\n").as_bytes())
                .map_err(files::failed("make", &path))?;
        }
        let mut file = open_file(&path).map_err(files::failed("open", &path))?;
        let len = match read_all(&mut file, &path, &mut each) {
            Ok(Some(len)) => len,
            Ok(None) => {
                return Err(HomeError::Damaged {
                    what: format!("it must begin with the line `{FIRST_LINE}`"),
                    path,
                });
            }
            Err(error) => return Err(files::failed("read", &path)(error)),
        };
        let cut = file.set_len(len).and_then(|()| file.sync_data());
        cut.map_err(files::failed("write", &path))?;
        Ok(Self {
            path,
            file,
            len,
            is_broken: false,
        })
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds records: all or none of them. Blocks until they are on the disk.
    pub fn append(&mut self, records: &[String]) -> io::Result<Vec<Place>> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let mut places = Vec::with_capacity(records.len());
        let mut bytes = String::new();
        for record in records {
            let line = line(record);
            let len = u32::try_from(line.len()).map_err(io::Error::other)?;
            if line.len() as u64 > LINE_BYTES {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let at = self.len + bytes.len() as u64;
            places.push(Place { at, len });
            bytes.push_str(&line);
        }
        let written = self
            .file
            .seek(SeekFrom::Start(self.len))
            .and_then(|_| self.file.write_all(bytes.as_bytes()))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let undone = self.file.set_len(self.len);
            self.is_broken = undone.and_then(|()| self.file.sync_data()).is_err();
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(places)
    }

    /// Reads one record.
    pub fn read(&self, place: Place) -> io::Result<String> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.at)?;
        record(&bytes)
            .map(str::to_owned)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Writes the file anew with the records that `keep` wants, and gives what is in it then to
    /// `each`. After a loss of power it is the old file or the new one. Blocks.
    pub fn rewrite(
        &mut self,
        mut keep: impl FnMut(Place, &str) -> bool,
        mut each: impl FnMut(Place, &str),
    ) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut out = io::BufWriter::new(
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)?,
        );
        writeln!(out, "{FIRST_LINE}")?;
        let mut failed = Ok(());
        let mut old = open_file(&self.path)?;
        read_all(&mut old, &self.path, &mut |place, record| {
            if failed.is_ok() && keep(place, record) {
                failed = out.write_all(line(record).as_bytes());
            }
        })?;
        failed?;
        out.into_inner()?.sync_all()?;
        fs::rename(&new, &self.path)?;
        files::sync_names(&self.path)?;
        let mut file = open_file(&self.path)?;
        let len = read_all(&mut file, &self.path, &mut each)?;
        (self.len, self.file, self.is_broken) = (len.unwrap_or(0), file, false);
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Reads the records of a file; how far it is whole, or `None` when it is no such file.
fn read_all(
    file: &mut File,
    path: &Path,
    each: &mut impl FnMut(Place, &str),
) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    read_records(&mut reader, &mut |place, line| match record(line) {
        Some(record) => each(place, record),
        None => log::error!(
            "{}: a line at {} cannot be read and is passed over",
            path.display(),
            place.at
        ),
    })
}

/// The same from any bytes, line by line.
pub fn read_records(
    reader: &mut impl BufRead,
    each: &mut impl FnMut(Place, &[u8]),
) -> io::Result<Option<u64>> {
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        reader.by_ref().take(LINE_BYTES).read_until(b'\n', line)
    };
    let mut at = next(&mut line)? as u64;
    if line != format!("{FIRST_LINE}\n").as_bytes() {
        return Ok(None);
    }
    // A line that is too long comes in pieces, none of which is whole.
    loop {
        let len = next(&mut line)?;
        if len == 0 || (len as u64) < LINE_BYTES && !line.ends_with(b"\n") {
            return Ok(Some(at));
        }
        if let Ok(len) = u32::try_from(len) {
            each(Place { at, len }, &line);
        }
        at += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (Log, Vec<(Place, String)>) {
        let mut found = Vec::new();
        let log = Log::open(path.to_owned(), |place, record| {
            found.push((place, record.to_owned()))
        });
        (log.unwrap(), found)
    }

    #[test]
    fn what_was_added_is_there_and_a_torn_line_is_cut_wherever_it_tore() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.messages");
        let (mut log, found) = open(&path);
        assert!(found.is_empty());
        let records = ["{\"a\":1}".to_owned(), "{\"b\":\"zwei\"}".to_owned()];
        let places = log.append(&records).unwrap();
        assert_eq!(log.read(places[1]).unwrap(), records[1]);
        let whole = fs::read(&path).unwrap();
        let last = places[1].at as usize;
        for cut in last..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, found) = open(&path);
            assert_eq!(found, [(places[0], records[0].clone())], "cut at {cut}");
            log.append(&records[1..]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        for (n, kept) in [(places[0].at as usize + 20, 1), (last + 20, 0)] {
            let mut spoiled = whole.clone();
            spoiled[n] ^= 1;
            fs::write(&path, spoiled).unwrap();
            let (_, found) = open(&path);
            assert_eq!(found.len(), 1, "the other line stays");
            assert_eq!(found[0].1, records[kept]);
        }
        fs::write(&path, "something else\n").unwrap();
        assert!(matches!(
            Log::open(path, |_, _| ()),
            Err(HomeError::Damaged { .. })
        ));
    }

    #[test]
    fn a_file_is_written_anew_without_what_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.messages");
        let (mut log, _) = open(&path);
        let records: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        log.append(&records).unwrap();
        let mut kept = Vec::new();
        log.rewrite(
            |_, record| record != "2",
            |place, record| kept.push((place, record.to_owned())),
        )
        .unwrap();
        assert_eq!(kept.len(), 4);
        for (place, record) in &kept {
            assert_eq!(log.read(*place).unwrap(), *record);
        }
        log.append(&["5".into()]).unwrap();
        let (_, found) = open(&path);
        let found: Vec<&str> = found.iter().map(|(_, record)| record.as_str()).collect();
        assert_eq!(found, ["0", "1", "3", "4", "5"]);
    }
}
