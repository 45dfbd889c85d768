//! What spaces are called: their managers may change it in the space (NIP-86), and the settings of this box and what the
//! island is told follow. The other way round the space itself sees to it when it is opened.

use std::sync::Arc;

use super::hosted::{Hosted, LocalSpace};

impl Hosted {
    /// Follows what the spaces call themselves, from now on for as long as anybody holds this. Call it on the runtime.
    pub fn follow_names(self: &Arc<Self>) {
        let (hosted, renamed) = (Arc::downgrade(self), Arc::clone(&self.renamed));
        // Something may have been said before anybody listened.
        renamed.notify_one();
        tokio::spawn(async move {
            loop {
                renamed.notified().await;
                let Some(hosted) = hosted.upgrade() else {
                    return;
                };
                let _one = hosted.one_at_a_time.lock().await;
                hosted.catch_up_names().await;
            }
        });
    }

    /// Takes over what the spaces call themselves now. Held must be `one_at_a_time`.
    pub async fn catch_up_names(&self) {
        let spaces = self.spaces();
        for space in spaces.iter().filter(|space| !space.record.home) {
            let Some(running) = &space.space else {
                continue;
            };
            let mut record = space.record.clone();
            (record.title, record.about) = (running.space.name(), running.space.about());
            if record == space.record {
                continue;
            }
            let renamed = LocalSpace {
                record,
                ..space.clone()
            };
            if renamed.is_shown() && self.tell((&renamed).into()).await.is_err() {
                log::warn!(
                    "space {}: its new name does not fit into what the island is told, which goes on with the former one",
                    space.id
                );
                continue;
            }
            if !space.configured {
                let (record, directory) = (renamed.record.clone(), renamed.directory.clone());
                let running = Arc::clone(running);
                let saved = super::manage::blocking(move || {
                    record.save(&directory)?;
                    running.space.taken_over(&record.title, &record.about);
                    Ok(())
                });
                let saved = saved.await;
                if saved.is_err() {
                    // The log has said why. The next start does it.
                    continue;
                }
            }
            self.put(renamed);
        }
    }
}
