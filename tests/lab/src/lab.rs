//! A lab: one network namespace per node, one veth pair per link, each end named after the node it leads to. Links are cut
//! and healed here. A lab never touches the machine's own interfaces, and leaves nothing behind.

use std::fmt::Write;
use std::net::Ipv6Addr;
use std::path::Path;

use serde_json::Value;

use crate::command::{run, run_with_input};
use crate::error::{LabError, Result};
use crate::namespace;
use crate::reaper::{Reaper, remove_leftovers};
use crate::topology::{NodeIndex, Topology};

/// How a link dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The interface goes down at one end and loses its carrier at the other: both systems say so.
    Announced,
    /// Both interfaces stay up and everything that arrives is dropped: nobody says so.
    Silent,
}

/// What the veth interfaces do for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// As veth comes: segments of 64 KiB pass in one piece, checksums are not computed.
    All,
    /// Each packet is cut and summed before it leaves; the receiver joins them again (GRO). The nearest to a radio.
    ReceiveOnly,
    /// Nothing at all: one packet at a time.
    None,
}

/// Traffic counters of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes sent, Ethernet headers included.
    pub bytes: u64,
    /// Packets sent.
    pub packets: u64,
}

/// Namespaces and links; removed when dropped.
#[derive(Debug)]
pub struct Lab {
    topology: Topology,
    reaper: Reaper,
}

/// Settings of every namespace: addresses work at once, nobody asks for routers.
const SETTINGS: [&str; 7] = [
    "/proc/sys/net/ipv6/conf/all/disable_ipv6=0",
    "/proc/sys/net/ipv6/conf/default/disable_ipv6=0",
    "/proc/sys/net/ipv6/conf/all/accept_dad=0",
    "/proc/sys/net/ipv6/conf/default/accept_dad=0",
    "/proc/sys/net/ipv6/conf/default/dad_transmits=0",
    "/proc/sys/net/ipv6/conf/default/accept_ra=0",
    "/proc/sys/net/ipv6/conf/default/router_solicitations=0",
];

impl Lab {
    /// Makes the namespaces and links of a topology, after removing what dead labs left.
    pub fn new(topology: Topology) -> Result<Self> {
        if !namespace::are_possible() {
            return Err(LabError::NotRoot);
        }
        remove_leftovers()?;
        let lab = Self {
            topology,
            reaper: Reaper::start()?,
        };
        let mut script = String::new();
        for node in 0..lab.topology.len() {
            let _ = writeln!(script, "netns add {}", lab.namespace(node));
        }
        ip_batch(&script)?;
        for node in 0..lab.topology.len() {
            lab.settings(node, &SETTINGS)?;
        }
        let mut script = String::new();
        for node in 0..lab.topology.len() {
            let _ = writeln!(script, "-n {} link set lo up", lab.namespace(node));
        }
        for &(a, b) in &lab.topology.links {
            script += &lab.link_script(a, b);
        }
        ip_batch_each(&script)?;
        Ok(lab)
    }

    /// Its nodes and links.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Folder for sockets, logs and state of this lab.
    pub fn folder(&self) -> &Path {
        self.reaper.folder()
    }

    /// Name of a node's namespace.
    pub fn namespace(&self, node: NodeIndex) -> String {
        format!("{}-{}", self.reaper.prefix(), self.topology.names[node])
    }

    /// Writes values into files below /proc/sys, as the namespace sees them. Each setting is `path=value`.
    pub fn settings(&self, node: NodeIndex, settings: &[&str]) -> Result<()> {
        namespace::within(&self.namespace(node), || {
            for setting in settings {
                let (path, value) = setting.split_once('=').unwrap_or((setting, ""));
                std::fs::write(path, value)
                    .map_err(LabError::io(format!("writing {value} to {path}")))?;
            }
            Ok(())
        })
    }

    fn link_script(&self, a: NodeIndex, b: NodeIndex) -> String {
        let (na, nb) = (self.namespace(a), self.namespace(b));
        let (ia, ib) = (self.topology.interface(b), self.topology.interface(a));
        format!(
            "link add {ia} netns {na} address {} type veth peer name {ib} netns {nb} address {}\n\
             -n {na} link set {ia} up\n-n {nb} link set {ib} up\n",
            mac(a, b),
            mac(b, a),
        )
    }

