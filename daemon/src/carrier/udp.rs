//! Carrier `udp`: the same frames on routed addresses, to peers that the owner typed in (and to those who call us).
//! Never looks for peers by itself.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};
use warren_mesh::node::{InterfaceConfig, Medium};
use warren_mesh::transmit::InterfaceId;

use super::{Carrier, OVERHEAD};
use crate::sys;

/// MTU assumed of a routed path, bytes: Ethernet's.
const PATH_MTU: u16 = 1500;

/// Opens the carrier on `listen`; an IPv6 wildcard serves IPv4, too.
pub fn open(id: InterfaceId, listen: SocketAddr, peers: Vec<SocketAddr>) -> io::Result<Carrier> {
    let v6 = listen.is_ipv6();
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if v6 {
        socket.set_only_v6(false)?;
    }
    socket.bind(&listen.into())?;
    sys::never_fragment(socket.as_fd(), v6)?;
    Carrier::new(
        id,
        String::from("udp"),
        InterfaceConfig {
            medium: Medium::Unicast { peers },
            mtu: PATH_MTU - OVERHEAD,
            half_duplex: false,
            throughput_kbps: None,
        },
        socket,
        None,
        v6,
    )
}
