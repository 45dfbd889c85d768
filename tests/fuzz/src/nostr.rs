//! What Nostr programs and browsers send, and what a space and a home find on their disks.

/// A message of a Nostr program.
pub fn client(bytes: &[u8]) {
    warren_space::fuzz::client_message(bytes);
}

/// A message of a sync.
pub fn sync(bytes: &[u8]) {
    warren_space::fuzz::sync_message(bytes);
}

/// What a person searches for, and where.
pub fn search(bytes: &[u8]) {
    warren_space::fuzz::search_text(bytes);
}

/// A segment of the journal.
pub fn journal(bytes: &[u8]) {
    warren_space::fuzz::journal_segment(bytes);
}

/// An event in the journal.
pub fn event(bytes: &[u8]) {
    warren_space::fuzz::journal_event(bytes);
}

/// A frame of the encrypted channel.
pub fn channel(bytes: &[u8]) {
    warren_home::fuzz::channel(bytes);
}

/// A call of a space's management.
pub fn management(bytes: &[u8]) {
    warren_space::fuzz::management(bytes);
}

/// A message under a space's filters.
pub fn filters(bytes: &[u8]) {
    warren_space::fuzz::filters(bytes);
}

/// What is posted to a webhook.
pub fn webhook(bytes: &[u8]) {
    warren_space::fuzz::webhook(bytes);
}

/// A `Host` header and the body of a form.
pub fn web(bytes: &[u8]) {
    warren_home::fuzz::host(bytes);
    warren_home::fuzz::form(bytes);
}

/// An `Authorization` header of a request about a file.
pub fn authorization(bytes: &[u8]) {
    warren_space::fuzz::authorization(bytes);
}

/// A `Range` header.
pub fn range(bytes: &[u8]) {
    warren_space::fuzz::range(bytes);
}

/// What a request says of a file: its type, its address, what list is wanted.
pub fn file(bytes: &[u8]) {
    warren_space::fuzz::file_description(bytes);
}

/// A call of a home's interface.
pub fn call(bytes: &[u8]) {
    warren_home::fuzz::call(bytes);
}

/// An account's file, and its document from another home.
pub fn account(bytes: &[u8]) {
    warren_home::fuzz::account(bytes);
}

/// What another home sends to the feed.
pub fn feed(bytes: &[u8]) {
    warren_home::fuzz::feed(bytes);
}

/// What an app sends to the signer of a home.
pub fn signer(bytes: &[u8]) {
    warren_home::fuzz::signer(bytes);
}

/// An invitation to a space, and what the space says of itself.
pub fn invitation(bytes: &[u8]) {
    warren_home::fuzz::invitation(bytes);
}

/// What a home finds in a file of private messages, in a wrap, and in a space's side of a sync.
pub fn mail(bytes: &[u8]) {
    warren_home::fuzz::messages(bytes);
}
