//! The index over the journal, in SQLite. It holds numbers only, eight bytes of a hash where the event has thirty-two:
//! a question gives candidates, and the event read from the journal decides. It can be thrown away at any time and
//! is then built anew from the journal.

mod filling;
#[cfg(test)]
mod plans;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use nostr::event::{Event, EventId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::Query;
use super::index_search::{self, Found, Pending};
use super::index_sql::{COLUMNS, Plan, Reader};
use super::known::Ids;
use super::tail::first_eight;
use crate::journal::{Position, Written};
use crate::record::{ChannelId, StoredEvent};
use crate::search::Search;

/// The shape of the tables. Another number than this: thrown away and built anew.
///
/// | version | what is new |
/// |---|---|
/// | 1 | events, tags, replaced, segments, checkpoint |
/// | 2 | words |
/// | 3 | events of one second are in the order of their ids wherever they are walked |
pub const VERSION: i64 = 3;

const TABLES: &str = "
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, offset INTEGER NOT NULL);
INSERT INTO checkpoint VALUES (1, 0, 0);
CREATE TABLE segments (number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, dead INTEGER NOT NULL);
CREATE TABLE events (seq INTEGER PRIMARY KEY, id8 INTEGER NOT NULL, author8 INTEGER NOT NULL, kind INTEGER NOT NULL,
  created_at INTEGER NOT NULL, channel8 INTEGER, expires INTEGER, address8 INTEGER,
  segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE INDEX events_id ON events (id8);
CREATE INDEX events_author ON events (author8, created_at DESC, id8);
CREATE INDEX events_kind ON events (kind, created_at DESC, id8);
CREATE INDEX events_time ON events (created_at DESC, id8);
CREATE INDEX events_expires ON events (expires) WHERE expires IS NOT NULL;
CREATE INDEX events_address ON events (address8) WHERE address8 IS NOT NULL;
CREATE TABLE tags (tag8 INTEGER NOT NULL, created_at INTEGER NOT NULL, id8 INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (tag8, created_at DESC, id8, seq)) WITHOUT ROWID;
CREATE TABLE replaced (address8 INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
  PRIMARY KEY (address8, segment, offset)) WITHOUT ROWID;
";

/// Memory for pages while nobody asks, in KiB, as SQLite wants it: negative.
const CACHE: i32 = -512;
/// The same from a filling or [`BUSY`] questions on until [`Index::rest`]. With less, filling writes pages to make room for
/// others, and writes them again.
const BUSY_CACHE: i32 = -4096;
const BUSY: u32 = 64;
/// Pages of the write-ahead log before they go to their places, at least and at most. A page that changes again before that
/// is written once less.
const LOG_PAGES: (u32, u32) = (1000, 8000);
/// Pages of the log for each segment of the journal: the log becomes no longer than the journal is.
const LOG_PAGES_OF_SEGMENT: u32 = 256;
/// Statements that SQLite keeps ready.
const STATEMENTS: usize = 32;
/// Values beyond which a question is a rare one, whose statement is not kept.
const COMMON: usize = 24;

/// An event the index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Negative, so that the newest sorts first.
    pub minus_created_at: i64,
    /// The first bytes of the id, in the order of ids.
    pub id8: i64,
    /// Where the journal has it.
    pub position: Position,
}

/// The open index.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    next_seq: i64,
    events: u64,
    ids: Arc<Ids>,
    /// Questions since [`Index::rest`].
    questions: Cell<u32>,
}

/// The first eight bytes as a number that sorts as the bytes do.
pub fn number(bytes: &[u8; 32]) -> i64 {
    (first_eight(bytes) ^ (1 << 63)).cast_signed()
}

/// The number of a tag and its value.
pub fn tag_number(name: char, value: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(name.encode_utf8(&mut [0; 4]).as_bytes())
        .update(&[0])
        .update(value.as_bytes());
    number(hasher.finalize().as_bytes())
}

/// The number of a channel.
pub fn channel_number(channel: &ChannelId) -> i64 {
    tag_number('h', channel.as_str())
}

/// The numbers of an event's indexed tags: single letters, first value (NIP-01).
pub fn tag_numbers(event: &Event) -> impl Iterator<Item = i64> {
    event.tags.iter().filter_map(|tag| {
        Some(tag_number(
            tag.single_letter_tag()?.as_char(),
            tag.content()?,
        ))
    })
}

