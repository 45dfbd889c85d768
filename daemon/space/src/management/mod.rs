//! Management of the space over HTTP (NIP-86): who may call what, and where the calls are. Every change is written down
//! as an act of the space, in the same batch as its answer.

mod authorization;
mod emoji;
mod events;
mod invites;
mod parameters;
mod people;
mod roles;
mod settings;
mod webhooks;

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use nostr::key::PublicKey;
use serde_json::{Value, json};

pub use authorization::UsedProofs;

use crate::answer::{Body, full};
use crate::core::Core;
use crate::groups::Channel;
use crate::groups::permissions::Permission;
use crate::groups::roles::{MEMBER_ORDER, Standing};
use crate::groups::rules::{Refusal, not_allowed, not_silenced};
use crate::ingest::{Act, Batch, Pace, Stop};
use crate::pipeline::Pipeline;
use crate::record::ChannelId;

/// The type of a call's body.
pub const CONTENT_TYPE: &str = "application/nostr+json+rpc";
/// Seconds in which the body must have come.
const BODY: Duration = Duration::from_secs(15);

/// What came of a call.
pub type Outcome = Result<Value, Refusal>;

/// One call, on its way to the thread that writes.
#[derive(Debug)]
pub struct Call {
    by: PublicKey,
    request: CallRequest,
}

/// What a call says.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct CallRequest {
    /// Its name.
    pub method: String,
    /// What it is about.
    #[serde(default)]
    pub params: Vec<Value>,
}

/// A call that is being answered.
struct Context<'a> {
    by: PublicKey,
    standing: Standing,
    params: &'a [Value],
    batch: &'a mut Batch,
    core: &'a Core,
}

/// One method.
struct Method {
    name: &'static str,
    /// What its caller must be allowed in the space; `None`: the method looks itself, because it is about a channel.
    needs: Option<Permission>,
    run: fn(&mut Context<'_>) -> Result<Value, Stop>,
}

const fn method(
    name: &'static str,
    needs: Permission,
    run: fn(&mut Context<'_>) -> Result<Value, Stop>,
) -> Method {
    Method {
        name,
        needs: Some(needs),
        run,
    }
}

const fn anywhere(name: &'static str, run: fn(&mut Context<'_>) -> Result<Value, Stop>) -> Method {
    Method {
        name,
        needs: None,
        run,
    }
}

const METHODS: &[Method] = &[
    anywhere("supportedmethods", supported),
    method("banpubkey", Permission::Ban, people::ban),
    method("unbanpubkey", Permission::Ban, people::unban),
    method("listbannedpubkeys", Permission::Ban, people::list_banned),
    method("allowpubkey", Permission::Invite, people::allow),
    method("unallowpubkey", Permission::Kick, people::unallow),
    method(
        "listallowedpubkeys",
        Permission::Invite,
        people::list_allowed,
    ),
    method("timeout", Permission::TimeOut, people::time_out),
    method("listtimeouts", Permission::TimeOut, people::list_timeouts),
    method("createrole", Permission::ManageRoles, roles::create),
    method("editrole", Permission::ManageRoles, roles::edit),
    method("deleterole", Permission::ManageRoles, roles::delete),
    method("listroles", Permission::ManageRoles, roles::list),
    method("assignrole", Permission::ManageRoles, roles::assign),
    method("unassignrole", Permission::ManageRoles, roles::unassign),
    anywhere("setoverride", roles::set_override),
    anywhere("listoverrides", roles::list_overrides),
    anywhere("createinvite", invites::create),
    anywhere("listinvites", invites::list),
    anywhere("revokeinvite", invites::revoke),
    anywhere("listeventsneedingmoderation", events::list_reported),
    anywhere("allowevent", events::allow),
    anywhere("banevent", events::ban),
    method("unbanevent", Permission::DeleteMessages, events::unban),
    method(
        "listbannedevents",
        Permission::DeleteMessages,
        events::list_banned,
    ),
    anywhere("audit", events::audit),
    method("changerelayname", Permission::ManageSpace, settings::name),
    method(
        "changerelaydescription",
        Permission::ManageSpace,
        settings::description,
    ),
    method("changerelayicon", Permission::ManageSpace, settings::icon),
    method("setfilters", Permission::ManageSpace, settings::set_filters),
    method("getfilters", Permission::ManageSpace, settings::get_filters),
    method("setaccess", Permission::ManageSpace, settings::set_access),
    method(
        "setdefaultchannels",
        Permission::ManageChannels,
        settings::set_defaults,
    ),
    anywhere("slowmode", settings::slow_mode),
    anywhere("createwebhook", webhooks::create),
    anywhere("listwebhooks", webhooks::list),
    anywhere("revokewebhook", webhooks::revoke),
    method("addemoji", Permission::ManageEmoji, emoji::add),
    method("removeemoji", Permission::ManageEmoji, emoji::remove),
    method("listemoji", Permission::ManageEmoji, emoji::list),
];

/// Methods that change nothing: also who may not write for a time may call them.
const READING: [&str; 11] = [
    "supportedmethods",
    "listbannedpubkeys",
    "listallowedpubkeys",
    "listtimeouts",
    "listroles",
    "listoverrides",
    "listinvites",
    "listeventsneedingmoderation",
    "listbannedevents",
    "audit",
    "getfilters",
];

fn supported(context: &mut Context<'_>) -> Result<Value, Stop> {
    let may = |method: &&Method| match method.needs {
        Some(needed) => context.standing.permissions.has(needed),
        None => true,
    };
    let names: Vec<&str> = METHODS
        .iter()
        .filter(may)
        .map(|method| method.name)
        .collect();
    Ok(json!(names))
}

impl Call {
    /// A call by the space itself, for whoever hosts it.
    pub fn of_host(core: &Core, method: &str, params: Vec<Value>) -> Self {
        Self {
            by: core.keys.public_key(),
            request: CallRequest {
                method: method.to_owned(),
                params,
            },
        }
    }

