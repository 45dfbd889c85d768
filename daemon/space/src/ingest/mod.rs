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
//! | 9 | role and channel policy, deletions, requests to vanish, `previous`, what it refers to, slow mode | [`Batch::admit`], on the writing thread |
//! | 10 | rate of the person | [`Batch::admit`] |
//! | 11 | replaceable events: a newer one stays | [`Batch::admit`] |
//! | 12 | store, a batch at a time | `pipeline`, on the writing thread |
//! | 13 | OK, once the batch is safe | `pipeline` |
//! | 14 | live fan-out | `pipeline` |
//! | 15 | side effects: new descriptions of channels, members and roles | `pipeline` |
//!
//! Cheap checks come before dear ones, and nothing is said about an event to who may not see it.

mod checks;
mod deletion;
mod effects;
mod hook;
mod links;
mod pace;
mod stop;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use nostr::event::{Event, EventId};
use nostr::filter::Filter;

use crate::access::Viewer;
use crate::core::Core;
use crate::groups::rules::{self, Answer, Ask, Refusal, restricted};
use crate::groups::{Groups, Subject, kinds, people};
use crate::mail;
use crate::protected;
use crate::read_state;
use crate::record::{ChannelId, StoredEvent};
use crate::store::{Query, StoreError};
use crate::vanish::{self, Vanish};

pub use deletion::is_state;
pub use effects::{Act, description, first_channel};
pub use hook::{HookPost, UNKNOWN as UNKNOWN_HOOK, public_key as hook_key};
pub use pace::Pace;
pub use stop::{Stop, disk_trouble};

/// What is said to the author.
pub type Verdict = Result<String, Refusal>;

/// Whether an event must meet everything before it on the disk, because it takes some of that away.
pub fn takes_away(event: &Event) -> bool {
    [kinds::DELETION, kinds::DELETE_EVENT, kinds::DELETE_GROUP].contains(&event.kind.as_u16())
        || links::takes_a_place(event)
}

/// Whether an event may be taken, and what follows from it.
fn check(
    event: &Event,
    groups: &Groups,
    channel: Option<&ChannelId>,
    core: &Core,
) -> Result<Answer, Refusal> {
    if let Some(personal) = &core.personal {
        return personal.check(event, channel).map(|()| Answer::None);
    }
    let ask = Ask {
        event,
        groups,
        authority: &core.authority,
        claims: &core.claims,
        limits: &core.config.limits,
        now: core.now(),
    };
    rules::check(&ask, channel)
}

