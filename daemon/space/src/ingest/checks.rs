//! Step 9 of the way in, as far as it looks at what is stored: pins, `previous`, reports, slow mode, newer versions.

use nostr::event::{Event, EventId};
use nostr::filter::Filter;

use super::{Batch, Pace, Stop, links, pace};
use crate::access::Viewer;
use crate::core::Core;
use crate::groups::permissions::Permission;
use crate::record::{ChannelId, tag_values};
use crate::store::Query;

/// Values of `previous` that are looked up.
const PREVIOUS: usize = 50;

impl Batch {
    /// The channel that a report belongs to: that of what it is about, if the author may know of it.
    pub(super) fn reported_channel(
        &self,
        event: &Event,
        named: Option<ChannelId>,
        viewer: &Viewer,
        core: &Core,
    ) -> Result<Option<ChannelId>, Stop> {
        let id = tag_values(event, "e")
            .next()
            .and_then(|id| EventId::from_hex(id).ok());
        let Some(id) = id else { return Ok(named) };
        let target = core.store.get(&id)?;
        let seen = target.filter(|target| viewer.may_see(target, &self.groups));
        // Of a private message the moderators of the space hear: nobody else reads what lies with the mail.
        Ok(seen.map_or(named, |target| {
            target.channel.clone().filter(|channel| !channel.is_mail())
        }))
    }

    /// What is pinned must be in the channel. What is elsewhere gets the same answer as what is nowhere.
    pub(super) fn check_pins(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<(), Stop> {
        for id in tag_values(event, "e") {
            let known = match EventId::from_hex(id) {
                Ok(id) => core.store.get(&id)?.or_else(|| {
                    let mut events = self.events.iter();
                    events.find(|event| event.event.id == id).cloned()
                }),
                Err(_) => None,
            };
            let Some(known) = known.filter(|known| known.channel.as_ref() == channel) else {
                return Err(Stop::from(
                    "invalid: this channel does not have what is to be pinned",
                ));
            };
            if known.expires().is_some() {
                return Err(Stop::from("invalid: what goes by itself is not pinned"));
            }
        }
        Ok(())
    }

    pub(super) fn check_slow_mode(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        core: &Core,
        pace: &Pace,
    ) -> Result<(), Stop> {
        let Some((id, channel)) = channel.and_then(|id| Some((id, self.groups.get(id)?))) else {
            return Ok(());
        };
        let kind = event.kind.as_u16();
        if channel.slow_seconds == 0 || !pace::is_message(kind) || links::is_edit(event) {
            return Ok(());
        }
        let standing = self
            .groups
            .standing_in(&core.authority, channel, &event.pubkey);
        if standing.permissions.has(Permission::SkipSlowMode) {
            return Ok(());
        }
        let wait = pace.wait(event, id, channel.slow_seconds, core)?;
        if wait > 0 {
            return Err(Stop::Refused(format!(
                "rate-limited: this channel has slow mode; write again in {wait} s"
            )));
        }
        Ok(())
    }

    pub(super) fn wrote(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        now: u64,
        pace: &mut Pace,
    ) {
        if let Some(id) = channel
            && let Some(channel) = self.groups.get(id)
            && channel.slow_seconds > 0
            && pace::is_message(event.kind.as_u16())
            && !links::is_edit(event)
        {
            pace.wrote(&event.pubkey, id, now, channel.slow_seconds);
        }
    }

    pub(super) fn check_previous(
        &self,
        event: &Event,
        channel: &ChannelId,
        core: &Core,
    ) -> Result<(), Stop> {
        let previous = event
            .tags
            .iter()
            .filter(|tag| tag.kind() == "previous")
            .flat_map(|tag| tag.as_slice().iter().skip(1));
        for text in previous.take(PREVIOUS) {
            let prefix = u32::from_str_radix(text, 16)
                .ok()
                .filter(|_| text.len() == 8)
                .map(u32::to_be_bytes);
            let in_batch = |prefix: &[u8; 4]| {
                self.events.iter().any(|event| {
                    event.channel.as_ref() == Some(channel)
                        && event.event.id.as_bytes().starts_with(prefix)
                })
            };
            let known = match prefix {
                Some(prefix) => in_batch(&prefix) || core.store.has_prefix(channel, prefix)?,
                None => false,
            };
            if !known {
                return Err(Stop::from(
                    "invalid: the message refers to one that this channel does not have",
                ));
            }
        }
        Ok(())
    }
}

/// Whether a newer version of a replaceable event is here.
pub(super) fn newer_is_here(event: &Event, core: &Core, now: u64) -> Result<bool, Stop> {
    let mut filter = Filter::new().kind(event.kind).author(event.pubkey);
    if event.kind.is_addressable() {
        filter = filter.identifier(event.tags.identifier().unwrap_or_default());
    }
    let query = Query {
        filter: &filter,
        without: &[],
        after: None,
        limit: 10,
        bytes: usize::MAX,
        now,
    };
    let found = core.store.query(&query)?.events;
    Ok(found.iter().any(|old| {
        (old.event.created_at, std::cmp::Reverse(old.event.id))
            > (event.created_at, std::cmp::Reverse(event.id))
    }))
}
