//! An event's way in, step by step:
//!
//! | step | what | where |
//! |---|---|---|
//! | 1 | size of the message | `wire`, on the connection |
//! | 2 | JSON | `wire`, on the connection |
//! | 3 | token bucket of the connection | `connection` |
//! | 4 | id hash, dates, at most one channel | [`examine`], on the checking thread |
//! | 5 | known id: answered only to who may see the event | [`examine`] |
//! | 6 | authentication: the author proved to be on this connection | [`examine`] |
//! | 7 | membership | [`examine`] |
//! | 8 | signature | [`examine`] |
//! | 9 | role and channel policy, deletions, requests to vanish, `previous` | [`Batch::admit`], on the writing thread |
//! | 10 | rate of the person | [`Batch::admit`] |
//! | 11 | replaceable events: a newer one stays | [`Batch::admit`] |
//! | 12 | store, a batch at a time | `pipeline`, on the writing thread |
//! | 13 | OK, once the batch is safe | `pipeline` |
//! | 14 | live fan-out | `pipeline` |
//! | 15 | side effects: new descriptions of channels | `pipeline` |
//!
//! Cheap checks come before dear ones, and nothing is said about an event to who may not see it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use nostr::event::{Event, EventId, Kind, SignEvent, Tag, UnsignedEvent};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use crate::access::Viewer;
use crate::core::Core;
use crate::groups::rules::{self, Answer, Refusal};
use crate::groups::{Change, Groups, kinds};
use crate::mail;
use crate::protected;
use crate::rate::People;
use crate::record::{ChannelId, StoredEvent, tag_values};
use crate::store::{Query, StoreError};
use crate::vanish::{self, Vanish};

/// Values of `previous` that are looked up.
const PREVIOUS: usize = 50;
/// Events that one deletion request may name.
const DELETIONS: usize = 100;

/// What is said to the author.
pub type Verdict = Result<String, Refusal>;

/// Said when the disk does not take or give what it should.
pub fn disk_trouble(error: &StoreError) -> Refusal {
    log::error!("the space cannot use its disk: {error}");
    "error: the space cannot use its disk now; try again later".into()
}

/// Steps 4 to 8. `Ok(None)`: go on. `Ok(Some(text))`: nothing more to do, the answer is yes.
pub fn examine(event: &Event, viewer: &Viewer, core: &Core) -> Result<Option<String>, Refusal> {
    let limits = &core.config.limits;
    let now = core.now();
    // 4: id hash, dates, at most one channel.
    if event.tags.len() > limits.event_tags {
        return Err(format!(
            "invalid: an event may have {} tags",
            limits.event_tags
        ));
    }
    if event.content.len() > limits.content_chars
        && event.content.chars().count() > limits.content_chars
    {
        return Err(format!(
            "invalid: an event may have {} characters",
            limits.content_chars
        ));
    }
    if !event.verify_id() {
        return Err("invalid: the id is not the hash of the event".into());
    }
    let created_at = event.created_at.as_secs();
    if created_at > now.saturating_add(limits.future_seconds) {
        return Err("invalid: the date lies in the future; set the clock of your device".into());
    }
    let channel = channel_of(event)?;
    let is_mail = channel.as_ref().is_some_and(ChannelId::is_mail);
    // The dates of private messages are wrong on purpose (NIP-59).
    if channel.is_some() && !is_mail && created_at < now.saturating_sub(limits.past_seconds) {
        return Err(
            "invalid: the date lies too far in the past; set the clock of your device".into(),
        );
    }
    if event
        .tags
        .expiration()
        .is_some_and(|time| time.as_secs() <= now)
    {
        return Err("invalid: the event has expired".into());
    }
    if protected::embeds_protected(event) {
        return Err("blocked: what is protected may only be published by its author".into());
    }
    // 5: known id.
    let groups = core.groups();
    if let Some(known) = core
        .store
        .get(&event.id)
        .map_err(|error| disk_trouble(&error))?
        && viewer.may_see(&known, &groups)
        && event.kind.as_u16() != vanish::KIND
    // which may not have been finished
    {
        return Ok(Some("duplicate: this is already here".into()));
    }
    // 6: authentication. Of a wrap it is the sender's, whose key it is not signed by.
    let is_wrap = mail::is_wrap(event.kind.as_u16());
    if is_wrap {
        core.mail.check(event, viewer, &groups)?;
    } else if !viewer.people.contains(&event.pubkey) {
        return Err("auth-required: prove that you are the author".into());
    }
    // 7: membership.
    let kind = event.kind.as_u16();
    match &channel {
        None if kind == vanish::KIND => vanish::check(event, &core.config.service)?,
        None if !kinds::WITHOUT_CHANNEL.contains(&kind) => {
            return Err("restricted: say which channel this belongs to (h tag)".into());
        }
        Some(_) if is_wrap => {}
        Some(id) if !id.is_mail() => {
            rules::check(event, id, &groups, &core.authority, limits, now)?;
        }
        _ if !groups.is_member(&event.pubkey) && !core.authority.is_above(&event.pubkey) => {
            return Err("restricted: join a channel of this space first".into());
        }
        _ => {}
    }
    // 8: signature.
    if !event.verify_signature() {
        return Err("invalid: the signature is wrong".into());
    }
    Ok(None)
}

