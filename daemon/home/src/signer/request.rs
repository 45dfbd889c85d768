//! What an app asks for (NIP-46, "Request Events"), read out of the text that it encrypted.

use nostr::event::{Kind, Tag, UnsignedEvent};
use nostr::key::PublicKey;
use nostr::types::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::accounts::apps::{APP_TEXT_CHARS, Method, Permission};
use crate::guests::clean_name;

/// Longest id of a request that is repeated.
const ID_CHARS: usize = 200;
/// Tags of an event that is signed.
const TAGS: usize = 5000;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Repeated in the answer.
    pub id: String,
    /// See NIP-46.
    pub method: String,
    /// See NIP-46.
    pub params: Vec<String>,
}

impl Request {
    /// Reads the decrypted text of an app. Parameters that are no text are taken as their JSON.
    pub fn parse(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw {
            id: Value,
            method: String,
            #[serde(default)]
            params: Vec<Value>,
        }
        let raw: Raw = serde_json::from_str(text).ok()?;
        let as_text = |value: Value| match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let id = as_text(raw.id);
        (id.len() <= ID_CHARS).then(|| Self {
            id,
            method: raw.method,
            params: raw.params.into_iter().map(as_text).collect(),
        })
    }

    /// Reads what is to be done, for nobody. For the fuzzer.
    pub fn read_work(&self) {
        let _ = Permission::parse_list(self.param(2));
        if let Some(method) = Method::parse(&self.method) {
            let _ = Work::parse(method, &self.params, PublicKey::from_byte_array([1; 32]));
        }
    }

    /// A parameter; empty when it is missing.
    pub fn param(&self, n: usize) -> &str {
        self.params.get(n).map_or("", String::as_str)
    }
}

/// Something that needs the account's key.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Sign this; the account is its author.
    Sign(Box<UnsignedEvent>),
    /// Encrypt for somebody, or decrypt from them.
    Cipher(Method, PublicKey, String),
}

impl Work {
    /// Reads what is to be done for the person `author`. The error is for the app.
    pub fn parse(method: Method, params: &[String], author: PublicKey) -> Result<Self, String> {
        let param = |n: usize| {
            params
                .get(n)
                .map(String::as_str)
                .ok_or("invalid: a parameter is missing")
        };
        if method == Method::SignEvent {
            return template(param(0)?, author).map(|event| Self::Sign(Box::new(event)));
        }
        let peer = PublicKey::from_hex(param(0)?)
            .map_err(|_| "invalid: the first parameter is no public key in hexadecimal")?;
        Ok(Self::Cipher(method, peer, param(1)?.to_owned()))
    }

    /// What an app must be allowed for it.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Sign(event) => Permission {
                method: Method::SignEvent,
                kind: Some(event.kind.as_u16()),
            },
            Self::Cipher(method, _, _) => Permission {
                method: *method,
                kind: None,
            },
        }
    }
}

/// An event that is not signed yet: `kind` and `content`, and if they are there `tags`, `created_at` and `pubkey`, which
/// has to be the author.
fn template(text: &str, author: PublicKey) -> Result<UnsignedEvent, String> {
    #[derive(Deserialize)]
    struct Template {
        kind: u16,
        content: String,
        #[serde(default)]
        tags: Vec<Vec<String>>,
        created_at: u64,
        pubkey: Option<String>,
    }
    let template: Template = serde_json::from_str(text)
        .map_err(|error| format!("invalid: not an event to sign: {error}"))?;
    let other = |key: &String| PublicKey::from_hex(key).ok() != Some(author);
    if template.pubkey.as_ref().is_some_and(other) {
        return Err("invalid: the event is somebody else's".into());
    }
    if template.tags.len() > TAGS {
        return Err(format!("invalid: more than {TAGS} tags"));
    }
    let tags: Result<Vec<Tag>, _> = template.tags.into_iter().map(Tag::parse).collect();
    let tags = tags.map_err(|_| "invalid: a tag is empty")?;
    let at = Timestamp::from_secs(template.created_at);
    Ok(UnsignedEvent::new(
        author,
        at,
        Kind::from_u16(template.kind),
        tags,
        template.content,
    ))
}

/// What an app tells of itself: name, address. Nothing to rely on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What it calls itself.
    pub name: String,
    /// Where it says it is from.
    pub url: String,
}

impl About {
    /// Reads the fourth parameter of `connect`; what cannot be read is left empty.
    pub fn parse(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| short(value[name].as_str().unwrap_or_default());
        Self {
            name: field("name"),
            url: field("url"),
        }
    }
}

