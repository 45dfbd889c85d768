//! Proof of who sends an HTTP request (NIP-98): an event that names this space, the method and the body, once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER};
use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use sha2::{Digest, Sha256};

use crate::auth::names_space_in_http;
use crate::groups::kinds;
use crate::record::tag_values;

/// Bytes of the header.
const HEADER_BYTES: usize = 8 * 1024;
/// Proofs that are remembered of one person who has a say.
const PROOFS_OF_ONE: usize = 128;
/// Proofs of all others together, and of each of them in any case.
const PROOFS_OF_OTHERS: usize = 2048;
const PROOFS_OF_EACH: usize = 4;

/// Reads the event in an `Authorization` header.
pub fn parse(header: &str) -> Option<Event> {
    let (scheme, encoded) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Nostr") || encoded.len() > HEADER_BYTES {
        return None;
    }
    let encoded = encoded.trim().trim_end_matches('=').as_bytes();
    let bytes = BASE64_NOPAD
        .decode(encoded)
        .ok()
        .or_else(|| BASE64.decode(encoded).ok())?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether an event proves that its author sends this request now.
pub fn check(
    event: &Event,
    method: &str,
    body: &[u8],
    service: &str,
    now: u64,
    window: u64,
) -> Result<(), &'static str> {
    let one = |name| {
        let mut values = tag_values(event, name);
        values.next().filter(|_| values.next().is_none())
    };
    if event.kind.as_u16() != kinds::HTTP_AUTH {
        return Err("the proof of identity has kind 27235");
    }
    if event.created_at.as_secs().abs_diff(now) > window {
        return Err(
            "the date of the proof is too far from the time here; set the clock of your device",
        );
    }
    if !one("u").is_some_and(|url| names_space_in_http(url, service)) {
        return Err("the u tag of the proof names another space");
    }
    if one("method") != Some(method) {
        return Err("the method tag of the proof names another method");
    }
    if one("payload") != Some(HEXLOWER.encode(&Sha256::digest(body)).as_str()) {
        return Err("the payload tag of the proof is not the SHA-256 of the body");
    }
    if !event.verify_id() || !event.verify_signature() {
        return Err("the signature of the proof is wrong");
    }
    Ok(())
}

/// Proofs that were used: none counts twice. After a restart those from before do not count at all. Nobody's proofs take
/// the room of somebody else's who has a say.
#[derive(Debug)]
pub struct UsedProofs {
    since: u64,
    used: Mutex<HashMap<PublicKey, Used>>,
}

/// The proofs of one person, with their dates.
#[derive(Debug, Default)]
struct Used {
    proofs: HashMap<EventId, u64>,
    has_a_say: bool,
}

impl UsedProofs {
    /// None, from this second on.
    pub fn new(since: u64) -> Self {
        Self {
            since,
            used: Mutex::default(),
        }
    }

    /// Notes a proof; `Err` when it was used before, or may have been. `has_a_say`: whether its author may do more here
    /// than members do.
    pub fn take(
        &self,
        event: &Event,
        has_a_say: bool,
        now: u64,
        window: u64,
    ) -> Result<(), &'static str> {
        let created_at = event.created_at.as_secs();
        if created_at <= self.since {
            return Err("the space was started after this was signed; try again");
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, of_one| {
            let proofs = &mut of_one.proofs;
            proofs.retain(|_, created_at| created_at.abs_diff(now) <= window);
            !proofs.is_empty()
        });
        let share = if has_a_say {
            PROOFS_OF_ONE
        } else {
            let others = used.values().filter(|of_one| !of_one.has_a_say).count();
            let share = PROOFS_OF_OTHERS / others.max(1);
            share.clamp(PROOFS_OF_EACH, PROOFS_OF_ONE)
        };
        let own = used.entry(event.pubkey).or_default();
        own.has_a_say = has_a_say;
        if own.proofs.contains_key(&event.id) {
            return Err("this proof was used before; sign each request anew");
        }
        if own.proofs.len() >= share {
            return Err("too many requests; try again in a minute");
        }
        own.proofs.insert(event.id, created_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Person, SERVICE};

