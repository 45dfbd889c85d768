//! What is asked of the cache.

use std::collections::BTreeMap;

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use rusqlite::{OptionalExtension, Row, ToSql, params};

use super::cache::{Cache, blobs};
use super::plan::Followed;
use super::references::{self, PEOPLE, POST, PROFILE, REACTION, RELAYS, TELLING};
use crate::dialer::ServiceName;

/// Events of one talk.
const TALK: usize = 500;
/// Different reactions to one post that are told apart.
const REACTIONS: usize = 20;

/// A place in a list that goes from new to old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Seconds since 1970.
    pub at: u64,
    /// Of those of the same second, the one behind this id.
    pub id: EventId,
}

impl Place {
    /// `SECONDS-ID`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('-')?;
        let at = at.parse().ok().filter(|at| i64::try_from(*at).is_ok())?;
        Some(Self {
            at,
            id: EventId::from_hex(id).ok()?,
        })
    }

    /// Behind an event.
    pub const fn of(event: &Event) -> Self {
        Self {
            at: event.created_at.as_secs(),
            id: event.id,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.at, self.id.to_hex())
    }
}

/// Whose posts.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Of those a person follows, and the person's own.
    Followed(PublicKey),
    /// Of these people.
    These(Vec<PublicKey>),
    /// Of everybody who lives here.
    Residents,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where to go on; `None` begins with the newest.
    pub before: Option<Place>,
    /// How many.
    pub limit: usize,
}

/// What others did with a post.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Echo {
    /// Answers.
    pub replies: u32,
    /// People who repeated it.
    pub reposts: u32,
    /// How many people reacted how.
    pub reactions: BTreeMap<String, u32>,
}

type Found<T> = rusqlite::Result<T>;

fn event(row: &Row<'_>) -> Found<Option<Event>> {
    let json: String = row.get(0)?;
    Ok(serde_json::from_str(&json).ok())
}

impl Cache {
    fn events(&self, sql: &str, values: &[&dyn ToSql]) -> Found<Vec<Event>> {
        self.read(|tables| {
            let mut asked = tables.prepare_cached(sql)?;
            let found = asked.query_map(values, event)?;
            Ok(found
                .collect::<Found<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect())
        })
    }

    fn newest(&self, author: &PublicKey, kind: u16) -> Found<Option<Event>> {
        let sql = "SELECT json FROM events WHERE author = ?1 AND kind = ?2 ORDER BY created_at DESC LIMIT 1";
        let found = self.events(sql, &[author.as_bytes(), &kind])?;
        Ok(found.into_iter().next())
    }

    /// One event.
    pub fn get(&self, id: &EventId) -> Found<Option<Event>> {
        let found = self.events("SELECT json FROM events WHERE id = ?1", &[id.as_bytes()])?;
        Ok(found.into_iter().next())
    }

    /// Somebody's profile.
    pub fn profile(&self, person: &PublicKey) -> Found<Option<Event>> {
        self.newest(person, PROFILE)
    }

    /// Posts and reposts, newest first; answers only if asked for.
    pub fn posts(&self, whose: &Whose, replies: bool, part: &Part) -> Found<Vec<Event>> {
        let who = match whose {
            Whose::Followed(person) => {
                let me = blobs(&[*person]);
                format!(
                    "(author = {me} OR author IN (SELECT author FROM follows WHERE person = {me}))"
                )
            }
            Whose::These(people) => format!("author IN ({})", blobs(people)),
            Whose::Residents => "class = 2".to_owned(),
        };
        let what = match replies {
            true => "kind IN (1, 6, 16)",
            false => "(kind = 1 AND parent IS NULL OR kind IN (6, 16))",
        };
        let (at, id) = place(part.before);
        let sql = format!(
            "SELECT json FROM events WHERE {who} AND {what} AND created_at <= ?1
             AND (created_at < ?1 OR id > ?2) ORDER BY created_at DESC, id LIMIT ?3"
        );
        self.events(&sql, &[&at, &id, &(part.limit as i64)])
    }

    /// What tells somebody that others have them in mind, newest first.
    pub fn telling(&self, person: &PublicKey, part: &Part) -> Found<Vec<Event>> {
        let (at, id) = place(part.before);
        let sql = "SELECT e.json FROM named n JOIN events e ON e.id = n.event WHERE n.person = ?1
             AND n.created_at <= ?2 AND (n.created_at < ?2 OR n.event > ?3)
             ORDER BY n.created_at DESC, n.event LIMIT ?4";
        self.events(sql, &[person.as_bytes(), &at, &id, &(part.limit as i64)])
    }

    /// A talk, oldest first: the post it began with, and the answers.
    pub fn talk(&self, root: &EventId) -> Found<Vec<Event>> {
        let sql = format!(
            "SELECT json FROM events WHERE kind = {POST} AND (id = ?1 OR root = ?1) ORDER BY created_at, id LIMIT {TALK}"
        );
        self.events(&sql, &[root.as_bytes()])
    }

