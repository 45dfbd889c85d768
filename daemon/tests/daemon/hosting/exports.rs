//! A space moves to another box in one file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nostr::event::Event;
use nostr::key::Keys;
use serde_json::json;

use super::client::{Client, event};
use super::daemon::{Router, wait_until};

/// A space with a past: members, a private channel, a profile that was replaced, a deleted message, a file.
pub struct Past {
    pub service: String,
    pub owner: Keys,
    pub member: Keys,
    pub secret: Event,
    pub deleted: Event,
}

pub async fn space_with_a_past(host: &Router) -> Past {
    let (owner, member) = (Keys::generate(), Keys::generate());
    let made = host.ask(&[
        "space",
        "create",
        "Garden club",
        "--owner",
        &owner.public_key().to_hex(),
    ]);
    let service = made["service"].as_str().unwrap().to_owned();
    let mut boss = Client::connect(host.web, &service, &owner).await;
    boss.join().await;
    boss.publish(&event(&owner, 9007, &[&["h", "shed"]], ""))
        .await;
    let private = event(
        &owner,
        9002,
        &[&["h", "shed"], &["name", "Shed"], &["private"], &["closed"]],
        "",
    );
    boss.publish(&private).await;
    let secret = event(&owner, 9, &[&["h", "shed"]], "the key lies under the stone");
    boss.publish(&secret).await;
    // A deletion that says nothing of the channel belongs to it all the same.
    let regretted = event(&owner, 9, &[&["h", "shed"]], "regretted");
    boss.publish(&regretted).await;
    let deletion = event(&owner, 5, &[&["e", &regretted.id.to_hex()]], "");
    boss.publish(&deletion).await;

    let mut client = Client::connect(host.web, &service, &member).await;
    client.join().await;
    client
        .publish(&event(&member, 0, &[], "{\"name\":\"old\"}"))
        .await;
    client.write("first").await;
    let deleted = client.write("deleted").await;
    client
        .publish(&event(&member, 5, &[&["e", &deleted.id.to_hex()]], ""))
        .await;
    client.write("last").await;
    let files = host.dir.join("spaces/garden-club/files/ab");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("picture"), [7; 100_000]).unwrap();
    Past {
        service,
        owner,
        member,
        secret,
        deleted,
    }
}

/// Everything is there, for who may see it and for nobody else, and nobody needs an invitation.
pub async fn is_as_it_was(host: &Router, past: &Past) {
    let mut client = Client::connect(host.web, &past.service, &past.member).await;
    assert_eq!(client.words().await, ["first", "last"]);
    let nothing = client
        .query(json!({"ids": [past.secret.id, past.deleted.id]}))
        .await;
    assert!(nothing.is_empty(), "{nothing:?}");
    let deletions = client.query(json!({"kinds": [5]})).await;
    assert_eq!(
        deletions.len(),
        1,
        "the one of the private channel is not shown"
    );
    assert_eq!(client.query(json!({"kinds": [0]})).await.len(), 1);
    let (taken, reason) = client.offer(&past.deleted).await;
    assert!(!taken, "what was deleted does not come back: {reason}");
    let mut boss = Client::connect(host.web, &past.service, &past.owner).await;
    let in_shed = boss.query(json!({"#h": ["shed"], "kinds": [9]})).await;
    assert_eq!(in_shed.len(), 1);
    assert_eq!(in_shed[0]["id"], past.secret.id.to_hex());
    let described = boss.query(json!({"kinds": [39000]})).await;
    assert_eq!(described.len(), 2, "both channels");
    let id = host.ask(&["space", "show", &past.service])["id"].clone();
    let files = host
        .dir
        .join("spaces")
        .join(id.as_str().unwrap())
        .join("files");
    assert_eq!(
        std::fs::read(files.join("ab/picture")).unwrap(),
        [7; 100_000]
    );
}

