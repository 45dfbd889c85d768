//! Private messages as they travel (NIP-17): a rumor, which nobody signs, in a seal of its author (kind 13), in a gift
//! wrap for one receiver (NIP-59), both under NIP-44. Made and opened here, and nothing else.

use nostr::event::{Event, EventId, Kind, Tag, Tags, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip44;
use nostr::types::Timestamp;

use crate::client::signed;

/// Deletion of messages of one's own (NIP-09, as a rumor).
pub const DELETION: u16 = 5;
/// Reaction (NIP-25, as a rumor).
pub const REACTION: u16 = 7;
/// Seal (NIP-59).
pub const SEAL: u16 = 13;
/// Message (NIP-17).
pub const CHAT: u16 = 14;
/// Message that names an encrypted file (NIP-17).
pub const FILE: u16 = 15;
/// Gift wrap (NIP-59).
pub const GIFT_WRAP: u16 = 1059;
/// Gift wrap that is not stored (NIP-59).
pub const EPHEMERAL_GIFT_WRAP: u16 = 21059;
/// Where messages have got to. Our own: only ever a rumor; `e` tags name the messages, `state` is `stored` or `read`.
pub const RECEIPT: u16 = 4241;
/// Somebody writes. Our own: only ever a rumor, in a wrap that is not stored; `p` tags name the conversation.
pub const TYPING: u16 = 20_002;

/// Longest rumor that is sent, as JSON: more would not fit a wrap of 64 Ki characters, which is what spaces take.
pub const RUMOR_BYTES: usize = 28 * 1024;
/// Longest content of a wrap that is opened.
pub const WRAP_BYTES: usize = 128 * 1024;
/// Most tags of a rumor that is taken.
const TAGS: usize = 500;
/// Seconds by which the dates of seals and wraps are wrong at most, on purpose.
const DATES: u32 = 2 * 86_400;

/// Why a wrap was not opened. The log has no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too long, or with too many tags.
    #[error("it is too big")]
    Big,
    /// Not encrypted for this person, or changed on its way.
    #[error("it does not open")]
    Closed,
    /// What is inside is no sealed message.
    #[error("what is inside is no sealed message")]
    Form,
    /// The seal is somebody else's than the message says.
    #[error("its author is not who sealed it")]
    Author,
}

/// A rumor with its id.
pub fn rumor(
    author: PublicKey,
    kind: u16,
    at: u64,
    tags: &[Vec<String>],
    content: &str,
) -> UnsignedEvent {
    let tags = tags.iter().filter_map(|tag| Tag::parse(tag).ok());
    let at = Timestamp::from_secs(at);
    let mut rumor = UnsignedEvent::new(author, at, Kind::from_u16(kind), tags, content);
    rumor.ensure_id();
    rumor
}

/// A random date of the last two days.
fn some_date(now: u64) -> Result<u64, String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(now.saturating_sub((u32::from_be_bytes(bytes) % DATES).into()))
}

/// Wraps a rumor for one receiver. `kind`: [`GIFT_WRAP`], or [`EPHEMERAL_GIFT_WRAP`].
pub fn wrap(
    keys: &Keys,
    rumor: &UnsignedEvent,
    receiver: &PublicKey,
    kind: u16,
    now: u64,
) -> Result<Event, String> {
    let seal = |keys: &Keys, text: &str| {
        let sealed = nip44::encrypt(keys.secret_key(), receiver, text, nip44::Version::V2);
        sealed.map_err(|error| error.to_string())
    };
    let json = serde_json::to_string(rumor).map_err(|error| error.to_string())?;
    let sealed = signed(keys, SEAL, some_date(now)?, &[], &seal(keys, &json)?)?;
    let json = serde_json::to_string(&sealed).map_err(|error| error.to_string())?;
    let once = Keys::generate();
    let tags: [&[&str]; 1] = [&["p", &receiver.to_hex()]];
    signed(&once, kind, some_date(now)?, &tags, &seal(&once, &json)?)
}

/// Opens a wrap whose own signature was checked.
pub fn open(keys: &Keys, wrap: &Event) -> Result<UnsignedEvent, Fault> {
    let decrypt = |from: &PublicKey, text: &str| {
        if text.len() > WRAP_BYTES {
            return Err(Fault::Big);
        }
        nip44::decrypt(keys.secret_key(), from, text).map_err(|_| Fault::Closed)
    };
    let seal = decrypt(&wrap.pubkey, &wrap.content)?;
    let seal: Event = serde_json::from_str(&seal).map_err(|_| Fault::Form)?;
    if seal.kind.as_u16() != SEAL || seal.verify().is_err() {
        return Err(Fault::Form);
    }
    let rumor = decrypt(&seal.pubkey, &seal.content)?;
    let mut rumor: UnsignedEvent = serde_json::from_str(&rumor).map_err(|_| Fault::Form)?;
    if rumor.pubkey != seal.pubkey {
        return Err(Fault::Author);
    }
    if rumor.tags.len() > TAGS {
        return Err(Fault::Big);
    }
    rumor.verify_id().map_err(|_| Fault::Form)?;
    rumor.ensure_id();
    Ok(rumor)
}

/// The one a wrap is for.
pub fn receiver(wrap: &Event) -> Option<PublicKey> {
    let mut named = people(&wrap.tags);
    let person = named.next()?;
    named.next().is_none().then_some(person)
}

