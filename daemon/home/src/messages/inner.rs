//! The inside of one person's messages, behind a lock: file, index and open conversations, which are changed together
//! and in this order. Blocks, on the disk and on ciphers.

use std::collections::BTreeMap;

use nostr::event::{Event, EventId};
use nostr::key::{Keys, PublicKey};
use serde_json::Value;

use crate::config::Limits;
use crate::messages::book::{Book, Entry, News, Reached};
use crate::messages::error::MessageError;
use crate::messages::index::Index;
use crate::messages::lines::{Log, Place};
use crate::messages::mailbox::Change;
use crate::messages::record::{Kept, Marks, Record};
use crate::messages::view;
use crate::messages::wraps::{self, GIFT_WRAP, RECEIPT};

/// Bytes of records that are needed no more, from which on the file is written anew when they are half of it.
const DEAD_BYTES: u64 = 256 * 1024;
/// Messages that one receipt names.
const RECEIPT_NAMES: usize = 100;

/// What the lock guards.
pub struct Inner {
    /// The file.
    pub log: Log,
    /// What is known of it without opening anything.
    pub index: Index,
    /// The conversations, while they are open.
    pub book: Option<Book>,
}

/// What is to be brought to the disk at once.
#[derive(Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
    /// Which of the records are opened messages, and which.
    pub opened: Vec<(usize, EventId)>,
    /// What came of them.
    pub news: Vec<News>,
}

impl Inner {
    /// Adds records.
    pub fn write(&mut self, records: Vec<Record>) -> Result<Vec<Place>, MessageError> {
        let texts: Result<Vec<String>, _> = records.iter().map(Record::text).collect();
        let places = self.log.append(&texts?)?;
        for (place, record) in places.iter().zip(&records) {
            self.index.apply(*place, record);
        }
        Ok(places)
    }

    /// Reads what is kept, with the account's key.
    pub fn load(&mut self, keys: Keys) -> Result<(), MessageError> {
        let mut book = Book::new(keys);
        for place in self.index.opened() {
            let record = Record::parse(&self.log.read(place)?);
            let Some(Record::Opened { wrap, sealed, .. }) = record else {
                continue;
            };
            match book.safe.open::<Kept>(&sealed) {
                Some(kept) => drop(book.put(&kept, wrap, place)),
                None => log::error!("a kept message does not open and is passed over"),
            }
        }
        for place in &self.index.settings {
            match Record::parse(&self.log.read(*place)?) {
                Some(Record::Talk { sealed }) => {
                    let marks = book.safe.open::<Marks>(&sealed);
                    let Some(marks) = marks else { continue };
                    if let Some(talk) = book.talks.get_mut(&marks.id) {
                        (talk.marks, talk.marks_place) = (marks, Some(*place));
                    }
                }
                Some(Record::Settings { sealed }) => {
                    if let Some(settings) = book.safe.open(&sealed) {
                        (book.settings, book.settings_place) = (settings, Some(*place));
                    }
                }
                _ => {}
            }
        }
        self.book = Some(book);
        Ok(())
    }

    /// Opens wraps and keeps what they bring.
    pub fn open_wraps(
        &mut self,
        wraps: Vec<(Event, bool)>,
        knows: &dyn Fn(&PublicKey) -> bool,
        now: u64,
        limits: &Limits,
    ) -> Result<Vec<Change>, MessageError> {
        let mut batch = Batch::default();
        let book = self.book.as_mut().ok_or(MessageError::Sealed)?;
        for (wrap, from_relay) in wraps {
            let at = wrap.created_at.as_secs();
            let opened = wraps::open(&book.keys, &wrap).map_err(|fault| fault.to_string());
            let judged = opened.and_then(|rumor| {
                let stranger = from_relay && !knows(&rumor.pubkey);
                let at = book.judge(&rumor, stranger, now, limits);
                at.map(|at| (rumor, stranger, at))
                    .map_err(|why| why.0.to_owned())
            });
            match judged {
                Ok((rumor, stranger, date)) => {
                    let id = rumor.id.unwrap_or_else(|| rumor.compute_id());
                    let kept = Kept {
                        number: book.number(),
                        at: date,
                        stranger,
                        client: None,
                        wraps: Vec::new(),
                        rumor,
                    };
                    batch.opened.push((batch.records.len(), id));
                    batch.records.push(Record::Opened {
                        wrap: wrap.id,
                        at,
                        sealed: book.safe.seal(&kept).map_err(MessageError::Broken)?,
                    });
                    batch
                        .news
                        .extend(book.put(&kept, wrap.id, Place::default()));
                }
                Err(why) => {
                    log::debug!("a private message is not kept: {why}");
                    batch.records.push(Record::Done { wrap: wrap.id, at });
                }
            }
        }
        let mut receipts: BTreeMap<PublicKey, Vec<EventId>> = BTreeMap::new();
        for news in &batch.news {
            if let News::Message(id) = news
                && book.settings.receipts
                && let Some(entry) = book.entries.get(id)
                && entry.author != book.keys.public_key()
                && book.talks.get(&entry.talk).is_some_and(|t| !t.is_request())
            {
                receipts.entry(entry.author).or_default().push(*id);
            }
        }
        let receipts = self.receipts(receipts, Reached::Stored, limits.messages_waiting, now)?;
        batch.records.extend(receipts);
        self.commit(batch)
    }

