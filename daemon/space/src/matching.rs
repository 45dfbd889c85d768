//! Whether a filter wants an event (NIP-01). Who may see it is decided elsewhere.

use std::collections::BTreeSet;

use nostr::event::{Event, Tag};
use nostr::filter::{Filter, SingleLetterTag};

/// Whether a filter wants an event. An empty list wants nothing, `limit` plays no part (NIP-01), and `search` has to be
/// asked apart (NIP-50): reading it once serves many events.
pub fn matches(filter: &Filter, event: &Event) -> bool {
    let is_in_time = filter.since.is_none_or(|since| since <= event.created_at)
        && filter.until.is_none_or(|until| event.created_at <= until);
    is_in_time
        && one_of(filter.ids.as_ref(), &event.id)
        && one_of(filter.authors.as_ref(), &event.pubkey)
        && one_of(filter.kinds.as_ref(), &event.kind)
        && filter
            .generic_tags
            .iter()
            .all(|(letter, values)| has_tag(event, *letter, values))
}

fn one_of<T: Ord>(list: Option<&BTreeSet<T>>, value: &T) -> bool {
    list.is_none_or(|list| list.contains(value))
}

/// Whether the first value of a tag of this letter is one of the list.
fn has_tag(event: &Event, letter: SingleLetterTag, values: &BTreeSet<String>) -> bool {
    let mut name = [0; 4];
    let name: &str = letter.as_char().encode_utf8(&mut name);
    let mut tags = event.tags.iter().map(Tag::as_slice);
    // Without `Event::tags`' own index: it would be built for each event and stay in memory with it.
    tags.any(|tag| {
        tag.first().is_some_and(|first| first == name)
            && tag.get(1).is_some_and(|value| values.contains(value))
    })
}

/// Whether a filter has an empty list and so matches no event at all.
pub fn matches_nothing(filter: &Filter) -> bool {
    filter.ids.as_ref().is_some_and(|list| list.is_empty())
        || filter.authors.as_ref().is_some_and(|list| list.is_empty())
        || filter.kinds.as_ref().is_some_and(|list| list.is_empty())
        || filter.generic_tags.values().any(|list| list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;
    use nostr::filter::MatchEventOptions;
    use nostr::types::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn an_empty_list_wants_nothing() {
        let event = crate::testing::Person::new(1).event(1, 5, &[], "");
        let filter: Filter = serde_json::from_str(r#"{"kinds":[]}"#).unwrap();
        assert!(!matches(&filter, &event));
        assert!(matches(&Filter::new(), &event));
    }

    /// A list of some of a few values, or none.
    fn some<T: Clone + std::fmt::Debug + 'static>(
        of: Vec<T>,
    ) -> impl Strategy<Value = Option<Vec<T>>> {
        prop::option::of(prop::sample::subsequence(of.clone(), 0..=of.len()))
    }

    proptest! {
        #[test]
        fn a_filter_wants_what_the_nostr_library_says(
            kinds in some(vec![1u16, 9, 11]),
            authors in some(vec![1u8, 2]),
            span in prop::option::of((99u64..102, 99u64..102)),
            asked in prop::collection::vec((prop::sample::select(vec!['h', 'H', 'e']), some(vec!["a", "b", ""])), 0..3),
            event in (prop::sample::select(vec![1u16, 9, 11]), prop::sample::select(vec![1u8, 2]), 98u64..103),
            tags in prop::collection::vec((prop::sample::select(vec!["h", "H", "e", "hh", "relay"]), some(vec!["a", "b", "", "c"])), 0..4),
        ) {
            let tags: Vec<Vec<&str>> = tags.iter().map(|(name, values)| std::iter::once(*name).chain(values.iter().flatten().copied()).collect()).collect();
            let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
            let event = Person::new(event.1).event(event.0, event.2, &tags, "");
            let mut filter = Filter::new();
            filter.kinds = kinds.map(|kinds| kinds.into_iter().map(Into::into).collect());
            filter.authors = authors.map(|authors| authors.into_iter().map(|author| Person::new(author).key()).collect());
            if let Some((since, until)) = span {
                filter = filter.since(Timestamp::from_secs(since)).until(Timestamp::from_secs(until));
            }
            for (letter, values) in asked {
                if let Some(values) = values {
                    filter = filter.custom_tags(SingleLetterTag::from_char(letter).unwrap(), values);
                }
            }
            // Theirs takes an empty list for none; we do not.
            let theirs = !matches_nothing(&filter) && filter.match_event(&event, MatchEventOptions::new().nip50(false));
            prop_assert_eq!(matches(&filter, &event), theirs);
        }
    }
}
