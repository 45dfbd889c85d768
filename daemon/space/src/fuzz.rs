//! Every parser of foreign bytes as a function that a fuzzer can call. None of them may panic, or take more memory
//! than a small multiple of what it was given.

use nostr::event::{Event, EventId, Kind, Signature, Tag};
use nostr::filter::Filter;
use nostr::key::PublicKey;
use nostr::types::Timestamp;

use crate::config::Limits;
use crate::files::{auth, manage, media, mirror, range};
use crate::groups::Metadata;
use crate::groups::filters::{Filters, Links, host};
use crate::groups::rules;
use crate::journal::segment::{Found, Header, Scanner};
use crate::questions::sync;
use crate::record::StoredEvent;
use crate::search;
use crate::wire::{self, ClientMessage};
use crate::{management, names, read_state, webhooks};

/// A message of a client, and what is read out of the event in it.
pub fn client_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(ClientMessage::Event(event) | ClientMessage::Auth(event)) =
        wire::parse(text, &Limits::default())
    {
        let _ = Metadata::from_event(&event);
        let _ = rules::content::check(&event);
        let _ = rules::content::edits_of(&event);
        let _ = read_state::check(&event, &Limits::default());
        let stored = StoredEvent {
            event: *event,
            channel: None,
        };
        let mut encoded = Vec::new();
        stored.encode(&mut encoded);
        assert_eq!(
            StoredEvent::decode(&encoded),
            Ok(stored),
            "what was written must read back"
        );
    }
}

/// A message of a sync (NIP-77), as it is after its hex.
pub fn sync_message(bytes: &[u8]) {
    if let Some(length) = sync::answer_for_fuzzing(bytes) {
        assert!(length <= 4096, "an answer is as long as it may be");
    }
}

/// What a person searches for (NIP-50), and a text it is searched in, with a zero byte between.
pub fn search_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (wanted, content) = text.split_once('\0').unwrap_or((text, text));
    let mut filter = Filter::new().search(wanted);
    search::apply_operators(&mut filter);
    let again = filter.clone();
    search::apply_operators(&mut filter);
    assert_eq!(filter, again, "what was narrowed stays as it is");
    let keys = PublicKey::from_byte_array([1; 32]);
    let event = Event::new(
        EventId::from_byte_array([2; 32]),
        keys,
        Timestamp::from_secs(1),
        Kind::from_u16(9),
        Vec::<Tag>::new(),
        content,
        Signature::from_byte_array([3; 64]),
    );
    let _ = search::wants(&filter, &event);
}

/// A segment of the journal, with the events in it.
pub fn journal_segment(bytes: &[u8]) {
    let _ = Header::decode(bytes);
    for found in Scanner::new(bytes, 0) {
        if let Found::Record { payload, .. } = found {
            let _ = StoredEvent::decode(payload);
        }
    }
}

/// One event's bytes in the journal.
pub fn journal_event(bytes: &[u8]) {
    let _ = StoredEvent::decode(bytes);
}

/// An `Authorization` header (BUD-11), with all that is checked before the signature.
pub fn authorization(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for verb in [
        auth::Verb::Get,
        auth::Verb::Upload,
        auth::Verb::List,
        auth::Verb::Delete,
    ] {
        let _ = auth::token(
            text,
            auth::Expected {
                verb,
                service: &"a".repeat(52),
                now: 1_750_000_000,
                future_seconds: 900,
            },
        );
    }
}

/// A `Range` header (RFC 9110), for a file of as many bytes as the first eight say.
pub fn range(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first_chunk() else {
        return;
    };
    let size = u64::from_be_bytes(*size);
    if let Ok(text) = std::str::from_utf8(text)
        && let Some(range::Part::Some { start, length }) = range::parse(text, size)
    {
        assert!(
            length > 0 && start < size && length <= size - start,
            "a part must lie in its file"
        );
    }
}

/// What a request about files says of a file: a media type, the query of a list, the body of a copy with its address.
pub fn file_description(bytes: &[u8]) {
    if let Some(url) = mirror::address(bytes) {
        let _ = mirror::origin(&url);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let media_type = media::clean(Some(text));
    assert_eq!(
        media::clean(Some(&media_type)),
        media_type,
        "what was cleaned must stay as it is"
    );
    let _ = media::extension(&media_type);
    let _ = manage::question(text);
    let _ = mirror::origin(text);
}

/// What is posted to a webhook.
pub fn webhook(bytes: &[u8]) {
    if let Ok(posted) = webhooks::parse(bytes) {
        assert!(!posted.content.trim().is_empty());
    }
}

/// A call of the management and its proof of identity (NIP-86, NIP-98).
pub fn management(bytes: &[u8]) {
    management::read_all(bytes);
}

/// A message under the filters of a space: the words come first, one a line, then an empty line and the message.
pub fn filters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (words, message) = text.split_once("\n\n").unwrap_or((text, text));
    let links = Links::To(words.lines().map(host).map(Into::into).collect());
    let filters = Filters::new(words.lines(), links);
    let _ = filters.check_text(message);
    let folded = names::fold(message);
    assert!(!folded.contains('\u{202e}'));
    let _ = rules::profile(message);
}
