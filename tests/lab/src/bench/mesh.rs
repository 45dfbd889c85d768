//! `scripts/bench mesh`: the simulator's figures, then real daemons in namespaces: a grid of 4 x 4 (cold start, bytes when
//! idle) and a ring of six (fail-over), with Yggdrasil and babeld on the same topologies.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::bench::{post, rivals, simulated};
use crate::error::{LabError, Result};
use crate::figures::{Better, Figure, Report, median};
use crate::lab::{Cut, Lab};
use crate::namespace;
use crate::outage;
use crate::overlay::{Program, Running, warrend};
use crate::ping::Pinger;
use crate::topology::Topology;

/// How long a program may take until all pairs answer.
const COLD_START_LIMIT: Duration = Duration::from_secs(120);
/// How long a path may stay away before it counts as lost.
const OUTAGE_LIMIT: Duration = Duration::from_secs(90);
/// Cold starts of each program, and cuts of ours, whose median counts. A cut of a rival takes minutes, so it gets one.
const RUNS: usize = 3;
/// Idle traffic is counted after so long, and for so long.
const SETTLE: Duration = Duration::from_secs(120);
const COUNT: Duration = Duration::from_secs(60);
/// The same where homes ask each other now and then whether they are still there: every four minutes.
const COUNT_INHABITED: Duration = Duration::from_secs(240);
/// How long a call of a home's interface may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of `scripts/bench mesh`.
pub fn run(report: Report) -> Result<()> {
    simulated::run(report)?;
    namespaces(report)
}

/// The part that runs real daemons.
pub fn namespaces(report: Report) -> Result<()> {
    let rivals = rivals(&[Program::Yggdrasil, Program::Babeld], report);
    grid(report, &rivals)?;
    ring(report, &rivals)
}

/// A running grid and the time it took until all pairs answered.
struct Grid {
    lab: Lab,
    running: Running,
    cold_start: Duration,
}

fn start_grid(program: Program) -> Result<Grid> {
    let lab = Lab::new(Topology::grid(4, 4))?;
    let begin = Instant::now();
    let mut running = program.start(&lab, &[])?;
    let pinger = Pinger::new(&lab, &running.addresses)?;
    let reached = pinger.reach_all(begin, COLD_START_LIMIT);
    running.check()?;
    Ok(Grid {
        lab,
        running,
        cold_start: reached?,
    })
}

fn grid(report: Report, rivals: &[Program]) -> Result<()> {
    let mut times = Vec::new();
    let mut grids = Vec::new();
    for program in std::iter::once(Program::Warrend).chain(rivals.iter().copied()) {
        let mut seconds = Vec::new();
        let mut last = None;
        for run in 0..RUNS {
            // The one before is taken down first: a cold start has the machine for itself.
            drop(last.take());
            let grid = start_grid(program)?;
            seconds.push(grid.cold_start.as_secs_f64());
            report.progress(&format!(
                "mesh.netns16: {} cold start {} of {RUNS}: {:.2} s",
                program.name(),
                run + 1,
                grid.cold_start.as_secs_f64()
            ));
            last = Some(grid);
        }
        times.push((program.name(), median(&seconds)));
        grids.extend(last.map(|grid| (program.name(), grid)));
    }
    let ours = times[0].1;
    peers(
        report,
        "mesh.netns16.cold_start_s",
        ours,
        "s",
        &times,
        |seconds| *seconds,
    );

    report.progress(&format!(
        "mesh.netns16: everybody has talked; idle for {} s, then counting for {} s, all side by side",
        SETTLE.as_secs(),
        COUNT.as_secs()
    ));
    std::thread::sleep(SETTLE);
    let mut counted = Vec::new();
    for (name, grid) in &grids {
        counted.push((*name, grid.lab.sent()?.bytes, Instant::now()));
    }
    std::thread::sleep(COUNT);
    let mut rates = Vec::new();
    for ((name, grid), (_, before, since)) in grids.iter_mut().zip(counted) {
        grid.running.check()?;
        #[allow(clippy::cast_precision_loss)]
        let bytes = (grid.lab.sent()?.bytes - before) as f64;
        #[allow(clippy::cast_precision_loss)]
        let nodes = grid.lab.topology().len() as f64;
        rates.push((*name, bytes / nodes / since.elapsed().as_secs_f64()));
    }
    let ours = rates[0].1;
    peers(
        report,
        "mesh.netns16.bytes_per_node_s",
        ours,
        "B/s",
        &rates,
        |rate| *rate,
    );
    inhabited(report, &mut grids[0].1)
}

