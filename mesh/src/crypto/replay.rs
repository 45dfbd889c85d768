//! Counters against replay: 64 bits of which 32 travel (RFC 4304, appendix A), and a sliding window for frames that
//! overtake each other (RFC 6479's blocks). Checking never changes anything; only [`ReplayWindow::commit`], called
//! after the tag was found valid, does. Nothing here knows a key.

const BLOCKS: usize = 32;
const BLOCK_BITS: u64 = 64;

/// How far behind the newest counter a frame may arrive. One block of the bitmap is always the one being cleared.
pub const WINDOW: u64 = (BLOCKS as u64 - 1) * BLOCK_BITS;

/// Why a counter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Further behind the newest than the window reaches, so nobody knows whether it was seen.
    #[error("the counter lies behind the replay window")]
    TooOld,
    /// Seen before.
    #[error("the counter was seen before")]
    Replayed,
}

/// Which counters were seen, for one key in one direction.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// One above the highest counter committed.
    next: u64,
    /// Counters below this one are refused.
    floor: u64,
    blocks: [u64; BLOCKS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl ReplayWindow {
    /// A window that has seen nothing and refuses every counter below `counter`.
    pub const fn starting_at(counter: u64) -> Self {
        Self {
            next: counter,
            floor: counter,
            blocks: [0; BLOCKS],
        }
    }

    /// One above the highest counter seen.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The full counter behind the 32 bits of a frame, if it may be accepted: the only one in the 2^32 counters that
    /// start at the lower edge of the window (RFC 4304, appendix A2.1).
    pub fn check(&self, low: u32) -> Result<u64, ReplayError> {
        let edge = self.next.wrapping_sub(WINDOW);
        let ahead = u64::from(low.wrapping_sub(edge as u32));
        let counter = edge.wrapping_add(ahead);
        // Before the window has left zero its lower edge lies below it; so may the counter.
        if (self.next < WINDOW && counter >= edge) || counter < self.floor {
            return Err(ReplayError::TooOld);
        }
        if counter < self.next && self.blocks[Self::block(counter)] & Self::bit(counter) != 0 {
            return Err(ReplayError::Replayed);
        }
        Ok(counter)
    }

    /// Marks a counter that [`ReplayWindow::check`] returned as seen, after its frame's tag was found valid.
    pub fn commit(&mut self, counter: u64) {
        if counter >= self.next {
            let newest = self.next.saturating_sub(1) / BLOCK_BITS;
            let fresh = counter / BLOCK_BITS - newest;
            for step in 1..=fresh.min(BLOCKS as u64) {
                self.blocks[((newest + step) % BLOCKS as u64) as usize] = 0;
            }
            self.next = counter.saturating_add(1);
        }
        self.blocks[Self::block(counter)] |= Self::bit(counter);
    }

    const fn block(counter: u64) -> usize {
        (counter / BLOCK_BITS % BLOCKS as u64) as usize
    }

    const fn bit(counter: u64) -> u64 {
        1 << (counter % BLOCK_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn accept(window: &mut ReplayWindow, counter: u64) -> Result<(), ReplayError> {
        let full = window.check(counter as u32)?;
        assert_eq!(full, counter);
        window.commit(full);
        Ok(())
    }

    #[test]
    fn a_counter_is_taken_once_and_an_overtaken_one_within_the_window() {
        let mut window = ReplayWindow::default();
        for counter in [0, 5, 3, WINDOW + 3] {
            assert_eq!(accept(&mut window, counter), Ok(()));
            assert_eq!(window.check(counter as u32), Err(ReplayError::Replayed));
        }
        assert_eq!(accept(&mut window, 4), Ok(()));
        assert_eq!(window.next(), WINDOW + 4);
    }

    #[test]
    fn checking_alone_changes_nothing() {
        let window = ReplayWindow::default();
        assert_eq!(window.check(70_000), Ok(70_000));
        assert_eq!(window.check(0), Ok(0));
    }

    #[test]
    fn the_high_half_follows_across_two_to_the_thirty_two() {
        let mut window = ReplayWindow::default();
        for counter in [
            0xffff_0000,
            0xffff_ffff,
            0x1_0000_0001,
            0x1_0000_0000,
            0xffff_fff0,
            0x1_8000_0000,
        ] {
            assert_eq!(accept(&mut window, counter), Ok(()), "{counter:x}");
        }
        assert_eq!(window.check(0x7fff_ffff), Ok(0x1_7fff_ffff));
    }

    #[test]
    fn before_the_first_turn_nothing_lies_below_zero() {
        let mut window = ReplayWindow::default();
        assert_eq!(accept(&mut window, 5), Ok(()));
        assert_eq!(window.check(u32::MAX), Err(ReplayError::TooOld));
        assert_eq!(window.check(0xffff_f000), Ok(0xffff_f000));
    }

    #[test]
    fn counters_that_overtake_each_other_are_taken_forever_whatever_their_stride() {
        for stride in [1, 2, 63, 64, 65, 1000, WINDOW - 1] {
            let mut window = ReplayWindow::default();
            for n in (0..3 * WINDOW).map(|n| n ^ 1) {
                assert_eq!(accept(&mut window, n * stride), Ok(()), "{n} x {stride}");
            }
        }
    }

    #[test]
    fn a_window_that_starts_late_refuses_what_was_before() {
        let mut window = ReplayWindow::starting_at(0x1_0000_0010);
        assert_eq!(window.check(0xf), Err(ReplayError::TooOld));
        assert_eq!(accept(&mut window, 0x1_0000_0010), Ok(()));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_everything_seen(
            start in prop::sample::select(vec![0u64, 1, 4000, 0xffff_f000, 0x5_ffff_ff00]),
            steps in prop::collection::vec((0u64..6000, any::<bool>()), 1..400),
        ) {
            let mut window = ReplayWindow::starting_at(start);
            let (mut seen, mut next) = (BTreeSet::new(), start);
            for (distance, back) in steps {
                let counter = if back { next.saturating_sub(distance) } else { next + distance };
                let expected = counter >= start && counter + WINDOW >= next && !seen.contains(&counter);
                match window.check(counter as u32) {
                    Ok(full) if full == counter => {
                        prop_assert!(expected);
                        window.commit(full);
                        seen.insert(counter);
                        next = next.max(counter + 1);
                    }
                    // Taken for one a whole turn ahead: such a frame fails its tag.
                    Ok(full) => prop_assert!(!expected && full > next),
                    Err(_) => prop_assert!(!expected),
                }
            }
        }
    }
}
