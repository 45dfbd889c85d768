//! The command line: subcommands, their options, and the sentences and tables people read.

mod init;
mod invite;
mod named;
mod options;
mod show;
mod site;
mod space;
mod table;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::{self, DEFAULT_FILE, Mode};
use crate::error::DaemonError;
use crate::transfer::incoming::Place;
use crate::transfer::{backup, restore};
use crate::{run, store};
use options::{Connection, path, text};
use show::Table;

/// What `--version` prints.
pub const VERSION: &str = concat!("warrend ", env!("CARGO_PKG_VERSION"));

const HELP: &str = "\
warrend: a mesh of routers, and spaces that live on them

Usage: warrend COMMAND [OPTIONS]

  init --dir DIR          make keys and a commented configuration in DIR
  init --config FILE      make the configuration FILE, and keys in /var/lib/warren
       [--name NAME] [--interface NAME]... [--userspace]
  run --config FILE       run until stopped
  check --config FILE     say whether a configuration is right
  config-from-uci FILE    print the configuration that an OpenWrt file stands for

  status                  this node in a few figures
  neighbours              who is near, and how good the links are
  routes                  who can be reached, and over whom
  spaces | sites          spaces, or published sites, of this box and of others

  space create TITLE      make a space and serve it at once
       [--visible] [--about TEXT] [--port N] [--owner HEX|npub1...]
  space list | show NAME  the spaces of this box, or one, with their settings
  space set NAME          change settings [--name TEXT] [--about TEXT] [--visible yes|no] [--quota MIB]
                          [--closed yes|no] [--picture FILE] [--files-quota MIB] [--member-quota MIB]
                          [--owner HEX|npub1...]; --visible no changes its address and needs --yes
  space invite NAME       make an invitation, as link and as picture to scan
       [--uses N] [--expires DAYS] [--role ID] [--channel ID]
  space list-invites NAME | revoke-invite NAME ID
                          the invitations of a space; take one back
  space remove NAME --yes delete a space from this box for good
  space export NAME FILE  put a space with its keys into one file; with --move it is closed here
  space import FILE       take in a space on this box

  site publish DIR        publish a copy of a folder [--name TITLE] [--visible yes|no] [--port N]
  site update NAME        publish it anew [--from DIR] [--name TITLE] [--visible yes|no] [--settings-only];
                          --visible no changes its address and needs --yes
  site list | remove NAME the sites of this box; remove one

  backup DIR              bring the backup of this box in DIR up to date [--verify]: look for damaged pieces, too
  restore DIR             put a backup onto this box; the daemon must not run

       all of these: [--json] [--control SOCKET | --config FILE]

  --version, --help
";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Task {
    Print(&'static str),
    Init(init::Options),
    Run(PathBuf),
    Check(PathBuf),
    FromUci(PathBuf),
    Show(Table, show::Options),
    Space(Box<space::Task>),
    Site(Box<site::Task>),
    Backup(PathBuf, bool, Connection),
    Restore(PathBuf, PathBuf),
}

/// Does what the arguments say; the process's exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let result = parse(arguments).and_then(perform);
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("warrend: {error}");
            if matches!(error, DaemonError::Usage(_)) {
                2
            } else {
                1
            }
        }
    }
}

fn perform(task: Task) -> Result<(), DaemonError> {
    match task {
        Task::Print(text) => print(text),
        Task::Init(options) => print(&init::init(&options)?),
        Task::Run(file) => run::run(&file),
        Task::Check(file) => {
            let (config, text) = config::load_with_text(&file)?;
            config::check_named(&file, &text, &config)?;
            print(&format!("{}: right\n", file.display()))
        }
        Task::FromUci(file) => {
            let bytes =
                store::read(&file, config::FILE_MAX)?.ok_or_else(|| DaemonError::missing(&file))?;
            let toml = config::uci::convert(&file, &String::from_utf8_lossy(&bytes))?;
            // What is printed must be what `run` takes.
            config::parse(&file.with_extension("toml"), &toml)?;
            print(&toml)
        }
        Task::Show(command, options) => print(&show::show(command, &options)?),
        Task::Space(task) => print(&task.perform()?),
        Task::Site(task) => print(&task.perform()?),
        Task::Backup(directory, verify, connection) => {
            let done = backup::backup(&connection.socket()?, &directory, verify)?;
            print(&format!(
                "The home, {} spaces and {} sites ({} messages and more, {} files) are in {}; {} pieces were new.\n\
                 It holds keys: keep it from others.\n",
                done.spaces,
                done.sites,
                done.events,
                done.files,
                directory.display(),
                done.written
            ))?;
            not_all("backed up", &done.failed)
        }
        Task::Restore(directory, config) => {
            let configured = restore::restore_config(&config, &directory)?;
            let place = Place::at_rest(&config).inspect_err(|_| {
                if configured.is_some() {
                    let _ = std::fs::remove_file(&config); // as if nothing had been done
                }
            })?;
            let told = restore::restore(&place, &directory)?;
            let mut lines: Vec<String> = configured.into_iter().collect();
            lines.extend(told.done);
            lines.push(format!(
                "The state directory is {}.",
                place.state().display()
            ));
            print(&(lines.join("\n") + "\n"))?;
            not_all("restored", &told.missing)
        }
    }
}

