//! Two tags at the end of a handshake message, so that a flood costs the sender more than the receiver (WireGuard,
//! sections 5.3, 5.4.4 and 5.4.7). `mac1` shows that the sender knows whom it talks to and is always checked; `mac2`
//! shows that it receives at the address it sends from and is demanded only under load, before any curve work. Whether
//! there is load is for the caller to say. Nothing here is kept per peer.
//!
//! Where WireGuard keys both with the responder's static key, which XX does not know yet, the key here comes from
//! public bytes that only the two sides are likely to have: the responder's short id, or the other side's ephemeral key.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

use super::{SecretKey, kdf};
use crate::time::Instant;
use crate::wire::{Reader, Truncated, Writer};

/// Length of `mac1` and `mac2` together, in bytes.
pub const MACS_LEN: usize = 32;
/// Length of a cookie reply in bytes: index 4, nonce 24, cookie 16, tag 16.
pub const REPLY_LEN: usize = 60;
/// How long a cookie's secret is in use, and a cookie at most.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(120);

const MAC_LEN: usize = 16;
const MAC1_LABEL: &str = "warren mac1 v1";
const MAC2_LABEL: &str = "warren mac2 v1";
const COOKIE_LABEL: &str = "warren cookie v1";
const REPLY_LABEL: &str = "warren cookie reply v1";

/// The keys of `mac1` and of cookie replies of everybody who handshakes with one receiver.
#[derive(Clone, Debug)]
pub struct MacKeys {
    mac1: SecretKey,
    reply: SecretKey,
}

/// A cookie a responder gave us.
#[derive(Clone, Debug)]
pub struct Cookie {
    value: SecretKey,
    /// When it came.
    received: Instant,
}

/// The reply is not for our message, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cookie reply does not belong to our handshake message")]
pub struct BadCookieReply;

/// What to do with a handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Work on it.
    Proceed,
    /// Answer with [`CookieGate::reply`] and forget it.
    NeedsCookie,
    /// Forget it: `mac1` is wrong or missing.
    Forget,
}

impl MacKeys {
    /// From bytes that name the receiver in the use that `purpose` names.
    pub fn new(purpose: &str, receiver: &[u8]) -> Self {
        let base = kdf::public_key(purpose, receiver);
        Self {
            mac1: kdf::derive(&base, MAC1_LABEL, &[]),
            reply: kdf::derive(&base, REPLY_LABEL, &[]),
        }
    }

    /// Appends `mac1` and `mac2` (zero without a cookie) to a message.
    pub fn stamp(&self, cookie: Option<&Cookie>, message: &mut Vec<u8>) {
        let mac1: [u8; MAC_LEN] = kdf::mac(&self.mac1, MAC1_LABEL, &[message]);
        message.put(&mac1);
        let mac2: [u8; MAC_LEN] = cookie.map_or([0; MAC_LEN], |cookie| {
            kdf::mac(&cookie.value, MAC2_LABEL, &[message])
        });
        message.put(&mac2);
    }

    /// The message without its tags, if `mac1` fits.
    pub fn verify_mac1<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        let (body, macs) = message.split_last_chunk::<MACS_LEN>()?;
        let mac1: [u8; MAC_LEN] = kdf::mac(&self.mac1, MAC1_LABEL, &[body]);
        bool::from(mac1.ct_eq(&macs[..MAC_LEN])).then_some(body)
    }

    /// Opens the reply to `message`, the very message sent. Returns the index the reply is addressed to as well.
    pub fn open_reply(
        &self,
        now: Instant,
        message: &[u8],
        reply: &[u8],
    ) -> Result<(u32, Cookie), BadCookieReply> {
        let mac1 = mac1_of(message).ok_or(BadCookieReply)?;
        let mut reader = Reader::new(reply);
        let parts = (|| {
            Ok::<_, Truncated>((
                reader.u32()?,
                reader.array::<24>()?,
                reader.array::<16>()?,
                reader.array::<16>()?,
            ))
        })();
        let (index, nonce, mut value, tag) = parts.map_err(|_| BadCookieReply)?;
        if !reader.is_empty() {
            return Err(BadCookieReply);
        }
        XChaCha20Poly1305::new(self.reply.as_bytes().into())
            .decrypt_inout_detached(
                &nonce.into(),
                mac1,
                InOutBuf::from(&mut value[..]),
                &tag.into(),
            )
            .map_err(|_| BadCookieReply)?;
        let cookie = Cookie {
            value: widen(value),
            received: now,
        };
        Ok((index, cookie))
    }
}

impl Cookie {
    /// Whether it is still worth sending.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now.since(self.received) < COOKIE_LIFETIME
    }
}

/// The responder's side: makes and checks cookies. Holds one secret, from which a new one follows every
/// [`COOKIE_LIFETIME`].
#[derive(Debug)]
pub struct CookieGate {
    secret: SecretKey,
}

