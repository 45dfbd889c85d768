//! Step 9 of the way in, what an event refers to: comments, reactions, answers to polls and to the calendar, and edits are
//! about something in the same channel. What is elsewhere gets the same answer as what is nowhere.

use std::sync::Arc;

use nostr::event::{Event, EventId, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use super::{Batch, Stop, search};
use crate::access::Viewer;
use crate::core::Core;
use crate::groups::kinds;
use crate::groups::rules::content::{self, EDITABLE, EDITS};
use crate::groups::rules::{invalid, restricted};
use crate::record::{ChannelId, StoredEvent, tag_values};

/// Whether an event takes the place of another one that it names, and that may have come just before.
pub fn takes_a_place(event: &Event) -> bool {
    [kinds::VOTE, kinds::RSVP].contains(&event.kind.as_u16()) || is_edit(event)
}

/// Whether it is a message in the place of an older version.
pub fn is_edit(event: &Event) -> bool {
    EDITABLE.contains(&event.kind.as_u16()) && event.tags.iter().any(|tag| tag.kind() == "edit")
}

fn not_here() -> Stop {
    invalid("this channel does not have what this refers to").into()
}

/// Who looks for what, and where.
struct Scope<'a> {
    batch: &'a Batch,
    channel: &'a ChannelId,
    viewer: &'a Viewer,
    core: &'a Core,
}

impl Scope<'_> {
    fn is_here(&self, event: &StoredEvent) -> bool {
        event.channel.as_ref() == Some(self.channel)
            && self.viewer.may_see(event, &self.batch.groups)
    }

    /// An event of this channel.
    fn event(&self, id: &str) -> Result<Arc<StoredEvent>, Stop> {
        let id = EventId::from_hex(id).map_err(|_| not_here())?;
        let mut unstored = self.batch.events.iter();
        let found = match unstored.find(|event| event.event.id == id) {
            Some(event) => Some(Arc::clone(event)),
            None => self.core.store.get(&id)?,
        };
        found
            .filter(|event| self.is_here(event))
            .ok_or_else(not_here)
    }

    /// The newest version of what has an address.
    fn address(&self, address: &str) -> Result<Arc<StoredEvent>, Stop> {
        let (kind, author, d) = content::address(address).ok_or_else(not_here)?;
        let filter = Filter::new()
            .kind(Kind::from_u16(kind))
            .author(author)
            .identifier(d);
        let mut found = search(self.core, &filter)?.into_iter();
        found.find(|event| self.is_here(event)).ok_or_else(not_here)
    }

    /// What the author wrote before of the same kind about the same.
    fn before(
        &self,
        event: &Event,
        tag: SingleLetterTag,
        about: &str,
    ) -> Result<Vec<Arc<StoredEvent>>, Stop> {
        let filter = Filter::new()
            .kind(event.kind)
            .author(event.pubkey)
            .custom_tag(tag, about);
        let is_about = |before: &Arc<StoredEvent>| before.channel.as_ref() == Some(self.channel);
        let mut found = search(self.core, &filter)?;
        let unstored = self.batch.events.iter().filter(|before| {
            before.event.kind == event.kind
                && before.event.pubkey == event.pubkey
                && tag_values(&before.event, tag.as_str()).any(|value| value == about)
        });
        found.extend(unstored.cloned());
        found.retain(is_about);
        Ok(found)
    }
}

impl Batch {
    /// Whether what an event refers to is there; gives what it takes the place of.
    pub(super) fn check_links(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        viewer: &Viewer,
        core: &Core,
    ) -> Result<Vec<EventId>, Stop> {
        let Some(channel) = channel.filter(|id| !id.is_mail()) else {
            return Ok(Vec::new());
        };
        let scope = Scope {
            batch: self,
            channel,
            viewer,
            core,
        };
        match event.kind.as_u16() {
            kinds::COMMENT => comment(&scope, event)?,
            kinds::REACTION => reaction(&scope, event)?,
            kinds::VOTE => return vote(&scope, event),
            kinds::RSVP => return rsvp(&scope, event),
            _ => {}
        }
        if is_edit(event) {
            return edit(&scope, event).map(|old| vec![old]);
        }
        Ok(Vec::new())
    }

