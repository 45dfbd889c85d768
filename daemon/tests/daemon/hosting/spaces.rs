//! Spaces are made, changed and removed while the daemon runs.

use nostr::key::Keys;
use nostr::nips::nip19::ToBech32;

use super::client::Client;
use super::daemon::{Router, links, wait_until};

const CONFIGURED: &str = "[[space]]\nid = \"old\"\nname = \"Old\"\nvisible = true\nport = 7447\n";

#[tokio::test]
async fn a_space_is_made_with_one_command_and_a_neighbour_uses_it_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = links();
    let near = Router::start(&parent.path().join("a"), "A", &a);
    let mut host = Router::start(&parent.path().join("b"), "B", &b);
    let owner = Keys::generate();
    let npub = owner.public_key().to_bech32().unwrap();
    let made = host.ask(&[
        "space",
        "create",
        "Garden club",
        "--visible",
        "--about",
        "Beans",
        "--owner",
        &npub,
    ]);
    assert_eq!(
        (&made["id"], &made["state"]),
        (&"garden-club".into(), &"open".into())
    );
    assert_eq!(made["owner"], owner.public_key().to_hex());
    let service = made["service"].as_str().unwrap();
    wait_until("the neighbour hears of it", || {
        near.ask(&["spaces"])[0]["title"] == "Garden club"
    });
    let member = Keys::generate();
    let mut client = Client::connect(near.web, service, &member).await;
    client.join().await;
    client.write("over the mesh").await;
    let shown = host.ask(&["space", "show", "Garden club"]);
    assert_eq!(shown["figures"]["members"], 1);
    assert_eq!(shown["about"], "Beans");

    // The next start has it, too.
    host.kill();
    host.run();
    assert_eq!(host.ask(&["space", "list"])[0]["service"], service);
    let mut client = Client::connect(host.web, service, &member).await;
    assert_eq!(client.words().await, ["over the mesh"]);
}

#[tokio::test]
async fn settings_change_and_a_space_that_is_hidden_gets_another_address() {
    let parent = tempfile::tempdir().unwrap();
    let (a, b) = links();
    let near = Router::start(&parent.path().join("a"), "A", &a);
    let host = Router::start(&parent.path().join("b"), "B", &b);
    let service = host.ask(&["space", "create", "Pond"])["service"].clone();
    assert_eq!(near.ask(&["spaces"]).as_array().unwrap().len(), 0);
    let keys = Keys::generate();
    let mut client = Client::connect(host.web, service.as_str().unwrap(), &keys).await;
    client.join().await;
    client.write("kept").await;

    let set = host.ask(&[
        "space",
        "set",
        "pond",
        "--name",
        "Big pond",
        "--visible",
        "yes",
        "--quota",
        "7",
        "--about",
        "Frogs",
    ]);
    assert_eq!(set["service"], service, "the address stays");
    assert_eq!(
        (&set["title"], &set["quota_mib"]),
        (&"Big pond".into(), &7.into())
    );
    wait_until("the neighbour hears of it", || {
        near.ask(&["spaces"])[0]["title"] == "Big pond"
    });
    let mut client = Client::connect(near.web, service.as_str().unwrap(), &keys).await;
    assert_eq!(client.words().await, ["kept"]);

    host.say(&["space", "invite", "Big pond"]);
    let hide = ["space", "set", "Big pond", "--visible", "no"];
    let error = host.refused(&hide);
    assert!(
        error.contains("changes its address") && error.contains("--yes"),
        "{error}"
    );
    assert_eq!(host.ask(&["space", "show", "pond"])["service"], service);
    let told = host.say(&[&hide[..], &["--yes"]].concat());
    let hidden = host.ask(&["space", "show", "pond"]);
    for (row, service) in [("before:", &service), ("now:   ", &hidden["service"])] {
        let row = format!("{row} ws://{}.warren/", service.as_str().unwrap());
        assert!(told.contains(&row), "{told}");
    }
    let invites = host.ask(&["space", "list-invites", "Big pond"]);
    assert_eq!(invites.as_array().map(Vec::len), Some(0), "{invites}");
    // It is hidden already: nothing changes.
    assert!(!host.say(&hide).contains("before:"));
    assert_ne!(hidden["service"], service);
    wait_until("the neighbour forgets it", || {
        near.ask(&["spaces"]).as_array().unwrap().is_empty()
    });
    let mut client = Client::connect(host.web, hidden["service"].as_str().unwrap(), &keys).await;
    assert_eq!(client.words().await, ["kept"]);
}

