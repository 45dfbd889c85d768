//! The store of a router: the journal says what is true, the index says where, and the tail bridges the time between.
//!
//! Order of locks: `upkeep`, then `layout`, then `index`, then `tail`; the journal locks for itself.

mod fill;
mod walk;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nostr::event::EventId;
use nostr::filter::Filter;

use super::index::{Index, number};
use super::index_search::Found;
use super::known::Ids;
use super::tail::{FULL_BYTES, FULL_EVENTS, Tail, Waiting, address, answers, newer};
use super::{Appended, Cursor, Page, Query, Stats, Store, StoreError, Upkeep, Walked};
use crate::disk::Disk;
use crate::journal::segment::RecordKind;
use crate::journal::{Journal, Position, Window};
use crate::record::{ChannelId, StoredEvent, peek_id};
use crate::search::Search;

/// Dead bytes after which a segment is written anew: half a segment.
const DEAD_BYTES: u32 = 512 * 1024;

/// Journal, index and tail.
#[derive(Debug)]
pub struct EmbeddedStore {
    journal: Journal,
    index: Mutex<Index>,
    /// See [`EmbeddedStore::index`].
    turn: Mutex<()>,
    ids: Arc<Ids>,
    tail: RwLock<Tail>,
    /// Kinds of which an event is here, or once was: of others nothing has to be looked up.
    kinds: RwLock<HashSet<u16>>,
    /// Held for reading from asking the index until the journal is read, for writing while places change.
    layout: RwLock<()>,
    /// One filling or erasure at a time.
    upkeep: Mutex<()>,
    /// Made when SQLite says that its file is damaged: the next start then builds the index anew.
    bad_index_mark: PathBuf,
}

impl EmbeddedStore {
    /// Opens the journal on `disk` with its index at `index_path`, and reads what the index has not.
    pub fn open(disk: Arc<dyn Disk>, index_path: &Path) -> Result<Self, StoreError> {
        let bad_index_mark = index_path.with_extension("bad");
        if bad_index_mark.exists() {
            Index::remove(index_path);
            std::fs::remove_file(&bad_index_mark)?;
        }
        let mut index = Index::open(index_path)?;
        let mut checkpoint = index.checkpoint()?;
        let mut journal = Journal::open(Arc::clone(&disk), checkpoint)?;
        let rewritten = changed_segments(&journal, &index)?;
        if checkpoint > journal.end() && !rewritten.contains_key(&checkpoint.segment) {
            log::warn!("the index knows more than the journal has; it is built anew");
            drop(index);
            Index::remove(index_path);
            index = Index::open(index_path)?;
            checkpoint = Position::START;
            journal = Journal::open(Arc::clone(&disk), checkpoint)?;
        }
        for (segment, generation) in changed_segments(&journal, &index)? {
            let mut stayed = Vec::new();
            let from = Position { segment, offset: 0 };
            journal.replay::<StoreError>(from, |written, kind, payload| {
                if let (RecordKind::Event, Some(id)) = (kind, peek_id(payload))
                    && written.position.segment == segment
                {
                    stayed.push((id, written));
                }
                Ok(())
            })?;
            if !index.reconcile(segment, generation, &stayed)? {
                log::info!("an erasure was cut short; the index is built anew");
                drop((index, journal));
                Index::remove(index_path);
                return Self::open(disk, index_path); // an index without events agrees with every journal
            }
            if segment == checkpoint.segment {
                checkpoint.offset = 0;
            }
        }
        let store = Self {
            journal,
            ids: index.ids(),
            index: Mutex::new(index),
            turn: Mutex::default(),
            tail: RwLock::default(),
            kinds: RwLock::default(),
            layout: RwLock::default(),
            upkeep: Mutex::default(),
            bad_index_mark,
        };
        store.catch_up(checkpoint)?;
        *store.kinds.write().unwrap_or_else(PoisonError::into_inner) = store.index().kinds()?;
        Ok(store)
    }

