//! Noise handshakes (revision 34) with 25519, ChaChaPoly and BLAKE2s: `snow` runs the pattern, this file gives it our
//! primitives and the caller's randomness, and hands out the raw split keys. Never touches the operating system's
//! random source, and never carries transport messages: links and sessions have frames of their own.
//!
//! Use: `initiator` or `responder`, then [`Handshake::write`] and [`Handshake::read`] in the order of the pattern (both
//! append to a buffer), and [`Handshake::split`] after the last message. An agreement whose result is all zero (a point
//! of small order, RFC 7748 section 6.1) is refused. A `read` that fails for want of the right keys leaves the handshake
//! where it was; one that fails behind a genuine static key (a damaged payload) may not: start over.

mod primitives;

use rand_core::CryptoRng;
use snow::params::NoiseParams;
use x25519_dalek::{PublicKey, StaticSecret};

use self::primitives::Resolver;
use super::SecretKey;

/// Longest Noise message accepted or made, in bytes: a handshake is one datagram.
pub const MAX_MESSAGE: usize = 1232;

/// Which handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Both learn the other's static key: messages of 32, 96 and 64 bytes plus payloads (the first is in the clear).
    Xx,
    /// XX with a pre-shared key mixed in before the payload of message 2, so that neither side's payload opens without
    /// it; the first message is 16 bytes longer.
    XxPsk2,
    /// The initiator knows the responder's static key: messages of 96 and 48 bytes plus payloads.
    Ik,
    /// The same with an initiator that stays unknown: messages of 48 and 48 bytes plus payloads.
    Nk,
}

impl Pattern {
    const fn name(self) -> &'static str {
        match self {
            Self::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
            Self::XxPsk2 => "Noise_XXpsk2_25519_ChaChaPoly_BLAKE2s",
            Self::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
            Self::Nk => "Noise_NK_25519_ChaChaPoly_BLAKE2s",
        }
    }
}

/// Why a handshake does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// Shorter than the pattern's message, or longer than [`MAX_MESSAGE`].
    #[error("the handshake message has an impossible length")]
    Length,
    /// The message was not made by the holder of the expected keys, or not for this handshake.
    #[error("the handshake message does not open")]
    Decrypt,
    /// A public key of small order.
    #[error("the handshake message holds a public key of small order")]
    SmallOrder,
    /// A pre-shared or static key that the pattern needs was not given, or messages come in the wrong order.
    #[error(
        "this handshake step is not possible now: a key is missing or the messages are out of order"
    )]
    State,
}

impl From<snow::Error> for NoiseError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Input => Self::Length,
            snow::Error::Decrypt => Self::Decrypt,
            snow::Error::Dh => Self::SmallOrder,
            _ => Self::State,
        }
    }
}

/// What a side brings along.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Which handshake.
    pub pattern: Pattern,
    /// Bytes both sides must agree on, such as protocol and version.
    pub prologue: &'a [u8],
    /// Our static X25519 private key. The initiator of [`Pattern::Nk`] has none: what is given is not used.
    pub local_static: &'a SecretKey,
    /// The responder's static X25519 public key: [`Pattern::Ik`] and [`Pattern::Nk`], initiator only.
    pub remote_static: Option<&'a [u8; 32]>,
    /// The pre-shared key: [`Pattern::XxPsk2`] only.
    pub psk: Option<&'a SecretKey>,
}

/// The keys a finished handshake leaves.
#[derive(Debug)]
pub struct SplitKeys {
    /// For what we send.
    pub send: SecretKey,
    /// For what we receive.
    pub receive: SecretKey,
    /// The handshake hash: names this very handshake on both sides, and is no secret.
    pub hash: [u8; 32],
}

/// A handshake under way.
pub struct Handshake {
    state: snow::HandshakeState,
}

impl core::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handshake(..)")
    }
}

impl Handshake {
    /// The side that speaks first. `rng` is drawn from once.
    pub fn initiator<R: CryptoRng + ?Sized>(
        parameters: Parameters<'_>,
        rng: &mut R,
    ) -> Result<Self, NoiseError> {
        Self::new(parameters, rng, true)
    }

