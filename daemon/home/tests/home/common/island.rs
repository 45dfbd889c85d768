//! Homes with relays of their own in one process, who reach each other through memory; each can be cut off.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use nostr::key::PublicKey;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use warren_home::{
    BoxFuture, BoxStream, Dialer, FeedLimits, Home, HomeConfig, Limits, ServiceListing,
    ServiceName, UplinkConfig,
};
use warren_space::{Residents, Space, SpaceConfig};

use super::http::Program;
use super::{PASS, PATIENCE, TestHome, limits};

/// The service of the home of this letter.
pub fn service(letter: char) -> String {
    letter.to_string().repeat(52)
}

/// Who lives at a home, as the daemon tells its relay.
#[derive(Default)]
pub struct Tenants(Mutex<Weak<Home>>);

impl Tenants {
    fn home(&self) -> Option<Arc<Home>> {
        self.0.lock().unwrap().upgrade()
    }
}

impl Residents for Tenants {
    fn lives_here(&self, person: &PublicKey) -> bool {
        self.home().is_some_and(|home| home.lives_here(person))
    }
    fn is_home(&self, key: &PublicKey) -> bool {
        self.home().is_some_and(|home| home.is_own_key(key))
    }
    fn named(&self, handle: &str) -> Option<PublicKey> {
        self.home()?.named(handle)
    }
}

/// What takes connections to a service.
type Server = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// A relay, and whether others reach it.
struct Station {
    relay: Mutex<Option<Server>>,
    is_away: AtomicBool,
    cuts: watch::Sender<u32>,
    stalls: watch::Sender<u32>,
    run: AtomicU32,
}

/// All relays, and which services were opened, by which home.
#[derive(Default)]
pub struct Net(
    Mutex<HashMap<String, Arc<Station>>>,
    Mutex<Vec<(String, String)>>,
);

/// The way from one home to all relays.
pub struct Way {
    net: Arc<Net>,
    own: String,
}

impl Net {
    fn station(&self, service: &str) -> Option<Arc<Station>> {
        self.0.lock().unwrap().get(service).cloned()
    }

    fn put(&self, service: &str, relay: &Arc<Space>) {
        let relay = Arc::clone(relay);
        self.put_other(service, move |io| {
            tokio::spawn(Arc::clone(&relay).serve(io));
        });
    }

    /// Puts something else there.
    pub fn put_other(&self, service: &str, serve: impl Fn(DuplexStream) + Send + Sync + 'static) {
        let mut stations = self.0.lock().unwrap();
        let station = stations.entry(service.to_owned()).or_insert_with(|| {
            Arc::new(Station {
                relay: Mutex::default(),
                is_away: AtomicBool::new(false),
                cuts: watch::channel(0).0,
                stalls: watch::channel(0).0,
                run: AtomicU32::new(1),
            })
        });
        *station.relay.lock().unwrap() = Some(Arc::new(serve));
    }

    /// Every service that was opened.
    pub fn opened(&self) -> Vec<String> {
        let opened = self.1.lock().unwrap();
        opened.iter().map(|(service, _)| service.clone()).collect()
    }

    /// Every home, this one included, to which this one had a stream.
    pub fn opened_by(&self, letter: char) -> BTreeSet<String> {
        let opened = self.1.lock().unwrap();
        let by = opened.iter().filter(|(_, by)| *by == service(letter));
        by.map(|(service, _)| service.clone()).collect()
    }

    /// Has every stream to a home from elsewhere carry nothing any more, and nobody be told.
    pub fn stall(&self, letter: char) {
        let station = self.station(&service(letter)).unwrap();
        station.stalls.send_modify(|stalls| *stalls += 1);
    }

    /// Has the others see that the box of a home started anew.
    pub fn started_anew(&self, letter: char) {
        let station = self.station(&service(letter)).unwrap();
        station.run.fetch_add(1, Ordering::SeqCst);
    }

