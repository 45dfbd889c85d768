//! The shape of what people write in channels, kind by kind: what can be told from the event alone. Whether what it
//! refers to is there is asked later (`ingest::links`). Kinds that are not named here are taken as they are.

use nostr::event::{Event, EventId, Tag};
use nostr::key::PublicKey;

use super::{Refusal, invalid};
use crate::groups::kinds;
use crate::names;
use crate::record::tag_values;

/// Emoji, mentions of people, quotes, and mentions of roles in one event.
const EMOJI: usize = 100;
const PEOPLE: usize = 100;
const QUOTES: usize = 50;
const MENTIONS: usize = 20;
/// Characters of a reaction, of a title, and of an option of a poll.
const REACTION_CHARS: usize = 80;
const TITLE_CHARS: usize = 200;
const OPTION_CHARS: usize = 200;
/// Bytes of the name of an emoji and of an option of a poll, and of an address.
const NAME_BYTES: usize = 64;
const ADDRESS_BYTES: usize = 500;
/// Options of a poll.
const OPTIONS: std::ops::RangeInclusive<usize> = 2..=30;
/// Times that one message may be edited.
pub const EDITS: usize = 20;
/// Tags and characters of a signal (typing, being there).
const SIGNAL_TAGS: usize = 6;
const SIGNAL_CHARS: usize = 100;

/// Kinds that can be edited: what is read as text, and is not replaced by a newer version anyway.
pub const EDITABLE: [u16; 4] = [kinds::NOTE, kinds::MESSAGE, kinds::THREAD, kinds::COMMENT];

/// Whether an event has the shape that its kind demands.
pub fn check(event: &Event) -> Result<(), Refusal> {
    let kind = event.kind.as_u16();
    emoji(event)?;
    mentions(event)?;
    edits(event, kind)?;
    match kind {
        kinds::PROFILE => Err(invalid(
            "a profile belongs to no channel: leave out the h tag",
        )),
        kinds::NOTE | kinds::MESSAGE => text(event),
        kinds::THREAD => text(event).and_then(|()| title(event, false)),
        kinds::COMMENT => text(event).and_then(|()| comment(event)),
        kinds::REACTION => reaction(event),
        kinds::POLL => poll(event),
        kinds::VOTE => vote(event),
        kinds::DATE_ENTRY | kinds::TIME_ENTRY => entry(event, kind),
        kinds::RSVP => rsvp(event),
        kinds::TYPING | kinds::PRESENCE => signal(event),
        _ => Ok(()),
    }
}

fn one<'a>(event: &'a Event, name: &'a str) -> Option<&'a str> {
    let mut values = tag_values(event, name);
    values.next().filter(|_| values.next().is_none())
}

fn named<'a>(event: &'a Event, name: &'a str) -> impl Iterator<Item = &'a Tag> {
    event.tags.iter().filter(move |tag| tag.kind() == name)
}

/// Whether it names an event: 64 lowercase hexadecimal digits.
fn is_id(text: &str) -> bool {
    EventId::from_hex(text).is_ok_and(|id| id.to_hex() == text)
}

/// The parts of the address of an event (NIP-01): `kind:author:d`.
pub fn address(text: &str) -> Option<(u16, PublicKey, &str)> {
    let mut parts = text.splitn(3, ':');
    let kind = parts.next()?.parse().ok()?;
    let author = PublicKey::from_hex(parts.next()?).ok()?;
    Some((kind, author, parts.next()?))
}

