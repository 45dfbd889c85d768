//! Private messages: conversations, sending, reading, what is set, and changes as they happen.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures_util::stream;
use hyper::Method;
use hyper::body::{Bytes, Frame};
use nostr::event::EventId;
use nostr::key::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::drafts::{Send, draft, message_id, person, talk_id};
use super::reply::{Failure, Reply};
use super::{Api, Caller, read};
use crate::accounts::Session;
use crate::accounts::record::AccountId;
use crate::dialer::ServiceName;
use crate::forms;
use crate::live;
use crate::messages::book::Book;
use crate::messages::error::MessageError;
use crate::messages::mailbox::{Change, Draft, Mailbox};
use crate::messages::record::TalkId;
use crate::messages::view;
use crate::messages::wraps::DELETION;
use crate::people::People;

/// Conversations or messages in one answer, unless fewer are asked for.
const PAGE: usize = 50;
#[derive(Deserialize)]
pub struct ReadUpTo {
    up_to: Option<String>,
}

#[derive(Deserialize)]
pub struct ChangeTalk {
    muted: Option<bool>,
    accepted: Option<bool>,
}

#[derive(Deserialize)]
pub struct ChangeSettings {
    receipts: Option<bool>,
    read_receipts: Option<bool>,
}

#[derive(Deserialize)]
pub struct Block {
    person: String,
    blocked: bool,
}

#[derive(Deserialize)]
pub struct JoinedSpace {
    service: String,
}

/// Whether a path below `/api/1/` is answered here.
pub fn is_for_messages(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    ["messages", "conversations", "blocked"].contains(&first)
}

