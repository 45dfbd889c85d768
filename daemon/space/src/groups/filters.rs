//! Words and links that a space does not want. Plain words, compared as [`names::fold`](crate::names::fold) writes them;
//! no patterns, so that reading a message costs about its length.

use std::collections::HashSet;

use nostr::event::Event;

use crate::names::fold;
use crate::record::tag_values;

/// Words of a space.
pub const WORDS: usize = 200;
/// Characters of a word.
pub const WORD_CHARS: usize = 64;
/// Hosts that links may lead to.
pub const HOSTS: usize = 100;
/// Tags that people read, or follow, besides the content: all that stands in them.
const TEXTS: [&str; 12] = [
    "title", "subject", "summary", "name", "alt", "location", "option", "imeta", "r", "url",
    "image", "thumb",
];

/// Which links may be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Links {
    /// All.
    #[default]
    Any,
    /// Only to these hosts and what is below them; none when the list is empty.
    To(Vec<Box<str>>),
}

/// What is not wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// As they were given; `*word` is found inside other words too.
    pub words: Vec<Box<str>>,
    /// Which links may be written.
    pub links: Links,
    whole: HashSet<Box<str>>,
    phrases: Vec<Box<str>>,
    parts: Vec<Box<str>>,
}

impl Filters {
    /// The filters of these words.
    pub fn new<'a>(words: impl Iterator<Item = &'a str>, links: Links) -> Self {
        let mut this = Self {
            links,
            ..Self::default()
        };
        for word in words {
            let folded = tokens(&fold(word.trim_start_matches('*')));
            if folded.is_empty() {
                continue;
            }
            this.words.push(word.into());
            if word.starts_with('*') {
                this.parts.push(folded.into());
            } else if folded.contains(' ') {
                this.phrases.push(format!(" {folded} ").into());
            } else {
                this.whole.insert(folded.into());
            }
        }
        this
    }

    /// Reads what the space wrote down.
    pub fn from_act(event: &Event) -> Self {
        let links = match tag_values(event, "links").next() {
            Some("listed") => Links::To(tag_values(event, "host").map(Into::into).collect()),
            _ => Links::Any,
        };
        Self::new(tag_values(event, "word"), links)
    }

    /// Whether a message may be written; `Err` says what is not wanted, without repeating it.
    pub fn check(&self, event: &Event) -> Result<(), &'static str> {
        if self.words.is_empty() && self.links == Links::Any {
            return Ok(());
        }
        let tags = event.tags.iter();
        let read = tags.filter(|tag| TEXTS.contains(&tag.kind()));
        let texts = read.flat_map(|tag| tag.as_slice().iter().skip(1).map(String::as_str));
        for text in std::iter::once(event.content.as_str()).chain(texts) {
            self.check_text(text)?;
        }
        Ok(())
    }

    /// The same for one text.
    pub fn check_text(&self, text: &str) -> Result<(), &'static str> {
        if self.has_word(text) {
            return Err("this space does not want a word in it");
        }
        if self.has_link(text) {
            return Err("this space does not want this link");
        }
        Ok(())
    }

    fn has_word(&self, text: &str) -> bool {
        if self.words.is_empty() {
            return false;
        }
        let text = format!(" {} ", tokens(&fold(text)));
        text.split(' ').any(|word| self.whole.contains(word))
            || self.phrases.iter().any(|phrase| text.contains(&**phrase))
            || self.parts.iter().any(|part| text.contains(&**part))
    }

    fn has_link(&self, text: &str) -> bool {
        let Links::To(hosts) = &self.links else {
            return false;
        };
        links(text).any(|host| {
            let below = |known: &str| {
                host.strip_suffix(known)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            !hosts.iter().any(|known| below(known))
        })
    }
}

/// Runs of letters and digits with one space between them.
fn tokens(folded: &str) -> String {
    let mut words = folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut text = String::with_capacity(folded.len());
    text.push_str(words.next().unwrap_or_default());
    for word in words {
        text.push(' ');
        text.push_str(word);
    }
    text
}

