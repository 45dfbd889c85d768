//! Keys that move on. A session's packets are counted by 32 bits: the upper 12 are the epoch, the lower 20 the packet in
//! it. Each epoch has a key of its own; old ones are forgotten, so that a key taken from a box opens nothing sent before.
//!
//! The epoch is part of every packet: whatever is lost, the receiver knows which key to make. One counter would say the
//! same as the whole 64, so nothing has to be guessed. The sender moves on after two minutes or 2^20 packets; when 4096
//! epochs are used up the session is over (at a million packets a second that takes more than an hour, and a fresh
//! handshake comes every 30 minutes of use).
//!
//! Chain: key(n) = KDF(chain(n), "warren session packet key"), chain(n + 1) = KDF(chain(n), "warren session chain").

use core::time::Duration;

use crate::crypto::SecretKey;
use crate::crypto::aead::{TAG_LEN, counter_nonce};
use crate::crypto::cipher::{PacketCipher, Suite};
use crate::crypto::kdf;
use crate::crypto::replay::ReplayWindow;
use crate::time::Instant;

/// Bits of the counter that count within an epoch.
const EPOCH_BITS: u32 = 20;
/// Epochs of a session.
const EPOCHS: u32 = 1 << (32 - EPOCH_BITS);
/// A sender uses a key at most this long.
pub(super) const EPOCH_TIME: Duration = Duration::from_secs(120);
/// How long packets of the epoch before may arrive late.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// How many epochs a packet may be ahead of the newest that opened. A sender that hears nothing for three minutes stops
/// (at most two epochs by time, and 64 million packets by number), so no honest one gets that far; what a forged packet
/// makes us compute is bounded by it: 128 short hashes.
const MAX_SKIP: u32 = 64;

/// Why a packet does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its counter was seen, or is too far from the newest.
    Counter,
    /// Its tag does not fit.
    Tag,
}

#[derive(Clone)]
struct Chain {
    epoch: u32,
    secret: SecretKey,
    suite: Suite,
}

impl Chain {
    /// The key of the chain's epoch; the chain moves to the next.
    fn advance(&mut self) -> PacketCipher {
        let key = PacketCipher::derive(self.suite, &self.secret, "warren session packet key");
        self.skip();
        key
    }

    fn skip(&mut self) {
        self.secret = kdf::derive(&self.secret, "warren session chain", &[]);
        self.epoch += 1;
    }
}

/// The sending side.
pub(super) struct SendRatchet {
    chain: Chain,
    key: PacketCipher,
    /// Counter of the next packet; 2^32 when all are used up.
    next: u64,
    /// When the key has to go.
    until: Instant,
}

impl SendRatchet {
    pub fn new(now: Instant, secret: SecretKey, suite: Suite) -> Self {
        let mut chain = Chain {
            epoch: 0,
            secret,
            suite,
        };
        let key = chain.advance();
        Self {
            chain,
            key,
            next: 0,
            until: now + EPOCH_TIME,
        }
    }

    /// The AEAD of its packets.
    pub const fn suite(&self) -> Suite {
        self.chain.suite
    }

    /// Whether there are epochs left.
    pub const fn is_usable(&self) -> bool {
        self.chain.epoch < EPOCHS
    }

    /// Whether half of the epochs are used up: time for a new session.
    pub const fn is_worn(&self) -> bool {
        self.chain.epoch > EPOCHS / 2
    }

    /// Moves to a new key if the old one is due. False when the session is used up.
    pub fn prepare(&mut self, now: Instant) -> bool {
        if now < self.until && self.next >> EPOCH_BITS < u64::from(self.chain.epoch) {
            return true;
        }
        if !self.is_usable() {
            return false;
        }
        // A key that nobody used yet is as good as a new one.
        if self.next & ((1 << EPOCH_BITS) - 1) != 0
            || self.next >> EPOCH_BITS >= u64::from(self.chain.epoch)
        {
            self.next = u64::from(self.chain.epoch) << EPOCH_BITS;
            self.key = self.chain.advance();
        }
        self.until = now + EPOCH_TIME;
        true
    }

    /// Seals `text` in place; [`SendRatchet::prepare`] said yes just before.
    pub fn seal(&mut self, text: &mut [u8]) -> (u32, [u8; TAG_LEN]) {
        let counter = self.next;
        self.next += 1;
        (
            counter as u32,
            self.key.seal(&counter_nonce(counter), &[], text),
        )
    }
}

struct Epoch {
    number: u32,
    key: PacketCipher,
    window: ReplayWindow,
}

impl Epoch {
    fn open(&mut self, counter: u32, text: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), Refused> {
        let place = counter & ((1 << EPOCH_BITS) - 1);
        let checked = self.window.check(place).map_err(|_| Refused::Counter)?;
        // The window takes numbers far behind it for ones a turn ahead; an epoch has no second turn.
        if checked != u64::from(place) {
            return Err(Refused::Counter);
        }
        self.key
            .open(&counter_nonce(counter.into()), &[], text, tag)
            .map_err(|_| Refused::Tag)?;
        self.window.commit(checked);
        Ok(())
    }
}

/// The receiving side.
pub(super) struct ReceiveRatchet {
    /// Of the epoch after the newest.
    chain: Chain,
    newest: Epoch,
    before: Option<(Epoch, Instant)>,
}

impl ReceiveRatchet {
    pub fn new(secret: SecretKey, suite: Suite) -> Self {
        let mut chain = Chain {
            epoch: 0,
            secret,
            suite,
        };
        let key = chain.advance();
        Self {
            chain,
            newest: Epoch {
                number: 0,
                key,
                window: ReplayWindow::default(),
            },
            before: None,
        }
    }