/// Whether it is the name of an emoji (NIP-30).
pub fn is_shortcode(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether it can be the address of a picture.
pub fn is_picture(text: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    text.len() <= ADDRESS_BYTES
        && rest.is_some_and(|rest| !rest.is_empty())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// NIP-30: `["emoji", name, address of a picture, address of a set]`.
fn emoji(event: &Event) -> Result<(), Refusal> {
    for (n, tag) in named(event, "emoji").enumerate() {
        let fits = match tag.as_slice() {
            [_, name, picture, rest @ ..] => {
                let set = rest.first().map_or("", String::as_str);
                let is_set = || address(set).is_some_and(|(kind, ..)| kind == kinds::EMOJI_SET);
                is_shortcode(name) && is_picture(picture) && (set.is_empty() || is_set())
            }
            _ => false,
        };
        if !fits || n >= EMOJI {
            return Err(invalid(
                "an emoji tag has a name of letters, digits, - and _, and the http address of a picture; an event has up to 100",
            ));
        }
    }
    Ok(())
}

/// `["mention", "everyone"]` and `["mention", "role", id]`: our own.
fn mentions(event: &Event) -> Result<(), Refusal> {
    for (n, tag) in named(event, "mention").enumerate() {
        let words: Vec<&str> = tag.as_slice().iter().map(String::as_str).collect();
        let fits = matches!(words[..], [_, "everyone"] | [_, "role", _]);
        if !fits || n >= MENTIONS {
            return Err(invalid(
                "a mention tag says `everyone`, or `role` and which; a message has up to 20",
            ));
        }
    }
    Ok(())
}

/// The roles that an event mentions.
pub fn mentioned_roles(event: &Event) -> impl Iterator<Item = &str> {
    named(event, "mention").filter_map(|tag| tag.as_slice().get(2).map(String::as_str))
}

/// The versions that a message takes the place of, oldest first, each with the second it was written:
/// `["edit", id, date]`. Our own.
pub fn edits_of(event: &Event) -> Vec<(&str, &str)> {
    named(event, "edit")
        .filter_map(|tag| match tag.as_slice() {
            [_, id, date, ..] => Some((id.as_str(), date.as_str())),
            _ => None,
        })
        .collect()
}

fn edits(event: &Event, kind: u16) -> Result<(), Refusal> {
    let tags = named(event, "edit").count();
    if tags == 0 {
        return Ok(());
    }
    if !EDITABLE.contains(&kind) {
        return Err(invalid("what is of this kind cannot be edited"));
    }
    let edits = edits_of(event);
    let fits = |(id, date): &(&str, &str)| is_id(id) && date.parse::<u64>().is_ok();
    if tags > EDITS || edits.len() != tags || !edits.iter().all(fits) {
        return Err(invalid(
            "an edit tag has the id and the date of a version before; a message is edited up to 20 times",
        ));
    }
    Ok(())
}

/// Quotes (NIP-C7, NIP-18) and mentions of people.
fn text(event: &Event) -> Result<(), Refusal> {
    let mut quotes = tag_values(event, "q");
    let quotes_fit = quotes.all(|quote| is_id(quote) || address(quote).is_some());
    if !quotes_fit || named(event, "q").count() > QUOTES {
        return Err(invalid(
            "a q tag has the id or address of what is quoted; a message has up to 50",
        ));
    }
    let mut people = tag_values(event, "p");
    let people_fit = people.all(|person| PublicKey::from_hex(person).is_ok());
    if !people_fit || named(event, "p").count() > PEOPLE {
        return Err(invalid(
            "a p tag has 64 hexadecimal digits; a message mentions up to 100 people",
        ));
    }
    Ok(())
}

fn title(event: &Event, needed: bool) -> Result<(), Refusal> {
    let fits = match tag_values(event, "title").next() {
        None | Some("") => !needed,
        Some(title) => names::is_readable(title) && title.chars().count() <= TITLE_CHARS,
    };
    if fits {
        Ok(())
    } else {
        Err(invalid(
            "a title has 1 to 200 characters that can be seen, without spaces around it",
        ))
    }
}

/// NIP-22: what it is about (`E`, `A` or `I`, with `K`), and what it answers (`e`, `a`, `i`), which may be left out where
/// it is the same (NIP-7D).
fn comment(event: &Event) -> Result<(), Refusal> {
    let ids = ["E", "e"].map(|name| tag_values(event, name).all(is_id));
    let addresses =
        ["A", "a"].map(|name| tag_values(event, name).all(|text| address(text).is_some()));
    let has_root = ["E", "A", "I"]
        .iter()
        .any(|name| tag_values(event, name).next().is_some());
    let few = ["E", "A", "I", "e", "a", "i"]
        .iter()
        .all(|name| named(event, name).count() <= 2);
    if !has_root || !few || ids.contains(&false) || addresses.contains(&false) {
        return Err(invalid(
            "a comment says what it is about in an E, A or I tag (NIP-22)",
        ));
    }
    match one(event, "K") {
        Some("1") => Err(invalid("notes are answered by notes, not by comments")),
        Some(_) => Ok(()),
        None => Err(invalid(
            "a comment has one K tag: the kind of what it is about",
        )),
    }
}

/// NIP-25, with the emoji of NIP-30.
fn reaction(event: &Event) -> Result<(), Refusal> {
    let content = event.content.as_str();
    if content.chars().count() > REACTION_CHARS {
        return Err(invalid("a reaction is one emoji"));
    }
    let targets = tag_values(event, "e").all(is_id)
        && tag_values(event, "a").all(|text| address(text).is_some());
    let has_target = ["e", "a"]
        .iter()
        .any(|name| tag_values(event, name).next().is_some());
    if !targets || !has_target || named(event, "e").count() > 2 {
        return Err(invalid("an e tag says what a reaction is about"));
    }
    let inside = content
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .filter(|name| !name.is_empty());
    if let Some(name) = inside {
        let shown = named(event, "emoji").any(|tag| tag.content() == Some(name));
        if !shown {
            return Err(invalid(
                "an emoji tag must say which picture stands for the name (NIP-30)",
            ));
        }
    }
    Ok(())
}

/// The options of a poll: their ids.
pub fn options(poll: &Event) -> impl Iterator<Item = &str> {
    tag_values(poll, "option")
}

/// When a poll ends, if it does: seconds since 1970.
pub fn ends_at(poll: &Event) -> Option<u64> {
    tag_values(poll, "endsAt").next()?.parse().ok()
}

/// NIP-88.
fn poll(event: &Event) -> Result<(), Refusal> {
    let mut ids: Vec<&str> = Vec::new();
    for tag in named(event, "option") {
        let [_, id, label, ..] = tag.as_slice() else {
            return Err(invalid("an option of a poll has an id and a text"));
        };
        let label_fits = (1..=OPTION_CHARS).contains(&label.chars().count());
        if !is_shortcode(id) || !label_fits || ids.contains(&id.as_str()) {
            return Err(invalid(
                "an option of a poll has an id of its own, of letters and digits, and a text of up to 200 characters",
            ));
        }
        ids.push(id);
    }
    if !OPTIONS.contains(&ids.len()) {
        return Err(invalid("a poll has 2 to 30 options"));
    }
    let kind = tag_values(event, "polltype").next();
    if !matches!(kind, None | Some("singlechoice" | "multiplechoice")) {
        return Err(invalid("a poll is `singlechoice` or `multiplechoice`"));
    }
    let end = tag_values(event, "endsAt").next();
    let created_at = event.created_at.as_secs();
    if end.is_some() && ends_at(event).is_none_or(|end| end <= created_at) {
        return Err(invalid("a poll ends at a second after it was made"));
    }
    Ok(())
}

fn vote(event: &Event) -> Result<(), Refusal> {
    let responses = named(event, "response").count();
    if one(event, "e").is_none_or(|id| !is_id(id)) || !(1..=*OPTIONS.end()).contains(&responses) {
        return Err(invalid(
            "an answer to a poll names the poll (one e tag) and one option at least (response tags)",
        ));
    }
    Ok(())
}

/// NIP-52.
fn entry(event: &Event, kind: u16) -> Result<(), Refusal> {
    identifier(event)?;
    text(event)?;
    title(event, true)?;
    let when = |name| {
        let text = tag_values(event, name).next();
        let read = text.and_then(|text| match kind {
            kinds::DATE_ENTRY => day(text),
            _ => text.parse().ok(),
        });
        (text.is_some(), read)
    };
    let ((_, start), (has_end, end)) = (when("start"), when("end"));
    let fits = start.is_some_and(|start| !has_end || end.is_some_and(|end| start < end));
    if !fits {
        return Err(invalid(
            "an entry of a calendar has a start, and an end after it or none (NIP-52)",
        ));
    }
    Ok(())
}

fn rsvp(event: &Event) -> Result<(), Refusal> {
    identifier(event)?;
    let about = one(event, "a").and_then(address).map(|(kind, ..)| kind);
    if !matches!(about, Some(kinds::DATE_ENTRY | kinds::TIME_ENTRY)) {
        return Err(invalid("an a tag names the entry of the calendar (NIP-52)"));
    }
    match one(event, "status") {
        Some("accepted" | "declined" | "tentative") => Ok(()),
        _ => Err(invalid(
            "a status tag says `accepted`, `declined` or `tentative`",
        )),
    }
}

fn identifier(event: &Event) -> Result<(), Refusal> {
    match one(event, "d") {
        Some(d) if (1..=ADDRESS_BYTES).contains(&d.len()) => Ok(()),
        _ => Err(invalid("one d tag names it")),
    }
}

/// A date as YYYY-MM-DD, as a number that grows with it.
fn day(text: &str) -> Option<u64> {
    let mut parts = text.split('-');
    let mut next = |digits: usize| {
        let part = parts.next()?;
        let fits = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| fits)
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (parts.next().is_none() && (1..=days).contains(&day)).then(|| (year * 12 + month) * 31 + day)
}

/// Typing and being there: nothing to hide text in.
fn signal(event: &Event) -> Result<(), Refusal> {
    if event.tags.len() > SIGNAL_TAGS || event.content.chars().count() > SIGNAL_CHARS {
        return Err(invalid("this is a signal, and short"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Person;

    #[test]
    fn days_are_read_and_grow() {
        let days = ["1999-12-31", "2000-02-29", "2024-02-29", "2026-11-30"];
        let read: Vec<u64> = days.iter().map(|text| day(text).unwrap()).collect();
        assert!(read.is_sorted());
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-04-31",
            "2026-01-01-01",
            "+026-01-01",
            "２026-01-01",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn pictures_and_names_of_emoji_are_what_they_say() {
        for picture in ["http://a.warren/x.png", "https://example.org/"] {
            assert!(is_picture(picture), "{picture}");
        }
        for picture in [
            "",
            "http://",
            "data:image/png;base64,",
            "javascript:x",
            "http://a b",
        ] {
            assert!(!is_picture(picture), "{picture}");
        }
        assert!(is_shortcode("party_parrot-2") && !is_shortcode("a b") && !is_shortcode(""));
        assert!(!is_shortcode(&"a".repeat(65)) && !is_shortcode("ä"));
    }

    #[test]
    fn what_has_not_the_shape_of_its_kind_is_refused() {
        let ann = Person::new(1);
        let (id, key) = ("7".repeat(64), ann.key().to_hex());
        let entry = format!("31922:{key}:party");
        let refused =
            |kind: u16, tags: &[&[&str]]| check(&ann.event(kind, 100, tags, "x")).unwrap_err();
        let cases: [(u16, &[&[&str]]); 30] = [
            (0, &[]),
            (9, &[&["q", "nothing"]]),
            (9, &[&["p", "ben"]]),
            (9, &[&["mention"]]),
            (9, &[&["mention", "all"]]),
            (9, &[&["mention", "role"]]),
            (9, &[&["edit", &id]]),
            (9, &[&["edit", &id, "today"]]),
            (9, &[&["emoji", "a b", "http://a/"]]),
            (9, &[&["emoji", "ab", "ftp://a/"]]),
            (9, &[&["emoji", "ab", "http://a/", "30000:x:y"]]),
            (
                1068,
                &[
                    &["edit", &id, "5"],
                    &["option", "a", "A"],
                    &["option", "b", "B"],
                ],
            ),
            (11, &[&["title", "a\u{202e}b"]]),
            (1111, &[]),
            (1111, &[&["E", &id]]),
            (1111, &[&["E", &id], &["K", "1"]]),
            (1111, &[&["E", "x"], &["K", "11"]]),
            (7, &[]),
            (7, &[&["e", "x"]]),
            (1068, &[&["option", "a", "A"]]),
            (1068, &[&["option", "a", "A"], &["option", "a", "B"]]),
            (1068, &[&["option", "a", "A"], &["option", "b"]]),
            (
                1068,
                &[
                    &["option", "a", "A"],
                    &["option", "b", "B"],
                    &["endsAt", "99"],
                ],
            ),
            (
                1068,
                &[
                    &["option", "a", "A"],
                    &["option", "b", "B"],
                    &["polltype", "any"],
                ],
            ),
            (1018, &[&["e", &id]]),
            (1018, &[&["response", "a"]]),
            (
                31922,
                &[&["d", "x"], &["title", "x"], &["start", "2026-02-30"]],
            ),
            (
                31923,
                &[&["d", "x"], &["title", "x"], &["start", "9"], &["end", "9"]],
            ),
            (31922, &[&["d", "x"], &["start", "2026-02-03"]]),
            (31925, &[&["d", "x"], &["a", &entry], &["status", "maybe"]]),
        ];
        for (kind, tags) in cases {
            assert!(
                refused(kind, tags).starts_with("invalid: "),
                "{kind} {tags:?}"
            );
        }
        let named = ann.event(7, 100, &[&["e", &id]], ":party:");
        assert!(check(&named).is_err(), "nobody knows the picture");
        let good: [(u16, &[&[&str]]); 6] = [
            (
                9,
                &[
                    &["q", &id, "", &key],
                    &["p", &key],
                    &["mention", "role", "x"],
                ],
            ),
            (11, &[&["title", "Ladders"]]),
            (1111, &[&["K", "11"], &["E", &id]]),
            (
                1068,
                &[
                    &["option", "a", "A"],
                    &["option", "b", "B"],
                    &["endsAt", "101"],
                ],
            ),
            (
                31923,
                &[
                    &["d", "x"],
                    &["title", "x"],
                    &["start", "9"],
                    &["end", "10"],
                ],
            ),
            (
                31925,
                &[&["d", "x"], &["a", &entry], &["status", "accepted"]],
            ),
        ];
        for (kind, tags) in good {
            assert_eq!(check(&ann.event(kind, 100, tags, "x")), Ok(()), "{kind}");
        }
    }
}
