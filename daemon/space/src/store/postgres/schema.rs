//! The tables of one space on a PostgreSQL server, in a schema of their own, and how older ones become today's.
//!
//! They are those of the embedded index (whose tags know the ids, too) with the events in them: numbers of eight bytes where
//! an event has thirty-two, so that both stores are asked with nearly the same conditions; what is found is read whole, and
//! decides.

use tokio_postgres::Client;

use super::link::Trouble;

/// Each step makes the next version of what the one before left; the first makes the tables. A step that was released is
/// never changed: a new one is added.
///
/// | version | what is new |
/// |---|---|
/// | 1 | events, tags, meta |
const STEPS: [&str; 1] = ["
CREATE TABLE events (seq BIGINT PRIMARY KEY, id BYTEA NOT NULL, id8 BIGINT NOT NULL, author8 BIGINT NOT NULL,
  kind INTEGER NOT NULL, created_at BIGINT NOT NULL, channel8 BIGINT, expires BIGINT, address8 BIGINT,
  size INTEGER NOT NULL, record BYTEA NOT NULL, words TSVECTOR);
CREATE INDEX events_id ON events (id8);
CREATE INDEX events_author ON events (author8, created_at DESC, id8);
CREATE INDEX events_kind ON events (kind, created_at DESC, id8);
CREATE INDEX events_time ON events (created_at DESC, id8);
CREATE INDEX events_expires ON events (expires) WHERE expires IS NOT NULL;
CREATE INDEX events_address ON events (address8) WHERE address8 IS NOT NULL;
CREATE INDEX events_words ON events USING gin (words) WITH (fastupdate = off) WHERE words IS NOT NULL;
CREATE TABLE tags (tag8 BIGINT NOT NULL, created_at BIGINT NOT NULL, seq BIGINT NOT NULL,
  PRIMARY KEY (tag8, created_at, seq));
CREATE INDEX tags_seq ON tags (seq);
"];

/// The version this program writes.
pub const VERSION: i32 = STEPS.len() as i32;

/// What every session says first: answers go out when the server has synced its log.
pub const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '60s'; SET client_min_messages = warning;";

/// Makes the tables, or brings older ones up to date. The caller is the only one who writes.
pub async fn prepare(client: &Client, schema: &str) -> Result<(), Trouble> {
    let setting = async |name: &str| -> Result<String, Trouble> {
        let row = client.query_one(&format!("SHOW {name}"), &[]).await?;
        Ok(row.try_get(0)?)
    };
    if setting("server_encoding").await? != "UTF8" {
        return Err(Trouble::Refused(
            "the database is not in UTF-8; make one with `createdb -E UTF8 -T template0`".into(),
        ));
    }
    if setting("fsync").await? != "on" {
        return Err(Trouble::Refused(
            "the server runs with fsync = off, so it may lose what it said was safe; turn fsync on"
                .into(),
        ));
    }
    let there: bool = client
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)",
            &[&schema],
        )
        .await?
        .try_get(0)?;
    if !there {
        client
            .batch_execute(&format!(
                "BEGIN; CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema};
                 CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, life BIGINT NOT NULL);
                 INSERT INTO meta VALUES (1, 0, 0); COMMIT"
            ))
            .await?;
    }
    client
        .batch_execute(&format!("SET search_path TO {schema}"))
        .await?;
    let version: i32 = client
        .query_one("SELECT version FROM meta", &[])
        .await?
        .try_get(0)?;
    if version > VERSION {
        return Err(Trouble::Refused(format!(
            "a newer program made its tables (version {version}; this one knows {VERSION}); install that one again"
        )));
    }
    for (step, version) in STEPS
        .iter()
        .zip(1..)
        .skip(usize::try_from(version).unwrap_or(0))
    {
        client
            .batch_execute(&format!(
                "BEGIN; {step} UPDATE meta SET version = {version}; COMMIT"
            ))
            .await?;
    }
    Ok(())
}
