//! The home and all spaces of a box in one directory, again and again: each run writes what is new.
//!
//! | file | what |
//! |---|---|
//! | `manifest.json` | what is in the backup; replaced at the very end of a run |
//! | `objects/ab/HASH` | bytes by their hash: parts of events (JSON lines), papers, files |
//!
//! The manifest (version 1): `{"version":1,"made":SECONDS,"node":{"name":TEXT,"papers":HASH},"home":[FILE],"spaces":[SPACE]}`;
//! a FILE is `{"name":TEXT,"size":N,"hash":HASH}`, a SPACE `{"id":TEXT,"title":TEXT,"papers":HASH,"events":[PART],"files":[FILE]}`,
//! a PART `{"events":HASH,"channels":HASH or left out,"count":N}` in the order in which the events came.
//!
//! Parts follow the segments of the journal, so old ones stay as they are. A deleted event leaves its segment on the box;
//! the next run writes that part anew and removes the old one once the new manifest is on disk. A run that was cut short
//! leaves the former manifest and everything it names.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::incoming::{Incoming, Place};
use super::objects::{Objects, is_hash};
use super::{Progress, lines, source};
use crate::control::client;
use crate::control::protocol::{HostedSpace, NodePapers, Papers, Request};
use crate::error::DaemonError;
use crate::services::folders::remove_all;
use crate::{keys, privileges, store};
use warren_space::export::{Extras, Tree, is_extra_name};

const MANIFEST: &str = "manifest.json";
/// Longest manifest, bytes.
const MANIFEST_MAX: u64 = 256 << 20;
/// Longest papers, bytes.
const PAPERS_MAX: u64 = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u8,
    made: u64,
    node: NodeEntry,
    home: Vec<FileEntry>,
    spaces: Vec<SpaceEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    name: String,
    papers: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    name: String,
    size: u64,
    hash: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceEntry {
    id: String,
    title: String,
    papers: String,
    events: Vec<PartEntry>,
    files: Vec<FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartEntry {
    events: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<String>,
    count: u64,
}

impl Manifest {
    fn load(backup: &Path) -> Result<Option<Self>, DaemonError> {
        let path = backup.join(MANIFEST);
        let Some(bytes) = store::read(&path, MANIFEST_MAX)? else {
            return Ok(None);
        };
        let unusable = |what: String| DaemonError::Unusable {
            path: path.clone(),
            what,
        };
        let manifest = parse(&bytes).map_err(unusable)?;
        Ok(Some(manifest))
    }

    /// Every object it names.
    fn hashes(&self) -> impl Iterator<Item = &String> {
        let files = self.spaces.iter().flat_map(|space| &space.files);
        let parts = self.spaces.iter().flat_map(|space| &space.events);
        let papers = self.spaces.iter().map(|space| &space.papers);
        files
            .chain(&self.home)
            .map(|file| &file.hash)
            .chain(parts.flat_map(|part| part.channels.iter().chain([&part.events])))
            .chain(papers)
            .chain([&self.node.papers])
    }
}

fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if version != 1 {
        return Err(format!(
            "it is of version {version}, and this program reads 1"
        ));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !manifest.hashes().all(|hash| is_hash(hash)) {
        return Err("a hash in it is none".into());
    }
    let spaces = manifest.spaces.iter().flat_map(|space| &space.files);
    if !spaces
        .chain(&manifest.home)
        .all(|file| is_extra_name(&file.name))
    {
        return Err("a name in it can be no file's".into());
    }
    Ok(manifest)
}

/// A manifest's bytes; whether they are one. For fuzzing.
pub fn is_manifest(bytes: &[u8]) -> bool {
    parse(bytes).is_ok()
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Spaces in the backup.
    pub spaces: u64,
    /// Events in it.
    pub events: u64,
    /// Files in it.
    pub files: u64,
    /// Objects that were not there before.
    pub written: u64,
}

/// Brings the backup in a directory up to date with the daemon at `socket`.
pub fn backup(socket: &Path, directory: &Path) -> Result<Summary, DaemonError> {
    store::make_dir(directory)?;
    let _one = store::lock(directory)?;
    let former = Manifest::load(directory)?;
    let mut known: HashMap<(&str, &str, u64), &str> = HashMap::new();
    if let Some(former) = &former {
        for space in &former.spaces {
            for file in space.files.iter().filter(|file| never_changes(&file.name)) {
                known.insert((&space.id, &file.name, file.size), &file.hash);
            }
        }
    }
    let mut objects = Objects::new(directory);
    let mut summary = Summary::default();
    let progress = Progress::new();
    let node: NodePapers = client::ask(socket, &Request::NodePapers {})?;
    let node = NodeEntry {
        papers: objects.put_text(&json(&node)?)?,
        name: node.name,
    };
    let home = files(socket, None, &mut objects, &HashMap::new(), &mut summary)?;
    let mut spaces = Vec::new();
    let mut all: Vec<HostedSpace> = client::ask(socket, &Request::SpaceList {})?;
    summary.spaces = all.len() as u64;
    let relay: Option<HostedSpace> = client::ask(socket, &Request::HomeRelay {})?;
    all.extend(relay);
    for space in all {
        let own = source::papers(socket, &space.id)?;
        let mut events = Vec::new();
        source::events(socket, &space.id, |part| {
            if part.count > 0 {
                let channels = match part.channels.as_str() {
                    "" => None,
                    channels => Some(objects.put_text(channels)?),
                };
                events.push(PartEntry {
                    events: objects.put_text(&part.events)?,
                    channels,
                    count: part.count,
                });
                summary.events += part.count;
                progress.tell(summary.events, summary.files);
            }
            Ok(())
        })?;
        let files = files(socket, Some(&space.id), &mut objects, &known, &mut summary)?;
        progress.tell(summary.events, summary.files);
        spaces.push(SpaceEntry {
            id: space.id,
            title: space.title,
            papers: objects.put_text(&json(&own)?)?,
            events,
            files,
        });
    }
    let manifest = Manifest {
        version: 1,
        made: warren_space::system_clock()(),
        node,
        home,
        spaces,
    };
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| DaemonError::Refused(error.to_string()))?;
    store::replace(&directory.join(MANIFEST), &text)?;
    let named: HashSet<String> = manifest.hashes().cloned().collect();
    objects.keep_only(&named);
    summary.written = objects.written;
    Ok(summary)
}

