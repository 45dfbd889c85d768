//! Figures for the owner's monitoring, in Prometheus' text format (exposition format 0.0.4). Served only where the
//! configuration says so, never on the people's page; what is in them tells about people, if only by number.

use std::convert::Infallible;
use std::fmt::Write;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use zeroize::Zeroizing;

use crate::config::Metrics;
use crate::control::protocol::{HostedSite, HostedSpace};
use crate::desk::Desk;
use crate::error::DaemonError;
use crate::plane::command::Snapshot;
use crate::services::listen::{AnyStream, Listener};
use crate::transfer::exports::ExportStatus;
use crate::transfer::schedule::BackupStatus;
use crate::{keys, store};
use warren_home::HomeFigures;

/// Seconds in which a client must have sent its request.
const REQUEST_SECONDS: u64 = 10;
/// Longest token, bytes.
const TOKEN_MAX: u64 = 512;
/// Shortest token, bytes.
const TOKEN_MIN: usize = 16;
/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The bound listener and what it asks for, before privileges are dropped.
#[derive(Debug)]
pub struct Prepared {
    listener: Listener,
    token: Option<Zeroizing<String>>,
}

/// Binds what the configuration names and reads the token.
pub fn prepare(config: &Metrics) -> Result<Prepared, DaemonError> {
    let token = config.token_file.as_ref();
    let token = token.map(|file| read_token(file.get_ref())).transpose()?;
    let listener = Listener::open(config.listen.get_ref())?;
    Ok(Prepared { listener, token })
}

/// The token in a file.
pub fn read_token(file: &std::path::Path) -> Result<Zeroizing<String>, DaemonError> {
    let bytes = store::read(file, TOKEN_MAX)?.ok_or_else(|| DaemonError::missing(file))?;
    let bytes = Zeroizing::new(bytes);
    keys::closed_to_others(file)?;
    let text = std::str::from_utf8(bytes.trim_ascii()).unwrap_or_default();
    if text.len() < TOKEN_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DaemonError::Format {
            path: file.to_path_buf(),
            expected: "a token of sixteen or more graphic ASCII characters",
        });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

impl Prepared {
    /// Serves from now on. Call it on the runtime.
    pub fn serve(self, desk: Arc<Desk>) -> Result<(), DaemonError> {
        let token = self.token.map(Arc::new);
        self.listener
            .serve("metrics", CONNECTIONS_MAX, move |io, _| {
                one(Arc::clone(&desk), token.clone(), io)
            })?;
        Ok(())
    }
}

async fn one(desk: Arc<Desk>, token: Option<Arc<Zeroizing<String>>>, io: AnyStream) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (desk, token) = (Arc::clone(&desk), token.clone());
        async move { Ok::<_, Infallible>(respond(&desk, token.as_deref(), &request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(REQUEST_SECONDS))
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        log::debug!("a connection to the metrics ended: {error}");
    }
}

async fn respond(
    desk: &Desk,
    token: Option<&Zeroizing<String>>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    if let Some(token) = token {
        let shown = request.headers().get(header::AUTHORIZATION);
        let shown = shown.and_then(|shown| shown.to_str().ok());
        let shown = shown
            .and_then(|shown| shown.strip_prefix("Bearer "))
            .unwrap_or_default();
        // Hashes, so that the time it takes tells nothing of the token.
        if blake3::hash(shown.as_bytes()) != blake3::hash(token.as_bytes()) {
            let mut response = plain(StatusCode::UNAUTHORIZED, "The token is missing or wrong.\n");
            let asks = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, asks);
            return response;
        }
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "The figures are at /metrics.\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "Only GET is understood here.\n",
        );
    }
    match desk.figures().await {
        Ok(figures) => {
            let mut response = plain(StatusCode::OK, &render(&figures));
            let kind = HeaderValue::from_static(CONTENT_TYPE);
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "Busy or stopping.\n"),
    }
}

