//! What the feed is read from: events of those whom people here follow, of whoever has people here in mind, and of the
//! people here themselves, in SQLite. It may be lost at any time: what people here wrote is in the home's relay, and the
//! rest in the relays of others. So nothing waits for the disk. What others wrote is held up to a size; the oldest goes
//! first, and of those whom nobody follows before.
//!
//! The column `d` is the name of a list, or what a reaction says.
//!
//! `feed.sqlite`, version 2 in `user_version`; another version, or damage: begun anew.
//!
//! | version | what is new |
//! |---|---|
//! | 2 | `vanished`: until when everything of somebody is gone (NIP-62) |

mod erasing;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use rusqlite::{Connection, OptionalExtension, params};

use super::references::{
    self, DELETION, FOLLOWS, FOREIGN, OTHER_REPOST, OWN, POST, PROFILE, REACTION, RELAYS, REPOST,
    TELLING, VANISH,
};
use crate::config::{Clock, FeedLimits};
use crate::error::HomeError;
use crate::files;

const VERSION: i64 = 2;
const TABLES: &str = "
CREATE TABLE events (id BLOB PRIMARY KEY, author BLOB NOT NULL, kind INTEGER NOT NULL, created_at INTEGER NOT NULL,
  class INTEGER NOT NULL, root BLOB, parent BLOB, d TEXT NOT NULL, size INTEGER NOT NULL, json TEXT NOT NULL);
CREATE INDEX events_author ON events (author, kind, created_at);
CREATE INDEX events_time ON events (created_at, id);
CREATE INDEX events_class ON events (class, created_at);
CREATE INDEX events_root ON events (root) WHERE root IS NOT NULL;
CREATE INDEX events_parent ON events (parent, kind) WHERE parent IS NOT NULL;
CREATE TABLE named (person BLOB NOT NULL, created_at INTEGER NOT NULL, event BLOB NOT NULL,
  PRIMARY KEY (person, created_at, event)) WITHOUT ROWID;
CREATE INDEX named_event ON named (event);
CREATE TABLE follows (person BLOB NOT NULL, author BLOB NOT NULL, hint TEXT, PRIMARY KEY (person, author)) WITHOUT ROWID;
CREATE INDEX follows_author ON follows (author);
CREATE TABLE gone (id BLOB NOT NULL, author BLOB NOT NULL, PRIMARY KEY (id, author));
CREATE TABLE synced (service TEXT NOT NULL, author BLOB NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (service, author)) WITHOUT ROWID;
CREATE TABLE vanished (author BLOB PRIMARY KEY, until INTEGER NOT NULL);
PRAGMA user_version = 2;
";

/// Seconds by which a date may lie in the future.
const FUTURE: u64 = 15 * 60;
/// Characters of a reaction.
const REACTION_BYTES: usize = 256;
/// Events that make room at a time.
const EVICTED: i64 = 8;
/// The classes of events: of somebody whom nobody here follows, of somebody followed, of people here.
const STRANGER: u8 = 0;
const FOLLOWED: u8 = 1;
const AT_HOME: u8 = 2;

/// Says who lives at the home.
pub type LivesHere = Arc<dyn Fn(&PublicKey) -> bool + Send + Sync>;

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is new.
    New,
    /// It was here, or is older than what is here.
    Known,
    /// It is not wanted: forged, too long, from the future, deleted, or of a kind that is not kept.
    Refused,
}

/// The open cache.
pub struct Cache {
    state: Mutex<State>,
    pub(super) limits: FeedLimits,
    pub(super) clock: Clock,
    lives_here: LivesHere,
}

struct State {
    connection: Connection,
    /// Bytes of what others wrote, by class.
    held: [u64; 2],
}

