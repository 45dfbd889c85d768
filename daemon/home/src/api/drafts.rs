//! What an app wants to send as a private message, read and checked.

use std::collections::BTreeSet;

use nostr::event::EventId;
use nostr::key::PublicKey;
use nostr::nips::nip19::{FromBech32, Nip19Profile};
use serde::Deserialize;

use crate::dialer::ServiceName;
use crate::messages::book::Book;
use crate::messages::error::MessageError;
use crate::messages::mailbox::Draft;
use crate::messages::named_service;
use crate::messages::record::TalkId;
use crate::messages::wraps::{CHAT, FILE, REACTION};

/// Characters of the name that an app gives to a message.
const CLIENT_CHARS: usize = 64;
/// Characters of a field of a file, of its address, of a subject, of a reaction.
const FIELD_CHARS: usize = 128;
const URL_CHARS: usize = 1024;
const SUBJECT_CHARS: usize = 80;
const REACTION_CHARS: usize = 64;

/// A message that is to be sent.
#[derive(Deserialize)]
pub struct Send {
    client_id: String,
    /// To whom.
    #[serde(default)]
    pub to: Vec<String>,
    conversation: Option<String>,
    text: Option<String>,
    file: Option<SentFile>,
    reaction: Option<Reaction>,
    reply_to: Option<String>,
    subject: Option<String>,
}

/// A file that was encrypted and uploaded by the app (NIP-17, kind 15).
#[derive(Deserialize)]
pub struct SentFile {
    url: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "aes_gcm")]
    algorithm: String,
    key: String,
    nonce: String,
    hash: String,
    original_hash: Option<String>,
    size: Option<u32>,
    dimensions: Option<String>,
    blurhash: Option<String>,
    name: Option<String>,
}

fn aes_gcm() -> String {
    "aes-gcm".into()
}

#[derive(Deserialize)]
pub struct Reaction {
    message: String,
    text: String,
}

/// What an app wants to send, as it is sent.
pub fn draft(
    send: &Send,
    mut to: BTreeSet<PublicKey>,
    book: &Book,
    most: usize,
) -> Result<Draft, MessageError> {
    if send.client_id.is_empty() || send.client_id.chars().count() > CLIENT_CHARS {
        return Err(MessageError::Field("client_id"));
    }
    let of = match (&send.conversation, &send.reaction) {
        (Some(id), _) => Some(talk_id(id)?),
        (None, Some(reaction)) => {
            let entry = book.entries.get(&message_id(&reaction.message)?);
            Some(entry.ok_or(MessageError::Unknown("message"))?.talk)
        }
        (None, None) => None,
    };
    let me = book.keys.public_key();
    if let Some(of) = of {
        let talk = book.talks.get(&of);
        let talk = talk.ok_or(MessageError::Unknown("conversation"))?;
        to.clone_from(&talk.people);
    } else if to.is_empty() {
        return Err(MessageError::Field("to"));
    }
    // A conversation with oneself names oneself.
    if to.len() > 1 {
        to.remove(&me);
    }
    let mut tags: Vec<Vec<String>> = Vec::new();
    let mut add = |name: &str, value: &str| tags.push(vec![name.to_owned(), value.to_owned()]);
    let short = |text: &str, most: usize| {
        !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
    };
    let (kind, content) = match (&send.text, &send.file, &send.reaction) {
        (Some(text), None, None) if !text.is_empty() => {
            if text.len() > most {
                return Err(MessageError::TooLong(most));
            }
            (CHAT, text.clone())
        }
        (None, Some(file), None) => {
            let is_hash =
                |text: &str| text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
            if !short(&file.url, URL_CHARS) {
                return Err(MessageError::Field("url"));
            }
            if !is_hash(&file.hash) || !file.original_hash.as_deref().is_none_or(is_hash) {
                return Err(MessageError::Field("hash"));
            }
            let size = file.size.map(|size| size.to_string());
            let known = [
                ("file-type", Some(&file.kind)),
                ("encryption-algorithm", Some(&file.algorithm)),
                ("decryption-key", Some(&file.key)),
                ("decryption-nonce", Some(&file.nonce)),
                ("x", Some(&file.hash)),
                ("ox", file.original_hash.as_ref()),
                ("size", size.as_ref()),
                ("dim", file.dimensions.as_ref()),
                ("blurhash", file.blurhash.as_ref()),
                ("filename", file.name.as_ref()),
            ];
            for (name, value) in known {
                match value {
                    Some(value) if short(value, FIELD_CHARS) => add(name, value),
                    Some(_) => return Err(MessageError::Field("file")),
                    None => {}
                }
            }
            (FILE, file.url.clone())
        }
        (None, None, Some(reaction)) if short(&reaction.text, REACTION_CHARS) => {
            let message = message_id(&reaction.message)?;
            if !book.entries.contains_key(&message) {
                return Err(MessageError::Unknown("message"));
            }
            add("e", &message.to_hex());
            (REACTION, reaction.text.clone())
        }
        _ => return Err(MessageError::Field("text")),
    };
    if let Some(reply) = send.reply_to.as_deref().filter(|_| kind != REACTION) {
        add("e", &message_id(reply)?.to_hex());
    }
    if let Some(subject) = &send.subject {
        if !short(subject, SUBJECT_CHARS) {
            return Err(MessageError::Field("subject"));
        }
        add("subject", subject);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    add("ms", &now.map_or(0, |now| now.subsec_millis()).to_string());
    Ok(Draft {
        client: Some(send.client_id.clone()),
        to: to.into_iter().collect(),
        kind,
        tags,
        content,
    })
}

/// A conversation as apps name it.
pub fn talk_id(text: &str) -> Result<TalkId, MessageError> {
    TalkId::parse(text).ok_or(MessageError::Unknown("conversation"))
}

/// A message as apps name it.
pub fn message_id(text: &str) -> Result<EventId, MessageError> {
    EventId::from_hex(text).map_err(|_| MessageError::Unknown("message"))
}

/// A person as apps name one: hexadecimal digits, `npub1...`, or `nprofile1...` with relays.
pub fn person(text: &str) -> Result<(PublicKey, Vec<ServiceName>), MessageError> {
    let text = text.strip_prefix("nostr:").unwrap_or(text);
    if text.starts_with("nprofile1") {
        let profile = Nip19Profile::from_bech32(text).map_err(|_| MessageError::Field("to"))?;
        let relays = profile.relays.iter().map(|relay| relay.to_string());
        let relays = relays.filter_map(|relay| named_service(&relay));
        return Ok((profile.public_key, relays.take(3).collect()));
    }
    let person = PublicKey::from_hex(text).or_else(|_| PublicKey::from_bech32(text));
    person
        .map(|person| (person, Vec::new()))
        .map_err(|_| MessageError::Field("to"))
}