    /// Turns the offloads of all links on or off.
    pub fn set_offload(&self, offload: Offload) -> Result<()> {
        let (rest, receive) = match offload {
            Offload::All => ("on", "off"),
            Offload::ReceiveOnly => ("off", "on"),
            Offload::None => ("off", "off"),
        };
        for (node, interface) in self.ends() {
            let arguments = [
                "netns",
                "exec",
                &self.namespace(node),
                "ethtool",
                "-K",
                &interface,
                "tx",
                rest,
                "sg",
                rest,
                "tso",
                rest,
                "gso",
                rest,
                "tx-udp-segmentation",
                rest,
                "gro",
                receive,
            ];
            run("ip", &arguments)?;
        }
        Ok(())
    }

    /// Both ends of every link: the node and its interface.
    pub fn ends(&self) -> Vec<(NodeIndex, String)> {
        self.topology
            .links
            .iter()
            .flat_map(|&(a, b)| {
                [
                    (a, self.topology.interface(b)),
                    (b, self.topology.interface(a)),
                ]
            })
            .collect()
    }

    /// Cuts the link between two nodes.
    pub fn cut(&self, a: NodeIndex, b: NodeIndex, how: Cut) -> Result<()> {
        self.require_link(a, b)?;
        cut_in(&self.namespaces(a, b), &self.interfaces(a, b), how)
    }

    /// Heals the link between two nodes, however it was cut.
    pub fn heal(&self, a: NodeIndex, b: NodeIndex) -> Result<()> {
        self.require_link(a, b)?;
        heal_in(&self.namespaces(a, b), &self.interfaces(a, b))
    }

    /// Removes the link's interfaces, as when a USB WiFi stick is pulled.
    pub fn unplug(&self, a: NodeIndex, b: NodeIndex) -> Result<()> {
        self.require_link(a, b)?;
        run(
            "ip",
            &[
                "-n",
                &self.namespace(a),
                "link",
                "del",
                &self.topology.interface(b),
            ],
        )
        .map(drop)
    }

    /// Makes the link's interfaces anew after [`Lab::unplug`].
    pub fn plug(&self, a: NodeIndex, b: NodeIndex) -> Result<()> {
        self.require_link(a, b)?;
        ip_batch_each(&self.link_script(a, b))
    }

    fn namespaces(&self, a: NodeIndex, b: NodeIndex) -> [String; 2] {
        [self.namespace(a), self.namespace(b)]
    }

    fn interfaces(&self, a: NodeIndex, b: NodeIndex) -> [String; 2] {
        [self.topology.interface(b), self.topology.interface(a)]
    }

    fn require_link(&self, a: NodeIndex, b: NodeIndex) -> Result<()> {
        let links = &self.topology.links;
        if links.contains(&(a, b)) || links.contains(&(b, a)) {
            return Ok(());
        }
        let name = |node: NodeIndex| {
            self.topology
                .names
                .get(node)
                .cloned()
                .unwrap_or_else(|| node.to_string())
        };
        Err(LabError::Unknown(format!(
            "link between {} and {}",
            name(a),
            name(b)
        )))
    }

    /// What a node has sent into its links so far, by neighbour.
    pub fn sent_by(&self, node: NodeIndex) -> Result<Vec<(NodeIndex, Counted)>> {
        let text = run(
            "ip",
            &["-j", "-s", "-n", &self.namespace(node), "link", "show"],
        )?;
        let answer: Value =
            serde_json::from_str(&text).map_err(|_| LabError::answer("ip link show", &text))?;
        let mut counted = Vec::new();
        for neighbour in self.topology.neighbours(node) {
            let interface = self.topology.interface(neighbour);
            let entry = answer
                .as_array()
                .into_iter()
                .flatten()
                .find(|e| e["ifname"] == interface.as_str());
            let sent = entry.map_or(&Value::Null, |e| &e["stats64"]["tx"]);
            let number = |key: &str| sent[key].as_u64().unwrap_or(0);
            counted.push((
                neighbour,
                Counted {
                    bytes: number("bytes"),
                    packets: number("packets"),
                },
            ));
        }
        Ok(counted)
    }

    /// What all nodes together have sent into all links so far.
    pub fn sent(&self) -> Result<Counted> {
        let mut sum = Counted::default();
        for node in 0..self.topology.len() {
            for (_, counted) in self.sent_by(node)? {
                sum.bytes += counted.bytes;
                sum.packets += counted.packets;
            }
        }
        Ok(sum)
    }

