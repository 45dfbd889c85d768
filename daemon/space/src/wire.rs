//! What client and relay say to each other (NIP-01, NIP-42): JSON arrays, one a WebSocket message.
//! It never looks at who is speaking or whether an event is true; it only reads and writes the words.

use std::fmt;

use nostr::event::{Event, EventId};
use nostr::filter::{Filter, MatchEventOptions};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::config::Limits;

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
}

/// Reads one message of a client.
pub fn parse(text: &str, limits: &Limits) -> Result<ClientMessage, WireError> {
    if text.len() > limits.message_bytes {
        return Err(WireError::TooLong(limits.message_bytes));
    }
    let message: ClientMessage =
        serde_json::from_str(text).map_err(|error| WireError::Shape(short(&error)))?;
    if let ClientMessage::Req { id, filters } = &message {
        check_filters(filters, limits).map_err(|reason| WireError::Subscription {
            id: id.clone(),
            reason,
        })?;
    }
    if let ClientMessage::Req { id, .. } | ClientMessage::Close(id) = &message
        && !(1..=limits.subscription_id_chars).contains(&id.0.chars().count())
    {
        let longest = limits.subscription_id_chars;
        return Err(WireError::Shape(format!(
            "a subscription's name has 1 to {longest} characters"
        )));
    }
    Ok(message)
}

fn check_filters(filters: &[Filter], limits: &Limits) -> Result<(), String> {
    if filters.is_empty() {
        return Err("invalid: a subscription needs a filter".into());
    }
    if filters.len() > limits.filters {
        return Err(format!(
            "invalid: a subscription may have {} filters",
            limits.filters
        ));
    }
    for filter in filters {
        if filter.search.is_some() {
            return Err("unsupported: this space cannot search yet".into());
        }
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

/// Whether a filter wants an event. An empty list wants nothing, `limit` plays no part (NIP-01).
pub fn matches(filter: &Filter, event: &Event) -> bool {
    !matches_nothing(filter) && filter.match_event(event, MatchEventOptions::new())
}

/// Whether a filter has an empty list and so matches no event at all.
pub fn matches_nothing(filter: &Filter) -> bool {
    filter.ids.as_ref().is_some_and(|list| list.is_empty())
        || filter.authors.as_ref().is_some_and(|list| list.is_empty())
        || filter.kinds.as_ref().is_some_and(|list| list.is_empty())
        || filter.generic_tags.values().any(|list| list.is_empty())
}

/// `["EVENT", subscription, event]` from the event's JSON.
pub fn event(id: &SubscriptionId, event_json: &str) -> String {
    format!("[\"EVENT\",{},{event_json}]", quoted(id.as_str()))
}

/// `["OK", event id, accepted, reason]`.
pub fn ok(id: &EventId, accepted: bool, reason: &str) -> String {
    format!("[\"OK\",\"{id}\",{accepted},{}]", quoted(reason))
}

/// `["EOSE", subscription]`.
pub fn eose(id: &SubscriptionId) -> String {
    format!("[\"EOSE\",{}]", quoted(id.as_str()))
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

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = ClientMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array that begins with EVENT, REQ, CLOSE or AUTH")
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
            "REQ" => {
                let id = next(&mut seq, "the subscription's name")?;
                let mut filters = Vec::new();
                while let Some(filter) = seq.next_element()? {
                    filters.push(filter);
                }
                ClientMessage::Req { id, filters }
            }
            _ => {
                return Err(de::Error::custom(
                    "the first word is not EVENT, REQ, CLOSE or AUTH",
                ));
            }
        };
        // Whatever stands behind is a later protocol's: it is read over, so that the array ends where it should.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(message)
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
            read(r#"["REQ","s",{"search":"x"}]"#),
            Err(WireError::Subscription { .. })
        ));
        assert!(matches!(
            read(r#"["REQ","none"]"#),
            Err(WireError::Subscription { .. })
        ));
    }

    #[test]
    fn an_empty_list_wants_nothing() {
        let event = crate::testing::Person::new(1).event(1, 5, &[], "");
        let filter: Filter = serde_json::from_str(r#"{"kinds":[]}"#).unwrap();
        assert!(!matches(&filter, &event));
        assert!(matches(&Filter::new(), &event));
    }

    #[test]
    fn names_are_quoted() {
        let id = SubscriptionId("a\"]\n".into());
        assert_eq!(eose(&id), r#"["EOSE","a\"]\n"]"#);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,300}") {
            let _ = read(&text);
        }
    }
}
