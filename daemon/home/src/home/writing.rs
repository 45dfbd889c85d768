//! What people write on a page: its forms, the guest who sends one, and the message on its way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt, Limited};
use hyper::header::HeaderMap;
use hyper::{Request, Response, StatusCode};
use nostr::event::EventId;

use super::{Answer, Home};
use crate::client::signed;
use crate::dialer::ServiceName;
use crate::forms::{self, Sender, field};
use crate::guests::{Guest, GuestError, NAME_CHARS, Token, clean_name};
use crate::http::{Body, see_other, text};
use crate::link::CHANNEL;
use crate::page::TEXT_CHARS;
use crate::room::{Delivery, Room};

/// How long a form waits to see whether its message arrived.
const PATIENCE: Duration = Duration::from_millis(1500);

impl Home {
    /// What a form of this browser must repeat: another page cannot know it.
    pub(super) fn form_token(&self, token: &Token) -> String {
        HEXLOWER.encode(
            &blake3::keyed_hash(&self.form_secret, token.reveal().as_bytes()).as_bytes()[..16],
        )
    }

    /// Whether a form comes from a page of this home. Two first tabs opened at once get a token each, and the browser keeps
    /// one: then the other's form has the wrong one. Where the browser names its origin that does not matter.
    pub(super) fn is_our_form(
        &self,
        headers: &HeaderMap,
        token: &Token,
        fields: &[(String, String)],
    ) -> bool {
        match forms::sender(headers) {
            Sender::ThisHome => true,
            Sender::Another => false,
            // Compared by hash, so that the time it takes tells nothing.
            Sender::Unsaid => {
                let expected = self.form_token(token);
                blake3::hash(expected.as_bytes()) == blake3::hash(field(fields, "token").as_bytes())
            }
        }
    }

    pub(super) async fn form(
        &self,
        service: &ServiceName,
        action: &str,
        request: Request<Body>,
    ) -> Answer {
        let by_script = request.headers().contains_key("x-page");
        let sorry = |status, words: &str| {
            if by_script {
                text(status, words)
            } else {
                self.plain(status, "That did not work", words)
            }
        };
        let stale = || {
            sorry(
                StatusCode::FORBIDDEN,
                "This page is too old, or your browser keeps no cookies. Load the page again and write once more.",
            )
        };
        let (head, body) = request.into_parts();
        let token = forms::token(&head.headers).ok_or_else(stale)?;
        let body = Limited::new(body, forms::FORM_BYTES)
            .collect()
            .await
            .map_err(|_| sorry(StatusCode::PAYLOAD_TOO_LARGE, "That is too long."))?;
        let fields = forms::fields(&body.to_bytes());
        if !self.is_our_form(&head.headers, &token, &fields) {
            return Err(stale());
        }
        let room = self.enter(service)?;
        if action == "send" {
            if self.listing(service).is_none() && !room.is_found() {
                return Err(sorry(
                    StatusCode::NOT_FOUND,
                    "Nobody in reach knows this space, so nothing was sent. Check its address, or try again when it is found.",
                ));
            }
            let guest = self.guest(&token, field(&fields, "name"), sorry).await?;
            let words = field(&fields, "text").replace("\r\n", "\n");
            let words = words.trim();
            if words.is_empty() || words.chars().count() > TEXT_CHARS {
                return Err(sorry(
                    StatusCode::BAD_REQUEST,
                    "Write something, but not more than 4000 letters.",
                ));
            }
            self.write(service, &room, &guest, words, sorry).await?;
        } else if let Ok(id) = EventId::from_hex(field(&fields, "id"))
            && let Some(unsent) = room.take_back(&id, &token.id())
        {
            self.rooms.shelf.tidy(service, room.unsent()).await;
            if action == "again"
                && let Some(guest) = self.rooms.people.get(&unsent.guest)
            {
                self.write(service, &room, &guest, &unsent.event.content, sorry)
                    .await?;
            }
        }
        Ok(if by_script {
            text(StatusCode::OK, "")
        } else {
            see_other(&format!("/s/{service}/"))
        })
    }

    pub(super) async fn guest(
        &self,
        token: &Token,
        name: &str,
        sorry: impl Fn(StatusCode, &str) -> Response<Body>,
    ) -> Result<Guest, Response<Body>> {
        let refuse = |words| sorry(StatusCode::BAD_REQUEST, words);
        let name = clean_name(name).ok_or_else(|| refuse("Tell people your name first."))?;
        if name.chars().count() > NAME_CHARS {
            return Err(refuse("A name has at most 40 letters."));
        }
        if let Some(guest) = self
            .rooms
            .people
            .get(&token.id())
            .filter(|guest| guest.name == name)
        {
            return Ok(guest);
        }
        let (guests, token, now) = (
            Arc::clone(&self.rooms.people),
            token.clone(),
            (self.clock)(),
        );
        match tokio::task::spawn_blocking(move || guests.enter(&token, &name, now)).await {
            Ok(Ok(guest)) => Ok(guest),
            Ok(Err(GuestError::TooMany)) => Err(sorry(
                StatusCode::TOO_MANY_REQUESTS,
                "Many people come in at this moment. Try again in a minute.",
            )),
            Ok(Err(GuestError::KeyElsewhere)) => Err(sorry(
                StatusCode::FORBIDDEN,
                "This account writes with its own app. Open the space there.",
            )),
            Ok(Err(GuestError::Home(error))) => Err(self.trouble(&error)),
            Err(error) => {
                log::error!("an account could not be made: {error}");
                Err(sorry(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "This home is in trouble. Try again later.",
                ))
            }
        }
    }

    /// Hands a message to the room and waits a moment to see whether it arrives.
    async fn write(
        &self,
        service: &ServiceName,
        room: &Arc<Room>,
        guest: &Guest,
        words: &str,
        sorry: impl Fn(StatusCode, &str) -> Response<Body>,
    ) -> Result<(), Response<Body>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ms = now.map_or(0, |now| now.subsec_millis()).to_string();
        let tags: [&[&str]; 2] = [&["h", CHANNEL], &["ms", &ms]];
        let event = signed(&guest.keys, 9, (self.clock)(), &tags, words).map_err(|error| {
            log::error!("a message could not be signed: {error}");
            sorry(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This home is in trouble. Try again later.",
            )
        })?;
        let id = event.id;
        let mut changes = room.watch();
        if !room.keep(guest.id.clone(), event) {
            return Err(sorry(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many messages wait to be sent. Try again when the space is reached.",
            ));
        }
        let settled = async {
            while room.delivery(&id) == Some(Delivery::Pending) {
                if matches!(
                    changes.recv().await,
                    Err(tokio::sync::broadcast::error::RecvError::Closed)
                ) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, settled).await;
        if room.delivery(&id).is_some() {
            self.rooms.shelf.keep(service, room.unsent()).await;
        }
        Ok(())
    }
}
