//! What neighbours say to each other inside sealed control and broadcast frames: a sequence of messages, each a type byte
//! and its fields. Encoding and bounded decoding only; what a message does is decided by routing and neighbours.

use crate::identity::ShortId;
use crate::routing::anchor::AnchorRecord;
use crate::routing::chain::Element;
use crate::routing::metric::Cost;
use crate::wire::{Reader, Truncated, Writer};

const HELLO: u8 = 1;
const OGM: u8 = 2;
const REQUEST: u8 = 3;
const SYNC: u8 = 4;
const PROBE: u8 = 5;
const RELIABLE: u8 = 6;
const ACK: u8 = 7;
const LINK_DOWN: u8 = 8;
const ANCHOR_REQUEST: u8 = 9;
const ANCHOR: u8 = 10;
const GOODBYE: u8 = 11;

/// Bytes of an OGM entry that advertises a route.
pub const ENTRY_LEN: usize = 33;
/// Most entries of any list in one message.
pub const MAX_LIST: usize = 100;
const RETRACTION: u8 = 0x80;
const COVER: u8 = 1;

/// The low sixteen bits of a node's short id, folded: says "this is me" in a list, cheaply and not for certain.
pub fn hint_of(id: &ShortId) -> u16 {
    u16::from_be_bytes([id.0[0], id.0[1]])
}

/// One neighbour as another heard it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// [`hint_of`] the neighbour.
    pub hint: u16,
    /// Share of its HELLOs that arrived, 255 is all.
    pub quality: u8,
}

/// "I am here, and this is how I hear you."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Counts HELLOs on this interface.
    pub seq: u16,
    /// Milliseconds until the next one at the latest.
    pub interval_ms: u16,
    /// The sender's table version.
    pub version: u32,
    /// Largest inner packet this interface carries, as a class ([`crate::routing::mtu`]).
    pub mtu_class: u8,
    /// Everybody the sender has a link to on this interface.
    pub heard: Vec<Heard>,
}

/// How recent what an originator says is: generations count its starts, sequence numbers its announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFreshness {
    /// Low sixteen bits of the generation.
    pub generation: u16,
    /// Sequence number in the generation.
    pub seq: u16,
}

/// One destination in an OGM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The destination.
    pub originator: ShortId,
    /// How recent.
    pub freshness: WireFreshness,
    /// The route, or `None`: "not through me any more".
    pub route: Option<EntryRoute>,
}

/// The route of an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRoute {
    /// Metric step, proven by `element`.
    pub step: u8,
    /// Cost of the sender's whole path, not proven.
    pub cost: Cost,
    /// Largest inner packet the path carries, as a class of four bits.
    pub mtu_class: u8,
    /// Twelve bits of the short id of the sender's next hop: whoever recognises itself is its parent.
    pub next_hop_hint: u16,
    /// Element of the originator's hash chain at (sequence number, step).
    pub element: Element,
}

/// Part of a neighbour's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ogm {
    /// The sender's table version when it sent this.
    pub version: u32,
    /// Whether `entries` is all that changed in versions (from, to].
    pub cover: Option<(u32, u32)>,
    /// The destinations.
    pub entries: Vec<Entry>,
}

/// "Whoever knows a route to this destination at least this recent, tell me."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The destination.
    pub originator: ShortId,
    /// At least this recent.
    pub freshness: WireFreshness,
    /// How many more hops it may travel.
    pub hops: u8,
}

/// "The link between us is gone": travels through the mesh to the other end of a dead link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDown {
    /// Who declared the link dead.
    pub from: ShortId,
    /// The other end.
    pub to: ShortId,
    /// How many more hops it may travel.
    pub hops: u8,
    /// The link, as the other end numbers it.
    pub link_index: u32,
    /// Counts deaths of the link in this session: none is believed twice.
    pub number: u32,
    /// Proof under the link's own key.
    pub tag: [u8; 16],
}

/// Anything a control frame can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Neighbour sensing.
    Hello(Hello),
    /// Routes.
    Ogm(Ogm),
    /// Requests for newer routes.
    Requests(Vec<Request>),
    /// "Send what changed after this version of your table."
    Sync(u32),
    /// "Answer me."
    Probe,
    /// The whole frame wants an [`Message::Ack`] of this number.
    Reliable(u16),
    /// Answer to a probe (0) or a reliable frame.
    Ack(u16),
    /// See [`LinkDown`].
    LinkDown(LinkDown),
    /// "Send me the anchors of these originators, and your routes to them."
    AnchorRequest(Vec<ShortId>),
    /// An originator's signed anchor.
    Anchor(AnchorRecord),
    /// "I am stopping or leaving this interface."
    Goodbye,
}

/// What makes bytes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes end too early.
    #[error("a message ends before its fields do")]
    Truncated,
    /// No message starts with this byte.
    #[error("there is no message of type {0}")]
    UnknownType(u8),
    /// A list is longer than allowed.
    #[error("a list of {0} is longer than a message may hold")]
    TooLong(usize),
    /// A field has a value it cannot have.
    #[error("a field of a message has an impossible value")]
    BadField,
}

