//! Published sites at the home. A site's own address is `<service>.localhost` or `<service>.warren`: there it can do what
//! it likes with itself. Below the home's own address, for those who can open no other, it is shown as a page of nobody,
//! without script and forms: it cannot act for the people who are logged in here.

use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Answer, Home};
use crate::dialer::ServiceName;
use crate::http::{Body, see_other, set, text};
use crate::proxy;

impl Home {
    /// GET `/s/<service>/picture`: the picture that a space has of itself. With `?or=nothing` one on which there is nothing,
    /// where the space has none: a browser shows what is missing as broken.
    pub(super) async fn picture(&self, service: &ServiceName, request: Request<Body>) -> Answer {
        let about = self.abouts.get(&*self.rooms.dialer, service).await;
        let file = about.and_then(|about| about.picture);
        let path = file.and_then(|file| format!("/{file}").parse().ok());
        let Some(path) = path else {
            return match request.uri().query() {
                Some("or=nothing") => Ok(nothing()),
                _ => Err(text(StatusCode::NOT_FOUND, "It has no picture.\n")),
            };
        };
        let answer = proxy::pass(&*self.rooms.dialer, service, path, request).await;
        let mut answer = proxy::confine(answer);
        set(&mut answer, header::CACHE_CONTROL, "private, max-age=600");
        Ok(answer)
    }

    /// Any `/s/<service>/...` of a site; `prefix` is the part before its own path.
    pub(super) async fn site(
        self: &Arc<Self>,
        service: &ServiceName,
        prefix: &str,
        mut request: Request<Body>,
    ) -> Answer {
        self.only(&request, &[Method::GET, Method::HEAD])?;
        let path = proxy::path(request.uri(), prefix);
        if !path.path().starts_with('/') || request.uri().path() == prefix {
            return Ok(see_other(&format!("{prefix}/")));
        }
        let host = request.headers().get(header::HOST);
        let host = host
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let (name, port) = host
            .split_once(':')
            .map_or((host.as_str(), ""), |(name, port)| (name, port));
        if name.eq_ignore_ascii_case("localhost") {
            // This browser finds every name below `localhost`.
            let port = if port.is_empty() {
                String::new()
            } else {
                format!(":{port}")
            };
            return Ok(see_other(&format!(
                "http://{service}.localhost{port}{path}"
            )));
        }
        request.headers_mut().remove(header::AUTHORIZATION);
        let answer = proxy::pass(&*self.rooms.dialer, service, path, request).await;
        // A folder without its last slash.
        let place = answer.headers().get(header::LOCATION);
        let place = place
            .and_then(|place| place.to_str().ok())
            .filter(|place| place.starts_with('/') && !place.starts_with("//"))
            .and_then(|place| HeaderValue::from_str(&format!("{prefix}{place}")).ok());
        let mut answer = proxy::confine_site(answer, &format!("http://{host}{prefix}/"));
        if let Some(place) = place {
            answer.headers_mut().insert(header::LOCATION, place);
        }
        Ok(answer)
    }
}

/// A picture on which there is nothing.
fn nothing() -> Response<Body> {
    let mut response = text(
        StatusCode::OK,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1\" height=\"1\"/>",
    );
    set(&mut response, header::CONTENT_TYPE, "image/svg+xml");
    set(&mut response, header::CACHE_CONTROL, "private, max-age=60");
    response
}
