//! What links ride on: datagram sockets that take a whole transmit batch in one call and give back what the kernel has
//! joined. Two kinds that differ only in how they are opened: `ether` and `udp`. Nothing here knows what a frame means.

pub mod ether;
pub mod udp;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::Socket;
use warren_mesh::node::InterfaceConfig;
use warren_mesh::transmit::{Batch, Destination, InterfaceId};

use crate::sys;

/// Bytes in front of a datagram on the medium: IPv6 and UDP headers.
pub const OVERHEAD: u16 = 48;
/// Bytes of this node's frames that carry an inner packet's forty-byte header away: see the mesh's frame table.
pub const INNER_OVERHEAD: u16 = 83;
/// Bytes that wait for a socket before new ones are thrown away.
const PENDING_MAX: usize = 512 * 1024;
/// A socket that takes nothing for this long loses what waits for it.
const STALL: Duration = Duration::from_millis(100);
/// Receive buffer asked for: 50 ms at 500 Mbit/s.
const RECEIVE_BUFFER: usize = 4 << 20;
const SEND_BUFFER: usize = 1 << 20;

/// An open carrier, ready to be handed to the data plane.
#[derive(Debug)]
pub struct Carrier {
    /// The number the mesh knows it by.
    pub id: InterfaceId,
    /// What logs call it.
    pub name: String,
    /// What the mesh has to know about it.
    pub config: InterfaceConfig,
    socket: Socket,
    group: Option<(Socket, sys::RawAddress)>,
    mapped: bool,
    gso: bool,
    pending: VecDeque<Batch>,
    pending_bytes: usize,
    last_progress: Instant,
    dropped: u64,
}

/// What became of a batch.
#[derive(Debug)]
pub enum Sent {
    /// It left, or was thrown away for a reason that sending again would not change.
    Done(Batch),
    /// It waits until the socket takes more.
    Waiting,
}

impl Carrier {
    fn new(
        id: InterfaceId,
        name: String,
        config: InterfaceConfig,
        socket: Socket,
        group: Option<(Socket, sys::RawAddress)>,
        mapped: bool,
    ) -> io::Result<Self> {
        tune(&socket)?;
        if let Some((group, _)) = &group {
            tune(group)?;
        }
        let gso = sys::has_gso(socket.as_fd());
        if !gso {
            log::info!("{name}: this kernel cannot split sends (UDP_SEGMENT); sending one by one");
        }
        Ok(Self {
            id,
            name,
            config,
            socket,
            group,
            mapped,
            gso,
            pending: VecDeque::new(),
            pending_bytes: 0,
            last_progress: Instant::now(),
            dropped: 0,
        })
    }

    /// The socket for one neighbour's datagrams, in and out.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket that hears the multicast group.
    pub fn group_socket(&self) -> Option<BorrowedFd<'_>> {
        self.group.as_ref().map(|(socket, _)| socket.as_fd())
    }

    /// Whether batches wait for the socket.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Datagrams thrown away because the socket took no more or refused them.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Sends a batch, or queues it behind those that wait.
    pub fn send(&mut self, batch: Batch, now: Instant) -> Sent {
        if self.is_waiting() {
            if now.duration_since(self.last_progress) > STALL {
                self.drop_pending();
            }
            if self.pending_bytes + batch.bytes.len() > PENDING_MAX {
                self.dropped += 1;
                return Sent::Done(batch);
            }
            self.wait(batch);
            return Sent::Waiting;
        }
        let mut batch = batch;
        match self.try_send(&mut batch) {
            Ok(()) => {
                self.last_progress = now;
                Sent::Done(batch)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.last_progress = now;
                self.wait(batch);
                Sent::Waiting
            }
            Err(error) => {
                self.refused(&batch, &error);
                Sent::Done(batch)
            }
        }
    }

    /// The socket takes more: sends what waits. Sent buffers go to `recycle`.
    pub fn resume(&mut self, now: Instant, mut recycle: impl FnMut(Batch)) {
        while let Some(mut batch) = self.pending.pop_front() {
            let length = batch.bytes.len();
            match self.try_send(&mut batch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pending_bytes -= length - batch.bytes.len();
                    self.pending.push_front(batch);
                    return;
                }
                result => {
                    if let Err(error) = result {
                        self.refused(&batch, &error);
                    }
                    self.pending_bytes -= length;
                    self.last_progress = now;
                    recycle(batch);
                }
            }
        }
    }

    fn wait(&mut self, batch: Batch) {
        self.pending_bytes += batch.bytes.len();
        self.pending.push_back(batch);
    }

    fn drop_pending(&mut self) {
        self.dropped += self.pending.len() as u64;
        self.pending.clear();
        self.pending_bytes = 0;
    }

    fn refused(&mut self, batch: &Batch, error: &io::Error) {
        self.dropped += 1;
        // Ordinary while an interface goes down or a path's MTU shrinks; the mesh notices loss by itself.
        log::debug!(
            "{}: {} bytes for {:?} not sent: {error}",
            self.name,
            batch.bytes.len(),
            batch.to
        );
    }

    /// On `WouldBlock` the batch holds what did not leave.
    fn try_send(&mut self, batch: &mut Batch) -> io::Result<()> {
        let to = match (batch.to, &self.group) {
            (Destination::Unicast(address), _) => sys::RawAddress::new(address, self.mapped),
            (Destination::Broadcast, Some((_, group))) => *group,
            (Destination::Broadcast, None) => return Ok(()),
        };
        let one = batch.bytes.len() <= batch.segment;
        if one || self.gso {
            match sys::send_segments(self.socket.as_fd(), &to, &batch.bytes, batch.segment) {
                Err(error) if !one && refuses_gso(&error) => {
                    self.send_one_by_one(&to, batch)?;
                    // It was the splitting that was refused and not the size: leave it from now on.
                    log::info!(
                        "{}: UDP_SEGMENT refused ({error}); sending one by one",
                        self.name
                    );
                    self.gso = false;
                    Ok(())
                }
                result => result,
            }
        } else {
            self.send_one_by_one(&to, batch)
        }
    }

    fn send_one_by_one(&self, to: &sys::RawAddress, batch: &mut Batch) -> io::Result<()> {
        let mut from = 0;
        while from < batch.bytes.len() {
            let rest = &batch.bytes[from..];
            match sys::send_many(self.socket.as_fd(), to, rest, batch.segment) {
                Ok(sent) => from += sent.max(1),
                Err(error) => {
                    batch.bytes.drain(..from);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn refuses_gso(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

fn tune(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Best effort: the kernel caps what an unprivileged program may ask for.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    if let Err(error) = sys::enable_gro(socket.as_fd()) {
        log::info!("this kernel cannot join datagrams (UDP_GRO): {error}");
    }
    Ok(())
}
