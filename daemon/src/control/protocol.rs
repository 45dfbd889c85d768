//! What is said on the control socket. Request: `{"command":"status"}`. Answer: `{"ok":...}` or
//! `{"error":{"code":"...","args":[...]}}`. Unknown fields in requests are errors; clients ignore unknown fields.

use serde::{Deserialize, Serialize};

/// Longest line either way, bytes.
pub const LINE_MAX: usize = 64 * 1024;
/// Longest answer: tables of a large island.
pub const ANSWER_MAX: usize = 4 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is asked.
    pub command: CommandName,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandName {
    /// The node in a few figures.
    Status,
    /// Neighbours with links.
    Neighbours,
    /// Routes.
    Routes,
    /// Spaces hosted here and visible in the island.
    Spaces,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No JSON object with a `command` field and nothing else. Argument: what the parser found.
    BadRequest,
    /// Not a command of this version. Argument: the command.
    UnknownCommand,
    /// A line longer than allowed. Argument: the limit in bytes.
    LineTooLong,
    /// The daemon is busy or stopping.
    Unavailable,
}

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlError {
    /// Which.
    pub code: ErrorCode,
    /// Its arguments.
    pub args: Vec<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(ControlError),
}

impl ControlError {
    /// An error with one argument.
    pub fn new(code: ErrorCode, argument: impl Into<String>) -> Self {
        Self {
            code,
            args: vec![argument.into()],
        }
    }
}

/// Reads a request line.
pub fn parse_request(line: &[u8]) -> Result<Request, ControlError> {
    if line.len() > LINE_MAX {
        return Err(ControlError::new(
            ErrorCode::LineTooLong,
            LINE_MAX.to_string(),
        ));
    }
    // The parser would take the fields of an object from a list, too.
    if line.trim_ascii_start().first() != Some(&b'{') {
        let found = "no JSON object in braces";
        return Err(ControlError::new(ErrorCode::BadRequest, found));
    }
    serde_json::from_slice(line).map_err(|error| {
        // A well-formed request for something else deserves to be told apart from garbage.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Any {
            command: String,
        }
        match serde_json::from_slice::<Any>(line) {
            Ok(any) => {
                let command: String = any.command.chars().take(64).collect();
                ControlError::new(ErrorCode::UnknownCommand, command)
            }
            Err(_) => {
                let found: String = error.to_string().chars().take(200).collect();
                ControlError::new(ErrorCode::BadRequest, found)
            }
        }
    })
}

/// Answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: String,
    /// `tun` or `userspace`.
    pub mode: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Wall-clock time, seconds since 1970.
    pub time: u64,
    /// Interfaces in use.
    pub interfaces: Vec<InterfaceStatus>,
    /// Neighbours whose link carries traffic.
    pub neighbours: usize,
    /// Routes.
    pub routes: usize,
    /// What was counted since the start.
    pub counters: CounterStatus,
}

/// An interface in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Sends that were thrown away.
    pub dropped: u64,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterStatus {
    /// Data frames passed on for others.
    pub forwarded: u64,
    /// Data frames for this node.
    pub received: u64,
    /// Data frames of this node.
    pub sent: u64,
    /// Frames thrown away: bad tag, replayed, malformed.
    pub rejected: u64,
    /// Packets without a route.
    pub no_route: u64,
    /// Inbound packets that the policy refused.
    pub refused: u64,
    /// Malformed packets of this machine's programs.
    pub tun_rejected: u64,
}

/// Element of the answer to `neighbours`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its node address.
    pub address: String,
    /// The interface it is on.
    pub interface: String,
    /// Its transport address.
    pub transport: String,
    /// Share of its HELLOs that arrive here, 0 to 1.
    pub rx_quality: f32,
    /// Share of ours that arrive there, 0 to 1.
    pub tx_quality: f32,
    /// Cost of the link: 1 is 1 Gbit/s.
    pub cost: u32,
    /// Milliseconds since something was heard.
    pub silent_ms: u64,
    /// Whether the link carries traffic.
    pub up: bool,
}

/// Element of the answer to `routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// To whom.
    pub destination: String,
    /// Over which neighbour.
    pub next_hop: String,
    /// Cost of the path: 1 is one hop of 1 Gbit/s.
    pub cost: u32,
    /// Metric step, 0 to 127.
    pub step: u8,
    /// Largest packet that passes whole, bytes.
    pub path_mtu: u16,
    /// Whether a backup stands ready.
    pub has_backup: bool,
}

/// Element of the answer to `spaces`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Name of its service: 52 characters.
    pub service: String,
    /// Its title.
    pub title: String,
    /// Address of the node that hosts it.
    pub host: String,
    /// Its TCP port there.
    pub port: u16,
    /// Whether it is hosted by this node.
    pub local: bool,
    /// Figures, where it is hosted by this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<SpaceFigures>,
}

/// Figures of a space hosted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceFigures {
    /// Members.
    pub members: u64,
    /// Channels.
    pub channels: u64,
    /// Events stored.
    pub events: u64,
    /// Bytes on disk.
    pub bytes: u64,
}
