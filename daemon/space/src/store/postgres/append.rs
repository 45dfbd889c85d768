//! Writing: what a batch comes to, and how it gets into the tables in one transaction.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use nostr::event::EventId;
use tokio_postgres::{Client, Row};

use super::link::{Known, Trouble};
use super::seconds;
use super::words::lexemes;
use crate::record::StoredEvent;
use crate::store::index::{channel_number, number, tag_numbers};
use crate::store::tail::address;

/// The version of a replaceable event that is there.
#[derive(Clone)]
struct Present {
    created_at: i64,
    id: Vec<u8>,
    place: Place,
}

/// Where it is.
#[derive(Clone, Copy)]
enum Place {
    /// In the tables, with its size.
    Stored(i64, i32),
    /// In this batch.
    New(usize),
}

/// Columns of the new events, and what goes.
#[derive(Default)]
struct Change {
    seq: Vec<i64>,
    id: Vec<Vec<u8>>,
    id8: Vec<i64>,
    author8: Vec<i64>,
    kind: Vec<i32>,
    created_at: Vec<i64>,
    channel8: Vec<Option<i64>>,
    expires: Vec<Option<i64>>,
    address8: Vec<Option<i64>>,
    size: Vec<i32>,
    record: Vec<Vec<u8>>,
    /// Words with spaces between them; none: the event has no text.
    words: Vec<Option<String>>,
    tag8: Vec<i64>,
    tag_created_at: Vec<i64>,
    tag_seq: Vec<i64>,
    /// Numbers and sizes of older versions.
    gone: Vec<(i64, i32)>,
}

impl Change {
    /// What is new among the events, without what is there in a newer version.
    fn of(
        events: &[Arc<StoredEvent>],
        stored: &HashSet<Vec<u8>>,
        mut present: HashMap<i64, Present>,
        first: i64,
    ) -> Self {
        let mut wanted: Vec<Option<&StoredEvent>> = Vec::with_capacity(events.len());
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let mut change = Self::default();
        for event in events {
            let id = event.event.id.as_bytes().as_slice();
            if stored.contains(id) || !seen.insert(id) {
                continue;
            }
            if let Some(address) = address(event).map(u64::cast_signed) {
                let created_at = seconds(event.event.created_at.as_secs());
                if let Some(old) = present.get(&address) {
                    if (old.created_at, Reverse(old.id.as_slice())) > (created_at, Reverse(id)) {
                        continue;
                    }
                    match old.place {
                        Place::Stored(seq, size) => change.gone.push((seq, size)),
                        Place::New(n) => wanted[n] = None,
                    }
                }
                let new = Present {
                    created_at,
                    id: id.to_vec(),
                    place: Place::New(wanted.len()),
                };
                present.insert(address, new);
            }
            wanted.push(Some(event));
        }
        for (event, seq) in wanted.into_iter().flatten().zip(first..) {
            change.add(event, seq);
        }
        change
    }

    fn add(&mut self, event: &StoredEvent, seq: i64) {
        let mut record = Vec::new();
        event.encode(&mut record);
        let created_at = seconds(event.event.created_at.as_secs());
        self.seq.push(seq);
        self.id.push(event.event.id.as_bytes().to_vec());
        self.id8.push(number(event.event.id.as_bytes()));
        self.author8.push(number(event.event.pubkey.as_bytes()));
        self.kind.push(event.event.kind.as_u16().into());
        self.created_at.push(created_at);
        self.channel8
            .push(event.channel.as_ref().map(channel_number));
        self.expires.push(event.expires().map(seconds));
        self.address8.push(address(event).map(u64::cast_signed));
        self.size
            .push(i32::try_from(record.len()).unwrap_or(i32::MAX));
        self.record.push(record);
        self.words.push(lexemes(event));
        let tags: HashSet<i64> = tag_numbers(&event.event).collect();
        for tag in tags {
            self.tag8.push(tag);
            self.tag_created_at.push(created_at);
            self.tag_seq.push(seq);
        }
    }
}