    /// Reads the journal from `from` on: events into the index, erasures that a crash may have cut short once more.
    fn catch_up(&self, from: Position) -> Result<(), StoreError> {
        let mut erase = Vec::new();
        let (mut waiting, mut bytes) = (Vec::new(), 0);
        self.journal
            .replay::<StoreError>(from, |written, kind, payload| {
                match kind {
                    RecordKind::Event => {
                        let event = StoredEvent::decode(payload)?;
                        bytes += event.cost();
                        waiting.push(Waiting {
                            written,
                            event: Arc::new(event),
                            replaces_indexed: false,
                        });
                    }
                    RecordKind::Erasure => {
                        erase.extend(payload.chunks_exact(EventId::LEN).filter_map(peek_id))
                    }
                }
                if waiting.len() >= FULL_EVENTS || bytes >= FULL_BYTES {
                    bytes = 0;
                    // Erasures are only done at the end, so nothing may be said to be covered before.
                    self.fill_index(&std::mem::take(&mut waiting), from)?;
                }
                Ok(())
            })?;
        self.fill_index(&waiting, from)?;
        self.tail_mut().hide(&erase);
        self.erase_hidden()?;
        self.cover_all()
    }

    /// Into the journal, then into the tail.
    fn write(&self, events: &[Arc<StoredEvent>], erase: &[EventId]) -> Result<(), StoreError> {
        let mut wanted = Vec::with_capacity(events.len());
        for event in events {
            match self.version_here(event)? {
                Version::Newer => {}
                here => wanted.push((event, here == Version::Older)),
            }
        }
        let encoders: Vec<_> = wanted
            .iter()
            .map(|(event, _)| |out: &mut Vec<u8>| event.encode(out))
            .collect();
        let appended = self.journal.append(&encoders, erase)?;
        let waiting =
            wanted
                .iter()
                .zip(&appended.events)
                .map(|((event, replaces_indexed), written)| Waiting {
                    written: *written,
                    event: Arc::clone(event),
                    replaces_indexed: *replaces_indexed,
                });
        self.note_kinds(events); // before anybody can see them
        let mut tail = self.tail_mut();
        tail.push(waiting, appended.events_end);
        tail.hide(erase);
        Ok(())
    }

    fn note_kinds(&self, events: &[Arc<StoredEvent>]) {
        let kinds = || events.iter().map(|event| event.event.kind.as_u16());
        let known = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        if kinds().any(|kind| !known.contains(&kind)) {
            drop(known);
            let mut known = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
            known.extend(kinds());
        }
    }

    /// Whether no event that a filter wants was ever here, by its kinds.
    fn has_none_of(&self, filter: &Filter) -> bool {
        let known = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let kinds = filter.kinds.as_ref();
        kinds.is_some_and(|kinds| !kinds.iter().any(|kind| known.contains(&kind.as_u16())))
    }

    /// Which version of a replaceable event the index has. (The tail looks for itself.)
    fn version_here(&self, event: &StoredEvent) -> Result<Version, StoreError> {
        let Some(address) = address(event) else {
            return Ok(Version::None);
        };
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let places = self.index().at_address(address);
        let mut version = Version::None;
        for position in self.heed(places)? {
            let here = self.load(position)?;
            if newer(&here, event) && !self.tail().hidden().contains(&here.event.id) {
                return Ok(Version::Newer);
            }
            version = Version::Older;
        }
        Ok(version)
    }

    /// Puts the tail into the index. The caller holds `upkeep`.
    fn flush(&self) -> Result<(), StoreError> {
        let (batch, end, erasing) = {
            let tail = self.tail();
            let (batch, end) = tail.snapshot();
            (batch, end, !tail.hidden().is_empty())
        };
        let Some(end) = end.filter(|_| !batch.is_empty()) else {
            return Ok(());
        };
        // An erasure that is not done must be found again after a crash: the journal is not covered beyond it.
        let before = self.index().checkpoint();
        let covered = if erasing { self.heed(before)? } else { end };
        self.fill_index(&batch, covered)?;
        self.tail_mut().drain(batch.len());
        Ok(())
    }

