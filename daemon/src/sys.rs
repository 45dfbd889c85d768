//! The one file with `unsafe`: what Linux offers by ioctl and control messages only, and no safe wrapper of a small
//! library covers (TUN with offload, UDP_SEGMENT and UDP_GRO, ethtool). Thin: nothing here decides anything.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Length of the virtio header in front of every packet of a TUN device with `IFF_VNET_HDR`.
pub const VNET_HEADER_LEN: usize = 10;

/// Longest name of a network interface, without the closing zero byte.
pub const INTERFACE_NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// A TUN device as the kernel made it.
#[derive(Debug)]
pub struct TunDevice {
    /// Its file descriptor, non-blocking.
    pub fd: OwnedFd,
    /// Whether packets carry a virtio header and may be larger than the MTU.
    pub offload: bool,
    /// Whether large UDP sends come unsegmented, too.
    pub udp_offload: bool,
}

#[repr(C)]
union RequestBody {
    flags: libc::c_short,
    data: *mut libc::c_void,
    // The kernel copies the whole structure: it must be as long as its own.
    room: [u64; 3],
}

#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    body: RequestBody,
}

fn interface_request(name: &str) -> io::Result<InterfaceRequest> {
    if name.is_empty() || name.len() > INTERFACE_NAME_MAX || name.as_bytes().contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        body: RequestBody { room: [0; 3] },
    };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(request)
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn open_tun_with(name: &str, flags: libc::c_int) -> io::Result<OwnedFd> {
    const DEVICE: &CStr = c"/dev/net/tun";
    let mut request = interface_request(name)?;
    request.body.flags = flags as libc::c_short;
    // SAFETY: the path is a C string; the descriptor is owned from here on; the request lives through the call and has
    // the kernel's layout (struct ifreq).
    unsafe {
        let fd = checked(libc::open(
            DEVICE.as_ptr(),
            libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC,
        ))?;
        let fd = OwnedFd::from_raw_fd(fd);
        checked(libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETIFF as _,
            &mut request,
        ))?;
        Ok(fd)
    }
}

/// Makes (or takes over) the TUN device `name`, with as much offload as this kernel has.
pub fn open_tun(name: &str) -> io::Result<TunDevice> {
    let plain = libc::IFF_TUN | libc::IFF_NO_PI;
    let Ok(fd) = open_tun_with(name, plain | libc::IFF_VNET_HDR) else {
        return Ok(TunDevice {
            fd: open_tun_with(name, plain)?,
            offload: false,
            udp_offload: false,
        });
    };
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let offload = |flags: libc::c_uint| {
        // SAFETY: this ioctl takes its argument by value.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::TUNSETOFFLOAD as _,
                libc::c_ulong::from(flags),
            ) == 0
        }
    };
    let udp_offload = offload(tcp | udp);
    if !udp_offload && !offload(tcp) {
        drop(fd);
        return Ok(TunDevice {
            fd: open_tun_with(name, plain)?,
            offload: false,
            udp_offload: false,
        });
    }
    Ok(TunDevice {
        fd,
        offload: true,
        udp_offload,
    })
}

/// The speed in Mbit/s that the interface's driver reports (ethtool), if it knows one.
pub fn link_speed_mbps(socket: BorrowedFd<'_>, name: &str) -> Option<u32> {
    // struct ethtool_cmd of linux/ethtool.h: 44 bytes; the speed's low half at 12, its high half at 28.
    const ETHTOOL_GSET: u32 = 1;
    const UNKNOWN: u32 = u32::MAX;
    let mut command = [0_u32; 11];
    command[0] = ETHTOOL_GSET;
    let mut request = interface_request(name).ok()?;
    request.body.data = command.as_mut_ptr().cast();
    // SAFETY: the request points at a buffer as long as the kernel's ethtool_cmd, and both live through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &mut request) };
    if result != 0 {
        return None;
    }
    let bytes: Vec<u8> = command.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let low = u32::from(u16::from_ne_bytes([bytes[12], bytes[13]]));
    let high = u32::from(u16::from_ne_bytes([bytes[28], bytes[29]]));
    let speed = high << 16 | low;
    // Drivers that do not know say all ones in 16 or 32 bits, or nothing.
    (speed != 0 && speed != UNKNOWN && speed != 0xffff).then_some(speed)
}

/// Lets the kernel join datagrams of one sender (UDP_GRO). An error: this kernel has none.
pub fn enable_gro(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_UDP, libc::UDP_GRO, 1)
}

