//! One channel: what it is called, who belongs to it, and how moderation events change it.

use std::collections::{BTreeMap, HashMap};

use nostr::event::Event;
use nostr::key::PublicKey;

use super::roles::{Override, Roles};
use super::{Snapshot, kinds, people};
use crate::record::{ChannelId, tag_values};

/// What a channel is called and who may do what in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `name`, `about`, `picture`, `banner`: text for people, by tag name.
    pub texts: BTreeMap<Box<str>, Box<str>>,
    /// The channel it stands under (a category, or the channel of a subgroup).
    pub parent: Option<ChannelId>,
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
pub const TEXTS: [(&str, usize); 4] = [
    ("name", 100),
    ("about", 2000),
    ("picture", 500),
    ("banner", 500),
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
            parent: tag_values(event, "parent")
                .next()
                .and_then(ChannelId::parse),
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

/// Something pinned: the name of the tag (`e` or `a`) and its value.
pub type Pin = (char, Box<str>);

/// One channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// What it is called and who may do what.
    pub metadata: Metadata,
    /// Who created it.
    pub founder: PublicKey,
    /// Who belongs to it.
    pub members: HashMap<PublicKey, Roles>,
    /// What it says otherwise about roles, by role.
    pub overrides: BTreeMap<Box<str>, Override>,
    /// Channels under it, in the order of their parent's admins.
    pub children: Vec<ChannelId>,
    /// What is pinned, in order.
    pub pins: Vec<Pin>,
    /// Seconds that a person waits between two messages; 0: none.
    pub slow_seconds: u32,
    /// When the descriptions last changed, by `Snapshot::index`.
    pub changed_at: [u64; Snapshot::ALL.len()],
}

impl Channel {
    /// The channel that a 9007 makes.
    pub fn from_event(event: &Event) -> Self {
        Self {
            metadata: Metadata::from_event(event),
            founder: event.pubkey,
            members: HashMap::new(),
            overrides: BTreeMap::new(),
            children: Vec::new(),
            pins: Vec::new(),
            slow_seconds: 0,
            changed_at: [event.created_at.as_secs(); Snapshot::ALL.len()],
        }
    }

    /// Whether only members may read.
    pub fn is_private(&self) -> bool {
        self.metadata.private || self.metadata.hidden
    }

    /// Whether everybody may come in and read: such a channel can be one that new members are put into.
    pub fn is_open(&self) -> bool {
        !self.is_private() && !self.metadata.closed
    }

    /// Notes that descriptions changed at `now`.
    pub fn touch(&mut self, snapshots: &[Snapshot], now: u64) {
        for snapshot in snapshots {
            let at = &mut self.changed_at[snapshot.index()];
            *at = now.max(*at + 1); // two changes within a second still replace each other in order
        }
    }

    /// Takes in one moderation event of this channel; says which of its descriptions changed.
    pub(super) fn apply(&mut self, event: &Event, kind: u16) -> Vec<Snapshot> {
        match kind {
            kinds::PUT_USER => {
                self.members.extend(people(event));
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
                let children: Vec<ChannelId> = tag_values(event, "child")
                    .filter_map(ChannelId::parse)
                    .filter(|child| self.children.contains(child))
                    .collect();
                let place = |child: &ChannelId| children.iter().position(|named| named == child);
                self.children
                    .sort_by_key(|child| place(child).unwrap_or(usize::MAX));
                vec![Snapshot::Metadata]
            }
            kinds::PIN_LIST => {
                self.pins = pins(event).collect();
                vec![Snapshot::Pins]
            }
            kinds::DELETE_EVENT => self.unpin(event),
            _ => Vec::new(),
        }
    }

    /// What was deleted is no longer pinned.
    pub(super) fn unpin(&mut self, event: &Event) -> Vec<Snapshot> {
        let before = self.pins.len();
        let deleted: Vec<&str> = tag_values(event, "e").collect();
        self.pins
            .retain(|(tag, value)| *tag != 'e' || !deleted.contains(&&**value));
        if self.pins.len() < before {
            vec![Snapshot::Pins]
        } else {
            Vec::new()
        }
    }
}

/// What a 9010 pins.
pub fn pins(event: &Event) -> impl Iterator<Item = Pin> {
    event.tags.iter().filter_map(|tag| {
        let name = match tag.kind() {
            "e" => 'e',
            "a" => 'a',
            _ => return None,
        };
        Some((name, tag.content()?.into()))
    })
}
