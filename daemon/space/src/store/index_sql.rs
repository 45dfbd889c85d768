//! How a filter becomes SQL over the index's numbers, for SQLite and PostgreSQL. The text says only what kind of question it
//! is, so that a server reads it once for all questions of that kind; the numbers go beside it, and foreign words nowhere.

use std::collections::BTreeSet;
use std::fmt::Write;

use nostr::event::Kind;
use nostr::filter::{Filter, SingleLetterTag};

use super::Query;
use super::index::{channel_number, number, tag_number};
use super::tail::address_of;
use crate::vanish;

/// Addresses of replaceable events that are looked for one by one.
const ADDRESSES: usize = 1024;

/// What the embedded index is asked for.
pub const COLUMNS: &str = "e.created_at, e.id8, e.segment, e.offset";

/// Who reads the SQL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Is told which index to walk: without statistics it often takes one that has nearly everything. Its tags know the
    /// ids, so that walking them meets events of one second in their order.
    Sqlite,
    /// Has statistics.
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A piece of SQL with the numbers that stand where it has question marks.
#[derive(Default)]
pub struct Sql {
    /// The text.
    pub text: String,
    /// The numbers, in order.
    pub values: Vec<i64>,
}

impl Sql {
    /// Adds text and the number of the one question mark at its end.
    fn add(&mut self, text: std::fmt::Arguments<'_>, value: i64) {
        let _ = write!(self.text, "{text}?");
        self.values.push(value);
    }

    /// The text with the numbers in their places.
    #[cfg(feature = "postgres")]
    pub fn whole(&self) -> String {
        let mut values = self.values.iter();
        let mut whole = String::with_capacity(self.text.len() * 2);
        for part in self.text.split_inclusive('?') {
            match (
                part.strip_suffix('?'),
                part.ends_with('?').then(|| values.next()).flatten(),
            ) {
                (Some(before), Some(value)) => {
                    let _ = write!(whole, "{before}{value}");
                }
                _ => whole.push_str(part),
            }
        }
        whole
    }

    /// Adds that a column has one of these values.
    fn one_of(&mut self, column: &str, values: &[i64]) {
        let _ = write!(self.text, " AND {column} IN (");
        for n in 0..values.len() {
            self.text.push_str(if n == 0 { "?" } else { ",?" });
        }
        self.text.push(')');
        self.values.extend(values);
    }
}

/// One statement for each value of the list that narrows the question most; together they hold the answer.
pub struct Plan {
    /// What stands before the driving value.
    pub head: String,
    /// The driving values; `None` when nothing narrows the question.
    pub values: Option<Vec<i64>>,
    /// What stands behind the driving value.
    pub rest: Sql,
}

impl Plan {
    /// Plans a question.
    pub fn of(query: &Query<'_>, reader: Reader) -> Self {
        let filter = query.filter;
        let (ids, authors, kinds) = (ids(filter), authors(filter), kinds(filter));
        // Of several tags the one with the fewest values drives, and a channel only if there is no other: it is the widest.
        let driver = filter
            .generic_tags
            .iter()
            .min_by_key(|(tag, values)| (tag.as_char() == 'h', values.len()));
        let by_id = ids.is_some();
        let (column, index, values) = if let Some(ids) = ids {
            ("e.id8", "events_id", Some(ids))
        } else if let Some((tag, values)) = driver {
            ("t.tag8", "", Some(tag_values(tag, values)))
        } else if let Some(addresses) = addresses(filter) {
            ("e.address8", "events_address", Some(addresses))
        } else if let Some(authors) = authors.filter(|_| !are_rare(filter)) {
            ("e.author8", "events_author", Some(authors))
        } else if let Some(kinds) = kinds {
            ("e.kind", "events_kind", Some(kinds))
        } else {
            ("", "events_time", None)
        };
        let is_sqlite = reader == Reader::Sqlite;
        let table = match (index, is_sqlite) {
            ("", true) => "tags t CROSS JOIN events e ON e.seq = t.seq".to_owned(),
            ("", false) => "tags t JOIN events e ON e.seq = t.seq".to_owned(),
            (index, true) => format!("events e INDEXED BY {index}"),
            (_, false) => "events e".to_owned(),
        };
        let head = match column {
            "" => format!(" FROM {table} WHERE true"),
            column => format!(" FROM {table} WHERE {column} = "),
        };
        let driving = driver.filter(|_| !by_id).map(|(tag, _)| *tag);
        let (time, id) = match driving {
            Some(_) if is_sqlite => ("t.created_at", "t.id8"),
            Some(_) => ("t.created_at", "e.id8"),
            None => ("e.created_at", "e.id8"),
        };
        let mut rest = conditions(query, driving, time, reader);
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        rest.add(
            format_args!(" ORDER BY {time} DESC, {id} LIMIT "),
            limit.saturating_add(1),
        );
        Self { head, values, rest }
    }

