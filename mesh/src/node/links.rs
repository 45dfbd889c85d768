//! All links of a node, found by number, by the index in frames, and by transport address. No rules here.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use super::link::Link;
use crate::link::LinkIndex;
use crate::routing::LinkId;
use crate::transmit::{Destination, InterfaceId, TransmitQueue};

/// Where somebody is: an interface, and the address there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) interface: InterfaceId,
    pub(super) transport: SocketAddr,
}

impl Place {
    /// Queues a datagram for whoever is there.
    pub(super) fn send(self, transmit: &mut TransmitQueue, datagram: &[u8]) {
        let to = Destination::Unicast(self.transport);
        transmit.push(self.interface, to, datagram);
    }
}

/// The table of links.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Option<Box<Link>>>,
    by_index: BTreeMap<LinkIndex, LinkId>,
    by_place: BTreeMap<Place, LinkId>,
    last_serial: u32,
}

impl Links {
    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(id.slot())?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.slot())?.as_deref_mut()
    }

    /// The link, if it is still the one a timer was set for.
    pub(super) fn same(&mut self, id: LinkId, serial: u32) -> Option<&mut Link> {
        self.get_mut(id).filter(|link| link.serial == serial)
    }

    pub(super) fn by_index(&self, index: LinkIndex) -> Option<LinkId> {
        self.by_index.get(&index).copied()
    }

    pub(super) fn by_place(&self, place: Place) -> Option<LinkId> {
        self.by_place.get(&place).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, link)| Some((LinkId::of_slot(slot)?, link.as_deref()?)))
    }

    pub(super) fn on(&self, interface: InterfaceId) -> impl Iterator<Item = (LinkId, &Link)> {
        self.iter()
            .filter(move |(_, link)| link.interface == interface)
    }

    pub(super) fn up_on(&self, interface: InterfaceId) -> impl Iterator<Item = (LinkId, &Link)> {
        self.on(interface).filter(|(_, link)| link.is_up())
    }

    pub(super) fn next_serial(&mut self) -> u32 {
        self.last_serial = self.last_serial.wrapping_add(1);
        self.last_serial
    }

    /// Adds a link, in place of an old one if `id` is given. `None`: 65 535 links are in use.
    pub(super) fn insert(&mut self, id: Option<LinkId>, link: Link) -> Option<LinkId> {
        let id = match id {
            Some(id) => id,
            None => {
                let free = self.slots.iter().position(Option::is_none);
                let id = LinkId::of_slot(free.unwrap_or(self.slots.len()))?;
                if free.is_none() {
                    self.slots.push(None);
                }
                id
            }
        };
        self.by_index.insert(link.session.local_index(), id);
        self.by_place.insert(link.place(), id);
        self.slots[id.slot()] = Some(Box::new(link));
        Some(id)
    }

    /// Takes a link out. Its replaced session is forgotten, its current index stays known if `keep_index`.
    pub(super) fn remove(&mut self, id: LinkId, keep_index: bool) -> Option<Link> {
        let mut link = *self.slots.get_mut(id.slot())?.take()?;
        self.by_place.remove(&link.place());
        if let Some(old) = link.drop_old() {
            self.by_index.remove(&old);
        }
        if !keep_index {
            self.by_index.remove(&link.session.local_index());
        }
        Some(link)
    }
}

/// The index of a link that stands at `offset` of a datagram.
pub(super) fn index_at(datagram: &[u8], offset: usize) -> Option<u32> {
    let bytes = datagram.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}
