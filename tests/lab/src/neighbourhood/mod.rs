//! The demonstration that `scripts/run` starts: five routers in a line with a shortcut, a space on the last one, a table that
//! keeps itself up to date, and the pages of two homes on 127.0.0.1. Runs until it is asked to stop.

mod control;
mod home;
mod page;
mod stage;
mod table;

use std::io::{IsTerminal, Write};
use std::net::Ipv6Addr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::command::spawn_error;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::overlay::warrend::{self, Options, Warrend, start_with};
use crate::ping::Pinger;
use crate::topology::Topology;
use stage::Stage;

pub use control::{cut, heal, ping, shell};
pub use home::run as run_home;

/// Which node hosts the space.
const HOST: usize = 4;
/// What it is called.
const SPACE: &str = "Garden club";
/// Homes whose pages are shown, and the port for each on 127.0.0.1.
const PAGES: [(usize, u16); 2] = [(0, 8480), (2, 8481)];
/// How long the neighbourhood may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the table is drawn anew.
const EVERY: Duration = Duration::from_millis(1500);

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(LabError::io("starting the runtime"))
}

/// Starts the neighbourhood, waits until everybody reaches everybody, runs a program, and takes everything down. What the
/// program finds in its environment stands in the README of the lab.
pub fn with(words: &[&str]) -> Result<ExitStatus> {
    runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let (lab, mut daemons, addresses) = start()?;
        let pinger = Pinger::new(&lab, &addresses)?;
        pinger.reach_all(Instant::now(), PATIENCE)?;
        let stage = Stage::open(&lab)?;
        let program = words.first().copied().unwrap_or("true");
        let mut command = tokio::process::Command::new(program);
        command.args(words.iter().skip(1)).kill_on_drop(true);
        command.env("WARREND", warrend::binary()?);
        command.env("WARREN_STAGE", stage.path());
        if let Ok(this) = lab_program() {
            command.env("WARREN_LAB", this);
        }
        for (node, daemon) in daemons.iter().enumerate() {
            let port = page::forward(0, daemon.web_socket()).await?;
            let name = &lab.topology().names[node];
            command.env(format!("WARREN_CONFIG_{name}"), daemon.config());
            command.env(format!("WARREN_NAMESPACE_{name}"), lab.namespace(node));
            command.env(format!("WARREN_ADDRESS_{name}"), addresses[node].to_string());
            let home = format!("127.0.0.1:{port}");
            command.env(format!("WARREN_HOME_{name}"), format!("http://{home}"));
            if PAGES.iter().any(|(shown, _)| *shown == node) {
                let path = format!("{home}/s/{}/", daemon.service(SPACE, PATIENCE)?);
                command.env(format!("WARREN_{name}"), format!("ws://{path}"));
                command.env(format!("WARREN_PAGE_{name}"), format!("http://{path}"));
            }
        }
        let mut child = command
            .spawn()
            .map_err(|e| spawn_error(program, &words.join(" "), e))?;
        let status = loop {
            tokio::select! {
                status = child.wait() => {
                    break status.map_err(LabError::io(format!("waiting for {program}")))?;
                }
                wish = stage.next() => stage::serve(wish?, &lab, &mut daemons).await,
                () = stop.wait() => {
                    return Err(LabError::Unknown(format!("result of {program}: it was interrupted")));
                }
            }
        };
        for daemon in &mut daemons {
            daemon.check()?;
        }
        stop_all(&mut daemons)?;
        Ok(status)
    })
}

/// The program `warren-lab`: this one, or the one of the build folder that a test runs in.
fn lab_program() -> Result<std::path::PathBuf> {
    let this = std::env::current_exe().map_err(LabError::io("finding this program's own path"))?;
    let mut built = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("warren-lab"));
    let found = built.find(|path| path.is_file());
    Ok(found.unwrap_or(this))
}