    /// The statement for a driving value, if there is one. It stands before the values of the rest.
    pub fn statement(&self, columns: &str) -> String {
        let value = if self.values.is_some() { "?" } else { "" };
        format!("SELECT {columns}{}{value}{}", self.head, self.rest.text)
    }
}

/// The conditions of a question but for its ids, each behind an ` AND`. `driving` is the tag that a statement has looked for
/// already; `time` the column of dates.
pub fn conditions(
    query: &Query<'_>,
    driving: Option<SingleLetterTag>,
    time: &str,
    reader: Reader,
) -> Sql {
    let filter = query.filter;
    let mut out = Sql::default();
    let (authors, kinds) = (authors(filter), kinds(filter));
    if let Some(authors) = &authors {
        out.one_of("e.author8", authors);
    }
    if let Some(kinds) = &kinds {
        out.one_of("e.kind", kinds);
    }
    for (tag, values) in &filter.generic_tags {
        if driving == Some(*tag) {
            continue;
        }
        out.text.push_str(
            " AND EXISTS (SELECT 1 FROM tags x WHERE x.created_at = e.created_at AND x.seq = e.seq",
        );
        if reader == Reader::Sqlite {
            out.text.push_str(" AND x.id8 = e.id8");
        }
        out.one_of("x.tag8", &tag_values(tag, values));
        out.text.push(')');
    }
    let bound = |out: &mut Sql, sign: &str, seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        out.add(format_args!(" AND {time} {sign} "), seconds);
    };
    if let Some(since) = filter.since {
        bound(&mut out, ">=", since.as_secs());
    }
    if let Some(until) = filter.until {
        bound(&mut out, "<=", until.as_secs());
    }
    if let Some(after) = query.after {
        let created_at = i64::try_from(after.created_at).unwrap_or(i64::MAX);
        bound(&mut out, "<=", after.created_at);
        out.add(format_args!(" AND ({time} < "), created_at);
        out.add(format_args!(" OR e.id8 > "), number(after.id.as_bytes()));
        out.text.push(')');
    }
    if !query.without.is_empty() {
        let channels: Vec<i64> = query.without.iter().map(channel_number).collect();
        out.text.push_str(" AND (e.channel8 IS NULL OR NOT (true");
        out.one_of("e.channel8", &channels);
        out.text.push_str("))");
    }
    let now = i64::try_from(query.now).unwrap_or(i64::MAX);
    out.add(format_args!(" AND (e.expires IS NULL OR e.expires > "), now);
    out.text.push(')');
    out
}

/// The condition on ids, behind an ` AND`.
pub fn id_condition(filter: &Filter) -> Sql {
    let mut out = Sql::default();
    if let Some(ids) = ids(filter) {
        out.one_of("e.id8", &ids);
    }
    out
}

/// The addresses of all that a question can be about, when that is one event of each author and kind.
fn addresses(filter: &Filter) -> Option<Vec<i64>> {
    let (authors, kinds) = (filter.authors.as_ref()?, filter.kinds.as_ref()?);
    let is_one = |kind: &Kind| kind.is_replaceable();
    let are_few = authors.len().saturating_mul(kinds.len()) <= ADDRESSES;
    (are_few && kinds.iter().all(is_one)).then(|| {
        let of_author = |author| {
            let of_kind = move |kind: &Kind| address_of(*kind, author, "").cast_signed();
            kinds.iter().map(of_kind)
        };
        authors.iter().flat_map(of_author).collect()
    })
}

/// Whether there are few events of each kind a question names, and there may be many of each author.
fn are_rare(filter: &Filter) -> bool {
    let is_rare = |kind: &Kind| {
        kind.is_replaceable() || kind.is_addressable() || kind.as_u16() == vanish::KIND
    };
    let kinds = filter.kinds.as_ref();
    kinds.is_some_and(|kinds| kinds.iter().all(is_rare))
}

fn ids(filter: &Filter) -> Option<Vec<i64>> {
    let ids = filter.ids.as_ref()?.iter();
    Some(ids.map(|id| number(id.as_bytes())).collect())
}

fn authors(filter: &Filter) -> Option<Vec<i64>> {
    let authors = filter.authors.as_ref()?.iter();
    Some(authors.map(|key| number(key.as_bytes())).collect())
}

fn kinds(filter: &Filter) -> Option<Vec<i64>> {
    let kinds = filter.kinds.as_ref()?.iter();
    Some(kinds.map(|kind| kind.as_u16().into()).collect())
}

fn tag_values(tag: &SingleLetterTag, values: &BTreeSet<String>) -> Vec<i64> {
    let number = |value: &String| tag_number(tag.as_char(), value);
    values.iter().map(number).collect()
}
