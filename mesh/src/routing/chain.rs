//! Hash chains that stop a relay from improving what an originator announced (SEAD, Hu, Johnson and Perrig 2002): one
//! 16-byte element stands for a sequence number and a metric step, hashing forward gives the element of anything older
//! or worse, and nobody can hash backward. Signatures over elements are the anchors' business.
//!
//! Element index of (seq, step) = seq x 128 - step, so that H(e_i) = e_(i-1) with
//! H(e_i) = first 16 bytes of BLAKE3("warren chain v1" || e_i || originator address 16 || generation 4 || i 4):
//! 55 bytes, one compression. The salt makes every chain, generation and step a function of its own.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{SecretKey, kdf};
use crate::identity::NodeAddress;

/// Metric steps of one sequence number: 0 to 127.
pub const STEPS: u32 = 128;
/// Highest sequence number of a generation; the first is 1.
pub const MAX_SEQ: u16 = 1024;
/// Most hashes that checking one element may cost; beyond, fetch a signed checkpoint.
pub const MAX_HASHES: u32 = 1024;

const DOMAIN: &[u8; 15] = b"warren chain v1";
const SEED_LABEL: &str = "warren chain seed v1";

/// One value of a chain.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Zeroize)]
pub struct Element(pub [u8; 16]);

/// What an element stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Sequence number, 1 to [`MAX_SEQ`].
    pub seq: u16,
    /// Metric step, 0 to 127.
    pub step: u8,
}

/// Why an element could not be computed or is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No such sequence number or step.
    #[error("there is no chain element of sequence number {seq}, step {step}")]
    Position {
        /// The sequence number given.
        seq: u16,
        /// The step given.
        step: u8,
    },
    /// The wanted element is newer or better than the one at hand.
    #[error("a newer or better element does not follow from an older or worse one")]
    Backward,
    /// More than [`MAX_HASHES`] lie between.
    #[error("the elements lie {hashes} hashes apart: ask for the originator's signed checkpoint")]
    TooFar {
        /// How many.
        hashes: u32,
    },
    /// It does not belong to the chain.
    #[error("the element does not belong to the originator's chain")]
    Forged,
    /// The chain has no such sequence number: the originator needs a new generation.
    #[error("the chain of this generation is used up")]
    Exhausted,
}

impl Position {
    /// The index in the chain, 1 to 131072: larger is newer or better.
    pub const fn index(self) -> Result<u32, ChainError> {
        if self.seq == 0 || self.seq > MAX_SEQ || self.step as u32 >= STEPS {
            return Err(ChainError::Position {
                seq: self.seq,
                step: self.step,
            });
        }
        Ok(self.seq as u32 * STEPS - self.step as u32)
    }

    /// Where a signed checkpoint of `seq` stands: at its worst step.
    pub const fn checkpoint(seq: u16) -> Self {
        Self {
            seq,
            step: (STEPS - 1) as u8,
        }
    }
}

/// H: the element at `index - 1` from the one at `index`.
fn hash(originator: &NodeAddress, generation: u32, index: u32, element: Element) -> Element {
    let mut input = [0; 55];
    input[..15].copy_from_slice(DOMAIN);
    input[15..31].copy_from_slice(&element.0);
    input[31..47].copy_from_slice(originator.as_bytes());
    input[47..51].copy_from_slice(&generation.to_be_bytes());
    input[51..].copy_from_slice(&index.to_be_bytes());
    let digest = blake3::hash(&input);
    let mut next = Element::default();
    next.0.copy_from_slice(&digest.as_bytes()[..16]);
    next
}

/// The element of `to`, an older or worse position, from the one of `from`.
pub fn advance(
    originator: &NodeAddress,
    generation: u32,
    from: Position,
    element: Element,
    to: Position,
) -> Result<Element, ChainError> {
    let (from, to) = (from.index()?, to.index()?);
    let hashes = from.checked_sub(to).ok_or(ChainError::Backward)?;
    if hashes > MAX_HASHES {
        return Err(ChainError::TooFar { hashes });
    }
    Ok((to + 1..=from).rev().fold(element, |element, index| {
        hash(originator, generation, index, element)
    }))
}

