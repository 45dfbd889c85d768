//! Events on a PostgreSQL server. There is no journal: a batch is one transaction, and the server has synced it when its
//! answer comes. Every space has a schema of its own; one program at a time has it, by an advisory lock of the session
//! that writes.
//!
//! | file | what |
//! |---|---|
//! | `link` | sessions, the lock, what happens when the server was away |
//! | `schema` | tables and their versions |
//! | `append` | what a batch comes to |
//! | `words` | text search |

mod append;
mod link;
mod schema;
#[cfg(test)]
pub mod tests;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nostr::event::EventId;
use tokio_postgres::Row;

use super::index::{channel_number, number};
use super::index_sql::{Plan, Reader, conditions, id_condition};
use super::tail::answers;
use super::{Appended, Cursor, Page, Query, Stats, Store, StoreError, Upkeep, Walked};
use crate::record::{ChannelId, StoredEvent};
use crate::search::Search;
use crate::stores::Postgres;
use link::{Link, Trouble};

pub use link::parse as parse_address;

/// Events of one part of [`Store::walk`]; the longest have 128 KiB.
const PART: i64 = 128;
/// Events that are replayed at a time.
const REPLAYED: i64 = 256;
/// Bytes of events that are fetched at a time.
const FETCHED: usize = 1 << 20;
/// Bytes of tables up to which erased events are also taken out of the server's files, by writing the tables anew.
const SMALL: i64 = 1 << 30;

/// See the module.
pub struct PostgresStore {
    link: Link,
    /// Whether something was erased that the server's files still have.
    erased: AtomicBool,
}

/// A date as the tables have it.
fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// An event that may answer a question.
struct Candidate {
    created_at: i64,
    seq: i64,
    size: i32,
}

impl Candidate {
    fn read(row: &Row) -> Result<Self, Trouble> {
        Ok(Self {
            created_at: row.try_get(0)?,
            seq: row.try_get(2)?,
            size: row.try_get(3)?,
        })
    }
}

/// A number and an event.
fn numbered(row: &Row) -> Result<(i64, StoredEvent), Trouble> {
    Ok((row.try_get(0)?, StoredEvent::decode(row.try_get(1)?)?))
}

impl PostgresStore {
    /// Opens the tables in a schema, or makes them.
    pub fn open(server: &Postgres, schema: &str) -> Result<Self, StoreError> {
        let link = Link::new(server, schema)?;
        link.write_ready()?;
        Ok(Self {
            link,
            erased: AtomicBool::new(true), // by a program that ended before it was done
        })
    }

    /// Removes a space with all in it.
    pub fn remove(server: &Postgres, schema: &str) -> Result<(), StoreError> {
        let (link, schema) = (Link::new(server, schema)?, schema.to_owned());
        link.write(move |client| async move {
            client
                .batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
                .await?;
            Ok(())
        })
    }

    fn candidates(&self, sql: String, words: Option<String>) -> Result<Vec<Candidate>, StoreError> {
        self.link.read(move |client| {
            let (sql, words) = (sql.clone(), words.clone());
            async move {
                let rows = match &words {
                    Some(words) => client.query(&sql, &[words]).await?,
                    None => client.query(&sql, &[]).await?,
                };
                rows.iter().map(Candidate::read).collect()
            }
        })
    }

    fn fetch(&self, seqs: Vec<i64>) -> Result<HashMap<i64, StoredEvent>, StoreError> {
        self.link.read(move |client| {
            let seqs = seqs.clone();
            async move {
                let rows = client
                    .query(
                        "SELECT seq, record FROM events WHERE seq = ANY($1)",
                        &[&seqs],
                    )
                    .await?;
                rows.iter().map(numbered).collect()
            }
        })
    }

