//! What is said on the control socket. Request: `{"command":"status"}`. Answer: `{"ok":...}` or
//! `{"error":{"code":"...","args":[...]}}`. Unknown fields in requests are errors; clients ignore unknown fields. Some
//! answers are streams: after `{"ok":{"stream":1}}` come [`Part`]s.

use serde::{Deserialize, Serialize};

/// Longest line either way, bytes.
pub const LINE_MAX: usize = 64 * 1024;
/// Longest part of a stream, bytes.
pub const CHUNK_MAX: usize = 256 * 1024;
/// Longest answer: tables of a large island.
pub const ANSWER_MAX: usize = 4 << 20;

/// A request: what is asked, with its arguments. Unknown arguments are errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The node in a few figures.
    Status {},
    /// Neighbours with links.
    Neighbours {},
    /// Routes.
    Routes {},
    /// Spaces hosted here and visible in the island.
    Spaces {},
    /// Makes a space and serves it.
    SpaceCreate {
        /// Its title, 1 to 64 bytes.
        title: String,
        /// A sentence about it, at most 500 bytes.
        #[serde(default)]
        about: String,
        /// Whether the island is told of it.
        #[serde(default)]
        visible: bool,
        /// Its TCP port at the node's address, from 1024 on; a free one without.
        #[serde(default)]
        port: Option<u16>,
        /// The owner's public key: 64 hexadecimal digits or `npub1...`.
        #[serde(default)]
        owner: Option<String>,
    },
    /// Spaces hosted here, with their settings.
    SpaceList {},
    /// The relay of the home's people as if it were a space, or null.
    HomeRelay {},
    /// Changes settings; what is not named stays.
    SpaceSet {
        /// Which: id, title or service.
        space: String,
        /// New title.
        #[serde(default)]
        title: Option<String>,
        /// New sentence about it.
        #[serde(default)]
        about: Option<String>,
        /// Whether the island is told of it. Hiding a visible one makes a new service key.
        #[serde(default)]
        visible: Option<bool>,
        /// MiB of events it may keep.
        #[serde(default)]
        quota_mib: Option<u32>,
        /// Whether it has moved to another box: a closed one is kept, but not served.
        #[serde(default)]
        closed: Option<bool>,
    },
    /// Removes a space with all that belongs to it.
    SpaceRemove {
        /// Which: id, title or service.
        space: String,
    },
    /// Takes in a space that was put together in the state directory.
    SpaceAdopt {
        /// Name of its directory below `spaces`: `.incoming-...`.
        directory: String,
    },
    /// A space's record and keys. Secret.
    SpacePapers {
        /// Which: id, title or service.
        space: String,
    },
    /// The node's name and key. Secret.
    NodePapers {},
    /// A space's events: a stream of lines, and an empty one behind each part that is stored together.
    SpaceEvents {
        /// Which: id, title or service.
        space: String,
    },
    /// Files that are kept beside events: a stream of lines.
    Files {
        /// Of which space; of the home without.
        #[serde(default)]
        space: Option<String>,
    },
    /// One of these files: a stream of its bytes.
    File {
        /// Of which space; of the home without.
        #[serde(default)]
        space: Option<String>,
        /// Its name.
        name: String,
    },
}

/// The names of all commands.
pub const COMMANDS: &[&str] = &[
    "status",
    "neighbours",
    "routes",
    "spaces",
    "space_create",
    "space_list",
    "home_relay",
    "space_set",
    "space_remove",
    "space_adopt",
    "space_papers",
    "node_papers",
    "space_events",
    "files",
    "file",
];

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No JSON object with a `command` and its arguments alone. Argument: what the parser found.
    BadRequest,
    /// Not a command of this version. Argument: the command.
    UnknownCommand,
    /// A line longer than allowed. Argument: the limit in bytes.
    LineTooLong,
    /// The daemon is busy or stopping.
    Unavailable,
    /// Nothing here has this name. Argument: the name.
    NotFound,
    /// Several have this title. Argument: the title.
    Ambiguous,
    /// It stands in the configuration file and is changed there alone. Argument: its id.
    FromConfiguration,
    /// It is the relay of the home's people, which is neither changed, removed nor taken in. Argument: its id.
    OfHome,
    /// A value that cannot be. Arguments: which, what was expected.
    BadValue,
    /// It is here already. Argument: its id.
    Exists,
    /// No more can be shown to the island. Argument: the limit.
    TooManyVisible,
    /// What the island is told does not fit any more: fewer visible ones, or shorter titles.
    AnnouncementTooLong,
    /// A port that is in use. Argument: the port.
    PortTaken,
    /// Files could not be read or written. Argument: what the system said.
    Disk,
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
        struct Any {
            command: String,
        }
        match serde_json::from_slice::<Any>(line) {
            Ok(any) if !COMMANDS.contains(&any.command.as_str()) => {
                let command: String = any.command.chars().take(64).collect();
                ControlError::new(ErrorCode::UnknownCommand, command)
            }
            _ => {
                let found: String = error.to_string().chars().take(200).collect();
                ControlError::new(ErrorCode::BadRequest, found)
            }
        }
    })
}

/// Before each part of a stream: `{"chunk":N}` and then N bytes, `{"end":{}}`, or `{"error":{...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// So many bytes follow, at most [`CHUNK_MAX`].
    Chunk(usize),
    /// That was all.
    End(End),
    /// It broke off.
    Error(ControlError),
}

/// The end of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {}

/// Answer to a request for a stream; its parts follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamBegins {
    /// Version of what is in it.
    pub stream: u8,
}

/// Answer to `space_papers`. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Papers {
    /// What its files are called.
    pub id: String,
    /// The text of its record, `space.toml`.
    pub record: String,
    /// The text of its service key's file.
    pub service_key: String,
    /// The text of the file of the key that signs its events.
    pub space_key: String,
}

impl std::fmt::Debug for Papers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Papers")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Answer to `node_papers`. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePapers {
    /// The node's name.
    pub name: String,
    /// The text of the file of its mesh key.
    pub mesh_key: String,
}

impl std::fmt::Debug for NodePapers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodePapers")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Line of the answer to `files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// Its name: a path without `..`, with `/`.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Line of the answer to `space_events`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventLine {
    /// The event as NIP-01 writes it.
    pub event: Box<serde_json::value::RawValue>,
    /// The channel it belongs to, where its tags do not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// Element of the answer to `space_list`; answer to `space_create`, `space_set` and `space_adopt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedSpace {
    /// What its files are called.
    pub id: String,
    /// Name of its service: 52 characters.
    pub service: String,
    /// Its title.
    pub title: String,
    /// A sentence about it.
    pub about: String,
    /// Whether the island is told of it.
    pub visible: bool,
    /// Its TCP port at the node's address.
    pub port: u16,
    /// The owner's public key, 64 hexadecimal digits.
    pub owner: Option<String>,
    /// MiB of events it may keep.
    pub quota_mib: u32,
    /// Whether people can use it.
    pub state: SpaceState,
    /// Whether it stands in the configuration file, and is changed there alone.
    pub configured: bool,
    /// Figures, while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<SpaceFigures>,
}

/// Whether people can use a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceState {
    /// They can.
    Open,
    /// It has moved to another box.
    Closed,
    /// Its files could not be opened; the log says why.
    Failed,
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
