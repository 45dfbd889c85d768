//! The frames of an established link, for one neighbour: control messages sealed whole, and payloads in transit whose
//! routing header alone is sealed. Keeps keys and counters; times and retransmissions are the caller's.
//!
//! Each direction of a session has keys of its own, derived from that direction's Noise key by label:
//!
//! | label | used for | counter |
//! |---|---|---|
//! | `warren link control v1` | CONTROL: ChaCha20-Poly1305 over the messages, associated data bytes 0..9 of the frame | its own |
//! | `warren link data v1` | DATA, DATA_FIRST, DATA_SECOND: the AEAD both ends agreed on ([`Suite`]) over the 20-byte routing header | its own, common to the three |
//! | `warren link broadcast tag v1` | the neighbour's tag in broadcast frames | the group's |
//!
//! Nonces are 0^4 || counter 8. The tag of a data frame covers bytes 0..9 of the frame, the header, the first
//! min(8, len) bytes of the payload (session index and counter) and its last min(16, len) (the end-to-end tag).

use core::ops::Range;
use core::time::Duration;

use super::routing_header::{Part, ROUTING_HEADER_LEN, RoutingHeader};
use super::{FrameType, LinkError, LinkIndex, TagKey};
use crate::crypto::aead::{Aead, DataAead, TAG_LEN, counter_nonce};
use crate::crypto::cipher::{PacketCipher, Suite};
use crate::crypto::noise::SplitKeys;
use crate::crypto::replay::ReplayWindow;
use crate::crypto::{SecretKey, kdf};
use crate::time::Instant;
use crate::wire::Writer;

/// Bytes of a data frame before the payload: type 1, index 4, counter 4, routing header 20, tag 16.
pub const DATA_HEADER_LEN: usize = 45;
/// Bytes a control frame adds to its messages.
pub const CONTROL_OVERHEAD: usize = PREFIX_LEN + TAG_LEN;
/// Age at which the side that started a session starts the next one; the other side waits a tenth longer.
pub const REKEY_AFTER: Duration = Duration::from_secs(3600);
/// Frames of one kind in one direction after which a session is replaced.
pub const REKEY_AFTER_FRAMES: u64 = 1 << 32;

/// Type, index and counter: the start of every frame here.
const PREFIX_LEN: usize = 9;
const HEAD_COVERED: usize = 8;
const TAIL_COVERED: usize = 16;

/// Both directions of a link session.
#[derive(Debug)]
pub struct LinkSession {
    sender: LinkSender,
    receiver: LinkReceiver,
    since: Instant,
    is_initiator: bool,
}

/// What this node sends.
#[derive(Debug)]
pub struct LinkSender {
    remote: LinkIndex,
    control: DataAead,
    control_counter: u64,
    data: PacketCipher,
    data_counter: u64,
    tag_key: TagKey,
}

/// What this node receives. Kept for a while after its session was replaced, for frames still on their way.
#[derive(Debug)]
pub struct LinkReceiver {
    local: LinkIndex,
    control: DataAead,
    control_window: ReplayWindow,
    data: PacketCipher,
    data_window: ReplayWindow,
    tag_key: TagKey,
}

/// A data frame whose header was found genuine. That the payload is, only its destination can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedData {
    /// Where it goes.
    pub header: RoutingHeader,
    /// How much of the payload it carries.
    pub part: Part,
    /// Its counter: halves of one payload follow each other.
    pub counter: u64,
    /// Where in the frame the payload lies, bytes.
    pub payload: Range<usize>,
}

fn label_key(base: &SecretKey, purpose: &str) -> SecretKey {
    kdf::derive(base, purpose, &[])
}

const CONTROL_LABEL: &str = "warren link control v1";
const DATA_LABEL: &str = "warren link data v1";
const TAG_LABEL: &str = "warren link broadcast tag v1";

impl LinkSession {
    pub(super) fn new(
        now: Instant,
        keys: &SplitKeys,
        suite: Suite,
        local: LinkIndex,
        remote: LinkIndex,
        is_initiator: bool,
    ) -> Self {
        Self {
            sender: LinkSender {
                remote,
                control: DataAead::new(label_key(&keys.send, CONTROL_LABEL)),
                control_counter: 0,
                data: PacketCipher::derive(suite, &keys.send, DATA_LABEL),
                data_counter: 0,
                tag_key: TagKey::new(label_key(&keys.send, TAG_LABEL)),
            },
            receiver: LinkReceiver {
                local,
                control: DataAead::new(label_key(&keys.receive, CONTROL_LABEL)),
                control_window: ReplayWindow::default(),
                data: PacketCipher::derive(suite, &keys.receive, DATA_LABEL),
                data_window: ReplayWindow::default(),
                tag_key: TagKey::new(label_key(&keys.receive, TAG_LABEL)),
            },
            since: now,
            is_initiator,
        }
    }