    /// Does it. Only the thread that writes calls this.
    pub fn run(self, batch: &mut Batch, core: &Core, pace: &mut Pace) -> Outcome {
        let standing = batch.groups.standing(&core.authority, &self.by);
        if !standing.belongs {
            return Err(not_allowed());
        }
        if !pace.people.take(&self.by, std::time::Instant::now()) {
            return Err("rate-limited: too many calls; wait a moment".into());
        }
        let known = METHODS
            .iter()
            .find(|method| method.name == self.request.method);
        let Some(method) = known else {
            return Err("unsupported: this space does not know this method".into());
        };
        if method
            .needs
            .is_some_and(|needed| !standing.permissions.has(needed))
        {
            return Err(not_allowed());
        }
        if !READING.contains(&method.name) {
            not_silenced(&batch.groups, &self.by, core.now())?;
        }
        let mut context = Context {
            by: self.by,
            standing,
            params: &self.request.params,
            batch,
            core,
        };
        (method.run)(&mut context).map_err(Stop::reason)
    }
}

impl Context<'_> {
    fn act(&self, name: &str) -> Act {
        Act::new(name, &self.by)
    }

    fn write(&mut self, act: Act, channel: Option<&ChannelId>) -> Result<Value, Stop> {
        self.batch.act(act, channel, self.core)?;
        Ok(json!(true))
    }
}

/// Answers one request.
pub async fn respond(
    core: &Core,
    pipeline: &Pipeline,
    request: Request<Incoming>,
) -> Response<Body> {
    let limit = core.config.limits.call_bytes;
    let header = request.headers().get(header::AUTHORIZATION);
    let proof = header
        .and_then(|header| header.to_str().ok())
        .and_then(authorization::parse);
    let Some(proof) = proof else {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "auth-required: the Authorization header must carry a proof of identity (NIP-98)",
        );
    };
    let body = tokio::time::timeout(BODY, Limited::new(request.into_body(), limit).collect()).await;
    let Ok(Ok(body)) = body else {
        let reason = format!("invalid: a call has at most {limit} bytes, which come at once");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &reason);
    };
    let body = body.to_bytes();
    let by = proof.pubkey;
    let checked = pipeline.read(move |core| {
        let (now, window) = (core.now(), core.config.limits.http_auth_seconds);
        authorization::check(&proof, "POST", &body, &core.config.service, now, window)?;
        let request = parse(&body);
        let groups = core.groups();
        let standing = groups.standing(&core.authority, &by);
        if standing.belongs {
            let has_roles = |channel: &Channel| {
                let roles = channel.members.get(&by);
                roles.is_some_and(|roles| !roles.0.is_empty())
            };
            let has_a_say = standing.order < MEMBER_ORDER
                || groups.iter().any(|(_, channel)| has_roles(channel));
            core.used_proofs.take(&proof, has_a_say, now, window)?;
        }
        Ok::<_, &'static str>(request)
    });
    let closing = "error: the space is closing";
    let request = match checked.await {
        None => return refuse(StatusCode::SERVICE_UNAVAILABLE, closing),
        Some(Err(reason)) => {
            return refuse(
                StatusCode::UNAUTHORIZED,
                &format!("auth-required: {reason}"),
            );
        }
        Some(Ok(None)) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "invalid: a call is a JSON object with `method` and `params`",
            );
        }
        Some(Ok(Some(request))) => request,
    };
    match pipeline.manage(Call { by, request }).await {
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, closing),
        Some(Ok(result)) => answer(StatusCode::OK, &json!({ "result": result })),
        Some(Err(reason)) => refuse(StatusCode::OK, &reason),
    }
}

/// Reads a call.
pub fn parse(body: &[u8]) -> Option<CallRequest> {
    serde_json::from_slice(body).ok()
}

/// Everything of a call that strangers write, for the fuzzer.
pub fn read_all(bytes: &[u8]) {
    let _ = parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = authorization::parse(text);
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response<Body> {
    answer(status, &json!({ "error": reason }))
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/nostr+json+rpc"),
    );
    response
}
