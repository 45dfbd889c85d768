//! The home as the daemon sees it, and the table of its routes.
//!
//! | method and path | answer |
//! |---|---|
//! | GET `/` | the spaces of the island |
//! | GET `/s/<service>/` | the page of a space; for a program (WebSocket, NIP-11) the space itself |
//! | GET `/s/<service>/live` | changes of that page as server-sent events |
//! | POST `/s/<service>/send` | writes a message (`name`, `text`, `token`) |
//! | POST `/s/<service>/again`, `/forget` | sends a message that failed once more, or removes it (`id`, `token`) |
//! | GET `/s/<service>/picture` | the picture that a space has of itself |
//! | any `/s/<service>/...` of a site | the site, as a page of nobody |
//! | GET, POST `/i/<service>/<code>`; GET `/i/<service>/<code>/qr.svg` | an invitation (`name`, `token`), also as a picture to scan |
//! | GET `/i/?invitation=TEXT` | sends on to the page of an invitation |
//! | GET `/channel` | the key of the encrypted channel; as a WebSocket the channel itself |
//! | any `/s/<service>/` with `<sha256>[.ext]`, `upload`, `list/..`, `mirror`, `report` | the space's files (Blossom) |
//! | any `/api/1/...`, `/.well-known/nostr.json`, `/signer` | accounts, NIP-05, NIP-46: see `api` |
//! | any, Host `<service>.localhost` | the space itself, for programs |

// The error of a handler is the answer to give instead. It is made once per request and moved once: a box would buy
// nothing.
#![allow(clippy::result_large_err)]

mod figures;
mod invited;
mod site;

pub use figures::HomeFigures;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use nostr::event::EventId;
use nostr::key::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::abouts::Abouts;
use crate::accounts::Accounts;
use crate::api::{self, Api};
use crate::channel::{self, ChannelKey};
use crate::client::signed;
use crate::config::{Clock, HomeConfig};
use crate::dialer::{BoxFuture, Dialer, ServiceKind, ServiceListing, ServiceName};
use crate::error::HomeError;
use crate::feed::Feed;
use crate::forms::{self, Sender, field};
use crate::guests::{Guest, GuestError, Guests, NAME_CHARS, Token, clean_name};
use crate::hosts::{Site, site};
use crate::http::{Body, html, see_other, set, text};
use crate::invitation::Joiner;
use crate::link::CHANNEL;
use crate::live::{self, Watcher};
use crate::messages::Messages;
use crate::page::{self, TEXT_CHARS, Viewer};
use crate::people::People;
use crate::proxy;
use crate::room::{Delivery, Room};
use crate::rooms::Rooms;
use crate::shelf::Shelf;

/// How long a form waits to see whether its message arrived.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Seconds in which a browser must have sent its request.
const REQUEST_SECONDS: u64 = 15;

