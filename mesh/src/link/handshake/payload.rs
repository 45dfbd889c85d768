//! What both sides of a link handshake tell each other inside it: the mesh key with proof of ownership, and what is
//! needed to hear their broadcasts.

use super::LinkParty;
use crate::crypto::SecretKey;
use crate::identity::{MeshPublicKey, ShortId};
use crate::link::{GroupId, GroupReceiver, LinkError, LinkIndex};
use crate::wire::{Reader, Writer};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"warren link handshake v1";

/// Length in bytes: version 1, features 2, mesh key 32, group id 4, group key 32, group counter 8, signature 64.
pub(super) const PAYLOAD_LEN: usize = 143;
/// Longest payload accepted: later releases may append.
const MAX_PAYLOAD: usize = 512;

/// Who signs: a signature of one role is worthless in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator = 1,
    Responder = 2,
}

/// What a signature says besides whose it is.
pub(super) struct Statement {
    pub role: Role,
    /// The handshake hash before the message that carries the signature.
    pub hash: [u8; 32],
    /// The signer's static X25519 public key.
    pub static_public: [u8; 32],
    pub initiator_index: LinkIndex,
    pub responder_index: LinkIndex,
}

impl Statement {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.put_u8(self.role as u8);
        bytes.put(&self.hash);
        bytes.put(&self.static_public);
        bytes.put_u32(self.initiator_index.0);
        bytes.put_u32(self.responder_index.0);
        bytes
    }
}

/// What the other side told, checked.
pub(super) struct Peer {
    pub key: MeshPublicKey,
    pub features: u16,
    pub group: GroupReceiver,
}

pub(super) fn encode(local: &LinkParty<'_>, statement: &Statement) -> Vec<u8> {
    let group = local.group.receiver();
    let mut bytes = Vec::with_capacity(PAYLOAD_LEN);
    bytes.put_u8(VERSION);
    bytes.put_u16(local.features);
    bytes.put(&local.identity.public_key().0);
    bytes.put_u32(group.id().0);
    bytes.put(group.key().as_bytes());
    bytes.put_u64(group.first_counter());
    bytes.put(&local.identity.sign(&statement.bytes()));
    bytes
}

/// Reads and checks the other side's payload.
pub(super) fn decode(
    local: &LinkParty<'_>,
    statement: &Statement,
    expected: Option<ShortId>,
    payload: &[u8],
) -> Result<Peer, LinkError> {
    let length = LinkError::Length { len: payload.len() };
    let mut reader = Reader::new(payload);
    let version = reader.u8().map_err(|_| length)?;
    if version != VERSION {
        return Err(LinkError::HandshakeVersion(version));
    }
    if !(PAYLOAD_LEN..=MAX_PAYLOAD).contains(&payload.len()) {
        return Err(length);
    }
    let features = reader.u16()?;
    let key = MeshPublicKey(reader.array()?);
    let group = GroupReceiver::new(
        GroupId(reader.u32()?),
        SecretKey::new(reader.array()?),
        reader.u64()?,
    );
    key.verify(&statement.bytes(), &reader.array()?)?;
    if key == local.identity.public_key() {
        return Err(LinkError::OwnKey);
    }
    let found = key.address().short_id();
    match expected {
        Some(expected) if expected != found => Err(LinkError::OtherPeer { expected, found }),
        _ => Ok(Peer {
            key,
            features,
            group,
        }),
    }
}
