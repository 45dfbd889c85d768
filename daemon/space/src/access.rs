//! Who may see what. Asked twice for every event: when a question is answered, and when a new event goes out to those
//! who listen. It never changes anything and never answers "there is something you may not see".

use nostr::event::{Event, Tag};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use crate::groups::permissions::Permission;
use crate::groups::roles::Standing;
use crate::groups::rules::roles::give;
use crate::groups::{Authority, Channel, Groups, Snapshot, Subject, kinds};
use crate::mail;
use crate::record::{ChannelId, StoredEvent, tag_values};
use crate::vanish;

/// Somebody who reads: all the people one connection proved to be (NIP-42), and who has a say in this space.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The people.
    pub people: Vec<PublicKey>,
    /// Who stands above the channels.
    pub authority: Authority,
    /// Seconds since 1970.
    pub now: u64,
}

/// What is to be done with a subscription.
#[derive(Debug, PartialEq, Eq)]
pub enum Permit {
    /// It is served.
    Serve,
    /// It is closed, with this reason.
    Close(&'static str),
}

impl Viewer {
    /// Whether any of the people belongs to a channel.
    pub fn belongs(&self, channel: &Channel, groups: &Groups) -> bool {
        let belongs =
            |person: &PublicKey| groups.standing_in(&self.authority, channel, person).belongs;
        self.people.iter().any(belongs)
    }

    /// Whether any of the people is a member of the space, or stands above it.
    pub fn is_member(&self, groups: &Groups) -> bool {
        self.people
            .iter()
            .any(|person| groups.standing(&self.authority, person).belongs)
    }

    /// Whether any of the people may do something: in a channel, or in the space as a whole.
    pub fn may(&self, permission: Permission, channel: Option<&Channel>, groups: &Groups) -> bool {
        self.stands(channel, groups)
            .any(|standing| standing.permissions.has(permission))
    }

    /// Where the people stand: in a channel, or in the space as a whole.
    fn stands(&self, channel: Option<&Channel>, groups: &Groups) -> impl Iterator<Item = Standing> {
        self.people.iter().map(move |person| match channel {
            Some(channel) => groups.standing_in(&self.authority, channel, person),
            None => groups.standing(&self.authority, person),
        })
    }

    /// Whether any of the people may do something and could make the invitations that an event tells the codes of: a
    /// code is worth the role it gives.
    fn may_know_codes(
        &self,
        event: &Event,
        needed: Permission,
        channel: Option<&Channel>,
        groups: &Groups,
    ) -> bool {
        let known = &groups.community().invites;
        let is_coded = tag_values(event, "code").next().is_some();
        let roles = || {
            let given = tag_values(event, "code").flat_map(|code| known.of_code(code));
            let told = tag_values(event, "role").filter(|_| is_coded);
            told.chain(given.filter_map(|invite| invite.role.as_deref()))
        };
        let mut standings = self.stands(channel, groups);
        standings.any(|standing| {
            standing.permissions.has(needed) && give(groups, &standing, roles()).is_ok()
        })
    }

    /// Whether the viewer may read what is written in a channel.
    pub fn may_read(&self, channel: &Channel, groups: &Groups) -> bool {
        !channel.is_private() || self.belongs(channel, groups)
    }

    /// Whether the viewer may see an event at all, whatever was asked.
    pub fn may_see(&self, event: &StoredEvent, groups: &Groups) -> bool {
        let kind = event.event.kind.as_u16();
        let own = || self.people.contains(&event.event.pubkey);
        let channel = match &event.channel {
            None => None,
            Some(id) if id.is_mail() => return mail::may_see(&event.event, self, groups),
            // What was done in a channel that is gone is still in the log. Nobody knows any more who could read there.
            Some(id) if kind == kinds::ACT && groups.get(id).is_none() => {
                return self.may_know_codes(&event.event, Permission::ManageSpace, None, groups);
            }
            Some(id) => match groups.get(id) {
                Some(channel) if self.may_read(channel, groups) => Some(channel),
                _ => return false,
            },
        };
        match kind {
            // That somebody asked to vanish is nobody else's business. But what was written for everybody others keep, too:
            // they have to hear that it is gone.
            vanish::KIND => own() || self.authority.is_home,
            // Invitations and the codes people came in with are for those who could make such, and for their author.
            kinds::CREATE_INVITE | kinds::JOIN => {
                own() || self.may_know_codes(&event.event, Permission::Invite, channel, groups)
            }
            kinds::REPORT => self.may(Permission::Reports, channel, groups),
            // A code that the space wrote down opens doors: reading the log is not enough.
            kinds::ACT if tag_values(&event.event, "code").next().is_some() => {
                self.may(Permission::ManageSpace, None, groups)
                    && self.may_know_codes(&event.event, Permission::ManageSpace, channel, groups)
            }
            kinds::ACT => self.may(Permission::Audit, channel, groups),
            kinds::MEMBER_ADDED | kinds::MEMBER_REMOVED => self.is_member(groups),
            // Who is there and who is typing is the business of members, also where everybody may read.
            kinds::TYPING | kinds::PRESENCE => self.is_member(groups),
            _ => true,
        }
    }

