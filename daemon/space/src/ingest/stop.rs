//! Why an event does not go on.

use crate::groups::rules::Refusal;
use crate::store::StoreError;

/// Said when the disk does not take or give what it should.
pub fn disk_trouble(error: &StoreError) -> Refusal {
    log::error!("the space cannot use its disk: {error}");
    "error: the space cannot use its disk now; try again later".into()
}

/// Why an event does not go on.
#[derive(Debug)]
pub enum Stop {
    /// It may not.
    Refused(Refusal),
    /// The disk is in the way.
    Disk(StoreError),
}

impl Stop {
    /// What is said to the author.
    pub fn reason(self) -> Refusal {
        match self {
            Self::Refused(reason) => reason,
            Self::Disk(error) => disk_trouble(&error),
        }
    }
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<Refusal> for Stop {
    fn from(reason: Refusal) -> Self {
        Self::Refused(reason)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Disk(error)
    }
}