    /// Breaks every stream to a home from elsewhere, and lets none be opened.
    pub fn cut(&self, letter: char) {
        let station = self.station(&service(letter)).unwrap();
        station.is_away.store(true, Ordering::SeqCst);
        station.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets others reach a home again.
    pub fn heal(&self, letter: char) {
        let station = self.station(&service(letter)).unwrap();
        station.is_away.store(false, Ordering::SeqCst);
    }

    /// A stream to a relay.
    fn open(&self, service: &str, own: &str) -> io::Result<BoxStream> {
        let unreachable = || io::Error::from(io::ErrorKind::HostUnreachable);
        let station = self.station(service).ok_or_else(unreachable)?;
        if station.is_away.load(Ordering::SeqCst) && service != own {
            return Err(unreachable());
        }
        let relay = station.relay.lock().unwrap().clone();
        let relay = relay.ok_or_else(unreachable)?;
        let (ours, mut between) = tokio::io::duplex(16 * 1024);
        let (mut near, far) = tokio::io::duplex(16 * 1024);
        let pair = (service.to_owned(), own.to_owned());
        self.1.lock().unwrap().push(pair);
        relay(far);
        let (mut cuts, mut stalls) = (station.cuts.subscribe(), station.stalls.subscribe());
        let is_own = service == own;
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut between, &mut near) => {}
                _ = cuts.changed(), if !is_own => {}
                // Both ends stay open.
                _ = stalls.changed(), if !is_own => std::future::pending().await,
            }
        });
        Ok(Box::new(ours))
    }
}

impl Dialer for Way {
    fn open<'a>(&'a self, service: &'a ServiceName) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move { self.net.open(service.as_str(), &self.own) })
    }

    fn services(&self) -> Vec<ServiceListing> {
        Vec::new()
    }

    fn relays(&self) -> Vec<ServiceListing> {
        let stations = self.net.0.lock().unwrap();
        let reached = stations.iter().filter(|(service, station)| {
            **service == self.own || !station.is_away.load(Ordering::SeqCst)
        });
        reached
            .map(|(service, station)| ServiceListing {
                service: ServiceName::parse(service).unwrap(),
                kind: warren_home::ServiceKind::Home,
                name: format!("home {}", &service[..1]),
                host: format!("home {}", &service[..1]),
                run: station.run.load(Ordering::SeqCst),
            })
            .collect()
    }
}

/// A home with its relay.
pub struct Household {
    pub home: TestHome,
    pub relay: Arc<Space>,
    pub letter: char,
    dir: PathBuf,
    net: Arc<Net>,
    limits: Limits,
    uplink: UplinkConfig,
}

/// What a feed takes here: it looks often and tries again soon, because here that costs nothing.
pub fn quick(change: impl FnOnce(&mut FeedLimits)) -> Limits {
    let mut feed = FeedLimits {
        look_every: Duration::from_millis(100),
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(200),
        ..FeedLimits::default()
    };
    change(&mut feed);
    Limits { feed, ..limits() }
}

impl Household {
    pub async fn open(dir: &Path, net: &Arc<Net>, letter: char) -> Self {
        Self::open_with(dir, net, letter, quick(|_| {})).await
    }

    pub async fn open_with(dir: &Path, net: &Arc<Net>, letter: char, limits: Limits) -> Self {
        Self::open_listing(dir, net, letter, limits, UplinkConfig::default()).await
    }

    /// One whose owner lists relays of the Internet.
    pub async fn open_listing(
        dir: &Path,
        net: &Arc<Net>,
        letter: char,
        limits: Limits,
        uplink: UplinkConfig,
    ) -> Self {
        let tenants = Arc::new(Tenants::default());
        let config = SpaceConfig {
            stores: warren_space::stores::Stores::default(),
            dir: dir.join(format!("relay-{letter}")),
            name: format!("home {letter}"),
            about: String::new(),
            service: service(letter),
            owner: None,
            limits: warren_space::Limits {
                events_per_minute: 60_000,
                event_burst: 60_000,
                ..warren_space::Limits::of_home()
            },
        };
        let residents = Arc::clone(&tenants) as Arc<dyn Residents>;
        let relay = Space::open_personal(config, residents, warren_space::system_clock()).unwrap();
        net.put(&service(letter), &relay);
        let config = HomeConfig {
            dir: dir.join(format!("home-{letter}")),
            name: format!("home {letter}"),
            host_names: Vec::new(),
            relay: ServiceName::parse(&service(letter)),
            uplink: uplink.clone(),
            limits: limits.clone(),
        };
        let way = Way {
            net: Arc::clone(net),
            own: service(letter),
        };
        let home = Home::open(config, Arc::new(way), warren_home::system_clock()).unwrap();
        *tenants.0.lock().unwrap() = Arc::downgrade(&home);
        home.resume();
        Self {
            home: TestHome::listening(home).await,
            relay,
            letter,
            dir: dir.to_owned(),
            net: Arc::clone(net),
            limits,
            uplink,
        }
    }

