//! The apps of a person: which program may have what signed by the account (NIP-46), as it lies in the account's file.

use nostr::key::PublicKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest name or address of an app, in characters.
pub const APP_TEXT_CHARS: usize = 100;
/// Permissions that one app may have.
pub const PERMISSIONS: usize = 64;

/// What an app may ask for beside what every app may (`connect`, `ping`, `get_public_key`, `switch_relays`, `logout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    SignEvent,
    Nip04Encrypt,
    Nip04Decrypt,
    Nip44Encrypt,
    Nip44Decrypt,
}

impl Method {
    const ALL: [(&'static str, Self); 5] = [
        ("sign_event", Self::SignEvent),
        ("nip04_encrypt", Self::Nip04Encrypt),
        ("nip04_decrypt", Self::Nip04Decrypt),
        ("nip44_encrypt", Self::Nip44Encrypt),
        ("nip44_decrypt", Self::Nip44Decrypt),
    ];

    /// Reads the name that NIP-46 gives it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, method)| *method)
    }

    /// The name that NIP-46 gives it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, method)| *method == self)
            .map_or("", |(name, _)| name)
    }
}

/// `method` or `sign_event:kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission {
    /// Which method.
    pub method: Method,
    /// For `sign_event`: which kind alone.
    pub kind: Option<u16>,
}

impl Permission {
    /// Reads `method` or `sign_event:kind`.
    pub fn parse(text: &str) -> Option<Self> {
        let (method, kind) = match text.split_once(':') {
            Some((method, kind)) => (Method::parse(method)?, Some(kind.parse().ok()?)),
            None => (Method::parse(text)?, None),
        };
        (kind.is_none() || method == Method::SignEvent).then_some(Self { method, kind })
    }

    /// Reads a comma-separated list, as `connect` brings it. What is not known is left out: it could not be used.
    pub fn parse_list(text: &str) -> Vec<Self> {
        let mut list = Vec::new();
        for permission in text.split(',').filter_map(|part| Self::parse(part.trim())) {
            if list.len() < PERMISSIONS && !list.contains(&permission) {
                list.push(permission);
            }
        }
        list
    }

    /// Whether whoever has this one may do `wanted`.
    pub fn covers(&self, wanted: &Self) -> bool {
        self.method == wanted.method && (self.kind.is_none() || self.kind == wanted.kind)
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{}:{kind}", self.method.as_str()),
            None => f.write_str(self.method.as_str()),
        }
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a permission"))
    }
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Names it in the API: 16 hexadecimal digits.
    pub id: String,
    /// Its own key, once it has connected.
    pub client: Option<PublicKey>,
    /// The hash of the secret in its address. An address is for one app: it is used up when that one has connected.
    pub secret: Option<String>,
    /// What it, or the person, calls it. Untrusted text.
    pub name: String,
    /// Where it says it is from. Untrusted text.
    pub url: String,
    /// When its address was made, seconds since 1970.
    pub created: u64,
    /// When it last asked for something; 0 when it never did.
    pub seen: u64,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// What it asked for when it connected, and nobody has decided yet.
    pub asked: Vec<Permission>,
}

impl App {
    /// Whether it may do this without asking.
    pub fn may(&self, wanted: &Permission) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.covers(wanted))
    }

    /// Lets it do these from now on; what does not fit any more is left out.
    pub fn grant(&mut self, granted: &[Permission]) {
        for permission in granted {
            if self.permissions.len() < PERMISSIONS && !self.may(permission) {
                self.permissions.retain(|known| !permission.covers(known));
                self.permissions.push(*permission);
            }
        }
        self.settle();
    }

    /// Lets it do exactly these from now on; what it asked for beside them is refused.
    pub fn set(&mut self, permissions: &[Permission]) {
        self.permissions.clear();
        self.grant(permissions);
        self.asked.clear();
    }

    /// It asks for these; what it has already is no question.
    pub fn ask(&mut self, wanted: &[Permission]) {
        if !wanted.is_empty() {
            self.asked = wanted.to_vec();
            self.settle();
        }
    }

    fn settle(&mut self) {
        let permissions = &self.permissions;
        self.asked.retain(|wanted| {
            !permissions
                .iter()
                .any(|permission| permission.covers(wanted))
        });
    }
}

/// The hash under which the secret of an address is kept.
pub fn secret_hash(secret: &str) -> String {
    let hash = blake3::derive_key("warren home app secret v1", secret.as_bytes());
    data_encoding::HEXLOWER.encode(&hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_covers_what_it_says_and_no_more() {
        let list = Permission::parse_list(
            "nip44_encrypt,sign_event:4, sign_event:4,dance,ping,sign_event:x,nip04_decrypt:1",
        );
        let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["nip44_encrypt", "sign_event:4"]);
        let of = |text| Permission::parse(text).unwrap();
        assert!(of("sign_event").covers(&of("sign_event:1")));
        assert!(!of("sign_event:1").covers(&of("sign_event")));
        assert!(!of("sign_event:1").covers(&of("sign_event:2")));
        assert!(!of("nip44_encrypt").covers(&of("nip44_decrypt")));
    }

    #[test]
    fn a_wider_permission_takes_the_place_of_narrow_ones() {
        let of = |text| Permission::parse(text).unwrap();
        let mut app = App {
            id: String::new(),
            client: None,
            secret: None,
            name: String::new(),
            url: String::new(),
            asked: vec![of("sign_event:7"), of("nip04_decrypt")],
            created: 0,
            seen: 0,
            permissions: vec![of("sign_event:1"), of("nip44_encrypt")],
        };
        app.grant(&[of("sign_event"), of("sign_event:7")]);
        assert_eq!(app.permissions, [of("nip44_encrypt"), of("sign_event")]);
        assert_eq!(app.asked, [of("nip04_decrypt")]);
    }
}