/// The channel that an event's first `h` tag names, as what is stored belongs to it.
pub fn told_channel(event: &Event) -> Option<ChannelId> {
    if let Ok(Some(mail)) = mail::place(event) {
        return Some(mail);
    }
    let tag = event.tags.iter().find(|tag| tag.kind() == "h")?;
    tag.content().and_then(ChannelId::parse)
}

/// What a stored deletion erases of what is here.
pub fn targets(deletion: &StoredEvent, core: &Core) -> Result<Vec<EventId>, StoreError> {
    let mut channel = deletion.channel.clone();
    let found = match deletion.event.kind.as_u16() {
        kinds::DELETION => own_targets(&deletion.event, &mut channel, core),
        _ => channel_targets(&deletion.event, channel.as_ref(), core),
    };
    match found {
        Ok(targets) => Ok(targets),
        Err(Stop::Refused(_)) => Ok(Vec::new()),
        Err(Stop::Disk(error)) => Err(error),
    }
}

/// The channel an event says it belongs to.
fn channel_of(event: &Event) -> Result<Option<ChannelId>, Refusal> {
    let kind = event.kind.as_u16();
    if (kinds::GROUP_METADATA..=kinds::GROUP_LAST).contains(&kind) {
        return Err("restricted: only the space itself describes its channels".into());
    }
    if kind == kinds::AUTH {
        return Err("invalid: a proof of identity is sent as AUTH".into());
    }
    if let Some(mail) = mail::place(event)? {
        return Ok(Some(mail));
    }
    if kind == vanish::KIND {
        return Ok(None);
    }
    let mut named = event.tags.iter().filter(|tag| tag.kind() == "h");
    let first = named.next();
    if named.next().is_some() {
        return Err("invalid: an event belongs to one channel".into());
    }
    let Some(tag) = first else { return Ok(None) };
    let id = tag.content().and_then(ChannelId::parse);
    id.map(Some)
        .ok_or_else(|| "invalid: a channel's id has 1 to 64 bytes".into())
}

/// Events that go to the disk together.
pub struct Batch {
    /// The channels as they will be.
    pub groups: Groups,
    /// What is stored.
    pub events: Vec<Arc<StoredEvent>>,
    /// What is erased.
    pub erase: Vec<EventId>,
    /// What those who listen hear, in order; what is not stored is among it.
    pub live: Vec<Arc<StoredEvent>>,
    /// What changed in the channels.
    pub changes: Vec<Change>,
    /// Whether it changed who may collect whose messages.
    pub has_permissions: bool,
    /// Whose words are erased once this is stored.
    pub vanish: Vec<Vanish>,
    /// Whether nothing more may come in before this is stored, because it would have to know of it.
    pub is_closed: bool,
    ids: HashSet<EventId>,
    full: bool,
}

impl Batch {
    /// An empty batch.
    pub fn new(core: &Core) -> Self {
        Self {
            groups: (*core.groups()).clone(),
            events: Vec::new(),
            erase: Vec::new(),
            live: Vec::new(),
            changes: Vec::new(),
            has_permissions: false,
            vanish: Vec::new(),
            is_closed: false,
            ids: HashSet::new(),
            full: core.store.stats().bytes >= core.config.limits.journal_bytes,
        }
    }

    /// Steps 9 to 11. The answer counts once the batch is stored.
    pub fn admit(&mut self, event: Event, core: &Core, rates: &mut People) -> Verdict {
        if self.ids.contains(&event.id) {
            return Ok("duplicate: this is already here".into());
        }
        self.admit_new(event, core, rates)
            .map_err(|error| match error {
                Stop::Refused(reason) => reason,
                Stop::Disk(error) => disk_trouble(&error),
            })
    }

