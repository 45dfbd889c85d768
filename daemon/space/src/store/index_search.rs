//! The words of the index (FTS5). It keeps no text, only which words lie in which event; the event read from the journal
//! decides, as everywhere in the index. What is erased leaves the words too: with `secure-delete` and `secure_delete`,
//! SQLite overwrites it in place.
//!
//! The number of an event among the words is its date and then its `seq`, so that the newest are found first and a
//! question between two dates reads nothing else. Author, channel and what a message has stand among the words, with a
//! `=` that no word of a person has: so one question is one walk over lists that are in order.

use std::collections::BTreeSet;

use nostr::filter::SingleLetterTag;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::Query;
use super::index::{Row, channel_number, number};
use super::index_sql::{Reader, conditions, id_condition};
use crate::journal::Position;
use crate::record::{ChannelId, StoredEvent};
use crate::search::{Has, KINDS, Phrase, Search, text_of, words};

/// The table of words.
pub const TABLE: &str = "
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', columnsize = 0, detail = none, tokenize = \"ascii tokenchars '='\");
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
INSERT INTO words (words, rank) VALUES ('automerge', 8);
";

/// All words that there are. It holds nothing itself and is of one connection, made when it is first asked for. Its `instance`
/// form gives a word without walking over all that have it.
const VOCABULARY: &str =
    "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab (main, words, instance)";

/// Bits of a number among the words that are the `seq`.
const SEQ_BITS: u32 = 29;
/// The latest date that is told apart, in the year 2514.
const LATEST: u64 = (1 << 34) - 1;
/// Events that are looked at in one step.
const STEP: usize = 2000;
/// Channels or people of a question that are looked for among the words; more are sorted out afterwards.
const GROUP: usize = 64;
/// Words of a question that may go on: each makes SQLite read many lists.
const PREFIXES: usize = 2;
/// Words that begin as a question says and are looked for one by one, which ends where the answer does; FTS5 would merge the
/// lists of all of them before it gives the first. Each takes some 5 KiB for each of FTS5's lists of lists: 11 MiB were
/// measured for 250 words in nine, 8 MiB for the merging. Of more words all are merged.
const GOING_ON: usize = 256;
/// Events of the channels a question names up to which they are few.
const FEW: i64 = 2000;
/// A word that no event has.
const NONE: &str = "\"=\"";

/// What one step of a search gave.
pub struct Found {
    /// Candidates, newest first, one more than the limit if there are as many.
    pub rows: Vec<Row>,
    /// When the step ended before the candidates did: everything of this second and later was looked at.
    pub looked_until: Option<u64>,
}

/// An event's number among the words; `None` when it has none.
fn place(event: &StoredEvent, seq: i64) -> Option<i64> {
    let created_at = event.event.created_at.as_secs().min(LATEST);
    let known = KINDS.contains(&event.event.kind.as_u16()) && seq < 1 << SEQ_BITS;
    known.then(|| (created_at << SEQ_BITS).cast_signed() | seq)
}

fn author_word(author8: i64) -> String {
    format!("a={author8:016x}")
}

fn channel_word(channel: &ChannelId) -> String {
    format!("c={:016x}", channel_number(channel))
}

fn has_word(has: Has) -> String {
    format!("x={}", has.name())
}

/// All words of an event, each once.
fn words_of(event: &StoredEvent) -> String {
    let mut all = BTreeSet::new();
    words(&text_of(&event.event), |word, _| {
        if !all.contains(word) {
            all.insert(word.to_owned());
        }
    });
    all.insert(author_word(number(event.event.pubkey.as_bytes())));
    all.extend(event.channel.as_ref().map(channel_word));
    all.extend(Has::of(&event.event).into_iter().map(has_word));
    all.into_iter().collect::<Vec<_>>().join(" ")
}

/// Words on their way into the index. They go in together and in order: FTS5 begins a new list of lists whenever
/// numbers go down.
#[derive(Default)]
pub struct Pending {
    new: Vec<(i64, String)>,
    old: Vec<(i64, String)>,
}

