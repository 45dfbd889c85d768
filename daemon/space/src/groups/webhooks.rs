//! Webhooks: ways by which programs that speak plain HTTP write into one channel. Of the secret in a webhook's address the
//! space keeps a hash only.

use std::collections::HashMap;

use nostr::event::Event;
use nostr::key::PublicKey;

use crate::record::{ChannelId, tag_values};

/// One webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Names it for people: 16 hexadecimal digits.
    pub id: Box<str>,
    /// Where its messages go.
    pub channel: ChannelId,
    /// Under which name.
    pub name: Box<str>,
    /// Who made it.
    pub by: PublicKey,
}

/// All webhooks of a space, by the hash of their secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhooks(HashMap<Box<str>, Webhook>);

/// The hash by which a secret is known: 64 hexadecimal digits.
pub fn hash(secret: &str) -> Box<str> {
    let mut hasher = blake3::Hasher::new_derive_key("warren space webhook secret v1");
    hasher.update(secret.as_bytes());
    hasher.finalize().to_hex().as_str().into()
}

impl Webhooks {
    /// Takes in a `create-webhook` act.
    pub fn add(&mut self, act: &Event) {
        let text = |name| tag_values(act, name).next();
        let channel = text("h").and_then(ChannelId::parse);
        let by = text("by").and_then(|key| PublicKey::from_hex(key).ok());
        if let (Some(id), Some(hash), Some(channel), Some(by)) =
            (text("webhook"), text("hash"), channel, by)
        {
            let webhook = Webhook {
                id: id.into(),
                channel,
                name: text("name").unwrap_or_default().into(),
                by,
            };
            self.0.insert(hash.into(), webhook);
        }
    }

    /// The webhook of a hash.
    pub fn get(&self, hash: &str) -> Option<&Webhook> {
        self.0.get(hash)
    }

    /// All, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Webhook> {
        self.0.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps those that `keep` says.
    pub fn retain(&mut self, keep: impl Fn(&Webhook) -> bool) {
        self.0.retain(|_, webhook| keep(webhook));
    }
}
