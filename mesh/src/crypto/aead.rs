//! ChaCha20-Poly1305 (RFC 8439) over plain slices, in place, with the tag apart. Two implementations behind one trait;
//! [`DataAead`] is the one this build uses. Never chooses a nonce: callers count.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

use super::SecretKey;

/// Length of a tag in bytes.
pub const TAG_LEN: usize = 16;

/// The tag does not fit key, nonce, associated data and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authentication tag does not fit")]
pub struct BadTag;

/// The 96-bit nonce of a counter: four zero bytes, then the counter, big endian.
pub fn counter_nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}

/// An AEAD under one key. A nonce must not be used twice for sealing.
pub trait Aead {
    /// With this key.
    fn new(key: SecretKey) -> Self;

    /// Encrypts `text` in place and returns its tag.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN];

    /// Decrypts `text` in place. After an error `text` is worthless.
    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), BadTag>;
}

/// The AEAD of this build, chosen by measured cost: `ring` has assembly, RustCrypto is small and everywhere.
#[cfg(feature = "ring")]
pub type DataAead = RingAead;
/// The AEAD of this build, chosen by measured cost: `ring` has assembly, RustCrypto is small and everywhere.
#[cfg(not(feature = "ring"))]
pub type DataAead = RustCryptoAead;

/// RustCrypto's `chacha20poly1305`.
#[derive(Clone, Debug)]
pub struct RustCryptoAead(SecretKey);

impl Aead for RustCryptoAead {
    fn new(key: SecretKey) -> Self {
        Self(key)
    }

    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let cipher = ChaCha20Poly1305::new(self.0.as_bytes().into());
        match cipher.encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text)) {
            Ok(tag) => tag.into(),
            // Refused only above 256 GiB, which no slice of a datagram is.
            Err(_) => unreachable!("a text longer than ChaCha20 has key stream for"),
        }
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), BadTag> {
        ChaCha20Poly1305::new(self.0.as_bytes().into())
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(text), tag.into())
            .map_err(|_| BadTag)
    }
}

/// `ring`'s. The key is kept here and handed to `ring` for each call: that costs nanoseconds, zeroises what stays in
/// memory (ring's key type cannot), and is 32 bytes instead of ring's half a kilobyte.
#[cfg(feature = "ring")]
#[derive(Clone, Debug)]
pub struct RingAead(SecretKey);

#[cfg(feature = "ring")]
impl RingAead {
    fn key(&self) -> ring::aead::LessSafeKey {
        match ring::aead::UnboundKey::new(&ring::aead::CHACHA20_POLY1305, self.0.as_bytes()) {
            Ok(key) => ring::aead::LessSafeKey::new(key),
            Err(_) => unreachable!("a ChaCha20-Poly1305 key is 32 bytes"),
        }
    }
}

#[cfg(feature = "ring")]
impl Aead for RingAead {
    fn new(key: SecretKey) -> Self {
        Self(key)
    }

    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let sealed = self
            .key()
            .seal_in_place_separate_tag(nonce, ring::aead::Aad::from(aad), text);
        let mut tag = [0; TAG_LEN];
        match sealed {
            Ok(sealed) => tag.copy_from_slice(sealed.as_ref()),
            // Refused only above 256 GiB, which no slice of a datagram is.
            Err(_) => unreachable!("a text longer than ChaCha20 has key stream for"),
        }
        tag
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), BadTag> {
        let nonce = ring::aead::Nonce::assume_unique_for_key(*nonce);
        let aad = ring::aead::Aad::from(aad);
        self.key()
            .open_in_place_separate_tag(nonce, aad, (*tag).into(), text, 0..)
            .map(|_| ())
            .map_err(|_| BadTag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8439, section 2.8.2.
    const TEXT: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
sunscreen would be it.";
    const AAD: [u8; 12] = [
        0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    ];
    const NONCE: [u8; 12] = [
        0x07, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
    ];
    const TAG: [u8; 16] = [
        0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a, 0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06,
        0x91,
    ];

    fn rfc_key() -> SecretKey {
        SecretKey::new(core::array::from_fn(|i| 0x80 + i as u8))
    }

    fn reproduces_rfc_8439<A: Aead>() {
        let aead = A::new(rfc_key());
        let mut text = TEXT.to_vec();
        assert_eq!(aead.seal(&NONCE, &AAD, &mut text), TAG);
        assert_eq!(text[..4], [0xd3, 0x1a, 0x8d, 0x34]);
        aead.open(&NONCE, &AAD, &mut text, &TAG).unwrap();
        assert_eq!(text, TEXT);
    }

    #[test]
    fn rustcrypto_reproduces_the_vector_of_rfc_8439() {
        reproduces_rfc_8439::<RustCryptoAead>();
    }

    #[cfg(feature = "ring")]
    #[test]
    fn ring_reproduces_the_vector_of_rfc_8439() {
        reproduces_rfc_8439::<RingAead>();
    }

    #[cfg(feature = "ring")]
    #[test]
    fn ring_and_rustcrypto_agree_at_every_length_up_to_three_hundred() {
        let (ring, rust) = (RingAead::new(rfc_key()), RustCryptoAead::new(rfc_key()));
        for len in 0..300usize {
            let nonce = counter_nonce(len as u64 | 1 << 40);
            let aad = vec![len as u8; len % 37];
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let (mut a, mut b) = (plain.clone(), plain.clone());
            let tag = ring.seal(&nonce, &aad, &mut a);
            assert_eq!(tag, rust.seal(&nonce, &aad, &mut b));
            assert_eq!(a, b);
            ring.open(&nonce, &aad, &mut b, &tag).unwrap();
            rust.open(&nonce, &aad, &mut a, &tag).unwrap();
            assert_eq!((a, b), (plain.clone(), plain));
        }
    }

    #[test]
    fn a_flipped_bit_of_text_tag_nonce_or_associated_data_is_refused() {
        let aead = DataAead::new(rfc_key());
        let mut sealed = TEXT.to_vec();
        let tag = aead.seal(&NONCE, &AAD, &mut sealed);
        for bit in 0..8 {
            let (mut text, mut bad) = (sealed.clone(), tag);
            text[bit * 11] ^= 1 << bit;
            assert_eq!(aead.open(&NONCE, &AAD, &mut text, &tag), Err(BadTag));
            bad[bit] ^= 1 << bit;
            let mut text = sealed.clone();
            assert_eq!(aead.open(&NONCE, &AAD, &mut text, &bad), Err(BadTag));
            let (mut nonce, mut aad) = (NONCE, AAD);
            nonce[bit] ^= 1 << bit;
            let mut text = sealed.clone();
            assert_eq!(aead.open(&nonce, &AAD, &mut text, &tag), Err(BadTag));
            aad[bit] ^= 1 << bit;
            let mut text = sealed.clone();
            assert_eq!(aead.open(&NONCE, &aad, &mut text, &tag), Err(BadTag));
        }
    }
}
