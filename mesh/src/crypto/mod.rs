//! Cryptography shared by links and end-to-end sessions. The primitives are other people's crates; what stands here is
//! how they are combined. No protocol state.
//!
//! | file | what | source |
//! |---|---|---|
//! | `aead` | ChaCha20-Poly1305 in place, by `ring` or RustCrypto | RFC 8439 |
//! | `cipher` | what seals packets between two nodes: that, or AES-256-GCM where both have instructions for it | NIST SP 800-38D |
//! | `kdf` | labelled keys, short tags | BLAKE3 keyed mode |
//! | `replay` | 64-bit counters sent as 32 bits, sliding window | RFC 4304 appendix A, RFC 6479 |
//! | `noise` | XX, XXpsk2 and IK handshakes | Noise revision 34, by `snow` |
//! | `cookie` | proof of address before curve work | WireGuard, sections 5.4.4 and 5.4.7 |

pub mod aead;
pub mod cipher;
pub mod cookie;
pub mod kdf;
pub mod noise;
pub mod replay;

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A symmetric 256-bit key. Zeroised when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key of fresh randomness.
    pub fn random<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut key = Self([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SecretKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
