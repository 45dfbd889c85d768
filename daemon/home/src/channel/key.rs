//! The home's X25519 key for the channel, in a file of its own (mode 0600): first line `warren channel key 1`, then 64
//! hexadecimal digits.

use std::fs;
use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use warren_mesh::crypto::SecretKey;
use warren_mesh::crypto::noise::x25519_public;
use zeroize::Zeroizing;

use crate::error::HomeError;
use crate::files::write_atomically;

const FIRST_LINE: &str = "warren channel key 1";

/// The key of one home.
#[derive(Debug, Clone)]
pub struct ChannelKey {
    /// The secret half.
    pub secret: SecretKey,
    /// The public half, as an app has to know it.
    pub public: [u8; 32],
}

impl ChannelKey {
    /// Reads the key, or makes one where there is none.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let failed = |action, source| HomeError::File {
            action,
            path: path.to_owned(),
            source,
        };
        let secret = match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => parse(&text).ok_or_else(|| {
                let what = format!("not a key file: it must begin with the line `{FIRST_LINE}`");
                failed("read", io::Error::new(io::ErrorKind::InvalidData, what))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = Zeroizing::new([0; 32]);
                getrandom::fill(&mut *secret)
                    .map_err(|error| HomeError::Random(error.to_string()))?;
                let text = Zeroizing::new(format!("{FIRST_LINE}\n{}\n", HEXLOWER.encode(&*secret)));
                write_atomically(path, text.as_bytes())
                    .map_err(|source| failed("write", source))?;
                secret
            }
            Err(source) => return Err(failed("read", source)),
        };
        let secret = SecretKey::new(*secret);
        let public = x25519_public(&secret);
        Ok(Self { secret, public })
    }
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut lines = text.lines();
    (lines.next()? == FIRST_LINE).then_some(())?;
    let digits = lines.next()?.as_bytes();
    let mut secret = Zeroizing::new([0; 32]);
    (digits.len() == 64).then_some(())?;
    HEXLOWER.decode_mut(digits, &mut *secret).ok()?;
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_and_nonsense_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("channel.key");
        let first = ChannelKey::open(&path).unwrap().public;
        assert_eq!(ChannelKey::open(&path).unwrap().public, first);
        fs::write(&path, "nonsense").unwrap();
        let error = ChannelKey::open(&path).unwrap_err().to_string();
        assert!(error.contains("channel.key"), "{error}");
    }
}
