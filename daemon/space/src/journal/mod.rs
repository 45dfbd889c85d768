//! The journal: the truth about what a space was told, in append-only segments. What [`Journal::append`] returned from
//! is safe from a loss of power. It knows nothing of what the records mean, except that an event begins with its id.

pub mod segment;
mod window;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nostr::event::EventId;

use crate::disk::{Disk, DiskFile};
use crate::record::peek_id;
use segment::{Found, HEADER_BYTES, Header, PAYLOAD_BYTES, RecordKind, Scanner};
pub use window::Window;

/// Bytes after which a new segment is begun. An erasure writes one segment anew, so this bounds its cost.
const SEGMENT_BYTES: u32 = 1 << 20;
/// Files kept open for reading.
const OPEN_FILES: usize = 24;

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment.
    pub segment: u32,
    /// Bytes from the segment's beginning.
    pub offset: u32,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self {
        segment: 0,
        offset: 0,
    };
}

/// Where an event was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where its record begins.
    pub position: Position,
    /// Bytes of the record, its header included.
    pub length: u32,
}

/// What was appended.
#[derive(Debug)]
pub struct Appended {
    /// Each event, in order.
    pub events: Vec<Written>,
    /// Behind the last event and before the erasure.
    pub events_end: Position,
}

/// Segments on a disk. Order of locks: `writer`, then `segments` or `files`.
pub struct Journal {
    disk: Arc<dyn Disk>,
    writer: Mutex<Writer>,
    /// What is safe. Apart from the writer, who is mostly waiting for the disk: nobody who reads waits with it.
    segments: Mutex<BTreeMap<u32, Segment>>,
    files: Mutex<Vec<(u32, Arc<dyn DiskFile>)>>,
}

