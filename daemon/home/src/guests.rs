//! Guests: a random token in the browser's cookie, and for it a name and a key in a file of their own. The token itself
//! is not stored, only its hash: who reads the files cannot take over a browser's account. A guest who does not come
//! for a while is forgotten (the date of the file says when they last came); one who keeps the account moves to
//! `accounts`, with the same key and the same token.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use nostr::key::Keys;
use serde::{Deserialize, Serialize};

use crate::error::HomeError;
use crate::files::{self, write_atomically};

/// Seconds of a day.
const DAY: u64 = 86_400;
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

/// The name of a guest's file, and of a logged-in device in an account's file: the hash of the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestId(String);

impl TryFrom<String> for GuestId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the hash of a token")
    }
}

impl From<GuestId> for String {
    fn from(id: GuestId) -> Self {
        id.0
    }
}

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
    /// The token is a device's of an account that cannot write here: its key is somewhere else.
    #[error("the key of this account is elsewhere")]
    KeyElsewhere,
    /// The files.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// All guests of a home.
#[derive(Debug)]
pub struct Guests {
    dir: PathBuf,
    max: usize,
    /// Seconds without a visit after which one is forgotten.
    patience: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Each with the time of the last visit that its file tells of.
    known: HashMap<GuestId, (Guest, u64)>,
    /// The day on which the forgotten ones were last removed.
    tidied: u64,
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
    /// Reads all guests in a directory, and makes it (mode 0700) when it is missing. At most `max` are kept, and none
    /// that was not here for `days`.
    pub fn open(dir: PathBuf, max: usize, days: u32) -> Result<Self, HomeError> {
        files::make_dir(&dir)?;
        let mut known = HashMap::new();
        for path in files::list(&dir, "guest")? {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(GuestId::parse) else {
                continue;
            };
            let failed = |error| files::failed("read", &path)(error);
            let text = fs::read_to_string(&path).map_err(failed)?;
            let guest = parse(id.clone(), &text).ok_or_else(|| HomeError::Damaged {
                path: path.clone(),
                what: format!("not an account: it must begin with the line `{FIRST_LINE}`"),
            })?;
            let seen = fs::metadata(&path)
                .and_then(|data| data.modified())
                .map_err(failed)?;
            let seen = seen
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            known.insert(id, (guest, seen));
        }
        Ok(Self {
            dir,
            max,
            patience: u64::from(days) * DAY,
            state: Mutex::new(State {
                known,
                tidied: 0,
                minute: 0,
                new_this_minute: 0,
            }),
        })
    }

