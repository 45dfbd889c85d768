//! A TCP connection of the userspace stack as an async byte stream: two bounded buffers that the data plane and a task
//! share. No packet and no timer here.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker as TaskWaker};

use smoltcp::socket::tcp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::plane::command::Waker;

/// Bytes that wait each way between the stack and a task.
const BUFFER: usize = 32 * 1024;

/// What both sides see.
#[derive(Debug, Default)]
pub struct Shared {
    received: VecDeque<u8>,
    to_send: VecDeque<u8>,
    /// No more will be received.
    ended: bool,
    /// The connection broke.
    broken: bool,
    /// The task will write no more.
    shut: bool,
    /// The task is gone.
    dropped: bool,
    reader: Option<TaskWaker>,
    writer: Option<TaskWaker>,
}

/// The data plane's side.
#[derive(Debug)]
pub struct SharedStream(Arc<Mutex<Shared>>);

/// The task's side.
#[derive(Debug)]
pub struct UserStream {
    shared: Arc<Mutex<Shared>>,
    waker: Waker,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Buffers stay whole whatever the other thread was doing.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(task: &mut Option<TaskWaker>) {
    if let Some(task) = task.take() {
        task.wake();
    }
}

impl Shared {
    /// Both sides of a new connection.
    pub fn pair(waker: &Waker) -> (UserStream, SharedStream) {
        let shared = Arc::new(Mutex::new(Self::default()));
        let stream = UserStream {
            shared: Arc::clone(&shared),
            waker: waker.clone(),
        };
        (stream, SharedStream(shared))
    }
}

impl SharedStream {
    /// Moves bytes between the socket and the buffers; `false` once the connection is over.
    pub fn pump(&self, socket: &mut tcp::Socket<'_>) -> bool {
        let mut shared = lock(&self.0);
        let shared = &mut *shared;
        if shared.dropped && socket.can_recv() {
            // Bytes that nobody will read: the sender should know (RFC 1122, 4.2.2.13).
            socket.abort();
        }
        while socket.can_recv() && shared.received.len() < BUFFER {
            let room = BUFFER - shared.received.len();
            let received = &mut shared.received;
            let result = socket.recv(|bytes| {
                let taken = bytes.len().min(room);
                received.extend(&bytes[..taken]);
                (taken, ())
            });
            if result.is_err() {
                break;
            }
            wake(&mut shared.reader);
        }
        while socket.can_send() && !shared.to_send.is_empty() {
            let (first, _) = shared.to_send.as_slices();
            let Ok(taken) = socket.send_slice(first) else {
                break;
            };
            if taken == 0 {
                break;
            }
            shared.to_send.drain(..taken);
            wake(&mut shared.writer);
        }
        if (shared.shut || shared.dropped) && shared.to_send.is_empty() && socket.may_send() {
            socket.close();
        }
        // A socket counts as closed once both sides have ended, whatever it still holds for a reader who takes its time.
        let open = socket.is_open() || (socket.can_recv() && !shared.dropped);
        let nothing_to_come = !socket.may_recv() && !socket.can_recv();
        if nothing_to_come && !shared.ended {
            shared.ended = true;
            shared.broken = !open && !shared.shut;
            wake(&mut shared.reader);
        }
        if !open {
            shared.broken |= !shared.to_send.is_empty();
            shared.ended = true;
            shared.shut = true;
            wake(&mut shared.reader);
            wake(&mut shared.writer);
        }
        open
    }
}

impl AsyncRead for UserStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = lock(&self.shared);
        if shared.received.is_empty() {
            if shared.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if shared.ended {
                return Poll::Ready(Ok(()));
            }
            shared.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let was_full = shared.received.len() >= BUFFER;
        let (first, _) = shared.received.as_slices();
        let taken = first.len().min(buffer.remaining());
        buffer.put_slice(&first[..taken]);
        shared.received.drain(..taken);
        drop(shared);
        if was_full {
            self.waker.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UserStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut shared = lock(&self.shared);
        if shared.shut || shared.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = BUFFER - shared.to_send.len().min(BUFFER);
        if room == 0 {
            shared.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        shared.to_send.extend(&bytes[..taken]);
        drop(shared);
        self.waker.wake();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.shared).shut = true;
        self.waker.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for UserStream {
    fn drop(&mut self) {
        lock(&self.shared).dropped = true;
        self.waker.wake();
    }
}
