//! A browser as far as these tests need one: a request, an answer, a cookie.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::daemon::PATIENCE;

/// An answer of the page server.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The values of a header, in one text.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(known, _)| known == name);
        values
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join("; ")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The cookie it sets, as a browser sends it back.
    pub fn cookie(&self) -> String {
        let set = self.header("set-cookie");
        set.split(';').next().unwrap().to_owned()
    }

    /// What stands in a hidden field of a form.
    pub fn field(&self, name: &str) -> String {
        let text = self.text();
        let before = format!("name=\"{name}\" value=\"");
        let start = text
            .find(&before)
            .unwrap_or_else(|| panic!("{name}: {text}"))
            + before.len();
        text[start..].split('"').next().unwrap().to_owned()
    }
}

/// Asks what listens at a port of this machine under the name `host`.
pub fn ask(
    port: u16,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    read(&bytes)
}

fn read(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let mut body = bytes[end + 4..].to_vec();
    if headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked")
    {
        body = unchunk(&body);
    }
    Answer {
        status,
        headers,
        body,
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return out;
        }
        out.extend(&bytes[end + 2..][..length]);
        bytes = &bytes[end + 2 + length + 2..];
    }
}

/// The home at a port, opened by its address.
pub fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(port, &format!("127.0.0.1:{port}"), "GET", path, headers, "")
}

/// A form of the home at a port.
pub fn post(port: u16, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
    let encode =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)));
    let body = pairs.collect::<Vec<_>>().join("&");
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    ask(
        port,
        &format!("127.0.0.1:{port}"),
        "POST",
        path,
        &[kind, ("Cookie", cookie)],
        &body,
    )
}