/// Checks a claimed element against one known to be the originator's. Costs as many hashes as lie between the two,
/// at most [`MAX_HASHES`]. A claim that holds and is newer or better may take the known one's place.
pub fn verify(
    originator: &NodeAddress,
    generation: u32,
    known: (Position, Element),
    claimed: (Position, Element),
) -> Result<(), ChainError> {
    let (better, worse) = if claimed.0.index()? >= known.0.index()? {
        (claimed, known)
    } else {
        (known, claimed)
    };
    let reached = advance(originator, generation, better.0, better.1, worse.0)?;
    if bool::from(reached.0.ct_eq(&worse.1.0)) {
        Ok(())
    } else {
        Err(ChainError::Forged)
    }
}

/// The originator's side of one generation: computes any of its elements with at most 127 hashes. Holds 16 bytes for
/// each sequence number once built (16 KiB for a full chain), zeroised when dropped.
pub struct HashChain {
    seed: SecretKey,
    originator: NodeAddress,
    generation: u32,
    length: u16,
    /// The element of (seq, 0) at place seq - 1; empty until the first element is asked for.
    checkpoints: Zeroizing<Vec<Element>>,
}

impl HashChain {
    /// The full chain of [`MAX_SEQ`] sequence numbers. Nothing is computed yet.
    pub fn new(secret: &SecretKey, originator: NodeAddress, generation: u32) -> Self {
        // A fuzzer starts nodes all the time, and short chains are used up sooner.
        let length = if cfg!(fuzzing) { 16 } else { MAX_SEQ };
        Self::with_length(secret, originator, generation, length)
    }

    /// A chain of `length` sequence numbers (at least 1, at most [`MAX_SEQ`]): time to build it and memory are in
    /// proportion, and nobody else can tell.
    pub fn with_length(
        secret: &SecretKey,
        originator: NodeAddress,
        generation: u32,
        length: u16,
    ) -> Self {
        let salt: [&[u8]; 2] = [originator.as_bytes(), &generation.to_be_bytes()];
        Self {
            seed: kdf::derive(secret, SEED_LABEL, &salt),
            originator,
            generation,
            length: length.clamp(1, MAX_SEQ),
            checkpoints: Zeroizing::new(Vec::new()),
        }
    }

    /// The generation the elements belong to.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The highest sequence number there is.
    pub const fn length(&self) -> u16 {
        self.length
    }

    /// The element of a position. The first call builds the chain: 128 hashes for each sequence number.
    pub fn element(&mut self, position: Position) -> Result<Element, ChainError> {
        let index = position.index()?;
        if position.seq > self.length {
            return Err(ChainError::Exhausted);
        }
        if self.checkpoints.is_empty() {
            self.build();
        }
        let best = Position {
            seq: position.seq,
            step: 0,
        };
        debug_assert!(best.index().is_ok_and(|best| best >= index));
        let checkpoint = self.checkpoints[usize::from(position.seq) - 1];
        advance(
            &self.originator,
            self.generation,
            best,
            checkpoint,
            position,
        )
    }

    fn build(&mut self) {
        let mut checkpoints = vec![Element::default(); usize::from(self.length)];
        let mut element = Element::default();
        element.0.copy_from_slice(&self.seed.as_bytes()[..16]);
        for (place, checkpoint) in checkpoints.iter_mut().enumerate().rev() {
            *checkpoint = element;
            let index = (place as u32 + 1) * STEPS;
            for index in (index - STEPS + 1..=index).rev() {
                element = hash(&self.originator, self.generation, index, element);
            }
        }
        element.zeroize();
        self.checkpoints = Zeroizing::new(checkpoints);
    }
}

