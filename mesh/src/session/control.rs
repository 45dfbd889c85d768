//! Small messages inside sessions: keep-alive, and asking a node for its descriptor. A request is repeated until its
//! answer comes or its tries are used up; an answer is never repeated by itself.
//!
//! The inner header's message byte: 0 keep-alive (also confirms a handshake; empty), 1 descriptor request (empty),
//! 2 descriptor (its bytes, at most 1200), 3 the descriptor is another one now (empty). Others are ignored, so that newer
//! versions may add some.

use core::time::Duration;

use crate::time::Instant;

pub(super) const KEEP_ALIVE: u8 = 0;
pub(super) const DESCRIPTOR_REQUEST: u8 = 1;
pub(super) const DESCRIPTOR: u8 = 2;
pub(super) const DESCRIPTOR_CHANGED: u8 = 3;

/// Who asked for the descriptor is told of a change at once, and of further ones at most this often.
pub(super) const NEWS_EVERY: Duration = Duration::from_secs(3);
/// A peer that says more often that its descriptor is another one is not heard.
pub(super) const NEWS_REST: Duration = Duration::from_secs(1);

/// The first repetition; each takes twice as long as the one before.
const FIRST_RETRY: Duration = Duration::from_millis(300);
/// With 0.3 s doubling: gives up after 19 s, a little after the handshake that may stand before it.
const TRIES: u32 = 6;

/// A request that waits for its answer, or news that wait for the request they lead to.
#[derive(Debug)]
pub(super) struct Request {
    pub id: u32,
    tries: u32,
    pub due: Instant,
}

impl Request {
    /// Due at once.
    pub const fn new(now: Instant, id: u32) -> Self {
        Self {
            id,
            tries: 0,
            due: now,
        }
    }

    /// Counts one try. False if there were enough.
    pub fn again(&mut self, now: Instant) -> bool {
        if self.tries == TRIES {
            return false;
        }
        self.due = now + FIRST_RETRY * (1 << self.tries);
        self.tries += 1;
        true
    }
}
