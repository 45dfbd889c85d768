//! The node's random numbers: ChaCha20 from a seed that the caller took from the operating system (or, in the
//! simulator, from the run's seed). Nothing else in the crate makes randomness.

use core::fmt;
use core::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Cryptographically strong and, for a given seed, always the same.
pub struct NodeRng(ChaCha20Rng);

impl NodeRng {
    /// A generator of this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// The generator as the cryptographic modules take it.
    pub const fn inner(&mut self) -> &mut ChaCha20Rng {
        &mut self.0
    }

    /// An independent generator.
    pub fn fork(&mut self) -> Self {
        Self::new(self.array())
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A duration drawn evenly from `from` to `to`.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX - 1);
        from + Duration::from_micros(self.0.next_u64() % (span + 1))
    }

    /// `duration` times a factor drawn evenly from `low` to `high`, in percent.
    pub fn jitter(&mut self, duration: Duration, low: u32, high: u32) -> Duration {
        self.between(duration * low / 100, duration * high / 100)
    }
}

impl fmt::Debug for NodeRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeRng")
    }
}
