//! `warrend` in a lab: has it make its keys, writes its configuration, starts it, and asks it over its control socket.
//! Knows only what the daemon's documentation promises.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv6Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::run;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::overlay::Running;
use crate::process::Process;
use crate::topology::NodeIndex;

/// How long a daemon may take to open its control socket.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to answer, and how much it may say.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
const ANSWER_MAX: u64 = 4 << 20;

/// The binary: `WARREND`, or the one beside this program, or the one of the build folder that a test runs in.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WARREND") {
        return Ok(PathBuf::from(path));
    }
    let this = std::env::current_exe().map_err(LabError::io("finding this program's own path"))?;
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("warrend"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            LabError::Unknown(format!(
                "warrend beside {}: build it, or set WARREND to its path",
                this.display()
            ))
        })
}

/// What one node's daemon is asked to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ports that the island may reach, as in `network.open`.
    pub open: Vec<String>,
    /// Name of a space that it hosts.
    pub space: Option<String>,
    /// User to drop to.
    pub user: Option<String>,
    /// Addresses beside its unix socket on which it serves its page.
    pub web: Vec<String>,
    /// Instead of TUN and interfaces: userspace networking, with UDP on this address.
    pub userspace: Option<String>,
    /// Without AES, whatever the processor has.
    pub no_aes: bool,
    /// UDP peers, with `userspace`.
    pub peers: Vec<String>,
}

/// One node's daemon: its files, and once started its process.
#[derive(Debug)]
pub struct Warrend {
    /// The node's name.
    pub name: String,
    folder: PathBuf,
    namespace: Option<String>,
    process: Option<Process>,
}

