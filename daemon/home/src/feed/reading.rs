//! What people read of the feed: each call asks the cache, and for what nobody here follows also the homes in reach.

use nostr::event::EventId;
use nostr::key::PublicKey;
use serde_json::{Value, json};

use super::questions::{Part, Whose};
use super::references::{FOREIGN, POST, TELLING, named, references};
use super::view::View;
use super::{Feed, FeedError};

/// Posts of somebody that other homes are asked for at a time.
const ASKED: usize = 100;
/// People nearby that are listed.
const NEARBY: usize = 200;

impl Feed {
    /// Posts, newest first.
    pub async fn posts(
        &self,
        me: Option<PublicKey>,
        whose: Whose,
        replies: bool,
        part: Part,
    ) -> Result<Value, FeedError> {
        self.with_cache(move |cache| {
            let events = cache.posts(&whose, replies, &part)?;
            View::new(cache, me).list(&events, part.limit)
        })
        .await
    }

    /// The people in one of somebody's lists.
    pub async fn people_of(&self, me: PublicKey, list: String) -> Result<Whose, FeedError> {
        let found = self.with_cache(move |cache| cache.list(&me, &list)).await?;
        let list = found.ok_or(FeedError::Unknown("list"))?;
        Ok(Whose::These(named(&list)))
    }

    /// What tells somebody that others have them in mind.
    pub async fn telling(&self, me: PublicKey, part: Part) -> Result<Value, FeedError> {
        self.with_cache(move |cache| {
            let events = cache.telling(&me, &part)?;
            let mut view = View::new(cache, Some(me));
            let mut list = view.list(&events, part.limit)?;
            for (item, event) in list["items"]
                .as_array_mut()
                .into_iter()
                .flatten()
                .zip(&events)
            {
                if event.kind.as_u16() == POST {
                    let parent = references(event).parent;
                    let answered = match parent {
                        Some(id) => cache.get(&id)?,
                        None => None,
                    };
                    let is_answer = answered.is_some_and(|post| post.pubkey == me);
                    item["kind"] = if is_answer { "reply" } else { "mention" }.into();
                }
            }
            Ok(list)
        })
        .await
    }

    /// A talk: the post it began with and the answers, also of those whom nobody here follows.
    pub async fn talk(&self, me: Option<PublicKey>, id: EventId) -> Result<Value, FeedError> {
        let post = self.post_of(id).await?;
        if post.kind.as_u16() != POST {
            return Err(FeedError::Unknown("post"));
        }
        let root = references(&post).root.unwrap_or(id);
        let kinds = TELLING;
        self.look_for(json!({"kinds": kinds, "#e": [root.to_hex()], "limit": ASKED}))
            .await;
        if root != id {
            let _ = self.post_of(root).await; // it may be out of reach
        }
        self.with_cache(move |cache| {
            let mut events = cache.talk(&root)?;
            if !events.iter().any(|event| event.id == id) {
                events.push(post); // beyond what a talk shows
            }
            View::new(cache, me).talk(&root, &events)
        })
        .await
    }

    /// Somebody, and whether one follows them.
    pub async fn person(
        &self,
        me: Option<PublicKey>,
        person: PublicKey,
    ) -> Result<Value, FeedError> {
        let is_known = self
            .with_cache(move |cache| Ok(cache.profile(&person)?.is_some()))
            .await?;
        if !is_known {
            self.look_for(json!({"kinds": [0, 10_002], "authors": [person.to_hex()], "limit": 4}))
                .await;
        }
        self.with_cache(move |cache| {
            let mut shown = View::new(cache, me).person(&person)?;
            if let Some(me) = me {
                shown["followed"] = cache.is_following(&me, &person)?.into();
            }
            shown["here"] = cache.lives_here(&person).into();
            Ok(shown)
        })
        .await
    }

    /// What somebody wrote.
    pub async fn posts_of(
        &self,
        me: Option<PublicKey>,
        person: PublicKey,
        part: Part,
    ) -> Result<Value, FeedError> {
        let mut filter = json!({"kinds": FOREIGN, "authors": [person.to_hex()], "limit": ASKED});
        if let Some(before) = part.before {
            filter["until"] = before.at.into();
        }
        self.look_for(filter).await;
        self.posts(me, Whose::These(vec![person]), true, part).await
    }

    /// Whom somebody follows.
    pub async fn follows(&self, me: PublicKey) -> Result<Value, FeedError> {
        self.with_cache(move |cache| {
            let mut view = View::new(cache, Some(me));
            let people = cache.follows(&me)?;
            let people: rusqlite::Result<Vec<Value>> =
                people.iter().map(|person| view.person(person)).collect();
            Ok(json!({"people": people?}))
        })
        .await
    }

    /// People who write at homes in reach.
    pub async fn nearby(&self, me: Option<PublicKey>) -> Result<Value, FeedError> {
        self.with_cache(move |cache| {
            let mut view = View::new(cache, me);
            let people = cache.nearby(NEARBY)?;
            let people: rusqlite::Result<Vec<Value>> =
                people.iter().map(|person| view.person(person)).collect();
            Ok(json!({"people": people?}))
        })
        .await
    }

    /// Somebody's lists of people.
    pub async fn lists(&self, me: PublicKey) -> Result<Value, FeedError> {
        self.with_cache(move |cache| {
            let mut view = View::new(cache, Some(me));
            let mut lists = Vec::new();
            for list in cache.lists(&me)? {
                let title = list.tags.iter().find(|tag| tag.kind() == "title");
                let people: rusqlite::Result<Vec<Value>> = named(&list)
                    .iter()
                    .map(|person| view.person(person))
                    .collect();
                lists.push(json!({
                    "name": list.tags.identifier().unwrap_or_default(),
                    "title": title.and_then(|tag| tag.content()),
                    "people": people?,
                }));
            }
            Ok(json!({"lists": lists}))
        })
        .await
    }
}
