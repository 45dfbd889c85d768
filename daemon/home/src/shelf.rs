//! Messages that could not be sent yet, kept in a file for each space, so that a restart of the home does not lose
//! them. A file is written only when a space cannot be reached: what goes through at once never touches the disk.
//!
//! A file is JSON: `{"version": 1, "unsent": [{"guest": account, "failed": reason or null, "event": event}]}`.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::dialer::ServiceName;
use crate::error::HomeError;
use crate::files::{self, write_atomically};
use crate::guests::GuestId;
use crate::room::{Delivery, Unsent};

/// Longest file that is read.
const FILE_BYTES: u64 = 32 << 20;

/// A directory of unsent messages.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    kept: Mutex<HashSet<ServiceName>>,
}

impl Shelf {
    /// Takes a directory, and makes it (mode 0700) when it is missing.
    pub fn open(dir: PathBuf) -> Result<Self, HomeError> {
        files::make_dir(&dir)?;
        Ok(Self {
            dir,
            kept: Mutex::default(),
        })
    }

    fn path(&self, service: &ServiceName) -> PathBuf {
        self.dir.join(format!("{service}.json"))
    }

    /// What was kept for a space.
    pub fn load(&self, service: &ServiceName) -> Vec<Unsent> {
        let path = self.path(service);
        let Ok(metadata) = fs::metadata(&path) else {
            return Vec::new();
        };
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service.clone());
        let text = (metadata.len() <= FILE_BYTES)
            .then(|| fs::read(&path).ok())
            .flatten();
        let unsent = text.and_then(|text| parse(&text));
        if unsent.is_none() {
            log::error!(
                "{} cannot be read: the messages in it are not sent",
                path.display()
            );
        }
        unsent.unwrap_or_default()
    }

    /// The spaces for which something is kept.
    pub fn services(&self) -> Vec<ServiceName> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                ServiceName::parse(entry.file_name().to_str()?.strip_suffix(".json")?)
            })
            .collect()
    }

    /// Keeps what is unsent.
    pub async fn keep(&self, service: &ServiceName, unsent: Vec<Unsent>) {
        if unsent.is_empty() {
            return self.tidy(service, unsent).await;
        }
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service.clone());
        self.write(service, &unsent).await;
    }

    /// Something arrived or was taken back: brings the file up to date, if there is one.
    pub async fn tidy(&self, service: &ServiceName, unsent: Vec<Unsent>) {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(service);
        if !kept {
            return;
        }
        if unsent.is_empty() {
            self.kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(service);
            let path = self.path(service);
            let _ = tokio::task::spawn_blocking(move || fs::remove_file(path)).await;
        } else {
            self.write(service, &unsent).await;
        }
    }

    async fn write(&self, service: &ServiceName, unsent: &[Unsent]) {
        let list: Vec<Value> = unsent
            .iter()
            .map(|unsent| {
                let failed = match &unsent.delivery {
                    Delivery::Pending => Value::Null,
                    Delivery::Failed(reason) => reason.as_str().into(),
                };
                json!({"guest": unsent.guest.as_str(), "failed": failed, "event": unsent.event})
            })
            .collect();
        let text = json!({"version": 1, "unsent": list}).to_string();
        let path = self.path(service);
        let written =
            tokio::task::spawn_blocking(move || write_atomically(&path, text.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            log::error!(
                "messages that cannot be sent now could not be kept on the disk; they are lost if the home restarts"
            );
        }
    }
}

fn parse(text: &[u8]) -> Option<Vec<Unsent>> {
    let file: Value = serde_json::from_slice(text).ok()?;
    if file["version"] != 1 {
        return None;
    }
    let one = |item: &Value| {
        let delivery = item["failed"].as_str().map_or(Delivery::Pending, |reason| {
            Delivery::Failed(reason.to_owned())
        });
        let event = serde_json::from_value(item["event"].clone()).ok()?;
        Some(Unsent {
            guest: GuestId::parse(item["guest"].as_str()?)?,
            event,
            delivery,
        })
    };
    file["unsent"].as_array()?.iter().map(one).collect()
}
