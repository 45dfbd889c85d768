//! Gives up what the daemon does not need once it is set up: every capability but CAP_NET_ADMIN (interfaces come and go),
//! in every set, and the way to get any back. Done while there is one thread. Never gains anything.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::error::DaemonError;
use crate::store;

/// The last capability a kernel may know; unknown ones answer with an error that means "not there".
const CAPABILITY_MAX: u32 = 63;

/// A user of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    gid: u32,
}

/// Who the daemon is before it becomes anybody else.
pub const ROOT: User = User { uid: 0, gid: 0 };

/// Looks a user up in `/etc/passwd` (passwd(5)).
pub fn find_user(name: &str) -> Result<User, DaemonError> {
    let path = Path::new("/etc/passwd");
    let bytes = store::read(path, 1 << 20)?.unwrap_or_default();
    parse_passwd(&String::from_utf8_lossy(&bytes), name)
        .ok_or_else(|| DaemonError::NoUser(name.to_owned()))
}

fn parse_passwd(text: &str, name: &str) -> Option<User> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    })
}

/// Whether this process may change the network now.
pub fn may_change_network() -> bool {
    thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Gives `path` and all below it to whom `like` belongs, if this process may.
pub fn give_as(path: &Path, like: &Path) -> Result<(), DaemonError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let metadata =
        fs::metadata(like).map_err(|error| DaemonError::file("read the owner of", like, error))?;
    let owner = User {
        uid: metadata.uid(),
        gid: metadata.gid(),
    };
    give(path, owner)
}

/// Gives `path` and all below it to `user`; links are not followed.
pub fn give(path: &Path, user: User) -> Result<(), DaemonError> {
    let failed = |error| DaemonError::file("change the owner of", path, error);
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    if metadata.uid() != user.uid || metadata.gid() != user.gid {
        lchown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            give(&entry.map_err(failed)?.path(), user)?;
        }
    }
    Ok(())
}

/// Becomes `user` (if root and asked to) and keeps CAP_NET_ADMIN alone. Only while this thread is the only one: Linux
/// keeps capabilities per thread, and later threads inherit them.
pub fn drop_all(user: Option<User>) -> Result<(), DaemonError> {
    let step = |step: &'static str| {
        move |error: rustix::io::Errno| DaemonError::Privileges {
            step,
            source: io::Error::from(error),
        }
    };
    let had = thread::capabilities(None).map_err(step("reading capabilities"))?;
    let root = rustix::process::geteuid().is_root();
    if had.effective.contains(CapabilitySet::SETPCAP) {
        shrink_bounding_set();
    }
    if let Some(user) = user.filter(|_| root) {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        thread::set_keep_capabilities(true).map_err(step("keeping CAP_NET_ADMIN"))?;
        thread::set_thread_groups(&[]).map_err(step("leaving groups"))?;
        thread::set_thread_res_gid(gid, gid, gid).map_err(step("changing the group"))?;
        thread::set_thread_res_uid(uid, uid, uid).map_err(step("changing the user"))?;
    }
    let kept = had.permitted & CapabilitySet::NET_ADMIN;
    // EINVAL: a kernel without ambient capabilities has none to clear.
    let _ = thread::clear_ambient_capability_set();
    thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
    .map_err(step("dropping capabilities"))?;
    thread::set_no_new_privs(true).map_err(step("no_new_privs"))
}

fn shrink_bounding_set() {
    for bit in 0..=CAPABILITY_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if capability == CapabilitySet::NET_ADMIN {
            continue;
        }
        // An error means that this kernel has no such capability.
        let _ = thread::remove_capability_from_bounding_set(capability);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwarren2:x:7:8::/:\nwarren:x:417:418::/:/bin/false\nbroken\n";
        assert_eq!(
            parse_passwd(passwd, "warren"),
            Some(User { uid: 417, gid: 418 })
        );
        assert_eq!(parse_passwd(passwd, "warr"), None);
        assert_eq!(parse_passwd(passwd, "broken"), None);
    }
}