/// One open home.
pub struct Home {
    config: HomeConfig,
    rooms: Rooms,
    api: Api,
    feed: Arc<Feed>,
    abouts: Abouts,
    joiner: Arc<Joiner>,
    messages: Arc<Messages>,
    clock: Clock,
    channel_key: Arc<ChannelKey>,
    /// Makes the forms of one run of this home different from those of others.
    form_secret: [u8; 32],
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

type Answer = Result<Response<Body>, Response<Body>>;

impl Home {
    /// Opens the home in `config.dir`, or makes a new one there. Blocks while files are read; needs no runtime.
    pub fn open(
        config: HomeConfig,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
    ) -> Result<Arc<Self>, HomeError> {
        let limits = &config.limits;
        let guests = Guests::open(config.dir.join("guests"), limits.guests, limits.guest_days)?;
        let accounts = Accounts::open(
            config.dir.join("accounts"),
            limits.clone(),
            Arc::clone(&clock),
        )?;
        let people = Arc::new(People::new(guests, accounts)?);
        let shelf = Arc::new(Shelf::open(config.dir.join("unsent"))?);
        let channel_key = Arc::new(ChannelKey::open(&config.dir.join("channel.key"))?);
        let mut form_secret = [0; 32];
        getrandom::fill(&mut form_secret).map_err(|error| HomeError::Random(error.to_string()))?;
        let feed = Arc::new(Feed::open(
            &config.dir,
            config.relay.clone(),
            Arc::clone(&people),
            Arc::clone(&dialer),
            config.limits.feed.clone(),
            Arc::clone(&clock),
        )?);
        let joiner = Joiner::new(
            Arc::clone(&dialer),
            config.limits.joining,
            Arc::clone(&clock),
        );
        let joiner = Arc::new(joiner);
        let messages = Messages::open(
            &config,
            Arc::clone(&people),
            Arc::clone(&dialer),
            Arc::clone(&clock),
        )?;
        let messages = Arc::new(messages);
        let rooms = Rooms::new(dialer, Arc::clone(&people), shelf, Arc::clone(&clock));
        Ok(Arc::new(Self {
            config,
            rooms,
            api: Api::new(
                people,
                Arc::clone(&messages),
                Arc::clone(&feed),
                Arc::clone(&joiner),
            ),
            messages,
            feed,
            abouts: Abouts::default(),
            joiner,
            clock,
            channel_key,
            form_secret,
        }))
    }

    /// Sends what was still unsent at the last stop, and begins to collect people's messages. Called once, in a runtime.
    pub fn resume(&self) {
        self.rooms.resume();
        self.messages.start();
        self.feed.resume();
    }

    /// Whether somebody has an account here.
    pub fn lives_here(&self, person: &PublicKey) -> bool {
        self.rooms.people.accounts.lives_here(person)
    }

    /// Whether it is the key by which the home proves itself to its own relay.
    pub fn is_own_key(&self, key: &PublicKey) -> bool {
        self.feed.is_own_key(key)
    }

    /// Whom a name of NIP-05 belongs to, if that person wants to be found.
    pub fn named(&self, handle: &str) -> Option<PublicKey> {
        let account = self.rooms.people.accounts.by_handle(handle)?;
        Some(account.public_key)
    }

    /// Bytes that the feed holds of what people of other homes wrote.
    pub fn feed_bytes(&self) -> u64 {
        self.feed.cache_bytes()
    }

    /// Serves one HTTP/1.1 connection until it ends.
    pub async fn serve<IO>(self: Arc<Self>, io: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_from(io, None).await;
    }

    /// As [`Self::serve`], for a connection from this address: how often somebody may try a passphrase is counted by
    /// it. Connections without one count as one source.
    pub async fn serve_from<IO>(self: Arc<Self>, io: IO, source: Option<IpAddr>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let home = Arc::clone(&self);
            let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
            async move { Ok::<_, Infallible>(home.respond(request, source).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(REQUEST_SECONDS))
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            log::debug!("a connection to the home ended: {error}");
        }
    }

    /// Ends all connections to spaces.
    pub fn close(&self) {
        self.rooms.close();
        self.feed.close();
        self.messages.close();
    }

    async fn respond(
        self: &Arc<Self>,
        request: Request<Body>,
        source: Option<IpAddr>,
    ) -> Response<Body> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts
            .next()
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if hosts.next().is_some() {
            // RFC 9112, 3.2.
            return text(StatusCode::BAD_REQUEST, "Two Host headers.\n");
        }
        match site(host, &self.config.host_names) {
            None => text(StatusCode::NOT_FOUND, "There is nothing here.\n"),
            Some(Site::Space(service)) => {
                let path = proxy::path(request.uri(), "");
                proxy::fence(proxy::pass(&*self.rooms.dialer, &service, path, request).await)
            }
            Some(Site::Home) if request.uri().path() == "/channel" => {
                match self.only(&request, &[Method::GET]) {
                    Ok(()) => channel::door(&self.channel_key, Arc::clone(self), request, source),
                    Err(response) => response,
                }
            }
            Some(Site::Home) if api::is_for_api(request.uri().path()) => {
                self.api.respond(request, source).await
            }
            Some(Site::Home) => {
                if let Some(token) = forms::token(request.headers()) {
                    self.rooms.people.present(&token); // opens an account that a restart sealed
                }
                match self.route(request).await {
                    Ok(response) | Err(response) => response,
                }
            }
        }
    }

