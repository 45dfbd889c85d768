//! A space on servers: messages on PostgreSQL, files on an S3 store.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::client::{Client, event};
use super::daemon::Router;
use super::exports::{Past, is_as_it_was, space_with_a_past};
use super::servers::{PostgresServer, S3Server};

/// What the configuration says of the servers; the key is in a file of its own.
fn servers(parent: &Path) -> String {
    let key = parent.join("s3.key");
    std::fs::write(&key, "key\nhunter2\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "[store]\nevents = \"postgres:{}\"\n[store.files]\n\
         s3 = {{ endpoint = \"{}\", bucket = \"warren\", key_file = \"{}\" }}\n",
        PostgresServer::shared().address(),
        S3Server::shared().endpoint(),
        key.display()
    )
}

/// The hash of the file `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The header that lets the member do something with the file (BUD-11).
fn proof(past: &Past, verb: &str) -> String {
    let end = (nostr::types::Timestamp::now().as_secs() + 600).to_string();
    let tags: &[&[&str]] = &[&["t", verb], &["x", ABC], &["expiration", &end]];
    let token = serde_json::to_vec(&event(&past.member, 24242, tags, "")).unwrap();
    format!(
        "Authorization: Nostr {}",
        data_encoding::BASE64.encode(&token)
    )
}

/// What the space answers to a request for a path.
fn curl(host: &Router, past: &Past, path: &str, options: &[&str]) -> String {
    let url = format!("http://127.0.0.1:{}/s/{}/{path}", host.web, past.service);
    let output = Command::new("curl")
        .arg("-sS")
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn schemas() -> usize {
    let count = PostgresServer::shared()
        .sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'warren\\_%'");
    count.parse().unwrap()
}

#[tokio::test]
async fn a_space_moves_onto_servers_and_back_and_leaves_nothing_there() {
    let parent = tempfile::tempdir().unwrap();
    let servers = servers(parent.path());
    let old = Router::start(&parent.path().join("old"), "Old", "");
    let past = space_with_a_past(&old).await;
    let descriptor = curl(
        &old,
        &past,
        "upload",
        &[
            "-X",
            "PUT",
            "--data-binary",
            "abc",
            "-H",
            &proof(&past, "upload"),
        ],
    );
    assert!(descriptor.contains(ABC), "{descriptor}");
    let file = parent.path().join("garden.tar");
    let path = file.to_str().unwrap();
    old.say(&["space", "export", "Garden club", path, "--move"]);

    let mut new = Router::start(&parent.path().join("new"), "New", &servers);
    new.say(&["space", "import", path]);
    is_as_it_was(&new, &past).await;
    assert_eq!(schemas(), 1);
    assert_eq!(
        S3Server::shared().names("").len(),
        1,
        "the file is on the store"
    );
    let directory = new.dir.join("spaces/garden-club");
    assert!(
        !directory.join("journal").exists(),
        "no message is on this box"
    );
    assert!(
        !directory.join("files").join(hash).exists(),
        "nor is the file"
    );

    // Nothing acknowledged is lost, and what is written goes on.
    let mut client = Client::connect(new.web, &past.service, &past.member).await;
    client.write("on PostgreSQL").await;
    new.kill();
    new.run();
    let mut client = Client::connect(new.web, &past.service, &past.member).await;
    assert_eq!(client.words().await, ["first", "last", "on PostgreSQL"]);
    drop(client);

    // A server that was away: the author hears of it, then it works again.
    PostgresServer::shared().restart();
    let mut client = Client::connect(new.web, &past.service, &past.member).await;
    client.write("after the restart").await;
    drop(client);

    let back = parent.path().join("back.tar");
    let path = back.to_str().unwrap();
    new.say(&["space", "export", "Garden club", path, "--move"]);
    let last = Router::start(&parent.path().join("last"), "Last", "");
    last.say(&["space", "import", path]);
    let mut client = Client::connect(last.web, &past.service, &past.member).await;
    let expected = ["first", "last", "on PostgreSQL", "after the restart"];
    assert_eq!(client.words().await, expected);
    assert_eq!(curl(&last, &past, ABC, &[]), "abc");
    assert!(last.dir.join("spaces/garden-club/journal").exists());

    // Without the servers in its configuration the box says what is missing, and touches nothing.
    new.say(&["space", "remove", "Garden club", "--yes"]);
    assert_eq!(schemas(), 0);
    assert!(S3Server::shared().names("").is_empty());
}

#[test]
fn a_configuration_that_cannot_be_used_says_why_and_shows_no_secret() {
    let parent = tempfile::tempdir().unwrap();
    let good = servers(parent.path());
    let key = parent.path().join("s3.key");
    for (n, (wrong, right, why)) in [
        ("postgres:host", "mysql:host", "expected `postgres:`"),
        (
            "user=warren",
            "user=warren password=hunter2",
            "file of its own",
        ),
        ("http://", "ftp://", "`endpoint` must begin with"),
    ]
    .into_iter()
    .enumerate()
    {
        let dir = parent.path().join(n.to_string());
        let router = Router::new(&dir, "Box", &good.replace(wrong, right));
        let error = router.refused(&["check"]);
        assert!(
            error.contains(why) && error.contains("warren.toml:"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
    let router = Router::new(&parent.path().join("box"), "Box", &good);
    router.say(&["check"]);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(router.refused(&["check"]).contains("chmod 600"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&key, "only one line").unwrap();
    assert!(router.refused(&["check"]).contains("two lines"));
}
