//! The space as a whole: its members and roles, its bans, invitations, reports and settings, rebuilt from what the space
//! itself wrote down (8000, 8001, and its own acts, 4240).

use std::collections::{BTreeMap, HashMap, HashSet};

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;

use super::emoji::Emoji;
use super::filters::Filters;
use super::invites::{Invite, Invites};
use super::kinds;
use super::roles::{Role, RoleBook, Roles};
use super::webhooks::Webhooks;
use crate::record::{ChannelId, tag_values};

/// Texts of a space that its managers change, with their longest length in characters.
pub const TEXTS: [(&str, usize); 3] = [("name", 64), ("about", 2000), ("icon", 500)];

/// A report that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The report itself.
    pub id: EventId,
    /// Who reports.
    pub by: PublicKey,
    /// Its date, seconds since 1970.
    pub at: u64,
    /// The message it is about.
    pub event: Option<EventId>,
    /// The person it is about.
    pub person: Option<PublicKey>,
    /// What it says: the type of NIP-56, such as `spam`.
    pub reason: Box<str>,
    /// The channel of the message.
    pub channel: Option<ChannelId>,
}

impl Report {
    /// Reads a 1984 that was accepted.
    pub fn from_event(event: &Event, channel: Option<ChannelId>) -> Self {
        let kind = event
            .tags
            .iter()
            .filter(|tag| ["e", "p"].contains(&tag.kind()))
            .find_map(|tag| tag.as_slice().get(2));
        Self {
            id: event.id,
            by: event.pubkey,
            at: event.created_at.as_secs(),
            event: tag_values(event, "e")
                .next()
                .and_then(|id| EventId::from_hex(id).ok()),
            person: tag_values(event, "p")
                .next()
                .and_then(|key| PublicKey::from_hex(key).ok()),
            reason: kind
                .map(String::as_str)
                .unwrap_or("other")
                .chars()
                .take(32)
                .collect(),
            channel,
        }
    }
}

/// The space as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Community {
    /// Who belongs to it, with their roles in the whole space.
    pub members: HashMap<PublicKey, Roles>,
    /// The roles there are.
    pub roles: RoleBook,
    /// Who may not come back, and why.
    pub banned: BTreeMap<PublicKey, Box<str>>,
    /// Who may not write until a second.
    pub timeouts: HashMap<PublicKey, u64>,
    /// Events that were taken away and do not come back, and why.
    pub banned_events: BTreeMap<EventId, Box<str>>,
    /// Invitations.
    pub invites: Invites,
    /// Words and links that are not wanted.
    pub filters: Filters,
    /// Emoji of the space.
    pub emoji: Emoji,
    /// Ways by which programs write into channels.
    pub webhooks: Webhooks,
    /// `name`, `about`, `icon`, where they were changed.
    pub texts: BTreeMap<Box<str>, Box<str>>,
    /// Channels that new members are put into; `None`: the first one.
    pub defaults: Option<Vec<ChannelId>>,
    /// Nobody becomes a member without an invitation.
    pub closed: bool,
    /// Reports that wait.
    pub reports: Vec<Report>,
    /// Channels that were deleted. Their ids are not given again, so that nothing of the old comes up in the new.
    pub gone: HashSet<ChannelId>,
    /// When the list of members last changed, seconds since 1970.
    pub members_changed_at: u64,
    /// When a role of somebody, or a role itself, last changed.
    pub roles_changed_at: u64,
}

/// What changed besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Nothing that is described.
    Nothing,
    /// Who belongs to the space.
    Members,
    /// A role, by id.
    Role(Box<str>),
    /// The emoji.
    Emoji,
}

impl Community {
    /// Somebody belongs to the space from now on.
    pub fn add(&mut self, person: PublicKey, roles: Roles, now: u64) {
        self.members.entry(person).or_insert(roles);
        self.members_changed(now);
    }

    /// Somebody no longer belongs to the space.
    pub fn remove(&mut self, person: &PublicKey, now: u64) {
        self.members.remove(person);
        self.members_changed(now);
    }

    fn members_changed(&mut self, now: u64) {
        self.members_changed_at = now.max(self.members_changed_at + 1);
    }

    fn roles_changed(&mut self, now: u64) {
        self.roles_changed_at = now.max(self.roles_changed_at + 1);
    }

    /// Whether somebody may not write now.
    pub fn timed_out(&self, person: &PublicKey, now: u64) -> Option<u64> {
        self.timeouts
            .get(person)
            .copied()
            .filter(|until| *until > now)
    }