fn json(value: &impl Serialize) -> Result<String, DaemonError> {
    serde_json::to_string(value).map_err(|error| DaemonError::Refused(error.to_string()))
}

/// Whether a file of this name is named by its hash.
fn never_changes(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| {
        let stem = last.split('.').next().unwrap_or_default();
        is_hash(stem)
    })
}

fn files(
    socket: &Path,
    space: Option<&str>,
    objects: &mut Objects,
    known: &HashMap<(&str, &str, u64), &str>,
    summary: &mut Summary,
) -> Result<Vec<FileEntry>, DaemonError> {
    let mut entries = Vec::new();
    for file in source::files(socket, space)? {
        let key = (space.unwrap_or_default(), file.name.as_str(), file.size);
        let kept = known.get(&key).filter(|hash| objects.has(hash, file.size));
        let (hash, size) = match kept {
            Some(hash) => ((*hash).to_owned(), file.size),
            None => objects.put(&mut source::file(socket, space, &file.name)?)?,
        };
        summary.files += 1;
        entries.push(FileEntry {
            name: file.name,
            size,
            hash,
        });
    }
    Ok(entries)
}

/// What a restoring did, a line for each thing.
pub type Told = Vec<String>;

/// Puts what is in a backup onto a box whose daemon does not run. What is there already is left as it is.
pub fn restore(place: &Place, directory: &Path) -> Result<Told, DaemonError> {
    let manifest = Manifest::load(directory)?
        .ok_or_else(|| DaemonError::missing(&directory.join(MANIFEST)))?;
    let objects = Objects::new(directory);
    let mut told = vec![restore_node(place, &objects, &manifest.node, directory)?];
    told.push(restore_home(place, &objects, &manifest.home, directory)?);
    let progress = Progress::new();
    for space in &manifest.spaces {
        told.push(match restore_space(place, &objects, space, directory) {
            Ok(id) => format!("{}: restored as {id}", space.title),
            Err(DaemonError::SpaceIsHere(id)) => {
                format!("{}: is here already, as {id}; left as it is", space.title)
            }
            Err(error) => return Err(error),
        });
        progress.tell(0, 0);
    }
    Ok(told)
}

