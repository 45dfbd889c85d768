//! One WebSocket: reads what a client says, hands it to who does the work, and sends what waits for it.
//! It never blocks and never decides who may see or write what.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event, EventId};
use nostr::filter::Filter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::access::Permit;
use crate::auth;
use crate::core::Core;
use crate::fanout::{Listener, Seat, json};
use crate::ingest::disk_trouble;
use crate::pipeline::{Pipeline, Reply, Submission};
use crate::rate::{Bucket, Rate};
use crate::record::StoredEvent;
use crate::store::{Cursor, Query};
use crate::wire::{self, ClientMessage, SubscriptionId, WireError};

/// Bytes of the buffer that each connection reads into.
const READ_BUFFER: usize = 4096;
/// Seconds that sending may take before the reader is given up.
const SEND: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it is still there. After two times without an answer it ends.
const PING: Duration = Duration::from_secs(45);
/// Events and bytes that are fetched at a time for an answer.
const PAGE_EVENTS: usize = 100;
const PAGE_BYTES: usize = 64 * 1024;
/// Ids of stored events that a subscription remembers, so that it does not get the newest twice.
const NEWEST: usize = 32;

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
    queries: JoinSet<()>,
    running: HashMap<SubscriptionId, AbortHandle>,
    unanswered_pings: u8,
}

impl Session {
    /// Talks until one side ends it.
    pub async fn run<IO: AsyncRead + AsyncWrite + Unpin>(self, io: IO) {
        let limits = &self.core.config.limits;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(READ_BUFFER)
            .max_message_size(Some(limits.message_bytes))
            .max_frame_size(Some(limits.message_bytes));
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let rate = Rate {
            per_second: f64::from(limits.messages_per_second),
            burst: f64::from(limits.message_burst),
        };
        let mut state = State {
            bucket: Bucket::full(rate, Instant::now()),
            rate,
            queries: JoinSet::new(),
            running: HashMap::new(),
            unanswered_pings: 0,
        };
        let listener = Arc::clone(&self.seat.listener);
        listener.outbox.push(wire::auth(&self.challenge));
        let mut ping = tokio::time::interval(PING);
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
            Err(error) => return outbox.push(wire::notice(&error.to_string())),
        };
        let in_time = state.bucket.take(state.rate, Instant::now());
        const TOO_FAST: &str = "rate-limited: too many messages; wait a moment";
        match message {
            ClientMessage::Event(event) if !in_time => {
                outbox.push(wire::ok(&event.id, false, TOO_FAST))
            }
            ClientMessage::Req { id, .. } if !in_time => outbox.push(wire::closed(&id, TOO_FAST)),
            ClientMessage::Auth(event) if !in_time => {
                outbox.push(wire::ok(&event.id, false, TOO_FAST))
            }
            ClientMessage::Event(event) => self.publish(event, text.len()).await,
            ClientMessage::Req { id, filters } => self.subscribe(id, filters, state),
            ClientMessage::Close(id) => {
                self.seat.listener.unsubscribe(&id);
                if let Some(query) = state.running.remove(&id) {
                    query.abort();
                }
            }
            ClientMessage::Auth(event) => self.authenticate(event).await,
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
            core: Arc::clone(&self.core),
            pipeline: Arc::clone(&self.pipeline),
            listener: Arc::clone(listener),
            id: id.clone(),
        };
        state.running.retain(|_, query| !query.is_finished());
        state
            .running
            .insert(id, state.queries.spawn(answer.run(filters)));
    }
}

/// Sends messages; `false` when the reader is gone or too slow.
async fn send<IO: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut WebSocketStream<IO>,
    messages: VecDeque<String>,
    listener: &Listener,
) -> bool {
    let sending = async {
        for message in messages {
            socket.feed(Message::Text(message.into())).await?;
        }
        socket.flush().await
    };
    tokio::select! {
        sent = tokio::time::timeout(SEND, sending) => matches!(sent, Ok(Ok(()))),
        () = listener.outbox.broken() => false,
    }
}

/// The stored events of one subscription, fetched a page at a time and never faster than the client reads.
struct Answer {
    core: Arc<Core>,
    pipeline: Arc<Pipeline>,
    listener: Arc<Listener>,
    id: SubscriptionId,
}

impl Answer {
    async fn run(self, filters: Arc<[Filter]>) {
        let mut sent = HashSet::new();
        let mut newest = Vec::new();
        for n in 0..filters.len() {
            if let Err(reason) = self.one(&filters, n, &mut sent, &mut newest).await {
                self.listener.unsubscribe(&self.id);
                self.listener.outbox.push(wire::closed(&self.id, &reason));
                return;
            }
        }
        self.listener.go_live(&self.id, &sent, newest);
    }

    async fn one(
        &self,
        filters: &Arc<[Filter]>,
        n: usize,
        sent: &mut HashSet<EventId>,
        newest: &mut Vec<EventId>,
    ) -> Result<(), String> {
        let most = self.core.config.limits.query_events;
        let mut wanted = filters[n].limit.unwrap_or(most).min(most);
        let mut after = Some(Step::First);
        while let Some(step) = after.filter(|_| wanted > 0) {
            self.listener.outbox.room().await;
            let (filters, listener) = (Arc::clone(filters), Arc::clone(&self.listener));
            let page = self
                .pipeline
                .read(move |core| page(core, &listener, &filters[n], step, wanted))
                .await;
            let (events, next) = page.ok_or("error: the space is closing")??;
            after = next;
            for event in events {
                if sent.insert(event.event.id) {
                    if newest.len() < NEWEST {
                        newest.push(event.event.id);
                    }
                    self.listener
                        .outbox
                        .push(wire::event(&self.id, &json(&event)));
                }
                wanted = wanted.saturating_sub(1);
            }
        }
        Ok(())
    }
}

/// Where an answer stands.
#[derive(Clone, Copy)]
enum Step {
    /// Nothing was given: descriptions of channels come first.
    First,
    /// Stored events from here on.
    Stored(Option<Cursor>),
}

type PageOf = (Vec<Arc<StoredEvent>>, Option<Step>);

fn page(
    core: &Core,
    listener: &Listener,
    filter: &Filter,
    step: Step,
    wanted: usize,
) -> Result<PageOf, String> {
    let groups = core.groups();
    let viewer = core.viewer(listener);
    let after = match step {
        Step::First => {
            let mut events = core.snapshots.query(filter, &groups, &viewer);
            events.truncate(wanted);
            return Ok((events, Some(Step::Stored(None))));
        }
        Step::Stored(after) => after,
    };
    let without = viewer.left_out(filter, &groups);
    let query = Query {
        filter,
        without: &without,
        after,
        limit: wanted.min(PAGE_EVENTS),
        bytes: PAGE_BYTES,
        now: core.now(),
    };
    let mut page = core
        .store
        .query(&query)
        .map_err(|error| disk_trouble(&error))?;
    page.events
        .retain(|event| viewer.may_receive(event, filter, &groups));
    Ok((
        page.events,
        page.next.map(|cursor| Step::Stored(Some(cursor))),
    ))
}
