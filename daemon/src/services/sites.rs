//! Published sites of this box: taken in, changed, removed, and served. What is published was copied into a directory
//! beside the others before; here it appears by one rename, and a newer copy takes the place of the older at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use warren_home::ServiceName;
use warren_mesh::service::ServiceKind;

use super::folders::{self, Folders, INCOMING};
use super::hosted::{Door, Hosted};
use super::manage::{SERVICE_KEY, bare, blocking, disk, text};
use super::others::LocalService;
use super::record;
use crate::clock::WallClock;
use crate::config::values::SpaceId;
use crate::control::protocol::{ControlError, ErrorCode, HostedSite, SitePapers};
use crate::error::DaemonError;
use crate::keys;
use crate::sites::folder::{Folder, Pages};
use crate::sites::record::{FILE, PAGES, SiteRecord};
use crate::sites::server::SiteServer;
use warren_space::export::Extras;

/// The directory that is published, in the one where it was put together.
pub const FRESH: &str = "fresh";
/// The name of the directory below `state`.
pub const DIRECTORY: &str = "sites";

/// What shall be different.
#[derive(Clone, Debug, Default)]
pub struct SiteChange {
    /// Where a new copy was put together, and the folder it is of.
    pub copy: Option<(String, String)>,
    /// The title.
    pub title: Option<String>,
    /// Whether the island is told of it.
    pub visible: Option<bool>,
}

/// A site while it runs.
#[derive(Clone, Debug)]
struct Site {
    id: String,
    record: SiteRecord,
    files: u64,
    bytes: u64,
    server: Arc<SiteServer>,
}

/// See the module.
#[derive(Debug)]
pub struct Sites {
    hosted: Arc<Hosted>,
    folders: Folders,
    /// Sites that could not be opened at the start.
    damaged: Vec<String>,
    /// TCP port of the page on this machine.
    page: Option<u16>,
    clock: WallClock,
    open: std::sync::Mutex<Vec<Site>>,
}

fn count(pages: &Path) -> std::io::Result<(u64, u64)> {
    let files = Pages::new(pages.to_path_buf()).list()?;
    let bytes = files.iter().map(|file| file.size).sum();
    Ok((files.len() as u64, bytes))
}

/// Removes copies that are not served any more, and what a crash left.
fn sweep(directory: &Path, keep: u32) {
    let current = format!("{PAGES}{keep}");
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_copy = name.to_str().is_some_and(|name| name.starts_with(PAGES));
        if is_copy
            && name != *current
            && let Err(error) = folders::remove_all(&entry.path())
        {
            log::warn!("{error}");
        }
    }
}

fn open(folders: &Folders, id: &str) -> Result<(Site, LocalService), DaemonError> {
    let directory = folders.of(id);
    let record = SiteRecord::load(&directory)?.ok_or_else(|| DaemonError::missing(&directory))?;
    let signer = keys::service_of(&directory, &directory.join(SERVICE_KEY))?;
    let name = ServiceName::parse(&signer.service().to_string());
    let name = name.ok_or_else(|| DaemonError::Service {
        what: format!("the site {id}"),
        reason: "its key has no name".into(),
    })?;
    let pages = record.pages(&directory);
    let failed = |error| DaemonError::file("read", &pages, error);
    let folder = Folder::open(&pages).map_err(failed)?;
    let (files, bytes) = count(&pages).map_err(failed)?;
    let server = Arc::new(SiteServer::new(folder, record.number));
    let service = LocalService {
        id: id.to_owned(),
        kind: ServiceKind::Site,
        name,
        title: record.title.clone(),
        port: record.port,
        visible: record.visible,
        signer: Arc::new(signer),
        serves: Some(server.clone()),
        door: None,
    };
    let site = Site {
        id: id.to_owned(),
        record,
        files,
        bytes,
        server,
    };
    Ok((site, service))
}

