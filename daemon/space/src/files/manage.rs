//! DELETE of a file, and the list of what somebody uploaded (BUD-12).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use nostr::key::PublicKey;

use super::auth::Verb;
use super::blobs::{FileHash, Right};
use super::policy::{self, Looker};
use super::refusal::Refusal;
use super::{blocking, routes};
use crate::answer::{Body, text};
use crate::core::Core;
use crate::ingest::Act;
use crate::pipeline::Pipeline;
use crate::record::ChannelId;

/// People that one line of the log names.
const PEOPLE: usize = 200;

/// Deletes what the asker may delete of a file: their own uploads, and others' where they moderate; with an `h` tag, in
/// that channel only. What goes of others is in the log before it goes. The bytes go with the last upload of them.
pub async fn delete(
    core: &Arc<Core>,
    pipeline: &Pipeline,
    hash: FileHash,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let headers = headers.clone();
    let (person, rights) = blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::Delete)?;
        token.covers(&hash)?;
        core.files.take_change(&token.person)?;
        let groups = core.groups();
        let mut rights = Vec::new();
        core.files.blobs.remove(&hash, &mut |right| {
            if (token.channel.is_none() || token.channel == right.channel)
                && policy::may_delete(core, &groups, &token.person, right)
            {
                rights.push(right.clone());
            }
            false
        })?;
        Ok((token.person, rights))
    })
    .await?;
    let mut others: BTreeMap<Option<ChannelId>, Vec<PublicKey>> = BTreeMap::new();
    for right in rights.iter().filter(|right| right.uploader != person) {
        let people = others.entry(right.channel.clone()).or_default();
        people.push(right.uploader);
    }
    for (channel, people) in others {
        for people in people.chunks(PEOPLE) {
            let act = Act::new("delete-file", &person).with("x", &hash.to_string());
            let act = people
                .iter()
                .fold(act, |act, person| act.with("p", &person.to_hex()));
            let noted = pipeline.note(act, channel.clone()).await;
            if !matches!(noted, Some(Ok(_))) {
                return Err(Refusal::Trouble);
            }
        }
    }
    blocking(core, move |core| {
        let groups = core.groups();
        let removed = core.files.blobs.remove(&hash, &mut |right| {
            let is_same =
                |found: &Right| found.uploader == right.uploader && found.channel == right.channel;
            rights.iter().any(is_same) && policy::may_delete(core, &groups, &person, right)
        })?;
        match removed {
            0 => Err(Refusal::NotFound),
            _ => Ok(text(StatusCode::NO_CONTENT, "")),
        }
    })
    .await
}

/// What a question for a list asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Question {
    cursor: Option<FileHash>,
    limit: Option<usize>,
    since: Option<u64>,
    until: Option<u64>,
}

/// Reads the query of an address; `None` when a value is not what its name wants.
pub fn question(query: &str) -> Option<Question> {
    let mut question = Question::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        match name {
            "cursor" => question.cursor = Some(FileHash::parse(value)?),
            "limit" => question.limit = Some(value.parse().ok()?),
            "since" => question.since = Some(value.parse().ok()?),
            "until" => question.until = Some(value.parse().ok()?),
            _ => {}
        }
    }
    Some(question)
}

/// What somebody uploaded, as far as the asker may see it; newest first.
pub async fn list(
    core: &Arc<Core>,
    person: &str,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let person = PublicKey::from_hex(person)
        .map_err(|_| Refusal::Invalid("the path must end in a public key as hex"))?;
    let question = question(request.uri().query().unwrap_or_default()).ok_or(Refusal::Invalid(
        "cursor is a hash; limit, since and until are numbers",
    ))?;
    let headers = request.headers().clone();
    blocking(core, move |core| {
        let token = routes::token(core, &headers, Verb::List)?;
        let most = core.files.limits.list_files;
        let limit = question.limit.unwrap_or(most).min(most);
        let _gate = core
            .files
            .gate
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let looker = Looker::new(core, token.as_ref());
        let mut given = HashSet::new();
        let mut is_behind_cursor = question.cursor.is_none();
        let mut list = Vec::new();
        core.files.blobs.uploaded_by(&person, &mut |right| {
            if list.len() >= limit {
                return false;
            }
            let in_time = question.since.is_none_or(|since| right.uploaded >= since)
                && question.until.is_none_or(|until| right.uploaded <= until);
            if in_time && looker.may_see(&right) && given.insert(right.hash) {
                if is_behind_cursor {
                    list.push(routes::descriptor(core, &right));
                }
                is_behind_cursor |= question.cursor == Some(right.hash);
            }
            true
        })?;
        Ok(routes::json_answer(StatusCode::OK, &list.into()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_a_list_is_read() {
        let hash = "a".repeat(64);
        let read = question(&format!("cursor={hash}&limit=5&x=y&&since=1&until=2")).unwrap();
        assert_eq!(read.cursor, FileHash::parse(&hash));
        assert_eq!(
            (read.limit, read.since, read.until),
            (Some(5), Some(1), Some(2))
        );
        assert_eq!(question(""), Some(Question::default()));
        for wrong in ["cursor=x", "limit=-1", "limit", "since=now"] {
            assert_eq!(question(wrong), None, "{wrong}");
        }
    }
}
