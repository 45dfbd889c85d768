//! What client and relay say to each other (NIP-01, 42, 45, 67, 77): JSON arrays, one a WebSocket message.
//! It never looks at who is speaking or whether an event is true; it only reads and writes the words.

use std::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use nostr::event::{Event, EventId};
use nostr::filter::Filter;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::config::Limits;
use crate::search;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// Publish this.
    Event(Box<Event>),
    /// Tell me what matches, and go on telling me.
    Req {
        /// The client's name for this subscription.
        id: SubscriptionId,
        /// An event that matches any of them is wanted.
        filters: Vec<Filter>,
    },
    /// End a subscription.
    Close(SubscriptionId),
    /// Proof of who is speaking (NIP-42).
    Auth(Box<Event>),
    /// Say how many match (NIP-45).
    Count {
        /// The client's name for this question.
        id: SubscriptionId,
        /// An event that matches any of them is counted. Their `limit` plays no part.
        filters: Vec<Filter>,
    },
    /// Begin to compare what both sides have (NIP-77).
    NegOpen {
        /// The client's name for this sync, apart from the names of subscriptions.
        id: SubscriptionId,
        /// What is compared.
        filter: Box<Filter>,
        /// The first message of the negentropy protocol.
        message: Vec<u8>,
    },
    /// The next message of a sync (NIP-77).
    NegMsg {
        /// Which sync.
        id: SubscriptionId,
        /// The message of the negentropy protocol.
        message: Vec<u8>,
    },
    /// End a sync (NIP-77).
    NegClose(SubscriptionId),
}

impl ClientMessage {
    /// The client's name for what it asks; `None` when it publishes or proves something.
    fn id(&self) -> Option<&SubscriptionId> {
        match self {
            Self::Event(_) | Self::Auth(_) => None,
            Self::Close(id) | Self::NegClose(id) => Some(id),
            Self::Req { id, .. }
            | Self::Count { id, .. }
            | Self::NegOpen { id, .. }
            | Self::NegMsg { id, .. } => Some(id),
        }
    }

    /// The filters it asks with.
    fn filters_mut(&mut self) -> &mut [Filter] {
        match self {
            Self::Req { filters, .. } | Self::Count { filters, .. } => filters,
            Self::NegOpen { filter, .. } => std::slice::from_mut(filter),
            _ => &mut [],
        }
    }

    fn refused(self, reason: String) -> WireError {
        match self {
            Self::NegOpen { id, .. } => WireError::Sync { id, reason },
            Self::Req { id, .. } | Self::Count { id, .. } => WireError::Subscription { id, reason },
            _ => WireError::Shape(reason),
        }
    }
}

/// What is said at the end of the stored events about whether there are more (NIP-67).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// All were sent.
    Finish,
    /// There are more.
    More,
    /// Nobody looked.
    Unknown,
}

/// A client's name for a subscription: 1 to 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SubscriptionId(Box<str>);

impl SubscriptionId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a message was not understood. The text goes back to its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than the space reads.
    #[error("invalid: a message may be {0} bytes long")]
    TooLong(usize),
    /// Not JSON, or not of the shape NIP-01 says.
    #[error("invalid: {0}")]
    Shape(String),
    /// One subscription that cannot be served; the others go on.
    #[error("{reason}")]
    Subscription {
        /// Which.
        id: SubscriptionId,
        /// Why, with a machine-readable prefix.
        reason: String,
    },
    /// One sync that cannot be served; the others go on.
    #[error("{reason}")]
    Sync {
        /// Which.
        id: SubscriptionId,
        /// Why, with a machine-readable prefix.
        reason: String,
    },
    /// An event that is none; whoever sent it waits for an answer.
    #[error("{reason}")]
    Event {
        /// Which.
        id: EventId,
        /// Why, with a machine-readable prefix.
        reason: String,
    },
}