/// Whether a home hands in what its people signed.
fn is_handed_in(viewer: &Viewer, core: &Core) -> bool {
    let personal = core.personal.as_ref();
    personal.is_some_and(|personal| personal.is_home(viewer))
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
        core.mail.check(event, viewer, &groups, core)?;
    } else if !viewer.people.contains(&event.pubkey) && !is_handed_in(viewer, core) {
        return Err("auth-required: prove that you are the author".into());
    }
    // 7: membership.
    let kind = event.kind.as_u16();
    if kind == vanish::KIND {
        vanish::check(event, &core.config.service)?;
    } else if mail::is_own(event) {
        mail::check_own(event, &groups, core)?;
    } else if !is_wrap {
        check(event, &groups, channel.as_ref(), core)?;
    }
    // 8: signature.
    if !core.signers.signed(event) {
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
        kinds::DELETION => deletion::own_targets(&deletion.event, &mut channel, core),
        _ => deletion::named_in(&deletion.event, channel.as_ref(), core),
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
    if kinds::is_of_space(kind) {
        return Err(restricted(
            "only the space itself describes itself and its channels",
        ));
    }
    if kind == kinds::HTTP_AUTH {
        return Err("invalid: a proof of identity for HTTP is sent with its request".into());
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
    /// Whose words are erased once this is stored.
    pub vanish: Vec<Vanish>,
    /// Whether the state is another now.
    pub is_changed: bool,
    /// The descriptions that changed.
    pub subjects: Vec<Subject>,
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
            vanish: Vec::new(),
            is_changed: false,
            subjects: Vec::new(),
            is_closed: false,
            ids: HashSet::new(),
            full: core.store.bytes() >= core.config.limits.journal_bytes,
        }
    }

    /// Whether nothing came in yet.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.erase.is_empty() && self.live.is_empty()
    }

    /// Steps 9 to 11. The answer counts once the batch is stored.
    pub fn admit(
        &mut self,
        event: Event,
        viewer: &Viewer,
        core: &Core,
        pace: &mut Pace,
    ) -> Verdict {
        if self.ids.contains(&event.id) {
            return Ok(known(&event));
        }
        self.admit_new(event, viewer, core, pace)
            .map_err(Stop::reason)
    }

    fn admit_new(
        &mut self,
        event: Event,
        viewer: &Viewer,
        core: &Core,
        pace: &mut Pace,
    ) -> Result<String, Stop> {
        let now = core.now();
        let kind = event.kind.as_u16();
        let vanish = Vanish::of(&event);
        if core.store.get(&event.id)?.is_some() {
            self.is_closed |= vanish.is_some();
            self.vanish.extend(vanish);
            return Ok(known(&event)); // came in twice at the same moment
        }
        // 9: role and channel policy.
        let mut channel = channel_of(&event)?;
        let is_wrap = mail::is_wrap(kind);
        let answer = if is_wrap || vanish.is_some() {
            Answer::None
        } else if mail::is_own(&event) {
            mail::check_own(&event, &self.groups, core)?;
            Answer::None
        } else {
            check(&event, &self.groups, channel.as_ref(), core)?
        };
        if let Some(id) = channel.as_ref().filter(|id| !id.is_mail()) {
            self.check_previous(&event, id, core)?;
        }
        match self.check_deleted(&event, channel.as_ref(), core) {
            // What a recipient deleted does not come back, and who sent it is not told.
            Err(Stop::Refused(_)) if is_wrap => return Ok(String::new()),
            checked => checked?,
        }
        if let Some(refusal) = vanish::check_gone(&event, core)? {
            return Err(refusal.into());
        }
        let replaced = self.check_links(&event, channel.as_ref(), viewer, core)?;
        let erase = match kind {
            kinds::DELETION => deletion::own_targets(&event, &mut channel, core)?,
            kinds::DELETE_EVENT => self.channel_targets(&event, channel.as_ref(), core)?,
            kinds::DELETE_GROUP => deletion::everything_in(channel.as_ref(), core)?,
            _ => replaced,
        };
        if kind == kinds::DELETION {
            self.check_votes_stay(&erase, core)?;
        }
        if kind == kinds::REPORT {
            channel = self.reported_channel(&event, channel, viewer, core)?;
        }
        if kind == kinds::PIN_LIST {
            self.check_pins(&event, channel.as_ref(), core)?;
        }
        self.check_slow_mode(&event, channel.as_ref(), core, pace)?;
        // 10: rate of the person.
        if !is_wrap && !pace.take(&event, Instant::now()) {
            return Err(Stop::from(
                "rate-limited: you write very fast; wait a moment",
            ));
        }
        if let Some(vanish) = vanish {
            return self.vanish(vanish, event, core, now);
        }
        if self.full && erase.is_empty() && !event.kind.is_ephemeral() {
            return Err(Stop::from("restricted: the space is full"));
        }
        if kind == kinds::GIFT_WRAP && !core.mail.take_room(&event, viewer, core)? {
            let reason = "restricted: too many messages wait for this person";
            return Err(reason.to_owned().into());
        }
        read_state::check_room(&event, core)?;
        if let Some(personal) = &core.personal
            && !is_wrap
            && erase.is_empty()
            && !event.kind.is_ephemeral()
            && !personal.take_room(&event, core)?
        {
            return Err(Stop::from("restricted: you keep as much here as you may"));
        }
        // 11: replaceable events.
        let is_replaceable = event.kind.is_replaceable() || event.kind.is_addressable();
        if is_replaceable && checks::newer_is_here(&event, core, now)? {
            return Ok("duplicate: a newer version is already here".into());
        }
        self.is_closed |= is_replaceable || takes_away(&event);
        let (id, gone) = (event.id, erase.clone());
        let is_edit = links::is_edit(&event) && !gone.is_empty();
        self.erase.extend(erase);
        self.wrote(&event, channel.as_ref(), now, pace);
        let author = event.pubkey;
        self.welcome_named(&event, kind, core)?;
        match kind {
            // They hold codes, and say nothing that the space's own answer does not.
            kinds::SPACE_JOIN | kinds::SPACE_LEAVE => {}
            _ => self.log(&event, channel.as_ref(), core)?,
        }
        match gone.first() {
            Some(old) if is_edit => self.edited(*old, id, channel.as_ref(), core)?,
            Some(_) if kind == kinds::DELETION => {
                self.repin(channel.as_ref(), &gone, None, core)?
            }
            _ => {}
        }
        match answer {
            Answer::None => Ok(String::new()),
            Answer::Admit {
                channel,
                role,
                invite,
            } => {
                if let Some(invite) = &invite {
                    self.note_invite(invite, &author, core)?;
                }
                self.admit_person(&author, channel.as_ref(), role, core)?;
                Ok(match kind {
                    kinds::SPACE_JOIN => format!("info: welcome to {}", core.text("name")),
                    _ => String::new(),
                })
            }
            Answer::Dismiss => {
                let h = channel.as_ref();
                self.space_event(kinds::REMOVE_USER, &[&["p", &author.to_hex()]], "", h, core)?;
                Ok(String::new())
            }
            Answer::Farewell => {
                self.remove_person(&author, core)?;
                Ok(String::new())
            }
        }
    }

    /// Takes in the event, and for moderation the space's own line in the log.
    fn log(&mut self, event: &Event, channel: Option<&ChannelId>, core: &Core) -> Result<(), Stop> {
        self.take(StoredEvent {
            event: event.clone(),
            channel: channel.cloned(),
        });
        let act = effects::act_of(event.kind.as_u16());
        if let Some(act) = act {
            self.act(Act::of_event(act, event), channel, core)?;
        }
        Ok(())
    }

    /// Who is put into a channel belongs to the space first.
    fn welcome_named(&mut self, event: &Event, kind: u16, core: &Core) -> Result<(), Stop> {
        let named: Vec<_> = match kind {
            kinds::PUT_USER => people(event).map(|(person, _)| person).collect(),
            kinds::CREATE_GROUP => vec![event.pubkey],
            _ => Vec::new(),
        };
        for person in named {
            if !self.groups.is_member(&person) && person != core.authority.relay {
                self.admit_person(&person, None, None, core)?;
            }
        }
        Ok(())
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
        self.unpin_all_of(&vanish.person, vanish.until, core)?;
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
            let event = effects::sign(core, kind, now, &tags, "");
            let channel = told_channel(&event);
            self.take(StoredEvent { event, channel });
        }
        self.groups.forget(&vanish.person, vanish.until);
        self.is_changed = true;
        self.vanish.push(vanish);
        Ok(String::new())
    }

    fn take(&mut self, event: StoredEvent) {
        self.ids.insert(event.event.id);
        if let Some(subjects) = self.groups.apply(&event.event, event.channel.as_ref()) {
            self.is_changed = true;
            for subject in subjects {
                if !self.subjects.contains(&subject) {
                    self.subjects.push(subject);
                }
            }
        }
        let event = Arc::new(event);
        if !event.event.kind.is_ephemeral() {
            self.events.push(Arc::clone(&event));
        }
        self.live.push(event);
    }
}

/// What is said of an event that is here already. Anybody may have got hold of somebody's private message, and is not told
/// that it is waiting here.
fn known(event: &Event) -> String {
    if mail::is_wrap(event.kind.as_u16()) {
        return String::new();
    }
    "duplicate: this is already here".into()
}

fn search(core: &Core, filter: &Filter) -> Result<Vec<Arc<StoredEvent>>, Stop> {
    let query = Query {
        filter,
        without: &[],
        after: None,
        limit: deletion::DELETIONS,
        bytes: usize::MAX,
        now: 0,
    };
    Ok(core.store.query(&query)?.events)
}
