//! Secrets as they lie on the disk: sealed by a passphrase (Argon2id, RFC 9106) or by a device's token, with
//! ChaCha20-Poly1305 (RFC 8439). Knows nothing of accounts or files.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::error::HomeError;
use crate::guests::Token;

/// The least and the most memory of one derivation, in KiB.
const LEAST_KIB: u32 = 8 * 1024;
const MOST_KIB: u32 = 32 * 1024;
/// Most passes that are taken from a file that came from elsewhere.
const MOST_PASSES: u32 = 8;
/// Shortest and longest passphrase, in characters and in bytes.
pub const PASSPHRASE_CHARS: usize = 8;
pub const PASSPHRASE_BYTES: usize = 1024;

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The passphrase or token is another one, or what is sealed was changed.
    #[error("it does not open")]
    Wrong,
    /// There is not enough memory now.
    #[error("not enough memory")]
    Memory,
    /// No randomness.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// What a derivation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cost {
    /// Memory in KiB.
    pub kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// The cost for new passphrases on a machine with this much free memory, in KiB: an eighth of it, between 8 and 32
    /// MiB, and the less memory the more passes (as the parameters that OWASP holds equal).
    pub fn for_free_memory(kib: u32) -> Self {
        let kib = (kib / 8).clamp(LEAST_KIB, MOST_KIB) / 1024 * 1024;
        let passes = match kib / 1024 {
            0..=8 => 5,
            9..=11 => 4,
            12..=18 => 3,
            _ => 2,
        };
        Self { kib, passes }
    }

    /// The cost for this machine as it is now.
    pub fn here() -> Self {
        let free = std::fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let line = text
                    .lines()
                    .find(|line| line.starts_with("MemAvailable:"))?;
                line.split_whitespace().nth(1)?.parse().ok()
            });
        Self::for_free_memory(free.unwrap_or(LEAST_KIB))
    }

    /// Whether a file from elsewhere may ask for it.
    pub fn is_sane(&self) -> bool {
        (LEAST_KIB..=MOST_KIB).contains(&self.kib) && (1..=MOST_PASSES).contains(&self.passes)
    }

    /// A key from a passphrase. Takes this much memory, and a second or more on a router.
    fn derive(self, passphrase: &str, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let params =
            Params::new(self.kib, self.passes, 1, Some(32)).map_err(|_| SealError::Wrong)?;
        let mut memory: Vec<Block> = Vec::new();
        let blocks = params.block_count();
        memory
            .try_reserve_exact(blocks)
            .map_err(|_| SealError::Memory)?;
        memory.resize(blocks, Block::new());
        // One spelling for all keyboards, as NIP-49 has it.
        let passphrase: Zeroizing<String> = Zeroizing::new(passphrase.nfkc().collect());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut *key, &mut memory)
            .map_err(|_| SealError::Wrong)?;
        Ok(key)
    }

    /// Does the work of opening something and opens nothing.
    pub fn waste(self, passphrase: &str) -> Result<(), SealError> {
        self.derive(passphrase, &[0; 16]).map(drop)
    }
}

/// Bytes sealed under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    #[serde(with = "hex")]
    nonce: Vec<u8>,
    #[serde(with = "hex")]
    sealed: Vec<u8>,
}

impl Sealed {
    fn seal(key: &[u8; 32], secret: &[u8], about: &[u8]) -> Result<Self, SealError> {
        let nonce: [u8; 12] = random()?;
        let payload = Payload {
            msg: secret,
            aad: about,
        };
        let sealed = cipher(key)
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|_| SealError::Memory)?;
        Ok(Self {
            nonce: nonce.to_vec(),
            sealed,
        })
    }

    fn open(&self, key: &[u8; 32], about: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let nonce: [u8; 12] = self.nonce[..].try_into().map_err(|_| SealError::Wrong)?;
        let payload = Payload {
            msg: &self.sealed,
            aad: about,
        };
        let opened = cipher(key).decrypt(&Nonce::from(nonce), payload);
        opened.map(Zeroizing::new).map_err(|_| SealError::Wrong)
    }

    /// Seals for whoever has the token of a device. A token has 160 random bits: one hash is enough.
    pub fn by_token(token: &Token, secret: &[u8], about: &[u8]) -> Result<Self, SealError> {
        Self::seal(&token_key(token), secret, about)
    }

    /// Opens with the token of a device.
    pub fn open_by_token(
        &self,
        token: &Token,
        about: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.open(&token_key(token), about)
    }
}

/// Bytes sealed under a passphrase, with everything but the passphrase that is needed to open them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    #[serde(flatten)]
    pub cost: Cost,
    #[serde(with = "hex")]
    salt: Vec<u8>,
    #[serde(flatten)]
    sealed: Sealed,
}

impl Locked {
    /// Seals. `about` is not secret and must be the same at opening.
    pub fn seal(
        cost: Cost,
        passphrase: &str,
        secret: &[u8],
        about: &[u8],
    ) -> Result<Self, SealError> {
        let salt: [u8; 16] = random()?;
        let key = cost.derive(passphrase, &salt)?;
        Ok(Self {
            cost,
            salt: salt.to_vec(),
            sealed: Sealed::seal(&key, secret, about)?,
        })
    }

    /// Opens.
    pub fn open(&self, passphrase: &str, about: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = self.cost.derive(passphrase, &self.salt)?;
        self.sealed.open(&key, about)
    }
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key))
}

fn token_key(token: &Token) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(
        "warren home device key v1",
        token.reveal().as_bytes(),
    ))
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], HomeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| HomeError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Bytes as hexadecimal text in JSON.
mod hex {
    use data_encoding::HEXLOWER;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { kib: 64, passes: 1 };

    #[test]
    fn what_a_passphrase_sealed_it_alone_opens() {
        let locked = Locked::seal(CHEAP, "correct horse é", b"secret", b"about").unwrap();
        let text = serde_json::to_string(&locked).unwrap();
        let read: Locked = serde_json::from_str(&text).unwrap();
        assert_eq!(read, locked);
        assert_eq!(
            *read.open("correct horse e\u{301}", b"about").unwrap(),
            b"secret"
        );
        assert!(matches!(
            read.open("correct horse e", b"about"),
            Err(SealError::Wrong)
        ));
        assert!(matches!(
            read.open("correct horse é", b"another"),
            Err(SealError::Wrong)
        ));
        let again = Locked::seal(CHEAP, "correct horse é", b"secret", b"about").unwrap();
        assert_ne!(
            again, locked,
            "nobody sees that two passphrases are the same"
        );
    }

    #[test]
    fn what_a_token_sealed_it_alone_opens() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        let sealed = Sealed::by_token(&token, b"secret", b"about").unwrap();
        assert_eq!(*sealed.open_by_token(&token, b"about").unwrap(), b"secret");
        assert!(sealed.open_by_token(&other, b"about").is_err());
    }

    #[test]
    fn the_cost_follows_free_memory_between_its_bounds() {
        for (free_mib, mib, passes) in [
            (0, 8, 5),
            (40, 8, 5),
            (80, 10, 4),
            (128, 16, 3),
            (200, 25, 2),
            (4000, 32, 2),
        ] {
            let cost = Cost::for_free_memory(free_mib * 1024);
            assert_eq!(
                (cost.kib, cost.passes),
                (mib * 1024, passes),
                "{free_mib} MiB free"
            );
            assert!(cost.is_sane());
        }
        assert!(
            !Cost {
                kib: 1 << 20,
                passes: 1
            }
            .is_sane()
                && !Cost {
                    kib: 8192,
                    passes: 1000
                }
                .is_sane()
        );
    }
}
