//! What a browser sends along: cookies, form fields, and where it says the request comes from.

use hyper::header::{self, HeaderMap};

use crate::guests::Token;

/// Name of the cookie.
pub const COOKIE: &str = "home";
/// Seconds that a browser keeps its token: half a year.
const COOKIE_SECONDS: u32 = 180 * 86_400;
/// Bytes of a form that are read.
pub const FORM_BYTES: usize = 64 * 1024;

/// The browser's token, if it has one.
pub fn token(headers: &HeaderMap) -> Option<Token> {
    let cookies = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| Token::parse(value))
}

/// The header that gives a browser its token, or takes it away.
pub fn set_cookie(token: Option<&Token>) -> String {
    let (text, seconds) = token.map_or(("", 0), |token| (token.reveal(), COOKIE_SECONDS));
    format!("{COOKIE}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict")
}

/// Where a request comes from, as far as the browser says (Fetch, "Origin header"; W3C Fetch Metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A page of this home. Scripts cannot make a browser say so.
    ThisHome,
    /// A page of somebody else, or one that hides where it is from.
    Another,
    /// The browser does not say: an old one, or no browser.
    Unsaid,
}

/// Which page sent a request.
pub fn sender(headers: &HeaderMap) -> Sender {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return Sender::Another;
    }
    match (headers.get(header::ORIGIN), text("host")) {
        (None, _) => Sender::Unsaid,
        (Some(origin), Some(host)) => {
            let from = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.split_once("://"));
            match from {
                Some((_, from)) if from.eq_ignore_ascii_case(host) => Sender::ThisHome,
                _ => Sender::Another,
            }
        }
        (Some(_), None) => Sender::Another,
    }
}

/// Whether a request that changes something may come from a page of this home.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    sender(headers) != Sender::Another
}

/// The fields of a form (`application/x-www-form-urlencoded`).
pub fn fields(body: &[u8]) -> Vec<(String, String)> {
    let pairs = body
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decode(parts.next().unwrap_or_default());
            (part(), part())
        })
        .take(20)
        .collect()
}

/// The first field of this name.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value)
}

fn decode(bytes: &[u8]) -> String {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        let ahead = rest.as_slice();
        match (byte, hex(ahead.first()), hex(ahead.get(1))) {
            (b'+', _, _) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8); // two hex digits
                rest = ahead[2..].iter();
            }
            (byte, _, _) => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let got = fields("name=Ann+B&text=100%25+%C3%A9%0d%0a%zz&empty=&=x&lone".as_bytes());
        assert_eq!(field(&got, "name"), "Ann B");
        assert_eq!(field(&got, "text"), "100% é\r\n%zz");
        assert_eq!(field(&got, "empty"), "");
        assert_eq!(field(&got, "missing"), "");
    }

    #[test]
    fn other_pages_cannot_send_in_somebodys_name() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        header::HeaderName::from_static(name),
                        HeaderValue::from_str(value).unwrap(),
                    )
                })
                .collect::<HeaderMap>()
        };
        assert!(is_same_origin(&headers(&[
            ("host", "home:80"),
            ("origin", "http://home:80"),
            ("sec-fetch-site", "same-origin")
        ])));
        assert!(is_same_origin(&headers(&[("host", "home:80")])));
        assert_eq!(sender(&headers(&[("host", "home:80")])), Sender::Unsaid);
        assert_eq!(
            sender(&headers(&[
                ("host", "home:80"),
                ("sec-fetch-site", "same-origin")
            ])),
            Sender::Unsaid,
            "only an origin is proof"
        );
        assert!(!is_same_origin(&headers(&[
            ("host", "home:80"),
            ("origin", "http://evil.example")
        ])));
        assert!(!is_same_origin(&headers(&[
            ("host", "home:80"),
            ("origin", "null")
        ])));
        assert!(!is_same_origin(&headers(&[
            ("host", "home:80"),
            ("sec-fetch-site", "cross-site")
        ])));
    }
}