impl Sites {
    /// The sites in `state`, which are served from now on. `page`: the TCP port of the page on this machine, if it has one.
    /// Blocks; call it on the runtime.
    pub fn open(
        hosted: Arc<Hosted>,
        state: &Path,
        page: Option<u16>,
        clock: &WallClock,
    ) -> Result<Self, DaemonError> {
        let folders = Folders::new(state.join(DIRECTORY));
        folders.tidy()?;
        let mut sites = Vec::new();
        let mut damaged = Vec::new();
        for id in folders.with(FILE)? {
            // One that cannot be opened does not keep the others away from people.
            match open(&folders, &id) {
                Ok((site, service)) => {
                    sweep(&folders.of(&id), site.record.number);
                    log::info!("site {id}: {}.warren", service.name);
                    let door: Option<Result<Door, DaemonError>> = service.visible.then(|| {
                        let listener = hosted.bind(service.port)?;
                        hosted.serve(&site.server, service.port, listener)
                    });
                    let door = door.transpose().unwrap_or_else(|error| {
                        log::error!("site {id}: {error}");
                        None
                    });
                    let service = LocalService {
                        door: door.map(Arc::new),
                        ..service
                    };
                    hosted.put_other(service);
                    sites.push(site);
                }
                Err(error) => {
                    log::error!("site {id}: {error}");
                    damaged.push(id);
                }
            }
        }
        Ok(Self {
            hosted,
            folders,
            damaged,
            page,
            clock: clock.clone(),
            open: std::sync::Mutex::new(sites),
        })
    }

    fn sites(&self) -> Vec<Site> {
        let open = self.open.lock();
        open.unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn put(&self, site: Site) {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|old| old.id != site.id);
        open.push(site);
    }

