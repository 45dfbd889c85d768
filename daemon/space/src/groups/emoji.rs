//! The emoji of a space: one set, which the space itself signs (NIP-51, kind 30030), changed by who may manage it.

use std::collections::BTreeMap;

use nostr::key::PublicKey;

use super::kinds;

/// The `d` tag of the set.
pub const SET: &str = "space";

/// The address of the set of a space.
pub fn set_address(relay: &PublicKey) -> String {
    format!("{}:{relay}:{SET}", kinds::EMOJI_SET)
}

/// Names with the addresses of their pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emoji {
    pictures: BTreeMap<Box<str>, Box<str>>,
    /// When the set last changed, seconds since 1970; 0: never.
    pub changed_at: u64,
}

impl Emoji {
    /// The picture of a name.
    pub fn picture(&self, name: &str) -> Option<&str> {
        self.pictures.get(name).map(|picture| &**picture)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pictures
            .iter()
            .map(|(name, picture)| (&**name, &**picture))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Adds one, or gives it another picture.
    pub fn add(&mut self, name: &str, picture: &str, now: u64) {
        self.pictures.insert(name.into(), picture.into());
        self.touch(now);
    }

    /// Removes one.
    pub fn remove(&mut self, name: &str, now: u64) {
        self.pictures.remove(name);
        self.touch(now);
    }

    fn touch(&mut self, now: u64) {
        self.changed_at = now.max(self.changed_at + 1);
    }
}
