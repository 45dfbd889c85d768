//! A small Blossom client over an in-memory stream.
#![allow(dead_code, unreachable_pub, missing_debug_implementations)]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use nostr::event::Event;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::common::{Person, SERVICE, START, TestSpace};

const PATIENCE: Duration = Duration::from_secs(60);

/// The name of a file.
pub fn hash(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

pub fn header(event: &Event) -> String {
    let json = serde_json::to_vec(event).unwrap();
    format!("Nostr {}", data_encoding::BASE64URL_NOPAD.encode(&json))
}

/// What went well.
pub fn ok(answer: Answer) -> Answer {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer
}

/// A proof of who asks.
#[derive(Clone)]
pub struct Token {
    person: nostr::key::Keys,
    at: u32,
    tags: Vec<Vec<String>>,
    method: &'static str,
}

impl Token {
    fn new(person: &Person, verb: &str, method: &'static str) -> Self {
        let mut this = Self {
            person: person.0.clone(),
            at: START,
            tags: Vec::new(),
            method,
        };
        let expiration = (START + 86_400).to_string();
        this = this.with(&["t", verb]).with(&["expiration", &expiration]);
        this
    }

    pub fn upload(person: &Person, bytes: &[u8]) -> Self {
        Self::new(person, "upload", "PUT").with(&["x", &hash(bytes)])
    }

    pub fn delete(person: &Person, name: &str) -> Self {
        Self::new(person, "delete", "DELETE").with(&["x", name])
    }

    pub fn get(person: &Person) -> Self {
        Self::new(person, "get", "GET")
    }

    pub fn list(person: &Person) -> Self {
        Self::new(person, "list", "GET")
    }

    pub fn with(mut self, tag: &[&str]) -> Self {
        self.tags
            .push(tag.iter().map(|&text| text.to_owned()).collect());
        self
    }

    /// Another tag in place of one.
    pub fn tag(mut self, index: usize, tag: &[&str]) -> Self {
        self.tags[index] = tag.iter().map(|&text| text.to_owned()).collect();
        self
    }

    pub fn at(mut self, at: u32) -> Self {
        self.at = at;
        self
    }

    /// Names the space as its server.
    pub fn for_here(self) -> Self {
        self.with(&["server", &format!("{SERVICE}.warren")])
    }

    pub fn event(&self) -> Event {
        let tags: Vec<Vec<&str>> = self
            .tags
            .iter()
            .map(|tag| tag.iter().map(String::as_str).collect())
            .collect();
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        Person(self.person.clone()).event_at(self.at, 24242, &tags, "")
    }

    pub fn header(&self) -> String {
        header(&self.event())
    }

    pub fn request(&self, space: &TestSpace, path: &str) -> Request {
        space
            .request(self.method, path)
            .header("authorization", &self.header())
    }

    /// An upload in one go.
    pub fn put(&self, space: &TestSpace, bytes: &[u8]) -> Request {
        self.request(space, "/upload").body(bytes)
    }
}

impl TestSpace {
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request {
            stream: self.stream(),
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            says_length: true,
        }
    }

    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub fn put(&self, path: &str, body: &[u8]) -> Request {
        self.request("PUT", path).body(body)
    }
}

/// One request on a connection of its own.
pub struct Request {
    stream: DuplexStream,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    says_length: bool,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// Changes the last byte of the body.
    pub fn spoil(&mut self) {
        *self.body.last_mut().unwrap() ^= 1;
    }

    /// Sends no body and reads the status.
    pub async fn send_head(mut self) -> u16 {
        let head = self.head();
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).await.unwrap();
        Answer::parse(&bytes).status
    }

    /// Sends the body in chunks of unknown number.
    pub fn without_length(mut self) -> Self {
        self.says_length = false;
        self
    }

    fn head(&self) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {SERVICE}.warren\r\nConnection: close\r\n",
            self.method, self.path
        );
        let is_given = self
            .headers
            .iter()
            .any(|(name, _)| name == "content-length");
        if !self.says_length {
            head += "Transfer-Encoding: chunked\r\n";
        } else if !is_given && (!self.body.is_empty() || ["PUT", "PATCH"].contains(&&*self.method))
        {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends everything and reads the answer.
    pub async fn send(mut self) -> Answer {
        let head = self.head();
        let mut body = std::mem::take(&mut self.body);
        if !self.says_length {
            let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
            chunked.append(&mut body);
            chunked.extend_from_slice(b"\r\n0\r\n\r\n");
            body = chunked;
        }
        let (mut read, mut write) = tokio::io::split(self.stream);
        let sending = async {
            // A space that refuses may hang up before everything is sent.
            let _ = write.write_all(head.as_bytes()).await;
            let _ = write.write_all(&body).await;
        };
        let mut bytes = Vec::new();
        let reading = read.read_to_end(&mut bytes);
        let (_, read) = tokio::time::timeout(PATIENCE, async { tokio::join!(sending, reading) })
            .await
            .expect("an answer was expected");
        read.unwrap();
        Answer::parse(&bytes)
    }

    /// The same as one type, for closures.
    pub fn send_boxed(self) -> Pin<Box<dyn Future<Output = Answer>>> {
        Box::pin(self.send())
    }

    /// Sends the head and a part of the body and leaves the connection open.
    pub async fn send_part(mut self, bytes: usize) -> DuplexStream {
        let head = self.head();
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.write_all(&self.body[..bytes]).await.unwrap();
        self.stream
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers: BTreeMap<String, String> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        assert!(
            !headers.contains_key("transfer-encoding"),
            "the length of an answer must be known"
        );
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub fn without_date(mut self) -> Self {
        self.headers.remove("date");
        self
    }
}