/// Reads one message of a client.
pub fn parse(text: &str, limits: &Limits) -> Result<ClientMessage, WireError> {
    if text.len() > limits.message_bytes {
        return Err(WireError::TooLong(limits.message_bytes));
    }
    let longest = limits.subscription_id_chars;
    let is_name = |id: &SubscriptionId| (1..=longest).contains(&id.0.chars().count());
    let mut message: ClientMessage = serde_json::from_str(text).map_err(|error| {
        // What can be told apart is answered by its name: a client waits for that.
        let reason = format!("invalid: {}", short(&error));
        match Asked::peek(text) {
            Some(Asked::Event(id)) => WireError::Event { id, reason },
            Some(Asked::Subscription(id)) if is_name(&id) => WireError::Subscription { id, reason },
            Some(Asked::Sync(id)) if is_name(&id) => WireError::Sync { id, reason },
            _ => WireError::Shape(short(&error)),
        }
    })?;
    if message.id().is_some_and(|id| !is_name(id)) {
        return Err(WireError::Shape(format!(
            "a subscription's name has 1 to {longest} characters"
        )));
    }
    if message.id().is_some() {
        if let ClientMessage::Req { filters, .. } | ClientMessage::Count { filters, .. } = &message
            && filters.is_empty()
        {
            return Err(message.refused("invalid: a subscription needs a filter".into()));
        }
        let filters = message.filters_mut();
        filters.iter_mut().for_each(search::apply_operators);
        if let Err(reason) = check_filters(filters, limits) {
            return Err(message.refused(reason));
        }
    }
    Ok(message)
}

fn check_filters(filters: &[Filter], limits: &Limits) -> Result<(), String> {
    if filters.len() > limits.filters {
        return Err(format!(
            "invalid: a subscription may have {} filters",
            limits.filters
        ));
    }
    for filter in filters {
        let values = filter.ids.as_ref().map_or(0, |list| list.len())
            + filter.authors.as_ref().map_or(0, |list| list.len())
            + filter.kinds.as_ref().map_or(0, |list| list.len())
            + filter
                .generic_tags
                .values()
                .map(|list| list.len())
                .sum::<usize>();
        if values > limits.filter_values {
            return Err(format!(
                "invalid: a filter may have {} values",
                limits.filter_values
            ));
        }
    }
    Ok(())
}

/// `["EVENT", subscription, event]` from the event's JSON.
pub fn event(id: &SubscriptionId, event_json: &str) -> String {
    format!("[\"EVENT\",{},{event_json}]", quoted(id.as_str()))
}

/// The same from the event, written once.
pub fn event_of(id: &SubscriptionId, event: &Event) -> String {
    const MOST_WITHOUT_CONTENT: usize = 512; // of most events: others make it longer
    let mut message = Vec::with_capacity(MOST_WITHOUT_CONTENT + event.content.len());
    message.extend_from_slice(b"[\"EVENT\",");
    message.extend_from_slice(quoted(id.as_str()).as_bytes());
    message.push(b',');
    let _ = serde_json::to_writer(&mut message, event); // memory takes all
    message.push(b']');
    String::from_utf8(message).unwrap_or_default() // JSON is UTF-8
}

/// `["OK", event id, accepted, reason]`.
pub fn ok(id: &EventId, accepted: bool, reason: &str) -> String {
    format!("[\"OK\",\"{id}\",{accepted},{}]", quoted(reason))
}

/// `["EOSE", subscription, [hint]]` (NIP-67).
pub fn eose(id: &SubscriptionId, completeness: Completeness) -> String {
    let id = quoted(id.as_str());
    match completeness {
        Completeness::Finish => format!("[\"EOSE\",{id},[\"finish\"]]"),
        Completeness::More => format!("[\"EOSE\",{id},[\"more\"]]"),
        Completeness::Unknown => format!("[\"EOSE\",{id}]"),
    }
}

/// `["COUNT", question, {"count": number}]` (NIP-45). Not `exact`: there are at least as many.
pub fn count(id: &SubscriptionId, count: usize, exact: bool) -> String {
    let approximate = if exact { "" } else { ",\"approximate\":true" };
    format!(
        "[\"COUNT\",{},{{\"count\":{count}{approximate}}}]",
        quoted(id.as_str())
    )
}

/// `["NEG-MSG", sync, message in hex]` (NIP-77).
pub fn neg_msg(id: &SubscriptionId, message: &[u8]) -> String {
    format!(
        "[\"NEG-MSG\",{},\"{}\"]",
        quoted(id.as_str()),
        HEXLOWER.encode(message)
    )
}

/// `["NEG-ERR", sync, reason]`, with the number of records that one sync may compare when that is the reason (NIP-77).
pub fn neg_err(id: &SubscriptionId, reason: &str, most: Option<usize>) -> String {
    let most = most.map(|most| format!(",{most}")).unwrap_or_default();
    format!(
        "[\"NEG-ERR\",{},{}{most}]",
        quoted(id.as_str()),
        quoted(reason)
    )
}

/// `["CLOSED", subscription, reason]`.
pub fn closed(id: &SubscriptionId, reason: &str) -> String {
    format!("[\"CLOSED\",{},{}]", quoted(id.as_str()), quoted(reason))
}

