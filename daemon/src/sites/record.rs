//! What is kept of a site: `site.toml`, version 1, in the site's directory.
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `name` | the title, 1 to 64 bytes |
//! | `visible` | whether the island is told of it |
//! | `port` | TCP port at the node's address, from 1024 on |
//! | `from` | the folder that was published, for people |
//! | `number` | counts how often it was published; its files are in `pages-NUMBER` |
//! | `published` | when, seconds since 1970 |

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::values::Title;
use crate::control::protocol::ControlError;
use crate::error::DaemonError;
use crate::services::record::{PORT_MIN, bad};
use crate::store;

/// The file's name.
pub const FILE: &str = "site.toml";
/// Longest file, bytes.
const FILE_MAX: u64 = 16 * 1024;
/// Before the number in the name of the directory of a site's files.
pub const PAGES: &str = "pages-";
/// Longest path of a published folder that is kept, bytes.
const FROM_MAX: usize = 4096;
const VERSION: u8 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteRecord {
    version: u8,
    /// The title.
    #[serde(rename = "name")]
    pub title: String,
    /// Whether the island is told of it.
    pub visible: bool,
    /// TCP port at the node's address.
    pub port: u16,
    /// The folder that was published.
    pub from: String,
    /// How often it was published.
    pub number: u32,
    /// When, seconds since 1970.
    pub published: u64,
}

impl SiteRecord {
    /// A record of a site that was never published.
    pub const fn new(title: String, visible: bool, port: u16) -> Self {
        Self {
            version: VERSION,
            title,
            visible,
            port,
            from: String::new(),
            number: 0,
            published: 0,
        }
    }

    /// Whether every value is one that a site can have.
    pub fn check(&self) -> Result<(), ControlError> {
        // As every version had it: what is published stays readable. New names are looked at more closely.
        if self.title.trim().is_empty() || self.title.parse::<Title>().is_err() {
            return Err(bad(
                "name",
                "1 to 64 bytes of text without control characters",
            ));
        }
        if self.port < PORT_MIN {
            return Err(bad("port", "a number from 1024 to 65535"));
        }
        if self.from.len() > FROM_MAX {
            return Err(bad("folder", "a path of at most 4096 bytes"));
        }
        Ok(())
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads the text of a file; `None` if it is none of this version.
    pub fn parse(text: &str) -> Option<Self> {
        let record: Self = toml::from_str(text).ok()?;
        (record.version == VERSION && record.check().is_ok()).then_some(record)
    }

    /// The record in a site's directory; `None` if there is no file.
    pub fn load(directory: &Path) -> Result<Option<Self>, DaemonError> {
        let expected = "the record of a site in the form this version writes";
        store::load(&directory.join(FILE), FILE_MAX, Self::parse, expected)
    }

    /// Writes it into a site's directory. Returns once it is on disk.
    pub fn save(&self, directory: &Path) -> Result<(), DaemonError> {
        store::replace(&directory.join(FILE), self.render().as_bytes())
    }

    /// Where the files are, in a site's directory.
    pub fn pages(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{PAGES}{}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_other_versions_do_not() {
        let mut record = SiteRecord::new("Recipes \"old\"".into(), true, 7448);
        record.from = "/home/ann/récipes".into();
        record.number = 3;
        let text = record.render();
        assert_eq!(SiteRecord::parse(&text), Some(record));
        for (from, to) in [("version = 1", "version = 2"), ("port = 7448", "port = 80")] {
            assert_eq!(SiteRecord::parse(&text.replace(from, to)), None);
        }
        assert_eq!(SiteRecord::parse(&format!("{text}colour = 1\n")), None);
    }
}
