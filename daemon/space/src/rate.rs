//! Token buckets: how often somebody may do something, over a long time and at once. The time comes in.

use std::collections::HashMap;
use std::time::Instant;

use nostr::key::PublicKey;

/// People that are remembered. Beyond it, those whose bucket is full again are forgotten.
const PEOPLE: usize = 4096;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens it holds.
    pub burst: f64,
}

/// One bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self {
            tokens: rate.burst,
            at: now,
        }
    }

    /// Takes one token, if there is one.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.take_some(1, rate, now)
    }

    /// Takes so many tokens, if there are as many. What costs more than the bucket holds costs all of it.
    pub fn take_some(&mut self, tokens: u16, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let cost = f64::from(tokens).min(rate.burst.max(1.0));
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.at = now;
    }
}

/// A bucket for each person.
#[derive(Debug)]
pub struct People {
    rate: Rate,
    buckets: HashMap<PublicKey, Bucket>,
}

impl People {
    /// Nobody has done anything yet.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// Takes one of a person's tokens, if there is one.
    pub fn take(&mut self, person: &PublicKey, now: Instant) -> bool {
        let rate = self.rate;
        if self.buckets.len() >= PEOPLE && !self.buckets.contains_key(person) {
            self.buckets.retain(|_, bucket| {
                bucket.fill(rate, now);
                bucket.tokens < rate.burst
            });
            if self.buckets.len() >= PEOPLE {
                return false; // thousands write at once: newcomers wait a moment
            }
        }
        self.buckets
            .entry(*person)
            .or_insert_with(|| Bucket::full(rate, now))
            .take(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate {
            per_second: 2.0,
            burst: 3.0,
        };
        let start = Instant::now();
        let mut bucket = Bucket::full(rate, start);
        let given = (0..10).filter(|_| bucket.take(rate, start)).count();
        assert_eq!(given, 3);
        assert!(bucket.take(rate, start + Duration::from_millis(500)));
        assert!(!bucket.take(rate, start + Duration::from_millis(500)));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| bucket.take(rate, later)).count(), 3);
    }

    #[test]
    fn a_crowd_is_remembered_only_up_to_a_bound() {
        let start = Instant::now();
        let mut people = People::new(Rate {
            per_second: 1.0,
            burst: 2.0,
        });
        for n in 0..PEOPLE as u32 + 10 {
            let mut key = [1; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            people.take(&PublicKey::from_byte_array(key), start);
        }
        assert_eq!(people.buckets.len(), PEOPLE);
        assert!(people.take(
            &PublicKey::from_byte_array([9; 32]),
            start + Duration::from_secs(5)
        ));
    }
}
