//! What the host of a space last said of it: its name, and the sentence about it. Managers may change both in the space
//! (NIP-86). Without this nobody could tell at the next start which of the two came later.
//!
//! The file `told`, mode 0600: the line `warren space told 1`, then a line of JSON with `name` and `about`. It may be lost:
//! then what managers said stays until the host says something else again.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::config::SpaceConfig;
use crate::core::Core;
use crate::ingest;
use crate::keyfile;
use crate::record::StoredEvent;

/// The file's name.
const FILE: &str = "told";
const FIRST_LINE: &str = "warren space told 1";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    name: String,
    about: String,
}

impl Told {
    fn by(config: &SpaceConfig) -> Self {
        Self {
            name: config.name.clone(),
            about: config.about.clone(),
        }
    }

    /// `None` where there is nothing that this version can read.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let line = text.strip_prefix(FIRST_LINE);
        Ok(line.and_then(|line| serde_json::from_str(line.trim()).ok()))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let json = serde_json::to_string(self)?;
        keyfile::replace(path, &format!("{FIRST_LINE}\n{json}\n"))
    }
}

/// What the host says now, and did not say before, takes the place of what managers said. Nothing may write to the space
/// yet. Where the disk does not take it (it may be full), the next start does it.
pub fn catch_up(core: &Core) {
    let (path, now) = (core.config.dir.join(FILE), Told::by(&core.config));
    let done = Told::read(&path).and_then(|before| {
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        if let Some(before) = before {
            let mut said = Vec::new();
            for (text, old, new) in [
                ("name", before.name, &now.name),
                ("about", before.about, &now.about),
            ] {
                if old != *new && core.text(text) != *new {
                    said.push((text, new.as_str()));
                }
            }
            if !said.is_empty() {
                describe(core, &said)?;
            }
        }
        now.write(&path)
    });
    if let Err(error) = done {
        log::warn!(
            "the space {} could not note what it is called: {error}",
            core.config.name
        );
    }
}

/// The host took over what the space calls itself: to say something else from now on is something new. Blocks.
pub fn take_over(core: &Core, name: &str, about: &str) {
    let told = Told {
        name: name.to_owned(),
        about: about.to_owned(),
    };
    if let Err(error) = told.write(&core.config.dir.join(FILE)) {
        log::warn!("the space {name} could not note what it is called: {error}");
    }
}

/// Writes it into the log of the space.
fn describe(core: &Core, said: &[(&str, &str)]) -> io::Result<()> {
    let event = ingest::description(core, said);
    let event = Arc::new(StoredEvent {
        event,
        channel: None,
    });
    core.store
        .append(&[Arc::clone(&event)], &[])
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut groups = (*core.groups()).clone();
    groups.apply(&event.event, None);
    core.set_groups(groups);
    Ok(())
}
