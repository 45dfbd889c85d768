//! The data plane: one thread that owns the mesh node and moves packets between TUN (or the userspace stack), the node
//! and the carriers. It waits in one epoll, does bounded work for each source in turn, and allocates nothing per packet.
//! No disk, no name lookup, no HTTP here.

pub mod command;

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustix::event::epoll;
use tokio::sync::{mpsc, oneshot};
use warren_mesh::descriptor::Descriptor;
use warren_mesh::identity::NodeAddress;
use warren_mesh::node::{Event, Node};
use warren_mesh::time::Instant;
use warren_mesh::transmit::InterfaceId;

use crate::carrier::{Carrier, Sent};
use crate::sys::ReceiveRing;
use crate::tun::coalesce::{self, Offload};
use crate::tun::header::VnetHeader;
use crate::tun::{self, Tun, segment};
use crate::userspace::UserNet;
use command::{Command, Notice, Snapshot, Waker};

/// Reads of TUN in one turn.
const TUN_READS: usize = 64;
/// Receive calls on one socket in one turn.
const SOCKET_READS: usize = 4;
/// Bytes for the carriers that are gathered before they are sent.
const FLUSH_BYTES: usize = 60_000;
/// Longest wait: a clock that was stopped (suspend) is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The log repeats what has not changed no oftener than this.
const REMIND: Duration = Duration::from_secs(60);
/// Descriptor requests waiting for an answer.
const ASKED_MAX: usize = 2048;

const TOKEN_WAKE: u64 = 0;
const TOKEN_TUN: u64 = 1;
const TOKEN_CARRIERS: u64 = 2;

/// Where packets of this machine's programs come from and go to.
#[derive(Debug)]
pub enum Local {
    /// The kernel, by TUN.
    Tun(Tun),
    /// A TCP/IP stack in this process.
    User(Box<UserNet>),
}

/// The clock the mesh sees: microseconds since the daemon's start.
#[derive(Clone, Copy, Debug)]
pub struct MeshClock {
    start: std::time::Instant,
}

impl MeshClock {
    /// Starts a clock.
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        let micros = self.start.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Plane {
    node: Node,
    clock: MeshClock,
    epoll: rustix::fd::OwnedFd,
    local: Local,
    offload: Offload,
    tun_buffer: Vec<u8>,
    tun_paused: bool,
    tun_rejected: u64,
    carriers: Vec<Slot>,
    ring: ReceiveRing,
    commands: Receiver<Command>,
    waker: Waker,
    notices: mpsc::Sender<Notice>,
    asked: HashMap<NodeAddress, Vec<oneshot::Sender<Option<Descriptor>>>>,
    news: Option<mpsc::Sender<Descriptor>>,
    unsaved: Option<u32>,
    told_passphrase: Option<std::time::Instant>,
    stopping: bool,
}

#[derive(Debug)]
struct Slot {
    carrier: Carrier,
    waiting: bool,
}

impl Plane {
    /// A data plane that starts with [`Plane::run`].
    pub fn new(
        node: Node,
        clock: MeshClock,
        local: Local,
        commands: Receiver<Command>,
        waker: Waker,
        notices: mpsc::Sender<Notice>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(TOKEN_WAKE);
        epoll::add(&epoll, waker.fd(), data, epoll::EventFlags::IN)?;
        let mut offload = Offload::None;
        let mut tun_buffer = Vec::new();
        if let Local::Tun(tun) = &local {
            let data = epoll::EventData::new_u64(TOKEN_TUN);
            epoll::add(&epoll, tun, data, epoll::EventFlags::IN)?;
            tun_buffer = vec![0; tun::READ_BYTES];
            offload = match (tun.offload(), tun.udp_offload()) {
                (false, _) => Offload::None,
                (true, false) => Offload::Tcp,
                (true, true) => Offload::TcpAndUdp,
            };
        }
        Ok(Self {
            node,
            clock,
            epoll,
            local,
            offload,
            tun_buffer,
            tun_paused: false,
            tun_rejected: 0,
            carriers: Vec::new(),
            ring: ReceiveRing::default(),
            commands,
            waker,
            notices,
            asked: HashMap::new(),
            news: None,
            unsaved: None,
            told_passphrase: None,
            stopping: false,
        })
    }

