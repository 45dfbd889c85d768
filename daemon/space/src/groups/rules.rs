//! Who may do what in a channel (NIP-29), asked once for every event that comes in. It changes nothing.

use nostr::event::Event;
use nostr::key::PublicKey;

use super::{Channel, Groups, Metadata, Rank, TEXTS, kinds, people};
use crate::config::Limits;
use crate::record::{ChannelId, tag_values};

/// Longest invitation code, in bytes.
const CODE_BYTES: usize = 128;
/// Invitations of one channel.
const INVITES: usize = 1000;
/// Roles of one member.
const ROLES: usize = 16;

/// Who has a say in the whole space.
#[derive(Debug, Clone, Copy)]
pub struct Authority {
    /// The space's own key.
    pub relay: PublicKey,
    /// The owner, if the space has one.
    pub owner: Option<PublicKey>,
}

impl Authority {
    /// What somebody may do in a channel. The owner and the space itself may do everything everywhere.
    pub fn rank(&self, channel: &Channel, person: &PublicKey) -> Option<Rank> {
        if self.is_above(person) {
            Some(Rank::Admin)
        } else {
            channel.rank(person)
        }
    }

    /// Whether somebody stands above all channels.
    pub fn is_above(&self, person: &PublicKey) -> bool {
        *person == self.relay || self.owner == Some(*person)
    }

    fn may_create(&self, groups: &Groups, person: &PublicKey) -> bool {
        // A space without an owner belongs to its members.
        self.is_above(person) || (self.owner.is_none() && groups.is_member(person))
    }
}

/// Why an event is refused: a machine-readable prefix and a sentence (NIP-01).
pub type Refusal = String;

fn restricted(what: &str) -> Refusal {
    format!("restricted: {what}")
}

fn invalid(what: &str) -> Refusal {
    format!("invalid: {what}")
}

/// What an accepted request makes the space itself do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// It adds the author to the channel (9000).
    Admit,
    /// It removes the author from the channel (9001).
    Dismiss,
}

/// Whether an event may be taken into a channel. `channel` is `None` when it does not exist, or when the author must
/// not learn that it does.
pub fn check(
    event: &Event,
    id: &ChannelId,
    groups: &Groups,
    authority: &Authority,
    limits: &Limits,
    now: u64,
) -> Result<Answer, Refusal> {
    let kind = event.kind.as_u16();
    let person = &event.pubkey;
    if kind == kinds::CREATE_GROUP {
        return create(event, id, groups, authority, limits);
    }
    let Some(channel) = groups.get(id) else {
        return Err(unknown_channel());
    };
    let rank = authority.rank(channel, person);
    if rank.is_none() && channel.metadata.hidden && !invited(event, channel, now) {
        return Err(unknown_channel());
    }
    match kind {
        kinds::JOIN => join(event, channel, limits, now),
        kinds::LEAVE if channel.members.contains_key(person) => Ok(Answer::Dismiss),
        kinds::LEAVE => Err(restricted("you do not belong to this channel")),
        kind if kinds::is_moderation(kind) => {
            moderate(event, kind, channel, rank, authority, limits).map(|()| Answer::None)
        }
        _ => write(event, channel, rank).map(|()| Answer::None),
    }
}

/// The one answer for channels that do not exist and for hidden ones.
fn unknown_channel() -> Refusal {
    restricted("there is no such channel, or you do not belong to it")
}

fn write(event: &Event, channel: &Channel, rank: Option<Rank>) -> Result<(), Refusal> {
    if rank.is_none() && (channel.metadata.restricted || channel.is_private()) {
        return Err(restricted("join this channel to write in it"));
    }
    let kind = event.kind.as_u16();
    let allowed = channel
        .metadata
        .supported_kinds
        .as_ref()
        .is_none_or(|kinds| kinds.contains(&kind) || kind == kinds::DELETION);
    if allowed {
        Ok(())
    } else {
        Err(restricted(
            "this channel does not take messages of this kind",
        ))
    }
}

fn invited(event: &Event, channel: &Channel, now: u64) -> bool {
    event.kind.as_u16() == kinds::JOIN
        && tag_values(event, "code").any(|code| {
            channel
                .invites
                .get(code)
                .is_some_and(|expires| expires.is_none_or(|time| time > now))
        })
}

