//! The AEAD of packets between two nodes. ChaCha20-Poly1305 is what every node can do fast enough; two nodes that both
//! have instructions for AES (most 64-bit boards and all PCs) use AES-256-GCM (NIST SP 800-38D) instead, which costs them
//! less than half. Each says so in its handshake, sealed and authenticated. A node without such instructions never
//! computes AES: in software it is slow, and its timing tells the key. Never chooses a nonce: callers count.

#[cfg_attr(
    not(all(feature = "ring", any(target_arch = "x86_64", target_arch = "aarch64"))),
    path = "aes_absent.rs"
)]
mod aes;

use self::aes::AesGcm;
use super::SecretKey;
use super::aead::{Aead, BadTag, DataAead, TAG_LEN};
use super::kdf;

/// The bit among a handshake's features that says: I have instructions for AES.
pub const FEATURE_AES: u16 = 1;

/// Whether this build and this processor do AES-256-GCM in instructions of their own.
pub fn has_aes() -> bool {
    aes::BUILT && aes::processor_has_it()
}

/// Which AEAD two nodes use for packets between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Suite {
    /// RFC 8439.
    #[default]
    ChaCha20Poly1305,
    /// NIST SP 800-38D.
    Aes256Gcm,
}

impl Suite {
    /// The bits that a node announces which wants AES, or does not. A build without it announces none.
    pub const fn features(aes: bool) -> u16 {
        if aes && aes::BUILT { FEATURE_AES } else { 0 }
    }

    /// What two nodes that announced these bits use.
    pub const fn agreed(ours: u32, theirs: u32) -> Self {
        if aes::BUILT && ours & theirs & FEATURE_AES as u32 != 0 {
            Self::Aes256Gcm
        } else {
            Self::ChaCha20Poly1305
        }
    }
}

/// An AEAD under one key. A nonce must not be used twice for sealing.
#[derive(Debug)]
pub enum PacketCipher {
    /// Everywhere.
    ChaCha20Poly1305(DataAead),
    /// Between nodes with instructions for it.
    Aes256Gcm(AesGcm),
}

impl PacketCipher {
    /// With the key that `base` and `purpose` give for this suite: no key serves two algorithms.
    pub fn derive(suite: Suite, base: &SecretKey, purpose: &str) -> Self {
        match suite {
            Suite::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(DataAead::new(kdf::derive(base, purpose, &[])))
            }
            Suite::Aes256Gcm => match AesGcm::new(&kdf::derive(base, purpose, &[b"aes-256-gcm"])) {
                Some(key) => Self::Aes256Gcm(key),
                None => unreachable!("a build without AES never agrees on it"),
            },
        }
    }

    /// Which AEAD this is.
    pub const fn suite(&self) -> Suite {
        match self {
            Self::ChaCha20Poly1305(_) => Suite::ChaCha20Poly1305,
            Self::Aes256Gcm(_) => Suite::Aes256Gcm,
        }
    }

    /// Encrypts `text` in place and returns its tag.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        match self {
            Self::ChaCha20Poly1305(key) => key.seal(nonce, aad, text),
            Self::Aes256Gcm(key) => key.seal(nonce, aad, text),
        }
    }

    /// Decrypts `text` in place. After an error `text` is worthless.
    ///
    /// # Errors
    /// The tag does not fit key, nonce, associated data and text.
    pub fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), BadTag> {
        match self {
            Self::ChaCha20Poly1305(key) => key.open(nonce, aad, text, tag),
            Self::Aes256Gcm(key) => key.open(nonce, aad, text, tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_nodes_with_aes_use_it() {
        let (with, without) = (
            u32::from(Suite::features(true)),
            u32::from(Suite::features(false)),
        );
        assert_eq!(without, 0);
        for (a, b) in [(with, without), (without, with), (without, without)] {
            assert_eq!(Suite::agreed(a, b), Suite::ChaCha20Poly1305);
            assert_eq!(
                Suite::agreed(a | 0xfffe, b | 0xfffe),
                Suite::ChaCha20Poly1305
            );
        }
        let both = Suite::agreed(with, with);
        assert_eq!(both == Suite::Aes256Gcm, aes::BUILT);
    }

    #[test]
    fn each_suite_opens_only_what_was_sealed_under_its_own_key_nonce_and_data() {
        let suites = if aes::BUILT {
            &[Suite::ChaCha20Poly1305, Suite::Aes256Gcm][..]
        } else {
            &[Suite::ChaCha20Poly1305]
        };
        let base = SecretKey::new([7; 32]);
        for &suite in suites {
            let cipher = PacketCipher::derive(suite, &base, "a");
            assert_eq!(cipher.suite(), suite);
            for len in [0, 1, 20, 63, 64, 65, 1400] {
                let plain = vec![len as u8; len];
                let mut text = plain.clone();
                let tag = cipher.seal(&[1; 12], b"data", &mut text);
                let sealed = text.clone();
                assert!(len < 20 || sealed != plain);
                cipher.open(&[1; 12], b"data", &mut text, &tag).unwrap();
                assert_eq!(text, plain);
                let refused = |cipher: &PacketCipher, nonce: u8, aad: &[u8], tag: &[u8; 16]| {
                    cipher.open(&[nonce; 12], aad, &mut sealed.clone(), tag) == Err(BadTag)
                };
                let mut bad = tag;
                bad[15] ^= 1;
                assert!(refused(&cipher, 2, b"data", &tag));
                assert!(refused(&cipher, 1, b"Data", &tag));
                assert!(refused(&cipher, 1, b"data", &bad));
                let other = PacketCipher::derive(suite, &base, "b");
                assert!(refused(&other, 1, b"data", &tag));
            }
        }
    }
}