    /// Works until [`Command::Stop`].
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(32);
        while !self.stopping {
            let now = self.clock.now();
            if self.node.poll_timeout() <= now {
                self.node.handle_timeout(now);
            }
            self.settle();
            self.poll_events();
            self.set_pause()?;
            ready.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut ready),
                Some(&self.wait_time()),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                let flags = event.flags;
                match event.data.u64() {
                    TOKEN_WAKE => {
                        self.waker.clear();
                        self.take_commands();
                    }
                    TOKEN_TUN => self.read_tun(),
                    token => self.serve_carrier(token - TOKEN_CARRIERS, flags),
                }
            }
        }
        self.stop();
        Ok(())
    }

    fn wait_time(&self) -> rustix::time::Timespec {
        let now = self.clock.now();
        let mut until = self.node.poll_timeout();
        if let Local::User(user) = &self.local {
            until = until.min(user.poll_timeout());
        }
        let wait = until.since(now).min(LONGEST_WAIT);
        rustix::time::Timespec {
            tv_sec: wait.as_secs() as _,
            // Kernels without epoll_pwait2 round down to milliseconds: never spin through the last one.
            tv_nsec: wait.subsec_nanos() as _,
        }
    }

    /// Moves what the node has made to where it belongs, until it makes nothing more.
    fn settle(&mut self) {
        let now = self.clock.now();
        self.deliver(now);
        if let Local::User(user) = &mut self.local {
            user.poll(now, &mut self.node);
        }
        // A send may have made the node answer this machine (an ICMPv6 error).
        self.deliver(now);
        self.flush();
    }

    fn deliver(&mut self, now: Instant) {
        let queue = self.node.delivered();
        if queue.is_empty() {
            return;
        }
        match &mut self.local {
            Local::Tun(tun) => coalesce::write_all(queue.iter_mut(), self.offload, |parts| {
                // A full TUN queue drops the packet, as any full queue on its way would have.
                if let Err(error) = tun.write(parts) {
                    log::debug!("TUN did not take a packet: {error}");
                }
            }),
            Local::User(user) => {
                for (packet, checksum) in queue.iter_mut() {
                    user.take(packet, checksum);
                }
            }
        }
        queue.clear();
        if let Local::User(user) = &mut self.local {
            user.poll(now, &mut self.node);
        }
    }

    fn flush(&mut self) {
        if self.node.transmit().is_empty() {
            return;
        }
        let now = std::time::Instant::now();
        while let Some(batch) = self.node.transmit().pop() {
            let slot = self
                .carriers
                .iter_mut()
                .find(|slot| slot.carrier.id == batch.interface);
            let Some(slot) = slot else {
                self.node.transmit().recycle(batch);
                continue;
            };
            match slot.carrier.send(batch, now) {
                Sent::Done(batch) => self.node.transmit().recycle(batch),
                Sent::Waiting => {}
            }
        }
        for index in 0..self.carriers.len() {
            self.watch_writes(index);
        }
    }

    /// Asks epoll for "writable" only while something waits.
    fn watch_writes(&mut self, index: usize) {
        let slot = &mut self.carriers[index];
        let waiting = slot.carrier.is_waiting();
        if waiting == slot.waiting {
            return;
        }
        slot.waiting = waiting;
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, waiting);
        let data = epoll::EventData::new_u64(token(slot.carrier.id, false));
        if let Err(error) = epoll::modify(&self.epoll, slot.carrier.socket(), data, flags) {
            log::warn!("{}: epoll: {error}", slot.carrier.name);
        }
    }

    /// While a carrier is full, this machine's programs wait in TUN's own queue.
    fn set_pause(&mut self) -> io::Result<()> {
        let pause = self.carriers.iter().any(|slot| slot.waiting);
        if pause == self.tun_paused {
            return Ok(());
        }
        self.tun_paused = pause;
        if let Local::Tun(tun) = &self.local {
            let flags = if pause {
                epoll::EventFlags::empty()
            } else {
                epoll::EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                tun,
                epoll::EventData::new_u64(TOKEN_TUN),
                flags,
            )?;
        }
        Ok(())
    }

    fn read_tun(&mut self) {
        for _ in 0..TUN_READS {
            let Local::Tun(tun) = &self.local else { return };
            let Ok(length) = tun.read(&mut self.tun_buffer) else {
                return;
            };
            let bytes = &self.tun_buffer[..length];
            let now = self.clock.now();
            let parsed = if tun.offload() {
                VnetHeader::parse(bytes).map_err(segment::SegmentError::from)
            } else {
                Ok((VnetHeader::PLAIN, bytes))
            };
            let node = &mut self.node;
            let result = parsed.and_then(|(vnet, packet)| {
                segment::split(vnet, packet, |head, payload, checksum| {
                    node.send_packet(now, head, payload, checksum);
                })
            });
            if result.is_err() {
                self.tun_rejected += 1;
            }
            if self.node.transmit().queued_bytes() >= FLUSH_BYTES {
                self.flush();
                if self.carriers.iter().any(|slot| slot.waiting) {
                    return;
                }
            }
        }
    }

    fn serve_carrier(&mut self, token: u64, flags: epoll::EventFlags) {
        let id = InterfaceId((token >> 1) as u16);
        let of_group = token & 1 == 1;
        let Some(index) = self.carriers.iter().position(|slot| slot.carrier.id == id) else {
            return;
        };
        if flags.contains(epoll::EventFlags::OUT) {
            let queue = self.node.transmit();
            self.carriers[index]
                .carrier
                .resume(std::time::Instant::now(), |batch| queue.recycle(batch));
            self.watch_writes(index);
        }
        for _ in 0..SOCKET_READS {
            let carrier = &self.carriers[index].carrier;
            let socket = match (of_group, carrier.group_socket()) {
                (true, Some(group)) => group,
                _ => carrier.socket(),
            };
            let Ok(count) = self.ring.receive(socket) else {
                return;
            };
            for message in 0..count {
                let Some(received) = self.ring.message(message) else {
                    continue;
                };
                let now = self.clock.now();
                for datagram in received.bytes.chunks_mut(received.segment) {
                    self.node.receive(now, id, received.from, datagram);
                }
                if self.node.transmit().queued_bytes() >= FLUSH_BYTES {
                    self.flush();
                }
                if !self.node.delivered().is_empty() {
                    self.deliver(now);
                }
            }
            if count < crate::sys::RECEIVE_MANY {
                return;
            }
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        let now = self.clock.now();
        match command {
            Command::Snapshot(reply) => {
                let _ = reply.send(self.snapshot(now));
            }
            Command::AddInterface(carrier) => self.add_interface(now, *carrier),
            Command::RemoveInterface(id) => self.remove_interface(now, id),
            Command::SetThroughput(id, kbps) => self.node.set_throughput(now, id, None, kbps),
            Command::Publish(services, reply) => {
                let _ = reply.send(self.node.publish(now, services));
            }
            Command::SetPolicy(policy) => self.node.set_policy(policy),
            Command::Describe(of, reply) => {
                if self.asked.len() >= ASKED_MAX {
                    let _ = reply.send(None);
                    return;
                }
                self.asked.entry(of).or_default().push(reply);
                self.node.request_descriptor(now, of);
            }
            Command::HearNews(news) => self.news = Some(news),
            Command::GenerationPersisted(generation) => {
                self.node.generation_persisted(now, generation);
            }
            Command::Listen(port, accepted) => {
                if let Local::User(user) = &mut self.local {
                    user.listen(port, accepted);
                }
            }
            Command::Unlisten(port) => {
                if let Local::User(user) = &mut self.local {
                    user.unlisten(port);
                }
            }
            Command::Connect(to, port, reply) => {
                if let Local::User(user) = &mut self.local {
                    user.connect(to, port, reply);
                }
            }
            Command::Stop => self.stopping = true,
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            neighbours: self.node.neighbours(now),
            routes: self.node.routes(),
            counters: self.node.counters(),
            interfaces: self
                .carriers
                .iter()
                .map(|Slot { carrier, .. }| (carrier.id, carrier.name.clone(), carrier.dropped()))
                .collect(),
            tun_rejected: self.tun_rejected,
        }
    }

    fn add_interface(&mut self, now: Instant, carrier: Carrier) {
        self.remove_interface(now, carrier.id);
        let watch = |socket, of_group| {
            let data = epoll::EventData::new_u64(token(carrier.id, of_group));
            epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)
        };
        let watched = watch(carrier.socket(), false).and_then(|()| {
            carrier
                .group_socket()
                .map_or(Ok(()), |socket| watch(socket, true))
        });
        if let Err(error) = watched {
            log::error!("{}: cannot wait for its datagrams: {error}", carrier.name);
            return;
        }
        log::info!(
            "{}: in use, {} bytes per datagram",
            carrier.name,
            carrier.config.mtu
        );
        self.node
            .add_interface(now, carrier.id, carrier.config.clone());
        self.carriers.push(Slot {
            carrier,
            waiting: false,
        });
    }

    fn remove_interface(&mut self, now: Instant, id: InterfaceId) {
        let Some(index) = self.carriers.iter().position(|slot| slot.carrier.id == id) else {
            return;
        };
        self.node.remove_interface(now, id);
        // What the node has to say about it leaves while the socket is still there.
        self.flush();
        let slot = self.carriers.swap_remove(index);
        log::info!("{}: no longer in use", slot.carrier.name);
    }

    fn poll_events(&mut self) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::PersistGeneration(generation) => self.unsaved = Some(generation),
                Event::NeighbourUp(address) => log::info!("neighbour {address}: link is up"),
                Event::PassphraseDiffers(from) => {
                    if self.told_passphrase.is_none_or(|at| at.elapsed() > REMIND) {
                        self.told_passphrase = Some(std::time::Instant::now());
                        log::warn!("{from} is in a mesh with another passphrase than this one");
                    }
                }
                Event::NeighbourDown(address) => log::info!("neighbour {address}: link is gone"),
                Event::Descriptor(address) => {
                    let descriptor = self.node.descriptor(&address).cloned();
                    if !self.asked.contains_key(&address)
                        && let (Some(news), Some(descriptor)) = (&self.news, &descriptor)
                    {
                        // Who has no room for it asks by itself a little later.
                        let _ = news.try_send(descriptor.clone());
                    }
                    self.answer(address, descriptor.as_ref());
                }
                Event::DescriptorTimeout(address) => self.answer(address, None),
            }
        }
        if let Some(generation) = self.unsaved
            && self
                .notices
                .try_send(Notice::PersistGeneration(generation))
                .is_ok()
        {
            self.unsaved = None;
        }
    }

    fn answer(&mut self, address: NodeAddress, descriptor: Option<&Descriptor>) {
        for reply in self.asked.remove(&address).unwrap_or_default() {
            let _ = reply.send(descriptor.cloned());
        }
    }

    fn stop(&mut self) {
        let now = self.clock.now();
        self.node.say_goodbye();
        self.flush();
        while let Some(slot) = self.carriers.first() {
            let id = slot.carrier.id;
            self.remove_interface(now, id);
        }
    }
}

const fn token(id: InterfaceId, of_group: bool) -> u64 {
    TOKEN_CARRIERS + ((id.0 as u64) << 1) + of_group as u64
}
