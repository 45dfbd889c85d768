//! From the mesh's view of itself to the control socket's answers. Sorted, so that two looks can be compared.

use std::time::Instant;

use warren_mesh::identity::NodeAddress;
use warren_mesh::transmit::InterfaceId;

use crate::clock::WallClock;
use crate::config::Mode;
use crate::control::protocol::{CounterStatus, InterfaceStatus, Neighbour, Route, Status};
use crate::plane::command::Snapshot;
use crate::transfer::exports::{ExportStatus, Exports};
use crate::transfer::schedule::Schedule;

/// What does not change while the daemon runs.
#[derive(Debug)]
pub struct Fixed {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: NodeAddress,
    /// How programs reach the mesh.
    pub mode: Mode,
    /// When the daemon started.
    pub start: Instant,
    /// The time of day.
    pub clock: WallClock,
    /// Backups that are made by themselves.
    pub schedule: Option<Schedule>,
    /// Exports that are made by themselves.
    pub exports: Option<Exports>,
}

impl Fixed {
    /// How exports stand that are made by themselves.
    pub fn exports(&self) -> Vec<ExportStatus> {
        self.exports
            .as_ref()
            .map(Exports::status)
            .unwrap_or_default()
    }

    /// The node in a few figures.
    pub fn status(&self, snapshot: &Snapshot) -> Status {
        let counters = &snapshot.counters;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.name.clone(),
            address: self.address.to_string(),
            mode: match self.mode {
                Mode::Tun => "tun",
                Mode::Userspace => "userspace",
            }
            .to_owned(),
            uptime_s: self.start.elapsed().as_secs(),
            time: self.clock.unix_seconds(),
            interfaces: snapshot
                .interfaces
                .iter()
                .map(|(_, name, dropped)| InterfaceStatus {
                    name: name.clone(),
                    dropped: *dropped,
                })
                .collect(),
            neighbours: snapshot.neighbours.iter().filter(|n| n.up).count(),
            routes: snapshot.routes.len(),
            counters: CounterStatus {
                forwarded: counters.forwarded,
                received: counters.received,
                sent: counters.sent,
                rejected: counters.rejected,
                no_route: counters.no_route,
                refused: counters.refused,
                tun_rejected: snapshot.tun_rejected,
            },
            backup: self.schedule.as_ref().map(Schedule::status),
            exports: self.exports(),
            home_left_out: false,
        }
    }
}

fn interface_name(snapshot: &Snapshot, id: InterfaceId) -> String {
    snapshot
        .interfaces
        .iter()
        .find(|(known, _, _)| *known == id)
        .map_or_else(|| String::from("-"), |(_, name, _)| name.clone())
}

/// Neighbours, by interface and address.
pub fn neighbours(snapshot: &Snapshot) -> Vec<Neighbour> {
    let mut neighbours: Vec<Neighbour> = snapshot
        .neighbours
        .iter()
        .map(|neighbour| Neighbour {
            address: neighbour.address.to_string(),
            interface: interface_name(snapshot, neighbour.interface),
            transport: neighbour.transport.to_string(),
            rx_quality: neighbour.rx_quality,
            tx_quality: neighbour.tx_quality,
            cost: neighbour.cost,
            silent_ms: u64::try_from(neighbour.silent_for.as_millis()).unwrap_or(u64::MAX),
            up: neighbour.up,
        })
        .collect();
    neighbours.sort_by(|a, b| (&a.interface, &a.address).cmp(&(&b.interface, &b.address)));
    neighbours
}

/// Routes, nearest first.
pub fn routes(snapshot: &Snapshot) -> Vec<Route> {
    let mut routes: Vec<Route> = snapshot
        .routes
        .iter()
        .map(|route| Route {
            destination: route.destination.to_string(),
            next_hop: route.next_hop.to_string(),
            cost: route.cost,
            step: route.step,
            path_mtu: route.path_mtu,
            has_backup: route.has_backup,
        })
        .collect();
    routes.sort_by(|a, b| (a.cost, &a.destination).cmp(&(b.cost, &b.destination)));
    routes
}