impl CookieGate {
    /// A gate with a fresh secret.
    pub fn new<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        Self {
            secret: SecretKey::random(rng),
        }
    }

    /// Judges a handshake message that came from `from` (the transport address as bytes). Two short hashes, no curve.
    pub fn admit(
        &self,
        now: Instant,
        keys: &MacKeys,
        message: &[u8],
        from: &[u8],
        under_load: bool,
    ) -> Admission {
        if keys.verify_mac1(message).is_none() {
            return Admission::Forget;
        }
        if !under_load {
            return Admission::Proceed;
        }
        let (body, mac2) = message.split_at(message.len() - MAC_LEN);
        let cookie = widen(self.cookie(now, from));
        let expected: [u8; MAC_LEN] = kdf::mac(&cookie, MAC2_LABEL, &[body]);
        if bool::from(expected.ct_eq(mac2)) {
            Admission::Proceed
        } else {
            Admission::NeedsCookie
        }
    }

    /// Tells the sender of `message` its cookie. `index` is the sender's.
    pub fn reply<R: CryptoRng + ?Sized>(
        &self,
        now: Instant,
        keys: &MacKeys,
        message: &[u8],
        index: u32,
        from: &[u8],
        rng: &mut R,
    ) -> [u8; REPLY_LEN] {
        let mut reply = [0; REPLY_LEN];
        rng.fill_bytes(&mut reply[4..28]);
        reply[..4].copy_from_slice(&index.to_be_bytes());
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&reply[4..28]);
        let mut value = self.cookie(now, from);
        let sealed = XChaCha20Poly1305::new(keys.reply.as_bytes().into()).encrypt_inout_detached(
            &nonce.into(),
            mac1_of(message).unwrap_or_default(),
            InOutBuf::from(&mut value[..]),
        );
        reply[28..44].copy_from_slice(&value);
        match sealed {
            Ok(tag) => reply[44..].copy_from_slice(&tag),
            Err(_) => unreachable!("sixteen bytes are not too long to seal"),
        }
        reply
    }

    fn cookie(&self, now: Instant, from: &[u8]) -> [u8; MAC_LEN] {
        let period = now.as_micros() / COOKIE_LIFETIME.as_micros() as u64;
        kdf::mac(&self.secret, COOKIE_LABEL, &[&period.to_be_bytes(), from])
    }
}

/// A transport address as the bytes a cookie is bound to: IPv6 or mapped IPv4 address 16, port 2.
pub fn address_bytes(address: &SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

fn mac1_of(message: &[u8]) -> Option<&[u8]> {
    let macs = message.last_chunk::<MACS_LEN>()?;
    Some(&macs[..MAC_LEN])
}

/// A cookie is 16 bytes, a hash key 32: the rest is zero.
fn widen(value: [u8; MAC_LEN]) -> SecretKey {
    let mut key = [0; 32];
    key[..MAC_LEN].copy_from_slice(&value);
    SecretKey::new(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    const HERE: &[u8] = b"fe80::1 4242";

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    fn keys() -> MacKeys {
        MacKeys::new("test", b"receiver")
    }

    fn message(cookie: Option<&Cookie>) -> Vec<u8> {
        let mut message = b"hello".to_vec();
        keys().stamp(cookie, &mut message);
        message
    }

    fn seconds(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn cookie_for(gate: &CookieGate, now: Instant, message: &[u8]) -> Cookie {
        let reply = gate.reply(now, &keys(), message, 77, HERE, &mut rng());
        let (index, cookie) = keys().open_reply(now, message, &reply).unwrap();
        assert_eq!(index, 77);
        cookie
    }

    #[test]
    fn without_load_the_first_tag_suffices() {
        let gate = CookieGate::new(&mut rng());
        let admit = |message: &[u8], load| gate.admit(seconds(1), &keys(), message, HERE, load);
        assert_eq!(admit(&message(None), false), Admission::Proceed);
        assert_eq!(admit(&message(None), true), Admission::NeedsCookie);
        for place in 0..21 {
            let mut damaged = message(None);
            damaged[place] ^= 1;
            assert_eq!(admit(&damaged, false), Admission::Forget, "byte {place}");
        }
        assert_eq!(admit(&[0; 31], false), Admission::Forget);
        let other = MacKeys::new("test", b"somebody else");
        let verdict = gate.admit(seconds(1), &other, &message(None), HERE, false);
        assert_eq!(verdict, Admission::Forget);
    }

    #[test]
    fn a_cookie_opens_the_gate_from_its_own_address_only_and_for_two_minutes() {
        let gate = CookieGate::new(&mut rng());
        let cookie = cookie_for(&gate, seconds(1), &message(None));
        let again = message(Some(&cookie));
        let admit = |now, from| gate.admit(now, &keys(), &again, from, true);
        assert_eq!(admit(seconds(119), HERE), Admission::Proceed);
        assert_eq!(admit(seconds(119), b"elsewhere"), Admission::NeedsCookie);
        assert_eq!(admit(seconds(121), HERE), Admission::NeedsCookie);
        assert!(cookie.is_fresh(seconds(120)) && !cookie.is_fresh(seconds(121)));
    }

    #[test]
    fn a_reply_opens_only_with_the_message_it_answers() {
        let gate = CookieGate::new(&mut rng());
        let (now, sent) = (seconds(1), message(None));
        let reply = gate.reply(now, &keys(), &sent, 77, HERE, &mut rng());
        let mut other = b"hullo".to_vec();
        keys().stamp(None, &mut other);
        assert!(keys().open_reply(now, &other, &reply).is_err());
        assert!(keys().open_reply(now, &sent, &reply[..59]).is_err());
        for place in 4..REPLY_LEN {
            let mut damaged = reply;
            damaged[place] ^= 0x80;
            assert!(keys().open_reply(now, &sent, &damaged).is_err());
        }
    }
}
