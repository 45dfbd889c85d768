//! Keys from keys: BLAKE3 in keyed mode over a length-prefixed label and length-prefixed parts, so that no two uses and
//! no two splittings of the same bytes meet. Never takes a password.

use super::SecretKey;

fn hasher(key: &SecretKey, label: &str, parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key.as_bytes());
    for part in core::iter::once(&label.as_bytes()).chain(parts) {
        hasher.update(&(part.len() as u32).to_be_bytes());
        hasher.update(part);
    }
    hasher
}

/// The key for one purpose: BLAKE3-keyed(`key`, len32(label) || label || len32(part) || part ...).
pub fn derive(key: &SecretKey, label: &str, parts: &[&[u8]]) -> SecretKey {
    SecretKey::new(*hasher(key, label, parts).finalize().as_bytes())
}

/// The first `N` (at most 32) bytes of the same function, as a tag over `parts`.
pub fn mac<const N: usize>(key: &SecretKey, label: &str, parts: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut tag = [0; N];
    tag.copy_from_slice(&hasher(key, label, parts).finalize().as_bytes()[..N]);
    tag
}

/// A key from bytes that are no secret (an address, a public key): it only ties a tag to them.
pub fn public_key(label: &str, bytes: &[u8]) -> SecretKey {
    derive(&SecretKey::new([0; 32]), label, &[bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_parts_and_their_boundaries_all_change_the_key() {
        let key = SecretKey::new([7; 32]);
        let base = *derive(&key, "a", &[b"bc"]).as_bytes();
        for other in [
            derive(&key, "b", &[b"bc"]),
            derive(&key, "ab", &[b"c"]),
            derive(&key, "a", &[b"b", b"c"]),
            derive(&key, "a", &[b"bc", b""]),
            derive(&SecretKey::new([8; 32]), "a", &[b"bc"]),
        ] {
            assert_ne!(&base, other.as_bytes());
        }
        assert_eq!(mac::<8>(&key, "a", &[b"bc"]), base[..8]);
    }
}
