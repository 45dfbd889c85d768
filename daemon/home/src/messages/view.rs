//! Messages and conversations as the interface shows them. Texts are read from the disk, one message at a time.

use nostr::event::EventId;
use nostr::key::PublicKey;
use serde_json::{Value, json};

use crate::messages::book::{Book, Entry, News, Talk};
use crate::messages::error::MessageError;
use crate::messages::inner::Inner;
use crate::messages::mailbox::Change;
use crate::messages::wraps::{self, FILE};

/// One message.
pub fn message(
    inner: &Inner,
    book: &Book,
    id: &EventId,
    entry: &Entry,
) -> Result<Value, MessageError> {
    let kept = inner.kept(book, entry)?;
    let tags = &kept.rumor.tags;
    let value = |name| wraps::values(tags, name).next();
    let mut view = json!({
        "id": id, "conversation": entry.talk, "author": entry.author, "at": entry.at,
        "kind": entry.kind, "client_id": kept.client,
    });
    if entry.kind == FILE {
        view["file"] = json!({
            "url": kept.rumor.content, "type": value("file-type"), "algorithm": value("encryption-algorithm"),
            "key": value("decryption-key"), "nonce": value("decryption-nonce"), "hash": value("x"),
            "original_hash": value("ox"), "size": value("size").and_then(|size| size.parse::<u64>().ok()),
            "dimensions": value("dim"), "blurhash": value("blurhash"), "name": value("filename"),
        });
    } else {
        view["text"] = kept.rumor.content.as_str().into();
    }
    view["reply_to"] = json!(wraps::named(tags).next());
    let mut reactions = Vec::new();
    for reaction in &entry.reactions {
        if let Some(entry) = book.entries.get(reaction) {
            let text = inner.kept(book, entry)?.rumor.content;
            reactions.push(json!({"id": reaction, "author": entry.author, "text": text}));
        }
    }
    view["reactions"] = reactions.into();
    if entry.author == book.keys.public_key() {
        let reached = book.reached.get(id);
        let one = |(person, wrap): &(PublicKey, EventId)| {
            let sent = inner.index.sent.get(wrap);
            let state = match reached.and_then(|of| of.get(person)) {
                Some(reached) => reached.word(),
                None if sent.is_some() => "sent",
                None if inner.is_pending(wrap) => "waiting",
                None => "stopped",
            };
            json!({"person": person, "state": state, "by": sent})
        };
        view["to"] = entry.wraps.iter().map(one).collect();
    }
    Ok(view)
}

/// One conversation, with its last message.
pub fn talk(inner: &Inner, book: &Book, talk: &Talk) -> Result<Value, MessageError> {
    let me = book.keys.public_key();
    let people: Vec<_> = talk.people.iter().filter(|person| **person != me).collect();
    let last = talk.order.last().map(|(_, _, _, id)| id);
    let last = last.and_then(|id| Some((id, book.entries.get(id)?)));
    let last = last.map(|(id, entry)| message(inner, book, id, entry));
    Ok(json!({
        "id": talk.marks.id, "people": people, "subject": talk.subject.as_ref().map(|(_, subject)| subject),
        "unread": book.unread(talk).count(), "muted": talk.marks.muted, "request": talk.is_request(),
        "last": last.transpose()?,
    }))
}

/// That a message of the person got somewhere.
pub fn state(entry: &Entry, id: &EventId, person: &PublicKey, state: &str) -> Change {
    let data = json!({"conversation": entry.talk, "message": id, "person": person, "state": state});
    ("state", data)
}

/// What the person's apps are told of something new.
pub fn changes(inner: &Inner, news: &News) -> Vec<Change> {
    let Some(book) = &inner.book else {
        return Vec::new();
    };
    let shown = |id: &EventId| {
        let entry = book.entries.get(id)?;
        let talk = book.talks.get(&entry.talk)?;
        let message = message(inner, book, id, entry);
        let message = message.inspect_err(|error| log::error!("{error}")).ok()?;
        let data =
            json!({"message": message, "muted": talk.marks.muted, "request": talk.is_request()});
        Some(data)
    };
    match news {
        News::Message(id) => shown(id)
            .map(|data| ("message", data))
            .into_iter()
            .collect(),
        News::Reaction(target, _) => shown(target)
            .map(|data| ("reaction", data))
            .into_iter()
            .collect(),
        News::Deleted(gone) => gone
            .iter()
            .map(|(id, entry)| {
                (
                    "deleted",
                    json!({"conversation": entry.talk, "message": id}),
                )
            })
            .collect(),
        News::Reached(person, reached, ids) => ids
            .iter()
            .filter_map(|id| Some(state(book.entries.get(id)?, id, person, reached.word())))
            .collect(),
    }
}
