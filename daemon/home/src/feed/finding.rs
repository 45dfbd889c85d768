//! Who is meant: by a key, by a name at this home, or by a name at another one (NIP-05, asked of that home's relay).

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use nostr::key::PublicKey;
use nostr::nips::nip19::{FromBech32, Nip19Profile};
use serde_json::Value;

use super::{Feed, FeedError};
use crate::dialer::ServiceName;

/// Bytes of the answer to a question for a name.
const ANSWER_BYTES: usize = 16 * 1024;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long homes that were not looked for before may take to answer.
const MOMENT: Duration = Duration::from_millis(1200);
/// Longest name of a person, and longest text that is looked at.
const NAME_CHARS: usize = 64;
const TEXT_BYTES: usize = 1024;

/// Somebody, and the home where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub person: PublicKey,
    /// Where, if the name said so.
    pub home: Option<ServiceName>,
}

/// What stands for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Key(Found),
    /// A handle, and the home it is at: a service's name or what it is called; none is this one.
    Handle(String, Option<String>),
}

/// Reads what somebody typed: a key (64 hexadecimal digits, `npub1...`, `nprofile1...`) or `NAME[@HOME]`.
fn parse(text: &str) -> Option<Named> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES {
        return None;
    }
    let text = text.strip_prefix("nostr:").unwrap_or(text);
    let key = |person| Some(Named::Key(Found { person, home: None }));
    if let Ok(person) = PublicKey::from_hex(text) {
        return key(person);
    }
    if let Ok(person) = PublicKey::from_bech32(text) {
        return key(person);
    }
    if let Ok(profile) = Nip19Profile::from_bech32(text) {
        let mut relays = profile.relays.iter();
        let home = relays.find_map(|relay| super::references::service_of(&relay.to_string()));
        let person = profile.public_key;
        return Some(Named::Key(Found { person, home }));
    }
    let text = text.strip_prefix('@').unwrap_or(text);
    let (handle, home) = match text.split_once('@') {
        Some((handle, home)) => (handle, Some(home)),
        None => (text, None),
    };
    let handle = handle.to_ascii_lowercase();
    let is_handle = (1..=NAME_CHARS).contains(&handle.len())
        && handle
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
    let home = home.map(|home| home.trim().to_owned());
    let has_home = home.as_ref().is_none_or(|home| !home.is_empty());
    (is_handle && has_home).then_some(Named::Handle(handle, home))
}

/// The key of a name in the answer of another home.
fn key_of(answer: &[u8], handle: &str) -> Option<PublicKey> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let key = answer.get("names")?.get(handle)?.as_str()?;
    PublicKey::from_hex(key).ok()
}

/// Reads what somebody typed and what another home says of a name. For the fuzzer.
pub fn read_names(text: &str) {
    if let Some(Named::Handle(handle, _)) = parse(text) {
        let _ = key_of(text.as_bytes(), &handle);
    }
    let _ = key_of(text.as_bytes(), "ann");
}

impl Feed {
    /// Whom a text means. A name at another home is asked of that home.
    pub async fn find(&self, text: &str) -> Result<Found, FeedError> {
        match parse(text).ok_or(FeedError::Field("who"))? {
            Named::Key(found) => Ok(found),
            Named::Handle(handle, None) => {
                let account = self.people.accounts.by_handle(&handle);
                let account = account.ok_or(FeedError::Unknown("person"))?;
                Ok(Found {
                    person: account.public_key,
                    home: self.relay().cloned(),
                })
            }
            Named::Handle(handle, Some(home)) => {
                let service = self.home_called(&home).await?;
                let asked = tokio::time::timeout(PATIENCE, self.ask_name(&service, &handle)).await;
                let answer = match asked {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(error)) => {
                        log::debug!("the home {service} does not say who {handle:?} is: {error}");
                        return Err(FeedError::Away);
                    }
                    Err(_) => return Err(FeedError::Away),
                };
                let person = key_of(&answer, &handle).ok_or(FeedError::Unknown("person"))?;
                Ok(Found {
                    person,
                    home: Some(service),
                })
            }
        }
    }

    /// The relay of a home, by its service or by what the home calls itself, if only one does. Waits a moment for homes
    /// that nobody looked for before.
    async fn home_called(&self, home: &str) -> Result<ServiceName, FeedError> {
        match self.known_as(home) {
            Err(FeedError::Unknown(_)) => {
                let _ = self.dialer.services(); // has them looked for
                tokio::time::sleep(MOMENT).await;
                self.known_as(home)
            }
            found => found,
        }
    }

    fn known_as(&self, home: &str) -> Result<ServiceName, FeedError> {
        let bare = home.strip_suffix(".warren").unwrap_or(home);
        if let Some(service) = ServiceName::parse(&bare.to_ascii_lowercase()) {
            return Ok(service);
        }
        let relays = self.dialer.relays();
        let called = relays
            .iter()
            .filter(|relay| relay.name == home || relay.host == home);
        let mut called: Vec<&ServiceName> = called.map(|relay| &relay.service).collect();
        called.dedup();
        match called[..] {
            [only] => Ok(only.clone()),
            _ => Err(FeedError::Unknown("home")),
        }
    }

    async fn ask_name(&self, home: &ServiceName, handle: &str) -> Result<Vec<u8>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let stream = self.dialer.open(home).await.map_err(|error| told(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        let driver = tokio::spawn(connection);
        let request = Request::get(format!("/.well-known/nostr.json?name={handle}"))
            .header(HOST, format!("{home}.warren"))
            .body(Empty::<Bytes>::new())
            .map_err(|error| told(&error))?;
        let answer = sender.send_request(request).await;
        let body = match answer {
            Ok(answer) => Limited::new(answer.into_body(), ANSWER_BYTES)
                .collect()
                .await
                .map_err(|error| told(&error)),
            Err(error) => Err(told(&error)),
        };
        driver.abort();
        Ok(body?.to_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_named_by_keys_and_by_names_with_and_without_a_home() {
        let key = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d";
        let npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
        let person = PublicKey::from_hex(key).unwrap();
        for text in [key, npub, &format!("nostr:{npub}"), &format!(" {key} ")] {
            let expected = Named::Key(Found { person, home: None });
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        let handle = |text| match parse(text) {
            Some(Named::Handle(handle, home)) => Some((handle, home)),
            _ => None,
        };
        assert_eq!(handle("Ann"), Some(("ann".into(), None)));
        assert_eq!(handle("@ann"), Some(("ann".into(), None)));
        let at = handle("ann@Ben's home");
        assert_eq!(at, Some(("ann".into(), Some("Ben's home".into()))));
        for text in [
            "",
            " ",
            "a b",
            "ann@",
            "@",
            "änn",
            "a/../b",
            "a?b",
            &"x".repeat(65),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_key_is_taken_from_what_another_home_says() {
        let key = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d";
        let answer = format!(r#"{{"names":{{"ann":"{key}","ben":7,"eve":"x"}}}}"#);
        assert!(key_of(answer.as_bytes(), "ann").is_some());
        for name in ["ben", "eve", "nobody"] {
            assert_eq!(key_of(answer.as_bytes(), name), None);
        }
        for answer in ["", "[]", r#"{"names":[]}"#, "{"] {
            assert_eq!(key_of(answer.as_bytes(), "ann"), None);
        }
    }
}
