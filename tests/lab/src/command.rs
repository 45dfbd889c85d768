//! Runs the system's own tools (`ip`, `nft`, `ethtool`, ...) to their end. Never goes through a shell.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::{LabError, Result};

/// The Debian package that has a program.
fn package_of(program: &str) -> &'static str {
    match program {
        "ip" | "tc" => "iproute2",
        "nft" => "nftables",
        "ethtool" => "ethtool",
        "perf" => "linux-perf",
        "iperf3" => "iperf3",
        "yggdrasil" => "yggdrasil",
        "babeld" => "babeld",
        _ => "coreutils",
    }
}

/// Runs a program and returns what it printed. An exit status other than 0 is an error with its words.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    run_with_input(program, arguments, None)
}

/// Like [`run`], with text for its standard input.
pub fn run_with_input(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let line = std::iter::once(program)
        .chain(arguments.iter().copied())
        .collect::<Vec<_>>()
        .join(" ");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| spawn_error(program, &line, error))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin
            .write_all(text.as_bytes())
            .map_err(LabError::io(format!("writing to `{line}`")))?;
    }
    let output = child
        .wait_with_output()
        .map_err(LabError::io(format!("waiting for `{line}`")))?;
    if !output.status.success() {
        let words = if output.stderr.is_empty() {
            &output.stdout
        } else {
            &output.stderr
        };
        return Err(LabError::Command {
            line,
            status: output.status.to_string(),
            output: String::from_utf8_lossy(words)
                .trim()
                .chars()
                .take(2000)
                .collect(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The error for a program that could not be started.
pub fn spawn_error(program: &str, line: &str, error: std::io::Error) -> LabError {
    if error.kind() == std::io::ErrorKind::NotFound {
        LabError::Missing {
            program: program.to_owned(),
            package: package_of(program),
        }
    } else {
        LabError::Io {
            what: format!("starting `{line}`"),
            source: error,
        }
    }
}

/// Whether a program is on the PATH.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}
