//! `scripts/bench forward`: TCP through lines of three and six nodes, what it costs, round-trip times, and what a relay
//! spends per packet. Peers on the same lines: Yggdrasil, and the kernel's plain forwarding with and without offload.

use std::time::{Duration, Instant};

use crate::bench::rivals;
use crate::error::Result;
use crate::figures::{Better, Figure, Report, median};
use crate::lab::{Lab, Offload};
use crate::overlay::{Program, Running};
use crate::ping::Pinger;
use crate::process::machine_cpu;
use crate::topology::Topology;
use crate::traffic;

/// Seconds of each TCP transfer.
const SECONDS: u32 = 8;
/// Transfers whose median counts.
const RUNS: usize = 3;
/// How long a program may take until the ends of a line reach each other.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the bench's own traffic needs open.
const OPEN: [&str; 2] = ["tcp/5201", "udp/5201"];

/// What one program made of one line.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    mbit_per_s: f64,
    cpu_s_per_gb: f64,
    machine_s_per_gb: f64,
    rtt_p50_ms: f64,
    rtt_p99_ms: f64,
    /// The same when everything has slept for 10 ms before each ping: what waking processors adds.
    rtt_idle_p50_ms: f64,
}

/// All of `scripts/bench forward`.
pub fn run(report: Report) -> Result<()> {
    let rivals = rivals(&[Program::Yggdrasil], report);
    for count in [3, 6] {
        for offload in [Offload::All, Offload::ReceiveOnly] {
            line(report, count, offload, &rivals)?;
        }
    }
    relay(report)
}

/// What is reported of a line: name, unit, which way is better, value.
type Column = (&'static str, &'static str, Better, fn(&Line) -> f64);

const COLUMNS: [Column; 6] = [
    ("tcp", "Mbit/s", Better::Higher, |line| line.mbit_per_s),
    ("cpu_s_per_gb", "s/GB", Better::Lower, |line| {
        line.cpu_s_per_gb
    }),
    ("machine_cpu_s_per_gb", "s/GB", Better::Lower, |line| {
        line.machine_s_per_gb
    }),
    ("rtt_p50_ms", "ms", Better::Lower, |line| line.rtt_p50_ms),
    ("rtt_p99_ms", "ms", Better::Lower, |line| line.rtt_p99_ms),
    ("rtt_idle_p50_ms", "ms", Better::Lower, |line| {
        line.rtt_idle_p50_ms
    }),
];

fn line(report: Report, count: usize, offload: Offload, rivals: &[Program]) -> Result<()> {
    let name = match offload {
        Offload::All => format!("forward.line{count}"),
        Offload::ReceiveOnly | Offload::None => format!("forward.line{count}.nooffload"),
    };
    report.progress(&format!("{name}: plain forwarding"));
    let plain = plain(count, offload)?;
    report.progress(&format!("{name}: warrend"));
    let ours = overlay(Program::Warrend, count, offload)?;
    let mut peers = Vec::new();
    for rival in rivals {
        report.progress(&format!("{name}: {}", rival.name()));
        peers.push((rival.name(), overlay(*rival, count, offload)?));
    }
    against(report, &name, &ours, &peers);
    for (column, unit, better, value) in COLUMNS {
        // Nobody's daemons work there.
        if column != "cpu_s_per_gb" {
            report.figure(&Figure::beside(
                format!("{name}.{column}.vs_veth"),
                value(&ours),
                unit,
                better,
                "plain veth",
                value(&plain),
            ));
        }
    }
    if offload == Offload::All {
        let name = format!("{name}.chacha");
        report.progress(&format!("{name}: warrend without AES"));
        let ours = overlay(Program::WarrendChaCha, count, offload)?;
        against(report, &name, &ours, &peers);
    }
    Ok(())
}

fn against(report: Report, name: &str, ours: &Line, peers: &[(&str, Line)]) {
    for (column, unit, better, value) in COLUMNS {
        let figure = format!("{name}.{column}");
        for (peer, theirs) in peers {
            let theirs = value(theirs);
            let figure = Figure::beside(figure.clone(), value(ours), unit, better, *peer, theirs);
            report.figure(&figure);
        }
        if peers.is_empty() {
            report.figure(&Figure::alone(figure, value(ours), unit));
        }
    }
}

/// The kernel's own forwarding over the same line.
fn plain(count: usize, offload: Offload) -> Result<Line> {
    let lab = Lab::new(Topology::line(count))?;
    // Plain forwarding joins and cuts packets only if asked to; "without offload" is without all of it.
    lab.set_offload(if offload == Offload::ReceiveOnly {
        Offload::None
    } else {
        offload
    })?;
    let addresses = lab.route_plainly()?;
    let pinger = Pinger::new(&lab, &addresses)?;
    pinger.reach(0, count - 1, PATIENCE)?;
    measure(&lab, &pinger, None, addresses[count - 1])
}