/// Whether this kernel can split one send into datagrams (UDP_SEGMENT).
pub fn has_gso(socket: BorrowedFd<'_>) -> bool {
    set_option(socket, libc::IPPROTO_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

/// Datagrams are never fragmented, and the path's MTU is ours to know (IPV6_PMTUDISC_PROBE, IP_PMTUDISC_PROBE).
pub fn never_fragment(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
    }
    // A dual-stack socket sends IPv4, too; one that cannot says so, and that is no error.
    let v4 = set_option(
        socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_PROBE,
    );
    if v6 { Ok(()) } else { v4 }
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the value is an int that lives through the call, and its length is given.
    checked(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
    .map(drop)
}

/// A socket address in the kernel's layout, kept by the sender so that it is converted once.
#[derive(Clone, Copy)]
pub struct RawAddress {
    storage: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl std::fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawAddress")
    }
}

impl RawAddress {
    /// The kernel's form of `address`; on a dual-stack socket (`mapped`) IPv4 is written as ::ffff:a.b.c.d.
    pub fn new(address: SocketAddr, mapped: bool) -> Self {
        // SAFETY: all zero bytes are a valid sockaddr_in6.
        let mut storage: libc::sockaddr_in6 = unsafe { zeroed() };
        let v6 = match address {
            SocketAddr::V6(v6) => v6,
            SocketAddr::V4(v4) if mapped => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0)
            }
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: sockaddr_in is shorter than sockaddr_in6 and no stricter aligned; both are plain data.
                unsafe {
                    (&raw mut storage)
                        .cast::<libc::sockaddr_in>()
                        .write_unaligned(raw)
                };
                return Self {
                    storage,
                    length: size_of::<libc::sockaddr_in>() as libc::socklen_t,
                };
            }
        };
        storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        storage.sin6_port = v6.port().to_be();
        storage.sin6_addr.s6_addr = v6.ip().octets();
        storage.sin6_scope_id = v6.scope_id();
        Self {
            storage,
            length: size_of::<libc::sockaddr_in6>() as libc::socklen_t,
        }
    }

    fn read(storage: &libc::sockaddr_in6) -> Option<SocketAddr> {
        match libc::c_int::from(storage.sin6_family) {
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(storage.sin6_addr.s6_addr);
                let port = u16::from_be(storage.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                    None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, storage.sin6_scope_id)),
                })
            }
            libc::AF_INET => {
                // SAFETY: the family says that the kernel wrote a sockaddr_in, which is shorter than the storage.
                let raw = unsafe {
                    (&raw const *storage)
                        .cast::<libc::sockaddr_in>()
                        .read_unaligned()
                };
                Some(SocketAddr::V4(SocketAddrV4::new(
                    Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes()),
                    u16::from_be(raw.sin_port),
                )))
            }
            _ => None,
        }
    }
}

/// Room for control messages, aligned as the kernel wants them.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct ControlRoom([u8; 64]);

fn message_header(
    address: &mut libc::sockaddr_in6,
    address_len: libc::socklen_t,
    part: &mut libc::iovec,
) -> libc::msghdr {
    // SAFETY: all zero bytes are a valid msghdr (musl pads it, so it cannot be written as a literal).
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = (&raw mut *address).cast();
    header.msg_namelen = address_len;
    header.msg_iov = &raw mut *part;
    header.msg_iovlen = 1;
    header
}

/// Sends datagrams of `segment` bytes each, the last may be shorter, in one call (UDP_SEGMENT). One datagram goes as it is.
pub fn send_segments(
    socket: BorrowedFd<'_>,
    to: &RawAddress,
    bytes: &[u8],
    segment: usize,
) -> io::Result<()> {
    let mut address = to.storage;
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = message_header(&mut address, to.length, &mut part);
    let mut room = ControlRoom([0; 64]);
    if bytes.len() > segment {
        let size = u16::try_from(segment).map_err(|_| io::ErrorKind::InvalidInput)?;
        header.msg_control = room.0.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE only computes; the room is larger than one u16's control message; CMSG_FIRSTHDR points
        // into it because msg_controllen is set.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
            let message = libc::CMSG_FIRSTHDR(&header);
            (*message).cmsg_level = libc::IPPROTO_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
        }
    }
    // SAFETY: everything the header points at lives through the call; the kernel only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

const SEND_MANY: usize = 64;