    /// The statement for the candidates of a question, with the words it looks for.
    fn statement(
        &self,
        query: &Query<'_>,
        search: Option<&Search>,
    ) -> Option<(String, Option<String>)> {
        let columns = "e.created_at, e.id8, e.seq, e.size";
        if let Some(search) = search.filter(|search| search.has_terms()) {
            let words = words::expression(query, search, &self.link.known().channels)?;
            let sql = format!(
                "SELECT {columns} FROM events e WHERE e.words @@ ($1::text)::tsquery{}{}
                 ORDER BY e.created_at DESC, e.id8 LIMIT {}",
                id_condition(query.filter).whole(),
                conditions(query, None, "e.created_at", Reader::Postgres).whole(),
                query.limit + 1
            );
            return Some((sql, Some(words)));
        }
        let plan = Plan::of(query, Reader::Postgres);
        let Some(values) = &plan.values else {
            let sql = format!("SELECT {columns}{}{}", plan.head, plan.rest.whole());
            return Some((sql, None));
        };
        // One ordered walk for each value, and the newest of all.
        let list: Vec<String> = values.iter().map(i64::to_string).collect();
        let sql = format!(
            "SELECT DISTINCT found.* FROM unnest('{{{}}}'::bigint[]) AS one (value)
             CROSS JOIN LATERAL (SELECT {columns}{}one.value{}) AS found
             ORDER BY created_at DESC, id8 LIMIT {}",
            list.join(","),
            plan.head,
            plan.rest.whole(),
            query.limit + 1
        );
        Some((sql, None))
    }

    /// Takes what was erased out of the server's files: by writing the tables anew, where they are small enough for it.
    fn forget(&self) -> Result<(), StoreError> {
        self.link.write(|client| async move {
            let size: i64 = client
                .query_one(
                    "SELECT pg_total_relation_size('events') + pg_total_relation_size('tags')",
                    &[],
                )
                .await?
                .try_get(0)?;
            let full = if size <= SMALL { "FULL" } else { "" };
            for statement in [
                "SET statement_timeout = 0",
                &format!("VACUUM {full} events"),
                &format!("VACUUM {full} tags"),
                "SET statement_timeout = '60s'",
            ] {
                client.batch_execute(statement).await?;
            }
            Ok(())
        })
    }
}

impl Store for PostgresStore {
    fn append(
        &self,
        events: &[Arc<StoredEvent>],
        erase: &[EventId],
    ) -> Result<Appended, StoreError> {
        if events.is_empty() && erase.is_empty() {
            return Ok(Appended { erased: true });
        }
        let (events, erase) = (events.to_vec(), erase.to_vec());
        let erases = !erase.is_empty();
        // Before anything else: the session may have to be opened, and asks what is there.
        self.link.write_ready()?;
        let known = self.link.known().clone();
        let now = self.link.write(move |client| async move {
            append::append(&client, &events, &erase, known).await
        })?;
        *self.link.known() = now;
        self.erased.fetch_or(erases, Ordering::Relaxed);
        Ok(Appended { erased: true })
    }

    fn get(&self, id: &EventId) -> Result<Option<Arc<StoredEvent>>, StoreError> {
        let id = *id;
        self.link.read(move |client| async move {
            let row = client
                .query_opt(
                    "SELECT record FROM events WHERE id8 = $1 AND id = $2",
                    &[&number(id.as_bytes()), &id.as_bytes().as_slice()],
                )
                .await?;
            match row {
                Some(row) => Ok(Some(Arc::new(StoredEvent::decode(row.try_get(0)?)?))),
                None => Ok(None),
            }
        })
    }