/// The same with somebody living at each home: homes then listen to each other.
fn inhabited(report: Report, grid: &mut Grid) -> Result<()> {
    let lab = &grid.lab;
    report.progress(&format!(
        "mesh.netns16: somebody lives at each home; idle for {} s, then counting for {} s",
        SETTLE.as_secs(),
        COUNT_INHABITED.as_secs()
    ));
    for name in &lab.topology().names {
        let socket = warrend::web_socket(&lab.folder().join(name));
        let mut stream = UnixStream::connect(&socket)
            .map_err(LabError::io(format!("connecting to {}", socket.display())))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(LabError::io("giving a call a limit"))?;
        post(
            &mut stream,
            "/api/1/accounts",
            r#"{"name":"Ann","passphrase":"a garden of beans","device":"bench"}"#,
        )?;
    }
    let others = lab.topology().len() - 1;
    let begin = Instant::now();
    for node in 0..=others {
        while connected(lab, node)? < others {
            if begin.elapsed() > SETTLE {
                return Err(LabError::Timeout {
                    what: "homes to connect to each other".into(),
                    after: SETTLE,
                });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    std::thread::sleep(SETTLE);
    grid.running.check()?;
    let (before, since) = (lab.sent()?.bytes, Instant::now());
    std::thread::sleep(COUNT_INHABITED);
    grid.running.check()?;
    #[allow(clippy::cast_precision_loss)]
    let (bytes, nodes) = (
        (lab.sent()?.bytes - before) as f64,
        lab.topology().len() as f64,
    );
    report.figure(&Figure::alone(
        "mesh.netns16.inhabited_bytes_per_node_s",
        bytes / nodes / since.elapsed().as_secs_f64(),
        "B/s",
    ));
    Ok(())
}

/// TCP connections of a node to the relays of other homes.
fn connected(lab: &Lab, node: usize) -> Result<usize> {
    const RELAY: &str = ":1D16"; // port 7446, as the kernel writes it
    const ESTABLISHED: &str = "01";
    namespace::within(&lab.namespace(node), || {
        let table = std::fs::read_to_string("/proc/thread-self/net/tcp6")
            .map_err(LabError::io("reading the connections of a namespace"))?;
        let lines = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let to_relay = |fields: &Vec<&str>| {
            fields.get(2).is_some_and(|remote| remote.ends_with(RELAY))
                && fields.get(3) == Some(&ESTABLISHED)
        };
        Ok(lines.filter(to_relay).count())
    })
}

/// One line for each peer (all after the first), or one alone.
fn peers<T>(
    report: Report,
    name: &str,
    ours: f64,
    unit: &'static str,
    all: &[(&str, T)],
    value: impl Fn(&T) -> f64,
) {
    if all.len() < 2 {
        report.figure(&Figure::alone(name, ours, unit));
    }
    for (index, (peer, theirs)) in all.iter().enumerate().skip(1) {
        // The first peer stands under the figure's own name, further ones under names of their own.
        let name = if index == 1 {
            name.to_owned()
        } else {
            format!("{name}.vs_{peer}")
        };
        report.figure(&Figure::beside(
            name,
            ours,
            unit,
            Better::Lower,
            *peer,
            value(theirs),
        ));
    }
}

fn ring(report: Report, rivals: &[Program]) -> Result<()> {
    let mut down = vec![("warrend", Vec::new())];
    let mut silent = vec![("warrend", Vec::new())];
    down.extend(rivals.iter().map(|r| (r.name(), Vec::new())));
    silent.extend(rivals.iter().map(|r| (r.name(), Vec::new())));
    for (index, program) in std::iter::once(Program::Warrend)
        .chain(rivals.iter().copied())
        .enumerate()
    {
        let runs = if index == 0 { RUNS } else { 1 };
        for (how, times) in [(Cut::Announced, &mut down), (Cut::Silent, &mut silent)] {
            for run in 0..runs {
                report.progress(&format!(
                    "mesh.ring6: {} {how:?} {} of {runs}",
                    program.name(),
                    run + 1
                ));
                let seconds = fail_over(program, how)?;
                report.progress(&format!(
                    "mesh.ring6: {} {how:?}: {seconds:.2} s without traffic",
                    program.name()
                ));
                times[index].1.push(seconds);
            }
        }
    }
    let ours = median(&down[0].1);
    peers(
        report,
        "mesh.ring6.failover_down_s",
        ours,
        "s",
        &down,
        |times| median(times),
    );
    let ours = median(&silent[0].1);
    peers(
        report,
        "mesh.ring6.failover_silent_s",
        ours,
        "s",
        &silent,
        |times| median(times),
    );
    Ok(())
}

/// Seconds without traffic between two neighbours in a ring of six when their link dies, so that everything has to go the
/// long way around. A new lab each time: a healed one remembers.
fn fail_over(program: Program, how: Cut) -> Result<f64> {
    let lab = Lab::new(Topology::ring(6))?;
    let begin = Instant::now();
    let mut running = program.start(&lab, &[])?;
    let pinger = Pinger::new(&lab, &running.addresses)?;
    pinger.reach_all(begin, COLD_START_LIMIT)?;
    // Both ways around must be known, or the figure would be that of a cold start: wait until routes have been announced
    // again at the rivals' own pace, and until traffic flows without loss.
    std::thread::sleep(if program == Program::Warrend {
        Duration::from_secs(5)
    } else {
        Duration::from_secs(25)
    });
    let (_, outage) = outage::measure(&lab, &pinger, (0, 1), how, OUTAGE_LIMIT)?;
    running.check()?;
    Ok(outage.as_secs_f64())
}