    /// What others did with a post.
    pub fn echo(&self, id: &EventId) -> Found<Echo> {
        let mut echo = Echo::default();
        self.read(|tables| {
            let count = "SELECT count(*), count(DISTINCT author) FROM events WHERE parent = ?1 AND kind IN";
            let id = id.as_bytes();
            echo.replies = tables
                .prepare_cached(&format!("{count} ({POST})"))?
                .query_row([id], |row| row.get(0))?;
            echo.reposts = tables
                .prepare_cached(&format!("{count} (6, 16)"))?
                .query_row([id], |row| row.get(1))?;
            let sql = format!(
                "SELECT d, count(DISTINCT author) FROM events
                 WHERE parent = ?1 AND kind = {REACTION} GROUP BY d ORDER BY 2 DESC, 1 LIMIT {REACTIONS}"
            );
            let mut asked = tables.prepare_cached(&sql)?;
            let mut rows = asked.query([id])?;
            while let Some(row) = rows.next()? {
                let said: String = row.get(0)?;
                // An empty one is a like as `+` is (NIP-25).
                let said = if said.is_empty() { "+".into() } else { said };
                *echo.reactions.entry(said).or_default() += row.get::<_, u32>(1)?;
            }
            Ok(())
        })?;
        Ok(echo)
    }

    /// What somebody did with a post: reposts and reactions.
    pub fn own_echo(&self, id: &EventId, person: &PublicKey) -> Found<Vec<Event>> {
        let kinds = TELLING.map(|kind| kind.to_string()).join(",");
        let sql = format!(
            "SELECT json FROM events WHERE parent = ?1 AND author = ?2 AND kind IN ({kinds}) AND kind != {POST} LIMIT 20"
        );
        self.events(&sql, &[id.as_bytes(), person.as_bytes()])
    }

    /// Whom somebody follows.
    pub fn follows(&self, person: &PublicKey) -> Found<Vec<PublicKey>> {
        self.read(|tables| {
            let mut asked =
                tables.prepare_cached("SELECT author FROM follows WHERE person = ?1")?;
            let found = asked.query_map([person.as_bytes()], |row| row.get::<_, [u8; 32]>(0))?;
            let keys = found.collect::<Found<Vec<_>>>()?;
            Ok(keys.into_iter().map(PublicKey::from_byte_array).collect())
        })
    }

    /// Everybody whom anybody here follows, and where they write.
    pub fn all_followed(&self) -> Found<Vec<Followed>> {
        let most = self.limits.all_follows as i64;
        let people: Vec<([u8; 32], Option<String>, Option<String>)> = self.read(|tables| {
            let sql = format!(
                "SELECT f.author, max(f.hint), (SELECT json FROM events e WHERE e.author = f.author AND e.kind = {RELAYS} LIMIT 1)
                 FROM follows f GROUP BY f.author LIMIT ?1"
            );
            let mut asked = tables.prepare_cached(&sql)?;
            let found = asked.query_map([most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            found.collect()
        })?;
        let followed = people.into_iter().map(|(author, hint, list)| {
            let list = list.and_then(|json| serde_json::from_str::<Event>(&json).ok());
            let mut homes = list.map_or_else(Vec::new, |list| references::homes(&list));
            if homes.is_empty() {
                homes.extend(hint.as_deref().and_then(ServiceName::parse));
            }
            Followed {
                author: PublicKey::from_byte_array(author),
                homes,
            }
        });
        Ok(followed.collect())
    }

    /// A list of people, by its name.
    pub fn list(&self, person: &PublicKey, name: &str) -> Found<Option<Event>> {
        let sql =
            format!("SELECT json FROM events WHERE author = ?1 AND kind = {PEOPLE} AND d = ?2");
        let found = self.events(&sql, &[person.as_bytes(), &name])?;
        Ok(found.into_iter().next())
    }

    /// All lists of people of one person.
    pub fn lists(&self, person: &PublicKey) -> Found<Vec<Event>> {
        let sql =
            format!("SELECT json FROM events WHERE author = ?1 AND kind = {PEOPLE} ORDER BY d");
        self.events(&sql, &[person.as_bytes()])
    }

    /// People who write at a home of this network, with the newest profiles first.
    pub fn nearby(&self, limit: usize) -> Found<Vec<PublicKey>> {
        self.read(|tables| {
            let sql = format!(
                "SELECT p.author FROM events p WHERE p.kind = {PROFILE} AND EXISTS (SELECT 1 FROM events r
                 WHERE r.author = p.author AND r.kind = {RELAYS} AND r.json LIKE '%.warren%') ORDER BY p.created_at DESC LIMIT ?1"
            );
            let mut asked = tables.prepare_cached(&sql)?;
            let found = asked.query_map(params![limit as i64], |row| row.get::<_, [u8; 32]>(0))?;
            let keys = found.collect::<Found<Vec<_>>>()?;
            Ok(keys.into_iter().map(PublicKey::from_byte_array).collect())
        })
    }

    /// Whether one person follows another.
    pub fn is_following(&self, person: &PublicKey, author: &PublicKey) -> Found<bool> {
        self.read(|tables| {
            tables
                .prepare_cached("SELECT 1 FROM follows WHERE person = ?1 AND author = ?2")?
                .query_row(params![person.as_bytes(), author.as_bytes()], |_| Ok(()))
                .optional()
                .map(|found| found.is_some())
        })
    }
}

fn place(before: Option<Place>) -> (i64, [u8; 32]) {
    match before {
        Some(place) => (place.at.cast_signed(), *place.id.as_bytes()),
        None => (i64::MAX, [0; 32]),
    }
}
