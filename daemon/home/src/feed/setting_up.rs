//! What others need to find people of this home and does not have to be asked for: who they are (0), that they write and
//! are written to here (10002), and that their files are here (10063). Said once for each account, when its key is first
//! at hand; what somebody said before, here or with another app, stays.

use nostr::event::Event;
use nostr::key::Keys;
use serde_json::{Value, json};

use super::references::{FILE_SERVERS, PROFILE, RELAYS, address_of};
use super::relay::RelayError;
use super::{Feed, FeedError};
use crate::accounts::record::Account;
use crate::client::signed;

/// Waiting after an attempt that failed.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

/// An event that is not signed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its kind.
    pub kind: u16,
    /// Its tags.
    pub tags: Vec<Vec<String>>,
    /// Its content.
    pub content: String,
}

impl Draft {
    /// As NIP-01 writes it, without author and signature.
    pub fn to_json(&self, now: u64) -> Value {
        json!({"kind": self.kind, "created_at": now, "tags": self.tags, "content": self.content})
    }

    /// Signed.
    pub fn sign(&self, keys: &Keys, at: u64) -> Result<Event, FeedError> {
        let tags: Vec<Vec<&str>> = self
            .tags
            .iter()
            .map(|tag| tag.iter().map(String::as_str).collect())
            .collect();
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        signed(keys, self.kind, at, &tags, &self.content).map_err(FeedError::Broken)
    }
}

impl Feed {
    /// Says what is missing, for each account that is opened. Never ends.
    pub(super) async fn set_up_people(&self) {
        let mut opened = self.people.opened();
        let mut done = std::collections::HashSet::new();
        loop {
            let mut failed = false;
            for (account, keys) in self.people.accounts.open_ones() {
                if done.contains(&account.public_key) {
                    continue;
                }
                match self.set_up(&account, &keys).await {
                    Ok(()) => drop(done.insert(account.public_key)),
                    Err(error) => {
                        failed = true;
                        log::debug!("an account is not told of yet: {error}");
                    }
                }
            }
            tokio::select! {
                _ = opened.changed() => {}
                () = tokio::time::sleep(AGAIN), if failed => {}
            }
        }
    }

    async fn set_up(&self, account: &Account, keys: &Keys) -> Result<(), FeedError> {
        let now = (self.clock)();
        let missing = self.missing(account).await?;
        let events: Result<Vec<Event>, FeedError> =
            missing.iter().map(|draft| draft.sign(keys, now)).collect();
        let events = events?;
        if !events.is_empty() {
            self.publish(events).await?;
        }
        Ok(())
    }

    /// What an account has not said yet.
    pub async fn missing(&self, account: &Account) -> Result<Vec<Draft>, FeedError> {
        let relay = self.relay.as_ref().ok_or(FeedError::NoRelay)?;
        let person = account.public_key.to_hex();
        let kinds = [PROFILE, RELAYS, FILE_SERVERS];
        let filter = json!({"authors": [person], "kinds": kinds, "limit": kinds.len()});
        let said = relay.query(filter).await?;
        let is_said = |kind: u16| said.iter().any(|event| event.kind.as_u16() == kind);
        let own = address_of(&relay.service);
        let mut relays = vec![vec!["r".to_owned(), own.clone()]];
        let others = account.relays.iter().filter(|url| **url != own);
        relays.extend(others.map(|url| vec!["r".to_owned(), url.clone()]));
        let files = format!("http://{}.warren", relay.service);
        let all = [
            Draft {
                kind: PROFILE,
                tags: Vec::new(),
                content: json!({"name": account.name}).to_string(),
            },
            Draft {
                kind: RELAYS,
                tags: relays,
                content: String::new(),
            },
            Draft {
                kind: FILE_SERVERS,
                tags: vec![vec!["server".to_owned(), files]],
                content: String::new(),
            },
        ];
        Ok(all
            .into_iter()
            .filter(|draft| !is_said(draft.kind))
            .collect())
    }
}

impl From<RelayError> for FeedError {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Away(why) => {
                log::debug!("the home's own relay cannot be reached: {why}");
                Self::Away
            }
            RelayError::Refused(reason) => Self::Refused(reason),
        }
    }
}
