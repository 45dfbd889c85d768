//! What people of this home do in the feed. Everything becomes an event that is signed with their key here, or comes
//! signed from their own app, and is in the home's relay, on the disk, before anybody is told that it is done.

use nostr::event::{Event, EventId};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip19::FromBech32;
use serde_json::{Map, Value, json};

use super::Feed;
use super::finding::Found;
use super::references::{
    self, FOLLOWS, OTHER_REPOST, PEOPLE, POST, PROFILE, REACTION, REPOST, address_of,
};
use super::setting_up::Draft;

/// People that one post names.
const NAMED: usize = 50;
/// Emoji of one post.
const EMOJI: usize = 20;
/// Characters of the name of an emoji, of a reaction, and bytes of an address.
const SHORT: usize = 32;
const URL_BYTES: usize = 500;
/// Characters of a list's title, and of each field of a profile.
const TITLE: usize = 100;
const ABOUT: usize = 2000;

/// Why something in the feed was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The home serves no relay of its own.
    #[error("this home has no feed")]
    NoRelay,
    /// A home that is needed cannot be reached now.
    #[error("not in reach")]
    Away,
    /// The home's relay does not take it: a word and a sentence (NIP-01).
    #[error("refused: {0}")]
    Refused(String),
    /// There is no such thing.
    #[error("no such {0}")]
    Unknown(&'static str),
    /// A field of the request.
    #[error("{0} is not right")]
    Field(&'static str),
    /// There are as many as there may be.
    #[error("{max} {what} are enough")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// Something that should not happen.
    #[error("{0}")]
    Broken(String),
}

/// A picture that stands for a word (NIP-30).
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Emoji {
    /// The word between the colons.
    pub shortcode: String,
    /// Where the picture is.
    pub url: String,
}

impl Emoji {
    fn tag(&self) -> Result<Vec<String>, FeedError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let fits =
            (1..=SHORT).contains(&self.shortcode.len()) && self.shortcode.chars().all(is_word);
        let url = is_url(&self.url);
        (fits && url)
            .then(|| vec!["emoji".into(), self.shortcode.clone(), self.url.clone()])
            .ok_or(FeedError::Field("emoji"))
    }
}

/// What of a profile is to be different; `null` or an empty text takes a field away.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Profile(Map<String, Value>);

fn is_url(text: &str) -> bool {
    let begins = text.starts_with("http://") || text.starts_with("https://");
    begins && text.len() <= URL_BYTES && !text.contains(|c: char| c.is_control() || c == ' ')
}

