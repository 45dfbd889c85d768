//! A backup on its way back onto a box. Each space, each site and the home appears whole, by one rename; a run that was cut
//! short is noted in the state directory (`restoring`), keeps the daemon from starting, and is finished by the next run,
//! which leaves what is there already.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use warren_space::export::{Extras, Tree};

use super::backup::{FileEntry, MANIFEST, Manifest, NodeEntry, SiteEntry, SpaceEntry};
use super::incoming::{Incoming, Place};
use super::objects::{Checked, Objects, PAPERS_MAX};
use super::{Progress, lines};
use crate::config;
use crate::control::protocol::{NodePapers, Papers, SitePapers};
use crate::error::DaemonError;
use crate::services::folders::{Folders, remove_all};
use crate::services::manage::SERVICE_KEY;
use crate::services::sites;
use crate::sites::folder::Pages;
use crate::sites::record::{self, SiteRecord};
use crate::{keys, privileges, store};

/// The file that says that a restore is not finished, and of which backup.
const RESTORING: &str = "restoring";
/// What stands in it when the box lacks its key or home: any backup that has them will do.
const ANY: &str = "a backup that has the key of this box and its home";
/// The file that says what the last restore could not put back: until then no backup of the box replaces one that may have
/// it.
pub const LACKS: &str = "restored-in-part";
/// Longest of these, bytes.
const LACKS_MAX: u64 = 1 << 20;
/// Most lines of it: those of all spaces and sites of a box, and more.
const LACKS_LINES: usize = 500;

/// What a restoring did, a line for each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What is there now.
    pub done: Vec<String>,
    /// What is not, and what to do.
    pub missing: Vec<String>,
    /// What came back whole in this run, or is here as the backup has it.
    whole: Vec<String>,
}

impl Told {
    fn add(&mut self, result: Result<String, String>) {
        match result {
            Ok(line) => self.done.push(line),
            Err(line) => self.missing.push(line),
        }
    }

    /// The same of a space or site, with whether it came back in this run. `lost`: what was missing before it.
    fn add_one(&mut self, title: &str, result: Result<(bool, String), String>, lost: usize) {
        if matches!(result, Ok((true, _))) && self.missing.len() == lost {
            self.whole.push(title.to_owned());
        }
        self.add(result.map(|(_, line)| line));
    }
}

/// Puts what is in a backup onto a box whose daemon does not run. What is there already is left as it is.
pub fn restore(place: &Place, directory: &Path) -> Result<Told, DaemonError> {
    let manifest = Manifest::load(directory)?
        .ok_or_else(|| DaemonError::missing(&directory.join(MANIFEST)))?;
    let objects = Objects::new(directory);
    // Until all of it is there, no daemon starts here: it would make new keys beside those that are still to come.
    let marker = place.state().join(RESTORING);
    let whole = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    let whole = whole.to_string_lossy().into_owned();
    let before = store::read(&marker, store::FILE_MAX * 8)?;
    let before = before.map(|from| String::from_utf8_lossy(&from).into_owned());
    let another = before.filter(|from| *from != whole && from != ANY);
    if another.is_none() {
        store::replace(&marker, whole.as_bytes())?;
        privileges::give_as(&marker, place.state())?;
    }
    let mut told = Told::default();
    let node = or_damaged(restore_node(place, &objects, &manifest.node), "the box")?;
    let home = or_damaged(restore_home(place, &objects, &manifest.home), "the home")?;
    let lacks = node.is_err() || home.is_err();
    for (what, result) in [("the box", node.flatten()), ("the home", home.flatten())] {
        if result.is_ok() {
            told.whole.push(what.to_owned());
        }
        told.add(result);
    }
    for site in &manifest.sites {
        let lost = told.missing.len();
        let restored = restore_site(place, &objects, site, &mut told.missing);
        told.add_one(&site.title, or_damaged(restored, &site.title)?, lost);
    }
    let progress = Progress::new();
    for space in &manifest.spaces {
        let lost = told.missing.len();
        let restored = match restore_space(place, &objects, space, directory, &mut told.missing) {
            Ok(id) => Ok((true, format!("{}: restored as {id}", space.title))),
            Err(error @ DaemonError::RelayIsHere(_)) => {
                told.missing.push(format!("{}: {error}", space.title));
                continue;
            }
            Err(DaemonError::SpaceIsHere(id)) => {
                let line = format!("{}: is here already, as {id}; left as it is", space.title);
                Ok((false, line))
            }
            Err(error) => Err(error),
        };
        told.add_one(&space.title, or_damaged(restored, &space.title)?, lost);
        progress.tell(0, 0);
    }
    note_lacks(place, &told)?;
    if let Some(another) = another {
        told.missing.push(format!(
            "restoring from {another} was cut short before: restore from it once more, or remove {} to go on without the rest",
            marker.display()
        ));
        return Ok(told);
    }
    if lacks {
        store::replace(&marker, ANY.as_bytes())?;
        told.missing.push(format!(
            "the daemon does not start: it would make a new key, or a new home, in place of what is missing; restore from \
             another backup, or remove {} to go on without",
            marker.display()
        ));
        return Ok(told);
    }
    std::fs::remove_file(&marker)
        .and_then(|()| fs::File::open(place.state())?.sync_all())
        .map_err(|error| DaemonError::file("remove", &marker, error))?;
    Ok(told)
}

