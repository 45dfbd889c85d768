//! The table of the demonstration: each router's name, address, neighbours with link quality, and routes. Shows what the
//! daemons say and nothing made up; a daemon that does not answer is shown as such.

use std::net::Ipv6Addr;
use std::time::Duration;

use serde_json::Value;

use super::name_of;
use crate::overlay::warrend::Warrend;

/// How long a daemon may take to answer before the table goes on without it.
const PATIENCE: Duration = Duration::from_millis(300);

/// The table as text, one line a router and one for its routes.
pub(super) fn draw(daemons: &[Warrend], addresses: &[Ipv6Addr]) -> String {
    let mut text = format!(
        "{:<7}{:<41}{}\n",
        "router", "address", "neighbours (quality) | routes (to > over)"
    );
    for (daemon, address) in daemons.iter().zip(addresses) {
        let named = |value: &Value| name_of(daemons, addresses, value.as_str().unwrap_or("?"));
        let neighbours = daemon.ask_within("neighbours", PATIENCE);
        let is_silent = neighbours.is_err();
        let neighbours = neighbours.map_or_else(
            |_| "does not answer".to_owned(),
            |answer| {
                words(&answer, "neighbours", |n| {
                    let up = n["up"].as_bool().unwrap_or(true);
                    let quality = n["rx_quality"].as_f64().unwrap_or(0.0)
                        * n["tx_quality"].as_f64().unwrap_or(0.0);
                    let state = if up {
                        format!("{:.0} %", quality * 100.0)
                    } else {
                        "down".to_owned()
                    };
                    format!("{} {state}", named(&n["address"]))
                })
            },
        );
        // Nor is one that hangs asked twice.
        let routes = if is_silent {
            Ok(Value::Null)
        } else {
            daemon.ask_within("routes", PATIENCE)
        };
        let routes = routes.map_or_else(
            |_| String::new(),
            |answer| {
                words(&answer, "routes", |r| {
                    let (to, over) = (named(&r["destination"]), named(&r["next_hop"]));
                    if to == over {
                        to
                    } else {
                        format!("{to}>{over}")
                    }
                })
            },
        );
        text += &format!(
            "{:<7}{:<41}{neighbours}\n{:<48}{routes}\n",
            daemon.name,
            address.to_string(),
            ""
        );
    }
    text
}

/// The entries of a list in an answer (the answer itself, or under its key), each as words, sorted.
fn words(answer: &Value, key: &str, word: impl Fn(&Value) -> String) -> String {
    let list = answer.as_array().or_else(|| answer[key].as_array());
    let mut words: Vec<String> = list.into_iter().flatten().map(word).collect();
    words.sort();
    if words.is_empty() {
        "none yet".to_owned()
    } else {
        words.join("  ")
    }
}