impl Api {
    pub(super) async fn messages_call(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        caller: &Caller,
        body: &[u8],
    ) -> Result<Reply, Failure> {
        let session = caller.session()?;
        let account = &session.account;
        let parts: Vec<&str> = path.split('/').collect();
        let messages = &self.messages;
        let query = Query::read(query);
        match (method.as_str(), &parts[..]) {
            ("GET", ["conversations"]) => self.talks(account, query, false).await,
            ("GET", ["conversations", "requests"]) => self.talks(account, query, true).await,
            ("GET", ["conversations", id]) => {
                let id = talk_id(id)?;
                let view = messages.look(account, move |_, mailbox| {
                    mailbox.look(|inner, book| {
                        let talk = book.talks.get(&id);
                        let talk = talk.ok_or(MessageError::Unknown("conversation"))?;
                        view::talk(inner, book, talk)
                    })
                });
                Ok(Reply::ok(view.await?))
            }
            ("GET", ["conversations", id, "messages"]) => {
                self.history(account, talk_id(id)?, query).await
            }
            ("POST", ["conversations", id, "read"]) => {
                let (id, read) = (talk_id(id)?, read::<ReadUpTo>(body)?);
                let up_to = read.up_to.as_deref().map(message_id).transpose()?;
                let done = messages.work(account, move |messages, mailbox| {
                    mailbox.read(&id, up_to, messages.now())
                });
                done.await?;
                Ok(Reply::ok(json!({})))
            }
            ("POST", ["conversations", id, "typing"]) => {
                let (id, of) = (talk_id(id)?, account.clone());
                let done = messages.look(account, move |messages, mailbox| {
                    messages.type_in(&of, mailbox, &id)
                });
                done.await?;
                Ok(Reply::ok(json!({})))
            }
            ("PATCH", ["conversations", id]) => {
                let (id, change) = (talk_id(id)?, read::<ChangeTalk>(body)?);
                let view = messages.work(account, move |_, mailbox| {
                    mailbox.mark(&id, |marks| {
                        marks.muted = change.muted.unwrap_or(marks.muted);
                        marks.accepted = change.accepted.unwrap_or(marks.accepted);
                    })?;
                    mailbox.look(|inner, book| {
                        let talk = book.talks.get(&id);
                        view::talk(
                            inner,
                            book,
                            talk.ok_or(MessageError::Unknown("conversation"))?,
                        )
                    })
                });
                Ok(Reply::ok(view.await?))
            }
            ("DELETE", ["conversations", id]) => {
                let id = talk_id(id)?;
                let done = messages.work(account, move |_, mailbox| mailbox.forget(&id, None));
                done.await?;
                Ok(Reply::ok(json!({})))
            }
            ("POST", ["messages"]) => self.send(account, read(body)?).await,
            ("DELETE", ["messages", id]) => self.unsend(account, message_id(id)?).await,
            ("GET", ["messages", "live"]) => self.live(session).await,
            ("GET", ["messages", "settings"]) => {
                let settings = messages
                    .look(account, |_, mailbox| mailbox.set(|_| Ok(())))
                    .await?;
                Ok(Reply::ok(json!({
                    "receipts": settings.receipts, "read_receipts": settings.read_receipts,
                })))
            }
            ("PATCH", ["messages", "settings"]) => {
                let change = read::<ChangeSettings>(body)?;
                let settings = messages.work(account, move |_, mailbox| {
                    mailbox.set(|settings| {
                        settings.receipts = change.receipts.unwrap_or(settings.receipts);
                        settings.read_receipts =
                            change.read_receipts.unwrap_or(settings.read_receipts);
                        Ok(())
                    })
                });
                let settings = settings.await?;
                Ok(Reply::ok(json!({
                    "receipts": settings.receipts, "read_receipts": settings.read_receipts,
                })))
            }
            ("GET", ["messages", "spaces"]) => {
                let spaces = messages.look(account, |messages, mailbox| {
                    let view = |(service, permits): (ServiceName, bool)| {
                        json!({"service": service.as_str(), "collects": permits, "reached": messages.is_reached(&service)})
                    };
                    let spaces: Vec<Value> = mailbox.spaces().into_iter().map(view).collect();
                    Ok(json!({
                        "spaces": spaces, "collector": messages.collector(),
                        "bytes": mailbox.bytes(), "max_bytes": messages.limits().messages_bytes,
                    }))
                });
                Ok(Reply::ok(spaces.await?))
            }
            ("POST", ["messages", "spaces"]) => {
                let service = ServiceName::parse(&read::<JoinedSpace>(body)?.service);
                let service = service.ok_or(MessageError::Field("service"))?;
                let done = messages.work(account, move |_, mailbox| {
                    let known = mailbox.spaces().get(&service).copied();
                    mailbox.note_space(&service, true, known.unwrap_or(false))
                });
                done.await?;
                Ok(Reply::ok(json!({})))
            }
            ("DELETE", ["messages", "spaces", service]) => {
                let service = ServiceName::parse(service);
                let service = service.ok_or(MessageError::Unknown("space"))?;
                let done = messages.work(account, move |_, mailbox| {
                    match mailbox.spaces().contains_key(&service) {
                        true => mailbox.note_space(&service, false, false),
                        false => Err(MessageError::Unknown("space")),
                    }
                });
                done.await?;
                Ok(Reply::ok(json!({})))
            }
            ("GET", ["blocked"]) => {
                let settings = messages
                    .look(account, |_, mailbox| mailbox.set(|_| Ok(())))
                    .await?;
                Ok(Reply::ok(json!({"people": settings.blocked})))
            }
            ("POST", ["blocked"]) => {
                let block = read::<Block>(body)?;
                let (person, _) = person(&block.person)?;
                let settings = messages.work(account, move |messages, mailbox| {
                    let max = messages.limits().blocked;
                    mailbox.set(|settings| {
                        match block.blocked {
                            true => settings.blocked.insert(person),
                            false => settings.blocked.remove(&person),
                        };
                        if settings.blocked.len() > max {
                            let what = "blocked";
                            return Err(MessageError::TooMany { what, max });
                        }
                        Ok(())
                    })
                });
                Ok(Reply::ok(json!({"people": settings.await?.blocked})))
            }
            _ => Err(Failure::new(404, "unknown", json!({"what": "path"}))),
        }
    }

