//! Real servers for tests: PostgreSQL from Debian's package, and an S3 store (moto, from PyPI; `scripts/test` installs it).
//! Each lives in a directory of its own and listens on a socket there, or on loopback. A shell holds it that waits for
//! the end of a pipe: it ends the server and removes the directory when the test ends, also when the test is killed.
#![allow(dead_code)] // not every test uses all of it

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a server may take to start on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// $1: the directory. $2, $3: signals that end the server in good order, and at once. The rest: the server.
const KEEPER: &str = r#"
directory=$1 gently=$2 at_once=$3
shift 3
start() { "$@" >>"$directory/log" 2>&1 & pid=$!; }
start "$@"
while read -r word; do
    kill -"$gently" "$pid" 2>/dev/null
    wait "$pid"
    [ "$word" = stop ] || start "$@"
done
kill -"$at_once" "$pid" 2>/dev/null
wait "$pid"
rm -rf -- "$directory"
"#;

/// A server with its keeper.
struct Kept {
    keeper: Mutex<Child>,
    directory: PathBuf,
}

impl Kept {
    fn start(directory: &Path, signals: [&str; 2], server: &[String]) -> Self {
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(directory)
            .args(signals)
            .args(server)
            .stdin(Stdio::piped())
            .process_group(0) // what ends the test by its group does not end who cleans up
            .spawn()
            .unwrap();
        Self {
            keeper: Mutex::new(keeper),
            directory: directory.to_owned(),
        }
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap();
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }
}

