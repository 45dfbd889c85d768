//! How far somebody has read (30078 with `d` = `read-state:<slot>`, one slot a device): sealed by the person for itself
//! (NIP-44), kept with the private messages, given to its author alone. The space cannot read it.

use data_encoding::BASE64;
use nostr::event::{Event, Kind};
use nostr::filter::Filter;

use crate::config::Limits;
use crate::core::Core;
use crate::groups::kinds;
use crate::groups::rules::content::is_shortcode;
use crate::groups::rules::{Refusal, invalid, restricted};
use crate::store::{Query, StoreError};

/// How the `d` tag begins.
const NAME: &str = "read-state:";
/// First byte of what is sealed by NIP-44.
const SEALED: u8 = 2;
/// Shortest and longest padding aside, bytes of the smallest sealed text: version, nonce, one block, code.
const SEALED_BYTES: usize = 1 + 32 + 34 + 32;
/// Tags of one.
const TAGS: usize = 4;

/// Whether an event is a read state.
pub fn is_one(event: &Event) -> bool {
    event.kind.as_u16() == kinds::APP_DATA
        && event.tags.identifier().is_some_and(|d| d.starts_with(NAME))
}

/// Whether it has the shape of one.
pub fn check(event: &Event, limits: &Limits) -> Result<(), Refusal> {
    let d = event.tags.identifier().unwrap_or_default();
    if !d.strip_prefix(NAME).is_some_and(is_shortcode) {
        return Err(invalid(
            "the d tag of a read state is `read-state:` and up to 64 letters, digits, - and _",
        ));
    }
    if event.tags.len() > TAGS {
        return Err(invalid("a read state has up to 4 tags"));
    }
    if event.content.len() > limits.read_state_chars {
        return Err(Refusal::from(format!(
            "invalid: a read state has up to {} characters",
            limits.read_state_chars
        )));
    }
    let sealed = BASE64.decode(event.content.as_bytes());
    if !sealed.is_ok_and(|bytes| bytes.first() == Some(&SEALED) && bytes.len() >= SEALED_BYTES) {
        return Err(invalid(
            "a read state is sealed for its author (NIP-44): others are not to read it, this space neither",
        ));
    }
    Ok(())
}

/// Whether the author may have one more, where this is a new one.
pub fn check_room(event: &Event, core: &Core) -> Result<(), crate::ingest::Stop> {
    if !is_one(event) {
        return Ok(());
    }
    let most = core.config.limits.read_states;
    if others(event, most, core)? >= most {
        return Err(restricted("you keep as many read states here as you may").into());
    }
    Ok(())
}

/// The author's read states of other slots, at most `most`.
fn others(event: &Event, most: usize, core: &Core) -> Result<usize, StoreError> {
    let filter = Filter::new()
        .kind(Kind::from_u16(kinds::APP_DATA))
        .author(event.pubkey);
    let page = core.store.query(&Query {
        filter: &filter,
        without: &[],
        after: None,
        limit: most + 2,
        bytes: usize::MAX,
        now: core.now(),
    })?;
    let is_other =
        |other: &Event| is_one(other) && other.tags.identifier() != event.tags.identifier();
    Ok(page
        .events
        .iter()
        .filter(|other| is_other(&other.event))
        .count())
}