#[tokio::test]
async fn a_removed_space_is_gone_from_the_disk_and_from_the_island() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let made = host.ask(&["space", "create", "Pond", "--visible"]);
    let service = made["service"].as_str().unwrap();
    let error = host.refused(&["space", "remove", "pond"]);
    assert!(error.contains("--yes"), "{error}");
    let keys = Keys::generate();
    let mut client = Client::connect(host.web, service, &keys).await;
    client.join().await;
    host.say(&["space", "remove", "pond", "--yes"]);
    assert!(
        Client::try_connect(host.web, service, &keys)
            .await
            .is_none()
    );
    let left: Vec<_> = std::fs::read_dir(host.dir.join("spaces"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
    host.stop();
    host.run();
    assert!(host.ask(&["space", "list"]).as_array().unwrap().is_empty());
}

#[test]
fn what_cannot_be_is_refused_with_a_reason_and_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", CONFIGURED);
    for (words, reason) in [
        (&["space", "create", ""][..], "name"),
        (&["space", "create", "a\nb"], "name"),
        (&["space", "create", "a\u{202e}b"], "name"),
        (&["space", "create", "x", "--port", "80"], "port"),
        (&["space", "create", "x", "--port", "7447"], "in use"),
        (&["space", "create", "x", "--owner", "nobody"], "owner"),
        (&["space", "create", "x", "--colour", "green"], "colour"),
        (
            &["space", "set", "old", "--name", "New"],
            "configuration file",
        ),
        (&["space", "remove", "old", "--yes"], "configuration file"),
        (
            &["space", "set", "nowhere", "--name", "New"],
            "nothing called",
        ),
        (&["space", "dance"], "needs one of"),
    ] {
        let error = host.refused(words);
        assert!(error.contains(reason), "{words:?}: {error}");
    }
    let list = host.ask(&["space", "list"]);
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(
        (&list[0]["title"], &list[0]["configured"]),
        (&"Old".into(), &true.into())
    );

    // The same title twice is two spaces, and a name that means both is refused.
    host.say(&["space", "create", "Twin"]);
    let second = host.ask(&["space", "create", "Twin"]);
    assert_eq!(second["id"], "twin-2");
    let error = host.refused(&["space", "set", "Twin", "--about", "which?"]);
    assert!(error.contains("several"), "{error}");
    host.say(&["space", "set", "twin-2", "--about", "this one"]);

    // One is visible by configuration, so seven more can be.
    for n in 0..7 {
        host.say(&["space", "create", &format!("Space {n}"), "--visible"]);
    }
    let error = host.refused(&["space", "create", "One too many", "--visible"]);
    assert!(error.contains("8 spaces and sites are visible"), "{error}");
    let error = host.refused(&["space", "set", "twin", "--visible", "yes"]);
    assert!(error.contains("8 spaces and sites are visible"), "{error}");
    let status = host.say(&["status"]);
    assert!(status.contains("other homes do not find"), "{status}");
    host.say(&["space", "create", "Hidden ones can be more"]);
    let incoming = std::fs::read_dir(host.dir.join("spaces")).unwrap();
    let half = incoming.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(half.count(), 0, "nothing half-done stays");
}

#[test]
fn titles_that_do_not_fit_into_what_the_island_is_told_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let long = "x".repeat(64);
    let refused = (0..8).find_map(|_| {
        let output = host.try_command(&["space", "create", &long, "--visible"]);
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let error = refused.expect("eight titles of 64 bytes do not fit into a packet");
    assert!(error.contains("shorter names"), "{error}");
    let list = host.ask(&["space", "list"]);
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|space| space["state"] == "open")
    );
}