    /// Where the cache is.
    pub fn cache(&self) -> PathBuf {
        self.dir.join(format!("home-{}-cache", self.letter))
    }

    /// Ends, as a daemon does, and begins anew with what is on the disk.
    pub async fn restart(self) -> Self {
        let uplink = self.uplink.clone();
        let (dir, net, limits, letter) = self.stop();
        Self::open_listing(&dir, &net, letter, limits, uplink).await
    }

    /// Ends.
    pub fn stop(self) -> (PathBuf, Arc<Net>, Limits, char) {
        self.home.close();
        self.relay.close();
        let station = self.net.station(&service(self.letter)).unwrap();
        *station.relay.lock().unwrap() = None;
        station.cuts.send_modify(|cuts| *cuts += 1);
        let parts = (
            self.dir.clone(),
            Arc::clone(&self.net),
            self.limits.clone(),
            self.letter,
        );
        drop(self);
        parts
    }

    /// Somebody new, who wants to be found.
    pub async fn person(&self, name: &str) -> Person<'_> {
        let program = Program::sign_up(&self.home, name, PASS).await;
        program
            .done("PATCH", "account", &json!({"findable": true}))
            .await;
        Person::of(program).await
    }

    /// The same after a restart.
    pub async fn again(&self, name: &str) -> Person<'_> {
        Person::of(Program::log_in(&self.home, name, PASS).await).await
    }
}

/// Somebody who uses the feed.
pub struct Person<'a> {
    pub program: Program<'a>,
    pub key: String,
}

impl<'a> Person<'a> {
    pub async fn of(program: Program<'a>) -> Self {
        let account = program.done("GET", "account", &Value::Null).await;
        let key = account["public_key"].as_str().unwrap().to_owned();
        Self { program, key }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.program.done("GET", path, &Value::Null).await
    }

    /// Posts; the id.
    pub async fn posts(&self, text: &str) -> String {
        self.made("feed/posts", &json!({"text": text})).await
    }

    pub async fn replies(&self, to: &str, text: &str) -> String {
        let body = json!({"text": text, "reply_to": to});
        self.made("feed/posts", &body).await
    }

    pub async fn made(&self, path: &str, body: &Value) -> String {
        let made = self.program.done("POST", path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    pub async fn follows(&self, who: &str) -> Value {
        self.program
            .done("POST", "feed/follows", &json!({"who": who}))
            .await
    }

    pub async fn deletes(&self, path: &str) {
        self.program.done("DELETE", path, &Value::Null).await;
    }

    /// The texts of a list, sorted: what is written in one second comes in any order.
    pub async fn texts(&self, path: &str) -> Vec<String> {
        let mut texts = texts(&self.get(path).await);
        texts.sort();
        texts
    }

    /// Waits until a list has these texts.
    pub async fn sees(&self, path: &str, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        let mut last = Vec::new();
        let seen = async {
            loop {
                last = self.texts(path).await;
                if last == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{path}: expected {expected:?}, got {last:?}");
    }

    /// Waits until an answer is as it should be.
    pub async fn until(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = async {
            loop {
                let (status, answer) = self.program.call("GET", path, &Value::Null).await;
                last = answer;
                if status == 200 && is_right(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{path}: {last}");
        last
    }
}

/// The texts of a list; of a repost that of what is repeated.
pub fn texts(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    let text = |item: &Value| match item["kind"].as_str() {
        Some("repost") => format!("again: {}", item["post"]["text"].as_str().unwrap_or("?")),
        _ => item["text"].as_str().unwrap().to_owned(),
    };
    items.iter().map(text).collect()
}
