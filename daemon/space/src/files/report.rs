//! PUT `/report`: a complaint about a file (BUD-09, an event of NIP-56). GET `/report`, our own: the complaints about
//! files where the asker moderates.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use nostr::event::Event;

use super::auth::{AuthError, Verb};
use super::blobs::{FileHash, Report};
use super::policy::{self, Looker};
use super::refusal::Refusal;
use super::{blocking, routes};
use crate::answer::{Body, text};
use crate::core::Core;
use crate::record::tag_values;

/// The kind of a report (NIP-56).
const KIND: u16 = 1984;
/// Bytes of a report.
const REPORT_BYTES: usize = 16 * 1024;
/// Files that one report names.
const FILES: usize = 20;

/// Takes a report. The signed event says who complains. It is kept where the reporter may see the file; the answer is the
/// same where not.
pub async fn put(core: &Arc<Core>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let stall = Duration::from_secs(core.files.limits.stall_seconds);
    let body = Limited::new(request.into_body(), REPORT_BYTES).collect();
    let body = tokio::time::timeout(stall, body)
        .await
        .map_err(|_| Refusal::Stalled)?
        .map_err(|_| Refusal::Invalid("the body is too long"))?
        .to_bytes();
    blocking(core, move |core| {
        let event: Event = serde_json::from_slice(&body)
            .map_err(|_| Refusal::Invalid("the body is not a signed event"))?;
        if event.kind.as_u16() != KIND {
            return Err(Refusal::Invalid("a report has kind 1984"));
        }
        let files: Vec<FileHash> = tag_values(&event, "x")
            .filter_map(FileHash::parse)
            .collect();
        if files.is_empty() || files.len() > FILES {
            return Err(Refusal::Invalid("a report names 1 to 20 files in x tags"));
        }
        let limits = &core.config.limits;
        let age = event.created_at.as_secs().abs_diff(core.now());
        if age > limits.past_seconds {
            return Err(Refusal::Invalid("the date is too far from the time here"));
        }
        let _gate = core
            .files
            .gate
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let groups = core.groups();
        if policy::standing(core, &groups, &event.pubkey).is_none() {
            return Err(Refusal::NotMember);
        }
        policy::not_silenced(core, &groups, &event.pubkey)?;
        core.files.take_change(&event.pubkey)?;
        if !event.verify_id() || !event.verify_signature() {
            return Err(AuthError::Signature.into());
        }
        let json = serde_json::to_string(&event).map_err(|_| Refusal::Trouble)?;
        let looker = Looker::person(core, event.pubkey);
        for hash in files {
            let rights = core.files.blobs.rights(&hash)?;
            if !rights.iter().any(|right| looker.may_see(right)) {
                continue;
            }
            let report = Report {
                hash,
                event_id: *event.id.as_bytes(),
                reporter: event.pubkey,
                event: json.clone(),
            };
            let limits = &core.files.limits;
            core.files
                .blobs
                .report(&report, limits.person_reports, limits.reports)?;
        }
        Ok(text(StatusCode::OK, "Thank you.\n"))
    })
    .await
}

/// The reports about files in channels that the asker moderates, newest first: `[{"sha256", "report"}]`.
pub async fn get(core: &Arc<Core>, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let headers = headers.clone();
    blocking(core, move |core| {
        let token = routes::must_token(core, &headers, Verb::List)?;
        if !token.is_for_here {
            return Err(AuthError::Server.into());
        }
        let groups = core.groups();
        let moderates_any = policy::standing(core, &groups, &token.person)
            >= Some(policy::Rank::Moderator)
            || groups.iter().any(|(_, channel)| {
                policy::standing_in(core, &groups, channel, &token.person)
                    >= Some(policy::Rank::Moderator)
            });
        if !moderates_any {
            return Err(Refusal::NotModerator);
        }
        let mut list = Vec::new();
        for report in core.files.blobs.reports()? {
            let rights = core.files.blobs.rights(&report.hash)?;
            let moderates = rights.iter().any(|right| {
                // Not who uploaded it, unless they moderate there as well.
                let rank = match &right.channel {
                    None => policy::standing(core, &groups, &token.person),
                    Some(id) => groups.get(id).and_then(|channel| {
                        policy::standing_in(core, &groups, channel, &token.person)
                    }),
                };
                rank >= Some(policy::Rank::Moderator)
            });
            if moderates {
                let event: serde_json::Value =
                    serde_json::from_str(&report.event).map_err(|_| Refusal::Trouble)?;
                list.push(serde_json::json!({"sha256": report.hash.to_string(), "report": event}));
            }
        }
        Ok(routes::json_answer(StatusCode::OK, &list.into()))
    })
    .await
}
