//! HTTP as a browser or a program speaks it, byte by byte.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PATIENCE, TestHome};

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

pub async fn ask(home: &TestHome, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(home.address).await.unwrap();
    let host = if headers.contains("Host:") {
        ""
    } else {
        "Host: localhost\r\n"
    };
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start)
        .unwrap_or_else(|| panic!("{start} in {text}"))
        .1
        .split_once(end)
        .unwrap()
        .0
}

/// A program that calls the home's interface, logged in once it has a token.
pub struct Program<'a> {
    pub home: &'a TestHome,
    pub token: String,
}

impl<'a> Program<'a> {
    /// A stranger.
    pub fn new(home: &'a TestHome) -> Self {
        Self {
            home,
            token: String::new(),
        }
    }

    /// Makes an account and stays logged in.
    pub async fn sign_up(home: &'a TestHome, name: &str, passphrase: &str) -> Self {
        let body = serde_json::json!({"name": name, "passphrase": passphrase, "session": "bearer", "device": "test"});
        Self::enter(home, "accounts", 201, &body).await
    }

    /// Logs in.
    pub async fn log_in(home: &'a TestHome, name: &str, passphrase: &str) -> Self {
        let body = serde_json::json!({"name": name, "passphrase": passphrase, "session": "bearer", "device": "second"});
        Self::enter(home, "session", 200, &body).await
    }

    /// Makes a call that gives a token.
    pub async fn enter(home: &'a TestHome, path: &str, expected: u16, body: &Value) -> Self {
        let (status, answer) = Self::new(home).call("POST", path, body).await;
        assert_eq!(status, expected, "{answer}");
        let token = answer["token"].as_str().unwrap().to_owned();
        Self { home, token }
    }

    /// Makes a call: status and body. `null` is no body.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut headers = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let body = if body.is_null() {
            String::new()
        } else {
            headers.push_str("Content-Type: application/json\r\n");
            body.to_string()
        };
        let answer = ask(
            self.home,
            method,
            &format!("/api/1/{path}"),
            &headers,
            &body,
        )
        .await;
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or(Value::Null),
        )
    }

    /// Makes a call that has to be done.
    pub async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Makes a call that has to be refused: the code of the error.
    pub async fn refused(&self, method: &str, path: &str, body: &Value) -> String {
        let (status, answer) = self.call(method, path, body).await;
        assert!(status >= 400, "{method} {path}: {status} {answer}");
        answer["error"]["code"].as_str().unwrap().to_owned()
    }
}
