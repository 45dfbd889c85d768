//! Who asks: a signed event in the `Authorization` header (BUD-11).

use data_encoding::BASE64URL_NOPAD;
use nostr::event::Event;
use nostr::key::PublicKey;

use super::blobs::FileHash;
use crate::record::{ChannelId, tag_values};

/// The kind of such an event (BUD-11).
const KIND: u16 = 24242;
/// Longest header, in bytes.
const HEADER_BYTES: usize = 12 * 1024;
/// Tags of one event.
const TAGS: usize = 100;

/// What a token permits: the value of its `t` tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To read a file.
    Get,
    /// To write one.
    Upload,
    /// To ask for a list.
    List,
    /// To delete one.
    Delete,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Upload => "upload",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("auth-required: say who you are (Authorization: Nostr, kind 24242)")]
    Missing,
    /// It is not base64 of an event.
    #[error("auth-required: the Authorization header is not `Nostr` and an event in base64")]
    Shape,
    /// It is an event for something else.
    #[error("auth-required: the event in the Authorization header has another kind than 24242")]
    Kind,
    /// Its date lies in the future.
    #[error(
        "auth-required: the date of the proof lies in the future; set the clock of your device"
    )]
    Future,
    /// It is over, or does not say when it will be.
    #[error("auth-required: the proof has no expiration, or has expired")]
    Expired,
    /// It permits something else.
    #[error("auth-required: the proof permits something else (its t tag)")]
    Verb,
    /// It is for other servers.
    #[error("auth-required: the proof is for another server (its server tags)")]
    Server,
    /// It is for other files.
    #[error("auth-required: the proof is for another file (its x tags)")]
    File,
    /// It names several channels, or something that is none.
    #[error("auth-required: the proof must name one channel (its h tag)")]
    Channel,
    /// The signature is wrong.
    #[error("auth-required: the signature of the proof is wrong")]
    Signature,
}

/// A token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Who asks.
    pub person: PublicKey,
    /// The files it is for; empty: any, where the request needs no named one.
    pub files: Vec<FileHash>,
    /// The channel it names (our own tag `h`).
    pub channel: Option<ChannelId>,
    /// Whether it names this space. A token that does not could have been given to any server, and that server could use
    /// it here: it does not open private files.
    pub is_for_here: bool,
}

impl Token {
    /// Whether it may be used for a file.
    pub fn covers(&self, hash: &FileHash) -> Result<(), AuthError> {
        if self.files.contains(hash) {
            Ok(())
        } else {
            Err(AuthError::File)
        }
    }
}

/// The event in a header, not yet checked.
pub fn decode(header: &str) -> Result<Event, AuthError> {
    let (scheme, encoded) = header.trim().split_once(' ').ok_or(AuthError::Shape)?;
    if !scheme.eq_ignore_ascii_case("nostr") || encoded.len() > HEADER_BYTES {
        return Err(AuthError::Shape);
    }
    // URL-safe without padding is the rule; many programs still send padding, or the standard alphabet.
    let normal: Vec<u8> = encoded
        .trim()
        .trim_end_matches('=')
        .bytes()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            byte => byte,
        })
        .collect();
    let json = BASE64URL_NOPAD
        .decode(&normal)
        .map_err(|_| AuthError::Shape)?;
    serde_json::from_slice(&json).map_err(|_| AuthError::Shape)
}

/// What a token is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// What it must permit.
    pub verb: Verb,
    /// The service name of this space.
    pub service: &'a str,
    /// The time, seconds since 1970.
    pub now: u64,
    /// Seconds its date may lie in the future.
    pub future_seconds: u64,
}

/// The token in a header, checked with its signature.
pub fn token(header: &str, expected: Expected<'_>) -> Result<Token, AuthError> {
    let event = decode(header)?;
    let token = check(&event, expected)?;
    if !event.verify_id() || !event.verify_signature() {
        return Err(AuthError::Signature);
    }
    Ok(token)
}

fn check(event: &Event, expected: Expected<'_>) -> Result<Token, AuthError> {
    if event.kind.as_u16() != KIND {
        return Err(AuthError::Kind);
    }
    if event.tags.len() > TAGS {
        return Err(AuthError::Shape);
    }
    if event.created_at.as_secs() > expected.now.saturating_add(expected.future_seconds) {
        return Err(AuthError::Future);
    }
    let expires = tag_values(event, "expiration")
        .next()
        .and_then(|time| time.parse::<u64>().ok());
    if expires.is_none_or(|time| time <= expected.now) {
        return Err(AuthError::Expired);
    }
    if !tag_values(event, "t").any(|verb| verb == expected.verb.as_str()) {
        return Err(AuthError::Verb);
    }
    let mut servers = tag_values(event, "server").peekable();
    let is_scoped = servers.peek().is_some();
    if is_scoped && !servers.any(|server| names_here(server, expected.service)) {
        return Err(AuthError::Server);
    }
    let files = tag_values(event, "x").filter_map(FileHash::parse).collect();
    let mut channels = tag_values(event, "h");
    let channel = match channels.next() {
        None => None,
        Some(id) => Some(ChannelId::parse(id).ok_or(AuthError::Channel)?),
    };
    if channels.next().is_some() {
        return Err(AuthError::Channel);
    }
    Ok(Token {
        person: event.pubkey,
        files,
        channel,
        is_for_here: is_scoped,
    })
}

