//! The plug is pulled: a disk that forgets what was not synced, cuts power after a number of operations, and can be
//! full. What the store acknowledged must be there afterwards, and what it erased must not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};

use nostr::event::EventId;

use super::{EmbeddedStore, Store};
use crate::disk::{Disk, DiskFile};
use crate::record::StoredEvent;
use crate::testing::{Person, channel};

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default)]
struct Sim {
    names: HashMap<String, Arc<Mutex<Inode>>>,
    durable_names: HashMap<String, Arc<Mutex<Inode>>>,
    /// Operations until the power goes; `None`: it stays.
    power: Option<u32>,
    /// Bytes until the disk is full; `None`: it never is.
    room: Option<usize>,
    /// Whether a sync does what it promises.
    sync_lies: bool,
}

impl Sim {
    fn step(&mut self) -> io::Result<()> {
        if let Some(power) = &mut self.power {
            *power = power
                .checked_sub(1)
                .ok_or_else(|| io::Error::other("the power is off"))?;
        }
        Ok(())
    }
}

/// A disk in memory.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Sim>>);

struct SimFile(SimDisk, Arc<Mutex<Inode>>);

impl SimDisk {
    /// Power off and on again: what was not synced is gone, but for a part of it that is partly wrong.
    fn crash(&self, random: &mut Random) {
        let mut sim = self.0.lock().unwrap();
        sim.names = sim.durable_names.clone();
        sim.power = None;
        for inode in sim.names.values() {
            let mut inode = inode.lock().unwrap();
            let mut kept = inode.durable.clone();
            if inode.now.len() > kept.len() {
                let torn = random.below(inode.now.len() - kept.len() + 1);
                kept.extend_from_slice(&inode.now[kept.len()..kept.len() + torn]);
                if torn > 0 && random.below(2) == 0 {
                    let place = inode.durable.len() + random.below(torn);
                    kept[place] ^= 0x55;
                }
            }
            inode.now = kept.clone();
            inode.durable = kept;
        }
    }

    fn power_for(&self, operations: u32) {
        self.0.lock().unwrap().power = Some(operations);
    }

    fn set_room(&self, room: Option<usize>) {
        self.0.lock().unwrap().room = room;
    }

    fn has_words(&self, words: &[u8]) -> bool {
        self.0.lock().unwrap().names.values().any(|inode| {
            inode
                .lock()
                .unwrap()
                .now
                .windows(words.len())
                .any(|window| window == words)
        })
    }

