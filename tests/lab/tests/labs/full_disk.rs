//! A box whose disk is full: nothing acknowledged is lost, nothing half-done is visible, and everybody is told why. The
//! disk is a small tmpfs that only the test sees (`tests/nostr/scenarios/full-disk.js`). Needs root and Node.js.

use std::process::Command;

use warren_lab::folder::Folder;
use warren_lab::overlay::warrend;
use warren_lab::{LabError, Result};

#[test]
fn a_full_disk_loses_nothing_and_leaves_no_halves() -> Result<()> {
    let Some(program) = crate::programs::scenario("full-disk.js") else {
        return Ok(());
    };
    let folder = Folder::make("full-disk")?;
    // Mounts and processes of its own, so that all of them end with the test, also when it is killed.
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["node", "--test"])
        .arg(program)
        .env("WARREND", warrend::binary()?)
        .env("WARREN_FOLDER", folder.path())
        .status()
        .map_err(LabError::io("starting unshare"))?;
    assert!(status.success(), "{status}");
    Ok(())
}