/// `["NOTICE", text]`.
pub fn notice(text: &str) -> String {
    format!("[\"NOTICE\",{}]", quoted(text))
}

/// `["AUTH", challenge]` (NIP-42).
pub fn auth(challenge: &str) -> String {
    format!("[\"AUTH\",{}]", quoted(challenge))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What serde says, cut so that no sender makes us send long answers.
fn short(error: &serde_json::Error) -> String {
    error.to_string().chars().take(120).collect()
}

impl<'de> Deserialize<'de> for SubscriptionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for ClientMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessageVisitor)
    }
}

/// The words a client's message may begin with.
const VERBS: &str = "EVENT, REQ, CLOSE, AUTH, COUNT, NEG-OPEN, NEG-MSG or NEG-CLOSE";

/// Bytes that are written as hex.
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| de::Error::custom("the message is not hex"))
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ClientMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array that begins with {VERBS}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
            seq: &mut A,
            what: &'static str,
        ) -> Result<T, A::Error> {
            seq.next_element()?
                .ok_or_else(|| de::Error::custom(format_args!("{what} is missing")))
        }
        let verb: String = next(&mut seq, "the first word")?;
        let message = match verb.as_str() {
            "EVENT" => ClientMessage::Event(next(&mut seq, "the event")?),
            "AUTH" => ClientMessage::Auth(next(&mut seq, "the event")?),
            "CLOSE" => ClientMessage::Close(next(&mut seq, "the subscription's name")?),
            "REQ" | "COUNT" => {
                let id = next(&mut seq, "the subscription's name")?;
                let mut filters = Vec::new();
                while let Some(filter) = seq.next_element()? {
                    filters.push(filter);
                }
                if verb == "REQ" {
                    ClientMessage::Req { id, filters }
                } else {
                    ClientMessage::Count { id, filters }
                }
            }
            "NEG-OPEN" => ClientMessage::NegOpen {
                id: next(&mut seq, "the sync's name")?,
                filter: next(&mut seq, "the filter")?,
                message: next::<Hex, A>(&mut seq, "the message")?.0,
            },
            "NEG-MSG" => ClientMessage::NegMsg {
                id: next(&mut seq, "the sync's name")?,
                message: next::<Hex, A>(&mut seq, "the message")?.0,
            },
            "NEG-CLOSE" => ClientMessage::NegClose(next(&mut seq, "the sync's name")?),
            _ => {
                return Err(de::Error::custom(format_args!(
                    "the first word is not {VERBS}"
                )));
            }
        };
        // Whatever stands behind is a later protocol's: it is read over, so that the array ends where it should.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(message)
    }
}

/// What a message that is not understood asked for, as far as its beginning says so.
enum Asked {
    /// To take an event, or a proof of who is speaking.
    Event(EventId),
    /// A subscription or a count.
    Subscription(SubscriptionId),
    /// A sync, or its next step.
    Sync(SubscriptionId),
}

impl Asked {
    /// Reads the beginning of a message, however it goes on.
    fn peek(text: &str) -> Option<Self> {
        let mut asked = None;
        let mut reader = serde_json::Deserializer::from_str(text);
        // An error says only that the message goes on behind what was read.
        let _ = reader.deserialize_seq(AskedVisitor(&mut asked));
        asked
    }
}

struct AskedVisitor<'a>(&'a mut Option<Asked>);

