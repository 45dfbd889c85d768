//! Why an account could not be made, opened or changed. Each is a word and its arguments; sentences are made by who
//! shows them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::names::NameFault;
use crate::accounts::sealed::{PASSPHRASE_BYTES, PASSPHRASE_CHARS, SealError};
use crate::error::HomeError;
use crate::guests::NAME_CHARS;

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name cannot be one.
    #[error("the name is {}", .0.code())]
    Name(NameFault),
    /// Somebody has it, or one that looks like it.
    #[error("the name is taken")]
    NameTaken,
    /// Not a handle.
    #[error("not a handle")]
    Handle,
    /// Somebody has the handle.
    #[error("the handle is taken")]
    HandleTaken,
    /// The passphrase is too short, or is the name.
    #[error("the passphrase is too short")]
    PassphraseShort,
    /// The passphrase is too long.
    #[error("the passphrase is too long")]
    PassphraseLong,
    /// No such name, or another passphrase.
    #[error("wrong name or passphrase")]
    WrongPassphrase,
    /// This source asks too often; seconds to wait.
    #[error("too often; {0} s to wait")]
    Wait(u64),
    /// Too many wait already, or there is not enough memory.
    #[error("busy")]
    Busy,
    /// There are as many as there may be.
    #[error("{max} {what} are enough")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The person has an account here.
    #[error("there is an account with this key")]
    AccountExists,
    /// Not logged in (any more).
    #[error("not logged in")]
    LoggedOut,
    /// The key is not here.
    #[error("the person keeps the key elsewhere")]
    KeyElsewhere,
    /// Not logged in as a guest.
    #[error("not a guest")]
    NotGuest,
    /// There is no such thing.
    #[error("no such {0}")]
    Unknown(&'static str),
    /// A field of the request.
    #[error("{0} is not right")]
    Field(&'static str),
    /// An exported account that does not open or is none.
    #[error("not an exported account of this version")]
    Document,
    /// The disk.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Something that should not happen.
    #[error("{0}")]
    Broken(String),
}

impl AccountError {
    /// Too often; come again after this time.
    pub fn wait(time: Duration) -> Self {
        Self::Wait(time.as_secs() + 1)
    }

    /// HTTP status, word and arguments.
    pub fn parts(&self) -> (u16, &'static str, Value) {
        let none = || json!({});
        match self {
            Self::Name(fault) => (
                400,
                "name_invalid",
                json!({"fault": fault.code(), "max": NAME_CHARS}),
            ),
            Self::NameTaken => (409, "name_taken", none()),
            Self::Handle => (
                400,
                "handle_invalid",
                json!({"max": super::names::HANDLE_CHARS}),
            ),
            Self::HandleTaken => (409, "handle_taken", none()),
            Self::PassphraseShort => (400, "passphrase_short", json!({"min": PASSPHRASE_CHARS})),
            Self::PassphraseLong => (400, "passphrase_long", json!({"max": PASSPHRASE_BYTES})),
            Self::WrongPassphrase => (403, "wrong_passphrase", none()),
            Self::Wait(seconds) => (429, "rate_limited", json!({"seconds": seconds})),
            Self::Busy => (503, "busy", none()),
            Self::TooMany { what, max } => (409, "too_many", json!({"what": what, "max": max})),
            Self::AccountExists => (409, "account_exists", none()),
            Self::LoggedOut => (401, "not_logged_in", none()),
            Self::KeyElsewhere => (409, "key_elsewhere", none()),
            Self::NotGuest => (409, "not_a_guest", none()),
            Self::Unknown(what) => (404, "unknown", json!({"what": what})),
            Self::Field(field) => (400, "field_invalid", json!({"field": field})),
            Self::Document => (400, "document_invalid", none()),
            Self::Home(_) | Self::Broken(_) => (500, "storage", none()),
        }
    }
}

impl From<SealError> for AccountError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Wrong => Self::WrongPassphrase,
            SealError::Memory => Self::Busy,
            SealError::Home(error) => Self::Home(error),
        }
    }
}
