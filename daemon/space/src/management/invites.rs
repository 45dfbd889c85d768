//! Invitations that the space makes and keeps.

use nostr::key::Keys;
use serde_json::{Value, json};

use super::Context;
use crate::groups::invites::Invite;
use crate::groups::permissions::Permission;
use crate::groups::rules::moderation::{CODE_BYTES, INVITES, USES};
use crate::groups::rules::roles::give;
use crate::groups::rules::{Refusal, invalid, not_allowed, restricted};
use crate::ingest::Stop;
use crate::record::ChannelId;

/// `createinvite`: an object with `code`, `expiration`, `uses`, `role`, `channel`, all optional. The answer has the code
/// and the id.
pub fn create(context: &mut Context<'_>) -> Result<Value, Stop> {
    let options = context.param(0).clone();
    let text = |name: &str| match &options[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(invalid(&format!("{name} is a text"))),
    };
    let number = |name: &str| match &options[name] {
        Value::Null => Ok(None),
        value => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| invalid(&format!("{name} is a number"))),
    };
    if !options.is_object() && !options.is_null() {
        return Err(invalid("the parameter is an object").into());
    }
    let (channel, standing) = match text("channel")? {
        Some(id) => {
            let (id, _, standing) = context.channel(&id)?;
            (Some(id), standing)
        }
        None => (None, context.standing),
    };
    if !standing.permissions.has(Permission::Invite) {
        return Err(not_allowed().into());
    }
    let code = text("code")?.unwrap_or_else(random_code);
    if !CODE_BYTES.contains(&code.len()) || code.chars().any(char::is_control) {
        return Err(invalid("a code has 8 to 128 bytes").into());
    }
    let (expires, uses, role) = (number("expiration")?, number("uses")?, text("role")?);
    if expires.is_some_and(|time| time <= context.core.now()) {
        return Err(invalid("the expiration is a second in the future").into());
    }
    if uses.is_some_and(|uses| !(1..=u64::from(USES)).contains(&uses)) {
        return Err(invalid("an invitation is for 1 to 1000000 people").into());
    }
    give(
        &context.batch.groups,
        &standing,
        role.as_deref().into_iter(),
    )?;
    let known = &context.batch.groups.community().invites;
    if known.len() >= INVITES {
        return Err(restricted("this space has too many invitations").into());
    }
    let mut act = context.act("create-invite").with("code", &code);
    let tags = [
        ("until", expires.map(|time| time.to_string())),
        ("uses", uses.map(|uses| uses.to_string())),
        ("role", role),
    ];
    for (name, value) in tags {
        if let Some(value) = value {
            act = act.with(name, &value);
        }
    }
    context.write(act, channel.as_ref())?;
    let made = find(context, |known, invite| {
        known == code && invite.channel == channel
    });
    Ok(json!({ "code": code, "id": made }))
}

/// `listinvites`: those that are open, of the space and of the channels where the caller may invite. The code is told to
/// who made it, and to who could: it is worth the role it gives.
pub fn list(context: &mut Context<'_>) -> Result<Value, Stop> {
    let now = context.core.now();
    let invites = context.batch.groups.community().invites.iter();
    Ok(invites
        .filter(|(_, invite)| invite.is_open(now) && may_see(context, invite.channel.as_ref()))
        .map(|(code, invite)| {
            json!({
                "id": invite.id,
                "code": may_know(context, invite).then_some(code),
                "channel": invite.channel.as_ref().map(ChannelId::as_str),
                "expiration": invite.expires,
                "uses": invite.uses,
                "used": invite.used,
                "role": invite.role,
                "by": invite.by.to_hex(),
            })
        })
        .collect())
}

/// `revokeinvite`: by id or code.
pub fn revoke(context: &mut Context<'_>) -> Result<Value, Stop> {
    let named = context.text(0, 128)?.to_owned();
    let id = find(context, |code, invite| {
        (code == named || *invite.id == *named) && may_see(context, invite.channel.as_ref())
    });
    let id = id.ok_or_else(unknown)?;
    let channel = find_channel(context, &id);
    let act = context.act("revoke-invite").with("invite", &id);
    context.write(act, channel.as_ref())
}

fn unknown() -> Refusal {
    invalid("there is no such invitation")
}

fn find(context: &Context<'_>, is_it: impl Fn(&str, &Invite) -> bool) -> Option<String> {
    let mut invites = context.batch.groups.community().invites.iter();
    let found = invites.find(|(code, invite)| is_it(code, invite));
    found.map(|(_, invite)| invite.id.to_string())
}

fn find_channel(context: &Context<'_>, id: &str) -> Option<ChannelId> {
    let mut invites = context.batch.groups.community().invites.iter();
    invites
        .find(|(_, invite)| *invite.id == *id)?
        .1
        .channel
        .clone()
}

fn may_see(context: &Context<'_>, channel: Option<&ChannelId>) -> bool {
    match channel {
        Some(id) => context
            .channel_where(id.as_str(), Permission::Invite)
            .is_ok(),
        None => context.standing.permissions.has(Permission::Invite),
    }
}

fn may_know(context: &Context<'_>, invite: &Invite) -> bool {
    let standing = match &invite.channel {
        Some(id) => context
            .channel(id.as_str())
            .map(|(_, _, standing)| standing),
        None => Ok(context.standing),
    };
    let role = || invite.role.as_deref().into_iter();
    invite.by == context.by
        || standing.is_ok_and(|standing| give(&context.batch.groups, &standing, role()).is_ok())
}

/// 120 random bits as text.
fn random_code() -> String {
    let random = Keys::generate().public_key();
    data_encoding::BASE32_NOPAD
        .encode(&random.as_bytes()[..15])
        .to_lowercase()
}
