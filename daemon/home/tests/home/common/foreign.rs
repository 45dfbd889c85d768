//! A relay of somebody else's, on loopback TCP, with TLS or without. It remembers everything it ever heard, goes away and
//! comes back, and has the manners that a test gives it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::filter::{Filter, MatchEventOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use warren_home::{RelayAddress, UplinkConfig};

use super::PATIENCE;

/// What it says to an event: why it does not take it, or `None` when it does.
type Manners = Box<dyn FnMut(&Event) -> Option<String> + Send>;

struct Memory {
    heard: Mutex<Vec<Value>>,
    events: Mutex<Vec<Event>>,
    manners: Mutex<Manners>,
    /// Sent to everybody as soon as they connect, whatever they ask.
    babble: Mutex<Vec<String>>,
    connections: AtomicU32,
    news: broadcast::Sender<Event>,
    cuts: watch::Sender<u32>,
}

/// See the module.
pub struct Foreign {
    pub address: SocketAddr,
    memory: Arc<Memory>,
    tls: Option<TlsAcceptor>,
    listening: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Foreign {
    /// Without TLS.
    pub async fn open() -> Self {
        Self::open_with(None).await
    }

    pub async fn open_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let foreign = Self {
            address: listener.local_addr().unwrap(),
            memory: Arc::new(Memory {
                heard: Mutex::default(),
                events: Mutex::default(),
                manners: Mutex::new(Box::new(|_| None)),
                babble: Mutex::default(),
                connections: AtomicU32::new(0),
                news: broadcast::channel(1000).0,
                cuts: watch::channel(0).0,
            }),
            tls,
            listening: Mutex::default(),
        };
        foreign.listen(listener);
        foreign
    }

    fn listen(&self, listener: TcpListener) {
        let (memory, tls) = (Arc::clone(&self.memory), self.tls.clone());
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                memory.connections.fetch_add(1, Ordering::SeqCst);
                let (memory, tls) = (Arc::clone(&memory), tls.clone());
                tokio::spawn(async move {
                    let mut cuts = memory.cuts.subscribe();
                    let served = async {
                        match tls {
                            None => serve(&memory, stream).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(&memory, stream).await;
                                }
                            }
                        }
                    };
                    tokio::select! {
                        () = served => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        *self.listening.lock().unwrap() = Some(listening);
    }

    /// Breaks all connections and takes no more.
    pub async fn goes_away(&self) {
        let listening = self.listening.lock().unwrap().take().unwrap();
        listening.abort();
        let _ = listening.await;
        self.memory.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Is there again, at the same address.
    pub async fn comes_back(&self) {
        self.listen(TcpListener::bind(self.address).await.unwrap());
    }

    pub fn url(&self) -> String {
        match self.tls {
            None => format!("ws://{}/", self.address),
            Some(_) => format!("wss://localhost:{}/", self.address.port()),
        }
    }

    /// How an owner lists it.
    pub fn listed(&self) -> RelayAddress {
        self.url().parse().unwrap()
    }

    /// Has this manner from now on.
    pub fn answers(&self, manners: impl FnMut(&Event) -> Option<String> + Send + 'static) {
        *self.memory.manners.lock().unwrap() = Box::new(manners);
    }

    /// Says this to everybody who connects from now on, again and again.
    pub fn babbles(&self, text: Vec<String>) {
        *self.memory.babble.lock().unwrap() = text;
    }

    /// Somebody far away wrote these.
    pub fn has(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.memory.events.lock().unwrap().push(event.clone());
            let _ = self.memory.news.send(event);
        }
    }

    /// Every message it ever got.
    pub fn heard(&self) -> Vec<Value> {
        self.memory.heard.lock().unwrap().clone()
    }

    /// Every event it was ever sent, also again.
    pub fn was_sent(&self) -> Vec<Event> {
        let heard = self.heard();
        let sent = heard.iter().filter(|message| message[0] == "EVENT");
        sent.map(|message| serde_json::from_value(message[1].clone()).unwrap())
            .collect()
    }

    /// The texts of posts that it was ever sent.
    pub fn posts(&self) -> Vec<String> {
        let sent = self.was_sent().into_iter();
        let posts = sent.filter(|event| event.kind.as_u16() == 1);
        posts.map(|event| event.content).collect()
    }

    pub fn connections(&self) -> u32 {
        self.memory.connections.load(Ordering::SeqCst)
    }

    /// Waits until it was sent a post with this text.
    pub async fn gets(&self, text: &str) {
        until(&format!("{text:?} at the relay"), || {
            self.posts().iter().any(|post| post == text)
        })
        .await;
    }
}

/// Waits for a condition.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited for {what}");
}

