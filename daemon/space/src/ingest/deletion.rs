//! What is taken away: deletion requests (NIP-09), deletions by moderators and of whole channels (NIP-29), and that
//! what was deleted does not come back.

use nostr::event::{Event, EventId, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use super::{Batch, Stop, search};
use crate::core::Core;
use crate::groups::kinds;
use crate::groups::rules::not_allowed;
use crate::mail;
use crate::record::{ChannelId, StoredEvent, tag_values};
use crate::store::Query;
use crate::vanish;

/// Events that one deletion request may name.
pub const DELETIONS: usize = 100;
/// Events of a channel that are looked up at a time.
const PAGE: usize = 500;

impl Batch {
    /// What a moderator's deletion (NIP-29) erases: messages of that channel by people below them or by themselves, and
    /// none that its state is made of.
    pub(super) fn channel_targets(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<Vec<EventId>, Stop> {
        let mut targets = Vec::new();
        let Some((id, known)) = channel.and_then(|id| Some((id, self.groups.get(id)?))) else {
            return Ok(targets);
        };
        let place = |person: &PublicKey| self.groups.standing_in(&core.authority, known, person);
        let standing = place(&event.pubkey);
        let named = tag_values(event, "e").take(DELETIONS);
        for named in named.filter_map(|id| EventId::from_hex(id).ok()) {
            let Some(target) = core.store.get(&named)? else {
                continue;
            };
            if target.channel.as_ref() != Some(id) || is_state(target.event.kind.as_u16()) {
                continue;
            }
            let author = &target.event.pubkey;
            if *author != event.pubkey && !standing.is_above(place(author).order) {
                return Err(not_allowed().into());
            }
            targets.push(named);
        }
        Ok(targets)
    }

    /// Whether this very event was deleted before: then it does not come back.
    pub(super) fn check_deleted(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<(), Stop> {
        if self
            .groups
            .community()
            .banned_events
            .contains_key(&event.id)
        {
            return Err(Stop::from("blocked: this was deleted"));
        }
        // Asked for by who could delete it: any number of others' requests must not hide theirs.
        let deletion = Kind::from_u16(kinds::DELETION);
        let mut deleters = vec![event.pubkey];
        deleters.extend(mail::recipient(event).filter(|_| mail::is_wrap(event.kind.as_u16())));
        let by_id = Filter::new()
            .kind(deletion)
            .authors(deleters)
            .event(event.id);
        let mut found = search(core, &by_id)?;
        if let Some(channel) = channel.filter(|id| !id.is_mail()) {
            let by_moderators = Filter::new()
                .kind(Kind::from_u16(kinds::DELETE_EVENT))
                .custom_tag(SingleLetterTag::LOWERCASE_H, channel.as_str())
                .event(event.id);
            found.extend(search(core, &by_moderators)?);
        }
        if event.kind.is_replaceable() || event.kind.is_addressable() {
            let address = format!(
                "{}:{}:{}",
                event.kind.as_u16(),
                event.pubkey,
                event.tags.identifier().unwrap_or_default()
            );
            let by_address = Filter::new()
                .kind(deletion)
                .author(event.pubkey)
                .since(event.created_at)
                .custom_tag(SingleLetterTag::LOWERCASE_A, address);
            found.extend(search(core, &by_address)?);
        }
        if !found.is_empty() {
            return Err(Stop::from("blocked: this was deleted"));
        }
        Ok(())
    }
}

/// Messages of a channel that a moderator's deletion names: what is erased of those that are here, where it was allowed
/// before.
pub fn named_in(
    event: &Event,
    channel: Option<&ChannelId>,
    core: &Core,
) -> Result<Vec<EventId>, Stop> {
    let mut targets = Vec::new();
    let named = tag_values(event, "e").take(DELETIONS);
    for id in named.filter_map(|id| EventId::from_hex(id).ok()) {
        let target = core.store.get(&id)?;
        let goes = |target: &StoredEvent| {
            target.channel.as_ref() == channel && !is_state(target.event.kind.as_u16())
        };
        targets.extend(target.filter(|target| goes(target)).map(|_| id));
    }
    Ok(targets)
}

/// What a deletion request of the author (NIP-09) erases. It then belongs to the channel of what it erases, so that
/// ids of a private channel do not get out with it.
pub fn own_targets(
    event: &Event,
    channel: &mut Option<ChannelId>,
    core: &Core,
) -> Result<Vec<EventId>, Stop> {
    let mut targets = Vec::new();
    for id in tag_values(event, "e")
        .take(DELETIONS)
        .filter_map(|id| EventId::from_hex(id).ok())
    {
        targets.extend(core.store.get(&id)?);
    }
    for address in tag_values(event, "a").take(DELETIONS) {
        let mut parts = address.splitn(3, ':');
        let (Some(kind), Some(author), Some(d)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (Ok(kind), Ok(author)) = (kind.parse::<u16>(), PublicKey::from_hex(author)) else {
            continue;
        };
        let kind = Kind::from_u16(kind);
        if author != event.pubkey || !(kind.is_replaceable() || kind.is_addressable()) {
            continue;
        }
        let mut filter = Filter::new()
            .kind(kind)
            .author(author)
            .until(event.created_at);
        if kind.is_addressable() {
            filter = filter.identifier(d);
        }
        targets.extend(search(core, &filter)?);
    }
    targets.retain(|target| {
        let kind = target.event.kind.as_u16();
        let own = target.event.pubkey == event.pubkey || mail::is_for(target, &event.pubkey);
        own && kind != kinds::DELETION
            && kind != vanish::KIND
            && (!is_state(kind) || kind == kinds::APP_DATA)
            && !mail::is_permission(&target.event)
    });
    for target in &targets {
        if channel.is_none() {
            channel.clone_from(&target.channel);
        } else if target.channel.is_some() && target.channel != *channel {
            return Err(Stop::from(
                "invalid: delete messages of one channel at a time",
            ));
        }
    }
    Ok(targets.iter().map(|target| target.event.id).collect())
}

/// Everything in a channel, but for the note that it is gone and the log.
pub fn everything_in(channel: Option<&ChannelId>, core: &Core) -> Result<Vec<EventId>, Stop> {
    let mut ids = Vec::new();
    let Some(channel) = channel else {
        return Ok(ids);
    };
    let groups = core.groups();
    let others = groups.iter().map(|(id, _)| id.clone());
    let mut others: Vec<ChannelId> = others.filter(|id| id != channel).collect();
    others.push(ChannelId::mail());
    // Reports and deletion requests belong to a channel without naming it.
    let unnamed = [kinds::REPORT, kinds::DELETION].map(Kind::from_u16);
    let filters = [
        Filter::new().custom_tag(SingleLetterTag::LOWERCASE_H, channel.as_str()),
        Filter::new().kinds(unnamed),
    ];
    for filter in &filters {
        let mut after = None;
        loop {
            let page = core.store.query(&Query {
                filter,
                without: &others,
                after,
                limit: PAGE,
                bytes: usize::MAX,
                now: 0,
            })?;
            let erased = page.events.iter().filter(|event| {
                event.channel.as_ref() == Some(channel) && event.event.kind.as_u16() != kinds::ACT
            });
            ids.extend(erased.map(|event| event.event.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// What the channels are rebuilt from, and the requests that led to it, stay.
pub fn is_state(kind: u16) -> bool {
    kinds::STATE.contains(&kind)
        || kinds::is_moderation(kind)
        || kind == kinds::JOIN
        || kind == kinds::LEAVE
}
