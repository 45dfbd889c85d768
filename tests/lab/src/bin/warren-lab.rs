//! `warren-lab`: the program behind `scripts/run` and `scripts/bench`. Reads its arguments and calls the library.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use warren_lab::figures::Report;
use warren_lab::{Cut, LabError, bench, namespace, neighbourhood, pair, reaper};

const HELP: &str = "\
warren-lab: neighbourhoods of warrend in network namespaces of this machine

  warren-lab neighbourhood       five routers, until Ctrl-C (needs root)
  warren-lab home                one home without root, until Ctrl-C
  warren-lab cut A B [silent]    cut a link of the running neighbourhood
  warren-lab heal A B            heal it
  warren-lab ping A B            ping from one router to another
  warren-lab shell A             a shell inside a router
  warren-lab pair                two homes in user space on loopback, as a check
  warren-lab simulated           short simulated meshes, compared with their limits
  warren-lab with-neighbourhood PROGRAM ARGUMENTS...
                                 run a program while a neighbourhood is up
  warren-lab bench forward|relay|mesh|netns|profile|router [--json] [--packages FOLDER]
  warren-lab bench space [--quick] [--json] [--data FOLDER] [--peers FOLDER]
  warren-lab bench home [--json] [--data FOLDER]
  warren-lab clean               remove what killed labs have left
";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(Failure::Usage(text)) => {
            eprintln!("{text}\n\n{HELP}");
            ExitCode::from(2)
        }
        Err(Failure::Lab(error)) => {
            eprintln!("warren-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Usage(String),
    Lab(LabError),
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

fn run() -> Result<ExitCode, Failure> {
    let mut words = Vec::new();
    let mut json = false;
    let mut packages = PathBuf::from("target/package");
    let mut plan = bench::space::Plan {
        data: PathBuf::from("target/bench"),
        peers: PathBuf::from("target/peers/bin"),
        quick: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("json") => json = true,
            Long("packages") => packages = parser.value()?.into(),
            Long("data") => plan.data = parser.value()?.into(),
            Long("peers") => plan.peers = parser.value()?.into(),
            Long("quick") => plan.quick = true,
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            Value(value) => {
                words.push(value.string()?);
                // What follows belongs to the program.
                if words.len() == 1 && words[0] == "with-neighbourhood" {
                    for word in parser.raw_args()? {
                        words.push(word.string()?);
                    }
                }
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let report = Report { json };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["neighbourhood"] if namespace::are_possible() => neighbourhood::run()?,
        ["neighbourhood"] => return Err(LabError::NotRoot.into()),
        ["home"] => neighbourhood::run_home()?,
        ["cut", a, b] => neighbourhood::cut(a, b, Cut::Announced)?,
        ["cut", a, b, "silent"] => neighbourhood::cut(a, b, Cut::Silent)?,
        ["heal", a, b] => neighbourhood::heal(a, b)?,
        ["ping", a, b] => neighbourhood::ping(a, b)?,
        ["shell", a] => neighbourhood::shell(a)?,
        ["pair"] => println!("{}", pair::run()?),
        ["with-neighbourhood", ref program @ ..] if !program.is_empty() => {
            let status = neighbourhood::with(program)?;
            if status.code().is_none() {
                eprintln!("{}: {status}", program[0]); // killed: it could not say so itself
            }
            return Ok(status
                .code()
                .and_then(|c| u8::try_from(c).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from));
        }
        ["simulated"] => bench::simulated::check(report)?,
        ["bench", "forward"] => bench::forward::run(report)?,
        ["bench", "relay"] => bench::forward::relay(report)?,
        ["bench", "mesh"] => bench::mesh::run(report)?,
        ["bench", "netns"] => bench::mesh::namespaces(report)?,
        ["bench", "profile"] => bench::profile::measure(report)?,
        ["bench", "space"] => bench::space::run(report, &plan)?,
        ["bench", "home"] => bench::home::run(report, &plan.data)?,
        ["bench", "router"] => bench::router::run(report, &packages)?,
        ["clean"] => println!("{} labs removed", reaper::remove_leftovers()?),
        _ => return Err(Failure::Usage("which of these?".into())),
    }
    Ok(ExitCode::SUCCESS)
}
