//! `warrend status`, `neighbours`, `routes`, `spaces`: what the daemon answers, as a table or as JSON.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{invite, table};
use crate::control::client;
use crate::control::protocol::{Neighbour, Request, Route, Space, Status};
use crate::error::DaemonError;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The node in a few figures.
    Status,
    /// Neighbours with links.
    Neighbours,
    /// Routes.
    Routes,
    /// Spaces hosted here and visible in the island.
    Spaces,
    /// Sites of this box and those visible in the island.
    Sites,
}

/// How to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The daemon's control socket.
    pub socket: PathBuf,
    /// As JSON, for programs.
    pub json: bool,
}

/// Asks the daemon and renders its answer.
pub fn show(table: Table, options: &Options) -> Result<String, DaemonError> {
    match table {
        Table::Status => ask(&Request::Status {}, options, status),
        Table::Neighbours => ask(&Request::Neighbours {}, options, neighbours),
        Table::Routes => ask(&Request::Routes {}, options, routes),
        Table::Spaces => ask(&Request::Spaces {}, options, spaces),
        Table::Sites => ask(&Request::Sites {}, options, sites),
    }
}

/// Asks the daemon, and renders its answer or prints it as JSON.
pub fn ask<T: DeserializeOwned + Serialize>(
    request: &Request,
    options: &Options,
    as_text: impl Fn(&T) -> String,
) -> Result<String, DaemonError> {
    let value: T = client::ask(&options.socket, request)?;
    render(&value, options, as_text)
}

/// A value for people or, as JSON, for programs.
pub fn render<T: Serialize>(
    value: &T,
    options: &Options,
    as_text: impl Fn(&T) -> String,
) -> Result<String, DaemonError> {
    if options.json {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| DaemonError::Refused(error.to_string()))?;
        return Ok(text + "\n");
    }
    Ok(as_text(value))
}

fn status(status: &Status) -> String {
    let interfaces: Vec<&str> = status
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    let counters = &status.counters;
    let row = |key: &str, value: String| vec![key.to_owned(), value];
    let mut rows = vec![
        row("address", status.address.clone()),
        row("version", status.version.clone()),
        row("programs", status.mode.clone()),
        row("running for", duration(status.uptime_s)),
        row(
            "interfaces",
            if interfaces.is_empty() {
                "none".to_owned()
            } else {
                interfaces.join(", ")
            },
        ),
        row("neighbours", status.neighbours.to_string()),
        row("reachable", status.routes.to_string()),
        row(
            "packets",
            format!(
                "{} sent, {} received, {} passed on",
                counters.sent, counters.received, counters.forwarded
            ),
        ),
        row(
            "thrown away",
            format!(
                "{} bad, {} without a route, {} refused",
                counters.rejected, counters.no_route, counters.refused
            ),
        ),
    ];
    if status.home_left_out {
        let told = "other homes do not find what people here write for everybody: too much is visible; hide a space or a site";
        rows.push(row("home", told.into()));
    }
    if let Some(backup) = &status.backup {
        rows.push(row(
            "backup",
            last(&backup.dir, backup.made, backup.error.as_deref()),
        ));
    }
    for export in &status.exports {
        rows.push(row(
            &format!("export of {}", export.space),
            last(&export.dir, export.made, export.error.as_deref()),
        ));
    }
    table::render(&["name", &status.name], &rows)
}

/// How something stands that is made now and then in a directory.
fn last(dir: &str, made: Option<u64>, error: Option<&str>) -> String {
    let made = match made {
        Some(made) => format!("{dir}, of {}", invite::day(Some(made))),
        None if error.is_some() => dir.to_owned(),
        None => format!("{dir}, none yet"),
    };
    let failed = error.map(|error| format!("; THE LAST TRY FAILED: {error}"));
    made + &failed.unwrap_or_default()
}

fn duration(seconds: u64) -> String {
    match (
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    ) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn neighbours(neighbours: &Vec<Neighbour>) -> String {
    let percent = |share: f32| format!("{:.0} %", share * 100.0);
    let rows: Vec<Vec<String>> = neighbours
        .iter()
        .map(|neighbour| {
            vec![
                neighbour.address.clone(),
                neighbour.interface.clone(),
                percent(neighbour.rx_quality),
                percent(neighbour.tx_quality),
                neighbour.cost.to_string(),
                format!("{:.1} s", neighbour.silent_ms as f32 / 1000.0),
                if neighbour.up { "up" } else { "down" }.to_owned(),
                neighbour.transport.clone(),
            ]
        })
        .collect();
    let head = [
        "NEIGHBOUR",
        "INTERFACE",
        "HEARD",
        "HEARS US",
        "COST",
        "SILENT",
        "LINK",
        "TRANSPORT",
    ];
    table::render(&head, &rows)
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn routes(routes: &Vec<Route>) -> String {
    let rows: Vec<Vec<String>> = routes
        .iter()
        .map(|route| {
            vec![
                route.destination.clone(),
                route.next_hop.clone(),
                route.cost.to_string(),
                route.path_mtu.to_string(),
                if route.has_backup { "yes" } else { "no" }.to_owned(),
            ]
        })
        .collect();
    table::render(&["DESTINATION", "OVER", "COST", "MTU", "BACKUP"], &rows)
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn spaces(spaces: &Vec<Space>) -> String {
    let rows: Vec<Vec<String>> = spaces
        .iter()
        .map(|space| {
            let figure = |value: fn(&crate::control::protocol::SpaceFigures) -> u64| {
                space
                    .figures
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |figures| value(figures).to_string())
            };
            vec![
                space.title.clone(),
                if space.local {
                    "here".to_owned()
                } else {
                    space.host.clone()
                },
                space.port.to_string(),
                figure(|figures| figures.members),
                figure(|figures| figures.channels),
                figure(|figures| figures.events),
                format!("{}.warren", space.service),
            ]
        })
        .collect();
    let head = [
        "SPACE", "HOST", "PORT", "MEMBERS", "CHANNELS", "STORED", "SERVICE",
    ];
    table::render(&head, &rows)
}

#[allow(clippy::ptr_arg)] // The shape of the answer.
fn sites(sites: &Vec<Space>) -> String {
    let rows: Vec<Vec<String>> = sites
        .iter()
        .map(|site| {
            let host = if site.local { "here" } else { &site.host };
            let service = format!("{}.warren", site.service);
            vec![site.title.clone(), host.to_owned(), service]
        })
        .collect();
    table::render(&["SITE", "HOST", "SERVICE"], &rows)
}
