//! Networking without TUN and without root: smoltcp ends TCP at the node's own address. The data plane feeds it packets
//! and drives it; the rest of the daemon sees byte streams. Everything is bounded: connections, buffers, packets.

mod device;
mod stream;

use std::collections::HashMap;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant as StackInstant};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, Ipv6Cidr};
use tokio::sync::{mpsc, oneshot};
use warren_mesh::deliver::Checksum;
use warren_mesh::identity::NodeAddress;
use warren_mesh::node::Node;
use warren_mesh::time::Instant;

use crate::plane::command::Waker;
use device::Packets;
pub use stream::UserStream;
use stream::{Shared, SharedStream};

/// Connections at once, both ways.
const CONNECTIONS_MAX: usize = 128;
/// Connection attempts that may wait on one port.
const BACKLOG: usize = 4;
/// TCP window in bytes, each way.
const WINDOW: usize = 32 * 1024;
/// A peer that is silent for this long, probes included, is gone.
const SILENCE: Duration = Duration::from_secs(60);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// First port of outgoing connections (RFC 6335, 6).
const EPHEMERAL: u16 = 49_152;

/// Why a connection did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The other side said no, or nobody answered.
    #[error("nobody answers at that address and port")]
    Refused,
    /// This node has as many connections as it can carry.
    #[error("too many connections are open; close some and try again")]
    TooMany,
}

#[derive(Debug)]
struct Connection {
    handle: SocketHandle,
    state: State,
}

#[derive(Debug)]
enum State {
    Listening(u16),
    Connecting(Option<oneshot::Sender<Result<UserStream, ConnectError>>>),
    Open(SharedStream),
}

/// The stack of one node.
pub struct UserNet {
    interface: Interface,
    sockets: SocketSet<'static>,
    packets: Packets,
    connections: Vec<Connection>,
    listeners: HashMap<u16, mpsc::Sender<UserStream>>,
    waker: Waker,
    next_port: u16,
    next_poll: Instant,
}

impl std::fmt::Debug for UserNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserNet({} connections)", self.connections.len())
    }
}

