//! The kernel's network configuration by rtnetlink: what interfaces there are, their MTU and link-local addresses, the
//! TUN device's address and route, and events when any of it changes. Needs CAP_NET_ADMIN only to change something.

use std::net::{IpAddr, Ipv6Addr};

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use warren_mesh::identity::NodeAddress;

use crate::error::DaemonError;

/// The island's addresses: fc00::/8.
const ISLAND: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 8);

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The kernel's number.
    pub index: u32,
    /// Whether it is up and has a carrier.
    pub running: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Largest MTU the driver takes, if it says.
    pub max_mtu: Option<u32>,
}

/// The way to the kernel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

fn failed(action: &'static str, name: &str) -> impl Fn(rtnetlink::Error) -> DaemonError {
    move |error| DaemonError::Network {
        action,
        name: name.to_owned(),
        reason: match &error {
            rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
            other => other.to_string(),
        },
    }
}

impl Netlink {
    /// Connects. The connection's work is spawned on the current runtime.
    pub fn connect() -> Result<Self, DaemonError> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|error| DaemonError::system("a netlink socket", error))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Something (unspecified) changed about interfaces or IPv6 addresses.
    pub fn changes() -> Result<BoxStream<'static, ()>, DaemonError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr];
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(|error| DaemonError::system("a netlink socket for events", error))?;
        tokio::spawn(connection);
        Ok(messages.map(|_| ()).boxed())
    }

    /// An interface by name; `None` if there is none.
    pub async fn find(&self, name: &str) -> Result<Option<LinkInfo>, DaemonError> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Ok(link) => Ok(link.as_ref().map(link_info)),
            Err(rtnetlink::Error::NetlinkError(error)) if -error.raw_code() == libc::ENODEV => {
                Ok(None)
            }
            Err(error) => Err(failed("look up", name)(error)),
        }
    }

    /// The usable link-local addresses of an interface, in order: not those still being checked for duplicates.
    pub async fn link_local(&self, index: u32) -> Result<Vec<Ipv6Addr>, DaemonError> {
        let mut addresses = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute();
        let mut usable = Vec::new();
        while let Some(message) = addresses.try_next().await.map_err(failed(
            "read the addresses of interface",
            &index.to_string(),
        ))? {
            usable.extend(usable_link_local(&message));
        }
        // The first stays the first while it is there: neighbours know us by it.
        usable.sort_unstable();
        Ok(usable)
    }

    /// Adds a link-local address that is usable at once, without duplicate detection.
    pub async fn add_link_local(
        &self,
        name: &str,
        index: u32,
        address: Ipv6Addr,
    ) -> Result<(), DaemonError> {
        let mut request = self.handle.address().add(index, IpAddr::V6(address), 64);
        request
            .message_mut()
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
        request
            .execute()
            .await
            .map_err(failed("add a link-local address to", name))
    }

    /// Takes an address away again.
    pub async fn remove_address(
        &self,
        name: &str,
        index: u32,
        address: Ipv6Addr,
    ) -> Result<(), DaemonError> {
        let message = rtnetlink::AddressMessageBuilder::<Ipv6Addr>::new()
            .index(index)
            .address(address, 64)
            .build();
        self.handle
            .address()
            .del(message)
            .execute()
            .await
            .map_err(failed("take an address from", name))
    }

    /// Sets an interface's MTU.
    pub async fn set_mtu(&self, name: &str, index: u32, mtu: u32) -> Result<(), DaemonError> {
        self.handle
            .link()
            .set(LinkUnspec::new_with_index(index).mtu(mtu).build())
            .execute()
            .await
            .map_err(failed("set the MTU of", name))
    }

    /// Brings the TUN device up with the node's address, the island's route and sizes that fit the carriers.
    pub async fn configure_tun(
        &self,
        name: &str,
        address: NodeAddress,
        mtu: u32,
        gso_max: u32,
    ) -> Result<(), DaemonError> {
        let link = self.find(name).await?.ok_or_else(|| DaemonError::Network {
            action: "find",
            name: name.to_owned(),
            reason: String::from("it is gone"),
        })?;
        let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let set = self.handle.link();
        // Optional: a kernel that refuses works, with a little noise and smaller bursts.
        for attribute in [
            LinkAttribute::AfSpecUnspec(vec![quiet]),
            LinkAttribute::GsoMaxSize(gso_max),
        ] {
            let message = LinkUnspec::new_with_index(link.index)
                .append_extra_attribute(attribute)
                .build();
            if let Err(error) = set.set(message).execute().await {
                log::debug!("{name}: an optional setting was refused: {error}");
            }
        }
        set.set(LinkUnspec::new_with_index(link.index).mtu(mtu).up().build())
            .execute()
            .await
            .map_err(failed("bring up", name))?;
        let ours = IpAddr::V6(address.to_ipv6());
        let mut request = self.handle.address().add(link.index, ours, 128).replace();
        request
            .message_mut()
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad));
        request
            .execute()
            .await
            .map_err(failed("give the node's address to", name))?;
        let route = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(ISLAND.0, ISLAND.1)
            .output_interface(link.index)
            .build();
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(failed("route fc00::/8 over", name))
    }
}

fn link_info(message: &LinkMessage) -> LinkInfo {
    let wanted = LinkFlags::Up | LinkFlags::LowerUp;
    let mut info = LinkInfo {
        index: message.header.index,
        running: message.header.flags.contains(wanted),
        mtu: 0,
        max_mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => info.mtu = *mtu,
            LinkAttribute::MaxMtu(max) if *max > 0 => info.max_mtu = Some(*max),
            _ => {}
        }
    }
    info
}

fn usable_link_local(message: &AddressMessage) -> Option<Ipv6Addr> {
    if message.header.family != AddressFamily::Inet6 {
        return None;
    }
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(IpAddr::V6(v6)) => address = Some(*v6),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed;
    address.filter(|address| address.is_unicast_link_local() && !flags.intersects(unusable))
}