impl Cache {
    /// Opens the cache in a directory, or begins a new one. Blocks.
    pub fn open(
        dir: &Path,
        limits: FeedLimits,
        clock: Clock,
        lives_here: LivesHere,
    ) -> Result<Self, HomeError> {
        files::make_dir(dir)?;
        let path = dir.join("feed.sqlite");
        let connection = match connect(&path) {
            Ok(connection) => connection,
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                return Err(HomeError::Damaged {
                    path,
                    what: "another program uses it".into(),
                });
            }
            Err(error) => {
                log::warn!("{} is begun anew: {error}", path.display());
                for suffix in ["", "-wal", "-shm", "-journal"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(suffix);
                    let _ = std::fs::remove_file(name);
                }
                connect(&path).map_err(|error| HomeError::Damaged {
                    path: path.clone(),
                    what: error.to_string(),
                })?
            }
        };
        let mut held = [0, 0];
        for (class, held) in held.iter_mut().enumerate() {
            let sum = "SELECT coalesce(sum(size), 0) FROM events WHERE class = ?1";
            *held = connection
                .query_row(sum, [class as i64], |row| row.get::<_, i64>(0))
                .map_or(0, i64::cast_unsigned);
        }
        Ok(Self {
            state: Mutex::new(State { connection, held }),
            limits,
            clock,
            lives_here,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody moved in or out: what they wrote is kept as what people here, or others, wrote.
    pub fn sort_out(&self, people: &[PublicKey]) -> rusqlite::Result<()> {
        let mut state = self.state();
        let here = blobs(people);
        state.connection.execute_batch(&format!(
            "UPDATE events SET class = 2 WHERE class < 2 AND author IN ({here});
             UPDATE events SET class = 0 WHERE class = 2 AND author NOT IN ({here});
             DELETE FROM follows WHERE person NOT IN ({here});"
        ))?;
        state.sort_out()
    }

    /// Lets go of the file. What is asked afterwards is not answered.
    pub fn close(&self) {
        if let Ok(nothing) = Connection::open_in_memory() {
            self.state().connection = nothing;
        }
    }

    /// Asks the tables.
    pub(super) fn read<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        ask(&self.state().connection)
    }

    /// Whether somebody lives at this home.
    pub fn lives_here(&self, person: &PublicKey) -> bool {
        (self.lives_here)(person)
    }

    /// Bytes of what others wrote.
    pub fn foreign_bytes(&self) -> u64 {
        self.state().held.iter().sum()
    }

    /// Takes in an event, whoever sent it. Blocks.
    pub fn take(&self, event: &Event) -> rusqlite::Result<Taken> {
        self.take_with(event, true)
    }

    fn take_with(&self, event: &Event, looks_inside: bool) -> rusqlite::Result<Taken> {
        let author = event.pubkey.as_bytes();
        let kind = event.kind.as_u16();
        let at_home = (self.lives_here)(&event.pubkey);
        let id = event.id.as_bytes();
        let now = (self.clock)();
        let json = match self.admit(event, at_home, now) {
            Some(json) => json,
            None => return Ok(Taken::Refused),
        };
        {
            let state = self.state();
            let is_here = "SELECT 1 FROM events WHERE id = ?1
                UNION ALL SELECT 2 FROM gone WHERE id = ?1 AND author = ?2
                UNION ALL SELECT 3 FROM vanished WHERE author = ?2 AND until >= ?3";
            let known: Option<u8> = state
                .connection
                .prepare_cached(is_here)?
                .query_row(
                    params![id, author, event.created_at.as_secs().cast_signed()],
                    |row| row.get(0),
                )
                .optional()?;
            match known {
                Some(1) => return Ok(Taken::Known),
                Some(_) => return Ok(Taken::Refused),
                None => {}
            }
        }
        // The dear part, without the lock.
        if event.verify().is_err() {
            return Ok(Taken::Refused);
        }
        let mut state = self.state();
        let class = match at_home {
            true => AT_HOME,
            false if state.is_followed(&event.pubkey)? => FOLLOWED,
            false => STRANGER,
        };
        let changes = state.connection.unchecked_transaction()?;
        let taken = match kind {
            DELETION | VANISH => {
                let freed = match kind {
                    DELETION => erasing::delete(&changes, event)?,
                    _ => erasing::vanish(&changes, event)?,
                };
                changes.commit()?;
                state.free(freed);
                return Ok(Taken::New);
            }
            _ => insert(&changes, event, class, &json)?,
        };
        let Some(freed) = taken else {
            return Ok(Taken::Known);
        };
        if TELLING.contains(&kind) {
            for person in references::named(event) {
                if person != event.pubkey && (self.lives_here)(&person) {
                    changes
                        .prepare_cached("INSERT OR IGNORE INTO named VALUES (?1, ?2, ?3)")?
                        .execute(params![
                            person.as_bytes(),
                            event.created_at.as_secs().cast_signed(),
                            id
                        ])?;
                }
            }
        }
        let mut freed = freed;
        if kind == FOLLOWS {
            follow(&changes, event, self.limits.follows)?;
        }
        if class != AT_HOME {
            freed.add(trim(&changes, author, self.limits.person_events)?);
        }
        changes.commit()?;
        if let Some(held) = state.held.get_mut(usize::from(class)) {
            *held += json.len() as u64;
        }
        state.free(freed);
        if kind == FOLLOWS {
            state.sort_out()?;
        }
        if class != AT_HOME {
            state.evict(self.limits.cache_bytes)?;
        }
        drop(state);
        if looks_inside && [REPOST, OTHER_REPOST].contains(&kind) {
            self.take_inside(event)?;
        }
        Ok(Taken::New)
    }

    /// The checks that cost little; the event's JSON.
    fn admit(&self, event: &Event, at_home: bool, now: u64) -> Option<String> {
        let kind = event.kind.as_u16();
        let limits = &self.limits;
        let is_kept = FOREIGN.contains(&kind) || (at_home && OWN.contains(&kind));
        let in_time = event.created_at.as_secs() <= now + FUTURE
            && event
                .tags
                .expiration()
                .is_none_or(|until| until.as_secs() > now);
        if kind == VANISH && !references::vanishes_here(event) {
            return None;
        }
        if !is_kept || !in_time || (kind == REACTION && event.content.len() > REACTION_BYTES) {
            return None;
        }
        let json = serde_json::to_string(event).ok()?;
        let most = match kind {
            _ if at_home => usize::MAX,
            PROFILE | RELAYS => limits.profile_bytes,
            _ => limits.event_bytes,
        };
        (json.len() <= most).then_some(json)
    }

    /// What a repost carries (NIP-18), unless its author wants it nowhere else (NIP-70).
    fn take_inside(&self, repost: &Event) -> rusqlite::Result<()> {
        let Ok(inside) = serde_json::from_str::<Event>(&repost.content) else {
            return Ok(());
        };
        let is_meant = references::references(repost).parent == Some(inside.id);
        let is_protected = inside.tags.iter().any(|tag| tag.kind() == "-");
        if is_meant && !is_protected && inside.kind.as_u16() == POST {
            self.take_with(&inside, false)?;
        }
        Ok(())
    }

    /// Notes that what somebody wrote until a second is here, as far as this home had it.
    pub fn note_synced(
        &self,
        service: &str,
        authors: &[PublicKey],
        until: u64,
    ) -> rusqlite::Result<()> {
        let state = self.state();
        let changes = state.connection.unchecked_transaction()?;
        for author in authors {
            changes
                .prepare_cached(
                    "INSERT INTO synced VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET until = max(until, ?3)",
                )?
                .execute(params![service, author.as_bytes(), until.cast_signed()])?;
        }
        changes.commit()
    }

    /// Until when what somebody wrote is here, from one home.
    pub fn synced_until(&self, service: &str, author: &PublicKey) -> rusqlite::Result<Option<u64>> {
        self.read(|tables| {
            tables
                .prepare_cached("SELECT until FROM synced WHERE service = ?1 AND author = ?2")?
                .query_row(params![service, author.as_bytes()], |row| {
                    row.get::<_, i64>(0)
                })
                .optional()
                .map(|until| until.map(i64::cast_unsigned))
        })
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    // Before the first access: without it the write-ahead log needs shared memory, which JFFS2 does not have.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => connection.execute_batch(TABLES)?,
        version => {
            log::info!("a feed of version {version} is not read by this program");
            return Err(rusqlite::Error::InvalidQuery);
        }
    }
    connection.query_row("SELECT count(*) FROM events", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(connection)
}

/// People as SQL writes a list of bytes.
pub fn blobs(people: &[PublicKey]) -> String {
    let people = people
        .iter()
        .map(|person| format!("x'{}'", person.to_hex()));
    people.collect::<Vec<_>>().join(",")
}

/// Bytes that became free, by class.
#[derive(Debug, Clone, Copy, Default)]
struct Freed([u64; 2]);

impl Freed {
    fn add(&mut self, other: Self) {
        self.0[0] += other.0[0];
        self.0[1] += other.0[1];
    }
}

impl State {
    fn is_followed(&self, author: &PublicKey) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached("SELECT 1 FROM follows WHERE author = ?1")?
            .exists([author.as_bytes()])
    }

    fn free(&mut self, freed: Freed) {
        for (held, freed) in self.held.iter_mut().zip(freed.0) {
            *held = held.saturating_sub(freed);
        }
    }

    /// Events follow when somebody is followed, or by nobody any more.
    fn sort_out(&mut self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "UPDATE events SET class = 1 WHERE class = 0 AND author IN (SELECT author FROM follows);
             UPDATE events SET class = 0 WHERE class = 1 AND author NOT IN (SELECT author FROM follows);",
        )?;
        for (class, held) in self.held.iter_mut().enumerate() {
            let sum = "SELECT coalesce(sum(size), 0) FROM events WHERE class = ?1";
            let bytes: i64 = self
                .connection
                .query_row(sum, [class as i64], |row| row.get(0))?;
            *held = bytes.cast_unsigned();
        }
        Ok(())
    }

