//! Invitations made on the fly (NIP-43, 28935): a text that proves by itself that this space made it, for whom and
//! until when, so that asking for one stores nothing. Each lets in one person.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 32 | the member who asked |
//! | 8 | the second after which it is void, big endian |
//! | 8 | random |
//! | 16 | keyed BLAKE3 of the bytes before, cut |
//!
//! Written as base64url without padding.

use data_encoding::BASE64URL_NOPAD;
use nostr::key::{Keys, PublicKey};

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 32 + 8 + 8;
const TAG: usize = 16;

/// Makes and reads claims of one space.
pub struct Claims {
    key: [u8; 32],
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Claims")
    }
}

/// What a claim says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Names it in the log without telling it: 16 hexadecimal digits.
    pub id: Box<str>,
    /// Who asked for it.
    pub by: PublicKey,
    /// The second after which it is void.
    pub expires: u64,
}

impl Claims {
    /// With a key that follows from the space's own.
    pub fn new(keys: &Keys) -> Self {
        let key = blake3::derive_key("warren space claim v1", keys.secret_key().as_secret_bytes());
        Self { key }
    }

    /// A claim for one newcomer.
    pub fn make(&self, by: &PublicKey, expires: u64, random: [u8; 8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(by.as_bytes());
        bytes.extend(expires.to_be_bytes());
        bytes.extend(random);
        let tag = blake3::keyed_hash(&self.key, &bytes);
        bytes.extend(&tag.as_bytes()[..TAG]);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads a claim; `None` when this space did not make it.
    pub fn read(&self, text: &str) -> Option<Claim> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let bytes: [u8; SIGNED + TAG] = bytes.try_into().ok()?;
        let (signed, tag) = bytes.split_at(SIGNED);
        let ours = blake3::keyed_hash(&self.key, signed);
        let difference = tag
            .iter()
            .zip(ours.as_bytes())
            .fold(0, |all, (a, b)| all | (a ^ b));
        if difference != 0 || signed[0] != VERSION {
            return None;
        }
        let (by, rest) = signed[1..].split_first_chunk::<32>()?;
        let (expires, _) = rest.split_first_chunk::<8>()?;
        let id = blake3::hash(signed).to_hex();
        Some(Claim {
            id: id[..16].into(),
            by: PublicKey::from_byte_array(*by),
            expires: u64::from_be_bytes(*expires),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_what_the_space_made_is_a_claim(expires: u64, random: [u8; 8], at in 0usize..65, bit in 0u8..8, text in ".{0,120}") {
            let (claims, other) = (Claims::new(&Person::new(1).0), Claims::new(&Person::new(2).0));
            let ann = Person::new(3).key();
            let made = claims.make(&ann, expires, random);
            let read = claims.read(&made).unwrap();
            prop_assert_eq!((read.by, read.expires), (ann, expires));
            prop_assert_eq!(other.read(&made), None);
            let mut bytes = BASE64URL_NOPAD.decode(made.as_bytes()).unwrap();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(claims.read(&BASE64URL_NOPAD.encode(&bytes)), None);
            prop_assert_eq!(claims.read(&text), None);
        }
    }
}
