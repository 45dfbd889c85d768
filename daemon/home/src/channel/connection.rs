//! One channel: the handshake, then frames both ways until one side ends it. Whose turn it is and what streams carry is
//! for [`Streams`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use warren_mesh::crypto::SecretKey;

use super::door::HANDSHAKE;
use super::frame::BODY_MAX;
use super::noise::{self, Opener, Sealer};
use super::streams::Streams;
use super::{Answers, Opened};

/// Longest WebSocket message: a frame, its head and its tag.
const MESSAGE_MAX: usize = BODY_MAX + 5 + 16;
/// Frames that may wait for a slow app before those who make them wait.
const WAITING: usize = 16;
/// How long an app may take to take one frame.
const SEND: Duration = Duration::from_secs(30);
/// How often a silent app is asked whether it is still there. After two times without an answer the channel ends.
const PING: Duration = Duration::from_secs(45);

type Socket<IO> = WebSocketStream<IO>;

/// Serves one channel until it ends. `opened`: by which request.
pub async fn run<IO>(io: IO, secret: &SecretKey, answers: Arc<impl Answers>, opened: Opened)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(4096)
        .max_message_size(Some(MESSAGE_MAX))
        .max_frame_size(Some(MESSAGE_MAX));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    if let Some((sealer, opener)) = shake(&mut socket, secret).await {
        talk(&mut socket, sealer, opener, answers, opened).await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
}

async fn shake<IO>(socket: &mut Socket<IO>, secret: &SecretKey) -> Option<(Sealer, Opener)>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let first = match tokio::time::timeout(HANDSHAKE, socket.next()).await {
        Ok(Some(Ok(Message::Binary(first)))) => first,
        _ => return None,
    };
    match noise::answer(secret, &first) {
        Ok((second, sealer, opener)) => {
            let message = Message::Binary(second.into());
            let sent = tokio::time::timeout(SEND, socket.send(message)).await;
            matches!(sent, Ok(Ok(()))).then_some((sealer, opener))
        }
        Err(error) => {
            // An app that pinned another key, as after this home lost its disk.
            log::debug!("a channel was not opened: {error}");
            None
        }
    }
}

/// Reads and sends at the same time: an app that waits to be read must not wait for us to wait for it.
async fn talk<IO>(
    socket: &mut Socket<IO>,
    sealer: Sealer,
    opener: Opener,
    answers: Arc<impl Answers>,
    opened: Opened,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (outgoing, to_send) = mpsc::channel(WAITING);
    let streams = Streams::new(outgoing.clone(), answers, opened);
    let unanswered = AtomicU8::new(0);
    let (sink, stream) = socket.split();
    tokio::select! {
        () = hear_all(stream, opener, streams, outgoing, &unanswered) => {}
        () = send_all(sink, sealer, to_send, &unanswered) => {}
    }
}

async fn hear_all<IO>(
    mut stream: SplitStream<&mut Socket<IO>>,
    mut opener: Opener,
    mut streams: Streams<impl Answers>,
    outgoing: mpsc::Sender<Vec<u8>>,
    unanswered: &AtomicU8,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            () = streams.tidy() => continue,
        };
        unanswered.store(0, Ordering::Relaxed);
        let mut message = match message {
            Some(Ok(Message::Binary(message))) => Vec::from(message),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            _ => return,
        };
        let Ok(frame) = opener.open(&mut message) else {
            return;
        };
        match streams.hear(frame) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                if outgoing.send(reply).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                log::debug!("a channel ends: {error}");
                return;
            }
        }
    }
}

async fn send_all<IO>(
    mut sink: SplitSink<&mut Socket<IO>, Message>,
    mut sealer: Sealer,
    mut to_send: mpsc::Receiver<Vec<u8>>,
    unanswered: &AtomicU8,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        let message = tokio::select! {
            frame = to_send.recv() => match frame {
                Some(frame) => Message::Binary(sealer.seal(frame).into()),
                None => return,
            },
            _ = ping.tick() => {
                if unanswered.fetch_add(1, Ordering::Relaxed) >= 2 {
                    return;
                }
                Message::Ping(Vec::new().into())
            }
        };
        let sent = tokio::time::timeout(SEND, sink.send(message)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
