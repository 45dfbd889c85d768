//! Carrier `ether`: UDP over IPv6 link-local on one Ethernet-like interface, broadcast frames to a link-local multicast
//! group. Needs no privilege. Never sends beyond the link.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};
use warren_mesh::node::{InterfaceConfig, Medium};
use warren_mesh::transmit::InterfaceId;

use super::{Carrier, OVERHEAD};
use crate::sys;

/// UDP port of the carrier, the same on every node.
pub const PORT: u16 = 4240;
/// Where broadcast frames go: a transient link-local multicast group (RFC 4291, 2.7), "warren" in its last bytes.
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0x7761, 0x7272, 0x656e);

/// What has to be known of an interface to open it.
#[derive(Clone, Debug)]
pub struct EtherInterface {
    /// Its name.
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// Its usable link-local address.
    pub address: Ipv6Addr,
    /// Its MTU in bytes.
    pub mtu: u16,
    /// Whether it is a radio: sending and receiving share the air.
    pub radio: bool,
    /// Its speed in kbit/s, if somebody knows.
    pub throughput_kbps: Option<u32>,
}

/// Opens the carrier on an interface that is up.
pub fn open(id: InterfaceId, interface: &EtherInterface) -> io::Result<Carrier> {
    // One socket is bound to our address, so the source never changes; the other to the group, so it hears nothing else.
    let socket = bind(interface.address, interface.index)?;
    socket.set_multicast_if_v6(interface.index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(1)?;
    sys::never_fragment(std::os::fd::AsFd::as_fd(&socket), true)?;
    let group = bind(GROUP, interface.index)?;
    group.join_multicast_v6(&GROUP, interface.index)?;
    let to_group = SocketAddrV6::new(GROUP, PORT, 0, interface.index);
    Carrier::new(
        id,
        interface.name.clone(),
        InterfaceConfig {
            medium: Medium::Broadcast,
            mtu: interface.mtu.saturating_sub(OVERHEAD),
            half_duplex: interface.radio,
            throughput_kbps: interface.throughput_kbps,
        },
        socket,
        Some((group, sys::RawAddress::new(SocketAddr::V6(to_group), false))),
        false,
    )
}

fn bind(address: Ipv6Addr, index: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    let address = SocketAddr::V6(SocketAddrV6::new(address, PORT, 0, index));
    socket.bind(&address.into())?;
    Ok(socket)
}