impl fmt::Debug for HashChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HashChain({}, generation {})",
            self.originator, self.generation
        )
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> NodeAddress {
        let mut bytes = [0xfc; 16];
        bytes[15] = last;
        NodeAddress::from_bytes(bytes).unwrap()
    }

    fn chain(length: u16) -> HashChain {
        HashChain::with_length(&SecretKey::new([3; 32]), address(1), 9, length)
    }

    fn at(seq: u16, step: u8) -> Position {
        Position { seq, step }
    }

    #[test]
    fn every_element_of_a_chain_follows_from_every_better_one_within_reach() {
        let mut chain = chain(9);
        let known = chain.element(at(9, 0)).unwrap();
        for seq in 2..=9 {
            for step in [0, 1, 63, 126, 127] {
                let wanted = chain.element(at(seq, step)).unwrap();
                assert_eq!(
                    advance(&address(1), 9, at(9, 0), known, at(seq, step)),
                    Ok(wanted)
                );
            }
        }
    }

    #[test]
    fn nothing_better_or_newer_follows() {
        let element = chain(4).element(at(3, 5)).unwrap();
        for better in [at(3, 4), at(3, 0), at(4, 127)] {
            let result = advance(&address(1), 9, at(3, 5), element, better);
            assert_eq!(result, Err(ChainError::Backward));
        }
    }

    #[test]
    fn more_than_a_thousand_and_twenty_four_hashes_are_refused() {
        let mut chain = chain(20);
        let top = chain.element(at(20, 0)).unwrap();
        assert!(advance(&address(1), 9, at(20, 0), top, at(12, 0)).is_ok());
        let result = advance(&address(1), 9, at(20, 0), top, at(12, 1));
        assert_eq!(result, Err(ChainError::TooFar { hashes: 1025 }));
    }

    #[test]
    fn positions_outside_the_chain_do_not_exist() {
        for bad in [at(0, 0), at(1025, 0), at(1, 128), at(u16::MAX, u8::MAX)] {
            let error = ChainError::Position {
                seq: bad.seq,
                step: bad.step,
            };
            assert_eq!(bad.index(), Err(error));
            assert_eq!(chain(1).element(bad), Err(error));
        }
        assert_eq!(at(1, 127).index(), Ok(1));
        assert_eq!(at(MAX_SEQ, 0).index(), Ok(131_072));
        assert_eq!(chain(4).element(at(5, 0)), Err(ChainError::Exhausted));
    }

    #[test]
    fn chains_of_other_originators_generations_and_secrets_do_not_verify() {
        let known = (at(2, 127), chain(4).element(at(2, 127)).unwrap());
        let good = (at(3, 9), chain(4).element(at(3, 9)).unwrap());
        assert_eq!(verify(&address(1), 9, known, good), Ok(()));
        assert_eq!(verify(&address(1), 9, good, known), Ok(()));
        assert_eq!(verify(&address(2), 9, known, good), Err(ChainError::Forged));
        assert_eq!(verify(&address(1), 8, known, good), Err(ChainError::Forged));
        let mut other = HashChain::with_length(&SecretKey::new([4; 32]), address(1), 9, 4);
        let forged = (at(3, 9), other.element(at(3, 9)).unwrap());
        assert_eq!(
            verify(&address(1), 9, known, forged),
            Err(ChainError::Forged)
        );
    }

    #[test]
    fn an_element_passed_off_as_a_better_step_is_forged() {
        let mut chain = chain(4);
        let known = (at(2, 127), chain.element(at(2, 127)).unwrap());
        let heard = chain.element(at(3, 20)).unwrap();
        for better in [at(3, 19), at(3, 0), at(4, 20)] {
            let claimed = (better, heard);
            assert_eq!(
                verify(&address(1), 9, known, claimed),
                Err(ChainError::Forged)
            );
        }
    }

    #[test]
    fn a_full_chain_takes_sixteen_kibibytes() {
        let mut chain = chain(MAX_SEQ);
        chain.element(at(1, 127)).unwrap();
        assert_eq!(size_of_val(&chain.checkpoints[..]), 16 * 1024);
    }
}
