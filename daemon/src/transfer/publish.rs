//! A folder on its way to being a site, and a picture on its way into a space: copied with the rights of whoever publishes
//! it into the state directory, where the daemon takes it in.

use std::path::{Path, PathBuf};

use warren_space::{PICTURE_BYTES, picture_kind};

use super::backup::{MANIFEST, is_backup};
use crate::config;
use crate::control::client;
use crate::control::protocol::{Request, Status};
use crate::error::DaemonError;
use crate::services::folders::{Folders, INCOMING, remove_all};
use crate::services::manage::PICTURE;
use crate::services::sites::{DIRECTORY, FRESH};
use crate::sites::folder::{Folder, Pages};
use crate::{privileges, store};

/// A copy, until it is dropped. What the daemon took in is there no more.
#[derive(Debug)]
pub struct Copied {
    /// Its directory below `sites/` or `spaces/`.
    pub directory: String,
    /// What it is of.
    pub from: String,
    /// The folder's own name.
    pub name: String,
    /// Names that were left out.
    pub left_out: u64,
    path: PathBuf,
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = remove_all(&self.path);
    }
}

/// A place of its own below a directory of the state of a daemon, which must run.
fn begin(
    socket: &Path,
    config: &Path,
    below: &str,
    what: &str,
) -> Result<(Copied, PathBuf), DaemonError> {
    // Said first: without a daemon nothing is copied.
    let _: Status = client::ask(socket, &Request::Status {})?;
    let state = config::load(config)?.state;
    let part = format!("{what}-{}", std::process::id());
    let path = Folders::new(state.join(below)).begin(&part)?;
    privileges::give_as(&state.join(below), &state)?;
    let copied = Copied {
        directory: format!("{INCOMING}{part}"),
        from: String::new(),
        name: String::new(),
        left_out: 0,
        path: path.clone(),
    };
    Ok((copied, path))
}

/// Whether a file below a folder is a backup's list.
fn is_of_backup(folder: &Path, name: &str) -> bool {
    let path = folder.join(name);
    path.file_name().is_some_and(|name| name == MANIFEST) && path.parent().is_some_and(is_backup)
}

fn holds_keys(folder: &Path, what: &str, place: &Path) -> DaemonError {
    DaemonError::Unusable {
        path: folder.to_path_buf(),
        what: format!(
            "everybody could read the secret keys of this box: {} is {what}; publish a folder that has nothing to do with it",
            place.display()
        ),
    }
}

/// An error if a folder is, lies in or holds what has the keys of a box.
fn check_folder(folder: &Path, state: &Path) -> Result<(), DaemonError> {
    let state = std::fs::canonicalize(state).unwrap_or_else(|_| state.to_path_buf());
    if folder.starts_with(&state) || state.starts_with(folder) {
        return Err(holds_keys(folder, "the daemon's `state`", &state));
    }
    match folder.ancestors().find(|directory| is_backup(directory)) {
        Some(backup) => Err(holds_keys(folder, "a backup", backup)),
        None => Ok(()),
    }
}

/// Copies a folder for the daemon at `socket`, whose configuration says where its state is.
pub fn copy(socket: &Path, config: &Path, from: &Path) -> Result<Copied, DaemonError> {
    let failed = |error| DaemonError::file("read", from, error);
    let whole = std::fs::canonicalize(from).map_err(failed)?;
    let folder = Folder::open(&whole).map_err(failed)?;
    check_folder(&whole, &config::load(config)?.state)?;
    let (mut copied, path) = begin(socket, config, DIRECTORY, "publish")?;
    let pages = path.join(FRESH);
    let contents = Pages::new(pages).copy(&folder);
    let contents = contents.map_err(|error| DaemonError::file("copy", from, error))?;
    if let Some(file) = contents
        .files
        .iter()
        .find(|file| is_of_backup(&whole, &file.name))
    {
        let backup = whole.join(&file.name);
        return Err(holds_keys(
            &whole,
            "a backup",
            backup.parent().unwrap_or(&whole),
        ));
    }
    if contents.files.is_empty() {
        return Err(DaemonError::Refused(format!(
            "there is no file to publish in {}",
            from.display()
        )));
    }
    privileges::give_as(&path, path.parent().unwrap_or(&path))?;
    copied.from = whole.to_string_lossy().into_owned();
    let name = whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    copied.name = name.unwrap_or_else(|| String::from("Site"));
    copied.left_out = contents.left_out;
    Ok(copied)
}

/// Copies a picture for the daemon at `socket`.
pub fn picture(socket: &Path, config: &Path, from: &Path) -> Result<Copied, DaemonError> {
    let bytes =
        store::read(from, PICTURE_BYTES as u64)?.ok_or_else(|| DaemonError::missing(from))?;
    if picture_kind(&bytes).is_none() {
        return Err(DaemonError::Unusable {
            path: from.to_path_buf(),
            what: String::from("it is no PNG, JPEG, WebP or GIF"),
        });
    }
    let (copied, path) = begin(socket, config, "spaces", "picture")?;
    store::create(&path.join(PICTURE), &bytes)?;
    privileges::give_as(&path, path.parent().unwrap_or(&path))?;
    Ok(copied)
}
