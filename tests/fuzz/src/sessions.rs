//! End-to-end sessions: two nodes, and somebody on the way who sends anything, spoils, repeats and holds back. The table
//! stays bounded, nothing forged opens, and afterwards packets still pass.

use core::time::Duration;

use warren_mesh::deliver::Checksum;
use warren_mesh::identity::{MeshIdentity, ShortId};
use warren_mesh::packet::inner::Compressed;
use warren_mesh::packet::ipv6::Header;
use warren_mesh::session::{KIND_DATA, KIND_HANDSHAKE, Limits, Opened, Sessions, sealed_len};
use warren_mesh::time::Instant;

use crate::input::Input;

const LIMITS: Limits = Limits {
    peers: 32,
    waiting_bytes: 64 * 1024,
};
const OPERATIONS: usize = 64;
const HELD: usize = 64;

/// A routing payload: the node it is for, kind, bytes.
type Held = (usize, u8, Vec<u8>);

/// Two tables and what is under way between them.
#[derive(Debug)]
pub struct Way {
    now: Instant,
    identities: [MeshIdentity; 2],
    tables: [Sessions; 2],
    held: Vec<Held>,
    received: usize,
}

impl Default for Way {
    fn default() -> Self {
        let identities = [1, 2].map(|number| MeshIdentity::from_seed(&[number; 32]));
        let tables = [0, 1].map(|i| Sessions::new(&identities[i], 1, [i as u8 + 1; 32], LIMITS));
        Self {
            now: Instant::from_micros(1_000_000),
            identities,
            tables,
            held: Vec::new(),
            received: 0,
        }
    }
}

impl Way {
    /// What went by so far.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    fn give(&mut self, to: usize, source: ShortId, kind: u8, bytes: &[u8]) -> bool {
        let mut frame = bytes.to_vec();
        match kind {
            KIND_DATA => match self.tables[to].open(self.now, source, &mut frame) {
                Ok(Opened::Packet { peer, .. }) => {
                    let genuine = peer == self.identities[1 - to].address();
                    assert!(genuine, "only the other node has a session");
                    self.received += 1;
                    true
                }
                opened => opened.is_ok(),
            },
            _ => self.tables[to]
                .handle_message(self.now, source, &frame)
                .is_ok(),
        }
    }

    fn hold(&mut self, to: usize, kind: u8, bytes: &[u8]) {
        if self.held.len() < HELD {
            self.held.push((to, kind, bytes.to_vec()));
        }
    }

    /// Carries all messages.
    pub fn shuttle(&mut self) {
        for _ in 0..16 {
            let mut quiet = true;
            for from in 0..2 {
                while self.tables[from].poll_event().is_some() {}
                while let Some(output) = self.tables[from].poll_output() {
                    let to = 1 - from;
                    if output.to == self.identities[to].short_id() {
                        quiet = false;
                        let source = self.identities[from].short_id();
                        self.hold(to, output.kind, &output.bytes);
                        self.give(to, source, output.kind, &output.bytes);
                    }
                }
            }
            if quiet {
                break;
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.tables[0]
                .poll_timeout()
                .min(self.tables[1].poll_timeout());
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            for table in &mut self.tables {
                table.handle_timeout(self.now);
            }
            self.shuttle();
        }
        self.now = end;
    }

    /// A packet of a program; returns the frame that carried it.
    pub fn send(&mut self, from: usize, body: &[u8]) -> Option<Vec<u8>> {
        let destination = self.identities[1 - from].address();
        let own = self.identities[from].address();
        let header = Header {
            traffic_class: 0,
            flow_label: 0,
            payload_len: body.len() as u16,
            next_header: 59,
            hop_limit: 64,
            source: *own.as_bytes(),
            destination: *destination.as_bytes(),
        };
        let mut packet = header.to_bytes().to_vec();
        packet.extend(body);
        let packet = Compressed::new(&own, &packet, 0, Checksum::Complete).ok()?;
        let mut frame = vec![0; sealed_len(body.len())];
        match self.tables[from].sealer(self.now, &destination) {
            Ok(sealer) => {
                sealer.seal(&packet, &[], &mut frame).ok()?;
                self.hold(1 - from, KIND_DATA, &frame);
                Some(frame)
            }
            Err(_) => {
                self.tables[from].queue(self.now, &packet, &[]).ok()?;
                None
            }
        }
    }

    fn works(&mut self) -> bool {
        for _ in 0..300 {
            let before = self.received;
            for from in 0..2 {
                if let Some(frame) = self.send(from, b"still there?") {
                    let source = self.identities[from].short_id();
                    self.give(1 - from, source, KIND_DATA, &frame);
                }
            }
            self.shuttle();
            if self.received >= before + 2 {
                return true;
            }
            self.run(Duration::from_millis(100));
        }
        false
    }
}

/// See the file.
pub fn sessions(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut way = Way::default();
    for _ in 0..OPERATIONS {
        if input.is_empty() {
            break;
        }
        let what = input.u8();
        let to = usize::from(what >> 7);
        let source = match what >> 5 & 3 {
            0 => ShortId([9; 8]),
            _ => way.identities[1 - to].short_id(),
        };
        match what & 0x0f {
            0..=2 => {
                way.give(to, source, KIND_HANDSHAKE, input.sized());
            }
            3 => {
                let opened = way.give(to, source, KIND_DATA, input.sized());
                assert!(!opened, "a forged frame");
            }
            4..=6 if !way.held.is_empty() => {
                let which = usize::from(input.u8()) % way.held.len();
                let (to, kind, mut message) = way.held[which].clone();
                let spoiled = input.spoil(&mut message);
                let opened = way.give(to, source, kind, &message);
                assert!(!(opened && spoiled && kind == KIND_DATA), "a spoiled frame");
            }
            7 => way.run(Duration::from_millis(input.u16().into())),
            8 => way.run(Duration::from_secs(input.u16().into())),
            9 => {
                let of = way.identities[1 - to].address();
                way.tables[to].request_descriptor(way.now, of);
            }
            10 => way.tables[to].set_descriptor(way.now, input.sized().to_vec()),
            11 | 12 => {
                way.send(to, input.sized());
            }
            13 => {
                way.send(1 - to, input.sized());
                way.shuttle();
            }
            _ => way.shuttle(),
        }
        assert!(way.tables[to].established() <= LIMITS.peers);
    }
    assert!(way.works(), "nobody on the way can silence a session");
}
