//! `scripts/bench router`: what a daemon costs a small box when nothing happens, and how large it is on disk. Peer: the
//! installed Yggdrasil in the same line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bench::rivals;
use crate::command::{is_installed, run as run_program};
use crate::error::{LabError, Result};
use crate::figures::{Better, Figure, Report, median};
use crate::lab::Lab;
use crate::overlay::Program;
use crate::ping::Pinger;
use crate::topology::Topology;

/// Idle starts after so long, and is watched for so long.
const SETTLE: Duration = Duration::from_secs(60);
const WATCH: Duration = Duration::from_secs(60);

/// All of `scripts/bench router`. `packages` is the folder that `scripts/package` fills.
pub fn run(report: Report, packages: &Path) -> Result<()> {
    idle(report)?;
    sizes(report, packages)
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    pss_mib: f64,
    cpu_percent: f64,
}

fn idle(report: Report) -> Result<()> {
    let rivals = rivals(&[Program::Yggdrasil], report);
    report.progress(&format!(
        "idle: a line of three, {} s",
        (SETTLE + WATCH).as_secs()
    ));
    let programs: Vec<Program> = std::iter::once(Program::Warrend).chain(rivals).collect();
    let mut labs = Vec::new();
    for program in &programs {
        let lab = Lab::new(Topology::line(3))?;
        let running = program.start(&lab, &[])?;
        let pinger = Pinger::new(&lab, &running.addresses)?;
        pinger.reach_all(Instant::now(), Duration::from_secs(60))?;
        labs.push((lab, running));
    }
    std::thread::sleep(SETTLE);
    let mut before = Vec::new();
    for (_, running) in &labs {
        before.push((running.cpu()?.total(), Instant::now()));
    }
    std::thread::sleep(WATCH);
    let mut values = Vec::new();
    for ((_, running), (cpu, since)) in labs.iter_mut().zip(before) {
        running.check()?;
        #[allow(clippy::cast_precision_loss)]
        let nodes = running.daemons.len() as f64;
        let cpu_percent =
            (running.cpu()?.total() - cpu) / since.elapsed().as_secs_f64() / nodes * 100.0;
        let pss = running
            .daemons
            .iter()
            .map(|d| d.pss().map(mib))
            .collect::<Result<Vec<_>>>()?;
        values.push(Idle {
            pss_mib: median(&pss),
            cpu_percent,
        });
    }
    let ours = values[0];
    if let Some(theirs) = values.get(1) {
        let peer = Program::Yggdrasil.name();
        report.figure(&Figure::beside(
            "idle.pss_mib",
            ours.pss_mib,
            "MiB",
            Better::Lower,
            peer,
            theirs.pss_mib,
        ));
        report.figure(&Figure::beside(
            "idle.cpu_pct",
            ours.cpu_percent,
            "%",
            Better::Lower,
            peer,
            theirs.cpu_percent,
        ));
    } else {
        report.figure(&Figure::alone("idle.pss_mib", ours.pss_mib, "MiB"));
        report.figure(&Figure::alone("idle.cpu_pct", ours.cpu_percent, "%"));
    }
    Ok(())
}

fn sizes(report: Report, packages: &Path) -> Result<()> {
    for target in ["x86_64", "aarch64", "mipsel"] {
        let binary = packages.join(target).join("warrend");
        let Ok(data) = fs::metadata(&binary) else {
            report.progress(&format!(
                "size.{target}_mib: {} is not there; run scripts/package {target}",
                binary.display()
            ));
            continue;
        };
        let name = format!("size.{target}_mib");
        match (target, stripped_size("yggdrasil")) {
            ("x86_64", Some(theirs)) => {
                report.figure(&Figure::beside(
                    name,
                    mib(data.len()),
                    "MiB",
                    Better::Lower,
                    "yggdrasil",
                    mib(theirs),
                ));
            }
            _ => report.figure(&Figure::alone(name, mib(data.len()), "MiB")),
        }
    }
    Ok(())
}

/// Size of an installed program without symbols, if it and `strip` are there.
fn stripped_size(program: &str) -> Option<u64> {
    if !is_installed("strip") {
        return None;
    }
    let path: PathBuf = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())?;
    let copy = std::env::temp_dir().join(format!("warren-lab-strip-{}", std::process::id()));
    let stripped = run_program(
        "strip",
        &["-o", &copy.to_string_lossy(), &path.to_string_lossy()],
    )
    .and_then(|_| fs::metadata(&copy).map_err(LabError::io("reading the stripped copy")));
    // The copy is in the way of nobody if it cannot be removed.
    let _ = fs::remove_file(&copy);
    stripped.ok().map(|data| data.len())
}

fn mib(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}
