//! What people are shown: posts with who wrote them and what others did with them, as JSON. All text in it is foreign.

use std::collections::HashMap;

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use serde_json::{Map, Value, json};

use super::cache::Cache;
use super::questions::Place;
use super::references::{self, OTHER_REPOST, POST, REACTION, REPOST};

/// Characters of a name and of longer fields of a profile that are shown.
const NAME_CHARS: usize = 100;
const FIELD_CHARS: usize = 1000;
/// Emoji of one event.
const EMOJI: usize = 50;

/// Makes what one person is shown.
pub struct View<'a> {
    cache: &'a Cache,
    me: Option<PublicKey>,
    people: HashMap<PublicKey, Value>,
}

type Found<T> = rusqlite::Result<T>;

impl<'a> View<'a> {
    /// For this person, or for a guest.
    pub fn new(cache: &'a Cache, me: Option<PublicKey>) -> Self {
        Self {
            cache,
            me,
            people: HashMap::new(),
        }
    }

    /// A part of a list, with where it goes on if it was as long as asked for.
    pub fn list(&mut self, events: &[Event], limit: usize) -> Found<Value> {
        let items: Found<Vec<Value>> = events.iter().map(|event| self.item(event)).collect();
        let last = events.last().filter(|_| events.len() >= limit);
        let next = last.map(|event| Place::of(event).to_string());
        Ok(json!({"items": items?, "next": next}))
    }

    /// Somebody.
    pub fn person(&mut self, person: &PublicKey) -> Found<Value> {
        if let Some(known) = self.people.get(person) {
            return Ok(known.clone());
        }
        let profile = self.cache.profile(person)?;
        let shown = described(person, profile.as_ref());
        self.people.insert(*person, shown.clone());
        Ok(shown)
    }

    /// A post, a repost or a reaction.
    pub fn item(&mut self, event: &Event) -> Found<Value> {
        let kind = event.kind.as_u16();
        if kind == POST {
            return self.post(event);
        }
        let mut item = self.bare(event)?;
        let parent = references::references(event).parent;
        let about = match parent {
            Some(id) => self.cache.get(&id)?,
            None => None,
        };
        item["about"] = json!(parent.map(|id| id.to_hex()));
        item["post"] = match about.filter(|about| about.kind.as_u16() == POST) {
            Some(post) => self.post(&post)?,
            None => Value::Null,
        };
        match kind {
            REPOST | OTHER_REPOST => item["kind"] = "repost".into(),
            REACTION => {
                item["kind"] = "reaction".into();
                item["text"] = match event.content.as_str() {
                    "" => "+".into(),
                    said => said.into(),
                };
            }
            _ => {}
        }
        Ok(item)
    }

    /// A talk as a list that can be made a tree: each post with its parent, if that is among them. What refers to
    /// nothing here, or in a circle, hangs on the first.
    pub fn talk(&mut self, root: &EventId, events: &[Event]) -> Found<Value> {
        let parents: HashMap<EventId, EventId> = events
            .iter()
            .filter(|event| event.id != *root)
            .map(|event| {
                let parent = references::references(event).parent;
                let is_here = |id: &EventId| events.iter().any(|other| other.id == *id);
                (event.id, parent.filter(is_here).unwrap_or(*root))
            })
            .collect();
        let mut items = Vec::new();
        for event in events {
            let mut item = self.post(event)?;
            let parent = match leads_to(root, &event.id, &parents) {
                true => parents.get(&event.id),
                false => Some(root),
            };
            item["parent"] = json!(parent.filter(|id| **id != event.id).map(|id| id.to_hex()));
            items.push(item);
        }
        Ok(json!({"root": root.to_hex(), "items": items}))
    }

    fn post(&mut self, event: &Event) -> Found<Value> {
        let mut item = self.bare(event)?;
        let found = references::references(event);
        item["kind"] = "post".into();
        item["text"] = event.content.as_str().into();
        item["root"] = json!(found.root.map(|id| id.to_hex()));
        item["parent"] = json!(found.parent.map(|id| id.to_hex()));
        item["mentions"] = references::named(event)
            .iter()
            .map(PublicKey::to_hex)
            .collect();
        let echo = self.cache.echo(&event.id)?;
        item["replies"] = echo.replies.into();
        item["reposts"] = echo.reposts.into();
        item["reactions"] = json!(echo.reactions);
        if let Some(me) = &self.me {
            let own: Vec<Value> = self
                .cache
                .own_echo(&event.id, me)?
                .iter()
                .map(|own| {
                    let kind = match own.kind.as_u16() {
                        REACTION => "reaction",
                        _ => "repost",
                    };
                    json!({"id": own.id.to_hex(), "kind": kind, "text": own.content})
                })
                .collect();
            item["mine"] = own.into();
        }
        Ok(item)
    }

    fn bare(&mut self, event: &Event) -> Found<Value> {
        let tags = event.tags.iter().filter(|tag| tag.kind() == "emoji");
        let emoji: Map<String, Value> = tags
            .take(EMOJI)
            .filter_map(|tag| {
                let words = tag.as_slice();
                Some((words.get(1)?.clone(), words.get(2)?.as_str().into()))
            })
            .collect();
        Ok(json!({
            "id": event.id.to_hex(),
            "author": self.person(&event.pubkey)?,
            "created_at": event.created_at.as_secs(),
            "emoji": emoji,
        }))
    }
}

/// Whether one gets from a post to the first one by going from each to what it answers.
fn leads_to(root: &EventId, from: &EventId, parents: &HashMap<EventId, EventId>) -> bool {
    let mut at = from;
    for _ in 0..=parents.len() {
        if at == root {
            return true;
        }
        match parents.get(at) {
            Some(parent) => at = parent,
            None => return false,
        }
    }
    false
}

/// Somebody, as their profile says. Nothing of it is checked.
fn described(person: &PublicKey, profile: Option<&Event>) -> Value {
    let mut shown = json!({"public_key": person.to_hex()});
    let Some(profile) = profile else { return shown };
    let said = serde_json::from_str::<Map<String, Value>>(&profile.content).unwrap_or_default();
    for (field, most) in [
        ("name", NAME_CHARS),
        ("display_name", NAME_CHARS),
        ("about", FIELD_CHARS),
        ("picture", FIELD_CHARS),
        ("banner", FIELD_CHARS),
        ("website", FIELD_CHARS),
        ("nip05", FIELD_CHARS),
    ] {
        if let Some(text) = said.get(field).and_then(Value::as_str) {
            let text: String = text
                .chars()
                .filter(|c| !c.is_control() || *c == '\n')
                .take(most)
                .collect();
            shown[field] = text.into();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_answers_hangs_on_the_first_post() {
        let id = |n: u8| EventId::from_byte_array([n; 32]);
        let parents = HashMap::from([
            (id(2), id(1)),
            (id(3), id(2)),
            (id(4), id(5)),
            (id(5), id(4)),
        ]);
        for (from, leads) in [
            (1, true),
            (2, true),
            (3, true),
            (4, false),
            (5, false),
            (6, false),
        ] {
            assert_eq!(leads_to(&id(1), &id(from), &parents), leads, "{from}");
        }
    }
}
