//! Lines out of a reader, with a limit to each.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Longest line, bytes: an event is shorter.
pub const LINE_MAX: usize = (1 << 20) + 4096;

/// The next line without its end; `None` at the end.
pub fn next(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = from
        .take(LINE_MAX as u64 + 1)
        .read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if line.pop_if(|byte| *byte == b'\n').is_none() && line.len() > LINE_MAX {
        return Err(invalid("a line is too long"));
    }
    let text = String::from_utf8(line).map_err(|_| invalid("a line is no UTF-8"))?;
    Ok(Some(text))
}

/// The channel of the event in a line, where `channels` (by id) names it.
pub fn channel_of(
    line: &str,
    channels: &mut HashMap<String, String>,
) -> Result<Option<String>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    if channels.is_empty() {
        return Ok(None);
    }
    let id: Id = serde_json::from_str(line)?;
    Ok(channels.remove(&id.id))
}
