//! One session after its handshake: seals and opens frames. Frame: receiver's index (4), counter (4), sealed text, tag
//! (16). The index needs no place under the tag: each has keys of its own. The counter is the nonce.

use super::SessionError;
use super::ratchet::{ReceiveRatchet, SendRatchet};
use crate::crypto::aead::TAG_LEN;
use crate::crypto::cipher::Suite;
use crate::crypto::noise::SplitKeys;
use crate::time::Instant;

/// Bytes before the sealed text.
pub(super) const PREFIX: usize = 8;
/// What a session frame adds to its inner packet.
pub(super) const OVERHEAD: usize = PREFIX + TAG_LEN;

/// Which side of the handshake we were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

pub(super) struct Session {
    pub role: Role,
    /// By which the peer names it to us.
    pub local: u32,
    /// By which we name it to the peer.
    pub remote: u32,
    pub created: Instant,
    pub send: SendRatchet,
    pub receive: ReceiveRatchet,
}

impl Session {
    /// `local` and `remote` are the indices by which the peer and we name it.
    pub fn new(
        now: Instant,
        role: Role,
        (local, remote): (u32, u32),
        keys: SplitKeys,
        suite: Suite,
    ) -> Self {
        Self {
            role,
            local,
            remote,
            created: now,
            send: SendRatchet::new(now, keys.send, suite),
            receive: ReceiveRatchet::new(keys.receive, suite),
        }
    }

    /// Seals a frame of which the text already stands in its place; `send.prepare` said yes just before.
    pub fn seal_frame(&mut self, frame: &mut [u8]) {
        let Some((sealed, tag_place)) = frame.split_last_chunk_mut::<TAG_LEN>() else {
            return;
        };
        let Some((prefix, text)) = sealed.split_first_chunk_mut::<PREFIX>() else {
            return;
        };
        let (counter, tag) = self.send.seal(text);
        prefix[..4].copy_from_slice(&self.remote.to_be_bytes());
        prefix[4..].copy_from_slice(&counter.to_be_bytes());
        *tag_place = tag;
    }

    /// Opens a frame in place and returns the text.
    pub fn open_frame<'a>(
        &mut self,
        now: Instant,
        frame: &'a mut [u8],
    ) -> Result<&'a mut [u8], SessionError> {
        let (sealed, tag) = frame
            .split_last_chunk_mut::<TAG_LEN>()
            .ok_or(SessionError::Malformed)?;
        let (prefix, text) = sealed
            .split_first_chunk_mut::<PREFIX>()
            .ok_or(SessionError::Malformed)?;
        let counter = u32::from_be_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
        self.receive.open(now, counter, text, tag)?;
        Ok(text)
    }
}

/// Which session a frame names.
pub(super) fn frame_index(frame: &[u8]) -> Result<u32, SessionError> {
    if frame.len() < OVERHEAD {
        return Err(SessionError::Malformed);
    }
    Ok(u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]))
}
