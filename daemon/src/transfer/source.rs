//! What a running daemon has, for exports and backups.

use std::io::{BufReader, Read};
use std::path::Path;

use crate::control::client;
use crate::control::protocol::{EventLine, FileLine, Papers, Request};
use crate::error::DaemonError;

use super::lines;

/// Events that are stored together.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// One event a line, as NIP-01 writes it.
    pub events: String,
    /// `["id","channel"]` a line, where an event's tags do not name its channel.
    pub channels: String,
    /// How many events.
    pub count: u64,
}

fn broken(error: std::io::Error) -> DaemonError {
    DaemonError::Refused(error.to_string())
}

/// A space's record and keys.
pub fn papers(socket: &Path, space: &str) -> Result<Papers, DaemonError> {
    let space = space.to_owned();
    client::ask(socket, &Request::SpacePapers { space })
}

/// Calls `each` for all events of a space, part by part.
pub fn events(
    socket: &Path,
    space: &str,
    mut each: impl FnMut(Part) -> Result<(), DaemonError>,
) -> Result<(), DaemonError> {
    let space = space.to_owned();
    let mut stream = BufReader::new(client::stream(socket, &Request::SpaceEvents { space })?);
    let mut part = Part::default();
    while let Some(line) = lines::next(&mut stream).map_err(broken)? {
        if line.is_empty() {
            each(std::mem::take(&mut part))?;
            continue;
        }
        let not_understood = |error: serde_json::Error| DaemonError::Refused(error.to_string());
        let line: EventLine = serde_json::from_str(&line).map_err(not_understood)?;
        if let Some(channel) = line.channel {
            #[derive(serde::Deserialize)]
            struct Id {
                id: String,
            }
            let id: Id = serde_json::from_str(line.event.get()).map_err(not_understood)?;
            let pair = serde_json::to_string(&(id.id, channel)).map_err(not_understood)?;
            part.channels.push_str(&pair);
            part.channels.push('\n');
        }
        part.events.push_str(line.event.get());
        part.events.push('\n');
        part.count += 1;
    }
    if part.count > 0 {
        each(part)?;
    }
    Ok(())
}

/// Whose files.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// The home's.
    Home,
    /// A space's.
    Space(&'a str),
    /// A site's.
    Site(&'a str),
}

impl Of<'_> {
    fn names(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Home => (None, None),
            Self::Space(space) => (Some(space.to_owned()), None),
            Self::Site(site) => (None, Some(site.to_owned())),
        }
    }
}

/// The files of a space, of a site, or of the home.
pub fn files(socket: &Path, of: Of<'_>) -> Result<Vec<FileLine>, DaemonError> {
    let (space, site) = of.names();
    let request = Request::Files { space, site };
    let mut stream = BufReader::new(client::stream(socket, &request)?);
    let mut files = Vec::new();
    while let Some(line) = lines::next(&mut stream).map_err(broken)? {
        let file = serde_json::from_str(&line);
        files.push(file.map_err(|error| DaemonError::Refused(error.to_string()))?);
    }
    Ok(files)
}

/// The bytes of one of them.
pub fn file(socket: &Path, of: Of<'_>, name: &str) -> Result<impl Read, DaemonError> {
    let (space, site) = of.names();
    let request = Request::File {
        space,
        site,
        name: name.to_owned(),
    };
    client::stream(socket, &request)
}
