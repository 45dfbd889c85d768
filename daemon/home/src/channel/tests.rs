//! An app in Rust against the home's end of the channel, over a pipe in memory.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::StatusCode;
use rand_core::UnwrapErr;
use serde_json::json;
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::noise::{Handshake, Parameters, Pattern, x25519_public};

use super::noise::{Opener, Sealer};
use super::*;
use crate::dialer::{BoxStream, ServiceListing, ServiceName};
use crate::http::text;

const PATIENCE: Duration = Duration::from_secs(60);
const CREDIT: usize = frame::CREDIT as usize;

/// Echoes bodies; remembers what it was asked.
#[derive(Default)]
struct Echo {
    asked: Mutex<Vec<String>>,
}

impl Answers for Echo {
    fn answer(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            assert!(request.extensions().get::<Private>().is_some());
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let word = format!("{} {} {host}", request.method(), request.uri());
            self.asked.lock().unwrap().push(word);
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            if request.uri().path() == "/count" {
                let body = request.into_body().collect().await;
                let words =
                    body.map_or_else(|_| "cut".into(), |body| body.to_bytes().len().to_string());
                self.asked.lock().unwrap().push(words.clone());
                return text(StatusCode::OK, &words);
            }
            Response::new(request.into_body())
        })
    }

    fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::new(Nowhere)
    }
}

struct Nowhere;

impl Dialer for Nowhere {
    fn open<'a>(&'a self, _: &'a ServiceName) -> BoxFuture<'a, std::io::Result<BoxStream>> {
        Box::pin(async { Err(std::io::ErrorKind::HostUnreachable.into()) })
    }

    fn services(&self) -> Vec<ServiceListing> {
        Vec::new()
    }
}

struct App {
    socket: WebSocketStream<DuplexStream>,
    sealer: Sealer,
    opener: Opener,
    home: Arc<Echo>,
}

impl App {
    /// Opens a channel, thinking that the home's key is that of `known`.
    async fn open(known: &SecretKey) -> Option<Self> {
        let secret = SecretKey::new([7; 32]);
        let home = Arc::new(Echo::default());
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let answers = Arc::clone(&home);
        tokio::spawn(
            async move { connection::run(theirs, &secret, answers, Opened::default()).await },
        );
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let parameters = Parameters {
            pattern: Pattern::Nk,
            prologue: PROLOGUE,
            local_static: &SecretKey::new([1; 32]),
            remote_static: Some(&x25519_public(known)),
            psk: None,
        };
        let mut rng = UnwrapErr(getrandom::SysRng);
        let mut handshake = Handshake::initiator(parameters, &mut rng).unwrap();
        let mut first = Vec::new();
        handshake.write(&[], &mut first).unwrap();
        assert_eq!(first.len(), 48);
        socket.send(Message::Binary(first.into())).await.unwrap();
        let Some(Ok(Message::Binary(second))) = socket.next().await else {
            return None;
        };
        assert_eq!(handshake.read(&second), Ok(Vec::new()));
        let (sealer, opener) = noise::directions(handshake.split().unwrap());
        Some(Self {
            socket,
            sealer,
            opener,
            home,
        })
    }

    async fn new() -> Self {
        Self::open(&SecretKey::new([7; 32])).await.unwrap()
    }

    async fn say(&mut self, kind: u8, stream: u32, body: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(stream.to_be_bytes());
        frame.extend(body);
        let sealed = self.sealer.seal(frame);
        let _ = self.socket.send(Message::Binary(sealed.into())).await;
    }

    async fn ask(&mut self, stream: u32, method: &str, path: &str) {
        let open = json!({"method": method, "path": path, "headers": {"host": "evil", "x-a": "b"}});
        self.say(1, stream, open.to_string().as_bytes()).await;
    }