    async fn talks(
        &self,
        account: &AccountId,
        query: Query,
        requests: bool,
    ) -> Result<Reply, Failure> {
        let view = self.messages.look(account, move |_, mailbox| {
            mailbox.look(|inner, book| {
                let date = |id: &TalkId| {
                    let last = book.talks.get(id).and_then(|talk| talk.order.last());
                    last.map_or(0, |(at, ..)| *at)
                };
                let waiting = book.talks.values().filter(|talk| talk.is_request()).count();
                let mut ids: Vec<TalkId> = book
                    .talks
                    .iter()
                    .filter(|(_, talk)| talk.is_request() == requests && !talk.order.is_empty())
                    .map(|(id, _)| *id)
                    .collect();
                ids.sort_by_key(|id| (std::cmp::Reverse(date(id)), *id));
                let begin = match query.before.as_deref().and_then(TalkId::parse) {
                    Some(before) => ids.iter().position(|id| *id == before).map_or(0, |n| n + 1),
                    None => 0,
                };
                let page: Vec<TalkId> = ids.into_iter().skip(begin).take(query.limit).collect();
                let views: Result<Vec<Value>, MessageError> = page
                    .iter()
                    .filter_map(|id| book.talks.get(id))
                    .map(|talk| view::talk(inner, book, talk))
                    .collect();
                Ok(json!({"conversations": views?, "requests": waiting}))
            })
        });
        Ok(Reply::ok(view.await?))
    }

    async fn history(
        &self,
        account: &AccountId,
        id: TalkId,
        query: Query,
    ) -> Result<Reply, Failure> {
        let before = query.before.as_deref().map(message_id).transpose()?;
        let view = self.messages.look(account, move |_, mailbox| {
            mailbox.look(|inner, book| {
                let talk = book.talks.get(&id);
                let talk = talk.ok_or(MessageError::Unknown("conversation"))?;
                let before = match before {
                    Some(id) => {
                        let entry = book.entries.get(&id);
                        Some(entry.ok_or(MessageError::Unknown("message"))?.order(id))
                    }
                    None => None,
                };
                let older = talk.order.iter().rev();
                let older = older.filter(|order| before.is_none_or(|before| **order < before));
                let mut views = Vec::new();
                for (_, _, _, id) in older.take(query.limit) {
                    if let Some(entry) = book.entries.get(id) {
                        views.push(view::message(inner, book, id, entry)?);
                    }
                }
                Ok(json!({"messages": views}))
            })
        });
        Ok(Reply::ok(view.await?))
    }

    async fn send(&self, account: &AccountId, send: Send) -> Result<Reply, Failure> {
        let view = self.messages.work(account, move |messages, mailbox| {
            let limits = messages.limits();
            let mut to = BTreeSet::new();
            for text in send.to.iter().take(limits.message_people + 1) {
                let (person, relays) = person(text)?;
                if !relays.is_empty() {
                    messages.set_relays(person, 0, relays);
                }
                to.insert(person);
            }
            if to.len() > limits.message_people {
                let (what, max) = ("people", limits.message_people);
                return Err(MessageError::TooMany { what, max });
            }
            let draft = mailbox.look(|_, book| draft(&send, to, book, limits.message_bytes))?;
            let copy = !mailbox.spaces().is_empty();
            mailbox.send(draft, copy, messages.now())
        });
        Ok(Reply::created(view.await?))
    }