    /// The index the neighbour names in frames to us.
    pub const fn local_index(&self) -> LinkIndex {
        self.receiver.local
    }

    /// The index we name in frames to the neighbour.
    pub const fn remote_index(&self) -> LinkIndex {
        self.sender.remote
    }

    /// The AEAD of data frames.
    pub const fn suite(&self) -> Suite {
        self.sender.data.suite()
    }

    /// When the handshake ended.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Whether it is time for a new handshake.
    pub fn needs_rekey(&self, now: Instant) -> bool {
        let age = if self.is_initiator {
            REKEY_AFTER
        } else {
            REKEY_AFTER + REKEY_AFTER / 10
        };
        let frames = [
            self.sender.control_counter,
            self.sender.data_counter,
            self.receiver.control_window.next(),
            self.receiver.data_window.next(),
        ];
        now.since(self.since) >= age || frames.into_iter().any(|n| n >= REKEY_AFTER_FRAMES)
    }

    /// The sending half.
    pub const fn sender(&mut self) -> &mut LinkSender {
        &mut self.sender
    }

    /// The receiving half.
    pub const fn receiver(&mut self) -> &mut LinkReceiver {
        &mut self.receiver
    }

    /// Gives up sending: what is left of a session that was replaced. The sending keys are zeroised.
    pub fn into_receiver(self) -> LinkReceiver {
        self.receiver
    }

    /// The key for our broadcasts to this neighbour.
    pub const fn broadcast_send_key(&self) -> &TagKey {
        &self.sender.tag_key
    }

    /// The key for this neighbour's broadcasts to us.
    pub const fn broadcast_receive_key(&self) -> &TagKey {
        &self.receiver.tag_key
    }

    /// See [`LinkSender::seal_control`].
    pub fn seal_control(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        self.sender.seal_control(plaintext, out);
    }

    /// See [`LinkReceiver::open_control`].
    pub fn open_control<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], LinkError> {
        self.receiver.open_control(frame)
    }

    /// Seals a frame with a whole payload; see [`LinkSender::seal_part`].
    pub fn seal_data(&mut self, header: &RoutingHeader, frame: &mut [u8]) -> Result<(), LinkError> {
        self.sender.seal_part(Part::Whole, header, frame)
    }

    /// See [`LinkSender::seal_part`].
    pub fn seal_part(
        &mut self,
        part: Part,
        header: &RoutingHeader,
        frame: &mut [u8],
    ) -> Result<(), LinkError> {
        self.sender.seal_part(part, header, frame)
    }

    /// See [`LinkReceiver::open_data`].
    pub fn open_data(&mut self, frame: &[u8]) -> Result<OpenedData, LinkError> {
        self.receiver.open_data(frame)
    }
}

fn prefix(frame: FrameType, index: LinkIndex, counter: u64) -> [u8; PREFIX_LEN] {
    let mut prefix = [0; PREFIX_LEN];
    prefix[0] = frame.byte();
    prefix[1..5].copy_from_slice(&index.0.to_be_bytes());
    prefix[5..].copy_from_slice(&(counter as u32).to_be_bytes());
    prefix
}

/// What the tag of a data frame covers besides the routing header, and how many bytes that is.
fn covered(
    prefix: &[u8; PREFIX_LEN],
    payload: &[u8],
) -> ([u8; PREFIX_LEN + HEAD_COVERED + TAIL_COVERED], usize) {
    let mut aad = [0; PREFIX_LEN + HEAD_COVERED + TAIL_COVERED];
    aad[..PREFIX_LEN].copy_from_slice(prefix);
    let head = payload.len().min(HEAD_COVERED);
    let tail = payload.len().min(TAIL_COVERED);
    aad[PREFIX_LEN..PREFIX_LEN + head].copy_from_slice(&payload[..head]);
    let len = PREFIX_LEN + head + tail;
    aad[PREFIX_LEN + head..len].copy_from_slice(&payload[payload.len() - tail..]);
    (aad, len)
}

impl LinkSender {
    /// Appends a control frame with `plaintext` sealed inside: 25 bytes more.
    pub fn seal_control(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let counter = self.control_counter;
        self.control_counter += 1;
        let prefix = prefix(FrameType::Control, self.remote, counter);
        out.put(&prefix);
        let start = out.len();
        out.put(plaintext);
        let tag = self
            .control
            .seal(&counter_nonce(counter), &prefix, &mut out[start..]);
        out.put(&tag);
    }

