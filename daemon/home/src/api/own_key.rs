//! Logging in with a key that stays with its person: they sign the request in their own app (NIP-98).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64;
use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use nostr::nips::nip98::{HttpMethod, verify_auth_header};
use nostr::types::{Timestamp, Url};
use serde::Deserialize;
use serde_json::json;

use super::account::Carry;
use super::reply::{Failure, Reply};
use super::{Api, Caller, account_view, read};
use crate::accounts::error::AccountError;

/// Seconds around its date in which a signed request is good, with some to spare.
const SECONDS: u64 = 120;
/// Signed requests that are remembered.
const REMEMBERED: usize = 256;

#[derive(Deserialize)]
struct Enter {
    name: Option<String>,
    #[serde(default)]
    device: String,
    #[serde(default)]
    session: Carry,
}

/// Signed requests of the last moments: each is good once, however it is written.
#[derive(Default)]
pub struct Proofs(Mutex<VecDeque<(u64, EventId)>>);

impl Proofs {
    /// Remembers one; `false` when it was here before, or too many were.
    fn take(&self, proof: EventId, now: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(at, _)| at.abs_diff(now) <= SECONDS);
        if seen.len() >= REMEMBERED || seen.iter().any(|(_, known)| *known == proof) {
            return false;
        }
        seen.push_back((now, proof));
        true
    }
}

impl Api {
    pub(super) async fn enter_with_own_key(
        &self,
        caller: &Caller,
        proof: &str,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        let accounts = self.accounts();
        accounts.pace(caller.source)?;
        let enter: Enter = read(body)?;
        let person = signed_by(proof, &caller.host, body, accounts.now());
        let is_new = |_: &PublicKey| {
            event_of(proof).is_some_and(|event| self.proofs.take(event, accounts.now()))
        };
        let person = person.filter(is_new);
        let person = person.ok_or(Failure::new(401, "proof_invalid", json!({})))?;
        let done = accounts
            .enter_with_own_key(person, enter.name, enter.device)
            .await?;
        let account = accounts
            .account(&done.session.account)
            .ok_or(AccountError::LoggedOut)?;
        let view = account_view(&account, accounts);
        Ok(Reply::logged_in(
            200,
            done,
            enter.session == Carry::Bearer,
            view,
        ))
    }
}

/// Who signed this request to this home, if somebody did.
fn signed_by(proof: &str, host: &str, body: &[u8], now: u64) -> Option<PublicKey> {
    ["http", "https"].iter().find_map(|scheme| {
        let url = Url::parse(&format!("{scheme}://{host}/api/1/session/key")).ok()?;
        verify_auth_header(
            proof,
            &url,
            HttpMethod::POST,
            Timestamp::from_secs(now),
            Some(body),
        )
        .ok()
    })
}

/// The id of the event in a header (`Nostr` and base64, NIP-98). Spaces in its JSON make another header of the same event.
fn event_of(proof: &str) -> Option<EventId> {
    let (_, text) = proof.trim().split_once(' ')?;
    let json = BASE64.decode(text.trim().as_bytes()).ok()?;
    Some(serde_json::from_slice::<Event>(&json).ok()?.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::from_byte_array(*blake3::hash(text.as_bytes()).as_bytes())
    }

    #[test]
    fn another_spelling_is_no_other_request() {
        let keys = nostr::key::Keys::generate();
        let event = crate::client::signed(&keys, 27235, 1000, &[], "").unwrap();
        let header = |json: &str| format!("Nostr {}", BASE64.encode(json.as_bytes()));
        let plain = serde_json::to_string(&event).unwrap();
        let spaced = serde_json::to_string_pretty(&event).unwrap();
        assert_ne!(plain, spaced);
        assert_eq!(event_of(&header(&plain)), Some(event.id));
        assert_eq!(event_of(&header(&spaced)), Some(event.id));
        assert_eq!(event_of("Nostr nonsense"), None);
    }

    #[test]
    fn a_signed_request_is_good_once() {
        let proofs = Proofs::default();
        assert!(proofs.take(id("one"), 1000));
        assert!(!proofs.take(id("one"), 1060));
        assert!(proofs.take(id("two"), 1060));
        for n in 0..REMEMBERED * 2 {
            proofs.take(id(&n.to_string()), 1060);
        }
        assert!(
            !proofs.take(id("three"), 1060),
            "a flood is not remembered without end"
        );
        assert!(proofs.take(id("three"), 1060 + SECONDS + 1));
    }
}
