//! `rust-nostr-relay PORT FOLDER`: rust-nostr's relay (crate `nostr-relay-builder`) with its LMDB store (`nostr-lmdb`) on
//! 127.0.0.1, with its defaults but for limits that a bench would run into. Ends at SIGTERM.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use nostr_lmdb::NostrLMDB;
use nostr_relay_builder::{LocalRelay, RelayBuilder, builder::RateLimit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, folder] = &words[..] else {
        return Err("usage: rust-nostr-relay PORT FOLDER".into());
    };
    let rate = RateLimit {
        max_reqs: 100_000,
        notes_per_minute: u32::MAX,
    };
    let builder = RelayBuilder::default()
        .addr(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .port(port.parse()?)
        .rate_limit(rate)
        .database(NostrLMDB::open(folder)?);
    let relay = LocalRelay::new(builder);
    relay.run().await?;
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
        .recv()
        .await;
    relay.shutdown();
    Ok(())
}
