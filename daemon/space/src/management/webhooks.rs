//! Webhooks: made, listed and revoked. The secret is shown once, to who makes one.

use nostr::key::Keys;
use serde_json::{Value, json};

use super::Context;
use crate::groups::permissions::Permission;
use crate::groups::rules::{invalid, restricted};
use crate::groups::webhooks::{Webhook, hash};
use crate::ingest::{Stop, hook_key};
use crate::record::ChannelId;
use crate::webhooks::{PATH, is_name};

/// `createwebhook`: `[channel, name]`. The answer has the id, the secret, the path that programs post to and the key that
/// signs the messages.
pub fn create(context: &mut Context<'_>) -> Result<Value, Stop> {
    let channel = context.text(0, 64)?.to_owned();
    let (channel, ..) = context.channel_where(&channel, Permission::ManageWebhooks)?;
    let name = context.text(1, 80)?.to_owned();
    if !is_name(&name) {
        return Err(invalid("a webhook's name has 1 to 80 characters that can be seen").into());
    }
    let known = &context.batch.groups.community().webhooks;
    if known.len() >= context.core.config.limits.webhooks {
        return Err(restricted("this space has too many webhooks").into());
    }
    let (id, secret) = (random(8), random(32));
    let act = context
        .act("create-webhook")
        .with("webhook", &id)
        .with("hash", &hash(&secret))
        .with("name", &name);
    context.write(act, Some(&channel))?;
    let key = context
        .batch
        .introduce_hook(&id, &name, &channel, context.core)?;
    Ok(json!({
        "id": id,
        "secret": secret,
        "path": format!("{PATH}{secret}"),
        "pubkey": key,
    }))
}

/// `listwebhooks`: those of the channels where the caller manages them.
pub fn list(context: &mut Context<'_>) -> Result<Value, Stop> {
    let mut hooks: Vec<&Webhook> = context
        .batch
        .groups
        .community()
        .webhooks
        .iter()
        .filter(|hook| may_manage(context, hook))
        .collect();
    hooks.sort_by(|a, b| (&a.channel, &a.name, &a.id).cmp(&(&b.channel, &b.name, &b.id)));
    Ok(hooks
        .into_iter()
        .map(|hook| {
            json!({
                "id": hook.id,
                "channel": hook.channel.as_str(),
                "name": hook.name,
                "by": hook.by.to_hex(),
                "pubkey": hook_key(context.core, &hook.id),
            })
        })
        .collect())
}

/// `revokewebhook`: by id.
pub fn revoke(context: &mut Context<'_>) -> Result<Value, Stop> {
    let id = context.text(0, 64)?.to_owned();
    let Some(channel) = find(context, &id) else {
        return Err(invalid("there is no such webhook").into());
    };
    let act = context.act("revoke-webhook").with("webhook", &id);
    context.write(act, Some(&channel))
}

fn find(context: &Context<'_>, id: &str) -> Option<ChannelId> {
    let mut hooks = context.batch.groups.community().webhooks.iter();
    let found = hooks.find(|hook| *hook.id == *id && may_manage(context, hook))?;
    Some(found.channel.clone())
}

fn may_manage(context: &Context<'_>, hook: &Webhook) -> bool {
    context
        .channel_where(hook.channel.as_str(), Permission::ManageWebhooks)
        .is_ok()
}

/// Random bytes (up to 32) in hexadecimal: of a key made for nothing else.
fn random(bytes: usize) -> String {
    Keys::generate().secret_key().to_secret_hex()[..bytes * 2].to_owned()
}
