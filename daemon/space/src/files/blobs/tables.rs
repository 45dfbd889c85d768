//! What is known of the files, in a SQLite database of its own. It is the truth, not an index: every change is a
//! transaction that is on disk before it is acknowledged.

mod forget;

use std::path::Path;

use nostr::key::PublicKey;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{BlobError, FileHash, Report, Right, Unfinished, UploadKey, Usage};
use crate::record::ChannelId;

/// The shape of the tables.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE files (hash BLOB PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE rights (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, uploader BLOB NOT NULL, channel TEXT NOT NULL,
  type TEXT NOT NULL, uploaded INTEGER NOT NULL, UNIQUE (hash, channel, uploader));
CREATE INDEX rights_uploader ON rights (uploader, uploaded DESC, hash);
CREATE INDEX rights_channel ON rights (channel);
CREATE INDEX rights_uploaded ON rights (uploaded);
CREATE TABLE unfinished (id INTEGER PRIMARY KEY AUTOINCREMENT, uploader BLOB NOT NULL, hash BLOB NOT NULL,
  channel TEXT NOT NULL, type TEXT NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL, touched INTEGER NOT NULL,
  UNIQUE (uploader, hash, channel));
CREATE TABLE deletions (channel TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE reports (seq INTEGER PRIMARY KEY, event_id BLOB NOT NULL, hash BLOB NOT NULL, reporter BLOB NOT NULL,
  event TEXT NOT NULL, UNIQUE (event_id, hash));
CREATE INDEX reports_reporter ON reports (reporter);
";

const RIGHT: &str = "r.hash, f.size, r.uploader, r.channel, r.type, r.uploaded";
const RIGHTS: &str = "rights r JOIN files f ON f.hash = r.hash";

/// The open tables, and sums that would be slow to ask for.
#[derive(Debug)]
pub struct Tables {
    connection: Connection,
    total: Usage,
}

/// An unfinished upload with its number, which names its file.
#[derive(Debug)]
pub struct Numbered {
    /// The number.
    pub id: i64,
    /// What is known of it.
    pub upload: Unfinished,
}

fn channel_text(channel: Option<&ChannelId>) -> &str {
    channel.map_or("", ChannelId::as_str)
}

fn bytes32(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; 32]> {
    row.get(column)
}

fn person(row: &Row<'_>, column: usize) -> rusqlite::Result<PublicKey> {
    bytes32(row, column).map(PublicKey::from_byte_array)
}

fn read_right(row: &Row<'_>) -> rusqlite::Result<Right> {
    let channel: String = row.get(3)?;
    Ok(Right {
        hash: FileHash::from_bytes(bytes32(row, 0)?),
        size: row.get::<_, i64>(1)?.cast_unsigned(),
        uploader: person(row, 2)?,
        channel: ChannelId::parse(&channel),
        media_type: row.get(4)?,
        uploaded: row.get::<_, i64>(5)?.cast_unsigned(),
    })
}

impl Tables {
    /// Opens the tables, or makes them.
    pub fn open(path: &Path) -> Result<Self, BlobError> {
        let connection = Connection::open(path)?;
        // As for the index of events: before the first access, so that no shared memory is needed.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "cache_size", -256)?; // KiB
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        // Each transaction is synced: this is the truth, there is no journal behind it.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?; // what people said is overwritten when it goes
        connection.set_prepared_statement_cache_capacity(16);
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
        } else if version != VERSION {
            return Err(BlobError::Newer(version, VERSION));
        }
        let sum = |sql: &str| {
            connection.query_row(sql, [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
        };
        let (files, bytes) = sum("SELECT count(*), coalesce(sum(size), 0) FROM files")?;
        let (unfinished, more) = sum("SELECT count(*), coalesce(sum(size), 0) FROM unfinished")?;
        let total = Usage {
            files: files.cast_unsigned(),
            bytes: bytes.cast_unsigned(),
            unfinished: unfinished.cast_unsigned(),
            unfinished_bytes: more.cast_unsigned(),
        };
        Ok(Self { connection, total })
    }

    /// Closes the file, whoever still holds the tables: a lock that stays would keep the next one out.
    pub fn close(&mut self) {
        match Connection::open_in_memory() {
            // Without tables: what is asked of it from now on is an error.
            Ok(nothing) => self.connection = nothing,
            Err(error) => log::warn!("the tables of files stay open: {error}"),
        }
    }

    /// Whether a file is known.
    pub fn has(&self, hash: &FileHash) -> Result<bool, BlobError> {
        let mut asked = self
            .connection
            .prepare_cached("SELECT 1 FROM files WHERE hash = ?1")?;
        Ok(asked.exists([hash.as_bytes()])?)
    }

    /// Adds a right, and the file when it is new. A right that is there keeps its date and type. The unfinished upload
    /// that became the file goes.
    pub fn add(&mut self, right: &Right, unfinished: Option<i64>) -> Result<(), BlobError> {
        let transaction = self.connection.transaction()?;
        let mut total = self.total;
        let size = right.size.cast_signed();
        let new = transaction.execute(
            "INSERT OR IGNORE INTO files VALUES (?1, ?2)",
            params![right.hash.as_bytes(), size],
        )?;
        total.files += new as u64;
        total.bytes += new as u64 * right.size;
        transaction.execute(
            "INSERT OR IGNORE INTO rights (hash, uploader, channel, type, uploaded) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                right.hash.as_bytes(),
                right.uploader.to_bytes(),
                channel_text(right.channel.as_ref()),
                right.media_type,
                right.uploaded.cast_signed()
            ],
        )?;
        if let Some(id) = unfinished {
            let gone = transaction.execute("DELETE FROM unfinished WHERE id = ?1", [id])?;
            total.unfinished -= gone as u64;
            total.unfinished_bytes -= gone as u64 * right.size;
        }
        transaction.commit()?;
        self.total = total;
        Ok(())
    }

    /// Calls `each` for all rights in the order in which they came.
    pub fn every_right(
        &self,
        each: &mut dyn FnMut(Right) -> Result<(), BlobError>,
    ) -> Result<(), BlobError> {
        let sql = format!("SELECT {RIGHT} FROM {RIGHTS} ORDER BY r.seq");
        let mut asked = self.connection.prepare(&sql)?;
        for right in asked.query_map([], read_right)? {
            each(right?)?;
        }
        Ok(())
    }

    /// The first right in each channel.
    pub fn rights(&self, hash: &FileHash) -> Result<Vec<Right>, BlobError> {
        // Of the rows of one group, SQLite gives the other columns from the row that has the minimum.
        let sql = format!(
            "SELECT {RIGHT}, min(r.seq) FROM {RIGHTS} WHERE r.hash = ?1 GROUP BY r.channel ORDER BY r.channel"
        );
        let mut asked = self.connection.prepare_cached(&sql)?;
        let rows = asked.query_map([hash.as_bytes()], read_right)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One right.
    pub fn right(&self, key: &UploadKey) -> Result<Option<Right>, BlobError> {
        let sql = format!(
            "SELECT {RIGHT} FROM {RIGHTS} WHERE r.hash = ?1 AND r.uploader = ?2 AND r.channel = ?3"
        );
        let mut asked = self.connection.prepare_cached(&sql)?;
        let found = asked.query_row(
            params![
                key.hash.as_bytes(),
                key.uploader.to_bytes(),
                channel_text(key.channel.as_ref())
            ],
            read_right,
        );
        Ok(found.optional()?)
    }

    /// A person's rights, newest first, while `each` wants more.
    pub fn uploaded_by(
        &self,
        person: &PublicKey,
        each: &mut dyn FnMut(Right) -> bool,
    ) -> Result<(), BlobError> {
        let sql = format!(
            "SELECT {RIGHT} FROM {RIGHTS} WHERE r.uploader = ?1 ORDER BY r.uploaded DESC, r.hash"
        );
        let mut asked = self.connection.prepare_cached(&sql)?;
        let mut rows = asked.query([person.to_bytes()])?;
        while let Some(row) = rows.next()? {
            if !each(read_right(row)?) {
                break;
            }
        }
        Ok(())
    }

    /// Removes the rights to a file that `which` names: how many, and whether the file has none left.
    pub fn remove(
        &mut self,
        hash: &FileHash,
        which: &mut dyn FnMut(&Right) -> bool,
    ) -> Result<(usize, Vec<FileHash>), BlobError> {
        let mut seqs: Vec<i64> = Vec::new();
        {
            let sql = format!("SELECT {RIGHT}, r.seq FROM {RIGHTS} WHERE r.hash = ?1");
            let mut asked = self.connection.prepare_cached(&sql)?;
            let mut rows = asked.query([hash.as_bytes()])?;
            while let Some(row) = rows.next()? {
                if which(&read_right(row)?) {
                    seqs.push(row.get(6)?);
                }
            }
        }
        if seqs.is_empty() {
            return Ok((0, Vec::new()));
        }
        let transaction = self.connection.transaction()?;
        for seq in &seqs {
            transaction.execute("DELETE FROM rights WHERE seq = ?1", [seq])?;
        }
        let (gone, total) = drop_orphans(&transaction, &[*hash], self.total)?;
        transaction.commit()?;
        self.total = total;
        Ok((seqs.len(), gone))
    }

    /// Removes rights by a condition; the files that have none left.
    fn remove_where(
        &mut self,
        condition: &str,
        value: &dyn ToSql,
    ) -> Result<Vec<FileHash>, BlobError> {
        let transaction = self.connection.transaction()?;
        let hashes: Vec<FileHash> = transaction
            .prepare(&format!(
                "SELECT DISTINCT hash FROM rights WHERE {condition}"
            ))?
            .query_map([value], |row| bytes32(row, 0).map(FileHash::from_bytes))?
            .collect::<Result<_, _>>()?;
        if hashes.is_empty() {
            return Ok(hashes);
        }
        transaction.execute(&format!("DELETE FROM rights WHERE {condition}"), [value])?;
        let (gone, total) = drop_orphans(&transaction, &hashes, self.total)?;
        transaction.commit()?;
        self.total = total;
        Ok(gone)
    }

    /// Removes rights from before a second; the files that have none left.
    pub fn remove_older(&mut self, before: u64) -> Result<Vec<FileHash>, BlobError> {
        self.remove_where("uploaded < ?1", &before.cast_signed())
    }

    /// Removes a channel's rights; the files that have none left.
    pub fn remove_channel(&mut self, channel: &ChannelId) -> Result<Vec<FileHash>, BlobError> {
        self.remove_where("channel = ?1", &channel.as_str())
    }

    /// How many deletions of a channel were acted on.
    pub fn deletions(&self, channel: &ChannelId) -> Result<u32, BlobError> {
        let sql = "SELECT count FROM deletions WHERE channel = ?1";
        let found = self
            .connection
            .query_row(sql, [channel.as_str()], |row| row.get(0));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// Notes how many deletions of a channel were acted on.
    pub fn set_deletions(&self, channel: &ChannelId, count: u32) -> Result<(), BlobError> {
        self.connection.execute(
            "INSERT OR REPLACE INTO deletions VALUES (?1, ?2)",
            params![channel.as_str(), count],
        )?;
        Ok(())
    }

    /// One unfinished upload.
    pub fn unfinished(&self, key: &UploadKey) -> Result<Option<Numbered>, BlobError> {
        let mut asked = self.connection.prepare_cached(
            "SELECT id, kept, size, type FROM unfinished WHERE uploader = ?1 AND hash = ?2 AND channel = ?3",
        )?;
        let found = asked.query_row(
            params![
                key.uploader.to_bytes(),
                key.hash.as_bytes(),
                channel_text(key.channel.as_ref())
            ],
            |row| {
                Ok(Numbered {
                    id: row.get(0)?,
                    upload: Unfinished {
                        kept: row.get::<_, i64>(1)?.cast_unsigned(),
                        size: row.get::<_, i64>(2)?.cast_unsigned(),
                        media_type: row.get(3)?,
                    },
                })
            },
        );
        Ok(found.optional()?)
    }

    /// Begins an upload that can be resumed; its number.
    pub fn begin(
        &mut self,
        key: &UploadKey,
        size: u64,
        media_type: &str,
        now: u64,
    ) -> Result<i64, BlobError> {
        self.connection.execute(
            "INSERT INTO unfinished (uploader, hash, channel, type, size, kept, touched) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
            params![
                key.uploader.to_bytes(),
                key.hash.as_bytes(),
                channel_text(key.channel.as_ref()),
                media_type,
                size.cast_signed(),
                now.cast_signed()
            ],
        )?;
        self.total.unfinished += 1;
        self.total.unfinished_bytes += size;
        Ok(self.connection.last_insert_rowid())
    }

    /// Notes how much of an upload is safe.
    pub fn keep(&self, id: i64, kept: u64, now: u64) -> Result<(), BlobError> {
        self.connection.execute(
            "UPDATE unfinished SET kept = ?2, touched = ?3 WHERE id = ?1",
            params![id, kept.cast_signed(), now.cast_signed()],
        )?;
        Ok(())
    }

    /// Gives unfinished uploads up: by number, by channel, or by age. Their numbers.
    pub fn abandon(
        &mut self,
        id: Option<i64>,
        channel: Option<&ChannelId>,
        before: u64,
    ) -> Result<Vec<i64>, BlobError> {
        let gone: Vec<(i64, i64)> = self
            .connection
            .prepare_cached(
                "DELETE FROM unfinished WHERE id = :id OR channel = :channel OR touched < :before
                 RETURNING id, size",
            )?
            .query_map(
                named_params! {
                    ":id": id,
                    ":channel": channel.map(ChannelId::as_str),
                    ":before": before.cast_signed()
                },
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<Result<_, _>>()?;
        for (_, size) in &gone {
            self.total.unfinished -= 1;
            self.total.unfinished_bytes -= size.cast_unsigned();
        }
        Ok(gone.into_iter().map(|(id, _)| id).collect())
    }

    /// The numbers of all unfinished uploads.
    pub fn unfinished_ids(&self) -> Result<Vec<i64>, BlobError> {
        let mut asked = self.connection.prepare("SELECT id FROM unfinished")?;
        let rows = asked.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a person has.
    pub fn usage(&self, person: &PublicKey) -> Result<Usage, BlobError> {
        let sum = |sql: &str| {
            self.connection
                .prepare_cached(sql)?
                .query_row([person.to_bytes()], |row| {
                    Ok((
                        row.get::<_, i64>(0)?.cast_unsigned(),
                        row.get::<_, i64>(1)?.cast_unsigned(),
                    ))
                })
        };
        let (files, bytes) = sum(
            "SELECT count(*), coalesce(sum(size), 0) FROM files WHERE hash IN
             (SELECT hash FROM rights WHERE uploader = ?1)",
        )?;
        let (unfinished, unfinished_bytes) =
            sum("SELECT count(*), coalesce(sum(size), 0) FROM unfinished WHERE uploader = ?1")?;
        Ok(Usage {
            files,
            bytes,
            unfinished,
            unfinished_bytes,
        })
    }

    /// What there is in all.
    pub fn total(&self) -> Usage {
        self.total
    }

    /// Keeps a report, see `Blobs::report`.
    pub fn report(&mut self, report: &Report, most: usize, all: usize) -> Result<(), BlobError> {
        let transaction = self.connection.transaction()?;
        let theirs: i64 = transaction.query_row(
            "SELECT count(*) FROM reports WHERE reporter = ?1",
            [report.reporter.to_bytes()],
            |row| row.get(0),
        )?;
        if theirs.cast_unsigned() >= most as u64 {
            return Ok(());
        }
        transaction.execute(
            "INSERT OR IGNORE INTO reports (event_id, hash, reporter, event) VALUES (?1, ?2, ?3, ?4)",
            params![
                report.event_id,
                report.hash.as_bytes(),
                report.reporter.to_bytes(),
                report.event
            ],
        )?;
        transaction.execute(
            "DELETE FROM reports WHERE seq NOT IN (SELECT seq FROM reports ORDER BY seq DESC LIMIT ?1)",
            [i64::try_from(all).unwrap_or(i64::MAX)],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The reports, newest first.
    pub fn reports(&self) -> Result<Vec<Report>, BlobError> {
        let mut asked = self
            .connection
            .prepare("SELECT hash, event_id, reporter, event FROM reports ORDER BY seq DESC")?;
        let rows = asked.query_map([], |row| {
            Ok(Report {
                hash: FileHash::from_bytes(bytes32(row, 0)?),
                event_id: bytes32(row, 1)?,
                reporter: person(row, 2)?,
                event: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Forgets those of the files that nobody has a right to; with the sums without them. Reports about them go too.
fn drop_orphans(
    connection: &Connection,
    hashes: &[FileHash],
    mut total: Usage,
) -> rusqlite::Result<(Vec<FileHash>, Usage)> {
    let mut gone = Vec::new();
    for hash in hashes {
        let size: Option<i64> = connection
            .prepare_cached(
                "DELETE FROM files WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM rights WHERE hash = ?1)
                 RETURNING size",
            )?
            .query_row([hash.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(size) = size {
            connection.execute("DELETE FROM reports WHERE hash = ?1", [hash.as_bytes()])?;
            total.files -= 1;
            total.bytes -= size.cast_unsigned();
            gone.push(*hash);
        }
    }
    Ok((gone, total))
}
