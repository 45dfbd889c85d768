//! The public feed. Everybody may read; people with an account write. Who keeps their key elsewhere hands in what their
//! app signed.

use hyper::Method;
use nostr::event::{Event, EventId};
use nostr::key::{Keys, PublicKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{Failure, Reply};
use super::{Api, Caller, read};
use crate::accounts::error::AccountError;
use crate::feed::references::{FILE_SERVERS, RELAYS, address_of};
use crate::feed::{Emoji, FeedError, Part, Place, Profile, Whose};
use crate::forms::{self, field};

/// Posts of one answer, unless something else is asked for, and at most.
const USUAL: usize = 30;
const MOST: usize = 100;

#[derive(Deserialize)]
struct Post {
    text: String,
    #[serde(default)]
    reply_to: Option<String>,
    #[serde(default)]
    emoji: Vec<Emoji>,
}

#[derive(Deserialize)]
struct React {
    #[serde(default)]
    reaction: String,
    #[serde(default)]
    emoji: Option<Emoji>,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Who {
    who: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    title: String,
    people: Vec<String>,
}

#[derive(Deserialize)]
struct HandIn {
    event: Event,
}

fn id(text: &str) -> Result<EventId, FeedError> {
    EventId::from_hex(text).map_err(|_| FeedError::Unknown("post"))
}

fn key(text: &str) -> Result<PublicKey, FeedError> {
    PublicKey::from_hex(text).map_err(|_| FeedError::Unknown("person"))
}

/// `before`, `limit` of a query.
fn part(query: &[(String, String)]) -> Result<Part, FeedError> {
    let before = match field(query, "before") {
        "" => None,
        text => Some(Place::parse(text).ok_or(FeedError::Field("before"))?),
    };
    let limit = match field(query, "limit") {
        "" => USUAL,
        text => {
            let limit = text.parse().ok();
            let fits = limit.filter(|limit| (1..=MOST).contains(limit));
            fits.ok_or(FeedError::Field("limit"))?
        }
    };
    Ok(Part { before, limit })
}

impl Api {
    /// Answers a call below `feed`.
    pub(super) async fn feed(
        &self,
        method: &Method,
        parts: &[&str],
        caller: &Caller,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        if *method == Method::GET {
            return Ok(Reply::ok(self.read_feed(parts, caller).await?));
        }
        if let ("POST", ["events"]) = (method.as_str(), parts) {
            let account = self.own(caller)?;
            let HandIn { event } = read(body)?;
            self.feed.hand_in(&account.public_key, event).await?;
            return Ok(Reply::created(json!({})));
        }
        let keys = self.writer(caller)?;
        self.write_feed(method, parts, &keys, body).await
    }

    /// The keys of who calls: with an account, whose key is here.
    fn writer(&self, caller: &Caller) -> Result<Keys, Failure> {
        let account = self.own(caller)?;
        if account.key.is_none() {
            return Err(AccountError::KeyElsewhere.into());
        }
        let keys = self.accounts().keys(&account.id);
        Ok(keys.ok_or(AccountError::LoggedOut)?)
    }

    async fn read_feed(&self, parts: &[&str], caller: &Caller) -> Result<Value, Failure> {
        let me = self.own(caller).ok().map(|account| account.public_key);
        let must = || me.ok_or(Failure::from(AccountError::LoggedOut));
        let query = forms::fields(caller.query.as_bytes());
        let feed = &self.feed;
        Ok(match parts {
            [] => {
                let whose = match (me, field(&query, "list"), field(&query, "of")) {
                    (_, "", "home") | (None, "", _) => Whose::Residents,
                    (Some(me), "", _) => Whose::Followed(me),
                    (_, list, _) => feed.people_of(must()?, list.to_owned()).await?,
                };
                let replies = field(&query, "replies") == "yes";
                feed.posts(me, whose, replies, part(&query)?).await?
            }
            ["notifications"] => feed.telling(must()?, part(&query)?).await?,
            ["posts", post] => feed.talk(me, id(post)?).await?,
            ["people"] => feed.nearby(me).await?,
            ["people", person] => feed.person(me, key(person)?).await?,
            ["people", person, "posts"] => feed.posts_of(me, key(person)?, part(&query)?).await?,
            ["follows"] => feed.follows(must()?).await?,
            ["lists"] => feed.lists(must()?).await?,
            ["profile"] => feed.person(me, must()?).await?,
            ["relay"] => self.relay(caller).await?,
            _ => return Err(FeedError::Unknown("path").into()),
        })
    }

    async fn write_feed(
        &self,
        method: &Method,
        parts: &[&str],
        keys: &Keys,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        let feed = &self.feed;
        let made = |event: Event| Reply::created(json!({"id": event.id.to_hex()}));
        match (method.as_str(), parts) {
            ("POST", ["posts"]) => {
                let post: Post = read(body)?;
                let reply_to = post.reply_to.as_deref().map(id).transpose()?;
                let event = feed.post(keys, &post.text, reply_to, &post.emoji).await?;
                Ok(made(event))
            }
            ("POST", ["posts", post, "repost"]) => {
                let Nothing {} = read(body)?;
                Ok(made(feed.repost(keys, id(post)?).await?))
            }
            ("POST", ["posts", post, "react"]) => {
                let said: React = read(body)?;
                let reacted = feed.react(keys, id(post)?, &said.reaction, said.emoji.as_ref());
                Ok(made(reacted.await?))
            }
            ("DELETE", ["posts", post]) => {
                feed.take_back(keys, id(post)?).await?;
                Ok(Reply::ok(json!({})))
            }
            ("POST", ["follows"]) => {
                let Who { who } = read(body)?;
                let found = feed.find(&who).await?;
                feed.follow(keys, &found).await?;
                let me = Some(keys.public_key());
                Ok(Reply::ok(feed.person(me, found.person).await?))
            }
            ("DELETE", ["follows", person]) => {
                feed.unfollow(keys, &key(person)?).await?;
                Ok(Reply::ok(json!({})))
            }
            ("PUT", ["lists", name]) => {
                let list: List = read(body)?;
                let people: Result<Vec<PublicKey>, FeedError> =
                    list.people.iter().map(|person| key(person)).collect();
                feed.put_list(keys, name, &list.title, &people?).await?;
                Ok(Reply::ok(json!({})))
            }
            ("DELETE", ["lists", name]) => {
                feed.remove_list(keys, name).await?;
                Ok(Reply::ok(json!({})))
            }
            ("PATCH", ["profile"]) => {
                let profile: Profile = read(body)?;
                feed.put_profile(keys, profile).await?;
                let own = keys.public_key();
                Ok(Reply::ok(feed.person(Some(own), own).await?))
            }
            _ => Err(FeedError::Unknown("path").into()),
        }
    }

    /// How the home's relay is reached, and what an account has not said yet: for apps that keep the key.
    async fn relay(&self, caller: &Caller) -> Result<Value, Failure> {
        let service = self.feed.relay().ok_or(FeedError::NoRelay)?;
        let mut view = json!({
            "name": address_of(service),
            "here": format!("ws://{}/s/{service}/", caller.host),
            "files": format!("http://{}/s/{service}/", caller.host),
        });
        if let Ok(account) = self.own(caller) {
            let missing = self.feed.missing(&account).await?;
            let now = self.accounts().now();
            let lists = missing.iter();
            let lists = lists.filter(|draft| [RELAYS, FILE_SERVERS].contains(&draft.kind));
            view["unsaid"] = lists.map(|draft| draft.to_json(now)).collect();
        }
        Ok(view)
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::NoRelay => Self::new(404, "unknown", json!({"what": "feed"})),
            FeedError::Unknown(what) => Self::new(404, "unknown", json!({"what": what})),
            FeedError::Away => Self::new(503, "not_in_reach", json!({})),
            FeedError::Field(field) => Self::new(400, "field_invalid", json!({"field": field})),
            FeedError::TooMany { what, max } => {
                Self::new(409, "too_many", json!({"what": what, "max": max}))
            }
            FeedError::Refused(reason) => {
                let word = reason.split(':').next().unwrap_or_default();
                if word == "rate-limited" {
                    return Self::new(429, "rate_limited", json!({"seconds": 10}));
                }
                Self::new(409, "refused", json!({"reason": reason}))
            }
            FeedError::Broken(what) => {
                log::error!("the feed: {what}");
                Self::new(500, "storage", json!({}))
            }
        }
    }
}

/// Reads every body of these calls, and what stands in their paths. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    let _ = read::<Post>(body);
    let _ = read::<React>(body);
    let _ = read::<List>(body);
    let _ = read::<Profile>(body);
    if let Ok(HandIn { event }) = read(body) {
        let _ = event.verify();
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = (id(text), key(text), part(&forms::fields(body)));
        if let Some(place) = Place::parse(text) {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
    }
}
