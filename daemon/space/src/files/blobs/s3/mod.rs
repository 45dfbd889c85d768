//! Files on an S3-compatible store. An upload is written to this box first, as everywhere, and goes on from there after a
//! broken connection; when it is whole and its hash is right, it moves up in parts of bounded size, and only then the
//! tables learn of it. Tables stay on this box.
//!
//! An object is the prefix, the place's name and the hash. Nobody but this space writes below its place's name.
//!
//! | file | what |
//! |---|---|
//! | `objects` | the store itself: up, down, away |
//! | `holds` | who uses an object just now: what is read or comes up is not deleted meanwhile |
//! | `content` | reading from it as from a file |
//! | `janitor` | deletes, tries again, and removes what a crash left |
//! | `travel` | all of it, for exports and imports |

mod content;
mod holds;
mod janitor;
mod objects;
#[cfg(test)]
mod tests;
mod travel;

use std::sync::Arc;

use super::embedded::Inner;
use super::{BlobError, Content, FileHash, Right};
use crate::disk::DiskFile;

pub use content::ObjectContent;
pub use janitor::Janitor;
pub use objects::Objects;
pub use travel::ObjectExtras;

impl Inner {
    /// Moves a written and synced file up and gives it its first or another right.
    pub fn publish_object(
        &self,
        objects: &Arc<Objects>,
        file: &dyn DiskFile,
        name: &str,
        right: &Right,
        unfinished: Option<i64>,
    ) -> Result<(), BlobError> {
        // From here on nobody deletes the object, whoever removes the last right to it.
        let hold = objects.holds.take(&right.hash);
        objects.put(&right.hash, file, right.size)?;
        let added = self.tables().add(right, unfinished);
        if added.is_err() {
            hold.doom();
        }
        added?;
        self.remove_file(name);
        Ok(())
    }

    /// Opens a file that has a right.
    pub fn open_object(
        &self,
        objects: &Arc<Objects>,
        hash: &FileHash,
    ) -> Result<Option<Box<dyn Content>>, BlobError> {
        let hold = objects.holds.take(hash);
        if !self.tables().has(hash)? {
            return Ok(None);
        }
        let size = objects.size(hash)?;
        Ok(size.map(|size| -> Box<dyn Content> {
            Box::new(ObjectContent::new(
                Arc::clone(objects),
                *hash,
                size,
                Some(hold),
            ))
        }))
    }
}
