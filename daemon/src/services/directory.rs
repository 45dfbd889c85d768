//! What services the island shows: descriptors of the nodes that have a route, asked for in parallel and only while
//! somebody wants to know, kept for a short while. Results are visible as they come. A node that was asked says by itself
//! when it shows something else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, mpsc};
use warren_home::ServiceName;
use warren_mesh::descriptor::{Descriptor, ServiceAnnouncement};
use warren_mesh::identity::NodeAddress;
use warren_mesh::service::{Day, ServiceKey, ServiceKind};

use crate::clock::WallClock;
use crate::plane::command::{Command, PlaneHandle};

/// A descriptor is asked for again after this long, and this long more for each [`NODES_PER_PERIOD`] nodes.
const PERIOD: Duration = Duration::from_secs(10);
const NODES_PER_PERIOD: usize = 64;
/// The same where no person waits: a node that is new is asked at once, and what changes at the others is told by themselves
/// while there is a session, as with every home that posts are read from.
const BACKGROUND_PERIOD: Duration = Duration::from_secs(3600);
/// A node that started again is asked again, but not all the time.
const AGAIN: Duration = Duration::from_secs(5);
/// Time between two looks where no person waits, at least.
const BETWEEN: Duration = Duration::from_millis(900);
/// Requests at once.
const ASKING_MAX: usize = 32;
/// An answer that takes longer is looked for next time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long somebody who asks for the list waits for the first answers.
const MOMENT: Duration = Duration::from_millis(800);
/// Descriptors that may wait to be taken in.
const NEWS_MAX: usize = 32;

/// A service of another node.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: ServiceName,
    /// Who hosts it.
    pub host: NodeAddress,
    /// What that node calls itself.
    pub host_name: String,
    /// What it says; not verified yet.
    pub announcement: ServiceAnnouncement,
    /// See [`Known::run`]; 0 unless it is a home's relay and this is proven to be its host.
    pub run: u32,
}

#[derive(Debug)]
struct Known {
    asked: Instant,
    descriptor: Descriptor,
    /// The node's generation when it was asked, if that was seen. A node that starts again has another one, and has
    /// forgotten who wants to hear of changes.
    generation: Option<u32>,
    /// Another number after the node was away or started again, from 1.
    run: u32,
    /// The homes' relays that it hosts by its word and their keys', as of when it said so.
    proven: Vec<[u8; 32]>,
}

/// See the module.
#[derive(Debug)]
pub struct Directory {
    plane: PlaneHandle,
    known: Mutex<HashMap<NodeAddress, Known>>,
    refreshing: tokio::sync::Mutex<()>,
    wanted: Arc<Notify>,
    wanted_behind: Arc<Notify>,
    /// Something new is known.
    news: Notify,
    runs: AtomicU32,
    clock: WallClock,
}

