//! Invitations to spaces: how one is written, and how a home accepts one for somebody. An invitation names the space and
//! its code and nothing of the box that hosts it, so it stays good when the space moves, and every home can take it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use nostr::key::Keys;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::client::{self, Broken, Client, signed};
use crate::config::Clock;
use crate::dialer::{Dialer, ServiceName};
use crate::http::full;
use crate::percent::percent_decoded;
use crate::proxy;

/// Bytes of a code, as spaces take them.
const CODE_BYTES: std::ops::RangeInclusive<usize> = 8..=128;
/// Longest text that is read as an invitation, bytes.
const TEXT_BYTES: usize = 1024;
/// Longest description of a space that is read, bytes.
const DESCRIPTION_BYTES: usize = 64 * 1024;
/// How long a description may take.
const DESCRIPTION: Duration = Duration::from_secs(10);
/// How long joining may take from beginning to end.
const JOINING: Duration = Duration::from_secs(20);
/// Longest name and sentence of a space that are shown, characters.
const NAME_CHARS: usize = 80;
const ABOUT_CHARS: usize = 500;

/// An invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The space.
    pub service: ServiceName,
    /// What opens it.
    pub code: String,
}

impl Invitation {
    /// Takes the two parts; `None` if the code can be none.
    pub fn new(service: ServiceName, code: &str) -> Option<Self> {
        let is_code = CODE_BYTES.contains(&code.len()) && !code.chars().any(char::is_control);
        is_code.then(|| Self {
            service,
            code: code.to_owned(),
        })
    }

    /// Reads what somebody typed or pasted: the text ([`Self::text`]), or a link with it behind `/i/`, to whatever home.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > TEXT_BYTES {
            return None;
        }
        let text = text.split_once("/i/").map_or(text, |(_home, rest)| rest);
        let (service, code) = text.split_once('/')?;
        let code = code.split(['?', '#', '/']).next().unwrap_or_default();
        Self::new(ServiceName::parse(service)?, &percent_decoded(code)?)
    }

    /// In one word, to be pasted at any home: service, a slash, the code.
    pub fn text(&self) -> String {
        let mut code = String::new();
        for byte in self.code.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                code.push(char::from(byte));
            } else {
                code.push_str(&format!("%{byte:02X}"));
            }
        }
        format!("{}/{code}", self.service)
    }

    /// Its page at any home.
    pub fn path(&self) -> String {
        format!("/i/{}", self.text())
    }
}

/// What a space says of itself (NIP-11). Untrusted text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// A sentence.
    pub about: String,
    /// The name of its picture among its own files. Pictures elsewhere are not shown: nobody else is asked.
    pub picture: Option<String>,
}

impl About {
    /// Reads a description.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let description: Value = serde_json::from_slice(bytes).ok()?;
        let text = |field: &str, most: usize| -> String {
            let text = description[field].as_str().unwrap_or_default();
            text.chars().take(most).collect()
        };
        let own_file = |url: &str| {
            let (host, file) = url.strip_prefix("http://")?.split_once('/')?;
            ServiceName::parse(host.strip_suffix(".warren")?)?;
            // A file by its hash, and nothing else of the space.
            let is_picture = proxy::is_for_files(file) && file.len() > 64 && !file.contains('/');
            is_picture.then(|| file.to_owned())
        };
        description.is_object().then(|| Self {
            name: text("name", NAME_CHARS),
            about: text("description", ABOUT_CHARS),
            picture: description["icon"].as_str().and_then(own_file),
        })
    }
}

/// Asks a space what it is; `None` when it cannot be reached.
pub async fn describe(dialer: &dyn Dialer, service: &ServiceName) -> Option<About> {
    let mut request = Request::new(full(""));
    let accept = HeaderValue::from_static("application/nostr+json");
    request.headers_mut().insert(header::ACCEPT, accept);
    let asking = async {
        let answer = proxy::pass(dialer, service, hyper::Uri::from_static("/"), request).await;
        if answer.status() != StatusCode::OK {
            return None;
        }
        let body = Limited::new(answer.into_body(), DESCRIPTION_BYTES)
            .collect()
            .await;
        About::parse(&body.ok()?.to_bytes())
    };
    tokio::time::timeout(DESCRIPTION, asking)
        .await
        .ok()
        .flatten()
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// They belong to the space now.
    Now,
    /// They did before; nothing was used up.
    Before,
}

/// Why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Used up, expired, taken back, or never made: spaces do not tell which.
    NotValid,
    /// The space, or the channel, takes no more people.
    Full,
    /// This person may not come in.
    Banned,
    /// The time of this home and that of the space differ by too much.
    Clock,
    /// The space asks to wait.
    Busy,
    /// It cannot be reached, or broke off. Whether the invitation was used is not known; trying again finds out.
    Away,
    /// For this reason in the space's own words.
    Other(String),
}

impl Refused {
    fn read(reason: &str) -> Self {
        let (prefix, words) = reason.split_once(':').unwrap_or((reason, ""));
        match prefix {
            "restricted" if words.contains("by invitation") => Self::NotValid,
            "restricted" if words.contains("full") || words.contains("as many members") => {
                Self::Full
            }
            "blocked" => Self::Banned,
            "invalid" if words.contains("date") => Self::Clock,
            "rate-limited" => Self::Busy,
            _ => Self::Other(reason.chars().take(200).collect()),
        }
    }
}

