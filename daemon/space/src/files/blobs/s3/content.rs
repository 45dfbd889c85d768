//! Reading an object as a file: who reads on where they stopped goes on in the same answer of the store. What is asked of
//! it grows while somebody reads on, so that a look at the beginning fetches little and a film takes few requests.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;

use super::Objects;
use super::holds::Hold;
use super::objects::Stream;
use crate::files::blobs::{Content, FileHash};

/// Bytes of the first request, and of the largest.
const FIRST: u64 = 256 << 10;
const MOST: u64 = 64 << 20;

/// See the module.
pub struct ObjectContent {
    objects: Arc<Objects>,
    hash: FileHash,
    size: u64,
    reading: Mutex<Reading>,
    _hold: Option<Hold>,
}

#[derive(Default)]
struct Reading {
    stream: Option<Stream>,
    /// Bytes that came and are not read yet.
    bytes: Bytes,
    /// Where they begin.
    offset: u64,
    /// Bytes of the next request.
    window: u64,
}

impl ObjectContent {
    /// Of an object with this length.
    pub fn new(objects: Arc<Objects>, hash: FileHash, size: u64, hold: Option<Hold>) -> Self {
        Self {
            objects,
            hash,
            size,
            reading: Mutex::default(),
            _hold: hold,
        }
    }

    fn read(&self, reading: &mut Reading, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset != reading.offset || reading.window == 0 {
            *reading = Reading {
                offset,
                window: FIRST,
                ..Reading::default()
            };
        }
        let mut filled = 0;
        while filled < buffer.len() {
            if reading.bytes.is_empty() {
                self.more(reading)?;
            }
            let now = reading.bytes.len().min(buffer.len() - filled);
            buffer[filled..filled + now].copy_from_slice(&reading.bytes.split_to(now));
            filled += now;
            reading.offset += now as u64;
        }
        Ok(())
    }

    /// Waits for more bytes.
    fn more(&self, reading: &mut Reading) -> io::Result<()> {
        let mut tries = 0;
        while reading.bytes.is_empty() {
            let stream = match reading.stream.take() {
                Some(stream) => stream,
                None if reading.offset >= self.size || tries > 1 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {
                    tries += 1;
                    let end = (reading.offset + reading.window).min(self.size);
                    reading.window = (reading.window * 4).min(MOST);
                    self.objects.stream(&self.hash, reading.offset, end)?
                }
            };
            if let Some((bytes, stream)) = self.objects.next(stream)? {
                reading.bytes = bytes;
                reading.stream = Some(stream);
            }
        }
        Ok(())
    }
}

impl Content for ObjectContent {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read(&mut reading, buffer, offset);
        if read.is_err() {
            *reading = Reading::default();
        }
        read
    }
}