fn leftovers(host: &Router) -> Vec<String> {
    let names = std::fs::read_dir(host.dir.join("spaces"))
        .into_iter()
        .flatten();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_space_moves_with_all_that_belongs_to_it_and_nobody_needs_a_new_invitation() {
    let parent = tempfile::tempdir().unwrap();
    let mut old = Router::start(&parent.path().join("old"), "Old", "");
    let new = Router::start(&parent.path().join("new"), "New", "");
    let past = space_with_a_past(&old).await;
    let file = parent.path().join("garden.tar");
    let path = file.to_str().unwrap();
    let said = old.say(&["space", "export", "Garden club", path, "--move"]);
    assert!(said.contains("holds its keys"), "{said}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = old.refused(&["space", "export", "Garden club", path]);
    assert!(error.contains("exists already"), "{error}");

    // The old box does not serve it any more, after a start neither.
    assert_eq!(old.ask(&["space", "list"])[0]["state"], "closed");
    assert!(
        Client::try_connect(old.web, &past.service, &past.member)
            .await
            .is_none()
    );
    old.kill();
    old.run();
    assert!(
        Client::try_connect(old.web, &past.service, &past.member)
            .await
            .is_none()
    );

    new.say(&["space", "import", path]);
    is_as_it_was(&new, &past).await;
    let error = new.refused(&["space", "import", path]);
    assert!(error.contains("here already"), "{error}");
    assert_eq!(leftovers(&new), ["garden-club"]);

    // It goes on there.
    let mut client = Client::connect(new.web, &past.service, &past.member).await;
    client.write("from the new box").await;
    // And if it was a mistake, the old box opens it again.
    old.say(&["space", "set", "garden-club", "--closed", "no"]);
    is_as_it_was(&old, &past).await;
}

#[tokio::test]
async fn an_archive_holds_plain_events_in_the_order_in_which_they_came() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let file = parent.path().join("garden.tar");
    host.say(&["space", "export", "garden-club", file.to_str().unwrap()]);
    let output = Command::new("tar")
        .args(["xOf", file.to_str().unwrap(), "--wildcards", "events/*"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Event> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.iter().all(|event| event.verify().is_ok()));
    let place = |wanted: &str| events.iter().position(|event| event.content == wanted);
    assert!(place("first").unwrap() < place("last").unwrap());
    assert_eq!(place("deleted"), None);
    assert_eq!(
        events[0].kind.as_u16(),
        9007,
        "the first channel was made first"
    );
    assert!(events.iter().any(|event| event.id == past.secret.id));
}

#[tokio::test]
async fn a_space_goes_on_while_it_is_exported_and_what_was_acknowledged_before_is_in_the_file() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let other = Router::start(&parent.path().join("b"), "B", "");
    let past = space_with_a_past(&host).await;
    let mut client = Client::connect(host.web, &past.service, &past.member).await;
    let mut before = Vec::new();
    for n in 0..50 {
        before.push(client.write(&format!("before {n}")).await.id);
    }
    let file = parent.path().join("garden.tar");
    let mut export = host
        .command(&["space", "export", "garden-club", file.to_str().unwrap()])
        .spawn()
        .unwrap();
    let mut written = 0;
    while export.try_wait().unwrap().is_none() {
        client.write(&format!("meanwhile {written}")).await;
        written += 1;
    }
    assert!(export.wait().unwrap().success());
    assert!(written > 0, "it was written to during the export");
    other.say(&["space", "import", file.to_str().unwrap()]);
    let mut there = Client::connect(other.web, &past.service, &past.member).await;
    let found = there.query(json!({"ids": before})).await;
    assert_eq!(found.len(), before.len());
}

#[tokio::test]
async fn an_archive_that_was_cut_changed_or_forged_is_refused_and_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let other = Router::start(&parent.path().join("b"), "B", "");
    space_with_a_past(&host).await;
    let file = parent.path().join("garden.tar");
    host.say(&["space", "export", "garden-club", file.to_str().unwrap()]);
    let whole = std::fs::read(&file).unwrap();
    let find = |what: &str| {
        let place = whole.windows(what.len()).position(|w| w == what.as_bytes());
        place.unwrap_or_else(|| panic!("{what} is in the archive"))
    };
    let changed = |what: &str, to: &str| {
        let mut bytes = whole.clone();
        bytes[find(what)..][..to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    for (bytes, reason) in [
        (Vec::new(), "cut"),
        (b"nonsense".repeat(200), "cannot be used"),
        (whole[..find("end.json")].to_vec(), "cut"),
        (whole[..find("files/ab")].to_vec(), "cut"),
        (changed("archive 1", "archive 2"), "another version"),
        (changed("version = 1", "version = 3"), "this version"),
        (
            changed("\"content\":\"last\"", "\"content\":\"lost\""),
            "id does not fit",
        ),
        (
            changed("\"sig\":\"", "\"sig\":\"00000000"),
            "signature does not fit",
        ),
        (changed("\u{7}\u{7}\u{7}", "\u{7}x"), "checksum"),
        (changed("files/ab/", "files/../"), "header checksum"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let error = other.refused(&["space", "import", file.to_str().unwrap()]);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(
            leftovers(&other).is_empty(),
            "{reason}: {:?}",
            leftovers(&other)
        );
    }
    std::fs::write(&file, &whole).unwrap();
    other.say(&["space", "import", file.to_str().unwrap()]);
}

/// The archive with one more file, or another in place of one, and a checksum that fits: whoever has the archive can make
/// such a one.
fn with_file(archive: &[u8], name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut entries = Vec::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        if path != name && path != "end.json" {
            entries.push((path, content));
        }
    }
    entries.push((name.to_owned(), bytes.to_vec()));
    let mut hash = blake3::Hasher::new();
    let is_line_end = |byte: &&u8| **byte == b'\n';
    let of_events = entries
        .iter()
        .filter(|(path, _)| path.starts_with("events/"));
    let events: usize = of_events
        .map(|(_, content)| content.iter().filter(is_line_end).count())
        .sum();
    let of_files = entries
        .iter()
        .filter(|(path, _)| path.starts_with("files/"));
    let files = of_files.count();
    for (path, content) in &entries {
        hash.update(path.as_bytes());
        hash.update(&(content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    let end =
        json!({"events": events, "files": files, "blake3": hash.finalize().to_hex().as_str()});
    entries.push(("end.json".into(), end.to_string().into_bytes()));
    let mut out = tar::Builder::new(Vec::new());
    for (path, content) in &entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        out.append_data(&mut header, path, &content[..]).unwrap();
    }
    out.into_inner().unwrap()
}

#[tokio::test]
async fn a_space_that_cannot_be_opened_after_its_import_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let mut other = Router::start(&parent.path().join("b"), "B", "");
    let past = space_with_a_past(&host).await;
    let file = parent.path().join("garden.tar");
    host.say(&["space", "export", "garden-club", file.to_str().unwrap()]);
    let whole = std::fs::read(&file).unwrap();
    let forged = with_file(&whole, "files/rights.jsonl", b"nonsense\n");
    std::fs::write(&file, forged).unwrap();
    for _ in 0..2 {
        let error = other.refused(&["space", "import", file.to_str().unwrap()]);
        assert!(error.contains("rights"), "{error}");
        assert!(leftovers(&other).is_empty(), "{:?}", leftovers(&other));
    }
    other.kill();
    other.run();
    assert_eq!(other.ask(&["space", "list"]), json!([]));
    // A directory where files are expected is in nobody's way.
    std::fs::write(&file, with_file(&whole, "files/x.part/y", b"z")).unwrap();
    other.say(&["space", "import", file.to_str().unwrap()]);
    is_as_it_was(&other, &past).await;
}

#[tokio::test]
async fn a_move_that_fails_leaves_the_space_open() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let nowhere = parent.path().join("no/such/folder/garden.tar");
    let there = parent.path().join("garden.tar");
    std::fs::write(&there, "mine").unwrap();
    for file in [&nowhere, &there] {
        host.refused(&[
            "space",
            "export",
            "garden-club",
            file.to_str().unwrap(),
            "--move",
        ]);
        assert_eq!(host.ask(&["space", "list"])[0]["state"], "open");
        is_as_it_was(&host, &past).await;
    }
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
}

#[tokio::test]
async fn an_archive_is_for_its_owner_alone_whatever_an_earlier_run_left() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    space_with_a_past(&host).await;
    let file = parent.path().join("garden.tar");
    let elsewhere = parent.path().join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    std::os::unix::fs::symlink(&elsewhere, parent.path().join("garden.tar.new")).unwrap();
    host.say(&["space", "export", "garden-club", file.to_str().unwrap()]);
    let mode = std::fs::symlink_metadata(&file).unwrap();
    assert!(mode.is_file());
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"mine");
}