    /// Deletes a message: the person's own for everybody in the conversation, others' for the person alone.
    async fn unsend(&self, account: &AccountId, id: EventId) -> Result<Reply, Failure> {
        let done = self.messages.work(account, move |messages, mailbox| {
            let (talk, draft) = mailbox.look(|_, book| {
                let entry = book.entries.get(&id);
                let entry = entry.ok_or(MessageError::Unknown("message"))?;
                let talk = book.talks.get(&entry.talk);
                let talk = talk.ok_or(MessageError::Unknown("conversation"))?;
                let is_own = entry.author == mailbox.person;
                let draft = is_own.then(|| Draft {
                    client: None,
                    to: others(&talk.people, mailbox),
                    kind: DELETION,
                    tags: vec![
                        vec!["e".to_owned(), id.to_hex()],
                        vec!["k".to_owned(), entry.kind.to_string()],
                    ],
                    content: String::new(),
                });
                Ok((entry.talk, draft))
            })?;
            match draft {
                Some(draft) => {
                    let copy = !mailbox.spaces().is_empty();
                    mailbox.send(draft, copy, messages.now()).map(drop)
                }
                None => mailbox.forget(&talk, Some(id)),
            }
        });
        done.await?;
        Ok(Reply::ok(json!({})))
    }

    /// Changes as they happen, until the device is logged out.
    async fn live(&self, session: &Session) -> Result<Reply, Failure> {
        let max = self.messages.limits().message_streams;
        let changes = self.messages.look(&session.account, move |_, mailbox| {
            let what = "streams";
            mailbox.listen().ok_or(MessageError::TooMany { what, max })
        });
        let changes = changes.await?;
        let (people, session) = (Arc::clone(&self.people), session.clone());
        let frames = stream::unfold((changes, true), move |(mut changes, first)| {
            let (people, session) = (Arc::clone(&people), session.clone());
            async move {
                let text = match first {
                    true => ":\n\n".to_owned(),
                    false => next_change(&mut changes, &people, &session).await?,
                };
                let frame = Frame::data(Bytes::from(text));
                Some((Ok::<_, io::Error>(frame), (changes, false)))
            }
        });
        Ok(Reply::stream(live::response(frames)))
    }
}

async fn next_change(
    changes: &mut tokio::sync::broadcast::Receiver<Change>,
    people: &People,
    session: &Session,
) -> Option<String> {
    let change = tokio::time::timeout(live::SILENCE, changes.recv()).await;
    people.accounts.by_device(&session.device)?; // logged out meanwhile
    match change {
        Err(_) => Some(":\n\n".into()),
        Ok(Err(RecvError::Closed)) => None,
        // Too much happened: the app asks for everything anew.
        Ok(Err(RecvError::Lagged(_))) => Some(live::event("again", &json!({}))),
        Ok(Ok((name, data))) => Some(live::event(name, &data)),
    }
}

fn others(people: &BTreeSet<PublicKey>, mailbox: &Mailbox) -> Vec<PublicKey> {
    let is_other = |person: &&PublicKey| **person != mailbox.person || people.len() == 1;
    people.iter().filter(is_other).copied().collect()
}

/// Which part of a list is wanted.
struct Query {
    before: Option<String>,
    limit: usize,
}

impl Query {
    fn read(query: &str) -> Self {
        let fields = forms::fields(query.as_bytes());
        let field = |name| Some(forms::field(&fields, name)).filter(|value| !value.is_empty());
        Self {
            before: field("before").map(str::to_owned),
            limit: field("limit")
                .and_then(|limit| limit.parse().ok())
                .map_or(PAGE, |limit: usize| limit.clamp(1, 2 * PAGE)),
        }
    }
}

/// Reads every body of these calls, and what is parsed out of it. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    if let Ok(send) = read::<Send>(body) {
        let to: Result<BTreeSet<_>, _> = send
            .to
            .iter()
            .take(8)
            .map(|text| person(text).map(|(person, _)| person))
            .collect();
        let book = Book::new(nostr::key::Keys::generate());
        let _ = draft(&send, to.unwrap_or_default(), &book, 16_000);
    }
    let _ = read::<ReadUpTo>(body);
    let _ = read::<ChangeTalk>(body);
    let _ = read::<ChangeSettings>(body);
    let _ = read::<JoinedSpace>(body);
    if let Ok(block) = read::<Block>(body) {
        let _ = person(&block.person);
    }
}