/// What the last restore could not put back, a line each, the first of them; `None` where nothing is missing.
pub fn lacks(state: &Path) -> Result<Option<String>, DaemonError> {
    const SHOWN: usize = 10;
    let Some(note) = store::read(&state.join(LACKS), LACKS_MAX)? else {
        return Ok(None);
    };
    let note = String::from_utf8_lossy(&note);
    let mut lines = note.lines();
    let mut shown: Vec<String> = lines.by_ref().take(SHOWN).map(str::to_owned).collect();
    match lines.count() {
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    Ok(Some(shown.join("\n")))
}

/// Notes what is missing on this box now: what was before, too, unless it came back.
fn note_lacks(place: &Place, told: &Told) -> Result<(), DaemonError> {
    let note = place.state().join(LACKS);
    let before = store::read(&note, LACKS_MAX)?.unwrap_or_default();
    let before = String::from_utf8_lossy(&before).into_owned();
    let is_back = |line: &str| {
        let mut whole = told.whole.iter();
        whole.any(|title| {
            line.strip_prefix(&**title)
                .is_some_and(|rest| rest.starts_with(": "))
        })
    };
    let mut lacks: Vec<&str> = told.missing.iter().map(String::as_str).collect();
    for line in before.lines().filter(|line| !is_back(line)) {
        if !lacks.contains(&line) {
            lacks.push(line);
        }
    }
    lacks.truncate(LACKS_LINES);
    if !lacks.is_empty() {
        store::replace(&note, (lacks.join("\n") + "\n").as_bytes())?;
        return privileges::give_as(&note, place.state());
    }
    match std::fs::remove_file(&note) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DaemonError::file("remove", &note, error))
        }
        _ => Ok(()),
    }
}

/// What is damaged in the backup does not keep the rest of it away. (A disk that takes nothing more ends the restoring, and
/// the next run goes on.)
fn or_damaged<T>(
    restored: Result<T, DaemonError>,
    title: &str,
) -> Result<Result<T, String>, DaemonError> {
    match restored {
        Ok(restored) => Ok(Ok(restored)),
        Err(error @ DaemonError::Unusable { .. }) => Ok(Err(format!(
            "{title}: {error}; another backup, or an older copy of this one, may have it: restore from that, too"
        ))),
        Err(error) => Err(error),
    }
}

/// Puts the configuration of a backup where there is none. What was done, if anything.
pub fn restore_config(config: &Path, directory: &Path) -> Result<Option<String>, DaemonError> {
    if config.exists() {
        return Ok(None);
    }
    let manifest = Manifest::load(directory)?
        .ok_or_else(|| DaemonError::missing(&directory.join(MANIFEST)))?;
    let Some(hash) = &manifest.config else {
        return Ok(None);
    };
    let text = Objects::new(directory).small(hash, config::FILE_MAX);
    let text = text.map_err(|error| match error {
        DaemonError::Unusable { path, what } => DaemonError::Unusable {
            path,
            what: format!(
                "{what}; it is the configuration: write one into {} first (at least `state`), then restore the rest",
                config.display()
            ),
        },
        error => error,
    })?;
    config::parse(config, &text)?;
    if let Some(parent) = config.parent().filter(|parent| *parent != Path::new("")) {
        store::make_dir(parent)?;
    }
    store::create(config, text.as_bytes())?;
    Ok(Some(format!(
        "the configuration: it is in {}",
        config.display()
    )))
}

