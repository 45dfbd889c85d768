//! `warrend init`: keys with closed permissions, a configuration that is right, and nothing ever overwritten.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn warrend(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warrend"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn init(dir: &Path) -> Output {
    warrend(&["init", "--dir", dir.to_str().unwrap(), "--name", "A"])
}

#[test]
fn makes_closed_keys_and_a_right_configuration() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a");
    let made = init(&dir);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("This node's address is fc"));
    for (path, mode) in [
        ("keys/mesh.key", 0o600),
        ("warren.toml", 0o600),
        ("keys", 0o700),
    ] {
        let metadata = std::fs::metadata(dir.join(path)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
    let key = std::fs::read_to_string(dir.join("keys/mesh.key")).unwrap();
    let hex = key.strip_prefix("warren-mesh-key 1 ").unwrap().trim_end();
    assert_eq!(hex.len(), 64);
    let config = std::fs::read_to_string(dir.join("warren.toml")).unwrap();
    assert!(!config.contains(hex) && !text(&made.stdout).contains(hex));
    let file = dir.join("warren.toml");
    assert!(
        warrend(&["check", "--config", file.to_str().unwrap()])
            .status
            .success()
    );
}

#[test]
fn never_overwrites() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a");
    assert!(init(&dir).status.success());
    let before = std::fs::read(dir.join("keys/mesh.key")).unwrap();
    std::fs::write(dir.join("warren.toml"), "mine").unwrap();
    let again = init(&dir);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("exists already"));
    assert_eq!(
        std::fs::read_to_string(dir.join("warren.toml")).unwrap(),
        "mine"
    );
    // A lost configuration is made anew, with the key that is there.
    std::fs::remove_file(dir.join("warren.toml")).unwrap();
    assert!(init(&dir).status.success());
    assert_eq!(std::fs::read(dir.join("keys/mesh.key")).unwrap(), before);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a");
    assert!(init(&dir).status.success());
    let key = dir.join("keys/mesh.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::remove_file(dir.join("warren.toml")).unwrap();
    let again = init(&dir);
    assert!(
        text(&again.stderr).contains("chmod 600"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn a_passphrase_that_others_can_read_and_a_damaged_generation_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a");
    assert!(init(&dir).status.success());
    let (config, passphrase) = (dir.join("warren.toml"), parent.path().join("passphrase"));
    let text_before = std::fs::read_to_string(&config).unwrap();
    let line = format!("[mesh]\npassphrase_file = {passphrase:?}");
    std::fs::write(&config, text_before.replacen("[mesh]", &line, 1)).unwrap();
    std::fs::write(&passphrase, "open sesame\n").unwrap();
    let check = || warrend(&["check", "--config", config.to_str().unwrap()]);
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = check().stderr;
    assert!(text(&told).contains("chmod 600"), "{}", text(&told));
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(check().status.success());
    std::fs::write(dir.join("generation"), "warren-generation 1 4294967295\n").unwrap();
    let told = warrend(&["run", "--config", config.to_str().unwrap()]).stderr;
    assert!(text(&told).contains("delete the file"), "{}", text(&told));
}

#[test]
fn wrong_arguments_are_answered_with_what_to_do() {
    for (arguments, expected) in [
        (&["init"][..], "needs either --dir DIR or --config FILE"),
        (&["fly"], "there is no command \"fly\""),
        (
            &["status", "--dir", "/x"],
            "`warrend status` has no such option",
        ),
        (&["run", "--verbose"], "invalid option '--verbose'"),
    ] {
        let output = warrend(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stderr).contains(expected),
            "{}",
            text(&output.stderr)
        );
    }
    let nobody = warrend(&["status", "--control", "/nonexistent/socket"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no warrend answers at /nonexistent/socket"));
}

#[test]
fn version_and_help_need_nothing() {
    assert!(text(&warrend(&["--version"]).stdout).starts_with("warrend "));
    for words in [
        &["--help"][..],
        &["help"],
        &["help", "space"],
        &["space", "--help"],
        &["space", "create", "--help"],
        &["site", "-h"],
        &["site", "publish", "--help"],
        &["run", "--help"],
    ] {
        let output = warrend(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(
            text(&output.stdout).contains("config-from-uci"),
            "{words:?}"
        );
    }
}