    /// Erases what is hidden from the journal and the index. The caller holds `upkeep`, is the one who appends, and has
    /// emptied the tail: everything in the journal is in the index.
    fn erase_hidden(&self) -> Result<(), StoreError> {
        let ids: Vec<EventId> = self.tail().hidden().iter().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let _layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
        let mut by_segment: BTreeMap<u32, Vec<StoredEvent>> = BTreeMap::new();
        for id in &ids {
            let places = self.index().find(id);
            for position in self.heed(places)? {
                let event = self.load(position)?;
                if event.event.id != *id {
                    continue;
                }
                if let Some(address) = address(&event) {
                    // Its older versions must not come back when the index is built anew.
                    let older = self.index().replaced(address);
                    for position in self.heed(older)? {
                        by_segment.entry(position.segment).or_default();
                    }
                }
                by_segment.entry(position.segment).or_default().push(event);
            }
        }
        for (segment, events) in by_segment {
            let gone: HashSet<EventId> = events.iter().map(|event| event.event.id).collect();
            let index = self.index();
            let keep = |position, id: &EventId| {
                !gone.contains(id) && index.has_at(id, position).unwrap_or(true)
            };
            let (generation, stayed) = self.journal.rewrite(segment, keep)?;
            drop(index);
            let result = self
                .index()
                .rewritten(segment, generation, &events, &stayed);
            self.heed(result)?;
        }
        let forgotten = self.index().forget();
        self.heed(forgotten)?;
        self.tail_mut().unhide(&ids);
        Ok(())
    }

    /// Says that the index has everything. The caller holds `upkeep` (or is alone) and has just emptied the tail;
    /// events that came since keep the place where it stood.
    fn cover_all(&self) -> Result<(), StoreError> {
        let end = self.journal.end();
        let nothing_waits = {
            let tail = self.tail();
            tail.len() == 0 && tail.hidden().is_empty()
        };
        if nothing_waits {
            let result = self.index().cover(end);
            self.heed(result)?;
        }
        Ok(())
    }

    /// Writes segments anew of which more than half was replaced. The caller holds `upkeep`.
    fn compact(&self) -> Result<(), StoreError> {
        let candidates = self.index().mostly_dead(DEAD_BYTES);
        let checkpoint = self.index().checkpoint();
        let (candidates, checkpoint) = (self.heed(candidates)?, self.heed(checkpoint)?);
        for segment in candidates
            .into_iter()
            .filter(|segment| *segment < checkpoint.segment)
        {
            let _layout = self.layout.write().unwrap_or_else(PoisonError::into_inner);
            let index = self.index();
            let (generation, stayed) = self.journal.rewrite(segment, |position, id| {
                index.has_at(id, position).unwrap_or(true)
            })?;
            drop(index);
            let result = self.index().rewritten(segment, generation, &[], &stayed);
            self.heed(result)?;
        }
        Ok(())
    }

    fn load(&self, position: Position) -> Result<StoredEvent, StoreError> {
        Ok(StoredEvent::decode(&self.journal.read(position)?)?)
    }

    /// Looks at what SQLite answered: a damaged index is marked, so that the next start builds it anew.
    fn heed<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        if let Err(error) = &result
            && matches!(
                error.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase)
            )
        {
            log::error!("the index is damaged and will be built anew at the next start: {error}");
            let _ = std::fs::write(&self.bad_index_mark, b"");
        }
        Ok(result?)
    }

    fn tail(&self) -> RwLockReadGuard<'_, Tail> {
        self.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail_mut(&self) -> RwLockWriteGuard<'_, Tail> {
        self.tail.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Segments that were written anew without the index hearing of it, with their generation.