    /// Opens `text` in place. The counter is checked before the tag and remembered only after.
    pub fn open(
        &mut self,
        now: Instant,
        counter: u32,
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let epoch = counter >> EPOCH_BITS;
        if epoch == self.newest.number {
            return self.newest.open(counter, text, tag);
        }
        if epoch < self.newest.number {
            return match &mut self.before {
                Some((before, until)) if before.number == epoch && now <= *until => {
                    before.open(counter, text, tag)
                }
                _ => Err(Refused::Counter),
            };
        }
        if epoch - self.newest.number > MAX_SKIP {
            return Err(Refused::Counter);
        }
        let mut chain = self.chain.clone();
        while chain.epoch < epoch {
            chain.skip();
        }
        let mut newer = Epoch {
            number: epoch,
            key: chain.advance(),
            window: ReplayWindow::default(),
        };
        newer.open(counter, text, tag)?;
        self.chain = chain;
        let before = core::mem::replace(&mut self.newest, newer);
        self.before = Some((before, now + GRACE));
        Ok(())
    }

    /// Until when the key of the epoch before is kept, if there is one.
    pub fn old_until(&self) -> Option<Instant> {
        self.before.as_ref().map(|(_, until)| *until)
    }

    /// Forgets the key of the epoch before when nothing of it may come any more.
    pub fn forget_old(&mut self, now: Instant) {
        if self.before.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.before = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (SendRatchet, ReceiveRatchet) {
        let secret = SecretKey::new([3; 32]);
        (
            SendRatchet::new(Instant::ZERO, secret.clone(), Suite::default()),
            ReceiveRatchet::new(secret, Suite::default()),
        )
    }

    fn seal(send: &mut SendRatchet, now: Instant, text: &[u8]) -> (u32, Vec<u8>, [u8; TAG_LEN]) {
        assert!(send.prepare(now));
        let mut sealed = text.to_vec();
        let (counter, tag) = send.seal(&mut sealed);
        (counter, sealed, tag)
    }

    #[test]
    fn a_key_goes_after_two_minutes_of_use_and_after_two_to_the_twenty_packets() {
        let (mut send, mut receive) = pair();
        for i in 0..(1 << 20) + 2 {
            assert!(send.prepare(Instant::ZERO));
            let (counter, tag) = send.seal(&mut []);
            assert_eq!(counter, i);
            if i % 4099 == 0 || i >= 1 << 20 {
                assert_eq!(receive.open(Instant::ZERO, counter, &mut [], &tag), Ok(()));
            }
        }
        let later = Instant::ZERO + EPOCH_TIME;
        let (counter, mut sealed, tag) = seal(&mut send, later, b"x");
        assert_eq!(counter, 2 << 20);
        assert_eq!(receive.open(later, counter, &mut sealed, &tag), Ok(()));
        // An hour of silence is one step, not thirty.
        let (counter, ..) = seal(&mut send, later + EPOCH_TIME * 30, b"x");
        assert_eq!(counter, 3 << 20);
    }

    #[test]
    fn a_session_ends_when_its_epochs_are_used_up() {
        let (mut send, _) = pair();
        let mut now = Instant::ZERO;
        for _ in 0..EPOCHS {
            assert!(send.prepare(now));
            send.seal(&mut []);
            now = now + EPOCH_TIME;
        }
        assert!(!send.prepare(now));
    }

    #[test]
    fn a_forged_epoch_moves_nothing() {
        let (mut send, mut receive) = pair();
        let good = seal(&mut send, Instant::ZERO, b"good");
        for epoch in 1..=65_u32 {
            let refused = receive.open(Instant::ZERO, epoch << 20, &mut good.1.clone(), &good.2);
            assert_eq!(
                refused,
                Err(if epoch > 64 {
                    Refused::Counter
                } else {
                    Refused::Tag
                })
            );
        }
        assert_eq!(
            receive.open(Instant::ZERO, good.0, &mut good.1.clone(), &good.2),
            Ok(())
        );
        assert_eq!(
            receive.open(Instant::ZERO, good.0, &mut good.1.clone(), &good.2),
            Err(Refused::Counter)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Packets with gaps of time between them, delivered in any order, some never, some twice.
        #[test]
        fn any_loss_and_order_delivers_at_most_once_and_never_stalls(
            gaps in prop::collection::vec(prop::sample::select(vec![0u64, 1, 5, 30, 61, 120, 300]), 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..150),
        ) {
            let (mut send, mut receive) = pair();
            let mut now = Instant::ZERO;
            let packets: Vec<_> = gaps.iter().enumerate().map(|(i, gap)| {
                now = now + Duration::from_secs(*gap);
                seal(&mut send, now, &[i as u8])
            }).collect();
            let mut delivered = vec![false; packets.len()];
            let mut highest = None;
            for index in order {
                let i = index.index(packets.len());
                let (counter, mut text, tag) = packets[i].clone();
                match receive.open(now, counter, &mut text, &tag) {
                    Ok(()) => {
                        prop_assert!(!delivered[i]);
                        prop_assert_eq!(&text[..], &[i as u8]);
                        delivered[i] = true;
                    }
                    Err(refused) => {
                        prop_assert_eq!(refused, Refused::Counter);
                        // Newer than everything that opened: must open, however much was lost before.
                        prop_assert!(highest.is_some_and(|highest| i <= highest));
                    }
                }
                highest = highest.max(Some(i));
            }
        }
    }
}
