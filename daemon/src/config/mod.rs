//! The configuration file: TOML, version 1. Unknown keys are errors; an error names file, line and column, what was found
//! and what was expected. Holds no secret.

pub mod feed;
pub mod stores;
pub mod template;
pub mod uci;
pub mod values;

use std::collections::HashSet;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use warren_mesh::descriptor::MAX_SERVICES;

use crate::error::DaemonError;
use crate::{keys, metrics, privileges, store};
use values::{
    Address, HostName, InterfaceName, NodeName, Open, Owner, Peer, SpaceId, Throughput, Title,
    WebAddress,
};

/// Longest configuration file, bytes.
pub const FILE_MAX: u64 = 256 * 1024;

/// A wrong configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}", file = file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found and what was expected.
    pub message: String,
}

/// The whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Of this format.
    pub version: Version,
    /// The node's name.
    pub name: NodeName,
    /// Directory of keys and data.
    #[serde(default = "default_state", deserialize_with = "state")]
    pub state: PathBuf,
    /// User to become after set-up.
    pub user: Option<Spanned<String>>,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// Links.
    #[serde(default)]
    pub mesh: Mesh,
    /// The node's own packets.
    #[serde(default)]
    pub network: Network,
    /// The control socket.
    #[serde(default)]
    pub control: Control,
    /// The page.
    #[serde(default)]
    pub web: Web,
    /// What people here write for everybody.
    #[serde(default)]
    pub feed: feed::Feed,
    /// Figures for monitoring.
    pub metrics: Option<Metrics>,
    /// Backups that are made by themselves.
    pub backup: Option<Backup>,
    /// Exports of single spaces that are made by themselves.
    #[serde(default)]
    pub export: Vec<Spanned<Export>>,
    /// Servers on which new spaces keep events and files.
    #[serde(default)]
    pub store: stores::Store,
    /// Spaces hosted here.
    #[serde(default)]
    pub space: Vec<Space>,
}

/// The configuration's version: 1.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
pub struct Version;

impl TryFrom<i64> for Version {
    type Error = String;
    fn try_from(version: i64) -> Result<Self, String> {
        if version == 1 {
            Ok(Self)
        } else {
            Err(format!("found version {version}, expected 1"))
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// From which level on.
    pub level: Level,
}

/// Levels of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only what needs somebody to act.
    Error,
    /// What may need somebody to act.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}

/// `[mesh]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mesh {
    /// File with the passphrase of a closed mesh.
    pub passphrase_file: Option<Spanned<PathBuf>>,
    /// Whether packets may travel by AES.
    pub aes: Aes,
    /// Carriers `ether`.
    pub interface: Vec<Interface>,
    /// Carrier `udp`.
    pub udp: Option<Udp>,
}

/// When packets are sealed by AES instead of ChaCha20.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aes {
    /// With nodes that have instructions for it, if this one has.
    #[default]
    Auto,
    /// Never.
    Never,
}

/// `[[mesh.interface]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: Spanned<InterfaceName>,
    /// Its speed, if the driver does not know.
    pub throughput: Option<Throughput>,
    /// Whether the MTU may be raised so that 1500 inner bytes fit.
    #[serde(default = "yes")]
    pub raise_mtu: bool,
}

/// `[mesh.udp]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Udp {
    /// Where to listen.
    pub listen: Address,
    /// Whom to call.
    #[serde(default)]
    pub peers: Vec<Spanned<Peer>>,
}

/// `[network]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// How this machine's programs reach the mesh.
    pub mode: Mode,
    /// Name of the TUN device.
    pub tun: Spanned<InterfaceName>,
    /// What the island may open here.
    pub open: Vec<Open>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            tun: Spanned::new(0..0, InterfaceName(String::from("warren0"))),
            open: Vec::new(),
        }
    }
}

/// How this machine's programs reach the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A TUN device: every program; needs CAP_NET_ADMIN.
    #[default]
    Tun,
    /// Only spaces and the page; needs nothing.
    Userspace,
}

