//! The subcommands' end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{
    ANSWER_MAX, Answer, CHUNK_MAX, ControlError, ErrorCode, LINE_MAX, Part, Request, StreamBegins,
};
use crate::error::DaemonError;

/// An answer may wait for a disk that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the daemon at `socket`.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, DaemonError> {
    Ok(begin(socket, request)?.0)
}

/// Asks for a stream. Reading gives its bytes; one that breaks off is an error and never an end.
pub fn stream(socket: &Path, request: &Request) -> Result<Stream, DaemonError> {
    let (StreamBegins { stream }, from) = begin(socket, request)?;
    if stream != 1 {
        return Err(not_understood("a stream of another version"));
    }
    Ok(Stream {
        from,
        left: 0,
        ended: false,
    })
}

fn begin<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
) -> Result<(T, BufReader<UnixStream>), DaemonError> {
    let failed = |source| DaemonError::NotRunning {
        path: socket.to_path_buf(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut line = serde_json::to_vec(request).unwrap_or_default();
    line.push(b'\n');
    // A busy daemon answers without reading, and hangs up: its answer is there all the same.
    let sent = stream.write_all(&line);
    let mut from = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut from)
        .take(ANSWER_MAX as u64)
        .read_until(b'\n', &mut line)
        .map_err(failed)?;
    if line.is_empty() {
        sent.map_err(failed)?;
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Ok(value)) => Ok((value, from)),
        Ok(Answer::Error(error)) => Err(DaemonError::Refused(sentence(&error))),
        Err(error) => Err(not_understood(&error.to_string())),
    }
}

fn not_understood(what: &str) -> DaemonError {
    DaemonError::Refused(format!(
        "its answer is not understood ({what}); are both of the same version?"
    ))
}

/// The bytes of a stream.
#[derive(Debug)]
pub struct Stream {
    from: BufReader<UnixStream>,
    left: usize,
    ended: bool,
}

impl Stream {
    fn next_part(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        (&mut self.from)
            .take(LINE_MAX as u64)
            .read_until(b'\n', &mut line)?;
        match serde_json::from_slice(&line) {
            Ok(Part::Chunk(length)) if (1..=CHUNK_MAX).contains(&length) => self.left = length,
            Ok(Part::End(_)) => self.ended = true,
            Ok(Part::Error(error)) => return Err(io::Error::other(sentence(&error))),
            _ => {
                let kind = io::ErrorKind::UnexpectedEof;
                return Err(io::Error::new(kind, "the daemon's answer broke off"));
            }
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.left == 0 {
            if self.ended {
                return Ok(0);
            }
            self.next_part()?;
        }
        let length = buffer.len().min(self.left);
        let read = self.from.read(&mut buffer[..length])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        Ok(read)
    }
}

fn sentence(error: &ControlError) -> String {
    let argument = |n: usize| error.args.get(n).map_or("", String::as_str);
    let first = argument(0);
    match error.code {
        ErrorCode::BadRequest => format!("it did not understand the request ({first})"),
        ErrorCode::UnknownCommand => {
            format!("it knows no command {first:?}; is it older than this program?")
        }
        ErrorCode::LineTooLong => format!("the request is longer than {first} bytes"),
        ErrorCode::Unavailable => String::from("it is busy or stopping; try again"),
        ErrorCode::NoInvite => format!(
            "there is no open invitation {first:?}; `warrend space list-invites {}` shows which there are",
            argument(1)
        ),
        ErrorCode::NotFound => {
            format!(
                "there is nothing called {first:?} here; `warrend space list` and `warrend site list` show what there is"
            )
        }
        ErrorCode::Ambiguous => {
            format!(
                "several are called {first:?}; name one by its id (`warrend space list`, `warrend site list`)"
            )
        }
        ErrorCode::FromConfiguration => format!(
            "{first} stands in the configuration file; change it there and start the daemon anew"
        ),
        ErrorCode::OfHome => format!(
            "{first} is where people of this home write for everybody; it belongs to the home, and backups take it along"
        ),
        ErrorCode::BadValue => format!("{first}: expected {}", argument(1)),
        ErrorCode::Exists => format!("it is here already, as {first}; nothing was changed"),
        ErrorCode::TooManyVisible => {
            format!(
                "{first} spaces and sites are visible already, and no more can be; hide one, or leave this one hidden"
            )
        }
        ErrorCode::AnnouncementTooLong => String::from(
            "what the island is told of this box would not fit any more; show fewer, or give them shorter names",
        ),
        ErrorCode::NotOpen => format!(
            "{first} is closed, or could not be opened (the log says why); `warrend space set {first} --closed no` opens it"
        ),
        ErrorCode::SpaceRefused => format!("the space does not do it: {first}"),
        ErrorCode::PortTaken => format!("port {first} is in use; choose another, or none"),
        ErrorCode::Disk => format!("its files could not be read or written: {first}"),
    }
}