/// An error if a restore was cut short here: what is there is not all.
pub fn check_whole(state: &Path) -> Result<(), DaemonError> {
    let marker = state.join(RESTORING);
    match store::read(&marker, store::FILE_MAX * 8)? {
        None => Ok(()),
        Some(from) => Err(DaemonError::HalfRestored {
            from: String::from_utf8_lossy(&from).trim().to_owned(),
            marker,
        }),
    }
}

fn restore_site(
    place: &Place,
    objects: &Objects,
    site: &SiteEntry,
    missing: &mut Vec<String>,
) -> Result<(bool, String), DaemonError> {
    let papers: SitePapers = serde_json::from_str(&objects.small(&site.papers, PAPERS_MAX)?)
        .map_err(|error| objects.unusable(error))?;
    let record = SiteRecord::parse(&papers.record)
        .ok_or_else(|| objects.unusable("its record of a site is none of this version"))?;
    let service = keys::service_in(&papers.service_key)
        .ok_or_else(|| objects.unusable("its key of a site is none of this version"))?;
    let folders = Folders::new(place.state().join(sites::DIRECTORY));
    for id in folders.with(record::FILE)? {
        let key = folders.of(&id).join(SERVICE_KEY);
        if let Some(here) = store::read(&key, store::FILE_MAX)?
            && keys::service_in(&String::from_utf8_lossy(&here)) == Some(service)
        {
            let line = format!("{}: is here already, as {id}; left as it is", site.title);
            return Ok((false, line));
        }
    }
    let part = format!("restore-{}", std::process::id());
    let incoming = folders.begin(&part)?;
    let pages = Pages::new(record.pages(&incoming));
    for file in &site.files {
        if let Some(mut bytes) = file_of(objects, &site.title, file, missing)? {
            pages
                .put(&file.name, &mut bytes)
                .map_err(|error| objects.not_put(&incoming, &file.name, error))?;
        }
    }
    store::create(&incoming.join(SERVICE_KEY), papers.service_key.as_bytes())?;
    record.save(&incoming)?;
    privileges::give_as(&incoming, place.state())?;
    privileges::give_as(&place.state().join(sites::DIRECTORY), place.state())?;
    let id = folders.free_id(&papers.id, |_| false);
    folders.commit(&part, &id)?;
    Ok((true, format!("{}: restored as {id}", site.title)))
}

fn restore_node(
    place: &Place,
    objects: &Objects,
    node: &NodeEntry,
) -> Result<Result<String, String>, DaemonError> {
    let papers: NodePapers = serde_json::from_str(&objects.small(&node.papers, PAPERS_MAX)?)
        .map_err(|error| objects.unusable(error))?;
    if !keys::is_mesh_key(&papers.mesh_key) {
        return Err(objects.unusable("its mesh key is none of this version"));
    }
    let path = keys::mesh_file(place.state());
    if let Some(here) = store::read(&path, store::FILE_MAX)? {
        return Ok(if here == papers.mesh_key.as_bytes() {
            Ok("the box: its key is here already".into())
        } else {
            Err(format!(
                "the box: another key is here and stays; to be {} again, move {} away and restore once more",
                node.name,
                path.display()
            ))
        });
    }
    let parent = keys::directory(place.state());
    store::make_dir(&parent)?;
    store::create(&path, papers.mesh_key.as_bytes())?;
    privileges::give_as(&parent, place.state())?;
    Ok(Ok(format!("the box: it is {} again", node.name)))
}

