//! The run's random numbers: for topologies, delays and losses, apart from those of the nodes.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Reproducible random numbers of a seed.
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits fit a double exactly.
        #[allow(clippy::cast_precision_loss)]
        let value = (self.0.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0;
        value
    }

    /// Evenly from `low` up to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Evenly from 0 up to, not including, `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % (n.max(1) as u64)) as usize
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// 32 random bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}
