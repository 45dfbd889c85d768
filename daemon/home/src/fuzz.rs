//! Every parser of foreign bytes as a function that a fuzzer can call. None of them may panic.

use crate::accounts::{moving, record::Account};
use crate::channel::frame;
use crate::invitation::{About, Invitation};
use crate::signer::relay;
use crate::signer::request;
use crate::{api, feed, forms, guests, hosts, messages};

/// A `Host` header.
pub fn host(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = hosts::site(text, &["warren.lan".to_owned()]);
    }
}

/// An invitation as somebody pastes it, and what a space says of itself.
pub fn invitation(bytes: &[u8]) {
    let _ = About::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(read) = Invitation::parse(text)
    {
        assert_eq!(Invitation::parse(&read.text()).as_ref(), Some(&read));
        assert_eq!(Invitation::parse(&read.path()), Some(read));
    }
}

/// The body of a form, with the name in it.
pub fn form(bytes: &[u8]) {
    for (_, value) in forms::fields(bytes) {
        let _ = guests::clean_name(&value);
    }
}

/// A frame that came through the encrypted channel.
pub fn channel(bytes: &[u8]) {
    if let Ok((stream, Ok(frame::Frame::Data(data)))) = frame::parse(bytes) {
        assert_eq!(frame::data(stream, data), bytes);
    }
}

/// The body of a call of the home's interface.
pub fn call(bytes: &[u8]) {
    api::read_foreign(bytes);
}

/// The document of an account from another home, and the file of an account.
pub fn account(bytes: &[u8]) {
    moving::read_foreign(bytes);
    if let Ok(account) = Account::parse(bytes) {
        let written = account.to_bytes().expect("it was JSON before");
        assert!(
            Account::parse(&written) == Ok(account),
            "what was written must read back"
        );
    }
}

/// What another home's relay sends to the feed, and what it says of a name.
pub fn feed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    feed::read_names(text);
    if let Some(feed::Said::Event(_, event)) = feed::Said::parse(text) {
        let _ = feed::references::references(&event);
        let _ = feed::references::named(&event);
        let _ = feed::references::homes(&event);
    }
}

/// What an app sends to the signer: messages of its relay, requests, and the address with which it asks to be connected.
pub fn signer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    relay::read_foreign(text);
    if let Some(request) = request::Request::parse(text) {
        let _ = request::About::parse(request.param(3));
        request.read_work();
    }
    let _ = request::Invitation::parse(text);
}

/// A line of the file of a person's messages, the records in it, an opened message, and a space's side of a sync.
pub fn messages(bytes: &[u8]) {
    messages::read_foreign(bytes);
}