impl From<Truncated> for MessageError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

impl Message {
    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                out.put_u8(HELLO);
                out.put_u16(hello.seq);
                out.put_u16(hello.interval_ms);
                out.put_u32(hello.version);
                out.put_u8(hello.mtu_class);
                out.put_u8(list_len(hello.heard.len()));
                for heard in hello.heard.iter().take(MAX_LIST) {
                    out.put_u16(heard.hint);
                    out.put_u8(heard.quality);
                }
            }
            Self::Ogm(ogm) => encode_ogm(ogm, out),
            Self::Requests(requests) => {
                out.put_u8(REQUEST);
                out.put_u8(list_len(requests.len()));
                for request in requests.iter().take(MAX_LIST) {
                    out.put(&request.originator.0);
                    put_freshness(out, request.freshness);
                    out.put_u8(request.hops);
                }
            }
            Self::Sync(since) => {
                out.put_u8(SYNC);
                out.put_u32(*since);
            }
            Self::Probe => out.put_u8(PROBE),
            Self::Reliable(id) => {
                out.put_u8(RELIABLE);
                out.put_u16(*id);
            }
            Self::Ack(id) => {
                out.put_u8(ACK);
                out.put_u16(*id);
            }
            Self::LinkDown(notice) => {
                out.put_u8(LINK_DOWN);
                out.put(&notice.from.0);
                out.put(&notice.to.0);
                out.put_u8(notice.hops);
                out.put_u32(notice.link_index);
                out.put_u32(notice.number);
                out.put(&notice.tag);
            }
            Self::AnchorRequest(ids) => {
                out.put_u8(ANCHOR_REQUEST);
                out.put_u8(list_len(ids.len()));
                ids.iter().take(MAX_LIST).for_each(|id| out.put(&id.0));
            }
            Self::Anchor(record) => {
                out.put_u8(ANCHOR);
                record.encode(out);
            }
            Self::Goodbye => out.put_u8(GOODBYE),
        }
    }

    /// Takes one message off the front of `reader`.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, MessageError> {
        Ok(match reader.u8()? {
            HELLO => {
                let (seq, interval_ms, version) = (reader.u16()?, reader.u16()?, reader.u32()?);
                let mtu_class = reader.u8()?;
                let count = read_list_len(reader)?;
                let heard = (0..count)
                    .map(|_| {
                        Ok(Heard {
                            hint: reader.u16()?,
                            quality: reader.u8()?,
                        })
                    })
                    .collect::<Result<_, MessageError>>()?;
                Self::Hello(Hello {
                    seq,
                    interval_ms,
                    version,
                    mtu_class,
                    heard,
                })
            }
            OGM => Self::Ogm(decode_ogm(reader)?),
            REQUEST => {
                let count = read_list_len(reader)?;
                Self::Requests(
                    (0..count)
                        .map(|_| {
                            Ok(Request {
                                originator: ShortId(reader.array()?),
                                freshness: read_freshness(reader)?,
                                hops: reader.u8()?,
                            })
                        })
                        .collect::<Result<_, MessageError>>()?,
                )
            }
            SYNC => Self::Sync(reader.u32()?),
            PROBE => Self::Probe,
            RELIABLE => Self::Reliable(reader.u16()?),
            ACK => Self::Ack(reader.u16()?),
            LINK_DOWN => Self::LinkDown(LinkDown {
                from: ShortId(reader.array()?),
                to: ShortId(reader.array()?),
                hops: reader.u8()?,
                link_index: reader.u32()?,
                number: reader.u32()?,
                tag: reader.array()?,
            }),
            ANCHOR_REQUEST => {
                let count = read_list_len(reader)?;
                Self::AnchorRequest(
                    (0..count)
                        .map(|_| Ok(ShortId(reader.array()?)))
                        .collect::<Result<_, MessageError>>()?,
                )
            }
            ANCHOR => {
                Self::Anchor(AnchorRecord::decode(reader).map_err(|_| MessageError::BadField)?)
            }
            GOODBYE => Self::Goodbye,
            other => return Err(MessageError::UnknownType(other)),
        })
    }

    /// All messages of a frame's plaintext. A frame with one bad message is bad as a whole.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, MessageError> {
        let mut reader = Reader::new(bytes);
        let mut messages = Vec::new();
        while !reader.is_empty() {
            messages.push(Self::decode(&mut reader)?);
        }
        Ok(messages)
    }
}

fn list_len(len: usize) -> u8 {
    // Longer lists are split by whoever makes them; the cap keeps the count and the items in step.
    u8::try_from(len.min(MAX_LIST)).unwrap_or(u8::MAX)
}

fn read_list_len(reader: &mut Reader<'_>) -> Result<usize, MessageError> {
    let count = usize::from(reader.u8()?);
    if count > MAX_LIST {
        return Err(MessageError::TooLong(count));
    }
    Ok(count)
}

