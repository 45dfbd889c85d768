//! A queue of things to do later, ordered by time and then by when they were asked for, so that a run of the simulator
//! repeats exactly. A timer is never cancelled: whoever set it carries a token and finds it stale.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Instant;

/// Timers of kind `K`.
#[derive(Debug)]
pub struct Timers<K> {
    heap: BinaryHeap<Reverse<Timer<K>>>,
    order: u64,
}

#[derive(Debug)]
struct Timer<K> {
    at: Instant,
    order: u64,
    kind: K,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            order: 0,
        }
    }
}

impl<K> Timers<K> {
    /// Asks for `kind` at `at`.
    pub fn set(&mut self, at: Instant, kind: K) {
        self.order += 1;
        self.heap.push(Reverse(Timer {
            at,
            order: self.order,
            kind,
        }));
    }

    /// When the next timer is due.
    pub fn next(&self) -> Instant {
        self.heap.peek().map_or(Instant::NEVER, |timer| timer.0.at)
    }

    /// A timer that is due at `now`, oldest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next() > now {
            return None;
        }
        self.heap.pop().map(|timer| timer.0.kind)
    }
}

impl<K> PartialEq for Timer<K> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<K> Eq for Timer<K> {}

impl<K> PartialOrd for Timer<K> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Timer<K> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_of_time_and_then_of_asking() {
        let mut timers = Timers::default();
        timers.set(Instant::from_micros(5), "late");
        timers.set(Instant::from_micros(1), "first");
        timers.set(Instant::from_micros(1), "second");
        let now = Instant::from_micros(1);
        assert_eq!(timers.pop_due(now), Some("first"));
        assert_eq!(timers.pop_due(now), Some("second"));
        assert_eq!(timers.pop_due(now), None);
        assert_eq!(timers.next(), Instant::from_micros(5));
    }
}
