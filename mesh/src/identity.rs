//! Who a node is: its Ed25519 mesh key, and the address and short id that follow from it. Nothing here is negotiated.

use core::fmt;
use core::net::Ipv6Addr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

const ADDRESS_CONTEXT: &[u8] = b"warren node address v1";

/// An Ed25519 mesh public key (RFC 8032), 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshPublicKey(pub [u8; 32]);

/// A node's address in `fc00::/8`: `0xfc`, then the first 120 bits of
/// BLAKE3-256("warren node address v1" || mesh public key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress([u8; 16]);

/// The first eight bytes of the hash behind a [`NodeAddress`]: its alias on the wire. Of two nodes with one short id the
/// lower address wins.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; 8]);

/// What makes bytes no identity or no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a point of the curve, or one of small order.
    #[error("these 32 bytes are no usable mesh public key")]
    PublicKey,
    /// The signature does not fit key and message.
    #[error("the signature does not fit the key and the message")]
    Signature,
}

impl MeshPublicKey {
    /// The address of whoever holds this key.
    pub fn address(&self) -> NodeAddress {
        let mut hasher = blake3::Hasher::new();
        hasher.update(ADDRESS_CONTEXT).update(&self.0);
        let mut address = [0xfc; 16];
        address[1..].copy_from_slice(&hasher.finalize().as_bytes()[..15]);
        NodeAddress(address)
    }

    /// Checks a signature strictly (no small-order keys, no malleability).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), IdentityError> {
        VerifyingKey::from_bytes(&self.0)
            .map_err(|_| IdentityError::PublicKey)?
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| IdentityError::Signature)
    }

    /// The same key on Curve25519 (RFC 7748, birational map), for key agreement.
    pub fn to_x25519(&self) -> Result<[u8; 32], IdentityError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| IdentityError::PublicKey)?;
        if key.is_weak() {
            return Err(IdentityError::PublicKey);
        }
        Ok(key.to_montgomery().to_bytes())
    }
}

impl NodeAddress {
    /// The address with these bytes, if they lie in `fc00::/8`.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes[0] == 0xfc).then_some(Self(bytes))
    }

    /// The sixteen bytes, network order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As the standard library's type.
    pub const fn to_ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.0)
    }

    /// The alias on the wire.
    pub fn short_id(&self) -> ShortId {
        let mut id = [0; 8];
        id.copy_from_slice(&self.0[1..9]);
        ShortId(id)
    }
}

/// A node's mesh key pair. Zeroised when dropped, never printed.
pub struct MeshIdentity {
    key: SigningKey,
    public: MeshPublicKey,
    address: NodeAddress,
}

impl MeshIdentity {
    /// The identity of a 32-byte Ed25519 seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = MeshPublicKey(key.verifying_key().to_bytes());
        let address = public.address();
        Self {
            key,
            public,
            address,
        }
    }

    /// The public half.
    pub const fn public_key(&self) -> MeshPublicKey {
        self.public
    }

    /// The address that follows from it.
    pub const fn address(&self) -> NodeAddress {
        self.address
    }

    /// The alias on the wire.
    pub fn short_id(&self) -> ShortId {
        self.address.short_id()
    }

    /// An Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// The X25519 private key that goes with [`MeshPublicKey::to_x25519`].
    pub fn x25519_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_scalar_bytes())
    }
}

impl fmt::Debug for MeshIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshIdentity({})", self.address)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_ipv6(), f)
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for MeshPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
