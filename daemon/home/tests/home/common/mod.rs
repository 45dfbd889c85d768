//! Spaces and homes in one process: streams between them are in memory and can be cut, homes listen on loopback.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

pub mod app;
#[cfg(feature = "uplink")]
pub mod foreign;
pub mod http;
pub mod island;
pub mod town;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use warren_home::{
    BoxFuture, BoxStream, Cost, Dialer, Home, HomeConfig, Limits, ServiceKind, ServiceListing,
    ServiceName,
};
use warren_space::{Space, SpaceConfig};

pub const SERVICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Longest wait for something that must come. No test passes because of it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn open_space(dir: &Path) -> Arc<Space> {
    open_space_at(&dir.join("space"), SERVICE)
}

pub fn open_space_at(dir: &Path, service: &str) -> Arc<Space> {
    let config = SpaceConfig {
        dir: dir.to_owned(),
        name: "Garden club".into(),
        about: String::new(),
        service: service.into(),
        owner: None,
        limits: warren_space::Limits::default(),
        stores: warren_space::stores::Stores::default(),
    };
    Space::open(config, warren_space::system_clock()).unwrap()
}

/// A way to one space that can be cut and healed.
pub struct Wire {
    pub space: Mutex<Option<Arc<Space>>>,
    pub opened: AtomicU32,
    is_cut: AtomicBool,
    cuts: watch::Sender<u32>,
}

impl Wire {
    pub fn to(space: &Arc<Space>) -> Arc<Self> {
        Arc::new(Self {
            space: Mutex::new(Some(Arc::clone(space))),
            opened: AtomicU32::new(0),
            is_cut: AtomicBool::new(false),
            cuts: watch::channel(0).0,
        })
    }

    /// Breaks every stream, and lets none be opened.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn heal(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Dialer for Wire {
    fn open<'a>(&'a self, service: &'a ServiceName) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            if self.is_cut.load(Ordering::SeqCst) || service.as_str() != SERVICE {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            let space = self
                .space
                .lock()
                .unwrap()
                .clone()
                .ok_or(io::ErrorKind::HostUnreachable)?;
            self.opened.fetch_add(1, Ordering::SeqCst);
            let (ours, between) = tokio::io::duplex(16 * 1024);
            let (mut between, mut far) = (between, tokio::io::duplex(16 * 1024));
            tokio::spawn(space.serve(far.1));
            let mut cuts = self.cuts.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut between, &mut far.0) => {}
                    _ = cuts.changed() => {}
                }
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn services(&self) -> Vec<ServiceListing> {
        vec![ServiceListing {
            service: ServiceName::parse(SERVICE).unwrap(),
            kind: ServiceKind::Space,
            name: "Garden <club>".into(),
            host: "Ann's home".into(),
            run: 0,
        }]
    }
}

/// What a home takes, with passphrases that cost little and may be tried often.
pub fn limits() -> Limits {
    Limits {
        passphrase_cost: Some(Cost {
            kib: 8192,
            passes: 1,
        }),
        login_burst: 1000,
        new_burst: 1000,
        ..Limits::default()
    }
}

/// A home that listens on loopback.
pub struct TestHome {
    pub home: Arc<Home>,
    pub address: SocketAddr,
    listening: tokio::task::JoinHandle<()>,
}

impl TestHome {
    pub async fn open(dir: &Path, name: &str, wire: &Arc<Wire>) -> Self {
        Self::open_with(dir, name, wire, limits()).await
    }

    pub async fn open_with(dir: &Path, name: &str, wire: &Arc<Wire>, limits: Limits) -> Self {
        let config = HomeConfig {
            dir: dir.join(name),
            name: name.into(),
            host_names: vec!["warren.lan".into()],
            relay: None,
            uplink: Default::default(),
            limits,
        };
        Self::open_config(config, Arc::clone(wire) as Arc<dyn Dialer>).await
    }

    pub async fn open_config(config: HomeConfig, dialer: Arc<dyn Dialer>) -> Self {
        let home = Home::open(config, dialer, warren_home::system_clock()).unwrap();
        home.resume();
        Self::listening(home).await
    }

    /// Serves an open home on loopback.
    pub async fn listening(home: Arc<Home>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&home);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&served).serve(stream));
            }
        });
        Self {
            home,
            address,
            listening,
        }
    }

    pub fn close(&self) {
        self.listening.abort();
        self.home.close();
    }
}

impl Drop for TestHome {
    fn drop(&mut self) {
        self.close();
    }
}

/// One space and two homes, each with a wire of its own to it.
pub struct Village {
    pub wire_a: Arc<Wire>,
    pub wire_c: Arc<Wire>,
    pub a: TestHome,
    pub c: TestHome,
    pub dir: tempfile::TempDir,
}

impl Village {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let space = open_space(dir.path());
        let (wire_a, wire_c) = (Wire::to(&space), Wire::to(&space));
        let a = TestHome::open(dir.path(), "a", &wire_a).await;
        let c = TestHome::open(dir.path(), "c", &wire_c).await;
        Self {
            wire_a,
            wire_c,
            a,
            c,
            dir,
        }
    }
}

/// The passphrase of everybody here.
pub const PASS: &str = "correct horse battery";

/// One home with one space.
pub async fn home(limits: Limits) -> (tempfile::TempDir, Arc<Wire>, TestHome) {
    let dir = tempfile::tempdir().unwrap();
    let wire = Wire::to(&open_space(dir.path()));
    let home = TestHome::open_with(dir.path(), "a", &wire, limits).await;
    (dir, wire, home)
}

/// The body that logs a program in.
pub fn login(name: &str, passphrase: &str) -> serde_json::Value {
    serde_json::json!({"name": name, "passphrase": passphrase, "session": "bearer"})
}
