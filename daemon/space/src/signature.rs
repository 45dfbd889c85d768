//! Signatures of events (NIP-01, BIP-340).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use nostr::event::{Event, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use secp256k1::schnorr::Signature;
use secp256k1::{Secp256k1, VerifyOnly, XOnlyPublicKey};

/// Signs an event of these keys' own. Unlike the library's way, what was just made is not checked, which would take longer than
/// making it: against a processor that computes wrongly a space is not safe anyway.
pub fn sign(keys: &Keys, unsigned: UnsignedEvent) -> Event {
    debug_assert_eq!(unsigned.pubkey, keys.public_key(), "signed by its author");
    let id = unsigned.compute_id();
    Event::new(
        id,
        keys.public_key(),
        unsigned.created_at,
        unsigned.kind,
        unsigned.tags,
        unsigned.content,
        keys.sign_schnorr(id.as_bytes()),
    )
}

/// People whose keys are kept ready, about 100 bytes each.
const READY: usize = 256;

static CURVE: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// Keys of people who wrote lately as points of the curve: to find the point takes a tenth of a check, and who writes once
/// writes again. When there are too many, all are forgotten.
#[derive(Debug, Default)]
pub struct Signers(Mutex<HashMap<PublicKey, XOnlyPublicKey>>);

impl Signers {
    /// Whether an event's author signed its id. That the id is the event's hash is looked at elsewhere.
    pub fn signed(&self, event: &Event) -> bool {
        let (Some(signer), Ok(signature)) = (
            self.point(&event.pubkey),
            Signature::from_slice(&event.sig.to_bytes()),
        ) else {
            return false;
        };
        CURVE
            .verify_schnorr(&signature, event.id.as_bytes(), &signer)
            .is_ok()
    }

    /// The point of a key, if it is one.
    fn point(&self, key: &PublicKey) -> Option<XOnlyPublicKey> {
        let ready = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(point) = ready().get(key) {
            return Some(*point);
        }
        let point = XOnlyPublicKey::from_slice(key.as_bytes()).ok()?;
        let mut ready = ready();
        if ready.len() >= READY {
            ready.clear();
        }
        ready.insert(*key, point);
        Some(point)
    }
}

#[cfg(test)]
mod tests {
    use nostr::event::{EventId, Kind};
    use nostr::types::Timestamp;

    use super::*;
    use crate::testing::Person;

    #[test]
    fn what_its_author_signed_counts_and_nothing_else() {
        let signers = Signers::default();
        let event = Person::new(1).event(9, 100, &[], "hello");
        let other = Person::new(2).event(9, 100, &[], "hello");
        // The second time with the key at hand.
        for _ in 0..2 {
            assert!(signers.signed(&event) && signers.signed(&other));
            let mut wrong = event.clone();
            wrong.sig = other.sig;
            assert!(!signers.signed(&wrong));
            let mut wrong = event.clone();
            wrong.pubkey = other.pubkey;
            assert!(!signers.signed(&wrong));
            let mut wrong = event.clone();
            wrong.id = EventId::from_byte_array([7; 32]);
            assert!(!signers.signed(&wrong));
        }
    }

    #[test]
    fn what_is_signed_here_counts_everywhere() {
        let keys = Keys::generate();
        let (at, kind) = (Timestamp::from_secs(100), Kind::from_u16(9));
        let event = sign(
            &keys,
            UnsignedEvent::new(keys.public_key(), at, kind, [], "hello"),
        );
        event.verify().unwrap();
        assert!(Signers::default().signed(&event));
        assert_eq!(
            (event.created_at, event.kind, event.content.as_str()),
            (at, kind, "hello")
        );
    }

    #[test]
    fn a_key_that_is_no_point_signs_nothing() {
        let signers = Signers::default();
        let mut event = Person::new(1).event(9, 100, &[], "hello");
        // No point of the curve has this x.
        event.pubkey = PublicKey::from_byte_array([0xff; 32]);
        assert!(!signers.signed(&event));
        assert_eq!(signers.0.lock().unwrap().len(), 0);
    }

    #[test]
    fn many_people_take_no_more_room() {
        let signers = Signers::default();
        let events: Vec<_> = (0..=READY)
            .map(|_| Person(Keys::generate()).event(9, 100, &[], "hello"))
            .collect();
        assert!(events.iter().all(|event| signers.signed(event)));
        assert_eq!(signers.0.lock().unwrap().len(), 1);
        assert!(signers.signed(&events[0]));
    }
}