fn overlay(program: Program, count: usize, offload: Offload) -> Result<Line> {
    let lab = Lab::new(Topology::line(count))?;
    lab.set_offload(offload)?;
    let mut running = program.start(&lab, &OPEN)?;
    let pinger = Pinger::new(&lab, &running.addresses)?;
    let reached = pinger.reach(0, count - 1, PATIENCE);
    running.check()?;
    reached?;
    let target = running.addresses[count - 1];
    measure(&lab, &pinger, Some(&running), target)
}

/// Round-trip times first, while nothing else runs, then TCP.
fn measure(
    lab: &Lab,
    pinger: &Pinger,
    running: Option<&Running>,
    target: std::net::Ipv6Addr,
) -> Result<Line> {
    let last = lab.topology().len() - 1;
    // A second for handshakes and first queries to settle.
    pinger.round_trips(0, last, 100, Duration::from_millis(10))?;
    let trips = pinger.round_trips(0, last, 2000, Duration::from_millis(1))?;
    let idle = pinger.round_trips(0, last, 300, Duration::from_millis(10))?;
    let of = |trips: &[Duration], percent: usize| {
        let index = trips.len() * percent / 100;
        trips.get(index).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
    };
    let mut line = Line {
        rtt_p50_ms: of(&trips, 50),
        rtt_p99_ms: of(&trips, 99),
        rtt_idle_p50_ms: of(&idle, 50),
        ..Line::default()
    };
    let (mut rate, mut cpu, mut machine) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let daemons = |running: Option<&Running>| running.map_or(Ok(0.0), |r| Ok(r.cpu()?.total()));
        let (before, machine_before) = (daemons(running)?, machine_cpu()?);
        let transfer = traffic::tcp(lab, 0, last, target, SECONDS)?;
        #[allow(clippy::cast_precision_loss)]
        let gigabytes = transfer.bytes as f64 / 1e9;
        rate.push(transfer.mbit_per_s);
        cpu.push((daemons(running)? - before) / gigabytes);
        machine.push((machine_cpu()? - machine_before) / gigabytes);
    }
    line.mbit_per_s = median(&rate);
    line.cpu_s_per_gb = median(&cpu);
    line.machine_s_per_gb = median(&machine);
    Ok(line)
}

/// CPU time that the middle node of a line of three spends per packet of 200 and of 1400 bytes.
pub fn relay(report: Report) -> Result<()> {
    const PER_SECOND: u32 = 20_000;
    const DURATION: Duration = Duration::from_secs(10);
    report.progress("forward.relay_cpu: packets of 200 and 1400 bytes through a relay");
    let lab = Lab::new(Topology::line(3))?;
    let mut running = Program::Warrend.start(&lab, &OPEN)?;
    let pinger = Pinger::new(&lab, &running.addresses)?;
    pinger.reach(0, 2, PATIENCE)?;
    let target = running.addresses[2];
    let mut costs = [[0.0_f64; 2]; 2];
    // Twice in turn, so that neither size has the better half of the machine's mood.
    let begin = Instant::now();
    for _ in 0..2 {
        for (cost, length) in costs.iter_mut().zip([200, 1400]) {
            let before = running.daemons[1].cpu()?;
            let count = traffic::udp(&lab, (0, 2), target, length, PER_SECOND, DURATION)?;
            let spent = running.daemons[1].cpu()?.since(before);
            #[allow(clippy::cast_precision_loss)]
            let packets = count.received.max(1) as f64;
            cost[0] += spent.user / packets / 2.0 * 1e6;
            cost[1] += spent.total() / packets / 2.0 * 1e6;
            report.progress(&format!(
                "{length} bytes: {} of {} arrived, relay user {:.2} us, total {:.2} us per packet ({:.0} s)",
                count.received,
                count.sent,
                spent.user / packets * 1e6,
                spent.total() / packets * 1e6,
                begin.elapsed().as_secs_f64(),
            ));
        }
    }
    running.check()?;
    let [small, large] = costs;
    report.figure(&Figure::alone("forward.relay_cpu.200_us", small[1], "us"));
    report.figure(&Figure::alone("forward.relay_cpu.1400_us", large[1], "us"));
    report.figure(&Figure::alone(
        "forward.relay_cpu.200_user_us",
        small[0],
        "us",
    ));
    report.figure(&Figure::alone(
        "forward.relay_cpu.1400_user_us",
        large[0],
        "us",
    ));
    report.figure(&Figure::alone(
        "forward.relay_cpu.1400_over_200",
        large[0] / small[0],
        "x",
    ));
    Ok(())
}
