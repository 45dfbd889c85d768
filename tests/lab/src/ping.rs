//! Pings (ICMPv6 echo, RFC 4443) between all nodes of a lab from one process: each node gets a raw socket of its own
//! namespace. Measures who answers, after what time, and for how long nobody does.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
    socket_with,
};

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::namespace;
use crate::topology::NodeIndex;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
/// Tells our echoes from other programs'; the rest of the payload is target and sequence number.
const MAGIC: [u8; 4] = *b"wlab";

/// An answered ping.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// Who asked.
    pub from: NodeIndex,
    /// Who answered.
    pub to: NodeIndex,
    /// Number of the ping.
    pub sequence: u32,
    /// When the answer was read.
    pub at: Instant,
}

/// Raw ICMPv6 sockets in all namespaces of a lab.
#[derive(Debug)]
pub struct Pinger {
    sockets: Vec<OwnedFd>,
    addresses: Vec<Ipv6Addr>,
}

impl Pinger {
    /// `addresses` are those of the lab's nodes, in their order.
    pub fn new(lab: &Lab, addresses: &[Ipv6Addr]) -> Result<Self> {
        let mut sockets = Vec::new();
        for node in 0..lab.topology().len() {
            sockets.push(namespace::within(&lab.namespace(node), || {
                socket_with(
                    AddressFamily::INET6,
                    SocketType::RAW,
                    SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
                    Some(ipproto::ICMPV6),
                )
                .map_err(|e| LabError::io("opening an ICMPv6 socket")(e.into()))
            })?);
        }
        Ok(Self {
            sockets,
            addresses: addresses.to_vec(),
        })
    }

    /// Sends one ping. `false` if the system refused it: no route yet, or no source address.
    pub fn send(&self, from: NodeIndex, to: NodeIndex, sequence: u32) -> bool {
        let mut packet = [0_u8; 16];
        packet[0] = ECHO_REQUEST;
        packet[4..8].copy_from_slice(&MAGIC);
        packet[8..12].copy_from_slice(&u32::try_from(to).unwrap_or(u32::MAX).to_be_bytes());
        packet[12..16].copy_from_slice(&sequence.to_be_bytes());
        let target = SocketAddrV6::new(self.addresses[to], 0, 0, 0);
        sendto(&self.sockets[from], &packet, SendFlags::empty(), &target).is_ok()
    }

