//! `scripts/bench space`: what a space takes and gives, beside two relays from crates.io in the same run, driven by the same
//! clients with the same events; and what it costs in memory and on the disk.
//!
//! Ours has every event on the disk (fsync) before it says OK. rust-nostr's LMDB syncs too. nostr-rs-relay does not: SQLite
//! with `synchronous = NORMAL` and a write-ahead log syncs at checkpoints alone, so it may lose what it said OK to.

mod archive;
mod cross_check;
mod file;
mod large;
mod load;
mod people;
mod relay;
mod socket;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};
use crate::figures::{Better, Figure, Report, median};
use crate::lab::Lab;
use crate::namespace;
use crate::topology::Topology;
use large::Large;
use load::{Writer, percentile};
use people::Person;
pub use relay::Data;
use relay::Relay;

/// What is measured how thoroughly, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Folder for the relays' data: on the disk that is measured.
    pub data: PathBuf,
    /// Folder of the peers' programs.
    pub peers: PathBuf,
    /// A third of the time, with less certain figures.
    pub quick: bool,
}

/// Events of each client, by the number of clients.
const LOADS: [(u32, u32); 4] = [(1, 380), (20, 380), (100, 150), (800, 20)];
/// The load whose latency and CPU time are told.
const MAIN_LOAD: u32 = 100;
/// Milliseconds between two events of each client where the time to an answer is measured.
const EVERY_MS: u64 = 100;
/// Clients that ask, and questions of each, on one connection: a space takes 400 messages at once.
const ASKERS: u32 = 20;
const QUESTIONS: u32 = 380;
/// How often they ask, whose median counts: one round takes a second.
const ROUNDS: u32 = 5;
const LISTENERS: u32 = 100;
const IDLE_CONNECTIONS: u32 = 1000;
const IDLE_MESSAGES: u64 = 100_000;
/// Where the page of the home is.
const PAGE: &str = "127.0.0.1:8480";
/// Bytes of the large file: 1 GB.
const FILE: u64 = 1_000_000_000;

/// A figure's name, unit, and which way is better.
type Column = (&'static str, &'static str, Better);

const COLUMNS: [Column; 17] = [
    ("ingest.1", "events/s", Better::Higher),
    ("ingest.20", "events/s", Better::Higher),
    ("ingest.100", "events/s", Better::Higher),
    ("ingest.800", "events/s", Better::Higher),
    ("ok_p50_ms", "ms", Better::Lower),
    ("ok_p99_ms", "ms", Better::Lower),
    ("ok_full_p50_ms", "ms", Better::Lower),
    ("cpu_ms_per_event", "ms", Better::Lower),
    ("query", "queries/s", Better::Higher),
    ("query_cpu_ms", "ms", Better::Lower),
    ("echo100_p50_ms", "ms", Better::Lower),
    ("echo100_p99_ms", "ms", Better::Lower),
    ("conn_kib", "KiB", Better::Lower),
    ("write_amplification", "x", Better::Lower),
    ("write_amplification_1ps", "x", Better::Lower),
    ("loaded_mib", "MiB", Better::Lower),
    ("nostr_bench_req", "queries/s", Better::Higher),
];

/// What was measured of one relay, by the names of [`COLUMNS`].
type Measured = BTreeMap<&'static str, f64>;

/// All of `scripts/bench space`.
pub fn run(report: Report, plan: &Plan) -> Result<()> {
    let data = Data::make(&plan.data)?;
    beside_peers(report, plan, &data)?;
    let mut idle = Large::make(report, &data.folder("idle"), IDLE_MESSAGES)?;
    report.figure(&Figure::alone("space.idle_mib", mib(idle.idle()?), "MiB"));
    drop(idle);
    file_growth(report, &data)?;
    let (messages, name) = if plan.quick {
        (200_000, "space.search200k")
    } else {
        (1_000_000, "space.search1m")
    };
    let large = Large::make(report, &data.folder("large"), messages)?;
    let (p50, p99) = large.searched()?;
    report.figure(&Figure::alone(format!("{name}_p50_ms"), p50, "ms"));
    report.figure(&Figure::alone(format!("{name}_p99_ms"), p99, "ms"));
    #[allow(clippy::cast_precision_loss)]
    let per_second = messages as f64 / large.import_s;
    report.figure(&Figure::alone("space.import", per_second, "events/s"));
    report.figure(&Figure::alone("space.start_s", large.start_s, "s"));
    Ok(())
}

