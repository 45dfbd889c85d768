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
mod writing;

pub use figures::HomeFigures;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use nostr::key::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::abouts::Abouts;
use crate::accounts::Accounts;
use crate::api::{self, Api};
use crate::channel::{self, ChannelKey};
use crate::config::{Clock, HomeConfig};
use crate::dialer::{BoxFuture, Dialer, ServiceKind, ServiceListing, ServiceName};
use crate::error::HomeError;
use crate::feed::Feed;
use crate::files;
use crate::forms;
use crate::guests::{Guests, Token};
use crate::hosts::{Site, site};
use crate::http::{Body, html, see_other, set, text};
use crate::invitation::Joiner;
use crate::live::{self, Watcher};
use crate::messages::Messages;
use crate::page::{self, Viewer};
use crate::people::People;
use crate::proxy;
use crate::room::Room;
use crate::rooms::Rooms;
use crate::shelf::Shelf;

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

/// An error if a key of the home was lost: another one would make it another home. Each is made before what is named
/// beside it; homes of older versions have people, and neither of the other two keys.
fn check_keys(dir: &Path) -> Result<(), HomeError> {
    let has_people = !files::list(&dir.join("guests"), "guest")?.is_empty()
        || !files::list(&dir.join("accounts"), "account")?.is_empty();
    let has_messages = dir.join("messages").exists();
    let keys = [
        ("channel.key", has_people),
        (
            "feed.key",
            has_messages || dir.join("collector.key").exists(),
        ),
        ("collector.key", has_messages),
    ];
    for (name, was_made) in keys {
        let path = dir.join(name);
        if was_made && !path.exists() {
            return Err(HomeError::KeyMissing { path });
        }
    }
    Ok(())
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
        check_keys(&config.dir)?;
        let shelf = Arc::new(Shelf::open(config.dir.join("unsent"))?);
        let channel_key = Arc::new(ChannelKey::open(&config.dir.join("channel.key"))?);
        let mut form_secret = [0; 32];
        getrandom::fill(&mut form_secret).map_err(|error| HomeError::Random(error.to_string()))?;
        let feed = Arc::new(Feed::open(
            &config.dir,
            config.relay.clone(),
            &config.uplink,
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
        // A browser asks first (CORS) whether a page of somebody else's may manage a space. The space says who may.
        let is_for_program =
            request.method() == Method::OPTIONS || proxy::is_for_program(request.headers());
        if matches!(rest, "" | "no slash") && is_for_program {
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
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "This cannot be done here.\n",
            );
            let known: Vec<&str> = methods.iter().map(Method::as_str).collect();
            set(&mut response, header::ALLOW, &known.join(", "));
            Err(response)
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
            run: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_lost_where_people_are_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let guests = dir.path().join("guests");
        for dir in [&guests, &dir.path().join("accounts")] {
            files::make_dir(dir).unwrap();
        }
        check_keys(dir.path()).unwrap(); // cut short before the keys, or not yet begun
        std::fs::write(guests.join("ann.guest"), "").unwrap();
        let lost = |name: &str| {
            let error = check_keys(dir.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("missing"), "{error}");
            std::fs::write(dir.path().join(name), "").unwrap();
        };
        lost("channel.key");
        check_keys(dir.path()).unwrap(); // of an older version
        files::make_dir(&dir.path().join("messages")).unwrap();
        lost("feed.key");
        lost("collector.key");
        check_keys(dir.path()).unwrap();
    }
}
