//! One large file up and down (Blossom): the daemon's memory must not follow its size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use super::load::one_writer;
use super::people::{json, mix, now};
use crate::error::{LabError, Result};

/// Bytes of one piece of the file.
const PIECE: usize = 64 * 1024;

/// The same piece again and again, each time with its number in front.
struct Source {
    piece: Vec<u8>,
    number: u64,
    left: u64,
}

impl Source {
    fn new(length: u64) -> Self {
        let piece = (0..PIECE as u64 / 8).flat_map(|n| mix(n).to_le_bytes());
        Self {
            piece: piece.collect(),
            number: 0,
            left: length,
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        let length = usize::try_from(self.left.min(PIECE as u64)).ok()?;
        self.piece[..8].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        self.left -= length as u64;
        (length > 0).then(|| &self.piece[..length])
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(
            self.next()
                .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))),
        )
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn failed(error: &dyn std::fmt::Display) -> LabError {
    LabError::answer("a file's way", &error.to_string())
}

async fn exchange<B>(
    at: SocketAddr,
    request: Request<B>,
) -> Result<hyper::Response<hyper::body::Incoming>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(at)
        .await
        .map_err(LabError::io(format!("connecting to {at}")))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| failed(&error))?;
    if response.status() == StatusCode::OK || response.status() == StatusCode::CREATED {
        return Ok(response);
    }
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    Err(failed(&format!("{status}: {text}")))
}

/// Uploads a file of so many bytes and reads it back. Every byte is checked.
pub async fn there_and_back(at: SocketAddr, service: &str, length: u64, number: u32) -> Result<()> {
    let (_member, person) = one_writer(at, Some(service), number).await?;
    let mut hash = Sha256::new();
    let mut source = Source::new(length);
    while let Some(piece) = source.next() {
        hash.update(piece);
    }
    let hash = HEXLOWER.encode(&hash.finalize());
    let until = (now() + 3600).to_string();
    let tags: [&[&str]; 3] = [&["t", "upload"], &["x", &hash], &["expiration", &until]];
    let proof = json(&person.event(24242, now(), &tags, "Upload")?)?;
    let host = format!("{service}.warren");
    let request = |method: &str, path: String| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &host)
    };
    let upload = request("PUT", "/upload".into())
        .header(
            "authorization",
            format!("Nostr {}", BASE64URL_NOPAD.encode(proof.as_bytes())),
        )
        .header("content-type", "application/octet-stream")
        .body(Source::new(length))
        .map_err(|error| failed(&error))?;
    exchange(at, upload).await?;
    let download = request("GET", format!("/{hash}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let mut body = exchange(at, download).await?.into_body();
    let mut back = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| failed(&error))?.into_data() {
            back.update(&data);
        }
    }
    if HEXLOWER.encode(&back.finalize()) == hash {
        Ok(())
    } else {
        Err(failed(&"what came back is another file"))
    }
}
