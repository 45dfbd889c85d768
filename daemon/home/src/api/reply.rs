//! Answers of the interface.

use hyper::header;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::accounts::LoggedIn;
use crate::accounts::error::AccountError;
use crate::forms;
use crate::guests::Token;
use crate::http::{Body, set, text};
use crate::messages::error::MessageError;

/// What a browser does with its cookie.
enum Cookie {
    Keep,
    Set(Token),
    Clear,
}

/// An answer.
pub struct Reply {
    status: u16,
    body: Value,
    cookie: Cookie,
    stream: Option<Response<Body>>,
}

impl Reply {
    /// Done.
    pub fn ok(body: Value) -> Self {
        Self {
            status: 200,
            body,
            cookie: Cookie::Keep,
            stream: None,
        }
    }

    /// Something was made.
    pub fn created(body: Value) -> Self {
        Self {
            status: 201,
            ..Self::ok(body)
        }
    }

    /// A stream instead of one answer.
    pub fn stream(response: Response<Body>) -> Self {
        Self {
            stream: Some(response),
            ..Self::ok(Value::Null)
        }
    }

    /// Done, and the browser is logged out.
    pub fn logged_out() -> Self {
        Self {
            cookie: Cookie::Clear,
            ..Self::ok(json!({}))
        }
    }

    /// Somebody is logged in. The token goes into a browser's cookie, or to a program in the answer.
    pub fn logged_in(status: u16, done: LoggedIn, bearer: bool, account: Value) -> Self {
        let mut body = json!({"account": account, "device": done.session.device.as_str()});
        let cookie = if bearer {
            body["token"] = done.token.reveal().into();
            Cookie::Keep
        } else {
            Cookie::Set(done.token)
        };
        Self {
            status,
            cookie,
            ..Self::ok(body)
        }
    }

    /// As HTTP has it.
    pub fn into_response(self) -> Response<Body> {
        if let Some(stream) = self.stream {
            return stream;
        }
        let mut response = json_response(self.status, &self.body);
        let cookie = match &self.cookie {
            Cookie::Keep => return response,
            Cookie::Set(token) => forms::set_cookie(Some(token)),
            Cookie::Clear => forms::set_cookie(None),
        };
        set(&mut response, header::SET_COOKIE, &cookie);
        response
    }
}

/// A refusal: `{"error": {"code": word, "args": {}}}`.
#[derive(Debug)]
pub struct Failure {
    status: u16,
    code: &'static str,
    args: Value,
}

impl Failure {
    /// One of its own.
    pub fn new(status: u16, code: &'static str, args: Value) -> Self {
        Self { status, code, args }
    }

    /// As HTTP has it.
    pub fn into_response(self) -> Response<Body> {
        let body = json!({"error": {"code": self.code, "args": self.args}});
        let mut response = json_response(self.status, &body);
        if let Some(seconds) = self.args["seconds"].as_u64() {
            set(&mut response, header::RETRY_AFTER, &seconds.to_string());
        }
        response
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        if matches!(error, AccountError::Home(_) | AccountError::Broken(_)) {
            log::error!("{error}");
        }
        let (status, code, args) = error.parts();
        Self { status, code, args }
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        if matches!(error, MessageError::Disk(_) | MessageError::Broken(_)) {
            log::error!("{error}");
        }
        let (status, code, args) = error.parts();
        Self { status, code, args }
    }
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = text(status, &body.to_string());
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}
