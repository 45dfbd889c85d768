//! One event as the space holds it, and its bytes in the journal.
//! It never decides anything: what may be stored and who may see it is decided elsewhere.
//!
//! Bytes of an event in the journal (integers big endian), about a third shorter than its JSON:
//!
//! | bytes | field |
//! |---|---|
//! | 32 | id |
//! | 32 | author |
//! | 64 | signature |
//! | 8 | created_at, seconds since 1970 |
//! | 2 | kind |
//! | 1 | length of the channel's id, then the channel's id (0: belongs to no channel; `\x01mail`: a private message) |
//! | 4 | length of the tags, then the tags as a JSON array of arrays of strings |
//! | rest | content, UTF-8 |

use nostr::event::{Event, EventId, Kind, Signature, Tag};
use nostr::key::PublicKey;
use nostr::types::Timestamp;

/// Longest id of a channel, in bytes.
pub const CHANNEL_ID_BYTES: usize = 64;

/// What stands in the journal in place of a channel's id: no id has control characters.
const MAIL: &str = "\u{1}mail";

/// The id of a channel (NIP-29's group id): 1 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(Box<str>);

impl ChannelId {
    /// Takes an id; `None` when it is empty, too long or holds control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= CHANNEL_ID_BYTES;
        (fits && !text.chars().any(char::is_control)).then(|| Self(text.into()))
    }

    /// Takes what stands with a stored event: an id, or the place of private messages.
    pub fn stored(text: &str) -> Option<Self> {
        if text == MAIL {
            Some(Self::mail())
        } else {
            Self::parse(text)
        }
    }

    /// Where private messages are kept (see `mail`): no channel, and no name that anybody could give one.
    pub fn mail() -> Self {
        Self(MAIL.into())
    }

    /// Whether it is [`ChannelId::mail`].
    pub fn is_mail(&self) -> bool {
        &*self.0 == MAIL
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event with the channel whose rules say who may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The signed event.
    pub event: Event,
    /// The channel it belongs to: its `h` tag, or what its deletion request refers to.
    pub channel: Option<ChannelId>,
}

/// Why bytes are not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not an event: {0}")]
pub struct RecordError(&'static str);

impl StoredEvent {
    /// When the event is to vanish (NIP-40), seconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        self.event.tags.expiration().map(|time| time.as_secs())
    }

    /// Bytes this event takes in memory, roughly.
    pub fn cost(&self) -> usize {
        let tags: usize = self
            .event
            .tags
            .iter()
            .map(|tag| tag.as_slice().iter().map(|v| v.len() + 24).sum::<usize>() + 24)
            .sum();
        320 + tags + self.event.content.len()
    }

    /// Writes the event's bytes at the end of `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let event = &self.event;
        out.extend_from_slice(event.id.as_bytes());
        out.extend_from_slice(event.pubkey.as_bytes());
        out.extend_from_slice(event.sig.as_bytes());
        out.extend_from_slice(&event.created_at.as_secs().to_be_bytes());
        out.extend_from_slice(&event.kind.as_u16().to_be_bytes());
        let channel = self.channel.as_ref().map_or("", ChannelId::as_str);
        out.push(channel.len() as u8); // a ChannelId is at most 64 bytes
        out.extend_from_slice(channel.as_bytes());
        let tags: Vec<&[String]> = event.tags.iter().map(Tag::as_slice).collect();
        let tags = serde_json::to_vec(&tags).unwrap_or_else(|_| b"[]".to_vec());
        out.extend_from_slice(&(tags.len() as u32).to_be_bytes());
        out.extend_from_slice(&tags);
        out.extend_from_slice(event.content.as_bytes());
    }

    /// Reads an event from exactly these bytes. The signature is not checked: it was before the bytes were written.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut rest = bytes;
        let id = EventId::from_byte_array(take(&mut rest)?);
        let author = PublicKey::from_byte_array(take(&mut rest)?);
        let signature = Signature::from_byte_array(take(&mut rest)?);
        let created_at = Timestamp::from_secs(u64::from_be_bytes(take(&mut rest)?));
        let kind = Kind::from_u16(u16::from_be_bytes(take(&mut rest)?));
        let [channel_length] = take(&mut rest)?;
        let channel = text(take_slice(&mut rest, channel_length.into())?)?;
        let channel = match channel {
            "" => None,
            text => {
                Some(ChannelId::stored(text).ok_or(RecordError("the channel's id is not one"))?)
            }
        };
        let tags_length = u32::from_be_bytes(take(&mut rest)?);
        let tags_length =
            usize::try_from(tags_length).map_err(|_| RecordError("the tags are too long"))?;
        let tags: Vec<Vec<String>> = serde_json::from_slice(take_slice(&mut rest, tags_length)?)
            .map_err(|_| RecordError("the tags are no JSON"))?;
        let tags: Result<Vec<Tag>, _> = tags.into_iter().map(Tag::parse).collect();
        let tags = tags.map_err(|_| RecordError("a tag is empty"))?;
        let event = Event::new(id, author, created_at, kind, tags, text(rest)?, signature);
        Ok(Self { event, channel })
    }
}

/// The id of an event from the first bytes of its record.
pub fn peek_id(bytes: &[u8]) -> Option<EventId> {
    bytes
        .first_chunk::<32>()
        .map(|id| EventId::from_byte_array(*id))
}

/// The values of the tags called `name`.
pub fn tag_values<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a str> {
    event
        .tags
        .iter()
        .filter(move |tag| tag.kind() == name)
        .filter_map(|tag| tag.content())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(RecordError("too short"))?;
    *rest = tail;
    Ok(*head)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordError> {
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or(RecordError("too short"))?;
    *rest = tail;
    Ok(head)
}

fn text(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError("text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Person, channel};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_event_survives_its_bytes(content in ".{0,200}", tags in prop::collection::vec(prop::collection::vec(".{0,20}", 1..4), 0..6), in_channel: bool) {
            let tags: Vec<Vec<&str>> = tags.iter().map(|tag| tag.iter().map(String::as_str).collect()).collect();
            let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
            let event = Person::new(1).event(9, 1_700_000_000, &tags, &content);
            let stored = StoredEvent { event, channel: in_channel.then(|| channel("c")) };
            let mut bytes = Vec::new();
            stored.encode(&mut bytes);
            prop_assert_eq!(StoredEvent::decode(&bytes), Ok(stored));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = StoredEvent::decode(&bytes);
        }
    }
}
