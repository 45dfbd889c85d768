//! The one connection of this home to the relay of another, shared by all people here: it listens to those who write
//! there and are followed here, and to whoever there has people here in mind. It never sends anything but questions.
//! A relay of the Internet that the owner lists is read in the same way.
//!
//! | subscription | what |
//! |---|---|
//! | `who` | who lives there, where else they write, and who asked to vanish; only homes are asked |
//! | `us` | what tells people here that somebody has them in mind |
//! | `n<number>`, `s<number>` | what people write whom nobody here asked for before, and what others wrote since then |
//! | `p<number>` | older pages of these |
//! | `a<number>` | what somebody here wants to see now: a talk, a person's posts |

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::key::PublicKey;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message;

use super::cache::{Cache, Taken};
use super::references::{FOREIGN, OWN, RELAYS, TELLING, VANISH, named};
use super::way::{Socket, Way};
use crate::accounts::gate::Pace;

/// Bytes of one message that are read.
const MESSAGE_BYTES: usize = 512 * 1024;
/// How long opening a connection may take.
const OPEN: Duration = Duration::from_secs(15);
/// Silence after which the other side is asked whether it is still there, and after which it is not. Relays speak up
/// by themselves more often: those of homes every four minutes, because each home has a connection to each other. That
/// one was away or started again is known from the mesh before.
const SILENCE: Duration = Duration::from_secs(300);
/// The same at a relay of the Internet.
const SILENCE_OUTSIDE: Duration = Duration::from_secs(70);
/// People in one question.
const PEOPLE: usize = 400;
/// Subscriptions of one connection; a relay takes 64.
const SUBSCRIPTIONS: usize = 48;
/// Seconds by which a question after a break begins earlier.
const OVERLAP: u64 = 3600;
/// Events that answer one question of somebody here.
const ANSWERS: u32 = 500;
/// People living there that are taken note of.
const RESIDENTS: u32 = 500;
/// Longest time that a connection lasts well enough for the next one to be tried at once.
const GOOD: Duration = Duration::from_secs(60);
/// A connection is made anew at most this often because the other side was away: it says so itself.
const RENEW: Duration = Duration::from_secs(60);

/// A question of somebody here.
pub struct Ask {
    /// What.
    pub filter: Value,
    /// Told when the answer is complete; dropped when there is none.
    pub done: oneshot::Sender<()>,
}

/// Whom to listen to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// Who is followed.
    pub authors: BTreeSet<PublicKey>,
    /// Who lives here.
    pub us: Vec<PublicKey>,
    /// All of it, whoever wrote it: the relay of this home.
    pub all: bool,
    /// Another number after the other side was away or started again: what is left of a connection leads nowhere. 0: not
    /// known.
    pub run: u32,
}

/// What a link needs.
pub struct Link {
    /// To which relay.
    pub way: Arc<dyn Way>,
    /// What it fills.
    pub cache: Arc<Cache>,
    /// Whom to listen to.
    pub wants: watch::Receiver<Arc<Wants>>,
    /// What somebody wants to see now.
    pub asks: mpsc::Receiver<Ask>,
    /// Told when somebody's list of people or of relays is new.
    pub news: Arc<Notify>,
    /// When the next event is due, at the pace of one home.
    pub due: Instant,
    /// When a connection was last given up because the other side was away.
    pub renewed: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// It broke, or could not be made.
    Broken(String),
    /// Whom to listen to has changed so that a new one is better.
    Anew,
    /// The link is not needed any more.
    Over,
}

/// What a subscription is for.
enum Sub {
    Who,
    Us,
    Authors(Chunk),
    Ask(Option<oneshot::Sender<()>>, u32),
}

/// People who are asked for together.
#[derive(Clone)]
struct Chunk {
    /// Empty: all.
    authors: BTreeSet<PublicKey>,
    since: Option<u64>,
    /// When the first page was asked for, seconds since 1970.
    begun: u64,
    pages_left: u32,
    /// Of the page that comes: how many events, and the oldest date.
    received: u32,
    oldest: u64,
    /// The newest date that was asked for.
    until: u64,
    /// Whether what is new comes by it.
    is_live: bool,
}

struct Talk {
    socket: Socket,
    subs: HashMap<String, Sub>,
    number: u32,
    covered: BTreeSet<PublicKey>,
    residents: u32,
}

