//! Logging in with a key that stays with its person: they sign the request in their own app (NIP-98).

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

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

/// Signed requests of the last moments: each is good once.
#[derive(Default)]
pub struct Proofs(Mutex<VecDeque<(u64, blake3::Hash)>>);

impl Proofs {
    /// Remembers one; `false` when it was here before, or too many were.
    fn take(&self, proof: &str, now: u64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|(at, _)| at.abs_diff(now) <= SECONDS);
        let hash = blake3::hash(proof.as_bytes());
        if seen.len() >= REMEMBERED || seen.iter().any(|(_, known)| *known == hash) {
            return false;
        }
        seen.push_back((now, hash));
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
        let person = person.filter(|_| self.proofs.take(proof, accounts.now()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_request_is_good_once() {
        let proofs = Proofs::default();
        assert!(proofs.take("one", 1000));
        assert!(!proofs.take("one", 1060));
        assert!(proofs.take("two", 1060));
        for n in 0..REMEMBERED * 2 {
            proofs.take(&n.to_string(), 1060);
        }
        assert!(
            !proofs.take("three", 1060),
            "a flood is not remembered without end"
        );
        assert!(proofs.take("three", 1060 + SECONDS + 1));
    }
}
