//! The frames inside the channel. Big endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind |
//! | 4 | stream, chosen by the app, each number once |
//! | rest | body |
//!
//! | kind | from | body |
//! |---|---|---|
//! | 1 open | app | JSON: `method`, `path`, `headers` (object of texts) of a request, or `socket` (path of a space) |
//! | 2 head | home | JSON: `status` and `headers` of the answer; of a socket `status` 101 once it is open |
//! | 3 data | both | bytes of a body; on a socket one text message |
//! | 4 end | both | empty: no more data from this side |
//! | 5 reset | both | 1 byte, why: the stream ends at once, both ways |
//! | 6 credit | both | 4 bytes: so many bytes of data may be sent in addition |
//!
//! Either side may send [`CREDIT`] bytes of data on a stream before it is given more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bytes of data that may be on their way in one direction of a stream at first.
pub const CREDIT: u32 = 256 * 1024;
/// Longest body of a frame: the longest text message of a space.
pub const BODY_MAX: usize = 128 * 1024;
/// Longest list of headers of one request, bytes of JSON.
const OPEN_MAX: usize = 16 * 1024;

/// Why a stream was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Nobody wants it any more.
    Cancelled = 1,
    /// Too many streams at a time.
    TooMany = 2,
    /// It was not understood.
    Malformed = 3,
    /// The other end of it is gone.
    Gone = 4,
}

/// What an app wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Open {
    /// A connection to a space: the path of its page, as `/s/<service>/`.
    Socket {
        /// The path.
        socket: String,
    },
    /// A request to the home.
    Request {
        /// The method.
        method: String,
        /// Path and query.
        path: String,
        /// Headers by name.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Headers by name.
    pub headers: BTreeMap<String, String>,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A new stream.
    Open(Open),
    /// Data.
    Data(&'a [u8]),
    /// No more data.
    End,
    /// The stream is over.
    Reset,
    /// More data may be sent.
    Credit(u32),
}

/// Why a frame is none. The channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of this version")]
pub struct FrameError;

/// Reads a frame of the app: its stream and what it says. An [`Frame::Open`] that is not understood gives `Err` with
/// its stream, which alone is ended.
pub fn parse(bytes: &[u8]) -> Result<(u32, Result<Frame<'_>, Reason>), FrameError> {
    let (head, body) = bytes.split_first_chunk::<5>().ok_or(FrameError)?;
    let stream = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if body.len() > BODY_MAX {
        return Err(FrameError);
    }
    let frame = match (head[0], body) {
        (1, _) if body.len() > OPEN_MAX => Err(Reason::Malformed),
        (1, _) => serde_json::from_slice(body)
            .map(Frame::Open)
            .map_err(|_| Reason::Malformed),
        (3, _) => Ok(Frame::Data(body)),
        (4, []) => Ok(Frame::End),
        (5, [_]) => Ok(Frame::Reset),
        (6, [a, b, c, d]) => Ok(Frame::Credit(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => return Err(FrameError),
    };
    Ok((stream, frame))
}

fn frame(kind: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    // Room for the tag behind it.
    let mut bytes = Vec::with_capacity(5 + body.len() + 16);
    bytes.push(kind);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A frame with the head of an answer.
pub fn head(stream: u32, head: &Head) -> Vec<u8> {
    frame(2, stream, &serde_json::to_vec(head).unwrap_or_default())
}

/// A frame of data.
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(3, stream, bytes)
}

/// The end of a side's data.
pub fn end(stream: u32) -> Vec<u8> {
    frame(4, stream, &[])
}

/// The end of a stream.
pub fn reset(stream: u32, reason: Reason) -> Vec<u8> {
    frame(5, stream, &[reason as u8])
}

/// Leave for more data.
pub fn credit(stream: u32, bytes: u32) -> Vec<u8> {
    frame(6, stream, &bytes.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_are_written_and_others_are_refused() {
        assert_eq!(parse(&data(7, b"x")), Ok((7, Ok(Frame::Data(b"x")))));
        assert_eq!(parse(&end(7)), Ok((7, Ok(Frame::End))));
        assert_eq!(parse(&reset(7, Reason::Gone)), Ok((7, Ok(Frame::Reset))));
        assert_eq!(parse(&credit(7, 9)), Ok((7, Ok(Frame::Credit(9)))));
        let socket = Open::Socket {
            socket: "/s/x/".into(),
        };
        let bytes = frame(1, 1, br#"{"socket":"/s/x/"}"#);
        assert_eq!(parse(&bytes), Ok((1, Ok(Frame::Open(socket)))));
        let nonsense = frame(1, 1, br#"{"socket":1}"#);
        assert_eq!(parse(&nonsense), Ok((1, Err(Reason::Malformed))));
        let both = frame(1, 1, br#"{"socket":"a","method":"GET","path":"/"}"#);
        assert_eq!(parse(&both), Ok((1, Err(Reason::Malformed))));
        for wrong in [
            &[][..],
            &[3, 0, 0, 0],
            &[9, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 1],
            &[6, 0, 0, 0, 0],
        ] {
            assert_eq!(parse(wrong), Err(FrameError), "{wrong:?}");
        }
        assert_eq!(parse(&data(1, &vec![0; BODY_MAX + 1])), Err(FrameError));
    }
}
