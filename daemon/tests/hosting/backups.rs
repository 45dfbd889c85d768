//! A box is backed up again and again, is lost, and comes back.

use std::path::{Path, PathBuf};

use nostr::key::Keys;

use super::client::{Client, event};
use super::daemon::{Router, wait_until};
use super::exports::{is_as_it_was, space_with_a_past};

const CONFIGURED: &str = "[[space]]\nid = \"old\"\nname = \"Old\"\nport = 7500\n";

fn objects(backup: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(backup.join("objects")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().path());
    let mut objects: Vec<PathBuf> = folders
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|object| object.unwrap().path())
        .collect();
    objects.sort();
    objects
}

fn contains(backup: &Path, words: &str) -> bool {
    objects(backup).iter().any(|object| {
        let bytes = std::fs::read(object).unwrap();
        bytes
            .windows(words.len())
            .any(|part| part == words.as_bytes())
    })
}

#[tokio::test]
async fn a_lost_box_comes_back_from_its_backup_with_home_and_spaces() {
    let parent = tempfile::tempdir().unwrap();
    let mut lost = Router::start(&parent.path().join("a"), "A", CONFIGURED);
    let past = space_with_a_past(&lost).await;
    let old = lost.ask(&["space", "show", "old"])["service"]
        .as_str()
        .unwrap()
        .to_owned();
    let person = Keys::generate();
    let mut client = Client::connect(lost.web, &old, &person).await;
    client.join().await;
    client.write("in the configured one").await;
    let account = "guests/account.guest";
    std::fs::write(lost.dir.join("home").join(account), "warren guest 1").unwrap();
    let address = lost.ask(&["status"])["address"].clone();
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    lost.say(&["backup", path]);
    lost.kill();

    let mut again = Router::new(&parent.path().join("b"), "A", CONFIGURED);
    let said = again.say(&["restore", path]);
    assert!(said.contains("it is A again"), "{said}");
    again.run();
    assert_eq!(again.ask(&["status"])["address"], address);
    is_as_it_was(&again, &past).await;
    let mut client = Client::connect(again.web, &old, &person).await;
    assert_eq!(client.words().await, ["in the configured one"]);
    let kept = std::fs::read(again.dir.join("home").join(account)).unwrap();
    assert_eq!(kept, b"warren guest 1");

    // While it runs nothing is put under it, and a second time changes nothing.
    let error = again.refused(&["restore", path]);
    assert!(error.contains("another warrend"), "{error}");
    again.stop();
    let said = again.say(&["restore", path]);
    assert_eq!(said.matches("already").count(), 5, "{said}");
    again.run();
    is_as_it_was(&again, &past).await;
}

#[tokio::test]
async fn a_second_run_writes_what_is_new_and_what_was_deleted_leaves_the_backup() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let first = objects(&backup);
    let said = host.say(&["backup", path]);
    assert!(said.contains("; 0 pieces were new"), "{said}");
    assert_eq!(objects(&backup), first);

    let mut client = Client::connect(host.web, &past.service, &past.member).await;
    let regretted = client.write("better not said").await;
    let said = host.say(&["backup", path]);
    assert!(said.contains("; 1 pieces were new"), "{said}");
    assert!(contains(&backup, "better not said"));
    let deletion = event(&past.member, 5, &[&["e", &regretted.id.to_hex()]], "");
    client.publish(&deletion).await;
    host.say(&["backup", path]);
    assert!(
        !contains(&backup, "better not said"),
        "it left with the next run"
    );
    host.say(&["space", "remove", "garden-club", "--yes"]);
    host.say(&["backup", path]);
    assert!(!contains(&backup, "first"), "a removed space leaves, too");
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_the_former_backup_and_a_damaged_one_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    // Something large that the next run is writing when it is killed.
    let large = host.dir.join("spaces/garden-club/files/ab/large");
    std::fs::write(&large, vec![1; 200 << 20]).unwrap();
    let mut run = host.command(&["backup", path]).spawn().unwrap();
    let half = backup.join("objects/half.new");
    wait_until("the run writes", || {
        std::fs::metadata(&half).is_ok_and(|found| found.len() > 1 << 20)
    });
    run.kill().unwrap();
    assert!(!run.wait().unwrap().success());
    assert_eq!(
        std::fs::read(backup.join("manifest.json")).unwrap(),
        manifest
    );
    let mut again = Router::new(&parent.path().join("b"), "A", "");
    again.say(&["restore", path]);
    again.run();
    is_as_it_was(&again, &past).await;

    std::fs::remove_file(&large).unwrap();
    host.say(&["backup", path]);
    // A message in one of the pieces is changed.
    let object = objects(&backup).into_iter().find(|object| {
        let text = std::fs::read(object).unwrap();
        text.windows(7).any(|part| part == b"\"first\"")
    });
    let object = object.unwrap();
    let text = std::fs::read_to_string(&object).unwrap();
    std::fs::write(&object, text.replace("\"first\"", "\"forst\"")).unwrap();
    let other = Router::new(&parent.path().join("c"), "A", "");
    let error = other.refused(&["restore", path]);
    assert!(error.contains("id does not fit"), "{error}");
    let spaces = std::fs::read_dir(other.dir.join("spaces")).unwrap();
    assert_eq!(spaces.count(), 0, "nothing of it is there");
}