impl<'de> Visitor<'de> for AskedVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array that begins with {VERBS}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        /// An event, of which only the id has to be right.
        #[derive(serde::Deserialize)]
        struct Named {
            id: EventId,
        }
        let verb: Option<String> = seq.next_element()?;
        *self.0 = match verb.as_deref() {
            Some("EVENT" | "AUTH") => seq
                .next_element::<Named>()?
                .map(|event| Asked::Event(event.id)),
            Some("REQ" | "COUNT") => seq.next_element()?.map(Asked::Subscription),
            Some("NEG-OPEN" | "NEG-MSG") => seq.next_element()?.map(Asked::Sync),
            _ => None,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<ClientMessage, WireError> {
        parse(text, &Limits::default())
    }

    #[test]
    fn a_subscription_is_read() {
        let message = read(r##"["REQ","a",{"kinds":[9],"#h":["general"],"limit":3}]"##).unwrap();
        let ClientMessage::Req { id, filters } = message else {
            panic!("not a REQ")
        };
        assert_eq!(id.as_str(), "a");
        assert_eq!(filters.len(), 1);
        assert_eq!(filters[0].limit, Some(3));
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        for text in [
            "",
            "{}",
            "[]",
            "[1]",
            r#"["HELLO"]"#,
            r#"["REQ"]"#,
            r#"["EVENT",{}]"#,
            r#"["REQ","",{}]"#,
            r#"["CLOSE",7]"#,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("invalid: "), "{text}: {error}");
        }
        let deep = format!(
            "[\"REQ\",\"a\",{}{}]",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(read(&deep).is_err());
        let long = format!("[\"CLOSE\",\"{}\"]", "x".repeat(200_000));
        assert_eq!(read(&long), Err(WireError::TooLong(128 * 1024)));
    }

    #[test]
    fn too_much_in_one_subscription_closes_that_subscription_only() {
        let filters = ["{}"; 11].join(",");
        let error = read(&format!("[\"REQ\",\"many\",{filters}]")).unwrap_err();
        assert!(matches!(error, WireError::Subscription { id, .. } if id.as_str() == "many"));
        assert!(matches!(
            read(r#"["REQ","none"]"#),
            Err(WireError::Subscription { .. })
        ));
    }

    #[test]
    fn nip77_messages_are_hex_and_a_bad_filter_ends_that_sync_only() {
        let message = read(r##"["NEG-OPEN","s",{"kinds":[9]},"61Ff"]"##).unwrap();
        assert!(
            matches!(message, ClientMessage::NegOpen { message, .. } if message == [0x61, 0xff])
        );
        let message = read(r#"["NEG-MSG","s",""]"#).unwrap();
        assert!(matches!(message, ClientMessage::NegMsg { message, .. } if message.is_empty()));
        for text in [
            r#"["NEG-OPEN","",{},"61"]"#,
            r#"["NEG-OPEN"]"#,
            r#"["NEG-CLOSE",[]]"#,
            r#"["COUNT",""]"#,
        ] {
            assert!(matches!(read(text), Err(WireError::Shape(_))), "{text}");
        }
        let values: Vec<String> = (0..1001).map(|n| format!("\"{n}\"")).collect();
        let many = format!(r##"["NEG-OPEN","s",{{"#t":[{}]}},"61"]"##, values.join(","));
        assert!(matches!(read(&many), Err(WireError::Sync { id, .. }) if id.as_str() == "s"));
    }

    #[test]
    fn what_is_malformed_is_refused_by_the_name_it_has() {
        for text in [
            r#"["REQ","s",{"ids":["zz"]}]"#,
            r#"["REQ","s",{},{"limit":-1}]"#,
            r#"["REQ","s",7]"#,
            r#"["REQ","s",{"kinds":[1]"#,
            r#"["COUNT","s",{"since":"now"}]"#,
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.to_string().starts_with("invalid: "),
                "{text}: {error}"
            );
            assert!(
                matches!(&error, WireError::Subscription { id, .. } if id.as_str() == "s"),
                "{text}: {error:?}"
            );
        }
        for text in [
            r#"["NEG-OPEN","s",{},"6"]"#,
            r#"["NEG-OPEN","s",{},"zz"]"#,
            r#"["NEG-OPEN","s","61"]"#,
            r#"["NEG-OPEN","s",{"ids":["zz"]},"61"]"#,
            r#"["NEG-MSG","s"]"#,
        ] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(&error, WireError::Sync { id, .. } if id.as_str() == "s"),
                "{text}: {error:?}"
            );
        }
        let hex = "ab".repeat(32);
        for verb in ["EVENT", "AUTH"] {
            let text = format!(r#"["{verb}",{{"kind":"one","id":"{hex}","tags":[]}}]"#);
            let error = read(&text).unwrap_err();
            assert!(
                matches!(&error, WireError::Event { id, .. } if id.to_hex() == hex),
                "{text}: {error:?}"
            );
        }
        for text in [
            r#"["EVENT",{"id":"abc"}]"#,
            r#"["EVENT",[]]"#,
            r#"["REQ",{}]"#,
        ] {
            assert!(matches!(read(text), Err(WireError::Shape(_))), "{text}");
        }
    }

    #[test]
    fn names_are_quoted() {
        let id = SubscriptionId("a\"]\n".into());
        assert_eq!(eose(&id, Completeness::Unknown), r#"["EOSE","a\"]\n"]"#);
        assert_eq!(
            count(&id, 3, false),
            r#"["COUNT","a\"]\n",{"count":3,"approximate":true}]"#
        );
        assert_eq!(
            neg_err(&id, "blocked: x", Some(9)),
            r#"["NEG-ERR","a\"]\n","blocked: x",9]"#
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,300}") {
            let _ = read(&text);
        }
    }
}
