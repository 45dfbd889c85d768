//! Protected events (NIP-70): their author alone may publish them. That nobody publishes another's event here holds for
//! all events (step 6 of the way in); what is left are reposts that carry a protected event inside.

use nostr::event::Event;
use serde_json::Value;

/// Reposts (NIP-18): of a note, and of anything else.
const REPOSTS: [u16; 2] = [6, 16];

/// Whether an event is a repost with a protected event in its content.
pub fn embeds_protected(event: &Event) -> bool {
    REPOSTS.contains(&event.kind.as_u16())
        && serde_json::from_str::<Value>(&event.content).is_ok_and(|inside| {
            inside["tags"]
                .as_array()
                .is_some_and(|tags| tags.iter().any(|tag| tag[0] == "-"))
        })
}
