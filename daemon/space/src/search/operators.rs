//! The parts of a search that say where to look. They become parts of the filter, so that everything that decides by a
//! filter, who may see what before all, decides about them too.

use std::collections::BTreeSet;

use nostr::event::Kind;
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use super::{KINDS, Part, parts};

const DAY: u64 = 86_400;

/// Narrows a filter to what its search says. A filter without one stays as it is.
pub fn apply(filter: &mut Filter) {
    let Some(text) = filter.search.take() else {
        return;
    };
    let (mut people, mut channels) = (BTreeSet::new(), BTreeSet::new());
    for part in parts(&text) {
        let Part::Operator(key, value) = part else {
            continue;
        };
        match key {
            "from" => people.extend(PublicKey::parse(value)),
            "in" => drop(channels.insert(value.to_owned())),
            "after" => {
                if let Some(time) = seconds(value) {
                    let since = filter.since.map_or(0, |since| since.as_secs());
                    filter.since = Some(Timestamp::from_secs(since.max(time)));
                }
            }
            "before" => {
                if let Some(time) = seconds(value) {
                    let until = filter.until.map_or(u64::MAX, |until| until.as_secs());
                    let before = time.saturating_sub(1);
                    filter.until = Some(Timestamp::from_secs(until.min(before)));
                }
            }
            _ => {}
        }
    }
    if !people.is_empty() {
        both(&mut filter.authors, people);
    }
    if !channels.is_empty() {
        let tag = SingleLetterTag::LOWERCASE_H;
        let mut named = filter.generic_tags.remove(&tag);
        both(&mut named, channels);
        filter.generic_tags.insert(tag, named.unwrap_or_default());
    }
    both(&mut filter.kinds, KINDS.map(Kind::from_u16).into());
    filter.search = Some(text);
}

/// Narrows a list to what is in another one too; no list is everything.
fn both<T: Ord + Clone>(list: &mut Option<BTreeSet<T>>, other: BTreeSet<T>) {
    *list = Some(match list.take() {
        Some(list) => list.intersection(&other).cloned().collect(),
        None => other,
    });
}

/// Reads a day (`2026-01-31`, its beginning in UTC) or seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let mut parts = text.splitn(3, '-');
    let first = number(parts.next()?)?;
    let (Some(month), Some(day)) = (parts.next(), parts.next()) else {
        return number(text);
    };
    let (year, month, day) = (first, number(month)?, number(day)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970, counted in years that begin in March, so that the leap day is the last one.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    // From the first of March of the year 0 to the first of January 1970.
    days.checked_sub(719_468).map(|days| days * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_the_calendar_has_them() {
        assert_eq!(seconds("1970-01-01"), Some(0));
        assert_eq!(seconds("2000-02-29"), Some(951_782_400));
        assert_eq!(seconds("2000-03-01"), Some(951_868_800));
        assert_eq!(seconds("2026-11-22"), Some(1_795_305_600));
        assert_eq!(seconds("1700000000"), Some(1_700_000_000));
        for text in [
            "",
            "-",
            "2026",
            "2026-1",
            "2026-13-01",
            "2026-01-32",
            "1969-12-31",
            "+1",
            "2026-01-0x",
            "99999999999999999999",
        ] {
            let found = seconds(text);
            assert!(found.is_none() || text == "2026", "{text}: {found:?}");
        }
    }
}