impl Pending {
    /// Adds an event.
    pub fn add(&mut self, event: &StoredEvent, seq: i64) {
        self.new
            .extend(place(event, seq).map(|place| (place, words_of(event))));
    }

    /// Takes an event away.
    pub fn remove(&mut self, event: &StoredEvent, seq: i64) {
        let Some(place) = place(event, seq) else {
            return;
        };
        let before = self.new.len();
        self.new.retain(|(new, _)| *new != place);
        if self.new.len() == before {
            self.old.push((place, words_of(event)));
        }
    }

    /// Puts everything in order, once all is there.
    pub fn sort(&mut self) {
        // Taken from the end.
        self.old.sort_unstable_by(|a, b| b.cmp(a));
        self.new.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Writes it all.
    pub fn write(mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.sort();
        self.write_some(connection, usize::MAX).map(drop)
    }

    /// Writes some, after [`Pending::sort`]; `true` when all is written.
    pub fn write_some(&mut self, connection: &Connection, most: usize) -> rusqlite::Result<bool> {
        for _ in 0..most {
            let (text, (place, words)) = if let Some(old) = self.old.pop() {
                (
                    "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)",
                    old,
                )
            } else if let Some(new) = self.new.pop() {
                ("INSERT INTO words (rowid, text) VALUES (?, ?)", new)
            } else {
                return Ok(true);
            };
            connection
                .prepare_cached(text)?
                .execute(params![place, words])?;
        }
        Ok(false)
    }
}

/// The question in the words of FTS5. Only quoted words get into it.
fn expression(
    connection: &Connection,
    query: &Query<'_>,
    search: &Search,
) -> rusqlite::Result<String> {
    let mut prefixes = 0;
    let mut room = GOING_ON;
    let mut all = BTreeSet::new();
    for Phrase { words, is_prefix } in &search.phrases {
        for (n, word) in words.iter().enumerate() {
            let goes_on = *is_prefix && n + 1 == words.len();
            prefixes += usize::from(goes_on);
            if !goes_on {
                all.insert(quoted(word));
            } else if prefixes <= PREFIXES {
                all.insert(begins_with(connection, word, &mut room)?);
            }
        }
    }
    all.extend(search.has.iter().map(|has| quoted(&has_word(*has))));
    if let Some(authors) = &query.filter.authors
        && authors.len() <= GROUP
    {
        let word = |author: &nostr::key::PublicKey| quoted(&author_word(number(author.as_bytes())));
        all.extend(any_of(authors.iter().map(word)));
    }
    let row = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join(" AND ");
    let left_out = || {
        let without = Some(query.without).filter(|without| without.len() <= GROUP)?;
        any_of(without.iter().map(|id| quoted(&channel_word(id))))
    };
    // What may not be read is not even walked over, or the time an answer takes would tell of it.
    let Some(named) = query.filter.generic_tags.get(&SingleLetterTag::LOWERCASE_H) else {
        return Ok(match left_out() {
            Some(left_out) => format!("({}) NOT {left_out}", row(&all)),
            None => row(&all),
        });
    };
    let readable: Vec<ChannelId> = named
        .iter()
        .filter_map(|id| ChannelId::parse(id))
        .filter(|id| !query.without.contains(id))
        .collect();
    let word = |id: &ChannelId| quoted(&channel_word(id));
    let Some(channels) = any_of(readable.iter().map(word)).filter(|_| named.len() <= GROUP) else {
        return Ok(row(&all));
    };
    // FTS5 moves on in every list of a row of ANDs when it moves on in one. A channel's list can have nearly everything: then
    // it is asked only for what the others agree on. They make a row of their own, which FTS5 does not join with the other
    // because of the NOT.
    if all.len() > 1 && !are_few(connection, &readable)? {
        let left_out = left_out().unwrap_or_else(|| NONE.to_owned());
        return Ok(format!("(({}) NOT {left_out}) AND {channels}", row(&all)));
    }
    all.insert(channels);
    Ok(row(&all))
}

/// Whether channels have few events together.
fn are_few(connection: &Connection, channels: &[ChannelId]) -> rusqlite::Result<bool> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM (SELECT 1 FROM tags WHERE tag8 = ? LIMIT ?)")?;
    let mut room = FEW;
    for channel in channels {
        let number = channel_number(channel);
        room -= statement.query_row(params![number, room + 1], |row| row.get::<_, i64>(0))?;
        if room < 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is looked for when a word may go on. `room` is for how many words.
fn begins_with(connection: &Connection, start: &str, room: &mut usize) -> rusqlite::Result<String> {
    let merged = format!("{} *", quoted(start));
    // In the middle of a filling FTS5 would write out what it has so far before it tells its words, which wears the flash.
    if !connection.is_autocommit() {
        return Ok(merged);
    }
    connection.execute_batch(VOCABULARY)?;
    let mut statement = connection
        .prepare_cached("SELECT term FROM temp.vocabulary WHERE term >= ? AND term <= ? LIMIT 1")?;
    let last = format!("{start}{}", char::MAX);
    let mut words = Vec::new();
    let mut from = start.to_owned();
    loop {
        let next: Option<String> = statement
            .query_row(params![from, last], |row| row.get(0))
            .optional()?;
        let Some(word) = next else {
            break;
        };
        if words.len() == *room {
            return Ok(merged);
        }
        words.push(quoted(&word));
        from = word + "\0";
    }
    *room -= words.len();
    Ok(any_of(words.into_iter()).unwrap_or(merged))
}

fn any_of(words: impl Iterator<Item = String>) -> Option<String> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| format!("({})", words.join(" OR ")))
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('"', "\"\""))
}

