//! A home in figures, for whoever looks after it.

use super::Home;

/// How many people a home has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HomeFigures {
    /// With an account that stays.
    pub accounts: usize,
    /// With a throw-away one.
    pub guests: usize,
}

impl Home {
    /// How many people it has.
    pub fn figures(&self) -> HomeFigures {
        let people = &self.rooms.people;
        HomeFigures {
            accounts: people.accounts.len(),
            guests: people.guests.ids().len(),
        }
    }
}
