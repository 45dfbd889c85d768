//! Who uses an object just now. As a file that is open stays readable after its name is gone, an object is deleted only
//! when nobody holds it; and while it is being deleted, nobody takes hold of it.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::janitor::Job;
use crate::files::blobs::FileHash;

#[derive(Default)]
struct Use {
    holders: usize,
    /// It was to be deleted while somebody held it.
    is_doomed: bool,
    is_going: bool,
}

#[derive(Default)]
struct Shared {
    uses: Mutex<HashMap<FileHash, Use>>,
    changed: Condvar,
    janitor: Mutex<Option<Sender<Job>>>,
}

impl Shared {
    fn uses(&self) -> MutexGuard<'_, HashMap<FileHash, Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Clone, Default)]
pub struct Holds(Arc<Shared>);

/// As long as it lives, the object is not deleted.
pub struct Hold {
    shared: Arc<Shared>,
    hash: FileHash,
}

impl Holds {
    /// Whom to tell when the last one lets go of what was to be deleted.
    pub fn set_janitor(&self, janitor: Option<Sender<Job>>) {
        *self
            .0
            .janitor
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = janitor;
    }

    /// Takes hold of an object, once nobody is deleting it.
    pub fn take(&self, hash: &FileHash) -> Hold {
        let mut uses = self.0.uses();
        while uses.get(hash).is_some_and(|one| one.is_going) {
            uses = self
                .0
                .changed
                .wait(uses)
                .unwrap_or_else(PoisonError::into_inner);
        }
        uses.entry(*hash).or_default().holders += 1;
        Hold {
            shared: Arc::clone(&self.0),
            hash: *hash,
        }
    }

    /// Deletes an object unless somebody holds it; then it goes when they let go. `is_wanted` is asked while nobody can take
    /// hold of it.
    pub fn delete<E>(
        &self,
        hash: &FileHash,
        is_wanted: impl FnOnce() -> Result<bool, E>,
        delete: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut uses = self.0.uses();
        let one = uses.entry(*hash).or_default();
        if one.holders > 0 {
            one.is_doomed = true;
            return Ok(());
        }
        one.is_going = true;
        drop(uses);
        let done = is_wanted().and_then(|wanted| if wanted { Ok(()) } else { delete() });
        self.0.uses().remove(hash);
        self.0.changed.notify_all();
        done
    }
}

impl Hold {
    /// The object is to go with its last holder, unless it has a right then.
    pub fn doom(&self) {
        if let Some(one) = self.shared.uses().get_mut(&self.hash) {
            one.is_doomed = true;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut uses = self.shared.uses();
        let Some(one) = uses.get_mut(&self.hash) else {
            return;
        };
        one.holders -= 1;
        if one.holders > 0 {
            return;
        }
        let is_doomed = one.is_doomed;
        uses.remove(&self.hash);
        drop(uses);
        if is_doomed
            && let Some(janitor) = &*self
                .shared
                .janitor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        {
            let _ = janitor.send(Job::Delete(vec![self.hash], None));
        }
    }
}
