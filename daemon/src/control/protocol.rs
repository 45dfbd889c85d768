//! What is said on the control socket. Request: `{"command":"status"}`. Answer: `{"ok":...}` or
//! `{"error":{"code":"...","args":[...]}}`. Unknown fields in requests are errors; clients ignore unknown fields. Some
//! answers are streams: after `{"ok":{"stream":1}}` come [`Part`]s.

use serde::{Deserialize, Serialize};

pub use super::answers::*;

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
    /// The same of sites.
    Sites {},
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
        /// MiB that its files may take together.
        #[serde(default)]
        files_quota_mib: Option<u32>,
        /// MiB that the files of one member may take.
        #[serde(default)]
        member_quota_mib: Option<u32>,
        /// Whether it has moved to another box: a closed one is kept, but not served.
        #[serde(default)]
        closed: Option<bool>,
        /// Public key of its owner from now on: 64 hexadecimal digits or `npub1...`.
        #[serde(default)]
        owner: Option<String>,
        /// Name of a directory below `spaces` (`.incoming-...`) that holds its new picture, and goes.
        #[serde(default)]
        picture: Option<String>,
    },
    /// Makes an invitation.
    SpaceInvite {
        /// Into which space: id, title or service.
        space: String,
        /// For how many people, 1 to 1000000; any number without.
        #[serde(default)]
        uses: Option<u32>,
        /// For how many days, 1 to 3650; for ever without.
        #[serde(default)]
        days: Option<u32>,
        /// The role they get.
        #[serde(default)]
        role: Option<String>,
        /// The channel it leads to.
        #[serde(default)]
        channel: Option<String>,
    },
    /// The invitations of a space that are open.
    SpaceInvites {
        /// Which: id, title or service.
        space: String,
    },
    /// Takes an invitation back.
    SpaceRevokeInvite {
        /// Of which space: id, title or service.
        space: String,
        /// Its id or code.
        invite: String,
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
    /// Publishes a copy of a folder as a new site.
    SitePublish {
        /// Name of the directory below `sites` (`.incoming-...`) where the copy is, as `fresh`.
        directory: String,
        /// The folder it is of, for people.
        #[serde(default)]
        from: String,
        /// Its title, 1 to 64 bytes.
        title: String,
        /// Whether the island is told of it.
        visible: bool,
        /// Its TCP port at the node's address, from 1024 on; a free one without.
        #[serde(default)]
        port: Option<u16>,
    },
    /// Puts a newer copy in the place of a site's, or changes settings; what is not named stays.
    SiteUpdate {
        /// Which: id, title or service.
        site: String,
        /// As in `site_publish`.
        #[serde(default)]
        directory: Option<String>,
        /// The folder it is of.
        #[serde(default)]
        from: Option<String>,
        /// New title.
        #[serde(default)]
        title: Option<String>,
        /// Whether the island is told of it. Hiding a visible one makes a new service key.
        #[serde(default)]
        visible: Option<bool>,
    },
    /// Sites of this box, with their settings.
    SiteList {},
    /// Removes a site; the folder it was made of stays.
    SiteRemove {
        /// Which: id, title or service.
        site: String,
    },
    /// A site's record and key. Secret.
    SitePapers {
        /// Which: id, title or service.
        site: String,
    },
    /// A space's events: a stream of lines, and an empty one behind each part that is stored together.
    SpaceEvents {
        /// Which: id, title or service.
        space: String,
    },
    /// Files that are kept beside events: a stream of lines.
    Files {
        /// Of which space; of the home without either.
        #[serde(default)]
        space: Option<String>,
        /// Of which site.
        #[serde(default)]
        site: Option<String>,
    },
    /// One of these files: a stream of its bytes.
    File {
        /// Of which space; of the home without either.
        #[serde(default)]
        space: Option<String>,
        /// Of which site.
        #[serde(default)]
        site: Option<String>,
        /// Its name.
        name: String,
    },
}

impl Request {
    /// Closes a space that moves to another box, or opens it again.
    pub const fn set_closed(space: String, closed: bool) -> Self {
        Self::SpaceSet {
            space,
            title: None,
            about: None,
            visible: None,
            quota_mib: None,
            files_quota_mib: None,
            member_quota_mib: None,
            closed: Some(closed),
            owner: None,
            picture: None,
        }
    }
}

/// The names of all commands.
pub const COMMANDS: &[&str] = &[
    "status",
    "neighbours",
    "routes",
    "spaces",
    "sites",
    "space_create",
    "space_list",
    "home_relay",
    "space_set",
    "space_remove",
    "space_adopt",
    "space_papers",
    "node_papers",
    "space_invite",
    "space_invites",
    "space_revoke_invite",
    "site_publish",
    "site_update",
    "site_list",
    "site_remove",
    "site_papers",
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
    /// No open invitation has this id or code. Arguments: it, and the space's id.
    NoInvite,
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
    /// The space is closed, or could not be opened. Argument: its id.
    NotOpen,
    /// The space does not do it. Argument: its reason, with a machine-readable prefix.
    SpaceRefused,
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
