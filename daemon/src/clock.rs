//! Wall-clock time that is never earlier than the last time seen: routers have no battery clock and may have no NTP.
//! Protocol timers do not use it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::error::DaemonError;
use crate::store;

/// Not before this release was made: 2026-11-01, seconds since 1970.
const RELEASED: u64 = 1_793_491_200;
/// A difference between the wall clock and the steady clock that is worth a line in the log.
const JUMP: Duration = Duration::from_secs(600);
/// How often the time is written to disk. After a jump a whole such period has to pass first.
const PERSIST_EVERY: Duration = Duration::from_secs(3600);
/// How often [`WallClock::tick`] wants to be called.
pub const TICK: Duration = Duration::from_secs(20);

const KIND: &str = "clock";

/// The clock.
#[derive(Clone, Debug)]
pub struct WallClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    path: PathBuf,
    floor: u64,
    last: (SystemTime, Instant),
    last_saved: Instant,
}

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing new.
    Steady,
    /// The wall clock moved by this many seconds more than time passed.
    Jumped(i64),
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl WallClock {
    /// Starts with what the state directory remembers.
    pub fn open(state: &Path) -> Result<Self, DaemonError> {
        let path = state.join(KIND);
        let floor = store::read_number(&path, KIND)?.unwrap_or(0).max(RELEASED);
        let (wall, steady) = (SystemTime::now(), Instant::now());
        if seconds(wall) < floor {
            log::warn!(
                "the clock says {} s since 1970, earlier than the last time seen ({floor}); using the latter",
                seconds(wall)
            );
        }
        Ok(Self(Arc::new(Mutex::new(State {
            path,
            floor,
            last: (wall, steady),
            last_saved: steady,
        }))))
    }

    /// Seconds since 1970, never before the floor.
    pub fn unix_seconds(&self) -> u64 {
        seconds(SystemTime::now()).max(self.lock().floor)
    }

    /// Notices jumps and remembers the time on disk now and then.
    pub fn tick(&self, wall: SystemTime, steady: Instant) -> Tick {
        let mut state = self.lock();
        let passed = steady.saturating_duration_since(state.last.1).as_secs() as i64;
        let moved = seconds(wall) as i64 - seconds(state.last.0) as i64;
        state.last = (wall, steady);
        let jump = moved - passed;
        if jump.unsigned_abs() >= JUMP.as_secs() {
            log::warn!("the clock jumped by {jump} s; timers go on, dates follow the new time");
            // A time that has just jumped is not remembered until it has stood for a while.
            state.last_saved = steady;
            return Tick::Jumped(jump);
        }
        if steady.saturating_duration_since(state.last_saved) >= PERSIST_EVERY {
            state.last_saved = steady;
            let now = seconds(wall).max(state.floor);
            state.floor = now;
            if let Err(error) = store::write_number(&state.path, KIND, now) {
                log::error!("the time is not remembered: {error}");
            }
        }
        Tick::Steady
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_a_day_is_noticed_and_remembered_only_after_it_has_stood_for_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let clock = WallClock::open(dir.path()).unwrap();
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let day = Duration::from_secs(86_400);
        let minute = Duration::from_secs(60);
        assert_eq!(clock.tick(wall + minute, steady + minute), Tick::Steady);
        let Tick::Jumped(by) = clock.tick(wall + day + minute * 2, steady + minute * 2) else {
            panic!("the jump went unnoticed");
        };
        assert!((86_399..=86_401).contains(&by));
        let file = dir.path().join("clock");
        assert_eq!(
            clock.tick(wall + day + minute * 3, steady + minute * 3),
            Tick::Steady
        );
        assert!(!file.exists());
        let later = Duration::from_secs(3600) + minute * 3;
        assert_eq!(clock.tick(wall + day + later, steady + later), Tick::Steady);
        assert_eq!(
            store::read_number(&file, KIND).unwrap(),
            Some(seconds(wall + day + later))
        );
    }

    #[test]
    fn time_is_never_before_the_last_time_seen() {
        let dir = tempfile::tempdir().unwrap();
        let future = seconds(SystemTime::now()) + 5_000_000;
        store::write_number(&dir.path().join(KIND), KIND, future).unwrap();
        let clock = WallClock::open(dir.path()).unwrap();
        assert!(clock.unix_seconds() >= future);
    }
}
