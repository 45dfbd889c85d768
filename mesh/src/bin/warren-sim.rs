//! `warren-sim`: runs a scenario of the simulator, or a map from elsewhere, and prints what came out.

use std::process::ExitCode;

use serde_json::Value;
use warren_mesh::sim::foreign;
use warren_mesh::sim::scenario::{self, Options, SCENARIOS};

const USAGE: &str = "usage: warren-sim SCENARIO [options]
       warren-sim --topology FILE.json [options]

  --json          one JSON object and nothing else
  --seed N        another run (default 1); same seed, same run
  --loss P        share of frames lost on every link, 0 to 0.9 (default 0)
  --idle SECONDS  how long idle traffic is counted (default 600)
  --reorder       frames may overtake each other

Scenarios:";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("warren-sim: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let mut options = Options::default();
    let mut name = None;
    let mut map = None;
    let mut as_json = false;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--json" => as_json = true,
            "--reorder" => options.reorder = true,
            "--seed" => options.seed = number(&argument, &value()?)?,
            "--idle" => {
                options.idle_seconds = number(&argument, &value()?)?;
                if options.idle_seconds == 0 {
                    return Err("--idle has to be at least 1".into());
                }
            }
            "--loss" => {
                options.loss = number(&argument, &value()?)?;
                if !(0.0..=0.9).contains(&options.loss) {
                    return Err("--loss is a share from 0 to 0.9".into());
                }
            }
            "--topology" => map = Some(value()?),
            "--help" | "-h" => {
                println!("{USAGE}");
                for (name, shows) in SCENARIOS {
                    println!("  {name:14} {shows}");
                }
                return Ok(());
            }
            "--version" => {
                println!("warren-sim {}", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            other if other.starts_with('-') => {
                return Err(format!("unknown option {other}: see warren-sim --help"));
            }
            other => name = Some(other.to_owned()),
        }
    }
    let report = match (name, map) {
        (Some(name), None) => scenario::run(&name, options)
            .ok_or_else(|| format!("no scenario {name}: see warren-sim --help"))?,
        (None, Some(path)) => {
            let text = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
            let topology = foreign::parse(&text).map_err(|error| format!("{path}: {error}"))?;
            scenario::run_map(&topology, options)
        }
        (None, None) => return Err("which scenario? see warren-sim --help".into()),
        (Some(_), Some(_)) => return Err("either a scenario or --topology, not both".into()),
    };
    print(&report, as_json);
    Ok(())
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{option} {value}: not a number it takes"))
}

fn print(report: &Value, as_json: bool) {
    if as_json {
        println!("{report}");
        return;
    }
    for (key, value) in report.as_object().into_iter().flatten() {
        println!("{key:26} {value}");
    }
}
