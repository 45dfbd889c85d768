//! One WebSocket: reads what a client says, hands it to who does the work, and sends what waits for it.
//! It never blocks and never decides who may see or write what.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::filter::Filter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::access::Permit;
use crate::auth;
use crate::core::Core;
use crate::fanout::{Listener, Seat};
use crate::personal::strangers_rate;
use crate::pipeline::{Pipeline, Reply, Submission};
use crate::questions::{Answer, Asker, Count, Sync};
use crate::rate::{Bucket, Rate};
use crate::wire::{self, ClientMessage, SubscriptionId, WireError};

/// Bytes of the buffer that each connection reads into. A longer message makes it longer while it is read.
const READ_BUFFER: usize = 1024;
/// Bytes of messages that are gathered before they are sent; a connection keeps as much once it had as much to send. A page
/// of messages then takes one write.
const WRITE_BUFFER: usize = 16 * 1024;
/// The same for who comes when there are many connections.
const SMALL_WRITE_BUFFER: usize = 4096;
const MANY: usize = 128;
/// Seconds that sending may take before the reader is given up.
const SEND: Duration = Duration::from_secs(30);
/// Messages of one sync that may wait.
const SYNC_WAITS: usize = 2;

/// What a connection needs of its space.
pub struct Session {
    /// The space.
    pub core: Arc<Core>,
    /// Its threads.
    pub pipeline: Arc<Pipeline>,
    /// Bytes of events that may be on their way in, for the whole space.
    pub intake: Arc<Semaphore>,
    /// This connection's place.
    pub seat: Seat,
    /// What a proof of identity on this connection must repeat.
    pub challenge: String,
}

struct State {
    bucket: Bucket,
    rate: Rate,
    /// Private messages of strangers to people of a home.
    letters: Bucket,
    letters_rate: Rate,
    queries: JoinSet<()>,
    running: HashMap<SubscriptionId, AbortHandle>,
    counting: HashMap<SubscriptionId, AbortHandle>,
    syncing: HashMap<SubscriptionId, (AbortHandle, mpsc::Sender<Vec<u8>>)>,
    unanswered_pings: u8,
}