    /// The answers to a poll that has ended stay as they are (NIP-88).
    pub(super) fn check_votes_stay(&self, erase: &[EventId], core: &Core) -> Result<(), Stop> {
        for id in erase {
            let Some(vote) = core.store.get(id)? else {
                continue;
            };
            if vote.event.kind.as_u16() != kinds::VOTE {
                continue;
            }
            let poll = tag_values(&vote.event, "e").next();
            let poll = poll.and_then(|id| EventId::from_hex(id).ok());
            let Some(poll) = poll.map(|id| core.store.get(&id)).transpose()?.flatten() else {
                continue; // of a poll that is gone
            };
            if content::ends_at(&poll.event).is_some_and(|end| end <= core.now()) {
                return Err(restricted("this poll has ended: its answers stay").into());
            }
        }
        Ok(())
    }

    /// Takes what was erased out of the pins of its channel, or puts its new version there.
    pub(super) fn repin(
        &mut self,
        channel: Option<&ChannelId>,
        gone: &[EventId],
        new: Option<EventId>,
        core: &Core,
    ) -> Result<(), Stop> {
        let Some((id, known)) = channel.and_then(|id| Some((id, self.groups.get(id)?))) else {
            return Ok(());
        };
        let gone: Vec<String> = gone.iter().map(|id| id.to_hex()).collect();
        let is_gone = |value: &str| gone.iter().any(|id| id == value);
        if !known
            .pins
            .iter()
            .any(|(name, value)| *name == 'e' && is_gone(value))
        {
            return Ok(());
        }
        let new = new.map(|id| id.to_hex());
        let mut pins: Vec<[String; 2]> = Vec::new();
        for (name, value) in &known.pins {
            let value = match &new {
                _ if *name != 'e' || !is_gone(value) => value.to_string(),
                Some(new) => new.clone(),
                None => continue,
            };
            pins.push([name.to_string(), value]);
        }
        let tags: Vec<[&str; 2]> = pins
            .iter()
            .map(|[name, value]| [name.as_str(), value.as_str()])
            .collect();
        let tags: Vec<&[&str]> = tags.iter().map(|tag| tag.as_slice()).collect();
        let id = id.clone();
        self.space_event(kinds::PIN_LIST, &tags, "", Some(&id), core)
    }

    /// Somebody vanishes: what they wrote until then is taken out of all pins.
    pub(super) fn unpin_all_of(
        &mut self,
        person: &PublicKey,
        until: u64,
        core: &Core,
    ) -> Result<(), Stop> {
        let pinned: Vec<(ChannelId, Vec<EventId>)> = self
            .groups
            .iter()
            .map(|(id, channel)| {
                let events = channel.pins.iter().filter(|(name, _)| *name == 'e');
                let events = events.filter_map(|(_, value)| EventId::from_hex(value).ok());
                (id.clone(), events.collect())
            })
            .collect();
        for (channel, events) in pinned {
            let mut gone = Vec::new();
            for id in events {
                let event = core.store.get(&id)?;
                let goes = |event: &Arc<StoredEvent>| {
                    event.event.pubkey == *person && event.event.created_at.as_secs() <= until
                };
                gone.extend(event.filter(goes).map(|_| id));
            }
            self.repin(Some(&channel), &gone, None, core)?;
        }
        Ok(())
    }

