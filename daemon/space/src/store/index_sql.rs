//! How a filter becomes SQL over the index's numbers, for SQLite and PostgreSQL. Only numbers ever get into the text, never foreign words.

use std::collections::BTreeSet;
use std::fmt::Write;

use nostr::filter::{Filter, SingleLetterTag};

use super::Query;
use super::index::{channel_number, number, tag_number};

/// What the embedded index is asked for.
pub const COLUMNS: &str = "e.created_at, e.id8, e.segment, e.offset";

/// One statement for each value of the list that narrows the question most; together they hold the answer.
pub struct Plan {
    /// What stands before the driving value.
    pub head: String,
    /// The driving values; `None` when nothing narrows the question.
    pub values: Option<Vec<i64>>,
    /// What stands behind the driving value.
    pub rest: String,
}

impl Plan {
    /// Plans a question.
    pub fn of(query: &Query<'_>) -> Self {
        let filter = query.filter;
        let (ids, authors, kinds) = (ids(filter), authors(filter), kinds(filter));
        // Of several tags the one with the fewest values drives, and a channel only if there is no other: it is the widest.
        let driver = filter
            .generic_tags
            .iter()
            .min_by_key(|(tag, values)| (tag.as_char() == 'h', values.len()));
        let mut rest = String::new();
        let (head, values) = if let Some(ids) = ids {
            (" FROM events e WHERE e.id8 = ", Some(ids))
        } else if let Some(tag) = driver {
            (
                " FROM tags t JOIN events e ON e.seq = t.seq WHERE t.tag8 = ",
                Some(tag_values(tag.0, tag.1)),
            )
        } else if let Some(authors) = &authors {
            (" FROM events e WHERE e.author8 = ", Some(authors.clone()))
        } else if let Some(kinds) = &kinds {
            (" FROM events e WHERE e.kind = ", Some(kinds.clone()))
        } else {
            (" FROM events e WHERE true", None)
        };
        let time = if head.contains("tags t") {
            "t.created_at"
        } else {
            "e.created_at"
        };
        let driving = driver
            .map(|(tag, _)| *tag)
            .filter(|_| head.contains("tags t"));
        rest.push_str(&conditions(query, driving, time));
        let _ = write!(
            rest,
            " ORDER BY {time} DESC, e.id8 LIMIT {}",
            query.limit + 1
        );
        Self {
            head: head.to_owned(),
            values,
            rest,
        }
    }

    /// The statement for one driving value.
    pub fn statement(&self, columns: &str, value: Option<i64>) -> String {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        format!("SELECT {columns}{}{value}{}", self.head, self.rest)
    }
}

/// The conditions of a question but for its ids, each behind an ` AND`. `driving` is the tag that a statement has looked for already;
/// `time` the column of dates.
pub fn conditions(query: &Query<'_>, driving: Option<SingleLetterTag>, time: &str) -> String {
    let filter = query.filter;
    let mut out = String::new();
    let (authors, kinds) = (authors(filter), kinds(filter));
    if let Some(authors) = &authors {
        one_of(&mut out, "e.author8", authors);
    }
    if let Some(kinds) = &kinds {
        one_of(&mut out, "e.kind", kinds);
    }
    for (tag, values) in &filter.generic_tags {
        if driving == Some(*tag) {
            continue;
        }
        out.push_str(
            " AND EXISTS (SELECT 1 FROM tags x WHERE x.created_at = e.created_at AND x.seq = e.seq",
        );
        one_of(&mut out, "x.tag8", &tag_values(tag, values));
        out.push(')');
    }
    let bound = |out: &mut String, sign: &str, seconds: u64| {
        let _ = write!(
            out,
            " AND {time} {sign} {}",
            i64::try_from(seconds).unwrap_or(i64::MAX)
        );
    };
    if let Some(since) = filter.since {
        bound(&mut out, ">=", since.as_secs());
    }
    if let Some(until) = filter.until {
        bound(&mut out, "<=", until.as_secs());
    }
    if let Some(after) = query.after {
        bound(&mut out, "<=", after.created_at);
        let _ = write!(
            out,
            " AND ({time} < {} OR e.id8 > {})",
            after.created_at,
            number(after.id.as_bytes())
        );
    }
    if !query.without.is_empty() {
        let channels: Vec<i64> = query.without.iter().map(channel_number).collect();
        out.push_str(" AND (e.channel8 IS NULL OR NOT (true");
        one_of(&mut out, "e.channel8", &channels);
        out.push_str("))");
    }
    let _ = write!(out, " AND (e.expires IS NULL OR e.expires > {})", query.now);
    out
}

/// The condition on ids, behind an ` AND`.
pub fn id_condition(filter: &Filter) -> String {
    let mut out = String::new();
    if let Some(ids) = ids(filter) {
        one_of(&mut out, "e.id8", &ids);
    }
    out
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

fn one_of(out: &mut String, column: &str, values: &[i64]) {
    let _ = write!(out, " AND {column} IN (");
    for (n, value) in values.iter().enumerate() {
        let _ = write!(out, "{}{value}", if n == 0 { "" } else { "," });
    }
    out.push(')');
}
