//! What the space itself does and signs: members in and out, and its log of every act of moderation (4240).

use std::sync::Arc;

use nostr::event::{Event, Kind, Tag, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::types::Timestamp;

use super::{Batch, Stop};
use crate::core::Core;
use crate::groups::rules::UsedInvite;
use crate::groups::{Channel, kinds};
use crate::record::{ChannelId, StoredEvent};
use crate::signature;
use crate::space::FIRST_CHANNEL;

/// An act of moderation or management, to be written into the log.
#[derive(Debug, Clone)]
pub struct Act {
    tags: Vec<Vec<String>>,
    reason: String,
}

impl Act {
    /// Somebody does something.
    pub fn new(name: &str, by: &PublicKey) -> Self {
        Self {
            tags: vec![
                vec!["-".into()],
                vec!["act".into(), name.into()],
                vec!["by".into(), by.to_hex()],
            ],
            reason: String::new(),
        }
    }

    /// What somebody did with an event of their own: it is named, and the people and events it names.
    pub fn of_event(name: &str, event: &Event) -> Self {
        let mut act = Self::new(name, &event.pubkey).with("event", &event.id.to_hex());
        for tag in event
            .tags
            .iter()
            .filter(|tag| ["p", "e"].contains(&tag.kind()))
        {
            act.tags.push(tag.as_slice().to_vec());
        }
        act.reason(&event.content)
    }

    /// Adds a tag.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.tags.push(vec![name.into(), value.into()]);
        self
    }

    /// Adds a tag of several words.
    pub fn with_all(mut self, words: &[&str]) -> Self {
        self.tags
            .push(words.iter().map(|word| (*word).to_owned()).collect());
        self
    }

    fn words(&self) -> Vec<Vec<&str>> {
        let tags = self.tags.iter();
        tags.map(|tag| tag.iter().map(String::as_str).collect())
            .collect()
    }

    /// Says why. What is longer than 500 characters is cut.
    pub fn reason(mut self, reason: &str) -> Self {
        self.reason = reason.chars().take(500).collect();
        self
    }
}

/// What the log calls a moderation event of NIP-29; `None` for what is none.
pub fn act_of(kind: u16) -> Option<&'static str> {
    Some(match kind {
        kinds::PUT_USER => "put-user",
        kinds::REMOVE_USER => "kick",
        kinds::EDIT_METADATA => "edit-channel",
        kinds::DELETE_EVENT => "delete-event",
        kinds::CREATE_GROUP => "create-channel",
        kinds::DELETE_GROUP => "delete-channel",
        kinds::CREATE_INVITE => "create-channel-invite",
        kinds::PIN_LIST => "pin",
        _ => return None,
    })
}

