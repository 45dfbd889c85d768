//! Under which names a browser may open the home. A page somewhere else that makes its own name point at this home
//! (DNS rebinding) gets nothing: every name that is not known here is answered with a plain 404.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dialer::ServiceName;

/// What a request's `Host` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// The home itself.
    Home,
    /// A space, by `<service>.localhost`.
    Space(ServiceName),
}

/// Reads a `Host` header; `None` for names that are not ours.
pub fn site(host: &str, own_names: &[String]) -> Option<Site> {
    let name = without_port(host)?
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    // An address cannot be rebound: whoever asks for it by number has it.
    if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        || name.parse::<Ipv4Addr>().is_ok()
    {
        return Some(Site::Home);
    }
    if let Some(first) = name
        .strip_suffix(".localhost")
        .or_else(|| name.strip_suffix(".warren"))
        && let Some(service) = ServiceName::parse(first)
    {
        return Some(Site::Space(service));
    }
    let own = name == "localhost"
        || name.ends_with(".localhost")
        || own_names.iter().any(|own| own.eq_ignore_ascii_case(&name));
    own.then_some(Site::Home)
}

fn without_port(host: &str) -> Option<&str> {
    if host.len() > 255 {
        return None;
    }
    if host.starts_with('[') {
        let end = host.find(']')?;
        let (address, port) = host.split_at(end + 1);
        return (port.is_empty() || port.starts_with(':')).then_some(address);
    }
    let name = host.split_once(':').map_or(host, |(name, _port)| name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_cannot_be_rebound_are_served() {
        let own = ["warren.lan".to_owned()];
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "192.168.1.1",
            "[::1]:8080",
            "[fc00::1]",
            "a.localhost:1",
            "warren.lan",
            "warren.lan.:80",
        ] {
            assert_eq!(site(host, &own), Some(Site::Home), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "[::1]x",
            "lan",
            "xwarren.lan",
        ] {
            assert_eq!(site(host, &own), None, "{host}");
        }
        let service = "a".repeat(52);
        assert_eq!(
            site(&format!("{service}.localhost:8080"), &own),
            ServiceName::parse(&service).map(Site::Space)
        );
        assert_eq!(site(&format!("{service}.evil.example"), &own), None);
    }
}
