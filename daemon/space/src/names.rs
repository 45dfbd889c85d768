//! Names that people read, and texts that are compared: tricks of Unicode by which one name looks like another, or
//! hides in a text, are refused here or folded away.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Combining marks that may follow each other. More make a name run over its neighbours.
const MARKS: usize = 3;

/// Letters of other scripts that look like a Latin one.
const LOOKALIKES: [(&str, char); 26] = [
    ("аαɑ", 'a'),
    ("вβь", 'b'),
    ("сϲ", 'c'),
    ("ԁ", 'd'),
    ("еєε", 'e'),
    ("ƒ", 'f'),
    ("ɡ", 'g'),
    ("һн", 'h'),
    ("іıι", 'i'),
    ("ј", 'j'),
    ("кκ", 'k'),
    ("ⅼӏ", 'l'),
    ("м", 'm'),
    ("пη", 'n'),
    ("оοσ", 'o'),
    ("рρ", 'p'),
    ("ԛ", 'q'),
    ("гᴦ", 'r'),
    ("ѕ", 's'),
    ("тτ", 't'),
    ("υս", 'u'),
    ("ѵν", 'v'),
    ("ԝω", 'w'),
    ("хχ", 'x'),
    ("уγ", 'y'),
    ("ᴢ", 'z'),
];

/// Characters without a shape of their own.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a name can be read as what it is: not empty, no control characters, nothing invisible or turning the
/// direction of the text, no towers of marks. The joiners and variation selectors that pictograms and some scripts
/// are written with may stand behind a character that is not ASCII.
pub fn is_readable(name: &str) -> bool {
    let mut before = ' ';
    let mut marks = 0;
    for c in name.chars() {
        let joins = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}')
            && !before.is_ascii()
            && !is_invisible(before);
        if (is_invisible(c) && !joins) || c.is_control() {
            return false;
        }
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if marks > MARKS {
            return false;
        }
        before = c;
    }
    !name.trim().is_empty() && name.trim() == name && !matches!(before, '\u{200c}' | '\u{200d}')
}

/// An id that programs write: lowercase letters, digits, `-` and `_`.
pub fn is_id(text: &str, longest: usize) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    (1..=longest).contains(&text.len()) && text.bytes().all(plain)
}

/// A text as it is compared: compatibility forms and marks folded away, lowercase, letters of other scripts as the
/// Latin ones they look like, nothing invisible.
pub fn fold(text: &str) -> String {
    text.nfkd()
        .filter(|c| !is_combining_mark(*c) && !is_invisible(*c))
        .flat_map(char::to_lowercase)
        .map(|c| {
            if c.is_ascii() {
                return c;
            }
            LOOKALIKES
                .iter()
                .find(|(likes, _)| likes.contains(c))
                .map_or(c, |(_, latin)| *latin)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_tricks_are_not_readable_and_those_of_all_languages_are() {
        for name in [
            "Garden",
            "Gärten & Höfe",
            "菜园",
            "باغچه‌ها",
            "👩‍🌾 farmers",
            "❤️",
            "Việt Nam",
        ] {
            assert!(is_readable(name), "{name}");
        }
        for name in [
            "",
            "  ",
            " padded",
            "admin\u{200b}",
            "ad\u{200d}min",
            "\u{202e}nimda",
            "a\u{2066}b",
            "tag\u{e0041}",
            "line\nbreak",
            "\u{3164}",
            "\u{2800}\u{2800}",
            "z\u{300}\u{301}\u{302}\u{303}\u{304}",
            "soft\u{ad}hyphen",
        ] {
            assert!(!is_readable(name), "{name:?}");
        }
    }

    #[test]
    fn what_looks_alike_folds_alike() {
        for name in [
            "Admin",
            "ADMIN",
            "ádmín",
            "аdmіn",
            "ａｄｍｉｎ",
            "ad\u{200b}min",
            "𝐚𝐝𝐦𝐢𝐧",
        ] {
            assert_eq!(fold(name), "admin", "{name}");
        }
        assert_ne!(fold("admit"), "admin");
        assert!(is_id("a-b_9", 5) && !is_id("", 5) && !is_id("Ab", 5) && !is_id("abcdef", 5));
    }
}