fn wait_until(what: &str, log: impl Fn() -> String, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < PATIENCE,
            "waited in vain: {what}\n{}",
            log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn directory() -> PathBuf {
    tempfile::Builder::new()
        .prefix("warren-")
        .tempdir()
        .unwrap()
        .keep()
}

/// A PostgreSQL server on a socket in its directory, which is what `host` wants. It syncs.
pub struct PostgresServer {
    kept: Kept,
    programs: PathBuf,
}

impl PostgresServer {
    /// The one that the tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of the test's own.
    pub fn start() -> Self {
        let programs = postgres_programs();
        let directory = directory();
        let as_user = as_user(&directory);
        let data = directory.join("data");
        let made = Command::new(&as_user[0])
            .args(&as_user[1..])
            .arg(programs.join("initdb"))
            .args([
                "--username=warren",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
                "--no-sync",
                "--pgdata",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let mut server = as_user;
        server.push(programs.join("postgres").display().to_string());
        server.push("-D".into());
        server.push(data.display().to_string());
        server.push("-k".into());
        server.push(directory.display().to_string());
        for setting in ["listen_addresses=", "fsync=on", "shared_buffers=16MB"] {
            server.push("-c".into());
            server.push(setting.into());
        }
        let server = Self {
            kept: Kept::start(&directory, ["INT", "QUIT"], &server),
            programs,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        let ready = self.programs.join("pg_isready");
        wait_until(
            "PostgreSQL answers",
            || self.kept.log(),
            || {
                let mut asked = Command::new(&ready);
                asked.args(["-q", "-h"]).arg(&self.kept.directory);
                asked.status().unwrap().success()
            },
        );
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.kept.directory
    }

    /// Where it is, as libpq has it.
    pub fn address(&self) -> String {
        format!(
            "host={} user=warren dbname=postgres",
            self.kept.directory.display()
        )
    }

    /// Ends it, until it is started again by [`PostgresServer::restart`].
    pub fn stop(&self) {
        self.kept.tell("stop");
        let ready = self.programs.join("pg_isready");
        wait_until(
            "PostgreSQL is gone",
            || self.kept.log(),
            || {
                let mut asked = Command::new(&ready);
                asked.args(["-q", "-h"]).arg(&self.kept.directory);
                asked.status().unwrap().code() == Some(2)
            },
        );
    }

    /// Ends it and starts it again.
    pub fn restart(&self) {
        let before = self.kept.log().matches("ready to accept").count();
        self.kept.tell("restart");
        wait_until(
            "PostgreSQL started again",
            || self.kept.log(),
            || self.kept.log().matches("ready to accept").count() > before,
        );
        self.wait();
    }

    /// Runs SQL as an administrator would; what it prints.
    pub fn sql(&self, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-qXAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "warren",
                "-d",
                "postgres",
                "-h",
            ])
            .arg(&self.kept.directory)
            .args(["-c", sql])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The text of a schema as `pg_dump` writes it, rows as INSERTs.
    pub fn dump(&self, schema: &str) -> String {
        let output = Command::new(self.programs.join("pg_dump"))
            .args([
                "--inserts",
                "--no-owner",
                "-U",
                "warren",
                "-d",
                "postgres",
                "-n",
                schema,
                "-h",
            ])
            .arg(&self.kept.directory)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The newest of Debian's versions.
fn postgres_programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let programs = entry.path().join("bin");
            let version = entry.file_name().to_str()?.parse().ok()?;
            programs
                .join("initdb")
                .exists()
                .then_some((version, programs))
        })
        .collect();
    found.sort();
    let newest = found.pop();
    newest
        .expect("PostgreSQL is not installed: apt-get install postgresql")
        .1
}

/// PostgreSQL does not run as root: as root, the words before a command that run it as its own user.
fn as_user(directory: &Path) -> Vec<String> {
    let id = Command::new("id").arg("-u").output().unwrap();
    if String::from_utf8_lossy(&id.stdout).trim() != "0" {
        return vec!["env".into()];
    }
    // Its socket is for everybody, also for daemons that have given up what root may.
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let given = Command::new("chown")
        .arg("postgres:postgres")
        .arg(directory)
        .status();
    assert!(given.unwrap().success());
    [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--clear-groups",
        "env",
        "-C",
        "/",
    ]
    .map(String::from)
    .into()
}

/// An S3 store on loopback with a bucket called `warren`. It keeps everything in memory and takes any key.
pub struct S3Server {
    kept: Kept,
    port: u16,
}

impl S3Server {
    /// The one that the tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of the test's own.
    pub fn start() -> Self {
        let directory = directory();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = [
            s3_program().display().to_string(),
            "-H".into(),
            "127.0.0.1".into(),
            "-p".into(),
            port.to_string(),
        ];
        let server = Self {
            kept: Kept::start(&directory, ["TERM", "KILL"], &server),
            port,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        wait_until(
            "the S3 store answers",
            || self.kept.log(),
            || TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
        );
        let (status, answer) = self.ask("PUT", "/warren");
        assert_eq!(status, 200, "{answer}");
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it; all that was in it is gone.
    pub fn stop(&self) {
        self.kept.tell("stop");
        wait_until(
            "the S3 store is gone",
            || self.kept.log(),
            || TcpStream::connect(("127.0.0.1", self.port)).is_err(),
        );
    }

    /// Starts it again after [`S3Server::stop`], empty.
    pub fn start_again(&self) {
        self.kept.tell("start");
        self.wait();
    }

    /// A request without a signature; the status and the whole answer.
    pub fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", "-X", method])
            .arg(format!("{}{path}", self.endpoint()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap(), body.to_owned())
    }

    /// Names of the objects that begin so.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let (status, answer) = self.ask("GET", &format!("/warren?list-type=2&prefix={prefix}"));
        assert_eq!(status, 200, "{answer}");
        between(&answer, "<Key>", "</Key>")
    }

    /// Names of the objects of which parts lie about.
    pub fn unfinished(&self) -> Vec<String> {
        let (status, answer) = self.ask("GET", "/warren?uploads");
        assert_eq!(status, 200, "{answer}");
        between(&answer, "<Key>", "</Key>")
    }
}

fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    text.split(begin)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(end)?.0.to_owned()))
        .collect()
}

/// Where `scripts/test` put it, or where `WARREN_S3_SERVER` says.
fn s3_program() -> PathBuf {
    if let Some(program) = std::env::var_os("WARREN_S3_SERVER") {
        return program.into();
    }
    let test = std::env::current_exe().unwrap();
    let mut found = test
        .ancestors()
        .map(|folder| folder.join("s3-server/bin/moto_server"));
    found
        .find(|program| program.exists())
        .expect("the S3 store is not installed: scripts/test installs it, or name a moto_server in WARREN_S3_SERVER")
}
