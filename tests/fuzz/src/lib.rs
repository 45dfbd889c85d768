//! Fuzz targets: every parser of foreign bytes in Warren as a function that takes any bytes, panics when something that
//! must hold does not, and does the same every time. What finds the bytes is libFuzzer (`src/bin/fuzz.rs`); the kept
//! corpus is replayed without it by the test of this crate. Never touches a socket, a file or the clock.

pub mod daemon;
pub mod handshake;
pub mod input;
pub mod messages;
pub mod node;
pub mod nostr;
pub mod packets;
pub mod records;
pub mod routing;
pub mod seeds;
pub mod sessions;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, also the name of its corpus folder.
    pub name: &'static str,
    /// Feeds it. Panics are findings.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("frames", node::frames),
    target("handshake", handshake::link),
    target("sessions", sessions::sessions),
    target("messages", messages::messages),
    target("routing", routing::routing),
    target("anchor", records::anchor),
    target("descriptor", records::descriptor),
    target("service", records::service),
    target("map", records::map),
    target("packet", packets::packet),
    target("gate", packets::gate),
    target("config", daemon::config),
    target("uci", daemon::uci),
    target("control", daemon::control),
    target("site", daemon::site),
    target("keyfile", daemon::key_file),
    target("segment", daemon::segment),
    target("coalesce", daemon::coalesce),
    target("client", nostr::client),
    target("sync", nostr::sync),
    target("search", nostr::search),
    target("journal", nostr::journal),
    target("event", nostr::event),
    target("management", nostr::management),
    target("filters", nostr::filters),
    target("webhook", nostr::webhook),
    target("web", nostr::web),
    target("channel", nostr::channel),
    target("authorization", nostr::authorization),
    target("range", nostr::range),
    target("file", nostr::file),
    target("invitation", nostr::invitation),
    target("call", nostr::call),
    target("account", nostr::account),
    target("signer", nostr::signer),
    target("feed", nostr::feed),
    target("mail", nostr::mail),
];

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
