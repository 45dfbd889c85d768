//! The TUN device: packets of this machine's programs in and out, in super-packets where the kernel can (virtio header,
//! as QEMU's guests use it), so that checksums are never computed between two nodes with offload. Nothing here knows
//! where a packet goes.

pub mod coalesce;
pub mod header;
pub mod segment;

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::sys;

/// Longest packet the kernel hands over, with its virtio header.
pub const READ_BYTES: usize = 65_536 + sys::VNET_HEADER_LEN;

/// An open TUN device.
#[derive(Debug)]
pub struct Tun {
    file: File,
    offload: bool,
    udp_offload: bool,
}

impl Tun {
    /// Makes the device `name` (or takes over one that was made for this user).
    pub fn open(name: &str) -> io::Result<Self> {
        let device = sys::open_tun(name)?;
        Ok(Self {
            file: File::from(device.fd),
            offload: device.offload,
            udp_offload: device.udp_offload,
        })
    }

    /// Whether packets carry a virtio header.
    pub const fn offload(&self) -> bool {
        self.offload
    }

    /// Whether UDP super-packets may be written.
    pub const fn udp_offload(&self) -> bool {
        self.udp_offload
    }

    /// Reads one packet with its virtio header, if there is one to read and the device has offload.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Writes one packet, its parts end to end, in one call.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.file).write_vectored(parts)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