fn changed_segments(journal: &Journal, index: &Index) -> Result<BTreeMap<u32, u32>, StoreError> {
    let mut changed = BTreeMap::new();
    for (segment, generation, _) in journal.segments() {
        if index.generation(segment)? != generation {
            changed.insert(segment, generation);
        }
    }
    Ok(changed)
}

/// What there is of a replaceable event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    None,
    Older,
    Newer,
}

enum Source {
    Tail(Arc<StoredEvent>),
    Journal(Position),
}

impl Store for EmbeddedStore {
    fn append(
        &self,
        events: &[Arc<StoredEvent>],
        erase: &[EventId],
    ) -> Result<Appended, StoreError> {
        // While something is erased, nobody may say that the index covers the journal up to behind the erasure.
        // What could not be erased before is tried again.
        let erasing = !erase.is_empty() || !self.tail().hidden().is_empty();
        let upkeep = erasing.then(|| self.upkeep.lock().unwrap_or_else(PoisonError::into_inner));
        if !events.is_empty() || !erase.is_empty() {
            self.write(events, erase)?;
        }
        let Some(_upkeep) = upkeep else {
            return Ok(Appended { erased: true });
        };
        let done = self
            .flush()
            .and_then(|()| self.erase_hidden())
            .and_then(|()| self.cover_all());
        if let Err(error) = &done {
            log::error!("what was deleted is hidden, but not yet gone from the disk: {error}");
        }
        Ok(Appended {
            erased: done.is_ok(),
        })
    }

    fn get(&self, id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let tail = self.tail();
        if let Some(event) = tail.get(id) {
            return Ok(Some(event));
        }
        if tail.hidden().contains(id) {
            return Ok(None);
        }
        drop(tail);
        if !self.ids.may_have(number(id.as_bytes())) {
            return Ok(None);
        }
        let places = self.index().find(id);
        for position in self.heed(places)? {
            let event = self.load(position)?;
            if event.event.id == *id {
                return Ok((!self.tail().replaces(&event)).then(|| Arc::new(event)));
            }
        }
        Ok(None)
    }

    fn query(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        if crate::matching::matches_nothing(query.filter)
            || query.limit == 0
            || self.has_none_of(query.filter)
        {
            return Ok(Page::default());
        }
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let search = Search::of(query.filter);
        // The tail first: an event that moves to the index in between is then found twice, and never missed.
        let mut items: Vec<(i64, i64, Source)> = Vec::new();
        for event in self.tail().query(query, search.as_ref()) {
            let created_at = i64::try_from(event.event.created_at.as_secs()).unwrap_or(i64::MAX);
            items.push((
                -created_at,
                number(event.event.id.as_bytes()),
                Source::Tail(event),
            ));
        }
        let found = match search.as_ref().filter(|search| search.has_terms()) {
            Some(search) => self.index().search(query, search),
            None => self.index().query(query).map(|rows| Found {
                rows,
                looked_until: None,
            }),
        };
        let Found {
            mut rows,
            looked_until,
        } = self.heed(found)?;
        let more_rows = rows.len() > query.limit;
        rows.truncate(query.limit);
        let horizon = rows
            .last()
            .filter(|_| more_rows)
            .map(|row| (row.minus_created_at, row.id8))
            .or(looked_until.map(|second| (-second.cast_signed(), i64::MAX)));
        // Behind everything of the last second that was looked at.
        let looked = looked_until.map(|created_at| Cursor {
            created_at,
            id: EventId::from_byte_array([0xff; EventId::LEN]),
        });
        items.extend(
            rows.into_iter()
                .map(|row| (row.minus_created_at, row.id8, Source::Journal(row.position))),
        );
        items.sort_by_key(|(minus_created_at, id8, _)| (*minus_created_at, *id8));

        let mut page = Page::default();
        let mut window = Window::default();
        let mut seen = HashSet::new();
        let mut bytes = 0;
        let mut last = None;
        for (minus_created_at, id8, source) in items {
            if horizon.is_some_and(|horizon| (minus_created_at, id8) > horizon) {
                page.next = looked.or(last); // older ones of the tail wait until the index has given what lies between
                return Ok(page);
            }
            if page.events.len() >= query.limit || bytes >= query.bytes {
                page.next = last;
                return Ok(page);
            }
            let event = match source {
                Source::Tail(event) => event,
                Source::Journal(position) => {
                    let read = self.journal.read_near(position, &mut window)?;
                    let event = StoredEvent::decode(read)?;
                    let tail = self.tail();
                    let wanted = answers(&event, query, search.as_ref())
                        && !tail.replaces(&event)
                        && !tail.hidden().contains(&event.event.id);
                    last = Some(Cursor {
                        created_at: event.event.created_at.as_secs(),
                        id: event.event.id,
                    });
                    if !wanted {
                        continue;
                    }
                    Arc::new(event)
                }
            };
            last = Some(Cursor {
                created_at: event.event.created_at.as_secs(),
                id: event.event.id,
            });
            if seen.insert(event.event.id) {
                bytes += event.cost();
                page.events.push(event);
            }
        }
        page.next = looked.or(last.filter(|_| more_rows));
        Ok(page)
    }