impl Link {
    /// Keeps the connection up until the link is not needed any more.
    pub async fn run(mut self) {
        let limits = self.cache.limits.clone();
        let mut wait = limits.first_wait;
        loop {
            let begun = Instant::now();
            let run = self.wants.borrow().run;
            match self.once().await {
                Ended::Over => return,
                Ended::Anew => continue,
                Ended::Broken(why) => self.way.failed(&why),
            }
            if begun.elapsed() > GOOD {
                wait = limits.first_wait;
            }
            let until = tokio::time::sleep(wait);
            tokio::pin!(until);
            loop {
                tokio::select! {
                    () = &mut until => break,
                    ask = self.asks.recv() => match ask {
                        Some(ask) => drop(ask), // nobody answers now
                        None => return,
                    },
                    changed = self.wants.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        if self.wants.borrow_and_update().run != run {
                            wait = limits.first_wait;
                            break;
                        }
                    }
                }
            }
            wait = (wait * 2).min(limits.longest_wait);
        }
    }

    async fn once(&mut self) -> Ended {
        let opened = tokio::time::timeout(OPEN, self.way.open(MESSAGE_BYTES)).await;
        let socket = match opened {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Ended::Broken(error.to_string()),
            Err(_) => return Ended::Broken("no answer in time".into()),
        };
        let mut talk = Talk {
            socket,
            subs: HashMap::new(),
            number: 0,
            covered: BTreeSet::new(),
            residents: 0,
        };
        self.listen(&mut talk).await.unwrap_or_else(|ended| ended)
    }

    async fn listen(&mut self, talk: &mut Talk) -> Result<Ended, Ended> {
        let wants = Arc::clone(&self.wants.borrow_and_update());
        self.begin(talk, &wants).await?;
        let limits = &self.cache.limits;
        let pace = Pace {
            every: limits.event_every,
            burst: limits.event_burst,
        };
        let mut run = wants.run;
        let mut renew_at = None;
        let mut quiet_since = tokio::time::Instant::now();
        let mut is_silent = false;
        let silence = if self.way.is_home() {
            SILENCE
        } else {
            SILENCE_OUTSIDE
        };
        loop {
            tokio::select! {
                message = talk.socket.next() => {
                    is_silent = false;
                    quiet_since = tokio::time::Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            if !wants.all && let Err(wait) = pace.take(&mut self.due, Instant::now()) {
                                tokio::time::sleep(wait).await; // the other side waits, too
                            }
                            self.hear(talk, &wants, &text).await?;
                        }
                        Some(Ok(Message::Close(_))) | None => return Err(Ended::Broken("it hung up".into())),
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(Ended::Broken(error.to_string())),
                    }
                }
                changed = self.wants.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Over);
                    }
                    let new = Arc::clone(&self.wants.borrow_and_update());
                    if new.run != run {
                        if run != 0 {
                            let now = tokio::time::Instant::now();
                            let waits = self.renewed.map_or(Duration::ZERO, |at| RENEW.saturating_sub(at.elapsed()));
                            renew_at = Some(now + waits);
                        }
                        run = new.run;
                    }
                    if new != wants {
                        let more: BTreeSet<PublicKey> = new.authors.difference(&talk.covered).copied().collect();
                        // Who comes into reach at home is read from elsewhere for a while, too: no reason to hang up.
                        let grew = new.us == wants.us
                            && (talk.covered.is_subset(&new.authors) || !self.way.is_home());
                        if !grew || talk.subs.len() + more.len() / PEOPLE + 2 > SUBSCRIPTIONS {
                            return Ok(Ended::Anew);
                        }
                        self.follow(talk, more).await?;
                    }
                }
                ask = self.asks.recv() => {
                    let Some(Ask { filter, done }) = ask else { return Ok(Ended::Over) };
                    if talk.subs.len() < SUBSCRIPTIONS {
                        talk.open("a", Sub::Ask(Some(done), ANSWERS), filter).await?;
                    }
                }
                () = tokio::time::sleep_until(renew_at.unwrap_or(quiet_since)), if renew_at.is_some() => {
                    self.renewed = Some(Instant::now());
                    return Ok(Ended::Anew);
                }
                () = tokio::time::sleep_until(quiet_since + silence) => {
                    if is_silent {
                        return Err(Ended::Broken("it has gone silent".into()));
                    }
                    is_silent = true;
                    quiet_since = tokio::time::Instant::now();
                    talk.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    /// Asks for everything that is wanted.
    async fn begin(&self, talk: &mut Talk, wants: &Wants) -> Result<(), Ended> {
        if wants.all {
            let since = self.cache.synced_until(self.way.name(), &everybody());
            let since = since.ok().flatten();
            let since = since.map(|since| since.saturating_sub(OVERLAP));
            return self
                .page(talk, "n", self.chunk(BTreeSet::new(), since))
                .await;
        }
        if self.way.is_home() {
            let who = json!({"kinds": [0, RELAYS, VANISH], "limit": RESIDENTS});
            talk.open("who", Sub::Who, who).await?;
        }
        let us: Vec<String> = wants.us.iter().map(PublicKey::to_hex).collect();
        if !us.is_empty() {
            let limit = self.cache.limits.page_events;
            let us = json!({"kinds": TELLING, "#p": us, "limit": limit});
            talk.open("us", Sub::Us, us).await?;
        }
        self.follow(talk, wants.authors.clone()).await
    }

    /// Asks for what more people write.
    async fn follow(&self, talk: &mut Talk, authors: BTreeSet<PublicKey>) -> Result<(), Ended> {
        let mut new = BTreeSet::new();
        let mut known = BTreeSet::new();
        let mut since = u64::MAX;
        for author in &authors {
            match self.cache.synced_until(self.way.name(), author) {
                Ok(Some(until)) => {
                    known.insert(*author);
                    since = since.min(until);
                }
                _ => drop(new.insert(*author)),
            }
        }
        talk.covered.extend(authors);
        for (name, people, since) in [("n", new, None), ("s", known, Some(since))] {
            let people: Vec<PublicKey> = people.into_iter().collect();
            for chunk in people.chunks(PEOPLE) {
                let since = since.map(|since| since.saturating_sub(OVERLAP));
                let chunk = self.chunk(chunk.iter().copied().collect(), since);
                self.page(talk, name, chunk).await?;
            }
        }
        Ok(())
    }

    fn chunk(&self, authors: BTreeSet<PublicKey>, since: Option<u64>) -> Chunk {
        let limits = &self.cache.limits;
        Chunk {
            pages_left: match since {
                _ if authors.is_empty() => u32::MAX,
                None => limits.first_pages,
                Some(_) => limits.later_pages,
            },
            authors,
            since,
            begun: (self.cache.clock)(),
            received: 0,
            oldest: u64::MAX,
            until: u64::MAX,
            is_live: true,
        }
    }

    /// Asks for a page of what some people wrote.
    async fn page(&self, talk: &mut Talk, name: &str, mut chunk: Chunk) -> Result<(), Ended> {
        let mut filter = json!({"kinds": FOREIGN, "limit": self.cache.limits.page_events});
        if chunk.authors.is_empty() {
            filter["kinds"] = json!([&FOREIGN[..], &OWN[..]].concat());
        } else {
            let authors: Vec<String> = chunk.authors.iter().map(PublicKey::to_hex).collect();
            filter["authors"] = authors.into();
        }
        if let Some(since) = chunk.since {
            filter["since"] = since.into();
        }
        if !chunk.is_live {
            // A page of one second alone would come again and again.
            chunk.until = chunk.oldest.min(chunk.until.saturating_sub(1));
            filter["until"] = chunk.until.into();
        }
        (chunk.received, chunk.oldest) = (0, u64::MAX);
        talk.open(name, Sub::Authors(chunk), filter).await
    }

    async fn hear(&self, talk: &mut Talk, wants: &Wants, text: &str) -> Result<(), Ended> {
        let Some(said) = Said::parse(text) else {
            return Ok(());
        };
        match said {
            Said::Event(id, event) => {
                let Some(sub) = talk.subs.get_mut(&id) else {
                    return Ok(());
                };
                let kind = event.kind.as_u16();
                let is_wanted = match sub {
                    Sub::Who => {
                        talk.residents += 1;
                        [0, RELAYS, VANISH].contains(&kind) && talk.residents <= RESIDENTS * 4
                    }
                    Sub::Us => named(&event).iter().any(|person| wants.us.contains(person)),
                    Sub::Authors(chunk) => {
                        chunk.received = chunk.received.saturating_add(1);
                        chunk.oldest = chunk.oldest.min(event.created_at.as_secs());
                        chunk.authors.is_empty() || chunk.authors.contains(&event.pubkey)
                    }
                    Sub::Ask(_, left) => {
                        *left = left.saturating_sub(1);
                        *left > 0
                    }
                };
                if is_wanted {
                    self.take(*event).await?;
                }
                Ok(())
            }
            Said::End(id) => self.ended(talk, &id).await,
            Said::Closed(id, reason) => match talk.subs.remove(&id) {
                Some(Sub::Ask(..)) | None => Ok(()),
                Some(_) => Err(Ended::Broken(reason)),
            },
            Said::Taken(..) | Said::Challenge(_) => Ok(()),
        }
    }

    /// The stored events of a subscription have come.
    async fn ended(&self, talk: &mut Talk, id: &str) -> Result<(), Ended> {
        self.way.answered();
        match talk.subs.get_mut(id) {
            Some(Sub::Ask(done, _)) => {
                if let Some(done) = done.take() {
                    let _ = done.send(());
                }
                talk.close(id).await
            }
            Some(Sub::Authors(chunk)) => {
                let mut next = chunk.clone();
                let is_full = next.received >= self.cache.limits.page_events;
                let was_live = next.is_live;
                next.is_live = false;
                next.pages_left = next.pages_left.saturating_sub(1);
                if !was_live {
                    talk.close(id).await?;
                }
                if is_full && next.pages_left > 0 && next.oldest > 0 {
                    return self.page(talk, "p", next).await;
                }
                let mut authors: Vec<PublicKey> = next.authors.iter().copied().collect();
                if authors.is_empty() {
                    authors.push(everybody());
                }
                let noted = self
                    .cache
                    .note_synced(self.way.name(), &authors, next.begun);
                if let Err(error) = noted {
                    log::debug!("the feed: {error}");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn take(&self, event: Event) -> Result<(), Ended> {
        let cache = Arc::clone(&self.cache);
        let tells = [RELAYS, OWN[0]].contains(&event.kind.as_u16());
        let taken = tokio::task::spawn_blocking(move || cache.take(&event)).await;
        match taken {
            Ok(Ok(Taken::New)) if tells => self.news.notify_one(),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Ended::Broken(format!("the feed: {error}"))),
            Err(error) => return Err(Ended::Broken(error.to_string())),
        }
        Ok(())
    }
}

/// Stands for all authors in the note of how far a home was read.
fn everybody() -> PublicKey {
    PublicKey::from_byte_array([0; 32])
}

impl Talk {
    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        let sent = tokio::time::timeout(OPEN, self.socket.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Ended::Broken(error.to_string())),
            Err(_) => Err(Ended::Broken("it takes nothing".into())),
        }
    }

    async fn open(&mut self, name: &str, sub: Sub, filter: Value) -> Result<(), Ended> {
        let id = match name {
            "who" | "us" => name.to_owned(),
            name => {
                self.number += 1;
                format!("{name}{}", self.number)
            }
        };
        self.subs.insert(id.clone(), sub);
        let question = json!(["REQ", id, filter]).to_string();
        self.send(Message::Text(question.into())).await
    }

    async fn close(&mut self, id: &str) -> Result<(), Ended> {
        self.subs.remove(id);
        let text = json!(["CLOSE", id]).to_string();
        self.send(Message::Text(text.into())).await
    }
}

/// What a relay says.
pub enum Said {
    /// An event of a subscription; not checked.
    Event(String, Box<Event>),
    /// The stored events of a subscription were sent.
    End(String),
    /// A subscription is over, and why.
    Closed(String, String),
    /// Whether an event that was sent is taken, and why not.
    #[cfg_attr(not(feature = "uplink"), allow(dead_code))] // homes are only read
    Taken(String, bool, String),
    /// What to sign to prove who one is (NIP-42).
    #[cfg_attr(not(feature = "uplink"), allow(dead_code))] // homes are only read
    Challenge(String),
}

impl Said {
    /// Reads a message; `None` for what nobody pays attention to.
    pub fn parse(text: &str) -> Option<Self> {
        let mut message: Vec<Value> = serde_json::from_str(text).ok()?;
        let id = message.get(1)?.as_str()?.to_owned();
        let rest = message.get_mut(2).map(Value::take);
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        match message[0].as_str()? {
            "EVENT" => {
                let event = serde_json::from_value(rest?).ok()?;
                Some(Self::Event(id, Box::new(event)))
            }
            "EOSE" => Some(Self::End(id)),
            "CLOSED" => Some(Self::Closed(id, text(rest.as_ref()))),
            "OK" => {
                let is_taken = rest?.as_bool()?;
                Some(Self::Taken(id, is_taken, text(message.get(3))))
            }
            "AUTH" => Some(Self::Challenge(id)),
            _ => None,
        }
    }
}
