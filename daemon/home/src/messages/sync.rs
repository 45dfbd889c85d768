//! Comparing which wraps a space has with which are here (NIP-77), as the side that asks. Knows no connection.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use nostr::event::EventId;

/// Bytes of one of our messages, before they are written as hexadecimal digits.
const FRAME: u64 = 16 * 1024;
/// Messages of one sync.
const ROUNDS: usize = 500;
/// Wraps that one sync may bring to light; the rest comes with the next.
const MISSING: usize = 20_000;

/// One sync.
pub struct Comparison {
    ours: Negentropy<'static, NegentropyStorageVector>,
    rounds: usize,
    /// What is here and not there.
    only_here: Vec<Id>,
    only_there: Vec<Id>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This message is sent, in hexadecimal digits.
    Send(String),
    /// All is compared: what is missing here, and what is missing there.
    Done(Vec<EventId>, Vec<EventId>),
}

fn ids(ids: &[Id]) -> Vec<EventId> {
    ids.iter()
        .map(|id| EventId::from_byte_array(**id))
        .collect()
}

impl Comparison {
    /// Of these dates and ids; gives the first message.
    pub fn new(known: &[(u64, EventId)]) -> Result<(Self, String), String> {
        let mut storage = NegentropyStorageVector::with_capacity(known.len());
        let failed = |error: negentropy::Error| error.to_string();
        for (at, id) in known.iter().filter(|(at, _)| *at != u64::MAX) {
            let id = Id::from_byte_array(id.to_bytes());
            storage.insert(*at, id).map_err(failed)?;
        }
        storage.seal().map_err(failed)?;
        let mut ours = Negentropy::owned(storage, FRAME).map_err(failed)?;
        let first = ours.initiate().map_err(failed)?;
        let this = Self {
            ours,
            rounds: 0,
            only_here: Vec::new(),
            only_there: Vec::new(),
        };
        Ok((this, data_encoding::HEXLOWER.encode(&first)))
    }

    /// After a message of the space, in hexadecimal digits.
    pub fn hear(&mut self, message: &str) -> Result<Step, String> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err("the comparison does not end".into());
        }
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(message.as_bytes());
        let bytes = bytes.map_err(|error| error.to_string())?;
        let next = self
            .ours
            .reconcile_with_ids(&bytes, &mut self.only_here, &mut self.only_there)
            .map_err(|error| error.to_string())?;
        self.only_there.truncate(MISSING);
        Ok(match next {
            Some(next) => Step::Send(data_encoding::HEXLOWER.encode(&next)),
            None => Step::Done(ids(&self.only_there), ids(&self.only_here)),
        })
    }
}

/// Reads a space's message as if it were the answer to ours. For the fuzzer.
pub fn hear_foreign(bytes: &[u8]) {
    let known = |n: u8| (u64::from(n), EventId::from_byte_array([n; 32]));
    let known: Vec<_> = (0..50).map(known).collect();
    if let Ok((mut comparison, _)) = Comparison::new(&known) {
        for message in bytes.split(|byte| *byte == b'\n').take(4) {
            let _ = comparison.hear(&data_encoding::HEXLOWER.encode(message));
        }
    }
}
