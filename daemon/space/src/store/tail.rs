//! The newest events: safe in the journal, not yet in the index. It lives in memory, so it is kept short.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use nostr::event::{Event, EventId, Kind};
use nostr::filter::Filter;
use nostr::key::PublicKey;

use super::index::{number, tag_number, tag_numbers};
use super::{Query, Upkeep};
use crate::journal::{Position, Written};
use crate::matching::matches;
use crate::record::{ChannelId, StoredEvent};
use crate::search::Search;

/// Events after which the index should be filled.
///
/// Each filling writes most pages of the index again, so few large ones spare the flash: with 1024 events, three times as
/// much is written for each event as with 4096, and with 8192 a fourth less again.
pub const FULL_EVENTS: usize = 8192;
/// Bytes in memory after which the index should be filled.
pub const FULL_BYTES: usize = 4 * 1024 * 1024;
/// How many times as much may wait while the index is filled. Who writes faster waits for it.
const OVERDUE: usize = 2;

/// One event that waits for the index.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Where the journal has it.
    pub written: Written,
    /// The event.
    pub event: Arc<StoredEvent>,
    /// Whether it takes the place of one that the index has.
    pub replaces_indexed: bool,
}

/// Where an event stands among the answers to a question: the newest first, those of one second in the order of ids.
type Place = (Reverse<u64>, EventId);

/// What a question may ask for. Two that are the same by chance only make more candidates.
type Word = i64;

/// Candidates beyond which they are not looked at one by one: among so many, walking back in time finds enough soon.
const FEW: usize = 512;

/// What waits for the index.
#[derive(Debug, Default)]
pub struct Tail {
    waiting: Vec<Waiting>,
    /// How many were drained before the first of `waiting`.
    drained: u64,
    by_id: BTreeMap<EventId, Arc<StoredEvent>>,
    by_time: BTreeMap<Place, Arc<StoredEvent>>,
    /// The numbers of the events (counted from the first that ever waited) that have a word: their author, their kind, each
    /// of their tags. What was replaced since is still among them.
    by_word: HashMap<Word, VecDeque<u64>>,
    by_address: HashMap<u64, Arc<StoredEvent>>,
    /// Of these addresses the index has an event that one of `by_address` replaces.
    over_index: HashSet<u64>,
    bytes: usize,
    end: Option<Position>,
    hidden: HashSet<EventId>,
}

impl Tail {
    /// Adds events that lie before `end` in the journal.
    pub fn push(&mut self, events: impl IntoIterator<Item = Waiting>, end: Position) {
        for waiting in events {
            let event = &waiting.event;
            if let Some(address) = address(event) {
                if let Some(old) = self.by_address.get(&address) {
                    if newer(old, event) {
                        continue;
                    }
                    let id = old.event.id;
                    self.forget(&id);
                }
                self.by_address.insert(address, Arc::clone(event));
                if waiting.replaces_indexed {
                    self.over_index.insert(address);
                }
            }
            self.bytes += event.cost();
            let known = self.by_id.insert(event.event.id, Arc::clone(event));
            if known.is_none() {
                self.by_time.insert(place(&event.event), Arc::clone(event));
                let number = self.drained + self.waiting.len() as u64;
                for word in words(&event.event) {
                    self.by_word.entry(word).or_default().push_back(number);
                }
            }
            self.waiting.push(waiting);
        }
        self.end = Some(end);
    }

    /// Everything that waits, and up to where in the journal that is everything.
    pub fn snapshot(&self) -> (Vec<Waiting>, Option<Position>) {
        (self.waiting.clone(), self.end)
    }

