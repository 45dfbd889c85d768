//! Members, bans and time-outs.

use serde_json::{Value, json};

use super::Context;
use crate::groups::rules::{invalid, restricted};
use crate::ingest::Stop;

/// People that can be banned, or silenced, at a time.
const BANNED: usize = 5000;
/// Longest time-out, in seconds: a year.
const TIME_OUT: u64 = 366 * 24 * 3600;

/// `banpubkey`: out of the space and all channels, and not back.
pub fn ban(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (person, reason) = (context.person(0)?, context.reason(1)?);
    context.below(&person)?;
    if context.batch.groups.community().banned.len() >= BANNED {
        return Err(restricted("too many people are banned").into());
    }
    let act = context
        .act("ban")
        .with("p", &person.to_hex())
        .reason(&reason);
    context.write(act, None)?;
    context.batch.remove_person(&person, context.core)?;
    Ok(json!(true))
}

/// `unbanpubkey`
pub fn unban(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (person, reason) = (context.person(0)?, context.reason(1)?);
    if !context
        .batch
        .groups
        .community()
        .banned
        .contains_key(&person)
    {
        return Err(invalid("this person is not banned").into());
    }
    let act = context
        .act("unban")
        .with("p", &person.to_hex())
        .reason(&reason);
    context.write(act, None)
}

/// `listbannedpubkeys`
pub fn list_banned(context: &mut Context<'_>) -> Result<Value, Stop> {
    let banned = context.batch.groups.community().banned.iter();
    Ok(banned
        .map(|(person, reason)| json!({ "pubkey": person.to_hex(), "reason": reason }))
        .collect())
}

/// `allowpubkey`: a member from now on.
pub fn allow(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (person, reason) = (context.person(0)?, context.reason(1)?);
    let community = context.batch.groups.community();
    if community.banned.contains_key(&person) {
        return Err(Stop::from("blocked: this person is banned from this space"));
    }
    if community.members.contains_key(&person) {
        return Ok(json!(true));
    }
    if community.members.len() >= context.core.config.limits.space_members {
        return Err(restricted("this space has as many members as it may have").into());
    }
    let act = context
        .act("admit")
        .with("p", &person.to_hex())
        .reason(&reason);
    context.write(act, None)?;
    context
        .batch
        .admit_person(&person, None, None, context.core)?;
    Ok(json!(true))
}

/// `unallowpubkey`: out of the space and all channels.
pub fn unallow(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (person, reason) = (context.person(0)?, context.reason(1)?);
    context.below(&person)?;
    let act = context
        .act("remove")
        .with("p", &person.to_hex())
        .reason(&reason);
    context.write(act, None)?;
    context.batch.remove_person(&person, context.core)?;
    Ok(json!(true))
}

/// `listallowedpubkeys`
pub fn list_allowed(context: &mut Context<'_>) -> Result<Value, Stop> {
    let members = context.batch.groups.community().members.iter();
    Ok(members
        .map(|(person, roles)| {
            let roles: Vec<&str> = roles.0.iter().map(|role| &**role).collect();
            json!({ "pubkey": person.to_hex(), "reason": "", "roles": roles })
        })
        .collect())
}

/// `timeout`: silent until a second; one that has passed ends it.
pub fn time_out(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (person, until, reason) = (context.person(0)?, context.number(1)?, context.reason(2)?);
    context.below(&person)?;
    let until = until.unwrap_or(0);
    let now = context.core.now();
    if until > now.saturating_add(TIME_OUT) {
        return Err(invalid("a time-out lasts a year at most; ban instead").into());
    }
    if until > now && context.batch.groups.community().timeouts.len() >= BANNED {
        return Err(restricted("too many people are timed out").into());
    }
    let act = context
        .act("time-out")
        .with("p", &person.to_hex())
        .with("until", &until.to_string())
        .reason(&reason);
    context.write(act, None)
}

/// `listtimeouts`
pub fn list_timeouts(context: &mut Context<'_>) -> Result<Value, Stop> {
    let now = context.core.now();
    let timeouts = context.batch.groups.community().timeouts.iter();
    Ok(timeouts
        .filter(|(_, until)| **until > now)
        .map(|(person, until)| json!({ "pubkey": person.to_hex(), "until": until }))
        .collect())
}