/// `[control]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// Path of the socket.
    pub socket: PathBuf,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
        }
    }
}

/// `[web]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// Where the page is served.
    pub listen: Vec<Spanned<WebAddress>>,
    /// Names under which people open it, beside `localhost` and addresses. The first one stands in links.
    pub names: Vec<HostName>,
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where they are served.
    pub listen: Spanned<WebAddress>,
    /// File with the token that has to be shown. Without one only this machine may be able to ask.
    pub token_file: Option<Spanned<PathBuf>>,
}

/// `[backup]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Where to.
    #[serde(deserialize_with = "absolute")]
    pub dir: PathBuf,
    /// How often.
    pub every: Every,
}

/// `[[export]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Id, title or service of the space.
    pub space: String,
    /// Where to.
    #[serde(deserialize_with = "absolute")]
    pub dir: PathBuf,
    /// How often.
    pub every: Every,
    /// How many are kept.
    #[serde(default = "exports_kept")]
    pub keep: NonZeroUsize,
}

const fn exports_kept() -> NonZeroUsize {
    match NonZeroUsize::new(7) {
        Some(kept) => kept,
        None => NonZeroUsize::MIN,
    }
}

/// How often something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Once a day.
    Daily,
    /// Once a week.
    Weekly,
}

impl Every {
    /// In seconds.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Daily => 86_400,
            Self::Weekly => 7 * 86_400,
        }
    }
}

/// `[[space]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// What its files are called.
    pub id: Spanned<SpaceId>,
    /// Its title.
    pub name: Title,
    /// Whether the island is told of it.
    #[serde(default)]
    pub visible: bool,
    /// Its TCP port on the node's address.
    pub port: Spanned<std::num::NonZeroU16>,
    /// The owner's public key, 64 hexadecimal digits.
    pub owner: Option<Owner>,
}

/// Where the control socket is unless something else is said.
pub const DEFAULT_SOCKET: &str = "/run/warren/control.sock";
/// Where the configuration is unless something else is said.
pub const DEFAULT_FILE: &str = "/etc/warren/warren.toml";

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/warren")
}

fn state<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if path.as_os_str().is_empty() {
        return Err(Error::custom(
            "found an empty `state`, expected a directory",
        ));
    }
    Ok(path)
}

fn absolute<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(from)?;
    if !path.is_absolute() {
        let message = format!("found {path:?}, expected a directory as a path from / on");
        return Err(Error::custom(message));
    }
    Ok(path)
}

const fn yes() -> bool {
    true
}

/// Reads and checks a configuration file.
pub fn load(path: &Path) -> Result<Config, DaemonError> {
    load_with_text(path).map(|(config, _)| config)
}

/// The same, with its text.
pub fn load_with_text(path: &Path) -> Result<(Config, String), DaemonError> {
    let bytes = store::read(path, FILE_MAX)?.ok_or_else(|| DaemonError::missing(path))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        at(
            path,
            &before,
            before.len(),
            "found bytes that are no UTF-8, expected text".into(),
        )
    })?;
    Ok((parse(path, text)?, text.to_owned()))
}

