//! Where a space keeps its events and its files: in its directory, on a PostgreSQL server, on an S3 store. A space stays
//! where it was made, whatever the host says later: the file `store` in its directory says where that is. A space without
//! the file keeps everything in its directory.
//!
//! The file, mode 0600, one thing a line:
//!
//! | line | what |
//! |---|---|
//! | `warren space store 1` | what it is, and its version |
//! | `events embedded`, `events postgres` | where events are |
//! | `files embedded`, `files s3` | where files are |
//! | `place HEX32` | the name of the space on these servers: random, and another one wherever it is made or imported |

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use nostr::key::Keys;

use crate::config::SpaceConfig;
use crate::error::SpaceError;
use crate::keyfile;

/// The file's name.
pub const FILE: &str = "store";
const FIRST_LINE: &str = "warren space store 1";

/// What is never shown in logs and errors.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it.
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Gives it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A PostgreSQL server and the database on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Its address as libpq has it, `host=/run/postgresql user=warren dbname=warren` or `postgresql://...`, without a
    /// password. There is no TLS: a socket, this machine, or a tunnel.
    pub address: String,
    /// The password, where one is needed.
    pub password: Option<Secret>,
}

impl Postgres {
    /// Whether the address can be one; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        #[cfg(feature = "postgres")]
        return crate::store::parse_postgres(self).map(|_| ());
        #[cfg(not(feature = "postgres"))]
        Err("this program was built without PostgreSQL: use one that was built with the feature `postgres`, or leave events in the directories of the spaces".into())
    }
}

/// A bucket on an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// `http://` or `https://`, host and port.
    pub endpoint: String,
    /// The bucket. It must be there, and must not keep old versions: else what is deleted is not.
    pub bucket: String,
    /// The region; stores that have none take any.
    pub region: String,
    /// Before the names of all objects; may be empty.
    pub prefix: String,
    /// Name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
}

impl S3 {
    /// Whether all this can be used; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let is_url = ["http://", "https://"].iter().any(|scheme| {
            self.endpoint
                .strip_prefix(scheme)
                .is_some_and(|host| !host.is_empty() && !host.contains('@'))
        });
        let is_name = |text: &str, also: &[u8]| {
            text.bytes()
                .all(|c| c.is_ascii_alphanumeric() || also.contains(&c))
        };
        if !cfg!(feature = "s3") {
            Err("this program was built without S3: use one that was built with the feature `s3`, or leave files in the directories of the spaces".into())
        } else if !is_url {
            Err("`endpoint` must begin with http:// or https:// and name a host".into())
        } else if self.bucket.is_empty() || !is_name(&self.bucket, b".-_") {
            Err("`bucket` must be the name of a bucket".into())
        } else if !is_name(&self.prefix, b".-_/")
            || self.prefix.starts_with('/')
            || self.prefix.contains("..")
        {
            Err("`prefix` must be letters, digits and .-_/ and not begin with /".into())
        } else {
            Ok(())
        }
    }
}

/// The servers that the host of spaces names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stores {
    /// For events.
    pub events: Option<Postgres>,
    /// For files.
    pub files: Option<S3>,
}

/// Where one space is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Whether its events are on PostgreSQL.
    pub events: bool,
    /// Whether its files are on S3.
    pub files: bool,
    /// Its name there.
    pub name: String,
}

impl Place {
    /// Where the space in a directory is, or will be when there is none in it yet.
    pub fn find(config: &SpaceConfig) -> Result<Self, SpaceError> {
        let path = config.dir.join(FILE);
        if let Some(place) = Self::read(&path)? {
            return Ok(place);
        }
        let is_new =
            !config.dir.join("journal").exists() && !config.dir.join("files.sqlite").exists();
        let place = Self {
            events: config.stores.events.is_some(),
            files: config.stores.files.is_some(),
            // 16 random bytes: of the public half of a key made for nothing else.
            name: Keys::generate().public_key().to_hex()[..32].to_owned(),
        };
        if !is_new || (!place.events && !place.files) {
            return Ok(Self::default());
        }
        keyfile::replace(&path, &place.to_string()).map_err(|source| SpaceError::File {
            action: "write",
            path,
            source,
        })?;
        Ok(place)
    }

    /// Where the space in a directory is.
    pub fn read_in(directory: &Path) -> Result<Self, SpaceError> {
        Ok(Self::read(&directory.join(FILE))?.unwrap_or_default())
    }

    /// Reads the file; `None` if there is none.
    fn read(path: &Path) -> Result<Option<Self>, SpaceError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| SpaceError::Damaged {
                path: path.to_owned(),
                what: format!(
                    "it does not say where the space is kept as `{FIRST_LINE}` does; a newer program may have written it"
                ),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SpaceError::File {
                action: "read",
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let is_ours = lines.next()? == FIRST_LINE;
        let events = lines.next()?.strip_prefix("events ")?;
        let files = lines.next()?.strip_prefix("files ")?;
        let name = lines.next()?.strip_prefix("place ")?;
        let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if !is_ours || lines.next().is_some() || name.len() != 32 || !name.bytes().all(is_hex) {
            return None;
        }
        let is = |word: &str, there: &str| match word {
            "embedded" => Some(false),
            word => (word == there).then_some(true),
        };
        Some(Self {
            events: is(events, "postgres")?,
            files: is(files, "s3")?,
            name: name.to_owned(),
        })
    }

    /// The schema on the PostgreSQL server.
    pub fn schema(&self) -> String {
        format!("warren_{}", self.name)
    }

    /// The server of the events; `None`: they are in the directory.
    pub fn postgres<'a>(&self, stores: &'a Stores) -> Result<Option<&'a Postgres>, SpaceError> {
        if !self.events {
            return Ok(None);
        }
        if !cfg!(feature = "postgres") {
            return Err(SpaceError::Store(
                "the events of this space are on PostgreSQL, and this program was built without it: use one that was built with the feature `postgres`".into(),
            ));
        }
        stores.events.as_ref().map(Some).ok_or_else(|| {
            SpaceError::Store(
                "the events of this space are on PostgreSQL, and the configuration names no server: name it again".into(),
            )
        })
    }

    /// The store of the files; `None`: they are in the directory.
    pub fn s3<'a>(&self, stores: &'a Stores) -> Result<Option<&'a S3>, SpaceError> {
        if !self.files {
            return Ok(None);
        }
        if !cfg!(feature = "s3") {
            return Err(SpaceError::Store(
                "the files of this space are on an S3 store, and this program was built without it: use one that was built with the feature `s3`".into(),
            ));
        }
        stores.files.as_ref().map(Some).ok_or_else(|| {
            SpaceError::Store(
                "the files of this space are on an S3 store, and the configuration names none: name it again".into(),
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = if self.events { "postgres" } else { "embedded" };
        let files = if self.files { "s3" } else { "embedded" };
        let name = &self.name;
        writeln!(
            f,
            "{FIRST_LINE}\nevents {events}\nfiles {files}\nplace {name}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_and_nothing_else_does() {
        let place = Place {
            events: true,
            files: false,
            name: "0123456789abcdef".repeat(2),
        };
        let text = place.to_string();
        assert_eq!(Place::parse(&text), Some(place));
        for other in [
            text.replace("store 1", "store 2"),
            text.replace("postgres", "oracle"),
            text.replace("0123", "../."),
            format!("{text}more\n"),
            String::new(),
        ] {
            assert_eq!(Place::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let server = Postgres {
            address: "host=/run/postgresql".into(),
            password: Some(Secret::new("hunter2".into())),
        };
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
