//! What a connection asks: the stored events of a subscription (REQ), how many there are (COUNT, NIP-45), and what one
//! side has and the other has not (NEG-OPEN, NIP-77). All of them see the same events, a page at a time on the reading
//! thread, and `access` is asked again at every page.

mod answer;
mod count;
pub mod sync;

use std::sync::Arc;

use nostr::filter::Filter;

use crate::access::Viewer;
use crate::core::Core;
use crate::fanout::Listener;
use crate::groups::Groups;
use crate::ingest::disk_trouble;
use crate::pipeline::Pipeline;
use crate::presence;
use crate::record::StoredEvent;
use crate::store::{Cursor, Query};

pub use answer::Answer;
pub use count::Count;
pub use sync::Sync;

/// Events and bytes that are fetched at a time.
const PAGE_EVENTS: usize = 100;
const PAGE_BYTES: usize = 64 * 1024;
/// Said when the space ends in the middle of an answer.
const CLOSING: &str = "error: the space is closing";

/// Who asks, and whom.
#[derive(Clone)]
pub struct Asker {
    /// The space.
    pub core: Arc<Core>,
    /// Its threads.
    pub pipeline: Arc<Pipeline>,
    /// The connection.
    pub listener: Arc<Listener>,
}

/// Where an answer stands.
#[derive(Clone, Copy)]
enum Step {
    /// Nothing was given: descriptions of channels come first.
    First,
    /// Stored events from here on.
    Stored(Option<Cursor>),
}

/// What one page is made from.
struct Sight<'a> {
    core: &'a Core,
    groups: &'a Groups,
    viewer: &'a Viewer,
}

type PageOf = (Vec<Arc<StoredEvent>>, Option<Step>);

impl Asker {
    /// Does a bounded piece of work on a reading thread, as the connection's people see the space at that moment.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sight<'_>) -> T + Send + 'static,
    ) -> Result<T, String> {
        let listener = Arc::clone(&self.listener);
        self.pipeline
            .read(move |core| {
                let (groups, viewer) = (core.groups(), core.viewer(&listener));
                work(&Sight {
                    core,
                    groups: &groups,
                    viewer: &viewer,
                })
            })
            .await
            .ok_or_else(|| CLOSING.to_owned())
    }
}

impl Sight<'_> {
    /// At most `wanted` events that answer a filter and that the viewer may see.
    fn page(&self, filter: &Filter, step: Step, wanted: usize) -> Result<PageOf, String> {
        let after = match step {
            Step::First => {
                let snapshots = &self.core.snapshots;
                let mut events = snapshots.query(filter, self.groups, self.viewer, wanted);
                events.extend(presence::answer(
                    self.core,
                    filter,
                    self.viewer,
                    self.groups,
                ));
                if !events.is_empty() {
                    events.truncate(wanted);
                    return Ok((events, Some(Step::Stored(None))));
                }
                None // most questions are not about descriptions: on to what they are about, without another turn
            }
            Step::Stored(after) => after,
        };
        let without = self.viewer.left_out(filter, self.groups);
        let query = Query {
            filter,
            without: &without,
            after,
            limit: wanted.min(PAGE_EVENTS),
            bytes: PAGE_BYTES,
            now: self.core.now(),
        };
        let mut page = self
            .core
            .store
            .query(&query)
            .map_err(|error| disk_trouble(&error))?;
        page.events
            .retain(|event| self.viewer.may_receive(event, filter, self.groups));
        Ok((
            page.events,
            page.next.map(|cursor| Step::Stored(Some(cursor))),
        ))
    }
}
