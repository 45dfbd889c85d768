//! Searching (NIP-50): what a person's words mean, and whether an event has them. One reading of text serves what goes
//! into the index, what is asked of it, and the last word on every event that it gives: so all stores find the same.
//!
//! In the text that is searched for:
//!
//! | written | means |
//! |---|---|
//! | `red ladder` | both words, anywhere; capitals and accents play no part |
//! | `"red ladder"` | these words in this order |
//! | `ladd*` | words that begin so (three letters at least) |
//! | `from:NPUB`, `from:HEX` | written by this person; several: by one of them |
//! | `in:CHANNEL` | in the channel of this id; several: in one of them. Counts as naming it (`#h`) |
//! | `has:link`, `image`, `video`, `file`, `poll` | with such a thing in it |
//! | `after:2026-01-31`, `before:2026-01-31` | on that day or later; before that day (UTC). Also seconds since 1970 |
//!
//! Other pairs of this form are read over, as NIP-50 says; so are values that cannot be read. No text is an error.

mod has;
mod operators;
mod words;

use nostr::event::Event;
use nostr::filter::Filter;

pub use has::Has;
pub use operators::apply as apply_operators;
pub use words::words;

/// The kinds that hold text for people: names (0), notes (1), messages (9), threads (11), polls (1068), comments (1111),
/// articles (30023).
pub const KINDS: [u16; 7] = [0, 1, 9, 11, 1068, 1111, 30023];
/// Characters of a search that are read.
const SEARCH_CHARS: usize = 512;
/// Words of a search that are looked at.
const SEARCH_WORDS: usize = 32;
/// Characters of an event that are searched.
const TEXT_CHARS: usize = 16 * 1024;
/// Letters that a word needs before everything that begins so is looked for: what follows is read as a whole.
const PREFIX_CHARS: usize = 3;

/// What is searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// All of these.
    pub phrases: Vec<Phrase>,
    /// All of these too.
    pub has: Vec<Has>,
}

/// Words that stand behind each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// The words, at least one.
    pub words: Vec<String>,
    /// Whether the last one may go on.
    pub is_prefix: bool,
}

/// A part of a search, as it was written.
enum Part<'a> {
    Quoted(&'a str),
    Operator(&'a str, &'a str),
    Word(&'a str),
}

/// Takes a search apart at its spaces and quotes.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let end = text
        .char_indices()
        .nth(SEARCH_CHARS)
        .map_or(text.len(), |(end, _)| end);
    let mut rest = &text[..end];
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            rest = behind;
            return Some(Part::Quoted(inside));
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || c == '"')
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        Some(match word.split_once(':') {
            Some((key, value)) if is_operator(key, value) => Part::Operator(key, value),
            _ => Part::Word(word),
        })
    })
}

/// Whether it is a pair of NIP-50, and not the address of a page or the end of a sentence.
fn is_operator(key: &str, value: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        && !value.is_empty()
        && !value.starts_with("//")
}

impl Search {
    /// What a filter searches for; `None` when it does not.
    pub fn of(filter: &Filter) -> Option<Self> {
        filter.search.as_deref().map(Self::parse)
    }

    /// Reads what a person wrote. Operators that say where to search are [`apply_operators`]' part.
    pub fn parse(text: &str) -> Self {
        let mut search = Self::default();
        let mut room = SEARCH_WORDS;
        for part in parts(text) {
            match part {
                Part::Operator(key, value) => search.has.extend(
                    Has::parse(value).filter(|has| key == "has" && !search.has.contains(has)),
                ),
                Part::Quoted(text) => {
                    let mut phrase = Vec::new();
                    let mut last_run = Vec::new();
                    words(text, |word, begins_run| {
                        if begins_run {
                            phrase.append(&mut last_run);
                        }
                        last_run.push(word.to_owned());
                    });
                    search.add(phrase, last_run, false, &mut room);
                }
                Part::Word(text) => {
                    let mut runs: Vec<Vec<String>> = Vec::new();
                    words(text, |word, begins_run| {
                        if begins_run {
                            runs.push(Vec::new());
                        }
                        if let Some(run) = runs.last_mut() {
                            run.push(word.to_owned());
                        }
                    });
                    let count = runs.len();
                    for (n, run) in runs.into_iter().enumerate() {
                        let star = n + 1 == count && text.ends_with('*');
                        search.add(Vec::new(), run, star, &mut room);
                    }
                }
            }
        }
        search
    }

    /// Adds a phrase that ends in `last_run`.
    fn add(
        &mut self,
        mut phrase: Vec<String>,
        mut last_run: Vec<String>,
        star: bool,
        room: &mut usize,
    ) {
        let spaceless = last_run
            .first()
            .and_then(|word| word.chars().next())
            .is_some_and(words::is_spaceless);
        // Text without spaces stands in the index as pairs, and its last character once more alone. What is searched
        // for may stand in the middle: then its last character goes on.
        let mut is_prefix = false;
        if spaceless && last_run.len() > 1 {
            last_run.pop();
        } else if spaceless {
            is_prefix = true;
        } else if star {
            is_prefix = last_run
                .last()
                .is_some_and(|word| word.chars().count() >= PREFIX_CHARS);
        }
        phrase.append(&mut last_run);
        if phrase.is_empty() || phrase.len() > *room {
            return;
        }
        *room -= phrase.len();
        let phrase = Phrase {
            words: phrase,
            is_prefix,
        };
        if !self.phrases.contains(&phrase) {
            self.phrases.push(phrase);
        }
    }

    /// Whether it says what an event must have, and not only where it is.
    pub fn has_terms(&self) -> bool {
        !self.phrases.is_empty() || !self.has.is_empty()
    }

    /// Whether an event has all that is searched for.
    pub fn matches(&self, event: &Event) -> bool {
        if !KINDS.contains(&event.kind.as_u16()) {
            return false;
        }
        if !self.has.is_empty() {
            let has = Has::of(event);
            if !self.has.iter().all(|wanted| has.contains(wanted)) {
                return false;
            }
        }
        if self.phrases.is_empty() {
            return true;
        }
        let mut all = Vec::new();
        words(&text_of(event), |word, _| all.push(word.to_owned()));
        self.phrases.iter().all(|phrase| phrase.is_in(&all))
    }
}

impl Phrase {
    fn is_in(&self, words: &[String]) -> bool {
        words.windows(self.words.len()).any(|window| {
            let mut pairs = window.iter().zip(&self.words).rev();
            let last = pairs.next().is_some_and(|(here, wanted)| {
                here == wanted || (self.is_prefix && here.starts_with(wanted.as_str()))
            });
            last && pairs.all(|(here, wanted)| here == wanted)
        })
    }
}

/// Whether a filter's search, if it has one, wants an event.
pub fn wants(filter: &Filter, event: &Event) -> bool {
    Search::of(filter).is_none_or(|search| search.matches(event))
}

/// The text of an event that is for people; empty when there is none.
pub fn text_of(event: &Event) -> String {
    let kind = event.kind.as_u16();
    let mut text = String::new();
    if !KINDS.contains(&kind) {
        return text;
    }
    let mut add = |part: &str| {
        text.push_str(part);
        text.push('\n');
    };
    if kind == 0 {
        let profile: serde_json::Value = serde_json::from_str(&event.content).unwrap_or_default();
        ["name", "display_name"]
            .into_iter()
            .filter_map(|name| profile[name].as_str())
            .for_each(&mut add);
    } else {
        ["title", "subject", "summary"]
            .into_iter()
            .flat_map(|name| crate::record::tag_values(event, name))
            .for_each(&mut add);
        add(&event.content);
    }
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;
