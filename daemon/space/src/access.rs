//! Who may see what. Asked twice for every event: when a question is answered, and when a new event goes out to those
//! who listen. It never changes anything and never answers "there is something you may not see".

use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use crate::groups::rules::Authority;
use crate::groups::{Channel, Groups, Rank, Snapshot, kinds};
use crate::mail;
use crate::record::{ChannelId, StoredEvent};
use crate::vanish;

/// Somebody who reads: all the people one connection proved to be (NIP-42), and who has a say in this space.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The people.
    pub people: Vec<PublicKey>,
    /// Who stands above the channels.
    pub authority: Authority,
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
    /// The highest rank that any of the people has in a channel.
    pub fn rank(&self, channel: &Channel) -> Option<Rank> {
        self.people
            .iter()
            .filter_map(|person| self.authority.rank(channel, person))
            .max()
    }

    /// Whether the viewer may read what is written in a channel.
    pub fn may_read(&self, channel: &Channel) -> bool {
        !channel.is_private() || self.rank(channel).is_some()
    }

    /// Whether the viewer may see an event at all, whatever was asked.
    pub fn may_see(&self, event: &StoredEvent, groups: &Groups) -> bool {
        let Some(id) = &event.channel else {
            // That somebody asked to vanish is nobody else's business.
            return event.event.kind.as_u16() != vanish::KIND
                || self.people.contains(&event.event.pubkey);
        };
        if id.is_mail() {
            return mail::may_see(&event.event, self, groups);
        }
        let Some(channel) = groups.get(id) else {
            return false;
        };
        if !self.may_read(channel) {
            return false;
        }
        // Invitations and the codes people came in with are for those who could make one, and for their author.
        match event.event.kind.as_u16() {
            kinds::CREATE_INVITE | kinds::JOIN => {
                self.people.contains(&event.event.pubkey)
                    || self.rank(channel) >= Some(Rank::Moderator)
            }
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
            channel.is_private() && (!names(filter, id) || !self.may_read(channel))
        };
        groups
            .iter()
            .filter(left_out)
            .map(|(id, _)| id.clone())
            .chain(mail::leaves_out(filter, self, groups).then(ChannelId::mail))
            .collect()
    }

    /// Whether the viewer may see a description of a channel.
    pub fn may_see_snapshot(&self, channel: &Channel, snapshot: Snapshot) -> bool {
        let member = || self.rank(channel).is_some();
        match snapshot {
            _ if channel.metadata.hidden => member(),
            Snapshot::Members => !channel.is_private() || member(),
            _ => true,
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
                    .and_then(|id| groups.get(&id).map(|channel| self.may_read(channel)))
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

fn names(filter: &Filter, channel: &ChannelId) -> bool {
    filter
        .generic_tags
        .get(&SingleLetterTag::LOWERCASE_H)
        .is_some_and(|named| named.iter().any(|name| name == channel.as_str()))
}