impl Index {
    /// Opens the index; one that is missing, of another version or damaged is begun anew.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        match Self::try_open(path) {
            Ok(index) => Ok(index),
            Err(error) => {
                log::warn!("the index {} is begun anew: {error}", path.display());
                Self::remove(path);
                Self::try_open(path)
            }
        }
    }

    /// Removes the index's files.
    pub fn remove(path: &Path) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let _ = std::fs::remove_file(&name);
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // One process alone uses the file. Said before the first access, the write-ahead log then needs no shared
        // memory, which JFFS2 and some overlay file systems refuse.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            log::info!(
                "the index {} works without a write-ahead log ({mode})",
                path.display()
            );
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "secure_delete", "ON")?; // words that were erased are overwritten
        // Otherwise a statement is compiled anew for each new value that an index of some rows only might not have.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(&format!(
                "BEGIN; {TABLES} {} PRAGMA user_version = {VERSION}; COMMIT;",
                index_search::TABLE
            ))?;
        } else if version != VERSION {
            return Err(rusqlite::Error::InvalidQuery);
        }
        let next_seq: i64 =
            connection.query_row("SELECT coalesce(max(seq), 0) + 1 FROM events", [], |row| {
                row.get(0)
            })?;
        let events: i64 =
            connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
        Ok(Self {
            connection,
            next_seq,
            events: events.cast_unsigned(),
            ids: Arc::default(),
            questions: Cell::new(0),
        })
    }

    /// What can be asked for an id without asking the index. `EmbeddedStore::maintain` gathers it.
    pub fn ids(&self) -> Arc<Ids> {
        Arc::clone(&self.ids)
    }

    /// Some ids in order, by their first eight bytes, from behind one on (`None`: from the first).
    pub fn ids_behind(&self, last: Option<i64>, most: usize) -> rusqlite::Result<Vec<i64>> {
        let (from, most) = (
            last.map_or(Some(i64::MIN), |last| last.checked_add(1)),
            i64::try_from(most).unwrap_or(i64::MAX),
        );
        let Some(from) = from else {
            return Ok(Vec::new());
        };
        self.connection
            .prepare_cached("SELECT DISTINCT id8 FROM events WHERE id8 >= ? ORDER BY id8 LIMIT ?")?
            .query_map([from, most], |row| row.get(0))?
            .collect()
    }

    /// Up to where the index has everything that the journal has.
    pub fn checkpoint(&self) -> rusqlite::Result<Position> {
        self.connection
            .query_row("SELECT segment, offset FROM checkpoint", [], |row| {
                Ok(Position {
                    segment: row.get(0)?,
                    offset: row.get(1)?,
                })
            })
    }

    /// The kinds of all events.
    pub fn kinds(&self) -> rusqlite::Result<HashSet<u16>> {
        // From each kind straight to the next one: this does not read all events.
        let mut statement = self.connection.prepare(
            "WITH RECURSIVE known (kind) AS (SELECT min(kind) FROM events UNION ALL
             SELECT (SELECT min(kind) FROM events WHERE kind > known.kind) FROM known WHERE known.kind IS NOT NULL)
             SELECT kind FROM known WHERE kind IS NOT NULL",
        )?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    /// Events in the index.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The generation of a segment as the index knows it.
    pub fn generation(&self, number: u32) -> rusqlite::Result<u32> {
        let found = self
            .connection
            .query_row(
                "SELECT generation FROM segments WHERE number = ?",
                [number],
                |row| row.get(0),
            )
            .optional()?;
        Ok(found.unwrap_or(0))
    }

    /// Says up to where the journal is covered, when there is nothing to add.
    pub fn cover(&mut self, covered: Position) -> rusqlite::Result<()> {
        set_checkpoint(&self.connection, covered)
    }

    /// Places of the events whose id may be this one.
    pub fn find(&self, id: &EventId) -> rusqlite::Result<Vec<Position>> {
        positions(&self.connection, id)
    }

    /// Places of what may be the present version of a replaceable event.
    pub fn at_address(&self, address: u64) -> rusqlite::Result<Vec<Position>> {
        self.places(
            "SELECT segment, offset FROM events WHERE address8 = ?",
            address,
        )
    }

    /// Places of the older versions of a replaceable event that the journal still has.
    pub fn replaced(&self, address: u64) -> rusqlite::Result<Vec<Position>> {
        self.places(
            "SELECT segment, offset FROM replaced WHERE address8 = ?",
            address,
        )
    }

    fn places(&self, query: &str, address: u64) -> rusqlite::Result<Vec<Position>> {
        self.connection
            .prepare_cached(query)?
            .query_map([address.cast_signed()], |row| {
                Ok(Position {
                    segment: row.get(0)?,
                    offset: row.get(1)?,
                })
            })?
            .collect()
    }

    /// Whether the channel has an event whose id begins with these four bytes.
    pub fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> rusqlite::Result<bool> {
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        low[..4].copy_from_slice(&prefix);
        high[..4].copy_from_slice(&prefix);
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM events WHERE id8 BETWEEN ? AND ? AND channel8 = ?)",
            )?
            .query_row(
                params![number(&low), number(&high), channel_number(channel)],
                |row| row.get(0),
            )
    }

    /// Candidates for a question, newest first, one more than its limit if there are as many.
    pub fn query(&self, query: &Query<'_>) -> rusqlite::Result<Vec<Row>> {
        self.wake(1)?;
        let plan = Plan::of(query, Reader::Sqlite);
        let values: Vec<Option<i64>> = plan.values.as_ref().map_or(vec![None], |values| {
            values.iter().map(|value| Some(*value)).collect()
        });
        let text = plan.statement(COLUMNS);
        let mut best = std::collections::BTreeSet::new();
        for value in values {
            let mut statement = self.connection.prepare_cached(&text)?;
            let all = value.iter().chain(&plan.rest.values);
            let mut rows = statement.query(params_from_iter(all))?;
            while let Some(row) = rows.next()? {
                let created_at: i64 = row.get(0)?;
                let position = Position {
                    segment: row.get(2)?,
                    offset: row.get(3)?,
                };
                let row = Row {
                    minus_created_at: -created_at,
                    id8: row.get(1)?,
                    position,
                };
                if best.len() > query.limit {
                    if best.last().is_some_and(|worst| *worst < row) {
                        break;
                    }
                    best.pop_last();
                }
                best.insert(row);
            }
            drop(rows);
            if plan.rest.values.len() > COMMON {
                statement.discard();
            }
        }
        Ok(best.into_iter().collect())
    }

    /// Candidates for a question that searches for words or things, newest first.
    pub fn search(&self, query: &Query<'_>, search: &Search) -> rusqlite::Result<Found> {
        self.wake(1)?;
        index_search::search(&self.connection, query, search)
    }

    /// Counts questions (a filling is [`BUSY`] of them), and takes memory when there are many.
    fn wake(&self, questions: u32) -> rusqlite::Result<()> {
        let before = self.questions.get();
        let after = before.saturating_add(questions);
        self.questions.set(after);
        if before < BUSY && after >= BUSY {
            self.connection
                .pragma_update(None, "cache_size", BUSY_CACHE)?;
        }
        Ok(())
    }

    /// Gives that memory back.
    pub fn rest(&self) {
        self.questions.set(0);
        let result = self
            .connection
            .pragma_update(None, "cache_size", CACHE)
            .and_then(|()| self.connection.execute_batch("PRAGMA shrink_memory"));
        if let Err(error) = result {
            log::warn!("the index keeps more memory than it needs: {error}");
        }
    }

    /// Overwrites what was removed also where SQLite would keep it for a while: in the write-ahead log.
    pub fn forget(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Places of all events of these kinds, in the order in which they came.
    pub fn of_kinds(&self, kinds: &[u16]) -> rusqlite::Result<Vec<Position>> {
        let mut found = Vec::new();
        for kind in kinds {
            let mut statement = self
                .connection
                .prepare_cached("SELECT seq, segment, offset FROM events WHERE kind = ?")?;
            let rows = statement.query_map([kind], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    Position {
                        segment: row.get(1)?,
                        offset: row.get(2)?,
                    },
                ))
            })?;
            for row in rows {
                found.push(row?);
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, position)| position).collect())
    }

    /// Places of some events that expired.
    pub fn expired(&self, now: u64, limit: usize) -> rusqlite::Result<Vec<Position>> {
        self.connection
            .prepare_cached("SELECT segment, offset FROM events WHERE expires <= ? LIMIT ?")?
            .query_map(
                params![
                    i64::try_from(now).unwrap_or(i64::MAX),
                    i64::try_from(limit).unwrap_or(i64::MAX)
                ],
                |row| {
                    Ok(Position {
                        segment: row.get(0)?,
                        offset: row.get(1)?,
                    })
                },
            )?
            .collect()
    }

    /// Removes events of one segment that was written anew, and learns where the others lie now.
    pub fn rewritten(
        &mut self,
        segment: u32,
        generation: u32,
        removed: &[StoredEvent],
        stayed: &[(EventId, Written)],
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut gone = 0;
        let mut words = Pending::default();
        for event in removed {
            let seqs: Vec<i64> = transaction
                .prepare_cached("SELECT seq FROM events WHERE id8 = ? AND segment = ?")?
                .query_map(params![number(event.event.id.as_bytes()), segment], |row| {
                    row.get(0)
                })?
                .collect::<Result<_, _>>()?;
            for seq in seqs {
                remove(&transaction, seq, event, &mut words)?;
                gone += 1;
            }
        }
        words.write(&transaction)?;
        relocate(&transaction, segment, stayed)?;
        set_generation(&transaction, segment, generation)?;
        transaction.commit()?;
        self.events = self.events.saturating_sub(gone);
        Ok(())
    }

    /// After a crash between a rewriting and the index hearing of it: the segment's events are exactly these. `false` when
    /// the index still has words of an event that is gone: nobody knows them any more, so it has to be built anew.
    pub fn reconcile(
        &mut self,
        segment: u32,
        generation: u32,
        stayed: &[(EventId, Written)],
    ) -> rusqlite::Result<bool> {
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE events SET offset = -1 WHERE segment = ?", [segment])?;
        relocate(&transaction, segment, stayed)?;
        let kinds = crate::search::KINDS.map(|kind| kind.to_string()).join(",");
        let has_words: bool = transaction.query_row(
            &format!("SELECT EXISTS (SELECT 1 FROM events WHERE segment = ? AND offset = -1 AND kind IN ({kinds}))"),
            [segment],
            |row| row.get(0),
        )?;
        if has_words {
            return Ok(false);
        }
        transaction.execute("DELETE FROM tags WHERE seq IN (SELECT seq FROM events WHERE segment = ? AND offset = -1)", [segment])?;
        transaction.execute(
            "DELETE FROM events WHERE segment = ? AND offset = -1",
            [segment],
        )?;
        set_generation(&transaction, segment, generation)?;
        transaction.commit()?;
        let events: i64 = self
            .connection
            .query_row("SELECT count(*) FROM events", [], |row| row.get(0))?;
        self.events = events.cast_unsigned();
        Ok(true)
    }

    /// Whether the index has an event at exactly this place.
    pub fn has_at(&self, id: &EventId, position: Position) -> rusqlite::Result<bool> {
        known(&self.connection, id, position)
    }

    /// Segments of which more than half is dead: replaced events.
    pub fn mostly_dead(&self, half: u32) -> rusqlite::Result<Vec<u32>> {
        self.connection
            .prepare_cached("SELECT number FROM segments WHERE dead > ?")?
            .query_map([half], |row| row.get(0))?
            .collect()
    }
}

