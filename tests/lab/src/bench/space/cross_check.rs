//! The same relays asked by somebody else's driver, `nostr-bench`: 100 clients that look for a tag that nobody used. It
//! speaks IPv4 alone, so it asks a space through the page of its home; and it cannot prove who it is (NIP-42), so it
//! cannot write into a space.

use std::path::Path;

use serde_json::Value;

use crate::command::run;
use crate::error::{LabError, Result};
use crate::lab::Lab;

const CLIENTS: f64 = 100.0;

/// Questions answered a second; `None` when `nostr-bench` is not there.
pub fn ask(lab: &Lab, programs: &Path, url: &str) -> Result<Option<f64>> {
    let program = programs.join("nostr-bench");
    if !program.is_file() {
        return Ok(None);
    }
    let text = run(
        "ip",
        &[
            "netns",
            "exec",
            &lab.namespace(0),
            &program.to_string_lossy(),
            "req",
            "--json",
            "--count",
            &CLIENTS.to_string(),
            "--rate",
            "1000",
            // Each client waits for one second before it asks; what was done is told after two.
            "--keepalive",
            "3",
            "--threads",
            "1",
            url,
        ],
    )?;
    let told = text.lines().rev().find_map(|line| {
        let said: Value = serde_json::from_str(line).ok()?;
        let time = &said["message_stats"]["success_time"];
        let (count, total_ms) = (time["count"].as_f64()?, time["total"].as_f64()?);
        (total_ms > 0.0).then(|| count / (total_ms / CLIENTS) * 1e3)
    });
    told.map(Some)
        .ok_or_else(|| LabError::answer("nostr-bench", &text))
}