    /// The side that answers. `rng` is drawn from once.
    pub fn responder<R: CryptoRng + ?Sized>(
        parameters: Parameters<'_>,
        rng: &mut R,
    ) -> Result<Self, NoiseError> {
        Self::new(parameters, rng, false)
    }

    fn new<R: CryptoRng + ?Sized>(
        parameters: Parameters<'_>,
        rng: &mut R,
        initiator: bool,
    ) -> Result<Self, NoiseError> {
        let noise: NoiseParams = parameters.pattern.name().parse()?;
        let resolver = Resolver::new(SecretKey::random(rng));
        let mut builder = snow::Builder::with_resolver(noise, Box::new(resolver))
            .prologue(parameters.prologue)?
            .local_private_key(parameters.local_static.as_bytes())?;
        if let Some(key) = parameters.remote_static {
            builder = builder.remote_public_key(key)?;
        }
        if let Some(psk) = parameters.psk {
            builder = builder.psk(2, psk.as_bytes())?;
        }
        let state = if initiator {
            builder.build_initiator()?
        } else {
            builder.build_responder()?
        };
        Ok(Self { state })
    }

    /// Appends the next message, with `payload` inside, to `out`.
    pub fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        out.resize(start + MAX_MESSAGE, 0);
        match self.state.write_message(payload, &mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error.into())
            }
        }
    }

    /// Reads the other side's next message and returns its payload.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, NoiseError> {
        if message.len() > MAX_MESSAGE {
            return Err(NoiseError::Length);
        }
        let mut payload = vec![0; message.len()];
        let read = self.state.read_message(message, &mut payload)?;
        payload.truncate(read);
        Ok(payload)
    }

    /// The other side's static public key, once it is known. After a failed [`Handshake::read`] it may be known too: the
    /// key opened, the payload did not.
    pub fn remote_static(&self) -> Option<[u8; 32]> {
        self.state.get_remote_static()?.try_into().ok()
    }

    /// The handshake hash so far: everything written and read, and the prologue.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.state.get_handshake_hash());
        hash
    }

    /// The keys, after the last message.
    pub fn split(mut self) -> Result<SplitKeys, NoiseError> {
        if !self.state.is_handshake_finished() {
            return Err(NoiseError::State);
        }
        let (first, second) = self.state.dangerously_get_raw_split();
        let (first, second) = (SecretKey::new(first), SecretKey::new(second));
        let (send, receive) = if self.state.is_initiator() {
            (first, second)
        } else {
            (second, first)
        };
        Ok(SplitKeys {
            send,
            receive,
            hash: self.hash(),
        })
    }
}