    async fn route(self: &Arc<Self>, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        if path == "/" {
            return self
                .only(&request, &[Method::GET, Method::HEAD])
                .and_then(|()| self.spaces());
        }
        if let Some(rest) = path.strip_prefix("/i/") {
            return self.invited(rest, request).await;
        }
        let Some((name, rest)) = path
            .strip_prefix("/s/")
            .and_then(|rest| rest.split_once('/').or(Some((rest, "no slash"))))
        else {
            return Err(self.nothing_here());
        };
        let Some(service) = ServiceName::parse(name) else {
            return Err(self.nothing_here());
        };
        let listing = self.listing(&service);
        if listing.is_some_and(|listing| listing.kind == ServiceKind::Site) {
            return self.site(&service, &format!("/s/{name}"), request).await;
        }
        if matches!(rest, "" | "no slash") && proxy::is_for_program(request.headers()) {
            let root = Uri::from_static("/");
            let answer = proxy::pass(&*self.rooms.dialer, &service, root, request).await;
            return Ok(proxy::confine(answer));
        }
        let is_management =
            matches!(rest, "" | "no slash") && proxy::is_management(request.headers());
        if is_management || proxy::is_for_files(rest) {
            let path = proxy::path(request.uri(), &format!("/s/{name}"));
            let answer = proxy::pass(&*self.rooms.dialer, &service, path, request).await;
            return Ok(proxy::confine(answer));
        }
        match rest {
            "no slash" => Ok(see_other(&format!("/s/{service}/"))),
            "" => self
                .only(&request, &[Method::GET, Method::HEAD])
                .and_then(|()| self.space(&service, &request)),
            "picture" => {
                self.only(&request, &[Method::GET, Method::HEAD])?;
                self.picture(&service, request).await
            }
            "live" => self
                .only(&request, &[Method::GET])
                .and_then(|()| self.live(&service, &request)),
            "send" | "again" | "forget" => {
                self.only(&request, &[Method::POST])?;
                self.form(&service, rest, request).await
            }
            _ => Err(self.nothing_here()),
        }
    }

    fn only(&self, request: &Request<Body>, methods: &[Method]) -> Result<(), Response<Body>> {
        let known = methods.contains(request.method());
        if known {
            Ok(())
        } else {
            Err(text(
                StatusCode::METHOD_NOT_ALLOWED,
                "This cannot be done here.\n",
            ))
        }
    }

    fn nothing_here(&self) -> Response<Body> {
        self.plain(
            StatusCode::NOT_FOUND,
            "There is nothing here",
            "Perhaps the address was cut when it was copied.",
        )
    }

    fn plain(&self, status: StatusCode, title: &str, words: &str) -> Response<Body> {
        match nonce() {
            Ok(nonce) => html(status, page::plain(title, words, &nonce), &nonce),
            Err(response) => response,
        }
    }

    fn spaces(&self) -> Answer {
        let nonce = nonce()?;
        let mut listings = self.rooms.dialer.services();
        listings.retain(|listing| listing.kind != ServiceKind::Home);
        listings.sort_by(|a, b| (&a.name, &a.service).cmp(&(&b.name, &b.service)));
        Ok(html(
            StatusCode::OK,
            page::spaces(&self.config.name, &listings, &nonce),
            &nonce,
        ))
    }

