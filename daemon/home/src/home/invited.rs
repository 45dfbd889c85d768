//! Invitations at the home: their page, the picture to scan, and coming in.

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::header;
use hyper::{Method, Request, Response, StatusCode};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::{Answer, Home, nonce};
use crate::forms::{self, field};
use crate::guests::Token;
use crate::http::{Body, full, html, see_other, set};
use crate::invitation::{Invitation, Refused};
use crate::page::{Viewer, invited};

/// What a person reads when an invitation did not let them in.
fn in_plain_words(refused: &Refused) -> (StatusCode, &'static str) {
    match refused {
        Refused::NotValid => (
            StatusCode::GONE,
            "This invitation is not good any more: it was used up, has run out, or was taken back. Ask whoever gave it to you for a new one.",
        ),
        Refused::Full => (
            StatusCode::CONFLICT,
            "There is no room for more people. Ask whoever invited you to make room, and try again: the invitation was not used.",
        ),
        Refused::Banned => (
            StatusCode::FORBIDDEN,
            "You cannot come in here. Ask whoever looks after the space.",
        ),
        Refused::Clock => (
            StatusCode::BAD_GATEWAY,
            "The clock of this home and that of the space differ too much. Tell who looks after this home; the invitation was not used.",
        ),
        Refused::Busy => (
            StatusCode::TOO_MANY_REQUESTS,
            "Many people come in at this moment. Try again in a minute.",
        ),
        Refused::Away => (
            StatusCode::BAD_GATEWAY,
            "The space could not be reached. Try again in a moment: the invitation stays good.",
        ),
        Refused::Other(_) => (
            StatusCode::BAD_GATEWAY,
            "The space did not let you in. Ask whoever gave you the invitation.",
        ),
    }
}

impl Home {
    /// Everything below `/i/`; `rest` is what stands behind it, as it came.
    pub(super) async fn invited(self: &Arc<Self>, rest: &str, request: Request<Body>) -> Answer {
        if rest.is_empty() {
            self.only(&request, &[Method::GET])?;
            let query = forms::fields(request.uri().query().unwrap_or_default().as_bytes());
            return match Invitation::parse(field(&query, "invitation")) {
                Some(invitation) => Ok(see_other(&invitation.path())),
                None => Err(self.no_invitation()),
            };
        }
        let (text, wants_code) = match rest.strip_suffix("/qr.svg") {
            Some(text) => (text, true),
            None => (rest, false),
        };
        let invitation = Invitation::parse(text).filter(|found| found.text() == text);
        let invitation = invitation.ok_or_else(|| self.no_invitation())?;
        if wants_code {
            self.only(&request, &[Method::GET, Method::HEAD])?;
            return self.code(&invitation, &request);
        }
        self.only(&request, &[Method::GET, Method::HEAD, Method::POST])?;
        if request.method() == Method::POST {
            return self.come_in(&invitation, request).await;
        }
        let token = forms::token(request.headers());
        self.show_invitation(&invitation, token, StatusCode::OK, None)
            .await
    }

    fn no_invitation(&self) -> Response<Body> {
        self.plain(
            StatusCode::NOT_FOUND,
            "This is no invitation",
            "Perhaps it was cut when it was copied. Ask for it once more, and paste all of it.",
        )
    }

    async fn show_invitation(
        &self,
        invitation: &Invitation,
        token: Option<Token>,
        status: StatusCode,
        said: Option<&str>,
    ) -> Answer {
        let nonce = nonce()?;
        let about = self
            .abouts
            .get(&*self.rooms.dialer, &invitation.service)
            .await;
        let (token, is_new) = match token {
            Some(token) => (token, false),
            None => (Token::random().map_err(|error| self.trouble(&error))?, true),
        };
        let guest = self.rooms.people.get(&token.id());
        let viewer = Viewer {
            name: &guest.map(|guest| guest.name).unwrap_or_default(),
            form_token: &self.form_token(&token),
        };
        let status = match &about {
            None if status == StatusCode::OK => StatusCode::BAD_GATEWAY,
            _ => status,
        };
        let page = invited::page(invitation, about.as_ref(), &viewer, said, &nonce);
        let mut response = html(status, page, &nonce);
        if is_new {
            let cookie = forms::set_cookie(Some(&token));
            set(&mut response, header::SET_COOKIE, &cookie);
        }
        Ok(response)
    }

    /// The form of the page. Sent twice it lets in once: the second finds them in already.
    async fn come_in(self: &Arc<Self>, invitation: &Invitation, request: Request<Body>) -> Answer {
        let sorry = |status, words: &str| self.plain(status, "That did not work", words);
        let stale = || {
            sorry(
                StatusCode::FORBIDDEN,
                "This page is too old, or your browser keeps no cookies. Open the invitation once more.",
            )
        };
        let (head, body) = request.into_parts();
        let token = forms::token(&head.headers).ok_or_else(stale)?;
        let body = Limited::new(body, forms::FORM_BYTES).collect().await;
        let body = body.map_err(|_| sorry(StatusCode::PAYLOAD_TOO_LARGE, "That is too long."))?;
        let fields = forms::fields(&body.to_bytes());
        if !self.is_our_form(&head.headers, &token, &fields) {
            return Err(stale());
        }
        let guest = self.guest(&token, field(&fields, "name"), sorry).await?;
        match self.joiner.join(invitation, &guest.keys, &guest.name).await {
            Ok(_) => {
                let key = guest.keys.public_key();
                self.rooms.people.wrote_in(&key, &invitation.service);
                Ok(see_other(&format!("/s/{}/", invitation.service)))
            }
            Err(refused) => {
                let (status, words) = in_plain_words(&refused);
                self.show_invitation(invitation, Some(token), status, Some(words))
                    .await
            }
        }
    }

    /// The link to the page, under the name this home was just asked by, as a picture to scan.
    fn code(&self, invitation: &Invitation, request: &Request<Body>) -> Answer {
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let link = format!("http://{host}{}", invitation.path());
        let code = QrCode::with_error_correction_level(link, EcLevel::M);
        let code = code.map_err(|_| self.no_invitation())?;
        let picture = code
            .render::<svg::Color<'_>>()
            .min_dimensions(240, 240)
            .build();
        let mut response = Response::new(full(picture));
        set(&mut response, header::CONTENT_TYPE, "image/svg+xml");
        set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(&mut response, header::CACHE_CONTROL, "no-store");
        let policy = "default-src 'none'; sandbox";
        set(&mut response, header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    }
}