/// Text of an app as it is kept and shown.
pub fn short(text: &str) -> String {
    let text: String = text.chars().take(4 * APP_TEXT_CHARS).collect();
    let text = clean_name(&text).unwrap_or_default();
    text.chars().take(APP_TEXT_CHARS).collect()
}

/// The address with which an app asks to be connected: `nostrconnect://<its key>?relay=...&secret=...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The app's key.
    pub client: PublicKey,
    /// Where it listens.
    pub relays: Vec<String>,
    /// What the answer has to say.
    pub secret: String,
    /// What it wants.
    pub wanted: Vec<Permission>,
    /// What it tells of itself.
    pub about: About,
}

impl Invitation {
    /// Reads the address.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix("nostrconnect://")?;
        let (key, query) = rest.split_once('?')?;
        let client = PublicKey::from_hex(key.trim_end_matches('/')).ok()?;
        let fields = crate::forms::fields(query.as_bytes());
        let field = |name| crate::forms::field(&fields, name);
        let relays = fields
            .iter()
            .filter(|(name, _)| name == "relay")
            .map(|(_, value)| value.clone());
        let secret = field("secret").to_owned();
        (!secret.is_empty() && secret.len() <= ID_CHARS).then(|| Self {
            client,
            relays: relays.collect(),
            secret,
            wanted: Permission::parse_list(field("perms")),
            about: About {
                name: short(field("name")),
                url: short(field("url")),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nostr::key::Keys;

    #[test]
    fn a_request_is_read_as_apps_write_it() {
        let request = Request::parse(
            r#"{"id":7,"method":"connect","params":["aa",null,"sign_event:1",{"name":"x"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (request.id.as_str(), request.param(1), request.param(9)),
            ("7", "", "")
        );
        assert_eq!(About::parse(request.param(3)).name, "x");
        assert!(Request::parse(r#"{"id":"1","method":"ping"}"#).is_some());
        for text in [
            "",
            "[]",
            r#"{"id":"1"}"#,
            r#"{"method":"ping"}"#,
            &format!(r#"{{"id":"{}","method":"x"}}"#, "i".repeat(201)),
        ] {
            assert_eq!(Request::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_to_sign_is_the_persons_own() {
        let (ann, ben) = (Keys::generate().public_key(), Keys::generate().public_key());
        let sign = |text: String| Work::parse(Method::SignEvent, &[text], ann);
        let event =
            sign(r#"{"kind":1,"content":"hi","tags":[["t","x"]],"created_at":5}"#.into()).unwrap();
        assert_eq!(event.permission().to_string(), "sign_event:1");
        assert!(
            sign(format!(
                r#"{{"kind":1,"content":"","created_at":5,"pubkey":"{ann}"}}"#
            ))
            .is_ok()
        );
        for text in [
            format!(r#"{{"kind":1,"content":"","created_at":5,"pubkey":"{ben}"}}"#),
            r#"{"kind":70000,"content":"","created_at":5}"#.into(),
            r#"{"kind":1,"content":"","created_at":-5}"#.into(),
            r#"{"kind":1,"content":"","created_at":5,"tags":[[]]}"#.into(),
            "hello".into(),
        ] {
            assert!(
                sign(text.clone()).unwrap_err().starts_with("invalid:"),
                "{text}"
            );
        }
        assert!(Work::parse(Method::SignEvent, &[], ann).is_err());
        assert!(Work::parse(Method::Nip44Encrypt, &["zz".into(), "text".into()], ann).is_err());
    }

    #[test]
    fn an_invitation_of_an_app_is_read() {
        let app = Keys::generate().public_key();
        let text = format!(
            "nostrconnect://{app}?relay=ws%3A%2F%2Fhome%2Fsigner&perms=nip44_encrypt%2Csign_event%3A1&name=My+Client&secret=0s8j2djs&relay=wss%3A%2F%2Fb"
        );
        let invitation = Invitation::parse(&text).unwrap();
        assert_eq!(invitation.relays, ["ws://home/signer", "wss://b"]);
        assert_eq!(
            (
                invitation.about.name.as_str(),
                invitation.secret.as_str(),
                invitation.wanted.len()
            ),
            ("My Client", "0s8j2djs", 2)
        );
        assert_eq!(
            Invitation::parse(&format!("nostrconnect://{app}?relay=ws%3A%2F%2Fhome")),
            None,
            "no secret"
        );
        assert_eq!(Invitation::parse("nostrconnect://zz?secret=x"), None);
    }
}
