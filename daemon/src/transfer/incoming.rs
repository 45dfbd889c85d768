//! A space that is put together on this box from an archive or a backup. It is not there until all of it is on disk;
//! then it appears by one rename, which the daemon does if it runs, and who starts it next finds it otherwise.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use warren_mesh::service::ServiceKey;
use warren_space::export::{Extras, ImportError, Importer};
use warren_space::stores::Stores;

use crate::config::{self, Config};
use crate::control::client;
use crate::control::protocol::{HostedSpace, Papers, Request};
use crate::error::DaemonError;
use crate::services::folders::{Folders, INCOMING, remove_all};
use crate::services::hosted;
use crate::services::manage::{SERVICE_KEY, SPACE_KEY};
use crate::services::reading::extras_of;
use crate::services::record::{self, SpaceRecord};
use crate::services::relay;
use crate::{keys, privileges, store};

/// The box that a space comes to.
#[derive(Debug)]
pub struct Place {
    config: Config,
    stores: Stores,
    /// Held while no daemon runs.
    lock: Option<File>,
}

impl Place {
    /// The box of a configuration, whether its daemon runs or not.
    pub fn find(config: &Path) -> Result<Self, DaemonError> {
        let config = config::load(config)?;
        let asked: Result<serde_json::Value, _> =
            client::ask(&config.control.socket, &Request::Status {});
        let lock = match asked {
            Ok(_) => None,
            Err(DaemonError::NotRunning { .. }) => Some(lock(&config)?),
            Err(error) => return Err(error),
        };
        let stores = config.store.load()?;
        Ok(Self {
            config,
            stores,
            lock,
        })
    }

    /// The same while its daemon does not run; an error if it does.
    pub fn at_rest(config: &Path) -> Result<Self, DaemonError> {
        let config = config::load(config)?;
        let lock = Some(lock(&config)?);
        let stores = config.store.load()?;
        Ok(Self {
            config,
            stores,
            lock,
        })
    }

    /// Its state directory.
    pub fn state(&self) -> &Path {
        &self.config.state
    }

    /// Its configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn folders(&self) -> Folders {
        Folders::new(self.config.state.join("spaces"))
    }

    /// Where what has this record belongs.
    fn folders_of(&self, record: &SpaceRecord) -> Folders {
        match record.home {
            true => relay::folders(&self.config.state),
            false => self.folders(),
        }
    }

    /// What a space of this service is called here, if it is here.
    pub fn has(&self, service: &ServiceKey) -> Result<Option<String>, DaemonError> {
        if self.lock.is_none() {
            let all: Vec<HostedSpace> =
                client::ask(&self.config.control.socket, &Request::SpaceList {})?;
            let same = |space: &HostedSpace| space.service == service.to_string();
            return Ok(all.into_iter().find(same).map(|space| space.id));
        }
        let folders = self.folders();
        let made = folders.with(record::FILE)?;
        let made = made
            .into_iter()
            .map(|id| (folders.of(&id).join(SERVICE_KEY), id));
        let own = relay::folders(&self.config.state).of(relay::FOLDER);
        let made = made.chain([(own.join(SERVICE_KEY), relay::ID.to_owned())]);
        let configured = self.config.space.iter().map(|space| {
            let id = space.id.get_ref().0.clone();
            (keys::service_file(&self.config.state, &id), id)
        });
        for (path, id) in made.chain(configured) {
            if let Some(bytes) = store::read(&path, store::FILE_MAX)?
                && keys::service_in(&String::from_utf8_lossy(&bytes)) == Some(*service)
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

fn lock(config: &Config) -> Result<File, DaemonError> {
    store::make_dir(&config.state)?;
    store::lock(&config.state)
}

/// See the module. Dropped before its end, it leaves nothing.
pub struct Incoming<'a> {
    place: &'a Place,
    from: PathBuf,
    name: String,
    directory: PathBuf,
    record: SpaceRecord,
    /// The id it had.
    id: Option<String>,
    importer: Option<Importer>,
    extras: Option<Box<dyn Extras>>,
    finished: bool,
}

impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.importer = None;
            self.extras = None;
            // What cannot be removed now goes at the daemon's next start.
            let _ = hosted::forget(&self.directory, &self.place.stores)
                .and_then(|()| remove_all(&self.directory));
        }
    }
}

impl<'a> Incoming<'a> {
    /// Begins with what says which space it is. `from` is for messages. The space is open.
    pub fn begin(place: &'a Place, from: &Path, papers: &Papers) -> Result<Self, DaemonError> {
        Self::begin_as(place, from, papers, None)
    }

    /// The same for a space that comes back onto its own box, as it was: closed if it was closed, and under the id it had if
    /// that is free.
    pub fn begin_as_it_was(
        place: &'a Place,
        from: &Path,
        papers: &Papers,
        id: &str,
    ) -> Result<Self, DaemonError> {
        Self::begin_as(place, from, papers, Some(id))
    }

