//! Every parser of foreign bytes as a function that a fuzzer can call. None of them may panic, or take more memory
//! than a small multiple of what it was given.

use crate::config::Limits;
use crate::groups::Metadata;
use crate::groups::filters::{Filters, Links, host};
use crate::groups::rules;
use crate::journal::segment::{Found, Header, Scanner};
use crate::record::StoredEvent;
use crate::wire::{self, ClientMessage};
use crate::{management, names};

/// A message of a client, and what is read out of the event in it.
pub fn client_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(ClientMessage::Event(event) | ClientMessage::Auth(event)) =
        wire::parse(text, &Limits::default())
    {
        let _ = Metadata::from_event(&event);
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