    fn admit_new(&mut self, event: Event, core: &Core, rates: &mut People) -> Result<String, Stop> {
        let now = core.now();
        let kind = event.kind.as_u16();
        let vanish = Vanish::of(&event);
        if core.store.get(&event.id)?.is_some() {
            self.is_closed |= vanish.is_some();
            self.vanish.extend(vanish);
            return Ok("duplicate: this is already here".into()); // came in twice at the same moment
        }
        // 9: role and channel policy.
        let mut channel = channel_of(&event)?;
        let mut answer = Answer::None;
        if let Some(id) = channel.as_ref().filter(|id| !id.is_mail()) {
            answer = rules::check(
                &event,
                id,
                &self.groups,
                &core.authority,
                &core.config.limits,
                now,
            )?;
            self.check_previous(&event, id, core)?;
        }
        self.check_deleted(&event, channel.as_ref(), core)?;
        if let Some(refusal) = vanish::check_gone(&event, core)? {
            return Err(refusal.into());
        }
        let erase = match kind {
            kinds::DELETION => own_targets(&event, &mut channel, core)?,
            kinds::DELETE_EVENT => channel_targets(&event, channel.as_ref(), core)?,
            _ => Vec::new(),
        };
        // 10: rate of the person.
        let is_wrap = mail::is_wrap(kind);
        if !is_wrap && !rates.take(&event.pubkey, Instant::now()) {
            return Err("rate-limited: you write very fast; wait a moment"
                .to_owned()
                .into());
        }
        if let Some(vanish) = vanish {
            return self.vanish(vanish, event, core, now);
        }
        if self.full && erase.is_empty() && !event.kind.is_ephemeral() {
            return Err("restricted: the space is full".to_owned().into());
        }
        if kind == kinds::GIFT_WRAP && !core.mail.take_room(&event, core)? {
            let reason = "restricted: too many messages wait for this person";
            return Err(reason.to_owned().into());
        }
        // 11: replaceable events.
        let is_replaceable = event.kind.is_replaceable() || event.kind.is_addressable();
        if is_replaceable && newer_is_here(&event, core, now)? {
            return Ok("duplicate: a newer version is already here".into());
        }
        self.is_closed |= is_replaceable || matches!(kind, kinds::DELETION | kinds::DELETE_EVENT);
        self.erase.extend(erase);
        let author = event.pubkey;
        self.take(StoredEvent {
            event,
            channel: channel.clone(),
        });
        if let (Some(id), Some(kind)) = (channel, reply_kind(answer)) {
            let reply = signed_reply(core, kind, &id, &author, now)?;
            self.take(StoredEvent {
                event: reply,
                channel: Some(id),
            });
        }
        Ok(String::new())
    }

    fn vanish(
        &mut self,
        vanish: Vanish,
        event: Event,
        core: &Core,
        now: u64,
    ) -> Result<String, Stop> {
        self.is_closed = true;
        let wrote_just_now = |event: &Arc<StoredEvent>| event.event.pubkey == vanish.person;
        if !self.events.iter().any(wrote_just_now)
            && !vanish::concerns_us(&vanish, &self.groups, core)?
        {
            return Ok(String::new());
        }
        let statements = vanish::statements(&vanish, &self.groups, &self.events, core)?;
        self.take(StoredEvent {
            event,
            channel: None,
        });
        for (kind, tags) in statements {
            let tags: Vec<Vec<&str>> = tags
                .iter()
                .map(|tag| tag.iter().map(String::as_str).collect())
                .collect();
            let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
            let event = sign(core, kind, now, &tags)?;
            let channel = channel_of(&event)?;
            self.take(StoredEvent { event, channel });
        }
        self.vanish.push(vanish);
        Ok(String::new())
    }

    fn take(&mut self, event: StoredEvent) {
        self.ids.insert(event.event.id);
        self.changes.extend(self.groups.apply(&event.event));
        self.has_permissions |= mail::is_permission(&event.event);
        let event = Arc::new(event);
        if !event.event.kind.is_ephemeral() {
            self.events.push(Arc::clone(&event));
        }
        self.live.push(event);
    }