fn plain(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(words.to_owned())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Everything that is told.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The mesh.
    pub mesh: Snapshot,
    /// Spaces of this box.
    pub spaces: Vec<HostedSpace>,
    /// Sites of this box.
    pub sites: Vec<HostedSite>,
    /// The home, where there is one.
    pub home: Option<HomeFigures>,
    /// Backups, where they are made by themselves.
    pub backup: Option<BackupStatus>,
    /// Exports of single spaces, where they are made by themselves.
    pub exports: Vec<ExportStatus>,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// A text in which each figure has its lines.
struct Page(String);

impl Page {
    /// The head of a figure: its name, type and what it is.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let before = if n == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }
}

// Counts of a router fit into 53 bits.
#[allow(clippy::cast_precision_loss)]
const fn number(value: u64) -> f64 {
    value as f64
}

/// The text.
pub fn render(figures: &Figures) -> String {
    let mut page = Page(String::new());
    let (mesh, counters) = (&figures.mesh, &figures.mesh.counters);
    page.head("warren_build_info", "gauge", "Version of the daemon.");
    page.line(
        "warren_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    page.one(
        "warren_uptime_seconds",
        "gauge",
        "Seconds since the start.",
        number(figures.uptime_s),
    );
    let name = "warren_mesh_frames_total";
    page.head(name, "counter", "Data frames by what became of them.");
    for (kind, value) in [
        ("sent", counters.sent),
        ("received", counters.received),
        ("forwarded", counters.forwarded),
        ("rejected", counters.rejected),
        ("no_route", counters.no_route),
        ("refused", counters.refused),
        ("hops_ran_out", counters.ttl_exceeded),
        ("tun_rejected", mesh.tun_rejected),
    ] {
        page.line(name, &[("kind", kind)], number(value));
    }
    let name = "warren_mesh_links_total";
    page.head(
        name,
        "counter",
        "Links to neighbours by what happened to them.",
    );
    for (kind, value) in [
        ("made", counters.handshakes),
        ("lost", counters.links_lost),
        ("resumed", counters.links_resumed),
    ] {
        page.line(name, &[("kind", kind)], number(value));
    }
    let up = mesh
        .neighbours
        .iter()
        .filter(|neighbour| neighbour.up)
        .count();
    page.one(
        "warren_mesh_neighbours",
        "gauge",
        "Neighbours whose link carries traffic.",
        number(up as u64),
    );
    page.one(
        "warren_mesh_routes",
        "gauge",
        "Nodes that can be reached.",
        number(mesh.routes.len() as u64),
    );
    neighbours(&mut page, mesh);
    spaces(&mut page, &figures.spaces);
    sites(&mut page, &figures.sites);
    if let Some(home) = &figures.home {
        page.one(
            "warren_home_accounts",
            "gauge",
            "Accounts of the home.",
            number(home.accounts as u64),
        );
        page.one(
            "warren_home_guests",
            "gauge",
            "Guests of the home.",
            number(home.guests as u64),
        );
        page.one(
            "warren_home_feed_bytes",
            "gauge",
            "What the feed holds of people of other homes.",
            number(home.feed_bytes),
        );
        page.one(
            "warren_home_feed_max_bytes",
            "gauge",
            "What it may hold of them.",
            number(home.feed_max_bytes),
        );
    }
    if let Some(backup) = &figures.backup {
        page.one(
            "warren_backup_last_success_seconds",
            "gauge",
            "When the last backup was made, seconds since 1970; 0 if there is none.",
            number(backup.made.unwrap_or(0)),
        );
        let failing = u64::from(backup.error.is_some());
        page.one(
            "warren_backup_failing",
            "gauge",
            "1 while backups fail.",
            number(failing),
        );
    }
    if !figures.exports.is_empty() {
        let failing = figures
            .exports
            .iter()
            .filter(|export| export.error.is_some());
        page.one(
            "warren_exports_failing",
            "gauge",
            "Exports of spaces whose last try failed.",
            number(failing.count() as u64),
        );
    }
    process(&mut page);
    page.0
}

fn neighbours(page: &mut Page, mesh: &Snapshot) {
    if mesh.neighbours.is_empty() {
        return;
    }
    let mut all: Vec<_> = mesh.neighbours.iter().collect();
    all.sort_by_key(|neighbour| (neighbour.address.to_string(), neighbour.interface));
    let interface = |id| {
        let mut known = mesh.interfaces.iter();
        known
            .find(|(known, _, _)| *known == id)
            .map_or("-", |(_, name, _)| name.as_str())
    };
    for (name, help) in [
        ("warren_neighbour_up", "Whether the link carries traffic."),
        (
            "warren_neighbour_rx_quality",
            "Share of the neighbour's greetings that arrive, 0 to 1.",
        ),
        (
            "warren_neighbour_tx_quality",
            "Share of ours that arrive there, 0 to 1.",
        ),
        ("warren_neighbour_cost", "Cost of the link; 1 is 1 Gbit/s."),
    ] {
        page.head(name, "gauge", help);
        for neighbour in &all {
            let value = match name {
                "warren_neighbour_up" => f64::from(u8::from(neighbour.up)),
                "warren_neighbour_rx_quality" => f64::from(neighbour.rx_quality),
                "warren_neighbour_tx_quality" => f64::from(neighbour.tx_quality),
                _ => f64::from(neighbour.cost),
            };
            let (address, transport) = (
                neighbour.address.to_string(),
                neighbour.transport.to_string(),
            );
            let labels = [
                ("address", &*address),
                ("interface", interface(neighbour.interface)),
                ("transport", &*transport),
            ];
            page.line(name, &labels, value);
        }
    }
}

fn spaces(page: &mut Page, spaces: &[HostedSpace]) {
    page.one(
        "warren_spaces",
        "gauge",
        "Spaces of this box.",
        number(spaces.len() as u64),
    );
    let open: Vec<_> = spaces
        .iter()
        .filter_map(|space| Some((space, space.figures.as_ref()?)))
        .collect();
    if spaces.is_empty() {
        return;
    }
    page.head(
        "warren_space_open",
        "gauge",
        "Whether people can use the space.",
    );
    for space in spaces {
        let value = f64::from(u8::from(space.figures.is_some()));
        page.line("warren_space_open", &[("space", &space.id)], value);
    }
    if open.is_empty() {
        return;
    }
    for (name, help) in [
        ("warren_space_members", "Members of the space."),
        ("warren_space_channels", "Channels of the space."),
        ("warren_space_events", "Messages and more that are kept."),
        ("warren_space_bytes", "Bytes of them on disk."),
        ("warren_space_file_bytes", "Bytes of files."),
        ("warren_space_connections", "Connections that are open."),
    ] {
        page.head(name, "gauge", help);
        for (space, figures) in &open {
            let value = match name {
                "warren_space_members" => figures.members,
                "warren_space_channels" => figures.channels,
                "warren_space_events" => figures.events,
                "warren_space_bytes" => figures.bytes,
                "warren_space_file_bytes" => figures.file_bytes,
                _ => figures.connections,
            };
            page.line(name, &[("space", &space.id)], number(value));
        }
    }
}

fn sites(page: &mut Page, sites: &[HostedSite]) {
    page.one(
        "warren_sites",
        "gauge",
        "Published sites of this box.",
        number(sites.len() as u64),
    );
    if sites.is_empty() {
        return;
    }
    page.head("warren_site_bytes", "gauge", "Bytes of a site's files.");
    for site in sites {
        page.line(
            "warren_site_bytes",
            &[("site", &site.id)],
            number(site.bytes),
        );
    }
}

/// What the kernel says of this process (proc(5)), under the names that every Prometheus client uses.
fn process(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: u64 = line
            .trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()?;
        Some(number(kib * 1024))
    };
    if let Some(value) = bytes("VmRSS") {
        page.one(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            value,
        );
    }
    if let Some(value) = bytes("VmSize") {
        page.one(
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory.",
            value,
        );
    }
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let pss = pss.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(kib) = pss {
        let help = "Memory of this process, shared pages by their share.";
        page.one(
            "warren_process_pss_bytes",
            "gauge",
            help,
            number(kib * 1024),
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.one(
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            number(open.count() as u64),
        );
    }
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss)]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    page.one(
        "process_cpu_seconds_total",
        "counter",
        "Processor time used.",
        seconds,
    );
}
