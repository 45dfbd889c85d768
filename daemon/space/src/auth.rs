//! Proof of who is speaking (NIP-42): a signed event that names this space and the challenge of this connection.

use nostr::event::Event;

use crate::groups::kinds;
use crate::record::tag_values;

/// The name of a space in events: `ws://<service>.warren/`.
pub fn relay_url(service: &str) -> String {
    format!("ws://{service}.warren/")
}

/// Whether an address names this space. Until names of spaces are known everywhere, people's programs reach a space
/// through a home, and put the address they were given into what they sign (NIP-42 leaves the comparison to us):
/// `ws://<service>.warren/`, `ws://<service>.localhost:PORT/` or `ws://HOST/s/<service>/`, each with or without the
/// last slash, with `ws` or `wss`.
pub fn names_space(url: &str, service: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case("ws") && !scheme.eq_ignore_ascii_case("wss") {
        return false;
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _port)| host);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let by_host = |suffix: &str| host.strip_suffix(suffix) == Some(service);
    let path = path.strip_suffix('/').unwrap_or(path);
    match path {
        "" => by_host(".warren") || by_host(".localhost"),
        path => path.strip_prefix("s/") == Some(service),
    }
}

/// The same for an address of HTTP (NIP-98), where `http` and `https` are as good as `ws` and `wss`.
pub fn names_space_in_http(url: &str, service: &str) -> bool {
    match url.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => {
            names_space(&format!("ws{}", &url[4..]), service)
        }
        _ => names_space(url, service),
    }
}

/// Whether an event proves that its author speaks on this connection. The signature is checked too.
pub fn check(
    event: &Event,
    challenge: &str,
    service: &str,
    now: u64,
    window: u64,
) -> Result<(), &'static str> {
    if event.kind.as_u16() != kinds::AUTH {
        return Err("invalid: a proof of identity has kind 22242");
    }
    if tag_values(event, "challenge").next() != Some(challenge) {
        return Err("invalid: the challenge is not the one of this connection");
    }
    if !tag_values(event, "relay")
        .next()
        .is_some_and(|url| names_space(url, service))
    {
        return Err("invalid: the relay tag names another space");
    }
    if event.created_at.as_secs().abs_diff(now) > window {
        return Err(
            "invalid: the date is too far from the time here; set the clock of your device",
        );
    }
    if !event.verify_id() || !event.verify_signature() {
        return Err("invalid: the signature is wrong");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Person, SERVICE};

    #[test]
    fn nip42_the_space_is_known_under_all_the_names_it_is_reached_by() {
        for host in [
            "ws://SERVICE.warren",
            "ws://SERVICE.warren/",
            "wss://SERVICE.warren/",
            "ws://SERVICE.localhost:8080/",
            "ws://127.0.0.1:8080/s/SERVICE",
            "ws://[::1]:8080/s/SERVICE/",
        ] {
            assert!(
                names_space(&host.replace("SERVICE", SERVICE), SERVICE),
                "{host}"
            );
        }
        let other = "b".repeat(52);
        for host in [
            "",
            "ws://",
            "http://SERVICE.warren/",
            "ws://evil.example/",
            "ws://SERVICE.evil.example/",
            "ws://evil.example/SERVICE.warren/",
            "ws://SERVICE.warren.evil/",
            "ws://SERVICE.warren/x",
            "ws://xSERVICE.warren/",
        ] {
            assert!(
                !names_space(&host.replace("SERVICE", SERVICE), SERVICE),
                "{host}"
            );
        }
        assert!(!names_space(&format!("ws://{other}.warren/"), SERVICE));
    }

    #[test]
    fn nip42_a_proof_is_bound_to_challenge_space_time_and_signature() {
        let person = Person::new(1);
        let url = relay_url(SERVICE);
        let good = person.event(22242, 1000, &[&["relay", &url], &["challenge", "c"]], "");
        assert_eq!(check(&good, "c", SERVICE, 1500, 600), Ok(()));
        assert!(check(&good, "d", SERVICE, 1500, 600).is_err());
        assert!(check(&good, "c", &"b".repeat(52), 1500, 600).is_err());
        assert!(check(&good, "c", SERVICE, 1000 + 86_400, 600).is_err());
        let mut forged = good.clone();
        forged.pubkey = Person::new(2).key();
        assert!(check(&forged, "c", SERVICE, 1500, 600).is_err());
        let note = person.event(1, 1000, &[&["relay", &url], &["challenge", "c"]], "");
        assert!(check(&note, "c", SERVICE, 1500, 600).is_err());
    }
}
