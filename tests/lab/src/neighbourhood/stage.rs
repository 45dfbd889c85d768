//! What the program beside a neighbourhood can have done to it: a unix socket that takes one line a connection (`stop E`,
//! `kill E`, `start E`, `memory E`, `cut D E`, `cut D E silent`, `heal D E`) and answers with one, `ok [VALUE]` or
//! `error REASON`. It belongs to one neighbourhood, however many run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::error::{LabError, Result};
use crate::lab::{Cut, Lab};
use crate::overlay::warrend::Warrend;
use crate::topology::NodeIndex;

/// Longest line, in bytes.
const LINE: u64 = 200;
/// How long a daemon may take to stop in order.
const PATIENCE: Duration = Duration::from_secs(20);

/// The socket.
#[derive(Debug)]
pub(super) struct Stage {
    listener: UnixListener,
    path: PathBuf,
}

impl Stage {
    /// Opens the socket in the lab's folder.
    pub(super) fn open(lab: &Lab) -> Result<Self> {
        let path = lab.folder().join("stage.sock");
        let listener = UnixListener::bind(&path)
            .map_err(LabError::io(format!("listening on {}", path.display())))?;
        Ok(Self { listener, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next program that wants something done.
    pub(super) async fn next(&self) -> Result<UnixStream> {
        let (stream, _) = self
            .listener
            .accept()
            .await
            .map_err(LabError::io("listening on the stage"))?;
        Ok(stream)
    }
}

/// Does what one connection asks for. Who hangs up without a line, or before the answer, gets none.
pub(super) async fn serve(mut stream: UnixStream, lab: &Lab, daemons: &mut [Warrend]) {
    let mut line = String::new();
    let (reader, mut writer) = stream.split();
    let read = BufReader::new(reader.take(LINE)).read_line(&mut line).await;
    if read.is_err() {
        return;
    }
    let answer = match act(line.trim(), lab, daemons) {
        Ok(value) => format!("ok {value}\n"),
        Err(error) => format!("error {error}\n"),
    };
    let _ = writer.write_all(answer.as_bytes()).await;
    let _ = writer.shutdown().await;
}

fn act(line: &str, lab: &Lab, daemons: &mut [Warrend]) -> Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let node = |name: &str| -> Result<NodeIndex> {
        let found = lab.topology().find(name);
        found.ok_or_else(|| LabError::Unknown(format!("router {name:?}")))
    };
    match words[..] {
        ["stop", name] => {
            if !daemons[node(name)?].take_process()?.stop(PATIENCE)? {
                return Err(LabError::Unknown(format!("exit status 0 of {name}")));
            }
        }
        ["kill", name] => daemons[node(name)?].take_process()?.kill()?,
        ["start", name] => {
            let daemon = &mut daemons[node(name)?];
            daemon.start()?;
            daemon.wait_for_address()?;
        }
        ["memory", name] => return Ok(daemons[node(name)?].process()?.pss()?.to_string()),
        ["cut", a, b] => lab.cut(node(a)?, node(b)?, Cut::Announced)?,
        ["cut", a, b, "silent"] => lab.cut(node(a)?, node(b)?, Cut::Silent)?,
        ["heal", a, b] => lab.heal(node(a)?, node(b)?)?,
        _ => return Err(LabError::Unknown(format!("deed {line:?}"))),
    }
    Ok(String::new())
}