/// Whether a server tag names this space: `<service>.warren`, or `<service>.localhost` for programs that reach it through
/// a home.
fn names_here(server: &str, service: &str) -> bool {
    let name = server.trim_end_matches('.').to_ascii_lowercase();
    [".warren", ".localhost"]
        .iter()
        .any(|suffix| name.strip_suffix(suffix) == Some(service))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Person, SERVICE};
    use data_encoding::{BASE64, BASE64URL};

    const NOW: u64 = 1000;
    const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn read(event: &Event, verb: Verb) -> Result<Token, AuthError> {
        let json = serde_json::to_vec(event).unwrap();
        let header = format!("Nostr {}", BASE64URL_NOPAD.encode(&json));
        token(&header, expected(verb))
    }

    fn expected(verb: Verb) -> Expected<'static> {
        Expected {
            verb,
            service: SERVICE,
            now: NOW,
            future_seconds: 60,
        }
    }

    #[test]
    fn a_token_is_read_in_every_base64() {
        let ann = Person::new(1);
        // The content makes both characters appear in which the alphabets differ.
        let event = ann.event(
            24242,
            NOW,
            &[&["t", "get"], &["expiration", "2000"]],
            "ÿ?ÿ>~~¿",
        );
        let json = serde_json::to_vec(&event).unwrap();
        for encoded in [
            BASE64URL_NOPAD.encode(&json),
            BASE64URL.encode(&json),
            BASE64.encode(&json),
        ] {
            let read = token(&format!("nostr  {encoded}"), expected(Verb::Get)).unwrap();
            assert_eq!(read.person, ann.key());
            assert!(!read.is_for_here);
        }
        for header in ["", "Nostr", "Nostr ", "Nostr !", "Bearer abc", "Nostr e30"] {
            assert_eq!(decode(header).unwrap_err(), AuthError::Shape, "{header}");
        }
    }

    #[test]
    fn a_token_counts_only_for_its_verb_time_server_and_files() {
        let ann = Person::new(1);
        let here = format!("{SERVICE}.warren");
        let here = ["server", &here];
        let good: Vec<&[&str]> = vec![
            &["t", "upload"],
            &["expiration", "2000"],
            &["x", HASH],
            &["server", "cdn.example.com"],
            &here,
            &["h", "cellar"],
        ];
        let read_tags = |tags: &[&[&str]]| read(&ann.event(24242, NOW, tags, ""), Verb::Upload);
        let token = read_tags(&good).unwrap();
        assert!(token.is_for_here);
        assert_eq!(token.channel, ChannelId::parse("cellar"));
        assert_eq!(token.covers(&FileHash::parse(HASH).unwrap()), Ok(()));
        assert_eq!(
            token.covers(&FileHash::from_bytes([1; 32])),
            Err(AuthError::File)
        );
        let changed = |index: usize, tag: &'static [&'static str]| {
            let mut tags = good.clone();
            tags[index] = tag;
            read_tags(&tags).unwrap_err()
        };
        assert_eq!(changed(0, &["t", "delete"]), AuthError::Verb);
        assert_eq!(changed(1, &["expiration", "1000"]), AuthError::Expired);
        assert_eq!(changed(1, &["expiration", "soon"]), AuthError::Expired);
        assert_eq!(changed(1, &["x", "x"]), AuthError::Expired);
        assert_eq!(changed(4, &["server", "evil.example"]), AuthError::Server);
        assert_eq!(changed(5, &["h", ""]), AuthError::Channel);
        assert_eq!(changed(2, &["h", "attic"]), AuthError::Channel);
        let late = ann.event(24242, NOW + 61, &good, "");
        assert_eq!(read(&late, Verb::Upload), Err(AuthError::Future));
        let other = ann.event(22242, NOW, &good, "");
        assert_eq!(read(&other, Verb::Upload), Err(AuthError::Kind));
        let mut forged = ann.event(24242, NOW, &good, "");
        forged.pubkey = Person::new(2).key();
        assert_eq!(read(&forged, Verb::Upload), Err(AuthError::Signature));
    }
}
