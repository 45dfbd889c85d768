//! The key under which this home collects its people's messages, in a file of its own (mode 0600): first line
//! `warren collector key 1`, then 64 hexadecimal digits. It signs nothing but proofs of who collects.

use std::fs;
use std::io;
use std::path::Path;

use nostr::key::Keys;
use zeroize::Zeroizing;

use crate::error::HomeError;
use crate::files::{failed, write_atomically};

const FIRST_LINE: &str = "warren collector key 1";

/// Reads the key, or makes one where there is none.
pub fn open(path: &Path) -> Result<Keys, HomeError> {
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => parse(&text).ok_or_else(|| HomeError::Damaged {
            path: path.to_owned(),
            what: format!("not a key file: it must begin with the line `{FIRST_LINE}`"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys = Keys::generate();
            let secret = Zeroizing::new(keys.secret_key().to_secret_hex());
            let text = Zeroizing::new(format!("{FIRST_LINE}\n{}\n", *secret));
            write_atomically(path, text.as_bytes()).map_err(failed("write", path))?;
            Ok(keys)
        }
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn parse(text: &str) -> Option<Keys> {
    let mut lines = text.lines();
    (lines.next()? == FIRST_LINE).then_some(())?;
    Keys::parse(lines.next().filter(|digits| digits.len() == 64)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stays_and_nonsense_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("collector.key");
        let first = open(&path).unwrap().public_key();
        assert_eq!(open(&path).unwrap().public_key(), first);
        fs::write(&path, "nonsense").unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("collector.key"), "{error}");
    }
}