    fn path(&self, id: &GuestId) -> PathBuf {
        self.dir.join(format!("{}.guest", id.as_str()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest behind a token.
    pub fn get(&self, id: &GuestId) -> Option<Guest> {
        self.state().known.get(id).map(|(guest, _)| guest.clone())
    }

    /// All of them.
    pub fn ids(&self) -> Vec<GuestId> {
        self.state().known.keys().cloned().collect()
    }

    /// A guest is here: whether the file should say so ([`Self::keep_date`]). It does once a day.
    pub fn seen(&self, id: &GuestId, now: u64) -> bool {
        let mut state = self.state();
        match state.known.get_mut(id) {
            Some((_, seen)) if *seen + DAY <= now => {
                *seen = now;
                true
            }
            _ => false,
        }
    }

    /// Writes the date of a guest's last visit. Blocks.
    pub fn keep_date(&self, id: &GuestId, now: u64) -> io::Result<()> {
        set_date(&self.path(id), now)
    }

    /// Forgets a guest, whose account is kept from now on. Blocks.
    pub fn forget(&self, id: &GuestId) -> Result<(), HomeError> {
        let path = self.path(id);
        let mut state = self.state();
        files::remove(&path).map_err(files::failed("remove", &path))?;
        state.known.remove(id);
        Ok(())
    }

    /// Forgets those who were not here for too long, once a day.
    fn tidy(&self, state: &mut State, now: u64) {
        if state.tidied == now / DAY {
            return;
        }
        state.tidied = now / DAY;
        state.known.retain(|id, (_, seen)| {
            let stays = seen.saturating_add(self.patience) > now;
            stays || files::remove(&self.path(id)).is_err()
        });
    }

    /// The guest behind a token under this name: made if new, renamed if known. Blocks while the file is written.
    pub fn enter(&self, token: &Token, name: &str, now: u64) -> Result<Guest, GuestError> {
        let id = token.id();
        let mut state = self.state();
        let guest = match state.known.get(&id) {
            Some((guest, _)) if guest.name == name => return Ok(guest.clone()),
            Some((guest, _)) => Guest {
                name: name.to_owned(),
                ..guest.clone()
            },
            None => {
                if state.minute != now / 60 {
                    state.minute = now / 60;
                    state.new_this_minute = 0;
                }
                self.tidy(&mut state, now);
                if state.known.len() >= self.max || state.new_this_minute >= NEW_PER_MINUTE {
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
        let path = self.path(&id);
        let written = write(&path, &guest).and_then(|()| set_date(&path, now));
        written.map_err(files::failed("write", &path))?;
        state.known.insert(id, (guest.clone(), now));
        Ok(guest)
    }
}

fn set_date(path: &Path, now: u64) -> io::Result<()> {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    File::options().append(true).open(path)?.set_modified(date)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_guest_comes_back_under_the_same_account() {
        let dir = tempfile::tempdir().unwrap();
        let token = Token::random().unwrap();
        let guests = Guests::open(dir.path().to_owned(), 100, 90).unwrap();
        let first = guests.enter(&token, "Ann", 0).unwrap();
        let renamed = guests.enter(&token, "Anna", 0).unwrap();
        assert_eq!(first.keys, renamed.keys);
        drop(guests);
        let again = Guests::open(dir.path().to_owned(), 100, 90)
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
        let guests = Guests::open(dir.path().to_owned(), 100, 90).unwrap();
        let enter = |now| guests.enter(&Token::random().unwrap(), "x", now);
        assert!((0..NEW_PER_MINUTE).all(|_| enter(5).is_ok()));
        assert!(matches!(enter(59), Err(GuestError::TooMany)));
        assert!(enter(60).is_ok());
    }

    #[test]
    fn guests_are_bounded_and_forgotten_when_they_stay_away() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Guests::open(dir.path().to_owned(), 2, 90).unwrap();
        let guests = open();
        let (ann, ben, cleo) = (
            Token::random().unwrap(),
            Token::random().unwrap(),
            Token::random().unwrap(),
        );
        let start = 20_000 * DAY;
        guests.enter(&ann, "Ann", start).unwrap();
        guests.enter(&ben, "Ben", start).unwrap();
        assert!(matches!(
            guests.enter(&cleo, "Cleo", start),
            Err(GuestError::TooMany)
        ));
        assert!(
            !guests.seen(&ann.id(), start + DAY - 1),
            "once a day is enough"
        );
        assert!(guests.seen(&ann.id(), start + 50 * DAY));
        guests.keep_date(&ann.id(), start + 50 * DAY).unwrap();
        let guests = open();
        guests.enter(&cleo, "Cleo", start + 100 * DAY).unwrap();
        assert!(guests.get(&ann.id()).is_some() && guests.get(&ben.id()).is_none());
        assert!(open().get(&ben.id()).is_none(), "its file is gone");
        guests.forget(&ann.id()).unwrap();
        assert!(guests.get(&ann.id()).is_none() && open().get(&ann.id()).is_none());
    }

    #[test]
    fn names_are_plain_text() {
        assert_eq!(clean_name("  Ann \u{202e} B\n").as_deref(), Some("Ann B"));
        assert_eq!(clean_name(" \u{200b}\t"), None);
    }
}
