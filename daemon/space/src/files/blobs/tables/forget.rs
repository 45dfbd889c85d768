//! What the tables forget of somebody who vanishes (NIP-62).

use nostr::event::Event;
use nostr::key::PublicKey;
use rusqlite::params;

use super::{BlobError, FileHash, Tables};

impl Tables {
    /// Whether there is anything of a person.
    pub fn knows(&self, person: &PublicKey) -> Result<bool, BlobError> {
        let known = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM rights WHERE uploader = ?1)
                 OR EXISTS (SELECT 1 FROM unfinished WHERE uploader = ?1)
                 OR EXISTS (SELECT 1 FROM reports WHERE reporter = ?1)",
            [person.to_bytes()],
            |row| row.get(0),
        )?;
        Ok(known)
    }

    /// Removes what a person uploaded, began to upload and complained about up to a second: the files that have no right
    /// left, and the numbers of the unfinished uploads. When it returns, the tables hold nothing of it.
    pub fn forget_person(
        &mut self,
        person: &PublicKey,
        until: u64,
    ) -> Result<(Vec<FileHash>, Vec<i64>), BlobError> {
        let key = person.to_bytes();
        let files = self.remove_where(
            &format!("uploader = ?1 AND uploaded <= {}", until.cast_signed()),
            &key,
        )?;
        let unfinished: Vec<(i64, i64)> = self
            .connection
            .prepare(
                "DELETE FROM unfinished WHERE uploader = ?1 AND touched <= ?2 RETURNING id, size",
            )?
            .query_map(params![key, until.cast_signed()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        for (_, size) in &unfinished {
            self.total.unfinished -= 1;
            self.total.unfinished_bytes -= size.cast_unsigned();
        }
        let reports: Vec<(i64, String)> = self
            .connection
            .prepare("SELECT seq, event FROM reports WHERE reporter = ?1")?
            .query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (seq, event) in reports {
            let event: Result<Event, _> = serde_json::from_str(&event);
            if event.is_ok_and(|event| event.created_at.as_secs() > until) {
                continue;
            }
            self.connection
                .execute("DELETE FROM reports WHERE seq = ?1", [seq])?;
        }
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok((files, unfinished.into_iter().map(|(id, _)| id).collect()))
    }
}