    fn query(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        if crate::matching::matches_nothing(query.filter) || query.limit == 0 {
            return Ok(Page::default());
        }
        let search = Search::of(query.filter);
        let Some((sql, words)) = self.statement(query, search.as_ref()) else {
            return Ok(Page::default());
        };
        let mut candidates = self.candidates(sql, words)?;
        let mut more = candidates.len() > query.limit;
        candidates.truncate(query.limit);
        let mut page = Page::default();
        let (mut bytes, mut last) = (0, None);
        let mut rest = candidates.as_slice();
        'page: while !rest.is_empty() {
            let mut room = FETCHED;
            let mut count = 0;
            for candidate in rest {
                count += 1;
                room = room.saturating_sub(usize::try_from(candidate.size).unwrap_or(0));
                if room == 0 {
                    break;
                }
            }
            let (now, later) = rest.split_at(count);
            rest = later;
            let mut events = self.fetch(now.iter().map(|candidate| candidate.seq).collect())?;
            for candidate in now {
                if bytes >= query.bytes {
                    more = true;
                    break 'page;
                }
                // One that is missing was erased or replaced meanwhile.
                let Some(event) = events.remove(&candidate.seq) else {
                    continue;
                };
                last = Some(Cursor {
                    created_at: candidate.created_at.unsigned_abs(),
                    id: event.event.id,
                });
                if answers(&event, query, search.as_ref()) {
                    bytes += event.cost();
                    page.events.push(Arc::new(event));
                }
            }
        }
        page.next = last.filter(|_| more);
        Ok(page)
    }

    fn has_prefix(&self, channel: &ChannelId, prefix: [u8; 4]) -> Result<bool, StoreError> {
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        low[..4].copy_from_slice(&prefix);
        high[..4].copy_from_slice(&prefix);
        let channel8 = channel_number(channel);
        self.link.read(move |client| async move {
            let row = client
                .query_one(
                    "SELECT EXISTS (SELECT 1 FROM events WHERE id8 BETWEEN $1 AND $2 AND channel8 = $3)",
                    &[&number(&low), &number(&high), &channel8],
                )
                .await?;
            Ok(row.try_get(0)?)
        })
    }

    fn replay(&self, kinds: &[u16], each: &mut dyn FnMut(&StoredEvent)) -> Result<(), StoreError> {
        let kinds: Vec<i32> = kinds.iter().copied().map(i32::from).collect();
        let mut after = 0_i64;
        loop {
            let kinds = kinds.clone();
            let events: Vec<(i64, StoredEvent)> = self.link.read(move |client| {
                let kinds = kinds.clone();
                async move {
                    let rows = client
                        .query(
                            "SELECT seq, record FROM events WHERE kind = ANY($1) AND seq > $2 ORDER BY seq LIMIT $3",
                            &[&kinds, &after, &REPLAYED],
                        )
                        .await?;
                    rows.iter().map(numbered).collect()
                }
            })?;
            events.iter().for_each(|(_, event)| each(event));
            match events.last() {
                Some((seq, _)) => after = *seq,
                None => return Ok(()),
            }
        }
    }

    fn walk(&self, part: u32) -> Result<Walked, StoreError> {
        let first = i64::from(part) * PART;
        let events: Vec<(i64, StoredEvent)> = self.link.read(move |client| async move {
            let Some(begin) = client
                .query_one("SELECT min(seq) FROM events WHERE seq >= $1", &[&first])
                .await?
                .try_get::<_, Option<i64>>(0)?
            else {
                return Ok(Vec::new());
            };
            let begin = begin - begin % PART;
            let rows = client
                .query(
                    "SELECT seq, record FROM events WHERE seq >= $1 AND seq < $2 ORDER BY seq",
                    &[&begin, &(begin + PART)],
                )
                .await?;
            rows.iter().map(numbered).collect()
        })?;
        let next = events
            .first()
            .map(|(seq, _)| u32::try_from(seq / PART + 1))
            .transpose()
            .map_err(|_| {
                Trouble::Refused("there are more events than can be walked over".into())
            })?;
        Ok(Walked {
            events: events
                .into_iter()
                .map(|(_, event)| Arc::new(event))
                .collect(),
            next,
        })
    }

    fn expired(&self, now: u64, limit: usize) -> Result<Vec<EventId>, StoreError> {
        let (now, limit) = (seconds(now), i64::try_from(limit).unwrap_or(i64::MAX));
        self.link.read(move |client| async move {
            let rows = client
                .query(
                    "SELECT id FROM events WHERE expires <= $1 LIMIT $2",
                    &[&now, &limit],
                )
                .await?;
            let id = |row: &Row| -> Result<Option<EventId>, Trouble> {
                let id: &[u8] = row.try_get(0)?;
                Ok(<[u8; 32]>::try_from(id).ok().map(EventId::from_byte_array))
            };
            rows.iter().filter_map(|row| id(row).transpose()).collect()
        })
    }

    fn maintain(&self) -> Result<(), StoreError> {
        if self.erased.swap(false, Ordering::Relaxed)
            && let Err(error) = self.forget()
        {
            self.erased.store(true, Ordering::Relaxed);
            return Err(error);
        }
        Ok(())
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep::Little
    }

    fn stats(&self) -> Stats {
        let known = self.link.known();
        Stats {
            events: known.events.unsigned_abs(),
            bytes: known.bytes.unsigned_abs(),
        }
    }

    fn close(&self) {
        self.link.close();
    }
}