    /// Completes a data frame whose payload already stands behind [`DATA_HEADER_LEN`] bytes of room: writes those. The
    /// payload is `part` of what `header` speaks of, is not changed, and costs the same whatever its length.
    pub fn seal_part(
        &mut self,
        part: Part,
        header: &RoutingHeader,
        frame: &mut [u8],
    ) -> Result<(), LinkError> {
        let len = frame.len();
        let (room, payload) = frame
            .split_first_chunk_mut::<DATA_HEADER_LEN>()
            .ok_or(LinkError::Length { len })?;
        check_payload_len(part, header, payload.len())?;
        let counter = self.data_counter;
        self.data_counter += 1;
        let prefix = prefix(part.frame_type(), self.remote, counter);
        let (aad, aad_len) = covered(&prefix, payload);
        let mut sealed = header.encode();
        let tag = self
            .data
            .seal(&counter_nonce(counter), &aad[..aad_len], &mut sealed);
        room[..PREFIX_LEN].copy_from_slice(&prefix);
        room[PREFIX_LEN..PREFIX_LEN + ROUTING_HEADER_LEN].copy_from_slice(&sealed);
        room[PREFIX_LEN + ROUTING_HEADER_LEN..].copy_from_slice(&tag);
        Ok(())
    }
}

impl LinkReceiver {
    /// The index the neighbour names in frames to us.
    pub const fn local_index(&self) -> LinkIndex {
        self.local
    }

    /// The key for this neighbour's broadcasts to us.
    pub const fn broadcast_receive_key(&self) -> &TagKey {
        &self.tag_key
    }

    /// Opens a whole CONTROL datagram in place and returns what it says. After an error the frame may be garbled, the
    /// session is as before.
    pub fn open_control<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], LinkError> {
        let found = FrameType::of(frame)?;
        if found != FrameType::Control {
            return Err(LinkError::FrameType(found as u8));
        }
        let low = self.counter_of(frame)?;
        let len = frame.len();
        let short = LinkError::Length { len };
        let (prefix, rest) = frame.split_first_chunk_mut::<PREFIX_LEN>().ok_or(short)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(short)?;
        let counter = self.control_window.check(low)?;
        self.control
            .open(&counter_nonce(counter), prefix, text, tag)?;
        self.control_window.commit(counter);
        Ok(text)
    }

    /// Opens the header of a whole DATA, DATA_FIRST or DATA_SECOND datagram. The frame is not changed.
    pub fn open_data(&mut self, frame: &[u8]) -> Result<OpenedData, LinkError> {
        let found = FrameType::of(frame)?;
        let part = Part::of(found).ok_or(LinkError::FrameType(found as u8))?;
        let low = self.counter_of(frame)?;
        let (room, payload) = frame
            .split_first_chunk::<DATA_HEADER_LEN>()
            .ok_or(LinkError::Length { len: frame.len() })?;
        let (mut prefix, mut sealed, mut tag) =
            ([0; PREFIX_LEN], [0; ROUTING_HEADER_LEN], [0; TAG_LEN]);
        prefix.copy_from_slice(&room[..PREFIX_LEN]);
        sealed.copy_from_slice(&room[PREFIX_LEN..PREFIX_LEN + ROUTING_HEADER_LEN]);
        tag.copy_from_slice(&room[PREFIX_LEN + ROUTING_HEADER_LEN..]);
        let counter = self.data_window.check(low)?;
        let (aad, aad_len) = covered(&prefix, payload);
        self.data
            .open(&counter_nonce(counter), &aad[..aad_len], &mut sealed, &tag)?;
        let header = RoutingHeader::decode(&sealed);
        check_payload_len(part, &header, payload.len())?;
        self.data_window.commit(counter);
        Ok(OpenedData {
            header,
            part,
            counter,
            payload: DATA_HEADER_LEN..frame.len(),
        })
    }

    /// The low half of the counter, if the frame names our index.
    fn counter_of(&self, frame: &[u8]) -> Result<u32, LinkError> {
        let prefix = frame
            .first_chunk::<PREFIX_LEN>()
            .ok_or(LinkError::Length { len: frame.len() })?;
        let [_, i0, i1, i2, i3, c0, c1, c2, c3] = *prefix;
        if u32::from_be_bytes([i0, i1, i2, i3]) != self.local.0 {
            return Err(LinkError::Index);
        }
        Ok(u32::from_be_bytes([c0, c1, c2, c3]))
    }
}

fn check_payload_len(part: Part, header: &RoutingHeader, carried: usize) -> Result<(), LinkError> {
    let stated = part.len_of(usize::from(header.payload_len));
    if stated == carried {
        Ok(())
    } else {
        Err(LinkError::PayloadLength { stated, carried })
    }
}
