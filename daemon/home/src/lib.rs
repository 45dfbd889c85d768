//! Warren's home: the page people open in a browser, the accounts behind it, and the way through to the spaces.
//!
//! It opens no socket: connections come in from the daemon, and streams to spaces come from a [`Dialer`]. Relays of the
//! Internet that the owner lists are the exception (feature `uplink`).

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
mod relay_address;
mod room;
mod rooms;
mod shelf;
mod signer;

pub use accounts::sealed::Cost;
pub use config::{Clock, FeedLimits, HomeConfig, Limits, UplinkConfig, system_clock};
pub use dates::iso;
pub use dialer::{
    BoxFuture, BoxStream, ByteStream, Dialer, ServiceKind, ServiceListing, ServiceName,
};
pub use error::HomeError;
pub use feed::uplink::check as check_uplink;
pub use home::{Home, HomeFigures};
pub use invitation::Invitation;
pub use percent::percent_decoded;
pub use proxy::SITE_POLICY;
pub use relay_address::{EXPECTED as RELAY_EXPECTED, RelayAddress};
