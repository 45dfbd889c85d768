//! A home in figures, for whoever looks after it.

use super::Home;

/// How many people a home has, and what their feed takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HomeFigures {
    /// With an account that stays.
    pub accounts: usize,
    /// With a throw-away one.
    pub guests: usize,
    /// Bytes that the feed holds of what people of other homes wrote.
    pub feed_bytes: u64,
    /// Bytes that it may hold of that.
    pub feed_max_bytes: u64,
}

impl Home {
    /// How many people it has, and what their feed takes.
    pub fn figures(&self) -> HomeFigures {
        let people = &self.rooms.people;
        HomeFigures {
            accounts: people.accounts.len(),
            guests: people.guests.ids().len(),
            feed_bytes: self.feed_bytes(),
            feed_max_bytes: self.config.limits.feed.cache_bytes,
        }
    }
}
