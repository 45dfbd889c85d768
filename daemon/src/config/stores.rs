//! `[store]`: servers on which new spaces keep their events and files. Passwords and keys are in files of their own.
//!
//! ```toml
//! [store]
//! events = "postgres:host=/run/postgresql user=warren dbname=warren"
//! password_file = "/etc/warren/postgres.password"
//!
//! [store.files]
//! s3 = { endpoint = "https://s3.example.org", bucket = "warren", key_file = "/etc/warren/s3.key" }
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use warren_space::stores::{self, Secret, Stores};
use zeroize::Zeroizing;

use crate::error::DaemonError;
use crate::keys;

/// `[store]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `postgres:` and what libpq takes, or `postgresql://...`.
    pub events: Option<Spanned<String>>,
    /// File with the password, if the server wants one.
    pub password_file: Option<Spanned<PathBuf>>,
    /// `[store.files]`
    pub files: Option<FileStore>,
}

/// `[store.files]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileStore {
    /// An S3-compatible store.
    pub s3: Spanned<S3>,
}

/// `s3` of `[store.files]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// `http://` or `https://`, host and port.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region.
    #[serde(default = "any_region")]
    pub region: String,
    /// Before the names of all objects.
    #[serde(default)]
    pub prefix: String,
    /// File of two lines: the name of the key, and the key.
    pub key_file: Spanned<PathBuf>,
}

fn any_region() -> String {
    String::from("us-east-1")
}

fn postgres(address: &str, password: Option<Secret>) -> Result<stores::Postgres, String> {
    let address = if address.starts_with("postgres://") || address.starts_with("postgresql://") {
        address
    } else {
        address.strip_prefix("postgres:").ok_or(
            "expected `postgres:` and the address of a server, such as \"postgres:host=/run/postgresql user=warren dbname=warren\"",
        )?
    };
    let server = stores::Postgres {
        address: address.to_owned(),
        password,
    };
    server.check().map(|()| server)
}

fn s3(store: &S3, access_key: String, secret_key: Secret) -> Result<stores::S3, String> {
    let server = stores::S3 {
        endpoint: store.endpoint.clone(),
        bucket: store.bucket.clone(),
        region: store.region.clone(),
        prefix: store.prefix.clone(),
        access_key,
        secret_key,
    };
    server.check().map(|()| server)
}

impl Store {
    /// What is wrong with it, and where in the text.
    pub fn check(&self) -> Result<(), (usize, String)> {
        if let Some(events) = &self.events {
            let wrong = |what| (events.span().start, what);
            postgres(events.get_ref(), None).map_err(wrong)?;
        }
        if let Some(files) = &self.files {
            let wrong = |what| (files.s3.span().start, what);
            s3(
                files.s3.get_ref(),
                String::new(),
                Secret::new(String::new()),
            )
            .map_err(wrong)?;
        }
        Ok(())
    }

    /// Whether its files can be read; if not, by which key they are named, and where.
    pub fn check_files(&self) -> Result<(), (&'static str, std::ops::Range<usize>, DaemonError)> {
        if let Some(file) = &self.password_file {
            read(file.get_ref()).map_err(|error| ("password_file", file.span(), error))?;
        }
        if let Some(files) = &self.files {
            let file = &files.s3.get_ref().key_file;
            access(file.get_ref()).map_err(|error| ("key_file", file.span(), error))?;
        }
        Ok(())
    }

    /// The servers, with passwords and keys from their files.
    pub fn load(&self) -> Result<Stores, DaemonError> {
        let unusable = |path: &Path, what| DaemonError::Unusable {
            path: path.to_path_buf(),
            what,
        };
        let mut loaded = Stores::default();
        if let Some(events) = &self.events {
            let password = match &self.password_file {
                Some(path) => Some(Secret::new(read(path.get_ref())?.trim_end().to_owned())),
                None => None,
            };
            let path = self.password_file.clone().map(Spanned::into_inner);
            let path = path.unwrap_or_default();
            let server = postgres(events.get_ref(), password);
            loaded.events = Some(server.map_err(|what| unusable(&path, what))?);
        }
        if let Some(files) = &self.files {
            let store = files.s3.get_ref();
            let path = store.key_file.get_ref();
            let (name, key) = access(path)?;
            let server = s3(store, name, key);
            loaded.files = Some(server.map_err(|what| unusable(path, what))?);
        }
        Ok(loaded)
    }
}

/// The name of a key, and the key.
fn access(path: &Path) -> Result<(String, Secret), DaemonError> {
    let text = read(path)?;
    let mut lines = text.lines().map(str::trim);
    let (Some(name), Some(key)) = (lines.next(), lines.next()) else {
        return Err(DaemonError::Format {
            path: path.to_path_buf(),
            expected: "two lines, the name of the key and the key",
        });
    };
    Ok((name.to_owned(), Secret::new(key.to_owned())))
}

fn read(path: &Path) -> Result<Zeroizing<String>, DaemonError> {
    let bytes = keys::secret_file(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| DaemonError::Format {
        path: path.to_path_buf(),
        expected: "text",
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}