impl Batch {
    /// Signs an event of the space and takes it in. A channel is named by an `h` tag.
    pub fn space_event(
        &mut self,
        kind: u16,
        tags: &[&[&str]],
        content: &str,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<(), Stop> {
        let mut all: Vec<&[&str]> = Vec::with_capacity(tags.len() + 1);
        let h = channel.map(|id| ["h", id.as_str()]);
        all.extend(h.as_ref().map(|tag| tag.as_slice()));
        all.extend(tags);
        let event = sign(core, kind, core.now(), &all, content);
        self.take(StoredEvent {
            event,
            channel: channel.cloned(),
        });
        Ok(())
    }

    /// Writes an act into the log, and with it into the state.
    pub fn act(&mut self, act: Act, channel: Option<&ChannelId>, core: &Core) -> Result<(), Stop> {
        let words = act.words();
        let tags: Vec<&[&str]> = words.iter().map(Vec::as_slice).collect();
        self.space_event(kinds::ACT, &tags, &act.reason, channel, core)
    }

    /// Writes down that an invitation was used, before it lets anybody in.
    pub fn note_invite(
        &mut self,
        invite: &UsedInvite,
        by: &PublicKey,
        core: &Core,
    ) -> Result<(), Stop> {
        let mut act = Act::new("use-invite", by).with("invite", &invite.id);
        if let Some(until) = invite.until {
            act = act.with("until", &until.to_string());
        }
        self.act(act, None, core)
    }

    /// Makes somebody a member of the space, with the default channels, and of one channel.
    pub fn admit_person(
        &mut self,
        person: &PublicKey,
        channel: Option<&ChannelId>,
        role: Option<Box<str>>,
        core: &Core,
    ) -> Result<(), Stop> {
        let hex = person.to_hex();
        let role = role.filter(|role| self.groups.community().roles.get(role).is_some());
        let mut into = Vec::new();
        if !self.groups.is_member(person) {
            let mut tags: Vec<&[&str]> = vec![&["-"]];
            let p = ["p", hex.as_str()];
            tags.push(&p);
            let of_space = role.as_deref().filter(|_| channel.is_none());
            let role = of_space.map(|role| ["role", role]);
            tags.extend(role.as_ref().map(|tag| tag.as_slice()));
            self.space_event(kinds::MEMBER_ADDED, &tags, "", None, core)?;
            into = self.groups.default_channels(FIRST_CHANNEL);
        }
        into.retain(|id| Some(id) != channel);
        into.extend(channel.cloned());
        let most = core.config.limits.members;
        for id in &into {
            let room =
                |known: &Channel| !known.members.contains_key(person) && known.members.len() < most;
            if !self.groups.get(id).is_some_and(room) {
                continue;
            }
            let mut p = vec!["p", hex.as_str()];
            p.extend(role.as_deref().filter(|_| Some(id) == channel));
            self.space_event(kinds::PUT_USER, &[&p], "", Some(id), core)?;
        }
        Ok(())
    }

    /// Takes somebody out of the space and all its channels.
    pub fn remove_person(&mut self, person: &PublicKey, core: &Core) -> Result<(), Stop> {
        let hex = person.to_hex();
        let belongs = |(id, channel): (&ChannelId, &Channel)| {
            channel.members.contains_key(person).then(|| id.clone())
        };
        let channels: Vec<ChannelId> = self.groups.iter().filter_map(belongs).collect();
        for id in &channels {
            self.space_event(kinds::REMOVE_USER, &[&["p", &hex]], "", Some(id), core)?;
        }
        if self.groups.is_member(person) {
            let tags: [&[&str]; 2] = [&["-"], &["p", &hex]];
            self.space_event(kinds::MEMBER_REMOVED, &tags, "", None, core)?;
        }
        Ok(())
    }
}

/// An event of the space itself.
pub(super) fn sign(core: &Core, kind: u16, now: u64, tags: &[&[&str]], content: &str) -> Event {
    sign_as(&core.keys, kind, now, tags, content)
}

/// The same, signed by another key of the space's making.
pub(super) fn sign_as(keys: &Keys, kind: u16, now: u64, tags: &[&[&str]], content: &str) -> Event {
    let tags: Vec<Tag> = tags
        .iter()
        .filter_map(|tag| Tag::parse(tag.iter().copied()).ok())
        .collect();
    let unsigned = UnsignedEvent::new(
        keys.public_key(),
        Timestamp::from_secs(now),
        Kind::from_u16(kind),
        tags,
        content,
    );
    signature::sign(keys, unsigned)
}

/// What the host says of the space: an act of the space itself, as its managers' are.
pub fn description(core: &Core, said: &[(&str, &str)]) -> Event {
    let act = Act::new("describe", &core.keys.public_key());
    let act = said
        .iter()
        .fold(act, |act, (name, text)| act.with(name, text));
    let words = act.words();
    let tags: Vec<&[&str]> = words.iter().map(Vec::as_slice).collect();
    sign(core, kinds::ACT, core.now(), &tags, &act.reason)
}

/// The events that make the first channel of a new space.
pub fn first_channel(core: &Core, id: &ChannelId, name: &str) -> Vec<Arc<StoredEvent>> {
    let now = core.now();
    let h: &[&str] = &["h", id.as_str()];
    let name: &[&str] = &["name", name];
    let made = [
        sign(core, kinds::CREATE_GROUP, now, &[h], ""),
        sign(
            core,
            kinds::EDIT_METADATA,
            now,
            &[h, name, &["restricted"]],
            "",
        ),
    ];
    made.into_iter()
        .map(|event| {
            Arc::new(StoredEvent {
                event,
                channel: Some(id.clone()),
            })
        })
        .collect()
}