/// An error that names what was not done.
fn not_all(what: &str, missing: &[String]) -> Result<(), DaemonError> {
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join("\n  ");
    Err(DaemonError::NotAll(format!("NOT {what}:\n  {missing}")))
}

/// Writes to standard output; a reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), DaemonError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(DaemonError::system("standard output", error))
        }
        _ => Ok(()),
    }
}

fn usage(error: impl ToString) -> DaemonError {
    DaemonError::Usage(error.to_string())
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Task, DaemonError> {
    let mut parser = Parser::from_args(arguments);
    let command = match parser.next().map_err(usage)? {
        None | Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Task::Print(HELP)),
        Some(Arg::Long("version") | Arg::Short('V')) => {
            return Ok(Task::Print(concat!(
                "warrend ",
                env!("CARGO_PKG_VERSION"),
                "\n"
            )));
        }
        Some(Arg::Value(command)) => command.string().map_err(usage)?,
        Some(other) => return Err(usage(other.unexpected())),
    };
    if command == "help" {
        return Ok(Task::Print(HELP));
    }
    if command == "space" {
        let task = space::parse(&mut parser)?;
        return Ok(task.map_or(Task::Print(HELP), |task| Task::Space(Box::new(task))));
    }
    if command == "site" {
        let task = site::parse(&mut parser)?;
        return Ok(task.map_or(Task::Print(HELP), |task| Task::Site(Box::new(task))));
    }
    let show = match command.as_str() {
        "status" => Some(Table::Status),
        "neighbours" => Some(Table::Neighbours),
        "routes" => Some(Table::Routes),
        "spaces" => Some(Table::Spaces),
        "sites" => Some(Table::Sites),
        _ => None,
    };
    let mut options = Options::default();
    while let Some(argument) = parser.next().map_err(usage)? {
        let known = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Task::Print(HELP)),
            Arg::Long("config") => {
                options.config = Some(path(&mut parser)?);
                show.is_some()
                    || matches!(
                        command.as_str(),
                        "init" | "run" | "check" | "backup" | "restore"
                    )
            }
            Arg::Long("control") => {
                options.control = Some(path(&mut parser)?);
                show.is_some() || command == "backup"
            }
            Arg::Long("json") => {
                options.json = true;
                show.is_some()
            }
            Arg::Long("dir") => {
                options.dir = Some(path(&mut parser)?);
                command == "init"
            }
            Arg::Long("name") => {
                options.name = Some(text(&mut parser)?);
                command == "init"
            }
            Arg::Long("interface") => {
                options.interfaces.push(text(&mut parser)?);
                command == "init"
            }
            Arg::Long("verify") => {
                options.verify = true;
                command == "backup"
            }
            Arg::Long("userspace") => {
                options.userspace = true;
                command == "init"
            }
            Arg::Value(value)
                if options.file.is_none()
                    && matches!(command.as_str(), "config-from-uci" | "backup" | "restore") =>
            {
                options.file = Some(PathBuf::from(value));
                true
            }
            other => return Err(usage(other.unexpected())),
        };
        if !known {
            return Err(usage(format!("`warrend {command}` has no such option")));
        }
    }
    options.into_task(&command, show)
}

#[derive(Default)]
struct Options {
    config: Option<PathBuf>,
    control: Option<PathBuf>,
    dir: Option<PathBuf>,
    file: Option<PathBuf>,
    name: Option<String>,
    interfaces: Vec<String>,
    userspace: bool,
    verify: bool,
    json: bool,
}

impl Options {
    fn into_task(self, command: &str, show: Option<Table>) -> Result<Task, DaemonError> {
        let file = || {
            self.config
                .clone()
                .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE))
        };
        if let Some(command) = show {
            let connection = Connection {
                control: self.control,
                config: self.config,
            };
            let socket = connection.socket()?;
            let json = self.json;
            return Ok(Task::Show(command, show::Options { socket, json }));
        }
        Ok(match command {
            "init" => Task::Init(init::Options {
                place: match (self.dir, self.config) {
                    (Some(dir), None) => init::Place::Dir(dir),
                    (None, Some(file)) => init::Place::Config(file),
                    _ => {
                        return Err(usage(
                            "`warrend init` needs either --dir DIR or --config FILE",
                        ));
                    }
                },
                name: self.name,
                interfaces: self.interfaces,
                mode: if self.userspace {
                    Mode::Userspace
                } else {
                    Mode::Tun
                },
            }),
            "run" => Task::Run(file()),
            "check" => Task::Check(file()),
            "backup" => Task::Backup(
                self.file
                    .ok_or_else(|| usage("`warrend backup` needs a directory"))?,
                self.verify,
                Connection {
                    control: self.control,
                    config: self.config,
                },
            ),
            "restore" => Task::Restore(
                self.file
                    .clone()
                    .ok_or_else(|| usage("`warrend restore` needs a directory"))?,
                file(),
            ),
            "config-from-uci" => Task::FromUci(
                self.file
                    .ok_or_else(|| usage("`warrend config-from-uci` needs a file"))?,
            ),
            other => return Err(usage(format!("there is no command {other:?}"))),
        })
    }
}