/// The same without UDP_SEGMENT: one sendmmsg for up to 64 datagrams. Returns how many bytes left.
pub fn send_many(
    socket: BorrowedFd<'_>,
    to: &RawAddress,
    bytes: &[u8],
    segment: usize,
) -> io::Result<usize> {
    let mut address = to.storage;
    // SAFETY: zero bytes are valid iovecs and mmsghdrs.
    let mut parts: [libc::iovec; SEND_MANY] = unsafe { zeroed() };
    let mut headers: [libc::mmsghdr; SEND_MANY] = unsafe { zeroed() };
    let mut count = 0;
    for (index, datagram) in bytes.chunks(segment.max(1)).take(SEND_MANY).enumerate() {
        parts[index] = libc::iovec {
            iov_base: datagram.as_ptr().cast_mut().cast(),
            iov_len: datagram.len(),
        };
        headers[index].msg_hdr = message_header(&mut address, to.length, &mut parts[index]);
        count = index + 1;
    }
    // SAFETY: `count` headers are filled in, and what they point at lives through the call.
    let sent = checked(unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    })?;
    Ok(bytes.len().min(sent as usize * segment))
}

/// Most kernel messages taken by one [`ReceiveRing::receive`].
pub const RECEIVE_MANY: usize = 8;
const RECEIVE_BYTES: usize = 65_536;

/// One kernel message: datagrams of one sender, laid end to end.
#[derive(Debug)]
pub struct Received<'a> {
    /// Who sent them.
    pub from: SocketAddr,
    /// Length of each, the last may be shorter.
    pub segment: usize,
    /// The datagrams.
    pub bytes: &'a mut [u8],
}

/// Buffers for recvmmsg with UDP_GRO. Only pages that were ever needed cost memory.
pub struct ReceiveRing {
    buffer: Vec<u8>,
    lengths: [usize; RECEIVE_MANY],
    segments: [usize; RECEIVE_MANY],
    senders: [Option<SocketAddr>; RECEIVE_MANY],
}

impl std::fmt::Debug for ReceiveRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiveRing")
    }
}

impl Default for ReceiveRing {
    fn default() -> Self {
        Self {
            buffer: vec![0; RECEIVE_MANY * RECEIVE_BYTES],
            lengths: [0; RECEIVE_MANY],
            segments: [0; RECEIVE_MANY],
            senders: [None; RECEIVE_MANY],
        }
    }
}

impl ReceiveRing {
    /// Takes what waits, at most [`RECEIVE_MANY`] messages, without blocking. Returns how many came.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: zero bytes are valid for all of these plain structures.
        let mut addresses: [libc::sockaddr_in6; RECEIVE_MANY] = unsafe { zeroed() };
        let mut parts: [libc::iovec; RECEIVE_MANY] = unsafe { zeroed() };
        let mut headers: [libc::mmsghdr; RECEIVE_MANY] = unsafe { zeroed() };
        let mut rooms = [MaybeUninit::<ControlRoom>::uninit(); RECEIVE_MANY];
        for (index, buffer) in self.buffer.chunks_exact_mut(RECEIVE_BYTES).enumerate() {
            parts[index] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            let header = &mut headers[index].msg_hdr;
            *header = message_header(
                &mut addresses[index],
                size_of::<libc::sockaddr_in6>() as libc::socklen_t,
                &mut parts[index],
            );
            header.msg_control = rooms[index].as_mut_ptr().cast();
            header.msg_controllen = size_of::<ControlRoom>() as _;
        }
        let fd: RawFd = socket.as_raw_fd();
        // SAFETY: every header points at buffers of its own that live through the call, with their true lengths.
        let count = checked(unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                RECEIVE_MANY as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        })? as usize;
        for (index, header) in headers.iter().enumerate().take(count) {
            let length = header.msg_len as usize;
            self.lengths[index] = length;
            self.segments[index] = gro_segment(&header.msg_hdr).unwrap_or(length).max(1);
            self.senders[index] = RawAddress::read(&addresses[index]);
        }
        Ok(count)
    }

    /// The message at `index`, which was below the last [`Self::receive`]'s count.
    pub fn message(&mut self, index: usize) -> Option<Received<'_>> {
        let from = (*self.senders.get(index)?)?;
        let start = index * RECEIVE_BYTES;
        let length = self.lengths[index].min(RECEIVE_BYTES);
        Some(Received {
            from,
            segment: self.segments[index],
            bytes: &mut self.buffer[start..start + length],
        })
    }
}

fn gro_segment(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel filled the control room that the header still points at, and set its length; the CMSG macros
    // stay within that length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::IPPROTO_UDP && (*message).cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(message)
                    .cast::<libc::c_int>()
                    .read_unaligned();
                return usize::try_from(size).ok();
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// Ends this process when its parent ends (for tests that must not leave anything running).
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: this prctl takes plain integers.
    checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}