    fn forget(&self, id: &str) {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|old| old.id != id);
    }

    fn service(&self, id: &str) -> Option<LocalService> {
        let others = self.hosted.others();
        let mut sites = others
            .iter()
            .filter(|service| service.kind == ServiceKind::Site);
        sites.find(|service| service.id == id).cloned()
    }

    /// Where a site is on this machine.
    fn here(&self, service: Option<&LocalService>) -> Option<String> {
        let name = &service?.name;
        Some(match self.page? {
            80 => format!("http://{name}.localhost/"),
            port => format!("http://{name}.localhost:{port}/"),
        })
    }

    fn view(&self, site: &Site) -> HostedSite {
        let service = self.service(&site.id);
        HostedSite {
            id: site.id.clone(),
            service: service
                .as_ref()
                .map(|service| service.name.to_string())
                .unwrap_or_default(),
            title: site.record.title.clone(),
            visible: site.record.visible,
            port: site.record.port,
            here: self.here(service.as_ref()),
            from: site.record.from.clone(),
            published: site.record.published,
            files: site.files,
            bytes: site.bytes,
            failed: false,
        }
    }

    /// All sites of this box, by id.
    pub fn list(&self) -> Vec<HostedSite> {
        let mut list: Vec<HostedSite> = self.sites().iter().map(|site| self.view(site)).collect();
        list.extend(self.folders.still(&self.damaged).map(|id| HostedSite {
            id: id.clone(),
            service: String::new(),
            title: id.clone(),
            visible: false,
            port: 0,
            here: None,
            from: String::new(),
            published: 0,
            files: 0,
            bytes: 0,
            failed: true,
        }));
        list.sort_by(|a, b| a.id.cmp(&b.id));
        list
    }

    /// Finds a site by id, service or title.
    fn find(&self, name: &str) -> Result<Site, ControlError> {
        let (sites, wanted) = (self.sites(), name.strip_suffix(".warren").unwrap_or(name));
        let is_service = |site: &Site| {
            self.service(&site.id)
                .is_some_and(|service| service.name.as_str() == wanted)
        };
        let exact = sites
            .iter()
            .find(|site| site.id == name || is_service(site));
        if let Some(site) = exact {
            return Ok(site.clone());
        }
        let mut titled = sites.iter().filter(|site| site.record.title == name);
        match (titled.next(), titled.next()) {
            (Some(site), None) => Ok(site.clone()),
            (Some(_), Some(_)) => Err(ControlError::new(ErrorCode::Ambiguous, name)),
            (None, _) => {
                let short: String = name.chars().take(80).collect();
                Err(ControlError::new(ErrorCode::NotFound, short))
            }
        }
    }

    /// The directory where a copy was put together; its name is given by whoever did it.
    fn incoming(&self, directory: &str) -> Result<(String, PathBuf), ControlError> {
        let part = directory
            .strip_prefix(INCOMING)
            .filter(|part| part.parse::<SpaceId>().is_ok())
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, directory))?;
        let path = self.folders.incoming(part);
        if !path.join(FRESH).is_dir() {
            return Err(ControlError::new(ErrorCode::NotFound, directory));
        }
        Ok((part.to_owned(), path))
    }

    /// Publishes what was put together in a directory below `sites/` as a new site.
    pub async fn publish(
        &self,
        directory: &str,
        from: String,
        title: String,
        visible: bool,
        port: Option<u16>,
    ) -> Result<HostedSite, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let (part, incoming) = self.incoming(directory)?;
        let published = self.try_publish(&part, from, title, visible, port).await;
        if published.is_err() {
            let _ = blocking(move || folders::remove_all(&incoming)).await;
            self.hosted.say().await;
        }
        published
    }

    async fn try_publish(
        &self,
        part: &str,
        from: String,
        title: String,
        visible: bool,
        port: Option<u16>,
    ) -> Result<HostedSite, ControlError> {
        record::check_texts(Some(&title), None)?;
        let mut record = SiteRecord::new(title, visible, self.hosted.free_port(port)?);
        (record.from, record.number) = (from, 1);
        record.published = self.clock.unix_seconds();
        record.check()?;
        let id = self
            .folders
            .free_id(&record::slug_or(&record.title, "site"), |_| false);
        let (incoming, made) = (self.folders.incoming(part), record.clone());
        let signer = blocking(move || {
            let pages = made.pages(&incoming);
            let fresh = incoming.join(FRESH);
            fs::rename(&fresh, &pages).map_err(|error| DaemonError::file("make", &pages, error))?;
            made.save(&incoming)?;
            keys::service(&incoming.join(SERVICE_KEY))
        })
        .await?;
        let name = ServiceName::parse(&signer.service().to_string())
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, &*id))?;
        let probe = LocalService {
            id: id.clone(),
            kind: ServiceKind::Site,
            name,
            title: record.title.clone(),
            port: record.port,
            visible,
            signer: Arc::new(signer),
            serves: None,
            door: None,
        };
        let listener = if visible {
            self.hosted.may_show((&probe).into()).await?
        } else {
            None
        };
        let (folders, part, wanted) = (self.folders.clone(), part.to_owned(), id.clone());
        let (site, mut service) = blocking(move || {
            folders.commit(&part, &wanted)?;
            open(&folders, &wanted)
        })
        .await?;
        if visible {
            let door = self.hosted.serve(&site.server, service.port, listener);
            service.door = Some(Arc::new(door.map_err(|error| disk(&error))?));
        }
        log::info!("site {id}: {}.warren", service.name);
        self.hosted.put_other(service);
        self.put(site.clone());
        Ok(self.view(&site))
    }

    /// Puts a new copy in the place of the old one, and changes settings.
    pub async fn update(&self, name: &str, change: SiteChange) -> Result<HostedSite, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let old = self.find(name)?;
        let was = self
            .service(&old.id)
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, name))?;
        let copy = match &change.copy {
            Some((directory, _)) => Some(self.incoming(directory)?.1),
            None => None,
        };
        record::check_texts(change.title.as_deref(), None)?;
        let mut record = old.record.clone();
        record.title = change.title.unwrap_or(record.title);
        record.visible = change.visible.unwrap_or(record.visible);
        if let Some((_, from)) = change.copy {
            record.from = from;
            record.number += 1;
            record.published = self.clock.unix_seconds();
        }
        record.check()?;
        let mut service = LocalService {
            title: record.title.clone(),
            visible: record.visible,
            ..was.clone()
        };
        let appears = record.visible && !was.is_shown();
        let listener = if appears {
            self.hosted.may_show((&service).into()).await?
        } else {
            if record.visible {
                self.hosted.tell((&service).into()).await?;
            }
            None
        };
        // Who knew where a visible site is must not know it of the hidden one.
        let hides = old.record.visible && !record.visible;
        let (folders, id, changed) = (self.folders.clone(), old.id.clone(), record);
        let saved = blocking(move || {
            let directory = folders.of(&id);
            if let Some(incoming) = &copy {
                let (fresh, pages) = (incoming.join(FRESH), changed.pages(&directory));
                folders::remove_all(&pages)?;
                folders::sync_tree(&fresh)
                    .and_then(|()| fs::rename(&fresh, &pages))
                    .and_then(|()| fs::File::open(&directory)?.sync_all())
                    .map_err(|error| DaemonError::file("make", &pages, error))?;
                folders::remove_all(incoming)?;
            }
            if hides {
                keys::replace_service(&directory.join(SERVICE_KEY))?;
            }
            changed.save(&directory)?;
            open(&folders, &id)
        })
        .await;
        let (site, fresh) = match saved {
            Ok(saved) => saved,
            Err(error) => {
                self.hosted.say().await;
                return Err(error);
            }
        };
        // Connections go on: what they ask for next is new.
        let number = site.record.number;
        let folder = Folder::open(&site.record.pages(&self.folders.of(&site.id)));
        let folder = folder.map_err(|error| {
            disk(&DaemonError::file(
                "read",
                &self.folders.of(&site.id),
                error,
            ))
        })?;
        old.server.publish(folder, number);
        let directory = self.folders.of(&site.id);
        blocking(move || {
            sweep(&directory, number);
            Ok(())
        })
        .await?;
        let site = Site {
            server: Arc::clone(&old.server),
            ..site
        };
        (service.name, service.signer) = (fresh.name, fresh.signer);
        if appears {
            let door = self.hosted.serve(&old.server, service.port, listener);
            service.door = Some(Arc::new(door.map_err(|error| disk(&error))?));
        } else if hides {
            service.door = None;
        }
        self.hosted.put_other(service);
        self.put(site.clone());
        self.hosted.say().await;
        Ok(self.view(&site))
    }

    /// Removes a site from this box. The folder it was made of stays.
    pub async fn remove(&self, name: &str) -> Result<HostedSite, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let site = self.find(name)?;
        let last = self.view(&site);
        self.hosted.drop_other(ServiceKind::Site, &site.id);
        self.forget(&site.id);
        self.hosted.say().await;
        site.server.end();
        let (folders, id) = (self.folders.clone(), site.id);
        blocking(move || folders.remove(&id)).await?;
        Ok(last)
    }

    /// A site's record and key. Secret.
    pub async fn papers(&self, name: &str) -> Result<SitePapers, ControlError> {
        let site = self.find(name)?;
        let key = self.folders.of(&site.id).join(SERVICE_KEY);
        blocking(move || {
            Ok(SitePapers {
                record: site.record.render(),
                service_key: text(&key)?,
                id: site.id,
            })
        })
        .await
    }

    /// The files of a site, for whoever copies them.
    pub fn pages(&self, name: &str) -> Result<Pages, ControlError> {
        let site = self.find(name)?;
        let directory = self.folders.of(&site.id);
        if !directory.is_dir() {
            return Err(bare(ErrorCode::Unavailable));
        }
        Ok(Pages::new(site.record.pages(&directory)))
    }
}
