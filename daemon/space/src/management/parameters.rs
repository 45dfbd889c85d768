//! The parameters of a call, each read with a clear answer when it is not what it should be.

use nostr::event::EventId;
use nostr::key::PublicKey;
use serde_json::Value;

use super::Context;
use crate::access::Viewer;
use crate::groups::Channel;
use crate::groups::permissions::Permission;
use crate::groups::roles::Standing;
use crate::groups::rules::{Refusal, invalid, not_allowed, unknown_channel};
use crate::record::ChannelId;

impl Context<'_> {
    /// The parameter at a place; `Null` when it was left out.
    pub fn param(&self, n: usize) -> &Value {
        self.params.get(n).unwrap_or(&Value::Null)
    }

    /// A text, empty when it was left out.
    pub fn text(&self, n: usize, longest: usize) -> Result<&str, Refusal> {
        match self.param(n) {
            Value::Null => Ok(""),
            Value::String(text) if text.chars().count() <= longest => Ok(text),
            _ => Err(invalid(&format!(
                "parameter {} is a text of up to {longest} characters",
                n + 1
            ))),
        }
    }

    /// A reason, for the log.
    pub fn reason(&self, n: usize) -> Result<String, Refusal> {
        self.text(n, 500).map(str::to_owned)
    }

    /// A whole number, written as number or text.
    pub fn number(&self, n: usize) -> Result<Option<u64>, Refusal> {
        let wrong = || invalid(&format!("parameter {} is a whole number", n + 1));
        match self.param(n) {
            Value::Null => Ok(None),
            Value::String(text) => text.parse().map(Some).map_err(|_| wrong()),
            value => value.as_u64().map(Some).ok_or_else(wrong),
        }
    }

    /// A list of texts; `None` when it was left out.
    pub fn texts(&self, n: usize, most: usize) -> Result<Option<Vec<&str>>, Refusal> {
        match self.param(n) {
            Value::Null => Ok(None),
            value => texts(value, most).map(Some),
        }
    }

    /// A person.
    pub fn person(&self, n: usize) -> Result<PublicKey, Refusal> {
        let key = self
            .param(n)
            .as_str()
            .and_then(|key| PublicKey::from_hex(key).ok());
        key.ok_or_else(|| invalid("a person is named by 64 hexadecimal digits"))
    }

    /// An event.
    pub fn event_id(&self, n: usize) -> Result<EventId, Refusal> {
        let id = self
            .param(n)
            .as_str()
            .and_then(|id| EventId::from_hex(id).ok());
        id.ok_or_else(|| invalid("an event is named by 64 hexadecimal digits"))
    }

    /// A channel that the caller knows of, and where the caller stands in it.
    pub fn channel(&self, id: &str) -> Result<(ChannelId, &Channel, Standing), Refusal> {
        let id = ChannelId::parse(id).ok_or_else(unknown_channel)?;
        let groups = &self.batch.groups;
        let channel = groups.get(&id).ok_or_else(unknown_channel)?;
        let standing = groups.standing_in(&self.core.authority, channel, &self.by);
        if channel.is_private() && !standing.belongs {
            return Err(unknown_channel());
        }
        Ok((id, channel, standing))
    }

    /// The same, where the caller may do something.
    pub fn channel_where(
        &self,
        id: &str,
        needed: Permission,
    ) -> Result<(ChannelId, &Channel, Standing), Refusal> {
        let found = self.channel(id)?;
        if !found.2.permissions.has(needed) {
            return Err(not_allowed());
        }
        Ok(found)
    }

    /// The caller, as a reader.
    pub fn viewer(&self) -> Viewer {
        Viewer {
            people: vec![self.by],
            authority: self.core.authority,
            now: self.core.now(),
        }
    }

    /// Where somebody stands in the space; refused when that is at or above the caller.
    pub fn below(&self, person: &PublicKey) -> Result<Standing, Refusal> {
        let theirs = self.batch.groups.standing(&self.core.authority, person);
        if self.standing.is_above(theirs.order) {
            Ok(theirs)
        } else {
            Err(not_allowed())
        }
    }
}

/// A list of texts of up to 500 bytes.
pub fn texts(value: &Value, most: usize) -> Result<Vec<&str>, Refusal> {
    let wrong = || invalid(&format!("a list of up to {most} texts is expected"));
    let list = value
        .as_array()
        .filter(|list| list.len() <= most)
        .ok_or_else(wrong)?;
    list.iter()
        .map(|text| {
            text.as_str()
                .filter(|text| text.len() <= 500)
                .ok_or_else(wrong)
        })
        .collect()
}