/// People and posts that a text names (`nostr:npub1...`, `nostr:note1...`; NIP-27).
fn named_in(text: &str) -> (Vec<PublicKey>, Vec<EventId>) {
    let (mut people, mut posts) = (Vec::new(), Vec::new());
    for rest in text.split("nostr:").skip(1) {
        let word: String = rest
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(100)
            .collect();
        if let Ok(person) = PublicKey::from_bech32(&word) {
            people.push(person);
        } else if let Ok(id) = EventId::from_bech32(&word) {
            posts.push(id);
        }
    }
    (people, posts)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Feed {
    async fn sign_and_publish(&self, keys: &Keys, draft: Draft) -> Result<Event, FeedError> {
        let event = draft.sign(keys, (self.clock)())?;
        self.publish(vec![event.clone()]).await?;
        Ok(event)
    }

    /// A post that is here, or that another home in reach has.
    pub async fn post_of(&self, id: EventId) -> Result<Event, FeedError> {
        if let Some(event) = self.with_cache(move |cache| cache.get(&id)).await? {
            return Ok(event);
        }
        self.look_for(json!({"ids": [id.to_hex()], "limit": 1}))
            .await;
        let found = self.with_cache(move |cache| cache.get(&id)).await?;
        found.ok_or(FeedError::Unknown("post"))
    }

    /// Asks the homes that are listened to.
    pub async fn look_for(&self, filter: Value) {
        self.links.ask(&filter).await;
    }

    /// Writes a post, or an answer to one (NIP-10).
    pub async fn post(
        &self,
        keys: &Keys,
        text: &str,
        reply_to: Option<EventId>,
        emoji: &[Emoji],
    ) -> Result<Event, FeedError> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > self.limits.text_chars {
            return Err(FeedError::Field("text"));
        }
        if emoji.len() > EMOJI {
            return Err(FeedError::Field("emoji"));
        }
        let own = keys.public_key();
        let relay = self.relay().map(address_of).unwrap_or_default();
        let mut tags = Vec::new();
        let mut people = Vec::new();
        if let Some(id) = reply_to {
            let parent = self.post_of(id).await?;
            if parent.kind.as_u16() != POST {
                return Err(FeedError::Field("reply_to"));
            }
            let root = references::references(&parent).root.unwrap_or(id);
            let author = parent.pubkey.to_hex();
            if root == id {
                tags.push(words(&["e", &id.to_hex(), "", "root", &author]));
            } else {
                tags.push(words(&["e", &root.to_hex(), "", "root"]));
                tags.push(words(&["e", &id.to_hex(), "", "reply", &author]));
            }
            people.push(parent.pubkey);
            people.extend(references::named(&parent));
        }
        let (named, quoted) = named_in(text);
        people.extend(named);
        let mut seen = std::collections::HashSet::from([own]);
        people.retain(|person| seen.insert(*person));
        let people = people.iter().take(NAMED);
        tags.extend(people.map(|person| words(&["p", &person.to_hex()])));
        let quoted = quoted.iter().take(NAMED);
        tags.extend(quoted.map(|id| words(&["q", &id.to_hex(), &relay])));
        for emoji in emoji {
            tags.push(emoji.tag()?);
        }
        let draft = Draft {
            kind: POST,
            tags,
            content: text.to_owned(),
        };
        self.sign_and_publish(keys, draft).await
    }

    /// Repeats a post to one's own followers (NIP-18). One that its author wants nowhere else is named and not carried.
    pub async fn repost(&self, keys: &Keys, id: EventId) -> Result<Event, FeedError> {
        let post = self.post_of(id).await?;
        let kind = post.kind.as_u16();
        if [REPOST, OTHER_REPOST, REACTION].contains(&kind) {
            return Err(FeedError::Unknown("post"));
        }
        let mut tags = vec![
            words(&["e", &id.to_hex(), ""]),
            words(&["p", &post.pubkey.to_hex()]),
        ];
        if kind != POST {
            tags.push(words(&["k", &kind.to_string()]));
        }
        let is_protected = post.tags.iter().any(|tag| tag.kind() == "-");
        let content = match is_protected {
            true => String::new(),
            false => serde_json::to_string(&post).unwrap_or_default(),
        };
        let draft = Draft {
            kind: if kind == POST { REPOST } else { OTHER_REPOST },
            tags,
            content,
        };
        self.sign_and_publish(keys, draft).await
    }

    /// Reacts to a post (NIP-25): `+`, `-`, an emoji, or a word with a picture of its own.
    pub async fn react(
        &self,
        keys: &Keys,
        id: EventId,
        reaction: &str,
        emoji: Option<&Emoji>,
    ) -> Result<Event, FeedError> {
        let post = self.post_of(id).await?;
        let mut tags = vec![
            words(&["e", &id.to_hex(), ""]),
            words(&["p", &post.pubkey.to_hex()]),
            words(&["k", &post.kind.as_u16().to_string()]),
        ];
        let content = match emoji {
            Some(emoji) => {
                tags.push(emoji.tag()?);
                format!(":{}:", emoji.shortcode)
            }
            None => reaction.to_owned(),
        };
        let is_short = (1..=SHORT + 2).contains(&content.chars().count());
        if !is_short || content.contains(char::is_control) {
            return Err(FeedError::Field("reaction"));
        }
        let draft = Draft {
            kind: REACTION,
            tags,
            content,
        };
        self.sign_and_publish(keys, draft).await
    }

    /// Takes back a post, a repost or a reaction of one's own (NIP-09).
    pub async fn take_back(&self, keys: &Keys, id: EventId) -> Result<(), FeedError> {
        let own = keys.public_key();
        let event = self.with_cache(move |cache| cache.get(&id)).await?;
        let event = event.filter(|event| event.pubkey == own);
        let event = event.ok_or(FeedError::Unknown("post"))?;
        let draft = Draft {
            kind: references::DELETION,
            tags: vec![
                words(&["e", &id.to_hex()]),
                words(&["k", &event.kind.as_u16().to_string()]),
            ],
            content: String::new(),
        };
        self.sign_and_publish(keys, draft).await.map(drop)
    }

    /// Takes what somebody signed in their own app.
    pub async fn hand_in(&self, person: &PublicKey, event: Event) -> Result<(), FeedError> {
        let is_whole = event.pubkey == *person && event.verify().is_ok();
        if !is_whole {
            return Err(FeedError::Field("event"));
        }
        self.publish(vec![event]).await
    }

    /// Takes back everything that somebody of this home ever wrote for everybody, with files and with sealed messages that
    /// wait (NIP-62): out of the home's relay before this returns, and out of what other homes keep when they read here.
    pub async fn vanish(&self, keys: &Keys) -> Result<(), FeedError> {
        let _one = self.changing.lock().await;
        let relay = self.relay.as_ref().ok_or(FeedError::NoRelay)?;
        let filter = json!({"authors": [keys.public_key().to_hex()], "limit": 1});
        // What was changed often within a second has a date ahead of now.
        let last = relay.query(filter).await?.into_iter().next();
        let last = last.map_or(0, |last| last.created_at.as_secs());
        let draft = Draft {
            kind: references::VANISH,
            tags: vec![words(&["relay", &address_of(&relay.service)])],
            content: String::new(),
        };
        let request = draft.sign(keys, last.max((self.clock)()))?;
        self.publish(vec![request]).await
    }

    /// The newest event of a kind that the home's relay has of somebody.
    async fn last(
        &self,
        person: &PublicKey,
        kind: u16,
        d: Option<&str>,
    ) -> Result<Option<Event>, FeedError> {
        let relay = self.relay.as_ref().ok_or(FeedError::NoRelay)?;
        let mut filter = json!({"authors": [person.to_hex()], "kinds": [kind], "limit": 1});
        if let Some(d) = d {
            filter["#d"] = json!([d]);
        }
        Ok(relay.query(filter).await?.into_iter().next())
    }

    /// Replaces somebody's event of a kind: what it is made of now goes in, what it shall be made of comes out.
    async fn replace(
        &self,
        keys: &Keys,
        kind: u16,
        d: Option<&str>,
        change: impl FnOnce(&mut Draft) -> Result<bool, FeedError>,
    ) -> Result<(), FeedError> {
        let _one = self.changing.lock().await;
        let last = self.last(&keys.public_key(), kind, d).await?;
        let at = last
            .as_ref()
            .map_or(0, |last| last.created_at.as_secs() + 1);
        let mut draft = match last {
            Some(last) => Draft {
                kind,
                tags: last
                    .tags
                    .iter()
                    .map(|tag| tag.as_slice().to_vec())
                    .collect(),
                content: last.content,
            },
            None => Draft {
                kind,
                tags: d.map(|d| words(&["d", d])).into_iter().collect(),
                content: String::new(),
            },
        };
        if change(&mut draft)? {
            let event = draft.sign(keys, at.max((self.clock)()))?;
            self.publish(vec![event]).await?;
        }
        Ok(())
    }

    /// Follows somebody (NIP-02).
    pub async fn follow(&self, keys: &Keys, found: &Found) -> Result<(), FeedError> {
        let person = found.person.to_hex();
        if found.person == keys.public_key() {
            return Err(FeedError::Field("who"));
        }
        let hint = found.home.as_ref().map(address_of).unwrap_or_default();
        let max = self.limits.follows;
        self.replace(keys, FOLLOWS, None, |list| {
            let is_person = |tag: &&mut Vec<String>| {
                tag.first().is_some_and(|name| name == "p") && tag.get(1) == Some(&person)
            };
            if let Some(known) = list.tags.iter_mut().find(is_person) {
                // Where they are found may be new.
                let is_new = !hint.is_empty() && known.get(2) != Some(&hint);
                if is_new {
                    known.resize(known.len().max(3), String::new());
                    known[2].clone_from(&hint);
                }
                return Ok(is_new);
            }
            if list.tags.len() >= max {
                return Err(FeedError::TooMany {
                    what: "follows",
                    max,
                });
            }
            list.tags.push(match hint.as_str() {
                "" => words(&["p", &person]),
                hint => words(&["p", &person, hint]),
            });
            Ok(true)
        })
        .await
    }

    /// Follows somebody no more.
    pub async fn unfollow(&self, keys: &Keys, person: &PublicKey) -> Result<(), FeedError> {
        let person = person.to_hex();
        self.replace(keys, FOLLOWS, None, |list| {
            let before = list.tags.len();
            list.tags.retain(|tag| tag.get(1) != Some(&person));
            Ok(list.tags.len() < before)
        })
        .await
    }

    /// Makes or changes a list of people (NIP-51).
    pub async fn put_list(
        &self,
        keys: &Keys,
        name: &str,
        title: &str,
        people: &[PublicKey],
    ) -> Result<(), FeedError> {
        if name.is_empty() || name.len() > SHORT || name.contains(char::is_control) {
            return Err(FeedError::Field("name"));
        }
        if title.chars().count() > TITLE || title.contains(char::is_control) {
            return Err(FeedError::Field("title"));
        }
        let max = self.limits.list_people;
        if people.len() > max {
            return Err(FeedError::TooMany {
                what: "people",
                max,
            });
        }
        let own = keys.public_key();
        let (lists, is_known) = {
            let name = name.to_owned();
            self.with_cache(move |cache| {
                Ok((cache.lists(&own)?.len(), cache.list(&own, &name)?.is_some()))
            })
            .await?
        };
        let max = self.limits.lists;
        if !is_known && lists >= max {
            return Err(FeedError::TooMany { what: "lists", max });
        }
        self.replace(keys, PEOPLE, Some(name), |list| {
            list.tags
                .retain(|tag| !matches!(tag[0].as_str(), "p" | "title"));
            if !title.is_empty() {
                list.tags.push(words(&["title", title]));
            }
            let people = people.iter().map(|person| words(&["p", &person.to_hex()]));
            list.tags.extend(people);
            Ok(true)
        })
        .await
    }

    /// Removes a list of people.
    pub async fn remove_list(&self, keys: &Keys, name: &str) -> Result<(), FeedError> {
        let own = keys.public_key();
        let last = self.last(&own, PEOPLE, Some(name)).await?;
        let last = last.ok_or(FeedError::Unknown("list"))?;
        let draft = Draft {
            kind: references::DELETION,
            tags: vec![words(&["a", &format!("{PEOPLE}:{}:{name}", own.to_hex())])],
            content: String::new(),
        };
        // It counts for what is as old as the request, or older.
        let at = last.created_at.as_secs().max((self.clock)());
        self.publish(vec![draft.sign(keys, at)?]).await
    }

    /// Changes what a person says of themselves (NIP-01, NIP-24). What other apps wrote there stays.
    pub async fn put_profile(&self, keys: &Keys, profile: Profile) -> Result<(), FeedError> {
        for (field, value) in &profile.0 {
            let text = match value {
                Value::Null => "",
                Value::String(text) => text,
                _ => return Err(FeedError::Field("profile")),
            };
            let is_control = |c: char| c.is_control() && c != '\n';
            let fits = match field.as_str() {
                "name" | "display_name" => text.chars().count() <= TITLE,
                "about" => text.chars().count() <= ABOUT,
                "picture" | "banner" | "website" => text.is_empty() || is_url(text),
                _ => false,
            };
            if !fits || text.contains(is_control) {
                return Err(FeedError::Field("profile"));
            }
        }
        self.replace(keys, PROFILE, None, |draft| {
            let mut said: Map<String, Value> =
                serde_json::from_str(&draft.content).unwrap_or_default();
            for (field, value) in profile.0 {
                match value {
                    Value::String(text) if !text.is_empty() => {
                        said.insert(field, text.into());
                    }
                    _ => drop(said.remove(&field)),
                }
            }
            draft.content = Value::Object(said).to_string();
            Ok(true)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_posts_are_found_in_a_text() {
        let npub = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
        let (people, posts) = named_in(&format!(
            "with nostr:{npub}, and nostr:npub1x nostr: nostr:"
        ));
        assert_eq!(people, [PublicKey::from_bech32(npub).unwrap()]);
        assert!(posts.is_empty());
    }

    #[test]
    fn only_addresses_of_pictures_are_taken_for_pictures() {
        for (url, fits) in [
            ("http://x.warren/a.png", true),
            ("https://example.com/a", true),
            ("javascript:alert(1)", false),
            ("http://a b", false),
            ("", false),
        ] {
            assert_eq!(is_url(url), fits, "{url}");
        }
    }
}
