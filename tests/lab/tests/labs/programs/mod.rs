//! Where other people's programs are, and whether they can run here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The file of a scenario. Where Node or its packages are missing it says so and gives `None`, except with CI=true: then
/// the test fails.
pub fn scenario(name: &str) -> Option<PathBuf> {
    let programs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../nostr");
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if node.is_ok_and(|status| status.success()) && programs.join("node_modules").is_dir() {
        return Some(programs.join("scenarios").join(name));
    }
    let missing = "Node.js or its packages are missing (npm ci in tests/nostr)";
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{missing}");
    eprintln!("{missing}: nothing was tested");
    None
}
