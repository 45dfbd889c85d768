//! Why something about messages could not be done. Each is a word and its arguments; sentences are made by who shows
//! them.

use std::io;

use serde_json::{Value, json};

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The account's key is not in memory: logged out, or sealed by a restart.
    #[error("the account is sealed")]
    Sealed,
    /// The person keeps the key elsewhere: this home can neither seal nor open in their name.
    #[error("the key is elsewhere")]
    KeyElsewhere,
    /// A field of the request.
    #[error("{0} is not right")]
    Field(&'static str),
    /// There is no such thing.
    #[error("no such {0}")]
    Unknown(&'static str),
    /// A message has so many bytes at most.
    #[error("longer than {0} bytes")]
    TooLong(usize),
    /// There are as many as there may be.
    #[error("{max} {what} are enough")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The person's messages take all the room they may.
    #[error("the person's messages take all their room")]
    Full,
    /// Too often.
    #[error("too often")]
    Wait,
    /// The disk.
    #[error("the messages could not be kept: {0}")]
    Disk(#[from] io::Error),
    /// Something that should not happen.
    #[error("{0}")]
    Broken(String),
}

impl MessageError {
    /// HTTP status, word and arguments.
    pub fn parts(&self) -> (u16, &'static str, Value) {
        let none = || json!({});
        match self {
            Self::Sealed => (401, "not_logged_in", none()),
            Self::KeyElsewhere => (409, "key_elsewhere", none()),
            Self::Field(field) => (400, "field_invalid", json!({"field": field})),
            Self::Unknown(what) => (404, "unknown", json!({"what": what})),
            Self::TooLong(max) => (413, "too_long", json!({"max": max})),
            Self::TooMany { what, max } => (409, "too_many", json!({"what": what, "max": max})),
            Self::Full => (409, "full", none()),
            Self::Wait => (429, "rate_limited", json!({"seconds": 3})),
            Self::Disk(_) | Self::Broken(_) => (500, "storage", none()),
        }
    }
}

impl From<serde_json::Error> for MessageError {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(error.to_string())
    }
}
