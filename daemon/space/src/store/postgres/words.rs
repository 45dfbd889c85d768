//! The words of an event as lexemes of PostgreSQL's text search, and a search in them. The words are this crate's own, so
//! all stores find the same.
//!
//! A lexeme is the number of the event's channel, `=`, and the word: a search then names the channels it may look into,
//! and neither finds nor walks over anything in others, so that its time tells nothing of them.

use std::collections::BTreeSet;

use nostr::filter::SingleLetterTag;

use crate::record::{ChannelId, StoredEvent};
use crate::search::{Has, KINDS, Search, text_of, words};
use crate::store::Query;
use crate::store::index::channel_number;

/// Words of a search that the server looks for, in each channel; what it finds is then read and compared with all.
const LOOKED_FOR: usize = 4;

/// Before the words of a channel, or of what belongs to none.
fn before(channel8: Option<i64>) -> String {
    channel8.map_or_else(|| "=".into(), |number| format!("{number:016x}="))
}

fn has_word(has: Has) -> String {
    format!("={}", has.name())
}

/// The lexemes of an event with spaces between them; `None` when it has no text for people.
pub fn lexemes(event: &StoredEvent) -> Option<String> {
    if !KINDS.contains(&event.event.kind.as_u16()) {
        return None;
    }
    let mut all = BTreeSet::new();
    words(&text_of(&event.event), |word, _| {
        if !all.contains(word) {
            all.insert(word.to_owned());
        }
    });
    all.extend(Has::of(&event.event).into_iter().map(has_word));
    let before = before(event.channel.as_ref().map(channel_number));
    let all: Vec<String> = all.iter().map(|word| format!("{before}{word}")).collect();
    Some(all.join(" "))
}

/// The search as a `tsquery`; `None` when there is no channel to look into. `channels`: those that have text.
pub fn expression(query: &Query<'_>, search: &Search, channels: &[i64]) -> Option<String> {
    let mut wanted: Vec<(String, bool)> = search
        .has
        .iter()
        .map(|has| (has_word(*has), false))
        .collect();
    for phrase in &search.phrases {
        let last = phrase.words.len().saturating_sub(1);
        for (n, word) in phrase.words.iter().enumerate() {
            wanted.push((word.clone(), phrase.is_prefix && n == last));
        }
    }
    // The longest say most, and a word that is whole says more than one that may go on.
    wanted.sort_by_key(|(word, goes_on)| (*goes_on, std::cmp::Reverse(word.len())));
    wanted.dedup();
    wanted.truncate(LOOKED_FOR);
    let named = query.filter.generic_tags.get(&SingleLetterTag::LOWERCASE_H);
    let left_out: BTreeSet<i64> = query.without.iter().map(channel_number).collect();
    let mut readable: BTreeSet<Option<i64>> = match named {
        Some(named) => named
            .iter()
            .filter_map(|id| ChannelId::parse(id))
            .map(|id| Some(channel_number(&id)))
            .collect(),
        None => channels.iter().copied().map(Some).collect(),
    };
    readable.retain(|channel| channel.is_none_or(|channel| !left_out.contains(&channel)));
    readable.insert(None);
    let in_channel = |channel: &Option<i64>| {
        let before = before(*channel);
        let all = wanted.iter().map(|(word, goes_on)| {
            let word = format!("{before}{word}")
                .replace('\\', "\\\\")
                .replace('\'', "''");
            format!("'{word}'{}", if *goes_on { ":*" } else { "" })
        });
        format!("({})", all.collect::<Vec<_>>().join(" & "))
    };
    let all: Vec<String> = readable.iter().map(in_channel).collect();
    (!wanted.is_empty()).then(|| all.join(" | "))
}