/// The lab, its daemons and their addresses.
fn start() -> Result<(Lab, Vec<Warrend>, Vec<Ipv6Addr>)> {
    let lab = Lab::new(Topology::neighbourhood())?;
    control::remember(&lab)?;
    let (daemons, addresses) = start_with(&lab, |node| Options {
        open: vec!["tcp/5201".into(), "udp/5201".into()],
        space: (node == HOST).then(|| SPACE.to_owned()),
        ..Options::default()
    })?;
    Ok((lab, daemons, addresses))
}

/// Starts the neighbourhood and keeps it until SIGINT or SIGTERM.
pub fn run() -> Result<()> {
    let ended = runtime()?.block_on(show());
    // Whoever looks at the terminal sees that the long silence was tidying up; nobody may be looking.
    let _ = writeln!(std::io::stdout(), "stopped; everything removed");
    ended
}

async fn show() -> Result<()> {
    let mut stop = Stop::listen()?;
    println!("starting five routers, each in a network namespace of its own ...");
    let (lab, mut daemons, addresses) = start()?;
    for (node, port) in PAGES {
        page::forward(port, daemons[node].web_socket()).await?;
    }
    let head = head(&lab);
    let terminal = std::io::stdout().is_terminal();
    let mut shown = String::new();
    let mut ended = [false; 5];
    loop {
        let table = table::draw(&daemons, &addresses);
        let text = if terminal {
            // Home, the text with each line's rest erased, then everything below erased.
            format!(
                "\x1b[H{}\x1b[J",
                format!("{head}\n{table}").replace('\n', "\x1b[K\n")
            )
        } else if shown.is_empty() {
            format!("{head}\n{table}\n")
        } else if table != shown {
            format!("{table}\n")
        } else {
            String::new()
        };
        let mut out = std::io::stdout().lock();
        // A reader that has gone away ends the demonstration like Ctrl-C.
        if out
            .write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return stop_all(&mut daemons);
        }
        drop(out);
        shown = table;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.wait() => break,
        }
        // One that has ended is shown as such; the others find ways around it, which is worth seeing.
        for (daemon, said) in daemons.iter_mut().zip(&mut ended) {
            if !*said && let Err(error) = daemon.process()?.check() {
                *said = true;
                eprintln!("\n{error}");
            }
        }
    }
    let _ = writeln!(std::io::stdout(), "stopping ...");
    stop_all(&mut daemons)
}

fn stop_all(daemons: &mut [Warrend]) -> Result<()> {
    for daemon in daemons {
        if let Ok(mut process) = daemon.take_process() {
            process.stop(Duration::from_secs(5))?;
        }
    }
    Ok(())
}

/// What stands above the table: how to look at it and how to break it.
fn head(lab: &Lab) -> String {
    let names = &lab.topology().names;
    let mut text = String::from(
        "Warren: a neighbourhood of five routers on this machine, linked as if by radio\n\n    A --- B --- C --- D --- E\n          \\___________/\n\n",
    );
    for (node, port) in PAGES {
        text += &format!(
            "the page of {}'s home: http://127.0.0.1:{port}/   (the space \"{SPACE}\" lives on {})\n",
            names[node], names[HOST]
        );
    }
    text += "\nin another terminal:\n  scripts/run cut B C         both ends see the link go down (add `silent`: nobody is told)\n  scripts/run heal B C\n  scripts/run ping A E\n  scripts/run shell A         a shell inside A: ping, curl and iperf3 to the others' addresses (port 5201 is open)\n  Ctrl-C here stops and removes everything\n";
    text
}

/// The two signals that ask a program to end.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).map_err(LabError::io("listening for signals"));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Name of the node with an address, or the address.
fn name_of(daemons: &[Warrend], addresses: &[Ipv6Addr], address: &str) -> String {
    address
        .parse::<Ipv6Addr>()
        .ok()
        .and_then(|a| addresses.iter().position(|b| *b == a))
        .map_or_else(|| address.to_owned(), |index| daemons[index].name.clone())
}