/// These relays, in a configuration.
pub fn listing(relays: &[&Foreign], ca_file: Option<PathBuf>) -> UplinkConfig {
    UplinkConfig {
        relays: relays.iter().map(|relay| relay.listed()).collect(),
        ca_file,
    }
}

async fn serve<IO: AsyncRead + AsyncWrite + Unpin>(memory: &Memory, io: IO) {
    let Ok(socket) = tokio_tungstenite::accept_async(io).await else {
        return;
    };
    let (mut out, mut from) = socket.split();
    let babble = memory.babble.lock().unwrap().clone();
    if !babble.is_empty() {
        // Without end, until the other side has enough of it.
        for text in babble.iter().cycle() {
            if out.send(Message::Text(text.clone().into())).await.is_err() {
                return;
            }
        }
    }
    let mut news = memory.news.subscribe();
    let mut subs: Vec<(String, Filter)> = Vec::new();
    let matches =
        |filter: &Filter, event: &Event| filter.match_event(event, MatchEventOptions::new());
    loop {
        let mut answers = Vec::new();
        tokio::select! {
            message = from.next() => {
                let text = match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(_)) => continue,
                    _ => return,
                };
                let message: Value = serde_json::from_str(&text).unwrap();
                memory.heard.lock().unwrap().push(message.clone());
                match message[0].as_str().unwrap() {
                    "EVENT" => {
                        let event: Event = serde_json::from_value(message[1].clone()).unwrap();
                        let refusal = {
                            let mut manners = memory.manners.lock().unwrap();
                            (*manners)(&event)
                        };
                        if let Some(challenge) = refusal.as_deref().and_then(|why| why.strip_prefix("auth-required: ")) {
                            answers.push(json!(["AUTH", challenge]));
                        }
                        let is_good = event.verify().is_ok();
                        if refusal.is_none() && is_good {
                            let mut events = memory.events.lock().unwrap();
                            if !events.contains(&event) {
                                events.push(event.clone());
                            }
                        }
                        let is_taken = refusal.is_none() && is_good;
                        answers.push(json!(["OK", event.id, is_taken, refusal.unwrap_or_default()]));
                    }
                    "AUTH" => {
                        answers.push(json!(["OK", message[1]["id"], true, ""]));
                    }
                    "REQ" => {
                        let id = message[1].as_str().unwrap().to_owned();
                        let filter: Filter = serde_json::from_value(message[2].clone()).unwrap();
                        let mut found: Vec<Event> = memory.events.lock().unwrap().clone();
                        found.retain(|event| matches(&filter, event));
                        found.sort_by_key(|event| std::cmp::Reverse(event.created_at));
                        found.truncate(filter.limit.unwrap_or(500));
                        answers.extend(found.iter().map(|event| json!(["EVENT", id, event])));
                        answers.push(json!(["EOSE", id]));
                        subs.push((id, filter));
                    }
                    "CLOSE" => subs.retain(|(id, _)| message[1] != id.as_str()),
                    _ => {}
                }
            }
            Ok(event) = news.recv() => {
                let hit = subs.iter().filter(|(_, filter)| matches(filter, &event));
                answers.extend(hit.map(|(id, _)| json!(["EVENT", id, event])));
            }
        }
        for answer in answers {
            let sent = out.send(Message::Text(answer.to_string().into())).await;
            if sent.is_err() {
                return;
            }
        }
    }
}

/// An authority for certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes what those need who trust it.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let path = dir.join("ca.pem");
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }

    /// TLS for a server of this name.
    pub fn certify(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What the program wrote into its log, of all tests.
pub struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Keeps the log from now on.
pub fn keep_log() {
    let _ = log::set_logger(&LOG);
    log::set_max_level(log::LevelFilter::Warn);
}

/// The warnings about a relay.
pub fn logged(relay: &Foreign) -> Vec<String> {
    let lines = LOG.0.lock().unwrap();
    let of_it = lines.iter().filter(|line| line.contains(&relay.url()));
    of_it.cloned().collect()
}
