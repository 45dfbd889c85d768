//! The kinds of values in the configuration, each with what it may be. A wrong one says what was found and expected.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use nostr::key::PublicKey;
use serde::Deserialize;
use warren_home::{RELAY_EXPECTED, RelayAddress};

use crate::sys::INTERFACE_NAME_MAX;

/// What a value should have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct WrongValue {
    found: String,
    expected: &'static str,
}

fn wrong(found: &str, expected: &'static str) -> WrongValue {
    WrongValue {
        found: found.chars().take(80).collect(),
        expected,
    }
}

/// Reads a type from a TOML string through its `FromStr`, so that an error carries its place.
macro_rules! from_string {
    ($($kind:ty),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = WrongValue;
            fn try_from(text: String) -> Result<Self, WrongValue> {
                text.parse()
            }
        }
    )*};
}
from_string!(
    NodeName,
    Title,
    SpaceId,
    InterfaceName,
    Throughput,
    Open,
    WebAddress,
    Address,
    Peer,
    Owner,
    HostName,
    Relay
);

/// A node's name: 1 to 32 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeName(pub String);

impl FromStr for NodeName {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let is_blank = text.trim().is_empty();
        if !is_blank && text.len() <= 32 && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(
                text,
                "a name of 1 to 32 bytes without control characters",
            ))
        }
    }
}

/// A name under which a machine is found: letters, digits and hyphens with dots between them (RFC 1123), at most 253.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(pub String);

impl FromStr for HostName {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let is_label = |label: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(is_known)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(wrong(
                text,
                "a host name such as \"warren.lan\", without port",
            ))
        }
    }
}

/// A space's title: 1 to 64 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Title(pub String);

impl FromStr for Title {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        if (1..=64).contains(&text.len()) && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(
                text,
                "a title of 1 to 64 bytes without control characters",
            ))
        }
    }
}

/// What a space's files are called: it becomes part of paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SpaceId(pub String);

impl FromStr for SpaceId {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(text, "1 to 32 of the characters a-z, 0-9, - and _"))
        }
    }
}

/// A network interface's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct InterfaceName(pub String);

impl FromStr for InterfaceName {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let fits = (1..=INTERFACE_NAME_MAX).contains(&text.len())
            && text != "."
            && text != ".."
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(wrong(
                text,
                "the name of a network interface, 1 to 15 characters",
            ))
        }
    }
}

/// A relay of the Internet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Relay(pub RelayAddress);

impl FromStr for Relay {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let address = text.parse().map(Self);
        address.map_err(|_| wrong(text, RELAY_EXPECTED))
    }
}

/// A person's public key: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Owner(pub PublicKey);

impl FromStr for Owner {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        // Every 32 bytes look like a key; only half of them are one.
        PublicKey::from_hex(text)
            .ok()
            .filter(|key| key.xonly().is_ok())
            .map(Self)
            .ok_or_else(|| wrong(text, "a public key of 64 hexadecimal digits"))
    }
}

/// A speed in kbit/s, written `500k`, `100M` or `1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Throughput(pub u32);

impl FromStr for Throughput {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let parse = || {
            let unit = text.bytes().last()?;
            let factor = match unit {
                b'k' => 1,
                b'M' => 1_000,
                b'G' => 1_000_000,
                _ => return None,
            };
            let number: u32 = text[..text.len() - 1].parse().ok()?;
            number.checked_mul(factor).filter(|kbps| *kbps > 0)
        };
        parse()
            .map(Self)
            .ok_or_else(|| wrong(text, "a speed such as \"500k\", \"100M\" or \"1G\" (bit/s)"))
    }
}

/// What the island may open on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Open {
    /// Everything.
    All,
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
}

impl FromStr for Open {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0_u16);
        let parsed = match text.split_once('/') {
            None if text == "all" => Some(Self::All),
            Some(("tcp", number)) => port(number).map(Self::Tcp),
            Some(("udp", number)) => port(number).map(Self::Udp),
            _ => None,
        };
        parsed.ok_or_else(|| wrong(text, "\"tcp/PORT\", \"udp/PORT\" or \"all\""))
    }
}

/// A transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        text.parse().map(Self).map_err(|_| {
            wrong(
                text,
                "an IP address and a port, such as \"192.0.2.1:4242\" or \"[2001:db8::1]:4242\"",
            )
        })
    }
}

/// The transport address of one other node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Peer(pub SocketAddr);

impl FromStr for Peer {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let Address(address) = text.parse()?;
        let ip = address.ip();
        if address.port() == 0 || ip.is_multicast() || ip.is_unspecified() {
            return Err(wrong(
                text,
                "the address of one machine and a port other than 0",
            ));
        }
        Ok(Self(address))
    }
}

/// Where the page is served.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum WebAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for WebAddress {
    type Err = WrongValue;
    fn from_str(text: &str) -> Result<Self, WrongValue> {
        let expected = "\"IP:PORT\" or \"unix:/PATH\"";
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(_) => Err(wrong(text, expected)),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| wrong(text, expected)),
        }
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