    /// Forgets the first `count` events: the index has them now.
    pub fn drain(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        let rest = self.waiting.split_off(count);
        for waiting in std::mem::replace(&mut self.waiting, rest) {
            let id = waiting.event.event.id;
            self.forget(&id);
            self.bytes = self.bytes.saturating_sub(waiting.event.cost());
            let Some(address) = address(&waiting.event) else {
                continue;
            };
            match self.by_address.get(&address) {
                Some(event) if event.event.id == id => {
                    self.by_address.remove(&address);
                    self.over_index.remove(&address);
                }
                // A newer one waits for its turn: what it replaces is in the index by now.
                Some(_) => drop(self.over_index.insert(address)),
                None => {}
            }
        }
        self.drained += count as u64;
        self.by_word.retain(|_, numbers| {
            while numbers.front().is_some_and(|first| *first < self.drained) {
                numbers.pop_front();
            }
            !numbers.is_empty()
        });
        if self.waiting.is_empty() {
            self.waiting = Vec::new(); // give the memory back
            self.by_word = HashMap::new();
            self.by_address = HashMap::new();
            self.over_index = HashSet::new();
        }
    }

    fn forget(&mut self, id: &EventId) {
        let Some(event) = self.by_id.remove(id) else {
            return;
        };
        self.by_time.remove(&place(&event.event));
    }

    /// Whether the index should be filled soon.
    pub fn upkeep(&self) -> Upkeep {
        let is_full =
            |times| self.waiting.len() >= FULL_EVENTS * times || self.bytes >= FULL_BYTES * times;
        if is_full(OVERDUE) {
            Upkeep::Overdue
        } else if is_full(1) {
            Upkeep::Due
        } else {
            Upkeep::Little
        }
    }

    /// Events that can be asked for.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Events of the index that one of these replaces.
    pub fn replaced_in_index(&self) -> usize {
        self.over_index.len()
    }

    /// Hides events, wherever they lie, until they are erased.
    pub fn hide(&mut self, ids: &[EventId]) {
        self.hidden.extend(ids);
    }

    /// Stops hiding events: they are erased.
    pub fn unhide(&mut self, ids: &[EventId]) {
        ids.iter().for_each(|id| {
            self.hidden.remove(id);
        });
    }

    /// Events that are hidden and still to be erased.
    pub fn hidden(&self) -> &HashSet<EventId> {
        &self.hidden
    }

    /// One event.
    pub fn get(&self, id: &EventId) -> Option<Arc<StoredEvent>> {
        self.by_id
            .get(id)
            .filter(|_| !self.hidden.contains(id))
            .cloned()
    }

    /// Whether an event of the index was replaced by one that waits here.
    pub fn replaces(&self, event: &StoredEvent) -> bool {
        address(event)
            .and_then(|address| self.by_address.get(&address))
            .is_some_and(|here| here.event.id != event.event.id)
    }

    /// The newest events that answer the question, one more than its limit if there are as many.
    pub fn query(&self, query: &Query<'_>, search: Option<&Search>) -> Vec<Arc<StoredEvent>> {
        let filter = query.filter;
        let wanted = |event: &&Arc<StoredEvent>| {
            answers(event, query, search) && !self.hidden.contains(&event.event.id)
        };
        let most = query.limit.saturating_add(1);
        if let Some(ids) = &filter.ids {
            let found = ids.iter().filter_map(|id| self.by_id.get(id));
            return newest(found.filter(wanted), most);
        }
        let numbers = self.candidates(filter);
        if let Some(numbers) = numbers.filter(|numbers| count(numbers) <= FEW) {
            let at = |number: &u64| {
                let waiting = self.waiting.get((number - self.drained) as usize)?;
                self.by_id.get(&waiting.event.event.id)
            };
            return newest(
                numbers.into_iter().flatten().filter_map(at).filter(wanted),
                most,
            );
        }
        // From the latest date that the question allows.
        let after = query.after.map(|after| after.created_at);
        let until = filter.until.map(|until| until.as_secs());
        let latest = after.into_iter().chain(until).min().unwrap_or(u64::MAX);
        let first = (Reverse(latest), EventId::from_byte_array([0; EventId::LEN]));
        let events = self.by_time.range(first..).map(|(_, event)| event);
        let since = filter.since.map_or(0, |since| since.as_secs());
        events
            .take_while(|event| event.event.created_at.as_secs() >= since)
            .filter(wanted)
            .take(most)
            .cloned()
            .collect()
    }

