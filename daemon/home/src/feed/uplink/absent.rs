//! In place of `outlet` in programs that are built without the feature: they say so when relays are listed.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{Clock, FeedLimits, UplinkConfig};
use crate::error::HomeError;
use crate::feed::cache::LivesHere;
use crate::feed::relay::OwnRelay;
use crate::feed::way::Way;

/// There is none.
pub struct Uplink(Infallible);

/// What nobody is given.
#[allow(dead_code)] // its fields are for `outlet`
pub struct Supply<'a> {
    /// As in `outlet`.
    pub own: &'a OwnRelay,
    /// As in `outlet`.
    pub lives_here: LivesHere,
    /// As in `outlet`.
    pub limits: &'a FeedLimits,
    /// As in `outlet`.
    pub stop: &'a watch::Sender<bool>,
}

/// Whether the configuration can be used: whether this program was built with the feature `uplink`, and the file is there.
/// Blocks.
pub fn check(config: &UplinkConfig) -> Result<(), HomeError> {
    match config.relays.is_empty() {
        true => Ok(()),
        false => Err(HomeError::NoUplink),
    }
}

impl Uplink {
    /// None, or an error.
    pub fn open(config: &UplinkConfig, _: &Path, _: &Clock) -> Result<Option<Self>, HomeError> {
        check(config).map(|()| None)
    }

    /// Never called.
    pub fn ways(&self) -> Vec<Arc<dyn Way>> {
        match self.0 {}
    }

    /// Never called.
    pub fn start(&self, _: &Supply<'_>) {
        match self.0 {}
    }

    /// Never called.
    pub fn close(&self) {
        match self.0 {}
    }
}
