//! IPv6 packets of people's programs: headers, errors, what may come in. Nothing here touches a device or a clock.

pub mod bucket;
pub mod checksum;
mod flows;
pub mod icmpv6;
pub mod inner;
pub mod ipv6;
pub mod policy;

/// Why bytes are no packet that this node handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Fewer bytes than the headers need.
    #[error("the packet ends inside its headers")]
    Truncated,
    /// Not version 6.
    #[error("the packet is not IPv6")]
    NotIpv6,
    /// The length field and the bytes disagree.
    #[error("the IPv6 length field does not fit the bytes that came")]
    Length,
    /// More extension headers than anybody needs, or one in a place where it may not stand.
    #[error("the chain of IPv6 extension headers is too long or out of order")]
    ExtensionHeaders,
    /// A source that is not this node, or a destination that is no node.
    #[error("the packet's addresses are not those of the session")]
    Address,
    /// A partial checksum whose place lies outside the packet.
    #[error("the place of the checksum lies outside the packet")]
    ChecksumPlace,
    /// An inner header with bits that mean nothing in this version.
    #[error("the inner header is of a kind this version does not know")]
    InnerKind,
}