/// The X25519 public key of a private one (RFC 7748).
pub fn x25519_public(secret: &SecretKey) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret.as_bytes())).to_bytes()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::crypto::aead::{Aead, DataAead};

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// The published vectors of the `cacophony` implementation: keys, prologue and payloads are the same in all.
    fn cacophony(pattern: Pattern, hash: &str, first_transport: &str) {
        let initiator =
            hex::<32>("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1");
        let responder =
            hex::<32>("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
        let known = x25519_public(&SecretKey::new(responder));
        let build = |secret: &[u8; 32], ephemeral: &str, is_initiator: bool| {
            let resolver = Resolver::new(SecretKey::new([0; 32]));
            let ephemeral = hex::<32>(ephemeral);
            let noise = pattern.name().parse().unwrap();
            let mut builder = snow::Builder::with_resolver(noise, Box::new(resolver))
                .prologue(b"John Galt")
                .unwrap()
                .local_private_key(secret)
                .unwrap()
                .fixed_ephemeral_key_for_testing_only(&ephemeral);
            if is_initiator {
                if pattern == Pattern::Ik {
                    builder = builder.remote_public_key(&known).unwrap();
                }
                builder.build_initiator().unwrap()
            } else {
                builder.build_responder().unwrap()
            }
        };
        let (ours, theirs) = (
            "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
            "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
        );
        let mut first = Handshake {
            state: build(&initiator, ours, true),
        };
        let mut second = Handshake {
            state: build(&responder, theirs, false),
        };
        let payloads: [&[u8]; 3] = [b"Ludwig von Mises", b"Murray Rothbard", b"F. A. Hayek"];
        let messages = if pattern == Pattern::Ik { 2 } else { 3 };
        for (number, payload) in payloads.into_iter().take(messages).enumerate() {
            let (writer, reader) = if number % 2 == 0 {
                (&mut first, &mut second)
            } else {
                (&mut second, &mut first)
            };
            let mut message = Vec::new();
            writer.write(payload, &mut message).unwrap();
            assert_eq!(reader.read(&message).unwrap(), payload);
        }
        let (first, second) = (first.split().unwrap(), second.split().unwrap());
        assert_eq!(first.hash, hex::<32>(hash));
        assert_eq!(second.hash, first.hash);
        assert_eq!(first.send.as_bytes(), second.receive.as_bytes());
        assert_eq!(first.receive.as_bytes(), second.send.as_bytes());
        // The next sender is whose turn it is after the last handshake message.
        let (key, text): (_, &[u8]) = if messages == 2 {
            (first.send, payloads[2])
        } else {
            (second.send, b"Carl Menger")
        };
        let mut sealed = text.to_vec();
        let tag = DataAead::new(key).seal(&[0; 12], &[], &mut sealed);
        sealed.extend(tag);
        assert_eq!(sealed, hex::<27>(first_transport));
    }

    #[test]
    fn xx_reproduces_the_published_vector() {
        cacophony(
            Pattern::Xx,
            "6c4c56cf71612f72d05ceb96c0155e6f4ea54a26b504c93de632a2db4a49d200",
            "d5e83adfaac5dc324a68f1862df54549e56d209fba707205f328b2",
        );
    }

    #[test]
    fn ik_reproduces_the_published_vector() {
        cacophony(
            Pattern::Ik,
            "48f3cb8bc9319da4ba1e9933991b1c4ed4034f1f126a76d3a1fbcfd7f94248d4",
            "2c256ed08fcd08c2980f954ee4beaccb61c9581340f5dd2fd1cf3b",
        );
    }

    fn parameters<'a>(pattern: Pattern, secret: &'a SecretKey) -> Parameters<'a> {
        Parameters {
            pattern,
            prologue: b"test",
            local_static: secret,
            remote_static: None,
            psk: None,
        }
    }

    #[test]
    fn the_same_randomness_makes_the_same_message_and_other_randomness_another() {
        let secret = SecretKey::new([1; 32]);
        let first = |seed| {
            let mut rng = ChaCha20Rng::from_seed([seed; 32]);
            let parameters = parameters(Pattern::Xx, &secret);
            let mut message = Vec::new();
            Handshake::initiator(parameters, &mut rng)
                .unwrap()
                .write(b"", &mut message)
                .unwrap();
            message
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
        assert_eq!(first(1).len(), 32);
    }

    #[test]
    fn steps_out_of_order_missing_keys_and_impossible_lengths_are_errors() {
        let secret = SecretKey::new([1; 32]);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut build = |pattern| Handshake::initiator(parameters(pattern, &secret), &mut rng);
        assert_eq!(build(Pattern::Ik).unwrap_err(), NoiseError::State);
        let mut xx = build(Pattern::Xx).unwrap();
        assert_eq!(xx.read(&[0; 96]), Err(NoiseError::State));
        let mut out = b"before".to_vec();
        let result = xx.write(&[0; MAX_MESSAGE], &mut out);
        assert_eq!((result, out.len()), (Err(NoiseError::Length), 6));
        let mut xx = build(Pattern::Xx).unwrap();
        xx.write(b"", &mut out).unwrap();
        assert_eq!(xx.read(&[0; 10]), Err(NoiseError::Length));
        assert_eq!(xx.read(&[0; MAX_MESSAGE + 1]), Err(NoiseError::Length));
        assert!(matches!(xx.split(), Err(NoiseError::State)));
    }
}
