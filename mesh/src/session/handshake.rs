//! Messages that begin a session: Noise IK with the mesh keys mapped to X25519. Encodes, decodes and runs the curve;
//! whether a message may be worked on is decided by the caller.
//!
//! First byte: version 1 in the high nibble, type in the low one. These travel as routing kind 1.
//!
//! | type | name | after the first byte |
//! |---|---|---|
//! | 1 | initiation | sender's session index 4, Noise message 1 (96 + payload), mac1 16, mac2 16 |
//! | 2 | response | receiver's session index 4, Noise message 2 (48 + payload), mac1 16, mac2 16 |
//! | 3 | cookie | receiver's session index 4, nonce 24, sealed cookie 16, tag 16 |
//! | 4 | key request | sender's mesh key 32 |
//! | 5 | key | mesh key 32: proves itself by the address made from it |
//!
//! Payload of message 1: generation 4, sequence 4 (together they grow with every handshake of a node, also over
//! restarts: a recorded message is refused), features 4, initiator's mesh key 32. Payload of message 2: responder's
//! index 4, generation 4, features 4. Longer payloads come from newer versions; what is behind is ignored.
//!
//! mac1 is keyed by the receiver's address, mac2 by a cookie bound to the sender's short id; see `crypto::cookie`.
//!
//! IK proves the X25519 keys. The initiator's address hangs on its Ed25519 key, so that one is in the payload and has to
//! map to the proven key; the responder's address is in the prologue, so both mean the same address. The
//! initiator's index is in the prologue too, the responder's in its payload: nobody on the way can change one. Prologue: "warren session v1",
//! responder's address 16, initiator's index 4.

use super::SessionError;
use crate::crypto::SecretKey;
use crate::crypto::cookie::{MACS_LEN, MacKeys, REPLY_LEN};
use crate::crypto::noise::{Handshake, Parameters, Pattern, SplitKeys};
use crate::identity::{MeshPublicKey, NodeAddress};
use crate::wire::{Reader, Writer};

const VERSION: u8 = 0x10;
const INITIATION: u8 = VERSION | 1;
const RESPONSE: u8 = VERSION | 2;
const COOKIE: u8 = VERSION | 3;
const KEY_REQUEST: u8 = VERSION | 4;
const KEY: u8 = VERSION | 5;

/// Longest message accepted, bytes.
const MAX_LEN: usize = 512;

/// A message, taken apart but not believed.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Initiation { sender: u32, noise: &'a [u8] },
    Response { receiver: u32, noise: &'a [u8] },
    Cookie { receiver: u32, reply: &'a [u8] },
    KeyRequest { key: MeshPublicKey },
    Key { key: MeshPublicKey },
}

impl<'a> Message<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SessionError> {
        if bytes.len() > MAX_LEN {
            return Err(SessionError::Malformed);
        }
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let without_macs = |reader: &mut Reader<'a>| {
            let len = reader
                .rest()
                .len()
                .checked_sub(MACS_LEN)
                .ok_or(SessionError::Malformed)?;
            Ok::<_, SessionError>(reader.take(len)?)
        };
        let message = match kind {
            INITIATION => {
                let sender = reader.u32()?;
                return Ok(Self::Initiation {
                    sender,
                    noise: without_macs(&mut reader)?,
                });
            }
            RESPONSE => {
                let receiver = reader.u32()?;
                return Ok(Self::Response {
                    receiver,
                    noise: without_macs(&mut reader)?,
                });
            }
            COOKIE => {
                let reply = reader.take(REPLY_LEN)?;
                Self::Cookie {
                    receiver: Reader::new(reply).u32()?,
                    reply,
                }
            }
            KEY_REQUEST => Self::KeyRequest {
                key: MeshPublicKey(reader.array()?),
            },
            KEY => Self::Key {
                key: MeshPublicKey(reader.array()?),
            },
            _ => return Err(SessionError::Malformed),
        };
        if reader.is_empty() {
            Ok(message)
        } else {
            Err(SessionError::Malformed)
        }
    }
}

/// Asks whoever has an address for its key.
pub(super) fn key_request(own: &MeshPublicKey) -> Vec<u8> {
    tagged_key(KEY_REQUEST, own)
}

/// The answer.
pub(super) fn key(own: &MeshPublicKey) -> Vec<u8> {
    tagged_key(KEY, own)
}

fn tagged_key(tag: u8, key: &MeshPublicKey) -> Vec<u8> {
    let mut message = Vec::with_capacity(33);
    message.put_u8(tag);
    message.put(&key.0);
    message
}

