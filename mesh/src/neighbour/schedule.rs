//! When an interface says HELLO: often after a change of the node's own neighbours, rarely when nothing changes.

use core::time::Duration;

use crate::rng::NodeRng;
use crate::time::Instant;

/// Interval after a change ...
const FAST: Duration = Duration::from_millis(500);
/// ... for this many HELLOs; then it doubles ...
const FAST_COUNT: u32 = 40;
/// ... up to this where many listen ...
const SLOW: Duration = Duration::from_secs(4);
/// ... and this where one does.
const SLOW_POINT_TO_POINT: Duration = Duration::from_secs(8);
/// After a change was announced a HELLO follows within this time, in case the announcement was lost, ...
const TAIL: Duration = Duration::from_millis(500);
/// ... or this where frames are lost or the node has just started, ...
const TAIL_LOSSY: Duration = Duration::from_millis(100);
/// ... which is how long "just started" lasts.
const YOUNG: Duration = Duration::from_secs(5);

/// An interface's HELLO timer.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    interval: Duration,
    count: u32,
    next: Instant,
    started: Instant,
    quick_ones: u32,
    /// Counts HELLOs on this interface.
    pub seq: u16,
}

impl Schedule {
    /// The first HELLO is due at once, give or take.
    pub fn new(now: Instant, rng: &mut NodeRng) -> Self {
        Self {
            interval: FAST,
            count: 0,
            next: now + rng.between(Duration::ZERO, Duration::from_millis(50)),
            started: now,
            quick_ones: 0,
            seq: 0,
        }
    }

    /// When the next HELLO is due.
    pub const fn next(&self) -> Instant {
        self.next
    }

    /// The longest time until the next HELLO, to be announced in this one. Advances the schedule.
    pub fn on_hello(
        &mut self,
        now: Instant,
        is_point_to_point: bool,
        rng: &mut NodeRng,
    ) -> Duration {
        self.seq = self.seq.wrapping_add(1);
        self.count = self.count.saturating_add(1);
        let slowest = if is_point_to_point {
            SLOW_POINT_TO_POINT
        } else {
            SLOW
        };
        if self.count > FAST_COUNT {
            self.interval *= 2;
        }
        self.interval = self.interval.min(slowest);
        let mut wait = rng.jitter(self.interval, 90, 110);
        if self.quick_ones > 1 {
            self.quick_ones -= 1;
            wait = wait.min(rng.jitter(TAIL_LOSSY, 80, 120));
        }
        self.next = now + wait;
        self.interval
    }

    /// The node's own neighbours changed.
    pub fn hurry(&mut self, now: Instant, rng: &mut NodeRng) {
        self.count = 0;
        self.interval = FAST;
        let soon = now + rng.jitter(FAST, 30, 100);
        self.next = self.next.min(soon);
    }

    /// A change was announced: let a HELLO follow, which names the table version. `worst` is the worst quality of a
    /// link here, 0 to 1.
    pub fn follow_up(&mut self, now: Instant, worst: f32, rng: &mut NodeRng) {
        let is_shaky = now.since(self.started) < YOUNG || worst < 0.97;
        self.quick_ones = match (is_shaky, worst < 0.8) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };
        let tail = if is_shaky { TAIL_LOSSY } else { TAIL };
        self.next = self.next.min(now + rng.jitter(tail, 80, 120));
    }
}
