//! All of a space on its way to another box or into a backup: its events in the order in which they came, and the files
//! that are kept beside them. What an archive or a backup looks like is decided by whoever writes it.
//!
//! A space goes on while it is read. What was acknowledged before the reading began is in it; what is written, replaced
//! or deleted meanwhile may be. A deletion that comes after its target stands behind it, and [`Importer`] carries it out.

mod extras;
mod import;

use crate::error::SpaceError;
use crate::files::BlobError;
use crate::ingest::told_channel;
use crate::record::{ChannelId, StoredEvent};
use crate::space::Space;

pub use extras::{Extra, Extras, Tree, is_extra_name};
pub use import::{ImportError, Importer};

/// One event as it leaves a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The event as NIP-01 writes it, in one line without its end.
    pub json: String,
    /// The channel it belongs to, where its tags do not say so; empty: none, though they name one. It decides who may
    /// see the event: a deletion request belongs to the channel of what it deleted.
    pub channel: Option<String>,
}

impl Space {
    /// Events in the order in which they came, a part (about a MiB of the journal) at a time: `0` begins, and the
    /// second value is where to go on. `None` there: that was all. Blocks.
    pub fn export(&self, part: u32) -> Result<(Vec<Exported>, Option<u32>), SpaceError> {
        let walked = self.core().store.walk(part).map_err(|error| {
            let path = self.core().config.dir.join("journal");
            SpaceError::Damaged {
                path,
                what: error.to_string(),
            }
        })?;
        let events = walked.events.iter().map(|event| exported(event)).collect();
        Ok((events, walked.next))
    }

    /// Writes a list of who may see which file beside the files, so that whoever copies them has it too. To be called
    /// after the events were read and before the files are.
    pub fn note_files(&self) -> Result<(), SpaceError> {
        let core = self.core();
        core.files.note_rights().map_err(|error| {
            let path = core.config.dir.join("files");
            match error {
                BlobError::Full => SpaceError::File {
                    action: "list the files in",
                    path,
                    source: std::io::ErrorKind::StorageFull.into(),
                },
                error => SpaceError::Damaged {
                    path,
                    what: error.to_string(),
                },
            }
        })
    }
}

fn exported(stored: &StoredEvent) -> Exported {
    let told = told_channel(&stored.event);
    let channel = (told != stored.channel).then(|| {
        let channel = stored.channel.as_ref().map_or("", ChannelId::as_str);
        channel.to_owned()
    });
    Exported {
        json: serde_json::to_string(&stored.event).unwrap_or_default(),
        channel,
    }
}
