//! Why a request about files is refused, and the answer that says so.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::auth::AuthError;
use super::blobs::BlobError;
use crate::answer::{Body, text};

/// The header of Blossom that says in words what was wrong (BUD-01).
pub const X_REASON: &str = "x-reason";
/// How much of an upload the space has (draft-ietf-httpbis-resumable-upload, section 4.1.1).
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// How long the whole upload is (section 4.1.3 of the same).
pub const UPLOAD_LENGTH: &str = "upload-length";

/// Why a request is refused. Its text begins with a prefix of NIP-01.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The one answer for files that are not there and for those one may not see.
    #[error(
        "restricted: there is no such file here, or it is not for you (for files of private channels: a proof of who you are with a server tag)"
    )]
    NotFound,
    /// The path is none of ours.
    #[error("invalid: there is nothing here")]
    NoSuchPath,
    /// The path does not know the method.
    #[error("invalid: this cannot be done here")]
    Method,
    /// The proof of who asks is missing or wrong (BUD-11).
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Only members may do this.
    #[error("restricted: only members of this space may do this")]
    NotMember,
    /// A time-out, until this second.
    #[error("restricted: you may not write here until {0} (seconds since 1970)")]
    Silenced(u64),
    /// Only moderators may do this.
    #[error("restricted: only moderators may do this")]
    NotModerator,
    /// The channel is not there, or one may not write in it.
    #[error("restricted: there is no such channel, or you may not write in it")]
    Channel,
    /// A header or a body is not as it should be.
    #[error("invalid: {0}")]
    Invalid(&'static str),
    /// The length must be said before.
    #[error("invalid: the length must be said before: send {0}")]
    LengthRequired(&'static str),
    /// The file is too long.
    #[error("restricted: a file may have {0} bytes here")]
    TooLarge(u64),
    /// The person has no room left.
    #[error("restricted: you have {used} of {most} bytes of files here; delete some first")]
    PersonFull {
        /// Bytes of theirs, unfinished uploads included.
        used: u64,
        /// Bytes they may have.
        most: u64,
    },
    /// The person has too many files, or unfinished uploads.
    #[error("restricted: you may have {most} {what} here; delete some, or finish them, first")]
    TooMany {
        /// Files or unfinished uploads.
        what: &'static str,
        /// How many.
        most: u64,
    },
    /// The space has no room left.
    #[error("restricted: this space has no room left for files")]
    SpaceFull,
    /// The disk has no room left.
    #[error("error: the disk of this space is full")]
    DiskFull,
    /// Too often.
    #[error("rate-limited: too many changes; wait a moment")]
    TooFast,
    /// Too many transfers at once.
    #[error("rate-limited: too many uploads and downloads run here; try again in a moment")]
    Busy,
    /// The bytes have another hash.
    #[error("invalid: the bytes that came have another hash than was said")]
    WrongHash,
    /// A part of an upload does not begin where the last one ended.
    #[error("invalid: the upload goes on at byte {0}")]
    WrongOffset(u64),
    /// A later request took the upload over.
    #[error("error: another request goes on with this upload")]
    TakenOver,
    /// The sender stopped sending.
    #[error("error: nothing came for too long")]
    Stalled,
    /// The connection broke.
    #[error("error: the connection broke before everything came")]
    Broken,
    /// No such part of a file of this length.
    #[error("invalid: the file has {0} bytes")]
    Range(u64),
    /// Files are only fetched from other spaces.
    #[error(
        "restricted: files are copied from other spaces only, named as http://SERVICE.warren/HASH"
    )]
    OutsideAddress,
    /// The other space did not give the file.
    #[error("error: the other space did not give the file")]
    Origin,
    /// Something is wrong here; the log says what.
    #[error("error: something is wrong with the files of this space; its log says what")]
    Trouble,
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full => Self::DiskFull,
            error => {
                log::error!("files: {error}");
                Self::Trouble
            }
        }
    }
}

impl Refusal {
    /// The status code, as the BUDs have it where they have one.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Auth(_) => StatusCode::UNAUTHORIZED,
            Self::NotMember
            | Self::NotModerator
            | Self::Silenced(_)
            | Self::Channel
            | Self::OutsideAddress => StatusCode::FORBIDDEN,
            Self::Invalid(_) | Self::Broken => StatusCode::BAD_REQUEST,
            Self::LengthRequired(_) => StatusCode::LENGTH_REQUIRED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PersonFull { .. } | Self::TooMany { .. } | Self::TooFast => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::SpaceFull | Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::WrongHash | Self::WrongOffset(_) | Self::TakenOver => StatusCode::CONFLICT,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Origin => StatusCode::BAD_GATEWAY,
            Self::Trouble => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The answer.
    pub fn answer(&self) -> Response<Body> {
        let reason = self.to_string();
        let mut response = text(self.status(), format!("{reason}\n"));
        let headers = response.headers_mut();
        if let Ok(reason) = HeaderValue::from_str(&reason) {
            headers.insert(X_REASON, reason);
        }
        match self {
            Self::WrongOffset(offset) => {
                headers.insert(UPLOAD_OFFSET, HeaderValue::from(*offset));
            }
            Self::Range(size) => {
                if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
                    headers.insert(header::CONTENT_RANGE, range);
                }
            }
            Self::Auth(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Nostr"));
            }
            Self::Busy | Self::TooFast => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
