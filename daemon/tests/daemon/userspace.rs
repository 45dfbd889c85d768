//! Two daemons without TUN and without root, linked by `udp` on loopback: they become neighbours, one finds the other's
//! space and the page opens a stream to it through the mesh.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A daemon that ends with the test, however that ends.
struct Daemon {
    child: Child,
    dir: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_warrend"))
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("[::1]:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start(dir: &Path, name: &str, udp: u16, peer: u16, web: u16, space: bool) -> Daemon {
    std::fs::create_dir(dir).unwrap();
    let mut config = format!(
        "version = 1\nname = \"{name}\"\nstate = \"{dir}\"\n\
         [mesh.udp]\nlisten = \"[::1]:{udp}\"\npeers = [\"[::1]:{peer}\"]\n\
         [network]\nmode = \"userspace\"\n\
         [control]\nsocket = \"{dir}/control.sock\"\n\
         [web]\nlisten = [\"127.0.0.1:{web}\"]\n",
        dir = dir.display()
    );
    if space {
        config +=
            "[[space]]\nid = \"garden\"\nname = \"Garden club\"\nvisible = true\nport = 7447\n";
    }
    let file = dir.join("warren.toml");
    std::fs::write(&file, config).unwrap();
    let child = binary()
        .arg("run")
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    Daemon {
        child,
        dir: dir.to_path_buf(),
    }
}

impl Daemon {
    fn show(&self, what: &str) -> serde_json::Value {
        let output = binary()
            .args([what, "--json", "--control"])
            .arg(self.dir.join("control.sock"))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null)
    }

    /// Asks until the answer is as wanted; a minute is for machines that do much else.
    fn wait_for(
        &self,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let start = Instant::now();
        loop {
            let value = self.show(what);
            if wanted(&value) {
                return value;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{what}: {value}");
            std::thread::yield_now();
        }
    }

    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.dir.join("control.sock").exists());
    }
}

#[test]
fn two_homes_without_root_meet_and_one_reads_from_the_others_space() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = (free_udp_port(), free_udp_port());
    let (web_a, web_b) = (free_tcp_port(), free_tcp_port());
    let first = start(&parent.path().join("a"), "A", a, b, web_a, false);
    let second = start(&parent.path().join("b"), "B", b, a, web_b, true);
    first.wait_for("status", |status| {
        status["neighbours"] == 1 && status["routes"] == 1
    });
    let status = second.wait_for("status", |status| status["neighbours"] == 1);
    assert_eq!(status["mode"], "userspace");
    let neighbours = first.wait_for("neighbours", |all| all[0]["up"] == true);
    assert_eq!(neighbours[0]["address"], status["address"]);
    let routes = first.show("routes");
    assert_eq!(routes[0]["next_hop"], status["address"]);
    let spaces = first.wait_for("spaces", |spaces| {
        spaces.as_array().is_some_and(|all| all.len() == 1)
    });
    assert_eq!(spaces[0]["title"], "Garden club");
    assert_eq!(spaces[0]["local"], false);
    assert_eq!(spaces[0]["host"], status["address"]);

    let service = spaces[0]["service"].as_str().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", web_a)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(
        stream,
        "GET /s/{service}/ HTTP/1.1\r\nHost: 127.0.0.1:{web_a}\r\nAccept: application/nostr+json\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("Garden club"), "{answer}");

    // One leaves and says so; the other notices without waiting for silence.
    second.stop();
    first.wait_for("routes", |routes| {
        routes.as_array().is_some_and(Vec::is_empty)
    });
    first.stop();
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = (free_udp_port(), free_udp_port());
    let first = start(&parent.path().join("a"), "A", a, b, free_tcp_port(), true);
    first.wait_for("status", |status| status["name"] == "A");
    let config = std::fs::read_to_string(first.dir.join("warren.toml")).unwrap();
    // Everything its own but the state.
    let config = config
        .replace("control.sock", "other.sock")
        .replace(&format!("[::1]:{a}"), &format!("[::1]:{}", free_udp_port()));
    let file = parent.path().join("second.toml");
    std::fs::write(&file, config).unwrap();
    let second = binary().arg("run").arg("--config").arg(&file).output();
    let second = second.unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another warrend works in"), "{said}");
    assert_eq!(first.show("status")["name"], "A");
    first.stop();
}
