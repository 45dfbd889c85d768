//! Warren's home: the page people open in a browser, the accounts behind it, and the way through to the spaces.
//!
//! It never opens a socket: connections come in from the daemon, and streams to spaces come from a [`Dialer`].

mod abouts;
mod accounts;
mod api;
pub mod channel;
mod client;
mod config;
mod dates;
mod dialer;
mod error;
mod feed;
mod files;
mod forms;
pub mod fuzz;
mod guests;
mod home;
mod hosts;
mod http;
mod invitation;
mod link;
mod live;
mod messages;
mod page;
mod people;
mod percent;
mod proxy;
mod room;
mod rooms;
mod shelf;
mod signer;

pub use accounts::sealed::Cost;
pub use config::{Clock, FeedLimits, HomeConfig, Limits, system_clock};
pub use dates::iso;
pub use dialer::{
    BoxFuture, BoxStream, ByteStream, Dialer, ServiceKind, ServiceListing, ServiceName,
};
pub use error::HomeError;
pub use home::{Home, HomeFigures};
pub use invitation::Invitation;
pub use percent::percent_decoded;
pub use proxy::SITE_POLICY;