    /// An edit: the old version is deleted by the space itself, so that every program takes it away and it never comes
    /// back, and pins lead to the new one.
    pub(super) fn edited(
        &mut self,
        old: EventId,
        new: EventId,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<(), Stop> {
        // First the pins: a deletion would take the old one out of them.
        self.repin(channel, &[old], Some(new), core)?;
        let e = old.to_hex();
        self.space_event(kinds::DELETE_EVENT, &[&["e", &e]], "", channel, core)
    }
}

fn comment(scope: &Scope<'_>, event: &Event) -> Result<(), Stop> {
    let kind = tag_values(event, "K").next().unwrap_or_default();
    for tag in event.tags.iter() {
        let Some(value) = tag.content() else { continue };
        let found = match tag.kind() {
            "E" | "e" => scope.event(value)?,
            "A" | "a" => scope.address(value)?,
            _ => continue,
        };
        let is_root = matches!(tag.kind(), "E" | "A");
        if is_root && found.event.kind.as_u16().to_string() != kind {
            return Err(invalid("the K tag names another kind than that of the E or A tag").into());
        }
    }
    Ok(())
}

fn reaction(scope: &Scope<'_>, event: &Event) -> Result<(), Stop> {
    let before = match (tag_values(event, "e").last(), tag_values(event, "a").last()) {
        (Some(id), _) => {
            scope.event(id)?;
            scope.before(event, SingleLetterTag::LOWERCASE_E, id)?
        }
        (None, Some(address)) => {
            scope.address(address)?;
            scope.before(event, SingleLetterTag::LOWERCASE_A, address)?
        }
        (None, None) => return Err(not_here()),
    };
    if before
        .iter()
        .any(|before| before.event.content == event.content)
    {
        return Err(Stop::from("duplicate: you reacted so before"));
    }
    Ok(())
}

/// The older answers of the same person, which go; refused when one of them is newer.
fn older(event: &Event, before: Vec<Arc<StoredEvent>>) -> Result<Vec<EventId>, Stop> {
    if before
        .iter()
        .any(|before| before.event.created_at > event.created_at)
    {
        return Err(Stop::from(
            "duplicate: a newer answer of yours is already here",
        ));
    }
    Ok(before.iter().map(|before| before.event.id).collect())
}

fn vote(scope: &Scope<'_>, event: &Event) -> Result<Vec<EventId>, Stop> {
    let about = tag_values(event, "e").next().unwrap_or_default();
    let poll = scope.event(about)?;
    if poll.event.kind.as_u16() != kinds::POLL {
        return Err(not_here());
    }
    let end = content::ends_at(&poll.event).unwrap_or(u64::MAX);
    if end <= scope.core.now() || event.created_at.as_secs() > end {
        return Err(restricted("this poll has ended").into());
    }
    let known = |response: &str| content::options(&poll.event).any(|id| id == response);
    if !tag_values(event, "response").all(known) {
        return Err(invalid("this poll has no such option").into());
    }
    older(
        event,
        scope.before(event, SingleLetterTag::LOWERCASE_E, about)?,
    )
}

fn rsvp(scope: &Scope<'_>, event: &Event) -> Result<Vec<EventId>, Stop> {
    let about = tag_values(event, "a").next().unwrap_or_default();
    scope.address(about)?;
    let mut before = scope.before(event, SingleLetterTag::LOWERCASE_A, about)?;
    // One under the same name is replaced anyway.
    before.retain(|before| before.event.tags.identifier() != event.tags.identifier());
    older(event, before)
}

/// The version that an edit takes the place of. It must be the author's own, and the edit must name all versions with
/// their dates, so that nobody passes something off as older than it is, or as never changed.
fn edit(scope: &Scope<'_>, event: &Event) -> Result<EventId, Stop> {
    let edits = content::edits_of(event);
    let last = edits.last().map_or("", |(id, _)| id);
    let old = scope.event(last)?;
    if old.event.pubkey != event.pubkey {
        return Err(restricted("people edit what they wrote themselves").into());
    }
    let date = old.event.created_at.as_secs().to_string();
    let mut expected = content::edits_of(&old.event);
    if expected.len() >= EDITS {
        return Err(restricted("this was edited as often as it may be").into());
    }
    expected.push((last, &date));
    let roots = |event: &Event| -> Vec<Vec<String>> {
        let root = |tag: &&nostr::event::Tag| ["E", "A", "I", "K"].contains(&tag.kind());
        let tags = event.tags.iter().filter(root);
        tags.map(|tag| tag.as_slice().iter().take(2).cloned().collect())
            .collect()
    };
    if old.event.kind != event.kind
        || event.created_at < old.event.created_at
        || edits != expected
        || roots(&old.event) != roots(event)
    {
        return Err(invalid(
            "an edit has the kind of the message, is about the same, and its edit tags are those of the message and then the message itself",
        )
        .into());
    }
    Ok(old.event.id)
}
