//! Who may do what, asked once for every event that comes in. It changes nothing.

pub mod content;
mod joining;
pub mod moderation;
pub mod roles;

use nostr::event::Event;
use nostr::key::PublicKey;

use super::permissions::Permission;
use super::roles::Standing;
pub use super::standing::Authority;
use super::{Channel, Groups, emoji, kinds};
use crate::claims::Claims;
use crate::config::Limits;
use crate::names;
use crate::record::{ChannelId, tag_values};

/// Reports that wait, of the space and of one person.
const REPORTS: usize = 1000;
const REPORTS_OF_ONE: usize = 20;

/// What somebody may say of whether they are there (24240).
pub const STATUSES: [&str; 4] = ["online", "away", "busy", "offline"];

/// Why an event is refused: a machine-readable prefix and a sentence (NIP-01).
pub type Refusal = String;

/// The role, the channel or the rest does not allow it.
pub fn restricted(what: &str) -> Refusal {
    format!("restricted: {what}")
}

/// It makes no sense.
pub fn invalid(what: &str) -> Refusal {
    format!("invalid: {what}")
}

/// The one answer for channels that do not exist and for those one may not know of.
pub fn unknown_channel() -> Refusal {
    restricted("there is no such channel, or you do not belong to it")
}

/// The one answer for everything that a role does not allow.
pub fn not_allowed() -> Refusal {
    restricted("your role does not allow this")
}

/// An event with everything that is needed to judge it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The event.
    pub event: &'a Event,
    /// The state it meets.
    pub groups: &'a Groups,
    /// Who stands above all.
    pub authority: &'a Authority,
    /// Invitations made on the fly.
    pub claims: &'a Claims,
    /// What is too much.
    pub limits: &'a Limits,
    /// Seconds since 1970.
    pub now: u64,
}

/// The invitation somebody came in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedInvite {
    /// Its id.
    pub id: Box<str>,
    /// For one made on the fly: the second after which it need not be remembered.
    pub until: Option<u64>,
}

/// What an accepted request makes the space itself do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// It makes the author a member of the space and of the channel, if there is one.
    Admit {
        /// The channel.
        channel: Option<ChannelId>,
        /// A role: in the channel, or else in the space.
        role: Option<Box<str>>,
        /// The invitation that opened the door.
        invite: Option<UsedInvite>,
    },
    /// It removes the author from the channel.
    Dismiss,
    /// It removes the author from the space.
    Farewell,
}

impl Ask<'_> {
    fn kind(&self) -> u16 {
        self.event.kind.as_u16()
    }

    /// Where the author stands in the space.
    fn standing(&self) -> Standing {
        self.groups.standing(self.authority, &self.event.pubkey)
    }
}

/// Whether an event may be taken into a channel, or into the space where it belongs to none.
pub fn check(ask: &Ask<'_>, channel: Option<&ChannelId>) -> Result<Answer, Refusal> {
    let community = ask.groups.community();
    let (kind, person) = (ask.kind(), &ask.event.pubkey);
    if community.banned.contains_key(person) && !ask.authority.is_above(person) {
        return Err("blocked: you are banned from this space".into());
    }
    let leaves = [kinds::LEAVE, kinds::SPACE_LEAVE, kinds::DELETION].contains(&kind);
    if !leaves {
        not_silenced(ask.groups, person, ask.now)?;
    }
    let lasts = kinds::is_moderation(kind) && kind != kinds::CREATE_INVITE
        || [kinds::DELETION, kinds::REPORT].contains(&kind);
    if lasts && ask.event.tags.expiration().is_some() {
        return Err(invalid(
            "what is done here is not undone by a date: leave out the expiration tag",
        ));
    }
    match (kind, channel) {
        (kinds::SPACE_JOIN, _) => return joining::join_space(ask),
        (kinds::SPACE_LEAVE, _) => return joining::leave_space(ask),
        (kinds::REPORT, _) => return report(ask, channel).map(|()| Answer::None),
        (_, None) => return without_channel(ask).map(|()| Answer::None),
        _ => {}
    }
    let Some(id) = channel else {
        return Ok(Answer::None);
    };
    if kind == kinds::CREATE_GROUP {
        return moderation::create(ask, id).map(|()| Answer::None);
    }
    let Some(channel) = ask.groups.get(id) else {
        return Err(unknown_channel());
    };
    let standing = ask.groups.standing_in(ask.authority, channel, person);
    if !standing.belongs && channel.metadata.hidden && joining::invite(ask, id).is_none() {
        return Err(unknown_channel());
    }
    match kind {
        kinds::JOIN => joining::join(ask, id, channel),
        kinds::LEAVE if channel.members.contains_key(person) => Ok(Answer::Dismiss),
        kinds::LEAVE => Err(restricted("you do not belong to this channel")),
        kind if kinds::is_moderation(kind) => {
            moderation::check(ask, kind, id, channel, &standing).map(|()| Answer::None)
        }
        _ => write(ask, channel, &standing).map(|()| Answer::None),
    }
}

