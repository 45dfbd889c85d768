//! Names of accounts. Two names that a person could take for the same are the same:
//!
//! 1. the name is cleaned (no control characters, no marks that turn text around) and brought into NFKC, so that
//!    full-width, ligature and composed spellings fall together;
//! 2. its characters are those that UTS 39 allows in names, and the space; it begins with a letter or a digit;
//! 3. its characters are of one script (UTS 39, section 5.1; Japanese and Korean with their Chinese characters count as
//!    one), so that no Cyrillic letter hides in a Latin name;
//! 4. at one home no two names have the same case folding, and no two have the same skeleton of confusables (UTS 39,
//!    section 4): a name in Cyrillic letters that all look Latin, or `l` in place of `I`.

use unicode_normalization::UnicodeNormalization;
use unicode_security::{GeneralSecurityProfile, MixedScript, skeleton};

use crate::guests::{NAME_CHARS, clean_name};

/// Longest handle, in characters.
pub const HANDLE_CHARS: usize = 30;

/// Why a name cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// There is nothing in it.
    Empty,
    /// It has more than [`NAME_CHARS`] characters.
    Long,
    /// It has a character that names do not have.
    Characters,
    /// It mixes scripts.
    Scripts,
}

impl NameFault {
    /// The word for it in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Long => "long",
            Self::Characters => "characters",
            Self::Scripts => "scripts",
        }
    }
}

/// A name that can be one, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

impl AccountName {
    /// Takes a name as somebody typed it.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.len() > 40 * NAME_CHARS {
            return Err(NameFault::Long);
        }
        let name: String = text.nfkc().collect();
        let name = clean_name(&name).ok_or(NameFault::Empty)?;
        if name.chars().count() > NAME_CHARS {
            return Err(NameFault::Long);
        }
        let allowed = |c: char| c == ' ' || c.identifier_allowed();
        if !name.chars().all(allowed) || !name.starts_with(char::is_alphanumeric) {
            return Err(NameFault::Characters);
        }
        if !name.is_single_script() {
            return Err(NameFault::Scripts);
        }
        Ok(Self(name))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is the same for all spellings in which somebody may type this name.
    pub fn folded(&self) -> String {
        fold(&self.0)
    }

    /// What is the same for all names that look like this one.
    pub fn look(&self) -> String {
        fold(&skeleton(&self.0).collect::<String>())
    }

    /// The handle that goes with this name, if its letters are those of one.
    pub fn handle(&self) -> Option<String> {
        parse_handle(&self.folded().replace(' ', "."))
    }
}

/// Case folding: characters that are the same in capitals are the same.
fn fold(text: &str) -> String {
    let upper = text.chars().flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfkc().collect()
}

/// A name as NIP-05 has it: 1 to [`HANDLE_CHARS`] of `a-z0-9-_.`. `_` alone stands for the home.
pub fn parse_handle(text: &str) -> Option<String> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
    let fits = (1..=HANDLE_CHARS).contains(&text.len()) && text != "_";
    (fits && text.bytes().all(allowed)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AccountName {
        AccountName::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[test]
    fn people_may_have_names_in_their_own_letters() {
        for text in [
            "Ann",
            "O'Neil",
            "Ann-Sophie 2",
            "Жанна",
            "Ζωή",
            "さくら花子",
            "김민준",
            "محمد",
            "Łukasz",
            "Jürgen",
        ] {
            assert_eq!(name(text).as_str(), text);
        }
        assert_eq!(name("  Ann \u{202e} B\n").as_str(), "Ann B");
        assert_eq!(name("\u{ff21}nn").as_str(), "Ann", "full width");
    }

    #[test]
    fn names_that_play_tricks_are_refused() {
        for (text, fault) in [
            (" \u{200b}", NameFault::Empty),
            (&*"x".repeat(41), NameFault::Long),
            (&*"x".repeat(4000), NameFault::Long),
            ("Ann\u{1f600}", NameFault::Characters),
            ("<Ann>", NameFault::Characters),
            (".Ann", NameFault::Characters),
            ("\u{0410}nn", NameFault::Scripts),
            ("Αnn", NameFault::Scripts),
        ] {
            assert_eq!(AccountName::parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn spellings_of_one_name_fold_together_and_lookalikes_look_alike() {
        for (one, other) in [
            ("ANN", "ann"),
            ("Straße", "STRASSE"),
            ("Ζωής", "ΖΩΉΣ"),
            ("é", "e\u{301}"),
        ] {
            assert_eq!(name(one).folded(), name(other).folded(), "{one} {other}");
        }
        for (one, other) in [
            ("сосо", "coco"),
            ("Ian", "lan"),
            ("b0b", "bOb"),
            ("a1", "al"),
        ] {
            assert_eq!(name(one).look(), name(other).look(), "{one} {other}");
        }
        assert_ne!(name("Ann").look(), name("Anna").look());
        assert_eq!(name("Ann B").handle().as_deref(), Some("ann.b"));
        assert_eq!(name("Жанна").handle(), None);
        for text in ["", "_", "Ann", "a b", "é", &"x".repeat(31)] {
            assert_eq!(parse_handle(text), None, "{text}");
        }
    }
}