struct Writer {
    active: Option<Active>,
    next: u32,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Segment {
    generation: u32,
    length: u32,
}

struct Active {
    number: u32,
    file: Box<dyn DiskFile>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

fn file_name(number: u32) -> String {
    format!("{number:08x}.journal")
}

fn file_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".journal")?;
    (digits.len() == 8)
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Journal {
    /// Opens the segments on `disk` and cuts a torn tail. Everything before `durable` is known to have been
    /// acknowledged, so nothing before it is ever cut.
    pub fn open(disk: Arc<dyn Disk>, durable: Position) -> io::Result<Self> {
        let mut segments = BTreeMap::new();
        let mut last = 0;
        for name in disk.list()? {
            if name.ends_with(".new") {
                disk.remove(&name)?; // a rewriting that was not finished: the old file is still whole
            } else if let Some(number) = file_number(&name) {
                last = last.max(number);
                let file = disk.open(&name)?;
                let length = u32::try_from(file.len()?)
                    .map_err(|_| invalid("a segment is longer than 4 GiB"))?;
                let mut bytes = [0; HEADER_BYTES as usize];
                let header = if length < HEADER_BYTES {
                    None
                } else {
                    file.read_at(&mut bytes, 0)
                        .map(|()| Header::decode(&bytes))?
                };
                if let Some(version) = Header::later_version(&bytes) {
                    // Its events must not be taken for lost, nor its end for torn.
                    let what = format!(
                        "a newer program wrote {name} (version {version}); install that one again"
                    );
                    return Err(io::Error::new(io::ErrorKind::Unsupported, what));
                }
                match header.filter(|header| header.number == number) {
                    Some(header) => {
                        segments.insert(
                            number,
                            Segment {
                                generation: header.generation,
                                length,
                            },
                        );
                    }
                    None => log::error!(
                        "journal segment {name} has no valid header and is left out; restore it from a backup"
                    ),
                }
            }
        }
        if last > 0 && !segments.contains_key(&last) {
            // Begun, but nothing in it was ever acknowledged: its header is made safe together with its first record.
            let name = file_name(last);
            disk.rename(&name, &format!("{name}.damaged"))?;
            disk.sync_names()?;
        }
        let writer = Writer {
            active: None,
            next: last + 1,
            buffer: Vec::new(),
        };
        let journal = Self {
            disk,
            writer: Mutex::new(writer),
            segments: Mutex::new(segments),
            files: Mutex::new(Vec::new()),
        };
        journal.cut_torn_tail(durable)?;
        Ok(journal)
    }

    fn cut_torn_tail(&self, durable: Position) -> io::Result<()> {
        let mut writer = self.writer();
        let last = self.safe().last_key_value().map(|(n, s)| (*n, *s));
        let Some((number, segment)) = last else {
            return Ok(());
        };
        let file = self.disk.open(&file_name(number))?;
        let bytes = read_all(&*file, segment.length)?;
        let from = if durable.segment == number {
            durable.offset
        } else {
            0
        };
        let mut scanner = Scanner::new(&bytes, from);
        let mut whole = scanner.offset();
        while let Some(Found::Record { .. }) = scanner.next() {
            whole = scanner.offset();
        }
        if whole < segment.length {
            log::warn!(
                "journal segment {} ends in {} bytes that were never acknowledged; they are cut",
                file_name(number),
                segment.length - whole
            );
            file.set_len(whole.into())?;
            file.sync()?;
            let cut = Segment {
                length: whole,
                ..segment
            };
            self.safe().insert(number, cut);
        }
        if whole < SEGMENT_BYTES {
            writer.active = Some(Active { number, file });
        }
        Ok(())
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn safe(&self) -> MutexGuard<'_, BTreeMap<u32, Segment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn segment(&self, number: u32) -> io::Result<Segment> {
        let segment = self.safe().get(&number).copied();
        segment.ok_or_else(|| invalid("the segment is unknown"))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.safe()
            .values()
            .map(|segment| u64::from(segment.length))
            .sum()
    }

    /// The number, generation and length of each segment.
    pub fn segments(&self) -> Vec<(u32, u32, u32)> {
        self.safe()
            .iter()
            .map(|(number, segment)| (*number, segment.generation, segment.length))
            .collect()
    }

    /// Where the next record goes, or a place no record lies behind.
    pub fn end(&self) -> Position {
        self.safe()
            .last_key_value()
            .map_or(Position::START, |(number, segment)| Position {
                segment: *number,
                offset: segment.length,
            })
    }

    /// Appends events, then the erasure (if not empty), and returns when all of it is safe from a loss of power.
    /// After an error nothing of it counts: it is cut off again as far as the disk allows.
    pub fn append(
        &self,
        events: &[impl Fn(&mut Vec<u8>)],
        erasure: &[EventId],
    ) -> io::Result<Appended> {
        let mut writer = self.writer();
        let writer = &mut *writer;
        writer.buffer.clear();
        if let Some(active) = &writer.active
            && self
                .segment(active.number)
                .map_or(true, |segment| segment.length >= SEGMENT_BYTES)
        {
            writer.active = None;
        }
        let fresh = writer.active.is_none();
        let (number, generation, start) = match &writer.active {
            Some(active) => {
                let segment = self.segment(active.number)?;
                (active.number, segment.generation, segment.length)
            }
            None => (writer.next, 0, 0),
        };
        if fresh {
            writer
                .buffer
                .extend_from_slice(&Header { number, generation }.encode());
        }
        let place = |length: usize| start + length as u32; // a batch is far below 4 GiB: PAYLOAD_BYTES and the batch's limit
        let mut written = Vec::with_capacity(events.len());
        for event in events {
            let offset = place(writer.buffer.len());
            segment::write_record(&mut writer.buffer, RecordKind::Event, event);
            let length = place(writer.buffer.len()) - offset;
            if length > PAYLOAD_BYTES {
                return Err(invalid("the event is too long for the journal"));
            }
            written.push(Written {
                position: Position {
                    segment: number,
                    offset,
                },
                length,
            });
        }
        let events_end = Position {
            segment: number,
            offset: place(writer.buffer.len()),
        };
        if !erasure.is_empty() {
            segment::write_record(&mut writer.buffer, RecordKind::Erasure, |out| {
                erasure
                    .iter()
                    .for_each(|id| out.extend_from_slice(id.as_bytes()));
            });
        }
        let end = Position {
            segment: number,
            offset: place(writer.buffer.len()),
        };
        let active = match writer.active.take() {
            Some(active) => active,
            None => Active {
                number,
                file: self.disk.create(&file_name(number))?,
            },
        };
        let result = write_and_sync(&*active.file, &writer.buffer, start).and_then(|()| {
            if fresh {
                self.disk.sync_names()
            } else {
                Ok(())
            }
        });
        if let Err(error) = result {
            writer.give_up(active, start, fresh, &*self.disk);
            return Err(error);
        }
        writer.active = Some(active);
        writer.next = writer.next.max(number + 1);
        let grown = Segment {
            generation,
            length: end.offset,
        };
        self.safe().insert(number, grown);
        writer.buffer.shrink_to(64 * 1024);
        Ok(Appended {
            events: written,
            events_end,
        })
    }

    /// Calls `each` for every whole record from `from` on, in the order they were written.
    pub fn replay<E: From<io::Error>>(
        &self,
        from: Position,
        mut each: impl FnMut(Written, RecordKind, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (number, _, length) in self.segments() {
            if number < from.segment {
                continue;
            }
            let bytes = read_all(&*self.file(number)?, length)?;
            let offset = if number == from.segment {
                from.offset
            } else {
                0
            };
            let mut scanner = Scanner::new(&bytes, offset);
            while let Some(found) = scanner.next() {
                match found {
                    Found::Record {
                        offset,
                        kind: Some(kind),
                        payload,
                    } => {
                        let position = Position {
                            segment: number,
                            offset,
                        };
                        each(
                            Written {
                                position,
                                length: scanner.offset() - offset,
                            },
                            kind,
                            payload,
                        )?;
                    }
                    Found::Record { .. } => {}
                    Found::Damaged { offset } => log::error!(
                        "journal segment {}: the record at byte {offset} is damaged and left out",
                        file_name(number)
                    ),
                }
            }
            if !scanner.at_end() {
                log::error!(
                    "journal segment {}: what lies behind byte {} cannot be read",
                    file_name(number),
                    scanner.offset()
                );
            }
        }
        Ok(())
    }

    /// The payload of a record.
    pub fn read(&self, position: Position) -> io::Result<Vec<u8>> {
        let mut window = Window::default();
        self.read_near(position, &mut window).map(<[u8]>::to_vec)
    }

    /// The same by way of a window, for who reads several. The caller keeps segments from being written anew meanwhile.
    pub fn read_near<'a>(
        &self,
        position: Position,
        window: &'a mut Window,
    ) -> io::Result<&'a [u8]> {
        if window.record(position).is_none() {
            let file = self.file(position.segment)?;
            window.move_to(&*file, position, self.segment(position.segment)?.length)?;
        }
        match window.record(position) {
            Some((header, payload)) if header.fits(payload) => Ok(payload),
            _ => Err(invalid("a record of the journal is damaged")),
        }
    }

