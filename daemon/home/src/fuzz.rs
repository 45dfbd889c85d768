//! Every parser of foreign bytes as a function that a fuzzer can call. None of them may panic.

use crate::channel::frame;
use crate::{forms, guests, hosts};

/// A `Host` header.
pub fn host(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = hosts::site(text, &["warren.lan".to_owned()]);
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
