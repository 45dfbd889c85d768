//! The figures of `scripts/bench mesh` that the simulator gives: runs `warren-sim SCENARIO --json` and names what it says.
//! The simulator counts; this passes on, and for `scripts/test` compares a few short scenarios with their limits.

use std::path::PathBuf;

use serde_json::Value;

use crate::command::run as run_program;
use crate::error::{LabError, Result};
use crate::figures::{Figure, Report};

/// A figure, the scenario and the key of its report that hold it, and its unit.
const FIGURES: [(&str, &str, &str, &str); 8] = [
    ("mesh.grid49.cold_start_s", "grid-49", "cold_start_s", "s"),
    (
        "mesh.grid100.radio_bytes_per_node_s",
        "grid-100",
        "radio_bytes_per_node_s",
        "B/s",
    ),
    (
        "mesh.grid100.p2p_bytes_per_node_s",
        "grid-100",
        "p2p_bytes_per_node_s",
        "B/s",
    ),
    (
        "mesh.mobile50.delivered_pct",
        "mobile-50",
        "delivered_pct",
        "%",
    ),
    ("mesh.ring.failover_down_s", "ring", "failover_down_s", "s"),
    (
        "mesh.ring.failover_silent_s",
        "ring",
        "failover_silent_s",
        "s",
    ),
    (
        "mesh.hostile10.delivered_pct",
        "hostile-10",
        "delivered_pct",
        "%",
    ),
    (
        "mesh.bytes_per_originator",
        "grid-100",
        "bytes_per_originator",
        "B",
    ),
];

/// Keys of a report and the most they may be.
type Limits = &'static [(&'static str, f64)];

/// Short scenarios, their options, and what must not be exceeded.
const LIMITS: [(&str, &[&str], Limits); 2] = [
    (
        "grid-49",
        &["--idle", "60"],
        &[
            ("cold_start_s", 2.0),
            ("p2p_cold_start_s", 2.0),
            ("radio_bytes_per_node_s", 50.0),
            ("p2p_bytes_per_node_s", 80.0),
            ("loops", 0.0),
        ],
    ),
    (
        "ring",
        &[],
        &[
            ("failover_down_s", 0.1),
            ("failover_silent_s", 0.5),
            ("loops", 0.0),
        ],
    ),
];

/// Runs short scenarios and compares them with their limits.
pub fn check(report: Report) -> Result<()> {
    for (scenario, options, limits) in LIMITS {
        report.progress(&format!("simulating {scenario}"));
        let said = simulate(scenario, options)?;
        for (key, limit) in limits {
            let value = number(&said, scenario, key)?;
            report.figure(&Figure::alone(
                format!("{scenario}.{key} (at most {limit})"),
                value,
                "",
            ));
            if value > *limit {
                return Err(LabError::answer(
                    format!("{scenario}: {key} is above {limit}"),
                    &said.to_string(),
                ));
            }
        }
    }
    Ok(())
}

fn number(said: &Value, scenario: &str, key: &str) -> Result<f64> {
    said[key].as_f64().ok_or_else(|| {
        LabError::answer(format!("warren-sim {scenario} ({key})"), &said.to_string())
    })
}

/// Runs the scenarios and prints their figures; `mesh.loops` is the sum over the honest ones.
pub fn run(report: Report) -> Result<()> {
    let mut scenarios: Vec<&str> = FIGURES.iter().map(|f| f.1).collect();
    scenarios.dedup();
    scenarios.sort_unstable();
    scenarios.dedup();
    let mut loops = 0.0;
    for scenario in scenarios {
        report.progress(&format!("simulating {scenario}"));
        let said = simulate(scenario, &[])?;
        for (name, _, key, unit) in FIGURES.iter().filter(|f| f.1 == scenario) {
            report.figure(&Figure::alone(*name, number(&said, scenario, key)?, unit));
        }
        if !scenario.starts_with("hostile") {
            loops += number(&said, scenario, "loops")?;
        }
    }
    report.figure(&Figure::alone("mesh.loops", loops, "loops"));
    Ok(())
}

/// What the simulator says of a scenario: the object on its last line.
fn simulate(scenario: &str, options: &[&str]) -> Result<Value> {
    let binary = binary()?;
    let arguments: Vec<&str> = [scenario, "--json"]
        .iter()
        .chain(options)
        .copied()
        .collect();
    let text = run_program(&binary.to_string_lossy(), &arguments)?;
    text.lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| LabError::answer(format!("warren-sim {scenario} --json"), &text))
}

/// The simulator: `WARREN_SIM`, or the one beside this program.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WARREN_SIM") {
        return Ok(PathBuf::from(path));
    }
    let this = std::env::current_exe().map_err(LabError::io("finding this program's own path"))?;
    let beside = this.with_file_name("warren-sim");
    if beside.is_file() {
        return Ok(beside);
    }
    Err(LabError::Unknown(format!(
        "{}: build it, or set WARREN_SIM to its path",
        beside.display()
    )))
}
