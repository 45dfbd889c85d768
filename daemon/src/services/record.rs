//! What is kept of a space that a command made: `space.toml`, version 1, in the space's directory.
//!
//! | key | value |
//! |---|---|
//! | `version` | 1 |
//! | `name` | the title, 1 to 256 bytes; of its owner at most 64 |
//! | `about` | a sentence, at most 8000 bytes; of its owner at most 500 |
//! | `visible` | whether the island is told of it |
//! | `port` | TCP port at the node's address, from 1024 on |
//! | `owner` | public key, 64 hexadecimal digits; left out: nobody |
//! | `quota_mib` | MiB of events it may keep |
//! | `files_quota_mib` | MiB that its files may take together |
//! | `member_quota_mib` | MiB that the files of one member may take |
//! | `closed` | whether it has moved to another box |
//! | `home` | whether it is no space but the relay of this home's people |

use std::path::Path;

use nostr::key::PublicKey;
use nostr::nips::nip19::FromBech32;
use serde::{Deserialize, Serialize};

use crate::config::values::{Owner, Title};
use crate::control::protocol::{ControlError, ErrorCode};
use crate::error::DaemonError;
use crate::store;

/// The file's name.
pub const FILE: &str = "space.toml";
/// Longest file, bytes.
pub const FILE_MAX: u64 = 16 * 1024;
/// First port that needs no privilege.
pub const PORT_MIN: u16 = 1024;
/// MiB of events a space may keep, unless something else is said.
pub const QUOTA_MIB: u32 = 4096;
/// MiB that the files of a space may take, and those of one member, unless something else is said.
pub const FILES_QUOTA_MIB: u32 = 32 * 1024;
/// See [`FILES_QUOTA_MIB`].
pub const MEMBER_QUOTA_MIB: u32 = 4096;
/// Longest sentence about a space that its owner can give it, bytes.
const ABOUT_MAX: usize = 500;
/// Longest title and sentence that its managers can (64 and 2000 characters), bytes.
const TITLE_KEPT: usize = 256;
/// See [`TITLE_KEPT`].
const ABOUT_KEPT: usize = 8000;
const VERSION: u8 = 1;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceRecord {
    /// The title.
    pub title: String,
    /// A sentence about it.
    pub about: String,
    /// Whether the island is told of it.
    pub visible: bool,
    /// TCP port at the node's address.
    pub port: u16,
    /// Who may do everything.
    pub owner: Option<PublicKey>,
    /// MiB of events it may keep.
    pub quota_mib: u32,
    /// MiB that its files may take together.
    pub files_quota_mib: u32,
    /// MiB that the files of one member may take.
    pub member_quota_mib: u32,
    /// Whether it has moved to another box.
    pub closed: bool,
    /// Whether it is no space but the relay of this home's people.
    pub home: bool,
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    name: String,
    #[serde(default)]
    about: String,
    #[serde(default)]
    visible: bool,
    port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default = "quota")]
    quota_mib: u32,
    // Left out where they are as ever, so that an older program reads the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files_quota_mib: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member_quota_mib: Option<u32>,
    #[serde(default)]
    closed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    home: bool,
}

const fn quota() -> u32 {
    QUOTA_MIB
}

/// A value that something cannot have.
pub fn bad(what: &str, expected: &str) -> ControlError {
    ControlError {
        code: ErrorCode::BadValue,
        args: vec![what.to_owned(), expected.to_owned()],
    }
}

impl SpaceRecord {
    /// Whether every value is one that a space can have.
    pub fn check(&self) -> Result<(), ControlError> {
        if self.title.trim().is_empty() || self.title.len() > TITLE_KEPT {
            return Err(bad("name", "1 to 256 bytes"));
        }
        if self.about.len() > ABOUT_KEPT {
            return Err(bad("about", "at most 8000 bytes"));
        }
        if self.port < PORT_MIN {
            return Err(bad("port", "a number from 1024 to 65535"));
        }
        if self.quota_mib == 0 {
            return Err(bad("quota", "a number of MiB, 1 or more"));
        }
        for (name, mib) in [
            ("files-quota", self.files_quota_mib),
            ("member-quota", self.member_quota_mib),
        ] {
            if mib == 0 {
                return Err(bad(name, "a number of MiB, 1 or more"));
            }
        }
        Ok(())
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let file = File {
            version: VERSION,
            name: self.title.clone(),
            about: self.about.clone(),
            visible: self.visible,
            port: self.port,
            owner: self.owner.map(|owner| owner.to_hex()),
            quota_mib: self.quota_mib,
            files_quota_mib: Some(self.files_quota_mib).filter(|mib| *mib != FILES_QUOTA_MIB),
            member_quota_mib: Some(self.member_quota_mib).filter(|mib| *mib != MEMBER_QUOTA_MIB),
            closed: self.closed,
            home: self.home,
        };
        toml::to_string(&file).unwrap_or_default()
    }

    /// Reads the text of a file; `None` if it is none of this version.
    pub fn parse(text: &str) -> Option<Self> {
        let file: File = toml::from_str(text).ok()?;
        let owner = match &file.owner {
            Some(text) => Some(text.parse::<Owner>().ok()?.0),
            None => None,
        };
        let record = Self {
            title: file.name,
            about: file.about,
            visible: file.visible,
            port: file.port,
            owner,
            quota_mib: file.quota_mib,
            files_quota_mib: file.files_quota_mib.unwrap_or(FILES_QUOTA_MIB),
            member_quota_mib: file.member_quota_mib.unwrap_or(MEMBER_QUOTA_MIB),
            closed: file.closed,
            home: file.home,
        };
        (file.version == VERSION && record.check().is_ok()).then_some(record)
    }

