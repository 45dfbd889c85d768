//! The values of answers on the control socket, each with the command it answers.

use serde::{Deserialize, Serialize};

pub use crate::transfer::exports::ExportStatus;
pub use crate::transfer::schedule::BackupStatus;

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

/// Answer to `site_papers`. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePapers {
    /// What its files are called.
    pub id: String,
    /// The text of its record, `site.toml`.
    pub record: String,
    /// The text of its service key's file.
    pub service_key: String,
}

impl std::fmt::Debug for SitePapers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SitePapers")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Element of the answer to `site_list`; answer to `site_publish`, `site_update` and `site_remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostedSite {
    /// What its files are called.
    pub id: String,
    /// Name of its service: 52 characters.
    pub service: String,
    /// Its title.
    pub title: String,
    /// Whether the island is told of it.
    pub visible: bool,
    /// Its TCP port at the node's address.
    pub port: u16,
    /// Its address on this machine, if the page has one.
    #[serde(default)]
    pub here: Option<String>,
    /// The folder it was made of.
    pub from: String,
    /// When it was last published, seconds since 1970.
    pub published: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether its files could not be opened; the log says why.
    #[serde(default)]
    pub failed: bool,
}

/// Answer to `space_invite`. Whoever has it can come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// Names it without telling the code.
    pub id: String,
    /// Title of the space.
    pub space: String,
    /// Name of its service: 52 characters.
    pub service: String,
    /// Whether other homes can reach the space.
    pub visible: bool,
    /// The code.
    pub code: String,
    /// Service and code in one word, for the page of any home.
    pub text: String,
    /// The page of the invitation at this home.
    pub link: String,
    /// The channel as Nostr programs name it, with the code.
    pub naddr: Option<String>,
    /// For how many people.
    pub uses: Option<u32>,
    /// Until when, seconds since 1970.
    pub expires: Option<u64>,
    /// The role they get.
    pub role: Option<String>,
    /// The channel it leads to.
    pub channel: Option<String>,
}

/// Element of the answer to `space_invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteLine {
    /// Names it without telling the code.
    pub id: String,
    /// The code.
    pub code: String,
    /// The channel it leads to.
    pub channel: Option<String>,
    /// Until when, seconds since 1970.
    pub expiration: Option<u64>,
    /// For how many people.
    pub uses: Option<u32>,
    /// How many came in with it.
    pub used: u32,
    /// The role they get.
    pub role: Option<String>,
    /// Who made it, 64 hexadecimal digits.
    pub by: String,
}

/// Answer to `node_papers`. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePapers {
    /// The node's name.
    pub name: String,
    /// The text of the file of its mesh key.
    pub mesh_key: String,
    /// The text of the configuration file, as it was at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// What was not restored when this box was restored last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks: Option<String>,
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
    /// MiB that its files may take together.
    pub files_quota_mib: u32,
    /// MiB that the files of one member may take.
    pub member_quota_mib: u32,
    /// Where its picture is, while it is open and has one.
    pub picture: Option<String>,
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
    /// How backups stand that are made by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    /// How exports of single spaces stand that are made by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exports: Vec<ExportStatus>,
    /// Whether other homes do not find what people of this one write for everybody, because too much else is visible.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub home_left_out: bool,
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
    /// Bytes of files.
    #[serde(default)]
    pub file_bytes: u64,
    /// Connections that are open now.
    #[serde(default)]
    pub connections: u64,
}
