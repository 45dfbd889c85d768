//! All of a space on its way to another box or into a backup: its events in the order in which they came, and the files
//! that are kept beside them. What an archive or a backup looks like is decided by whoever writes it.
//!
//! A space goes on while it is read. What was acknowledged before the reading began is in it; what is written, replaced
//! or deleted meanwhile may be. A deletion that comes after its target stands behind it, and [`Importer`] carries it out.

mod extras;
mod import;

use crate::error::SpaceError;
use crate::files::BlobError;
#[cfg(feature = "s3")]
use crate::files::{ObjectExtras, Objects};
use crate::ingest::told_channel;
use crate::record::{ChannelId, StoredEvent};
use crate::space::Space;
use crate::stores::{Place, Stores};

pub use extras::{Extra, Extras, Tree, is_extra_name};
pub use import::{ImportError, Importer};

/// The files that are kept beside the events of the space in a directory, wherever they are.
pub fn files_of(
    directory: &std::path::Path,
    stores: &Stores,
) -> Result<Box<dyn Extras>, SpaceError> {
    let files = directory.join("files");
    let place = Place::read_in(directory)?;
    #[cfg(feature = "s3")]
    if let Some(server) = place.s3(stores)? {
        let objects = Objects::open(server, &place.name, &files);
        let objects = objects.map_err(|error| SpaceError::Store(error.to_string()))?;
        return Ok(Box::new(ObjectExtras::new(objects, &files)));
    }
    place.s3(stores)?;
    Ok(Box::new(Tree::new(files)))
}

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