    fn inode(&self, name: &str) -> io::Result<Arc<Mutex<Inode>>> {
        self.0
            .lock()
            .unwrap()
            .names
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut sim = self.0.lock().unwrap();
        sim.step()?;
        let inode = Arc::<Mutex<Inode>>::default();
        sim.names.insert(name.to_owned(), Arc::clone(&inode));
        Ok(Box::new(SimFile(self.clone(), inode)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SimFile(self.clone(), self.inode(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut sim = self.0.lock().unwrap();
        sim.step()?;
        let inode = sim.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        sim.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut sim = self.0.lock().unwrap();
        sim.step()?;
        sim.names
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut sim = self.0.lock().unwrap();
        sim.step()?;
        if !sim.sync_lies {
            sim.durable_names = sim.names.clone();
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.1.lock().unwrap().now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inode = self.1.lock().unwrap();
        let bytes = inode
            .now
            .get(offset as usize..)
            .and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut sim = self.0.0.lock().unwrap();
        sim.step()?;
        let mut inode = self.1.lock().unwrap();
        let end = offset as usize + bytes.len();
        let mut whole = end;
        if let Some(room) = &mut sim.room {
            let grows = end.saturating_sub(inode.now.len());
            whole = end - grows.saturating_sub(*room);
            *room = room.saturating_sub(grows);
        }
        if inode.now.len() < whole {
            inode.now.resize(whole, 0);
        }
        inode.now[offset as usize..whole].copy_from_slice(&bytes[..whole - offset as usize]);
        if whole < end {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut sim = self.0.0.lock().unwrap();
        sim.step()?;
        let mut inode = self.1.lock().unwrap();
        if let Some(room) = &mut sim.room {
            *room += inode.now.len().saturating_sub(length as usize);
        }
        inode.now.truncate(length as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut sim = self.0.0.lock().unwrap();
        sim.step()?;
        if !sim.sync_lies {
            let mut inode = self.1.lock().unwrap();
            inode.durable = inode.now.clone();
        }
        Ok(())
    }
}

/// xorshift64*: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Writes, erases and pulls the plug several times. `Err` says what was lost.
fn scenario(seed: u64, sync_lies: bool) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let disk = SimDisk::default();
    disk.0.lock().unwrap().sync_lies = sync_lies;
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index.sqlite");
    let person = Person::new(1);
    let mut number = 0;
    let mut safe: BTreeMap<EventId, String> = BTreeMap::new();
    let mut erased: BTreeMap<EventId, String> = BTreeMap::new();
    for _ in 0..4 {
        let store = EmbeddedStore::open(Arc::new(disk.clone()), &index)
            .map_err(|error| format!("seed {seed}: does not open: {error}"))?;
        for (id, words) in &safe {
            if store.get(id).map_err(|error| error.to_string())?.is_none() {
                return Err(format!("seed {seed}: {words} was acknowledged and is gone"));
            }
        }
        for (id, words) in &erased {
            if store.get(id).map_err(|error| error.to_string())?.is_some()
                || disk.has_words(words.as_bytes())
            {
                return Err(format!("seed {seed}: {words} was erased and is back"));
            }
        }
        disk.power_for(20 + random.below(120) as u32);
        loop {
            let events: Vec<Arc<StoredEvent>> = (0..=random.below(4))
                .map(|_| {
                    number += 1;
                    let event = person.event(
                        9,
                        1000 + number,
                        &[&["h", "c"]],
                        &format!("<words {number}>"),
                    );
                    Arc::new(StoredEvent {
                        event,
                        channel: Some(channel("c")),
                    })
                })
                .collect();
            let victims: BTreeSet<EventId> = if random.below(6) == 0 {
                safe.keys()
                    .copied()
                    .filter(|_| random.below(8) == 0)
                    .collect()
            } else {
                BTreeSet::new()
            };
            let victims: Vec<EventId> = victims.into_iter().collect();
            let unsure: Vec<(EventId, String)> = victims
                .iter()
                .filter_map(|id| safe.remove(id).map(|words| (*id, words)))
                .collect();
            let Ok(appended) = store.append(&events, &victims) else {
                break;
            };
            safe.extend(
                events
                    .iter()
                    .map(|event| (event.event.id, event.event.content.clone())),
            );
            if !appended.erased {
                break;
            }
            erased.extend(unsure);
            if random.below(10) == 0 && store.maintain().is_err() {
                break;
            }
        }
        drop(store);
        disk.crash(&mut random);
        if random.below(3) == 0 {
            super::index::Index::remove(&index);
        }
    }
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    for seed in 1..=60 {
        scenario(seed, false).unwrap();
    }
}

#[test]
fn a_disk_whose_sync_does_nothing_is_found_out() {
    // The control: if this passed, the test above would not notice that the journal had stopped syncing.
    let lost = (1..=20)
        .filter(|seed| scenario(*seed, true).is_err())
        .count();
    assert!(
        lost >= 15,
        "only {lost} of 20 runs on a lying disk noticed a loss"
    );
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = SimDisk::default();
    let dir = tempfile::tempdir().unwrap();
    let store =
        EmbeddedStore::open(Arc::new(disk.clone()), &dir.path().join("index.sqlite")).unwrap();
    let person = Person::new(1);
    let event = |n: u64| {
        Arc::new(StoredEvent {
            event: person.event(9, n, &[], &format!("message {n}")),
            channel: None,
        })
    };
    store.append(&[event(1)], &[]).unwrap();
    disk.set_room(Some(100));
    for n in 2..5 {
        assert!(store.append(&[event(n)], &[]).is_err());
        assert!(store.get(&event(n).event.id).unwrap().is_none());
    }
    assert!(
        store.get(&event(1).event.id).unwrap().is_some(),
        "reading goes on"
    );
    disk.set_room(None);
    store.append(&[event(9)], &[]).unwrap();
    drop(store);
    let store = EmbeddedStore::open(Arc::new(disk), &dir.path().join("index2.sqlite")).unwrap();
    assert!(store.get(&event(1).event.id).unwrap().is_some());
    assert!(store.get(&event(9).event.id).unwrap().is_some());
    assert!(
        store.get(&event(2).event.id).unwrap().is_none(),
        "what was refused does not come back"
    );
}
