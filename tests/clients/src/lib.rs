//! Somebody who uses `nostr-sdk` as it comes: it logs in, signs, verifies and reconnects by itself. The tests are in
//! `tests/`.

use std::time::Duration;

use nostr_sdk::prelude::*;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A person with a key and a program that is connected to one home.
#[derive(Debug)]
pub struct Person {
    /// The key.
    pub keys: Keys,
    /// The program.
    pub client: Client,
    /// The address of the space at the home.
    pub home: String,
}

impl Person {
    /// Connects to the space at the address in an environment variable.
    pub async fn connect(variable: &str) -> Self {
        let home = std::env::var(variable)
            .unwrap_or_else(|_| panic!("set {variable} to a WebSocket address of a space"));
        let keys = Keys::generate();
        let client = Client::new(keys.clone());
        client.add_relay(home.as_str()).await.expect("an address");
        client.connect().await;
        client.wait_for_connection(PATIENCE).await;
        Self { keys, client, home }
    }

    /// An event with these tags.
    pub fn event(&self, kind: u16, tags: &[&[&str]], content: &str) -> Event {
        let tags = tags
            .iter()
            .map(|tag| Tag::parse(tag.iter().copied()).expect("a tag"));
        EventBuilder::new(Kind::from(kind), content)
            .tags(tags)
            .sign_with_keys(&self.keys)
            .expect("a signature")
    }

    /// Hands an event in; the words of the space if it is not taken.
    pub async fn send(&self, event: &Event) -> Result<(), String> {
        let output = self
            .client
            .send_event(event)
            .await
            .map_err(|error| error.to_string())?;
        match output.failed.values().next() {
            None => Ok(()),
            Some(reason) => Err(reason.to_string()),
        }
    }

    /// Writes into a channel.
    pub async fn write(&self, channel: &str, words: &str) -> Result<Event, String> {
        let event = self.event(9, &[&["h", channel]], words);
        self.send(&event).await.map(|()| event)
    }

    /// All stored events that a filter finds.
    pub async fn ask(&self, filter: Filter) -> Vec<Event> {
        let found = self.client.fetch_events(filter, PATIENCE).await;
        found.expect("an answer").into_iter().collect()
    }
}
