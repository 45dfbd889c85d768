//! The bytes of one journal segment: a header, then records. Reading takes any bytes at all and never panics.
//!
//! Header, 32 bytes (integers big endian):
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `WRNJRNL` and a zero byte |
//! | 2 | version, now 1 |
//! | 2 | flags, 0 |
//! | 4 | number of the segment, from 1 |
//! | 4 | generation: how often the segment was written anew |
//! | 8 | 0 |
//! | 4 | checksum of the 28 bytes before |
//!
//! Record, 16 bytes and its payload:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of the payload |
//! | 1 | kind: 1 an event, 2 an erasure (ids of 32 bytes each) |
//! | 3 | 0 |
//! | 4 | checksum of the payload |
//! | 4 | checksum of the 12 bytes before |
//!
//! A checksum is the first four bytes of the BLAKE3 hash.

/// Bytes of a segment's header.
pub const HEADER_BYTES: u32 = 32;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_BYTES: u32 = 16;
/// Longest payload. Far above the longest event a space takes.
pub const PAYLOAD_BYTES: u32 = 4 << 20;

const MAGIC: [u8; 8] = *b"WRNJRNL\0";
const VERSION: u16 = 1;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The segment's number; segments are read in this order.
    pub number: u32,
    /// How often the segment was written anew.
    pub generation: u32,
}

impl Header {
    /// The header's bytes.
    pub fn encode(self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.generation.to_be_bytes());
        let sum = checksum(&bytes[..28]);
        bytes[28..].copy_from_slice(&sum);
        bytes
    }

    /// Reads a header; `None` when it is damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES as usize] = bytes.first_chunk()?;
        let number = u32::from_be_bytes(*bytes[12..].first_chunk()?);
        let generation = u32::from_be_bytes(*bytes[16..].first_chunk()?);
        let header = Self { number, generation };
        (header.encode() == *bytes).then_some(header)
    }

    /// The version of a header that is whole and of a later version than this program knows.
    pub fn later_version(bytes: &[u8]) -> Option<u16> {
        let bytes: &[u8; HEADER_BYTES as usize] = bytes.first_chunk()?;
        let version = u16::from_be_bytes(*bytes[8..].first_chunk()?);
        let is_whole = bytes[..8] == MAGIC && checksum(&bytes[..28]) == bytes[28..];
        (is_whole && version > VERSION).then_some(version)
    }
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// One event.
    Event,
    /// Ids of events that are to be gone from the journal.
    Erasure,
}

impl RecordKind {
    fn byte(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Erasure => 2,
        }
    }
}

/// What a record's first 16 bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload.
    pub length: u32,
    /// The kind byte; kinds of later versions are read over.
    pub kind: u8,
    sum: [u8; 4],
}

impl RecordHeader {
    /// Reads it; `None` when it is damaged or too long to be true.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_BYTES as usize] = bytes.first_chunk()?;
        let length = u32::from_be_bytes(*bytes.first_chunk()?);
        let whole = checksum(&bytes[..12]) == bytes[12..] && length <= PAYLOAD_BYTES;
        whole.then_some(Self {
            length,
            kind: bytes[4],
            sum: *bytes[8..].first_chunk()?,
        })
    }

    /// Whether these bytes are the payload.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && checksum(payload) == self.sum
    }
}

/// Writes one record at the end of `out`; `write` writes its payload.
pub fn write_record(out: &mut Vec<u8>, kind: RecordKind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES as usize]);
    write(out);
    let (header, payload) = out[start..].split_at_mut(RECORD_HEADER_BYTES as usize);
    header[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    header[4] = kind.byte();
    header[8..12].copy_from_slice(&checksum(payload));
    let sum = checksum(&header[..12]);
    header[12..].copy_from_slice(&sum);
}

/// One thing found in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record.
    Record {
        /// Where it begins in the segment.
        offset: u32,
        /// What it is; `None` for a kind of a later version.
        kind: Option<RecordKind>,
        /// What it holds.
        payload: &'a [u8],
    },
    /// A record whose payload is damaged; its header says where the next one begins.
    Damaged {
        /// Where it begins in the segment.
        offset: u32,
    },
}

/// Reads records one after another and stops at the first bytes that cannot be one.
#[derive(Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    offset: u32,
}

impl<'a> Scanner<'a> {
    /// Reads a whole segment's bytes from `offset` on.
    pub fn new(bytes: &'a [u8], offset: u32) -> Self {
        Self {
            bytes,
            offset: offset.max(HEADER_BYTES),
        }
    }

    /// Where the next record begins, or would.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Whether everything was read.
    pub fn at_end(&self) -> bool {
        self.offset as usize == self.bytes.len()
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let rest = self.bytes.get(self.offset as usize..)?;
        let header = RecordHeader::decode(rest)?;
        let payload = rest
            .get(RECORD_HEADER_BYTES as usize..)?
            .get(..header.length as usize)?;
        let offset = self.offset;
        self.offset = offset
            .checked_add(RECORD_HEADER_BYTES)?
            .checked_add(header.length)?;
        if !header.fits(payload) {
            return Some(Found::Damaged { offset });
        }
        let kind = match header.kind {
            1 => Some(RecordKind::Event),
            2 => Some(RecordKind::Erasure),
            _ => None,
        };
        Some(Found::Record {
            offset,
            kind,
            payload,
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let hash = blake3::hash(bytes);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Header {
            number: 1,
            generation: 0,
        }
        .encode()
        .to_vec();
        for payload in payloads {
            write_record(&mut bytes, RecordKind::Event, |out| {
                out.extend_from_slice(payload)
            });
        }
        bytes
    }

    #[test]
    fn a_damaged_payload_is_stepped_over_and_a_damaged_header_ends_the_segment() {
        let whole = segment(&[vec![1; 10], vec![2; 10], vec![3; 10]]);
        let mut payload = whole.clone();
        payload[32 + 26 + 20] ^= 1;
        let found: Vec<_> = Scanner::new(&payload, 0).collect();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], Found::Damaged { offset: 58 });
        let mut header = whole;
        header[32 + 26] ^= 1;
        assert_eq!(Scanner::new(&header, 0).count(), 1);
    }

    #[test]
    fn the_header_has_fixed_bytes() {
        let bytes = Header {
            number: 7,
            generation: 2,
        }
        .encode();
        assert_eq!(&bytes[..20], b"WRNJRNL\0\0\x01\0\0\0\0\0\x07\0\0\0\x02");
        assert_eq!(
            Header::decode(&bytes),
            Some(Header {
                number: 7,
                generation: 2
            })
        );
        let mut next_version = bytes;
        next_version[9] = 2;
        assert_eq!(Header::decode(&next_version), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_scanned(bytes in prop::collection::vec(any::<u8>(), 0..300), offset: u32) {
            let _ = Header::decode(&bytes);
            prop_assert!(Scanner::new(&bytes, offset).count() <= bytes.len());
        }

        #[test]
        fn a_cut_segment_gives_a_beginning_of_its_records(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), cut: prop::sample::Index) {
            let bytes = segment(&payloads);
            let cut = cut.index(bytes.len() + 1);
            let got: Vec<Vec<u8>> = Scanner::new(&bytes[..cut], 0).map(|found| match found {
                Found::Record { payload, .. } => payload.to_vec(),
                Found::Damaged { .. } => panic!("a cut is no damage"),
            }).collect();
            prop_assert_eq!(&got[..], &payloads[..got.len()]);
        }
    }
}
