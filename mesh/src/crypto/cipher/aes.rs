//! AES-256-GCM by `ring`. The expanded key is kept: making it for each packet would cost as much as a short packet.

use core::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::crypto::SecretKey;
use crate::crypto::aead::{BadTag, TAG_LEN};

pub(super) const BUILT: bool = true;

#[cfg(target_arch = "x86_64")]
pub(super) fn processor_has_it() -> bool {
    use std::arch::is_x86_feature_detected;
    is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("avx")
}

#[cfg(target_arch = "aarch64")]
pub(super) fn processor_has_it() -> bool {
    // Rust's "aes" of this architecture includes PMULL, which GCM needs.
    std::arch::is_aarch64_feature_detected!("aes")
}

/// An AES-256-GCM key, overwritten when dropped.
#[derive(Debug)]
pub struct AesGcm(Box<LessSafeKey>);

fn expand(key: &[u8; 32]) -> LessSafeKey {
    match UnboundKey::new(&AES_256_GCM, key) {
        Ok(key) => LessSafeKey::new(key),
        Err(_) => unreachable!("an AES-256 key is 32 bytes"),
    }
}

impl AesGcm {
    pub(super) fn new(key: &SecretKey) -> Option<Self> {
        Some(Self(Box::new(expand(key.as_bytes()))))
    }

    pub(super) fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut tag = [0; TAG_LEN];
        match self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
        {
            Ok(sealed) => tag.copy_from_slice(sealed.as_ref()),
            // Refused only above 64 GiB, which no slice of a datagram is.
            Err(_) => unreachable!("a text longer than GCM has key stream for"),
        }
        tag
    }

    pub(super) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), BadTag> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), text, 0..)
            .map(|_| ())
            .map_err(|_| BadTag)
    }
}

impl Drop for AesGcm {
    fn drop(&mut self) {
        // ring's key types cannot be zeroised: another expanded key of the same kind takes the place of this one.
        *self.0 = expand(&[0; 32]);
        black_box(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, test case 16.
    const KEY: [u8; 32] = [
        0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83,
        0x08, 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30,
        0x83, 0x08,
    ];
    const NONCE: [u8; 12] = [
        0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88,
    ];
    const TAG: [u8; 16] = [
        0x76, 0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68, 0xcd, 0xdf, 0x88, 0x53, 0xbb, 0x2d, 0x55,
        0x1b,
    ];

    #[test]
    fn reproduces_test_case_16_of_the_gcm_paper() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let key = AesGcm::new(&SecretKey::new(KEY)).unwrap();
        let mut text = plain.clone();
        assert_eq!(key.seal(&NONCE, &aad, &mut text), TAG);
        assert_eq!(text[..4], [0x52, 0x2d, 0xc1, 0xf0]);
        key.open(&NONCE, &aad, &mut text, &TAG).unwrap();
        assert_eq!(text, plain);
    }
}