    /// Whether an event may answer this filter. What is private goes only to who names its channel.
    pub fn may_receive(&self, event: &StoredEvent, filter: &Filter, groups: &Groups) -> bool {
        let named = || {
            event
                .channel
                .as_ref()
                .is_some_and(|channel| names(filter, channel))
        };
        let private = || {
            event
                .channel
                .as_ref()
                .and_then(|id| groups.get(id))
                .is_none_or(Channel::is_private)
        };
        let fits = match &event.channel {
            None => true,
            Some(id) if id.is_mail() => mail::asks_for(filter, event.event.kind.as_u16()),
            Some(_) => named() || !private(),
        };
        fits && self.may_see(event, groups)
    }

    /// Channels whose events cannot answer this filter: so that a question does not read them first.
    pub fn left_out(&self, filter: &Filter, groups: &Groups) -> Vec<ChannelId> {
        let left_out = |(id, channel): &(&ChannelId, &Channel)| {
            channel.is_private() && (!names(filter, id) || !self.may_read(channel, groups))
        };
        groups
            .iter()
            .filter(left_out)
            .map(|(id, _)| id.clone())
            .chain(mail::leaves_out(filter, self, groups).then(ChannelId::mail))
            .collect()
    }

    /// Whether the viewer may see a description.
    pub fn may_see_subject(&self, subject: &Subject, groups: &Groups) -> bool {
        match subject {
            Subject::Channel(id, snapshot) => groups.get(id).is_some_and(|channel| {
                let is_shown = match snapshot {
                    Snapshot::Metadata | Snapshot::Roles => !channel.metadata.hidden,
                    Snapshot::Admins | Snapshot::Members | Snapshot::Pins => !channel.is_private(),
                };
                is_shown || self.belongs(channel, groups)
            }),
            Subject::Members | Subject::Role(_) | Subject::Emoji => self.is_member(groups),
        }
    }

    /// Whether a subscription can be served. Channels that are private, hidden or not there get the same answer.
    pub fn permit(&self, filters: &[Filter], groups: &Groups) -> Permit {
        for filter in filters {
            if let Some(reason) = mail::refusal(filter, self, groups) {
                return Permit::Close(reason);
            }
            let Some(named) = filter.generic_tags.get(&SingleLetterTag::LOWERCASE_H) else {
                continue;
            };
            let readable = |id: &String| {
                ChannelId::parse(id)
                    .and_then(|id| {
                        groups
                            .get(&id)
                            .map(|channel| self.may_read(channel, groups))
                    })
                    .unwrap_or(false)
            };
            if !named.is_empty() && !named.iter().any(readable) {
                return Permit::Close(if self.people.is_empty() {
                    "auth-required: say who you are to read in this channel"
                } else {
                    "restricted: there is no such channel, or you do not belong to it"
                });
            }
        }
        Permit::Serve
    }
}

/// The tags that [`Viewer::may_see`] looks at. Who may see an event may see all others of its channel, kind and author
/// that have the same of these.
pub fn judged_by(event: &Event) -> Vec<Tag> {
    let names: &[&str] = match event.kind.as_u16() {
        kind if mail::is_wrap(kind) => &["p"],
        kinds::APP_DATA => &["d", "p"],
        kinds::CREATE_INVITE | kinds::JOIN | kinds::ACT => &["code", "role"],
        _ => &[],
    };
    let tags = event.tags.iter();
    tags.filter(|tag| names.contains(&tag.kind()))
        .cloned()
        .collect()
}

fn names(filter: &Filter, channel: &ChannelId) -> bool {
    filter
        .generic_tags
        .get(&SingleLetterTag::LOWERCASE_H)
        .is_some_and(|named| named.iter().any(|name| name == channel.as_str()))
}
