//! The relay of this home's people: a service like a space, in a directory like a space's, which backups take along. It
//! is made when the page is first served. The island is told of it, but not as of a space.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use nostr::key::PublicKey;
use warren_home::{Home, ServiceName};
use warren_space::stores::Stores;
use warren_space::{Residents, Space};

use super::folders::Folders;
use super::hosted::{self, LocalSpace, Running};
use super::manage::SERVICE_KEY;
use super::record::{FILES_QUOTA_MIB, MEMBER_QUOTA_MIB, SpaceRecord};
use crate::clock::WallClock;
use crate::error::DaemonError;
use crate::keys;

/// What it is called in requests; no space can be.
pub const ID: &str = "home.relay";
/// Its directory, below `relay/` in the state directory.
pub const FOLDER: &str = "home";
/// Its TCP port at the node's address, or the next that is free.
const PORT: u16 = 7446;
/// MiB of events that all people of the home keep together.
const QUOTA_MIB: u32 = 1024;

/// Who lives at the home, as soon as the home is open.
#[derive(Debug, Default)]
pub struct Tenants(OnceLock<Weak<Home>>);

impl Tenants {
    /// The home is open. The first one counts.
    pub fn set(&self, home: &Arc<Home>) {
        let _ = self.0.set(Arc::downgrade(home));
    }

    fn home(&self) -> Option<Arc<Home>> {
        self.0.get()?.upgrade()
    }
}

impl Residents for Tenants {
    fn lives_here(&self, person: &PublicKey) -> bool {
        self.home().is_some_and(|home| home.lives_here(person))
    }

    fn is_home(&self, key: &PublicKey) -> bool {
        self.home().is_some_and(|home| home.is_own_key(key))
    }

    fn named(&self, handle: &str) -> Option<PublicKey> {
        self.home()?.named(handle)
    }
}

/// Where it is, in a state directory.
pub fn folders(state: &Path) -> Folders {
    Folders::new(state.join("relay"))
}

/// Opens it, or makes it in the state directory. `others` are the spaces of this box. Blocks.
pub fn open(
    state: &Path,
    name: &str,
    others: &[LocalSpace],
    tenants: &Arc<Tenants>,
    clock: &WallClock,
) -> Result<LocalSpace, DaemonError> {
    let failed = |reason: String| DaemonError::Service {
        what: "the relay of this home's people".into(),
        reason,
    };
    let folders = folders(state);
    folders.tidy()?;
    let directory = folders.of(FOLDER);
    let mut record = match SpaceRecord::load(&directory)? {
        Some(record) => record,
        None => make(&folders, name, others)?,
    };
    // It is called as the home is.
    name.clone_into(&mut record.title);
    let signer = keys::service_of(&directory, &directory.join(SERVICE_KEY))?;
    let service = signer.service().to_string();
    let wall = clock.clone();
    let space = Space::open_personal(
        hosted::config(&directory, &service, &record, &Stores::default()),
        Arc::clone(tenants) as Arc<dyn Residents>,
        Arc::new(move || wall.unix_seconds()),
    )
    .map_err(|error| failed(error.to_string()))?;
    Ok(LocalSpace {
        id: ID.to_owned(),
        name: ServiceName::parse(&service).ok_or_else(|| failed("its key has no name".into()))?,
        signer: Arc::new(signer),
        record,
        configured: false,
        directory,
        keyless: false,
        space: Some(Arc::new(Running::new(space))),
        door: None,
    })
}

/// Puts it together, so that after a crash there is all of it or nothing.
fn make(folders: &Folders, name: &str, others: &[LocalSpace]) -> Result<SpaceRecord, DaemonError> {
    let is_used = |port: &u16| others.iter().any(|space| space.record.port == *port);
    let record = SpaceRecord {
        title: name.to_owned(),
        about: "What people of this home write for everybody".into(),
        visible: true,
        port: (PORT..).find(|port| !is_used(port)).unwrap_or(PORT),
        owner: None,
        quota_mib: QUOTA_MIB,
        files_quota_mib: FILES_QUOTA_MIB,
        member_quota_mib: MEMBER_QUOTA_MIB,
        closed: false,
        home: true,
    };
    let directory = folders.begin(FOLDER)?;
    keys::service(&directory.join(SERVICE_KEY))?;
    record.save(&directory)?;
    folders.commit(FOLDER, FOLDER)?;
    Ok(record)
}
