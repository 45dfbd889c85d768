//! Invitations: to the space or to one channel, until a date, for a number of people, with a role.

use std::collections::HashMap;

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;

use crate::record::{ChannelId, tag_values};

/// One invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Names it in the log without telling the code: 16 hexadecimal digits.
    pub id: Box<str>,
    /// The channel it leads to; `None`: to the space alone.
    pub channel: Option<ChannelId>,
    /// The second after which it is void.
    pub expires: Option<u64>,
    /// How many people may come in with it.
    pub uses: Option<u32>,
    /// How many did.
    pub used: u32,
    /// The role they get: in the channel, or in the space where there is no channel.
    pub role: Option<Box<str>>,
    /// Who made it.
    pub by: PublicKey,
}

impl Invite {
    /// Reads the tags of a 9009, or of the space's own note of an invitation.
    pub fn from_event(event: &Event, code: &str, by: PublicKey, expiry: &str) -> Self {
        let text = |name| tag_values(event, name).next();
        Self {
            id: public_id(&event.id, code),
            channel: text("h").and_then(ChannelId::parse),
            expires: text(expiry).and_then(|time| time.parse().ok()),
            uses: text("uses").and_then(|uses| uses.parse().ok()),
            used: 0,
            role: text("role").map(Into::into),
            by,
        }
    }

    /// Whether somebody may come in with it now.
    pub fn is_open(&self, now: u64) -> bool {
        self.expires.is_none_or(|time| time > now) && self.uses.is_none_or(|uses| self.used < uses)
    }
}

/// The name of an invitation in the log.
fn public_id(made_by: &EventId, code: &str) -> Box<str> {
    let mut hasher = blake3::Hasher::new_derive_key("warren space invitation id v1");
    hasher.update(made_by.as_bytes());
    hasher.update(code.as_bytes());
    let hash = hasher.finalize().to_hex();
    hash[..16].into()
}

/// All invitations of a space. The same code may lead to several channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invites {
    by_code: HashMap<Box<str>, Vec<Invite>>,
    /// Claims made on the fly that were used, with the second after which they are void anyway.
    claims: HashMap<Box<str>, u64>,
}

impl Invites {
    /// Adds one, in place of one with the same code for the same channel.
    pub fn put(&mut self, code: &str, invite: Invite) {
        let same = self.by_code.entry(code.into()).or_default();
        same.retain(|old| old.channel != invite.channel);
        same.push(invite);
    }

    /// The invitation of a code into a channel, if it is still open.
    pub fn for_channel(&self, code: &str, channel: &ChannelId, now: u64) -> Option<&Invite> {
        let mut invites = self.by_code.get(code)?.iter();
        invites.find(|invite| invite.channel.as_ref() == Some(channel) && invite.is_open(now))
    }

    /// The invitations of a code, wherever they lead.
    pub fn of_code(&self, code: &str) -> impl Iterator<Item = &Invite> {
        self.by_code.get(code).into_iter().flatten()
    }

    /// All, with their codes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Invite)> {
        self.by_code
            .iter()
            .flat_map(|(code, invites)| invites.iter().map(move |invite| (&**code, invite)))
    }

    /// Invitations that are open or used up and not yet forgotten.
    pub fn len(&self) -> usize {
        self.by_code.values().map(Vec::len).sum()
    }

    /// Somebody came in with one.
    pub fn used(&mut self, id: &str) {
        let invites = self.by_code.values_mut().flatten();
        for invite in invites.filter(|invite| *invite.id == *id) {
            invite.used = invite.used.saturating_add(1);
        }
    }

    /// Keeps those that `keep` says.
    pub fn retain(&mut self, keep: impl Fn(&Invite) -> bool) {
        self.by_code.retain(|_, invites| {
            invites.retain(|invite| keep(invite));
            !invites.is_empty()
        });
    }

    /// A claim made on the fly was used; those that expired by `now` are forgotten.
    pub fn claim_used(&mut self, id: &str, expires: u64, now: u64) {
        self.claims.retain(|_, expires| *expires > now);
        self.claims.insert(id.into(), expires);
    }

    /// Whether a claim made on the fly was used.
    pub fn is_claim_used(&self, id: &str) -> bool {
        self.claims.contains_key(id)
    }
}
