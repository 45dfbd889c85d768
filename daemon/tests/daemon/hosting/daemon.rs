//! Daemons of the test, and the command line that talks to them.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.local_addr().unwrap().port()
}

pub fn free_tcp_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Asks until it is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// A box: its directory, and its daemon while that runs. It ends with the test, however that ends.
pub struct Router {
    pub dir: PathBuf,
    pub web: u16,
    child: Option<Child>,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Router {
    /// A new box with this text added to its configuration, which is running.
    pub fn start(dir: &Path, name: &str, more: &str) -> Self {
        let mut router = Self::new(dir, name, more);
        router.run();
        router
    }

    /// The same, not running yet.
    pub fn new(dir: &Path, name: &str, more: &str) -> Self {
        std::fs::create_dir(dir).unwrap();
        let web = free_tcp_port();
        let config = format!(
            "version = 1\nname = \"{name}\"\nstate = \"{dir}\"\n\
             [network]\nmode = \"userspace\"\n\
             [control]\nsocket = \"{dir}/control.sock\"\n\
             [web]\nlisten = [\"127.0.0.1:{web}\"]\n{more}",
            dir = dir.display()
        );
        std::fs::write(dir.join("warren.toml"), config).unwrap();
        Self {
            dir: dir.to_path_buf(),
            web,
            child: None,
        }
    }

    pub fn run(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warrend"));
        command.arg("run").arg("--config").arg(self.config());
        self.child = Some(command.stdin(Stdio::null()).spawn().unwrap());
        wait_until("the daemon answers", || {
            self.try_command(&["status"]).status.success()
        });
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("warren.toml")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it as `init` would.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// `warrend WORDS --config ...`, ready to be started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warrend"));
        command.args(words).arg("--config").arg(self.config());
        command.stdin(Stdio::null());
        command
    }

    pub fn try_command(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// What a command that works prints.
    pub fn say(&self, words: &[&str]) -> String {
        let output = self.try_command(words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, for programs.
    pub fn ask(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        serde_json::from_str(&self.say(&words)).unwrap()
    }

    /// Why a command does not work.
    pub fn refused(&self, words: &[&str]) -> String {
        let output = self.try_command(words);
        assert!(!output.status.success(), "{words:?} was not refused");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Configuration of two boxes that are linked.
pub fn links() -> (String, String) {
    let (a, b) = (free_udp_port(), free_udp_port());
    let one =
        |own, other| format!("[mesh.udp]\nlisten = \"[::1]:{own}\"\npeers = [\"[::1]:{other}\"]\n");
    (one(a, b), one(b, a))
}

/// Configuration of so many boxes in a line, each linked to the next.
pub fn line(count: usize) -> Vec<String> {
    let ports: Vec<u16> = (0..count).map(|_| free_udp_port()).collect();
    let one = |n: usize| {
        let before = n.checked_sub(1).and_then(|before| ports.get(before));
        let peers: Vec<String> = before
            .into_iter()
            .chain(ports.get(n + 1))
            .map(|port| format!("\"[::1]:{port}\""))
            .collect();
        format!(
            "[mesh.udp]\nlisten = \"[::1]:{}\"\npeers = [{}]\n",
            ports[n],
            peers.join(", ")
        )
    };
    (0..count).map(one).collect()
}