#[tokio::test]
async fn killed_while_a_space_is_made_the_box_has_it_whole_or_not_at_all() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", "");
    let spaces = host.dir.join("spaces");
    let mut whole = 0;
    // The kill falls behind every step in turn.
    for (round, step) in [
        ".incoming-s0",
        ".incoming-s1/service.key",
        ".incoming-s2/space.key",
        ".incoming-s3/journal",
        ".incoming-s4/index.sqlite",
        ".incoming-s5/space.toml",
        "s6",
        "s7/index.sqlite",
    ]
    .into_iter()
    .enumerate()
    {
        let title = format!("s{round}");
        let mut create = host.command(&["space", "create", &title]).spawn().unwrap();
        let (early, late) = (spaces.join(step), spaces.join(&title));
        wait_until(step, || early.exists() || late.exists());
        host.kill();
        let acknowledged = create.wait().unwrap().success();
        host.run();
        let list = host.ask(&["space", "list"]);
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|space| space["id"] == *title);
        assert!(
            found.is_some() || !acknowledged,
            "an acknowledged space is lost"
        );
        for entry in std::fs::read_dir(&spaces).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{name} is half a space");
        }
        if let Some(space) = found {
            assert_eq!(space["state"], "open");
            let keys = Keys::generate();
            let service = space["service"].as_str().unwrap();
            let mut client = Client::connect(host.web, service, &keys).await;
            client.join().await;
            whole += 1;
        }
    }
    assert!(whole >= 1, "the last kill comes after the commit");
}

/// Why the daemon does not start.
fn does_not_start(host: &Router) -> String {
    let output = host.try_command(&["run"]);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_lost_key_keeps_its_space_or_the_box_from_starting_and_none_is_made_in_its_place() {
    let parent = tempfile::tempdir().unwrap();
    let mut host = Router::start(&parent.path().join("a"), "A", CONFIGURED);
    let pond = host.ask(&["space", "create", "Pond"]);
    host.stop();
    let away = parent.path().join("away");
    for name in ["service.key", "space.key", "journal"] {
        let path = host.dir.join("spaces/pond").join(name);
        std::fs::rename(&path, &away).unwrap();
        host.run();
        let list = host.ask(&["space", "list"]);
        let found = list.as_array().unwrap().iter();
        let found = found.clone().find(|space| space["id"] == "pond").unwrap();
        assert_eq!(found["state"], "failed", "without {name}");
        assert_eq!(found["service"] == "", name == "service.key");
        host.stop();
        assert!(!path.exists(), "{name} was made anew");
        std::fs::rename(&away, &path).unwrap();
    }
    for name in ["keys/mesh.key", "keys/space-old.key"] {
        let path = host.dir.join(name);
        std::fs::rename(&path, &away).unwrap();
        let error = does_not_start(&host);
        let expected = format!("{} is missing although there is data", path.display());
        assert!(error.contains(&expected), "{error}");
        assert!(!path.exists(), "{name} was made anew");
        std::fs::rename(&away, &path).unwrap();
    }
    host.run();
    let list = host.ask(&["space", "list"]);
    let all = list.as_array().unwrap();
    assert!(all.iter().all(|space| space["state"] == "open"), "{all:?}");
    assert!(all.iter().any(|space| space["service"] == pond["service"]));

    // A space whose key is lost can still be removed.
    host.stop();
    std::fs::remove_file(host.dir.join("spaces/pond/service.key")).unwrap();
    host.run();
    host.say(&["space", "remove", "pond", "--yes"]);
}

#[tokio::test]
async fn a_space_without_an_owner_gets_one() {
    let parent = tempfile::tempdir().unwrap();
    let host = Router::start(&parent.path().join("a"), "A", "");
    let made = host.ask(&["space", "create", "Pond"]);
    assert!(made["owner"].is_null());
    let owner = Keys::generate().public_key();
    let error = host.refused(&["space", "set", "pond", "--owner", "nsec1x"]);
    assert!(error.contains("owner"), "{error}");
    let set = [
        "space",
        "set",
        "pond",
        "--owner",
        &owner.to_bech32().unwrap(),
    ];
    let set = host.ask(&set);
    assert_eq!(set["owner"], owner.to_hex());
    assert_eq!(set["service"], made["service"], "the address stays");
}
