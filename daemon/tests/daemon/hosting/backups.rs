//! A box is backed up again and again, is lost, and comes back.

use std::path::{Path, PathBuf};

use nostr::key::Keys;
use serde_json::Value;

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
    let site = parent.path().join("Recipes");
    std::fs::create_dir_all(site.join("é b")).unwrap();
    std::fs::write(site.join("é b/index.html"), "soup").unwrap();
    let published = lost.ask(&["site", "publish", site.to_str().unwrap()]);
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    lost.say(&["backup", path]);
    let config = std::fs::read_to_string(lost.config()).unwrap();
    lost.kill();

    // A box on which nothing is: not even a configuration.
    std::fs::remove_dir_all(&lost.dir).unwrap();
    std::fs::create_dir(&lost.dir).unwrap();
    let mut again = lost;
    let said = again.say(&["restore", path]);
    assert!(
        said.contains("it is A again") && said.contains("the configuration"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(again.config()).unwrap(), config);
    again.run();
    let sites = again.ask(&["site", "list"]);
    assert_eq!(
        (&sites[0]["service"], &sites[0]["files"]),
        (&published["service"], &1.into())
    );
    let name = format!("{}.localhost", published["service"].as_str().unwrap());
    let page = super::web::ask(again.web, &name, "GET", "/%C3%A9%20b/", &[], "");
    assert_eq!(page.text(), "soup");
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
    assert_eq!(said.matches("already").count(), 6, "{said}");
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
    assert!(
        error.contains("NOT restored") && error.contains("is damaged"),
        "{error}"
    );
    let spaces = std::fs::read_dir(other.dir.join("spaces")).unwrap();
    assert_eq!(spaces.count(), 0, "nothing of it is there");
}

#[tokio::test]
async fn a_restore_that_was_cut_short_is_not_taken_for_the_box_and_is_finished_by_the_next() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    // So much that the restore is still at it when it is killed.
    let large = host.dir.join("spaces/garden-club/files/ab/large");
    std::fs::write(&large, vec![1; 200 << 20]).unwrap();
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let mut again = Router::new(&parent.path().join("b"), "A", "");
    let mut run = again.command(&["restore", path]).spawn().unwrap();
    let half = again
        .dir
        .join("spaces")
        .join(format!(".incoming-import-{}", run.id()));
    wait_until("it writes", || {
        std::fs::metadata(half.join("files/ab/large")).is_ok_and(|found| found.len() > 1 << 20)
    });
    run.kill().unwrap();
    assert!(!run.wait().unwrap().success());
    assert!(
        again.dir.join("keys/mesh.key").exists(),
        "some of it is there"
    );
    let error = again.refused(&["run"]);
    assert!(
        error.contains("cut short") && error.contains("warrend restore"),
        "{error}"
    );
    assert!(
        !again.dir.join("generation").exists(),
        "the daemon left no trace"
    );
    again.say(&["restore", path]);
    again.run();
    is_as_it_was(&again, &past).await;
    assert_eq!(again.ask(&["space", "list"]).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_daemon_keeps_a_backup_up_to_date_by_itself_and_a_failure_is_loud() {
    let parent = tempfile::tempdir().unwrap();
    let backup = parent.path().join("backup");
    let config = format!(
        "[backup]\ndir = \"{}\"\nevery = \"daily\"\n",
        backup.display()
    );
    let mut host = Router::start(&parent.path().join("a"), "A", &config);
    wait_until("the first one is made", || {
        !host.ask(&["status"])["backup"]["made"].is_null()
    });
    let past = space_with_a_past(&host).await;
    // The last one is a day old: the next start makes one.
    let manifest = backup.join("manifest.json");
    let age = |seconds: u64| {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["made"] = (value["made"].as_u64().unwrap() - seconds).into();
        std::fs::write(&manifest, value.to_string()).unwrap();
        value["made"].as_u64().unwrap()
    };
    host.stop();
    let old = age(86_401);
    host.run();
    wait_until("it is made anew", || {
        host.ask(&["status"])["backup"]["made"].as_u64() > Some(old)
    });
    assert!(contains(&backup, "first"));
    host.stop();
    let recent = age(3600);
    host.run();
    wait_until("it is looked at", || {
        host.ask(&["status"])["backup"]["made"].as_u64() == Some(recent)
    });

    // Where it cannot be written the daemon says so and goes on.
    host.stop();
    std::fs::remove_dir_all(&backup).unwrap();
    std::fs::write(&backup, "in the way").unwrap();
    host.run();
    wait_until("it fails", || {
        !host.ask(&["status"])["backup"]["error"].is_null()
    });
    assert!(host.say(&["status"]).contains("THE LAST TRY FAILED"));
    is_as_it_was(&host, &past).await;
}

#[tokio::test]
async fn the_daemon_exports_a_space_by_itself_and_keeps_the_last_ones() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("exports");
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let made = host.ask(&["space", "create", "Pond"]);
    let keys = Keys::generate();
    let service = made["service"].as_str().unwrap();
    let mut client = Client::connect(host.web, service, &keys).await;
    client.join().await;
    client.write("frogs").await;
    host.stop();
    std::fs::create_dir(&dir).unwrap();
    // Those of before, one of a clock that was wrong, what a kill left, and another space's.
    let old = |day: u32| format!("pond-2020-01-{day:02}T000000Z.jsonl");
    for name in (1..=9).map(old) {
        std::fs::write(dir.join(name), "old").unwrap();
    }
    let others = ["pond-2-2020-01-01T000000Z.jsonl", "notes.txt"];
    for name in others {
        std::fs::write(dir.join(name), "another's").unwrap();
    }
    std::fs::write(dir.join("pond.jsonl.new"), "half").unwrap();
    let mut config = std::fs::read_to_string(host.config()).unwrap();
    config.push_str(&format!(
        "[[export]]\nspace = \"Pond\"\ndir = \"{}\"\nevery = \"daily\"\nkeep = 4\n",
        dir.display()
    ));
    std::fs::write(host.config(), config).unwrap();
    host.run();
    let names = || {
        let entries = std::fs::read_dir(&dir).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !others.contains(&&**name)).collect();
        names.sort();
        names
    };
    let is_done = |names: &[String]| names.len() == 4 && !names[3].starts_with("pond-2020");
    wait_until("it is made, and the oldest go", || is_done(&names()));
    let done = names();
    assert_eq!(done[..3], [7, 8, 9].map(old));
    let text = std::fs::read_to_string(dir.join(&done[3])).unwrap();
    assert!(text.contains("frogs"));
    for line in text.lines() {
        let event: nostr::event::Event = serde_json::from_str(line).unwrap();
        assert!(event.verify().is_ok());
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(dir.join(&done[3])).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    for name in others {
        assert!(dir.join(name).exists());
    }
    let told = || host.ask(&["status"])["exports"][0].clone();
    wait_until("it is told", || told()["made"].is_u64());
    assert_eq!(
        (&told()["space"], &told()["error"]),
        (&"Pond".into(), &Value::Null)
    );

    // One a day is enough; but one of tomorrow does not count.
    host.stop();
    std::fs::rename(
        dir.join(&done[3]),
        dir.join("pond-2999-01-01T000000Z.jsonl"),
    )
    .unwrap();
    host.run();
    wait_until("it is made anew", || {
        let names = names();
        names.len() == 4 && names[2].starts_with("pond-20") && !names[2].starts_with("pond-2020")
    });

    // A failure is seen by who asks, too.
    host.say(&["space", "set", "Pond", "--name", "Lake"]);
    host.stop();
    host.run();
    let told = || host.ask(&["status"])["exports"][0].clone();
    wait_until("it fails", || told()["error"].is_string());
    assert!(
        told()["error"]
            .as_str()
            .unwrap()
            .contains("no space \"Pond\"")
    );
    assert!(host.say(&["status"]).contains("THE LAST TRY FAILED"));
}

