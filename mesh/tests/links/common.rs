//! Nodes and links for the tests.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use warren_mesh::crypto::SecretKey;
use warren_mesh::identity::{MeshIdentity, ShortId};
use warren_mesh::link::{
    Established, GroupSender, Initiator, LinkIndex, LinkParty, Responder, RoutingHeader,
};
use warren_mesh::link::{PayloadKind, session::DATA_HEADER_LEN};
use warren_mesh::time::Instant;

/// A node as far as its links go. `number` decides everything about it.
pub struct Party {
    pub identity: MeshIdentity,
    pub static_secret: SecretKey,
    pub psk: Option<SecretKey>,
    pub group: GroupSender,
    pub rng: ChaCha20Rng,
}

impl Party {
    pub fn new(number: u8) -> Self {
        let mut rng = ChaCha20Rng::from_seed([number; 32]);
        Self {
            identity: MeshIdentity::from_seed(&[number ^ 0xff; 32]),
            static_secret: SecretKey::random(&mut rng),
            psk: None,
            group: GroupSender::new(&mut rng),
            rng,
        }
    }

    pub fn with_psk(number: u8, psk: u8) -> Self {
        Self {
            psk: Some(SecretKey::new([psk; 32])),
            ..Self::new(number)
        }
    }

    pub fn link(&self) -> LinkParty<'_> {
        LinkParty {
            identity: &self.identity,
            static_secret: &self.static_secret,
            psk: self.psk.as_ref(),
            group: &self.group,
            features: 0x0102,
        }
    }

    pub fn start(&mut self, peer: ShortId, index: u32) -> Initiator {
        let mut rng = self.rng.clone();
        let initiator = Initiator::start(&self.link(), peer, LinkIndex(index), &mut rng).unwrap();
        self.rng = rng;
        initiator
    }

    pub fn accept(
        &mut self,
        index: u32,
        message: &[u8],
    ) -> Result<Responder, warren_mesh::link::LinkError> {
        let mut rng = self.rng.clone();
        let responder = Responder::accept(&self.link(), LinkIndex(index), message, &mut rng);
        self.rng = rng;
        responder
    }
}

pub const INITIATOR_INDEX: u32 = 0x0a0b_0c0d;
pub const RESPONDER_INDEX: u32 = 0x1a1b_1c1d;

/// Runs a whole handshake from `a` to `b`.
pub fn establish(a: &mut Party, b: &mut Party) -> (Established, Established) {
    let mut initiator = a.start(b.identity.short_id(), INITIATOR_INDEX);
    let mut responder = b.accept(RESPONDER_INDEX, initiator.message()).unwrap();
    let (third, at_a) = initiator
        .finish(Instant::ZERO, &a.link(), responder.message())
        .unwrap();
    let at_b = responder.finish(Instant::ZERO, &b.link(), &third).unwrap();
    (at_a, at_b)
}

/// A link between node 1 and node 2.
pub fn pair() -> (Established, Established) {
    establish(&mut Party::new(1), &mut Party::new(2))
}

pub fn seconds(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

pub fn header(payload_len: usize) -> RoutingHeader {
    RoutingHeader {
        ttl: 64,
        kind: PayloadKind::SESSION,
        source: ShortId(*b"source!!"),
        destination: ShortId(*b"distant!"),
        payload_len: u16::try_from(payload_len).unwrap(),
    }
}

/// A data frame with room for the header and `len` bytes of payload in place.
pub fn room_and_payload(len: usize) -> Vec<u8> {
    let mut frame = vec![0; DATA_HEADER_LEN];
    frame.extend((0..len).map(|i| (i * 5 + 1) as u8));
    frame
}