fn positions(connection: &Connection, id: &EventId) -> rusqlite::Result<Vec<Position>> {
    connection
        .prepare_cached("SELECT segment, offset FROM events WHERE id8 = ?")?
        .query_map([number(id.as_bytes())], |row| {
            Ok(Position {
                segment: row.get(0)?,
                offset: row.get(1)?,
            })
        })?
        .collect()
}

fn known(connection: &Connection, id: &EventId, position: Position) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM events WHERE id8 = ? AND segment = ? AND offset = ?)",
        )?
        .query_row(
            params![number(id.as_bytes()), position.segment, position.offset],
            |row| row.get(0),
        )
}

fn remove(
    connection: &Connection,
    seq: i64,
    event: &StoredEvent,
    words: &mut Pending,
) -> rusqlite::Result<()> {
    words.remove(event, seq);
    let created_at = i64::try_from(event.event.created_at.as_secs()).unwrap_or(i64::MAX);
    let id8 = number(event.event.id.as_bytes());
    for tag in tag_numbers(&event.event) {
        connection
            .prepare_cached(
                "DELETE FROM tags WHERE tag8 = ? AND created_at = ? AND id8 = ? AND seq = ?",
            )?
            .execute(params![tag, created_at, id8, seq])?;
    }
    connection
        .prepare_cached("DELETE FROM events WHERE seq = ?")?
        .execute([seq])?;
    Ok(())
}

fn relocate(
    connection: &Connection,
    segment: u32,
    stayed: &[(EventId, Written)],
) -> rusqlite::Result<()> {
    for (id, written) in stayed {
        connection
            .prepare_cached("UPDATE events SET offset = ? WHERE id8 = ? AND segment = ?")?
            .execute(params![
                written.position.offset,
                number(id.as_bytes()),
                segment
            ])?;
    }
    Ok(())
}

/// A segment that was written anew has nothing dead in it.
fn set_generation(connection: &Connection, segment: u32, generation: u32) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM replaced WHERE segment = ?")?
        .execute([segment])?;
    connection
        .prepare_cached("INSERT INTO segments VALUES (?, ?, 0) ON CONFLICT (number) DO UPDATE SET generation = excluded.generation, dead = 0")?
        .execute(params![segment, generation])?;
    Ok(())
}

fn set_checkpoint(connection: &Connection, covered: Position) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE checkpoint SET segment = ?, offset = ?")?
        .execute(params![covered.segment, covered.offset])?;
    Ok(())
}