    fn begin_as(
        place: &'a Place,
        from: &Path,
        papers: &Papers,
        id: Option<&str>,
    ) -> Result<Self, DaemonError> {
        let unusable = |what: &str| DaemonError::Unusable {
            path: from.to_path_buf(),
            what: what.to_owned(),
        };
        let mut record = SpaceRecord::parse(&papers.record)
            .ok_or_else(|| unusable("its record of the space is none of this version"))?;
        record.closed &= id.is_some();
        let service = keys::service_in(&papers.service_key)
            .ok_or_else(|| unusable("its service key is none of this version"))?;
        if let Some(id) = place.has(&service)? {
            return Err(DaemonError::SpaceIsHere(id));
        }
        if record.home {
            // People name theirs by its service: another one does not take its place.
            let own = relay::folders(place.state()).of(relay::FOLDER);
            if place.lock.is_none() {
                return Err(DaemonError::SpaceIsHere(relay::ID.to_owned()));
            }
            if own.exists() {
                return Err(DaemonError::RelayIsHere(own));
            }
        }
        let name = format!("import-{}", std::process::id());
        let directory = place.folders_of(&record).begin(&name)?;
        let mut incoming = Self {
            place,
            from: from.to_path_buf(),
            name,
            directory,
            record,
            // What is no id of this program is none here.
            id: id.filter(|id| record::slug(id) == *id).map(str::to_owned),
            importer: None,
            extras: None,
            finished: false,
        };
        let directory = &incoming.directory;
        store::create(&directory.join(SERVICE_KEY), papers.service_key.as_bytes())?;
        store::create(&directory.join(SPACE_KEY), papers.space_key.as_bytes())?;
        let config = hosted::config(
            directory,
            &service.to_string(),
            &incoming.record,
            &place.stores,
        );
        let importer = Importer::begin(config, warren_space::system_clock());
        incoming.importer = Some(importer.map_err(|error| incoming.unusable(&error))?);
        Ok(incoming)
    }

    fn unusable(&self, error: &ImportError) -> DaemonError {
        match error {
            ImportError::Disk(_) => DaemonError::Refused(error.to_string()),
            error => DaemonError::Unusable {
                path: self.from.clone(),
                what: error.to_string(),
            },
        }
    }

    /// The next event.
    pub fn event(&mut self, json: &str, channel: Option<&str>) -> Result<(), DaemonError> {
        let result = match &mut self.importer {
            Some(importer) => importer.add(json, channel),
            None => Ok(()),
        };
        result.map_err(|error| self.unusable(&error))
    }

    /// The next file.
    pub fn file(&mut self, name: &str, bytes: &mut dyn Read) -> Result<(), DaemonError> {
        let path = self.directory.join("files").join(name);
        let failed = |error| DaemonError::file("write", &path, error);
        let extras = match self.extras.take() {
            Some(extras) => extras,
            None => extras_of(&self.directory, &self.place.stores).map_err(failed)?,
        };
        let put = extras.put(name, bytes).map_err(failed);
        self.extras = Some(extras);
        put
    }

    fn close(&mut self) -> Result<(), DaemonError> {
        self.extras = None;
        if let Some(importer) = self.importer.take() {
            importer.finish().map_err(|error| self.unusable(&error))?;
        }
        Ok(())
    }

    /// That was all: the space appears. Its id.
    pub fn finish(mut self) -> Result<String, DaemonError> {
        self.close()?;
        let place = self.place;
        let folders = place.folders_of(&self.record);
        if place.lock.is_some() {
            self.record.port = free_port(place, self.record.port)?;
        }
        self.record.save(&self.directory)?;
        crate::services::folders::sync_tree(&self.directory)
            .map_err(|error| DaemonError::file("write", &self.directory, error))?;
        privileges::give_as(&self.directory, place.state())?;
        if place.lock.is_none() {
            let directory = format!("{INCOMING}{}", self.name);
            let request = Request::SpaceAdopt { directory };
            let space: HostedSpace = client::ask(&place.config.control.socket, &request)?;
            self.finished = true;
            return Ok(space.id);
        }
        let configured = |id: &str| {
            let mut spaces = place.config.space.iter();
            spaces.any(|space| space.id.get_ref().0 == id)
        };
        let id = match self.record.home {
            true => relay::FOLDER.to_owned(),
            false => {
                let slug = || record::slug(&self.record.title);
                folders.free_id(&self.id.clone().unwrap_or_else(slug), configured)
            }
        };
        folders.commit(&self.name, &id)?;
        self.finished = true;
        Ok(id)
    }

    /// The same for a space that the configuration names: it has the settings and says that the space is there.
    pub fn finish_configured(mut self, id: &str) -> Result<(), DaemonError> {
        self.close()?;
        let place = self.place;
        let key = self.directory.join(SERVICE_KEY);
        let text = store::read(&key, store::FILE_MAX)?.ok_or_else(|| DaemonError::missing(&key))?;
        std::fs::remove_file(&key).map_err(|error| DaemonError::file("remove", &key, error))?;
        if place.folders().of(id).exists() {
            return Err(DaemonError::Exists(place.folders().of(id)));
        }
        privileges::give_as(&self.directory, place.state())?;
        let target = keys::service_file(place.state(), id);
        store::make_dir(&keys::directory(place.state()))?;
        // Until the directory follows, the key is that of a space without anything in it.
        if store::read(&target, store::FILE_MAX)?.as_deref() != Some(&text[..]) {
            store::create(&target, &text)?;
        }
        place.folders().commit(&self.name, id)?;
        self.finished = true;
        Ok(())
    }
}

/// The port a space had, or the next that no other one has.
fn free_port(place: &Place, wanted: u16) -> Result<u16, DaemonError> {
    let folders = place.folders();
    let mut used: HashSet<u16> = HashSet::new();
    let configured = place.config.space.iter();
    used.extend(configured.map(|space| space.port.get_ref().get()));
    for id in folders.with(record::FILE)? {
        used.extend(SpaceRecord::load(&folders.of(&id))?.map(|record| record.port));
    }
    let mut ports = (wanted..=u16::MAX).chain(record::PORT_MIN..wanted);
    Ok(ports.find(|port| !used.contains(port)).unwrap_or(wanted))
}
