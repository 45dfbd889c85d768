//! What the island may open on this node through TUN: nothing but ICMPv6 echo and errors, what the owner opened, and
//! answers to what this node asked. Says yes or no; never answers a packet itself.
//!
//! | what comes in | verdict |
//! |---|---|
//! | ICMPv6 echo request, echo reply, errors (types 1 to 4) | passes |
//! | other ICMPv6 (neighbour discovery, redirects, multicast listener reports) | refused: the island is no local link |
//! | TCP or UDP to an open port | passes |
//! | a packet of a flow that this node began | passes |
//! | a later fragment | passes if its first fragment did, within 30 s |
//! | a first fragment without ports, headers out of order, everything else | refused |
//!
//! The node answers a refused packet with ICMPv6 "administratively prohibited" at a limited rate
//! ([`super::icmpv6::error_limit`]): a person sees at once that a port is closed, and the node's existence is no secret
//! to somebody who has a session with it. Above that rate packets are dropped silently.

use core::time::Duration;

use super::PacketError;
use super::flows::{FlowKey, Flows};
use super::ipv6::{self, Fragment, ICMPV6, TCP, UDP, Upper};
use crate::identity::NodeAddress;
use crate::time::Instant;

/// The owner's rules.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Everything is open (labs).
    pub open_all: bool,
    /// Open TCP ports.
    pub tcp: Vec<u16>,
    /// Open UDP ports.
    pub udp: Vec<u16>,
}

impl Policy {
    /// Whether the owner opened this port.
    pub fn opens(&self, protocol: u8, port: u16) -> bool {
        self.open_all
            || match protocol {
                TCP => self.tcp.contains(&port),
                UDP => self.udp.contains(&port),
                _ => false,
            }
    }
}

/// What happens to a packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the programs.
    Pass,
    /// Not for this node's programs; an ICMPv6 error may tell the sender.
    Refuse,
}

/// First fragments that passed, remembered for their later ones.
const MAX_FRAGMENTED: usize = 16;
/// How long a later fragment may lag behind its first: Linux gives up on a datagram after 60 s, most come at once.
const FRAGMENT_TIMEOUT: Duration = Duration::from_secs(30);

const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// The policy with what it has to remember. Costs at most one hash lookup per packet, none for the same flow again.
#[derive(Debug, Default)]
pub struct Gate {
    policy: Policy,
    flows: Flows,
    fragmented: [Option<Fragmented>; MAX_FRAGMENTED],
    next_fragmented: usize,
}

#[derive(Clone, Copy, Debug)]
struct Fragmented {
    peer: NodeAddress,
    identification: u32,
    at: Instant,
}

/// What the gate looks at in a transport header.
struct Ports {
    protocol: u8,
    source: u16,
    destination: u16,
    tcp_flags: u8,
}

impl Ports {
    fn read(upper: &Upper, bytes: &[u8]) -> Result<Self, PacketError> {
        let mut ports = Self {
            protocol: upper.protocol,
            source: 0,
            destination: 0,
            tcp_flags: 0,
        };
        if matches!(upper.protocol, TCP | UDP) {
            let header: &[u8; 8] = bytes
                .get(upper.offset..)
                .and_then(<[u8]>::first_chunk)
                .ok_or(PacketError::Truncated)?;
            ports.source = u16::from_be_bytes([header[0], header[1]]);
            ports.destination = u16::from_be_bytes([header[2], header[3]]);
        }
        if upper.protocol == TCP {
            ports.tcp_flags = *bytes.get(upper.offset + 13).ok_or(PacketError::Truncated)?;
        }
        Ok(ports)
    }

    const fn closes(&self) -> bool {
        self.tcp_flags & (TCP_FIN | TCP_RST) != 0
    }

    /// Whether a packet that leaves may begin a flow. What only answers somebody else's packet may not: whoever can make
    /// this node answer could fill the table.
    const fn begins(&self) -> bool {
        self.tcp_flags & TCP_RST == 0 && self.tcp_flags & (TCP_SYN | TCP_ACK) != TCP_SYN | TCP_ACK
    }
}

impl Gate {
    /// A gate with the owner's rules and no flows.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// Changes the rules; flows stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// How many flows of this node are known.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// A packet of this node leaves for `peer`. `bytes` is what follows the IPv6 header, at least as far as the
    /// transport header.
    pub fn outbound(&mut self, now: Instant, peer: &NodeAddress, next_header: u8, bytes: &[u8]) {
        if self.policy.open_all {
            return;
        }
        let Ok(upper) = ipv6::upper(next_header, bytes) else {
            return;
        };
        if upper.protocol == ICMPV6 || upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
            return;
        }
        let Ok(ports) = Ports::read(&upper, bytes) else {
            return;
        };
        if !ports.begins() || self.policy.opens(ports.protocol, ports.source) {
            return;
        }
        let key = FlowKey {
            peer: *peer,
            protocol: ports.protocol,
            local_port: ports.source,
            remote_port: ports.destination,
        };
        self.flows.outbound(now, key, ports.closes());
    }

    /// Whether a packet from `peer` may pass. `bytes` is everything that follows the IPv6 header.
    pub fn inbound(
        &mut self,
        now: Instant,
        peer: &NodeAddress,
        next_header: u8,
        bytes: &[u8],
    ) -> Verdict {
        if self.policy.open_all {
            return Verdict::Pass;
        }
        let Ok(upper) = ipv6::upper(next_header, bytes) else {
            return Verdict::Refuse;
        };
        let passes = match upper.fragment {
            Some(fragment) if fragment.offset > 0 => self.knows_fragment(now, peer, fragment),
            _ => self.whole_passes(now, peer, &upper, bytes),
        };
        if !passes {
            return Verdict::Refuse;
        }
        if let Some(fragment) = upper.fragment.filter(|fragment| fragment.offset == 0) {
            self.fragmented[self.next_fragmented] = Some(Fragmented {
                peer: *peer,
                identification: fragment.identification,
                at: now,
            });
            self.next_fragmented = (self.next_fragmented + 1) % MAX_FRAGMENTED;
        }
        Verdict::Pass
    }

    fn whole_passes(
        &mut self,
        now: Instant,
        peer: &NodeAddress,
        upper: &Upper,
        bytes: &[u8],
    ) -> bool {
        if upper.protocol == ICMPV6 {
            return bytes
                .get(upper.offset)
                .is_some_and(|kind| matches!(*kind, 1..=4 | ECHO_REQUEST | ECHO_REPLY));
        }
        let Ok(ports) = Ports::read(upper, bytes) else {
            return false;
        };
        if self.policy.opens(ports.protocol, ports.destination) {
            return true;
        }
        let key = FlowKey {
            peer: *peer,
            protocol: ports.protocol,
            local_port: ports.destination,
            remote_port: ports.source,
        };
        self.flows.inbound(now, key, ports.closes())
    }

    fn knows_fragment(&self, now: Instant, peer: &NodeAddress, fragment: Fragment) -> bool {
        self.fragmented.iter().flatten().any(|known| {
            known.peer == *peer
                && known.identification == fragment.identification
                && now.since(known.at) <= FRAGMENT_TIMEOUT
        })
    }
}