fn small(objects: &Objects, hash: &str, backup: &Path) -> Result<String, DaemonError> {
    let mut text = String::new();
    let mut from = objects.open(hash)?;
    let read = (&mut from).take(PAPERS_MAX).read_to_string(&mut text);
    read.map_err(|error| unusable(backup, error))?;
    Ok(text)
}

fn unusable(backup: &Path, error: impl ToString) -> DaemonError {
    DaemonError::Unusable {
        path: backup.to_path_buf(),
        what: error.to_string(),
    }
}

fn restore_node(
    place: &Place,
    objects: &Objects,
    node: &NodeEntry,
    backup: &Path,
) -> Result<String, DaemonError> {
    let papers: NodePapers = serde_json::from_str(&small(objects, &node.papers, backup)?)
        .map_err(|error| unusable(backup, error))?;
    if !keys::is_mesh_key(&papers.mesh_key) {
        return Err(unusable(backup, "its mesh key is none of this version"));
    }
    let path = keys::mesh_file(place.state());
    if let Some(here) = store::read(&path, store::FILE_MAX)? {
        return Ok(if here == papers.mesh_key.as_bytes() {
            "the box: its key is here already".into()
        } else {
            format!(
                "the box: another key is here and stays; remove {} first to be {} again",
                path.display(),
                node.name
            )
        });
    }
    let parent = keys::directory(place.state());
    store::make_dir(&parent)?;
    store::create(&path, papers.mesh_key.as_bytes())?;
    privileges::give_as(&parent, place.state())?;
    Ok(format!("the box: it is {} again", node.name))
}

fn restore_home(
    place: &Place,
    objects: &Objects,
    files: &[FileEntry],
    backup: &Path,
) -> Result<String, DaemonError> {
    let home = place.state().join("home");
    let here = Tree::new(home.clone())
        .list()
        .map_err(|error| DaemonError::file("read", &home, error))?;
    if !here.is_empty() {
        return Ok("the home: one is here already; left as it is".into());
    }
    let incoming = place.state().join("home.incoming");
    remove_all(&incoming)?;
    store::make_dir(&incoming)?;
    let tree = Tree::new(incoming.clone());
    for file in files {
        tree.put(&file.name, &mut objects.open(&file.hash)?)
            .map_err(|error| unusable(backup, format!("{}: {error}", file.name)))?;
    }
    let failed = |error| DaemonError::file("make", &home, error);
    crate::services::folders::sync_tree(&incoming).map_err(failed)?;
    privileges::give_as(&incoming, place.state())?;
    remove_all(&home)?;
    fs::rename(&incoming, &home)
        .and_then(|()| fs::File::open(place.state())?.sync_all())
        .map_err(failed)?;
    Ok(format!("the home: restored, {} files", files.len()))
}

fn restore_space(
    place: &Place,
    objects: &Objects,
    space: &SpaceEntry,
    backup: &Path,
) -> Result<String, DaemonError> {
    let papers: Papers = serde_json::from_str(&small(objects, &space.papers, backup)?)
        .map_err(|error| unusable(backup, error))?;
    let mut incoming = Incoming::begin(place, backup, &papers)?;
    for part in &space.events {
        let mut channels: HashMap<String, String> = HashMap::new();
        if let Some(hash) = &part.channels {
            let mut from = std::io::BufReader::new(objects.open(hash)?);
            while let Some(line) = lines::next(&mut from).map_err(|e| unusable(backup, e))? {
                let pair: (String, String) =
                    serde_json::from_str(&line).map_err(|error| unusable(backup, error))?;
                channels.insert(pair.0, pair.1);
            }
        }
        let mut from = std::io::BufReader::new(objects.open(&part.events)?);
        while let Some(line) = lines::next(&mut from).map_err(|error| unusable(backup, error))? {
            let channel =
                lines::channel_of(&line, &mut channels).map_err(|error| unusable(backup, error))?;
            incoming.event(&line, channel.as_deref())?;
        }
    }
    for file in &space.files {
        incoming.file(&file.name, &mut objects.open(&file.hash)?)?;
    }
    let mut configured = place.config().space.iter();
    if configured.any(|known| known.id.get_ref().0 == space.id) {
        incoming.finish_configured(&space.id)?;
        return Ok(space.id.clone());
    }
    incoming.finish()
}