    fn enter(&self, service: &ServiceName) -> Result<Arc<Room>, Response<Body>> {
        let busy = || {
            self.plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "This home is busy",
                "It looks at many spaces already. Try again in a few minutes.",
            )
        };
        self.rooms.enter(service).ok_or_else(busy)
    }

    fn space(&self, service: &ServiceName, request: &Request<Body>) -> Answer {
        let nonce = nonce()?;
        let room = self.enter(service)?;
        let listing = self.listing(service);
        let status = if listing.is_some() || room.is_found() {
            StatusCode::OK
        } else {
            // The page goes on looking, and comes to life when the space is found.
            StatusCode::NOT_FOUND
        };
        let listing = listing.unwrap_or_else(|| ServiceListing {
            service: service.clone(),
            kind: ServiceKind::Space,
            name: "Space".into(),
            host: String::new(),
        });
        let (token, is_new) = match forms::token(request.headers()) {
            Some(token) => (token, false),
            None => (Token::random().map_err(|error| self.trouble(&error))?, true),
        };
        let id = token.id();
        let guest = self.rooms.people.get(&id);
        let name = guest.map(|guest| guest.name).unwrap_or_default();
        let form_token = self.form_token(&token);
        let viewer = Viewer {
            name: &name,
            form_token: &form_token,
        };
        let page = page::space(
            &listing,
            &room.view(Some(&id)),
            &viewer,
            (self.clock)(),
            &nonce,
        );
        let mut response = html(status, page, &nonce);
        if is_new {
            set(
                &mut response,
                header::SET_COOKIE,
                &forms::set_cookie(Some(&token)),
            );
        }
        Ok(response)
    }

    fn listing(&self, service: &ServiceName) -> Option<ServiceListing> {
        let mut listings = self.rooms.dialer.services().into_iter();
        listings.find(|listing| listing.service == *service)
    }

    fn live(&self, service: &ServiceName, request: &Request<Body>) -> Answer {
        let token = forms::token(request.headers())
            .ok_or_else(|| text(StatusCode::FORBIDDEN, "Open the page of the space first.\n"))?;
        let room = self.enter(service)?;
        let guest = token.id();
        let name = self
            .rooms
            .people
            .get(&guest)
            .map_or_else(|| "You".into(), |guest| guest.name);
        Ok(live::stream(Watcher {
            room,
            guest,
            name,
            form_token: self.form_token(&token),
            clock: Arc::clone(&self.clock),
        }))
    }

    /// What a form of this browser must repeat: another page cannot know it.
    fn form_token(&self, token: &Token) -> String {
        HEXLOWER.encode(
            &blake3::keyed_hash(&self.form_secret, token.reveal().as_bytes()).as_bytes()[..16],
        )
    }

    /// Whether a form comes from a page of this home. Two first tabs opened at once get a token each, and the browser keeps
    /// one: then the other's form has the wrong one. Where the browser names its origin that does not matter.
    fn is_our_form(&self, headers: &HeaderMap, token: &Token, fields: &[(String, String)]) -> bool {
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

    async fn form(&self, service: &ServiceName, action: &str, request: Request<Body>) -> Answer {
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

    async fn guest(
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

    fn trouble(&self, error: &HomeError) -> Response<Body> {
        log::error!("{error}");
        self.plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This home is in trouble",
            "Its disk may be full. Tell who looks after it.",
        )
    }
}

impl channel::Answers for Home {
    fn answer(self: Arc<Self>, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move {
            let source = request
                .extensions()
                .get::<channel::Private>()
                .and_then(|private| private.source);
            self.respond(request, source).await
        })
    }

    fn dialer(&self) -> Arc<dyn Dialer> {
        Arc::clone(&self.rooms.dialer)
    }
}

fn nonce() -> Result<String, Response<Body>> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(HEXLOWER.encode(&bytes)),
        Err(_) => Err(text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This home is in trouble. Try again later.\n",
        )),
    }
}
