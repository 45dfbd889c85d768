//! The home's side of the handshake, and the two directions after it.

use rand_core::{CryptoRng, UnwrapErr};
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::aead::{Aead, DataAead, TAG_LEN};
use warren_mesh::crypto::noise::{Handshake, NoiseError, Parameters, Pattern, SplitKeys};

use super::PROLOGUE;

/// What is sealed to the app.
pub struct Sealer {
    aead: DataAead,
    counter: u64,
}

/// What the app sealed.
pub struct Opener {
    aead: DataAead,
    counter: u64,
}

/// A message that does not open: the channel ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of the channel does not open")]
pub struct Broken;

/// Noise's own nonce (section 12.3): the counter is little endian.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Sealer {
    /// Seals one message in place.
    pub fn seal(&mut self, mut message: Vec<u8>) -> Vec<u8> {
        let tag = self.aead.seal(&nonce(self.counter), &[], &mut message);
        self.counter += 1;
        message.extend(tag);
        message
    }
}

impl Opener {
    /// Opens the next message in place and gives its text.
    pub fn open<'a>(&mut self, message: &'a mut [u8]) -> Result<&'a [u8], Broken> {
        let (text, tag) = message.split_last_chunk_mut::<TAG_LEN>().ok_or(Broken)?;
        self.aead
            .open(&nonce(self.counter), &[], text, tag)
            .map_err(|_| Broken)?;
        self.counter += 1;
        Ok(text)
    }
}

/// Answers the app's first message: what to send back, and the two directions.
pub fn answer(secret: &SecretKey, first: &[u8]) -> Result<(Vec<u8>, Sealer, Opener), NoiseError> {
    let (second, keys) = respond(secret, first, &mut UnwrapErr(getrandom::SysRng))?;
    let (sealer, opener) = directions(keys);
    Ok((second, sealer, opener))
}

fn respond(
    secret: &SecretKey,
    first: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, SplitKeys), NoiseError> {
    let parameters = Parameters {
        pattern: Pattern::Nk,
        prologue: PROLOGUE,
        local_static: secret,
        remote_static: None,
        psk: None,
    };
    let mut handshake = Handshake::responder(parameters, rng)?;
    handshake.read(first)?;
    let mut second = Vec::new();
    handshake.write(&[], &mut second)?;
    Ok((second, handshake.split()?))
}

/// Both directions of a finished handshake.
pub fn directions(keys: SplitKeys) -> (Sealer, Opener) {
    let sealer = Sealer {
        aead: DataAead::new(keys.send),
        counter: 0,
    };
    let opener = Opener {
        aead: DataAead::new(keys.receive),
        counter: 0,
    };
    (sealer, opener)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};
    use serde_json::json;
    use warren_mesh::crypto::noise::x25519_public;

    use super::*;

    /// What the app's tests check their side against.
    const VECTORS: &str = "../../web-admin/app/test/vectors/channel.json";

    /// The key that a handshake draws from this source of randomness.
    fn ephemeral(seed: u8) -> [u8; 32] {
        let drawn = SecretKey::random(&mut ChaCha20Rng::from_seed([seed; 32]));
        let mut key = [0; 32];
        ChaCha20Rng::from_seed(*drawn.as_bytes()).fill_bytes(&mut key);
        key
    }

    #[test]
    fn vector_of_the_whole_channel() {
        let secret = SecretKey::new(core::array::from_fn(|n| n as u8 + 1));
        let public = x25519_public(&secret);
        let parameters = Parameters {
            pattern: Pattern::Nk,
            prologue: PROLOGUE,
            local_static: &secret,
            remote_static: Some(&public),
            psk: None,
        };
        let mut app =
            Handshake::initiator(parameters, &mut ChaCha20Rng::from_seed([1; 32])).unwrap();
        let mut first = Vec::new();
        app.write(&[], &mut first).unwrap();
        assert_eq!(first[..32], x25519_public(&SecretKey::new(ephemeral(1))));
        let (second, keys) =
            respond(&secret, &first, &mut ChaCha20Rng::from_seed([2; 32])).unwrap();
        app.read(&second).unwrap();
        let app = app.split().unwrap();
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        let (to_app, from_app) = (hex(app.receive.as_bytes()), hex(app.send.as_bytes()));
        let (mut home_seals, mut home_opens) = directions(keys);
        let (mut app_seals, mut app_opens) = directions(app);
        let texts = [&b""[..], b"a", &[7; 100]];
        let sealed = |seal: &mut Sealer, open: &mut Opener| {
            let mut all = Vec::new();
            for text in texts {
                let sealed = seal.seal(text.to_vec());
                assert_eq!(open.open(&mut sealed.clone()), Ok(text));
                all.push(json!({"text": hex(text), "sealed": hex(&sealed)}));
            }
            all
        };
        let vectors = json!({
            "home_public": hex(&public),
            "app_ephemeral": hex(&ephemeral(1)),
            "first": hex(&first),
            "second": hex(&second),
            "key_to_app": to_app,
            "key_from_app": from_app,
            "from_app": sealed(&mut app_seals, &mut home_opens),
            "from_home": sealed(&mut home_seals, &mut app_opens),
        });
        let made = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
        if std::env::var_os("WARREN_WRITE_VECTORS").is_some() {
            std::fs::write(VECTORS, &made).unwrap();
        }
        assert_eq!(std::fs::read_to_string(VECTORS).unwrap(), made);
    }
}