fn beside_peers(report: Report, plan: &Plan, data: &Data) -> Result<()> {
    let lab = Lab::new(Topology::line(1))?;
    let mut relays = vec![Relay::start_space(
        &lab,
        relay::prepare(&lab, &data.folder("warrend"), true, &[PAGE.to_owned()])?,
    )?];
    type Start = fn(&Lab, &Path, &Path) -> Result<Relay>;
    let peers: [(&str, Start); 2] = [
        ("nostr-rs-relay", Relay::start_nostr_rs),
        ("rust-nostr-relay", Relay::start_rust_nostr),
    ];
    for (program, start) in peers {
        if plan.peers.join(program).is_file() {
            relays.push(start(&lab, &plan.peers, &data.folder(program))?);
        } else {
            report.progress(&format!("{program} is not there: its figures are left out"));
        }
    }
    let mut measured = Vec::new();
    for mut relay in std::mem::take(&mut relays) {
        report.progress(&format!("{}: loads", relay.name));
        let mut values = Measured::new();
        let result = measure(plan, &lab, &mut relay, &mut values);
        let name = relay.name;
        match result {
            Ok(()) => relays.push(relay),
            Err(error) if measured.is_empty() => return Err(error),
            // It may be gone, or still be busy with what it did not answer: it has no part in what follows.
            Err(error) => {
                report.progress(&format!("{name}: the rest is left out: {error}"));
                let _ = relay.stop();
            }
        }
        measured.push((name, values));
    }
    report.progress("one event a second");
    let drops = if plan.quick { 15 } else { 60 };
    let names: Vec<_> = relays.iter().map(|relay| relay.name).collect();
    for (relay, drop) in names.into_iter().zip(drip(&lab, &mut relays, drops)?) {
        let found = measured.iter_mut().find(|(name, _)| *name == relay);
        found.map(|(_, values)| values.insert("write_amplification_1ps", drop));
    }
    for (name, unit, better) in COLUMNS {
        let Some(ours) = measured[0].1.get(name) else {
            continue;
        };
        let figure = format!("space.{name}");
        let mut is_first = true;
        for (peer, values) in measured.iter().skip(1) {
            let Some(theirs) = values.get(name) else {
                continue;
            };
            let figure = if is_first {
                figure.clone()
            } else {
                format!("{figure}.vs_{}", peer.replace('-', "_"))
            };
            is_first = false;
            report.figure(&Figure::beside(figure, *ours, unit, better, *peer, *theirs));
        }
        if is_first {
            report.figure(&Figure::alone(figure, *ours, unit));
        }
    }
    for relay in relays {
        relay.stop()?;
    }
    Ok(())
}

