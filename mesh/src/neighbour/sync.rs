//! How far a neighbour's table is known: versions heard of, versions received, and the asking in between.

use core::time::Duration;

/// First wait for what was asked for; it doubles.
const RETRY: Duration = Duration::from_millis(30);
const TRIES: u32 = 9;

/// A neighbour's table, by version.
#[derive(Clone, Copy, Debug, Default)]
pub struct TableSync {
    received: u32,
    announced: u32,
    seen: u32,
    asking: Option<u32>,
}

impl TableSync {
    /// Entries of version `version` came. Whether they may be used: not if something newer was seen already.
    pub fn on_entries(&mut self, version: u32, cover: Option<(u32, u32)>) -> bool {
        if version < self.seen {
            return false;
        }
        self.seen = version;
        if let Some((from, to)) = cover {
            if from <= self.received {
                self.received = self.received.max(to);
            }
            self.announced = self.announced.max(version);
        }
        true
    }

    /// The neighbour names its table version.
    pub fn on_version(&mut self, version: u32) {
        self.announced = self.announced.max(version);
    }

    /// Whether something is missing and nobody asks for it yet. Starts asking.
    pub fn start_asking(&mut self) -> bool {
        if self.received >= self.announced || self.asking.is_some() {
            return false;
        }
        self.asking = Some(0);
        true
    }

    /// Asks again: since which version, and when to look again. `None`: nothing is missing, or asking was no use.
    pub fn ask(&mut self) -> Option<(u32, Duration)> {
        let tries = self.asking?;
        if self.received >= self.announced || tries >= TRIES {
            self.asking = None;
            return None;
        }
        self.asking = Some(tries + 1);
        Some((self.received, RETRY * (1 << tries.min(4))))
    }

    /// Something that should have come did not: everything is asked for again.
    pub fn restart(&mut self) {
        *self = Self {
            announced: self.announced,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_until_it_is_closed() {
        let mut sync = TableSync::default();
        assert!(sync.on_entries(3, Some((0, 3))));
        assert!(!sync.start_asking());
        assert!(sync.on_entries(7, Some((5, 7))));
        assert!(sync.start_asking());
        assert_eq!(sync.ask().unwrap().0, 3);
        assert!(sync.on_entries(7, Some((3, 7))));
        assert!(sync.ask().is_none());
    }

    #[test]
    fn entries_that_were_overtaken_are_not_used() {
        let mut sync = TableSync::default();
        assert!(sync.on_entries(7, Some((0, 7))));
        assert!(!sync.on_entries(6, None));
    }

    #[test]
    fn asking_ends_when_nobody_answers() {
        let mut sync = TableSync::default();
        sync.on_version(1);
        assert!(sync.start_asking());
        assert_eq!(std::iter::from_fn(|| sync.ask()).count(), TRIES as usize);
    }
}
