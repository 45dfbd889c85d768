//! `kill -9` in the middle of whatever a person waits for: uploads, accounts, an import, a backup, a restore. What was
//! acknowledged is there afterwards, nothing half-done is visible, and what was cut short can be done again.
//!
//! Each round kills at another moment of the work, spread over the time that it takes undisturbed. Four rounds of each;
//! `WARREN_CRASH_ROUNDS=200` for the long run.

use std::path::Path;
use std::time::{Duration, Instant};

use nostr::key::Keys;
use serde_json::{Value, json};

use super::client::Client;
use super::daemon::Router;
use super::exports::{is_as_it_was, space_with_a_past};
use super::http::{Answer, ask, blob_proof, hash};

const PASS: &str = "a tractor in the rain";
const MIB: usize = 1 << 20;

fn rounds() -> u32 {
    let rounds = std::env::var("WARREN_CRASH_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(4)
}

/// The moment of a round: from the beginning of the work to a little behind its end, never twice the same.
fn moment(round: u32, whole: Duration) -> Duration {
    whole.mul_f64((f64::from(round) * 0.618_033_988_7).fract() * 1.6)
}

async fn pause(time: Duration) {
    // The runtime's timer ticks in milliseconds; here it is about microseconds.
    let wait = tokio::task::spawn_blocking(move || std::thread::sleep(time));
    wait.await.unwrap();
}

/// Bytes that differ from round to round.
fn film(round: u32, length: usize) -> Vec<u8> {
    let mut state = round.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// A box with a space, and a member of it.
async fn host_with_member(dir: &Path) -> (Router, String, Keys) {
    let host = Router::start(dir, "A", "");
    let made = host.ask(&["space", "create", "Garden club"]);
    let service = made["service"].as_str().unwrap().to_owned();
    let keys = Keys::generate();
    let mut client = Client::connect(host.web, &service, &keys).await;
    client.join().await;
    (host, service, keys)
}

async fn upload(web: u16, service: &str, keys: &Keys, film: &[u8]) -> Option<Answer> {
    let path = format!("/s/{service}/upload");
    let headers = blob_proof(keys, "upload", &hash(film));
    ask(web, "PUT", &path, &headers, film).await
}

async fn download(web: u16, service: &str, name: &str) -> Answer {
    let path = format!("/s/{service}/{name}");
    let answer = ask(web, "GET", &path, "", b"").await;
    answer.expect("nobody disturbs a download")
}

#[tokio::test]
async fn an_upload_that_was_acknowledged_is_there_and_half_of_one_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let (mut host, service, keys) = host_with_member(&parent.path().join("a")).await;
    let begin = Instant::now();
    let first = film(1_000_000, 3 * MIB);
    let answer = upload(host.web, &service, &keys, &first).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let whole = begin.elapsed();
    let mut kept = vec![hash(&first)];
    for round in 0..rounds() {
        let film = film(round, 3 * MIB);
        let name = hash(&film);
        let (answer, ()) = tokio::join!(upload(host.web, &service, &keys, &film), async {
            pause(moment(round, whole)).await;
            host.kill();
        });
        host.run();
        let found = download(host.web, &service, &name).await;
        match found.status {
            200 => assert!(
                found.body == film,
                "round {round}: other bytes under its name"
            ),
            404 => assert!(
                answer.is_none(),
                "round {round}: an acknowledged file is lost"
            ),
            status => panic!("round {round}: {status} {}", found.text()),
        }
        if let Some(answer) = answer {
            assert_eq!(answer.status, 201, "{}", answer.text());
            kept.push(name);
        }
        for left in std::fs::read_dir(host.dir.join("spaces/garden-club/files")).unwrap() {
            let left = left.unwrap().file_name().into_string().unwrap();
            assert!(!left.ends_with(".part"), "round {round}: {left} is left");
        }
    }
    for name in &kept {
        let found = download(host.web, &service, name).await;
        assert!(hash(&found.body) == *name, "{name} is lost");
    }
    println!("{} rounds, {} uploads acknowledged", rounds(), kept.len());
}

#[tokio::test]
async fn an_upload_in_parts_goes_on_behind_everything_that_was_acknowledged() {
    let parent = tempfile::tempdir().unwrap();
    let (mut host, service, keys) = host_with_member(&parent.path().join("a")).await;
    let path = format!("/s/{service}/upload");
    let film = film(7, 300_000 * (rounds() as usize + 1));
    let name = hash(&film);
    let length = film.len();
    let headers = |more: &str| {
        let proof = blob_proof(&keys, "upload", &name);
        format!(
            "{proof}X-SHA-256: {name}\r\nUpload-Length: {length}\r\nX-Content-Length: {length}\r\n{more}"
        )
    };
    let part = async |web: u16, from: usize, to: usize| {
        let headers = headers(&format!("Upload-Offset: {from}\r\n"));
        ask(web, "PATCH", &path, &headers, &film[from..to]).await
    };
    let offset = async |web: u16| -> usize {
        let answer = ask(web, "HEAD", &path, &headers(""), b"").await.unwrap();
        answer.header("upload-offset").parse().unwrap()
    };
    let begin = Instant::now();
    let answer = part(host.web, 0, 300_000).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
    let whole = begin.elapsed();
    let mut here = 300_000;
    for round in 0..rounds() {
        let end = length.min(here + 300_000);
        let (answer, ()) = tokio::join!(part(host.web, here, end), async {
            pause(moment(round, whole)).await;
            host.kill();
        });
        host.run();
        let now = offset(host.web).await;
        let acknowledged = if answer.is_some() { end } else { here };
        assert!(
            now >= acknowledged && now <= end,
            "round {round}: {now} of {acknowledged} to {end}"
        );
        let hidden = download(host.web, &service, &name).await.status;
        assert_eq!(
            hidden,
            if now == length { 200 } else { 404 },
            "round {round}"
        );
        here = now;
    }
    if here < length {
        let answer = part(host.web, here, length).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert!(download(host.web, &service, &name).await.body == film);
}

/// A call of the home's interface for programs.
async fn call(
    web: u16,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Option<(u16, Value)> {
    let mut headers = "Content-Type: application/json\r\n".to_owned();
    if !token.is_empty() {
        headers += &format!("Authorization: Bearer {token}\r\n");
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let answer = ask(
        web,
        method,
        &format!("/api/1/{path}"),
        &headers,
        body.as_bytes(),
    )
    .await?;
    Some((
        answer.status,
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
    ))
}

#[tokio::test]
async fn an_account_is_there_with_its_passphrase_or_its_name_is_free() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let login = |name: &str| json!({"name": name, "passphrase": PASS, "session": "bearer", "device": "test"});
    let begin = Instant::now();
    let made = call(host.web, "POST", "accounts", "", &login("first"))
        .await
        .unwrap();
    assert_eq!(made.0, 201, "{made:?}");
    let whole = begin.elapsed();
    let mut acknowledged = 0;
    for round in 0..rounds() {
        let name = format!("person {round}");
        let wanted = login(&name);
        let (answer, ()) = tokio::join!(call(host.web, "POST", "accounts", "", &wanted), async {
            pause(moment(round, whole)).await;
            host.kill();
        });
        host.run();
        let token = match answer {
            Some((status, made)) => {
                assert_eq!(status, 201, "{made}");
                acknowledged += 1;
                made["token"].as_str().unwrap().to_owned()
            }
            None => {
                let (status, made) = call(host.web, "POST", "accounts", "", &wanted)
                    .await
                    .unwrap();
                let (status, made) = if status == 409 {
                    assert_eq!(made["error"]["code"], "name_taken", "round {round}");
                    call(host.web, "POST", "session", "", &wanted)
                        .await
                        .unwrap()
                } else {
                    (status, made)
                };
                assert!(
                    matches!(status, 200 | 201),
                    "round {round}: neither free nor there: {made}"
                );
                made["token"].as_str().unwrap().to_owned()
            }
        };
        let (status, account) = call(host.web, "GET", "account", &token, &Value::Null)
            .await
            .unwrap();
        assert_eq!(
            (status, &account["name"]),
            (200, &json!(name)),
            "round {round}"
        );
        // Its key is whole: it gives back what the passphrase opens.
        let (status, key) = call(
            host.web,
            "POST",
            "account/key",
            &token,
            &json!({"passphrase": PASS}),
        )
        .await
        .unwrap();
        assert_eq!(status, 200, "{key}");
        let keys = Keys::parse(key["secret_key"].as_str().unwrap()).unwrap();
        assert_eq!(json!(keys.public_key().to_hex()), account["public_key"]);
        // A home holds 500 accounts; a long run makes room.
        let gone = call(
            host.web,
            "POST",
            "account/delete",
            &token,
            &json!({"passphrase": PASS}),
        )
        .await
        .unwrap();
        assert_eq!(gone.0, 200, "{gone:?}");
    }
    println!("{} rounds, {acknowledged} accounts acknowledged", rounds());
}

/// The command and the daemon run at the same time; which one the round kills.
fn kills_daemon(round: u32) -> bool {
    round.is_multiple_of(2)
}

/// Starts a command of the owner, kills it or the daemon at the moment of the round, and says whether it was done.
fn cut_short(host: &mut Router, words: &[&str], round: u32, whole: Duration) -> bool {
    let mut command = host.command(words);
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(moment(round, whole));
    if kills_daemon(round) {
        host.kill();
    } else {
        let _ = child.kill();
    }
    child.wait().unwrap().success()
}

#[tokio::test]
async fn an_import_that_is_cut_short_leaves_the_whole_space_or_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let old = Router::start(&parent.path().join("old"), "Old", "");
    let past = space_with_a_past(&old).await;
    let file = parent.path().join("garden.tar");
    let path = file.to_str().unwrap();
    old.say(&["space", "export", "garden-club", path, "--move"]);
    let mut new = Router::start(&parent.path().join("new"), "New", "");
    let begin = Instant::now();
    new.say(&["space", "import", path]);
    let whole = begin.elapsed();
    let mut done = 0;
    for round in 0..rounds() {
        new.say(&["space", "remove", "garden-club", "--yes"]);
        let acknowledged = cut_short(&mut new, &["space", "import", path], round, whole);
        if kills_daemon(round) {
            new.run();
        } else {
            // Whoever starts next removes what is half-done.
            new.stop();
            new.run();
        }
        let list = new.ask(&["space", "list"]);
        let list = list.as_array().unwrap();
        for left in std::fs::read_dir(new.dir.join("spaces")).unwrap() {
            let left = left.unwrap().file_name().into_string().unwrap();
            assert!(
                !left.starts_with('.'),
                "round {round}: {left} is half a space"
            );
        }
        if list.is_empty() {
            assert!(
                !acknowledged,
                "round {round}: an acknowledged space is lost"
            );
            new.say(&["space", "import", path]);
        } else {
            done += 1;
        }
        is_as_it_was(&new, &past).await;
    }
    println!("{} rounds, {done} imports came through", rounds());
}

#[tokio::test]
async fn a_backup_that_is_cut_short_leaves_one_that_restores() {
    let parent = tempfile::tempdir().unwrap();
    let (mut host, service, keys) = host_with_member(&parent.path().join("a")).await;
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap().to_owned();
    let mut said = Vec::new();
    let write = async |host: &Router, words: String| {
        Client::connect(host.web, &service, &keys)
            .await
            .write(&words)
            .await;
        words
    };
    said.push(write(&host, "before".to_owned()).await);
    host.say(&["backup", &path]);
    let mut sure = said.len();
    let begin = Instant::now();
    host.say(&["backup", &path]);
    let whole = begin.elapsed();
    for round in 0..rounds() {
        said.push(write(&host, format!("round {round:04}")).await);
        if cut_short(&mut host, &["backup", &path], round, whole) {
            sure = said.len();
        }
        if kills_daemon(round) {
            host.run();
        }
        let again = parent.path().join(format!("again-{round}"));
        let mut other = Router::new(&again, "A", "");
        other.say(&["restore", &path]);
        other.run();
        let mut client = Client::connect(other.web, &service, &keys).await;
        let found = client.words().await;
        assert!(
            said[..sure].iter().all(|words| found.contains(words))
                && found.iter().all(|words| said.contains(words)),
            "round {round}: {found:?} of {:?}",
            &said[..sure]
        );
        other.kill();
        std::fs::remove_dir_all(again).unwrap();
    }
    // And the next run brings it up to date.
    host.say(&["backup", &path]);
    println!("{} rounds, {} messages", rounds(), said.len());
}

#[tokio::test]
async fn a_restore_that_is_cut_short_leaves_no_half_and_is_done_by_running_it_again() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let account = json!({"name": "Ann", "passphrase": PASS, "session": "bearer", "device": "test"});
    let made = call(host.web, "POST", "accounts", "", &account)
        .await
        .unwrap();
    let token = made.1["token"].as_str().unwrap().to_owned();
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let begin = Instant::now();
    Router::new(&parent.path().join("first"), "A", "").say(&["restore", path]);
    let whole = begin.elapsed();
    let mut cut = 0;
    for round in 0..rounds() {
        let dir = parent.path().join(format!("again-{round}"));
        let mut again = Router::new(&dir, "A", "");
        let mut command = again.command(&["restore", path]);
        command.stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(moment(round, whole));
        let _ = child.kill();
        let done = child.wait().unwrap().success();
        let space = dir.join("spaces/garden-club");
        assert!(
            !done || space.is_dir(),
            "round {round}: an acknowledged space is lost"
        );
        // Half of the rounds start the daemon on what is there before they restore again, if it may: not while more is to come.
        let is_whole = space.is_dir() && !dir.join("restoring").exists();
        if round.is_multiple_of(2) && is_whole {
            again.run();
            is_as_it_was(&again, &past).await;
            again.stop();
        }
        if !done {
            cut += 1;
            again.say(&["restore", path]);
        }
        again.run();
        is_as_it_was(&again, &past).await;
        let (status, _) = call(again.web, "GET", "account", &token, &Value::Null)
            .await
            .unwrap();
        assert_eq!(status, 200, "round {round}: the account did not come back");
        again.kill();
        std::fs::remove_dir_all(dir).unwrap();
    }
    println!("{} rounds, {cut} restores cut short", rounds());
}
