//! What is read for one record often has the next one that is asked for in it.

use std::io;

use super::Position;
use super::segment::{RECORD_HEADER_BYTES, RecordHeader};
use crate::disk::DiskFile;

/// What one read fetches, in the hope that the whole record is in it.
const READ_AHEAD: u32 = 1024;
/// What it fetches of what stands before, when the one before was as near.
const NEAR: u32 = 7 * 1024;

/// Part of a segment as it was read for one record. Records beside it are often asked for next, the newer first.
#[derive(Debug, Default)]
pub struct Window {
    segment: u32,
    start: u32,
    bytes: Vec<u8>,
}

impl Window {
    /// What it has from a place on.
    fn rest(&self, position: Position) -> Option<&[u8]> {
        if position.segment != self.segment {
            return None;
        }
        let skip = position.offset.checked_sub(self.start)?;
        self.bytes.get(skip as usize..)
    }

    /// The record at a place, if it has all of it: header and payload.
    pub(super) fn record(&self, position: Position) -> Option<(RecordHeader, &[u8])> {
        let rest = self.rest(position)?;
        let header = RecordHeader::decode(rest)?;
        let payload = rest.get(RECORD_HEADER_BYTES as usize..)?;
        Some((header, payload.get(..header.length as usize)?))
    }

    /// Reads on up to a place of its segment.
    fn fill(&mut self, file: &dyn DiskFile, end: u32) -> io::Result<()> {
        let has = self.bytes.len();
        let wanted = end.saturating_sub(self.start) as usize;
        if wanted > has {
            self.bytes.resize(wanted, 0);
            file.read_at(&mut self.bytes[has..], u64::from(self.start) + has as u64)?;
        }
        Ok(())
    }

    /// Moves so that the record at a place is in it, if that is none that is damaged. `length`: of the segment.
    pub(super) fn move_to(
        &mut self,
        file: &dyn DiskFile,
        position: Position,
        length: u32,
    ) -> io::Result<()> {
        let is_near = self.segment == position.segment
            && !self.bytes.is_empty()
            && self.start.abs_diff(position.offset) <= NEAR;
        let before = if is_near { NEAR } else { 0 };
        self.segment = position.segment;
        self.start = position.offset.saturating_sub(before);
        self.bytes.clear();
        self.fill(file, length.min(position.offset.saturating_add(READ_AHEAD)))?;
        let header = self.rest(position).and_then(RecordHeader::decode);
        let end = header.map(|header| position.offset + RECORD_HEADER_BYTES + header.length);
        match end.filter(|end| *end <= length) {
            Some(end) => self.fill(file, end),
            None => Ok(()),
        }
    }
}