    /// Wraps that tell people how far their messages have got. What there is no room for is not told.
    pub fn receipts(
        &self,
        receipts: BTreeMap<PublicKey, Vec<EventId>>,
        reached: Reached,
        room: usize,
        now: u64,
    ) -> Result<Vec<Record>, MessageError> {
        let book = self.book.as_ref().ok_or(MessageError::Sealed)?;
        let mut records = Vec::new();
        for (person, ids) in receipts {
            for ids in ids.chunks(RECEIPT_NAMES) {
                if self.index.pending.len() + records.len() >= room {
                    return Ok(records);
                }
                let mut tags = vec![
                    vec!["p".to_owned(), person.to_hex()],
                    vec!["state".to_owned(), reached.word().to_owned()],
                ];
                tags.extend(ids.iter().map(|id| vec!["e".to_owned(), id.to_hex()]));
                let rumor = wraps::rumor(book.keys.public_key(), RECEIPT, now, &tags, "");
                let wrap = wraps::wrap(&book.keys, &rumor, &person, GIFT_WRAP, now);
                let wrap = wrap.map_err(MessageError::Broken)?.into();
                records.push(Record::Out { wrap });
            }
        }
        Ok(records)
    }

    /// Brings what came to the disk. When that fails the conversations are closed: the next who looks reads what the
    /// disk has.
    pub fn commit(&mut self, mut batch: Batch) -> Result<Vec<Change>, MessageError> {
        for news in &batch.news {
            let News::Deleted(gone) = news else { continue };
            for (_, entry) in gone {
                let at = self.index.wraps.get(&entry.wrap).map_or(0, |(at, _)| *at);
                let wrap = entry.wrap;
                batch.records.push(Record::Done { wrap, at });
                for wrap in entry.wraps.iter().map(|(_, wrap)| wrap).chain([&wrap]) {
                    if self.index.pending.iter().any(|p| p.wrap == *wrap) {
                        batch.records.push(Record::Stopped { wrap: *wrap });
                    }
                }
            }
        }
        let places = match self.write(batch.records) {
            Ok(places) => places,
            Err(error) => {
                self.book = None;
                return Err(error);
            }
        };
        let Some(book) = &mut self.book else {
            return Ok(Vec::new());
        };
        for (n, id) in &batch.opened {
            if let (Some(entry), Some(place)) = (book.entries.get_mut(id), places.get(*n)) {
                entry.place = *place;
            }
        }
        let changes = batch.news.iter().flat_map(|news| view::changes(self, news));
        Ok(changes.collect())
    }

    /// The view of one message.
    pub fn message(&self, id: &EventId) -> Result<Value, MessageError> {
        let book = self.book.as_ref().ok_or(MessageError::Sealed)?;
        let entry = book.entries.get(id);
        view::message(
            self,
            book,
            id,
            entry.ok_or(MessageError::Unknown("message"))?,
        )
    }

    /// What is set for one conversation, as a record.
    pub fn mark_record(&self, marks: &Marks) -> Result<Record, MessageError> {
        let book = self.book.as_ref().ok_or(MessageError::Sealed)?;
        let sealed = book.safe.seal(marks).map_err(MessageError::Broken)?;
        Ok(Record::Talk { sealed })
    }

    /// Takes in what is set for one conversation.
    pub fn put_marks(&mut self, marks: Marks, place: Place) {
        let talk = self
            .book
            .as_mut()
            .and_then(|book| book.talks.get_mut(&marks.id));
        if let Some(talk) = talk {
            self.index.dead += talk.marks_place.map_or(0, Place::bytes);
            (talk.marks, talk.marks_place) = (marks, Some(place));
        }
    }

    /// Writes the file anew when half of it is needed no more.
    pub fn tidy(&mut self) -> Result<(), MessageError> {
        if self.index.dead < DEAD_BYTES || self.index.dead < self.log.len() / 2 {
            return Ok(());
        }
        let Some(book) = self.book.take() else {
            return Ok(());
        };
        let (index, mut fresh) = (&self.index, Index::default());
        self.log.rewrite(
            |place, text| {
                Record::parse(text).is_some_and(|record| index.needs(place, &record, &book))
            },
            |place, text| {
                if let Some(record) = Record::parse(text) {
                    fresh.apply(place, &record);
                }
            },
        )?;
        for pending in &mut fresh.pending {
            let old = self.index.pending.iter().find(|p| p.wrap == pending.wrap);
            if let Some(old) = old {
                (pending.is_moving, pending.refused) = (old.is_moving, old.refused.clone());
            }
        }
        self.index = fresh;
        self.load(book.keys)
    }