    /// The link-local address of the end of a link that is `node`'s and leads to `neighbour`.
    pub fn link_local(node: NodeIndex, neighbour: NodeIndex) -> Ipv6Addr {
        let [n, m] = [low_byte(node), low_byte(neighbour)];
        // EUI-64 (RFC 4291, appendix A) of the MAC address of `mac`.
        Ipv6Addr::new(
            0xfe80,
            0,
            0,
            0,
            0x0077,
            0x00ff,
            0xfe00,
            u16::from_be_bytes([n, m]),
        )
    }

    /// Plain kernel forwarding: an address on each node's loopback and static routes along the shortest paths. This is what
    /// overlays are compared with. Returns the addresses.
    pub fn route_plainly(&self) -> Result<Vec<Ipv6Addr>> {
        let addresses = self.plain_addresses()?;
        let mut script = String::new();
        for (target, address) in addresses.iter().enumerate() {
            for (node, hop) in self.topology.next_hops(target).into_iter().enumerate() {
                if let Some(hop) = hop {
                    let _ = writeln!(
                        script,
                        "-n {} -6 route add {address}/128 via {} dev {}",
                        self.namespace(node),
                        Self::link_local(hop, node),
                        self.topology.interface(hop),
                    );
                }
            }
        }
        ip_batch_each(&script)?;
        Ok(addresses)
    }

    /// An address on each node's loopback, and forwarding switched on; no routes.
    pub fn plain_addresses(&self) -> Result<Vec<Ipv6Addr>> {
        let mut addresses = Vec::new();
        for node in 0..self.topology.len() {
            let address = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(low_byte(node)) + 1);
            run(
                "ip",
                &[
                    "-n",
                    &self.namespace(node),
                    "addr",
                    "add",
                    &format!("{address}/128"),
                    "dev",
                    "lo",
                ],
            )?;
            self.settings(node, &["/proc/sys/net/ipv6/conf/all/forwarding=1"])?;
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Cuts the link whose two ends are these interfaces in these namespaces.
pub fn cut_in(namespaces: &[String; 2], interfaces: &[String; 2], how: Cut) -> Result<()> {
    match how {
        Cut::Announced => run(
            "ip",
            &["-n", &namespaces[0], "link", "set", &interfaces[0], "down"],
        )
        .map(drop),
        Cut::Silent => {
            for (namespace, interface) in namespaces.iter().zip(interfaces) {
                let table = format!("cut-{interface}");
                let rules = format!(
                    "table netdev {table} {{\n chain arrive {{\n  type filter hook ingress device \"{interface}\" priority -500;\n  drop\n }}\n}}\n"
                );
                run_with_input(
                    "ip",
                    &["netns", "exec", namespace, "nft", "-f", "-"],
                    Some(&rules),
                )?;
            }
            Ok(())
        }
    }
}

/// Heals the link whose two ends are these interfaces in these namespaces.
pub fn heal_in(namespaces: &[String; 2], interfaces: &[String; 2]) -> Result<()> {
    for (namespace, interface) in namespaces.iter().zip(interfaces) {
        let table = format!("cut-{interface}");
        // Adding the table first makes the deletion succeed whether it was there or not.
        let rules = format!("add table netdev {table}\ndelete table netdev {table}\n");
        run_with_input(
            "ip",
            &["netns", "exec", namespace, "nft", "-f", "-"],
            Some(&rules),
        )?;
        run("ip", &["-n", namespace, "link", "set", interface, "up"])?;
    }
    Ok(())
}

fn low_byte(node: NodeIndex) -> u8 {
    u8::try_from(node).unwrap_or(u8::MAX)
}

/// MAC address of the end of a link, the same in every run.
fn mac(node: NodeIndex, neighbour: NodeIndex) -> String {
    format!(
        "02:77:00:00:{:02x}:{:02x}",
        low_byte(node),
        low_byte(neighbour)
    )
}

/// Runs lines for `ip -batch`.
fn ip_batch(script: &str) -> Result<()> {
    run_with_input("ip", &["-batch", "-"], Some(script)).map(drop)
}

/// Runs lines for `ip` one by one: its batch mode does not take `-n NAMESPACE`.
fn ip_batch_each(script: &str) -> Result<()> {
    for line in script.lines() {
        run("ip", &line.split_whitespace().collect::<Vec<_>>())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Lab, mac};

    #[test]
    fn the_link_local_address_is_the_eui_64_of_the_mac_address() {
        assert_eq!(mac(3, 4), "02:77:00:00:03:04");
        assert_eq!(Lab::link_local(3, 4).to_string(), "fe80::77:ff:fe00:304");
    }
}
