//! `[feed]`: relays of the Internet that are used beside those of homes.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;
use warren_home::UplinkConfig;

use super::values::Relay;

/// `[feed]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// The relays. None: off.
    pub relays: Vec<Spanned<Relay>>,
    /// Certificates (PEM) of authorities that are trusted beside those of the system.
    pub ca_file: Option<Spanned<PathBuf>>,
}

impl Feed {
    /// What is wrong with it, and where in the text. Without a page nobody lives here.
    pub fn check(&self, has_page: bool) -> Result<(), (usize, String)> {
        let most = UplinkConfig::MOST;
        if let Some(relay) = self.relays.get(most) {
            let message = format!("found more than {most} relays, expected at most that many");
            return Err((relay.span().start, message));
        }
        if let Some(first) = self.relays.first() {
            let start = first.span().start;
            if !cfg!(feature = "uplink") {
                let message = String::from(
                    "found a relay of the Internet, expected none: this program was built without the feature `uplink`",
                );
                return Err((start, message));
            }
            if !has_page {
                let message = String::from(
                    "found a relay, expected `listen` in [web] beside it: without the page nobody here writes",
                );
                return Err((start, message));
            }
        }
        if let Some(file) = &self.ca_file
            && !file.get_ref().is_absolute()
        {
            let message = String::from("found a relative `ca_file`, expected a path from / on");
            return Err((file.span().start, message));
        }
        Ok(())
    }

    /// As the home takes it.
    pub fn uplink(&self) -> UplinkConfig {
        let relays = self.relays.iter().map(|relay| relay.get_ref().0.clone());
        UplinkConfig {
            relays: relays.collect(),
            ca_file: self.ca_file.clone().map(Spanned::into_inner),
        }
    }
}
