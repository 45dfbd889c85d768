//! People who sign, and what they say. The same numbers give the same people and words in every run.

use nostr::event::{Event, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::key::{Keys, SecretKey};
use nostr::types::Timestamp;

use crate::error::{LabError, Result};

/// The channel that everybody writes in.
pub const CHANNEL: &str = "general";
/// The kind of a message in a channel (NIP-C7, NIP-29).
pub const MESSAGE: u16 = 9;
/// Words there are.
const WORDS: u64 = 20_000;
/// Words of a message.
const LENGTH: u64 = 8;

/// Somebody who signs.
#[derive(Clone, Debug)]
pub struct Person(Keys);

impl Person {
    /// The person of this number.
    pub fn new(number: u32) -> Result<Self> {
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        let secret = SecretKey::from_slice(&secret).map_err(|error| failed(&error))?;
        Ok(Self(Keys::new(secret)))
    }

    /// Public key, 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.public_key().to_hex()
    }

    /// A signed event.
    pub fn event(
        &self,
        kind: u16,
        created_at: u64,
        tags: &[&[&str]],
        content: &str,
    ) -> Result<Event> {
        let tags: std::result::Result<Vec<Tag>, _> = tags
            .iter()
            .map(|tag| Tag::parse(tag.iter().copied()))
            .collect();
        let unsigned = UnsignedEvent::new(
            self.0.public_key(),
            Timestamp::from_secs(created_at),
            Kind::from_u16(kind),
            tags.map_err(|error| failed(&error))?,
            content,
        );
        self.0.sign_event(unsigned).map_err(|error| failed(&error))
    }

    /// A message in the channel, as JSON.
    pub fn message(&self, created_at: u64, content: &str) -> Result<String> {
        json(&self.event(MESSAGE, created_at, &[&["h", CHANNEL]], content)?)
    }
}

/// An event as JSON.
pub fn json(event: &Event) -> Result<String> {
    serde_json::to_string(event).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> LabError {
    LabError::answer("making an event", &error.to_string())
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The word of a rank: 0 is the most frequent.
pub fn word(rank: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "wu", "gar", "den", "pol", "sim",
        "tan", "mer",
    ];
    let mut rest = mix(rank) % 0xf_ffff;
    let mut text = String::new();
    for _ in 0..4 {
        text.push_str(SYLLABLES[(rest % 16) as usize]);
        rest /= 16;
    }
    format!("{text}{}", rank % 10)
}

/// What the message of this number says: some words are frequent and most are rare, as in any language.
pub fn words(number: u64) -> String {
    let mut text = String::new();
    for place in 0..LENGTH {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(&word(rank(mix(number * LENGTH + place))));
    }
    text
}

/// A rank, the low ones most often: the cube of a number between 0 and 1.
fn rank(random: u64) -> u64 {
    let part = random >> 43; // 21 bits
    let cubed = (part * part) >> 21;
    (((cubed * part) >> 21) * WORDS) >> 21
}

/// Numbers that look random (splitmix64).
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_words_are_frequent_and_all_messages_differ() {
        let all: Vec<u64> = (0..80_000).map(|n| rank(mix(n))).collect();
        let frequent = all.iter().filter(|rank| **rank < 200).count();
        assert!((10_000..40_000).contains(&frequent), "{frequent}");
        assert!(all.iter().all(|rank| *rank < WORDS));
        assert_ne!(words(1), words(2));
        assert_eq!(words(3).split(' ').count(), 8);
    }
}
