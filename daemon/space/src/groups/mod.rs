//! The space and its channels (NIP-29 groups, NIP-43 membership), rebuilt from events as `apply(event) -> state`.
//! Applying never refuses: whether an event may be applied is asked before (`rules`, `management`), once.

pub mod channel;
pub mod community;
pub mod emoji;
pub mod filters;
pub mod invites;
pub mod kinds;
pub mod permissions;
pub mod roles;
pub mod rules;
mod standing;
pub mod webhooks;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nostr::event::Event;
use nostr::key::PublicKey;

pub use channel::{Channel, Metadata};
pub use community::Community;
pub use standing::Authority;

use crate::mail::{self, Permissions};
use crate::record::{ChannelId, tag_values};
use community::Changed;
use roles::{ADMIN, MEMBER, Override, Roles};

/// The descriptions of a channel that the space signs (NIP-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Snapshot {
    /// 39000: name, picture, flags, parent and children.
    Metadata,
    /// 39001: members with roles.
    Admins,
    /// 39002: all members.
    Members,
    /// 39003: the roles there are.
    Roles,
    /// 39005: what is pinned.
    Pins,
}

impl Snapshot {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Metadata,
        Self::Admins,
        Self::Members,
        Self::Roles,
        Self::Pins,
    ];

    /// Its place in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its kind.
    pub fn kind(self) -> u16 {
        match self {
            Self::Pins => kinds::GROUP_LAST,
            other => kinds::GROUP_METADATA + other as u16,
        }
    }
}

/// One thing that the space itself describes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A channel.
    Channel(ChannelId, Snapshot),
    /// Who belongs to the space (13534).
    Members,
    /// A role (33534).
    Role(Box<str>),
    /// The emoji of the space (30030).
    Emoji,
}

impl Subject {
    /// Its kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Channel(_, snapshot) => snapshot.kind(),
            Self::Members => kinds::MEMBERS,
            Self::Role(_) => kinds::ROLE,
            Self::Emoji => kinds::EMOJI_SET,
        }
    }
}

/// What the `act` tag of an 8001 says when somebody asked to vanish (NIP-62): their invitations are void too.
pub const VANISH: &str = "vanish";

/// The space and its channels.
#[derive(Debug, Clone)]
pub struct Groups {
    relay: PublicKey,
    channels: HashMap<ChannelId, Arc<Channel>>,
    /// Which homes collect whose messages.
    pub permissions: Arc<Permissions>,
    community: Arc<Community>,
}

impl Groups {
    /// Nothing yet, in the space of this key.
    pub fn new(relay: PublicKey) -> Self {
        Self {
            relay,
            channels: HashMap::new(),
            permissions: Arc::default(),
            community: Arc::default(),
        }
    }