/// The values of all tags of this name.
pub fn values<'a>(tags: &'a Tags, name: &'a str) -> impl Iterator<Item = &'a str> {
    tags.iter()
        .filter(move |tag| tag.kind() == name)
        .filter_map(|tag| tag.content())
}

/// The people that `p` tags name.
pub fn people(tags: &Tags) -> impl Iterator<Item = PublicKey> + '_ {
    values(tags, "p").filter_map(|person| PublicKey::from_hex(person).ok())
}

/// The events that `e` tags name.
pub fn named(tags: &Tags) -> impl Iterator<Item = EventId> + '_ {
    values(tags, "e").filter_map(|id| EventId::from_hex(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_750_000_000;

    fn keys() -> (Keys, Keys) {
        (Keys::generate(), Keys::generate())
    }

    fn hello(from: &Keys, to: &Keys) -> UnsignedEvent {
        let tags = [vec!["p".to_owned(), to.public_key().to_hex()]];
        rumor(from.public_key(), CHAT, NOW, &tags, "hello")
    }

    /// A wrap around any text, as somebody hostile would make it.
    fn around(seal: &str, to: &Keys) -> Event {
        let once = Keys::generate();
        let tags: [&[&str]; 1] = [&["p", &to.public_key().to_hex()]];
        let sealed = nip44::encrypt(
            once.secret_key(),
            &to.public_key(),
            seal,
            nip44::Version::V2,
        );
        signed(&once, GIFT_WRAP, NOW, &tags, &sealed.unwrap()).unwrap()
    }

    fn sealed(by: &Keys, to: &Keys, kind: u16, rumor: &str) -> String {
        let text = nip44::encrypt(by.secret_key(), &to.public_key(), rumor, nip44::Version::V2);
        let seal = signed(by, kind, NOW, &[], &text.unwrap()).unwrap();
        serde_json::to_string(&seal).unwrap()
    }

    #[test]
    fn nip59_a_wrap_opens_for_its_receiver_alone_and_tells_no_date() {
        let (ann, ben) = keys();
        let rumor = hello(&ann, &ben);
        let wraps: Vec<Event> = (0..20)
            .map(|_| wrap(&ann, &rumor, &ben.public_key(), GIFT_WRAP, NOW).unwrap())
            .collect();
        for wrap in &wraps {
            assert_eq!(open(&ben, wrap).unwrap(), rumor);
            assert_eq!(open(&ann, wrap), Err(Fault::Closed));
            assert_eq!(receiver(wrap), Some(ben.public_key()));
            let date = wrap.created_at.as_secs();
            assert!((NOW - u64::from(DATES)..=NOW).contains(&date));
        }
        let dates: std::collections::HashSet<u64> =
            wraps.iter().map(|wrap| wrap.created_at.as_secs()).collect();
        assert!(dates.len() > 10, "dates are random");
    }

    #[test]
    fn nip59_hostile_wraps_do_not_open() {
        let (ann, ben) = keys();
        let eve = Keys::generate();
        let good = hello(&ann, &ben);
        let json = serde_json::to_string(&good).unwrap();
        // Eve seals what Ann is said to have written.
        let forged = around(&sealed(&eve, &ben, SEAL, &json), &ben);
        assert_eq!(open(&ben, &forged), Err(Fault::Author));
        // A seal that was changed.
        let mut seal: serde_json::Value =
            serde_json::from_str(&sealed(&ann, &ben, SEAL, &json)).unwrap();
        seal["created_at"] = 1.into();
        assert_eq!(
            open(&ben, &around(&seal.to_string(), &ben)),
            Err(Fault::Form)
        );
        // Another kind in place of the seal, no JSON, towers of brackets, a lying id.
        let other = sealed(&ann, &ben, 1, &json);
        let mut lying = good.clone();
        lying.content = "another text".into();
        let lying = serde_json::to_string(&lying).unwrap();
        for inside in [
            other,
            "nonsense".into(),
            "[".repeat(20_000),
            sealed(&ann, &ben, SEAL, "nonsense"),
            sealed(&ann, &ben, SEAL, &"[".repeat(20_000)),
            sealed(&ann, &ben, SEAL, &lying),
        ] {
            assert_eq!(open(&ben, &around(&inside, &ben)), Err(Fault::Form));
        }
        let big = around(&"x".repeat(WRAP_BYTES), &ben);
        assert_eq!(open(&ben, &big), Err(Fault::Big));
        let tags = vec![vec!["t".to_owned(), "x".to_owned()]; TAGS + 1];
        let many = rumor(ann.public_key(), CHAT, NOW, &tags, "x");
        let many = sealed(&ann, &ben, SEAL, &serde_json::to_string(&many).unwrap());
        assert_eq!(open(&ben, &around(&many, &ben)), Err(Fault::Big));
        let mut plain = good;
        plain.id = None;
        let plain = sealed(&ann, &ben, SEAL, &serde_json::to_string(&plain).unwrap());
        assert!(open(&ben, &around(&plain, &ben)).unwrap().id.is_some());
    }

    #[test]
    fn the_longest_message_fits_into_what_a_space_takes() {
        let (ann, ben) = keys();
        let long = |text: &str| rumor(ann.public_key(), CHAT, NOW, &[], text);
        let frame = serde_json::to_string(&long("")).unwrap().len();
        let text = "x".repeat(RUMOR_BYTES - frame);
        let wrap = wrap(&ann, &long(&text), &ben.public_key(), GIFT_WRAP, NOW).unwrap();
        assert!(
            wrap.content.len() <= 64 * 1024,
            "{} characters",
            wrap.content.len()
        );
    }
}