    fn evict(&mut self, most: u64) -> rusqlite::Result<()> {
        loop {
            let [strangers, followed] = self.held;
            let of = if strangers > most / 4 {
                "class = 0"
            } else if strangers + followed > most {
                "class < 2"
            } else {
                return Ok(());
            };
            let oldest =
                format!("SELECT id FROM events WHERE {of} ORDER BY created_at LIMIT {EVICTED}");
            let freed = remove(&self.connection, &oldest, &[])?;
            if freed.0 == [0, 0] {
                self.held = [0, 0]; // nothing is left that could be counted
                return Ok(());
            }
            self.free(freed);
        }
    }
}

/// Removes the events that a question names.
fn remove(
    tables: &Connection,
    which: &str,
    values: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<Freed> {
    let mut freed = Freed::default();
    let mut ids: Vec<Vec<u8>> = Vec::new();
    {
        let sql = format!("SELECT id, class, size FROM events WHERE id IN ({which})");
        let mut found = tables.prepare_cached(&sql)?;
        let mut rows = found.query(values)?;
        while let Some(row) = rows.next()? {
            ids.push(row.get(0)?);
            let class: u8 = row.get(1)?;
            let size: i64 = row.get(2)?;
            if let Some(freed) = freed.0.get_mut(usize::from(class)) {
                *freed += size.cast_unsigned();
            }
        }
    }
    for id in &ids {
        tables
            .prepare_cached("DELETE FROM events WHERE id = ?1")?
            .execute([id])?;
        tables
            .prepare_cached("DELETE FROM named WHERE event = ?1")?
            .execute([id])?;
    }
    Ok(freed)
}

/// Puts an event into the tables; `None` when a newer one replaces it.
fn insert(
    tables: &Connection,
    event: &Event,
    class: u8,
    json: &str,
) -> rusqlite::Result<Option<Freed>> {
    let author = event.pubkey.as_bytes();
    let kind = event.kind.as_u16();
    let at = event.created_at.as_secs().cast_signed();
    let id = event.id.as_bytes();
    let is_addressable = event.kind.is_addressable();
    let d = match kind {
        REACTION => event.content.as_str().into(),
        _ if is_addressable => event.tags.identifier().unwrap_or_default(),
        _ => Default::default(),
    };
    let mut freed = Freed::default();
    if is_addressable || event.kind.is_replaceable() {
        // Of the same second the lower id counts (NIP-01).
        let newer = "SELECT 1 FROM events WHERE author = ?1 AND kind = ?2 AND d = ?3
            AND (created_at > ?4 OR (created_at = ?4 AND id < ?5))";
        let is_old = tables
            .prepare_cached(newer)?
            .exists(params![author, kind, d, at, id])?;
        if is_old {
            return Ok(None);
        }
        let older = "SELECT id FROM events WHERE author = ?1 AND kind = ?2 AND d = ?3";
        freed = remove(tables, older, &[author, &kind, &d])?;
    }
    let found = references::references(event);
    let bytes = |id: Option<EventId>| id.map(|id| id.as_bytes().to_vec());
    // Another link may have brought the same in the meantime.
    let inserted = tables
        .prepare_cached(
            "INSERT OR IGNORE INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            id,
            author,
            kind,
            at,
            class,
            bytes(found.root),
            bytes(found.parent),
            d,
            json.len() as i64,
            json
        ])?;
    Ok((inserted > 0).then_some(freed))
}

