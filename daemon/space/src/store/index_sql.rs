//! How a filter becomes SQL over the index's numbers. Only numbers ever get into the text, never foreign words.

use std::fmt::Write;

use super::Query;
use super::index::{channel_number, number, tag_number};

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
        let tag_values = |(tag, values): (
            &nostr::filter::SingleLetterTag,
            &std::collections::BTreeSet<String>,
        )| {
            values
                .iter()
                .map(|value| tag_number(tag.as_char(), value))
                .collect::<Vec<i64>>()
        };
        let ids = filter.ids.as_ref().map(|ids| {
            ids.iter()
                .map(|id| number(id.as_bytes()))
                .collect::<Vec<i64>>()
        });
        let authors = filter.authors.as_ref().map(|keys| {
            keys.iter()
                .map(|key| number(key.as_bytes()))
                .collect::<Vec<i64>>()
        });
        let kinds = filter.kinds.as_ref().map(|kinds| {
            kinds
                .iter()
                .map(|kind| i64::from(kind.as_u16()))
                .collect::<Vec<i64>>()
        });
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
                Some(tag_values(tag)),
            )
        } else if let Some(authors) = &authors {
            (" FROM events e WHERE e.author8 = ", Some(authors.clone()))
        } else if let Some(kinds) = &kinds {
            (" FROM events e WHERE e.kind = ", Some(kinds.clone()))
        } else {
            (" FROM events e WHERE 1", None)
        };
        let time = if head.contains("tags t") {
            "t.created_at"
        } else {
            "e.created_at"
        };
        if let Some(authors) = &authors {
            one_of(&mut rest, "e.author8", authors);
        }
        if let Some(kinds) = &kinds {
            one_of(&mut rest, "e.kind", kinds);
        }
        for (tag, values) in &filter.generic_tags {
            if head.contains("tags t") && driver.is_some_and(|(driving, _)| driving == tag) {
                continue;
            }
            rest.push_str(" AND EXISTS (SELECT 1 FROM tags x WHERE x.created_at = e.created_at AND x.seq = e.seq");
            one_of(&mut rest, "x.tag8", &tag_values((tag, values)));
            rest.push(')');
        }
        let bound = |rest: &mut String, sign: &str, seconds: u64| {
            let _ = write!(
                rest,
                " AND {time} {sign} {}",
                i64::try_from(seconds).unwrap_or(i64::MAX)
            );
        };
        if let Some(since) = filter.since {
            bound(&mut rest, ">=", since.as_secs());
        }
        if let Some(until) = filter.until {
            bound(&mut rest, "<=", until.as_secs());
        }
        if let Some(after) = query.after {
            bound(&mut rest, "<=", after.created_at);
            let _ = write!(
                rest,
                " AND ({time} < {} OR e.id8 > {})",
                after.created_at,
                number(after.id.as_bytes())
            );
        }
        if !query.without.is_empty() {
            let channels: Vec<i64> = query.without.iter().map(channel_number).collect();
            rest.push_str(" AND (e.channel8 IS NULL OR NOT (1");
            one_of(&mut rest, "e.channel8", &channels);
            rest.push_str("))");
        }
        let _ = write!(
            rest,
            " AND (e.expires IS NULL OR e.expires > {})",
            query.now
        );
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
    pub fn statement(&self, value: Option<i64>) -> String {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        format!(
            "SELECT e.created_at, e.id8, e.segment, e.offset{}{value}{}",
            self.head, self.rest
        )
    }
}

fn one_of(out: &mut String, column: &str, values: &[i64]) {
    let _ = write!(out, " AND {column} IN (");
    for (n, value) in values.iter().enumerate() {
        let _ = write!(out, "{}{value}", if n == 0 { "" } else { "," });
    }
    out.push(')');
}
