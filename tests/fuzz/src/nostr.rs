//! What Nostr programs and browsers send, and what a space finds on its disk.

/// A message of a Nostr program.
pub fn client(bytes: &[u8]) {
    warren_space::fuzz::client_message(bytes);
}

/// A segment of the journal.
pub fn journal(bytes: &[u8]) {
    warren_space::fuzz::journal_segment(bytes);
}

/// An event in the journal.
pub fn event(bytes: &[u8]) {
    warren_space::fuzz::journal_event(bytes);
}

/// A call of a space's management.
pub fn management(bytes: &[u8]) {
    warren_space::fuzz::management(bytes);
}

/// A message under a space's filters.
pub fn filters(bytes: &[u8]) {
    warren_space::fuzz::filters(bytes);
}

/// A `Host` header and the body of a form.
pub fn web(bytes: &[u8]) {
    warren_home::fuzz::host(bytes);
    warren_home::fuzz::form(bytes);
}