    /// The shortest lists of numbers that have all that a filter wants; `None` when it says too little.
    fn candidates(&self, filter: &Filter) -> Option<Vec<&VecDeque<u64>>> {
        let authors = filter.authors.as_ref();
        let authors = authors.map(|list| self.lists(list.iter().map(author_word)));
        let kinds = filter.kinds.as_ref();
        let kinds = kinds.map(|list| self.lists(list.iter().map(kind_word)));
        let tags = filter.generic_tags.iter().map(|(tag, values)| {
            let name = tag.as_char();
            self.lists(values.iter().map(move |value| tag_number(name, value)))
        });
        let all = authors.into_iter().chain(kinds).chain(tags);
        all.min_by_key(|lists| count(lists))
    }

    fn lists(&self, words: impl Iterator<Item = Word>) -> Vec<&VecDeque<u64>> {
        words.filter_map(|word| self.by_word.get(&word)).collect()
    }

    /// Whether the channel has an event whose id begins with these bytes.
    pub fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> bool {
        let mut first = [0; EventId::LEN];
        first[..prefix.len()].copy_from_slice(&prefix);
        self.by_id
            .range(EventId::from_byte_array(first)..)
            .take_while(|(id, _)| id.as_bytes().starts_with(&prefix))
            .any(|(_, event)| event.channel.as_ref() == Some(channel))
    }

    /// All events in the order in which they came; those that were replaced since are left out.
    pub fn in_order(&self) -> impl Iterator<Item = &StoredEvent> {
        self.waiting
            .iter()
            .map(|waiting| &*waiting.event)
            .filter(|event| self.by_id.contains_key(&event.event.id))
    }
}

fn author_word(author: &PublicKey) -> Word {
    number(author.as_bytes())
}

fn kind_word(kind: &Kind) -> Word {
    kind.as_u16().into()
}

fn words(event: &Event) -> impl Iterator<Item = Word> {
    let own = [author_word(&event.pubkey), kind_word(&event.kind)];
    own.into_iter().chain(tag_numbers(event))
}

fn count(lists: &[&VecDeque<u64>]) -> usize {
    lists.iter().map(|list| list.len()).sum()
}

/// The newest of some events, each once.
fn newest<'a>(
    events: impl Iterator<Item = &'a Arc<StoredEvent>>,
    most: usize,
) -> Vec<Arc<StoredEvent>> {
    let mut found: Vec<_> = events.cloned().collect();
    found.sort_unstable_by_key(|event| place(&event.event));
    found.dedup_by_key(|event| event.event.id);
    found.truncate(most);
    found
}

fn place(event: &Event) -> Place {
    (Reverse(event.created_at.as_secs()), event.id)
}

/// Whether an event answers a question. `search` is what the question's filter searches for, read once.
pub fn answers(event: &StoredEvent, query: &Query<'_>, search: Option<&Search>) -> bool {
    let created_at = event.event.created_at.as_secs();
    query
        .after
        .is_none_or(|after| after.is_before(created_at, &event.event.id))
        && matches(query.filter, &event.event)
        && event
            .channel
            .as_ref()
            .is_none_or(|channel| !query.without.contains(channel))
        && event.expires().is_none_or(|time| time > query.now)
        && search.is_none_or(|search| search.matches(&event.event))
}

/// A number for what a replaceable event replaces: kind, author and `d` tag. `None` for events that stay.
pub fn address(event: &StoredEvent) -> Option<u64> {
    let event = &event.event;
    let d = if event.kind.is_addressable() {
        event.tags.identifier().unwrap_or_default()
    } else if event.kind.is_replaceable() {
        String::new()
    } else {
        return None;
    };
    Some(address_of(event.kind, &event.pubkey, &d))
}

/// The number for what a person's event of a kind replaces.
pub fn address_of(kind: Kind, author: &PublicKey, d: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(&kind.as_u16().to_be_bytes())
        .update(author.as_bytes())
        .update(d.as_bytes());
    first_eight(hasher.finalize().as_bytes())
}

/// Whether `a` stays when both have the same address: the later one, or of the same second the lower id (NIP-01).
pub fn newer(a: &StoredEvent, b: &StoredEvent) -> bool {
    (a.event.created_at, std::cmp::Reverse(a.event.id))
        > (b.event.created_at, std::cmp::Reverse(b.event.id))
}

/// The first eight bytes as a number.
pub fn first_eight(bytes: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