    fn check_previous(&self, event: &Event, channel: &ChannelId, core: &Core) -> Result<(), Stop> {
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
                return Err(
                    "invalid: the message refers to one that this channel does not have"
                        .to_owned()
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// Whether this very event was deleted before: then it does not come back.
    fn check_deleted(
        &self,
        event: &Event,
        channel: Option<&ChannelId>,
        core: &Core,
    ) -> Result<(), Stop> {
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
            return Err("blocked: this was deleted".to_owned().into());
        }
        Ok(())
    }
}

fn reply_kind(answer: Answer) -> Option<u16> {
    match answer {
        Answer::None => None,
        Answer::Admit => Some(kinds::PUT_USER),
        Answer::Dismiss => Some(kinds::REMOVE_USER),
    }
}

/// What a deletion request of the author (NIP-09) erases. It then belongs to the channel of what it erases, so that
/// ids of a private channel do not get out with it.
fn own_targets(
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
            && !is_state(kind)
            && !mail::is_permission(&target.event)
    });
    for target in &targets {
        if channel.is_none() {
            channel.clone_from(&target.channel);
        } else if target.channel.is_some() && target.channel != *channel {
            return Err("invalid: delete messages of one channel at a time"
                .to_owned()
                .into());
        }
    }
    Ok(targets.iter().map(|target| target.event.id).collect())
}

/// What a moderator's deletion (NIP-29) erases: messages of that channel, and none that its state is made of.
fn channel_targets(
    event: &Event,
    channel: Option<&ChannelId>,
    core: &Core,
) -> Result<Vec<EventId>, Stop> {
    let mut targets = Vec::new();
    for id in tag_values(event, "e")
        .take(DELETIONS)
        .filter_map(|id| EventId::from_hex(id).ok())
    {
        let target = core.store.get(&id)?;
        targets.extend(
            target
                .filter(|target| {
                    target.channel.as_ref() == channel && !is_state(target.event.kind.as_u16())
                })
                .map(|target| target.event.id),
        );
    }
    Ok(targets)
}

/// What the channels are rebuilt from, and the requests that led to it, stay.
fn is_state(kind: u16) -> bool {
    kinds::is_moderation(kind) || kind == kinds::JOIN || kind == kinds::LEAVE
}

fn newer_is_here(event: &Event, core: &Core, now: u64) -> Result<bool, Stop> {
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

fn search(core: &Core, filter: &Filter) -> Result<Vec<Arc<StoredEvent>>, Stop> {
    let query = Query {
        filter,
        without: &[],
        after: None,
        limit: DELETIONS,
        bytes: usize::MAX,
        now: 0,
    };
    Ok(core.store.query(&query)?.events)
}

fn signed_reply(
    core: &Core,
    kind: u16,
    channel: &ChannelId,
    person: &PublicKey,
    now: u64,
) -> Result<Event, Stop> {
    sign(
        core,
        kind,
        now,
        &[&["h", channel.as_str()], &["p", &person.to_hex()]],
    )
}

/// An event of the space itself.
fn sign(core: &Core, kind: u16, now: u64, tags: &[&[&str]]) -> Result<Event, Stop> {
    let tags: Vec<Tag> = tags
        .iter()
        .filter_map(|tag| Tag::parse(tag.iter().copied()).ok())
        .collect();
    let unsigned = UnsignedEvent::new(
        core.keys.public_key(),
        Timestamp::from_secs(now),
        Kind::from_u16(kind),
        tags,
        "",
    );
    core.keys
        .sign_event(unsigned)
        .map_err(|error| Stop::Refused(format!("error: the space could not sign: {error}")))
}

/// The events that make the first channel of a new space.
pub fn first_channel(
    core: &Core,
    id: &ChannelId,
    name: &str,
) -> Result<Vec<Arc<StoredEvent>>, Refusal> {
    let now = core.now();
    let h: &[&str] = &["h", id.as_str()];
    let made = [
        sign(core, kinds::CREATE_GROUP, now, &[h]),
        sign(
            core,
            kinds::EDIT_METADATA,
            now,
            &[h, &["name", name], &["restricted"]],
        ),
    ];
    made.into_iter()
        .map(|event| match event {
            Ok(event) => Ok(Arc::new(StoredEvent {
                event,
                channel: Some(id.clone()),
            })),
            Err(Stop::Refused(reason)) => Err(reason),
            Err(Stop::Disk(error)) => Err(disk_trouble(&error)),
        })
        .collect()
}

/// Why an event does not go on.
enum Stop {
    Refused(Refusal),
    Disk(StoreError),
}

impl From<Refusal> for Stop {
    fn from(reason: Refusal) -> Self {
        Self::Refused(reason)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Disk(error)
    }
}
