//! A token bucket: how often something may happen. Time comes in as an argument.

use core::time::Duration;

use crate::time::Instant;

/// Lets a burst pass and then a steady rate.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    tokens: u32,
    burst: u32,
    interval: Duration,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that fills by `per_second` (at least 1).
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self {
            tokens: burst,
            burst,
            interval: Duration::from_secs(1) / per_second.max(1),
            filled: Instant::ZERO,
        }
    }

    /// Whether it may happen once more now; takes a token if so.
    pub fn allow(&mut self, now: Instant) -> bool {
        self.fill(now);
        let allowed = self.tokens > 0;
        self.tokens -= u32::from(allowed);
        allowed
    }

    /// Whether at least half of the burst is left: nobody is hurrying.
    pub fn is_calm(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens > self.burst / 2
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.since(self.filled).as_micros();
        let gained = passed / self.interval.as_micros().max(1);
        if gained >= u128::from(self.burst - self.tokens) {
            self.tokens = self.burst;
            self.filled = now;
        } else {
            let gained = gained as u32;
            self.tokens += gained;
            self.filled = self.filled + self.interval * gained;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_lets_a_burst_pass_and_then_the_rate() {
        let mut bucket = TokenBucket::new(3, 10);
        let start = Instant::from_micros(5_000_000);
        assert_eq!((0..10).filter(|_| bucket.allow(start)).count(), 3);
        let later = start + Duration::from_millis(250);
        assert_eq!((0..10).filter(|_| bucket.allow(later)).count(), 2);
        assert!(bucket.allow(start + Duration::from_millis(300)));
        assert!(!bucket.is_calm(start + Duration::from_millis(300)));
        assert!(bucket.is_calm(start + Duration::from_millis(550)));
    }
}