    /// The record in a space's directory; `None` if there is no file.
    pub fn load(directory: &Path) -> Result<Option<Self>, DaemonError> {
        let expected = "the record of a space in the form this version writes";
        store::load(&directory.join(FILE), FILE_MAX, Self::parse, expected)
    }

    /// Writes it into a space's directory. Returns once it is on disk.
    pub fn save(&self, directory: &Path) -> Result<(), DaemonError> {
        store::replace(&directory.join(FILE), self.render().as_bytes())
    }
}

/// Whether an owner may give a space or a site these texts.
pub fn check_texts(title: Option<&str>, about: Option<&str>) -> Result<(), ControlError> {
    // As `changerelayname` has it: nobody may read another name than the one that is there.
    let is_title = |title: &str| title.parse::<Title>().is_ok() && warren_space::is_readable(title);
    if !title.is_none_or(is_title) {
        return Err(bad(
            "name",
            "1 to 64 bytes of text that can be seen, without control characters and marks that turn text around, and without spaces around it",
        ));
    }
    let is_control = |c: char| c.is_control() && c != '\n';
    if about.is_some_and(|about| about.len() > ABOUT_MAX || about.contains(is_control)) {
        return Err(bad(
            "about",
            "at most 500 bytes of text without control characters",
        ));
    }
    Ok(())
}

/// A person's public key as people write it: 64 hexadecimal digits or `npub1...` (NIP-19).
pub fn parse_owner(text: &str) -> Result<PublicKey, ControlError> {
    let key = match PublicKey::from_bech32(text) {
        Ok(key) => key.to_hex(),
        Err(_) => text.to_ascii_lowercase(),
    };
    key.parse::<Owner>().map(|owner| owner.0).map_err(|_| {
        bad(
            "owner",
            "a public key: 64 hexadecimal digits or npub1...; a secret key (nsec1...) never leaves its owner",
        )
    })
}

/// What the files of a space called `title` are called: its letters and digits, in lower case.
pub fn slug(title: &str) -> String {
    slug_or(title, "space")
}

/// The same, or `otherwise` where it has none.
pub fn slug_or(title: &str, otherwise: &str) -> String {
    let mut id = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
        if id.len() >= 24 {
            break;
        }
    }
    let id = id.trim_end_matches('-');
    if id.is_empty() {
        otherwise.to_owned()
    } else {
        id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SpaceRecord {
        SpaceRecord {
            title: "Garden \"club\"".into(),
            about: "Beans\nand peas".into(),
            visible: true,
            port: 7447,
            owner: Some(nostr::key::Keys::generate().public_key()),
            quota_mib: 12,
            files_quota_mib: 7,
            member_quota_mib: MEMBER_QUOTA_MIB,
            closed: false,
            home: false,
        }
    }

    #[test]
    fn a_name_is_one_that_can_be_read_as_what_it_is() {
        for name in ["Garden", "Gärten & Höfe", "菜园", "❤️"] {
            check_texts(Some(name), None).unwrap();
        }
        for name in ["", " x", "a\u{202e}b", "a\u{2066}b", "a\u{200b}b", "a\nb"] {
            let error = check_texts(Some(name), None).unwrap_err();
            assert_eq!(error.args[0], "name", "{name:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back_and_other_versions_do_not() {
        let record = record();
        let text = record.render();
        assert!(text.contains("files_quota_mib = 7") && !text.contains("member_quota_mib"));
        assert_eq!(SpaceRecord::parse(&text), Some(record.clone()));
        let home = SpaceRecord {
            home: true,
            ..record
        };
        assert_eq!(SpaceRecord::parse(&home.render()), Some(home));
        assert_eq!(
            SpaceRecord::parse(&text.replace("version = 1", "version = 2")),
            None
        );
        assert_eq!(SpaceRecord::parse(&format!("{text}colour = 1\n")), None);
        assert_eq!(
            SpaceRecord::parse(&text.replace("port = 7447", "port = 80")),
            None
        );
    }

    #[test]
    fn an_owner_is_named_by_digits_or_by_npub_and_never_by_a_secret_key() {
        use nostr::nips::nip19::ToBech32;
        let keys = nostr::key::Keys::generate();
        let key = keys.public_key();
        assert_eq!(parse_owner(&key.to_hex().to_uppercase()), Ok(key));
        assert_eq!(parse_owner(&key.to_bech32().unwrap()), Ok(key));
        let secret = keys.secret_key().to_bech32().unwrap();
        assert_eq!(parse_owner(&secret).unwrap_err().code, ErrorCode::BadValue);
    }

    #[test]
    fn every_title_makes_a_name_for_files() {
        assert_eq!(slug("Garden club"), "garden-club");
        assert_eq!(slug("  ../../etc/passwd "), "etc-passwd");
        assert_eq!(slug("Сад"), "space");
        let long = slug(&"long ".repeat(20));
        assert!(long.parse::<crate::config::values::SpaceId>().is_ok());
    }
}