#[test]
fn what_a_restore_could_not_put_back_stays_in_the_backup_and_the_rest_is_as_it_was() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    host.say(&["space", "create", "Garden"]);
    host.say(&["space", "set", "garden", "--name", "Old garden"]);
    host.say(&["space", "create", "Garden"]);
    host.say(&["space", "set", "garden-2", "--closed", "yes"]);
    let folder = parent.path().join("pages");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("index.html"), "hello").unwrap();
    std::fs::write(folder.join("lost.html"), "to be lost").unwrap();
    host.say(&["site", "publish", folder.to_str().unwrap()]);
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let lost = objects(&backup)
        .into_iter()
        .find(|object| std::fs::read(object).unwrap() == b"to be lost");
    let lost = lost.unwrap();

    // A piece of the same length is noticed by who looks.
    std::fs::write(&lost, "to be LOST").unwrap();
    assert!(host.say(&["backup", path]).contains("0 pieces were new"));
    assert!(
        host.say(&["backup", path, "--verify"])
            .contains("1 pieces were new")
    );
    assert_eq!(std::fs::read(&lost).unwrap(), b"to be lost");
    host.stop();

    std::fs::remove_file(&lost).unwrap();
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    let mut new = Router::new(&parent.path().join("b"), "A", "");
    let error = new.refused(&["restore", path]);
    assert!(error.contains("pages: its file lost.html"), "{error}");
    new.run();
    assert_eq!(new.ask(&["site", "list"])[0]["files"], 1);
    let spaces = new.ask(&["space", "list"]);
    let told = |n: usize| {
        [&spaces[n]["id"], &spaces[n]["title"], &spaces[n]["state"]]
            .map(|v| v.as_str().unwrap().to_owned())
    };
    assert_eq!(told(0), ["garden", "Old garden", "open"]);
    assert_eq!(told(1), ["garden-2", "Garden", "closed"]);
    // Nothing leaves the backup, also when it is tried again; elsewhere there is nothing to lose.
    for _ in 0..2 {
        let error = new.refused(&["backup", path]);
        assert!(
            error.contains("not restored as a whole") && error.contains("lost.html"),
            "{error}"
        );
        assert_eq!(
            std::fs::read(backup.join("manifest.json")).unwrap(),
            manifest
        );
        new.stop();
        new.say(&["restore", path]);
        new.run();
    }
    let second = parent.path().join("second");
    new.say(&["backup", second.to_str().unwrap()]);
    // Given up.
    std::fs::remove_file(new.dir.join("restored-in-part")).unwrap();
    new.say(&["backup", path]);

    // A restore from one backup does not end that of another.
    new.stop();
    std::fs::write(new.dir.join("restoring"), "/mnt/another").unwrap();
    let error = new.refused(&["restore", path]);
    assert!(error.contains("/mnt/another"), "{error}");
    assert!(new.dir.join("restoring").exists());
}

