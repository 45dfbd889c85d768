//! Coming in and going: the space (NIP-43) and its channels (NIP-29).

use super::roles::give;
use super::{Answer, Ask, Refusal, UsedInvite, invalid, restricted};
use crate::groups::permissions::Permission;
use crate::groups::{Channel, invites, kinds};
use crate::record::{ChannelId, tag_values};

/// The invitation that a request to join carries, if it opens this channel now.
pub fn invite<'a>(ask: &Ask<'a>, id: &ChannelId) -> Option<&'a invites::Invite> {
    if ask.event.kind.as_u16() != kinds::JOIN {
        return None;
    }
    let known = &ask.groups.community().invites;
    tag_values(ask.event, "code")
        .filter_map(|code| known.for_channel(code, id, ask.now))
        .find(|invite| counts(ask, invite))
}

/// Whether an invitation still counts: as long as its maker may still make it. Into a closed space only those bring
/// newcomers who may invite to the space.
fn counts(ask: &Ask<'_>, invite: &invites::Invite) -> bool {
    let (groups, by) = (ask.groups, &invite.by);
    let of_space = groups.standing(ask.authority, by);
    let there = match &invite.channel {
        None => of_space,
        Some(id) => match groups.get(id) {
            Some(channel) => groups.standing_in(ask.authority, channel, by),
            None => return false,
        },
    };
    let may_come = !groups.community().closed
        || of_space.permissions.has(Permission::Invite)
        || ask.standing().belongs;
    may_come
        && there.permissions.has(Permission::Invite)
        && give(groups, &there, invite.role.as_deref().into_iter()).is_ok()
}

/// A 9021.
pub fn join(ask: &Ask<'_>, id: &ChannelId, channel: &Channel) -> Result<Answer, Refusal> {
    if channel.members.contains_key(&ask.event.pubkey) {
        return Err("duplicate: you already belong to this channel".into());
    }
    let invite = invite(ask, id);
    if channel.metadata.closed && invite.is_none() {
        return Err(restricted(
            "this channel is closed: ask a member for an invitation that is still valid",
        ));
    }
    if channel.members.len() >= ask.limits.members {
        return Err(restricted("this channel is full"));
    }
    let stranger = !ask.standing().belongs;
    if stranger && ask.groups.community().closed && invite.is_none() {
        return Err(not_valid());
    }
    room(ask, stranger)?;
    Ok(Answer::Admit {
        channel: Some(id.clone()),
        role: invite.and_then(|invite| invite.role.clone()),
        invite: invite.map(used),
    })
}

/// A 28934.
pub fn join_space(ask: &Ask<'_>) -> Result<Answer, Refusal> {
    recent(ask)?;
    let member = ask.groups.is_member(&ask.event.pubkey);
    let duplicate = || Err("duplicate: you already belong to this space".into());
    let claim = tag_values(ask.event, "claim").next().unwrap_or_default();
    if claim.is_empty() {
        return match member {
            true => duplicate(),
            false if ask.groups.community().closed => Err(not_valid()),
            false => admit(ask, None, None, None),
        };
    }
    let mut invites = ask.groups.community().invites.of_code(claim);
    if let Some(invite) = invites.find(|invite| invite.is_open(ask.now) && counts(ask, invite)) {
        let channel = invite.channel.as_ref();
        let has_news = channel.is_some_and(|id| {
            let channel = ask.groups.get(id);
            channel.is_some_and(|channel| !channel.members.contains_key(&ask.event.pubkey))
        });
        if member && !has_news {
            return duplicate();
        }
        if let Some(channel) = channel.and_then(|id| ask.groups.get(id))
            && channel.members.len() >= ask.limits.members
        {
            return Err(restricted("this channel is full"));
        }
        return admit(
            ask,
            channel.cloned(),
            invite.role.clone(),
            Some(used(invite)),
        );
    }
    if member {
        return duplicate();
    }
    let claim = ask.claims.read(claim).filter(|claim| {
        let by = ask.groups.standing(ask.authority, &claim.by);
        claim.expires > ask.now
            && by.permissions.has(Permission::Invite)
            && !ask.groups.community().invites.is_claim_used(&claim.id)
    });
    let Some(claim) = claim else {
        return Err(not_valid());
    };
    let invite = UsedInvite {
        id: claim.id,
        until: Some(claim.expires),
    };
    admit(ask, None, None, Some(invite))
}

/// A 28936.
pub fn leave_space(ask: &Ask<'_>) -> Result<Answer, Refusal> {
    recent(ask)?;
    if !ask.event.tags.iter().any(|tag| tag.kind() == "-") {
        return Err(invalid("a request to leave carries a `-` tag"));
    }
    if !ask.groups.is_member(&ask.event.pubkey) {
        return Err(restricted("you do not belong to this space"));
    }
    Ok(Answer::Farewell)
}

fn admit(
    ask: &Ask<'_>,
    channel: Option<ChannelId>,
    role: Option<Box<str>>,
    invite: Option<UsedInvite>,
) -> Result<Answer, Refusal> {
    room(ask, !ask.standing().belongs)?;
    Ok(Answer::Admit {
        channel,
        role,
        invite,
    })
}

fn used(invite: &invites::Invite) -> UsedInvite {
    UsedInvite {
        id: invite.id.clone(),
        until: None,
    }
}

/// The one answer for invitations that are used up, expired, revoked or were never made.
fn not_valid() -> Refusal {
    restricted(
        "this space takes new members by invitation: ask a member for one that is still valid",
    )
}

fn room(ask: &Ask<'_>, stranger: bool) -> Result<(), Refusal> {
    if stranger && ask.groups.community().members.len() >= ask.limits.space_members {
        return Err(restricted("this space has as many members as it may have"));
    }
    Ok(())
}

fn recent(ask: &Ask<'_>) -> Result<(), Refusal> {
    if ask.event.created_at.as_secs().abs_diff(ask.now) > ask.limits.auth_seconds {
        return Err(invalid(
            "the date is too far from the time here; set the clock of your device",
        ));
    }
    Ok(())
}