    /// Writes a segment anew without the events that `keep` refuses, and returns the segment's new generation and
    /// where the events that stayed lie now. The old bytes are gone from the file system when this returns.
    pub fn rewrite(
        &self,
        number: u32,
        keep: impl Fn(Position, &EventId) -> bool,
    ) -> io::Result<(u32, Vec<(EventId, Written)>)> {
        let mut writer = self.writer();
        let segment = self.segment(number)?;
        if writer
            .active
            .as_ref()
            .is_some_and(|active| active.number == number)
        {
            writer.active = None; // what comes next goes into a new segment
        }
        let generation = segment.generation + 1;
        let bytes = read_all(&*self.file(number)?, segment.length)?;
        let mut out = Header { number, generation }.encode().to_vec();
        let mut stayed = Vec::new();
        let mut seen = HashSet::new();
        let mut scanner = Scanner::new(&bytes, 0);
        while let Some(found) = scanner.next() {
            let Found::Record {
                offset,
                kind,
                payload,
            } = found
            else {
                continue;
            };
            let place = out.len() as u32;
            let length = scanner.offset() - offset;
            if kind == Some(RecordKind::Event) {
                let Some(id) = peek_id(payload) else { continue };
                if !keep(
                    Position {
                        segment: number,
                        offset,
                    },
                    &id,
                ) || !seen.insert(id)
                {
                    continue;
                }
                stayed.push((
                    id,
                    Written {
                        position: Position {
                            segment: number,
                            offset: place,
                        },
                        length,
                    },
                ));
            }
            out.extend_from_slice(&bytes[offset as usize..scanner.offset() as usize]);
        }
        let name = file_name(number);
        let new_name = format!("{name}.new");
        let file = self.disk.create(&new_name)?;
        write_and_sync(&*file, &out, 0)?;
        self.disk.rename(&new_name, &name)?;
        self.disk.sync_names()?;
        self.files().retain(|(open, _)| *open != number);
        let rewritten = Segment {
            generation,
            length: out.len() as u32,
        };
        self.safe().insert(number, rewritten);
        Ok((generation, stayed))
    }

    fn files(&self) -> MutexGuard<'_, Vec<(u32, Arc<dyn DiskFile>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = self.files();
        if let Some((_, file)) = files.iter().find(|(open, _)| *open == number) {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn DiskFile> = self.disk.open(&file_name(number))?.into();
        if files.len() >= OPEN_FILES {
            files.remove(0);
        }
        files.push((number, Arc::clone(&file)));
        Ok(file)
    }
}

impl Writer {
    /// After a failed append: cuts off what may have been written. A file whose end is not known is not written again.
    fn give_up(&mut self, active: Active, start: u32, fresh: bool, disk: &dyn Disk) {
        if fresh {
            // The number is not used again, in case the file cannot be removed.
            self.next = self.next.max(active.number + 1);
            drop(active.file);
            let _ = disk.remove(&file_name(active.number));
        } else if active
            .file
            .set_len(start.into())
            .and_then(|()| active.file.sync())
            .is_ok()
        {
            self.active = Some(active);
        }
    }
}

fn write_and_sync(file: &dyn DiskFile, bytes: &[u8], offset: u32) -> io::Result<()> {
    file.write_at(bytes, offset.into())?;
    file.sync()
}

fn read_all(file: &dyn DiskFile, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