fn restore_home(
    place: &Place,
    objects: &Objects,
    files: &[FileEntry],
) -> Result<Result<String, String>, DaemonError> {
    let home = place.state().join("home");
    let here = Tree::new(home.clone())
        .list()
        .map_err(|error| DaemonError::file("read", &home, error))?;
    if !here.is_empty() {
        // A home is the one that the backup is of when it has its keys: what changed since is newer.
        let own = files.iter().filter(|file| is_key(&file.name));
        let is_same = own.clone().count() > 0
            && own.clone().all(|file| {
                let bytes = store::read(&home.join(&file.name), store::FILE_MAX);
                let bytes = bytes.ok().flatten();
                bytes.is_some_and(|bytes| *blake3::hash(&bytes).to_hex() == file.hash)
            });
        return Ok(if is_same || files.is_empty() {
            Ok("the home: it is here already; left as it is".into())
        } else {
            Err(format!(
                "the home with its accounts: another one is here and stays; to have the one of the backup, move {} away \
                 and restore once more",
                home.display()
            ))
        });
    }
    let incoming = place.state().join("home.incoming");
    remove_all(&incoming)?;
    store::make_dir(&incoming)?;
    let tree = Tree::new(incoming.clone());
    let put = files.iter().try_for_each(|file| {
        tree.put(&file.name, &mut objects.whole(&file.hash)?)
            .map_err(|error| objects.not_put(&incoming, &file.name, error))
    });
    if let Err(error) = put {
        let _ = remove_all(&incoming); // accounts that nobody would use
        return Err(error);
    }
    let failed = |error| DaemonError::file("make", &home, error);
    crate::services::folders::sync_tree(&incoming).map_err(failed)?;
    privileges::give_as(&incoming, place.state())?;
    remove_all(&home)?;
    fs::rename(&incoming, &home)
        .and_then(|()| fs::File::open(place.state())?.sync_all())
        .map_err(failed)?;
    Ok(Ok(format!("the home: restored, {} files", files.len())))
}

/// Whether a file of a home is one of its own keys.
fn is_key(name: &str) -> bool {
    !name.contains('/') && name.ends_with(".key")
}

/// The bytes of a file that a space or site can do without: `None` where the backup has lost them, which is told.
fn file_of(
    objects: &Objects,
    title: &str,
    file: &FileEntry,
    missing: &mut Vec<String>,
) -> Result<Option<Checked>, DaemonError> {
    match objects.whole(&file.hash) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error @ DaemonError::Unusable { .. }) => {
            missing.push(format!("{title}: its file {}: {error}", file.name));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn restore_space(
    place: &Place,
    objects: &Objects,
    space: &SpaceEntry,
    backup: &Path,
    missing: &mut Vec<String>,
) -> Result<String, DaemonError> {
    let papers: Papers = serde_json::from_str(&objects.small(&space.papers, PAPERS_MAX)?)
        .map_err(|error| objects.unusable(error))?;
    let mut incoming = Incoming::begin_as_it_was(place, backup, &papers, &space.id)?;
    for part in &space.events {
        let mut channels: HashMap<String, String> = HashMap::new();
        if let Some(hash) = &part.channels {
            let mut from = std::io::BufReader::new(objects.whole(hash)?);
            while let Some(line) = lines::next(&mut from).map_err(|e| objects.unusable(e))? {
                let pair: (String, String) =
                    serde_json::from_str(&line).map_err(|error| objects.unusable(error))?;
                channels.insert(pair.0, pair.1);
            }
        }
        let mut from = std::io::BufReader::new(objects.whole(&part.events)?);
        while let Some(line) = lines::next(&mut from).map_err(|error| objects.unusable(error))? {
            let channel =
                lines::channel_of(&line, &mut channels).map_err(|error| objects.unusable(error))?;
            incoming.event(&line, channel.as_deref())?;
        }
    }
    for file in &space.files {
        if let Some(mut bytes) = file_of(objects, &space.title, file, missing)? {
            incoming.file(&file.name, &mut bytes)?;
        }
    }
    let mut configured = place.config().space.iter();
    if configured.any(|known| known.id.get_ref().0 == space.id) {
        incoming.finish_configured(&space.id)?;
        return Ok(space.id.clone());
    }
    incoming.finish()
}
