//! Moderation events of a channel (NIP-29, 9000 to 9010).

use super::roles::{change, give};
use super::{Ask, Refusal, invalid, not_allowed, restricted, unknown_channel};
use crate::groups::channel::{TEXTS, pins};
use crate::groups::permissions::Permission;
use crate::groups::roles::{MEMBER_ORDER, Roles, Standing};
use crate::groups::{Channel, Metadata, kinds, people};
use crate::names;
use crate::record::{ChannelId, tag_values};

/// Length of an invitation's code, in bytes.
pub const CODE_BYTES: std::ops::RangeInclusive<usize> = 8..=128;
/// Invitations of a space.
pub const INVITES: usize = 1000;
/// Most uses of an invitation.
pub const USES: u32 = 1_000_000;
/// Pins of a channel, and bytes of one.
const PINS: usize = 50;
const PIN_BYTES: usize = 400;
/// Characters of the id of a channel that is hidden from the beginning.
const HIDDEN_ID: usize = 16;
/// Channels that stand under each other.
const DEPTH: usize = 8;

/// A 9007.
pub fn create(ask: &Ask<'_>, id: &ChannelId) -> Result<(), Refusal> {
    let standing = ask.standing();
    // A space without an owner belongs to its members.
    let may_create = standing.permissions.has(Permission::ManageChannels)
        || (ask.authority.owner.is_none() && standing.belongs);
    if !may_create {
        return Err(restricted("you may not create channels in this space"));
    }
    if ask.groups.len() >= ask.limits.channels {
        return Err(restricted("this space has as many channels as it may have"));
    }
    if !names::is_readable(id.as_str()) {
        return Err(invalid("a channel's id has characters that cannot be seen"));
    }
    if ask.groups.get(id).is_some() || ask.groups.community().gone.contains(id) {
        // The same for channels that are hidden and for those that were deleted: it does not tell that one is there.
        return Err("duplicate: take another id for this channel".into());
    }
    if Metadata::from_event(ask.event).hidden && !is_hard_to_guess(id.as_str()) {
        return Err(invalid(
            "others would find out by its id that a hidden channel is there: take 16 random letters and digits or more",
        ));
    }
    check_metadata(ask, id, None)
}

/// Whether nobody comes upon an id by trying words.
fn is_hard_to_guess(id: &str) -> bool {
    let different: std::collections::HashSet<char> = id.chars().collect();
    id.chars().count() >= HIDDEN_ID && different.len() >= HIDDEN_ID / 2
}

/// All the others.
pub fn check(
    ask: &Ask<'_>,
    kind: u16,
    id: &ChannelId,
    channel: &Channel,
    standing: &Standing,
) -> Result<(), Refusal> {
    let needed = match kind {
        kinds::PUT_USER if !standing.permissions.has(Permission::Invite) => Permission::ManageRoles,
        kinds::PUT_USER | kinds::CREATE_INVITE => Permission::Invite,
        kinds::REMOVE_USER => Permission::Kick,
        kinds::EDIT_METADATA | kinds::DELETE_GROUP => Permission::ManageChannels,
        kinds::DELETE_EVENT => Permission::DeleteMessages,
        kinds::PIN_LIST => Permission::Pin,
        _ => return Err(invalid("this space does not know this moderation action")),
    };
    // Moderators are those who belong here, and those whose role in the space counts here.
    let is_stranger = !standing.belongs && standing.order >= MEMBER_ORDER;
    if is_stranger || !standing.permissions.has(needed) {
        return Err(not_allowed());
    }
    match kind {
        kinds::PUT_USER => put_user(ask, channel, standing),
        kinds::REMOVE_USER => remove_user(ask, channel, standing),
        kinds::EDIT_METADATA => check_metadata(ask, id, Some(channel)),
        kinds::CREATE_INVITE => create_invite(ask, standing),
        kinds::PIN_LIST => check_pins(ask),
        kinds::DELETE_EVENT if tag_values(ask.event, "e").next().is_none() => {
            Err(invalid("an e tag must say which message"))
        }
        _ => Ok(()),
    }
}

fn put_user(ask: &Ask<'_>, channel: &Channel, standing: &Standing) -> Result<(), Refusal> {
    let named: Vec<_> = people(ask.event).collect();
    if named.is_empty() {
        return Err(invalid("a p tag must say who"));
    }
    let community = ask.groups.community();
    let (mut new, mut strangers) = (0, 0);
    for (person, roles) in &named {
        if community.banned.contains_key(person) {
            return Err("blocked: this person is banned from this space".into());
        }
        let none = Roles::default();
        let old = channel.members.get(person);
        let place = ask.groups.standing_in(ask.authority, channel, person).order;
        change(ask.groups, standing, place, old.unwrap_or(&none), roles)?;
        if old.is_none() {
            new += 1;
            if !standing.permissions.has(Permission::Invite) {
                return Err(not_allowed());
            }
        }
        if !ask.groups.standing(ask.authority, person).belongs {
            strangers += 1;
        }
    }
    if strangers > 0 && community.closed && !ask.standing().permissions.has(Permission::Invite) {
        return Err(not_allowed());
    }
    if channel.members.len() + new > ask.limits.members {
        return Err(restricted("this channel is full"));
    }
    if community.members.len() + strangers > ask.limits.space_members {
        return Err(restricted("this space has as many members as it may have"));
    }
    Ok(())
}

