//! What people here wrote for everybody, by id, in the order in which it came; and how far each listed relay has it. It
//! may be lost: the home's relay has the events, and then everything is sent once more.
//!
//! `relays.sqlite`, version 1 in `user_version`; another version, or damage: begun anew.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::event::EventId;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use crate::error::HomeError;

const VERSION: i64 = 1;
const TABLES: &str = "
CREATE TABLE written (number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL);
CREATE TABLE marks (relay TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// The open ledger.
pub struct Ledger {
    connection: Mutex<Connection>,
    last: watch::Sender<i64>,
}

/// An event that a relay does not have yet: its number, and its id.
pub type Waiting = (i64, EventId);

impl Ledger {
    /// Opens it in a directory, or begins a new one. Blocks.
    pub fn open(dir: &Path) -> Result<Self, HomeError> {
        let path = dir.join("relays.sqlite");
        let connection = connect(&path).or_else(|error| {
            log::warn!("{} is begun anew: {error}", path.display());
            for suffix in ["", "-wal", "-shm", "-journal"] {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                let _ = std::fs::remove_file(name);
            }
            connect(&path)
        });
        let opened = connection.and_then(|connection| {
            let last = connection.query_row("SELECT max(number) FROM written", [], |row| {
                row.get::<_, Option<i64>>(0)
            })?;
            Ok((connection, last.unwrap_or_default()))
        });
        let (connection, last) = opened.map_err(|error| HomeError::Damaged {
            path,
            what: error.to_string(),
        })?;
        Ok(Self {
            connection: Mutex::new(connection),
            last: watch::channel(last).0,
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the file. What is asked afterwards is not answered.
    pub fn close(&self) {
        if let Ok(nothing) = Connection::open_in_memory() {
            *self.connection() = nothing;
        }
    }

    /// The number of the last event, whenever it changes.
    pub fn last(&self) -> watch::Receiver<i64> {
        self.last.subscribe()
    }

    /// Notes events, by date and id, that are not noted yet.
    pub fn note(&self, events: &[(u64, EventId)]) -> rusqlite::Result<()> {
        let tables = self.connection();
        let changes = tables.unchecked_transaction()?;
        let mut last = None;
        for (at, id) in events {
            let noted = changes
                .prepare_cached("INSERT OR IGNORE INTO written (id, created_at) VALUES (?1, ?2)")?
                .execute(params![id.as_bytes(), at.cast_signed()])?;
            if noted > 0 {
                last = Some(changes.last_insert_rowid());
            }
        }
        changes.commit()?;
        drop(tables);
        if let Some(last) = last {
            self.last.send_replace(last);
        }
        Ok(())
    }

    /// Whether an event is noted.
    pub fn has(&self, id: &EventId) -> bool {
        let has = "SELECT 1 FROM written WHERE id = ?1";
        let tables = self.connection();
        let asked = tables.prepare_cached(has);
        asked.is_ok_and(|mut asked| asked.exists([id.as_bytes()]).unwrap_or(false))
    }

    /// Dates and ids of what was written from one second to another.
    pub fn between(&self, since: u64, until: u64) -> rusqlite::Result<Vec<(u64, EventId)>> {
        let tables = self.connection();
        let mut asked = tables.prepare_cached(
            "SELECT created_at, id FROM written WHERE created_at BETWEEN ?1 AND ?2",
        )?;
        let found = asked.query_map([since.cast_signed(), until.cast_signed()], |row| {
            let id = EventId::from_byte_array(row.get(1)?);
            Ok((row.get::<_, i64>(0)?.cast_unsigned(), id))
        })?;
        found.collect()
    }

    /// The next few events that a relay does not have.
    pub fn waiting(&self, relay: &str, limit: usize) -> rusqlite::Result<Vec<Waiting>> {
        let tables = self.connection();
        let mut asked = tables.prepare_cached(
            "SELECT number, id FROM written WHERE number > coalesce((SELECT number FROM marks WHERE relay = ?1), 0)
             ORDER BY number LIMIT ?2",
        )?;
        let found = asked.query_map(params![relay, limit as i64], |row| {
            Ok((row.get(0)?, EventId::from_byte_array(row.get(1)?)))
        })?;
        found.collect()
    }

    /// Notes that a relay has everything up to a number, or does not want it.
    pub fn mark(&self, relay: &str, number: i64) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO marks VALUES (?1, ?2) ON CONFLICT DO UPDATE SET number = max(number, ?2)";
        let tables = self.connection();
        tables
            .prepare_cached(sql)?
            .execute(params![relay, number])
            .map(drop)
    }

    /// Forgets events, unless one of these relays still lacks any: its deletion may be on the way.
    pub fn forget(&self, ids: &[EventId], relays: &[String]) -> rusqlite::Result<()> {
        let tables = self.connection();
        let last = *self.last.borrow();
        for relay in relays {
            let mark: Option<i64> = tables
                .prepare_cached("SELECT number FROM marks WHERE relay = ?1")?
                .query_row([relay], |row| row.get(0))
                .optional()?;
            if mark.unwrap_or_default() < last {
                return Ok(());
            }
        }
        let changes = tables.unchecked_transaction()?;
        for id in ids {
            changes
                .prepare_cached("DELETE FROM written WHERE id = ?1")?
                .execute([id.as_bytes()])?;
        }
        changes.commit()
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // As the cache of the feed: no shared memory, and nothing waits for the disk. What a loss of power takes back is sent
    // once more.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -256)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => connection.execute_batch(TABLES)?,
        _ => return Err(rusqlite::Error::InvalidQuery),
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> EventId {
        EventId::from_byte_array([number; 32])
    }

    fn numbers(ledger: &Ledger, relay: &str) -> Vec<u8> {
        let waiting = ledger.waiting(relay, 10).unwrap();
        waiting.iter().map(|(_, id)| id.as_bytes()[0]).collect()
    }

    #[test]
    fn each_relay_has_its_own_place_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.note(&[(9, id(1)), (5, id(2))]).unwrap();
        ledger.note(&[(5, id(2)), (7, id(3))]).unwrap();
        assert_eq!(numbers(&ledger, "a"), [1, 2, 3], "as they came, each once");
        let second = ledger.waiting("a", 2).unwrap()[1].0;
        ledger.mark("a", second).unwrap();
        ledger.mark("a", 1).unwrap();
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(numbers(&ledger, "a"), [3], "a mark goes forward only");
        assert_eq!(numbers(&ledger, "b"), [1, 2, 3]);
        assert_eq!(ledger.between(5, 7).unwrap().len(), 2);
        assert!(ledger.has(&id(1)) && !ledger.has(&id(4)));
    }

    #[test]
    fn what_is_gone_is_forgotten_once_nothing_waits_and_its_number_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.note(&[(1, id(1)), (2, id(2))]).unwrap();
        let relays = ["a".to_owned(), "b".to_owned()];
        ledger.mark("a", *ledger.last().borrow()).unwrap();
        ledger.forget(&[id(2)], &relays).unwrap();
        assert!(ledger.has(&id(2)), "b lacks it");
        ledger.mark("b", *ledger.last().borrow()).unwrap();
        ledger.forget(&[id(2)], &relays).unwrap();
        assert!(!ledger.has(&id(2)));
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.note(&[(3, id(3))]).unwrap();
        assert_eq!(numbers(&ledger, "a"), [3]);
    }

    #[test]
    fn a_damaged_one_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("relays.sqlite"),
            "no database at all, but long enough",
        )
        .unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.note(&[(1, id(1))]).unwrap();
        assert_eq!(numbers(&ledger, "a"), [1]);
    }
}
