//! Two homes in user space that find each other over UDP on loopback, without any privilege: what `scripts/package` runs
//! under an emulated processor, and the proof that Warren works without root.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};
use crate::folder::Folder;
use crate::overlay::warrend::{Options, Warrend};

/// Emulated processors are slow.
const PATIENCE: Duration = Duration::from_secs(60);
const SPACE: &str = "Garden club";

/// Starts both, waits for their link and routes, and fetches the card of the space on one through the home on the other:
/// that passes an end-to-end session and a stream in it. Returns what it saw, for people.
pub fn run() -> Result<String> {
    let folder = Folder::make("pair")?;
    let [first, second] = [free_port()?, free_port()?];
    let options = |listen: &str, peer: &str, space: Option<&str>| Options {
        space: space.map(str::to_owned),
        userspace: Some(listen.to_owned()),
        peers: vec![peer.to_owned()],
        ..Options::default()
    };
    let prepare = |name: &str, options: &Options| {
        Warrend::prepare_in(&folder.path().join(name), name, None, &[], options)
    };
    let mut host = prepare("host", &options(&first, &second, Some(SPACE)))?;
    let mut guest = prepare("guest", &options(&second, &first, None))?;
    let begin = Instant::now();
    host.start()?;
    guest.start()?;
    let addresses = [host.wait_for_address()?, guest.wait_for_address()?];
    for (daemon, other) in [(&host, addresses[1]), (&guest, addresses[0])] {
        let other = other.to_string();
        daemon.wait_for("neighbours", "the link", PATIENCE, |answer| {
            answer
                .as_array()
                .into_iter()
                .flatten()
                .any(|n| n["address"] == other.as_str() && n["up"] == true)
        })?;
        daemon.wait_for("routes", "the route", PATIENCE, |answer| {
            answer
                .as_array()
                .into_iter()
                .flatten()
                .any(|r| r["destination"] == other.as_str())
        })?;
    }
    let linked = begin.elapsed();
    let service = guest.service(SPACE, PATIENCE)?;
    let card = guest.get(&format!("/s/{service}/"), "application/nostr+json")?;
    if !card.contains(SPACE) {
        return Err(LabError::answer("the space's card", &card));
    }
    for daemon in [&mut host, &mut guest] {
        daemon.process()?.check()?;
        if !daemon.process()?.stop(Duration::from_secs(10))? {
            return Err(LabError::answer(
                format!("stopping {}", daemon.name),
                "an exit status other than 0",
            ));
        }
    }
    Ok(format!(
        "two homes linked over UDP on loopback after {:.2} s; the space's card crossed the session after {:.2} s",
        linked.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ))
}

/// An address on loopback that nobody uses now.
fn free_port() -> Result<String> {
    let socket = UdpSocket::bind("[::1]:0").map_err(LabError::io("looking for a free port"))?;
    Ok(socket
        .local_addr()
        .map_err(LabError::io("looking for a free port"))?
        .to_string())
}