fn remove_user(ask: &Ask<'_>, channel: &Channel, standing: &Standing) -> Result<(), Refusal> {
    let mut named = people(ask.event).peekable();
    if named.peek().is_none() {
        return Err(invalid("a p tag must say who"));
    }
    for (person, _) in named {
        let place = ask
            .groups
            .standing_in(ask.authority, channel, &person)
            .order;
        if !standing.is_above(place) {
            return Err(restricted("your role does not allow to remove this person"));
        }
    }
    Ok(())
}

fn create_invite(ask: &Ask<'_>, standing: &Standing) -> Result<(), Refusal> {
    let event = ask.event;
    let codes: Vec<&str> = tag_values(event, "code").collect();
    if codes.is_empty() || codes.iter().any(|code| !CODE_BYTES.contains(&code.len())) {
        return Err(invalid(
            "a code tag of 8 to 128 bytes must say by which words people come in",
        ));
    }
    let uses = tag_values(event, "uses").next();
    if uses.is_some_and(|uses| !uses.parse().is_ok_and(|uses| (1..=USES).contains(&uses))) {
        return Err(invalid(
            "an invitation is for 1 to 1000000 people (uses tag)",
        ));
    }
    give(ask.groups, standing, tag_values(event, "role"))?;
    if tag_values(event, "role").nth(1).is_some() {
        return Err(invalid("an invitation gives one role"));
    }
    if ask.groups.community().invites.len() + codes.len() > INVITES {
        return Err(restricted("this space has too many invitations"));
    }
    Ok(())
}

fn check_pins(ask: &Ask<'_>) -> Result<(), Refusal> {
    let pins: Vec<_> = pins(ask.event).collect();
    if pins.len() > PINS || pins.iter().any(|(_, value)| value.len() > PIN_BYTES) {
        return Err(invalid("a channel has up to 50 pins of 400 bytes"));
    }
    Ok(())
}

/// What a channel is to be called, and where it is to stand. `old` is the channel as it is.
fn check_metadata(ask: &Ask<'_>, id: &ChannelId, old: Option<&Channel>) -> Result<(), Refusal> {
    let metadata = Metadata::from_event(ask.event);
    for (name, longest) in TEXTS {
        let text = metadata.texts.get(name);
        if text.is_some_and(|text| text.chars().count() > longest) {
            return Err(invalid(&format!("{name} may be {longest} characters long")));
        }
    }
    if metadata
        .texts
        .get("name")
        .is_some_and(|name| !names::is_readable(name))
    {
        return Err(invalid(
            "a channel's name has characters that cannot be seen, or spaces around it",
        ));
    }
    if metadata
        .supported_kinds
        .is_some_and(|kinds| kinds.len() > 100)
    {
        return Err(invalid("a channel may list 100 kinds"));
    }
    check_parent(ask, id)?;
    let named: Vec<&str> = tag_values(ask.event, "child").collect();
    let children = old.map_or(&[][..], |channel| &channel.children);
    let must_name = |child: &&ChannelId| {
        let hidden = |channel: &Channel| channel.metadata.hidden;
        !ask.groups.get(child).is_some_and(hidden)
    };
    if children
        .iter()
        .filter(must_name)
        .any(|child| !named.contains(&child.as_str()))
    {
        return Err(invalid(
            "name all channels that stand under this one (child tags), in their order",
        ));
    }
    Ok(())
}

fn check_parent(ask: &Ask<'_>, id: &ChannelId) -> Result<(), Refusal> {
    let mut parents = tag_values(ask.event, "parent");
    let Some(named) = parents.next() else {
        return Ok(());
    };
    if parents.next().is_some() {
        return Err(invalid("a channel stands under one other at most"));
    }
    let parent = ChannelId::parse(named).ok_or_else(unknown_channel)?;
    let channel = ask.groups.get(&parent).ok_or_else(unknown_channel)?;
    let standing = ask
        .groups
        .standing_in(ask.authority, channel, &ask.event.pubkey);
    if !standing.belongs && channel.metadata.hidden {
        return Err(unknown_channel());
    }
    if !standing.permissions.has(Permission::ManageChannels) {
        return Err(not_allowed());
    }
    let mut above = Some(&parent);
    for _ in 0..DEPTH {
        let Some(next) = above else { return Ok(()) };
        if next == id {
            return Err(invalid("a channel cannot stand under itself"));
        }
        above = ask
            .groups
            .get(next)
            .and_then(|channel| channel.metadata.parent.as_ref());
    }
    Err(invalid("channels stand at most eight under each other"))
}