fn join(event: &Event, channel: &Channel, limits: &Limits, now: u64) -> Result<Answer, Refusal> {
    if channel.members.contains_key(&event.pubkey) {
        return Err("duplicate: you already belong to this channel".into());
    }
    if channel.metadata.closed && !invited(event, channel, now) {
        return Err(restricted(
            "this channel is closed: ask a member for an invitation that is still valid",
        ));
    }
    if channel.members.len() >= limits.members {
        return Err(restricted("this channel is full"));
    }
    Ok(Answer::Admit)
}

fn create(
    event: &Event,
    id: &ChannelId,
    groups: &Groups,
    authority: &Authority,
    limits: &Limits,
) -> Result<Answer, Refusal> {
    if !authority.may_create(groups, &event.pubkey) {
        return Err(restricted("you may not create channels in this space"));
    }
    if groups.len() >= limits.channels {
        return Err(restricted("this space has as many channels as it may have"));
    }
    if groups.get(id).is_some() {
        return Err("duplicate: take another id for this channel".into());
    }
    check_metadata(event)?;
    Ok(Answer::None)
}

fn check_metadata(event: &Event) -> Result<(), Refusal> {
    let metadata = Metadata::from_event(event);
    for (name, longest) in TEXTS {
        if metadata
            .texts
            .get(name)
            .is_some_and(|text| text.chars().count() > longest)
        {
            return Err(invalid(&format!("{name} may be {longest} characters long")));
        }
    }
    if metadata
        .supported_kinds
        .is_some_and(|kinds| kinds.len() > 100)
    {
        return Err(invalid("a channel may list 100 kinds"));
    }
    Ok(())
}

fn moderate(
    event: &Event,
    kind: u16,
    channel: &Channel,
    rank: Option<Rank>,
    authority: &Authority,
    limits: &Limits,
) -> Result<(), Refusal> {
    let needed = match kind {
        kinds::PUT_USER | kinds::EDIT_METADATA => Rank::Admin,
        kinds::REMOVE_USER | kinds::DELETE_EVENT | kinds::CREATE_INVITE => Rank::Moderator,
        _ => return Err(invalid("this space does not know this moderation action")),
    };
    if rank.is_none_or(|rank| rank < needed) {
        return Err(restricted("your role does not allow this"));
    }
    match kind {
        kinds::PUT_USER => put_user(event, channel, limits),
        kinds::REMOVE_USER => remove_user(event, channel, rank, authority),
        kinds::EDIT_METADATA => check_metadata(event),
        kinds::CREATE_INVITE => create_invite(event, channel),
        _ if tag_values(event, "e").next().is_none() => {
            Err(invalid("an e tag must say which message"))
        }
        _ => Ok(()),
    }
}

fn put_user(event: &Event, channel: &Channel, limits: &Limits) -> Result<(), Refusal> {
    let named: Vec<_> = people(event).collect();
    if named.is_empty() {
        return Err(invalid("a p tag must say who"));
    }
    if named
        .iter()
        .any(|(_, roles)| roles.0.len() > ROLES || roles.0.iter().any(|role| role.len() > 64))
    {
        return Err(invalid("a member may have 16 roles of 64 bytes"));
    }
    let new = named
        .iter()
        .filter(|(person, _)| !channel.members.contains_key(person))
        .count();
    if channel.members.len() + new > limits.members {
        return Err(restricted("this channel is full"));
    }
    Ok(())
}

fn remove_user(
    event: &Event,
    channel: &Channel,
    rank: Option<Rank>,
    authority: &Authority,
) -> Result<(), Refusal> {
    let mut named = people(event).peekable();
    if named.peek().is_none() {
        return Err(invalid("a p tag must say who"));
    }
    for (person, _) in named {
        let theirs = channel.rank(&person);
        if authority.is_above(&person) || (rank < Some(Rank::Admin) && theirs > Some(Rank::Member))
        {
            return Err(restricted("your role does not allow to remove this person"));
        }
    }
    Ok(())
}

fn create_invite(event: &Event, channel: &Channel) -> Result<(), Refusal> {
    let codes: Vec<&str> = tag_values(event, "code").collect();
    if codes.is_empty()
        || codes
            .iter()
            .any(|code| !(8..=CODE_BYTES).contains(&code.len()))
    {
        return Err(invalid(
            "a code tag of 8 to 128 bytes must say by which words people come in",
        ));
    }
    if channel.invites.len() + codes.len() > INVITES {
        return Err(restricted("this channel has too many invitations"));
    }
    Ok(())
}