/// Checks a configuration's text; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        at(path, text, start, message)
    })?;
    let duplicate = |what: &str, span: std::ops::Range<usize>| {
        at(
            path,
            text,
            span.start,
            format!("found this {what} a second time, expected each once"),
        )
    };
    let interfaces = config
        .mesh
        .interface
        .iter()
        .map(|interface| &interface.name);
    if let Some(span) = second(interfaces) {
        return Err(duplicate("interface", span));
    }
    if let Some(span) = second(config.space.iter().map(|space| &space.id)) {
        return Err(duplicate("space id", span));
    }
    if let Some(span) = second(config.space.iter().map(|space| &space.port)) {
        return Err(duplicate("port", span));
    }
    if let Some(span) = second(&config.web.listen) {
        return Err(duplicate("address", span));
    }
    if let Some(span) = second(config.mesh.udp.iter().flat_map(|udp| &udp.peers)) {
        return Err(duplicate("peer", span));
    }
    let tun = &config.network.tun;
    if let Some(interface) = config
        .mesh
        .interface
        .iter()
        .find(|interface| interface.name.get_ref() == tun.get_ref())
        .filter(|_| config.network.mode == Mode::Tun)
    {
        let message = format!(
            "found {:?}, expected another name: it is the TUN device's (`tun` in [network])",
            tun.get_ref().0
        );
        return Err(at(path, text, interface.name.span().start, message));
    }
    if let Some(metrics) = &config.metrics
        && metrics.token_file.is_none()
        && let WebAddress::Tcp(address) = metrics.listen.get_ref()
        && !address.ip().is_loopback()
    {
        let message = format!(
            "found {address}, which others can open: expected an address of this machine alone (127.0.0.1, [::1], unix:/PATH), or a `token_file`"
        );
        return Err(at(path, text, metrics.listen.span().start, message));
    }
    let mut seen = HashSet::new();
    let mut exports = config.export.iter();
    if let Some(export) = exports.find(|export| {
        let Export { space, dir, .. } = export.get_ref();
        !seen.insert((space, dir))
    }) {
        let message = format!(
            "found an export of {:?} into {:?} a second time, expected another `space` or another `dir`: each would remove the other's files",
            export.get_ref().space,
            export.get_ref().dir
        );
        return Err(at(path, text, export.span().start, message));
    }
    if let Some(span) = second(&config.feed.relays) {
        return Err(duplicate("relay", span));
    }
    let feed = config.feed.check(!config.web.listen.is_empty());
    if let Err((place, message)) = feed.and_then(|()| config.store.check()) {
        return Err(at(path, text, place, message));
    }
    let mut visible = config.space.iter().filter(|space| space.visible);
    if let Some(space) = visible.nth(MAX_SERVICES) {
        let message = format!(
            "found more than {MAX_SERVICES} visible spaces, expected at most that many on one node"
        );
        return Err(at(path, text, space.id.span().start, message));
    }
    Ok(config)
}

/// Looks at everything beside it that a configuration names: an error says where it is named, and by which key.
pub fn check_named(path: &Path, text: &str, config: &Config) -> Result<(), DaemonError> {
    let wrong = |key: &str, span: std::ops::Range<usize>, error: DaemonError| {
        at(path, text, span.start, format!("`{key}`: {error}"))
    };
    if let Some(user) = &config.user {
        let found = privileges::find_user(user.get_ref());
        found.map_err(|error| wrong("user", user.span(), error))?;
    }
    if let Some(file) = &config.mesh.passphrase_file {
        let read = keys::psk(file.get_ref());
        read.map_err(|error| wrong("passphrase_file", file.span(), error))?;
    }
    if let Some(file) = config
        .metrics
        .as_ref()
        .and_then(|it| it.token_file.as_ref())
    {
        let read = metrics::read_token(file.get_ref());
        read.map_err(|error| wrong("token_file", file.span(), error))?;
    }
    let stores = config.store.check_files();
    stores.map_err(|(key, span, error)| wrong(key, span, error))?;
    config.store.load()?;
    let uplink = warren_home::check_uplink(&config.feed.uplink()).map_err(DaemonError::from);
    match &config.feed.ca_file {
        Some(file) => uplink.map_err(|error| wrong("ca_file", file.span(), error).into()),
        None => uplink,
    }
}

fn second<'a, T: Eq + Hash + 'a>(
    values: impl IntoIterator<Item = &'a Spanned<T>>,
) -> Option<std::ops::Range<usize>> {
    let mut seen = HashSet::new();
    values
        .into_iter()
        .find(|value| !seen.insert(value.get_ref()))
        .map(Spanned::span)
}

fn at(file: &Path, text: &str, offset: usize, message: String) -> ConfigError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError {
        file: file.to_path_buf(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}