/// Kills an import when a file of it is there.
fn kill_import(host: &Router, file: &Path, step: &str) -> bool {
    let words = ["space", "import", file.to_str().unwrap()];
    let mut import = host.command(&words).spawn().unwrap();
    let spaces = host.dir.join("spaces");
    let half = spaces
        .join(format!(".incoming-import-{}", import.id()))
        .join(step);
    let done = spaces.join("garden-club/space.toml");
    wait_until(step, || half.exists() || done.exists());
    import.kill().unwrap();
    import.wait().unwrap().success()
}

#[tokio::test]
async fn an_import_that_is_killed_leaves_the_whole_space_or_none_and_can_be_done_again() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let file = parent.path().join("garden.tar");
    host.say(&["space", "export", "garden-club", file.to_str().unwrap()]);
    for (round, step) in [
        "service.key",
        "journal",
        "index.sqlite",
        "files",
        "space.toml",
    ]
    .into_iter()
    .enumerate()
    {
        // Half of the rounds with a daemon, half without.
        let mut other = Router::new(&parent.path().join(format!("b{round}")), "B", "");
        if round % 2 == 0 {
            other.run();
        }
        kill_import(&other, &file, step);
        if round % 2 == 1 {
            other.run();
        }
        let is_there = |list: &serde_json::Value| list.as_array().unwrap().len() == 1;
        if !is_there(&other.ask(&["space", "list"])) {
            let again = other.try_command(&["space", "import", file.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&again.stderr).into_owned();
            // The daemon may have taken it in just after the list was asked for.
            assert!(
                again.status.success() || said.contains("here already"),
                "{said}"
            );
        }
        is_as_it_was(&other, &past).await;
        other.kill();
        other.run();
        assert_eq!(leftovers(&other), ["garden-club"], "after {step}");
        is_as_it_was(&other, &past).await;
    }
}