    /// The next frame: kind, stream, body. `None`: the home ended the channel.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .unwrap();
            match message {
                Some(Ok(Message::Binary(message))) => {
                    let mut message = Vec::from(message);
                    let frame = self.opener.open(&mut message).unwrap();
                    let stream = u32::from_be_bytes(frame[1..5].try_into().unwrap());
                    return Some((frame[0], stream, frame[5..].to_vec()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return None,
            }
        }
    }
}

#[tokio::test]
async fn a_request_and_its_answer_go_through_whole() {
    let mut app = App::new().await;
    app.ask(1, "POST", "/api/x?y=1").await;
    app.say(3, 1, b"hello").await;
    app.say(4, 1, &[]).await;
    let (kind, stream, head) = app.next().await.unwrap();
    assert_eq!((kind, stream), (2, 1));
    let head: frame::Head = serde_json::from_slice(&head).unwrap();
    assert_eq!(head.status, 200);
    let mut said = Vec::new();
    loop {
        match app.next().await.unwrap() {
            (3, 1, data) => said.extend(data),
            (4, 1, _) => break,
            (6, 1, _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said, b"hello");
    assert_eq!(
        *app.home.asked.lock().unwrap(),
        ["POST /api/x?y=1 localhost"]
    );
}

#[tokio::test]
async fn neither_side_sends_more_than_the_other_takes() {
    let mut app = App::new().await;
    app.ask(1, "POST", "/").await;
    // The echo waits for credit, so it does not give ours back either.
    let mut received = 0;
    let mut credit = CREDIT;
    let piece = vec![9; 64 * 1024];
    let mut sent = 0;
    let whole = 8 * CREDIT;
    let mut given_up_to = 0;
    while received < whole {
        while credit >= piece.len() && sent < whole {
            app.say(3, 1, &piece).await;
            credit -= piece.len();
            sent += piece.len();
        }
        match app.next().await.unwrap() {
            (2, 1, _) => {}
            (3, 1, data) => {
                received += data.len();
                assert!(received <= given_up_to + CREDIT, "more than was allowed");
                if received == given_up_to + CREDIT {
                    given_up_to = received;
                    app.say(6, 1, &frame::CREDIT.to_be_bytes()).await;
                }
            }
            (6, 1, more) => credit += u32::from_be_bytes(more.try_into().unwrap()) as usize,
            other => panic!("{other:?}"),
        }
    }
    // Sending without credit ends the channel.
    let mut greedy = App::new().await;
    greedy.ask(1, "POST", "/never").await;
    for _ in 0..=CREDIT / piece.len() {
        greedy.say(3, 1, &piece).await;
    }
    assert_eq!(greedy.next().await, None);
}

#[tokio::test]
async fn streams_are_bounded_counted_and_can_be_cancelled() {
    let mut app = App::new().await;
    for stream in 1..=33 {
        app.ask(stream, "GET", "/never").await;
    }
    assert_eq!(app.next().await, Some((5, 33, vec![2])));
    app.say(5, 1, &[1]).await;
    app.ask(34, "POST", "/count").await;
    app.say(4, 34, &[]).await;
    assert!(matches!(app.next().await, Some((2, 34, _))));
    assert_eq!(app.next().await, Some((3, 34, b"0".to_vec())));
    assert_eq!(app.next().await, Some((4, 34, Vec::new())));
    app.say(1, 35, b"{}").await;
    assert_eq!(app.next().await, Some((5, 35, vec![3])));
    app.ask(36, "GET", "not a path").await;
    assert_eq!(app.next().await, Some((5, 36, vec![3])));
    let socket = json!({"socket": format!("/s/{}/", "a".repeat(52))}).to_string();
    app.say(1, 37, socket.as_bytes()).await;
    let (kind, stream, head) = app.next().await.unwrap();
    assert_eq!((kind, stream), (2, 37));
    assert!(String::from_utf8(head).unwrap().contains("502"));
    // A number begins one stream only.
    app.ask(2, "GET", "/").await;
    assert_eq!(app.next().await, None);
}

#[tokio::test]
async fn frames_that_cost_no_credit_cost_no_memory() {
    let mut app = App::new().await;
    app.ask(1, "POST", "/never").await;
    // Nobody takes these. Empty ones are dropped, small ones are bounded by number.
    for _ in 0..4096 {
        app.say(3, 1, &[]).await;
    }
    app.ask(2, "POST", "/count").await;
    app.say(4, 2, &[]).await;
    app.say(4, 2, &[]).await;
    assert!(matches!(app.next().await, Some((2, 2, _))));
    assert_eq!(app.next().await, Some((3, 2, b"0".to_vec())));
    assert_eq!(app.next().await, Some((4, 2, Vec::new())));
    for _ in 0..2049 {
        app.say(3, 1, b"x").await;
    }
    assert_eq!(app.next().await, Some((5, 1, vec![2])));
    // What still comes for it is of no use to anybody, and the channel goes on.
    app.say(3, 1, b"x").await;
    app.ask(3, "GET", "not a path").await;
    assert_eq!(app.next().await, Some((5, 3, vec![3])));
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_whole_body() {
    let mut app = App::new().await;
    app.ask(1, "POST", "/count").await;
    app.say(3, 1, b"half").await;
    let home = Arc::clone(&app.home);
    assert!(matches!(app.next().await, Some((6, 1, _))));
    drop(app);
    let told = async {
        while Arc::strong_count(&home) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(!home.asked.lock().unwrap().contains(&"4".to_owned()));
}

#[tokio::test]
async fn another_key_and_changed_messages_open_nothing() {
    assert!(App::open(&SecretKey::new([8; 32])).await.is_none());
    let mut app = App::new().await;
    let mut sealed = app.sealer.seal(vec![4, 0, 0, 0, 1]);
    sealed[2] ^= 1;
    app.socket
        .send(Message::Binary(sealed.into()))
        .await
        .unwrap();
    assert_eq!(app.next().await, None);
    // A repeated message does not open either.
    let mut app = App::new().await;
    let sealed = app.sealer.seal(vec![4, 0, 0, 0, 1]);
    for _ in 0..2 {
        let _ = app
            .socket
            .send(Message::Binary(sealed.clone().into()))
            .await;
    }
    assert_eq!(app.next().await, None);
}
