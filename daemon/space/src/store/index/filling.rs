//! Events on their way into the index, in steps of one transaction.

use rusqlite::{Connection, params};

use super::{
    BUSY, Index, LOG_PAGES, LOG_PAGES_OF_SEGMENT, channel_number, number, positions, remove,
    set_checkpoint, tag_numbers,
};
use crate::journal::Position;
use crate::record::StoredEvent;
use crate::store::index_search::Pending;
use crate::store::tail::{Waiting, address, newer};

/// Events on their way into the index.
pub struct Filling {
    seq: i64,
    change: i64,
    /// Their words.
    pub words: Pending,
}

impl Index {
    /// Begins to add events. Nobody else changes the index until [`Index::finish`] or [`Index::give_up`].
    pub fn begin(&mut self) -> rusqlite::Result<Filling> {
        self.wake(BUSY)?;
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Filling {
            seq: self.next_seq,
            change: 0,
            words: Pending::default(),
        })
    }

    /// Adds events; their words are gathered. `load` reads an event from the journal, to compare what a replaceable event
    /// replaces.
    pub fn add(
        &mut self,
        filling: &mut Filling,
        batch: &[Waiting],
        mut load: impl FnMut(Position) -> Option<StoredEvent>,
    ) -> rusqlite::Result<()> {
        let transaction = self.filling()?;
        let Filling { seq, change, words } = filling;
        for waiting in batch {
            let event = &*waiting.event;
            let place = waiting.written.position;
            let id8 = number(event.event.id.as_bytes());
            let same = if self.ids.may_have(id8) {
                positions(transaction, &event.event.id)?
            } else {
                Vec::new()
            };
            if same.contains(&place) {
                continue; // replayed
            }
            if same
                .into_iter()
                .filter_map(&mut load)
                .any(|old| old.event.id == event.event.id)
            {
                dead(transaction, place.segment, waiting.written.length)?;
                continue; // written twice, because the first time was not acknowledged
            }
            let address = address(event).map(u64::cast_signed);
            if let Some(address) = address {
                let old: Vec<(i64, u32, u32, u32)> = transaction
                    .prepare_cached(
                        "SELECT seq, segment, offset, length FROM events WHERE address8 = ?",
                    )?
                    .query_map([address], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect::<Result<_, _>>()?;
                let mut superseded = false;
                for (old_seq, segment, offset, length) in old {
                    let old_place = Position { segment, offset };
                    let Some(old) = load(old_place) else { continue };
                    if newer(&old, event) {
                        superseded = true;
                    } else {
                        remove(transaction, old_seq, &old, words)?;
                        dead(transaction, segment, length)?;
                        replaced(transaction, address, old_place)?;
                        *change -= 1;
                    }
                }
                if superseded {
                    dead(transaction, place.segment, waiting.written.length)?;
                    replaced(transaction, address, place)?;
                    continue;
                }
            }
            let created_at = i64::try_from(event.event.created_at.as_secs()).unwrap_or(i64::MAX);
            transaction
                .prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
                .execute(params![
                    *seq,
                    id8,
                    number(event.event.pubkey.as_bytes()),
                    event.event.kind.as_u16(),
                    created_at,
                    event.channel.as_ref().map(channel_number),
                    event
                        .expires()
                        .map(|time| i64::try_from(time).unwrap_or(i64::MAX)),
                    address,
                    place.segment,
                    place.offset,
                    waiting.written.length,
                ])?;
            for tag in tag_numbers(&event.event) {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO tags VALUES (?, ?, ?, ?)")?
                    .execute(params![tag, created_at, id8, *seq])?;
            }
            self.ids.add(id8);
            words.add(event, *seq);
            *seq += 1;
            *change += 1;
        }
        Ok(())
    }

    /// Writes the words of some events; `true` when all are written.
    pub fn add_words(&mut self, filling: &mut Filling, most: usize) -> rusqlite::Result<bool> {
        let connection = self.filling()?;
        filling.words.write_some(connection, most)
    }

    /// Makes what was added count, with the place up to which the journal is now covered.
    pub fn finish(&mut self, filling: Filling, covered: Position) -> rusqlite::Result<()> {
        let connection = self.filling()?;
        set_checkpoint(connection, covered)?;
        let (least, most) = LOG_PAGES;
        let pages = covered.segment.saturating_mul(LOG_PAGES_OF_SEGMENT);
        connection.pragma_update(None, "wal_autocheckpoint", pages.clamp(least, most))?;
        connection.execute_batch("COMMIT")?;
        self.next_seq = filling.seq;
        self.events = self.events.saturating_add_signed(filling.change);
        Ok(())
    }

    /// Nothing was added.
    pub fn give_up(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            log::error!("the index does not take back what was half done: {error}");
        }
    }

    /// The connection, in the transaction that [`Index::begin`] began. After some errors SQLite has taken it back by itself:
    /// then nothing may be added alone.
    fn filling(&self) -> rusqlite::Result<&Connection> {
        if self.connection.is_autocommit() {
            return Err(rusqlite::Error::InvalidQuery);
        }
        Ok(&self.connection)
    }
}

fn dead(connection: &Connection, segment: u32, bytes: u32) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO segments VALUES (?, 0, ?) ON CONFLICT (number) DO UPDATE SET dead = dead + excluded.dead")?
        .execute(params![segment, bytes])?;
    Ok(())
}

fn replaced(connection: &Connection, address: i64, place: Position) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO replaced VALUES (?, ?, ?)")?
        .execute(params![address, place.segment, place.offset])?;
    Ok(())
}
