//! A message that came by a webhook: signed by a key that the space makes for that webhook, so that programs show it as
//! somebody's of its own.

use std::time::Instant;

use nostr::key::{Keys, SecretKey};
use serde_json::{Value, json};

use super::effects::sign_as;
use super::{Batch, Pace, Stop};
use crate::core::Core;
use crate::groups::kinds;
use crate::groups::rules::{Refusal, restricted};
use crate::record::{ChannelId, StoredEvent};

/// A message on its way in.
#[derive(Debug)]
pub struct HookPost {
    /// The hash of the secret it came with.
    pub hash: Box<str>,
    /// The text.
    pub content: String,
    /// Under which name, where it is another than the webhook's.
    pub username: Option<String>,
}

/// Said when there is no such webhook any more. Nobody is told whether there ever was.
pub const UNKNOWN: &str = "restricted: there is no such webhook";

/// The key of a webhook. It follows from the space's own, so that it moves with the space and is stored nowhere.
fn keys(core: &Core, id: &str) -> Option<Keys> {
    let mut hasher = blake3::Hasher::new_derive_key("warren space webhook key v1");
    hasher.update(core.keys.secret_key().as_secret_bytes());
    hasher.update(id.as_bytes());
    let secret = SecretKey::from_slice(hasher.finalize().as_bytes()).ok()?;
    Some(Keys::new(secret))
}

/// The public half of a webhook's key, as people's programs name it.
pub fn public_key(core: &Core, id: &str) -> Option<String> {
    keys(core, id).map(|keys| keys.public_key().to_hex())
}

impl HookPost {
    /// Takes it in; gives the id of the message. Only the thread that writes calls this.
    pub fn run(self, batch: &mut Batch, core: &Core, pace: &mut Pace) -> Result<Value, Refusal> {
        self.write(batch, core, pace).map_err(Stop::reason)
    }

    fn write(self, batch: &mut Batch, core: &Core, pace: &mut Pace) -> Result<Value, Stop> {
        let community = batch.groups.community();
        let hook = community.webhooks.get(&self.hash).ok_or(UNKNOWN)?;
        let channel = batch.groups.get(&hook.channel).ok_or(UNKNOWN)?;
        let keys = keys(core, &hook.id).ok_or(UNKNOWN)?;
        if community.banned.contains_key(&keys.public_key()) {
            return Err(UNKNOWN.into());
        }
        // Whoever made it must not go on by it.
        if community.timed_out(&hook.by, core.now()).is_some() {
            return Err(restricted("who made this webhook may not write now").into());
        }
        let takes = |kinds: &Vec<u16>| kinds.contains(&kinds::MESSAGE);
        if !channel.metadata.supported_kinds.as_ref().is_none_or(takes) {
            return Err(restricted("this channel does not take messages").into());
        }
        if !pace.hooks.take(&keys.public_key(), Instant::now()) {
            return Err("rate-limited: too many messages by this webhook; wait a moment".into());
        }
        let texts = [Some(&self.content), self.username.as_ref()];
        for text in texts.into_iter().flatten() {
            let checked = community.filters.check_text(text);
            checked.map_err(|what| format!("blocked: {what}"))?;
        }
        if batch.full {
            return Err("restricted: the space is full".into());
        }
        let h = ["h", hook.channel.as_str()];
        let name = self.username.as_deref().map(|name| ["name", name]);
        let mut tags: Vec<&[&str]> = vec![&h];
        tags.extend(name.as_ref().map(|tag| tag.as_slice()));
        let event = sign_as(&keys, kinds::MESSAGE, core.now(), &tags, &self.content);
        let id = event.id;
        let channel = Some(hook.channel.clone());
        // The same text within the same second is the same message.
        if !batch.ids.contains(&id) && core.store.get(&id)?.is_none() {
            batch.take(StoredEvent { event, channel });
        }
        Ok(json!({ "id": id.to_hex() }))
    }
}

impl Batch {
    /// Says what a webhook is called, in the channel where its messages are.
    pub fn introduce_hook(
        &mut self,
        id: &str,
        name: &str,
        channel: &ChannelId,
        core: &Core,
    ) -> Result<String, Stop> {
        let keys = keys(core, id).ok_or("error: the space could not make a key; try again")?;
        let content = json!({ "name": name, "bot": true }).to_string();
        let tags: [&[&str]; 1] = [&["h", channel.as_str()]];
        let event = sign_as(&keys, kinds::PROFILE, core.now(), &tags, &content);
        self.is_closed = true; // a profile is replaced by the next one
        self.take(StoredEvent {
            event,
            channel: Some(channel.clone()),
        });
        Ok(keys.public_key().to_hex())
    }
}
