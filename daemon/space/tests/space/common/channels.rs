//! Channels as tests make them, and what they look for in events.

use serde_json::Value;

use super::{Client, Person};

/// A channel made by `admin` with these flags and texts.
pub async fn make(client: &mut Client, admin: &Person, id: &str, metadata: &[&[&str]]) {
    client.accepted(&admin.event(9007, &[&["h", id]], "")).await;
    let mut tags: Vec<&[&str]> = vec![];
    let h = ["h", id];
    tags.push(&h);
    tags.extend(metadata);
    client.accepted(&admin.event(9002, &tags, "")).await;
}

/// The tags of a name.
pub fn tags<'a>(event: &'a Value, name: &str) -> Vec<&'a Value> {
    event["tags"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tag| tag[0] == name)
        .collect()
}