/// Candidates for a search that says what an event must have.
pub fn search(
    connection: &Connection,
    query: &Query<'_>,
    search: &Search,
) -> rusqlite::Result<Found> {
    let filter = query.filter;
    let since = filter.since.map_or(0, |since| since.as_secs());
    let mut until = filter.until.map_or(LATEST, |until| until.as_secs());
    if let Some(after) = query.after {
        until = until.min(after.created_at);
    }
    let first = (since.min(LATEST) << SEQ_BITS).cast_signed();
    let last = (until.min(LATEST) << SEQ_BITS).cast_signed() | ((1 << SEQ_BITS) - 1);
    let (ids, conditions) = (
        id_condition(filter),
        conditions(query, None, "e.created_at", Reader::Sqlite),
    );
    let text = format!(
        "SELECT e.created_at, e.id8, e.segment, e.offset, (1{}{}) FROM words w
         CROSS JOIN events e ON e.seq = (w.rowid & {})
         WHERE words MATCH ? AND w.rowid BETWEEN {first} AND {last} ORDER BY w.rowid DESC",
        ids.text,
        conditions.text,
        (1 << SEQ_BITS) - 1,
    );
    let mut statement = connection.prepare(&text)?;
    let numbers = ids.values.into_iter().chain(conditions.values);
    let values = numbers
        .map(Value::from)
        .chain([Value::from(expression(connection, query, search)?)]);
    let mut answer = statement.query(params_from_iter(values))?;
    let mut rows = Vec::new();
    let mut looked_at = 0;
    let mut second: Option<i64> = None;
    let mut ended_early = false;
    while let Some(row) = answer.next()? {
        let created_at: i64 = row.get(0)?;
        if second.is_some_and(|second| second != created_at)
            && (rows.len() > query.limit || looked_at >= STEP)
        {
            ended_early = true;
            break;
        }
        second = Some(created_at);
        looked_at += 1;
        if row.get(4)? {
            rows.push(Row {
                minus_created_at: -created_at,
                id8: row.get(1)?,
                position: Position {
                    segment: row.get(2)?,
                    offset: row.get(3)?,
                },
            });
        }
    }
    rows.sort_unstable();
    let is_full = rows.len() > query.limit;
    Ok(Found {
        looked_until: second
            .filter(|_| ended_early && !is_full)
            .map(i64::unsigned_abs),
        rows,
    })
}