/// Takes a batch in and erases, in one transaction. What is known afterwards.
pub async fn append(
    client: &Client,
    events: &[Arc<StoredEvent>],
    erase: &[EventId],
    mut known: Known,
) -> Result<Known, Trouble> {
    client.batch_execute("BEGIN").await?;
    let change = Change::of(
        events,
        &stored_ids(client, events).await?,
        present(client, events).await?,
        known.next_seq,
    );
    let mut gone = change.gone.clone();
    insert(client, &change).await?;
    if !erase.is_empty() {
        let numbers: Vec<i64> = erase.iter().map(|id| number(id.as_bytes())).collect();
        let ids: Vec<&[u8]> = erase.iter().map(|id| id.as_bytes().as_slice()).collect();
        let rows = client
            .query(
                "SELECT seq, size FROM events WHERE id8 = ANY($1) AND id = ANY($2)",
                &[&numbers, &ids],
            )
            .await?;
        for row in rows {
            gone.push((row.try_get(0)?, row.try_get(1)?));
        }
    }
    if !gone.is_empty() {
        let seqs: Vec<i64> = gone.iter().map(|(seq, _)| *seq).collect();
        for table in ["tags", "events"] {
            client
                .execute(
                    &format!("DELETE FROM {table} WHERE seq = ANY($1)"),
                    &[&seqs],
                )
                .await?;
        }
    }
    client.batch_execute("COMMIT").await?;
    let sum = |sizes: &mut dyn Iterator<Item = i32>| sizes.map(i64::from).sum::<i64>();
    known.next_seq += change.seq.len() as i64;
    known.events += change.seq.len() as i64 - gone.len() as i64;
    known.bytes += sum(&mut change.size.iter().copied()) - sum(&mut gone.iter().map(|gone| gone.1));
    let with_text = change.words.iter().zip(&change.channel8);
    for channel in with_text.filter_map(|(words, channel)| words.as_ref().and(*channel)) {
        if !known.channels.contains(&channel) {
            known.channels.push(channel);
        }
    }
    Ok(known)
}

/// Those of the ids that are there: written before, and not acknowledged.
async fn stored_ids(
    client: &Client,
    events: &[Arc<StoredEvent>],
) -> Result<HashSet<Vec<u8>>, Trouble> {
    let numbers: Vec<i64> = events
        .iter()
        .map(|event| number(event.event.id.as_bytes()))
        .collect();
    if numbers.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = client
        .query("SELECT id FROM events WHERE id8 = ANY($1)", &[&numbers])
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// The present versions of what the events would replace, by address.
async fn present(
    client: &Client,
    events: &[Arc<StoredEvent>],
) -> Result<HashMap<i64, Present>, Trouble> {
    let addresses: Vec<i64> = events
        .iter()
        .filter_map(|event| address(event).map(u64::cast_signed))
        .collect();
    if addresses.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = client
        .query(
            "SELECT address8, created_at, id, seq, size FROM events WHERE address8 = ANY($1)",
            &[&addresses],
        )
        .await?;
    let read = |row: &Row| -> Result<(i64, Present), tokio_postgres::Error> {
        let present = Present {
            created_at: row.try_get(1)?,
            id: row.try_get(2)?,
            place: Place::Stored(row.try_get(3)?, row.try_get(4)?),
        };
        Ok((row.try_get(0)?, present))
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

async fn insert(client: &Client, change: &Change) -> Result<(), Trouble> {
    if change.seq.is_empty() {
        return Ok(());
    }
    client
        .execute(
            "INSERT INTO events SELECT seq, id, id8, author8, kind, created_at, channel8, expires, address8, size, record,
               array_to_tsvector(string_to_array(words, ' '))
             FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::int[], $6::bigint[], $7::bigint[],
               $8::bigint[], $9::bigint[], $10::int[], $11::bytea[], $12::text[])
               AS new (seq, id, id8, author8, kind, created_at, channel8, expires, address8, size, record, words)",
            &[
                &change.seq,
                &change.id,
                &change.id8,
                &change.author8,
                &change.kind,
                &change.created_at,
                &change.channel8,
                &change.expires,
                &change.address8,
                &change.size,
                &change.record,
                &change.words,
            ],
        )
        .await?;
    client
        .execute(
            "INSERT INTO tags SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])",
            &[&change.tag8, &change.tag_created_at, &change.tag_seq],
        )
        .await?;
    Ok(())
}
