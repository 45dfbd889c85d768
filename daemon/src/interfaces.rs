//! Keeps the carriers `ether` in step with the kernel's interfaces: opened when one is up with a link-local address,
//! closed at once when it vanishes, opened again when it returns. Raises MTUs and puts them back at the end. Works the
//! same after privileges are dropped.

use std::net::{Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use warren_mesh::transmit::InterfaceId;

use crate::carrier::ether::{self, EtherInterface};
use crate::carrier::{INNER_OVERHEAD, OVERHEAD};
use crate::config;
use crate::error::DaemonError;
use crate::keys;
use crate::leftovers::{Change, Leftovers};
use crate::netlink::{LinkInfo, Netlink};
use crate::plane::command::{Command, PlaneHandle};
use crate::privileges;
use crate::sys;

/// Packets of programs are at most this long: Ethernet's MTU, which everything expects.
pub const INNER_MTU: u16 = 1500;
/// The MTU that carries them whole.
const WANTED_MTU: u32 = INNER_MTU as u32 + INNER_OVERHEAD as u32;
/// No frame is longer than this, whatever the interface could take.
const FRAME_MAX: u16 = 9000;
/// Looked at again this often even if the kernel says nothing (its event queue may have overflowed).
const RECHECK: Duration = Duration::from_secs(10);

/// What an open carrier was opened with; a change means opening it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Active {
    index: u32,
    address: Ipv6Addr,
    mtu: u16,
    throughput_kbps: Option<u32>,
}

#[derive(Debug)]
struct Watched {
    id: InterfaceId,
    config: config::Interface,
    active: Option<Active>,
    changed: Option<Change>,
    complaint: Option<String>,
}

impl Watched {
    /// What was changed on this interface: so far nothing, if there was no change before.
    fn changed(&mut self, index: u32) -> &mut Change {
        self.changed
            .get_or_insert_with(|| Change::none(&self.config.name.get_ref().0, index))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Interfaces {
    netlink: Netlink,
    plane: PlaneHandle,
    watched: Vec<Watched>,
    leftovers: Leftovers,
    probe: UdpSocket,
}

impl Interfaces {
    /// Numbers from `first` on are given to the interfaces of the configuration.
    pub fn new(
        netlink: Netlink,
        plane: PlaneHandle,
        first: u16,
        configured: &[config::Interface],
        leftovers: Leftovers,
    ) -> Result<Self, DaemonError> {
        let probe = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))
            .or_else(|_| UdpSocket::bind("127.0.0.1:0"))
            .map_err(|error| DaemonError::system("a socket for ethtool", error))?;
        let watched = (first..)
            .zip(configured)
            .map(|(id, config)| Watched {
                id: InterfaceId(id),
                config: config.clone(),
                active: None,
                changed: None,
                complaint: None,
            })
            .collect();
        Ok(Self {
            netlink,
            plane,
            watched,
            leftovers,
            probe,
        })
    }

    /// Follows changes until `stop` turns true, then puts everything back.
    pub async fn run(
        mut self,
        mut changes: BoxStream<'static, ()>,
        mut stop: watch::Receiver<bool>,
    ) {
        self.leftovers.undo(&self.netlink).await;
        loop {
            self.examine_all().await;
            self.leftovers.save(
                self.watched
                    .iter()
                    .filter_map(|watched| watched.changed.clone())
                    .collect(),
            );
            tokio::select! {
                change = changes.next() => if change.is_none() {
                    tokio::time::sleep(RECHECK).await;
                },
                () = tokio::time::sleep(RECHECK) => {}
                // One value is ever sent, and an end of the sender means the same.
                _ = stop.changed() => break,
            }
        }
        for change in self
            .watched
            .iter()
            .filter_map(|watched| watched.changed.as_ref())
        {
            change.undo(&self.netlink).await;
        }
        self.leftovers.save(Vec::new());
    }

    async fn examine_all(&mut self) {
        for watched in &mut self.watched {
            if let Err(error) = examine(&self.netlink, &self.plane, &self.probe, watched).await {
                complain(watched, error.to_string());
            }
        }
    }
}

/// Says something once, not every ten seconds.
fn complain(watched: &mut Watched, complaint: String) {
    if watched.complaint.as_ref() != Some(&complaint) {
        log::warn!("{}: {complaint}", watched.config.name.get_ref().0);
        watched.complaint = Some(complaint);
    }
}

