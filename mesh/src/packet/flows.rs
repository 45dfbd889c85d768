//! The flows this node began: what their answers are recognised by. Only packets that leave add an entry, so nobody
//! outside can fill the table.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::collections::HashMap;
use std::hash::DefaultHasher;

use super::ipv6;
use crate::identity::NodeAddress;
use crate::time::Instant;

/// Entries at most, about 300 KiB. When it is full, an eighth goes: expired first, then unanswered, then longest idle.
pub(super) const MAX_FLOWS: usize = 4096;

/// One conversation, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    pub peer: NodeAddress,
    pub protocol: u8,
    pub local_port: u16,
    pub remote_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No answer yet.
    Began,
    /// Both sides have spoken.
    Answered,
    /// TCP: one side has said goodbye.
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    state: State,
    used: Instant,
}

impl Flow {
    /// RFC 5382 (TCP: 2 h 4 min established, 4 min in transition) and RFC 4787 (UDP: 5 min recommended).
    const fn timeout(&self, protocol: u8) -> Duration {
        Duration::from_secs(match (protocol, self.state) {
            (ipv6::TCP, State::Answered) => 7440,
            (ipv6::TCP, _) => 240,
            (_, State::Began) => 60,
            (_, _) => 300,
        })
    }
}

/// SipHash with a fixed start: keys come from this node alone, and a simulation must run the same way twice.
#[derive(Clone, Debug, Default)]
struct FlowHasher;

impl BuildHasher for FlowHasher {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(0);
        hasher
    }
}

/// The table. Finding and adding are one hash lookup, or none when the flow is the last one again.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<FlowKey, Flow, FlowHasher>,
    /// The last flow that was let through or sent, and until when no look at the table is needed for it.
    recent_in: Option<(FlowKey, Instant)>,
    recent_out: Option<(FlowKey, Instant)>,
}

/// For so long a flow's entry need not be brought up to date.
const RECENT: Duration = Duration::from_secs(5);

impl Flows {
    /// A packet of this flow leaves.
    pub fn outbound(&mut self, now: Instant, key: FlowKey, closes: bool) {
        if !closes
            && self
                .recent_out
                .is_some_and(|(recent, until)| recent == key && now < until)
        {
            return;
        }
        match self.flows.get_mut(&key) {
            Some(flow) => {
                if now.since(flow.used) > flow.timeout(key.protocol) {
                    flow.state = State::Began;
                }
                flow.used = now;
                if closes {
                    flow.state = State::Closing;
                } else if flow.state == State::Closing && key.protocol != ipv6::TCP {
                    flow.state = State::Answered;
                }
            }
            None => {
                if self.flows.len() >= MAX_FLOWS {
                    self.evict(now);
                }
                let state = if closes { State::Closing } else { State::Began };
                self.flows.insert(key, Flow { state, used: now });
            }
        }
        self.recent_out = Some((key, now + RECENT));
    }

    /// Whether a packet that came in belongs to a flow begun here.
    pub fn inbound(&mut self, now: Instant, key: FlowKey, closes: bool) -> bool {
        if !closes
            && self
                .recent_in
                .is_some_and(|(recent, until)| recent == key && now < until)
        {
            return true;
        }
        let Some(flow) = self.flows.get_mut(&key) else {
            return false;
        };
        if now.since(flow.used) > flow.timeout(key.protocol) {
            self.flows.remove(&key);
            return false;
        }
        flow.used = now;
        match flow.state {
            _ if closes => flow.state = State::Closing,
            State::Began => flow.state = State::Answered,
            State::Answered | State::Closing => {}
        }
        self.recent_in = Some((key, now + RECENT));
        true
    }

    /// How many flows are known.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    fn evict(&mut self, now: Instant) {
        self.flows
            .retain(|key, flow| now.since(flow.used) <= flow.timeout(key.protocol));
        let goal = MAX_FLOWS - MAX_FLOWS / 8;
        if self.flows.len() > goal {
            let rank = |flow: &Flow| (flow.state == State::Answered, flow.used);
            let mut ranks: Vec<_> = self
                .flows
                .iter()
                .map(|(key, flow)| {
                    (
                        rank(flow),
                        key.peer,
                        key.protocol,
                        key.local_port,
                        key.remote_port,
                    )
                })
                .collect();
            let surplus = ranks.len() - goal;
            ranks.select_nth_unstable(surplus - 1);
            for (_, peer, protocol, local_port, remote_port) in ranks.into_iter().take(surplus) {
                self.flows.remove(&FlowKey {
                    peer,
                    protocol,
                    local_port,
                    remote_port,
                });
            }
        }
        self.recent_in = None;
        self.recent_out = None;
    }
}
