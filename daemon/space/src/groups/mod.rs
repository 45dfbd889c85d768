//! The channels of a space (NIP-29 groups), rebuilt from the moderation events as `apply(event) -> state`.
//! Applying never refuses: whether an event may be applied is asked before (`rules`), once, when it comes in.

pub mod kinds;
pub mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nostr::event::Event;
use nostr::key::PublicKey;

use crate::mail::{self, Permissions};
use crate::record::{ChannelId, tag_values};

/// What a member may do in a channel beyond writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Writes.
    Member,
    /// Also deletes messages, removes members without a role, makes invitations.
    Moderator,
    /// Also changes the channel and gives roles.
    Admin,
}

/// A member's roles, as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles(pub Vec<Box<str>>);

impl Roles {
    /// What the roles allow. Role names this space does not know allow nothing more.
    pub fn rank(&self) -> Rank {
        let rank = |role: &str| match role {
            "admin" => Rank::Admin,
            "moderator" => Rank::Moderator,
            _ => Rank::Member,
        };
        self.0
            .iter()
            .map(|role| rank(role))
            .max()
            .unwrap_or(Rank::Member)
    }
}

/// What a channel is called and who may do what in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `name`, `about`, `picture`, `banner`, `parent`: text for people, by tag name.
    pub texts: BTreeMap<Box<str>, Box<str>>,
    /// Only members may read.
    pub private: bool,
    /// Only members may write.
    pub restricted: bool,
    /// Others are not told that the channel exists. It is then private too.
    pub hidden: bool,
    /// Nobody joins without an invitation.
    pub closed: bool,
    /// The kinds that may be written; `None`: all.
    pub supported_kinds: Option<Vec<u16>>,
}

/// Texts of a channel that are kept, with their longest length in characters.
pub const TEXTS: [(&str, usize); 5] = [
    ("name", 100),
    ("about", 2000),
    ("picture", 500),
    ("banner", 500),
    ("parent", 64),
];

impl Metadata {
    /// Reads the full set of a 9002's (or 9007's) tags.
    pub fn from_event(event: &Event) -> Self {
        let has = |name: &str| event.tags.iter().any(|tag| tag.kind() == name);
        let mut texts = BTreeMap::new();
        for (name, _) in TEXTS {
            if let Some(text) = tag_values(event, name)
                .next()
                .filter(|text| !text.is_empty())
            {
                texts.insert(name.into(), text.into());
            }
        }
        let kinds = event
            .tags
            .iter()
            .find(|tag| tag.kind() == "supported_kinds");
        Self {
            texts,
            private: has("private"),
            restricted: has("restricted"),
            hidden: has("hidden"),
            closed: has("closed"),
            supported_kinds: kinds.map(|tag| {
                tag.as_slice()
                    .iter()
                    .skip(1)
                    .filter_map(|kind| kind.parse().ok())
                    .collect()
            }),
        }
    }
}

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// What it is called and who may do what.
    pub metadata: Metadata,
    /// Who belongs to it.
    pub members: HashMap<PublicKey, Roles>,
    /// Invitation codes, with the second after which they are void.
    pub invites: HashMap<Box<str>, Option<u64>>,
    /// When the snapshots last changed, by `Snapshot::index`.
    pub changed_at: [u64; 4],
}

impl Channel {
    /// Whether only members may read.
    pub fn is_private(&self) -> bool {
        self.metadata.private || self.metadata.hidden
    }

    /// What somebody may do; `None` for who does not belong to it.
    pub fn rank(&self, person: &PublicKey) -> Option<Rank> {
        self.members.get(person).map(Roles::rank)
    }
}

/// One of the relay-signed events that describe a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Snapshot {
    /// 39000.
    Metadata,
    /// 39001.
    Admins,
    /// 39002.
    Members,
    /// 39003.
    Roles,
}

impl Snapshot {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Metadata, Self::Admins, Self::Members, Self::Roles];

    /// Its place in arrays.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its kind.
    pub fn kind(self) -> u16 {
        kinds::GROUP_METADATA + self as u16
    }
}

