//! What people take back: single events (NIP-09), or all they wrote (NIP-62). It is remembered, because it may come again
//! by another way.

use nostr::event::{Event, EventId};
use rusqlite::{Connection, params};

use super::{Freed, remove};
use crate::feed::references::FOLLOWS;

/// Deletions that are remembered, of all and of one person.
const GONE: i64 = 50_000;
const GONE_OF_ONE: i64 = 2000;
/// Requests to vanish that are remembered.
const VANISHED: i64 = 20_000;
/// Events that one request to delete names.
const DELETIONS: usize = 100;

/// Carries out a request to delete: of the author's own events, also of those that are not here yet.
pub fn delete(tables: &Connection, request: &Event) -> rusqlite::Result<Freed> {
    let author = request.pubkey.as_bytes();
    let mut freed = Freed::default();
    let tags = |name| request.tags.iter().filter(move |tag| tag.kind() == name);
    for id in tags("e")
        .take(DELETIONS)
        .filter_map(|tag| EventId::from_hex(tag.content()?).ok())
    {
        let own = "SELECT id FROM events WHERE id = ?1 AND author = ?2";
        freed.add(remove(tables, own, &[id.as_bytes(), author])?);
        tables
            .prepare_cached("INSERT OR IGNORE INTO gone VALUES (?1, ?2)")?
            .execute(params![id.as_bytes(), author])?;
    }
    for address in tags("a").take(DELETIONS).filter_map(|tag| tag.content()) {
        let mut parts = address.splitn(3, ':');
        let (Some(kind), Some(whose), Some(d)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Ok(kind) = kind.parse::<u16>() else {
            continue;
        };
        if whose == request.pubkey.to_hex() {
            let own = "SELECT id FROM events WHERE author = ?1 AND kind = ?2 AND d = ?3 AND created_at <= ?4";
            let at = request.created_at.as_secs().cast_signed();
            freed.add(remove(tables, own, &[author, &kind, &d, &at])?);
        }
    }
    for (whose, most) in [("author = ?1", GONE_OF_ONE), ("?1 IS NOT NULL", GONE)] {
        let old = format!(
            "DELETE FROM gone WHERE {whose} AND rowid <= (SELECT rowid FROM gone WHERE {whose} ORDER BY rowid DESC LIMIT 1 OFFSET {most})"
        );
        tables.prepare_cached(&old)?.execute([author])?;
    }
    Ok(freed)
}

/// Carries out a request to vanish: everything that its author wrote until then goes, and does not come back.
pub fn vanish(tables: &Connection, request: &Event) -> rusqlite::Result<Freed> {
    let author = request.pubkey.as_bytes();
    let until = request.created_at.as_secs().cast_signed();
    let freed = remove(
        tables,
        "SELECT id FROM events WHERE author = ?1 AND created_at <= ?2",
        &[author, &until],
    )?;
    tables.execute(
        "DELETE FROM follows WHERE person = ?1
            AND NOT EXISTS (SELECT 1 FROM events WHERE author = ?1 AND kind = ?2)",
        params![author, FOLLOWS],
    )?;
    // The newest request is the last row, so that those of long ago are forgotten first.
    tables.execute("DELETE FROM vanished WHERE author = ?1", [author])?;
    tables.execute(
        "INSERT INTO vanished VALUES (?1, ?2)",
        params![author, until],
    )?;
    tables.execute(
        &format!(
            "DELETE FROM vanished WHERE rowid <= (SELECT rowid FROM vanished ORDER BY rowid DESC LIMIT 1 OFFSET {VANISHED})"
        ),
        [],
    )?;
    Ok(freed)
}