impl UserNet {
    /// A stack at `address`; `seed` from the operating system's random source; `waker` wakes the data plane.
    pub fn new(address: NodeAddress, seed: u64, waker: Waker) -> Self {
        let mut packets = Packets::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut packets, StackInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The island is one link to this stack: all of fc00::/8. There is room for one address.
            let _ = addresses.push(IpCidr::Ipv6(Ipv6Cidr::new(address.to_ipv6(), 8)));
        });
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            packets,
            connections: Vec::new(),
            listeners: HashMap::new(),
            waker,
            next_port: EPHEMERAL | seed as u16,
            next_poll: Instant::NEVER,
        }
    }

    /// A packet of the mesh for this stack.
    pub fn take(&mut self, packet: &[u8], _checksum: Checksum) {
        // Filled in or not, the checksum is not looked at here: the session's seal vouches for the packet.
        self.packets.push_received(packet);
    }

    /// When [`UserNet::poll`] wants to be called next.
    pub const fn poll_timeout(&self) -> Instant {
        self.next_poll
    }

    /// Accepts connections on `port` into `accepted`.
    pub fn listen(&mut self, port: u16, accepted: mpsc::Sender<UserStream>) {
        self.listeners.insert(port, accepted);
        self.refill(port);
    }

    /// Accepts no more connections on `port`; those that are open stay.
    pub fn unlisten(&mut self, port: u16) {
        self.listeners.remove(&port);
        for connection in &self.connections {
            if matches!(connection.state, State::Listening(p) if p == port) {
                self.sockets
                    .get_mut::<tcp::Socket<'_>>(connection.handle)
                    .abort();
            }
        }
    }

    /// Opens a connection; the answer goes to `reply`.
    pub fn connect(
        &mut self,
        to: NodeAddress,
        port: u16,
        reply: oneshot::Sender<Result<UserStream, ConnectError>>,
    ) {
        if self.connections.len() >= CONNECTIONS_MAX {
            let _ = reply.send(Err(ConnectError::TooMany));
            return;
        }
        let mut socket = new_socket();
        let remote = IpEndpoint::new(to.to_ipv6().into(), port);
        let local = self.free_port();
        if socket
            .connect(self.interface.context(), remote, local)
            .is_err()
        {
            let _ = reply.send(Err(ConnectError::Refused));
            return;
        }
        let handle = self.sockets.add(socket);
        self.connections.push(Connection {
            handle,
            state: State::Connecting(Some(reply)),
        });
    }

    /// Moves bytes between streams and packets, and packets between the stack and the node.
    pub fn poll(&mut self, now: Instant, node: &mut Node) {
        let stack_now = StackInstant::from_micros(now.as_micros() as i64);
        // Twice: what the stack has received makes room or answers, which the stack then sends.
        for _ in 0..2 {
            self.interface
                .poll(stack_now, &mut self.packets, &mut self.sockets);
            self.pump();
        }
        self.interface
            .poll(stack_now, &mut self.packets, &mut self.sockets);
        self.packets.drain_sent(|packet| {
            node.send_packet(now, packet, &[], Checksum::Complete);
        });
        self.next_poll = self
            .interface
            .poll_at(stack_now, &self.sockets)
            .map_or(Instant::NEVER, |at| {
                Instant::from_micros(at.total_micros().max(0) as u64)
            });
    }

    fn pump(&mut self) {
        let mut index = 0;
        while index < self.connections.len() {
            let Connection { handle, state } = &mut self.connections[index];
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            let mut refill = None;
            let keep = match state {
                State::Listening(port) if socket.may_send() => {
                    let port = *port;
                    refill = Some(port);
                    let (stream, shared) = Shared::pair(&self.waker);
                    let taken = self
                        .listeners
                        .get(&port)
                        .is_some_and(|accepted| accepted.try_send(stream).is_ok());
                    *state = State::Open(shared);
                    if !taken {
                        socket.abort();
                    }
                    true
                }
                State::Listening(port) if !socket.is_open() => {
                    refill = Some(*port);
                    false
                }
                State::Listening(_) => true,
                State::Connecting(reply) if socket.may_send() => {
                    let (stream, shared) = Shared::pair(&self.waker);
                    let answer = reply.take().map(|reply| reply.send(Ok(stream)));
                    *state = State::Open(shared);
                    // Nobody waits for it any more.
                    if !matches!(answer, Some(Ok(()))) {
                        socket.abort();
                    }
                    true
                }
                State::Connecting(reply) if !socket.is_open() => {
                    if let Some(reply) = reply.take() {
                        let _ = reply.send(Err(ConnectError::Refused));
                    }
                    false
                }
                State::Connecting(reply) => {
                    if reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
                        socket.abort();
                    }
                    true
                }
                State::Open(shared) => shared.pump(socket),
            };
            if keep {
                index += 1;
            } else {
                self.sockets.remove(*handle);
                self.connections.swap_remove(index);
            }
            if let Some(port) = refill {
                self.refill(port);
            }
        }
    }

    /// Keeps [`BACKLOG`] sockets waiting on a port.
    fn refill(&mut self, port: u16) {
        if !self.listeners.contains_key(&port) {
            return;
        }
        let waiting = self
            .connections
            .iter()
            .filter(|connection| matches!(connection.state, State::Listening(p) if p == port))
            .count();
        for _ in waiting..BACKLOG {
            if self.connections.len() >= CONNECTIONS_MAX {
                return;
            }
            let mut socket = new_socket();
            if socket.listen(port).is_err() {
                return;
            }
            let handle = self.sockets.add(socket);
            self.connections.push(Connection {
                handle,
                state: State::Listening(port),
            });
        }
    }

    fn free_port(&mut self) -> u16 {
        let used = |port: u16| {
            self.connections.iter().any(|connection| {
                self.sockets
                    .get::<tcp::Socket<'_>>(connection.handle)
                    .local_endpoint()
                    .is_some_and(|local| local.port == port)
            })
        };
        let mut port = self.next_port;
        while used(port) {
            port = port.wrapping_add(1).max(EPHEMERAL);
        }
        self.next_port = port.wrapping_add(1).max(EPHEMERAL);
        port
    }
}

fn new_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(SILENCE));
    socket.set_keep_alive(Some(KEEP_ALIVE));
    socket.set_nagle_enabled(false);
    socket
}
