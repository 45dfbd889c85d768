//! Helpers for the tests of this crate.

use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::{Keys, PublicKey, SecretKey};
use nostr::types::Timestamp;

use crate::record::ChannelId;

#[cfg(any(feature = "postgres", feature = "s3"))]
#[path = "../tests/servers/mod.rs"]
pub mod servers;

/// A service name.
pub const SERVICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Somebody who signs.
pub struct Person(pub Keys);

impl Person {
    pub fn new(number: u8) -> Self {
        let mut secret = [0; 32];
        secret[31] = number.max(1);
        Self(Keys::new(SecretKey::from_slice(&secret).unwrap()))
    }

    pub fn key(&self) -> PublicKey {
        self.0.public_key()
    }

    pub fn event(&self, kind: u16, created_at: u64, tags: &[&[&str]], content: &str) -> Event {
        let tags = tags
            .iter()
            .map(|tag| Tag::parse(tag.iter().copied()).unwrap());
        let unsigned = UnsignedEvent::new(
            self.key(),
            Timestamp::from_secs(created_at),
            Kind::from_u16(kind),
            tags,
            content,
        );
        self.0.sign_event(unsigned).unwrap()
    }
}

pub fn channel(id: &str) -> ChannelId {
    ChannelId::parse(id).unwrap()
}
