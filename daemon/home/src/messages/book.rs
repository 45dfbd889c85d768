//! One person's conversations, as far as they are open: who wrote what to whom and when, where on the disk it stands,
//! what was read, what reached whom. Texts stay on the disk. Touches no file and knows no network.

use std::collections::{BTreeSet, HashMap};

use nostr::event::{EventId, UnsignedEvent};
use nostr::key::{Keys, PublicKey};

use crate::config::Limits;
use crate::messages::lines::Place;
use crate::messages::record::{Kept, Marks, ReadUpTo, Safe, Settings, TalkId};
use crate::messages::wraps::{self, CHAT, DELETION, FILE, REACTION, RECEIPT};

/// Seconds by which an author's clock may be ahead.
const AHEAD: u64 = 15 * 60;
/// Characters of a reaction.
const REACTION_CHARS: usize = 64;
/// Reactions to one message, and messages that one receipt or deletion names.
const NAMED: usize = 200;

/// How far a message got at one receiver's home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It is there.
    Stored,
    /// It was read.
    Read,
}

impl Reached {
    /// The word in a receipt.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Read => "read",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Stored, Self::Read]
            .into_iter()
            .find(|reached| reached.word() == word)
    }
}

/// One message, reaction, deletion or receipt.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its conversation.
    pub talk: TalkId,
    /// Who wrote it.
    pub author: PublicKey,
    /// See [`Kept::at`].
    pub at: u64,
    /// Thousandths of that second, as far as the author told.
    ms: u16,
    /// See [`Kept::number`].
    pub number: u32,
    /// Its kind.
    pub kind: u16,
    /// Where it stands.
    pub place: Place,
    /// In which wrap it came.
    pub wrap: EventId,
    /// In which wraps it goes out.
    pub wraps: Vec<(PublicKey, EventId)>,
    /// Reactions to it, by id.
    pub reactions: Vec<EventId>,
}

/// The place of a message in its conversation: date, thousandths, order of arrival.
pub type Order = (u64, u16, u32, EventId);

impl Entry {
    /// Its place.
    pub fn order(&self, id: EventId) -> Order {
        (self.at, self.ms, self.number, id)
    }
}

/// One conversation.
#[derive(Debug)]
pub struct Talk {
    /// Everybody in it, the person included.
    pub people: BTreeSet<PublicKey>,
    /// Its messages by date.
    pub order: BTreeSet<Order>,
    /// What it is called, and since when.
    pub subject: Option<(u64, String)>,
    /// What the person set.
    pub marks: Marks,
    /// Where that stands.
    pub marks_place: Option<Place>,
    /// Whether the person wrote in it, or somebody who is no stranger.
    is_known: bool,
}

impl Talk {
    /// Whether it waits for the person to take it in.
    pub fn is_request(&self) -> bool {
        !self.is_known && !self.marks.accepted
    }
}

/// What came of something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A message.
    Message(EventId),
    /// A reaction to a message.
    Reaction(EventId, EventId),
    /// Messages are gone: each with the wrap it came in, and the wraps that go out.
    Deleted(Vec<(EventId, Entry)>),
    /// Messages of the person reached somebody.
    Reached(PublicKey, Reached, Vec<EventId>),
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.wrap == other.wrap
    }
}
impl Eq for Entry {}

/// Why something is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped(pub &'static str);

/// All conversations of an open account.
pub struct Book {
    /// The person's key.
    pub keys: Keys,
    /// Seals what is kept.
    pub safe: Safe,
    /// By id.
    pub talks: HashMap<TalkId, Talk>,
    /// By the rumor's id.
    pub entries: HashMap<EventId, Entry>,
    /// By the name that the app gave.
    pub clients: HashMap<String, EventId>,
    /// What reached whom.
    pub reached: HashMap<EventId, HashMap<PublicKey, Reached>>,
    /// What is set for all.
    pub settings: Settings,
    /// Where that stands.
    pub settings_place: Option<Place>,
    /// Deleted before they came, and by whom.
    deleted: HashMap<EventId, PublicKey>,
    /// Reactions that came before their message.
    early: HashMap<EventId, Vec<EventId>>,
    /// Of which message a wrap on its way out is.
    pub outgoing: HashMap<EventId, EventId>,
    next: u32,
}

impl Book {
    /// An empty one.
    pub fn new(keys: Keys) -> Self {
        Self {
            safe: Safe::new(&keys),
            keys,
            talks: HashMap::new(),
            entries: HashMap::new(),
            clients: HashMap::new(),
            reached: HashMap::new(),
            settings: Settings::default(),
            settings_place: None,
            deleted: HashMap::new(),
            early: HashMap::new(),
            outgoing: HashMap::new(),
            next: 1,
        }
    }