async fn examine(
    netlink: &Netlink,
    plane: &PlaneHandle,
    probe: &UdpSocket,
    watched: &mut Watched,
) -> Result<(), DaemonError> {
    let name = watched.config.name.get_ref().0.clone();
    let link = netlink.find(&name).await?;
    if watched
        .changed
        .as_ref()
        .is_some_and(|changed| link.as_ref().is_none_or(|link| link.index != changed.index))
    {
        // It was another interface of the same name that we had changed.
        watched.changed = None;
    }
    let Some(link) = link.filter(|link| link.running) else {
        if watched.active.take().is_some() {
            log::warn!(
                "{name}: gone or down; its links end, and it is taken up again when it returns"
            );
            send(plane, Command::RemoveInterface(watched.id));
        } else {
            complain(watched, String::from("not there or not up; waiting for it"));
        }
        return Ok(());
    };
    let mtu = raise_mtu(netlink, watched, &name, &link).await;
    let Some(address) = link_local(netlink, watched, &name, &link).await? else {
        if watched.active.take().is_some() {
            send(plane, Command::RemoveInterface(watched.id));
        }
        complain(
            watched,
            String::from("has no usable link-local address yet; waiting for one"),
        );
        return Ok(());
    };
    let wanted = Active {
        index: link.index,
        address,
        mtu: u16::try_from(mtu)
            .unwrap_or(u16::MAX)
            .min(FRAME_MAX + OVERHEAD),
        throughput_kbps: watched
            .config
            .throughput
            .map(|speed| speed.0)
            .or_else(|| Some(sys::link_speed_mbps(probe.as_fd(), &name)?.saturating_mul(1000))),
    };
    match &watched.active {
        Some(active) if *active == wanted => return Ok(()),
        Some(active)
            if (Active {
                throughput_kbps: wanted.throughput_kbps,
                ..active.clone()
            }) == wanted =>
        {
            send(
                plane,
                Command::SetThroughput(watched.id, wanted.throughput_kbps),
            );
        }
        _ => {
            let interface = EtherInterface {
                name: name.clone(),
                index: wanted.index,
                address,
                mtu: wanted.mtu,
                radio: is_radio(&name),
                throughput_kbps: wanted.throughput_kbps,
            };
            if watched.active.take().is_some() {
                // The old sockets hold the port.
                send(plane, Command::RemoveInterface(watched.id));
            }
            let carrier = open_when_free(watched.id, &interface)
                .await
                .map_err(|error| DaemonError::Network {
                    action: "open the mesh's sockets on",
                    name: name.clone(),
                    reason: error.to_string(),
                })?;
            send(plane, Command::AddInterface(Box::new(carrier)));
        }
    }
    watched.complaint = None;
    watched.active = Some(wanted);
    Ok(())
}

/// The data plane closes the sockets of the interface's earlier life in its own time; wait for the port a little.
async fn open_when_free(
    id: InterfaceId,
    interface: &EtherInterface,
) -> std::io::Result<crate::carrier::Carrier> {
    const TRIES: u32 = 20;
    for _ in 1..TRIES {
        match ether::open(id, interface) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            result => return result,
        }
    }
    ether::open(id, interface)
}

async fn raise_mtu(netlink: &Netlink, watched: &mut Watched, name: &str, link: &LinkInfo) -> u32 {
    let fits = link.max_mtu.is_none_or(|max| max >= WANTED_MTU);
    let tried = watched
        .changed
        .as_ref()
        .is_some_and(|changed| changed.mtu.is_some());
    if !watched.config.raise_mtu
        || link.mtu >= WANTED_MTU
        || !fits
        || tried
        || !privileges::may_change_network()
    {
        return link.mtu;
    }
    watched.changed(link.index).mtu = Some((link.mtu, WANTED_MTU));
    match netlink.set_mtu(name, link.index, WANTED_MTU).await {
        Ok(()) => {
            log::info!(
                "{name}: MTU raised from {} to {WANTED_MTU}; put back at the end",
                link.mtu
            );
            WANTED_MTU
        }
        Err(error) => {
            log::info!("{error}; packets of {INNER_MTU} bytes will not pass whole");
            link.mtu
        }
    }
}

async fn link_local(
    netlink: &Netlink,
    watched: &mut Watched,
    name: &str,
    link: &LinkInfo,
) -> Result<Option<Ipv6Addr>, DaemonError> {
    let usable = netlink.link_local(link.index).await?;
    let ours = watched.changed.as_ref().and_then(|changed| changed.address);
    if let Some(ours) = ours.filter(|ours| usable.contains(ours)) {
        return Ok(Some(ours));
    }
    if let Some(address) = usable.first() {
        return Ok(Some(*address));
    }
    if !privileges::may_change_network() {
        return Ok(None);
    }
    // The kernel is still looking for duplicates of its own address, which takes seconds: a random one needs no search.
    // An interface that was down has lost ours: neighbours know us by it, so it comes back.
    let address = match ours {
        Some(ours) => ours,
        None => random_link_local()?,
    };
    netlink.add_link_local(name, link.index, address).await?;
    watched.changed(link.index).address = Some(address);
    Ok(Some(address))
}

fn random_link_local() -> Result<Ipv6Addr, DaemonError> {
    let random = keys::random::<8>()?;
    let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    octets[8..].copy_from_slice(&*random);
    // RFC 4291, 2.5.1: not a globally unique identifier.
    octets[8] &= !0x02;
    Ok(Ipv6Addr::from(octets))
}

fn is_radio(name: &str) -> bool {
    Path::new("/sys/class/net")
        .join(name)
        .join("phy80211")
        .exists()
}

fn send(plane: &PlaneHandle, command: Command) {
    if let Err(error) = plane.send(command) {
        log::error!("{error}");
    }
}