/// Accepts invitations, a few at a time.
pub struct Joiner {
    dialer: Arc<dyn Dialer>,
    places: Semaphore,
    clock: Clock,
}

impl Joiner {
    /// So many at a time.
    pub fn new(dialer: Arc<dyn Dialer>, most: usize, clock: Clock) -> Self {
        Self {
            dialer,
            places: Semaphore::new(most),
            clock,
        }
    }

    /// Joins a space for somebody. Needs a runtime.
    pub async fn join(
        &self,
        invitation: &Invitation,
        keys: &Keys,
        name: &str,
    ) -> Result<Joined, Refused> {
        let _place = self.places.try_acquire().map_err(|_| Refused::Busy)?;
        accept(&*self.dialer, invitation, keys, name, &self.clock).await
    }
}

/// Joins a space with an invitation (NIP-43, 28934) and tells it the name. Trying again is safe: who is in already uses
/// nothing up.
async fn accept(
    dialer: &dyn Dialer,
    invitation: &Invitation,
    keys: &Keys,
    name: &str,
    clock: &Clock,
) -> Result<Joined, Refused> {
    let away = |error: Broken| {
        log::debug!("the space {} cannot be joined: {error}", invitation.service);
        Refused::Away
    };
    let joining = async {
        let opened = client::open(dialer, &invitation.service, clock).await;
        let (client, pump, _heard) = opened.map_err(away)?;
        tokio::select! {
            broken = pump.run(|| JOINING) => Err(away(broken)),
            joined = join(&client, invitation, keys, name, clock()) => joined,
        }
    };
    tokio::time::timeout(JOINING, joining)
        .await
        .unwrap_or(Err(Refused::Away))
}

async fn join(
    client: &Client,
    invitation: &Invitation,
    keys: &Keys,
    name: &str,
    now: u64,
) -> Result<Joined, Refused> {
    let sign = |kind, tags: &[&[&str]], content: &str| {
        signed(keys, kind, now, tags, content).map_err(Refused::Other)
    };
    let broken = |_: Broken| Refused::Away;
    if let (false, reason) = client.prove(keys).await.map_err(broken)? {
        return Err(Refused::read(&reason));
    }
    let tags: [&[&str]; 2] = [&["-"], &["claim", &invitation.code]];
    let request = sign(28934, &tags, "")?;
    let joined = match client.ask("EVENT", &request).await.map_err(broken)? {
        (true, _) => Joined::Now,
        (false, reason) if reason.starts_with("duplicate:") => Joined::Before,
        (false, reason) => return Err(Refused::read(&reason)),
    };
    let profile = sign(0, &[], &json!({"name": name}).to_string())?;
    // They are in, whatever becomes of this: the name is told once more with the first message.
    let _ = client.ask("EVENT", &profile).await;
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_however_it_comes() {
        let service = "a".repeat(52);
        let plain = format!("{service}/k3wq7yh2aaaa");
        let read = Invitation::parse(&plain).unwrap();
        assert_eq!(read.code, "k3wq7yh2aaaa");
        assert_eq!(read.text(), plain);
        for text in [
            format!("  {plain}\n"),
            format!("http://192.168.1.1:8080/i/{plain}"),
            format!("http://[fd00::1]/i/{plain}/qr.svg"),
            format!("warren.lan/i/{plain}?from=chat#x"),
        ] {
            assert_eq!(Invitation::parse(&text).as_ref(), Some(&read), "{text}");
        }
        let odd = Invitation::new(read.service.clone(), "Straße 7/8 #?%").unwrap();
        assert_eq!(Invitation::parse(&odd.text()), Some(odd.clone()));
        assert_eq!(
            Invitation::parse(&format!("http://home{}", odd.path())),
            Some(odd)
        );
        for text in [
            "",
            "/",
            &service,
            &format!("{service}/short"),
            &format!("{service}/{}", "x".repeat(129)),
            &format!("{service}/a%0Abcdefgh"),
            &format!("{service}/a%zzbcdefgh"),
            &format!("{}/k3wq7yh2aaaa", &service[1..]),
            &format!("http://home/s/{plain}"),
            &"x".repeat(2000),
        ] {
            assert_eq!(Invitation::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_description_is_read_as_far_as_it_is_one_and_foreign_pictures_are_not_asked_for() {
        let (service, hash) = ("a".repeat(52), "b".repeat(64));
        let read = |icon: &str| {
            let text = json!({"name": "Garden", "description": 7, "icon": icon}).to_string();
            About::parse(text.as_bytes()).unwrap()
        };
        let own = read(&format!("http://{service}.warren/{hash}.png"));
        assert_eq!((own.name.as_str(), own.about.as_str()), ("Garden", ""));
        assert_eq!(own.picture, Some(format!("{hash}.png")));
        for icon in [
            "".to_owned(),
            format!("https://elsewhere.example/{hash}.png"),
            format!("http://{service}.warren/upload"),
            format!("http://{service}.warren/list/{hash}"),
            format!("http://{service}.warren.example/{hash}.png"),
        ] {
            assert_eq!(read(&icon).picture, None, "{icon}");
        }
        for bytes in [&b"[]"[..], b"{", b"7", b""] {
            assert_eq!(About::parse(bytes), None);
        }
    }
}