    fn me(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// The next number.
    pub fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// Everybody whom a rumor names, its author included.
    pub fn people(rumor: &UnsignedEvent) -> BTreeSet<PublicKey> {
        wraps::people(&rumor.tags).chain([rumor.pubkey]).collect()
    }

    /// Whether something that came is kept, and under which date.
    pub fn judge(
        &self,
        rumor: &UnsignedEvent,
        stranger: bool,
        now: u64,
        limits: &Limits,
    ) -> Result<u64, Dropped> {
        let id = rumor.id.ok_or(Dropped("it has no id"))?;
        let people = Self::people(rumor);
        if self.settings.blocked.contains(&rumor.pubkey) {
            return Err(Dropped("its author is blocked"));
        }
        if !people.contains(&self.me()) {
            return Err(Dropped("it is for others"));
        }
        if people.len() > limits.message_people + 1 {
            return Err(Dropped("it is for too many people"));
        }
        if self.entries.contains_key(&id) {
            return Err(Dropped("it is here already"));
        }
        let at = rumor.created_at.as_secs();
        let at = if at > now + AHEAD { now } else { at };
        let target = || wraps::named(&rumor.tags).next();
        match rumor.kind.as_u16() {
            CHAT | FILE if self.deleted.get(&id) == Some(&rumor.pubkey) => {
                Err(Dropped("it was deleted"))
            }
            CHAT | FILE if stranger => self.judge_stranger(&people, limits).map(|()| at),
            CHAT | FILE => Ok(at),
            REACTION => {
                let target = target().ok_or(Dropped("a reaction to nothing"))?;
                let reactions = self.entries.get(&target).map_or(0, |e| e.reactions.len());
                if stranger && !self.entries.contains_key(&target) {
                    return Err(Dropped("a stranger's reaction to nothing"));
                }
                if rumor.content.chars().count() > REACTION_CHARS || reactions >= NAMED {
                    return Err(Dropped("too much of a reaction"));
                }
                Ok(at)
            }
            DELETION => {
                let knows = |id| self.entries.contains_key(&id);
                if stranger && !wraps::named(&rumor.tags).take(NAMED).any(knows) {
                    return Err(Dropped("a stranger's deletion of nothing"));
                }
                Ok(at)
            }
            RECEIPT => match self.receipt(rumor) {
                Some(_) => Ok(at),
                None => Err(Dropped("a receipt for nothing")),
            },
            _ => Err(Dropped("it is of no kind that is known here")),
        }
    }

    /// Messages of strangers are counted, in each conversation and in all.
    fn judge_stranger(&self, people: &BTreeSet<PublicKey>, limits: &Limits) -> Result<(), Dropped> {
        let (requests, messages) = (limits.requests, limits.request_messages);
        match self.talks.get(&TalkId::of(people)) {
            Some(talk) if !talk.is_request() => Ok(()),
            Some(talk) if talk.order.len() < messages => Ok(()),
            Some(_) => Err(Dropped("a stranger writes too much")),
            None => {
                let waiting = self.talks.values().filter(|talk| talk.is_request());
                match waiting.count() < requests {
                    true => Ok(()),
                    false => Err(Dropped("too many strangers wait")),
                }
            }
        }
    }

    /// The person's messages that a receipt tells something new of.
    fn receipt(&self, rumor: &UnsignedEvent) -> Option<(Reached, Vec<EventId>)> {
        let state = wraps::values(&rumor.tags, "state").next();
        let reached = Reached::parse(state?)?;
        let is_news = |id: &EventId| {
            let entry = self.entries.get(id);
            let talk = entry.and_then(|entry| self.talks.get(&entry.talk));
            let known = self.reached.get(id).and_then(|of| of.get(&rumor.pubkey));
            entry.is_some_and(|entry| entry.author == self.me())
                && talk.is_some_and(|talk| talk.people.contains(&rumor.pubkey))
                && known.is_none_or(|known| *known < reached)
        };
        let ids: Vec<EventId> = wraps::named(&rumor.tags)
            .take(NAMED)
            .filter(is_news)
            .collect();
        (!ids.is_empty() && rumor.pubkey != self.me()).then_some((reached, ids))
    }

    /// Takes in what was judged, or what was kept before.
    pub fn put(&mut self, kept: &Kept, wrap: EventId, place: Place) -> Option<News> {
        let rumor = &kept.rumor;
        let id = rumor.id?;
        self.next = self.next.max(kept.number.saturating_add(1));
        let kind = rumor.kind.as_u16();
        let target = wraps::named(&rumor.tags).next();
        let known = target.and_then(|target| self.entries.get(&target));
        let talk = match (kind, known) {
            (CHAT | FILE, _) | (_, None) => TalkId::of(&Self::people(rumor)),
            (_, Some(target)) => target.talk,
        };
        let receipt = (kind == RECEIPT).then(|| self.receipt(rumor)).flatten();
        self.entries.insert(
            id,
            Entry {
                talk,
                author: rumor.pubkey,
                at: kept.at,
                ms: wraps::values(&rumor.tags, "ms")
                    .next()
                    .and_then(|ms| ms.parse().ok())
                    .map_or(0, |ms: u16| ms.min(999)),
                number: kept.number,
                kind,
                place,
                wrap,
                wraps: kept.wraps.clone(),
                reactions: Vec::new(),
            },
        );
        for (_, wrap) in &kept.wraps {
            self.outgoing.insert(*wrap, id);
        }
        if let Some(client) = &kept.client {
            self.clients.insert(client.clone(), id);
        }
        match kind {
            CHAT | FILE => self.put_message(kept, id),
            REACTION => {
                let target = target?;
                let Some(entry) = self.entries.get_mut(&target) else {
                    self.early.entry(target).or_default().push(id);
                    return None;
                };
                entry.reactions.push(id);
                Some(News::Reaction(target, id))
            }
            DELETION => self.put_deletion(rumor),
            _ => {
                let (reached, ids) = receipt?;
                for id in &ids {
                    let of = self.reached.entry(*id).or_default();
                    of.insert(rumor.pubkey, reached);
                }
                Some(News::Reached(rumor.pubkey, reached, ids))
            }
        }
    }

    fn put_message(&mut self, kept: &Kept, id: EventId) -> Option<News> {
        let (rumor, me) = (&kept.rumor, self.me());
        let early = self.early.remove(&id).unwrap_or_default();
        let order = self.entries.get_mut(&id).map(|entry| {
            entry.reactions = early;
            entry.order(id)
        })?;
        let talk = self.talk(Self::people(rumor));
        talk.order.insert(order);
        talk.is_known |= rumor.pubkey == me || !kept.stranger;
        let subject = wraps::values(&rumor.tags, "subject").next();
        if let Some(subject) = subject
            && talk.subject.as_ref().is_none_or(|(at, _)| *at <= kept.at)
        {
            let subject = subject.chars().filter(|c| !c.is_control());
            talk.subject = Some((kept.at, subject.take(80).collect()));
        }
        Some(News::Message(id))
    }

    fn put_deletion(&mut self, rumor: &UnsignedEvent) -> Option<News> {
        let mut gone = Vec::new();
        for id in wraps::named(&rumor.tags).take(NAMED) {
            match self.entries.get(&id).map(|entry| entry.author) {
                Some(author) if author == rumor.pubkey => gone.extend(self.remove(&id)),
                Some(_) => {}
                None => drop(self.deleted.insert(id, rumor.pubkey)),
            }
        }
        (!gone.is_empty()).then_some(News::Deleted(gone))
    }

    /// Takes a message out, with the reactions to it.
    pub fn remove(&mut self, id: &EventId) -> Vec<(EventId, Entry)> {
        let Some(entry) = self.entries.remove(id) else {
            return Vec::new();
        };
        if let Some(talk) = self.talks.get_mut(&entry.talk) {
            talk.order.remove(&entry.order(*id));
        }
        if entry.kind == REACTION {
            for other in self.entries.values_mut() {
                other.reactions.retain(|reaction| reaction != id);
            }
        }
        self.reached.remove(id);
        let reactions = entry.reactions.clone();
        let mut gone = vec![(*id, entry)];
        for reaction in reactions {
            let entry = self.entries.remove(&reaction);
            gone.extend(entry.map(|entry| (reaction, entry)));
        }
        gone
    }

    /// The conversation of these people, begun if there is none.
    pub fn talk(&mut self, people: BTreeSet<PublicKey>) -> &mut Talk {
        let id = TalkId::of(&people);
        self.talks.entry(id).or_insert_with(|| Talk {
            people,
            order: BTreeSet::new(),
            subject: None,
            marks: Marks {
                id,
                read: ReadUpTo::default(),
                accepted: false,
                muted: false,
            },
            marks_place: None,
            is_known: false,
        })
    }

    /// Messages of others that were not read yet.
    pub fn unread<'a>(&'a self, talk: &'a Talk) -> impl Iterator<Item = (EventId, &'a Entry)> {
        let read = talk.marks.read;
        talk.order
            .iter()
            .rev()
            .filter_map(move |(at, _, number, id)| {
                let entry = self.entries.get(id)?;
                let is_new = *number > read.number || *at > read.at;
                (is_new && entry.author != self.me()).then_some((*id, entry))
            })
    }

    /// How far a conversation goes.
    pub fn end(talk: &Talk) -> ReadUpTo {
        let numbers = talk.order.iter().map(|(_, _, number, _)| *number);
        ReadUpTo {
            number: numbers.max().unwrap_or(0),
            at: talk.order.last().map_or(0, |(at, ..)| *at),
        }
    }
}
