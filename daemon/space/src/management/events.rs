//! Reports, events that were taken away, and the log.

use nostr::event::Kind;
use nostr::filter::Filter;
use nostr::key::PublicKey;
use nostr::types::Timestamp;
use serde_json::{Value, json};

use super::Context;
use crate::groups::community::Report;
use crate::groups::kinds;
use crate::groups::permissions::Permission;
use crate::groups::rules::{invalid, not_allowed, restricted};
use crate::ingest::Stop;
use crate::record::ChannelId;
use crate::store::Query;

/// Events that can be banned at a time.
const BANNED: usize = 5000;
/// Lines of the log in one answer.
const LINES: usize = 500;

fn may_answer(context: &Context<'_>, report: &Report) -> bool {
    match &report.channel {
        Some(id) => context
            .channel_where(id.as_str(), Permission::Reports)
            .is_ok(),
        None => context.standing.permissions.has(Permission::Reports),
    }
}

/// Whether the caller may answer reports anywhere, so that an empty list is an answer.
fn may_answer_any(context: &Context<'_>) -> bool {
    let groups = &context.batch.groups;
    context.standing.permissions.has(Permission::Reports)
        || groups.iter().any(|(_, channel)| {
            groups
                .standing_in(&context.core.authority, channel, &context.by)
                .permissions
                .has(Permission::Reports)
        })
}

/// `listeventsneedingmoderation`: what was reported and not answered. A report of a person is named by its own id.
pub fn list_reported(context: &mut Context<'_>) -> Result<Value, Stop> {
    if !may_answer_any(context) {
        return Err(not_allowed().into());
    }
    let reports = context.batch.groups.community().reports.iter();
    Ok(reports
        .filter(|report| may_answer(context, report))
        .map(|report| {
            json!({
                "id": report.event.unwrap_or(report.id).to_hex(),
                "reason": report.reason,
                "report": report.id.to_hex(),
                "by": report.by.to_hex(),
                "pubkey": report.person.map(|person| person.to_hex()),
                "channel": report.channel.as_ref().map(ChannelId::as_str),
            })
        })
        .collect())
}

/// `allowevent`: what was reported stays; the reports are answered.
pub fn allow(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (id, reason) = (context.event_id(0)?, context.reason(1)?);
    let mut reports = context.batch.groups.community().reports.iter();
    let report = reports.find(|report| {
        (report.event == Some(id) || report.id == id) && may_answer(context, report)
    });
    let Some(report) = report else {
        return Err(invalid("there is no report of this").into());
    };
    let channel = report.channel.clone();
    let act = context
        .act("allow-event")
        .with("e", &id.to_hex())
        .reason(&reason);
    context.write(act, channel.as_ref())
}

/// `banevent`: taken away, and never back. An event that is not here, or not for the caller, is not taken in later.
pub fn ban(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (id, reason) = (context.event_id(0)?, context.reason(1)?);
    let (groups, authority) = (&context.batch.groups, &context.core.authority);
    if groups.community().banned_events.len() >= BANNED {
        return Err(restricted("too many events are banned").into());
    }
    let viewer = context.viewer();
    let event = context.core.store.get(&id)?;
    let event = event.filter(|event| viewer.may_see(event, groups));
    let channel = event.as_ref().and_then(|event| event.channel.clone());
    let known = channel.as_ref().and_then(|id| groups.get(id));
    let place = |person: &PublicKey| match known {
        Some(channel) => groups.standing_in(authority, channel, person),
        None => groups.standing(authority, person),
    };
    let standing = place(&context.by);
    if !standing.permissions.has(Permission::DeleteMessages) {
        return Err(not_allowed().into());
    }
    if let Some(event) = &event {
        let author = event.event.pubkey;
        if author != context.by && !standing.is_above(place(&author).order) {
            return Err(not_allowed().into());
        }
        if crate::ingest::is_state(event.event.kind.as_u16()) {
            return Err(invalid("what the space is made of stays").into());
        }
        context.batch.erase.push(id);
        context.batch.is_closed = true;
    }
    let act = context
        .act("ban-event")
        .with("e", &id.to_hex())
        .reason(&reason);
    context.write(act, channel.as_ref())
}

/// `unbanevent`: it may be published again.
pub fn unban(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (id, reason) = (context.event_id(0)?, context.reason(1)?);
    if !context
        .batch
        .groups
        .community()
        .banned_events
        .contains_key(&id)
    {
        return Err(invalid("this event is not banned").into());
    }
    let act = context
        .act("unban-event")
        .with("e", &id.to_hex())
        .reason(&reason);
    context.write(act, None)
}

/// `listbannedevents`
pub fn list_banned(context: &mut Context<'_>) -> Result<Value, Stop> {
    let banned = context.batch.groups.community().banned_events.iter();
    Ok(banned
        .map(|(id, reason)| json!({ "id": id.to_hex(), "reason": reason }))
        .collect())
}

/// `audit`: the log as signed events, newest first; `[until, limit]`.
pub fn audit(context: &mut Context<'_>) -> Result<Value, Stop> {
    let (until, limit) = (context.number(0)?, context.number(1)?);
    let limit = limit
        .map_or(LINES, |limit| usize::try_from(limit).unwrap_or(LINES))
        .min(LINES);
    let groups = &context.batch.groups;
    let viewer = context.viewer();
    let reads = |channel| viewer.may(Permission::Audit, channel, groups);
    if !reads(None) && !groups.iter().any(|(_, channel)| reads(Some(channel))) {
        return Err(not_allowed().into());
    }
    let mut filter = Filter::new().kind(Kind::from_u16(kinds::ACT));
    if let Some(until) = until {
        filter = filter.until(Timestamp::from_secs(until));
    }
    let mut lines = Vec::new();
    let mut after = None;
    loop {
        let page = context.core.store.query(&Query {
            filter: &filter,
            without: &[],
            after,
            limit: LINES,
            bytes: usize::MAX,
            now: 0,
        })?;
        let seen = page
            .events
            .iter()
            .filter(|event| viewer.may_see(event, groups));
        lines.extend(seen.map(|event| json!(event.event)));
        after = page.next;
        if after.is_none() || lines.len() >= limit {
            lines.truncate(limit);
            return Ok(Value::Array(lines));
        }
    }
}