#[tokio::test]
async fn a_directory_is_the_backup_of_one_box_and_lies_outside_of_it() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    host.say(&["space", "create", "Garden club"]);
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    let pieces = objects(&backup);

    // A new box with the old disk in it: nothing of the old one is lost before it is restored.
    let other = Router::start(&parent.path().join("b"), "A", "");
    let error = other.refused(&["backup", path]);
    assert!(error.contains("another box"), "{error}");
    assert_eq!(
        std::fs::read(backup.join("manifest.json")).unwrap(),
        manifest
    );
    assert_eq!(objects(&backup), pieces);

    let inside = host.dir.join("home/backup");
    let error = host.refused(&["backup", inside.to_str().unwrap()]);
    assert!(error.contains("state directory"), "{error}");
    assert!(!inside.exists());
}

#[tokio::test]
async fn what_cannot_be_read_stays_in_the_backup_and_the_rest_is_backed_up() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    let site = parent.path().join("Recipes");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("index.html"), "soup").unwrap();
    host.say(&["site", "publish", site.to_str().unwrap()]);
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    host.stop();
    std::fs::write(host.dir.join("spaces/garden-club/space.toml"), "@@").unwrap();
    std::fs::write(host.dir.join("sites/recipes/site.toml"), "@@").unwrap();
    host.run();
    let spaces = host.ask(&["space", "list"]);
    assert_eq!(
        (&spaces[0]["id"], &spaces[0]["state"]),
        (&"garden-club".into(), &"failed".into())
    );
    assert_eq!(host.ask(&["site", "list"])[0]["failed"], true);
    host.say(&["space", "create", "Pond"]);
    let error = host.refused(&["backup", path]);
    assert!(
        error.contains("garden-club") && error.contains("keeps what it had"),
        "{error}"
    );
    host.stop();

    let mut again = Router::new(&parent.path().join("b"), "A", "");
    again.say(&["restore", path]);
    again.run();
    is_as_it_was(&again, &past).await;
    let spaces = again.ask(&["space", "list"]);
    assert_eq!(spaces.as_array().unwrap().len(), 2, "{spaces}");
    assert_eq!(again.ask(&["site", "list"])[0]["files"], 1);
}

#[tokio::test]
async fn a_restore_goes_on_after_what_is_damaged_and_says_what_is_missing() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let past = space_with_a_past(&host).await;
    host.say(&["space", "create", "A first one", "--about", "to be damaged"]);
    let backup = parent.path().join("backup");
    let path = backup.to_str().unwrap();
    host.say(&["backup", path]);
    let object = objects(&backup).into_iter().find(|object| {
        let text = std::fs::read(object).unwrap();
        text.windows(13).any(|part| part == b"to be damaged")
    });
    let object = object.unwrap();
    let text = std::fs::read_to_string(&object).unwrap();
    std::fs::write(&object, text.replace("to be damaged", "to be dimaged")).unwrap();

    // A box that ran before: its key and its home stay, and it is said.
    let mut other = Router::start(&parent.path().join("b"), "B", "");
    other.stop();
    let error = other.refused(&["restore", path]);
    for words in [
        "NOT restored",
        "A first one",
        "another key",
        "accounts",
        "relay/home away",
    ] {
        assert!(error.contains(words), "no {words}: {error}");
    }
    assert!(!error.contains("the daemon refused"), "{error}");
    other.run();
    is_as_it_was(&other, &past).await;
    assert_eq!(other.ask(&["space", "list"]).as_array().unwrap().len(), 1);

    // The same of what is not there any more, also where it is the key of the box.
    std::fs::remove_file(&object).unwrap();
    let manifest = std::fs::read(backup.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let key = manifest["node"]["papers"].as_str().unwrap();
    std::fs::remove_file(backup.join("objects").join(&key[..2]).join(key)).unwrap();
    let new = Router::new(&parent.path().join("c"), "A", "");
    let error = new.refused(&["restore", path]);
    for words in ["the box: ", "A first one", "NOT restored", "does not start"] {
        assert!(error.contains(words), "no {words}: {error}");
    }
    let spaces = std::fs::read_dir(new.dir.join("spaces")).unwrap();
    assert_eq!(spaces.count(), 1);
    assert!(
        new.dir.join("restoring").exists(),
        "no daemon makes another key"
    );
}
