//! The side of a link handshake that answers.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::payload::{self, Role, Statement};
use super::{EPHEMERAL_LEN, Established, LinkParty, Stamped, expect, read};
use super::{reply_mac_keys, responder_mac_keys};
use crate::crypto::noise::{self, Handshake, NoiseError};
use crate::link::{FrameType, LinkError, LinkIndex};
use crate::time::Instant;
use crate::wire::Writer;

/// The side that answers a HANDSHAKE1.
#[derive(Debug)]
pub struct Responder {
    handshake: Option<Handshake>,
    local_index: LinkIndex,
    remote_index: LinkIndex,
    stamped: Stamped,
}

impl Responder {
    /// Reads HANDSHAKE1 and makes HANDSHAKE2: five curve operations. `local_index` is random and unused.
    pub fn accept<R: CryptoRng + ?Sized>(
        local: &LinkParty<'_>,
        local_index: LinkIndex,
        datagram: &[u8],
        rng: &mut R,
    ) -> Result<Self, LinkError> {
        expect(FrameType::Handshake1, datagram)?;
        let body = responder_mac_keys(local.identity.short_id())
            .verify_mac1(datagram)
            .ok_or(LinkError::Mac)?;
        let mut reader = expect(FrameType::Handshake1, body)?;
        let remote_index = LinkIndex(reader.u32()?);
        let first = reader.rest();
        if first.len() != local.first_message_len() {
            return Err(match first.len() {
                32 | 48 => LinkError::PassphraseMissing,
                _ => LinkError::Length {
                    len: datagram.len(),
                },
            });
        }
        let mut handshake = Handshake::responder(local.parameters(), rng)?;
        handshake.read(first)?;
        let statement = Statement {
            role: Role::Responder,
            hash: handshake.hash(),
            static_public: noise::x25519_public(local.static_secret),
            initiator_index: remote_index,
            responder_index: local_index,
        };
        let payload = Zeroizing::new(payload::encode(local, &statement));
        let mut message = vec![FrameType::Handshake2.byte()];
        message.put_u32(local_index.0);
        message.put_u32(remote_index.0);
        handshake.write(&payload, &mut message)?;
        Ok(Self {
            handshake: Some(handshake),
            local_index,
            remote_index,
            stamped: Stamped::new(reply_mac_keys(&first[..EPHEMERAL_LEN]), message),
        })
    }

    /// The HANDSHAKE2 datagram. Send it again when the same HANDSHAKE1 comes again.
    pub fn message(&self) -> &[u8] {
        &self.stamped.message
    }

    /// Our index.
    pub const fn local_index(&self) -> LinkIndex {
        self.local_index
    }

    /// The initiator's index.
    pub const fn remote_index(&self) -> LinkIndex {
        self.remote_index
    }

    /// A COOKIE datagram came: [`Responder::message`] carries the cookie from now on. Send it again.
    pub fn take_cookie(&mut self, now: Instant, datagram: &[u8]) -> Result<(), LinkError> {
        self.stamped.take_cookie(now, self.local_index, datagram)
    }

    /// Reads HANDSHAKE3. On success this object is used up; after [`LinkError::Index`] or [`LinkError::Length`] it goes
    /// on waiting, after other errors it is best dropped.
    pub fn finish(
        &mut self,
        now: Instant,
        local: &LinkParty<'_>,
        datagram: &[u8],
    ) -> Result<Established, LinkError> {
        let mut reader = expect(FrameType::Handshake3, datagram)?;
        if reader.u32()? != self.local_index.0 {
            return Err(LinkError::Index);
        }
        let handshake = self.handshake.as_mut().ok_or(NoiseError::State)?;
        let before = handshake.hash();
        let payload = read(local, handshake, reader.rest())?;
        let statement = Statement {
            role: Role::Initiator,
            hash: before,
            static_public: handshake.remote_static().ok_or(NoiseError::State)?,
            initiator_index: self.remote_index,
            responder_index: self.local_index,
        };
        let peer = payload::decode(local, &statement, None, &payload)?;
        let handshake = self.handshake.take().ok_or(NoiseError::State)?;
        let (local_index, remote_index) = (self.local_index, self.remote_index);
        Established::new(
            now,
            local,
            peer,
            handshake,
            local_index,
            remote_index,
            false,
        )
    }
}
