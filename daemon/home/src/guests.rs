//! Guest accounts: a random token in the browser's cookie, and for it a name and a key in a file of their own.
//! The token itself is not stored, only its hash: who reads the files cannot take over a browser's account.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use nostr::key::Keys;

use crate::error::HomeError;

/// Guests of one home.
const GUESTS: usize = 2000;
/// New guests in one minute.
const NEW_PER_MINUTE: u32 = 30;
/// Longest name, in characters.
pub const NAME_CHARS: usize = 40;
/// First line of a file: what it is, and its version.
const FIRST_LINE: &str = "warren guest 1";

/// What a browser's cookie holds: 20 random bytes as base32.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn random() -> Result<Self, HomeError> {
        let mut bytes = [0; 20];
        getrandom::fill(&mut bytes).map_err(|error| HomeError::Random(error.to_string()))?;
        Ok(Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    /// Reads what a browser sent.
    pub fn parse(text: &str) -> Option<Self> {
        let base32 = |c: u8| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c);
        (text.len() == 32 && text.bytes().all(base32)).then(|| Self(text.to_owned()))
    }

    /// The text for the cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Under which name the account is kept.
    pub fn id(&self) -> GuestId {
        let hash = blake3::derive_key("warren home guest file v1", self.0.as_bytes());
        GuestId(HEXLOWER.encode(&hash[..16]))
    }
}

/// The name of a guest's file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GuestId(String);

impl GuestId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes it back from text.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }
}

/// One guest.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Under which name the account is kept.
    pub id: GuestId,
    /// What people see.
    pub name: String,
    /// Signs what the guest writes.
    pub keys: Keys,
}

/// Why a guest was not let in.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// There are too many, or they come too fast.
    #[error("too many new guests")]
    TooMany,
    /// The files.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// All guests of a home.
#[derive(Debug)]
pub struct Guests {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: HashMap<GuestId, Guest>,
    minute: u64,
    new_this_minute: u32,
}

/// A name as it is kept: trimmed, without control characters or marks that turn text around. Of any length.
pub fn clean_name(name: &str) -> Option<String> {
    let turns = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && !turns(*c))
        .collect();
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

impl Guests {
    /// Reads all accounts in a directory, and makes the directory (mode 0700) when it is missing.
    pub fn open(dir: PathBuf) -> Result<Self, HomeError> {
        let failed = |action, path: &Path, source| HomeError::File {
            action,
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| failed("make", &dir, error))?;
        let mut known = HashMap::new();
        for entry in fs::read_dir(&dir).map_err(|error| failed("read", &dir, error))? {
            let path = entry.map_err(|error| failed("read", &dir, error))?.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(GuestId::parse);
            let (Some(id), Some("guest")) = (stem, path.extension().and_then(|e| e.to_str()))
            else {
                continue;
            };
            let text = fs::read_to_string(&path).map_err(|error| failed("read", &path, error))?;
            let guest = parse(id.clone(), &text).ok_or_else(|| HomeError::Damaged {
                path: path.clone(),
                what: format!("not an account: it must begin with the line `{FIRST_LINE}`"),
            })?;
            known.insert(id, guest);
        }
        Ok(Self {
            dir,
            state: Mutex::new(State {
                known,
                minute: 0,
                new_this_minute: 0,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest behind a token.
    pub fn get(&self, id: &GuestId) -> Option<Guest> {
        self.state().known.get(id).cloned()
    }

    /// The guest behind a token under this name: made if new, renamed if known. Blocks while the file is written.
    pub fn enter(&self, token: &Token, name: &str, now: u64) -> Result<Guest, GuestError> {
        let id = token.id();
        let mut state = self.state();
        let guest = match state.known.get(&id) {
            Some(guest) if guest.name == name => return Ok(guest.clone()),
            Some(guest) => Guest {
                name: name.to_owned(),
                ..guest.clone()
            },
            None => {
                if state.minute != now / 60 {
                    state.minute = now / 60;
                    state.new_this_minute = 0;
                }
                if state.known.len() >= GUESTS || state.new_this_minute >= NEW_PER_MINUTE {
                    return Err(GuestError::TooMany);
                }
                state.new_this_minute += 1;
                Guest {
                    id: id.clone(),
                    name: name.to_owned(),
                    keys: Keys::generate(),
                }
            }
        };
        let path = self.dir.join(format!("{}.guest", id.as_str()));
        write(&path, &guest).map_err(|source| HomeError::File {
            action: "write",
            path,
            source,
        })?;
        state.known.insert(id, guest.clone());
        Ok(guest)
    }
}

fn parse(id: GuestId, text: &str) -> Option<Guest> {
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    let name = clean_name(lines.next()?)?;
    let keys = Keys::parse(lines.next()?.trim()).ok()?;
    Some(Guest { id, name, keys })
}

fn write(path: &Path, guest: &Guest) -> io::Result<()> {
    write_atomically(
        path,
        format!(
            "{FIRST_LINE}\n{}\n{}\n",
            guest.name,
            guest.keys.secret_key().to_secret_hex()
        )
        .as_bytes(),
    )
}

/// Writes a file (mode 0600) so that after a loss of power it is either the old one or the new one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_guest_comes_back_under_the_same_account() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::random().unwrap();
        let guests = Guests::open(dir.path().to_owned()).unwrap();
        let first = guests.enter(&token, "Ann", 0).unwrap();
        let renamed = guests.enter(&token, "Anna", 0).unwrap();
        assert_eq!(first.keys, renamed.keys);
        drop(guests);
        let again = Guests::open(dir.path().to_owned())
            .unwrap()
            .get(&token.id())
            .unwrap();
        assert_eq!(
            (again.name.as_str(), again.keys.public_key()),
            ("Anna", first.keys.public_key())
        );
        let file = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            !fs::read_to_string(file.path())
                .unwrap()
                .contains(token.reveal())
        );
    }

    #[test]
    fn new_guests_are_bounded_in_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let guests = Guests::open(dir.path().to_owned()).unwrap();
        let enter = |now| guests.enter(&Token::random().unwrap(), "x", now);
        assert!((0..NEW_PER_MINUTE).all(|_| enter(5).is_ok()));
        assert!(matches!(enter(59), Err(GuestError::TooMany)));
        assert!(enter(60).is_ok());
    }

    #[test]
    fn names_are_plain_text() {
        assert_eq!(clean_name("  Ann \u{202e} B\n").as_deref(), Some("Ann B"));
        assert_eq!(clean_name(" \u{200b}\t"), None);
    }
}