    /// Waits for answers until `until` and hands over each that has come, at least looking once.
    pub fn receive(&self, until: Instant, mut each: impl FnMut(Reply)) -> Result<()> {
        loop {
            let mut handles: Vec<PollFd<'_>> = self
                .sockets
                .iter()
                .map(|s| PollFd::new(s, PollFlags::IN))
                .collect();
            let left = until.saturating_duration_since(Instant::now());
            let wait = Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            });
            match poll(&mut handles, Some(&wait)) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(LabError::io("waiting for pings")(e.into())),
            }
            for (from, socket) in self.sockets.iter().enumerate() {
                self.drain(from, socket, &mut each);
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn drain(&self, from: NodeIndex, socket: &OwnedFd, each: &mut impl FnMut(Reply)) {
        let mut buffer = [0_u8; 2048];
        // Any error means that there is nothing to read now.
        while let Ok((length, ..)) = recvfrom(socket, &mut buffer[..], RecvFlags::empty()) {
            if let Some((to, sequence)) = parse(&buffer[..length])
                && to < self.addresses.len()
            {
                each(Reply {
                    from,
                    to,
                    sequence,
                    at: Instant::now(),
                });
            }
        }
    }

    /// Pings every node from every other one, again each `every`, until all pairs have answered once. Returns for each
    /// pair the time from `begin` to its first answer.
    pub fn all_pairs(&self, begin: Instant, every: Duration, limit: Duration) -> Result<Vec<Pair>> {
        let count = self.addresses.len();
        let mut pairs: Vec<Pair> = (0..count)
            .flat_map(|from| {
                (0..count)
                    .filter(move |to| *to != from)
                    .map(move |to| Pair {
                        from,
                        to,
                        after: None,
                    })
            })
            .collect();
        let mut sequence = 0;
        while pairs.iter().any(|p| p.after.is_none()) && begin.elapsed() < limit {
            for pair in pairs.iter().filter(|p| p.after.is_none()) {
                self.send(pair.from, pair.to, sequence);
            }
            sequence += 1;
            self.receive(Instant::now() + every, |reply| {
                let answered = pairs
                    .iter_mut()
                    .find(|p| p.from == reply.from && p.to == reply.to);
                if let Some(pair) = answered
                    && pair.after.is_none()
                {
                    pair.after = Some(reply.at.saturating_duration_since(begin));
                }
            })?;
        }
        Ok(pairs)
    }

    /// Like [`Pinger::all_pairs`], but silence of any pair is an error. Returns when the last pair answered.
    pub fn reach_all(&self, begin: Instant, limit: Duration) -> Result<Duration> {
        let pairs = self.all_pairs(begin, Duration::from_millis(100), limit)?;
        let silent: Vec<String> = pairs
            .iter()
            .filter(|p| p.after.is_none())
            .map(|p| format!("{}-{}", p.from, p.to))
            .collect();
        if !silent.is_empty() {
            let (some, all) = (silent.len(), pairs.len());
            return Err(LabError::Timeout {
                what: format!("answers of {some} of {all} pairs: {}", silent.join(" ")),
                after: limit,
            });
        }
        Ok(pairs
            .iter()
            .filter_map(|p| p.after)
            .max()
            .unwrap_or_default())
    }

    /// Pings until one answer comes. Returns the time that took.
    pub fn reach(&self, from: NodeIndex, to: NodeIndex, limit: Duration) -> Result<Duration> {
        let begin = Instant::now();
        let mut sequence = 0;
        while begin.elapsed() < limit {
            self.send(from, to, sequence);
            sequence += 1;
            let mut found = None;
            self.receive(Instant::now() + Duration::from_millis(50), |reply| {
                if reply.from == from && reply.to == to && found.is_none() {
                    found = Some(reply.at.saturating_duration_since(begin));
                }
            })?;
            if let Some(after) = found {
                return Ok(after);
            }
        }
        Err(LabError::Timeout {
            what: format!("an answer from node {to} to node {from}"),
            after: limit,
        })
    }

    /// Whether no ping of `count`, 50 ms apart, is answered.
    pub fn is_silent(&self, from: NodeIndex, to: NodeIndex, count: u32) -> Result<bool> {
        let mut answered = false;
        // Numbers of their own, so that late answers to earlier pings do not count.
        for sequence in 0x4000_0000..0x4000_0000 + count {
            self.send(from, to, sequence);
            self.receive(Instant::now() + Duration::from_millis(50), |reply| {
                answered |= reply.from == from && reply.to == to && reply.sequence >= 0x4000_0000;
            })?;
        }
        Ok(!answered)
    }

    /// Round-trip times of `count` pings, sorted; those that nobody answered within a second after the last are left out.
    pub fn round_trips(
        &self,
        from: NodeIndex,
        to: NodeIndex,
        count: u32,
        every: Duration,
    ) -> Result<Vec<Duration>> {
        const FIRST: u32 = 0x2000_0000;
        let mut sent = Vec::new();
        let mut times = Vec::new();
        let answered = |sent: &[Instant], times: &mut Vec<Duration>, reply: Reply| {
            let number = reply.sequence.checked_sub(FIRST);
            let at = number.and_then(|number| sent.get(usize::try_from(number).ok()?));
            if let Some(at) = at.filter(|_| reply.from == from && reply.to == to) {
                times.push(reply.at.saturating_duration_since(*at));
            }
        };
        for sequence in FIRST..FIRST + count {
            let now = Instant::now();
            sent.push(now);
            self.send(from, to, sequence);
            self.receive(now + every, |reply| answered(&sent, &mut times, reply))?;
        }
        let last = Instant::now() + Duration::from_secs(1);
        while times.len() < sent.len() && Instant::now() < last {
            let soon = Instant::now() + Duration::from_millis(10);
            self.receive(soon, |reply| answered(&sent, &mut times, reply))?;
        }
        times.sort_unstable();
        Ok(times)
    }
}

/// Whether and when a pair of nodes first answered.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Who asks.
    pub from: NodeIndex,
    /// Who answers.
    pub to: NodeIndex,
    /// When the first answer came, since the beginning.
    pub after: Option<Duration>,
}

/// Target and sequence number of an echo reply to one of our pings.
fn parse(packet: &[u8]) -> Option<(NodeIndex, u32)> {
    let head: &[u8; 16] = packet.first_chunk()?;
    if head[0] != ECHO_REPLY || head[4..8] != MAGIC {
        return None;
    }
    let to = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    Some((
        usize::try_from(to).ok()?,
        u32::from_be_bytes([head[12], head[13], head[14], head[15]]),
    ))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_replies_to_our_own_pings_count() {
        let mut packet = *b"\x81\0\0\0wlab\0\0\0\x02\0\0\0\x07";
        assert_eq!(parse(&packet), Some((2, 7)));
        packet[0] = 128;
        assert_eq!(parse(&packet), None);
        assert_eq!(parse(b"\x81\0\0\0wla"), None);
    }
}
