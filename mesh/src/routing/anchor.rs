//! The signed value that a hash chain hangs from: who the originator is, which generation it is in, and one element
//! from which all older and worse ones follow. As the first of a generation it is the anchor, later a checkpoint: the
//! same record. Whether a generation is fresh is for others to find out.

use super::chain::{ChainError, Element, MAX_SEQ, Position};
use crate::identity::{IdentityError, MeshIdentity, MeshPublicKey, NodeAddress};
use crate::wire::{Reader, Truncated, Writer};

/// Length of an encoded record in bytes: version 1, key 32, generation 4, sequence number 2, element 16, signature 64.
pub const ANCHOR_LEN: usize = 119;

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"warren chain anchor v1";

/// An originator's signed statement: "my chain of this generation has this element at (seq, 127)".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AnchorRecord {
    /// The originator.
    pub key: MeshPublicKey,
    /// Never smaller than in an earlier record.
    pub generation: u32,
    /// Sequence number, 1 to [`MAX_SEQ`].
    pub seq: u16,
    /// The chain's element at [`Position::checkpoint`] of `seq`.
    pub element: Element,
    /// Ed25519 over "warren chain anchor v1" and all of the above as encoded.
    pub signature: [u8; 64],
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// Too few bytes.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// A version this program does not know.
    #[error("an anchor of version {0}: the originator runs another release")]
    Version(u8),
    /// No such sequence number.
    #[error(transparent)]
    Position(#[from] ChainError),
    /// Key or signature are bad.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl AnchorRecord {
    /// Signs an element of this node's own chain.
    pub fn sign(identity: &MeshIdentity, generation: u32, seq: u16, element: Element) -> Self {
        let mut record = Self {
            key: identity.public_key(),
            generation,
            seq,
            element,
            signature: [0; 64],
        };
        record.signature = identity.sign(&record.signed_bytes());
        record
    }

    /// The originator's address, which follows from its key.
    pub fn address(&self) -> NodeAddress {
        self.key.address()
    }

    /// Where the element stands.
    pub const fn position(&self) -> Position {
        Position::checkpoint(self.seq)
    }

    /// Checks the signature. Costs one Ed25519 verification.
    pub fn verify(&self) -> Result<(), AnchorError> {
        Ok(self.key.verify(&self.signed_bytes(), &self.signature)?)
    }

    /// Appends the [`ANCHOR_LEN`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_unsigned(out);
        out.put(&self.signature);
    }

    /// Takes a record off the front. Its signature has *not* been checked.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, AnchorError> {
        let version = reader.u8()?;
        if version != VERSION {
            return Err(AnchorError::Version(version));
        }
        let record = Self {
            key: MeshPublicKey(reader.array()?),
            generation: reader.u32()?,
            seq: reader.u16()?,
            element: Element(reader.array()?),
            signature: reader.array()?,
        };
        record.position().index()?;
        Ok(record)
    }

    fn encode_unsigned(&self, out: &mut Vec<u8>) {
        debug_assert!((1..=MAX_SEQ).contains(&self.seq));
        out.put_u8(VERSION);
        out.put(&self.key.0);
        out.put_u32(self.generation);
        out.put_u16(self.seq);
        out.put(&self.element.0);
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        self.encode_unsigned(&mut bytes);
        bytes
    }
}

impl core::fmt::Debug for AnchorRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "AnchorRecord({:?}, generation {}, seq {})",
            self.key, self.generation, self.seq
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AnchorRecord {
        let identity = MeshIdentity::from_seed(&[5; 32]);
        AnchorRecord::sign(&identity, 7, 3, Element([9; 16]))
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        record().encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_signed_anchor_comes_back_whole_and_verifies() {
        let bytes = encoded();
        assert_eq!(bytes.len(), ANCHOR_LEN);
        let mut reader = Reader::new(&bytes);
        let back = AnchorRecord::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!(back, record());
        assert_eq!(back.verify(), Ok(()));
    }

    #[test]
    fn any_changed_byte_of_an_anchor_is_refused() {
        for place in 0..ANCHOR_LEN {
            for bit in [0, 7] {
                let mut bytes = encoded();
                bytes[place] ^= 1 << bit;
                let result =
                    AnchorRecord::decode(&mut Reader::new(&bytes)).and_then(|r| r.verify());
                assert!(result.is_err(), "byte {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn short_anchors_and_impossible_sequence_numbers_are_refused() {
        for len in 0..ANCHOR_LEN {
            let result = AnchorRecord::decode(&mut Reader::new(&encoded()[..len]));
            assert_eq!(result, Err(AnchorError::Truncated(Truncated)));
        }
        for seq in [0u16, 1025, u16::MAX] {
            let mut bytes = encoded();
            bytes[37..39].copy_from_slice(&seq.to_be_bytes());
            let result = AnchorRecord::decode(&mut Reader::new(&bytes));
            assert!(matches!(result, Err(AnchorError::Position(_))));
        }
    }
}
