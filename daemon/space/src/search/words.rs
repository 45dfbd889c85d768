//! Words of any language. Text is read as Unicode's compatible decomposition (full-width letters are letters), in small
//! letters and without accents. Scripts that are written without spaces are cut into pairs of neighbouring characters,
//! and the last character once more alone, so that one character is found as well as many; a dictionary for each
//! language would be larger than all of Warren. The same is done to what is searched for.
//!
//! A change here changes what the index holds: its version goes up with it.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// Characters of a word that count: longer ones are no words of people.
const WORD_CHARS: usize = 40;

/// Whether a character's script is written without spaces between words: Thai to Lao, Myanmar, Khmer, Japanese, Chinese.
/// Korean writes spaces, but glues what belongs to a word to it.
pub fn is_spaceless(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x31f0..=0x31ff | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// Marks that people leave out when they write in a hurry: accents of European scripts, vowel points of Hebrew and
/// Arabic, and what only says how a character looks.
fn is_left_out(c: char) -> bool {
    matches!(u32::from(c),
        0x0300..=0x036f | 0x0591..=0x05bd | 0x05bf..=0x05c7 | 0x0610..=0x061a | 0x0640 | 0x064b..=0x065f | 0x0670
        | 0x200c..=0x200d | 0x00ad | 0xfe00..=0xfe0f)
}

/// What a character is for a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Spaceless,
    Between,
}

fn class(c: char) -> Class {
    if is_spaceless(c) {
        Class::Spaceless
    } else if c.is_alphanumeric() || is_combining_mark(c) {
        Class::Letter
    } else {
        Class::Between
    }
}

/// Calls `each` for every word, in order, and says whether it begins a new run: the pairs of one run overlap.
pub fn words(text: &str, mut each: impl FnMut(&str, bool)) {
    let mut run = Run::default();
    for c in text.chars() {
        plain(c, |c| run.push(c, &mut each));
    }
    run.end(&mut each);
}

/// A character in small letters and without accents.
fn plain(c: char, mut each: impl FnMut(char)) {
    if c.is_ascii() {
        return each(c.to_ascii_lowercase());
    }
    let mut small = |c: char| {
        c.to_lowercase()
            .filter(|c| !is_left_out(*c))
            .for_each(&mut each);
    };
    // Korean syllables would fall apart into letters.
    if matches!(u32::from(c), 0xac00..=0xd7af) {
        small(c);
    } else {
        decompose_compatible(c, |c| {
            if !is_left_out(c) {
                small(c);
            }
        });
    }
}

/// Letters that belong together so far.
struct Run {
    class: Class,
    text: String,
    chars: usize,
    is_new: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            class: Class::Between,
            text: String::new(),
            chars: 0,
            is_new: true,
        }
    }
}

impl Run {
    fn push(&mut self, c: char, each: &mut impl FnMut(&str, bool)) {
        let class = class(c);
        if class != self.class {
            self.end(each);
            self.class = class;
        }
        match class {
            Class::Between => {}
            Class::Letter if self.chars < WORD_CHARS => {
                self.text.push(c);
                self.chars += 1;
            }
            Class::Letter => {}
            Class::Spaceless => {
                self.text.push(c);
                self.chars += 1;
                if self.chars == 2 {
                    each(&self.text, std::mem::take(&mut self.is_new));
                    let first = self.text.chars().next().map_or(0, char::len_utf8);
                    self.text.drain(..first);
                    self.chars = 1;
                }
            }
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&str, bool)) {
        if !self.text.is_empty() {
            each(&self.text, self.is_new);
        }
        self.text.clear();
        self.chars = 0;
        self.is_new = true;
    }
}
