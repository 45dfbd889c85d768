//! All of a space or of the home as streams, for exports and backups. Each runs on a thread of its own and waits for its
//! reader; there are few at a time.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warren_space::export::{Exported, Extras, Tree};
use warren_space::stores::Stores;

use super::manage::Reader;
use crate::control::protocol::{CHUNK_MAX, ControlError, ErrorCode, EventLine, FileLine};
use crate::control::server::{Piece, Reply, unavailable};
use crate::reserve::Reserve;

/// Streams at a time.
const STREAMS_MAX: usize = 4;
/// Parts that wait for a slow reader.
const WAITING_MAX: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct Reading {
    slots: Arc<Semaphore>,
    home: PathBuf,
    reserve: Reserve,
    stores: Arc<Stores>,
}

/// Opens files where they are read: that may take a question to a server.
pub type Opener = Box<dyn FnOnce() -> io::Result<Box<dyn Extras>> + Send>;

/// Where the bytes of a stream go.
struct Out {
    to: Sender<Result<Piece, ControlError>>,
    buffer: Vec<u8>,
    _slot: OwnedSemaphorePermit,
}

/// The reader has gone.
struct Gone;

impl Out {
    fn send(&mut self, piece: Result<Piece, ControlError>) -> Result<(), Gone> {
        self.to.blocking_send(piece).map_err(|_| Gone)
    }

    fn flush(&mut self) -> Result<(), Gone> {
        let buffer = std::mem::take(&mut self.buffer);
        for chunk in buffer.chunks(CHUNK_MAX) {
            self.send(Ok(Piece::Bytes(chunk.to_vec())))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Gone> {
        self.buffer.extend_from_slice(line);
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK_MAX / 2 {
            self.flush()?;
        }
        Ok(())
    }

    fn fail(&mut self, error: impl ToString) -> Result<(), Gone> {
        let error = error.to_string();
        log::error!("reading for an export or a backup: {error}");
        self.send(Err(ControlError::new(ErrorCode::Disk, error)))
    }

    fn end(&mut self) -> Result<(), Gone> {
        self.flush()?;
        self.send(Ok(Piece::End))
    }
}

impl Reading {
    /// With the home's files in this directory, and the servers that have the files of spaces.
    pub fn new(home: PathBuf, reserve: Reserve, stores: Arc<Stores>) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(STREAMS_MAX)),
            home,
            reserve,
            stores,
        }
    }

    fn start(
        &self,
        run: impl FnOnce(&mut Out) -> Result<(), Gone> + Send + 'static,
    ) -> Result<Reply, ControlError> {
        let slot = Arc::clone(&self.slots)
            .try_acquire_owned()
            .map_err(|_| unavailable())?;
        let (to, from): (_, Receiver<Result<Piece, ControlError>>) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name(String::from("reading"));
        let started = thread.spawn(move || {
            let mut out = Out {
                to,
                buffer: Vec::new(),
                _slot: slot,
            };
            // A reader that has gone needs no answer.
            let _ = run(&mut out);
        });
        started.map_err(|_| unavailable())?;
        Ok(Reply::Stream(from))
    }

    /// A space's events: [`EventLine`]s in the order in which they came, and an empty line behind each part that is
    /// stored together.
    pub fn events(&self, reader: Reader) -> Result<Reply, ControlError> {
        let reserve = self.reserve.clone();
        self.start(move |out| {
            let mut part = Some(0);
            while let Some(number) = part {
                let (events, next) = match reader.space.export(number) {
                    Ok(found) => found,
                    Err(error) => return out.fail(error),
                };
                for Exported { json, channel } in events {
                    let Ok(event) = serde_json::value::RawValue::from_string(json) else {
                        return out.fail("an event that is no JSON");
                    };
                    let line = EventLine { event, channel };
                    out.line(&serde_json::to_vec(&line).unwrap_or_default())?;
                }
                out.line(b"")?;
                part = next;
            }
            // The files are asked for next. A box whose disk is full is one that people want to move from.
            if let Err(error) = reserve.lend(|| reader.space.note_files()) {
                return out.fail(error);
            }
            reserve.keep();
            out.end()
        })
    }

    /// The home's own files.
    pub fn home(&self) -> Opener {
        let home = self.home.clone();
        Box::new(move || Ok(Box::new(Tree::new(home))))
    }

    /// Those of the space in a directory.
    pub fn space(&self, directory: PathBuf) -> Opener {
        let stores = Arc::clone(&self.stores);
        Box::new(move || extras_of(&directory, &stores))
    }

    /// All of these files: [`FileLine`]s.
    pub fn files(&self, extras: Opener) -> Result<Reply, ControlError> {
        self.start(move |out| {
            let found = match extras().and_then(|extras| extras.list()) {
                Ok(found) => found,
                Err(error) => return out.fail(error),
            };
            for extra in found {
                let line = FileLine {
                    name: extra.name,
                    size: extra.size,
                };
                out.line(&serde_json::to_vec(&line).unwrap_or_default())?;
            }
            out.end()
        })
    }

    /// One of these files.
    pub fn file(&self, extras: Opener, name: String) -> Result<Reply, ControlError> {
        self.start(move |out| {
            let mut file = match extras().and_then(|extras| extras.open(&name)) {
                Ok(Some(file)) => file,
                Ok(None) => return out.send(Err(ControlError::new(ErrorCode::NotFound, name))),
                Err(error) => return out.fail(error),
            };
            loop {
                let mut bytes = Vec::with_capacity(64 * 1024);
                match (&mut file).take(64 * 1024).read_to_end(&mut bytes) {
                    Ok(0) => return out.end(),
                    Ok(_) => out.send(Ok(Piece::Bytes(bytes)))?,
                    Err(error) => return out.fail(error),
                }
            }
        })
    }
}

/// The files that are kept beside the events of the space in a directory.
pub fn extras_of(directory: &Path, stores: &Stores) -> io::Result<Box<dyn Extras>> {
    warren_space::export::files_of(directory, stores)
        .map_err(|error| io::Error::other(error.to_string()))
}
