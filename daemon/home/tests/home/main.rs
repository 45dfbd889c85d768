//! What a home promises, asked as its people ask. One program, because each one more is linked with everything anew.

mod accounts;
mod calls;
mod common;
mod feed;
mod feed_hostile;
mod messages;
mod messages_hostile;
mod pages;
mod programs;
mod released;
mod signer;
#[cfg(feature = "uplink")]
mod uplink;
