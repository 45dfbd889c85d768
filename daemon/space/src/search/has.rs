//! What a message has in it besides words, told from its tags (NIP-92) and from the addresses in its text.

use nostr::event::Event;

use crate::record::tag_values;

/// Kind of a poll (NIP-88).
const POLL: u16 = 1068;

/// Something to search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Has {
    /// The address of a page or a file.
    Link,
    /// A picture.
    Image,
    /// A video.
    Video,
    /// Any other file.
    File,
    /// A poll.
    Poll,
}

impl Has {
    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "link" => Self::Link,
            "image" => Self::Image,
            "video" => Self::Video,
            "file" => Self::File,
            "poll" => Self::Poll,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Image => "image",
            Self::Video => "video",
            Self::File => "file",
            Self::Poll => "poll",
        }
    }

    /// What an event has.
    pub fn of(event: &Event) -> Vec<Self> {
        let mut found = Vec::new();
        let mut add = |has: Self| {
            if !found.contains(&has) {
                found.push(has);
            }
        };
        if event.kind.as_u16() == POLL {
            add(Self::Poll);
        }
        if event.kind.as_u16() != 0 {
            for address in addresses(&event.content) {
                add(Self::Link);
                by_ending(address).into_iter().for_each(&mut add);
            }
        }
        if tag_values(event, "r").any(|address| addresses(address).next().is_some()) {
            add(Self::Link);
        }
        for tag in event.tags.iter().filter(|tag| tag.kind() == "imeta") {
            let field = |name: &str| {
                let fields = tag.as_slice().iter().skip(1);
                fields
                    .filter_map(|field| field.split_once(' '))
                    .find_map(|(key, value)| (key == name).then_some(value))
            };
            add(match field("m") {
                Some(media) if media.starts_with("image/") => Self::Image,
                Some(media) if media.starts_with("video/") => Self::Video,
                Some(_) => Self::File,
                None => field("url").and_then(by_ending).unwrap_or(Self::File),
            });
        }
        found
    }
}

/// The addresses in a text.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | '"'))
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
}

/// What lies at an address, by the ending of its path.
fn by_ending(address: &str) -> Option<Has> {
    let path = address.split(['?', '#']).next()?;
    let name = path.rsplit('/').next()?;
    let (_, ending) = name.rsplit_once('.')?;
    match ending.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" | "gif" | "webp" | "avif" | "svg" | "bmp" => Some(Has::Image),
        "mp4" | "webm" | "mov" | "m4v" | "mkv" | "ogv" => Some(Has::Video),
        "pdf" | "zip" | "gz" | "txt" | "doc" | "docx" | "odt" | "ods" | "xlsx" | "epub" | "mp3"
        | "ogg" | "opus" | "flac" | "wav" | "m4a" | "csv" | "gpx" | "stl" => Some(Has::File),
        _ => None,
    }
}
