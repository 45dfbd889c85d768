//! The daemon's end of the control socket. Bounded: connections, line length, time between lines.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::protocol::{
    self, Answer, ControlError, End, ErrorCode, LINE_MAX, Part, Request, StreamBegins,
};
use crate::error::DaemonError;
use crate::store;

const CONNECTIONS_MAX: usize = 16;
const IDLE: Duration = Duration::from_secs(60);

/// Who answers.
pub trait Answers: Send + Sync + 'static {
    /// The value asked for, or the stream.
    fn answer(&self, request: Request) -> impl Future<Output = Result<Reply, ControlError>> + Send;
}

/// What is answered.
#[derive(Debug)]
pub enum Reply {
    /// A value.
    Value(serde_json::Value),
    /// Parts of a stream, none empty or longer than [`protocol::CHUNK_MAX`]. It broke off when the sender is gone
    /// without an end.
    Stream(mpsc::Receiver<Result<Piece, ControlError>>),
}

/// Part of a stream.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// There is no more.
    End,
}

/// Opens a listening socket that only this user can talk to, in a directory that is made if need be.
pub fn listen(path: &Path) -> Result<std::os::unix::net::UnixListener, DaemonError> {
    if let Some(parent) = path.parent() {
        store::make_dir(parent)?;
    }
    listen_in_existing(path, 0o600)
}

/// The same where the directory must exist; `mode` are the socket's permissions.
pub fn listen_in_existing(
    path: &Path,
    mode: u32,
) -> Result<std::os::unix::net::UnixListener, DaemonError> {
    let failed = |source| DaemonError::ListenUnix {
        path: path.to_path_buf(),
        source,
    };
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(DaemonError::Exists(path.to_path_buf()));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(DaemonError::AlreadyRunning(path.to_path_buf()));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Serves until dropped.
pub async fn serve(listener: UnixListener, answers: Arc<impl Answers>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    // Fits into the socket's buffer, so it does not wait for the client.
                    let busy = encode(Answer::<()>::Error(unavailable()));
                    let _ = stream.write_all(&[&busy, &b"\n"[..]].concat()).await;
                    continue;
                };
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    // A client that goes away in the middle is its own business.
                    let _ = serve_one(stream, &*answers).await;
                    drop(slot);
                });
            }
            Err(error) => {
                log::warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_one(stream: UnixStream, answers: &impl Answers) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut read).take(LINE_MAX as u64 + 1);
        let Ok(taken) = tokio::time::timeout(IDLE, limited.read_until(b'\n', &mut line)).await
        else {
            return Ok(());
        };
        if taken? == 0 {
            return Ok(());
        }
        let too_long = line.len() > LINE_MAX;
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let answer = match protocol::parse_request(
            &line[..if too_long { line.len() } else { text.len() }],
        ) {
            Ok(request) => answers.answer(request).await,
            Err(error) => Err(error),
        };
        let (answer, stream) = match answer {
            Ok(Reply::Value(value)) => (Answer::Ok(value), None),
            Ok(Reply::Stream(parts)) => {
                let begins = serde_json::to_value(StreamBegins { stream: 1 });
                (Answer::Ok(begins.unwrap_or_default()), Some(parts))
            }
            Err(error) => (Answer::Error(error), None),
        };
        let mut bytes = encode(answer);
        bytes.push(b'\n');
        let written = tokio::time::timeout(IDLE, write.write_all(&bytes)).await;
        if let Some(parts) = stream {
            send_parts(parts, &mut write).await?;
        }
        if too_long || written.is_err() {
            // Where the next line begins is unknown.
            return Ok(());
        }
    }
}

/// Sends a stream. A client that takes nothing for [`IDLE`] is let go.
async fn send_parts(
    mut parts: mpsc::Receiver<Result<Piece, ControlError>>,
    write: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<()> {
    loop {
        let (part, bytes) = match parts.recv().await {
            Some(Ok(Piece::Bytes(bytes))) => (Part::Chunk(bytes.len()), bytes),
            Some(Ok(Piece::End)) => (Part::End(End {}), Vec::new()),
            Some(Err(error)) => (Part::Error(error), Vec::new()),
            None => (Part::Error(unavailable()), Vec::new()),
        };
        let mut line = serde_json::to_vec(&part).unwrap_or_default();
        line.push(b'\n');
        line.extend_from_slice(&bytes);
        tokio::time::timeout(IDLE, write.write_all(&line)).await??;
        if !matches!(part, Part::Chunk(_)) {
            return Ok(());
        }
    }
}

fn encode(answer: Answer<impl Serialize>) -> Vec<u8> {
    serde_json::to_vec(&answer)
        .unwrap_or_else(|_| br#"{"error":{"code":"unavailable","args":[]}}"#.to_vec())
}

/// The daemon cannot answer now.
pub fn unavailable() -> ControlError {
    ControlError {
        code: ErrorCode::Unavailable,
        args: Vec::new(),
    }
}
