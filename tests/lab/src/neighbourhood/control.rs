//! Commands for a running neighbourhood from another terminal: cut, heal, ping, shell. They find it by the note that it
//! leaves in its folder.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::command::spawn_error;
use crate::error::{LabError, Result};
use crate::lab::{Cut, Lab, cut_in, heal_in};
use crate::overlay::warrend::Warrend;
use crate::reaper::living_folders;
use crate::topology::{NodeIndex, Topology};

const NOTE: &str = "neighbourhood.json";

/// What another terminal has to know of a neighbourhood.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    topology: Topology,
    namespaces: Vec<String>,
}

/// Leaves the note.
pub(super) fn remember(lab: &Lab) -> Result<()> {
    let note = Note {
        topology: lab.topology().clone(),
        namespaces: (0..lab.topology().len())
            .map(|node| lab.namespace(node))
            .collect(),
    };
    let path = lab.folder().join(NOTE);
    let text =
        serde_json::to_string(&note).map_err(|e| LabError::answer("the note", &e.to_string()))?;
    fs::write(&path, text).map_err(LabError::io(format!("writing {}", path.display())))
}

/// The newest running neighbourhood: its note and its folder.
fn recall() -> Result<(Note, std::path::PathBuf)> {
    living_folders()
        .into_iter()
        .find_map(|folder| {
            let text = fs::read_to_string(folder.join(NOTE)).ok()?;
            Some((serde_json::from_str(&text).ok()?, folder))
        })
        .ok_or(LabError::NoNeighbourhood)
}

impl Note {
    fn node(&self, name: &str) -> Result<NodeIndex> {
        self.topology
            .find(name)
            .ok_or_else(|| LabError::Unknown(format!("router {name}")))
    }

    fn link(&self, a: &str, b: &str) -> Result<([String; 2], [String; 2])> {
        let (a, b) = (self.node(a)?, self.node(b)?);
        if !self.topology.neighbours(a).contains(&b) {
            let names = &self.topology.names;
            return Err(LabError::Unknown(format!(
                "link between {} and {}",
                names[a], names[b]
            )));
        }
        Ok((
            [self.namespaces[a].clone(), self.namespaces[b].clone()],
            [self.topology.interface(b), self.topology.interface(a)],
        ))
    }
}

/// Cuts a link of the running neighbourhood.
pub fn cut(a: &str, b: &str, how: Cut) -> Result<()> {
    let (namespaces, interfaces) = recall()?.0.link(a, b)?;
    cut_in(&namespaces, &interfaces, how)
}

/// Heals a link of the running neighbourhood.
pub fn heal(a: &str, b: &str) -> Result<()> {
    let (namespaces, interfaces) = recall()?.0.link(a, b)?;
    heal_in(&namespaces, &interfaces)
}

/// Becomes `ping` from one router to another.
pub fn ping(from: &str, to: &str) -> Result<()> {
    let (note, folder) = recall()?;
    let (from, to) = (note.node(from)?, note.node(to)?);
    let target = Warrend::find(
        &folder.join(&note.topology.names[to]),
        &note.topology.names[to],
    )
    .wait_for_address()?;
    Err(become_inside(
        &note.namespaces[from],
        &["ping", &target.to_string()],
    ))
}

/// Becomes a shell inside a router's namespace.
pub fn shell(node: &str) -> Result<()> {
    let (note, _) = recall()?;
    let node = note.node(node)?;
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into());
    Err(become_inside(&note.namespaces[node], &[&shell]))
}

/// Replaces this process by a program in a namespace; returns only if that fails.
fn become_inside(namespace: &str, words: &[&str]) -> LabError {
    let error = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(words)
        .exec();
    spawn_error("ip", &words.join(" "), error)
}