/// What an event changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub channel: ChannelId,
    /// Which descriptions are new.
    pub snapshots: Vec<Snapshot>,
}

/// All channels. Cloning is cheap: the channels are shared until they change.
#[derive(Debug, Clone, Default)]
pub struct Groups {
    channels: HashMap<ChannelId, Arc<Channel>>,
    /// Which homes collect whose messages.
    pub permissions: Arc<Permissions>,
}

impl Groups {
    /// One channel.
    pub fn get(&self, id: &ChannelId) -> Option<&Channel> {
        self.channels.get(id).map(|channel| &**channel)
    }

    /// All channels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ChannelId, &Channel)> {
        self.channels.iter().map(|(id, channel)| (id, &**channel))
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether somebody belongs to any channel.
    pub fn is_member(&self, person: &PublicKey) -> bool {
        self.channels
            .values()
            .any(|channel| channel.members.contains_key(person))
    }

    /// People who belong to at least one channel. The space itself, which makes the first one, is not one of them.
    pub fn people_besides(&self, space: &PublicKey) -> usize {
        let people: std::collections::HashSet<&PublicKey> = self
            .channels
            .values()
            .flat_map(|channel| channel.members.keys())
            .filter(|person| *person != space)
            .collect();
        people.len()
    }

    /// Takes in one moderation event that was accepted. Other events change nothing.
    pub fn apply(&mut self, event: &Event) -> Option<Change> {
        if mail::is_permission(event) {
            Arc::make_mut(&mut self.permissions).apply(event);
            return None;
        }
        let id = tag_values(event, "h").next().and_then(ChannelId::parse)?;
        let now = event.created_at.as_secs();
        let kind = event.kind.as_u16();
        if kind == kinds::CREATE_GROUP {
            let channel = Channel {
                metadata: Metadata::from_event(event),
                members: HashMap::from([(event.pubkey, Roles(vec!["admin".into()]))]),
                invites: HashMap::new(),
                changed_at: [now; 4],
            };
            self.channels
                .entry(id.clone())
                .or_insert_with(|| Arc::new(channel));
            return Some(Change {
                channel: id,
                snapshots: Snapshot::ALL.to_vec(),
            });
        }
        if kind == kinds::DELETE_GROUP {
            self.channels.remove(&id)?;
            return Some(Change {
                channel: id,
                snapshots: Vec::new(),
            });
        }
        let channel = Arc::make_mut(self.channels.get_mut(&id)?);
        let snapshots = channel.apply(event, kind);
        for snapshot in &snapshots {
            let at = &mut channel.changed_at[snapshot.index()];
            *at = now.max(*at + 1); // two changes within a second still replace each other in order
        }
        Some(Change {
            channel: id,
            snapshots,
        })
    }
}

impl Channel {
    fn apply(&mut self, event: &Event, kind: u16) -> Vec<Snapshot> {
        match kind {
            kinds::PUT_USER => {
                for (person, roles) in people(event) {
                    self.members.insert(person, roles);
                }
                vec![Snapshot::Admins, Snapshot::Members]
            }
            kinds::REMOVE_USER => {
                for (person, _) in people(event) {
                    self.members.remove(&person);
                }
                vec![Snapshot::Admins, Snapshot::Members]
            }
            kinds::EDIT_METADATA => {
                self.metadata = Metadata::from_event(event);
                vec![Snapshot::Metadata]
            }
            kinds::CREATE_INVITE => {
                let expires = event.tags.expiration().map(|time| time.as_secs());
                for code in tag_values(event, "code") {
                    self.invites.insert(code.into(), expires);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

/// The people a moderation event names, with the roles behind their names.
pub fn people(event: &Event) -> impl Iterator<Item = (PublicKey, Roles)> {
    event
        .tags
        .iter()
        .filter(|tag| tag.kind() == "p")
        .filter_map(|tag| {
            let person = PublicKey::from_hex(tag.content()?).ok()?;
            Some((
                person,
                Roles(
                    tag.as_slice()
                        .iter()
                        .skip(2)
                        .map(|role| role.as_str().into())
                        .collect(),
                ),
            ))
        })
}

#[cfg(test)]
mod tests;