/// A cookie reply with its type.
pub(super) fn cookie(reply: &[u8; REPLY_LEN]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 + REPLY_LEN);
    message.put_u8(COOKIE);
    message.put(reply);
    message
}

/// The keys of the authentication codes on messages to a node.
pub(super) fn mac_keys(receiver: &NodeAddress) -> MacKeys {
    MacKeys::new("warren session v1", receiver.as_bytes())
}

/// Our side of every handshake.
pub(super) struct Local {
    pub key: MeshPublicKey,
    pub address: NodeAddress,
    pub secret: SecretKey,
    pub generation: u32,
    pub features: u32,
}

impl Local {
    fn prologue(responder: &NodeAddress, initiator_index: u32) -> [u8; 37] {
        let mut prologue = [0; 37];
        prologue[..17].copy_from_slice(b"warren session v1");
        prologue[17..33].copy_from_slice(responder.as_bytes());
        prologue[33..].copy_from_slice(&initiator_index.to_be_bytes());
        prologue
    }

    /// Message 1 (without macs) for the holder of `peer`, and the handshake that waits for the answer.
    pub fn initiate(
        &self,
        rng: &mut impl rand_core::CryptoRng,
        peer: &MeshPublicKey,
        index: u32,
        sequence: u32,
    ) -> Result<(Handshake, Vec<u8>), SessionError> {
        let remote = peer.to_x25519().map_err(|_| SessionError::Identity)?;
        let mut handshake = Handshake::initiator(
            Parameters {
                pattern: Pattern::Ik,
                prologue: &Self::prologue(&peer.address(), index),
                local_static: &self.secret,
                remote_static: Some(&remote),
                psk: None,
            },
            rng,
        )?;
        let mut payload = Vec::with_capacity(44);
        payload.put_u32(self.generation);
        payload.put_u32(sequence);
        payload.put_u32(self.features);
        payload.put(&self.key.0);
        let mut message = Vec::with_capacity(192);
        message.put_u8(INITIATION);
        message.put_u32(index);
        handshake.write(&payload, &mut message)?;
        Ok((handshake, message))
    }

    /// Reads message 1: who wants to talk.
    pub fn read_initiation(
        &self,
        rng: &mut impl rand_core::CryptoRng,
        sender: u32,
        noise: &[u8],
    ) -> Result<Initiated, SessionError> {
        let mut handshake = Handshake::responder(
            Parameters {
                pattern: Pattern::Ik,
                prologue: &Self::prologue(&self.address, sender),
                local_static: &self.secret,
                remote_static: None,
                psk: None,
            },
            rng,
        )?;
        let payload = handshake.read(noise)?;
        let mut reader = Reader::new(&payload);
        let freshness = Freshness {
            generation: reader.u32()?,
            sequence: reader.u32()?,
        };
        let features = reader.u32()?;
        let key = MeshPublicKey(reader.array()?);
        let mapped = key.to_x25519().map_err(|_| SessionError::Identity)?;
        if handshake.remote_static() != Some(mapped) {
            return Err(SessionError::Identity);
        }
        Ok(Initiated {
            handshake,
            key,
            freshness,
            features,
        })
    }

    /// Message 2 (without macs) and the keys.
    pub fn respond(
        &self,
        initiated: Initiated,
        index: u32,
        sender: u32,
    ) -> Result<(SplitKeys, Vec<u8>), SessionError> {
        let mut handshake = initiated.handshake;
        let mut payload = Vec::with_capacity(12);
        payload.put_u32(index);
        payload.put_u32(self.generation);
        payload.put_u32(self.features);
        let mut message = Vec::with_capacity(112);
        message.put_u8(RESPONSE);
        message.put_u32(sender);
        handshake.write(&payload, &mut message)?;
        Ok((handshake.split()?, message))
    }
}

/// What makes a first message newer than another of the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Freshness {
    pub generation: u32,
    pub sequence: u32,
}

/// A first message that was proven to come from the holder of `key` (at some time).
pub(super) struct Initiated {
    handshake: Handshake,
    pub key: MeshPublicKey,
    pub freshness: Freshness,
    pub features: u32,
}

/// Reads message 2: the responder's index and features.
pub(super) fn read_response(
    handshake: &mut Handshake,
    noise: &[u8],
) -> Result<(u32, u32), SessionError> {
    let payload = handshake.read(noise)?;
    let mut reader = Reader::new(&payload);
    let (index, _generation, features) = (reader.u32()?, reader.u32()?, reader.u32()?);
    Ok((index, features))
}