impl Directory {
    /// An empty directory, and a task on the current runtime that fills it on demand.
    pub fn new(plane: PlaneHandle, clock: WallClock) -> Arc<Self> {
        let (wanted, wanted_behind) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let directory = Arc::new(Self {
            plane,
            known: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(()),
            wanted: Arc::clone(&wanted),
            wanted_behind: Arc::clone(&wanted_behind),
            news: Notify::new(),
            runs: AtomicU32::new(0),
            clock,
        });
        let (news, mut changed) = mpsc::channel(NEWS_MAX);
        if let Err(error) = directory.plane.send(Command::HearNews(news)) {
            log::error!("changes of what others show are seen late: {error}");
        }
        let weak = Arc::downgrade(&directory);
        tokio::spawn(async move {
            while let Some(descriptor) = changed.recv().await {
                let Some(directory) = weak.upgrade() else {
                    return;
                };
                directory.take(descriptor, None);
            }
        });
        let weak = Arc::downgrade(&directory);
        tokio::spawn(async move {
            let mut looked: Option<Instant> = None;
            loop {
                let period = tokio::select! {
                    () = wanted.notified() => PERIOD,
                    () = wanted_behind.notified() => BACKGROUND_PERIOD,
                };
                let Some(directory) = weak.upgrade() else {
                    return;
                };
                let is_soon = looked.is_some_and(|at| at.elapsed() < BETWEEN);
                if period == BACKGROUND_PERIOD && is_soon {
                    continue; // it is looked again soon anyway
                }
                directory.refresh_older_than(period).await;
                looked = Some(Instant::now());
            }
        });
        directory
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeAddress, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the nodes whose descriptors are missing or old.
    async fn refresh(&self) {
        self.refresh_older_than(PERIOD).await;
    }

    async fn refresh_older_than(&self, period: Duration) {
        let _one = self.refreshing.lock().await;
        let Ok(snapshot) = self.plane.snapshot().await else {
            return;
        };
        let routes: HashMap<NodeAddress, u32> = snapshot
            .routes
            .iter()
            .map(|route| (route.destination, route.generation))
            .collect();
        let period = period * (1 + (routes.len() / NODES_PER_PERIOD) as u32);
        let old: Vec<(NodeAddress, u32)> = {
            let mut known = self.known();
            known.retain(|address, _| routes.contains_key(address));
            routes
                .into_iter()
                .filter(|(address, generation)| {
                    known.get_mut(address).is_none_or(|known| {
                        let seen = *known.generation.get_or_insert(*generation);
                        let age = known.asked.elapsed();
                        age >= period || (seen != *generation && age >= AGAIN)
                    })
                })
                .collect()
        };
        stream::iter(old)
            .for_each_concurrent(ASKING_MAX, |(address, generation)| {
                self.ask(address, generation)
            })
            .await;
    }

    async fn ask(&self, address: NodeAddress, generation: u32) {
        let answer = tokio::time::timeout(PATIENCE, self.plane.describe(address)).await;
        if let Ok(Ok(Some(descriptor))) = answer {
            self.take(descriptor, Some(generation));
        }
    }

    /// Takes in what a node says of itself, asked for while it was in this generation.
    fn take(&self, descriptor: Descriptor, generation: Option<u32>) {
        let address = descriptor.key.address();
        let mut all = self.known();
        let before = all.get(&address);
        let seen = before.and_then(|before| before.generation);
        let same = before.filter(|_| generation.is_none() || seen.is_none() || generation == seen);
        let run = same.map_or_else(
            || self.runs.fetch_add(1, Ordering::Relaxed).wrapping_add(1),
            |before| before.run,
        );
        let today = Day::from_unix(self.clock.unix_seconds());
        let relays = descriptor.services.iter();
        let relays = relays.filter(|service| service.kind == ServiceKind::Home);
        let proven = relays.filter(|service| service.verify(&address, today).is_ok());
        let known = Known {
            asked: Instant::now(),
            proven: proven.map(|service| service.key).collect(),
            descriptor,
            generation: generation.or(seen),
            run,
        };
        all.insert(address, known);
        drop(all);
        self.news.notify_waiters();
    }

    /// What is known now, for a person. Has it looked up again meanwhile if it is old.
    pub fn all(&self) -> Vec<Found> {
        self.wanted.notify_one();
        self.now()
    }

    /// The same where no person waits.
    pub fn all_behind(&self) -> Vec<Found> {
        self.wanted_behind.notify_one();
        self.now()
    }

    fn now(&self) -> Vec<Found> {
        let known = self.known();
        known
            .iter()
            .flat_map(|(host, known)| {
                let descriptor = &known.descriptor;
                descriptor.services.iter().filter_map(|service| {
                    Some(Found {
                        name: ServiceName::parse(&ServiceKey(service.key).to_string())?,
                        host: *host,
                        host_name: descriptor.name.clone(),
                        announcement: service.clone(),
                        run: if known.proven.contains(&service.key) {
                            known.run
                        } else {
                            0
                        },
                    })
                })
            })
            .collect()
    }

    /// Looks for what is new, but not for long.
    pub async fn refresh_for_a_moment(&self) {
        let _ = tokio::time::timeout(MOMENT, self.refresh()).await;
    }

    /// All who say that they host a service; waits for answers while there is none.
    pub async fn find(&self, name: &ServiceName) -> Vec<Found> {
        let matching = || {
            let mut all = self.all();
            all.retain(|found| found.name == *name);
            all
        };
        loop {
            let news = self.news.notified();
            let found = matching();
            if !found.is_empty() {
                return found;
            }
            tokio::select! {
                () = news => {}
                () = self.refresh() => return matching(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use warren_mesh::descriptor::Uplink;
    use warren_mesh::identity::MeshIdentity;
    use warren_mesh::node::RouteView;
    use warren_mesh::service::{ServiceKind, ServiceSigner};

    use super::*;
    use crate::plane::command::{COMMANDS_MAX, Snapshot, Waker};

    #[tokio::test]
    async fn what_a_node_shows_is_known_without_asking_again() {
        let (commands, asked) = std::sync::mpsc::sync_channel(COMMANDS_MAX);
        let directory = Directory::new(PlaneHandle::new(commands, Waker::new().unwrap()), clock());
        let Ok(Command::HearNews(news)) = asked.try_recv() else {
            panic!("it wants to hear of changes");
        };
        for title in ["Garden club", "Allotments"] {
            let descriptor = showing(ServiceKind::Space, title);
            let known = directory.news.notified();
            news.send(descriptor).await.unwrap();
            known.await;
            let all = directory.all();
            let titles: Vec<_> = all.iter().map(|found| &*found.announcement.title).collect();
            assert_eq!(titles, [title]);
        }
    }

    /// What one node says of itself while it hosts one service.
    fn showing(kind: ServiceKind, title: &str) -> Descriptor {
        let identity = MeshIdentity::from_seed(&[1; 32]);
        let signer = ServiceSigner::master(&[2; 32]);
        let service = signer.announce(kind, &identity.address(), 7447, title);
        Descriptor {
            key: identity.public_key(),
            number: 1,
            name: "box".into(),
            features: 0,
            uplink: Uplink::None,
            services: vec![service.unwrap()],
        }
    }

    fn clock() -> WallClock {
        WallClock::open(tempfile::tempdir().unwrap().path()).unwrap()
    }

    /// Answers as the data plane until the directory is gone: one node in reach, of a generation that the caller may change.
    /// How often the node was asked.
    fn answer(
        asked: std::sync::mpsc::Receiver<Command>,
        generation: Arc<AtomicU32>,
    ) -> Arc<AtomicU32> {
        let descriptor = showing(ServiceKind::Home, "Ann's home");
        let host = descriptor.key.address();
        let times = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&times);
        std::thread::spawn(move || {
            while let Ok(command) = asked.recv() {
                match command {
                    Command::Snapshot(reply) => {
                        let route = RouteView {
                            destination: host,
                            next_hop: host,
                            cost: 1,
                            step: 0,
                            path_mtu: 1280,
                            has_backup: false,
                            generation: generation.load(Ordering::SeqCst),
                        };
                        let _ = reply.send(Snapshot {
                            routes: vec![route],
                            ..Snapshot::default()
                        });
                    }
                    Command::Describe(_, reply) => {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let _ = reply.send(Some(descriptor.clone()));
                    }
                    _ => {}
                }
            }
        });
        times
    }

    #[tokio::test]
    async fn a_node_that_started_again_is_asked_again_where_nobody_waits() {
        let (commands, asked) = std::sync::mpsc::sync_channel(COMMANDS_MAX);
        let generation = Arc::new(AtomicU32::new(7));
        let times = answer(asked, Arc::clone(&generation));
        let directory = Directory::new(PlaneHandle::new(commands, Waker::new().unwrap()), clock());
        let look = || directory.refresh_older_than(BACKGROUND_PERIOD);
        look().await;
        let first = directory.now()[0].run;
        look().await;
        assert_eq!(directory.now()[0].run, first);
        assert_eq!(times.load(Ordering::SeqCst), 1, "it is known");
        generation.store(8, Ordering::SeqCst);
        look().await;
        assert_eq!(times.load(Ordering::SeqCst), 1, "but not all the time");
        for known in directory.known().values_mut() {
            known.asked -= AGAIN;
        }
        look().await;
        let second = directory.now()[0].run;
        assert!(first != 0 && second != 0 && second != first);
        look().await;
        assert_eq!(directory.now()[0].run, second);
        assert_eq!(times.load(Ordering::SeqCst), 2);
    }
}