    /// Takes in one act of the space.
    pub fn apply(&mut self, event: &Event) -> Changed {
        let now = event.created_at.as_secs();
        let value = |name| tag_values(event, name).next();
        let person = || value("p").and_then(|key| PublicKey::from_hex(key).ok());
        let target = || value("e").and_then(|id| EventId::from_hex(id).ok());
        match value("act").unwrap_or_default() {
            "ban" => {
                if let Some(person) = person() {
                    self.banned.insert(person, event.content.as_str().into());
                    self.timeouts.remove(&person);
                    self.invites.retain(|invite| invite.by != person);
                    self.webhooks.retain(|webhook| webhook.by != person);
                }
            }
            "unban" => {
                person().map(|person| self.banned.remove(&person));
            }
            "time-out" => {
                self.timeouts.retain(|_, until| *until > now);
                let until = value("until")
                    .and_then(|until| until.parse().ok())
                    .unwrap_or(0);
                match person() {
                    Some(person) if until > now => {
                        self.timeouts.insert(person, until);
                    }
                    Some(person) => {
                        self.timeouts.remove(&person);
                    }
                    None => {}
                }
            }
            "create-role" | "edit-role" => {
                if let Some(id) = value("role") {
                    self.roles_changed(now);
                    let changed_at = self.roles_changed_at;
                    let role = Role::from_act(event);
                    self.roles.put(id, Role { changed_at, ..role });
                    return Changed::Role(id.into());
                }
            }
            "delete-role" => {
                if let Some(id) = value("role") {
                    self.roles.remove(id);
                    self.invites
                        .retain(|invite| invite.role.as_deref() != Some(id));
                    for roles in self.members.values_mut() {
                        roles.0.retain(|role| **role != *id);
                    }
                    self.roles_changed(now);
                    self.members_changed(now);
                    return Changed::Role(id.into());
                }
            }
            "assign-role" | "unassign-role" => {
                let (Some(person), Some(id)) = (person(), value("role")) else {
                    return Changed::Nothing;
                };
                if let Some(roles) = self.members.get_mut(&person) {
                    roles.0.retain(|role| **role != *id);
                    if value("act") == Some("assign-role") {
                        roles.0.push(id.into());
                    }
                }
                self.roles_changed(now);
                self.members_changed(now);
                return Changed::Members;
            }
            "create-invite" => {
                let by = value("by").and_then(|key| PublicKey::from_hex(key).ok());
                if let (Some(code), Some(by)) = (value("code"), by) {
                    self.add_invite(code, Invite::from_event(event, code, by, "until"), now);
                }
            }
            "revoke-invite" => {
                if let Some(id) = value("invite") {
                    self.invites.retain(|invite| *invite.id != *id);
                }
            }
            "use-invite" => {
                if let (Some(id), Some(until)) = (value("invite"), value("until")) {
                    let until = until.parse().unwrap_or(u64::MAX);
                    self.invites.claim_used(id, until, now);
                } else if let Some(id) = value("invite") {
                    self.invites.used(id);
                }
            }
            "add-emoji" => {
                let mut tags = event.tags.iter();
                let tag = tags.find(|tag| tag.kind() == "emoji");
                if let Some([_, name, picture, ..]) = tag.map(|tag| tag.as_slice()) {
                    self.emoji.add(name, picture, now);
                    return Changed::Emoji;
                }
            }
            "remove-emoji" => {
                if let Some(name) = value("emoji") {
                    self.emoji.remove(name, now);
                    return Changed::Emoji;
                }
            }
            "create-webhook" => self.webhooks.add(event),
            "revoke-webhook" => {
                if let Some(id) = value("webhook") {
                    self.webhooks.retain(|webhook| *webhook.id != *id);
                }
            }
            "filters" => self.filters = Filters::from_act(event),
            "describe" => {
                for (name, _) in TEXTS {
                    if let Some(text) = value(name) {
                        self.texts.insert(name.into(), text.into());
                    }
                }
            }
            "defaults" => {
                self.defaults = Some(
                    tag_values(event, "channel")
                        .filter_map(ChannelId::parse)
                        .collect(),
                );
            }
            "access" => self.closed = value("access") == Some("closed"),
            "allow-event" => {
                let target = target();
                self.reports
                    .retain(|report| report.event != target && Some(report.id) != target);
            }
            "ban-event" => {
                if let Some(id) = target() {
                    self.banned_events.insert(id, event.content.as_str().into());
                    self.reports.retain(|report| report.event != Some(id));
                }
            }
            "unban-event" => {
                target().map(|id| self.banned_events.remove(&id));
            }
            _ => {}
        }
        Changed::Nothing
    }

    /// A new invitation. Those that are over are forgotten.
    pub fn add_invite(&mut self, code: &str, invite: Invite, now: u64) {
        self.invites.retain(|old| old.is_open(now));
        self.invites.put(code, invite);
    }

    /// A new report.
    pub fn add_report(&mut self, event: &Event, channel: Option<ChannelId>) {
        if event.kind.as_u16() == kinds::REPORT {
            self.reports.push(Report::from_event(event, channel));
        }
    }
}