/// Refuses who may not write for a time.
pub fn not_silenced(groups: &Groups, person: &PublicKey, now: u64) -> Result<(), Refusal> {
    match groups.community().timed_out(person, now) {
        None => Ok(()),
        Some(until) => Err(restricted(&format!(
            "you may not write here until {until} (seconds since 1970)"
        ))),
    }
}

fn write(ask: &Ask<'_>, channel: &Channel, standing: &Standing) -> Result<(), Refusal> {
    let kind = ask.kind();
    let needed = match kind {
        kinds::REACTION => Permission::React,
        _ => Permission::Write,
    };
    if !standing.belongs && (channel.metadata.restricted || channel.is_private()) {
        return Err(restricted("join this channel to write in it"));
    }
    if kind == kinds::DELETION {
        return Ok(()); // everybody may take back what they wrote
    }
    if !standing.permissions.has(needed) {
        return Err(not_allowed());
    }
    content::check(ask.event)?;
    // Who else is there is the business of members.
    if kind == kinds::TYPING && !ask.standing().belongs {
        return Err(restricted("join this space first"));
    }
    if kind == kinds::PRESENCE {
        return Err(invalid("whether somebody is there belongs to no channel"));
    }
    let allowed = channel
        .metadata
        .supported_kinds
        .as_ref()
        .is_none_or(|kinds| kinds.contains(&kind) || (kind == kinds::TYPING && !kinds.is_empty()));
    if !allowed {
        return Err(restricted(
            "this channel does not take messages of this kind",
        ));
    }
    if tag_values(ask.event, "mention").next().is_some()
        && !standing.permissions.has(Permission::MentionEveryone)
    {
        return Err(restricted("your role does not allow to mention everyone"));
    }
    let roles = &ask.groups.community().roles;
    if content::mentioned_roles(ask.event).any(|role| roles.get(role).is_none()) {
        return Err(self::roles::unknown_role());
    }
    emoji_of_space(ask)?;
    wanted(ask)
}

/// What is said to be of the space's own set of emoji must be in it.
fn emoji_of_space(ask: &Ask<'_>) -> Result<(), Refusal> {
    let set = emoji::set_address(&ask.authority.relay);
    let known = &ask.groups.community().emoji;
    let lies = ask.event.tags.iter().any(|tag| match tag.as_slice() {
        [name, code, picture, of, ..] if name == "emoji" && *of == set => {
            known.picture(code) != Some(picture)
        }
        _ => false,
    });
    if lies {
        return Err(invalid("this space has no such emoji"));
    }
    Ok(())
}

/// The filters of the space. Who manages it stands above them.
fn wanted(ask: &Ask<'_>) -> Result<(), Refusal> {
    if ask.standing().permissions.has(Permission::ManageSpace) {
        return Ok(());
    }
    let filters = &ask.groups.community().filters;
    filters
        .check(ask.event)
        .map_err(|what| format!("blocked: {what}"))
}

/// Profiles, lists and deletion requests of members.
fn without_channel(ask: &Ask<'_>) -> Result<(), Refusal> {
    if !kinds::WITHOUT_CHANNEL.contains(&ask.kind()) {
        return Err(restricted("say which channel this belongs to (h tag)"));
    }
    if !ask.standing().belongs {
        return Err(restricted("join a channel of this space first"));
    }
    match ask.kind() {
        kinds::PROFILE => {
            profile(&ask.event.content)?;
            wanted(ask)
        }
        kinds::PRESENCE => {
            content::check(ask.event)?;
            if !STATUSES.contains(&tag_values(ask.event, "status").next().unwrap_or_default()) {
                return Err(invalid(
                    "a status tag says `online`, `away`, `busy` or `offline`",
                ));
            }
            wanted(ask)
        }
        _ => Ok(()),
    }
}

/// Names in a profile (kind 0) that look like other names are not taken.
pub fn profile(content: &str) -> Result<(), Refusal> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(content) else {
        return Ok(()); // programs show nothing of it
    };
    for name in ["name", "display_name", "displayName"] {
        if let Some(text) = fields.get(name).and_then(|name| name.as_str())
            && !text.is_empty()
            && (!names::is_readable(text) || text.chars().count() > 100)
        {
            return Err(invalid(
                "a name has up to 100 characters that can be seen, without spaces around it",
            ));
        }
    }
    Ok(())
}

fn report(ask: &Ask<'_>, id: Option<&ChannelId>) -> Result<(), Refusal> {
    let (event, groups) = (ask.event, ask.groups);
    if !ask.standing().belongs {
        return Err(restricted("join a channel of this space first"));
    }
    if let Some(id) = id {
        let readable = groups.get(id).is_some_and(|channel| {
            let standing = groups.standing_in(ask.authority, channel, &event.pubkey);
            standing.belongs || !channel.is_private()
        });
        if !readable {
            return Err(unknown_channel());
        }
    }
    if tag_values(event, "p").next().is_none() {
        return Err(invalid("a p tag must say who is reported (NIP-56)"));
    }
    let waiting = &groups.community().reports;
    let own = waiting.iter().filter(|report| report.by == event.pubkey);
    if waiting.len() >= REPORTS || own.count() >= REPORTS_OF_ONE {
        return Err("rate-limited: too many reports wait for an answer; try again later".into());
    }
    Ok(())
}
