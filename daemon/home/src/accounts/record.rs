//! An account as it lies on the disk: one JSON file, version 1. What opens the account's key is sealed; the rest is
//! what the home has to know while nobody is logged in.

use nostr::key::{Keys, PublicKey};
use serde::{Deserialize, Serialize};

use crate::accounts::apps::App;
use crate::accounts::names::AccountName;
use crate::accounts::sealed::{Locked, Sealed};
use crate::guests::GuestId;

/// Version of the file.
pub const VERSION: u32 = 1;
/// Longest file that is read.
pub const FILE_BYTES: u64 = 1 << 20;

/// Names an account at this home: 32 hexadecimal digits, random.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    /// From 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&random))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A browser or program that is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The hash of its token.
    pub id: GuestId,
    /// What the person calls it. Untrusted text.
    pub name: String,
    /// When it logged in, seconds since 1970.
    pub created: u64,
    /// When it was last here.
    pub seen: u64,
    /// The account's key, sealed by the token. Missing when the person keeps the key elsewhere.
    pub key: Option<Sealed>,
}

/// One account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Version of the file.
    pub version: u32,
    /// Names it at this home.
    pub id: AccountId,
    /// What people see, and what its person logs in with.
    pub name: String,
    /// Its name in NIP-05.
    pub handle: Option<String>,
    /// Whether NIP-05 tells of it.
    pub findable: bool,
    /// Where it is found, as it says (WebSocket addresses).
    pub relays: Vec<String>,
    /// When it was made, seconds since 1970.
    pub created: u64,
    /// Who it is in Nostr.
    pub public_key: PublicKey,
    /// The account's key, sealed by the passphrase. Missing when the person keeps the key elsewhere.
    pub key: Option<Locked>,
    /// Logged in.
    pub devices: Vec<Device>,
    /// The key that the signer talks to apps with. It signs nothing in the person's name, and is needed while the
    /// account is sealed.
    pub signer: String,
    /// Programs that use the signer.
    pub apps: Vec<App>,
}

impl Account {
    /// Reads a file; the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if head.version > VERSION {
            return Err(format!(
                "a newer program wrote it (version {}, this one knows {VERSION}); install that one again",
                head.version
            ));
        }
        if head.version != VERSION {
            return Err(format!(
                "version {} is not known here, only {VERSION}",
                head.version
            ));
        }
        let account: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        account.name()?;
        account.signer_keys()?;
        Ok(account)
    }

    /// Writes a file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The name.
    pub fn name(&self) -> Result<AccountName, String> {
        AccountName::parse(&self.name)
            .map_err(|fault| format!("its name is wrong: {}", fault.code()))
    }

    /// The signer's keys.
    pub fn signer_keys(&self) -> Result<Keys, String> {
        Keys::parse(&self.signer).map_err(|error| format!("its signer has no key: {error}"))
    }

    /// What everything sealed is bound to, so that nothing sealed for one account opens as another's.
    pub fn about(public_key: &PublicKey) -> Vec<u8> {
        [b"warren account key v1 ".as_slice(), public_key.as_bytes()].concat()
    }
}