    /// Whether a wrap is still on its way out.
    pub fn is_pending(&self, wrap: &EventId) -> bool {
        self.index.pending.iter().any(|p| p.wrap == *wrap)
    }

    /// Reads an opened message.
    pub fn kept(&self, book: &Book, entry: &Entry) -> Result<Kept, MessageError> {
        let record = Record::parse(&self.log.read(entry.place)?);
        let kept = record.and_then(|record| match record {
            Record::Opened { sealed, .. } => book.safe.open(&sealed),
            _ => None,
        });
        kept.ok_or_else(|| MessageError::Broken("a message does not open".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::mailbox::{Draft, Mailbox};
    use crate::messages::wraps::CHAT;

    const NOW: u64 = 1_750_000_000;

    fn note(to: &Keys, client: &str, text: &str) -> Draft {
        Draft {
            client: Some(client.into()),
            to: vec![to.public_key()],
            kind: CHAT,
            tags: Vec::new(),
            content: text.into(),
        }
    }

    fn texts(mailbox: &Mailbox) -> Vec<String> {
        let look = mailbox.look(|inner, book| {
            let talk = book.talks.values().next();
            let order = talk.into_iter().flat_map(|talk| &talk.order);
            let text = |entry| inner.kept(book, entry).map(|kept| kept.rumor.content);
            order
                .map(|(.., id)| text(&book.entries[id]))
                .collect::<Result<_, _>>()
        });
        look.unwrap()
    }

    #[test]
    fn a_file_of_what_was_deleted_becomes_small_and_keeps_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.messages");
        let (ann, ben) = (Keys::generate(), Keys::generate());
        let open = || Mailbox::open(path.clone(), ann.public_key(), Limits::default()).unwrap();
        let mailbox = open();
        mailbox.unseal(&ann, &|_| true, NOW).unwrap();
        let long = "x".repeat(9000);
        let mut ids = Vec::new();
        for n in 0..20 {
            let view = mailbox.send(
                note(&ben, &n.to_string(), &format!("{n} {long}")),
                false,
                NOW + n,
            );
            let id = view.unwrap()["id"].as_str().unwrap().to_owned();
            ids.push(EventId::from_hex(&id).unwrap());
        }
        let talk = mailbox
            .look(|_, book| Ok(*book.talks.keys().next().unwrap()))
            .unwrap();
        mailbox.mark(&talk, |marks| marks.muted = true).unwrap();
        mailbox.read(&talk, None, NOW).unwrap();
        let before = std::fs::metadata(&path).unwrap().len();
        for id in &ids[..18] {
            mailbox.forget(&talk, Some(*id)).unwrap();
        }
        let after = std::fs::metadata(&path).unwrap().len();
        assert!(after < before / 2, "{before} bytes became {after}");
        let left: Vec<String> = (18..20).map(|n| format!("{n} {long}")).collect();
        assert_eq!(texts(&mailbox), left);
        drop(mailbox);
        let mailbox = open();
        mailbox.unseal(&ann, &|_| true, NOW).unwrap();
        assert_eq!(texts(&mailbox), left);
        let muted = mailbox.look(|_, book| Ok(book.talks[&talk].marks.muted));
        assert!(muted.unwrap(), "what was set is still set");
        // The two that are left still go out, and the app's name for one is still known.
        let next = mailbox.next_here(&|to| *to == ben.public_key()).unwrap();
        let opened = wraps::open(&ben, &next.unwrap().wrap).unwrap();
        assert_eq!(opened.content, left[0]);
        let again = mailbox.send(note(&ben, "19", "again"), false, NOW).unwrap();
        assert_eq!(again["id"], ids[19].to_hex());
        assert_eq!(mailbox.receivers(), [ben.public_key()]);
    }

    #[test]
    fn a_message_that_cannot_be_written_is_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.messages");
        let (ann, ben) = (Keys::generate(), Keys::generate());
        let limits = Limits {
            messages_bytes: 2000,
            ..Limits::default()
        };
        let mailbox = Mailbox::open(path.clone(), ann.public_key(), limits).unwrap();
        let sealed = mailbox.send(note(&ben, "0", "x"), false, NOW);
        assert!(matches!(sealed, Err(MessageError::Sealed)));
        mailbox.unseal(&ann, &|_| true, NOW).unwrap();
        mailbox.send(note(&ben, "1", "x"), false, NOW).unwrap();
        let full = mailbox.send(note(&ben, "2", "x"), false, NOW);
        assert!(matches!(full, Err(MessageError::Full)));
        assert_eq!(texts(&mailbox), ["x"]);
    }
}