fn put_freshness(out: &mut Vec<u8>, freshness: WireFreshness) {
    out.put_u16(freshness.generation);
    out.put_u16(freshness.seq);
}

fn read_freshness(reader: &mut Reader<'_>) -> Result<WireFreshness, MessageError> {
    Ok(WireFreshness {
        generation: reader.u16()?,
        seq: reader.u16()?,
    })
}

fn encode_ogm(ogm: &Ogm, out: &mut Vec<u8>) {
    out.put_u8(OGM);
    out.put_u32(ogm.version);
    out.put_u8(if ogm.cover.is_some() { COVER } else { 0 });
    out.put_u8(list_len(ogm.entries.len()));
    if let Some((from, to)) = ogm.cover {
        out.put_u32(from);
        out.put_u32(to);
    }
    for entry in ogm.entries.iter().take(MAX_LIST) {
        out.put(&entry.originator.0);
        put_freshness(out, entry.freshness);
        match &entry.route {
            None => out.put_u8(RETRACTION),
            Some(route) => {
                out.put_u8(route.step & !RETRACTION);
                out.put_u16(route.cost.to_wire());
                out.put_u16(u16::from(route.mtu_class) << 12 | (route.next_hop_hint & 0xfff));
                out.put(&route.element.0);
            }
        }
    }
}

fn decode_ogm(reader: &mut Reader<'_>) -> Result<Ogm, MessageError> {
    let version = reader.u32()?;
    let flags = reader.u8()?;
    let count = read_list_len(reader)?;
    let cover = if flags & COVER != 0 {
        Some((reader.u32()?, reader.u32()?))
    } else {
        None
    };
    let entries = (0..count)
        .map(|_| {
            let originator = ShortId(reader.array()?);
            let freshness = read_freshness(reader)?;
            let step = reader.u8()?;
            let route = if step & RETRACTION != 0 {
                None
            } else {
                let cost = Cost::from_wire(reader.u16()?);
                let packed = reader.u16()?;
                Some(EntryRoute {
                    step,
                    cost,
                    mtu_class: (packed >> 12) as u8,
                    next_hop_hint: packed & 0xfff,
                    element: Element(reader.array()?),
                })
            };
            Ok(Entry {
                originator,
                freshness,
                route,
            })
        })
        .collect::<Result<_, MessageError>>()?;
    Ok(Ogm {
        version,
        cover,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Vec<Message> {
        vec![
            Message::Reliable(7),
            Message::Hello(Hello {
                seq: 1,
                interval_ms: 500,
                version: 9,
                mtu_class: 3,
                heard: vec![Heard {
                    hint: 0x1234,
                    quality: 255,
                }],
            }),
            Message::Ogm(Ogm {
                version: 9,
                cover: Some((7, 9)),
                entries: vec![
                    Entry {
                        originator: ShortId([1; 8]),
                        freshness: WireFreshness {
                            generation: 1,
                            seq: 2,
                        },
                        route: Some(EntryRoute {
                            step: 17,
                            cost: Cost(17),
                            mtu_class: 4,
                            next_hop_hint: 0xabc,
                            element: Element([5; 16]),
                        }),
                    },
                    Entry {
                        originator: ShortId([2; 8]),
                        freshness: WireFreshness {
                            generation: 1,
                            seq: 2,
                        },
                        route: None,
                    },
                ],
            }),
            Message::Requests(vec![Request {
                originator: ShortId([3; 8]),
                freshness: WireFreshness {
                    generation: 4,
                    seq: 5,
                },
                hops: 64,
            }]),
            Message::Sync(3),
            Message::Probe,
            Message::Ack(1),
            Message::LinkDown(LinkDown {
                from: ShortId([1; 8]),
                to: ShortId([2; 8]),
                hops: 64,
                link_index: 77,
                number: 1,
                tag: [9; 16],
            }),
            Message::AnchorRequest(vec![ShortId([8; 8])]),
            Message::Goodbye,
        ]
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let mut bytes = Vec::new();
        example()
            .iter()
            .for_each(|message| message.encode(&mut bytes));
        assert_eq!(Message::decode_all(&bytes).unwrap(), example());
    }

    #[test]
    fn an_advertised_route_takes_as_many_bytes_as_documented() {
        let Message::Ogm(mut ogm) = example().remove(2) else {
            unreachable!("the third example is an OGM")
        };
        let len = |ogm: &Ogm| {
            let mut bytes = Vec::new();
            encode_ogm(ogm, &mut bytes);
            bytes.len()
        };
        let with = len(&ogm);
        ogm.entries.remove(0);
        assert_eq!(with - len(&ogm), ENTRY_LEN);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode_all(&bytes);
        }

        #[test]
        fn a_cut_frame_is_refused(cut in 1usize..20) {
            let mut bytes = Vec::new();
            example()[1].encode(&mut bytes);
            let cut = cut.min(bytes.len() - 1);
            prop_assert!(Message::decode_all(&bytes[..bytes.len() - cut]).is_err());
        }
    }
}