    /// One channel.
    pub fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.channels.get(id).map(Arc::as_ref)
    }

    /// All channels.
    pub fn iter(&self) -> impl Iterator<Item = (&ChannelId, &Channel)> {
        self.channels
            .iter()
            .map(|(id, channel)| (id, channel.as_ref()))
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// The space as a whole.
    pub fn community(&self) -> &Community {
        &self.community
    }

    /// Whether somebody belongs to the space.
    pub fn is_member(&self, person: &PublicKey) -> bool {
        self.community.members.contains_key(person)
    }

    /// When a description last changed; `None` when there is nothing to describe.
    pub fn changed_at(&self, subject: &Subject) -> Option<u64> {
        match subject {
            Subject::Channel(id, snapshot) => {
                let at = self.get(id)?.changed_at[snapshot.index()];
                Some(match snapshot {
                    Snapshot::Admins | Snapshot::Roles => at.max(self.community.roles_changed_at),
                    _ => at,
                })
            }
            Subject::Members => Some(self.community.members_changed_at),
            Subject::Role(id) => Some(self.community.roles.get(id)?.changed_at),
            Subject::Emoji => Some(self.community.emoji.changed_at).filter(|at| *at > 0),
        }
    }

    /// Takes in one event that was accepted, with the channel it belongs to. `None`: it changes nothing. Otherwise the
    /// descriptions that changed.
    pub fn apply(&mut self, event: &Event, channel: Option<&ChannelId>) -> Option<Vec<Subject>> {
        let kind = event.kind.as_u16();
        let now = event.created_at.as_secs();
        match kind {
            kinds::APP_DATA if mail::is_permission(event) => {
                Arc::make_mut(&mut self.permissions).apply(event);
                Some(Vec::new())
            }
            kinds::ACT if event.pubkey == self.relay => Some(self.apply_act(event)),
            kinds::MEMBER_ADDED if event.pubkey == self.relay => {
                let roles: Vec<Box<str>> = tag_values(event, "role").map(Into::into).collect();
                let community = Arc::make_mut(&mut self.community);
                for (person, _) in people(event) {
                    community.add(person, Roles(roles.clone()), now);
                }
                Some(vec![Subject::Members])
            }
            kinds::MEMBER_REMOVED if event.pubkey == self.relay => Some(self.remove_members(event)),
            kinds::REPORT => {
                let community = Arc::make_mut(&mut self.community);
                community.add_report(event, channel.cloned());
                Some(Vec::new())
            }
            kind if kinds::is_moderation(kind) => self.apply_to_channel(event, kind, now),
            _ => None,
        }
    }

    fn apply_to_channel(&mut self, event: &Event, kind: u16, now: u64) -> Option<Vec<Subject>> {
        let id = tag_values(event, "h").next().and_then(ChannelId::parse)?;
        let now = self.after_roles(now);
        match kind {
            kinds::CREATE_GROUP => return Some(self.create(event, id, now)),
            kinds::DELETE_GROUP => return Some(self.delete(&id, now)),
            kinds::CREATE_INVITE => {
                self.get(&id)?;
                let community = Arc::make_mut(&mut self.community);
                for code in tag_values(event, "code") {
                    let invite =
                        invites::Invite::from_event(event, code, event.pubkey, "expiration");
                    community.add_invite(code, invite, now);
                }
                return Some(Vec::new());
            }
            _ => {}
        }
        let channel = Arc::make_mut(self.channels.get_mut(&id)?);
        let parent = channel.metadata.parent.clone();
        let snapshots = channel.apply(event, kind);
        channel.touch(&snapshots, now);
        let mut subjects = of_channel(&id, &snapshots);
        if kind == kinds::EDIT_METADATA && channel.metadata.parent != parent {
            let to = channel.metadata.parent.clone();
            subjects.extend(self.move_child(&id, parent, to, now));
        }
        if kind == kinds::PUT_USER {
            // Who belongs to a channel belongs to the space: journals from before the space had members of its own.
            let new: Vec<PublicKey> = people(event)
                .map(|(person, _)| person)
                .filter(|person| !self.is_member(person) && *person != self.relay)
                .collect();
            for person in new {
                Arc::make_mut(&mut self.community).add(person, Roles::default(), now);
                subjects.push(Subject::Members);
            }
        }
        Some(subjects)
    }

    fn create(&mut self, event: &Event, id: ChannelId, now: u64) -> Vec<Subject> {
        if self.channels.contains_key(&id) {
            return Vec::new();
        }
        let mut channel = Channel::from_event(event);
        if event.pubkey != self.relay {
            channel
                .members
                .insert(event.pubkey, Roles(vec![ADMIN.into()]));
            if !self.is_member(&event.pubkey) {
                Arc::make_mut(&mut self.community).add(event.pubkey, Roles::default(), now);
            }
        }
        let parent = channel.metadata.parent.clone();
        self.channels.insert(id.clone(), Arc::new(channel));
        let mut subjects = of_channel(&id, &Snapshot::ALL);
        subjects.extend(self.move_child(&id, None, parent, now));
        subjects
    }

    fn delete(&mut self, id: &ChannelId, now: u64) -> Vec<Subject> {
        let community = Arc::make_mut(&mut self.community);
        // Also when it is not there: what made it was erased with it.
        community.gone.insert(id.clone());
        community
            .invites
            .retain(|invite| invite.channel.as_ref() != Some(id));
        community
            .reports
            .retain(|report| report.channel.as_ref() != Some(id));
        community.webhooks.retain(|webhook| webhook.channel != *id);
        let mut subjects = Vec::new();
        let Some(gone) = self.channels.remove(id) else {
            return subjects;
        };
        for child in &gone.children {
            if let Some(channel) = self.channels.get_mut(child) {
                let channel = Arc::make_mut(channel);
                channel.metadata.parent = None;
                channel.touch(&[Snapshot::Metadata], now);
                subjects.push(Subject::Channel(child.clone(), Snapshot::Metadata));
            }
        }
        subjects.extend(self.move_child(id, gone.metadata.parent.clone(), None, now));
        subjects
    }

    fn move_child(
        &mut self,
        child: &ChannelId,
        from: Option<ChannelId>,
        to: Option<ChannelId>,
        now: u64,
    ) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for (parent, adds) in from
            .into_iter()
            .map(|id| (id, false))
            .chain(to.map(|id| (id, true)))
        {
            let Some(channel) = self.channels.get_mut(&parent) else {
                continue;
            };
            let channel = Arc::make_mut(channel);
            channel.children.retain(|known| known != child);
            if adds {
                channel.children.push(child.clone());
            }
            channel.touch(&[Snapshot::Metadata], now);
            subjects.push(Subject::Channel(parent, Snapshot::Metadata));
        }
        subjects
    }

    /// The date of a change of a channel: some of its descriptions are dated by the last change of roles too, and the
    /// dates of different descriptions must differ.
    fn after_roles(&self, now: u64) -> u64 {
        match self.community.roles_changed_at {
            0 => now,
            at => now.max(at + 1),
        }
    }

    /// The same the other way round: roles changed after all that changed in channels.
    fn roles_after_channels(&mut self) {
        let dates = self.channels.values().flat_map(|channel| {
            [Snapshot::Admins, Snapshot::Roles].map(|snapshot| channel.changed_at[snapshot.index()])
        });
        let newest = dates.max().unwrap_or(0);
        let community = Arc::make_mut(&mut self.community);
        community.roles_changed_at = community.roles_changed_at.max(newest + 1);
    }

    fn remove_members(&mut self, event: &Event) -> Vec<Subject> {
        let now = self.after_roles(event.created_at.as_secs());
        let mut subjects = vec![Subject::Members];
        let vanishes = tag_values(event, "act").any(|act| act == VANISH);
        for (person, _) in people(event) {
            let community = Arc::make_mut(&mut self.community);
            community.remove(&person, now);
            if vanishes {
                community.invites.retain(|invite| invite.by != person);
                community.webhooks.retain(|webhook| webhook.by != person);
            }
            for (id, channel) in &mut self.channels {
                if channel.members.contains_key(&person) {
                    let channel = Arc::make_mut(channel);
                    channel.members.remove(&person);
                    channel.touch(&[Snapshot::Admins, Snapshot::Members], now);
                    subjects.extend(of_channel(id, &[Snapshot::Admins, Snapshot::Members]));
                }
            }
        }
        subjects
    }

    /// Forgets what somebody who vanishes (NIP-62) wrote up to a second and the state keeps: reports, and which homes
    /// collect. The events themselves are erased.
    pub fn forget(&mut self, person: &PublicKey, until: u64) {
        let reports = &mut Arc::make_mut(&mut self.community).reports;
        reports.retain(|report| report.by != *person || report.at > until);
        Arc::make_mut(&mut self.permissions).forget(person, until);
    }

    /// An act of the space: most change the space as a whole, some a channel.
    fn apply_act(&mut self, event: &Event) -> Vec<Subject> {
        let now = event.created_at.as_secs();
        let value = |name| tag_values(event, name).next();
        let act = value("act").unwrap_or_default();
        let id = value("h").and_then(ChannelId::parse);
        if let Some(channel) = id.as_ref().and_then(|id| self.channels.get_mut(id)) {
            match act {
                "slow-mode" => {
                    let seconds = value("seconds").and_then(|n| n.parse().ok());
                    Arc::make_mut(channel).slow_seconds = seconds.unwrap_or(0);
                }
                "override" => {
                    let set = |name| {
                        permissions::Permissions::parse(tag_values(event, name)).unwrap_or_default()
                    };
                    let (allow, deny) = (set("allow"), set("deny"));
                    let overrides = &mut Arc::make_mut(channel).overrides;
                    let role = value("role").unwrap_or(MEMBER);
                    if allow == Default::default() && deny == Default::default() {
                        overrides.remove(role);
                    } else {
                        overrides.insert(role.into(), Override { allow, deny });
                    }
                }
                "ban-event" => {
                    let channel = Arc::make_mut(channel);
                    let snapshots = channel.unpin(event);
                    channel.touch(&snapshots, now);
                }
                _ => {}
            }
        }
        let changed = Arc::make_mut(&mut self.community).apply(event);
        if changed == Changed::Emoji {
            return vec![Subject::Emoji];
        }
        if changed != Changed::Nothing {
            self.roles_after_channels();
        }
        let now = self.after_roles(now);
        let mut subjects = Vec::new();
        if act == "ban-event"
            && let Some(id) = id
        {
            subjects.push(Subject::Channel(id, Snapshot::Pins));
        }
        match changed {
            Changed::Nothing | Changed::Emoji => return subjects,
            Changed::Members => {
                subjects.push(Subject::Members);
                for id in self.channels.keys() {
                    subjects.push(Subject::Channel(id.clone(), Snapshot::Admins));
                }
            }
            Changed::Role(role) => {
                let is_gone = self.community.roles.get(&role).is_none();
                for (id, channel) in &mut self.channels {
                    let holds = channel.members.values().any(|roles| roles.has(&role));
                    if is_gone && (holds || channel.overrides.contains_key(&role)) {
                        let channel = Arc::make_mut(channel);
                        channel.overrides.remove(&role);
                        for roles in channel.members.values_mut() {
                            roles.0.retain(|held| *held != role);
                        }
                        channel.touch(&[Snapshot::Admins, Snapshot::Roles], now);
                    }
                    subjects.extend(of_channel(id, &[Snapshot::Admins, Snapshot::Roles]));
                }
                subjects.push(Subject::Members);
                subjects.push(Subject::Role(role));
            }
        }
        subjects
    }

    /// The channels that a new member is put into: those that are default and open.
    pub fn default_channels(&self, first: &str) -> Vec<ChannelId> {
        let first = || ChannelId::parse(first).into_iter().collect();
        let mut seen = HashSet::new();
        let mut ids: Vec<ChannelId> = self.community.defaults.clone().unwrap_or_else(first);
        ids.retain(|id| self.get(id).is_some_and(Channel::is_open) && seen.insert(id.clone()));
        ids
    }
}

fn of_channel(id: &ChannelId, snapshots: &[Snapshot]) -> Vec<Subject> {
    let subject = |snapshot: &Snapshot| Subject::Channel(id.clone(), *snapshot);
    snapshots.iter().map(subject).collect()
}

/// The people an event names, with the roles behind their names.
pub fn people(event: &Event) -> impl Iterator<Item = (PublicKey, Roles)> {
    event
        .tags
        .iter()
        .filter(|tag| tag.kind() == "p")
        .filter_map(|tag| {
            let person = PublicKey::from_hex(tag.content()?).ok()?;
            let roles = tag.as_slice().iter().skip(2);
            Some((
                person,
                Roles(roles.map(|role| role.as_str().into()).collect()),
            ))
        })
}

#[cfg(test)]
mod tests;