/// Everything that is measured of each relay by itself.
#[allow(clippy::cast_precision_loss)]
fn measure(plan: &Plan, lab: &Lab, relay: &mut Relay, values: &mut Measured) -> Result<()> {
    let (at, service) = (relay.at, relay.service.clone());
    let service = service.as_deref();

    let greets = service.is_some();
    let before = relay.process()?.pss()?;
    let process = relay.process()?;
    let open = within(lab, async {
        let sockets = load::idle(at, IDLE_CONNECTIONS, greets).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pss = process.pss();
        drop(sockets);
        pss
    })?;
    let grown = open.saturating_sub(before) as f64;
    values.insert("conn_kib", grown / 1024.0 / f64::from(IDLE_CONNECTIONS));

    let (mut bytes, mut written) = (0, 0);
    let mut first = 1000;
    for (count, each) in LOADS {
        // Two for each connection where one alone would write faster than a space lets a person write.
        let people = if each > 200 { 2 } else { 1 };
        let writers = Writer::many(count, people, each, first)?;
        first += count * people;
        relay.settle()?;
        let process = relay.process()?;
        let (taken, cpu) = within(lab, async {
            let clients = load::connect(at, service, writers).await?;
            let (cpu, disk) = (process.cpu()?, process.written()?);
            let taken = load::publish(clients, None).await?;
            // The smaller loads are too small to say what is written for each event.
            if count >= MAIN_LOAD {
                bytes += taken.bytes;
                written += process.written()? - disk;
            }
            Ok((taken, process.cpu()?.since(cpu).total()))
        })?;
        let name = COLUMNS
            .iter()
            .map(|column| column.0)
            .find(|name| *name == format!("ingest.{count}"));
        values.extend(name.map(|name| (name, taken.events as f64 / taken.seconds)));
        if count == MAIN_LOAD {
            values.insert("ok_full_p50_ms", percentile(&taken.ok_ms, 50));
            values.insert("cpu_ms_per_event", cpu * 1e3 / taken.events as f64);
        }
    }
    values.insert("write_amplification", written as f64 / bytes as f64);

    let writers = Writer::many(MAIN_LOAD, 1, if plan.quick { 30 } else { 60 }, first)?;
    first += MAIN_LOAD;
    relay.settle()?;
    let taken = within(lab, async {
        let clients = load::connect(at, service, writers).await?;
        load::publish(clients, Some(Duration::from_millis(EVERY_MS))).await
    })?;
    values.insert("ok_p50_ms", percentile(&taken.ok_ms, 50));
    values.insert("ok_p99_ms", percentile(&taken.ok_ms, 99));

    let authors = (1000..first)
        .map(|n| Person::new(n).map(|person| person.hex()))
        .collect::<Result<Vec<_>>>()?;
    relay.settle()?;
    let cpu = relay.process()?.cpu()?;
    let (mut all, mut rates) = (0, Vec::new());
    for round in 0..ROUNDS {
        let asking = load::ask(at, (ASKERS, QUESTIONS, round), &authors);
        let (answered, rate) = within(lab, asking)?;
        all += answered;
        rates.push(rate);
        relay.rest()?; // what was given up on is not part of the next round
    }
    let cpu = relay.process()?.cpu()?.since(cpu).total();
    values.insert("query", median(&rates));
    values.insert("query_cpu_ms", cpu * 1e3 / f64::from(all.max(1)));

    relay.settle()?;
    let count = if plan.quick { 60 } else { 190 };
    let echoes = within(lab, load::echo(at, service, LISTENERS, count, first))?;
    values.insert("echo100_p50_ms", percentile(&echoes, 50));
    values.insert("echo100_p99_ms", percentile(&echoes, 99));

    values.insert("loaded_mib", mib(relay.process()?.pss()?));
    let url = match service {
        Some(service) => format!("ws://{PAGE}/s/{service}/"),
        None => format!("ws://{at}/"),
    };
    if let Some(rate) = cross_check::ask(lab, &plan.peers, &url)? {
        values.insert("nostr_bench_req", rate);
    }
    Ok(())
}

/// All relays get one event a second; bytes that each wrote for a byte of the events.
#[allow(clippy::cast_precision_loss)]
fn drip(lab: &Lab, relays: &mut [Relay], count: u32) -> Result<Vec<f64>> {
    within(lab, async {
        let mut drips = tokio::task::JoinSet::new();
        let mut before = Vec::new();
        for (n, relay) in relays.iter_mut().enumerate() {
            let (at, service) = (relay.at, relay.service.clone());
            let (socket, person) = load::one_writer(at, service.as_deref(), 100_000).await?;
            before.push(relay.process()?.written()?);
            drips.spawn(async move { (n, load::drip(socket, person, count).await) });
        }
        let mut bytes = vec![0; relays.len()];
        while let Some(drip) = drips.join_next().await {
            let (n, count) =
                drip.map_err(|error| LabError::answer("a writer", &error.to_string()))?;
            bytes[n] = count?;
        }
        let each = relays.iter_mut().zip(before).zip(bytes);
        each.map(|((relay, before), bytes)| {
            let written = relay.process()?.written()? - before;
            Ok(written as f64 / bytes as f64)
        })
        .collect()
    })
}

#[allow(clippy::cast_precision_loss)]
fn file_growth(report: Report, data: &Data) -> Result<()> {
    report.progress("1 GB up and down");
    let lab = Lab::new(Topology::line(1))?;
    let daemon = relay::prepare(&lab, &data.folder("file"), true, &[])?;
    let mut relay = Relay::start_space(&lab, daemon)?;
    let service = relay.service.clone().unwrap_or_default();
    let process = relay.process()?;
    process.forget_peak()?;
    let (before, _) = process.resident()?;
    let begin = Instant::now();
    within(&lab, file::there_and_back(relay.at, &service, FILE, 1))?;
    let seconds = begin.elapsed().as_secs_f64();
    let (_, peak) = relay.process()?.resident()?;
    report.figure(&Figure::alone(
        "space.blob1g_growth_mib",
        mib(peak.saturating_sub(before)),
        "MiB",
    ));
    report.figure(&Figure::alone("space.blob1g_s", seconds, "s"));
    relay.stop()
}

/// Runs something inside the namespace of a lab's first node.
fn within<T: Send>(lab: &Lab, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    namespace::within(&lab.namespace(0), || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LabError::io("making an event loop"))?
            .block_on(work)
    })
}

fn mib(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}
