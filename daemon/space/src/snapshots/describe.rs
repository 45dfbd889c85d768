//! What the descriptions say, before they are signed.

use nostr::event::{Kind, Tag, Tags, UnsignedEvent};
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use crate::groups::roles::{MEMBER, Roles};
use crate::groups::{Channel, Groups, Snapshot, Subject, emoji};
use crate::record::ChannelId;

/// The event that describes something, as it changed at `at`; `None` when it is not there.
pub fn build(
    relay: PublicKey,
    groups: &Groups,
    subject: &Subject,
    at: u64,
) -> Option<UnsignedEvent> {
    let mut tags: Vec<Vec<String>> = Vec::new();
    match subject {
        Subject::Channel(id, snapshot) => {
            tags.push(words(&["d", id.as_str()]));
            of_channel(groups, groups.get(id)?, *snapshot, &mut tags);
        }
        Subject::Members => {
            tags.push(words(&["-"]));
            let members = &groups.community().members;
            for (person, roles) in sorted(members.iter()) {
                tags.push(named("member", person, roles));
            }
        }
        Subject::Role(id) => {
            let role = groups.community().roles.get(id)?;
            tags.push(words(&["-"]));
            tags.push(words(&["d", id]));
            tags.push(words(&["label", &role.label]));
            tags.push(words(&["description", &role.description]));
            if let Some(hue) = role.hue {
                tags.push(words(&["color", &hue.to_string()]));
            }
            tags.push(words(&["order", &role.order.to_string()]));
            for permission in role.permissions.names() {
                tags.push(words(&["permission", permission]));
            }
        }
        Subject::Emoji => {
            tags.push(words(&["d", emoji::SET]));
            tags.push(words(&["title", "Emoji of this space"]));
            for (name, picture) in groups.community().emoji.iter() {
                tags.push(words(&["emoji", name, picture]));
            }
        }
    }
    let tags: Vec<Vec<&str>> = tags
        .iter()
        .map(|tag| tag.iter().map(String::as_str).collect())
        .collect();
    let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
    Some(event(relay, subject.kind(), at, &tags))
}

/// An event of the space, not signed yet.
pub fn event(relay: PublicKey, kind: u16, at: u64, tags: &[&[&str]]) -> UnsignedEvent {
    let mut parsed = Tags::new();
    for tag in tags {
        if let Ok(tag) = Tag::parse(tag.iter().copied()) {
            parsed.push(tag);
        }
    }
    let at = Timestamp::from_secs(at);
    UnsignedEvent::new(relay, at, Kind::from_u16(kind), parsed.to_vec(), "")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn named(tag: &str, person: &PublicKey, roles: &Roles) -> Vec<String> {
    let mut all = vec![tag.to_owned(), person.to_hex()];
    all.extend(roles.0.iter().map(|role| String::from(&**role)));
    all
}

fn sorted<'a>(
    people: impl Iterator<Item = (&'a PublicKey, &'a Roles)>,
) -> Vec<(&'a PublicKey, &'a Roles)> {
    let mut people: Vec<_> = people.collect();
    people.sort_by_key(|(person, _)| **person);
    people
}

fn of_channel(groups: &Groups, channel: &Channel, snapshot: Snapshot, tags: &mut Vec<Vec<String>>) {
    match snapshot {
        Snapshot::Metadata => metadata(groups, channel, tags),
        Snapshot::Members => {
            for (person, _) in sorted(channel.members.iter()) {
                tags.push(words(&["p", &person.to_hex()]));
            }
        }
        Snapshot::Admins => {
            let none = Roles::default();
            for (person, here) in sorted(channel.members.iter()) {
                let everywhere = groups.community().members.get(person).unwrap_or(&none);
                let mut roles = here.clone();
                roles
                    .0
                    .extend(everywhere.0.iter().filter(|role| !here.has(role)).cloned());
                if !roles.0.is_empty() {
                    tags.push(named("p", person, &roles));
                }
            }
        }
        Snapshot::Roles => {
            let mut roles: Vec<_> = groups.community().roles.iter().collect();
            roles.sort_by_key(|(id, role)| (role.order, *id));
            for (id, role) in roles.into_iter().filter(|(id, _)| *id != MEMBER) {
                tags.push(words(&["role", id, &role.description]));
            }
        }
        Snapshot::Pins => {
            for (tag, value) in &channel.pins {
                tags.push(vec![tag.to_string(), value.to_string()]);
            }
        }
    }
}

fn metadata(groups: &Groups, channel: &Channel, tags: &mut Vec<Vec<String>>) {
    let metadata = &channel.metadata;
    for (name, text) in &metadata.texts {
        tags.push(words(&[name, text]));
    }
    let flags = [
        ("private", metadata.private),
        ("restricted", metadata.restricted),
        ("hidden", metadata.hidden),
        ("closed", metadata.closed),
    ];
    let set = flags.iter().filter(|(_, set)| *set);
    tags.extend(set.map(|(name, _)| words(&[name])));
    if let Some(kinds) = &metadata.supported_kinds {
        let mut all = words(&["supported_kinds"]);
        all.extend(kinds.iter().map(u16::to_string));
        tags.push(all);
    }
    // Who sees one channel may not know of a hidden one beside it.
    let shown = |id: &&ChannelId| {
        let hidden = |other: &Channel| other.metadata.hidden;
        groups.get(id).is_some_and(|other| !hidden(other))
    };
    if let Some(parent) = metadata.parent.as_ref().filter(shown) {
        tags.push(words(&["parent", parent.as_str()]));
    }
    for child in channel.children.iter().filter(shown) {
        tags.push(words(&["child", child.as_str()]));
    }
    if channel.slow_seconds > 0 {
        tags.push(words(&["slow", &channel.slow_seconds.to_string()]));
    }
}
