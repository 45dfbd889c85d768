//! The control socket: one line in, one line out; garbage and floods get an answer or an end, and the daemon goes on.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use warrend::control::client;
use warrend::control::protocol::{self, COMMANDS, ControlError, ErrorCode, LINE_MAX, Request};
use warrend::control::server::{self, Answers, Piece, Reply};

struct Echo;

impl Answers for Echo {
    async fn answer(&self, request: Request) -> Result<Reply, ControlError> {
        match request {
            // As many bytes as the title is long, then the end, or what the owner says.
            Request::SpaceCreate { title, owner, .. } => {
                let (parts, stream) = tokio::sync::mpsc::channel(1);
                tokio::spawn(async move {
                    for byte in title.bytes() {
                        let piece = Piece::Bytes(vec![byte; 1000]);
                        parts.send(Ok(piece)).await.unwrap();
                    }
                    match owner.as_deref() {
                        None => parts.send(Ok(Piece::End)).await.unwrap(),
                        Some("vanishes") => {}
                        Some(disk) => {
                            let error = ControlError::new(ErrorCode::Disk, disk);
                            parts.send(Err(error)).await.unwrap();
                        }
                    }
                });
                Ok(Reply::Stream(stream))
            }
            request => {
                let request = serde_json::to_value(request).unwrap();
                Ok(Reply::Value(request["command"].clone()))
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn ask(stream: &mut BufReader<UnixStream>, line: &[u8]) -> String {
    stream.write_all(line).await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    answer
}

#[test]
fn requests_are_answered_in_order_and_garbage_does_not_end_the_conversation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep").join("control.sock");
    runtime().block_on(async {
        let listener = UnixListener::from_std(server::listen(&path).unwrap()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        tokio::spawn(server::serve(listener, Arc::new(Echo)));
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        for (line, start) in [
            (&b"{\"command\":\"status\"}\n"[..], "{\"ok\":\"status\"}"),
            (b"\n", "{\"error\":{\"code\":\"bad_request\""),
            (b"\xff\xfe\x00\n", "{\"error\":{\"code\":\"bad_request\""),
            (b"[\"status\"]\n", "{\"error\":{\"code\":\"bad_request\""),
            (b"[[[[[[[[\n", "{\"error\":{\"code\":\"bad_request\""),
            (
                b"{\"command\":\"reboot\"}\n",
                "{\"error\":{\"code\":\"unknown_command\",\"args\":[\"reboot\"]}}",
            ),
            (
                b"{\"command\":\"status\",\"x\":1}\n",
                "{\"error\":{\"code\":\"bad_request\"",
            ),
            (
                b"{\"command\":\"space_remove\"}\n",
                "{\"error\":{\"code\":\"bad_request\"",
            ),
            (
                b"{\"command\":\"space_remove\",\"space\":7}\n",
                "{\"error\":{\"code\":\"bad_request\"",
            ),
            (
                b"{\"space\":\"a\",\"command\":\"space_remove\"}\n",
                "{\"ok\":\"space_remove\"}\n",
            ),
            (b"{\"command\":\"routes\"}\n", "{\"ok\":\"routes\"}"),
        ] {
            let answer = ask(&mut stream, line).await;
            assert!(
                answer.starts_with(start) && answer.ends_with('\n'),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_line_that_is_too_long_is_refused_and_others_are_still_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    runtime().block_on(async {
        let listener = UnixListener::from_std(server::listen(&path).unwrap()).unwrap();
        tokio::spawn(server::serve(listener, Arc::new(Echo)));
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        let answer = ask(&mut stream, &vec![b'x'; LINE_MAX + 1]).await;
        assert_eq!(
            answer,
            "{\"error\":{\"code\":\"line_too_long\",\"args\":[\"65536\"]}}\n"
        );
        // Where the next line begins is unknown: the server hangs up.
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        assert_eq!(
            ask(&mut stream, b"{\"command\":\"spaces\"}\n").await,
            "{\"ok\":\"spaces\"}\n"
        );
    });
}

#[test]
fn who_comes_when_all_connections_are_taken_is_told_so_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    runtime().block_on(async {
        let listener = UnixListener::from_std(server::listen(&path).unwrap()).unwrap();
        tokio::spawn(server::serve(listener, Arc::new(Echo)));
        let mut idle = Vec::new();
        loop {
            let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
            let answer = ask(&mut stream, b"{\"command\":\"spaces\"}\n").await;
            if answer != "{\"ok\":\"spaces\"}\n" {
                assert_eq!(
                    answer,
                    "{\"error\":{\"code\":\"unavailable\",\"args\":[]}}\n"
                );
                break;
            }
            idle.push(stream);
            assert!(idle.len() <= 64, "connections are not bounded");
        }
        // The program for people says it, too.
        let asked = path.clone();
        let told =
            tokio::task::spawn_blocking(move || client::ask::<String>(&asked, &Request::Spaces {}));
        let told = told.await.unwrap().unwrap_err().to_string();
        assert!(told.contains("busy"), "{told}");
    });
}

#[test]
fn a_second_daemon_is_refused_and_a_dead_ones_socket_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let first = server::listen(&path).unwrap();
    let error = server::listen(&path).unwrap_err().to_string();
    assert!(error.contains("another warrend"), "{error}");
    drop(first);
    server::listen(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(server::listen(&path).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

proptest! {
    #[test]
    fn any_line_is_a_request_or_an_error_with_short_arguments(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = protocol::parse_request(&line) {
            prop_assert!(error.args.iter().all(|argument| argument.chars().count() <= 200));
        }
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let line = vec![b'['; LINE_MAX];
    assert_eq!(
        protocol::parse_request(&line).unwrap_err().code,
        ErrorCode::BadRequest
    );
}

#[test]
fn every_command_is_known_by_its_name() {
    for command in COMMANDS {
        let line = format!("{{\"command\":\"{command}\",\"no such argument\":1}}");
        let error = protocol::parse_request(line.as_bytes()).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRequest, "{command}");
        // It is the argument that is wrong, not the name.
        assert!(!error.args[0].contains("unknown variant"), "{error:?}");
    }
    let error = protocol::parse_request(b"{\"command\":\"dance\",\"to\":1}").unwrap_err();
    assert_eq!(error, ControlError::new(ErrorCode::UnknownCommand, "dance"));
}

#[test]
fn a_stream_comes_whole_and_one_that_breaks_off_is_never_taken_for_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let read = |owner: Option<&str>| {
        let request = Request::SpaceCreate {
            title: "abc".into(),
            about: String::new(),
            visible: false,
            port: None,
            owner: owner.map(str::to_owned),
        };
        let mut bytes = Vec::new();
        let mut stream = client::stream(&path, &request).unwrap();
        std::io::Read::read_to_end(&mut stream, &mut bytes).map(|_| bytes)
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = server::listen(&path).unwrap();
    let server = std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = UnixListener::from_std(listener).unwrap();
            tokio::select! {
                () = server::serve(listener, Arc::new(Echo)) => {}
                _ = stopped => {}
            }
        });
    });
    let whole = read(None).unwrap();
    assert_eq!(whole.len(), 3000);
    assert_eq!((whole[999], whole[1000], whole[2999]), (b'a', b'b', b'c'));
    assert!(
        read(Some("vanishes"))
            .unwrap_err()
            .to_string()
            .contains("busy")
    );
    assert!(read(Some("full")).unwrap_err().to_string().contains("full"));
    drop(stop);
    server.join().unwrap();
}
