//! What was changed on interfaces, on disk: a daemon that was killed could not put it back, so the next one does.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::DaemonError;
use crate::netlink::Netlink;
use crate::store;

const FILE: &str = "interfaces.json";
const FILE_MAX: u64 = 64 * 1024;

/// What was changed on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Its number: another interface of the same name was not changed.
    pub index: u32,
    /// The MTU it had, and the one it was given.
    pub mtu: Option<(u32, u32)>,
    /// A link-local address that was added.
    pub address: Option<Ipv6Addr>,
}

impl Change {
    /// Nothing is changed yet.
    pub fn none(name: &str, index: u32) -> Self {
        Self {
            name: name.to_owned(),
            index,
            mtu: None,
            address: None,
        }
    }

    /// Puts it back on the same interface, if that is still there. An MTU that is not ours any more was somebody's choice
    /// and stays.
    pub async fn undo(&self, netlink: &Netlink) {
        let name = &self.name;
        let Ok(Some(link)) = netlink.find(name).await else {
            return;
        };
        if link.index != self.index {
            return;
        }
        if let Some(address) = self.address {
            // An error means that it is gone already.
            let _ = netlink.remove_address(name, link.index, address).await;
        }
        if let Some((before, ours)) = self.mtu
            && link.mtu == ours
        {
            match netlink.set_mtu(name, link.index, before).await {
                Ok(()) => log::info!("{name}: MTU {before} again, it was {ours} for the mesh"),
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

/// The file.
#[derive(Debug)]
pub struct Leftovers {
    path: PathBuf,
    saved: Vec<Change>,
}

impl Leftovers {
    /// The file of a state directory, as an earlier daemon left it. One that cannot be read is as none.
    pub fn open(state: &Path) -> Self {
        let path = state.join(FILE);
        let saved = match store::read(&path, FILE_MAX) {
            Ok(bytes) => bytes
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .unwrap_or_default(),
            Err(error) => {
                log::warn!("{error}");
                Vec::new()
            }
        };
        Self { path, saved }
    }

    /// Puts back what an earlier daemon changed and did not put back.
    pub async fn undo(&mut self, netlink: &Netlink) {
        for change in &self.saved {
            change.undo(netlink).await;
        }
        self.save(Vec::new());
    }

    /// Remembers what is changed now.
    pub fn save(&mut self, changes: Vec<Change>) {
        if changes == self.saved {
            return;
        }
        let bytes = serde_json::to_vec(&changes).unwrap_or_default();
        match store::replace(&self.path, &bytes) {
            Ok(()) => self.saved = changes,
            Err(DaemonError::File { source, .. }) => {
                log::warn!("what was changed on interfaces could not be remembered: {source}");
            }
            Err(error) => log::warn!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_there_after_a_kill_and_a_damaged_file_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let change = Change {
            name: String::from("mesh0"),
            index: 3,
            mtu: Some((1500, 1583)),
            address: Some(Ipv6Addr::LOCALHOST),
        };
        Leftovers::open(dir.path()).save(vec![change.clone()]);
        assert_eq!(Leftovers::open(dir.path()).saved, [change]);
        std::fs::write(dir.path().join(FILE), "[{").unwrap();
        assert_eq!(Leftovers::open(dir.path()).saved, []);
    }
}
