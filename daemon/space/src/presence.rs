//! Who is there now (24240, our own). A person's program says so on its connection; the space forgets it with the
//! connection, and keeps nothing. Who asks for the kind hears first, from the space, who is there, and then what people
//! say. Members only, on both sides.
//!
//! | event | by | tags |
//! |---|---|---|
//! | said | the person | `["status", "online"]`, or `away`, `busy`, `offline` |
//! | answer | the space | `["p", person, status]` for everybody who is there |
//! | news | the space | `["p", person, "offline"]`: the last connection on which somebody said so has ended |

use std::collections::BTreeMap;
use std::sync::Arc;

use nostr::event::{Event, Kind, Tag, UnsignedEvent};
use nostr::filter::Filter;
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use crate::access::Viewer;
use crate::core::Core;
use crate::fanout::{Listener, Status};
use crate::groups::rules::STATUSES;
use crate::groups::{Groups, kinds};
use crate::matching::matches;
use crate::record::{StoredEvent, tag_values};
use crate::signature;

/// The status that means that somebody is not there.
const OFFLINE: Status = STATUSES[3];

/// What an event says of its author; `None` when it is about something else. The status `None`: not there.
pub fn said(event: &Event) -> Option<(PublicKey, Option<Status>)> {
    if event.kind.as_u16() != kinds::PRESENCE {
        return None;
    }
    let said = tag_values(event, "status").next()?;
    let status = STATUSES.into_iter().find(|known| *known == said)?;
    Some((
        event.pubkey,
        Some(status).filter(|status| *status != OFFLINE),
    ))
}

fn rank(status: Status) -> usize {
    let place = STATUSES.iter().position(|known| *known == status);
    place.unwrap_or(STATUSES.len())
}

/// Everybody who is there. Who says different things on several connections is what is most present.
fn everybody(core: &Core, groups: &Groups) -> BTreeMap<PublicKey, Status> {
    let mut there: BTreeMap<PublicKey, Status> = BTreeMap::new();
    for (person, status) in core.fanout.presences() {
        if groups.is_member(&person) || core.authority.is_above(&person) {
            let known = there.entry(person).or_insert(status);
            if rank(status) < rank(known) {
                *known = status;
            }
        }
    }
    there
}

/// The answer to a question for who is there, if a filter asks for just that kind and the viewer is a member.
pub fn answer(
    core: &Core,
    filter: &Filter,
    viewer: &Viewer,
    groups: &Groups,
) -> Option<Arc<StoredEvent>> {
    let asked = filter.kinds.as_ref()?;
    if !asked.contains(&Kind::from_u16(kinds::PRESENCE))
        || filter.search.is_some()
        || !viewer.is_member(groups)
    {
        return None;
    }
    let event = signed(core, &everybody(core, groups));
    matches(filter, &event.event).then_some(event)
}

fn signed(core: &Core, people: &BTreeMap<PublicKey, Status>) -> Arc<StoredEvent> {
    let tags: Vec<Tag> = people
        .iter()
        .filter_map(|(person, status)| Tag::parse(["p", &person.to_hex(), status]).ok())
        .collect();
    let unsigned = UnsignedEvent::new(
        core.keys.public_key(),
        Timestamp::from_secs(core.now()),
        Kind::from_u16(kinds::PRESENCE),
        tags,
        "",
    );
    Arc::new(StoredEvent {
        event: signature::sign(&core.keys, unsigned),
        channel: None,
    })
}

/// A connection has ended: says so of everybody who was there on it and is there on no other one.
pub fn left(core: &Core, listener: &Listener) {
    let gone = listener.forget_presence();
    if gone.is_empty() || !core.fanout.anybody_wants(kinds::PRESENCE) {
        return;
    }
    let groups = core.groups();
    let there = everybody(core, &groups);
    let gone: BTreeMap<PublicKey, Status> = gone
        .into_iter()
        .filter(|person| !there.contains_key(person))
        .map(|person| (person, OFFLINE))
        .collect();
    if !gone.is_empty() {
        core.fanout
            .publish(&signed(core, &gone), &groups, core.now());
    }
}