/// The hosts of the links in a text: what stands behind `://`, or begins with `www.`.
fn links(text: &str) -> impl Iterator<Item = String> {
    // As one address, with all that could stand before its host, and as several with commas and the like between them.
    let words = text.split_whitespace();
    let parts = words.flat_map(|word| std::iter::once(word).chain(word.split(is_no_address)));
    parts.flat_map(|word| {
        let mut found: Vec<String> = word.split("://").skip(1).map(host).collect();
        if found.is_empty()
            && let Some(at) = word.to_ascii_lowercase().find("www.")
        {
            found.push(host(word.get(at..).unwrap_or_default()));
        }
        found
    })
}

/// Whether a character ends an address for most programs.
fn is_no_address(c: char) -> bool {
    !c.is_alphanumeric() && !"-._~:/?#[]@!$&'()*+=%\\".contains(c)
}

/// The host at the beginning of an address without its scheme, lowercase, without a last dot.
pub fn host(address: &str) -> String {
    let authority = address
        .split(['/', '?', '#', '\\', ')', ']', '>', '"'])
        .next()
        .unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let is_no_name = |c: char| !(c.is_alphanumeric() || "-._".contains(c));
    let host = host.split(is_no_name).next().unwrap_or_default();
    host.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;
    use proptest::prelude::*;

    fn says(filters: &Filters, text: &str) -> bool {
        filters
            .check(&Person::new(1).event(9, 1, &[], text))
            .is_ok()
    }

    #[test]
    fn words_are_found_however_they_are_written_and_not_inside_others() {
        let filters = Filters::new(
            ["Weed", "Bad Thing", "*spam", "", "*"].into_iter(),
            Links::Any,
        );
        assert_eq!(filters.words.len(), 3);
        for text in [
            "weed",
            "WEED!",
            "wéed",
            "wееd in Cyrillic",
            "ｗｅｅｄ",
            "we\u{200b}ed",
            "a bad, thing",
            "nospammer",
        ] {
            assert!(!says(&filters, text), "{text}");
        }
        for text in ["seaweed", "bad", "thing bad", "", "sp am"] {
            assert!(says(&filters, text), "{text}");
        }
        let titled = Person::new(1).event(11, 1, &[&["title", "Weed"]], "clean");
        assert!(filters.check(&titled).is_err());
    }

    #[test]
    fn links_lead_to_listed_hosts_only() {
        let to = |hosts: &[&str]| {
            let hosts = hosts.iter().map(|host| (*host).into()).collect();
            Filters::new([].into_iter(), Links::To(hosts))
        };
        let filters = to(&["example.org"]);
        for text in [
            "see https://example.org/x",
            "http://www.example.org:80?x",
            "no link",
            "nostr:npub1",
            "HTTPS://EXAMPLE.ORG.",
        ] {
            assert!(says(&filters, text), "{text}");
        }
        for text in [
            "https://evil.example/",
            "https://evilexample.org",
            "https://example.org@evil.example/",
            "https://example.org.evil.example",
            "https://evil.example\\@example.org",
            "(www.evil.example)",
            "https://example.org/x,https://evil.example",
            "https://evil.example,www.example.org",
            "https://example.org,www.evil.example",
            "https://evil.example|www.example.org",
            "https://example.org,@evil.example",
            "www.example.org;www.evil.example",
        ] {
            assert!(!says(&filters, text), "{text}");
        }
        assert!(!says(&to(&[]), "https://example.org"));
        let tagged = |tag: &[&str]| {
            let event = Person::new(1).event(1068, 1, &[tag], "");
            filters.check(&event).is_ok()
        };
        let evil = "https://evil.example/x.png";
        assert!(!tagged(&["option", "a", evil]));
        assert!(!tagged(&["imeta", &format!("url {evil}"), "m image/png"]));
        assert!(!tagged(&["r", evil]));
        assert!(tagged(&["option", "a", "https://example.org/x.png"]));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_filters_panic(text in ".{0,200}", word in ".{0,20}") {
            let filters = Filters::new([word.as_str()].into_iter(), Links::To(vec![]));
            says(&filters, &text);
        }
    }
}