impl Session {
    /// Talks until one side ends it.
    pub async fn run<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) {
        let limits = &self.core.config.limits;
        let write_buffer = if self.core.fanout.len() > MANY {
            SMALL_WRITE_BUFFER
        } else {
            WRITE_BUFFER
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(write_buffer)
            .max_message_size(Some(limits.message_bytes))
            .max_frame_size(Some(limits.message_bytes));
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let rate = Rate {
            per_second: f64::from(limits.messages_per_second),
            burst: f64::from(limits.message_burst),
        };
        let letters_rate = strangers_rate(limits);
        let mut state = State {
            bucket: Bucket::full(rate, Instant::now()),
            rate,
            letters: Bucket::full(letters_rate, Instant::now()),
            letters_rate,
            queries: JoinSet::new(),
            running: HashMap::new(),
            counting: HashMap::new(),
            syncing: HashMap::new(),
            unanswered_pings: 0,
        };
        let listener = Arc::clone(&self.seat.listener);
        listener.outbox.push(wire::auth(&self.challenge));
        let mut ping = tokio::time::interval(Duration::from_secs(limits.ping_seconds));
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ping.tick().await;
        loop {
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        state.unanswered_pings = 0;
                        self.hear(&text, &mut state).await;
                    }
                    Some(Ok(Message::Binary(_))) => listener.outbox.push(wire::notice("invalid: messages are text")),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => state.unanswered_pings = 0,
                },
                messages = listener.outbox.take() => {
                    let Some(messages) = messages else { break };
                    if !send(&mut socket, messages, &listener).await {
                        return;
                    }
                }
                _ = state.queries.join_next(), if !state.queries.is_empty() => {}
                _ = ping.tick() => {
                    if state.unanswered_pings >= 2 {
                        return;
                    }
                    state.unanswered_pings += 1;
                    let sent = tokio::time::timeout(SEND, socket.send(Message::Ping(Vec::new().into()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
    }

    async fn hear(&self, text: &str, state: &mut State) {
        let outbox = &self.seat.listener.outbox;
        let message = match wire::parse(text, &self.core.config.limits) {
            Ok(message) => message,
            Err(WireError::Subscription { id, reason }) => {
                return outbox.push(wire::closed(&id, &reason));
            }
            Err(WireError::Sync { id, reason }) => {
                stop_sync(&id, state);
                return outbox.push(wire::neg_err(&id, &reason, None));
            }
            Err(WireError::Event { id, reason }) => {
                return outbox.push(wire::ok(&id, false, &reason));
            }
            Err(error) => return outbox.push(wire::notice(&error.to_string())),
        };
        let in_time = state
            .bucket
            .take_some(cost(&message), state.rate, Instant::now());
        const TOO_FAST: &str = "rate-limited: too many messages; wait a moment";
        match message {
            ClientMessage::Event(event) | ClientMessage::Auth(event) if !in_time => {
                outbox.push(wire::ok(&event.id, false, TOO_FAST));
            }
            ClientMessage::Req { id, .. } | ClientMessage::Count { id, .. } if !in_time => {
                outbox.push(wire::closed(&id, TOO_FAST));
            }
            ClientMessage::NegOpen { id, .. } | ClientMessage::NegMsg { id, .. } if !in_time => {
                stop_sync(&id, state);
                outbox.push(wire::neg_err(&id, TOO_FAST, None));
            }
            ClientMessage::Event(event) => {
                let people = self.seat.listener.people();
                if self.core.is_strange_letter(&event, &people)
                    && !state.letters.take(state.letters_rate, Instant::now())
                {
                    return outbox.push(wire::ok(&event.id, false, TOO_FAST));
                }
                self.publish(event, text.len()).await;
            }
            ClientMessage::Req { id, filters } => self.subscribe(id, filters, state),
            ClientMessage::Close(id) => {
                self.seat.listener.unsubscribe(&id);
                for running in [&mut state.running, &mut state.counting] {
                    if let Some(query) = running.remove(&id) {
                        query.abort();
                    }
                }
            }
            ClientMessage::Auth(event) => self.authenticate(event).await,
            ClientMessage::Count { id, filters } => self.count(id, filters, state),
            ClientMessage::NegOpen {
                id,
                filter,
                message,
            } => self.open_sync(id, *filter, message, state),
            ClientMessage::NegMsg { id, message } => {
                // A client takes turns with us (NIP-77): who sends more than it was asked for is in no hurry to end.
                let taken = state.syncing.get(&id).map(|(_, way)| way.try_send(message));
                if !matches!(taken, Some(Ok(()))) {
                    stop_sync(&id, state);
                    outbox.push(wire::neg_err(
                        &id,
                        "closed: there is no such sync, or it did not wait for its answer",
                        None,
                    ));
                }
            }
            ClientMessage::NegClose(id) => stop_sync(&id, state),
        }
    }

    async fn publish(&self, event: Box<Event>, bytes: usize) {
        // Waits here, without reading on, while too much is on its way in.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.intake).acquire_many_owned(bytes).await else {
            return;
        };
        let reply = Reply {
            listener: Arc::clone(&self.seat.listener),
            permit,
        };
        self.pipeline.submit(Submission { event, reply });
    }

    async fn authenticate(&self, event: Box<Event>) {
        let (id, person) = (event.id, event.pubkey);
        let challenge = self.challenge.clone();
        let checked = self.pipeline.read(move |core| {
            let limits = &core.config.limits;
            auth::check(
                &event,
                &challenge,
                &core.config.service,
                core.now(),
                limits.auth_seconds,
            )
        });
        let Some(checked) = checked.await else { return };
        let listener = &self.seat.listener;
        let result = checked.and_then(|()| {
            let room = listener.add_person(person, self.core.config.limits.keys_per_connection);
            if room {
                Ok(())
            } else {
                Err("restricted: too many people on one connection")
            }
        });
        listener.outbox.push(wire::ok(
            &id,
            result.is_ok(),
            result.err().unwrap_or_default(),
        ));
    }

    fn subscribe(&self, id: SubscriptionId, filters: Vec<Filter>, state: &mut State) {
        let listener = &self.seat.listener;
        if let Some(query) = state.running.remove(&id) {
            query.abort();
        }
        listener.unsubscribe(&id);
        if let Permit::Close(reason) = self
            .core
            .viewer(listener)
            .permit(&filters, &self.core.groups())
        {
            return listener.outbox.push(wire::closed(&id, reason));
        }
        let filters: Arc<[Filter]> = filters.into();
        if !listener.subscribe(
            &id,
            Arc::clone(&filters),
            self.core.config.limits.subscriptions,
        ) {
            return listener.outbox.push(wire::closed(
                &id,
                "restricted: too many subscriptions on one connection",
            ));
        }
        let answer = Answer {
            asker: self.asker(),
            id: id.clone(),
        };
        state.running.retain(|_, query| !query.is_finished());
        state
            .running
            .insert(id, state.queries.spawn(answer.run(filters)));
    }

    fn asker(&self) -> Asker {
        Asker {
            core: Arc::clone(&self.core),
            pipeline: Arc::clone(&self.pipeline),
            listener: Arc::clone(&self.seat.listener),
        }
    }

    fn count(&self, id: SubscriptionId, filters: Vec<Filter>, state: &mut State) {
        if let Some(query) = state.counting.remove(&id) {
            query.abort();
        }
        state.counting.retain(|_, query| !query.is_finished());
        let outbox = &self.seat.listener.outbox;
        if state.counting.len() >= self.core.config.limits.counts {
            return outbox.push(wire::closed(
                &id,
                "rate-limited: too many counts at once on one connection",
            ));
        }
        let count = Count {
            asker: self.asker(),
            id: id.clone(),
        };
        let task = state.queries.spawn(count.run(filters));
        state.counting.insert(id, task);
    }

    fn open_sync(&self, id: SubscriptionId, filter: Filter, first: Vec<u8>, state: &mut State) {
        stop_sync(&id, state);
        state.syncing.retain(|_, (task, _)| !task.is_finished());
        let outbox = &self.seat.listener.outbox;
        if state.syncing.len() >= self.core.config.limits.syncs {
            let reason = "restricted: too many syncs on one connection";
            return outbox.push(wire::neg_err(&id, reason, None));
        }
        let (way, messages) = mpsc::channel(SYNC_WAITS);
        let sync = Sync {
            asker: self.asker(),
            id: id.clone(),
        };
        let task = state.queries.spawn(sync.run(filter, first, messages));
        state.syncing.insert(id, (task, way));
    }
}

/// Tokens that a message costs: each filter of a question is a question.
fn cost(message: &ClientMessage) -> u16 {
    match message {
        ClientMessage::Req { filters, .. } | ClientMessage::Count { filters, .. } => {
            u16::try_from(filters.len().max(1)).unwrap_or(u16::MAX)
        }
        _ => 1,
    }
}

fn stop_sync(id: &SubscriptionId, state: &mut State) {
    if let Some((task, _)) = state.syncing.remove(id) {
        task.abort();
    }
}

/// Sends messages; `false` when the reader is gone or too slow.
async fn send<IO: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<IO>,
    messages: VecDeque<Utf8Bytes>,
    listener: &Listener,
) -> bool {
    let sending = async {
        for message in messages {
            socket.feed(Message::Text(message)).await?;
        }
        socket.flush().await
    };
    tokio::select! {
        sent = tokio::time::timeout(SEND, sending) => matches!(sent, Ok(Ok(()))),
        () = listener.outbox.broken() => false,
    }
}
