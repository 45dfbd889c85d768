//! The links of a home: one to its own relay, which is read whole, one to each home that the plan names, and one to each
//! relay of the Internet that the owner lists. The plan is made again when somebody's list of people or relays is new, and
//! every now and then, because homes come and go.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nostr::key::PublicKey;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::cache::Cache;
use super::link::{Ask, Link, Wants};
use super::plan::{elsewhere, plan};
use super::way::{ToHome, Way};
use crate::dialer::{Dialer, ServiceName};
use crate::people::People;

/// Questions that may wait at one link.
const ASKS: usize = 8;
/// People of this home that others are asked for.
const US: usize = 500;
/// How long somebody waits for answers of other homes.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How soon, and how often, homes are looked for again once somebody lives here.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const FIRST_LOOKS: u32 = 5;

struct Running {
    is_home: bool,
    wants: watch::Sender<Arc<Wants>>,
    asks: mpsc::Sender<Ask>,
}

/// All links.
pub struct Links {
    dialer: Arc<dyn Dialer>,
    cache: Arc<Cache>,
    /// Relays of the Internet.
    listed: Vec<Arc<dyn Way>>,
    /// By the name of the way.
    running: Mutex<HashMap<String, Running>>,
    news: Arc<Notify>,
}

impl Links {
    /// None yet.
    pub fn new(dialer: Arc<dyn Dialer>, cache: Arc<Cache>, listed: Vec<Arc<dyn Way>>) -> Self {
        Self {
            dialer,
            cache,
            listed,
            running: Mutex::default(),
            news: Arc::default(),
        }
    }

    /// Has the plan made again soon.
    pub fn look(&self) {
        self.news.notify_one();
    }

    /// Keeps the links as they should be. Never ends.
    pub async fn keep(&self, own: &ServiceName, people: &People, every: Duration) {
        let mut here: Option<Vec<PublicKey>> = None;
        let mut opened = people.opened();
        let mut looks = 0;
        loop {
            let mut us = people.accounts.people();
            us.sort();
            if here.as_ref() != Some(&us) {
                let (cache, now) = (Arc::clone(&self.cache), us.clone());
                let sorted = tokio::task::spawn_blocking(move || cache.sort_out(&now)).await;
                if let Ok(Err(error)) = sorted {
                    log::warn!("the feed cannot be sorted: {error}");
                }
                here = Some(us.clone());
            }
            us.truncate(US);
            // What a look asks for is there at the next one.
            let pause = if us.is_empty() || looks >= FIRST_LOOKS {
                every
            } else {
                looks += 1;
                every.min(FIRST_LOOK)
            };
            self.follow_plan(own, us).await;
            tokio::select! {
                () = self.news.notified() => {}
                _ = opened.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn follow_plan(&self, own: &ServiceName, us: Vec<PublicKey>) {
        // Nobody lives here: there is nothing to ask others for.
        let relays = if us.is_empty() {
            Vec::new()
        } else {
            self.dialer.relays()
        };
        let mut runs: HashMap<ServiceName, u32> = HashMap::new();
        for listing in relays {
            let run = runs.entry(listing.service).or_default();
            *run = listing.run.max(*run); // 0: it says so without a proof, or nothing is known
        }
        let in_reach: BTreeSet<ServiceName> = runs.keys().cloned().collect();
        let (cache, home) = (Arc::clone(&self.cache), own.clone());
        let made = tokio::task::spawn_blocking(move || {
            let mut followed = cache.all_followed()?;
            let plan = plan(&followed, &in_reach, Some(&home), cache.limits.links);
            followed.retain(|person| !cache.lives_here(&person.author));
            Ok::<_, rusqlite::Error>((plan, elsewhere(&followed, &in_reach)))
        });
        let (plan, elsewhere) = match made.await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return log::warn!("nobody can be asked for posts: {error}"),
            Err(_) => return,
        };
        let to_home = |service: ServiceName| -> Arc<dyn Way> {
            let dialer = Arc::clone(&self.dialer);
            Arc::new(ToHome { dialer, service })
        };
        let everything = Wants {
            all: true,
            ..Wants::default()
        };
        let mut needed = vec![(to_home(own.clone()), everything)];
        let wants = |authors, run| Wants {
            authors,
            us: us.clone(),
            all: false,
            run,
        };
        needed.extend(plan.into_iter().map(|(home, authors)| {
            let run = runs.get(&home).copied().unwrap_or_default();
            (to_home(home), wants(authors, run))
        }));
        let listed = self.listed.iter().filter(|_| !us.is_empty());
        needed.extend(listed.map(|way| (Arc::clone(way), wants(elsewhere.clone(), 0))));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|name, _| needed.iter().any(|(way, _)| way.name() == name));
        for (way, mut wants) in needed {
            match running.get(way.name()) {
                Some(link) => {
                    link.wants.send_if_modified(|known| {
                        if wants.run == 0 {
                            wants.run = known.run; // out of reach for now: it may be the same one that comes back
                        }
                        let is_new = **known != wants;
                        if is_new {
                            *known = Arc::new(wants);
                        }
                        is_new
                    });
                }
                None => drop(running.insert(way.name().to_owned(), self.begin(way, wants))),
            }
        }
    }

    fn begin(&self, way: Arc<dyn Way>, wants: Wants) -> Running {
        let is_home = way.is_home();
        let (wants, wanted) = watch::channel(Arc::new(wants));
        let (asks, asked) = mpsc::channel(ASKS);
        let link = Link {
            way,
            cache: Arc::clone(&self.cache),
            wants: wanted,
            asks: asked,
            news: Arc::clone(&self.news),
            due: Instant::now(),
            renewed: None,
        };
        tokio::spawn(link.run());
        Running {
            is_home,
            wants,
            asks,
        }
    }

    /// Asks all homes that are listened to, and waits a moment for what they have.
    pub async fn ask(&self, filter: &Value) {
        let waiting: Vec<oneshot::Receiver<()>> = {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            // What somebody looks at is nothing that the Internet is told.
            let asked = running.values().filter(|link| link.is_home);
            let asked = asked.filter_map(|link| {
                let (done, answer) = oneshot::channel();
                let filter = filter.clone();
                link.asks.try_send(Ask { filter, done }).ok()?;
                Some(answer)
            });
            asked.collect()
        };
        let all = futures_util::future::join_all(waiting);
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }

    /// Ends all.
    pub fn close(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clear();
    }
}
