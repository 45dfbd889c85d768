//! The address of a relay of the Internet, as the owner of a home lists it. Also in programs that use none, so that they
//! can say so.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;

/// What an address of a relay is.
pub const EXPECTED: &str =
    "the address of a relay of the Internet, such as \"wss://relay.example\"";

/// Longest address, bytes.
const ADDRESS_BYTES: usize = 200;

/// `wss://HOST[:PORT][/PATH]`, or `ws://` without TLS. Two that lead to the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    is_tls: bool,
    host: String,
    port: u16,
    text: String,
}

impl RelayAddress {
    /// Whether it is spoken to over TLS.
    pub const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// A name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The whole address: in small letters but for the path, and without a port that goes without saying.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether it is a name (RFC 1123), of a machine that is not in this mesh: homes are found by themselves.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(is_known)
    };
    host.split('.').all(is_label) && !host.ends_with(".warren")
}

impl FromStr for RelayAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > ADDRESS_BYTES || text.contains(['#', '@']) {
            return Err(EXPECTED);
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let (is_tls, usual) = match uri.scheme_str() {
            Some("wss") => (true, 443),
            Some("ws") => (false, 80),
            _ => return Err(EXPECTED),
        };
        let authority = uri.authority().ok_or(EXPECTED)?;
        let written = authority.host().to_ascii_lowercase();
        let bare = written
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(&written);
        let is_address = host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_ipv6() == bare.is_some());
        let port = match authority.as_str().len() == authority.host().len() {
            true => usual,
            false => authority
                .port_u16()
                .filter(|port| *port > 0)
                .ok_or(EXPECTED)?,
        };
        if !is_address && (bare.is_some() || !is_name(host)) {
            return Err(EXPECTED);
        }
        let scheme = if is_tls { "wss" } else { "ws" };
        let shown = match port == usual {
            true => String::new(),
            false => format!(":{port}"),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port,
            text: format!("{scheme}://{written}{shown}{path}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_two_ways_of_writing_one_are_the_same() {
        for (text, whole, host, port) in [
            (
                "wss://relay.example",
                "wss://relay.example/",
                "relay.example",
                443,
            ),
            (
                "wss://Relay.Example:443/",
                "wss://relay.example/",
                "relay.example",
                443,
            ),
            (
                "ws://relay.example/a?b=c",
                "ws://relay.example/a?b=c",
                "relay.example",
                80,
            ),
            (
                "ws://192.0.2.1:7777",
                "ws://192.0.2.1:7777/",
                "192.0.2.1",
                7777,
            ),
            (
                "wss://[2001:db8::1]:8443/x",
                "wss://[2001:db8::1]:8443/x",
                "2001:db8::1",
                8443,
            ),
            ("ws://localhost", "ws://localhost/", "localhost", 80),
        ] {
            let address: RelayAddress = text.parse().unwrap();
            assert_eq!(address.as_str(), whole);
            assert_eq!((address.host(), address.port()), (host, port));
            assert_eq!(address.is_tls(), text.starts_with("wss:"));
            assert_eq!(whole.parse(), Ok(address), "what was written reads back");
        }
    }

    #[test]
    fn what_leads_nowhere_or_into_the_mesh_is_refused() {
        let home = format!("ws://{}.warren/", "a".repeat(52));
        let long = format!("wss://relay.example/{}", "x".repeat(200));
        for text in [
            "",
            "relay.example",
            "https://relay.example",
            "wss://",
            "wss:///path",
            "wss://relay.example:0",
            "wss://relay.example:",
            "wss://relay.example:99999",
            "wss://user:secret@relay.example",
            "wss://relay.example/#part",
            "wss://relay example",
            "wss://relay_example..com",
            "wss://[192.0.2.1]",
            "wss://[relay.example]",
            &home,
            &long,
        ] {
            assert_eq!(text.parse::<RelayAddress>(), Err(EXPECTED), "{text}");
        }
    }
}