/// A string in TOML's basic notation. JSON's is the same for everything that a lab writes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn list(texts: &[String]) -> String {
    format!(
        "[{}]",
        texts
            .iter()
            .map(|t| quoted(t))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

impl Warrend {
    /// Prepares the daemon of a lab's node: configuration and keys.
    pub fn prepare(lab: &Lab, node: NodeIndex, options: &Options) -> Result<Self> {
        let name = lab.topology().names[node].clone();
        let interfaces: Vec<String> = lab
            .topology()
            .neighbours(node)
            .into_iter()
            .map(|n| lab.topology().interface(n))
            .collect();
        let folder = lab.folder().join(&name);
        Self::prepare_in(
            &folder,
            &name,
            Some(lab.namespace(node)),
            &interfaces,
            options,
        )
    }

    /// Prepares a daemon in a folder of its own.
    pub fn prepare_in(
        folder: &Path,
        name: &str,
        namespace: Option<String>,
        interfaces: &[String],
        options: &Options,
    ) -> Result<Self> {
        let daemon = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            namespace,
            process: None,
        };
        let mut arguments = vec![
            "init",
            "--dir",
            daemon.folder.to_str().unwrap_or(""),
            "--name",
            name,
        ];
        if options.userspace.is_some() {
            arguments.push("--userspace");
        }
        run(&binary()?.to_string_lossy(), &arguments)?;
        let config = daemon.configuration(interfaces, options);
        fs::write(daemon.config(), config).map_err(LabError::io(format!(
            "writing {}",
            daemon.config().display()
        )))?;
        Ok(daemon)
    }

    /// A daemon that somebody else has prepared and started, to ask it.
    pub fn find(folder: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            namespace: None,
            process: None,
        }
    }

    fn configuration(&self, interfaces: &[String], options: &Options) -> String {
        let mut text = format!("version = 1\nname = {}\n", quoted(&self.name));
        text += &format!("state = {}\n", quoted(&self.folder.to_string_lossy()));
        if let Some(user) = &options.user {
            text += &format!("user = {}\n", quoted(user));
        }
        text += "\n[log]\nlevel = \"info\"\n";
        if options.no_aes {
            text += "\n[mesh]\naes = \"never\"\n";
        }
        for interface in interfaces {
            text += &format!("\n[[mesh.interface]]\nname = {}\n", quoted(interface));
        }
        if let Some(listen) = &options.userspace {
            text += &format!(
                "\n[mesh.udp]\nlisten = {}\npeers = {}\n",
                quoted(listen),
                list(&options.peers)
            );
        }
        let mode = if options.userspace.is_some() {
            "userspace"
        } else {
            "tun"
        };
        text += &format!(
            "\n[network]\nmode = \"{mode}\"\nopen = {}\n",
            list(&options.open)
        );
        if options.userspace.is_none() {
            text += "tun = \"warren0\"\n";
        }
        text += &format!(
            "\n[control]\nsocket = {}\n",
            quoted(&self.control_socket().to_string_lossy())
        );
        let mut web = vec![format!("unix:{}", self.web_socket().display())];
        web.extend(options.web.iter().cloned());
        text += &format!("\n[web]\nlisten = {}\n", list(&web));
        if let Some(space) = &options.space {
            text += &format!(
                "\n[[space]]\nid = \"garden\"\nname = {}\nvisible = true\nport = 7447\n",
                quoted(space)
            );
        }
        text
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("warren.toml")
    }

    /// Its control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// The unix socket on which it serves its page.
    pub fn web_socket(&self) -> PathBuf {
        web_socket(&self.folder)
    }

    /// Its log file.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts the daemon. Does not wait.
    pub fn start(&mut self) -> Result<()> {
        let config = self.config();
        self.process = Some(Process::start(
            &format!("warrend on {}", self.name),
            self.namespace.as_deref(),
            &binary()?,
            &["run", "--config", &config.to_string_lossy()],
            &self.log_file(),
        )?);
        Ok(())
    }

    /// Waits until it answers on its control socket and returns its address.
    pub fn wait_for_address(&mut self) -> Result<Ipv6Addr> {
        self.wait_for_address_within(START_PATIENCE)
    }

    /// The same with other patience: a large space takes a while to be read.
    pub fn wait_for_address_within(&mut self, patience: Duration) -> Result<Ipv6Addr> {
        let begin = Instant::now();
        loop {
            if let Some(process) = &mut self.process {
                process.check()?;
            }
            if self.control_socket().exists()
                && let Ok(status) = self.ask("status")
            {
                let text = status["address"].as_str().unwrap_or("");
                return text
                    .parse()
                    .map_err(|_| LabError::answer("warrend status", &status.to_string()));
            }
            if begin.elapsed() > patience {
                return Err(LabError::Timeout {
                    what: format!("warrend on {} to answer", self.name),
                    after: patience,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the daemon answers to a command: one JSON request and one JSON answer, a line each.
    pub fn ask(&self, command: &str) -> Result<Value> {
        self.ask_within(command, ANSWER_PATIENCE)
    }

    /// The same with less patience.
    pub fn ask_within(&self, command: &str, patience: Duration) -> Result<Value> {
        let socket = self.control_socket();
        let trouble = || LabError::io(format!("asking {} over {}", self.name, socket.display()));
        let mut stream = UnixStream::connect(&socket).map_err(trouble())?;
        stream.set_read_timeout(Some(patience)).map_err(trouble())?;
        let request = json!({ "command": command }).to_string() + "\n";
        stream.write_all(request.as_bytes()).map_err(trouble())?;
        let mut line = String::new();
        BufReader::new(stream)
            .take(ANSWER_MAX)
            .read_line(&mut line)
            .map_err(trouble())?;
        let unexpected = || LabError::answer(format!("{} asked for {command}", self.name), &line);
        let answer: Value = serde_json::from_str(&line).map_err(|_| unexpected())?;
        answer.get("ok").cloned().ok_or_else(unexpected)
    }

    /// Waits until what the daemon answers to a command is as wanted.
    pub fn wait_for(
        &self,
        command: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let begin = Instant::now();
        loop {
            let answer = self.ask(command);
            if let Ok(value) = &answer
                && wanted(value)
            {
                return answer;
            }
            if begin.elapsed() > limit {
                let last = answer.map_or_else(|e| e.to_string(), |v| v.to_string());
                let last: String = last.chars().take(500).collect();
                return Err(LabError::Timeout {
                    what: format!("{what} on {} (it says of {command}: {last})", self.name),
                    after: limit,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the daemon knows a space of this name; its service name, 52 characters.
    pub fn service(&self, title: &str, limit: Duration) -> Result<String> {
        let find = |answer: &Value| -> Option<String> {
            let spaces = answer.as_array()?;
            let space = spaces.iter().find(|space| space["title"] == title)?;
            space["service"].as_str().map(str::to_owned)
        };
        let answer = self.wait_for("spaces", "the space", limit, |answer| {
            find(answer).is_some()
        })?;
        find(&answer).ok_or_else(|| LabError::answer("spaces", &answer.to_string()))
    }

    /// The body of `GET PATH` from the daemon's web server.
    pub fn get(&self, path: &str, accept: &str) -> Result<String> {
        let socket = self.web_socket();
        let trouble = || {
            LabError::io(format!(
                "GET {path} of {} over {}",
                self.name,
                socket.display()
            ))
        };
        let mut stream = UnixStream::connect(&socket).map_err(trouble())?;
        stream
            .set_read_timeout(Some(ANSWER_PATIENCE))
            .map_err(trouble())?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(trouble())?;
        let mut bytes = Vec::new();
        stream
            .take(ANSWER_MAX)
            .read_to_end(&mut bytes)
            .map_err(trouble())?;
        let text = String::from_utf8_lossy(&bytes);
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
            _ => Err(LabError::answer(
                format!("GET {path} of {}", self.name),
                &text,
            )),
        }
    }

    /// The running daemon.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process
            .as_mut()
            .ok_or_else(|| LabError::Unknown(format!("running warrend on {}", self.name)))
    }

    /// The running daemon, which from now on is the caller's to end.
    pub fn take_process(&mut self) -> Result<Process> {
        self.process
            .take()
            .ok_or_else(|| LabError::Unknown(format!("running warrend on {}", self.name)))
    }

    /// An error if it has ended by itself. One that was ended on purpose is in order.
    pub fn check(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Gives up the daemon's files and keeps the process.
    fn into_process(self) -> Result<Process> {
        self.process
            .ok_or_else(|| LabError::Unknown(format!("running warrend on {}", self.name)))
    }
}

/// The unix socket of the page of the daemon whose files are in a folder.
pub fn web_socket(folder: &Path) -> PathBuf {
    folder.join("http.sock")
}

/// Prepares and starts a daemon on every node, each with the options that `options` gives for it. Keys are made before the
/// first one starts, so that they start together.
pub fn start_with(
    lab: &Lab,
    options: impl Fn(NodeIndex) -> Options,
) -> Result<(Vec<Warrend>, Vec<Ipv6Addr>)> {
    let mut daemons = (0..lab.topology().len())
        .map(|node| Warrend::prepare(lab, node, &options(node)))
        .collect::<Result<Vec<_>>>()?;
    for daemon in &mut daemons {
        daemon.start()?;
    }
    let addresses = daemons
        .iter_mut()
        .map(Warrend::wait_for_address)
        .collect::<Result<Vec<_>>>()?;
    Ok((daemons, addresses))
}

/// Starts it on every node.
pub fn start_everywhere(lab: &Lab, open: &[&str], no_aes: bool) -> Result<Running> {
    let options = Options {
        open: open.iter().map(|o| (*o).to_owned()).collect(),
        no_aes,
        ..Options::default()
    };
    let (daemons, addresses) = start_with(lab, |_| options.clone())?;
    Ok(Running {
        daemons: daemons
            .into_iter()
            .map(Warrend::into_process)
            .collect::<Result<Vec<_>>>()?,
        addresses,
    })
}
