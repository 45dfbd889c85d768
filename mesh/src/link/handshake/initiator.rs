//! The side of a link handshake that speaks first.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::payload::{self, Role, Statement};
use super::{EPHEMERAL_LEN, Established, LinkParty, Stamped, expect, read};
use super::{reply_mac_keys, responder_mac_keys};
use crate::crypto::cookie::MacKeys;
use crate::crypto::noise::{self, Handshake, NoiseError};
use crate::identity::ShortId;
use crate::link::{FrameType, LinkError, LinkIndex};
use crate::time::Instant;
use crate::wire::Writer;

/// The side that sends HANDSHAKE1.
#[derive(Debug)]
pub struct Initiator {
    handshake: Option<Handshake>,
    peer: ShortId,
    local_index: LinkIndex,
    stamped: Stamped,
    reply_keys: MacKeys,
}

impl Initiator {
    /// Starts a handshake with the node of this short id. `local_index` is random and unused.
    pub fn start<R: CryptoRng + ?Sized>(
        local: &LinkParty<'_>,
        peer: ShortId,
        local_index: LinkIndex,
        rng: &mut R,
    ) -> Result<Self, LinkError> {
        let mut handshake = Handshake::initiator(local.parameters(), rng)?;
        let mut message = vec![FrameType::Handshake1.byte()];
        message.put_u32(local_index.0);
        let noise_at = message.len();
        handshake.write(&[], &mut message)?;
        let reply_keys = reply_mac_keys(&message[noise_at..noise_at + EPHEMERAL_LEN]);
        Ok(Self {
            handshake: Some(handshake),
            peer,
            local_index,
            stamped: Stamped::new(responder_mac_keys(peer), message),
            reply_keys,
        })
    }

    /// The HANDSHAKE1 datagram, to be sent until something comes back.
    pub fn message(&self) -> &[u8] {
        &self.stamped.message
    }

    /// Whom it is for.
    pub const fn peer(&self) -> ShortId {
        self.peer
    }

    /// Our index.
    pub const fn local_index(&self) -> LinkIndex {
        self.local_index
    }

    /// The keys of `mac1` and cookies of the HANDSHAKE2 we wait for.
    pub const fn reply_mac_keys(&self) -> &MacKeys {
        &self.reply_keys
    }

    /// A COOKIE datagram came: [`Initiator::message`] carries the cookie from now on. Send it again.
    pub fn take_cookie(&mut self, now: Instant, datagram: &[u8]) -> Result<(), LinkError> {
        self.stamped.take_cookie(now, self.local_index, datagram)
    }

    /// Reads HANDSHAKE2. On success the HANDSHAKE3 datagram to send (again, until the neighbour is heard in the new
    /// session) and the session; this object is used up. After [`LinkError::Mac`], [`LinkError::Index`] or
    /// [`LinkError::Length`] it goes on waiting, after other errors it is best dropped.
    pub fn finish(
        &mut self,
        now: Instant,
        local: &LinkParty<'_>,
        datagram: &[u8],
    ) -> Result<(Vec<u8>, Established), LinkError> {
        expect(FrameType::Handshake2, datagram)?;
        let body = self
            .reply_keys
            .verify_mac1(datagram)
            .ok_or(LinkError::Mac)?;
        let mut reader = expect(FrameType::Handshake2, body)?;
        let remote_index = LinkIndex(reader.u32()?);
        if reader.u32()? != self.local_index.0 {
            return Err(LinkError::Index);
        }
        let handshake = self.handshake.as_mut().ok_or(NoiseError::State)?;
        let before = handshake.hash();
        let payload = read(local, handshake, reader.rest())?;
        let statement = |role, hash, static_public| Statement {
            role,
            hash,
            static_public,
            initiator_index: self.local_index,
            responder_index: remote_index,
        };
        let theirs = handshake.remote_static().ok_or(NoiseError::State)?;
        let theirs = statement(Role::Responder, before, theirs);
        let peer = payload::decode(local, &theirs, Some(self.peer), &payload)?;
        let ours = noise::x25519_public(local.static_secret);
        let ours = statement(Role::Initiator, handshake.hash(), ours);
        let mut message = vec![FrameType::Handshake3.byte()];
        message.put_u32(remote_index.0);
        let payload = Zeroizing::new(payload::encode(local, &ours));
        handshake.write(&payload, &mut message)?;
        let handshake = self.handshake.take().ok_or(NoiseError::State)?;
        let established = Established::new(
            now,
            local,
            peer,
            handshake,
            self.local_index,
            remote_index,
            true,
        )?;
        Ok((message, established))
    }
}
