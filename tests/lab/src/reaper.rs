//! Makes sure that a lab leaves nothing behind, however it ends: a reaper process of its own waits for the lab's end of a
//! pipe to close (which the kernel does even after SIGKILL), then ends what runs in the lab's namespaces and removes them.
//! Touches only namespaces and folders that carry the lab's own prefix.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::spawn_error;
use crate::error::{LabError, Result};
use crate::namespace;

/// First part of every name a lab gives.
const FAMILY: &str = "warren-lab";
/// Where labs keep sockets, logs and state.
const FOLDER: &str = "/run/warren-lab";

/// What the reaper does with a prefix ($1) and a folder ($2). It gives daemons two seconds to end by themselves.
const SCRIPT: &str = r#"
cat >/dev/null
pids_of_lab() {
    for namespace in /run/netns/"$1"-*; do
        [ -e "$namespace" ] && ip netns pids "${namespace##*/}" 2>/dev/null
    done
}
for pid in $(pids_of_lab "$1"); do kill -TERM "$pid" 2>/dev/null; done
tries=0
while [ -n "$(pids_of_lab "$1")" ] && [ "$tries" -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
for pid in $(pids_of_lab "$1"); do kill -KILL "$pid" 2>/dev/null; done
for namespace in /run/netns/"$1"-*; do
    [ -e "$namespace" ] && ip netns del "${namespace##*/}"
done
[ "$3" = keep ] || rm -rf -- "$2"
"#;

/// Whether the lab's folder (logs, state) stays when the lab ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Removed with the lab.
    Remove,
    /// Stays, to look into. Asked for with the environment variable `WARREN_LAB_KEEP`.
    Keep,
}

/// Owns a lab's names; cleans up when dropped or when its process dies.
#[derive(Debug)]
pub struct Reaper {
    prefix: String,
    folder: PathBuf,
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    /// Takes a new prefix, makes the lab's folder, and starts the reaper process.
    pub fn start() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let start = start_time(pid).unwrap_or(0);
        let prefix = format!(
            "{FAMILY}-{pid}-{start}-{}",
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Path::new(FOLDER).join(&prefix);
        fs::create_dir_all(&folder)
            .map_err(LabError::io(format!("making {}", folder.display())))?;
        let keep = if std::env::var_os("WARREN_LAB_KEEP").is_some() {
            Folder::Keep
        } else {
            Folder::Remove
        };
        let (child, pipe) = spawn(&prefix, &folder, keep)?;
        Ok(Self {
            prefix,
            folder,
            child,
            pipe,
        })
    }

    /// First part of the names of this lab's namespaces.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Folder for this lab's sockets, logs and state.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.pipe = None;
        // Nothing useful can be done here if waiting fails: the reaper runs on by itself.
        let _ = self.child.wait();
    }
}

fn spawn(prefix: &str, folder: &Path, keep: Folder) -> Result<(Child, Option<ChildStdin>)> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "warren-lab-reaper", prefix])
        .arg(folder)
        .arg(if keep == Folder::Keep {
            "keep"
        } else {
            "remove"
        })
        // A group of its own: Ctrl-C in the terminal must not end the reaper before its work.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| spawn_error("sh", "the reaper", e))?;
    let pipe = child.stdin.take();
    Ok((child, pipe))
}

/// Kernel's start time of a process in clock ticks since boot; tells a lab's process from a later one with its number.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// The prefix's process, if it is still the one that made the lab.
fn is_alive(prefix: &str) -> bool {
    let mut parts = prefix
        .strip_prefix(FAMILY)
        .unwrap_or("")
        .trim_start_matches('-')
        .split('-');
    let (Some(pid), Some(start)) = (
        parts.next().and_then(|p| p.parse::<u32>().ok()),
        parts.next().and_then(|s| s.parse::<u64>().ok()),
    ) else {
        return true;
    };
    start_time(pid) == Some(start)
}

/// The prefix in a namespace's name: the family and three numbers.
fn prefix_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(FAMILY)?.strip_prefix('-')?;
    let mut end = FAMILY.len() + 1;
    for (index, part) in rest.split('-').take(3).enumerate() {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        end += part.len() + usize::from(index < 2);
    }
    (rest.split('-').count() >= 3)
        .then(|| name.get(..end))
        .flatten()
}

/// Removes what labs of processes that are no more have left behind. Returns how many labs were removed.
pub fn remove_leftovers() -> Result<usize> {
    let mut dead: Vec<String> = namespace::all()
        .iter()
        .filter_map(|name| prefix_of(name).map(str::to_owned))
        .chain(
            folders()
                .into_iter()
                .filter_map(|path| path.file_name()?.to_str().map(str::to_owned)),
        )
        .filter(|prefix| !is_alive(prefix))
        .collect();
    dead.sort();
    dead.dedup();
    for prefix in &dead {
        let (mut child, pipe) = spawn(prefix, &Path::new(FOLDER).join(prefix), Folder::Remove)?;
        drop(pipe);
        child
            .wait()
            .map_err(LabError::io("waiting for the reaper"))?;
    }
    Ok(dead.len())
}

/// Folders of all labs, newest first.
pub fn folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Folders of labs whose process is alive, newest first.
pub fn living_folders() -> Vec<PathBuf> {
    folders()
        .into_iter()
        .filter(|path| {
            path.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(is_alive)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{is_alive, prefix_of, start_time};

    #[test]
    fn a_prefix_is_found_in_the_name_of_a_namespace_and_nowhere_else() {
        assert_eq!(
            prefix_of("warren-lab-12-345-0-A"),
            Some("warren-lab-12-345-0")
        );
        assert_eq!(
            prefix_of("warren-lab-12-345-10-N26"),
            Some("warren-lab-12-345-10")
        );
        assert_eq!(prefix_of("warren-lab-x-345-0-A"), None);
        assert_eq!(prefix_of("somebody-else"), None);
        assert_eq!(prefix_of("warren-lab-12"), None);
    }

    #[test]
    fn only_the_very_process_that_made_a_lab_keeps_it_alive() {
        let pid = std::process::id();
        let start = start_time(pid).unwrap();
        assert!(is_alive(&format!("warren-lab-{pid}-{start}-0")));
        assert!(!is_alive(&format!("warren-lab-{pid}-{}-0", start + 1)));
    }
}
