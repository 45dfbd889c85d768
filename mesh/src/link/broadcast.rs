//! One transmission for all neighbours: hidden by the sender's group key, authentic by one short tag per neighbour.
//!
//! Everybody who shares a group key can read, and could write, what it encrypts; so the key proves nothing. What does
//! is a tag of 8 bytes under a key that only the sender and one neighbour share (see the table in `session`): keyed
//! BLAKE3(tag key, counter 8 || BLAKE3(first 10 bytes of the frame || ciphertext)), cut to 8 bytes. A counter moves
//! only on a valid tag, so no neighbour can speak as another or make others deaf to it. The cipher is ChaCha20
//! (RFC 8439) with nonce 0^4 || counter 8; group id and key are random at every start of the node.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};

use super::{FrameType, LinkError};
use crate::crypto::aead::{BadTag, counter_nonce};
use crate::crypto::replay::ReplayWindow;
use crate::crypto::{SecretKey, kdf};
use crate::identity::ShortId;
use crate::wire::Writer;

/// Length of one neighbour's tag in bytes.
pub const BROADCAST_TAG_LEN: usize = 8;
/// Bytes of a broadcast frame before the tags.
pub const BROADCAST_HEADER_LEN: usize = 10;
/// Most neighbours of one frame.
pub const MAX_TAGS: usize = 255;

/// A sender's random name for its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// The key under which one neighbour believes broadcasts of another: pairwise, one direction, of one link session.
#[derive(Clone, Debug)]
pub struct TagKey(SecretKey);

impl TagKey {
    /// Proof that the neighbour at the sending end of this key declares the link dead that the other end numbers
    /// `link_index`, for the `number`th time. Travels through the mesh, so it names both ends.
    pub fn notice(&self, from: &ShortId, to: &ShortId, link_index: u32, number: u32) -> [u8; 16] {
        let parts: [&[u8]; 4] = [
            &from.0,
            &to.0,
            &link_index.to_be_bytes(),
            &number.to_be_bytes(),
        ];
        kdf::mac(&self.0, "warren link down v1", &parts)
    }

    /// The tag key with these bytes.
    pub const fn new(key: SecretKey) -> Self {
        Self(key)
    }

    fn tag(&self, counter: u64, digest: &[u8; 32]) -> [u8; BROADCAST_TAG_LEN] {
        let mut input = [0; 40];
        input[..8].copy_from_slice(&counter.to_be_bytes());
        input[8..].copy_from_slice(digest);
        let hash = blake3::keyed_hash(self.0.as_bytes(), &input);
        let mut tag = [0; BROADCAST_TAG_LEN];
        tag.copy_from_slice(&hash.as_bytes()[..BROADCAST_TAG_LEN]);
        tag
    }
}

fn digest(header: &[u8], ciphertext: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(ciphertext);
    *hasher.finalize().as_bytes()
}

fn apply_key_stream(key: &SecretKey, counter: u64, text: &mut [u8]) {
    ChaCha20::new(key.as_bytes().into(), &counter_nonce(counter).into()).apply_keystream(text);
}

/// This node's own group: seals what all neighbours shall hear.
#[derive(Debug)]
pub struct GroupSender {
    id: GroupId,
    key: SecretKey,
    counter: u64,
}

impl GroupSender {
    /// A new group, at the start of a node.
    pub fn new<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self {
            id: GroupId(rng.next_u32()),
            key: SecretKey::random(rng),
            counter: 0,
        }
    }

    /// The group's id.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// What a new neighbour gets to know: it will accept this counter and later ones.
    pub(super) fn receiver(&self) -> GroupReceiver {
        GroupReceiver::new(self.id, self.key.clone(), self.counter)
    }

    /// Appends a frame of 10 + 8n + len bytes to `out` that the holders of the n `tag_keys` will believe.
    pub fn seal<'a>(
        &mut self,
        tag_keys: impl IntoIterator<Item = &'a TagKey>,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), LinkError> {
        let keys: Vec<&TagKey> = tag_keys.into_iter().collect();
        let count =
            u8::try_from(keys.len()).map_err(|_| LinkError::TooManyNeighbours(keys.len()))?;
        let counter = self.counter;
        self.counter += 1;
        let start = out.len();
        out.put_u8(FrameType::Broadcast.byte());
        out.put_u32(self.id.0);
        out.put_u32(counter as u32);
        out.put_u8(count);
        let tags = out.len();
        let text = tags + keys.len() * BROADCAST_TAG_LEN;
        out.resize(text, 0);
        out.put(plaintext);
        apply_key_stream(&self.key, counter, &mut out[text..]);
        let digest = digest(&out[start..tags], &out[text..]);
        for (slot, key) in out[tags..text]
            .chunks_exact_mut(BROADCAST_TAG_LEN)
            .zip(keys)
        {
            slot.copy_from_slice(&key.tag(counter, &digest));
        }
        Ok(())
    }
}

/// A neighbour's group, as it told us in the handshake.
#[derive(Clone, Debug)]
pub struct GroupReceiver {
    id: GroupId,
    key: SecretKey,
    first: u64,
    window: ReplayWindow,
}

impl GroupReceiver {
    pub(super) const fn new(id: GroupId, key: SecretKey, first: u64) -> Self {
        Self {
            id,
            key,
            first,
            window: ReplayWindow::starting_at(first),
        }
    }

    /// The group's id, by which a frame finds its receiver.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    pub(super) const fn key(&self) -> &SecretKey {
        &self.key
    }

    pub(super) const fn first_counter(&self) -> u64 {
        self.first
    }

    /// Takes over what a new handshake with the same neighbour told. While the group is the same one (the neighbour has
    /// not restarted), what was heard stays heard.
    pub fn renew(&mut self, new: Self) {
        let same = self.id == new.id && bool::from(self.key.as_bytes().ct_eq(new.key.as_bytes()));
        if !same {
            *self = new;
        }
    }

    /// Opens a whole BROADCAST datagram that the neighbour behind `tag_key` sent, in place, and returns what it says.
    /// Any error leaves window and frame as they were.
    pub fn open<'a>(
        &mut self,
        tag_key: &TagKey,
        frame: &'a mut [u8],
    ) -> Result<&'a [u8], LinkError> {
        let found = FrameType::of(frame)?;
        if found != FrameType::Broadcast {
            return Err(LinkError::FrameType(found as u8));
        }
        let len = frame.len();
        let (header, rest) = frame
            .split_first_chunk_mut::<BROADCAST_HEADER_LEN>()
            .ok_or(LinkError::Length { len })?;
        let [_, i0, i1, i2, i3, c0, c1, c2, c3, count] = *header;
        if u32::from_be_bytes([i0, i1, i2, i3]) != self.id.0 {
            return Err(LinkError::Index);
        }
        let (tags, text) = rest
            .split_at_mut_checked(usize::from(count) * BROADCAST_TAG_LEN)
            .ok_or(LinkError::Length { len })?;
        let counter = self.window.check(u32::from_be_bytes([c0, c1, c2, c3]))?;
        let expected = tag_key.tag(counter, &digest(header, text));
        let is_tagged = tags
            .chunks_exact(BROADCAST_TAG_LEN)
            .fold(Choice::from(0), |found, tag| found | expected.ct_eq(tag));
        if !bool::from(is_tagged) {
            return Err(BadTag.into());
        }
        self.window.commit(counter);
        apply_key_stream(&self.key, counter, text);
        Ok(text)
    }
}