/// Whom a person follows, from their newest list.
fn follow(tables: &Connection, list: &Event, most: usize) -> rusqlite::Result<()> {
    let person = list.pubkey.as_bytes();
    tables.execute("DELETE FROM follows WHERE person = ?1", [person])?;
    let mut seen: HashSet<PublicKey> = HashSet::new();
    for tag in list.tags.iter().filter(|tag| tag.kind() == "p") {
        let key = tag.content().and_then(|key| PublicKey::from_hex(key).ok());
        let Some(author) = key.filter(|key| seen.insert(*key)) else {
            continue;
        };
        if seen.len() > most {
            break;
        }
        let hint = tag.as_slice().get(2);
        let hint = hint.and_then(|url| references::service_of(url));
        let hint = hint.map(|service| service.to_string());
        tables
            .prepare_cached("INSERT INTO follows VALUES (?1, ?2, ?3)")?
            .execute(params![person, author.as_bytes(), hint])?;
    }
    Ok(())
}

/// Of one person, the newest stay.
fn trim(tables: &Connection, author: &[u8; 32], most: u32) -> rusqlite::Result<Freed> {
    let count: u32 = tables
        .prepare_cached("SELECT count(*) FROM events WHERE author = ?1")?
        .query_row([author], |row| row.get(0))?;
    if count <= most {
        return Ok(Freed::default());
    }
    // Who they are and where they are found stays.
    let oldest = format!(
        "SELECT id FROM events WHERE author = ?1 AND kind NOT IN ({PROFILE}, {RELAYS}) ORDER BY created_at LIMIT {}",
        count - most
    );
    remove(tables, &oldest, &[author])
}
