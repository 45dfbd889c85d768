//! One person's messages: the file, what is known of it while the account is sealed, and the conversations while it is
//! open. Everything here blocks, on the disk or on ciphers; nothing here knows the network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::event::{Event, EventId, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::config::Limits;
use crate::dialer::ServiceName;
use crate::error::HomeError;
use crate::messages::book::{Book, Entry, News, Reached};
use crate::messages::error::MessageError;
use crate::messages::index::{Index, Pending};
use crate::messages::inner::{Batch, Inner};
use crate::messages::lines::{Log, Place};
use crate::messages::record::{Kept, Marks, ReadUpTo, Record, Settings, TalkId};
use crate::messages::view;
use crate::messages::wraps::{self, EPHEMERAL_GIFT_WRAP, GIFT_WRAP, TYPING};

/// Wraps that are opened before others get a turn.
const AT_A_TIME: usize = 32;
/// Changes that a slow app may be behind before it has to ask anew.
const BEHIND: usize = 64;
/// Seconds for which somebody is seen writing.
const TYPING_SECONDS: u64 = 30;

/// What changed, for the person's apps: the name of an event and its data.
pub type Change = (&'static str, Value);

/// What is to be sent.
#[derive(Debug)]
pub struct Draft {
    /// What the app calls it; the same name is sent once.
    pub client: Option<String>,
    /// To whom, the person not included.
    pub to: Vec<PublicKey>,
    /// Which kind.
    pub kind: u16,
    /// Tags beside `p`.
    pub tags: Vec<Vec<String>>,
    /// Text.
    pub content: String,
}

/// What a carrier is given.
#[derive(Debug)]
pub struct Outgoing {
    /// The wrap.
    pub wrap: Event,
    /// To whom.
    pub to: PublicKey,
}

/// See the file.
pub struct Mailbox {
    /// Whose.
    pub person: PublicKey,
    limits: Limits,
    changes: broadcast::Sender<Change>,
    inner: Mutex<Inner>,
}

impl Mailbox {
    /// Opens a person's file, or makes it.
    pub fn open(path: PathBuf, person: PublicKey, limits: Limits) -> Result<Self, HomeError> {
        let mut index = Index::default();
        let log = Log::open(path, |place, text| match Record::parse(text) {
            Some(record) => index.apply(place, &record),
            None => log::error!("a record of a person's messages is not known and is passed over"),
        })?;
        Ok(Self {
            person,
            limits,
            changes: broadcast::channel(BEHIND).0,
            inner: Mutex::new(Inner {
                log,
                index,
                book: None,
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What changes from now on. `None` when too many listen.
    pub fn listen(&self) -> Option<broadcast::Receiver<Change>> {
        (self.changes.receiver_count() < self.limits.message_streams)
            .then(|| self.changes.subscribe())
    }

    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            let _ = self.changes.send(change);
        }
    }

    /// Looks at the open conversations.
    pub fn look<T>(
        &self,
        look: impl FnOnce(&Inner, &Book) -> Result<T, MessageError>,
    ) -> Result<T, MessageError> {
        let inner = self.inner();
        let book = inner.book.as_ref().ok_or(MessageError::Sealed)?;
        look(&inner, book)
    }

    /// The account was opened: opens what came meanwhile.
    pub fn unseal(
        &self,
        keys: &Keys,
        knows: &dyn Fn(&PublicKey) -> bool,
        now: u64,
    ) -> Result<(), MessageError> {
        {
            let mut inner = self.inner();
            if inner.book.is_none() {
                inner.load(keys.clone())?;
            }
        }
        loop {
            let mut inner = self.inner();
            let mut unopened = inner.index.unopened();
            unopened.truncate(AT_A_TIME);
            if unopened.is_empty() {
                return inner.tidy();
            }
            let mut wraps = Vec::new();
            for (place, stranger) in unopened {
                if let Some(Record::Wrap { event, .. }) = Record::parse(&inner.log.read(place)?) {
                    wraps.push((*event, stranger));
                }
            }
            let changes = inner.open_wraps(wraps, knows, now, &self.limits)?;
            drop(inner);
            self.tell(changes);
        }
    }

    /// The account was sealed: forgets everything that was open.
    pub fn seal(&self) {
        self.inner().book = None;
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.inner().book.is_some()
    }

    /// Takes in wraps that a space or the home's relay had. `Full`: there was no room for
    /// all of them, and what did not fit was not taken.
    pub fn take(
        &self,
        wraps: Vec<Event>,
        from_relay: bool,
        knows: &dyn Fn(&PublicKey) -> bool,
        now: u64,
    ) -> Result<(), MessageError> {
        let mut inner = self.inner();
        let mut new: BTreeMap<EventId, Event> = BTreeMap::new();
        for wrap in wraps {
            let is_mine = wrap.kind.as_u16() == GIFT_WRAP
                && wraps::receiver(&wrap) == Some(self.person)
                && wrap.content.len() <= wraps::WRAP_BYTES;
            if is_mine && !inner.index.wraps.contains_key(&wrap.id) {
                new.insert(wrap.id, wrap);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let most = self.limits.messages_bytes;
        let mut used = inner.log.len().saturating_sub(inner.index.dead);
        let mut strangers = inner.index.strangers;
        let count = new.len();
        let fits = |wrap: &Event| {
            let bytes = wrap.content.len() as u64;
            let fits = used + bytes <= most && (!from_relay || strangers + bytes <= most / 4);
            if fits {
                (used, strangers) = (used + bytes, strangers + bytes);
            }
            fits
        };
        let new: Vec<Event> = new.into_values().filter(fits).collect();
        let taken = match new.len() == count {
            true => Ok(()),
            false => Err(MessageError::Full),
        };
        if inner.book.is_some() {
            let new = new.into_iter().map(|wrap| (wrap, from_relay)).collect();
            let changes = inner.open_wraps(new, knows, now, &self.limits)?;
            let tidied = inner.tidy();
            drop(inner);
            self.tell(changes);
            return tidied.and(taken);
        }
        let records = new.into_iter().map(|event| Record::Wrap {
            event: Box::new(event),
            stranger: from_relay,
        });
        inner.write(records.collect())?;
        taken
    }

    /// Takes in a wrap that is not stored: somebody writes.
    pub fn hear(&self, wrap: &Event, now: u64) {
        let changes = {
            let inner = self.inner();
            let Some(book) = &inner.book else { return };
            if wrap.kind.as_u16() != EPHEMERAL_GIFT_WRAP {
                return;
            }
            let Ok(rumor) = wraps::open(&book.keys, wrap) else {
                return;
            };
            let talk = book.talks.get(&TalkId::of(&Book::people(&rumor)));
            let is_fine = rumor.kind.as_u16() == TYPING
                && rumor.created_at.as_secs().abs_diff(now) <= TYPING_SECONDS
                && rumor.pubkey != self.person
                && !book.settings.blocked.contains(&rumor.pubkey);
            match talk.filter(|talk| is_fine && !talk.is_request()) {
                Some(talk) => json!({"conversation": talk.marks.id, "person": rumor.pubkey}),
                None => return,
            }
        };
        self.tell(vec![("typing", changes)]);
    }

    /// Keeps a message and its wraps, and gives its view. The same name (`client`) is kept once. `copy`: whether there
    /// is a place where the person's other apps could find it.
    pub fn send(&self, draft: Draft, copy: bool, now: u64) -> Result<Value, MessageError> {
        let mut inner = self.inner();
        let book = inner.book.as_mut().ok_or(MessageError::Sealed)?;
        if let Some(known) = draft
            .client
            .as_ref()
            .and_then(|name| book.clients.get(name))
        {
            let known = *known;
            return inner.message(&known);
        }
        let (max, count) = (self.limits.messages_waiting, draft.to.len() + 1);
        if inner.index.pending.len() + count > max {
            let what = "messages";
            return Err(MessageError::TooMany { what, max });
        }
        if inner.log.len().saturating_sub(inner.index.dead) > self.limits.messages_bytes {
            return Err(MessageError::Full);
        }
        let book = inner.book.as_mut().ok_or(MessageError::Sealed)?;
        let mut tags: Vec<Vec<String>> = draft
            .to
            .iter()
            .map(|person| vec!["p".to_owned(), person.to_hex()])
            .collect();
        tags.extend(draft.tags);
        let rumor = wraps::rumor(self.person, draft.kind, now, &tags, &draft.content);
        let id = rumor.id.ok_or(MessageError::Broken("no id".into()))?;
        if serde_json::to_string(&rumor)?.len() > wraps::RUMOR_BYTES {
            return Err(MessageError::TooLong(self.limits.message_bytes));
        }
        let wrap = |to: &PublicKey, rumor: &UnsignedEvent| {
            wraps::wrap(&book.keys, rumor, to, GIFT_WRAP, now).map_err(MessageError::Broken)
        };
        let own = wrap(&self.person, &rumor)?;
        let mut records = Vec::new();
        let mut kept = Kept {
            number: 0,
            at: now,
            stranger: false,
            client: draft.client,
            wraps: Vec::new(),
            rumor,
        };
        for to in draft.to.iter().filter(|to| **to != self.person) {
            let wrap = wrap(to, &kept.rumor)?;
            kept.wraps.push((*to, wrap.id));
            records.push(Record::Out { wrap: wrap.into() });
        }
        kept.number = book.number();
        let mut batch = Batch::default();
        batch.opened.push((0, id));
        batch.records.push(Record::Opened {
            wrap: own.id,
            at: own.created_at.as_secs(),
            sealed: book.safe.seal(&kept).map_err(MessageError::Broken)?,
        });
        batch.records.extend(records);
        let own_id = own.id;
        if copy {
            batch.records.push(Record::Out { wrap: own.into() });
        }
        let news = book.put(&kept, own_id, Place::default());
        batch.news.extend(news);
        let changes = inner.commit(batch)?;
        let view = inner.message(&id);
        drop(inner);
        self.tell(changes);
        view
    }

    /// Makes a wrap that is not stored for each of these people: the person writes.
    pub fn typing(&self, talk: &TalkId, now: u64) -> Result<Vec<Event>, MessageError> {
        self.look(|_, book| {
            let talk = book.talks.get(talk);
            let talk = talk.ok_or(MessageError::Unknown("conversation"))?;
            let others = || talk.people.iter().filter(|person| **person != self.person);
            let tags: Vec<Vec<String>> = others()
                .map(|person| vec!["p".to_owned(), person.to_hex()])
                .collect();
            let rumor = wraps::rumor(self.person, TYPING, now, &tags, "");
            let wraps = others()
                .map(|person| wraps::wrap(&book.keys, &rumor, person, EPHEMERAL_GIFT_WRAP, now));
            let wraps: Result<_, _> = wraps.collect();
            wraps.map_err(MessageError::Broken)
        })
    }

    /// Notes how far a conversation was read, and tells those who wrote, if the person wants them to know.
    pub fn read(
        &self,
        talk: &TalkId,
        up_to: Option<EventId>,
        now: u64,
    ) -> Result<(), MessageError> {
        let mut inner = self.inner();
        let book = inner.book.as_ref().ok_or(MessageError::Sealed)?;
        let of = book.talks.get(talk);
        let of = of.ok_or(MessageError::Unknown("conversation"))?;
        let mut read = match up_to.map(|id| book.entries.get(&id)) {
            None => Book::end(of),
            Some(Some(entry)) if entry.talk == *talk => ReadUpTo {
                number: entry.number,
                at: entry.at,
            },
            Some(_) => return Err(MessageError::Unknown("message")),
        };
        // What was read on another device stays read.
        read.number = read.number.max(of.marks.read.number);
        read.at = read.at.max(of.marks.read.at);
        if read == of.marks.read {
            return Ok(());
        }
        let is_read = |entry: &Entry| entry.number <= read.number && entry.at <= read.at;
        let mut receipts: BTreeMap<PublicKey, Vec<EventId>> = BTreeMap::new();
        if book.settings.read_receipts && !of.is_request() {
            for (id, entry) in book.unread(of).filter(|(_, entry)| is_read(entry)) {
                receipts.entry(entry.author).or_default().push(id);
            }
        }
        let marks = Marks {
            read,
            ..of.marks.clone()
        };
        let room = self.limits.messages_waiting;
        let mut records = inner.receipts(receipts, Reached::Read, room, now)?;
        records.insert(0, inner.mark_record(&marks)?);
        let places = inner.write(records)?;
        inner.put_marks(marks, places[0]);
        drop(inner);
        self.tell(vec![("read", json!({"conversation": talk}))]);
        Ok(())
    }

    /// Changes what is set for one conversation.
    pub fn mark(&self, talk: &TalkId, change: impl FnOnce(&mut Marks)) -> Result<(), MessageError> {
        let mut inner = self.inner();
        let book = inner.book.as_ref().ok_or(MessageError::Sealed)?;
        let of = book.talks.get(talk);
        let mut marks = of
            .ok_or(MessageError::Unknown("conversation"))?
            .marks
            .clone();
        change(&mut marks);
        let record = inner.mark_record(&marks)?;
        let places = inner.write(vec![record])?;
        inner.put_marks(marks, places[0]);
        Ok(())
    }

    /// Changes what is set for all conversations.
    pub fn set(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<(), MessageError>,
    ) -> Result<Settings, MessageError> {
        let mut inner = self.inner();
        let book = inner.book.as_ref().ok_or(MessageError::Sealed)?;
        let mut settings = book.settings.clone();
        change(&mut settings)?;
        if settings != book.settings {
            let sealed = book.safe.seal(&settings).map_err(MessageError::Broken)?;
            let places = inner.write(vec![Record::Settings { sealed }])?;
            if let Some(book) = &mut inner.book {
                (book.settings, book.settings_place) = (settings.clone(), Some(places[0]));
            }
        }
        Ok(settings)
    }

    /// Removes messages here, for nobody else: these, or all of a conversation.
    pub fn forget(&self, talk: &TalkId, only: Option<EventId>) -> Result<(), MessageError> {
        let mut inner = self.inner();
        let book = inner.book.as_mut().ok_or(MessageError::Sealed)?;
        let of = book.talks.get(talk);
        let of = of.ok_or(MessageError::Unknown("conversation"))?;
        let ids: Vec<EventId> = match only {
            Some(id) => vec![id],
            None => {
                let rest = book.entries.iter().filter(|(_, entry)| entry.talk == *talk);
                let order = of.order.iter().map(|(_, _, _, id)| *id);
                order.chain(rest.map(|(id, _)| *id)).collect()
            }
        };
        let mut gone = Vec::new();
        for id in ids {
            gone.extend(book.remove(&id));
        }
        if only.is_none() {
            book.talks.remove(talk);
        }
        let batch = Batch {
            news: vec![News::Deleted(gone)],
            ..Batch::default()
        };
        let changes = inner.commit(batch)?;
        let tidied = inner.tidy();
        drop(inner);
        self.tell(changes);
        tidied
    }

    /// The person's spaces, and whether each knows that this home collects.
    pub fn spaces(&self) -> BTreeMap<ServiceName, bool> {
        self.inner().index.spaces.clone()
    }

    /// Notes that the person belongs to a space, or does no longer, and whether it knows that this home collects.
    pub fn note_space(
        &self,
        service: &ServiceName,
        belongs: bool,
        permits: bool,
    ) -> Result<(), MessageError> {
        let mut inner = self.inner();
        let known = inner.index.spaces.get(service).copied();
        if known == belongs.then_some(permits) {
            return Ok(());
        }
        let max = self.limits.person_spaces;
        if known.is_none() && inner.index.spaces.len() >= max {
            let what = "spaces";
            return Err(MessageError::TooMany { what, max });
        }
        let record = Record::Space {
            service: service.to_string(),
            belongs,
            permits,
        };
        inner.write(vec![record]).map(drop)
    }

    /// Dates and ids of all wraps that were ever here, without those that are on their way out.
    pub fn known(&self) -> Vec<(u64, EventId)> {
        let inner = self.inner();
        let wraps = inner.index.wraps.iter();
        wraps.map(|(id, (at, _))| (*at, *id)).collect()
    }

    /// To whom wraps are on their way out.
    pub fn receivers(&self) -> Vec<PublicKey> {
        let inner = self.inner();
        let mut receivers: Vec<_> = inner.index.pending.iter().map(|p| p.to).collect();
        receivers.sort_unstable();
        receivers.dedup();
        receivers
    }

    /// The oldest wrap that this service can carry, as `can` says of its receiver. It is this carrier's until it is
    /// [`Self::delivered`] or [`Self::put_back`].
    pub fn next_outgoing(
        &self,
        service: &ServiceName,
        can: &dyn Fn(&PublicKey) -> bool,
    ) -> Result<Option<Outgoing>, MessageError> {
        let mut inner = self.inner();
        let Inner { log, index, .. } = &mut *inner;
        let fits = |p: &&mut Pending| !p.is_moving && !p.refused.contains(service) && can(&p.to);
        let Some(pending) = index.pending.iter_mut().find(fits) else {
            return Ok(None);
        };
        let to = pending.to;
        match Record::parse(&log.read(pending.place)?) {
            Some(Record::Out { wrap }) => {
                pending.is_moving = true;
                Ok(Some(Outgoing { wrap: *wrap, to }))
            }
            _ => Err(MessageError::Broken("a wrap is no wrap".into())),
        }
    }

    /// The oldest wrap for one of these receivers, who live at this home, too.
    pub fn next_here(
        &self,
        here: &dyn Fn(&PublicKey) -> bool,
    ) -> Result<Option<Outgoing>, MessageError> {
        let inner = self.inner();
        let mut pending = inner.index.pending.iter();
        let Some(pending) = pending.find(|p| !p.is_moving && here(&p.to)) else {
            return Ok(None);
        };
        match Record::parse(&inner.log.read(pending.place)?) {
            Some(Record::Out { wrap }) => Ok(Some(Outgoing {
                wrap: *wrap,
                to: pending.to,
            })),
            _ => Err(MessageError::Broken("a wrap is no wrap".into())),
        }
    }

    /// A carrier gives a wrap back; `refused` when its service does not take it.
    pub fn put_back(&self, wrap: &EventId, refused: Option<&ServiceName>) {
        let mut inner = self.inner();
        let pending = inner.index.pending.iter_mut();
        for pending in pending.filter(|pending| pending.wrap == *wrap) {
            pending.is_moving = false;
            pending.refused.extend(refused.cloned());
        }
    }

    /// A service has a wrap.
    pub fn delivered(&self, wrap: &EventId, by: &str) -> Result<(), MessageError> {
        let mut inner = self.inner();
        if !inner.index.pending.iter().any(|p| p.wrap == *wrap) {
            return Ok(()); // its message was deleted meanwhile
        }
        inner.write(vec![Record::Sent {
            wrap: *wrap,
            by: by.to_owned(),
        }])?;
        let change = inner.book.as_ref().and_then(|book| {
            let message = book.outgoing.get(wrap)?;
            let entry = book.entries.get(message)?;
            let (person, _) = entry.wraps.iter().find(|(_, id)| id == wrap)?;
            Some(view::state(entry, message, person, "sent"))
        });
        let tidied = inner.tidy();
        drop(inner);
        self.tell(change.into_iter().collect());
        tidied
    }

    /// What the home keeps of all this on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        let inner = self.inner();
        inner.log.len().saturating_sub(inner.index.dead)
    }
}
