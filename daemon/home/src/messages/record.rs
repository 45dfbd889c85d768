//! What stands in the file of one person's messages, record by record. What the home needs while the account is sealed
//! is plain: wraps (which are sealed by themselves), what goes out, and the person's spaces. Everything that was opened
//! is sealed under a key made of the account's key (ChaCha20-Poly1305), so that the disk alone tells nothing.

use std::collections::BTreeSet;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use nostr::event::{Event, EventId, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::accounts::sealed::random;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub enum Record {
    /// A wrap that came and was not opened yet.
    Wrap {
        /// The wrap.
        event: Box<Event>,
        /// Whether it came to the home's own relay, from nobody the person shares a space with.
        stranger: bool,
    },
    /// What was in a wrap; the wrap itself is no longer needed. Sealed: a [`Kept`].
    Opened {
        /// The wrap.
        wrap: EventId,
        /// The wrap's date.
        at: u64,
        /// Sealed.
        sealed: String,
    },
    /// A wrap of which nothing is kept but that it was here: it did not open, or what it brought was deleted.
    Done {
        /// The wrap.
        wrap: EventId,
        /// The wrap's date.
        at: u64,
    },
    /// A wrap that goes to the one it names.
    Out {
        /// The wrap.
        wrap: Box<Event>,
    },
    /// A wrap is in the space or relay that carries it.
    Sent {
        /// The wrap.
        wrap: EventId,
        /// The service.
        by: String,
    },
    /// A wrap is not sent any more: its message was deleted.
    Stopped {
        /// The wrap.
        wrap: EventId,
    },
    /// A space the person belongs to, or does no longer.
    Space {
        /// The service.
        service: String,
        /// Whether the person belongs to it.
        belongs: bool,
        /// Whether it was told that this home collects.
        permits: bool,
    },
    /// What the person set for one conversation. Sealed: a [`Marks`].
    Talk {
        /// Sealed.
        sealed: String,
    },
    /// What the person set for all of them. Sealed: a [`Settings`].
    Settings {
        /// Sealed.
        sealed: String,
    },
}

impl Record {
    /// Reads a line's record.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As it stands in a line.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Names a conversation: what `pubkey` and `p` of its messages name, and nothing else (NIP-17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TalkId([u8; 16]);

impl TalkId {
    /// The conversation of these people.
    pub fn of(people: &BTreeSet<PublicKey>) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("warren home conversation v1");
        for person in people {
            hash.update(person.as_bytes());
        }
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        Self(id)
    }

    /// From 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for TalkId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl From<TalkId> for String {
    fn from(id: TalkId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TalkId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the id of a conversation")
    }
}

/// An opened message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Counts what came and was written, in order.
    pub number: u32,
    /// The date people see: the author's, or when it came, if that is earlier.
    pub at: u64,
    /// See [`Record::Wrap`].
    pub stranger: bool,
    /// What the app that wrote it calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Of one that was written here: to whom, in which wrap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wraps: Vec<(PublicKey, EventId)>,
    /// The message.
    pub rumor: UnsignedEvent,
}

/// How far a conversation was read: all that came up to this number and is dated up to this second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadUpTo {
    /// Of [`Kept::number`].
    pub number: u32,
    /// Of [`Kept::at`].
    pub at: u64,
}

/// What a person set for one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Which.
    pub id: TalkId,
    /// How far it was read.
    #[serde(default)]
    pub read: ReadUpTo,
    /// Whether the person took it in although it came from strangers.
    #[serde(default)]
    pub accepted: bool,
    /// Whether it makes no noise.
    #[serde(default)]
    pub muted: bool,
}

/// What a person set for all conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether people are told that their messages have come.
    pub receipts: bool,
    /// Whether people are told that their messages were read.
    pub read_receipts: bool,
    /// Whose messages are not taken.
    pub blocked: BTreeSet<PublicKey>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            receipts: true,
            read_receipts: true,
            blocked: BTreeSet::new(),
        }
    }
}

/// Seals and opens what an account keeps, while its key is here.
pub struct Safe(Zeroizing<[u8; 32]>);

impl Safe {
    /// With the key of an account.
    pub fn new(keys: &Keys) -> Self {
        let secret = keys.secret_key().as_secret_bytes();
        Self(Zeroizing::new(blake3::derive_key(
            "warren home messages key v1",
            secret,
        )))
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&Key::from(*self.0))
    }

    /// Seals anything that is JSON.
    pub fn seal<T: Serialize>(&self, what: &T) -> Result<String, String> {
        let text = Zeroizing::new(serde_json::to_vec(what).map_err(|error| error.to_string())?);
        let nonce: [u8; 12] = random().map_err(|error| error.to_string())?;
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), &text[..]);
        let sealed = sealed.map_err(|error| error.to_string())?;
        Ok(BASE64_NOPAD.encode(&[&nonce[..], &sealed].concat()))
    }

    /// Opens it; `None` when it is something else, or was sealed with another key.
    pub fn open<T: DeserializeOwned>(&self, sealed: &str) -> Option<T> {
        let bytes = BASE64_NOPAD.decode(sealed.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<12>()?;
        let text = self.cipher().decrypt(&Nonce::from(*nonce), sealed).ok()?;
        serde_json::from_slice(&Zeroizing::new(text)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_account_sealed_it_alone_opens() {
        let (ann, ben) = (Keys::generate(), Keys::generate());
        let sealed = Safe::new(&ann).seal(&Settings::default()).unwrap();
        let opened: Option<Settings> = Safe::new(&ann).open(&sealed);
        assert_eq!(opened, Some(Settings::default()));
        assert_eq!(Safe::new(&ben).open::<Settings>(&sealed), None);
        assert_eq!(Safe::new(&ann).open::<Settings>("x"), None);
    }

    #[test]
    fn a_conversation_is_named_by_its_people_in_any_order() {
        let people: Vec<PublicKey> = (0..3).map(|_| Keys::generate().public_key()).collect();
        let id = TalkId::of(&people.iter().copied().collect());
        assert_eq!(TalkId::of(&people.iter().rev().copied().collect()), id);
        assert_ne!(TalkId::of(&people[1..].iter().copied().collect()), id);
        assert_eq!(TalkId::parse(&id.to_string()), Some(id));
        let record = Record::Done {
            wrap: EventId::from_byte_array([0; 32]),
            at: 1,
        };
        assert_eq!(Record::parse(&record.text().unwrap()), Some(record));
    }
}