    fn count(&self, query: &Query<'_>) -> Result<usize, StoreError> {
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let search = Search::of(query.filter);
        let newest = self.tail().query(query, search.as_ref());
        let index = self.index();
        let found = match &search {
            Some(search) => index.search(query, search).map(|found| found.rows),
            None => index.query(query),
        };
        drop(index);
        let rows = self.heed(found)?;
        // What moves to the index in between is found in both.
        let places: HashSet<(i64, i64)> = rows
            .iter()
            .map(|row| (row.minus_created_at, row.id8))
            .collect();
        let is_new = |event: &&Arc<StoredEvent>| {
            let created_at = i64::try_from(event.event.created_at.as_secs()).unwrap_or(i64::MAX);
            !places.contains(&(-created_at, number(event.event.id.as_bytes())))
        };
        Ok((rows.len() + newest.iter().filter(is_new).count()).min(query.limit))
    }

    fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> Result<bool, StoreError> {
        if self.tail().has_prefix(channel, prefix) {
            return Ok(true);
        }
        let found = self.index().has_prefix(channel, prefix);
        self.heed(found)
    }

    fn replay(&self, kinds: &[u16], each: &mut dyn FnMut(&StoredEvent)) -> Result<(), StoreError> {
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let places = self.index().of_kinds(kinds);
        for position in self.heed(places)? {
            each(&self.load(position)?);
        }
        self.tail()
            .in_order()
            .filter(|event| kinds.contains(&event.event.kind.as_u16()))
            .for_each(each);
        Ok(())
    }

    fn walk(&self, part: u32) -> Result<Walked, StoreError> {
        self.walk_segment(part)
    }

    fn expired(&self, now: u64, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let _layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        let in_tail = self
            .tail()
            .in_order()
            .filter(|event| event.expires().is_some_and(|time| time <= now))
            .map(|event| event.event.id)
            .take(limit)
            .collect();
        let mut ids: Vec<EventId> = in_tail;
        let places = self.index().expired(now, limit.saturating_sub(ids.len()));
        for position in self.heed(places)? {
            ids.push(self.load(position)?.event.id);
        }
        Ok(ids)
    }

    fn maintain(&self) -> Result<(), StoreError> {
        let _upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.flush()?;
        self.gather_ids()?;
        self.compact()
    }

    fn rest(&self) {
        self.index().rest();
    }

    fn upkeep(&self) -> Upkeep {
        self.tail().upkeep()
    }

    fn stats(&self) -> Stats {
        let indexed = self.index().events();
        let tail = self.tail();
        let events = indexed + tail.len() as u64;
        Stats {
            events: events.saturating_sub(tail.replaced_in_index() as u64),
            bytes: self.journal.bytes(),
        }
    }

    fn bytes(&self) -> u64 {
        self.journal.bytes()
    }
}
