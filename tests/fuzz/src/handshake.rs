//! Link handshakes: foreign bytes at every stage, and genuine messages with something changed on the way, which never
//! end in a link. Cookies, beacons and frames of a fresh link on the side.

use core::cell::RefCell;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::cookie::{Admission, CookieGate};
use warren_mesh::identity::MeshIdentity;
use warren_mesh::link::handshake;
use warren_mesh::link::{
    Beacon, Established, GroupSender, Initiator, LinkIndex, LinkParty, Responder, group_id,
    receiver_index,
};
use warren_mesh::time::Instant;

use crate::input::Input;

const MACS: usize = 32;

/// A node as far as its links go.
#[derive(Debug)]
struct Party {
    identity: MeshIdentity,
    secret: SecretKey,
    psk: Option<SecretKey>,
    group: GroupSender,
    rng: RefCell<ChaCha20Rng>,
}

impl Party {
    /// Keys differ from input to input: a fuzzer that watches comparisons reads the right tag there, and would put it into
    /// the next input.
    fn new(number: u8, psk: bool, bytes: &[u8]) -> Self {
        let mut hash = DefaultHasher::new();
        (number, bytes).hash(&mut hash);
        let mut rng = ChaCha20Rng::seed_from_u64(hash.finish());
        Self {
            identity: MeshIdentity::from_seed(&[number; 32]),
            secret: SecretKey::random(&mut rng),
            psk: psk.then(|| SecretKey::new([7; 32])),
            group: GroupSender::new(&mut rng),
            rng: RefCell::new(rng),
        }
    }

    fn link(&self) -> LinkParty<'_> {
        LinkParty {
            identity: &self.identity,
            static_secret: &self.secret,
            psk: self.psk.as_ref(),
            group: &self.group,
            features: 0,
        }
    }

    fn start(&self, to: &Self) -> Initiator {
        let rng = &mut *self.rng.borrow_mut();
        Initiator::start(&self.link(), to.identity.short_id(), LinkIndex(1), rng)
            .expect("a handshake starts")
    }

    fn accept(&self, message: &[u8]) -> Option<Responder> {
        let rng = &mut *self.rng.borrow_mut();
        Responder::accept(&self.link(), LinkIndex(2), message, rng).ok()
    }
}

/// See the file.
pub fn link(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let what = input.u8();
    let (a, b) = (
        Party::new(1, what & 0x80 != 0, bytes),
        Party::new(2, what & 0x80 != 0, bytes),
    );
    let now = Instant::ZERO;
    let mut initiator = a.start(&b);
    match what & 0x07 {
        0 => assert!(b.accept(input.rest()).is_none(), "a forged message 1"),
        1 => {
            // The ephemeral key of message 1 is not proven yet: mac1 covers it.
            let mut first = initiator.message().to_vec();
            let len = first.len() - MACS / 2;
            let genuine = first[..len].to_vec();
            input.spoil(&mut first);
            if first.get(..len) != Some(&genuine[..]) {
                assert!(b.accept(&first).is_none(), "a spoiled message 1");
            }
        }
        2 => {
            let finished = initiator.finish(now, &a.link(), input.rest());
            assert!(finished.is_err(), "a forged message 2");
        }
        3 => {
            let responder = b.accept(initiator.message()).expect("it is genuine");
            let mut second = responder.message().to_vec();
            let len = second.len();
            input.spoil(&mut second);
            let same =
                second.len() == len && second[..len - MACS] == responder.message()[..len - MACS];
            let finished = initiator.finish(now, &a.link(), &second);
            assert!(same || finished.is_err(), "a spoiled message 2");
        }
        4 => {
            let mut responder = b.accept(initiator.message()).expect("it is genuine");
            let finished = responder.finish(now, &b.link(), input.rest());
            assert!(finished.is_err(), "a forged message 3");
        }
        5 => {
            let mut responder = b.accept(initiator.message()).expect("it is genuine");
            let (mut third, at_a) = initiator
                .finish(now, &a.link(), responder.message())
                .expect("it is genuine");
            let spoiled = input.spoil(&mut third);
            match responder.finish(now, &b.link(), &third) {
                Ok(at_b) => {
                    assert!(!spoiled, "a spoiled message 3");
                    established(at_a, at_b, &mut input);
                }
                Err(_) => assert!(spoiled, "a genuine message 3"),
            }
        }
        6 => cookie(&a, &b, &mut initiator, &mut input),
        _ => {
            let datagram = input.rest();
            let _ = (receiver_index(datagram), group_id(datagram));
            let _ = handshake::sender_index(datagram);
            if let Ok(beacon) = Beacon::decode(datagram) {
                assert!(datagram.starts_with(&beacon.encode()) || datagram.len() >= 15);
            }
            // Whoever sees message 1 can make a cookie: its key comes from the responder's short id and mac1. It gains
            // nothing: the handshake goes on as before.
            if initiator.take_cookie(now, datagram).is_ok() {
                assert_eq!(handshake_cookie_index(datagram), Some(1));
                let responder = b.accept(initiator.message()).expect("mac1 is as it was");
                let finished = initiator.finish(now, &a.link(), responder.message());
                assert!(finished.is_ok(), "a forged cookie ended a handshake");
            }
        }
    }
}

/// Whom a cookie names, if it is one.
fn handshake_cookie_index(datagram: &[u8]) -> Option<u32> {
    let [0x15, index @ ..] = datagram else {
        return None;
    };
    Some(u32::from_be_bytes(*index.first_chunk()?))
}

fn cookie(a: &Party, b: &Party, initiator: &mut Initiator, input: &mut Input<'_>) {
    let now = Instant::ZERO;
    let keys = handshake::responder_mac_keys(b.identity.short_id());
    let gate = CookieGate::new(&mut *b.rng.borrow_mut());
    let from = input.piece(18);
    let admitted = handshake::admit(&gate, now, &keys, initiator.message(), from, true);
    assert_eq!(admitted, Admission::NeedsCookie);
    let mut forged = initiator.message().to_vec();
    forged.truncate(input.u8().into());
    forged.extend(input.sized());
    let admitted = handshake::admit(&gate, now, &keys, &forged, from, true);
    assert_ne!(admitted, Admission::Proceed, "nobody guesses a cookie");
    let rng = &mut *a.rng.borrow_mut();
    let reply = handshake::cookie_reply(&gate, now, &keys, initiator.message(), from, rng);
    let mut reply = reply.expect("a message 1 has a sender");
    let spoiled = input.spoil(&mut reply);
    let taken = initiator.take_cookie(now, &reply);
    assert_eq!(taken.is_err(), spoiled, "only the genuine cookie is taken");
    if !spoiled {
        let message = initiator.message();
        let admitted = handshake::admit(&gate, now, &keys, message, from, true);
        assert_eq!(admitted, Admission::Proceed);
    }
}

/// Frames of a fresh link: nothing forged opens.
fn established(mut at_a: Established, mut at_b: Established, input: &mut Input<'_>) {
    let mut genuine = Vec::new();
    at_a.session.seal_control(input.sized(), &mut genuine);
    let mut spoiled = genuine.clone();
    if input.spoil(&mut spoiled) {
        assert!(at_b.session.open_control(&mut spoiled).is_err());
    }
    let mut datagram = input.rest().to_vec();
    assert!(at_b.session.open_data(&datagram).is_err());
    assert!(at_b.session.open_control(&mut datagram).is_err());
    let key = at_b.session.broadcast_receive_key();
    assert!(at_b.peer_group.open(key, &mut datagram).is_err());
    assert!(at_b.session.open_control(&mut genuine).is_ok());
}
