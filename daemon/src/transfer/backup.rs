//! The home, all spaces and sites, the keys and the configuration of a box in one directory, again and again: each run
//! writes what is new.
//!
//! | file | what |
//! |---|---|
//! | `manifest.json` | what is in the backup; replaced at the very end of a run |
//! | `objects/ab/HASH` | bytes by their hash: parts of events (JSON lines), papers, files |
//!
//! The manifest (version 2): `{"version":2,"made":SECONDS,"node":{"name":TEXT,"papers":HASH},"config":HASH or left out,
//! "home":[FILE],"spaces":[SPACE],"sites":[SITE]}`; a SITE is `{"id":TEXT,"title":TEXT,"papers":HASH,"files":[FILE]}`;
//! a FILE is `{"name":TEXT,"size":N,"hash":HASH}`, a SPACE `{"id":TEXT,"title":TEXT,"papers":HASH,"events":[PART],"files":[FILE]}`,
//! a PART `{"events":HASH,"channels":HASH or left out,"count":N}` in the order in which the events came. Version 1 had
//! neither `config` nor `sites`, and is read.
//!
//! A space or site that is on the box but cannot be read keeps what the former run had of it; only one that was removed by
//! command leaves. A directory is the backup of one box: another one is refused.
//!
//! Parts follow the segments of the journal, so old ones stay as they are. A deleted event leaves its segment on the box;
//! the next run writes that part anew and removes the old one once the new manifest is on disk. A run that was cut short
//! leaves the former manifest and everything it names.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::objects::{Objects, PAPERS_MAX, is_hash};
use super::source::Of;
use super::{Progress, objects, restore, source};
use crate::control::client;
use crate::control::protocol::{
    HostedSite, HostedSpace, NodePapers, Request, SitePapers, SpaceState,
};
use crate::error::DaemonError;
use crate::sites::paths;
use crate::{keys, store};
use warren_space::export::is_extra_name;

/// Version of the manifest.
const VERSION: u64 = 2;
pub(super) const MANIFEST: &str = "manifest.json";
/// Longest manifest, bytes.
const MANIFEST_MAX: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) version: u64,
    pub(super) made: u64,
    pub(super) node: NodeEntry,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<String>,
    pub(super) home: Vec<FileEntry>,
    pub(super) spaces: Vec<SpaceEntry>,
    #[serde(default)]
    pub(super) sites: Vec<SiteEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteEntry {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) papers: String,
    pub(super) files: Vec<FileEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodeEntry {
    pub(super) name: String,
    pub(super) papers: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) hash: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpaceEntry {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) papers: String,
    pub(super) events: Vec<PartEntry>,
    pub(super) files: Vec<FileEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartEntry {
    pub(super) events: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) channels: Option<String>,
    pub(super) count: u64,
}

impl Manifest {
    pub(super) fn load(backup: &Path) -> Result<Option<Self>, DaemonError> {
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
        let pages = self.sites.iter().flat_map(|site| &site.files);
        let papers = papers.chain(self.sites.iter().map(|site| &site.papers));
        files
            .chain(pages)
            .chain(&self.home)
            .map(|file| &file.hash)
            .chain(parts.flat_map(|part| part.channels.iter().chain([&part.events])))
            .chain(papers)
            .chain(&self.config)
            .chain([&self.node.papers])
    }
}

fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    let Version { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if ![1, VERSION].contains(&version) {
        return Err(format!(
            "it is of version {version}, and this program reads 1 and {VERSION}"
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
    let mut pages = manifest.sites.iter().flat_map(|site| &site.files);
    if !pages.all(|file| paths::parts(&file.name).is_some()) {
        return Err("a name in it can be no file's of a site".into());
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
    /// Sites in it.
    pub sites: u64,
    /// Events in it.
    pub events: u64,
    /// Files in it.
    pub files: u64,
    /// Objects that were not there before.
    pub written: u64,
    /// Spaces and sites that could not be read, each with the reason: what the former run had of them stays.
    pub failed: Vec<String>,
}

/// Brings the backup in a directory up to date with the daemon at `socket`. With `verify` every object that is there is read,
/// and written anew if it is damaged.
pub fn backup(socket: &Path, directory: &Path, verify: bool) -> Result<Summary, DaemonError> {
    check_place(directory)?;
    store::make_dir(directory)?;
    let _one = store::lock(directory)?;
    let former = Manifest::load(directory)?;
    let mut node: NodePapers = client::ask(socket, &Request::NodePapers {})?;
    check_box(&node, former.as_ref(), directory)?;
    check_lacks(node.lacks.take(), former.as_ref(), directory)?;
    let mut known: HashMap<(&str, &str, u64), &str> = HashMap::new();
    if let Some(former) = &former {
        for space in &former.spaces {
            for file in space.files.iter().filter(|file| never_changes(&file.name)) {
                known.insert((&space.id, &file.name, file.size), &file.hash);
            }
        }
    }
    let mut run = Run {
        socket,
        objects: Objects::of_run(directory, verify),
        known,
        progress: Progress::new(),
        summary: Summary::default(),
    };
    let config = node.config.take();
    let config = config.map(|text| run.objects.put_text(&text)).transpose()?;
    let node = NodeEntry {
        papers: run.objects.put_text(&json(&node)?)?,
        name: node.name,
    };
    let home = run.files(Of::Home)?;
    let mut spaces = Vec::new();
    let mut all: Vec<HostedSpace> = client::ask(socket, &Request::SpaceList {})?;
    run.summary.spaces = all.len() as u64;
    let relay: Option<HostedSpace> = client::ask(socket, &Request::HomeRelay {})?;
    all.extend(relay);
    for space in all {
        let entry = match space.state {
            SpaceState::Failed => Err(unreadable()),
            SpaceState::Open | SpaceState::Closed => run.space(&space),
        };
        let mut former = former.iter().flat_map(|former| &former.spaces);
        let kept = former.find(|kept| kept.id == space.id).cloned();
        spaces.extend(run.keep(entry, kept, &space.title)?);
    }
    let mut sites = Vec::new();
    let all: Vec<HostedSite> = client::ask(socket, &Request::SiteList {})?;
    run.summary.sites = all.len() as u64;
    for site in all {
        let entry = if site.failed {
            Err(unreadable())
        } else {
            run.site(&site)
        };
        let mut former = former.iter().flat_map(|former| &former.sites);
        let kept = former.find(|kept| kept.id == site.id).cloned();
        sites.extend(run.keep(entry, kept, &site.title)?);
    }
    let manifest = Manifest {
        version: VERSION,
        made: warren_space::system_clock()(),
        node,
        config,
        home,
        spaces,
        sites,
    };
    let text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| DaemonError::Refused(error.to_string()))?;
    store::replace(&directory.join(MANIFEST), &text)?;
    let named: HashSet<String> = manifest.hashes().cloned().collect();
    run.objects.keep_only(&named);
    run.summary.written = run.objects.written;
    Ok(run.summary)
}

/// A backup is not made inside of what is backed up.
fn check_place(directory: &Path) -> Result<(), DaemonError> {
    let whole = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let whole = whole.canonicalize().unwrap_or(whole);
    let is_state = |above: &Path| keys::mesh_file(above).exists();
    if whole.ancestors().any(is_state) {
        return Err(DaemonError::Refused(format!(
            "{} lies inside the state directory of a box; name a directory outside of it, best on another disk",
            directory.display()
        )));
    }
    Ok(())
}

/// A directory is the backup of one box.
fn check_box(
    node: &NodePapers,
    former: Option<&Manifest>,
    directory: &Path,
) -> Result<(), DaemonError> {
    let Some(former) = former else { return Ok(()) };
    let kept = Objects::new(directory)
        .small(&former.node.papers, PAPERS_MAX)
        .ok()
        .and_then(|text| serde_json::from_str::<NodePapers>(&text).ok());
    let is_same = match kept {
        Some(kept) => kept.mesh_key == node.mesh_key,
        None => former.node.name == node.name, // its key is damaged: this run mends it
    };
    if is_same {
        return Ok(());
    }
    let directory = directory.display();
    Err(DaemonError::Refused(format!(
        "{directory} holds the backup of another box, {}: name another directory, or put that box onto this one with \
         `warrend restore {directory}` while the daemon does not run",
        former.node.name
    )))
}

/// What a box was not given back stays in its backups.
fn check_lacks(
    lacks: Option<String>,
    former: Option<&Manifest>,
    directory: &Path,
) -> Result<(), DaemonError> {
    let (Some(lacks), Some(_)) = (lacks, former) else {
        return Ok(());
    };
    Err(DaemonError::NotAll(format!(
        "this box was not restored as a whole, and a backup into {} would take from it what was not: name a directory without a \
         backup, restore the rest, or give it up by removing the file `{}` from the state directory. It lacks:\n  {}",
        directory.display(),
        restore::LACKS,
        lacks.trim().replace('\n', "\n  ")
    )))
}

fn unreadable() -> DaemonError {
    DaemonError::Refused("it cannot be opened here; the log says why".into())
}

/// One run: its tools, and what it did so far.
struct Run<'a> {
    socket: &'a Path,
    objects: Objects,
    /// Hashes of files that never change, by space, name and size.
    known: HashMap<(&'a str, &'a str, u64), &'a str>,
    progress: Progress,
    summary: Summary,
}

impl Run<'_> {
    fn space(&mut self, space: &HostedSpace) -> Result<SpaceEntry, DaemonError> {
        let own = source::papers(self.socket, &space.id)?;
        let mut events = Vec::new();
        source::events(self.socket, &space.id, |part| {
            if part.count > 0 {
                let channels = match part.channels.as_str() {
                    "" => None,
                    channels => Some(self.objects.put_text(channels)?),
                };
                events.push(PartEntry {
                    events: self.objects.put_text(&part.events)?,
                    channels,
                    count: part.count,
                });
                self.summary.events += part.count;
                self.tell();
            }
            Ok(())
        })?;
        let files = self.files(Of::Space(&space.id))?;
        self.tell();
        Ok(SpaceEntry {
            papers: self.objects.put_text(&json(&own)?)?,
            id: space.id.clone(),
            title: space.title.clone(),
            events,
            files,
        })
    }

    fn site(&mut self, site: &HostedSite) -> Result<SiteEntry, DaemonError> {
        let request = Request::SitePapers {
            site: site.id.clone(),
        };
        let papers: SitePapers = client::ask(self.socket, &request)?;
        let files = self.files(Of::Site(&site.id))?;
        self.tell();
        Ok(SiteEntry {
            papers: self.objects.put_text(&json(&papers)?)?,
            id: site.id.clone(),
            title: site.title.clone(),
            files,
        })
    }

    fn files(&mut self, of: Of<'_>) -> Result<Vec<FileEntry>, DaemonError> {
        let mut entries = Vec::new();
        for file in source::files(self.socket, of)? {
            let space = match of {
                Of::Space(space) => space,
                Of::Home | Of::Site(_) => "",
            };
            let key = (space, file.name.as_str(), file.size);
            let kept = self.known.get(&key);
            let kept = kept.filter(|hash| self.objects.has(hash, file.size));
            let (hash, size) = match kept {
                Some(hash) => ((*hash).to_owned(), file.size),
                None => {
                    let mut bytes = source::file(self.socket, of, &file.name)?;
                    self.objects.put(&file.name, &mut bytes)?
                }
            };
            self.summary.files += 1;
            entries.push(FileEntry {
                name: file.name,
                size,
                hash,
            });
        }
        Ok(entries)
    }

    fn tell(&self) {
        self.progress.tell(self.summary.events, self.summary.files);
    }

    /// What goes into the manifest for a space or site: when it cannot be read, what the former run had of it. A
    /// directory that cannot be written ends the run.
    fn keep<T>(
        &mut self,
        entry: Result<T, DaemonError>,
        kept: Option<T>,
        title: &str,
    ) -> Result<Option<T>, DaemonError> {
        let error = match entry {
            Ok(entry) => return Ok(Some(entry)),
            Err(error @ DaemonError::File { .. }) => return Err(error),
            Err(error) => error,
        };
        let stays = if kept.is_some() {
            "the backup keeps what it had"
        } else {
            "the backup has nothing of it"
        };
        let failed = format!("{title}: {error} ({stays})");
        self.summary.failed.push(failed);
        Ok(kept)
    }
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

/// Whether a directory holds a backup.
pub(super) fn is_backup(directory: &Path) -> bool {
    directory.join(MANIFEST).is_file() && directory.join(objects::DIRECTORY).is_dir()
}

/// When the backup in a directory was made, seconds since 1970; `None` if there is none yet.
pub fn made(directory: &Path) -> Result<Option<u64>, DaemonError> {
    Ok(Manifest::load(directory)?.map(|manifest| manifest.made))
}
