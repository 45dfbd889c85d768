//! The subcommands' end of the control socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{ANSWER_MAX, Answer, CommandName, ControlError, ErrorCode, Request};
use crate::error::DaemonError;

const PATIENCE: Duration = Duration::from_secs(15);

/// Asks the daemon at `socket`.
pub fn ask<T: DeserializeOwned>(socket: &Path, command: CommandName) -> Result<T, DaemonError> {
    let failed = |source| DaemonError::NotRunning {
        path: socket.to_path_buf(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut request = serde_json::to_vec(&Request { command }).unwrap_or_default();
    request.push(b'\n');
    // A busy daemon answers without reading, and hangs up: its answer is there all the same.
    let sent = stream.write_all(&request);
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_MAX as u64))
        .read_until(b'\n', &mut line)
        .map_err(failed)?;
    if line.is_empty() {
        sent.map_err(failed)?;
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Ok(value)) => Ok(value),
        Ok(Answer::Error(error)) => Err(DaemonError::Refused(sentence(&error))),
        Err(error) => Err(DaemonError::Refused(format!(
            "its answer is not understood ({error}); are both of the same version?"
        ))),
    }
}

fn sentence(error: &ControlError) -> String {
    let first = error.args.first().map_or("", String::as_str);
    match error.code {
        ErrorCode::BadRequest => format!("it did not understand the request ({first})"),
        ErrorCode::UnknownCommand => {
            format!("it knows no command {first:?}; is it older than this program?")
        }
        ErrorCode::LineTooLong => format!("the request is longer than {first} bytes"),
        ErrorCode::Unavailable => String::from("it is busy or stopping; try again"),
    }
}
