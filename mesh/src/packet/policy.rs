//! What the island may open on this node through TUN: nothing but ICMPv6 and what the owner opened.

/// The owner's rules.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Everything is open (labs).
    pub open_all: bool,
    /// Open TCP ports.
    pub tcp: Vec<u16>,
    /// Open UDP ports.
    pub udp: Vec<u16>,
}
