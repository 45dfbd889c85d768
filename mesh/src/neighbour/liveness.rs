//! Whether a neighbour is alive: unicast probes after the first missed HELLO or an unanswered send. Anything heard ends
//! the suspicion.

use core::time::Duration;

use crate::time::Instant;

/// All probes of one suspicion are sent within this time.
const PROBE_SPAN: Duration = Duration::from_millis(200);
/// A HELLO is missed when this much of its interval has passed, ...
const MISS_PERCENT: u32 = 115;
/// ... and this, ...
const MISS_SLACK: Duration = Duration::from_millis(100);
/// ... and nothing at all was heard for this long.
pub const MISS_SILENCE: Duration = Duration::from_millis(500);
/// A send that nothing answered makes suspicious after this long.
pub const SEND_SILENCE: Duration = Duration::from_millis(80);
/// The other end of a dead link believes the notice if it heard nothing for this long itself.
pub const NOTICE_SILENCE: Duration = Duration::from_millis(50);
/// A suspended link's keys are kept this long: one probe resumes it.
pub const SUSPENDED_KEPT: Duration = Duration::from_secs(60);

/// When a HELLO that was announced within `interval` counts as missed.
pub fn miss_after(interval: Duration) -> Duration {
    interval * MISS_PERCENT / 100 + MISS_SLACK
}

/// A running suspicion.
#[derive(Clone, Copy, Debug)]
pub struct Suspicion {
    since: Instant,
    sent: u32,
    needed: u32,
}

/// What to do about a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Something was heard.
    Alive,
    /// Send a probe, and look again after this time.
    Probe(Duration),
    /// Nothing came back.
    Dead,
}

impl Suspicion {
    /// Starts suspecting; `probes` are needed to be sure.
    pub const fn new(now: Instant, probes: u32) -> Self {
        Self {
            since: now,
            sent: 0,
            needed: probes,
        }
    }

    /// Looks again.
    pub fn check(&mut self, last_heard: Instant) -> Verdict {
        if last_heard > self.since {
            return Verdict::Alive;
        }
        if self.sent >= self.needed {
            return Verdict::Dead;
        }
        self.sent += 1;
        Verdict::Probe(PROBE_SPAN / self.needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_neighbour_is_dead_after_its_probes_and_a_heard_one_is_not() {
        let start = Instant::from_micros(1000);
        let mut suspicion = Suspicion::new(start, 4);
        for _ in 0..4 {
            assert_eq!(
                suspicion.check(start),
                Verdict::Probe(Duration::from_millis(50))
            );
        }
        assert_eq!(suspicion.check(start), Verdict::Dead);
        let later = start + Duration::from_micros(1);
        assert_eq!(Suspicion::new(start, 4).check(later), Verdict::Alive);
    }
}