    #[test]
    fn nip98_a_proof_is_bound_to_space_method_body_time_and_used_once() {
        let ann = Person::new(1);
        let url = format!("http://{SERVICE}.localhost:8080/");
        let hash = HEXLOWER.encode(&Sha256::digest(b"body"));
        let proof = |u: &str, method: &str, payload: &str| {
            ann.event(
                27235,
                1000,
                &[&["u", u], &["method", method], &["payload", payload]],
                "",
            )
        };
        let good = proof(&url, "POST", &hash);
        assert_eq!(check(&good, "POST", b"body", SERVICE, 1060, 60), Ok(()));
        assert!(check(&good, "POST", b"body", SERVICE, 1061, 60).is_err());
        assert!(check(&good, "POST", b"bodY", SERVICE, 1000, 60).is_err());
        assert!(check(&good, "PUT", b"body", SERVICE, 1000, 60).is_err());
        assert!(check(&good, "POST", b"body", &"b".repeat(52), 1000, 60).is_err());
        for bad in [
            proof("http://evil.example/", "POST", &hash),
            proof(&url, "POST", ""),
            ann.event(27235, 1000, &[&["u", &url], &["method", "POST"]], ""),
            ann.event(
                1,
                1000,
                &[&["u", &url], &["method", "POST"], &["payload", &hash]],
                "",
            ),
        ] {
            assert!(check(&bad, "POST", b"body", SERVICE, 1000, 60).is_err());
        }
        let mut forged = good.clone();
        forged.pubkey = Person::new(2).key();
        assert!(check(&forged, "POST", b"body", SERVICE, 1000, 60).is_err());
        for has_a_say in [false, true] {
            let used = UsedProofs::new(900);
            assert_eq!(used.take(&good, has_a_say, 1000, 60), Ok(()));
            assert!(used.take(&good, has_a_say, 1000, 60).is_err());
            assert!(used.take(&good, !has_a_say, 1000, 60).is_err());
            assert!(
                UsedProofs::new(1000)
                    .take(&good, has_a_say, 1000, 60)
                    .is_err()
            );
        }
    }

    #[test]
    fn a_crowd_of_members_keeps_nobody_with_a_say_from_managing() {
        let used = UsedProofs::new(900);
        let proof =
            |person: &Person, n: u32| person.event(27235, 1000, &[&["nonce", &n.to_string()]], "");
        let mut taken = 0;
        for person in (10..50).map(Person::new) {
            for n in 0..130 {
                taken += usize::from(used.take(&proof(&person, n), false, 1000, 60).is_ok());
            }
        }
        assert!(taken <= PROOFS_OF_OTHERS * 3, "{taken}");
        let (owner, late) = (Person::new(1), Person::new(2));
        for n in 0..PROOFS_OF_ONE as u32 {
            assert_eq!(used.take(&proof(&owner, n), true, 1000, 60), Ok(()));
        }
        assert!(used.take(&proof(&owner, 999), true, 1000, 60).is_err());
        for n in 0..PROOFS_OF_EACH as u32 {
            assert_eq!(used.take(&proof(&late, n), false, 1000, 60), Ok(()));
        }
    }

    #[test]
    fn headers_that_are_no_proof_are_not_read() {
        for header in [
            "",
            "Nostr",
            "Nostr ",
            "Nostr !!!",
            "Nostr e30=",
            "Bearer e30=",
        ] {
            assert!(parse(header).is_none(), "{header}");
        }
        let event = Person::new(1).event(27235, 1, &[], "");
        let json = serde_json::to_vec(&event).unwrap();
        assert_eq!(
            parse(&format!("Nostr {}", BASE64.encode(&json))),
            Some(event.clone())
        );
        assert_eq!(
            parse(&format!("nostr {}", BASE64_NOPAD.encode(&json))),
            Some(event)
        );
    }
}
