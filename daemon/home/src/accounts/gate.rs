//! How often a source may ask for work that is dear, and how much of it goes on at once: one derivation of a key from a
//! passphrase at a time, a few that wait, everybody else is asked to come again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Sources that are remembered. Beyond it, those that have not asked for a while are forgotten.
const SOURCES: usize = 4096;

/// How often something may be done, over a long time and at once.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time between two.
    pub every: Duration,
    /// How many at once after a rest.
    pub burst: u32,
}

impl Pace {
    /// How far ahead of its even pace somebody may be.
    fn slack(self) -> Duration {
        self.every * self.burst.saturating_sub(1)
    }

    /// Takes one turn. `due` is when the next would be at an even pace (GCRA, ITU-T I.371); it is moved on.
    /// The error is how long to wait.
    pub fn take(self, due: &mut Instant, now: Instant) -> Result<(), Duration> {
        let at = (*due).max(now);
        let ahead = at.duration_since(now);
        if ahead > self.slack() {
            return Err(ahead - self.slack());
        }
        *due = at + self.every;
        Ok(())
    }
}

/// Who asked how often, by address. Whoever has no address (a socket of this machine) is one source.
#[derive(Debug)]
pub struct Sources {
    pace: Pace,
    due: Mutex<HashMap<Option<IpAddr>, Instant>>,
}

impl Sources {
    /// Nobody has asked yet.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            due: Mutex::default(),
        }
    }

    /// Takes one turn of this source. The error is how long it has to wait.
    pub fn take(&self, source: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let source = source.map(household);
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= SOURCES && !due.contains_key(&source) {
            due.retain(|_, due| *due > now);
            if due.len() >= SOURCES {
                return Err(self.pace.every);
            }
        }
        self.pace.take(due.entry(source).or_insert(now), now)
    }
}

/// The part of an address that stands for one household: all of IPv4, the first 64 bits of IPv6.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 => v4,
    }
}

/// One at a time, and a bounded queue.
#[derive(Debug)]
pub struct Queue {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// One turn; the next begins when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Queue {
    /// At most `waiting` may wait behind the one whose turn it is.
    pub fn new(waiting: usize) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(waiting + 1)),
        }
    }

    /// Waits for a turn; `None` when too many wait.
    pub async fn enter(&self) -> Option<Turn> {
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return None,
        };
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some(Turn {
            _turn: turn,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_burst_and_then_its_pace() {
        let sources = Sources::new(Pace {
            every: Duration::from_secs(10),
            burst: 3,
        });
        let start = Instant::now();
        let from = |text: &str| Some(text.parse().unwrap());
        let one = from("2001:db8::1");
        assert!((0..3).all(|_| sources.take(one, start).is_ok()));
        assert_eq!(
            sources.take(from("2001:db8::ffff:1"), start),
            Err(Duration::from_secs(10)),
            "the same household"
        );
        assert!(
            sources.take(from("2001:db8:0:1::1"), start).is_ok(),
            "its neighbour"
        );
        assert!(sources.take(None, start).is_ok());
        assert!(sources.take(one, start + Duration::from_secs(10)).is_ok());
        assert!(sources.take(one, start + Duration::from_secs(10)).is_err());
        let later = start + Duration::from_secs(3600);
        assert_eq!(
            (0..9).filter(|_| sources.take(one, later).is_ok()).count(),
            3
        );
    }

    #[test]
    fn a_crowd_of_sources_is_remembered_only_up_to_a_bound() {
        let sources = Sources::new(Pace {
            every: Duration::from_secs(1),
            burst: 1,
        });
        let start = Instant::now();
        for n in 0..SOURCES as u32 + 10 {
            let _ = sources.take(Some(std::net::Ipv4Addr::from_bits(n).into()), start);
        }
        assert_eq!(sources.due.lock().unwrap().len(), SOURCES);
        let newcomer = Some(std::net::Ipv4Addr::from_bits(u32::MAX).into());
        assert!(sources.take(newcomer, start).is_err());
        assert!(
            sources
                .take(newcomer, start + Duration::from_secs(2))
                .is_ok()
        );
    }

    #[tokio::test]
    async fn one_works_some_wait_and_the_rest_come_again() {
        let queue = Arc::new(Queue::new(2));
        let first = queue.enter().await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.enter().await.is_some() })
            })
            .collect();
        while queue.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(queue.enter().await.is_none());
        drop(first);
        for waiting in waiting {
            assert!(waiting.await.unwrap());
        }
        assert!(queue.enter().await.is_some());
    }
}
