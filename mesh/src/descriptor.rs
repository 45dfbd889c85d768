//! What a node tells about itself when asked: name and visible services, signed with its mesh key.

use crate::identity::MeshPublicKey;

/// A visible service of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAnnouncement {
    /// Ed25519 service key.
    pub key: [u8; 32],
    /// TCP port on the node's address.
    pub port: u16,
    /// Title for people, at most 64 bytes of UTF-8.
    pub title: String,
}

/// A node's signed self-description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whose it is.
    pub key: MeshPublicKey,
    /// Name for people.
    pub name: String,
    /// Its visible services.
    pub services: Vec<ServiceAnnouncement>,
}
